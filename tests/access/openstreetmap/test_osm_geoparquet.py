"""Maps in GeoParquet: Overture's nested columns and others', from disk, http and a bucket, near the samples alone."""

from __future__ import annotations

import json
import re
import urllib.request
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import shapely
from moto.server import ThreadedMotoServer
from pydantic import ValidationError

from pipelines.access.errors import SettingError
from pipelines.access.openstreetmap.features import FeatureStore
from pipelines.access.openstreetmap.merge import merge
from pipelines.access.openstreetmap.near import Near
from pipelines.access.vectors import geomap
from pipelines.access.vectors.geomap import prepare_map
from pipelines.access.vectors.place import MapFile, files_of
from pipelines.access.vectors.read import BadVectorsError
from pipelines.labels.osm_classes import class_of_area, class_of_line
from pipelines.shards.store import DatasetStore
from schemas.label_source import OpenStreetMapLabel
from schemas.map_source import MapSource
from schemas.place import BBox
from testbed.services import serve_catalogue

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pipelines.access.openstreetmap.extract import Extract

LON, LAT = np.array([8.005]), np.array([47.005])
NEAR = Near.footprints(LON, LAT, 600.0)
BOX = pa.struct([(side, pa.float32()) for side in ("xmin", "xmax", "ymin", "ymax")])
TEXTS = pa.map_(pa.string(), pa.string())
NAMES = pa.struct([("primary", pa.string()), ("common", TEXTS)])
GROUP = 200
EVIL = "\x1b[2J'; DROP TABLE maps; --\u202e<script>"


def _write(path: Path, shapes: list[Any], columns: dict[str, pa.Array], *, covering: bool = True, **entry: Any) -> Path:
    """A GeoParquet file with boxes, in row groups of 200."""
    path.parent.mkdir(parents=True, exist_ok=True)
    bounds = shapely.bounds(shapes)
    boxes = [
        {"xmin": np.nextafter(np.float32(w), np.float32(-999)), "xmax": np.nextafter(np.float32(e), np.float32(999)),
         "ymin": np.nextafter(np.float32(s), np.float32(-999)), "ymax": np.nextafter(np.float32(n), np.float32(999))}
        for w, s, e, n in bounds
    ]  # fmt: skip
    cover = {"covering": {"bbox": {s: ["bbox", s] for s in ("xmin", "ymin", "xmax", "ymax")}}} if covering else {}
    geo = {
        "version": "1.1.0",
        "primary_column": "geometry",
        "columns": {"geometry": {"encoding": "WKB", **cover, **entry}},
    }
    table = pa.table(
        {**columns, "geometry": pa.array(shapely.to_wkb(shapes), pa.binary()), "bbox": pa.array(boxes, BOX)}
    )
    pq.write_table(table.replace_schema_metadata({"geo": json.dumps(geo)}), path, row_group_size=GROUP)
    return path


