"""Ten samples from the real Earth Engine: run with `--online`, a project in EARTHENGINE_PROJECT, and credentials."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ruamel.yaml import YAML

import landweave

pytestmark = pytest.mark.online

CHECKOUT = Path(__file__).parents[2]
OURS = {"bad_item", "corrupt", "wrong_grid", "not_found", "denied"}
"""Reasons that would mean that we read the service wrong, or are not signed in."""


@pytest.fixture(autouse=True)
def _signed_in() -> None:
    if not os.environ.get("EARTHENGINE_PROJECT"):
        pytest.skip("EARTHENGINE_PROJECT names no Cloud project: see docs/earthengine.md")


def build(recipe: Path, out: Path, *sets: str) -> subprocess.CompletedProcess[str]:
    words = [word for each in sets for word in ("--set", each)]
    environment = {k: v for k, v in os.environ.items() if k != "LANDWEAVE_EARTHENGINE_URL"}
    return subprocess.run(
        [sys.executable, "-m", "pipelines", "build", str(recipe), str(out), *words],
        cwd=CHECKOUT,
        env={**environment, "PYTHONPATH": str(CHECKOUT)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_ten_samples(tmp_path: Path) -> None:
    few = ["sampling.count=10", "grid.size_m=960", "providers.earth-engine.eecu_hours=1"]
    done = build(CHECKOUT / "recipes" / "earthengine.yaml", tmp_path / "dataset", *few)
    assert done.returncode == 0, done.stderr
    assert "at Earth Engine  about" in done.stdout
    dataset = landweave.open(tmp_path / "dataset")
    assert len(dataset) >= 5
    rows = dataset.ledger.to_pylist()
    wrong = [f"{r['layer']}: {r['reason']}: {r['detail']}" for r in rows if r["reason"] in OURS]
    assert not wrong, wrong
    for layer in (*dataset.modalities, *dataset.labels):
        mine = [r["reason"] for r in rows if r["layer"] == layer]
        assert mine.count("ok") >= len(mine) / 3, (layer, mine)
    for sample in dataset:
        assert np.isfinite(sample["dem/elevation"][sample.valid("dem")[None]]).all()


def test_static_products_are_the_same_at_planetary_computer(tmp_path: Path) -> None:
    """WorldCover to the bit, heights to five centimetres."""
    made: dict[str, Any] = {}
    providers = {
        "ee": {"kind": "earthengine", "eecu_hours": 0.5},
        "pc": {"url": "https://planetarycomputer.microsoft.com/api/stac/v1", "dialect": "planetary-computer"},
    }
    for name, provider in providers.items():
        tree = {
            "name": "static",
            "seed": 5,
            "sampling": {"kind": "uniform", "count": 3, "area": {"bbox": [11.0, 47.5, 13.0, 49.0]}},
            "grid": {"size_m": 960},
            "providers": {name: provider},
            "sources": [{"kind": "dem", "providers": [name]}],
            "labels": [{"kind": "worldcover", "providers": [name], "year": 2021}],
        }
        with (tmp_path / f"{name}.yaml").open("w") as file:
            YAML(typ="safe").dump(tree, file)
        done = build(tmp_path / f"{name}.yaml", tmp_path / name)
        assert done.returncode == 0, done.stderr
        made[name] = landweave.open(tmp_path / name)
    for left, right in zip(made["pc"], made["ee"], strict=True):
        np.testing.assert_array_equal(right["worldcover/classes"], left["worldcover/classes"])
        np.testing.assert_allclose(right["dem/elevation"], left["dem/elevation"], atol=0.05)
