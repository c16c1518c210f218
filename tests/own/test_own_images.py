"""Own images beside the recipe: every kind of file, as GDAL warps it, from a folder and from a server."""

from __future__ import annotations

import json
import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import rasterio
import shapely
from typer.testing import CliRunner

import pipelines.__main__ as commands
from pipelines.access.archives import Archives
from pipelines.access.http.folder import RECIPE_FOLDER
from pipelines.catalogue import Dates, _ground, date_in, make_catalogue, period_of
from pipelines.recipes import RecipeError, read_recipe
from pipelines.sources import open_source
from pipelines.sources.read_shard import ObservationRequest, gather
from schemas.place import BBox
from schemas.recipe import Recipe
from schemas.stack import Observation
from testbed.services import serve_catalogue
from tests.access.rasters.test_cog_warp import oracle
from tests.own.photos import KINDS, place, write

RECIPE = """
name: own
seed: 1
sampling: {{ kind: uniform, count: 1 }}
grid: {{ size_m: 120, resolution_m: 1 }}
windows: [{{ name: june, start: 2021-06-01, end: 2021-06-30 }}]
providers: {{ mine: {{ url: "{url}" }} }}
sources:
  - layer: own
    providers: [mine]
    collection: photos
    min_valid: 0.1
    arrays: {{ pixels: {{ resolution_m: 1, dtype: {dtype}, kernel: {kernel}, bands: {{ {bands} }} }} }}
"""


def run(*words: str | Path) -> Any:
    return CliRunner().invoke(commands.app, [str(w) for w in words])


def catalogue(folder: Path, name: str = "items.parquet", **dates: Any) -> Path:
    out = folder / name
    found = make_catalogue(folder, out, Dates(**dates), "photos")
    assert not found.refused, found.refused
    return out


def recipe_of(folder: Path, url: str, dtype: str, count: int, kernel: str = "bilinear") -> Recipe:
    bands = ", ".join(f"b{n}: 'image#{n}'" for n in range(1, count + 1))
    path = folder / "own.yaml"
    path.write_text(RECIPE.format(url=url, dtype=dtype, kernel=kernel, bands=bands))
    return read_recipe(path).recipe


def observe(recipe: Recipe) -> Observation:
    (entry,) = recipe.sources
    source = open_source(entry)
    with Archives(recipe.providers) as archives:
        archives.check()
        found = archives.search("mine", "photos", [BBox(2.0, 48.0, 3.0, 49.5)], None)
        scenes = source.collapse([source.parse(item, "mine", archives.providers["mine"]) for item in found])
        request = ObservationRequest(place(), 0, tuple(source.candidates(scenes, place(), recipe.windows[0])))
        (got,) = gather(source, recipe, [request], {s.item_id: s for s in scenes}, archives.reader)
    assert isinstance(got, Observation), got
    return got