def _squares(count: int, seed: int) -> list[Any]:
    """Small squares from west to east along 47.005 N: neighbours in the file are neighbours on the ground."""
    rng = np.random.default_rng(seed)
    lon = np.sort(rng.uniform(0.0, 16.0, count))
    lon[count // 2] = LON[0]
    return list(shapely.box(lon, LAT[0], lon + 0.001, LAT[0] + 0.001))


def overture(root: Path, count: int = 6000) -> Path:
    """A release in parts: buildings, waters and segments."""
    shapes, ids = _squares(count, 1), [f"0812-{n:06d}-abc" for n in range(count)]
    names = pa.array([{"primary": EVIL, "common": [("de", "x" * 200)]}] * count, NAMES)
    kinds = pa.array([None if n % 2 else "house" for n in range(count)], pa.string())
    below = pa.array([n % 5 == 0 for n in range(count)])
    blob = pa.array([np.random.default_rng(n).bytes(300) for n in range(count)], pa.binary())
    _write(
        root / "theme=buildings/type=building/part-0.parquet", shapes,
        {"id": pa.array(ids), "names": names, "class": kinds, "is_underground": below, "heavy": blob},
    )  # fmt: skip
    tags = pa.array(
        [[("natural", "wood" if n == 1 else "water"), ("old:key", EVIL)] if n else None for n in range(3)], TEXTS
    )
    waters = [shapely.Point(8.005, 47.005).buffer(0.001 * (n + 1)) for n in range(3)]
    _write(
        root / "theme=base/type=water/part-0.parquet", waters,
        {"id": pa.array(["w0", "w1", "w2"]), "subtype": pa.array(["lake"] * 3), "class": pa.array(["lake"] * 3),
         "source_tags": tags},
    )  # fmt: skip
    lines = [shapely.LineString([(8.0, 47.0), (8.01, 47.01)])] * 4
    _write(
        root / "theme=transportation/type=segment/part-0.parquet", lines,
        {"id": pa.array(list("abcd")), "subtype": pa.array(["road", "road", "rail", "water"]),
         "class": pa.array(["motorway", "motorway", "standard_gauge", None], pa.string()),
         "subclass": pa.array([None, "link", None, None], pa.string())},
    )  # fmt: skip
    (root / "theme=base/type=water/_SUCCESS").write_text("")
    return root


def _source(**said: Any) -> MapSource:
    return MapSource.model_validate({"from": "map", "columns": "overture", "date": "2025-11-19", **said})


def _rows(extract: Extract) -> dict[str, tuple[str, dict[str, str], bytes]]:
    with FeatureStore(extract.parquet) as store:
        everything = store.within(BBox(-180.0, -90.0, 180.0, 90.0))
    return {f.tags.get("id", f.osm_id): (f.kind, f.tags, f.geometry.wkb) for f in everything}


def _counted(files: list[MapFile], log: list[int]) -> list[MapFile]:
    def counting(file: MapFile) -> Any:
        return lambda start, length: (log.append(length), file.read(start, length))[1]

    return [MapFile(name=f.name, size=f.size, version=f.version, read=counting(f)) for f in files]


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return overture(tmp_path_factory.mktemp("release") / "map")


@pytest.fixture(scope="module")
def expected(release: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    files = files_of("map", release.parent, anywhere=False, where="x")
    return _rows(prepare_map(_source(types=TYPES), files, tmp_path_factory.mktemp("work"), NEAR))


TYPES = ["buildings/building", "base/water", "transportation/segment"]


def test_the_rows_are_those_that_shapely_finds_near(expected: dict[str, Any], release: Path) -> None:
    table = pq.read_table(release / "theme=buildings/type=building/part-0.parquet")
    shapes = shapely.from_wkb(table.column("geometry").to_numpy(zero_copy_only=False))
    ground = shapely.box(*NEAR.boxes[0])
    near = [i for i, shape in enumerate(shapes) if shapely.intersects(ground, shape)]
    found = {key: row for key, row in expected.items() if key.startswith("0812")}
    assert sorted(found) == sorted(table.column("id")[i].as_py() for i in near)
    for i in near:
        kind, tags, wkb = found[table.column("id")[i].as_py()]
        assert (kind, shapely.from_wkb(wkb)) == ("area", shapes[i])
        assert tags["building"] == ("yes" if i % 2 else "house")
        assert tags["name"] == EVIL
        assert ("location" in tags) == (i % 5 == 0)


def test_overtures_columns_become_the_tags_of_classes(expected: dict[str, Any]) -> None:
    tags = {key: row[1] for key, row in expected.items()}
    assert class_of_line(tags["a"]) == ("Major road", 12.0)
    assert class_of_line(tags["b"]) == ("Major road", 6.0)
    assert class_of_line(tags["c"]) == ("Railway", 6.0)
    assert class_of_line(tags["d"]) is None
    assert [class_of_area(tags[k]) for k in ("w0", "w1", "w2")] == ["Water", "Trees", "Water"]
    assert tags["w1"]["old:key"] == EVIL


def test_only_what_is_near_is_read(release: Path, tmp_path: Path) -> None:
    files = files_of("map", release.parent, anywhere=False, where="x")
    log: list[int] = []
    prepare_map(_source(types=["buildings/building"]), _counted(files, log), tmp_path, NEAR)
    size = (release / "theme=buildings/type=building/part-0.parquet").stat().st_size
    assert sum(log) < size / 10, "one row group of thirty, without its heavy column, and the footer"
    log.clear()
    prepare_map(_source(types=["buildings/building"]), _counted(files, log), tmp_path, NEAR)
    assert log == [], "prepared once"


def test_an_http_address_gives_the_same_and_no_more_bytes(release: Path, expected: Any, tmp_path: Path) -> None:
    path = release / "theme=buildings/type=building/part-0.parquet"
    with serve_catalogue([], {"/theme=buildings/type=building/part-0.parquet": path}) as services:
        url = f"{services.base_url}/theme=buildings/type=building/part-0.parquet"
        log: list[int] = []
        files = _counted(files_of(url, tmp_path, anywhere=False, where="x"), log)
        found = _rows(prepare_map(_source(types=["buildings/building"], **{"from": url}), files, tmp_path, NEAR))
        assert found == {key: row for key, row in expected.items() if key.startswith("0812")}
        assert sum(log) < path.stat().st_size / 10
        with pytest.raises(BadVectorsError, match="folders cannot be listed over http"):
            files_of(f"{services.base_url}/theme=buildings/", tmp_path, anywhere=False, where="x")


@pytest.fixture
def bucket(release: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    running = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    running.start()
    host, port = running.get_host_and_port()
    settings = {
        "ACCESS_KEY_ID": "test",
        "SECRET_ACCESS_KEY": "secret-test",
        "REGION": "us-east-1",
        "ALLOW_HTTP": "true",
    }
    for name, value in {**settings, "ENDPOINT_URL": f"http://{host}:{port}"}.items():
        monkeypatch.setenv(f"AWS_{name}", value)
    urllib.request.urlopen(urllib.request.Request(f"http://{host}:{port}/maps", method="PUT")).close()
    store = DatasetStore("s3://maps/release/1")
    for path in (p for p in release.rglob("*") if p.is_file()):
        store.put(path.relative_to(release).as_posix(), path)
    yield "s3://maps/release/1/"
    running.stop()


def test_a_bucket_gives_the_same_and_no_more_bytes(bucket: str, release: Path, expected: Any, tmp_path: Path) -> None:
    log: list[int] = []
    files = _counted(files_of(bucket, tmp_path, anywhere=False, where="x"), log)
    assert [f.name for f in files] == sorted(f"release/1/{p.relative_to(release)}" for p in release.rglob("*.parquet"))
    assert _rows(prepare_map(_source(types=TYPES, **{"from": bucket}), files, tmp_path, NEAR)) == expected
    assert sum(log) < sum(f.size for f in files) / 8
    one = files_of(f"{bucket}theme=base/type=water/part-0.parquet", tmp_path, anywhere=False, where="x")
    assert len(one) == 1
    with pytest.raises(BadVectorsError, match="is not there"):
        files_of(f"{bucket}no.parquet", tmp_path, anywhere=False, where="x")
    with pytest.raises(BadVectorsError, match=r"holds no \.parquet file"):
        files_of("s3://maps/none/", tmp_path, anywhere=False, where="x")


def test_a_map_of_others_by_its_columns(tmp_path: Path) -> None:
    """Rules: the first that gives a value; values, conditions, any element of a list, a map of tags."""
    flags = pa.array([[{"values": ["is_tunnel"]}], [], None], pa.list_(pa.struct([("values", pa.list_(pa.string()))])))
    columns = {
        "fid": pa.array([7, 8, 9]), "use": pa.array(["F", "W", "?"]), "level": pa.array([1.0, 2.5, None]),
        "flags": flags,
        "props": pa.array([{"title": "one"}, {"title": None}, None], pa.struct([("title", pa.string())])),
    }  # fmt: skip
    _write(tmp_path / "a.parquet", [shapely.box(8.0, 47.0, 8.01, 47.01)] * 3, columns, covering=False)
    rules = {
        "id": "fid",
        "tags": {
            "landuse": {"column": "use", "values": {"F": "forest"}},
            "natural": [{"column": "use", "values": {"W": "water"}}, {"value": "scrub", "when": {"use": "?"}}],
            "name": "props.title", "tunnel": {"column": "flags[].values[]", "values": {"is_tunnel": "yes"}},
            "level": "level",
        },
    }  # fmt: skip
    source = _source(**{"from": "a.parquet", "columns": rules, "licence": "CC0-1.0"})
    found = _rows(prepare_map(source, files_of("a.parquet", tmp_path, anywhere=False, where="x"), tmp_path, NEAR))
    assert {k: r[1] for k, r in found.items()} == {
        "7": {"id": "7", "landuse": "forest", "level": "1", "name": "one", "tunnel": "yes"},
        "8": {"id": "8", "level": "2.5", "natural": "water"},
        "9": {"id": "9", "natural": "scrub"},
    }


def test_of_sources_only_the_times_of_edits_are_read(tmp_path: Path) -> None:
    """Overture's buildings with two sources each, of which one is the newer; 1.2 MB of other facts stay unread."""
    count, rng = 300, np.random.default_rng(4)
    sources = [
        [{"record_id": rng.bytes(2000), "update_time": f"2024-0{1 + n % 9}-05T01:02:03.000Z"},
         {"record_id": rng.bytes(2000), "update_time": "2024-03-01T00:00:00.000Z" if n % 2 else None}]
        for n in range(count)
    ]  # fmt: skip
    kind = pa.list_(pa.struct([("record_id", pa.binary()), ("update_time", pa.string())]))
    columns = {"id": pa.array([f"b{n}" for n in range(count)]), "sources": pa.array(sources, kind)}
    shapes = [shapely.box(8.0, 47.0, 8.01, 47.01)] * count
    _write(tmp_path / "theme=buildings/type=building/p.parquet", shapes, columns)
    read: list[int] = []
    files = _counted(files_of("theme=buildings", tmp_path, anywhere=False, where="x"), read)
    source = _source(**{"from": "theme=buildings", "types": ["buildings/building"]})
    extract = prepare_map(source, files, tmp_path / "work", NEAR)
    with FeatureStore(extract.parquet) as store:
        found = {f.tags["id"]: f.edited for f in store.within(BBox(-180.0, -90.0, 180.0, 90.0))}
    newest = [max(one["update_time"] or "" for one in said) for said in sources]
    assert found == {f"b{n}": (date.fromisoformat(time[:10]) - date(1970, 1, 1)).days for n, time in enumerate(newest)}
    assert extract.untimed == ()
    assert sum(read) < 200_000


def test_an_object_in_two_releases_counts_once_as_the_newer_has_it(tmp_path: Path) -> None:
    found = []
    for name, day, use in (("old", "2024-01-01", "forest"), ("new", "2025-01-01", "meadow")):
        columns = {"fid": pa.array([1, 2] if use == "forest" else [1, 3]), "use": pa.array([use, use])}
        _write(tmp_path / f"{name}.parquet", [shapely.box(8.0, 47.0, 8.01, 47.01)] * 2, columns)
        source = _source(**{"from": name, "columns": {"id": "fid", "tags": {"landuse": "use"}}, "date": day})
        files = files_of(f"{name}.parquet", tmp_path, anywhere=False, where="x")
        found.append(prepare_map(source, files * 2, tmp_path, NEAR))
    rows = _rows(merge(found, tmp_path))
    assert {k: r[1]["landuse"] for k, r in rows.items()} == {"1": "meadow", "2": "forest", "3": "meadow"}


def test_a_reading_that_stopped_is_gone_on_with(release: Path, expected: Any, tmp_path: Path) -> None:
    files, source = files_of("map", release.parent, anywhere=False, where="x"), _source(types=TYPES)

    def stop(done: int, whole: int) -> None:
        assert whole == 3
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prepare_map(source, files, tmp_path, NEAR, stop)
    log: list[int] = []
    assert _rows(prepare_map(source, _counted(files, log), tmp_path, NEAR)) == expected
    whole = sum(f.size for f in files)
    assert sum(log) < whole / 10, "two files are not read again"
    assert [p.name for p in tmp_path.iterdir() if p.name.endswith(".reading")] == []


def _one(tmp_path: Path, **said: Any) -> Any:
    (path,) = tmp_path.glob("*.parquet")
    files = files_of(path.name, tmp_path, anywhere=False, where="labels: openstreetmap: geoparquet: from")
    return prepare_map(_source(**{"columns": {"tags": {"landuse": "use"}}, **said}), files, tmp_path / "work", NEAR)


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("column", "has no column 'use'; it has bbox, geometry, other"),
        ("geo", "is no GeoParquet"), ("encoding", "geometry encoding is 'point', expected 'WKB'"),
        ("crs", "must be in longitude and latitude"), ("unknown", "is unknown to PROJ"),
        ("cut", "cannot be read as Parquet"), ("text", "cannot be read as Parquet"),
        ("empty", "cannot be read as Parquet"),
    ],
)  # fmt: skip
def test_a_file_that_cannot_be_used_gets_one_line(tmp_path: Path, fault: str, words: str) -> None:
    entry: dict[str, Any] = {
        "encoding": {"encoding": "point"},
        "crs": {"crs": "EPSG:2154"},
        "unknown": {"crs": EVIL},
    }.get(fault, {})
    name = "other" if fault == "column" else "use"
    path = _write(tmp_path / "m.parquet", [shapely.box(8.0, 47.0, 8.01, 47.01)], {name: pa.array(["forest"])}, **entry)
    if fault == "geo":
        pq.write_table(pq.read_table(path).replace_schema_metadata({"geo": "[" * 9000}), path)
    if fault in ("cut", "text", "empty"):
        path.write_bytes({"cut": path.read_bytes()[:-20], "text": b"<html>no</html>" * 9, "empty": b""}[fault])
    with pytest.raises(BadVectorsError, match=re.escape(words)) as error:
        _one(tmp_path)
    assert "\n" not in str(error.value)
    assert str(error.value).isprintable()
    assert str(tmp_path) not in str(error.value)


@pytest.mark.parametrize(("kind", "value"), [("us", 2**62), ("ms", -(2**60)), ("day", 2**30)])
def test_a_date_beyond_all_calendars_is_one_line(tmp_path: Path, kind: str, value: int) -> None:
    when = pa.array([value], pa.date32() if kind == "day" else pa.timestamp(kind))
    columns = {"use": pa.array(["forest"]), "when": when}
    _write(tmp_path / "m.parquet", [shapely.box(8.0, 47.0, 8.01, 47.01)], columns)
    with pytest.raises(BadVectorsError, match=r"^'m\.parquet': cannot be read as Parquet") as error:
        _one(tmp_path, columns={"tags": {"landuse": "use"}, "edited": "when"})
    assert "\n" not in str(error.value)


def test_shapes_and_boxes_that_lie_are_counted_and_never_lose_others(tmp_path: Path) -> None:
    shapes = [
        shapely.box(8.0, 47.0, 8.01, 47.01),
        shapely.box(9000.0, 47.0, 9001.0, 47.01),
        shapely.Point(8.005, 47.005),
    ]
    path = _write(tmp_path / "m.parquet", shapes, {"use": pa.array(["forest"] * 3)})
    table = pq.read_table(path)
    boxes = [
        {"xmin": float("nan"), "xmax": 1.0, "ymin": 0.0, "ymax": 0.0},
        None,
        {"xmin": 179.0, "xmax": -179.0, "ymin": -90.0, "ymax": 90.0},
    ]
    table = table.set_column(table.schema.get_field_index("bbox"), "bbox", pa.array(boxes, BOX))
    broken = [table.column("geometry")[0].as_py(), b"\x01\x07junk", table.column("geometry")[2].as_py()]
    table = table.set_column(table.schema.get_field_index("geometry"), "geometry", pa.array(broken, pa.binary()))
    pq.write_table(table, path)
    found = _one(tmp_path)
    assert sorted(kind for kind, *_ in _rows(found).values()) == ["area", "point"]
    assert found.lost == {("map", "objects without a geometry that can be read"): 1}


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ({"types": ["base/nothing"]}, "'base/nothing' is not read; types are buildings/building"),
        ({"columns": {"id": "x"}}, "give `tags` or `maps`"),
        ({"columns": {"tags": {"a": {"when": {"b": "c"}}}}}, "needs `column`"),
        ({"types": ["base/water"], "columns": {"tags": {"a": "b"}}}, "`types` are Overture's"),
        ({"columns": {"tags": {"a": "b..c"}}}, "pattern"), ({"from": "/etc/passwd"}, "relative to the recipe"),
        ({"from": "ftp://x/y.parquet"}, "relative to the recipe"),
    ],
)  # fmt: skip
def test_a_recipe_that_cannot_mean_it_is_refused(said: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        _source(**said)


def test_places_outside_the_recipes_folder_and_types_that_are_not_there(release: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(release)
    for said in ("../..", "link"):
        with pytest.raises(SettingError, match="outside the recipe's folder"):
            files_of(said, tmp_path, anywhere=False, where="x")
    with pytest.raises(SettingError, match="does not exist"):
        files_of("none", tmp_path, anywhere=False, where="x")
    (tmp_path / "empty").mkdir()
    with pytest.raises(BadVectorsError, match=r"'empty' holds no \.parquet file"):
        files_of("empty", tmp_path, anywhere=False, where="x")
    files = files_of("map", release.parent, anywhere=False, where="x")
    with pytest.raises(BadVectorsError, match="has no files of base/land; it has base/water, buildings/building"):
        prepare_map(_source(types=["base/land"]), files, tmp_path, NEAR)
    single = files_of("map/theme=base/type=water/part-0.parquet", release.parent, anywhere=False, where="x")
    with pytest.raises(BadVectorsError, match="name it: `types:"):
        prepare_map(_source(), single, tmp_path, NEAR)
    assert prepare_map(_source(types=["base/water"]), single, tmp_path, NEAR).objects == 3


def test_licences_and_attribution_of_what_is_read() -> None:
    def label(**said: Any) -> OpenStreetMapLabel:
        return OpenStreetMapLabel.model_validate(said)

    plain = label(pbf="a.osm.pbf")
    assert (plain.licence, plain.attribution) == ("ODbL-1.0", "(c) OpenStreetMap contributors")
    both = label(
        pbf="a.osm.pbf",
        geoparquet=[
            {"from": "o", "columns": "overture", "date": "2025-01-01", "types": ["base/water", "places/place"]},
            {"from": "m.parquet", "columns": {"tags": {"a": "b"}}, "date": "2025-01-01", "licence": "CC0-1.0",
             "attribution": "me"},
        ],
    )  # fmt: skip
    assert both.licence == "ODbL-1.0 AND CDLA-Permissive-2.0 AND CC0-1.0"
    assert both.attribution == (
        "(c) OpenStreetMap contributors; (c) OpenStreetMap contributors, Overture Maps Foundation; me"
    )
    with pytest.raises(ValidationError, match="give `pbf`"):
        label()
    assert geomap.overture()["base/water"].id == "id"


def test_a_source_is_stored_as_it_is_written() -> None:
    said = {
        "from": ["a.parquet", "s3://b/c/"],
        "columns": {"tags": {"building": ["x", {"value": "yes"}]}},
        "date": "2025-01-01",
    }
    made = MapSource.model_validate(said)
    assert MapSource.model_validate_json(made.model_dump_json()) == made
    assert '"from"' in made.model_dump_json()
