"""Points files: three formats, exact corners, and one clear line for every mistake."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import shapely

from sampling import SamplingError
from sampling.points import read_points
from schemas.grid import GridSpec

if TYPE_CHECKING:
    from pathlib import Path

GRID = GridSpec(size_m=2_240, resolution_m=10)
SITES = [("282D_485L_3_3", -48.10604, -25.31595, 32722, 790236.0403820039, 7198039.252334285)]


def write_geojson(path: Path, features: list[dict[str, Any]], **members: Any) -> None:
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features, **members}))


def point(lon: Any, lat: Any, **properties: Any) -> dict[str, Any]:
    return {"type": "Feature", "geometry": {"type": "Point", "coordinates": [lon, lat]}, "properties": properties}


def test_three_formats_say_the_same(tmp_path: Path) -> None:
    import geopandas as gpd

    (tmp_path / "p.csv").write_text("\ufeffsample_id, lon ,lat,split\na,10.5,46.25,test\nb,-179.75,-16.5,train\n\n")
    write_geojson(tmp_path / "p.geojson", [point(10.5, 46.25, sample_id="a"), point(-179.75, -16.5, sample_id="b")])
    frame = gpd.GeoDataFrame({"sample_id": ["a", "b"]}, geometry=gpd.points_from_xy([10.5, -179.75], [46.25, -16.5]))
    frame.set_crs(4326).to_parquet(tmp_path / "p.parquet")
    tables = [read_points(name, tmp_path) for name in ("p.csv", "p.geojson", "p.parquet")]
    for table in tables:
        assert table.sample_id == ["a", "b"]
        assert table.lon.tolist() == [10.5, -179.75]
        assert table.lat.tolist() == [46.25, -16.5]
        assert table.footprints(GRID).epsg.tolist() == [32632, 32701]


def test_plain_parquet_with_columns(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table({"lon": [1.5, 2.5], "lat": [3, 4]}), tmp_path / "p.parquet")
    table = read_points("p.parquet", tmp_path)
    assert table.sample_id == ["p0000001", "p0000002"]
    assert table.lat.tolist() == [3.0, 4.0]


def test_exact_corners_are_kept_to_the_bit_and_other_rows_snapped(tmp_path: Path) -> None:
    name, lon, lat, epsg, x_min, y_max = SITES[0]
    (tmp_path / "p.csv").write_text(
        f"sample_id,lon,lat,epsg,x_min,y_max\nfree,10,46,,,\n{name},{lon},{lat},{epsg},{x_min!r},{y_max!r}\n"
    )
    footprints = read_points("p.csv", tmp_path).footprints(GRID)
    box = footprints.geobox(1, 10.0)
    assert (box.epsg, box.x_min, box.y_max) == (epsg, x_min, y_max)
    assert (footprints.lon[1], footprints.lat[1]) == (pytest.approx(lon, abs=1e-4), pytest.approx(lat, abs=1e-4))
    assert footprints.geobox(0, 10.0).x_min % 60 == 0


@pytest.mark.real
def test_terramesh_footprints_are_reproduced(real: Path, tmp_path: Path) -> None:
    import rasterio
    from rasterio.warp import transform

    rows, truth = ["sample_id,lon,lat,epsg,x_min,y_max"], []
    for folder in sorted((real / "multimodal" / "terramesh").iterdir()):
        with rasterio.open(folder / "S2L2A.tif") as image:
            left, bottom, right, top = image.bounds
            (lon,), (lat,) = transform(image.crs, "EPSG:4326", [(left + right) / 2], [(top + bottom) / 2])
            rows.append(f"{folder.name},{lon},{lat},{image.crs.to_epsg()},{left!r},{top!r}")
            truth.append((image.crs.to_epsg(), image.transform.to_gdal(), image.shape))
    (tmp_path / "p.csv").write_text("\n".join(rows))
    footprints = read_points("p.csv", tmp_path).footprints(GRID)
    for i, (epsg, geotransform, shape) in enumerate(truth):
        box = footprints.geobox(i, 10.0)
        a, b, c, d, e, f = box.transform
        assert (box.epsg, (c, a, b, f, d, e), box.shape) == (epsg, geotransform, shape)


CSV_MISTAKES = {
    "empty file": ("", "has no column 'lon'"),
    "no rows": ("lon,lat\n", "contains no point"),
    "no lon": ("longitude,lat\n1,2\n", "has no column 'lon'; its columns are longitude, lat"),
    "lat out of range": ("lon,lat\n1,2\n3,91\n", r"line 3: lat 91 is outside \[-90, 90\]"),
    "lon out of range": ("lon,lat\n190,2\n-181,3\n", r"line 2: lon 190 is outside .* \(and 1 more such row\)"),
    "not a number": ("lon,lat\n1,north\n", "line 2: lat is 'north', expected a number"),
    "missing": ("lon,lat\n1,\n", "line 2: lat is missing"),
    "nan": ("lon,lat\n1,nan\n", "line 2: lat is 'nan', expected a finite number"),
    "ragged": ("lon,lat\n1,2,3\n", "line 2: 3 values under 2 columns"),
    "twice": ("sample_id,lon,lat\na,1,2\nb,1,3\na,2,2\n", "line 4: sample_id 'a' is also the id of line 2"),
    "bad id": ("sample_id,lon,lat\n../a,1,2\n", "line 2: sample_id '../a' is not 1 to 128"),
    "empty id": ("sample_id,lon,lat\n,1,2\n", "line 2: sample_id '' is not"),
    "column twice": ("lon,lon,lat\n1,1,2\n", "column 'lon' occurs twice"),
    "half a corner": ("lon,lat,epsg\n1,2,32631\n", "has epsg but not all of epsg, x_min, y_max"),
    "corner with a hole": (
        "lon,lat,epsg,x_min,y_max\n1,2,32631,,5\n",
        "line 2: give all of epsg, x_min, y_max, or none",
    ),
    "geographic epsg": ("lon,lat,epsg,x_min,y_max\n1,2,4326,1,2\n", "line 2: epsg 4326 is not UTM"),
    "zone 61": ("lon,lat,epsg,x_min,y_max\n1,2,32761.5,1,2\n", "line 2: epsg 32761.5 is not UTM"),
}


@pytest.mark.parametrize(("text", "message"), CSV_MISTAKES.values(), ids=CSV_MISTAKES)
def test_csv_mistakes_are_one_clear_line(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "p.csv").write_text(text)
    expect(tmp_path, "p.csv", message)


def expect(folder: Path, name: str, message: str) -> None:
    with pytest.raises(SamplingError, match=message) as caught:
        read_points(name, folder).footprints(GRID)
    assert "\n" not in str(caught.value)
    assert str(folder) not in str(caught.value)
    assert re.search(re.escape(name), str(caught.value))


def test_other_mistakes(tmp_path: Path) -> None:
    import geopandas as gpd

    expect(tmp_path, "gone.csv", "does not exist")
    (tmp_path / "p.xlsx").write_bytes(b"PK")
    expect(tmp_path, "p.xlsx", r"expected \.csv")
    (tmp_path / "latin.csv").write_bytes("lon,lat,name\n1,2,Z\xfcrich\n".encode("latin-1"))
    expect(tmp_path, "latin.csv", "UTF-8")
    (tmp_path / "p.geojson").write_text("{")
    expect(tmp_path, "p.geojson", "not readable as GeoJSON")
    write_geojson(tmp_path / "none.geojson", [])
    expect(tmp_path, "none.geojson", "contains no point")
    line = {"type": "LineString", "coordinates": [[0, 0], [1, 1]]}
    write_geojson(tmp_path / "line.geojson", [point(1, 2), {"type": "Feature", "geometry": line, "properties": {}}])
    expect(tmp_path, "line.geojson", "feature 2: geometry is a LineString, expected a Point")
    write_geojson(tmp_path / "null.geojson", [{"type": "Feature", "geometry": None, "properties": {}}])
    expect(tmp_path, "null.geojson", "feature 1: no readable Point")
    crs = {"type": "name", "properties": {"name": "urn:ogc:def:crs:EPSG::3857"}}
    write_geojson(tmp_path / "crs.geojson", [point(1, 2)], crs=crs)
    expect(tmp_path, "crs.geojson", "another CRS")
    (tmp_path / "bad.parquet").write_bytes(b"PAR1")
    expect(tmp_path, "bad.parquet", "not readable as Parquet")
    frame = gpd.GeoDataFrame(geometry=gpd.points_from_xy([10.5], [46.25]), crs=4326)
    frame.to_crs(32632).to_parquet(tmp_path / "utm.parquet")
    expect(tmp_path, "utm.parquet", "UTM zone 32N.*reproject")
    gpd.GeoDataFrame(geometry=[shapely.Point(1, 2), shapely.box(0, 0, 1, 1)], crs=4326).to_parquet(
        tmp_path / "m.parquet"
    )
    expect(tmp_path, "m.parquet", "row 2: geometry is Polygon, expected a Point")


def test_corners_far_from_their_point(tmp_path: Path) -> None:
    (tmp_path / "p.csv").write_text("lon,lat,epsg,x_min,y_max\n10,46,32632,500000,5200000\n")
    expect(tmp_path, "p.csv", "line 2: lon 10, lat 46 is not in the footprint")
    (tmp_path / "q.csv").write_text("lon,lat,epsg,x_min,y_max\n40,46,32632,3000000,5200000\n")
    expect(tmp_path, "q.csv", "line 2: x_min 3e[+]06 is outside the zone of EPSG:32632")


def test_crs84_of_legacy_geojson_is_lon_lat(tmp_path: Path) -> None:
    crs = {"type": "name", "properties": {"name": "urn:ogc:def:crs:OGC:1.3:CRS84"}}
    write_geojson(tmp_path / "p.geojson", [point(1, 2)], crs=crs)
    assert np.array_equal(read_points("p.geojson", tmp_path).lon, [1.0])


CRS_FORMS: list[tuple[Any, bool]] = [
    ("EPSG:4326", True), (4326, True), ("urn:ogc:def:crs:OGC:1.3:CRS84", True), (None, True), ({}, False),
    ({"type": "name", "properties": {"name": "EPSG:4326"}}, True), ({"type": "name", "properties": "EPSG:4326"}, True),
    ({"type": "EPSG", "properties": {"code": 4326}}, True), ({"type": "EPSG", "properties": {"code": 3857}}, False),
    ("EPSG:3857", False), (["EPSG:4326"], False), (3857, False), (True, False), (4326.5, False), ("", False),
    ({"type": "link", "properties": {"href": "http://example.com/crs"}}, False), ({"properties": None}, False),
    ({"type": "name", "properties": {"name": None}}, False), ("x" * 9999, False), (10**400, False),
]  # fmt: skip


@pytest.mark.parametrize(("crs", "good"), CRS_FORMS, ids=lambda v: str(v)[:30])
def test_a_crs_in_any_form_is_read_or_refused_in_one_line(crs: Any, good: bool, tmp_path: Path) -> None:
    write_geojson(tmp_path / "p.geojson", [point(12, 48)], crs=crs)
    if good:
        assert read_points("p.geojson", tmp_path).lon.tolist() == [12.0]
        return
    with pytest.raises(SamplingError) as caught:
        read_points("p.geojson", tmp_path)
    assert "is in another CRS" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 250


@pytest.mark.parametrize(
    "document",
    [
        {"features": 5}, {"features": {"a": 1}}, {"features": ["x"]}, {"features": [5]}, {"features": [None]},
        {"features": [point(10**400, 1)]}, {"features": [point(True, 1)]}, {"features": [point("x", 1)]},
        {"features": [{"geometry": {"type": "Point", "coordinates": []}}]}, {"features": [{"geometry": None}]},
        {"features": [{"geometry": {"type": "Point", "coordinates": {"lon": 1}}}]},
    ],
    ids=str,
)  # fmt: skip
def test_what_is_no_point_is_one_line(document: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "p.geojson").write_text(json.dumps({"type": "FeatureCollection", **document}))
    with pytest.raises(SamplingError, match=r"^'p\.geojson'"):
        read_points("p.geojson", tmp_path)


def test_an_empty_point_is_named(tmp_path: Path) -> None:
    import geopandas as gpd

    gpd.GeoDataFrame(geometry=[shapely.Point(1, 2), shapely.Point()], crs=4326).to_parquet(tmp_path / "p.parquet")
    with pytest.raises(SamplingError, match="row 2: geometry is an empty Point, expected a Point"):
        read_points("p.parquet", tmp_path)


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
def test_a_far_time_in_a_column_that_nobody_wants_does_not_matter(unit: str, tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    far = pa.array([2**52, -(2**52)] if unit == "s" else [2**62, -(2**62)]).cast(pa.timestamp(unit))
    days = pa.array([2**30, -(2**30)], pa.int32()).cast(pa.date32())
    columns = {"lon": [1.5, 2.5], "lat": [3.0, 4.0], "seen": far, "day": days, "n": [1, 2]}
    pq.write_table(pa.table(columns), tmp_path / "p.parquet")
    assert read_points("p.parquet", tmp_path, ["n"]).lat.tolist() == [3.0, 4.0]
    if unit == "ns":  # 2**62 of them is the year 2116: a time like any other
        (seen,) = read_points("p.parquet", tmp_path, ["seen"]).attributes
        assert seen.values.to_pylist() == ["2116-02-20T23:53:38.427387904Z", "1823-11-12T00:06:21.572612096Z"]
    for name in ("seen", "day") if unit != "ns" else ("day",):
        with pytest.raises(SamplingError) as caught:
            read_points("p.parquet", tmp_path, [name])
        assert name in str(caught.value)
        assert "\n" not in str(caught.value)


def test_odd_parquet_files_are_one_line(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    twice = pa.Table.from_arrays([pa.array([1.0])] * 3, names=["lon", "lat", "lon"])
    geo = {"primary_column": "g", "columns": {"g": {"encoding": "WKB"}}}
    wrong = [
        json.dumps(v).encode()
        for v in (5, [], {"primary_column": ["g"]}, geo | {"columns": {"g": 5}}, geo | {"primary_column": "h"})
    ]
    tables = [twice]
    tables += [pa.table({"g": [b"x"]}).replace_schema_metadata({b"geo": w}) for w in (*wrong, b"[" * 99_999)]
    tables += [pa.table({"g": g}).replace_schema_metadata({b"geo": json.dumps(geo)}) for g in ([b"x"], ["text"], [5])]
    for table in tables:
        pq.write_table(table, tmp_path / "p.parquet")
        with pytest.raises(SamplingError, match=r"^'p\.parquet'"):
            read_points("p.parquet", tmp_path)
