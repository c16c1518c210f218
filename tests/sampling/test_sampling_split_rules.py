"""Splits by column, year, chance, stripes, rings and folds; what they share on the ground is measured."""

from __future__ import annotations

import datetime as dt
import itertools
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import shapely
from pydantic import ValidationError

from sampling import SamplingError, locate
from sampling.splits import SPLITS

if TYPE_CHECKING:
    from pathlib import Path

    from sampling import Located
    from tests.sampling.conftest import Recipes

BOX = {"kind": "uniform", "count": 1_500, "area": {"bbox": [9.0, 47.0, 12.0, 49.0]}}


def file_of(folder: Path, rows: list[tuple[Any, ...]], header: str = "lon,lat,split,date") -> None:
    (folder / "p.csv").write_text("\n".join([header, *(",".join(map(str, r)) for r in rows)]) + "\n")


def words(found: Located) -> list[str]:
    return [SPLITS[s] for s in found.split.tolist()]


def test_published_splits_are_kept_to_the_row(tmp_path: Path, recipe: Recipes) -> None:
    said = [("train", "validation", "test")[i % 3] for i in range(60)]
    file_of(tmp_path, [(10 + i / 100, 48, s, "") for i, s in enumerate(said)])
    sampling = {"kind": "points", "file": "p.csv", "allow_overlap": True}
    found = locate(recipe(sampling, splits={"by": "attr_split"}), tmp_path)
    assert words(found) == ["val" if s == "validation" else s for s in said]
    with pytest.raises(SamplingError, match=r"line 3: split is 'validation', expected a value of some split"):
        locate(recipe(sampling, splits={"by": "attr_split", "val": ["val"]}), tmp_path)


def test_leakage_equals_every_pair_measured(tmp_path: Path, recipe: Recipes) -> None:
    chance = np.random.default_rng(3)
    rows = [(x, y, SPLITS[i % 3], "") for i, (x, y) in enumerate(chance.uniform((10, 48), (10.4, 48.3), (60, 2)))]
    file_of(tmp_path, rows)
    sampling = {"kind": "points", "file": "p.csv", "allow_overlap": True}
    found = locate(recipe(sampling, splits={"by": "attr_split"}), tmp_path)
    x, y = found.footprints.x_min, found.footprints.y_max
    boxes = shapely.box(x, y - 2_560, x + 2_560, y)
    assert [(leak.split, leak.other) for leak in found.leaks] == list(itertools.combinations(SPLITS, 2))
    for leak in found.leaks:
        one, two = (boxes[found.split == SPLITS.index(name)] for name in (leak.split, leak.other))
        shared = sum(shapely.intersection(a, b).area > 1 for a in one for b in two)
        assert leak.pairs == shared > 0
        assert leak.nearest_m == 0
    kept = locate(recipe(sampling, splits={"by": "attr_split", "buffer_m": 300}), tmp_path)
    assert kept.left_out["split_buffer"] == 60 - len(kept)
    assert all(leak.pairs == 0 and leak.nearest_m >= 299 for leak in kept.leaks)


def test_the_least_distance_is_found(tmp_path: Path, recipe: Recipes) -> None:
    file_of(tmp_path, [(10, 48, "train", ""), (10.1, 48, "test", ""), (10.5, 48.5, "test", "")])
    found = locate(recipe({"kind": "points", "file": "p.csv"}, splits={"by": "attr_split"}), tmp_path)
    apart = abs(found.footprints.x_min[1] - found.footprints.x_min[0]) - 2_560
    assert found.leaks[0].nearest_m == pytest.approx(apart, rel=1e-3)


def test_years_decide(tmp_path: Path, recipe: Recipes) -> None:
    dates = ["2019-03-01", "2021-12", "2022-07-01T10:00:00Z", "2023-01-31"]
    file_of(tmp_path, [(10 + i, 48, "x", d) for i, d in enumerate(dates)])
    splits = {"by": "year", "val": [2022], "test": [2023]}
    sampling = {"kind": "points", "file": "p.csv"}
    assert words(locate(recipe(sampling, splits=splits), tmp_path)) == ["train", "train", "val", "test"]
    with pytest.raises(SamplingError, match=r"line 2: date is '2019-03-01', expected a value of some split"):
        locate(recipe(sampling, splits=splits | {"train": [2021]}), tmp_path)
    file_of(tmp_path, [(10, 48, "x", "May 2020")])
    with pytest.raises(SamplingError, match=r"line 2: date is 'May 2020', expected a date or a year"):
        locate(recipe(sampling, splits=splits), tmp_path)


