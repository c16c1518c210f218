"""Own vectors as labels: every format and CRS burnt as GDAL does, objects cut to the footprint, mistakes in a line."""

from __future__ import annotations

import json
import sqlite3
import zipfile
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pyproj
import pytest
import rasterio.features
import rasterio.warp
import shapely
from affine import Affine

import landweave
from pipelines.access.openstreetmap.features import FeatureStore
from pipelines.access.openstreetmap.near import Near
from pipelines.access.vectors.prepare import BROKEN, EMPTY, MENDED, Asked, prepare
from pipelines.access.vectors.read import BadVectorsError
from pipelines.labels.own_vectors import OwnVectors
from pipelines.recipes import RecipeError, read_recipe
from sampling.geobox import lonlat_bbox
from schemas.label import LabelMap, VectorLayer
from schemas.vector_label import VectorLabel
from tests.own.photos import EPSG, LEFT, TOP, place
from tests.own.test_own_images import run

CLASSES = [
    {"code": 3, "name": "wheat", "common": "crops", "values": ["wheat", 7]},
    {"code": 9, "name": "meadow", "common": "grass"},
    {"code": 300, "name": "pond", "common": "water"},
]
FORMATS = ("parquet", "gpkg", "geojson", "fgb", "zip")
CRSES = ("EPSG:2154", "EPSG:4326", "EPSG:32631", "EPSG:3035")


def parcels(crs: str) -> geopandas.GeoDataFrame:
    """Overlapping squares, rings and slivers in and around the chip, among them far ones."""
    rng = np.random.default_rng(5)
    shapes = []
    for n in range(60):
        x, y = LEFT + rng.uniform(-30, 150), TOP - rng.uniform(-30, 150)
        shape = shapely.Point(x, y).buffer(rng.uniform(4, 25), quad_segs=int(rng.integers(1, 6)))
        shapes.append(shape.difference(shape.buffer(-3)) if n % 7 == 0 else shape)
    shapes += [shapely.box(LEFT + 40_000, TOP, LEFT + 40_050, TOP + 50)]
    crops = [("wheat", "7", "meadow", "pond")[n % 4] for n in range(len(shapes))]
    data = {"crop": crops, "rank": rng.integers(0, 5, len(shapes)), "owner": "secret"}
    return geopandas.GeoDataFrame(data, geometry=shapes, crs=f"EPSG:{EPSG}").to_crs(crs)


