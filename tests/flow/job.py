"""`python -m pipelines` as a user runs it, and the bytes that it leaves."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import testbed

CHECKOUT = Path(__file__).parents[2]
Tree = dict[str, str]


def with_checkout() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(CHECKOUT)}


def run(services: testbed.Services, *words: str | Path, wait: bool = True) -> Any:
    """`python -m pipelines ...` in a process of its own."""
    environment = {**with_checkout(), "LANDWEAVE_TESTBED": services.base_url}
    command = [sys.executable, "-m", "pipelines", *map(str, words)]
    started = subprocess.Popen(
        command,
        env=environment,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=CHECKOUT,
        start_new_session=True,
    )
    if not wait:
        return started
    out, err = started.communicate(timeout=600)
    return subprocess.CompletedProcess(command, started.returncode, out, err)


def tree_of(out: Path) -> Tree:
    """Every file of a dataset -> SHA-256; caches and locks of the build left aside."""
    aside = (".work", ".staging", ".lock")
    files = [p for p in sorted(out.rglob("*")) if p.is_file() and p.relative_to(out).parts[0] not in aside]
    return {str(p.relative_to(out)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}
