"""Processes that are forked from one that has loaded the libraries, so that a command spends no time on imports."""

from __future__ import annotations

import multiprocessing
from multiprocessing.context import ForkServerContext

PRELOADED = ["tests.faults.loaded", "tests.faults.steps", "tests.flow.job", "tests.shards.test_shards_crash"]
"""The server is started once per test process, by whoever asks first: so the list is the same for all."""


def forks() -> ForkServerContext:
    """The context that starts such processes; each begins with the modules of `PRELOADED` and nothing of the test's."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    return context
