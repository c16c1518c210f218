"""The page of published datasets has a row for each recipe, with the cost that `pipelines estimate` gives."""

from __future__ import annotations

import pytest

from tests.seeds.costs import SEEDS, cells, cost_of, figures

NEAR = 1.5
"""The page may be this far off: a recipe may change a little before the page is written anew."""


def test_each_recipe_has_a_row_with_its_cost() -> None:
    known = cells()
    assert sorted(known) == sorted(path.stem for path in SEEDS.glob("*.yaml"))
    for name, cell in known.items():
        cost = cost_of(name)
        stated, now = figures(cell), [cost.requests, cost.read, cost.stored]
        assert len(stated) == 3, (name, cell)
        for one, two in zip(stated, now, strict=True):
            assert one == pytest.approx(two, rel=NEAR - 1, abs=1e6 if one < 1e6 else 0), (
                f"{name}: docs/datasets.md says {cell}, now it is {cost.words()}; run python -m tests.seeds.costs"
            )