def write(frame: geopandas.GeoDataFrame, path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".parquet":
        frame.to_parquet(path, write_covering_bbox=True, row_group_size=20, schema_version="1.1.0")
    elif path.suffix == ".zip":
        frame.to_file(path.with_suffix(".shp"))
        with zipfile.ZipFile(path, "w") as packed:
            for part in path.parent.glob(f"{path.stem}.*"):
                if part.suffix != ".zip":
                    packed.write(part, f"inner/{part.name}")
    else:
        frame.to_file(path, layer="parcels")
    return path


def label_of(path: Path, **more: Any) -> VectorLabel:
    entry = {"layer": "parcels", "file": path.name, "date": "2021-06-05", "column": "crop", "classes": CLASSES, **more}
    return VectorLabel.model_validate({k: v for k, v in entry.items() if v is not None})


def labelled(
    label: VectorLabel, path: Path, work: Path, resolution_m: float = 1.0
) -> tuple[LabelMap, VectorLayer, Any]:
    asked = Asked(
        name=label.file,
        table=label.table,
        crs=label.crs,
        columns=label.attributes,
        needed=label.needed,
        date=label.date,
    )
    near = Near.footprints(np.array([place().lon]), np.array([place().lat]), 120.0)
    extract = prepare(path, asked, work, near)
    with FeatureStore(extract.parquet) as store:
        features = store.within(lonlat_bbox(place().geobox), whole=False)
    return *OwnVectors(label).layers(place(), resolution_m, features, extract, None), extract


def burnt(frame: geopandas.GeoDataFrame, codes: Any, resolution_m: float, fill: int, **how: Any) -> Any:
    """GDAL's rasterize of whole geometries, in the frame's order."""
    moved = rasterio.warp.transform_geom(frame.crs, f"EPSG:{EPSG}", [g.__geo_interface__ for g in frame.geometry])
    size = round(120 / resolution_m)
    grid = Affine(resolution_m, 0, LEFT, 0, -resolution_m, TOP)
    pairs = list(zip(moved, codes, strict=True))
    return rasterio.features.rasterize(pairs, (size, size), transform=grid, fill=fill, dtype="uint16", **how)


def degrees2(frame: geopandas.GeoDataFrame) -> Any:
    """Area of each feature in square degrees: the smaller is on top."""
    return frame.geometry.to_crs(4326).apply(shapely.area)


CODES = {"wheat": 3, "7": 3, "meadow": 9, "pond": 300}


@pytest.mark.slow
@pytest.mark.parametrize("crs", CRSES)
@pytest.mark.parametrize("form", FORMATS)
def test_every_format_and_crs_is_burnt_as_gdal_does(form: str, crs: str, tmp_path: Path) -> None:
    frame = parcels(crs)
    path = write(frame, tmp_path / f"parcels.{form}")
    label, vectors, extract = labelled(label_of(path), path, tmp_path / "work", 0.5)
    order = degrees2(frame).sort_values(ascending=False, kind="stable").index
    expected = burnt(frame.loc[order], [CODES[c] for c in frame.crop[order]], 0.5, label.legend.nodata)
    assert label.classes.dtype == np.uint16
    assert (label.classes != expected).mean() < 2e-4
    np.testing.assert_array_equal(label.valid, label.classes != label.legend.nodata)
    assert len(np.unique(expected)) == 4
    here = frame.geometry.to_crs(EPSG).intersection(shapely.box(LEFT, TOP - 120, LEFT + 120, TOP))
    area = {f"v{n + 1}": here.iloc[n].area for n in range(len(frame)) if here.iloc[n].area > 0.1}
    found = {f.osm_id: f.area_m2 for f in vectors.features if f.area_m2 > 0.1}
    if form == "fgb":  # FlatGeobuf is written in the order of its index
        assert sorted(found.values()) == pytest.approx(sorted(area.values()), rel=1e-4, abs=0.05)
    else:
        assert found == pytest.approx(area, rel=1e-4, abs=0.05)
    assert extract.objects < len(frame), "what is far from the samples is not kept"
    assert all(f.tags["owner"] == "secret" for f in vectors.features)
    assert str(tmp_path) not in extract.name


def test_a_finer_grid_agrees_pixel_for_pixel_where_the_crs_is_the_same(tmp_path: Path) -> None:
    frame = parcels(f"EPSG:{EPSG}")
    path = write(frame, tmp_path / "p.parquet")
    for touched in (False, True):
        label, _, _ = labelled(label_of(path, all_touched=touched), path, tmp_path / "work")
        order = degrees2(frame).sort_values(ascending=False, kind="stable").index
        codes = [CODES[c] for c in frame.crop[order]]
        np.testing.assert_array_equal(
            label.classes, burnt(frame.loc[order], codes, 1.0, label.legend.nodata, all_touched=touched)
        )


def test_priority_and_over_decide_what_is_on_top(tmp_path: Path) -> None:
    frame = parcels("EPSG:2154")
    path = write(frame, tmp_path / "p.gpkg")
    area = -degrees2(frame)
    by = frame.assign(area=area, code=[CODES[c] for c in frame.crop])
    label, _, _ = labelled(label_of(path, priority="rank"), path, tmp_path / "work")
    ranked = by.sort_values(["rank", "area"], kind="stable")
    assert (label.classes != burnt(ranked, ranked.code, 1.0, 0)).mean() < 2e-4
    label, _, _ = labelled(label_of(path, over=["pond", "wheat"]), path, tmp_path / "work")
    above = by.assign(above=by.code.map({300: 1, 3: 2, 9: 0})).sort_values(["above", "area"], kind="stable")
    assert (label.classes != burnt(above, above.code, 1.0, 0)).mean() < 2e-4


def test_without_a_column_all_are_of_one_class_and_ground_inside_the_file_may_be_background(tmp_path: Path) -> None:
    frame = parcels("EPSG:4326").iloc[:3]
    path = write(frame, tmp_path / "fires.parquet")
    plain = label_of(path, column=None, classes=None)
    label, _, _ = labelled(plain, path, tmp_path / "work")
    assert [(c.code, c.name) for c in label.legend.classes] == [(1, "object")]
    assert 0 < label.valid.mean() < 0.5
    both = [{"code": 0, "name": "unburnt", "common": "unknown"}, {"code": 1, "name": "burnt", "common": "bare"}]
    fires = label_of(path, column=None, classes=both, background="unburnt")
    with_ground, _, extract = labelled(fires, path, tmp_path / "work")
    np.testing.assert_array_equal(with_ground.classes == 1, label.valid)
    west, south, east, north = extract.bounds
    box = shapely.segmentize(shapely.box(west, south, east, north), 1e-4)
    ground = burnt(geopandas.GeoDataFrame(geometry=[box], crs=4326), [1], 1.0, 0)
    np.testing.assert_array_equal(with_ground.valid, (ground == 1) | label.valid)


def test_lines_and_points_are_as_wide_as_the_recipe_says(tmp_path: Path) -> None:
    line = shapely.LineString([(LEFT - 10, TOP - 20), (LEFT + 130, TOP - 90)])
    frame = geopandas.GeoDataFrame({"crop": ["pond", "meadow"]}, geometry=[line, shapely.Point(LEFT + 30, TOP - 90)])
    path = write(frame.set_crs(EPSG), tmp_path / "p.gpkg")
    label, vectors, _ = labelled(label_of(path, width_m=6.0), path, tmp_path / "work")
    assert (label.classes == 300).sum() == pytest.approx(6.0 * line.length * 120 / 140, rel=0.06)
    assert (label.classes == 9).sum() == pytest.approx(np.pi * 9, rel=0.15)
    assert [f.kind for f in vectors.features] == ["line", "point"]
    thin, _, _ = labelled(label_of(path), path, tmp_path / "work")
    assert (thin.classes == 9).sum() == 1


def test_invalid_empty_and_unreadable_geometries_are_counted_and_the_rest_is_drawn(tmp_path: Path) -> None:
    x, y = LEFT + 20, TOP - 20
    bow = shapely.Polygon([(x, y), (x + 40, y - 40), (x + 40, y), (x, y - 40)])
    flat = shapely.Polygon([(x, y), (x, y), (x, y)])
    frame = geopandas.GeoDataFrame(
        {"crop": ["wheat", "pond", "meadow", "wheat"]},
        geometry=[bow, None, shapely.Polygon(), shapely.Point(np.inf, 1.0)], crs=EPSG,
    )  # fmt: skip
    path = write(frame, tmp_path / "p.parquet")
    label, vectors, extract = labelled(label_of(path), path, tmp_path / "work")
    assert {k: extract.counts[k] for k in (MENDED, EMPTY, BROKEN)} == {MENDED: 1, EMPTY: 2, BROKEN: 1}
    whole = shapely.make_valid(bow)
    assert (label.classes == 3).sum() == pytest.approx(whole.area, rel=0.05)
    assert [f.osm_id for f in vectors.features] == ["v1"]
    assert shapely.from_wkb(vectors.features[0].wkb).is_valid
    assert not flat.is_valid


def test_only_the_chosen_columns_are_kept(tmp_path: Path) -> None:
    path = write(parcels("EPSG:2154"), tmp_path / "p.fgb")
    _, vectors, extract = labelled(label_of(path, attributes=["rank"]), path, tmp_path / "work")
    assert {tuple(f.tags) for f in vectors.features} == {("rank",)}
    assert b"secret" not in extract.parquet.read_bytes()
    _, none, _ = labelled(label_of(path, objects=False), path, tmp_path / "work")
    assert none.features == ()


HEAD = """
name: own
seed: 1
sampling: {{ kind: uniform, count: 3, area: {{ bbox: [2.2, 48.8, 2.3, 48.9] }} }}
grid: {{ size_m: 100 }}
sources: []
splits: {{ block_m: 2000, buffer_m: 0 }}
labels:
  - {{ kind: vector, layer: parcels, date: 2021-06-05, {entry} }}
"""


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ("file: p.parquet, column: crop", "give `classes` or `crosswalk`, found none"),
        ("file: p.parquet, crosswalk: corine", "need `column`"),
        ("file: /etc/p.parquet", "relative to the recipe"),
        (
            "file: p.parquet, column: c, classes: [{code: 1, name: a, common: crops, values: [x, x]}]",
            "'x' is there twice",
        ),
        (
            "file: p.parquet, column: c, other: b, classes: [{code: 1, name: a, common: crops}]",
            "other: 'b' is no class",
        ),
        ("file: p.parquet, over: [b]", "over: 'b' is no class"),
        ("file: p.parquet, background: object", "needs a second class"),
        ("file: p.parquet, objects: false, attributes: [x]", "`objects: false` stores none"),
        ("file: p.parquet, crs: 2154", "crs"),
        ("file: p.parquet, colum: crop", "did you mean 'column'"),
    ],
)
def test_a_mistake_in_the_entry_is_one_line(entry: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "r.yaml").write_text(HEAD.format(entry=entry))
    with pytest.raises(RecipeError) as caught:
        read_recipe(tmp_path / "r.yaml")
    (line,) = caught.value.lines
    assert said in line
    assert "line 9" in line


