"""Forty slots: all of them used, nothing refused; shared among workers; found again when somebody else uses them."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import ee
import pytest

from pipelines.access.earthengine.session import Session, Settings, open_session
from pipelines.access.earthengine.slots import Slots, share_of
from pipelines.access.http.client import AccessError
from testbed.earthengine import EeCatalogue, Limits, Running, serve_earthengine
from tests.access.earthengine.earthengine_scenes import box

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
    print(json.dumps({"share": session.slots.share, "refused": session.slots.refusals, "limit": session.slots.limit,
                  "right": sums.count(448)}))
"""


def run_workers(running: Running, requests: list[int]) -> list[dict[str, int]]:
    """Start a worker process for each number of requests, let them go together; what each of them says at the end."""
    started = [
        subprocess.Popen(
            [sys.executable, "-c", WORKER, running.base_url, str(len(requests)), str(i), str(count)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parents[3],
        )
        for i, count in enumerate(requests)
    ]
    for process in started:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in started:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    return [json.loads(process.communicate()[0].splitlines()[-1]) for process in started]


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2, 3])
def test_forty_slots_are_used_and_nothing_is_refused(workers: int) -> None:
    """The service answers only when forty requests are under way: with one slot unused it never would."""
    rounds, requests = 12, [12 * share_of(40, workers, i) for i in range(workers)]
    all_there = threading.Barrier(40, timeout=120.0)
    with serve_earthengine(EeCatalogue(), limits=Limits(slots=40)) as running:

        def answer(body: bytes) -> bytes:
            all_there.wait()
            return body

        running.service.tamper = answer
        found = run_workers(running, requests)
    assert running.service.quota.refused == 0
    assert running.service.requests["computePixels"] == rounds * 40
    assert not all_there.broken
    assert [w["share"] for w in found] == [share_of(40, workers, i) for i in range(workers)]
    assert [w["right"] for w in found] == requests


@pytest.mark.slow
def test_a_project_that_others_use_too() -> None:
    """The quota is 20 and we think it is 40: after the first refusals the limit is found and mostly held to."""
    with serve_earthengine(EeCatalogue(), limits=Limits(slots=20, service_s=0.05)) as running:
        (found,) = run_workers(running, [800])
    assert found["right"] == 800
    assert running.service.quota.refused == found["refused"]
    assert 1 <= found["refused"] <= 20 + 0.02 * 800, "the first burst, and little afterwards"
    assert 10 <= found["limit"] <= 20, "20, or half of it right after a probe"


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


@pytest.mark.slow
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
