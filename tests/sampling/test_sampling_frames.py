"""Samples drawn from files: around cities, inside polygons, one per object; strata in balance, from the seed alone."""

from __future__ import annotations

import csv
import json
import random
from typing import TYPE_CHECKING, Any

import numpy as np
import pyproj
import pytest
import shapely
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sampling import SamplingError, locate

if TYPE_CHECKING:
    from pathlib import Path

    from sampling import Located
    from tests.sampling.conftest import Recipes

GEOD = pyproj.Geod(ellps="WGS84")
EVERYWHERE = {"land_only": False}


def write_csv(path: Path, rows: list[dict[str, Any]]) -> None:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)


def write_parquet(path: Path, rows: list[dict[str, Any]], shapes: list[Any] | None = None) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pa.table({k: [r[k] for r in rows] for k in rows[0]})
    if shapes is not None:
        geo = {"version": "1.1.0", "primary_column": "geometry", "columns": {"geometry": {"encoding": "WKB"}}}
        table = table.append_column("geometry", pa.array(shapely.to_wkb(shapes), pa.binary()))
        table = table.replace_schema_metadata({"geo": json.dumps(geo)})
    pq.write_table(table, path, row_group_size=64)


def biomes(count: int, seed: int = 1) -> list[dict[str, Any]]:
    chance = random.Random(seed)
    return [
        {
            "lon": round(chance.uniform(5, 15), 5),
            "lat": round(chance.uniform(44, 54), 5),
            "biome": chance.choices([1, 2, 14], [80, 15, 5])[0],
            "sample_id": f"place-{i}",
        }
        for i in range(count)
    ]


def drawn(recipe: Recipes, folder: Path, sampling: dict[str, Any], **sections: Any) -> Located:
    return locate(recipe({"kind": "draw", "area": EVERYWHERE} | sampling, **sections), folder)


def columns(found: Located) -> dict[str, Any]:
    return found.columns(np.arange(len(found)))


def test_strata_get_equal_numbers_and_ids_come_from_the_file(tmp_path: Path, recipe: Recipes) -> None:
    write_csv(tmp_path / "p.csv", biomes(3_000))
    sampling = {"count": 300, "from": {"file": "p.csv"}, "balance": ["biome"], "attributes": ["biome"]}
    found = columns(drawn(recipe, tmp_path, sampling, splits={"block_m": 20_000, "buffer_m": 2_000}))
    assert np.unique(found["attr_biome"], return_counts=True)[1].tolist() == [100, 100, 100]
    assert found["stratum"] == [f"biome={b}" for b in found["attr_biome"]]
    said = {row["sample_id"]: row["biome"] for row in biomes(3_000)}
    assert [said[name] for name in found["sample_id"]] == found["attr_biome"]


def test_a_poor_stratum_is_named_and_the_others_stay_in_balance(tmp_path: Path, recipe: Recipes) -> None:
    rows = [r for r in biomes(2_000) if r["biome"] != 14] + [r for r in biomes(2_000) if r["biome"] == 14][:5]
    write_csv(tmp_path / "p.csv", rows)
    found = drawn(recipe, tmp_path, {"count": 300, "from": {"file": "p.csv"}, "balance": ["biome"]})
    assert np.unique(columns(found)["stratum"], return_counts=True)[1].tolist() == [100, 5, 100]
    assert any("biome=14: 5 of 100" in note for note in found.notes)


def test_a_subset_keeps_the_distribution_of_its_file(tmp_path: Path, recipe: Recipes) -> None:
    rows = biomes(3_000)
    write_csv(tmp_path / "p.csv", rows)
    sampling = {"count": 400, "from": {"file": "p.csv"}, "balance": ["biome"], "shares": "as_file"}
    found = columns(drawn(recipe, tmp_path, sampling | {"allow_overlap": True}))
    held = np.array([sum(r["biome"] == b for r in rows) for b in (1, 14, 2)]) / len(rows)
    assert np.abs(np.unique(found["stratum"], return_counts=True)[1] / 400 - held).max() <= 1 / 400


def test_the_same_rows_in_three_formats_give_the_same_samples(tmp_path: Path, recipe: Recipes) -> None:
    rows = biomes(500)
    write_csv(tmp_path / "p.csv", rows)
    write_parquet(tmp_path / "p.parquet", rows, [shapely.Point(r["lon"], r["lat"]) for r in rows])
    features = [
        {
            "type": "Feature",
            "geometry": {"type": "Point", "coordinates": [r["lon"], r["lat"]]},
            "properties": {k: r[k] for k in ("biome", "sample_id")},
        }
        for r in rows
    ]
    (tmp_path / "p.geojson").write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    sampling = {"count": 60, "balance": ["biome"]}
    results = [
        columns(drawn(recipe, tmp_path, sampling | {"from": {"file": f"p.{x}"}})) for x in ("csv", "parquet", "geojson")
    ]
    for other in results[1:]:
        assert other["sample_id"] == results[0]["sample_id"]
        assert np.array_equal(other["x_min"], results[0]["x_min"])