@pytest.mark.slow
@pytest.mark.parametrize("served", ["folder", "folder-json", "http"])
@pytest.mark.parametrize("kind", list(KINDS))
def test_own_images_have_the_pixels_of_gdal(
    kind: str, served: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(RECIPE_FOLDER, str(tmp_path))
    path = write(tmp_path / "photos" / "sub folder" / "é 1#2%3.tif", kind)
    made = catalogue(tmp_path / "photos", "items.json" if served == "folder-json" else "items.parquet")
    count = 3 if kind == "rgba" else KINDS[kind]["count"]
    if served == "http":
        with serve_catalogue([], {"/own/": tmp_path / "photos"}) as services:
            got = observe(recipe_of(tmp_path, f"{services.base_url}/own/{made.name}", KINDS[kind]["dtype"], count))
    else:
        got = observe(recipe_of(tmp_path, f"photos/{made.name}", KINDS[kind]["dtype"], count))
    expected, valid = oracle(path, place().geobox, "bilinear")
    array = got.arrays["pixels"]
    assert array.shape == (count, 120, 120)
    if kind in ("rgba", "float", "degrees"):
        assert 0.1 < valid.mean() < 0.97
    off = np.abs(array[0][valid].astype(np.float64) - expected[valid])
    assert off.max() <= (1e-2 if kind == "float" else 1.0)
    assert got.datetime == datetime(2021, 6, 5, 10, 30, tzinfo=UTC)


def test_the_catalogue_is_plain_stac_geoparquet_without_a_path_of_this_machine(tmp_path: Path) -> None:
    write(tmp_path / "photos" / "a.tif", "float")
    write(tmp_path / "photos" / "b" / "a.TIFF", "rgba")
    out = catalogue(tmp_path / "photos")
    first = out.read_bytes()
    assert str(tmp_path).encode() not in first
    table = pq.read_table(out)
    assert json.loads(table.schema.metadata[b"geo"])["primary_column"] == "geometry"
    rows = table.to_pylist()
    assert [r["id"] for r in rows] == ["a", "b-a"]
    assert [r["assets"]["image"]["href"] for r in rows] == ["./a.tif", "./b/a.TIFF"]
    alone = rows[0]["assets"]["image"]
    assert alone["proj:code"] is None
    assert "us-ft" in alone["proj:wkt2"] or "US survey foot" in alone["proj:wkt2"]
    assert alone["raster:spatial_resolution"] == pytest.approx(3.0 * 0.3048006, rel=1e-4)
    assert [b["name"] for b in rows[1]["assets"]["image"]["bands"]] == ["red", "green", "blue"]
    assert shapely.from_wkb(rows[0]["geometry"]).contains(shapely.Point(place().lon, place().lat))
    assert run("catalogue", tmp_path / "photos", "--collection", "photos").exit_code == 0
    assert out.read_bytes() == first


def test_the_printed_lines_are_a_source_of_a_recipe(tmp_path: Path) -> None:
    write(tmp_path / "My Photos" / "a.tif")
    done = run("catalogue", tmp_path / "My Photos")
    assert done.exit_code == 0
    assert str(tmp_path) not in done.output
    lines = done.stdout[done.stdout.index("providers:") :]
    head = "name: own\nseed: 1\nsampling: { kind: uniform, count: 1 }\ngrid: { size_m: 100 }\n"
    (tmp_path / "own.yaml").write_text(f"{head}windows: [{{ name: y, start: 2021-01-01, end: 2021-12-31 }}]\n{lines}")
    (source,) = read_recipe(tmp_path / "own.yaml").recipe.sources
    assert source.name == "my-photos"
    assert source.modality.band_names == ("red", "green", "blue")


@pytest.mark.parametrize(
    ("name", "options", "start", "end"),
    [
        ("a.tif", ["--datetime", "2019"], "2019-01-01T00:00:00Z", "2019-12-31T23:59:59Z"),
        ("a.tif", ["--datetime", "2019-02/2019-03-04"], "2019-02-01T00:00:00Z", "2019-03-04T23:59:59Z"),
        ("a.tif", ["--datetime", "2019-02-03T10:00:00+02:00"], "2019-02-03T08:00:00Z", None),
        ("32_5412_20190203_1.tif", ["--date-pattern", "%Y%m%d"], "2019-02-03T00:00:00Z", None),
        ("dop_99_2019-12.tif", ["--date-pattern", "%Y-%m"], "2019-12-01T00:00:00Z", "2019-12-31T23:59:59Z"),
        ("x2019034T1030.tif", ["--date-pattern", "x%Y%jT%H%M"], "2019-02-03T10:30:00Z", None),
        ("a.tif", [], "2021-06-05T10:30:00Z", None),
    ],
)
def test_dates_come_from_an_option_the_name_or_the_file(
    name: str, options: list[str], start: str, end: str | None, tmp_path: Path
) -> None:
    write(tmp_path / "p" / name)
    done = run("catalogue", tmp_path / "p", "--out", tmp_path / "p" / "items.json", *options)
    assert done.exit_code == 0, done.output
    (item,) = json.loads((tmp_path / "p" / "items.json").read_text())["features"]
    facts = item["properties"]
    assert (facts.get("start_datetime") or facts["datetime"], facts.get("end_datetime")) == (start, end)


@pytest.mark.parametrize("text", ["", "now", "2021-13", "2021-02-30", "21", "2021/2020", "2021-06-05/", "\x1b[31m"])
def test_a_time_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"expected 2021|ends before"):
        period_of(text)
    assert run("catalogue", ".", "--datetime", text).exit_code == 2


@pytest.mark.parametrize("pattern", ["%m%d", "%Y%Y", "%Y%q", "", "%"])
def test_a_pattern_without_a_year_or_with_unknown_codes_is_refused(pattern: str) -> None:
    with pytest.raises(ValueError, match="--date-pattern: expected %Y"):
        date_in("2021.tif", pattern)


