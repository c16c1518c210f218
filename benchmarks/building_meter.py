"""Counts the work of a process from a moment on. Standard library only: peers run it in their own environments."""

from __future__ import annotations

import resource
import time


def _cpu_s() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


class Meter:
    """CPU time (all threads, and children that have ended) and wall time since it was made."""

    def __init__(self) -> None:
        self.start_cpu_s = _cpu_s()
        self._began = time.perf_counter()

    def read(self) -> dict[str, float]:
        """`start_cpu_s` (until the meter was made: imports), `cpu_s` and `wall_s` since then."""
        return {
            "start_cpu_s": round(self.start_cpu_s, 2),
            "cpu_s": round(_cpu_s() - self.start_cpu_s, 2),
            "wall_s": round(time.perf_counter() - self._began, 2),
        }
