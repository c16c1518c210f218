"""Forty slots: all of them used, nothing refused; shared among workers; found again when somebody else uses them."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import ee
import pytest

from pipelines.access.earthengine.session import Session, Settings, open_session
from pipelines.access.earthengine.slots import Slots, share_of
from pipelines.access.http.client import AccessError
from testbed.earthengine import EeCatalogue, Limits, Running, serve_earthengine
from tests.access.earthengine_scenes import box

WORKER = """
import json, sys, time
from concurrent.futures import ThreadPoolExecutor
import ee
from pipelines.access.earthengine.session import Settings, open_session
from schemas.place import GeoBox
url, workers, number, requests = sys.argv[1], *map(int, sys.argv[2:5])
box = GeoBox(epsg=32633, x_min=500040.0, y_max=5300040.0, resolution_m=10.0, width=8, height=8)
settings = Settings(project="testbed-project", endpoint=url, credentials="anonymous", workers=workers, worker=number,
                    requests_per_s=None, retries=20, backoff_s=0.05)
with open_session(settings) as session:
    image = ee.Image.constant(7).rename("b")
    with ThreadPoolExecutor(session.slots.share + 8) as pool:
        print("ready", flush=True)
        sys.stdin.readline()
        sums = list(pool.map(lambda _: int(session.compute_chip(image, box, ("b",), dtype="uint8").pixels.sum()),
                             range(requests)))
    print(json.dumps({"share": session.slots.share, "refused": session.slots.refusals, "right": sums.count(448)}))
"""


@dataclass
class Outcome:
    used: float
    """Mean slots in use in the steady state."""
    refused: int
    """429 answers in the steady state."""
    workers: list[dict[str, int]]


def run_workers(running: Running, workers: int, requests: int) -> Outcome:
    """Start worker processes, let them go together, and look at the middle of the run."""
    started = [
        subprocess.Popen(
            [sys.executable, "-c", WORKER, running.base_url, str(workers), str(i), str(requests // workers)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parents[2],
        )
        for i in range(workers)
    ]
    for process in started:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    begin = time.monotonic()
    for process in started:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    reports = [json.loads(process.communicate(timeout=120)[0].splitlines()[-1]) for process in started]
    taken = [e for e in running.server.log if e.path.endswith(":computePixels")]
    end = sorted(e.started_s for e in taken)[-running.service.limits.slots]  # after it, slots run empty
    steady = begin + 0.2 * (end - begin)
    return Outcome(running.service.quota.used(steady, end), running.service.quota.refusals_since(steady), reports)


@pytest.mark.timed
@pytest.mark.parametrize("workers", [1, 2, 3])
def test_forty_slots_are_used_and_nothing_is_refused(workers: int) -> None:
    limits = Limits(slots=40, service_s=1.0)  # the real service takes one to three seconds
    with serve_earthengine(EeCatalogue(), limits=limits) as running:
        found = run_workers(running, workers, 480)
    assert found.refused == 0
    assert running.service.quota.refused == 0
    assert found.used >= 0.95 * 40
    assert sum(w["share"] for w in found.workers) == 40
    assert [w["right"] for w in found.workers] == [480 // workers] * workers


@pytest.mark.timed
def test_a_project_that_others_use_too() -> None:
    """The quota is 20 and we think it is 40: after the first refusals the limit is found and mostly held to."""
    with serve_earthengine(EeCatalogue(), limits=Limits(slots=20, service_s=0.2)) as running:
        found = run_workers(running, 1, 800)
    assert found.workers[0]["right"] == 800
    assert running.service.quota.refused >= 1
    assert found.refused <= 0.01 * 800
    assert found.used >= 0.8 * 20


def test_shares_add_up() -> None:
    for workers in range(1, 41):
        shares = [share_of(40, workers, i) for i in range(workers)]
        assert sum(shares) == 40
        assert max(shares) - min(shares) <= 1
    with pytest.raises(ValueError, match="at most 40 workers"):
        share_of(40, 41)
    with pytest.raises(ValueError, match="not within"):
        share_of(40, 2, 2)


def test_slots_bound_what_is_under_way() -> None:
    slots = Slots(5, requests_per_s=None)
    under_way, most, lock = 0, 0, threading.Lock()

    def work(_: int) -> None:
        nonlocal under_way, most
        with slots.hold(10.0):
            with lock:
                under_way += 1
                most = max(most, under_way)
            time.sleep(0.002)
            with lock:
                under_way -= 1

    with ThreadPoolExecutor(20) as pool:
        list(pool.map(work, range(200)))
    assert most == 5


def test_a_slot_that_never_comes_is_unavailable() -> None:
    slots = Slots(1, requests_per_s=None)
    with slots.hold(1.0), pytest.raises(AccessError, match="no Earth Engine slot"), slots.hold(0.05):
        pass


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_refusals_halve_once_and_successes_add() -> None:
    clock = Clock()
    slots = Slots(40, requests_per_s=None, probe_s=60.0, clock=clock)
    clock.now = 1.0
    for _ in range(20):  # one burst, sent before the first refusal came
        slots.refused(0.5, None)
    assert slots.limit == 20
    for _ in range(2000):
        slots.succeeded()
    assert slots.limit == 39, "one below what was refused"
    clock.now = 62.0
    for _ in range(2000):
        slots.succeeded()
    assert slots.limit == 40, "one more is tried a minute"
    slots.refused(61.0, None)
    assert slots.limit == 20
    for _ in range(2000):
        slots.succeeded()
    assert slots.limit < 40


def test_the_limit_never_falls_below_one() -> None:
    clock = Clock()
    slots = Slots(4, requests_per_s=None, clock=clock)
    for _ in range(50):
        clock.now += 1.0
        slots.refused(clock.now, None)
    assert slots.limit == 1
    with slots.hold(0.1):
        pass


def test_requests_are_spread_over_the_second() -> None:
    slots = Slots(40, requests_per_s=100.0)
    starts = []
    for _ in range(31):
        with slots.hold(5.0):
            starts.append(time.monotonic())
    assert starts[-1] - starts[0] >= 30 / 100.0


def test_the_rate_quota_is_kept() -> None:
    """The server counts arrivals in every single second, stricter than the real one; a busy machine bunches some."""
    with serve_earthengine(EeCatalogue(), limits=Limits(requests_per_s=100.0)) as running:
        settings = Settings(project="testbed-project", endpoint=running.base_url, credentials="anonymous")
        with open_session(settings) as session:
            started = time.monotonic()
            _many(session, 150)
            assert time.monotonic() - started >= 150 / 100.0
        assert running.service.quota.refused <= 5


def _many(session: Session, count: int) -> None:
    image = ee.Image.constant(7).rename("b")
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda _: session.compute_chip(image, box(4, 4), ("b",), dtype="uint8"), range(count)))