def _no_crs(path: Path) -> None:
    write(geopandas.GeoDataFrame({"crop": ["wheat"]}, geometry=[shapely.Point(0, 0).buffer(1)]), path)


def _two_tables(path: Path) -> None:
    frame = parcels("EPSG:2154")
    frame.to_file(path, layer="a")
    frame.to_file(path, layer="b")


def _virtual(path: Path) -> None:
    parcels("EPSG:2154").to_file(path, layer="a")
    with sqlite3.connect(path) as base:
        base.execute("PRAGMA writable_schema = 1")
        base.execute(
            "INSERT INTO sqlite_master VALUES ('table', 'v', 'v', 0, "
            "'CREATE VIRTUAL TABLE v USING VirtualOGR(''/etc/passwd'')')"
        )


BROKEN_FILES: dict[str, tuple[Any, str, str]] = {
    "no-crs.parquet": (_no_crs, "", "states no CRS; add `crs: EPSG:...`"),
    "two.gpkg": (_two_tables, "", "holds the tables a, b; choose one with `table:`"),
    "two-b.gpkg": (_two_tables, ", table: c", "has no table 'c'; it has a, b"),
    "virtual.gpkg": (_virtual, "", "is virtual (VirtualOGR)"),
    "stated.fgb": (lambda p: write(parcels("EPSG:2154"), p), ", crs: EPSG:2154", "states its CRS; remove `crs`"),
    "column.fgb": (
        lambda p: write(parcels("EPSG:2154").drop(columns="crop"), p),
        "",
        "has no column 'crop'; it has rank",
    ),
    "x.vrt": (lambda p: p.write_text("<OGRVRTDataSource/>"), "", "expected one of .parquet"),
    "vrt.fgb": (lambda p: p.write_text("<OGRVRTDataSource/>"), "", "is not what its name says"),
    "vrt.gpkg": (lambda p: p.write_bytes(b"SQLite format 3\0<OGRVRTDataSource"), "", "is not what its name says"),
    "text.parquet": (lambda p: p.write_text("no"), "", "cannot be read"),
    "text.zip": (lambda p: p.write_text("no"), "", "cannot be read"),
    "text.geojson": (lambda p: p.write_text("{"), "", "is no JSON"),
    "list.geojson": (lambda p: p.write_text("[1]"), "", "is no GeoJSON FeatureCollection"),
    "deep.geojson": (lambda p: p.write_text("[" * 200_000), "", "is no JSON"),
    "gone.parquet": (lambda p: None, "", "no such file of vectors"),  # noqa: ARG005
}


