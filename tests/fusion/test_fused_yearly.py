"""Three years of a yearly map are a third family beside WorldCover and Dynamic World, in a dataset from archives."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING

import numpy as np
import pytest
import rasterio
from rasterio.windows import from_bounds

import landweave
import testbed
from landweave.check import check
from pipelines.crosswalks import hard_classes, open_shipped
from pipelines.engines import Engine
from pipelines.jobs import build_dataset
from pipelines.recipes import read_recipe
from schemas.label import COMMON_CLASSES

if TYPE_CHECKING:
    from pathlib import Path

    from landweave.sample import Sample

pytestmark = pytest.mark.slow

YEARS = (2020, 2021, 2022)
RECIPE = """
name: yearly
description: Three families of maps over the miniature Earth.
licence: CC-BY-4.0
seed: 7
sampling: { kind: grid, spacing_m: 2200, area: { file: aoi.geojson } }
grid: { size_m: 960, snap_m: 20 }
windows: [{ name: summer, start: 2021-06-01, end: 2021-09-15 }]
providers:
  pc: { url: $LANDWEAVE_TESTBED/pc/stac, dialect: planetary-computer }
  testbed: { url: $LANDWEAVE_TESTBED/stac }
sources: [{ kind: sentinel2, providers: [pc], max_cloud: 0.3 }]
labels:
  - { kind: worldcover, providers: [pc] }
  - { kind: dynamicworld, providers: [testbed] }
%s
  - kind: fused
    voters: [worldcover, dynamicworld, %s]
    mislabelled: true
"""
MAP = (
    "  - {{ kind: raster, name: esri{0}, product: Esri annual, providers: [pc], collection: io-lulc-annual-v02, "
    "crosswalk: esri, date: {0}-07-01, pick: same }}"
)


@pytest.fixture(scope="module")
def out(earth: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("yearly")
    maps, names = "\n".join(MAP.format(y) for y in YEARS), ", ".join(f"esri{y}" for y in YEARS)
    (folder / "recipe.yaml").write_text(RECIPE % (maps, names))
    shutil.copy(earth / "aoi.geojson", folder)
    with testbed.serve(earth, archive=True) as services, pytest.MonkeyPatch.context() as patch:
        patch.setenv("LANDWEAVE_TESTBED", services.base_url)
        build_dataset(read_recipe(folder / "recipe.yaml"), folder / "out", Engine())
    return folder / "out"


def truth_of(earth: Path, sample: Sample) -> np.ndarray:
    """(y, x) codes of COMMON_CLASSES."""
    with rasterio.open(earth / "truth" / f"common_{sample.epsg - 32600}.tif") as file:
        found: np.ndarray = file.read(1, window=from_bounds(*sample.bounds("fused/classes"), file.transform))
    return found


def common(codes: np.ndarray) -> np.ndarray:
    """Codes of the yearly map as the common taxonomy; rangeland is what its crosswalk says."""
    return hard_classes(open_shipped("esri").crosswalk)[codes]


def test_a_yearly_map_is_one_family_with_three_years_and_its_errors_last(out: Path, earth: Path) -> None:
    built = landweave.open(out)
    assert list(check(built)) == []
    said = json.loads((out / "fusion" / "fused.json").read_text())
    assert [(f["family"], f["layers"]) for f in said["families"]] == [
        ("worldcover", ["worldcover"]),
        ("dynamicworld", ["dynamicworld"]),
        ("esri", [f"esri{year}" for year in YEARS]),
    ]
    maps = {year: [] for year in YEARS}
    truth = []
    for sample in built:
        truth.append(truth_of(earth, sample))
        for year in YEARS:
            assert sample.item[f"esri{year}_date_gap_days"] is not None
            maps[year].append(common(sample[f"esri{year}/classes"]))
    ground = np.stack(truth)
    ground = np.where(ground == COMMON_CLASSES.index("shrub"), COMMON_CLASSES.index("grass"), ground)
    wrong = [(np.stack(maps[year]) != ground).ravel().astype(float) for year in YEARS]
    assert all(0.1 < w.mean() < 0.45 for w in wrong)
    assert np.corrcoef(wrong)[np.triu_indices(3, 1)].min() > 0.5, "years of one producer share their errors"
    assert (np.stack(maps[2020]) != np.stack(maps[2022])).mean() > 0.02, "and are not the same map"


def test_the_fused_map_is_better_than_each_and_doubts_its_own_errors(out: Path, earth: Path) -> None:
    built = landweave.open(out)
    right: dict[str, list[float]] = {"fused": [], **{f"esri{y}": [] for y in YEARS}}
    doubt: list[np.ndarray] = []
    names = [COMMON_CLASSES.index(c.name) for c in built.labels["fused"].classes]
    for sample in built:
        truth, classes = truth_of(earth, sample), sample["fused/classes"]
        there = classes != 255
        hit = (np.array([*names, *[0] * (256 - len(names))])[classes] == truth)[there]
        right["fused"].append(hit.mean())
        for year in YEARS:
            right[f"esri{year}"].append((common(sample[f"esri{year}/classes"]) == truth).mean())
        wrong = sample["fused/mislabelled"][there].astype(float)
        if 0 < hit.mean() < 1:
            doubt.append(np.array([wrong[~hit].mean(), wrong[hit].mean()]))
    share = {name: float(np.mean(values)) for name, values in right.items()}
    assert all(share["fused"] > share[f"esri{year}"] + 0.05 for year in YEARS), share
    missed, met = np.mean(doubt, axis=0)
    assert missed > 1.5 * met