def test_typed_dates_decide_too(tmp_path: Path, recipe: Recipes) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    days = [dt.date(2019 + i, 5, 1) for i in range(3)]
    pq.write_table(pa.table({"lon": [1, 2, 3], "lat": [4, 5, 6], "seen": days}), tmp_path / "p.parquet")
    splits = {"by": "year", "date": "attr_seen", "test": [2021]}
    for sampling in (
        {"kind": "points", "file": "p.parquet"},
        {"kind": "draw", "count": 3, "from": {"file": "p.parquet"}},
    ):
        found = locate(recipe(sampling | {"area": {"land_only": False}}, splits=splits), tmp_path)
        assert sorted(words(found)) == ["test", "train", "train"]


def test_random_shares_hold_to_one_sample(tmp_path: Path, recipe: Recipes) -> None:
    found = locate(recipe(BOX, splits={"by": "random", "train": 0.9, "val": 0.1, "test": 0}), tmp_path)
    assert np.bincount(found.split).tolist() == [1_350, 150]
    assert len(found.leaks) == 1


def test_stripes_run_at_their_angle(tmp_path: Path, recipe: Recipes) -> None:
    splits = {"by": "stripes", "angle": 30, "width_m": 15_000, "train": 0.6, "val": 0.2, "test": 0.2}
    found = locate(recipe(BOX, splits=splits), tmp_path)
    shares = np.bincount(found.split) / len(found)
    assert np.abs(shares - [0.6, 0.2, 0.2]).max() < 0.05
    radius = 6_378_137.0
    x = np.radians(found.footprints.lon) * radius * np.cos(np.radians(48))
    y = np.radians(found.footprints.lat) * radius
    turn = np.radians(30)
    along = x * np.sin(turn) + y * np.cos(turn)
    order = np.lexsort((along, np.floor((x * np.cos(turn) - y * np.sin(turn)) / 1_000)))
    changes = np.mean(np.diff(found.split[order]) != 0)
    assert changes < 0.15  # walking along the stripes the split hardly changes; at random it would 56 times in 100


def test_rings_hold_their_share_of_each_tile(tmp_path: Path, recipe: Recipes) -> None:
    splits = {"by": "concentric", "tile_m": 40_000, "train": 0.5, "val": 0.25, "test": 0.25}
    found = locate(recipe(BOX, splits=splits), tmp_path)
    assert np.abs(np.bincount(found.split) / len(found) - [0.5, 0.25, 0.25]).max() < 0.05
    columns = found.columns(np.arange(len(found)))
    blocks: dict[str, list[int]] = {}
    for i, block in enumerate(columns["block"]):
        blocks.setdefault(block.rsplit("-", 1)[0], []).append(i)
    for members in blocks.values():
        middle = [columns["lat"][i] for i in members if found.split[i] == 2]
        if len(middle) > 1:
            assert max(middle) - min(middle) < 0.5 * 40_000 / 110_000 * 1.02


def test_folds_are_whole_blocks_of_equal_size(tmp_path: Path, recipe: Recipes) -> None:
    found = locate(recipe(BOX, splits={"by": "folds", "folds": 4, "val": [1], "test": [3]}), tmp_path)
    columns = found.columns(np.arange(len(found)))
    fold = np.array(columns["attr_fold"])
    assert (np.bincount(fold, minlength=4) / len(fold)).max() < 0.27
    assert {(f, s) for f, s in zip(fold.tolist(), words(found), strict=True)} == {
        (0, "train"), (1, "val"), (2, "train"), (3, "test"),
    }  # fmt: skip
    assert len({(b, f) for b, f in zip(columns["block"], fold.tolist(), strict=True)}) == len(set(columns["block"]))


@pytest.mark.parametrize(
    ("splits", "sampling", "words_"),
    [
        ({"by": "attr_split"}, BOX, "sampling.kind: uniform has none"),
        ({"by": "folds", "folds": 3, "test": [3]}, BOX, "fold 3 does not exist"),
        ({"by": "folds", "folds": 2, "test": [0], "val": [1]}, BOX, "leave at least one for train"),
        ({"by": "folds"}, {"kind": "points", "file": "p.csv", "attributes": ["Fold"]}, "writes the attribute 'fold'"),
        ({"by": "year", "test": [2020], "val": [2020]}, {"kind": "points", "file": "p.csv"}, "2020 is named twice"),
        ({"by": "chance"}, BOX, "`by` is blocks, random, stripes"),
    ],
)
def test_mistakes(recipe: Recipes, splits: dict[str, Any], sampling: dict[str, Any], words_: str) -> None:
    with pytest.raises(ValidationError, match=words_) as error:
        recipe(sampling, splits=splits)
    assert error.value.error_count() == 1