@pytest.mark.parametrize("name", list(BROKEN_FILES))
def test_a_file_that_cannot_be_used_is_one_line_before_anything_is_asked(name: str, tmp_path: Path) -> None:
    make, more, said = BROKEN_FILES[name]
    make(tmp_path / name)
    classes = "column: crop, other: ignore, classes: [{ code: 1, name: wheat, common: crops }]"
    (tmp_path / "r.yaml").write_text(HEAD.format(entry=f"file: {name}, {classes}{more}"))
    done = run("plan", tmp_path / "r.yaml", tmp_path / "out")
    assert done.exit_code == 1, done.output
    (line,) = done.stderr.strip().splitlines()
    assert line.startswith("error: ")
    assert said in line
    assert str(tmp_path) not in line


def test_values_without_a_class_are_one_line_with_their_numbers(tmp_path: Path) -> None:
    frame = parcels("EPSG:2154")
    frame.loc[frame.index[:2], "crop"] = None
    frame.loc[frame.index[2:5], "crop"] = "oats\x1b[31m"
    path = write(frame, tmp_path / "p.gpkg")
    (tmp_path / "r.yaml").write_text(
        HEAD.format(entry=f"file: {path.name}, column: crop, classes: {json.dumps(CLASSES)}")
    )
    done = run("plan", tmp_path / "r.yaml", tmp_path / "out")
    assert done.exit_code == 1
    assert (
        "labels: parcels: column 'crop' of 'p.gpkg' has values without a class: 'oats\\x1b[31m' 3, (empty) 2; name "
        "them in `classes` (`values`), or write `other: ignore` or `other: CLASS`" in done.stderr
    )
    label, _, _ = labelled(label_of(path, other="pond"), path, tmp_path / "work")
    drawn, _, _ = labelled(label_of(path, other="ignore"), path, tmp_path / "work")
    assert (label.classes == 300).sum() > (drawn.classes == 300).sum()


