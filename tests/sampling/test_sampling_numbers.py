"""Numbers from polygons and tables beside the recipe: what shapely says one by one; each mistake one line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyproj
import pytest
import shapely

from sampling import frames, locate
from sampling.errors import SamplingError
from sampling.geobox import footprint, outlines
from sampling.located import Located
from sampling.numbers import with_numbers
from schemas.recipe import Recipe

AREA = [10.0, 47.0, 11.0, 48.0]


def recipe(numbers: dict[str, Any], **sampling: Any) -> Recipe:
    return Recipe.model_validate(
        {
            "name": "n", "seed": 3, "grid": {"size_m": 4000, "resolution_m": 10},
            "sampling": {"kind": "uniform", "count": 60, "area": {"bbox": AREA, "land_only": False}} | sampling,
            "providers": {"far": {"url": "https://stac.example/v1"}},
            "sources": [{"kind": "dem", "providers": ["far"]}], "numbers": numbers,
            "splits": {"buffer_m": 0, "block_m": 1000},
        }
    )  # fmt: skip


def polygons(folder: Path, shapes: list[shapely.Geometry], values: list[Any], name: str = "p.geojson") -> None:
    features = [
        {"type": "Feature", "properties": {"name": v}, "geometry": json.loads(shapely.to_geojson(g))}
        for g, v in zip(shapes, values, strict=True)
    ]
    (folder / name).write_text(json.dumps({"type": "FeatureCollection", "features": features}))


def numbered(folder: Path, numbers: dict[str, Any], **sampling: Any) -> Located:
    made = recipe(numbers, **sampling)
    return with_numbers(locate(made, folder), made, folder)


def values_of(located: Located, name: str) -> list[Any]:
    return next(a for a in located.attributes if a.name == name).values.to_pylist()


def voronoi(seed: int, count: int) -> list[shapely.Geometry]:
    rng = np.random.default_rng(seed)
    points = shapely.multipoints(rng.uniform(AREA[:2], AREA[2:], (count, 2)))
    cells = shapely.get_parts(shapely.voronoi_polygons(points, extend_to=shapely.box(*AREA)))
    return [shapely.intersection(c, shapely.box(10.05, 47.0, 11.1, 48.1)) for c in cells]


def test_polygons_are_those_that_shapely_finds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where the file is read in pieces of 7 rows: the ground is measured in an equal-area projection."""
    shapes = voronoi(1, 60)
    polygons(tmp_path, shapes, [f"cell {i}" for i in range(len(shapes))])
    monkeypatch.setattr(frames, "ROWS", 7)
    found = numbered(
        tmp_path,
        {"at": {"polygons": "p.geojson", "column": "name"},
         "most": {"polygons": "p.geojson", "column": "name", "by": "most"}},
    )  # fmt: skip
    laea = pyproj.Transformer.from_crs(4326, 3035, always_xy=True)

    def area(geometry: shapely.Geometry) -> float:
        return float(shapely.transform(geometry, laea.transform, interleaved=False).area)

    for i, place in enumerate(found.places(np.arange(len(found)))):
        centre = [f"cell {j}" for j, s in enumerate(shapes) if shapely.intersects_xy(s, place.lon, place.lat)]
        assert values_of(found, "at")[i] == (centre[0] if centre else None)
        ground = shapely.geometry.shape(footprint(place.geobox))
        covered = [area(s.intersection(ground)) for s in shapes]
        two = sorted(covered)[-2:]
        if two[1] - two[0] > 1e-4 * two[1]:
            assert values_of(found, "most")[i] == (f"cell {int(np.argmax(covered))}" if two[1] else None)
    lacking = values_of(found, "at").count(None)
    assert lacking
    assert f"numbers.at: {lacking} of 60 samples lie in no polygon of p.geojson with a value of name" in found.notes


def test_geoparquet_is_read_in_pieces_and_types_stay(tmp_path: Path) -> None:
    import geopandas

    shapes = voronoi(2, 20)
    table = geopandas.GeoDataFrame({"biome": np.arange(len(shapes)), "rate": 0.5}, geometry=shapes, crs=4326)
    table.to_parquet(tmp_path / "p.parquet")
    found = numbered(
        tmp_path, {n: {"polygons": "p.parquet", "column": n} for n in ("biome", "rate")}
    )  # fmt: skip
    assert {a.name: a.kind for a in found.attributes} == {"biome": "int64", "rate": "float64"}


