"""Labels that hold for a time: vectors with first and last days, maps of several years; each sample gets its own."""

from __future__ import annotations

import datetime as dt
import json
from typing import TYPE_CHECKING, Any

import geopandas
import numpy as np
import pandas as pd
import pyproj
import pytest
import rasterio
import shapely
from affine import Affine

import landweave
from pipelines.access.vectors.periods import Periods
from pipelines.recipes import RecipeError, read_recipe
from schemas.label_date import days_of
from tests.own.photos import EPSG, LEFT, TOP
from tests.own.photos import write as write_photo
from tests.own.test_own_images import catalogue, run

if TYPE_CHECKING:
    from pathlib import Path

LON, LAT = pyproj.Transformer.from_crs(EPSG, 4326, always_xy=True).transform(LEFT + 60, TOP - 60)
BASE = """
name: dated
seed: 1
sampling: {{ kind: points, file: points.csv, allow_overlap: true, attributes: [{carried}] }}
grid: {{ size_m: 100, resolution_m: 1, snap_m: null }}
splits: {{ by: random }}
quality: {{ min_modalities: 0 }}
{rest}
"""
FIRE = "{ kind: vector, layer: fires, file: fires.parquet, from: burnt, until: gone, %s }"


def fires(folder: Path, **changed: Any) -> geopandas.GeoDataFrame:
    """Stripes that lie beside one another, each for a time of its own."""
    days = {
        "burnt": ["2021", "2021-06", "2021-06-05", "2021-06-06T09:00:00", None, None],
        "gone": ["2021", "2021-06", None, None, "2021-06-04", "2021-06-05"],
        **changed,
    }
    stripes = [shapely.box(LEFT + 20 * n, TOP - 120, LEFT + 20 * n + 20, TOP) for n in range(6)]
    frame = geopandas.GeoDataFrame(days, geometry=stripes, crs=f"EPSG:{EPSG}")
    frame.to_parquet(folder / "fires.parquet")
    return frame


def plan(folder: Path, rest: str, carried: str = "day") -> Any:
    (folder / "r.yaml").write_text(BASE.format(rest=rest, carried=carried))
    return run("plan", folder / "r.yaml", folder / "out")


def built(folder: Path, rest: str, carried: str = "day") -> landweave.Dataset:
    (folder / "r.yaml").write_text(BASE.format(rest=rest, carried=carried))
    done = run("build", folder / "r.yaml", folder / "out", "--workers", "1")
    assert done.exit_code in (0, 3), done.output  # 3: a layer is wholly empty
    return landweave.open(folder / "out")


def points(folder: Path, days: list[str]) -> None:
    rows = [f"s{n},{LON},{LAT},{day}" for n, day in enumerate(days)]
    (folder / "points.csv").write_text("\n".join(["sample_id,lon,lat,day", *rows]) + "\n")


@pytest.mark.parametrize(("text", "days"), [
    ("2021", ("2021-01-01", "2021-12-31")), ("2020-02", ("2020-02-01", "2020-02-29")),
    ("2021-06-05", ("2021-06-05",) * 2),
    ("2021-06-05T23:59:59Z", ("2021-06-05",) * 2), ("2021-06-05 01:00", ("2021-06-05",) * 2),
    ("2021-02-30", None), ("2021-13", None), ("0000", None), ("June", None), ("20210605", None), ("2021/06/05", None),
    ("", None), ("2021-6-5", None),
])  # fmt: skip
def test_days_of_a_text(text: str, days: tuple[str, str] | None) -> None:
    found = days_of(text)
    assert found == (None if days is None else tuple(map(dt.date.fromisoformat, days)))


def test_both_days_are_included_and_empty_is_open() -> None:
    periods, day = Periods(begins="a", until="b"), dt.date(2021, 6, 5)
    assert periods.holds({}, day)
    assert periods.holds({"a": "2021-06-05", "b": "2021-06-05"}, day)
    assert not periods.holds({"a": "2021-06-06"}, day)
    assert not periods.holds({"b": "2021-06-04T23:00:00"}, day)
    assert Periods(begins=None, until="b").holds({"a": "2022"}, day)


