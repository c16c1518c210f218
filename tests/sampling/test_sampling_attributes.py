"""Attributes of a points file: one type a column, the same from every format, and one clear line for every mistake."""

from __future__ import annotations

import datetime as dt
import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

from pipelines.plan.places import lay
from pipelines.recipes import RecipeFile
from pipelines.tables import read_part, read_shard_table
from sampling import SamplingError, locate
from sampling.points import read_points
from schemas.recipe import Recipe
from schemas.sampling import PointsSampling

if TYPE_CHECKING:
    from pathlib import Path

    from tests.sampling.conftest import Recipes

ROWS: list[dict[str, Any]] = [
    {"biomass": 12, "species": "oak", "plots": 3, "checked": True},
    {"biomass": None, "species": None, "plots": -(2**63), "checked": None},
    {"biomass": 1.5, "species": "=cmd|'x' {{7*7}} ../é", "plots": None, "checked": False},
]
NAMES = ("species", "biomass", "plots", "checked")
SAID = {
    "biomass": ("float64", [12.0, None, 1.5]),
    "checked": ("bool", [True, None, False]),
    "plots": ("int64", [3, -(2**63), None]),
    "species": ("string", ["oak", None, "=cmd|'x' {{7*7}} ../é"]),
}


def write(folder: Path, suffix: str, rows: list[dict[str, Any]]) -> str:
    """A points file of these rows, a hundredth of a degree from one another."""
    where = [(10 + i / 10, 46.0) for i in range(len(rows))]
    if suffix == "geojson":
        features = [
            {"type": "Feature", "geometry": {"type": "Point", "coordinates": at}, "properties": row}
            for at, row in zip(where, rows, strict=True)
        ]
        (folder / "p.geojson").write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    elif suffix == "csv":
        cells = [[*at, *("" if v is None else v for v in row.values())] for at, row in zip(where, rows, strict=True)]
        lines = [["lon", "lat", *rows[0]], *cells]
        (folder / "p.csv").write_text("\n".join(",".join(map(str, line)) for line in lines))
    else:
        columns = {name: [row[name] for row in rows] for name in rows[0]}
        lon, lat = zip(*where, strict=True)
        pq.write_table(pa.table({"lon": lon, "lat": lat, **columns}), folder / "p.parquet")
    return f"p.{suffix}"


@pytest.mark.parametrize("suffix", ["csv", "geojson", "parquet"])
def test_three_formats_say_the_same(tmp_path: Path, suffix: str) -> None:
    table = read_points(write(tmp_path, suffix, ROWS), tmp_path, NAMES)
    assert {a.name: (a.kind, a.values.to_pylist()) for a in table.attributes} == SAID
    assert [a.name for a in table.attributes] == sorted(NAMES)
    assert read_points(f"p.{suffix}", tmp_path).attributes == ()


@pytest.mark.parametrize(
    ("cells", "kind", "values"),
    [
        (["1", "+2", "-0"], "int64", [1, 2, 0]),
        (["1", "2.", ".5", "1e3"], "float64", [1.0, 2.0, 0.5, 1000.0]),
        (["01067", "10115"], "string", ["01067", "10115"]),
        (["1", "9223372036854775808"], "string", ["1", "9223372036854775808"]),
        (["true", "FALSE", ""], "bool", [True, False, None]),
        (["true", "unknown"], "string", ["true", "unknown"]),
        (["٣", "x"], "string", ["٣", "x"]),
    ],
)
def test_a_csv_column_is_of_the_narrowest_type(tmp_path: Path, cells: list[str], kind: str, values: list[Any]) -> None:
    name = write(tmp_path, "csv", [{"x": cell} for cell in cells])
    (found,) = read_points(name, tmp_path, ["x"]).attributes
    assert (found.kind, found.values.to_pylist()) == (kind, values)