def test_a_crosswalk_maps_native_codes(tmp_path: Path) -> None:
    frame = parcels("EPSG:2154").assign(crop=["211" if n % 2 else "512" for n in range(61)])
    path = write(frame, tmp_path / "clc.parquet")
    (tmp_path / "r.yaml").write_text(HEAD.format(entry="file: clc.parquet, column: crop, crosswalk: corine"))
    (label,) = read_recipe(tmp_path / "r.yaml").recipe.labels
    assert isinstance(label, VectorLabel)
    made, _, _ = labelled(label, path, tmp_path / "work")
    present = {c.common for c in made.legend.classes if c.code in np.unique(made.classes[made.valid])}
    assert present == {"crops", "water"}


def test_labels_without_any_image_build_and_read_back_with_two_layers_of_vectors(tmp_path: Path) -> None:
    frame = parcels("EPSG:2154")
    lon, lat = pyproj.Transformer.from_crs(EPSG, 4326, always_xy=True).transform(LEFT + 60, TOP - 60)
    write(frame, tmp_path / "p.gpkg")
    write(frame.iloc[:20].to_crs(4326), tmp_path / "ponds.geojson")
    (tmp_path / "points.csv").write_text(f"id,lon,lat\na,{lon},{lat}\nb,{lon + 0.5},{lat}\n")
    (tmp_path / "r.yaml").write_text(f"""
name: labels-only
seed: 1
sampling: {{ kind: points, file: points.csv }}
grid: {{ size_m: 100, resolution_m: 1, snap_m: null }}
sources: []
splits: {{ by: random }}
quality: {{ min_modalities: 0 }}
labels:
  - {{ kind: vector, layer: parcels, file: p.gpkg, date: 2021-06-05, column: crop, attributes: [crop],
      classes: {json.dumps(CLASSES)} }}
  - {{ kind: vector, layer: ponds, file: ponds.geojson, date: 2020-01-01 }}
""")
    done = run("build", tmp_path / "r.yaml", tmp_path / "out", "--workers", "1")
    assert done.exit_code == 0, done.output
    data = landweave.open(tmp_path / "out")
    sample = next(s for s in data if any(s.present["parcels"]))
    assert set(np.unique(sample["parcels"])) == {0, 3, 9, 300}
    assert 0 < (sample["ponds"] == 1).mean() < 1
    assert sample.vectors("parcels").num_rows > sample.vectors("ponds").num_rows > 0
    assert set(dict(sample.vectors("parcels")["tags"][0].as_py())) == {"crop"}
    assert "gives no class here" in str(data.ledger.to_pylist())
    assert not [p for p in (tmp_path / "out").rglob("*") if p.is_file() and str(tmp_path).encode() in p.read_bytes()]


def test_a_bad_file_raises_the_same_error_when_it_is_read_directly(tmp_path: Path) -> None:
    (tmp_path / "x.parquet").write_bytes(b"PAR1")
    with pytest.raises(BadVectorsError, match=r"x\.parquet"):
        labelled(label_of(tmp_path / "x.parquet"), tmp_path / "x.parquet", tmp_path)
