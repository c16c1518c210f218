"""What a plan says of more workers comes from its estimate and the recipe's limits."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.journal import read_prices
from pipelines.plan.outlook import outlook_text, workload_of
from pipelines.recipes import read_recipe
from pipelines.tables import EngineCost, Estimate, PlanSummary, ProviderCost, added_up

CHECKOUT = Path(__file__).parents[2]


def summary(**estimate: float) -> PlanSummary:
    return PlanSummary(
        recipe_sha256="", samples=25_600, shards=100, scenes={}, left_out={}, searches=0,
        estimate=Estimate.from_json(estimate), unavailable={}, inputs={}, splits={},
    )  # fmt: skip


def test_each_provider_bears_what_its_limits_say(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LANDWEAVE_TESTBED", "http://127.0.0.1:9")
    recipe = read_recipe(CHECKOUT / "recipes" / "quickstart.yaml", ()).recipe
    name = next(iter(recipe.providers))
    found = workload_of(recipe, summary(**{"cpu_seconds": 5000.0, f"requests.{name}": 1e6, f"bytes.{name}": 1e9}))
    assert found.cpu_s == 50.0
    assert list(found.providers) == [name]
    assert found.providers[name].requests == 1e4
    assert found.providers[name].slots == recipe.providers[name].concurrency  # type: ignore[union-attr]
    text = outlook_text(recipe, summary(**{"cpu_seconds": 5000.0, f"requests.{name}": 1e6}), read_prices())
    rows = text.splitlines()
    assert [row.split()[0] for row in rows[1:5]] == ["1", "10", "100", "1,000"]
    assert rows[4].endswith(name), "with a thousand workers the archive's slots decide"
    assert rows[5].endswith(f"they wait for {name}, whose limits they share")


NUMBER = st.one_of(st.integers(0, 10**9), st.floats(0, 1e9).map(lambda v: round(v, 6)))
COST = st.builds(ProviderCost, requests=NUMBER, bytes=NUMBER)
ENGINE = st.builds(EngineCost, **{f.name: NUMBER for f in dataclasses.fields(EngineCost)})
ESTIMATE = st.builds(
    Estimate, samples=st.integers(0, 10**6), scenes=st.integers(0, 10**6), requests=NUMBER, bytes=NUMBER,
    cpu_seconds=NUMBER, seconds=NUMBER, providers=st.dictionaries(st.sampled_from(["pc", "a.b", "dlr"]), COST),
    earthengine=st.none() | ENGINE,
)  # fmt: skip


@given(ESTIMATE)
def test_an_estimate_comes_back_from_plan_json(estimate: Estimate) -> None:
    assert Estimate.from_json(json.loads(json.dumps(estimate.json()))) == estimate
    assert added_up([estimate]) == estimate


@given(st.lists(ESTIMATE, max_size=3))
def test_estimates_add_up_number_by_number(estimates: list[Estimate]) -> None:
    total = added_up(estimates)
    assert total.all_requests == pytest.approx(sum(e.all_requests for e in estimates))
    assert total.all_bytes == pytest.approx(sum(e.all_bytes for e in estimates))
    for name in {name for e in estimates for name in e.providers}:
        parts = [e.providers[name] for e in estimates if name in e.providers]
        assert total.providers[name].requests == pytest.approx(sum(p.requests for p in parts))
    assert (total.earthengine is None) == all(e.earthengine is None for e in estimates)


def test_an_older_plan_is_read() -> None:
    """As the golden plans and those of 0.0 hold it: some numbers are missing, others are of later versions."""
    old = Estimate.from_json({"requests": 5, "seconds": 2.5, "bytes.pc": 7, "of_a_later_version": 1})
    assert (old.requests, old.seconds, old.samples, old.earthengine) == (5, 2.5, 0, None)
    assert old.providers == {"pc": ProviderCost(requests=0, bytes=7)}
    assert Estimate.from_json({}) == Estimate()
    with pytest.raises(TypeError, match="requests must be a number, got '5'"):
        Estimate.from_json({"requests": "5"})