def test_a_sample_takes_the_features_of_its_own_date(tmp_path: Path) -> None:
    points(tmp_path, ["2021-06-05", "2021-06-05T22:00:00Z", "2021-06-06", "2020-01-01", "2022-03-01", ""])
    fires(tmp_path)
    data = built(tmp_path, "sources: []\nlabels: [" + FIRE % "date: attr_day" + "]")
    there = {"s0": {0, 1, 2, 5}, "s1": {0, 1, 2, 5}, "s2": {0, 1, 2, 3}, "s3": {4, 5}, "s4": {2, 3}}
    for sample in data:
        if sample.id == "s5":
            assert not any(sample.present["fires"])
            continue
        pixels = sample["fires"]
        stripe = (np.arange(100) + 10) // 20
        expected = np.isin(stripe, list(there[sample.id])).astype(int)
        assert (pixels == expected).all(), sample.id
        ids = {int(v.removeprefix("v")) - 1 for v in sample.vectors("fires")["osm_id"].to_pylist()}
        assert ids == there[sample.id]
    why = {row["sample_id"]: row["detail"] for row in data.ledger.to_pylist() if row["reason"] == "label_missing"}
    assert why == {"s5": "fires.parquet gives no class here: attr_day has no value here"}


@pytest.mark.slow
def test_a_sample_takes_the_features_of_its_images_date_and_the_gap_is_stored(tmp_path: Path) -> None:
    write_photo(tmp_path / "photos" / "a.tif", date="2021:06:05 10:30:00")
    catalogue(tmp_path / "photos", stated=None, pattern=None)
    points(tmp_path, ["2021-06-01", "2021-06-01"])
    fires(tmp_path, burnt=pd.to_datetime(["2021-06-05", "2021-06-06", None, "2021-01-01", None, None]), gone=[2021] * 6)
    fixed = FIRE.replace("layer: fires", "layer: %s") % ("past", "date: 2021-05-01")
    own = FIRE.replace("layer: fires", "layer: %s") % ("own", "date: attr_day")
    data = built(
        tmp_path,
        f"""windows: [{{ name: june, start: 2021-06-01, end: 2021-06-30 }}]
providers: {{ mine: {{ url: photos/items.parquet }} }}
sources:
  - {{ layer: own-photo, providers: [mine], collection: photos, min_valid: 0.1,
      arrays: {{ rgb: {{ resolution_m: 1, dtype: uint8, bands: {{ r: image#1 }} }} }} }}
labels: [{FIRE % "objects: false"}, {fixed}, {own}]""",
    )
    for sample in data:
        row = sample.item
        seen = [
            sorted(set(np.unique(((np.arange(100) + 10) // 20)[sample[x][50] == 1]))) for x in ("fires", "past", "own")
        ]
        assert seen == [[0, 2, 3, 4, 5], [2, 3, 4, 5], [2, 3, 4, 5]]
        assert [row[f"{x}_date_gap_days"] for x in ("fires", "past", "own")] == [0, 35, 4]
        assert [row[f"{x}_version"] for x in ("fires", "past", "own")] == ["2021-06-05", "2021-05-01", "2021-06-01"]


@pytest.mark.parametrize(("changed", "entry", "said"), [
    ({"gone": ["June"] + [None] * 5}, "date: attr_day",
     "until: column 'gone' of 'fires.parquet' is 'June' in feature v1, expected a date"),
    ({"burnt": [None] * 5 + ["05.06.2021"]}, "date: attr_day",
     "from: column 'burnt' of 'fires.parquet' is '05.06.2021' in feature v6"),
    ({"burnt": [1.5] * 6}, "date: attr_day", "is '1.5' in feature v1"),
    ({"burnt": ["2022"] * 6}, "date: attr_day",
     "feature v1 of 'fires.parquet' ends 2021 (gone), before it begins 2022 (burnt)"),
    ({}, "until: end, date: attr_day", "has no column 'end'; it has burnt, gone"),
    ({}, "",
     "fires: `from` and `until` are compared with the date of the image, and no source has dates; write `date"),
    ({}, "date: attr_when", "attr_when is no attribute of the samples (there are: attr_day); name the column in"),
    ({}, "date: 2021-13-01", "2021-13-01 is not a valid date"),
    ({}, "date: attr when", "labels.0.date: string should match pattern"),
])  # fmt: skip
def test_what_cannot_be_honoured_is_one_line(tmp_path: Path, changed: Any, entry: str, said: str) -> None:
    points(tmp_path, ["2021-06-05"])
    fires(tmp_path, **changed)
    text = FIRE.replace("until: gone, ", "") if entry.startswith("until") else FIRE
    done = plan(tmp_path, "sources: []\nlabels:\n  - " + text % entry)
    assert done.exit_code == 1, done.output
    (line,) = done.stderr.strip().splitlines()
    assert said in line
    assert "labels" in line or "fires.parquet" in line or "line 10" in line


def test_a_vector_label_says_when_it_holds(tmp_path: Path) -> None:
    (tmp_path / "r.yaml").write_text(
        BASE.format(carried="day", rest="sources: []\nlabels: [{ kind: vector, layer: fires, file: fires.parquet }]")
    )
    with pytest.raises(
        RecipeError, match="fires: give `date`, the day that the vectors describe, or `from` and `until`"
    ):
        read_recipe(tmp_path / "r.yaml")


def test_an_attribute_that_is_no_date_is_one_line(tmp_path: Path) -> None:
    points(tmp_path, ["May"])
    fires(tmp_path)
    done = plan(tmp_path, "sources: []\nlabels: [" + FIRE % "date: attr_day" + "]")
    assert done.exit_code == 1
    (line,) = done.stderr.strip().splitlines()
    assert "'points.csv', line 2: attribute 'day' is 'May', and the recipe takes it for a date" in line


YEARS = {2019: 1, 2020: 2, 2022: 3}


def maps(folder: Path) -> None:
    """One map for each of three years; all its pixels are of one class."""
    for year, code in YEARS.items():
        path = folder / "maps" / f"{year}.tif"
        path.parent.mkdir(exist_ok=True)
        how = {"driver": "GTiff", "width": 200, "height": 200, "count": 1, "dtype": "uint8", "crs": f"EPSG:{EPSG}"}
        with rasterio.open(path, "w", **how, transform=Affine(1, 0, LEFT - 40, 0, -1, TOP + 40)) as file:
            file.write(np.full((1, 200, 200), code, np.uint8))
    catalogue(folder / "maps", stated=None, pattern="%Y")


def label(name: str, more: str) -> str:
    classes = json.dumps([{"code": c, "name": f"in {y}", "common": "crops"} for y, c in YEARS.items()])
    return (
        f"{{ kind: raster, name: {name}, product: Maps, providers: [maps], collection: photos, asset: image, "
        f"classes: {classes}{more} }}"
    )


PROVIDERS = "providers: { maps: { url: maps/items.parquet } }\n"


@pytest.mark.slow
@pytest.mark.parametrize(("more", "codes"), [
    ("", {"2019-05-01": 1, "2021-02-01": 2, "2021-12-01": 3, "2030-01-01": 3}),
    (", pick: same", {"2020-12-31": 2, "2022-01-01": 3, "2021-06-01": None}),
    (", pick: before", {"2021-12-31": 2, "2022-01-01": 3, "2018-12-31": None}),
    (", pick: after", {"2021-01-01": 3, "2020-12-31": 2, "2023-01-01": None}),
    (", max_gap_days: 10", {"2021-01-05": 2, "2021-06-01": None}),
])  # fmt: skip
def test_each_sample_gets_the_map_of_its_year(tmp_path: Path, more: str, codes: dict[str, int | None]) -> None:
    points(tmp_path, list(codes))
    maps(tmp_path)
    data = built(tmp_path, f"{PROVIDERS}sources: []\nlabels: [{label('m', ', date: attr_day' + more)}]")
    for sample in data:
        wanted = codes[str(sample.attributes["day"])]
        assert any(sample.present["m"]) == (wanted is not None), sample.attributes
        if wanted is not None:
            assert set(np.unique(sample["m"])) == {wanted}
    why = [row["detail"] for row in data.ledger.to_pylist() if row["layer"] == "m" and row["reason"] != "ok"]
    assert len(why) == sum(code is None for code in codes.values())
    if "pick" in more:
        assert all("maps of 2019, 2020, 2022 are there, none that `pick:" in words for words in why)


@pytest.mark.slow
def test_two_maps_of_one_product_are_two_layers_and_the_gap_to_the_image_is_stored(tmp_path: Path) -> None:
    write_photo(tmp_path / "photos" / "a.tif", date="2021:06:05 10:30:00")
    catalogue(tmp_path / "photos", stated=None, pattern=None)
    maps(tmp_path)
    points(tmp_path, ["2021-06-01"])
    entries = ", ".join([
        label("before", ", date: 2019-07-01"), label("after", ", date: 2022-07-01, pick: same"),
        label("last", ", pick: before"), label("near", ""), label("none", ", pick: same"),
    ])  # fmt: skip
    data = built(
        tmp_path,
        f"""windows: [{{ name: june, start: 2021-06-01, end: 2021-06-30 }}]
providers: {{ mine: {{ url: photos/items.parquet }}, maps: {{ url: maps/items.parquet }} }}
sources:
  - {{ layer: own, providers: [mine], collection: photos, min_valid: 0.1,
      arrays: {{ rgb: {{ resolution_m: 1, dtype: uint8, bands: {{ r: image#1 }} }} }} }}
labels: [{entries}]""",
    )
    (sample,) = data
    row = sample.item
    found = {name: int(sample[name][0, 0]) for name in ("before", "after", "last", "near")}
    assert found == {"before": 1, "after": 3, "last": 2, "near": 2}
    day, ends = dt.date(2021, 6, 5), dt.date(2020, 12, 31)
    assert row["last_date_gap_days"] in {(day - ends).days - 1, (day - ends).days}
    assert row["before_year"] == 2019
    assert not any(sample.present["none"])
    (why,) = [r["detail"] for r in data.ledger.to_pylist() if r["layer"] == "none"]
    assert why.endswith("maps of 2019, 2020, 2022 are there, none that `pick: same` allows for 2021-06-05")


@pytest.mark.parametrize(("more", "said"), [
    (", pick: same", "m: `pick: same` compares with the date of the image, and no source has dates; add `date"),
    (", pick: newest", "labels.0.pick: input should be 'nearest', 'same', 'before' or 'after'"),
    (", date: attr_year", "attr_year is no attribute of the samples"),
])  # fmt: skip
def test_a_map_without_a_date_to_compare_with_is_refused(tmp_path: Path, more: str, said: str) -> None:
    points(tmp_path, ["2021-06-05"])
    maps(tmp_path)
    done = plan(tmp_path, f"{PROVIDERS}sources: []\nlabels:\n  - {label('m', more)}")
    assert done.exit_code == 1
    (line,) = done.stderr.strip().splitlines()
    assert "line 11: " in line
    assert said in line


def test_a_year_of_worldcover_names_the_map(tmp_path: Path) -> None:
    entry = "{ kind: worldcover, providers: [maps], year: 2020, pick: same }"
    done = plan(tmp_path, f"{PROVIDERS}sources: []\nlabels:\n  - {entry}")
    assert "worldcover: `year: 2020` names the map; remove it, or `date` and `pick`" in done.stderr