def test_cities_get_a_gaussian_of_the_spread_around_them(tmp_path: Path, recipe: Recipes) -> None:
    write_csv(tmp_path / "c.csv", [{"lon": 10, "lat": 60, "pop": 1}, {"lon": 100, "lat": -30, "pop": 3}])
    sampling = {"count": 4_000, "from": {"file": "c.csv", "spread_m": 50_000, "weight": "pop"}, "allow_overlap": True}
    found = columns(drawn(recipe, tmp_path, sampling, splits={"by": "random"}, grid={"size_m": 20}))
    lon, lat = np.array(found["lon"]), np.array(found["lat"])
    north = lat > 0
    assert abs(north.mean() - 0.25) < 0.03
    for mine, (x, y) in ((north, (10, 60)), (~north, (100, -30))):
        bearing, _, far = GEOD.inv(np.full(mine.sum(), x), np.full(mine.sum(), y), lon[mine], lat[mine])
        for part in (far * np.sin(np.radians(bearing)), far * np.cos(np.radians(bearing))):
            assert abs(part.std() / 50_000 - 1) < 0.06
            assert abs(part.mean()) < 5_000


def test_crowded_cities_lose_overlaps_and_none_is_left(tmp_path: Path, recipe: Recipes) -> None:
    write_csv(tmp_path / "c.csv", [{"lon": 10, "lat": 50}])
    sampling = {"count": 150, "from": {"file": "c.csv", "spread_m": 15_000}}
    found = drawn(recipe, tmp_path, sampling, splits={"by": "random"})
    assert len(found) == 150
    assert found.left_out["overlap"] > 0
    x, y = found.footprints.x_min, found.footprints.y_max
    boxes = shapely.box(x, y - 2_560, x + 2_560, y)
    pairs = shapely.STRtree(boxes).query(boxes, predicate="overlaps")
    assert shapely.area(shapely.intersection(boxes[pairs[0]], boxes[pairs[1]])).max(initial=0) < 1


SCENES = [shapely.box(0, 0, 1, 1), shapely.box(30, 60, 34, 64), shapely.box(178, -10, 180, -5)]
FAR = shapely.Polygon([(179, 20), (-179, 20), (-179, 22), (179, 22)])


def test_rows_have_the_same_chance_or_ground_has(tmp_path: Path, recipe: Recipes) -> None:
    write_parquet(tmp_path / "s.parquet", [{"id": i} for i in range(4)], [*SCENES, FAR])
    truth = np.array([abs(GEOD.geometry_area_perimeter(s)[0]) for s in SCENES])
    truth = np.append(truth, abs(GEOD.geometry_area_perimeter(shapely.box(179, 20, 181, 22))[0]))
    for then, shares in (("row", np.full(4, 0.25)), ("area", truth / truth.sum())):
        sampling = {"count": 4_000, "from": {"file": "s.parquet"}, "then": then, "allow_overlap": True}
        found = columns(
            drawn(recipe, tmp_path, sampling | {"attributes": ["id"]}, splits={"by": "random"}, grid={"size_m": 20})
        )
        got = np.bincount(found["attr_id"], minlength=4) / 4_000
        assert np.abs(got - shares).max() < 0.025
        for lon, lat, scene in zip(found["lon"], found["lat"], found["attr_id"], strict=True):
            shape = shapely.box(179, 20, 181, 22) if scene == 3 else SCENES[scene]
            assert shape.buffer(0.001).contains(shapely.Point(lon % 360, lat))


def test_balance_over_ecoregions_then_area(tmp_path: Path, recipe: Recipes) -> None:
    shapes = [shapely.box(0, 0, 8, 8), shapely.box(10, 0, 11, 1), shapely.box(20, 40, 21, 41)]
    write_parquet(tmp_path / "e.parquet", [{"biome": b} for b in ("a", "b", "b")], shapes)
    sampling = {"count": 300, "from": {"file": "e.parquet"}, "balance": ["biome"], "then": "area"}
    found = columns(drawn(recipe, tmp_path, sampling, grid={"size_m": 640}))
    assert np.unique(found["stratum"], return_counts=True)[1].tolist() == [150, 150]
    near_equator = sum(lat < 2 for lat, s in zip(found["lat"], found["stratum"], strict=True) if s == "biome=b")
    assert abs(near_equator / 150 - 1 / (1 + np.cos(np.radians(40.5)))) < 0.1


