"""What a plan says of more workers comes from its estimate and the recipe's limits."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipelines.journal import read_prices
from pipelines.plan.outlook import outlook_text, workload_of
from pipelines.recipes import read_recipe
from pipelines.tables import PlanSummary

CHECKOUT = Path(__file__).parents[2]


def summary(**estimate: float) -> PlanSummary:
    return PlanSummary(
        recipe_sha256="", samples=25_600, shards=100, scenes={}, left_out={}, searches=0,
        estimate={"requests": 0, "bytes": 0, "seconds": 0, **estimate}, unavailable={}, inputs={}, splits={},
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