def test_files_that_cannot_be_used_cost_one_line_each_and_the_others_nothing(tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    write(photos / "good.tif")
    write(photos / "undated.tif", date=None)
    write(photos / "wrong-date.tif", date="yesterday")
    write(photos / "complex.tif", "strips", dtype="complex64")
    write(photos / "long.tif", "strips", dtype="int64")
    cut = write(photos / "cut.tif")
    cut.write_bytes(cut.read_bytes()[:-5_000])
    head = write(photos / "head.tif", "strips")
    head.write_bytes(head.read_bytes()[:100])
    (photos / "empty.tif").write_bytes(b"")
    (photos / "text.tif").write_text("II*\0 not really")
    with rasterio.open(photos / "nowhere.tif", "w", driver="GTiff", width=9, height=9, count=1, dtype="uint8") as file:
        file.write(np.ones((1, 9, 9), np.uint8))
    shutil.copy(write(tmp_path / "outside.tif"), tmp_path / "secret.tif")
    (photos / "link.tif").symlink_to(tmp_path / "secret.tif")
    (photos / "away").symlink_to(tmp_path)
    (photos / "evil\x1b[31m\n.tif").write_bytes(b"x")
    (photos / "notes.txt").write_text("x")
    (photos / ".hidden.tif").write_bytes(b"x")
    done = run("catalogue", photos)
    assert done.exit_code == 3
    assert "items.parquet: 1 images of photos" in done.stdout
    lines = {line.split(": ")[1]: line for line in done.stderr.strip().splitlines()}
    for name, said in {
        "undated.tif": "no date: it has no TIFFTAG_DATETIME; give --datetime",
        "wrong-date.tif": "its TIFFTAG_DATETIME 'yesterday' is none",
        "complex.tif": "contains complex64 numbers",
        "long.tif": "holds int64 numbers",
        "cut.tif": "is cut short",
        "head.tif": "header",
        "empty.tif": "not a raster",
        "text.tif": "header",
        "nowhere.tif": "no CRS; gdal_edit.py -a_srs",
        "link.tif": "is a symbolic link",
        "away": "is a symbolic link",
        "evil\\x1b[31m\\n.tif": "cannot be printed",
    }.items():
        assert said in lines.pop(name), name
    assert not lines
    assert "\x1b" not in done.output
    assert str(tmp_path) not in done.output
    assert [r["id"] for r in pq.read_table(photos / "items.parquet").to_pylist()] == ["good"]
    for bad in photos.glob("*.tif"):
        if bad.name != "undated.tif":
            bad.unlink()
    none = run("catalogue", photos, "--out", photos / "other.parquet")
    assert none.exit_code == 1
    assert not (photos / "other.parquet").exists()


def test_a_catalogue_elsewhere_than_above_its_images_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "photos" / "a.tif")
    (tmp_path / "beside").mkdir()
    (tmp_path / "photos" / "mine.parquet").write_bytes(b"my own parcels")
    for out, said in {
        tmp_path / "beside" / "items.parquet": "never opened",
        tmp_path / "photos" / "items.txt": "ends in .parquet or .json",
        tmp_path / "photos" / "mine.parquet": "is there and is no catalogue",
    }.items():
        with pytest.raises(RecipeError, match=said):
            make_catalogue(tmp_path / "photos", out, Dates())
    assert (tmp_path / "photos" / "mine.parquet").read_bytes() == b"my own parcels"
    assert make_catalogue(tmp_path / "photos", tmp_path / "all.parquet", Dates()).items
    assert pq.read_table(tmp_path / "all.parquet")["assets"][0]["image"]["href"].as_py() == "./photos/a.tif"


@pytest.mark.parametrize(("boxes", "said"), [
    ([[2.34574, 48.85629, 2.354, 48.8617]], "[2.3457, 48.8562, 2.354, 48.8617]"),
    ([[1.0, 2.0, 3.0, 4.0], [-1.5, 2.5, 0.0, 5.25]], "[-1.5, 2, 3, 5.25]"),
    ([[179.5, -1.0, -179.5, 1.0], [179.9, -1.0, -179.0, 1.0]], "[179.5, -1, -179, 1]"),
])  # fmt: skip
def test_the_ground_of_the_images_is_printed_for_a_recipe(boxes: list[list[float]], said: str) -> None:
    assert _ground([{"bbox": box} for box in boxes]) == f"area: {{ bbox: {said}, land_only: false }}"
