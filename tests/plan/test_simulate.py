"""The simulation of a run against what can be worked out by hand."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.journal import Prices
from pipelines.plan.simulate import FINISH_S, LATE_SHARE, LATE_TIMES, START_S, Provider, Workload, enough, outlook

FREE = Prices(currency="EUR", request=0, gigabyte=0, eecu_hour=0, million_tokens=0, worker_hour=3600.0)


def load(shards: int = 1000, cpu_s: float = 10.0, spread: float = 0.0, **providers: Provider) -> Workload:
    return Workload(shards=shards, cpu_s=cpu_s, providers=providers, link_bytes_s=1e9, spread=spread)


def test_work_that_computes_is_shared_out() -> None:
    one, ten = outlook(load(), FREE, (1, 10))
    built = one.seconds - START_S - FINISH_S * 1000
    assert built == pytest.approx(1000 * 10.0 * (1 + LATE_SHARE * (LATE_TIMES - 1)), rel=0.03)
    assert ten.seconds - START_S - FINISH_S * 1000 >= built / 10
    assert ten.speedup == pytest.approx(10, rel=0.1)
    assert one.bound == ten.bound == "processor"
    assert ten.cost == pytest.approx(ten.seconds * 10), "idle workers are paid too"


def test_a_provider_s_slots_end_the_scaling() -> None:
    busy = Provider(requests=100, bytes=0, slots=40, latency_s=0.4)  # 1 s a shard with all slots
    found = outlook(load(shards=20_000, cpu_s=9.0, archive=busy), FREE)
    assert found[0].bound == "processor"
    assert [f.bound for f in found[2:]] == ["archive", "archive"]
    least_s = 20_000 * 100 * 0.4 / 40
    assert found[3].seconds >= least_s
    assert found[3].seconds < found[2].seconds * 1.2
    assert enough(found).workers <= 10


def test_a_rate_ends_it_too() -> None:
    slow = Provider(requests=100, bytes=0, slots=10**6, latency_s=0.0, per_s=50.0)
    found = outlook(load(shards=5000, archive=slow), FREE, (1, 1000))
    assert found[1].bound == "archive"
    assert found[1].seconds >= 5000 * 100 / 50.0


def test_with_few_shards_the_last_ones_or_the_start_decide() -> None:
    found = outlook(load(shards=12, cpu_s=300.0, spread=0.5), FREE, (1, 100))
    longest = found[1].seconds - START_S - FINISH_S * 12
    assert longest >= 300.0
    assert found[1].speedup < 12
    assert enough(found).workers == 1


@settings(deadline=None)
@given(st.integers(1, 3000), st.floats(0.1, 100.0), st.floats(0.0, 0.6), st.integers(1, 64))
def test_nothing_is_faster_than_it_can_be(shards: int, cpu_s: float, spread: float, slots: int) -> None:
    archive = Provider(requests=20, bytes=1e6, slots=slots, latency_s=0.05)
    found = outlook(load(shards=shards, cpu_s=cpu_s, spread=spread, archive=archive), FREE)
    assert all(math.isfinite(f.seconds) for f in found)
    for f in found:
        assert f.speedup <= f.workers * 1.001
        assert f.seconds >= shards * 20 * 0.05 / slots, "the archive bears no more"
    assert found == outlook(load(shards=shards, cpu_s=cpu_s, spread=spread, archive=archive), FREE), "seeded"