def test_one_sample_per_map_object_by_tags_and_category(tmp_path: Path, recipe: Recipes) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    tags = [{"building": "church"}, {"amenity": "school", "building": "yes"}, {"highway": "path"}, {"building": "barn"}]
    shapes = [
        s.buffer(0.001) if i % 2 else shapely.LineString([s, (s.x + 0.001, s.y)])
        for i, s in enumerate(shapely.Point(x / 10, 50 + x / 100) for x in range(80))
    ]
    geo = {"version": "1.1.0", "primary_column": "geometry", "columns": {"geometry": {"encoding": "WKB"}}}
    table = pa.table(
        {
            "osm_id": [f"w{i}" for i in range(80)],
            "tags": pa.array([list(tags[i % 4].items()) for i in range(80)], pa.map_(pa.string(), pa.string())),
            "geometry": shapely.to_wkb(shapes),
        }
    )
    pq.write_table(table.replace_schema_metadata({"geo": json.dumps(geo)}), tmp_path / "o.parquet")
    frame = {
        "file": "o.parquet",
        "at": "centre",
        "categories": {"school": {"tags.amenity": "school"}, "house": {"tags.building": ["church", "yes"]}},
    }
    sampling = {"count": 30, "from": frame, "balance": ["category"], "attributes": ["osm_id"]}
    found = columns(drawn(recipe, tmp_path, sampling, grid={"size_m": 320}, splits={"by": "random"}))
    got = dict(zip(found["attr_osm_id"], found["stratum"], strict=True))
    assert len(got) == 30
    assert all(s == f"category={('house', 'school')[int(o[1:]) % 4]}" for o, s in got.items())
    places = {o: (x, y) for o, x, y in zip(found["attr_osm_id"], found["lon"], found["lat"], strict=True)}
    for name, (x, y) in places.items():
        assert shapely.distance(shapely.centroid(shapes[int(name[1:])]), shapely.Point(x, y)) < 0.001
    with pytest.raises(SamplingError, match=r"row 1: geometry is a LineString.*at: centre"):
        drawn(recipe, tmp_path, {"count": 3, "from": {"file": "o.parquet"}})


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**40), count=st.integers(1, 60), strata=st.integers(1, 7))
def test_a_draw_depends_on_the_seed_and_is_in_balance(
    tmp_path: Path, recipe: Recipes, seed: int, count: int, strata: int
) -> None:
    chance = random.Random(5)
    rows = [{"lon": i % 40 - 20, "lat": i // 40, "kind": chance.randrange(strata), "w": i % 3} for i in range(1_600)]
    write_parquet(tmp_path / "p.parquet", rows)
    frame = {"file": "p.parquet", "weight": "w"}
    sampling = {"count": count, "from": frame, "balance": ["kind"], "attributes": ["w"]}
    one, two = (columns(drawn(recipe, tmp_path, sampling, seed=seed)) for _ in range(2))
    assert one["sample_id"] == two["sample_id"]
    assert len(set(one["sample_id"])) == count
    assert 0 not in one["attr_w"]
    got = [one["stratum"].count(f"kind={k}") for k in range(strata)]
    assert max(got) - min(got) <= 1


@pytest.mark.parametrize(
    ("sampling", "words"),
    [
        ({"from": {"file": "none.csv"}}, r"'none.csv' \(sampling.from.file\) does not exist"),
        ({"from": {"file": "p.csv", "where": {"bioem": 1}}}, r"no column 'bioem'; its columns are lon, lat, biome"),
        ({"from": {"file": "p.csv", "where": {"biome": 99}}}, "no row can be drawn"),
        ({"from": {"file": "p.csv", "weight": "sample_id"}}, "line 2: sample_id is 'place-0', expected a number"),
        ({"from": {"file": "p.csv"}, "then": "area"}, "holds points, and `then: area` draws inside polygons"),
        ({"from": {"file": "bad.csv"}}, r"line 3: lat 146 is outside \[-90, 90\]"),
        (
            {"from": {"file": "s.parquet", "spread_m": 5}},
            "row 1: geometry is a Polygon; a frame has points for `spread",
        ),
    ],
)
def test_mistakes_are_one_line(tmp_path: Path, recipe: Recipes, sampling: dict[str, Any], words: str) -> None:
    write_csv(tmp_path / "p.csv", biomes(20))
    (tmp_path / "bad.csv").write_text("lon,lat\n1,2\n1,146\n")
    write_parquet(tmp_path / "s.parquet", [{"id": 1}], SCENES[:1])
    with pytest.raises(SamplingError, match=words) as error:
        drawn(recipe, tmp_path, {"count": 5} | sampling)
    assert "\n" not in str(error.value)
