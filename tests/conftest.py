"""Fixtures and switches shared by every ring of tests."""

from __future__ import annotations

import fcntl
import os
import signal
from pathlib import Path

import hypothesis
import pytest

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as in the background jobs of a shell; children inherit that
    signal.signal(signal.SIGINT, signal.default_int_handler)

hypothesis.settings.register_profile("no clock", deadline=None)  # a busy machine is no failure
hypothesis.settings.load_profile("no clock")

SLOW_S = 1800
"""Seconds for one `slow`, `cluster` or `online` test; others have the `timeout` of pyproject.toml."""
REAL = Path(os.environ.get("LANDWEAVE_REAL") or Path(__file__).parents[2] / "shared" / "real")
"""Real satellite, OSM and STAC data: beside the checkout in CI, absent from a user's clone."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--online", action="store_true", help="also run tests that talk to the real services")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    for item in items:
        if config.getoption("--timeout") is None and not {"slow", "cluster", "online"}.isdisjoint(item.keywords):
            item.add_marker(pytest.mark.timeout(SLOW_S))
        if "online" in item.keywords and not config.getoption("--online"):
            item.add_marker(pytest.mark.skip(reason="talks to the real services; run with --online"))
        if "real" in item.keywords and not REAL.is_dir():
            item.add_marker(pytest.mark.skip(reason="real test data is not in this clone; CI has it"))


@pytest.fixture(scope="session")
def earth(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small miniature Earth, made once for all test processes: to be read, not changed."""
    import testbed

    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    with (shared / "earth.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        return testbed.make_planet(shared / "earth", seed=7, size_px=600)


@pytest.fixture(scope="session")
def real() -> Path:
    """The folder of real data."""
    return REAL
