"""From recipe to places and shards, end to end."""

from __future__ import annotations

import re
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sampling import SamplingError, pack, season
from sampling.land import on_land
from sampling.majortom import cells_of, names
from sampling.packing import hilbert
from schemas.output import Shards
from tests.sampling.placed import SamplingResult, sample_places

if TYPE_CHECKING:
    from collections.abc import Callable

    from schemas.recipe import Recipe

    Recipes = Callable[..., Recipe]

HERE = Path()
ALPS = {"bbox": [5.0, 44.0, 12.0, 48.0]}


def uniform(count: int, area: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    return {"kind": "uniform", "count": count, "area": area or {}, **more}


def check(result: SamplingResult) -> None:
    ids = [p.sample_id for p in result.places]
    assert len(set(ids)) == len(ids)
    assert all(re.fullmatch(r"[A-Za-z0-9_-]+", i) for i in ids)
    lon, lat = np.array([p.lon for p in result.places]), np.array([p.lat for p in result.places])
    assert ((lon >= -180) & (lon < 180)).all()
    assert [p.cell for p in result.places] == names(*cells_of(lon, lat))
    blocks: dict[str, str] = {}
    for place in result.places:
        assert blocks.setdefault(place.block, place.split) == place.split


def test_uniform_on_land(recipe: Recipes) -> None:
    result = sample_places(recipe(uniform(2_000)), HERE)
    check(result)
    assert len(result.places) == 2_000
    assert result.notes == ()
    assert on_land(np.array([p.lon for p in result.places]), np.array([p.lat for p in result.places])).all()
    shares = Counter(p.split for p in result.places)
    assert [shares[s] / 2_000 for s in ("train", "val", "test")] == pytest.approx([0.8, 0.1, 0.1], abs=0.01)


def test_ids_and_ground_do_not_depend_on_the_number_asked_for(recipe: Recipes) -> None:
    few = sample_places(recipe(uniform(50, ALPS)), HERE).places
    many = {p.sample_id: p.geobox for p in sample_places(recipe(uniform(400, ALPS)), HERE).places}
    common = [p for p in few if p.sample_id in many]
    assert len(common) > 45
    assert all(many[p.sample_id] == p.geobox for p in common)


def test_losses_to_the_buffer_are_made_up_for(recipe: Recipes) -> None:
    result = sample_places(recipe(uniform(300, {"bbox": [9.0, 46.0, 10.0, 47.0]})), HERE)
    assert len(result.places) == 300
    assert result.left_out["split_buffer"] > 0
    assert result.left_out["overlap"] > 0


def test_an_area_without_room_says_so(recipe: Recipes) -> None:
    result = sample_places(recipe(uniform(500, {"bbox": [9.0, 46.0, 9.3, 46.3]})), HERE)
    assert 30 < len(result.places) < 200
    assert any("of 500 samples were placed: the area has no more room (overlap" in note for note in result.notes)


def test_overlap_on_request(recipe: Recipes) -> None:
    result = sample_places(recipe(uniform(500, {"bbox": [9.0, 46.0, 9.3, 46.3]}, allow_overlap=True)), HERE)
    assert len(result.places) == 500
    assert "overlap" not in result.left_out


def test_one_block_leaves_splits_empty_and_says_so(recipe: Recipes) -> None:
    result = sample_places(
        recipe(uniform(5, {"bbox": [9.0, 46.0, 9.1, 46.1]}), splits={"block_m": 500_000, "buffer_m": 1_000}), HERE
    )
    assert {p.split for p in result.places} == {"train"}
    assert [n.split(":")[0] for n in result.notes] == ["split 'val' is empty", "split 'test' is empty"]


def test_no_land_is_an_error(recipe: Recipes) -> None:
    with pytest.raises(SamplingError, match="no sample is left: the area is empty or has no land"):
        sample_places(recipe(uniform(5, {"bbox": [-30.0, 0.0, -29.0, 1.0]})), HERE)


def test_grid_is_every_cell_and_a_count_is_a_subset_by_seed(recipe: Recipes) -> None:
    grid = {"kind": "grid", "spacing_m": 10_000, "area": {"bbox": [6.0, 44.0, 9.0, 46.0]}}
    splits = {"buffer_m": 0}
    whole = sample_places(recipe(grid, splits=splits), HERE)
    check(whole)
    assert all(p.cell == p.sample_id for p in whole.places)
    some = [
        {p.sample_id for p in sample_places(recipe(grid | {"count": n}, splits=splits, seed=s), HERE).places}
        for n, s in ((50, 1), (80, 1), (50, 2))
    ]
    assert [len(s) for s in some] == [50, 80, 50]
    assert some[0] < some[1]
    assert some[0] != some[2]
    assert some[0] | some[2] <= {p.sample_id for p in whole.places}


def test_a_tight_grid_says_what_it_lost_and_what_would_keep_it(recipe: Recipes) -> None:
    grid = {"kind": "grid", "spacing_m": 2_560, "area": {"bbox": [9.0, 46.0, 9.8, 46.6]}}
    splits = {"train": 1.0, "val": 0.0, "test": 0.0}
    tight = sample_places(recipe(grid, splits=splits), HERE)
    (note,) = tight.notes
    assert note.startswith(f"{tight.left_out['overlap']} cells were left out: footprints of 2560 m overlap")
    spacing = float(note.split("spacing_m: ")[1].split()[0])
    for bbox in ([9.0, 46.0, 9.8, 46.6], [6.0, 59.0, 8.0, 60.0], [15.5, 0.0, 16.5, 1.0], [11.2, -50.0, 11.9, -49.5]):
        area = {"bbox": bbox, "land_only": False}
        roomy = sample_places(recipe(grid | {"spacing_m": spacing, "area": area}, splits=splits), HERE)
        assert "overlap" not in roomy.left_out
        assert roomy.notes == ()


def test_grid_covers_the_area_without_gaps(recipe: Recipes) -> None:
    """Cells 5 km apart under 10 km footprints with overlap: no point of the area is uncovered."""
    sampling = {"kind": "grid", "spacing_m": 5_000, "allow_overlap": True}
    sampling["area"] = {"bbox": [9.0, 46.0, 9.5, 46.5], "land_only": False}
    grid = {"size_m": 10_000, "resolution_m": 10}
    result = sample_places(recipe(sampling, grid=grid, splits={"train": 1, "val": 0, "test": 0}), HERE)
    import shapely

    from sampling import footprint

    covered = shapely.union_all([shapely.geometry.shape(footprint(p.geobox)) for p in result.places])
    assert covered.covers(shapely.box(9.0, 46.0, 9.5, 46.5))


def test_fine_grid_over_the_earth_is_lazy(recipe: Recipes) -> None:
    """A box of a 20 m grid (10**12 cells on Earth) is not enumerated beyond the box."""
    sampling = {"kind": "grid", "spacing_m": 20, "count": 10, "allow_overlap": True}
    result = sample_places(recipe(sampling | {"area": {"bbox": [9.0, 46.0, 9.01, 46.01]}}), HERE)
    assert len(result.places) + result.left_out.get("split_buffer", 0) >= 10


def test_points_of_a_file(recipe: Recipes, tmp_path: Path) -> None:
    (tmp_path / "p.csv").write_text(
        "sample_id,lon,lat\nA-1,9.0,46.0\nB_2,9.001,46.0\nsea,-30.5,0.5\nfar,100.0,60.0\nC,11.0,47.0\n"
    )
    sampling = {"kind": "points", "file": "p.csv", "area": {"bbox": [-40, -10, 20, 50], "land_only": True}}
    result = sample_places(recipe(sampling), tmp_path)
    check(result)
    assert [p.sample_id for p in result.places] == ["A-1", "C"]
    assert result.left_out == {"outside_area": 1, "not_on_land": 1, "overlap": 1}


def test_everything_left_out_is_an_error(recipe: Recipes, tmp_path: Path) -> None:
    (tmp_path / "p.csv").write_text("lon,lat\n-30.5,0.5\n")
    sampling = {"kind": "points", "file": "p.csv", "area": {"land_only": True}}
    with pytest.raises(SamplingError, match="no sample is left: not on land 1"):
        sample_places(recipe(sampling), tmp_path)


@pytest.mark.parametrize(
    "bbox",
    [
        [177.0, -19.0, -178.0, -15.0],
        [-180, 84.5, 180, 90],
        [-180, -90, 180, -85],
        [178, 70.5, -177, 71.7],
        [0, 71, 45, 81],
    ],
    ids=["Fiji", "north cap", "south cap", "Wrangel", "Svalbard"],
)
def test_hard_places(recipe: Recipes, bbox: list[float]) -> None:
    result = sample_places(recipe(uniform(300, {"bbox": bbox, "land_only": False})), HERE)
    check(result)
    assert len(result.places) == 300
    assert len({p.split for p in result.places}) == 3


def test_shards_hold_one_split_and_neighbours(recipe: Recipes) -> None:
    places = sample_places(recipe(uniform(3_000, ALPS, allow_overlap=True)), HERE).places
    shards = pack(places, Shards(samples=64))
    assert sorted(p.sample_id for s in shards for p in s) == sorted(p.sample_id for p in places)
    assert all(len({p.split for p in s}) == 1 for s in shards)
    assert all(0 < len(s) <= 64 for s in shards)
    sizes = Counter(p.split for p in places)
    assert len(shards) == sum(-(-n // 64) for n in sizes.values())
    assert pack(places[::-1], Shards(samples=64)) == shards
    train = [s for s in shards if s[0].split == "train"]
    spread = np.median([np.ptp([p.geobox.x_min for p in s]) for s in train if len({p.geobox.epsg for p in s}) == 1])
    assert spread < 150_000
    assert pack([], Shards()) == []


@settings(max_examples=30)
@given(st.integers(0, 65_534), st.integers(0, 65_534))
def test_hilbert_steps_to_a_neighbour(a: int, b: int) -> None:
    x, y = np.meshgrid(np.arange(16.0) * 250, np.arange(16.0) * 250)
    order = np.argsort(hilbert(x.ravel(), y.ravel()))
    steps = np.abs(np.diff(x.ravel()[order])) + np.abs(np.diff(y.ravel()[order]))
    assert (steps == 250).all()
    pair = hilbert(np.array([a, a + 1]) * 250.0, np.array([b, b]) * 250.0)
    assert pair[0] != pair[1]


def test_seasons() -> None:
    assert [season(m, 46.0) for m in (1, 4, 7, 10, 12)] == ["winter", "spring", "summer", "autumn", "winter"]
    assert [season(m, -34.0) for m in (1, 4, 7, 10)] == ["summer", "autumn", "winter", "spring"]
    assert season(7, 23.4) == season(1, -23.4) == "tropics"
    assert season(7, 23.5) == "summer"
    with pytest.raises(ValueError, match=r"month must be 1\.\.12, got 13"):
        season(13, 0.0)
    with pytest.raises(ValueError, match="latitude 91"):
        season(1, 91)


@pytest.mark.slow
def test_a_hundred_thousand_places_in_half_a_minute_of_cpu_time(recipe: Recipes) -> None:
    start = time.process_time()
    result = sample_places(recipe(uniform(100_000)), HERE)
    pack(result.places, Shards())
    assert len(result.places) == 100_000
    assert time.process_time() - start < 30
    check(result)