def test_polygons_across_the_antimeridian_hold_samples_of_both_sides(tmp_path: Path) -> None:
    ring = [[179.0, -1.0], [-179.0, -1.0], [-179.0, 1.0], [179.0, 1.0], [179.0, -1.0]]
    feature = {"type": "Feature", "properties": {"name": "sea"}, "geometry": {"type": "Polygon", "coordinates": [ring]}}
    (tmp_path / "p.geojson").write_text(json.dumps({"type": "FeatureCollection", "features": [feature]}))
    for by in ("centre", "most"):
        found = numbered(
            tmp_path, {"a": {"polygons": "p.geojson", "column": "name", "by": by}},
            area={"bbox": [179.5, -0.5, -179.5, 0.5], "land_only": False},
        )  # fmt: skip
        assert set(values_of(found, "a")) == {"sea"}


def test_outlines_are_the_footprints(tmp_path: Path) -> None:
    for box in (AREA, [179.9, 60, -179.9, 60.2], [0, 85, 40, 86], [-180, -90, 180, -89]):
        made = recipe({}, area={"bbox": box, "land_only": False}, allow_overlap=True, count=20)
        found = locate(made, tmp_path)
        for place, made_of in zip(found.places(np.arange(len(found))), outlines(found.footprints), strict=True):
            assert shapely.equals(made_of, shapely.geometry.shape(footprint(place.geobox)))


def test_tables_by_id_and_by_another_number(tmp_path: Path) -> None:
    shapes = voronoi(4, 5)
    polygons(tmp_path, shapes, list(range(len(shapes))))
    (tmp_path / "t.csv").write_text("sample_id,income,code\nu000000003,12.5,007\nzz,1,1\nu000000001,3,\n")
    (tmp_path / "c.csv").write_text("name,label\n" + "".join(f"{i},c{i}\n" for i in range(len(shapes))))
    found = numbered(
        tmp_path,
        {"income": {"table": "t.csv", "column": "income"}, "code": {"table": "t.csv", "column": "code"},
         "label": {"table": "c.csv", "column": "label", "id": "name", "match": "attr_cell"},
         "cell": {"polygons": "p.geojson", "column": "name"}},
    )  # fmt: skip
    ids = found.names(found.key)
    assert {i: v for i, v in zip(ids, values_of(found, "income"), strict=True) if v is not None} == {
        "u000000001": 3.0, "u000000003": 12.5,
    }  # fmt: skip
    assert set(values_of(found, "code")) == {None, "007"}
    cells = values_of(found, "cell")
    assert values_of(found, "label") == [None if c is None else f"c{c}" for c in cells]


@pytest.mark.parametrize(
    ("numbers", "content", "why"),
    [
        ({"polygons": "q.geojson", "column": "x"}, {}, "'q.geojson' (numbers.a.polygons) does not exist"),
        ({"polygons": "p.geojson", "column": "nome"}, {}, "has no column 'nome'; its columns are name"),
        ({"table": "t.csv", "column": "v"}, {"t.csv": "id,v\na,1\n"}, "has no column 'sample_id'"),
        ({"table": "t.csv", "column": "v"}, {"t.csv": "sample_id,v\na,1\n"}, "no sample has a row of 't.csv'"),
        (
            {"table": "t.csv", "column": "v"},
            {"t.csv": "sample_id,v\nu000000001,1\nu000000001,2\n"},
            "line 2 and line 3 have the same sample_id, 'u000000001'; a sample takes one value",
        ),
        ({"polygons": "far.geojson", "column": "name"}, {}, "no sample lies in a polygon of 'far.geojson'"),
        ({"polygons": "metres.geojson", "column": "name"}, {}, "expected degrees of longitude and latitude"),
        ({"polygons": "points.geojson", "column": "name"}, {}, "feature 1: geometry is a Point; expected polygons"),
        ({"polygons": "p.shp", "column": "name"}, {"p.shp": "x"}, "expected .csv, .geojson, .json or .parquet"),
    ],
)
def test_each_mistake_is_one_line(tmp_path: Path, numbers: dict[str, Any], content: dict[str, str], why: str) -> None:
    for name, text in content.items():
        (tmp_path / name).write_text(text)
    polygons(tmp_path, [shapely.box(*AREA)], ["here"])
    polygons(tmp_path, [shapely.box(50, 10, 51, 11)], ["far"], "far.geojson")
    polygons(tmp_path, [shapely.box(500_000, 5e6, 501_000, 5.1e6)], ["m"], "metres.geojson")
    polygons(tmp_path, [shapely.Point(10, 47)], ["p"], "points.geojson")
    with pytest.raises(SamplingError) as caught:
        numbered(tmp_path, {"a": numbers})
    assert why in str(caught.value)
    assert "\n" not in str(caught.value)