MISTAKES: dict[str, tuple[str, list[Any], str]] = {
    "unknown": ("csv", [], "has no column 'x' for sampling.attributes; it has lon, lat, y"),
    "typo": ("csv", [12, "12_5"], "line 3: attribute 'x' is '12_5' .text., in line 2 it is '12' .an integer.; a col"),
    "truth and number": ("csv", ["true", "1"], "line 3: attribute 'x' is '1' .an integer., in line 2 it is 'true'"),
    "text": ("geojson", [1.5, None, "1"], "feature 3: attribute 'x' is '1' .text., in feature 1 it is 1.5 .a number.;"),
    "bool": ("geojson", [1, True], "feature 2: attribute 'x' is True .true/false., in feature 1 it is 1 .an integer"),
    "list": ("geojson", [1, [2]], r"feature 2: attribute 'x' is \[2\] .a list., expected true/false, a number or"),
    "date": ("parquet", [dt.time(12, 30)], "row 1: attribute 'x' is datetime.time.12, 30. .a time., expected"),
    "empty": ("geojson", [None, None], "column 'x' has no value in any row"),
    "too large": ("geojson", [2**63], "feature 1: attribute 'x' is 9223372036854775808, which does not fit in int64"),
    "infinite": ("csv", ["1.5", "1e999"], "line 3: attribute 'x' is inf, expected a finite number"),
    "huge": ("geojson", [1.5, 10**400], "feature 2: attribute 'x' is 1000000000.*, expected a finite number"),
    "surrogate": ("geojson", ["\ud800"], "feature 1: attribute 'x' is .*ud800', which is not valid Unicode"),
    "long": ("csv", ["a", "é" * 2049], "line 3: attribute 'x' has 4,098 bytes of text; at most 4,096 are allowed"),
}


@pytest.mark.parametrize(("suffix", "values", "message"), MISTAKES.values(), ids=MISTAKES)
def test_mistakes_are_one_clear_line(tmp_path: Path, suffix: str, values: list[Any], message: str) -> None:
    name = write(tmp_path, suffix, [{"x": v} for v in values] or [{"y": 1}])
    with pytest.raises(SamplingError, match=message) as caught:
        read_points(name, tmp_path, ["x"])
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(f"{name!r}")
    assert len(str(caught.value)) < 300


def test_names_that_a_query_cannot_say_are_refused() -> None:
    for wrong in ("tree height", "1st", "a.b", "x" * 65, ""):
        with pytest.raises(ValidationError, match="attributes"):
            PointsSampling(file="p.csv", attributes=(wrong,))
    with pytest.raises(ValidationError, match="'DBH' and 'dbh' are the same name"):
        PointsSampling(file="p.csv", attributes=("DBH", "dbh"))


def test_a_recipe_without_attributes_is_what_it_was() -> None:
    assert "attributes" not in PointsSampling(file="p.csv").model_dump_json()
    with_them = PointsSampling(file="p.csv", attributes=NAMES)
    assert PointsSampling.model_validate_json(with_them.model_dump_json()) == with_them


def carried(folder: Path, recipe: Recipes, **more: Any) -> Recipe:
    return recipe({"kind": "points", "file": write(folder, "csv", ROWS), **more}, shards={"samples": 2})


def test_attributes_stay_with_their_samples_into_the_plan(tmp_path: Path, recipe: Recipes) -> None:
    made = carried(tmp_path, recipe, attributes=list(NAMES))
    located = locate(made, tmp_path)
    places = {p.sample_id: p for p in located.places(np.arange(len(located)))}
    for row, sample in enumerate(("p0000001", "p0000002", "p0000003")):
        assert places[sample].attributes == tuple((name, values[row]) for name, (_, values) in SAID.items())
    laid = lay(RecipeFile(recipe=made, folder=tmp_path), tmp_path / "plan", tmp_path / "work")
    assert laid.attributes == {name: kind for name, (kind, _) in SAID.items()}
    assert lay(RecipeFile(recipe=made, folder=tmp_path), tmp_path / "plan", tmp_path / "work") == laid
    parts = [read_part(tmp_path / "plan", n) for n in range(read_shard_table(tmp_path / "plan").parts)]
    assert {p.sample_id: p for part in parts for p in part.places} == places


def test_a_plan_without_attributes_knows_nothing_of_them(tmp_path: Path, recipe: Recipes) -> None:
    made = carried(tmp_path, recipe)
    lay(RecipeFile(recipe=made, folder=tmp_path), tmp_path / "plan", tmp_path / "work")
    for path in (tmp_path / "plan").rglob("*.*"):
        assert b"attr" not in path.read_bytes(), path.name
