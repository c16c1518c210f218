"""Extracts: counts equal osmium's own, boxes answer right, damage is one clear error."""

from __future__ import annotations

import json
from collections import Counter
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import numpy as np
import osmium
import pyarrow.parquet as pq
import pytest
import shapely
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from osmium.osm.mutable import Node, Relation, Way

from pipelines.access.openstreetmap.extract import BadExtractError, open_extract, prepare
from pipelines.access.openstreetmap.features import FeatureStore
from pipelines.access.openstreetmap.objects import LOST
from schemas.place import BBox

if TYPE_CHECKING:
    from pathlib import Path

REAL = {
    "liechtenstein": ("osm/liechtenstein-2022-07-21.osm.pbf", datetime(2022, 7, 24, 20, 21, 51, tzinfo=UTC)),
    "helsinki": ("osm/helsinki-core-2019-04-21.osm.pbf", datetime(2019, 4, 21, 9, 50, 14, tzinfo=UTC)),
    "andorra": ("multimodal/osm_srtm_andorra/andorra.osm.pbf", datetime(2013, 5, 28, 18, 59, 4, tzinfo=UTC)),
}


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A square wood with a hole, a road, a closed road, a broken way, a tree and a paper boundary."""
    path = tmp_path_factory.mktemp("osm") / "small.osm.pbf"
    corners = [(9.50, 47.10), (9.52, 47.10), (9.52, 47.12), (9.50, 47.12)]
    hole = [(9.505, 47.105), (9.515, 47.105), (9.515, 47.115), (9.505, 47.115)]
    when = datetime(2022, 1, 2, tzinfo=UTC)
    with osmium.SimpleWriter(path) as writer:
        for i, xy in enumerate([*corners, *hole], 1):
            writer.add_node(Node(id=i, location=xy, timestamp=when, version=1))
        writer.add_node(Node(id=20, location=(9.51, 47.11), tags={"natural": "tree", "note": "old"}, version=1))
        writer.add_way(Way(id=1, nodes=[1, 2, 3, 4, 1], version=1))
        writer.add_way(Way(id=2, nodes=[5, 6, 7, 8, 5], tags={"natural": "water"}, version=1))
        writer.add_way(Way(id=3, nodes=[1, 3], tags={"highway": "primary", "name": "x"}, version=1))
        writer.add_way(Way(id=4, nodes=[1, 2, 3, 1], tags={"highway": "track"}, version=1))
        writer.add_way(Way(id=5, nodes=[1, 999], tags={"highway": "track"}, version=1))
        writer.add_way(Way(id=6, nodes=[1, 2], tags={"boundary": "administrative"}, version=1))
        members = [("w", 1, "outer"), ("w", 2, "inner")]
        tags = {"type": "multipolygon", "natural": "wood"}
        writer.add_relation(Relation(id=1, members=members, tags=tags, version=1))
    return path


def test_objects_are_kept_once_each(small: Path, tmp_path: Path) -> None:
    extract = prepare(small, tmp_path)
    with FeatureStore(extract.parquet) as store:
        found = {f.osm_id: f for f in store.within(BBox(9.0, 47.0, 10.0, 48.0))}
    assert {k: f.kind for k, f in found.items()} == {
        "n20": "point", "r1": "area", "w2": "area", "w3": "line", "w4": "line"
    }  # fmt: skip
    assert len(found["r1"].geometry.geoms[0].interiors) == 1  # the water is a hole in the wood
    assert found["n20"].tags == {"natural": "tree", "note": "old"}
    assert extract.counts["incomplete"] == 1
    assert extract.counts["boundaries"] == 1
    assert extract.snapshot == datetime(2022, 1, 2, tzinfo=UTC)
    assert str(tmp_path) not in extract.name


def test_prepared_twice_is_the_same_file_and_the_same_bytes(small: Path, tmp_path: Path) -> None:
    one = prepare(small, tmp_path / "a")
    before = one.parquet.stat().st_mtime_ns
    assert prepare(small, tmp_path / "a") == one
    assert one.parquet.stat().st_mtime_ns == before
    assert prepare(small, tmp_path / "b").parquet.read_bytes() == one.parquet.read_bytes()
    assert [p.name for p in (tmp_path / "a").iterdir()] == [one.parquet.name]


def test_a_spoilt_cache_is_made_anew(small: Path, tmp_path: Path) -> None:
    one = prepare(small, tmp_path)
    good = one.parquet.read_bytes()
    one.parquet.write_bytes(good[: len(good) // 2])
    assert prepare(small, tmp_path).parquet.read_bytes() == good


def test_an_extract_without_objects_answers_nothing(tmp_path: Path) -> None:
    path = tmp_path / "empty.osm.pbf"
    with osmium.SimpleWriter(path) as writer:
        writer.add_node(Node(id=1, location=(1.0, 1.0), version=1, timestamp=datetime(2020, 1, 1, tzinfo=UTC)))
    extract = prepare(path, tmp_path / "cache")
    with FeatureStore(extract.parquet) as store:
        assert store.within(BBox(-180.0, -90.0, 180.0, 90.0)) == []


@pytest.mark.parametrize("damage", ["truncated", "junk", "empty", "missing", "folder"])
def test_damage_is_one_clear_line(small: Path, tmp_path: Path, damage: str) -> None:
    path = tmp_path / "bad.osm.pbf"
    whole = small.read_bytes()
    content = {"truncated": whole[: len(whole) * 2 // 3], "junk": bytes(range(256)) * 40, "empty": b""}
    if damage == "folder":
        path.mkdir()
    elif damage in content:
        path.write_bytes(content[damage])
    with pytest.raises(BadExtractError, match=r"^bad\.osm\.pbf: ") as caught:
        prepare(path, tmp_path / "cache")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "cache").exists()


def test_a_stranger_parquet_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.parquet").write_bytes(b"PAR1")
    with pytest.raises(BadExtractError, match="not an extract prepared by landweave"):
        open_extract(tmp_path / "x.parquet")


@pytest.fixture(scope="module")
def shared_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.mark.slow
@pytest.mark.real
@pytest.mark.parametrize("name", REAL)
def test_real_counts_equal_osmiums_own(real: Path, shared_cache: Path, name: str) -> None:
    path, snapshot = real / REAL[name][0], REAL[name][1]
    own: Counter[str] = Counter()

    class Handler(osmium.SimpleHandler):
        def node(self, thing: osmium.osm.Node) -> None:
            own["tagged_nodes"] += bool(thing.tags)

        def way(self, thing: osmium.osm.Way) -> None:
            own["tagged_ways"] += bool(thing.tags)

        def relation(self, thing: osmium.osm.Relation) -> None:
            own["relations"] += bool(thing.tags)

        def area(self, thing: osmium.osm.Area) -> None:
            own["areas"] += bool(thing.tags)
            own["relation_areas"] += bool(thing.tags) and not thing.from_way()

    Handler().apply_file(path)
    extract = prepare(path, shared_cache)
    assert extract.snapshot == snapshot
    assert {key: extract.counts[key] for key in ("tagged_nodes", "tagged_ways", "relations", "areas")} == {
        key: own[key] for key in ("tagged_nodes", "tagged_ways", "relations", "areas")
    }
    counts = extract.counts
    kept = sum(counts[k] for k in ("points", "lines", "way_areas", "relation_areas"))
    left_out = sum(counts[k] for k in ("boundaries", "old_style_ways", *LOST)) - counts["incomplete_multipolygons"]
    assert kept + left_out == own["tagged_nodes"] + own["tagged_ways"] + own["relation_areas"]
    table = pq.read_table(extract.parquet)
    assert table.num_rows == kept + counts["edge_lines"] + counts["old_style_areas"]
    assert len(set(table.column("osm_id").to_pylist())) == kept + counts["old_style_areas"]
    geo = json.loads(pq.read_metadata(extract.parquet).metadata[b"geo"])
    assert geo["primary_column"] == "geometry"


@pytest.mark.slow
@pytest.mark.real
def test_real_boxes_answer_as_a_full_scan_does(real: Path, shared_cache: Path) -> None:
    extract = prepare(real / REAL["liechtenstein"][0], shared_cache)
    table = pq.read_table(extract.parquet)
    ids = np.array(table.column("osm_id").to_pylist())
    bounds = shapely.bounds(shapely.from_wkb(table.column("geometry").to_numpy(zero_copy_only=False)))
    store = FeatureStore(extract.parquet, keep=3)

    @settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(st.floats(9.4, 9.7), st.floats(47.0, 47.3), st.floats(0, 0.02), st.floats(0, 0.02))
    def check(west: float, south: float, width: float, height: float) -> None:
        east, north = west + width, south + height
        wanted = (bounds[:, 0] <= east) & (bounds[:, 2] >= west) & (bounds[:, 1] <= north) & (bounds[:, 3] >= south)
        assert {f.osm_id for f in store.within(BBox(west, south, east, north))} == set(ids[wanted])

    check()
    round_the_world = store.within(BBox(9.55, 47.1, 9.5, 47.2))
    assert len(round_the_world) < len(store.within(BBox(-180.0, 47.1, 180.0, 47.2)))
