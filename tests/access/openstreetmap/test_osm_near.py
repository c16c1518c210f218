"""What is near the samples is cut out of an extract: the same objects as a whole reading gives, in bounded memory."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import osmium
import pytest
from osmium.osm.mutable import Node

from pipelines.access.openstreetmap import parts, select
from pipelines.access.openstreetmap.extract import Extract, prepare
from pipelines.access.openstreetmap.features import FeatureStore
from pipelines.access.openstreetmap.merge import merge
from pipelines.access.openstreetmap.near import Near
from pipelines.labels.read_shard import lost_of
from schemas.place import BBox
from tests.access.openstreetmap.osm_files import nodes, relate, ring, tree, way, written
from tests.access.openstreetmap.osm_large import large_extract

if TYPE_CHECKING:
    from collections.abc import Iterable

REAL = {
    "liechtenstein": "osm/liechtenstein-2022-07-21.osm.pbf",
    "helsinki": "osm/helsinki-core-2019-04-21.osm.pbf",
    "andorra": "multimodal/osm_srtm_andorra/andorra.osm.pbf",
}
CHECKOUT = Path(__file__).parents[3]
MB = 1_000_000


def _plain(features: Iterable[Any]) -> list[tuple[Any, ...]]:
    return [(f.osm_id, f.kind, f.tags, f.geometry.wkb) for f in features]


def _all(extract: Extract) -> list[tuple[Any, ...]]:
    with FeatureStore(extract.parquet) as store:
        return _plain(store.within(BBox(-180.0, -90.0, 180.0, 90.0)))


def _box(lon: float, lat: float, size_m: float) -> BBox:
    high = size_m / 2 / 111_195
    wide = high / np.cos(np.radians(lat))
    return BBox(lon - wide, lat - high, lon + wide, lat + high)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("whole")


@pytest.mark.slow
@pytest.mark.real
@pytest.mark.parametrize("name", REAL)
@pytest.mark.parametrize("count", [1, 30])
def test_real_footprints_get_the_same_objects(real: Path, whole: Path, tmp_path: Path, name: str, count: int) -> None:
    path, rng = real / REAL[name], np.random.default_rng(count)
    complete = prepare(path, whole)
    with FeatureStore(complete.parquet) as everything:
        west, south, east, north = everything.bounds
        lon, lat = rng.uniform(west, east, count), rng.uniform(south, north, count)
        cut = prepare(path, tmp_path, Near.footprints(lon, lat, 1280.0))
        assert cut.snapshot == complete.snapshot
        assert cut.name == complete.name
        with FeatureStore(cut.parquet) as near:
            for x, y in zip(lon, lat, strict=True):
                box = _box(float(x), float(y), 1280.0)
                assert _plain(near.within(box)) == _plain(everything.within(box))
    assert [p.name for p in tmp_path.iterdir()] == [cut.parquet.name]


def _town(path: Path) -> Path:
    """A forest of four ways with a lake, three houses apart, roads, an old-style wood, a route and broken things."""

    def fill(writer: osmium.SimpleWriter) -> None:
        corners = [(0, 0), (10, 0), (10, 10), (0, 10), (4, 4), (6, 4), (6, 6), (4, 6)]
        nodes(writer, 1, [(float(x), float(y)) for x, y in corners])
        for at, x in enumerate((20.0, 30.0, 40.0)):
            nodes(writer, 20 + 10 * at, [(x, 0.0), (x + 0.1, 0.0), (x + 0.1, 0.1), (x, 0.1)])
        tree(writer, 60)
        writer.add_node(Node(id=61, location=(10.405, 50.0), tags={"natural": "tree", "name": "näh"}, version=1))
        for number, (one, two) in enumerate(((1, 2), (2, 3), (3, 4), (4, 1)), 1):
            way(writer, number, [one, two])
        way(writer, 5, [5, 6, 7, 8, 5], natural="water")
        for at in range(3):
            first = 20 + 10 * at
            way(writer, 10 + at, [first, first + 1, first + 2, first + 3, first], building="yes")
        way(writer, 20, [1, 20, 30, 40], highway="primary")
        way(writer, 21, [40, 999], highway="track")
        way(writer, 22, [20, 21, 22, 23, 20], natural="wood")
        relate(writer, 1, ("w", 1, "outer"), ("w", 2, "outer"), ("w", 3, "outer"), ("w", 4, "outer"),
               ("w", 5, "inner"), landuse="forest")  # fmt: skip
        relate(writer, 2, ("w", 22, "outer"))
        relate(writer, 3, ("w", 20, ""), type="route", route="bus")
        relate(writer, 4, ("w", 1, "outer"), ("w", 777, "outer"), natural="water")

    return written(path, fill)


def test_an_area_around_the_sample_without_a_corner_near_it(tmp_path: Path) -> None:
    path = _town(tmp_path / "town.osm.pbf")
    inside = Near.footprints(np.array([10.02]), np.array([50.02]), 640.0)  # in the forest, far from its edge
    found = {osm_id for osm_id, *_ in _all(prepare(path, tmp_path, inside))}
    assert "r1" in found
    assert not found & {"w11", "w12", "n61"}
    far = Near.footprints(np.array([10.405]), np.array([50.0]), 100.0)
    assert {osm_id for osm_id, *_ in _all(prepare(path, tmp_path, far))} == {"w12", "w20", "n61"}
    nothing = Near.footprints(np.array([-70.0]), np.array([10.0]), 640.0)
    assert _all(prepare(path, tmp_path, nothing)) == []


EVERYWHERE = Near(np.array([[-180.0, -90.0, 180.0, 90.0]]))


@pytest.mark.parametrize("corners", [1, 3, 8, 2_000_000])
def test_parts_give_the_same_objects_and_counts(tmp_path: Path, corners: int, monkeypatch: pytest.MonkeyPatch) -> None:
    path = _town(tmp_path / "town.osm.pbf")
    complete = prepare(path, tmp_path / "a")
    monkeypatch.setattr(parts, "PART_CORNERS", corners)
    cut = prepare(path, tmp_path / "b", EVERYWHERE)
    assert _all(cut) == _all(complete)
    same = set(cut.counts) - {"relations"}  # of those only multipolygons come along
    assert {k: cut.counts[k] for k in same} == {k: complete.counts[k] for k in same}


class _Stop(Exception):  # noqa: N818 - not an error
    pass


@pytest.mark.slow
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 1.0])
def test_a_reading_that_stopped_is_gone_on_with(tmp_path: Path, share: float, monkeypatch: pytest.MonkeyPatch) -> None:
    path = large_extract(tmp_path / "large.osm.pbf", seed=2, nodes=40_000)
    near = Near.footprints(np.linspace(8.0, 8.4, 5), np.linspace(47.0, 47.2, 5), 2000.0)
    expected = prepare(path, tmp_path / "whole", near).parquet.read_bytes()
    monkeypatch.setattr(select, "_SAFE_EVERY_S", 0.0)
    size, read = path.stat().st_size, []

    def stop(done: int, _: int) -> None:
        read.append(done)
        if len(read) > 1 and done >= share * size:
            raise _Stop

    with pytest.raises(_Stop):
        prepare(path, tmp_path / "cache", near, stop)
    again: list[int] = []
    found = prepare(path, tmp_path / "cache", near, lambda done, _: again.append(done))
    assert found.parquet.read_bytes() == expected
    assert again[0] > read[0]
    assert [p.name for p in (tmp_path / "cache").iterdir()] == [found.parquet.name]


def test_working_files_that_lie_are_made_again(tmp_path: Path) -> None:
    path = _town(tmp_path / "town.osm.pbf")
    expected = prepare(path, tmp_path / "a", EVERYWHERE)
    work = tmp_path / "b" / f"{expected.parquet.stem}.reading"
    work.mkdir(parents=True)
    for content in ("", "{}", '{"at": 99999, "rows": {}, "bounds": [], "scan": {}}', "[1"):
        work.mkdir(exist_ok=True)
        (work / "safe.json").write_text(content)
        (work / "node_ids").write_bytes(b"\1" * 13)
        found = prepare(path, tmp_path / "b", EVERYWHERE)
        assert found.parquet.read_bytes() == expected.parquet.read_bytes()
        found.parquet.unlink()


def test_two_extracts_of_neighbours(tmp_path: Path) -> None:
    """An object in both is there once: as the newer extract has it."""

    def one(writer: osmium.SimpleWriter) -> None:
        ring(writer, 1, 1, building="yes", name="old")
        way(writer, 2, [1, 2], highway="track")

    def two(writer: osmium.SimpleWriter) -> None:
        nodes(writer, 1, ((0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.0, 1.0)))
        writer.add_node(Node(id=9, location=(10.0, 50.0), tags={"natural": "tree"}, timestamp="2025-01-01T00:00:00Z"))
        way(writer, 1, [1, 2, 3, 4, 1], building="yes", name="new")

    files = [written(tmp_path / f"{f.__name__}.osm.pbf", f) for f in (one, two)]
    for order in (files, files[::-1]):
        found = merge([prepare(path, tmp_path, EVERYWHERE) for path in order], tmp_path)
        assert {(f[0], f[2].get("name")) for f in _all(found)} == {("w1", "new"), ("w2", None), ("n9", None)}
        assert [part.split()[0] for part in found.name.split("; ")] == [path.name for path in order]
        assert found.snapshot.year == 2024
        assert found.file == ", ".join(path.name for path in order)
        assert found.counts == {"areas": 1, "lines": 1, "points": 1}, "an object in both counts once"


def test_what_each_of_two_extracts_lacks_is_counted_under_its_name(tmp_path: Path) -> None:
    """A way that both have, with a node that neither has, is one of the broken ways of each and not two of a sum."""

    def fill(writer: osmium.SimpleWriter) -> None:
        nodes(writer, 1, ((0.0, 0.0), (1.0, 0.0)))
        way(writer, 1, [1, 2, 3], highway="track")

    def more(writer: osmium.SimpleWriter) -> None:
        fill(writer)
        way(writer, 9, [1, 2], highway="path")

    paths = [written(tmp_path / "a.osm.pbf", fill), written(tmp_path / "b.osm.pbf", more)]
    found = merge([prepare(path, tmp_path, EVERYWHERE) for path in paths], tmp_path)
    words = "objects with missing or impossible nodes"
    assert found.lost == {("a.osm.pbf", words): 1, ("b.osm.pbf", words): 1}
    assert lost_of(found) == "; ".join(f"not drawn, of {x}.osm.pbf near the samples: {words} 1" for x in "ab")


def test_boxes_at_180_degrees_and_at_the_poles() -> None:
    near = Near.footprints(np.array([179.999, 10.0, 0.0]), np.array([0.0, 89.99, 45.0]), 1000.0)
    places = np.array([[179.9995, 0], [-179.9995, 0], [-90, 89.99], [0.0, 45.001], [0.1, 45.0], [90.0, 0.0]]) * 1e7
    where = places.astype(np.int64)
    assert near.touches(np.hstack([where, where])).tolist() == [True, True, True, True, False, False]


def test_touches_as_numpy_says(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(1)
    lon, lat = rng.uniform(-180, 180, 300), rng.uniform(-80, 80, 300)
    near = Near.footprints(lon, lat, 50_000.0)
    corners = np.column_stack([rng.uniform(-180, 179, 500), rng.uniform(-85, 84, 500)])
    sizes = rng.exponential(0.5, (500, 2))
    boxes = np.minimum(np.hstack([corners, corners + sizes]), [180, 90, 180, 90])
    whole = (boxes * 1e7).astype(np.int64)
    b = near.boxes
    expected = [
        bool(((b[:, 0] <= e) & (b[:, 2] >= w) & (b[:, 1] <= n) & (b[:, 3] >= s)).any()) for w, s, e, n in whole / 1e7
    ]
    assert near.touches(whole).tolist() == expected
    monkeypatch.setattr("pipelines.access.openstreetmap.near._EXACT", 10)
    coarse = Near(near.boxes).touches(whole)
    assert not (np.array(expected) & ~coarse).any()


MEASURE = """
import json, resource, sys, time
import numpy as np
from pathlib import Path
from pipelines.access.openstreetmap.extract import prepare
from pipelines.access.openstreetmap.near import Near
path, cache, places = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
rng = np.random.default_rng(1)
near = Near.footprints(rng.uniform(6, 14, places), rng.uniform(46, 54, places), 2560.0)
cpu, wall = time.process_time(), time.monotonic()
found = prepare(path, cache, near)
cpu, wall = time.process_time() - cpu, time.monotonic() - wall
peak = [x for x in Path("/proc/self/status").read_text().splitlines() if x.startswith("VmHWM")][0].split()[1]
print(json.dumps({"cpu_s": cpu, "wall_s": wall, "peak_mib": int(peak) / 1024, "rows": sum(found.counts.values())}))
"""


def _measured(path: Path, cache: Path, places: int) -> dict[str, float]:
    import json

    done = subprocess.run(
        [sys.executable, "-c", MEASURE, str(path), str(cache), str(places)],
        cwd=CHECKOUT, env={**os.environ, "PYTHONPATH": str(CHECKOUT)}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    found: dict[str, float] = json.loads(done.stdout)
    return found


@pytest.mark.slow
def test_memory_does_not_grow_with_the_extract(tmp_path: Path) -> None:
    small = _measured(large_extract(tmp_path / "s.osm.pbf", seed=1, nodes=100_000), tmp_path / "a", 20)
    large = _measured(large_extract(tmp_path / "l.osm.pbf", seed=1, nodes=1_000_000), tmp_path / "b", 20)
    assert large["peak_mib"] < small["peak_mib"] + 150


@pytest.mark.slow
@pytest.mark.skipif("LANDWEAVE_GIGABYTE" not in os.environ, reason="takes ten minutes; set LANDWEAVE_GIGABYTE=1")
def test_a_gigabyte(tmp_path: Path) -> None:
    """At most the time of two cores at 5 MB per second, below 2 GiB; ten times the places do not take ten times it."""
    path = large_extract(tmp_path / "giga.osm.pbf", seed=3, size=1000 * MB)
    megabytes = path.stat().st_size / MB
    few, many = (_measured(path, tmp_path / str(n), n) for n in (200, 2000))
    sys.stderr.write(f"{megabytes:,.0f} MB: 200 places {few}, 2,000 places {many}\n")
    assert few["peak_mib"] < 2048
    assert many["peak_mib"] < 2048
    assert few["cpu_s"] < megabytes * 2 / 5
    assert many["cpu_s"] < few["cpu_s"] * 3


@pytest.mark.slow
def test_a_killed_process_leaves_what_the_next_one_needs(tmp_path: Path) -> None:
    path = large_extract(tmp_path / "large.osm.pbf", seed=4, nodes=400_000)
    code = MEASURE.replace(
        "found = prepare(path, cache, near)", "prepare(path, cache, near, lambda d, w: print(d, flush=True))"
    )
    code = "import pipelines.access.openstreetmap.select as s; s._SAFE_EVERY_S = 0\n" + code
    begun = subprocess.Popen(
        [sys.executable, "-c", code, str(path), str(tmp_path / "b"), "20"],
        cwd=CHECKOUT, env={**os.environ, "PYTHONPATH": str(CHECKOUT)}, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert begun.stdout is not None
    for line in begun.stdout:
        if int(line) > path.stat().st_size // 2:
            begun.send_signal(signal.SIGKILL)
            break
    begun.wait()
    begun.stdout.close()
    rng = np.random.default_rng(1)
    near = Near.footprints(rng.uniform(6, 14, 20), rng.uniform(46, 54, 20), 2560.0)
    told: list[int] = []
    again = prepare(path, tmp_path / "b", near, lambda done, _: told.append(done))
    assert told[0] > path.stat().st_size // 2
    assert again.parquet.read_bytes() == prepare(path, tmp_path / "c", near).parquet.read_bytes()
