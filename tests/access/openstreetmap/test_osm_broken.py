"""Extracts that are not as they should be: read right, or one line with the osmium command that mends them."""

from __future__ import annotations

import bz2
import gzip
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import osmium
import pytest
from osmium.osm.mutable import Node, Relation, Way

from pipelines.access.openstreetmap.extract import BadExtractError, Extract, prepare
from pipelines.access.openstreetmap.features import FeatureStore, OsmFeature
from schemas.place import BBox
from tests.access.openstreetmap.osm_files import (
    HEADER,
    SQUARE,
    WHEN,
    blob,
    block,
    bytes_field,
    nodes,
    number_field,
    relate,
    ring,
    varint,
    way,
    written,
)  # fmt: skip

if TYPE_CHECKING:
    from collections.abc import Callable

WORLD = BBox(-180.0, -90.0, 180.0, 90.0)
Writer = osmium.SimpleWriter


def read(path: Path) -> tuple[Extract, list[OsmFeature]]:
    extract = prepare(path, path.parent / "cache")
    with FeatureStore(extract.parquet) as store:
        return extract, store.within(WORLD)


def refused(path: Path) -> str:
    with pytest.raises(BadExtractError) as caught:
        prepare(path, path.parent / "cache")
    text = str(caught.value)
    assert text.startswith(f"{path.name}: ")
    assert "\n" not in text
    assert str(path.parent) not in text
    assert not (path.parent / "cache").exists()
    return text


def lost(extract: Extract) -> dict[str, int]:
    names = ("incomplete", "incomplete_multipolygons", "broken_areas", "broken_lines")
    return {name: extract.counts[name] for name in names if extract.counts[name]}


def _twice(writer: Writer) -> None:
    for _ in range(2):
        writer.add_node(Node(id=9, location=(10, 50), tags={"amenity": "cafe"}, version=1, timestamp=WHEN))


def _ways_twice(writer: Writer) -> None:
    ids = nodes(writer, 1, SQUARE)
    for version in (1, 2):
        tags = {"landuse": "forest" if version == 1 else "farmland"}
        writer.add_way(Way(id=1, nodes=[*ids, ids[0]], tags=tags, version=version, timestamp=WHEN))


def _deleted(writer: Writer) -> None:
    nodes(writer, 1, SQUARE)
    writer.add_node(Node(id=9, visible=False, version=2, timestamp=WHEN))


def _relations_twice(writer: Writer) -> None:
    for _ in range(2):
        writer.add_relation(Relation(id=3, members=[("w", 1, "outer")], tags={"type": "route"}, timestamp=WHEN))


def _ways_before_nodes(writer: Writer) -> None:
    way(writer, 1, [1, 2, 3, 4, 1], landuse="forest")
    nodes(writer, 1, SQUARE)


def _ways_out_of_order(writer: Writer) -> None:
    ids = nodes(writer, 1, SQUARE)
    way(writer, 2, ids, highway="track")
    way(writer, 1, ids, highway="track")


def _two_extracts(writer: Writer) -> None:
    for first in (1, 2):
        ids = nodes(writer, first, SQUARE)
        way(writer, first, ids, highway="track")


def _relation_before_way(writer: Writer) -> None:
    writer.add_relation(Relation(id=3, members=[("w", 1, "outer")], tags={"type": "route"}, timestamp=WHEN))
    way(writer, 1, [1, 2], highway="track")


def _negative_nodes(writer: Writer) -> None:
    for number, (x, y) in enumerate(SQUARE, 1):
        writer.add_node(Node(id=-number, location=(10 + x, 50 + y), timestamp=WHEN))
    way(writer, -1, [-1, -2, -3, -4, -1], landuse="forest")


def _negative_corner(writer: Writer) -> None:
    way(writer, 1, [*nodes(writer, 1, SQUARE), -7, 1], landuse="forest")
    relate(writer, 1, ("w", -5, "outer"), natural="wood")
    relate(writer, 2, ("w", 1 << 62, "outer"), natural="wood")


def _negative_way(writer: Writer) -> None:
    way(writer, -1, [*(ids := nodes(writer, 1, SQUARE)), ids[0]], landuse="forest")


def _negative_relation(writer: Writer) -> None:
    ring(writer, 1, 1, landuse="forest")
    writer.add_relation(Relation(id=-3, members=[("w", 1, "outer")], tags={"type": "route"}, timestamp=WHEN))


@pytest.mark.parametrize(
    ("fill", "found", "mend"),
    [
        (_twice, "node 9 occurs more than once", "osmium time-filter"),
        (_ways_twice, "way 1 occurs more than once", "osmium time-filter"),
        (_relations_twice, "relation 3 occurs more than once", "osmium time-filter"),
        (_deleted, "node 9 is marked as deleted", "osmium time-filter"),
        (_ways_before_nodes, "node 1 comes after a way", "osmium sort"),
        (_ways_out_of_order, "way 1 comes after way 2", "osmium sort"),
        (_two_extracts, "node 2 comes after a way", "osmium sort"),
        (_relation_before_way, "way 1 comes after a relation", "osmium sort"),
        (_negative_nodes, "node -1 has a negative id", "osmium renumber"),
        (_negative_way, "way -1 has a negative id", "osmium renumber"),
        (_negative_relation, "relation -3 has a negative id", "osmium renumber"),
    ],
)
@pytest.mark.parametrize("dense", ["true", "false"])
def test_what_osmium_can_mend_is_refused_with_its_command(
    tmp_path: Path, fill: Callable[[Writer], None], found: str, mend: str, dense: str
) -> None:
    for suffix in (".osh.pbf",) if fill is _deleted else (".osm.pbf", ".osh.pbf"):  # the others know no deletion
        path = tmp_path / f"x{suffix}"
        with osmium.SimpleWriter(osmium.io.File(path, f"{suffix[1:]},pbf_dense_nodes={dense}")) as writer:
            fill(writer)
        text = refused(path)
        assert found in text
        assert mend in text
        assert path.name in text.split(mend)[0] + text.split(mend)[1]


def test_a_history_that_holds_one_version_of_each_object_is_an_extract(tmp_path: Path) -> None:
    path = written(tmp_path / "x.osh.pbf", lambda w: ring(w, 1, 1, landuse="forest"))
    assert [f.kind for f in read(path)[1]] == ["area"]


def test_ids_beyond_32_bits_are_ids(tmp_path: Path) -> None:
    def fill(writer: Writer) -> None:
        ring(writer, 5_000_000_000, 9_901_312_927, landuse="forest")
        members = [("w", 5_000_000_000, "outer")]
        tags = {"type": "multipolygon", "natural": "wood"}
        writer.add_relation(Relation(id=6_000_000_000, members=members, tags=tags, timestamp=WHEN))

    _, found = read(written(tmp_path / "x.osm.pbf", fill))
    assert [f.osm_id for f in found] == ["r6000000000", "w5000000000"]


XML = (
    b'<?xml version="1.0"?>\n<osm version="0.6"><node id="1" lat="50" lon="10" version="1" '
    b'timestamp="2024-01-01T00:00:00Z"><tag k="amenity" v="cafe"/></node></osm>'
)

CHANGES = XML.replace(b"<osm ", b"<osmChange ")


@pytest.mark.parametrize(
    ("content", "found", "mend"),
    [
        (b"", "it is empty", "download it again"),
        (b"<!DOCTYPE html>\n<html><body>Too many requests</body></html>", "a web page", "download it again"),
        (XML, "it is an .osm file, not an .osm.pbf", "osmium cat x.osm.pbf -F osm -o"),
        (bz2.compress(XML), "it is an .osm.bz2 file, not", "osmium cat x.osm.pbf -F osm.bz2 -o"),
        (gzip.compress(XML, mtime=0), "it is an .osm.gz file, not", "osmium cat x.osm.pbf -F osm.gz -o"),
        (
            XML.replace(b"<osm ", b"<osmChange "),
            "a change file",
            "osmium apply-changes EXTRACT x.osm.pbf -F osc -o",
        ),
        (gzip.compress(HEADER * 9, mtime=0), "compressed with gz", "gunzip x.osm.pbf"),
        (b"\xff\xe0\x04o5m2\xdc", "it is an .o5m", "-F o5m -o"),
        (
            b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n",
            "does not start like",
            "download it again",
        ),
        (HEADER + HEADER, "two concatenated files", "osmium merge FIRST SECOND -o merged.osm.pbf"),
        (HEADER[:20], "truncated", "download it again"),
        (HEADER[: len(HEADER) // 2], "truncated", "download it again"),
        (HEADER + b"\0\0", "truncated", "download it again"),
        (
            blob("OSMHeader", bytes_field(4, b"Sort.By_Moon")),
            "needs the reader feature 'Sort.By_Moon'",
            "without that feature",
        ),
        (HEADER + blob("OSMData", b"x", packing=7), "compressed with zstd", "compressed with zlib"),
        (HEADER + blob("OSMData", b"x", packing=4), "compressed with LZMA", "compressed with zlib"),
        (HEADER + blob("OSMData", b"abc", says=2), "another size", "download it again"),
        (HEADER + blob("OSMData", b"\xff\xff\xff"), "a block in it is damaged", "download it again"),
    ],
)
def test_what_is_no_pbf_is_named(tmp_path: Path, content: bytes, found: str, mend: str) -> None:
    path = tmp_path / "x.osm.pbf"
    path.write_bytes(content)
    text = refused(path)
    assert found in text
    assert mend in text


@pytest.mark.parametrize("packing", ["none", "zlib", "lz4"])
def test_every_packing_that_osmium_writes_is_read(tmp_path: Path, packing: str) -> None:
    path = tmp_path / "x.osm.pbf"
    with osmium.SimpleWriter(osmium.io.File(path, f"pbf,pbf_compression={packing}")) as writer:
        ring(writer, 1, 1, landuse="forest")
    assert [f.osm_id for f in read(path)[1]] == ["w1"]


def _blobs(data: bytes) -> list[bytes]:
    found, at = [], 0
    while at < len(data):
        size = int.from_bytes(data[at : at + 4], "big")
        head = data[at + 4 : at + 4 + size]
        length, shift, end = 0, 0, head.rindex(b"\x18") + 1
        for byte in head[end:]:
            length |= (byte & 127) << shift
            shift += 7
        found.append(data[at : at + 4 + size + length])
        at += 4 + size + length
    return found


def test_a_file_cut_between_two_blobs_is_told(tmp_path: Path) -> None:
    def fill(writer: Writer) -> None:
        for number in range(9000):
            writer.add_node(Node(id=number + 1, location=(10 + number / 1e5, 50), timestamp=WHEN))
        for number in range(9000):
            way(writer, number + 1, [number + 1, number % 9000 + 1, (number + 1) % 9000 + 1])
        for number in range(9000):
            members = [("w", number + 1, "outer")]
            writer.add_relation(Relation(id=number + 1, members=members, tags={"type": "route"}, timestamp=WHEN))

    whole = written(tmp_path / "x.osm.pbf", fill)
    assert read(whole)[0].counts["relations"] == 9000
    parts = _blobs(whole.read_bytes())
    assert len(parts) == 7  # header, two of each kind
    for number in range(2, 6):
        path = tmp_path / f"{number}" / "x.osm.pbf"
        path.parent.mkdir()
        path.write_bytes(b"".join(parts[:number]))
        text = refused(path)
        assert "seems to be truncated" in text
        assert text.endswith("; download it again")
        assert "osmium tags-filter x.osm.pbf 'nwr/*' -o filtered.osm.pbf" in text


def test_points_alone_are_a_map(tmp_path: Path) -> None:
    def fill(writer: Writer) -> None:
        for number in range(20):
            writer.add_node(Node(id=number + 1, location=(10, 50), tags={"natural": "tree"}, timestamp=WHEN))

    extract, found = read(written(tmp_path / "x.osm.pbf", fill))
    assert len(found) == 20
    assert extract.lost == {}


BOW_TIE = ((0.0, 0.0), (1.0, 1.0), (1.0, 0.0), (0.0, 1.0))


def _missing_node(writer: Writer) -> None:
    ids = nodes(writer, 1, SQUARE)
    way(writer, 1, [*ids, 99, ids[0]], landuse="forest")
    way(writer, 2, [ids[0], 99], highway="track")


def _no_place(writer: Writer) -> None:
    ids = nodes(writer, 1, SQUARE)
    writer.add_node(Node(id=9, location=(200.0, 95.0), tags={"amenity": "cafe"}, timestamp=WHEN))
    way(writer, 1, [*ids, 9, ids[0]], landuse="forest")


def _crossing(writer: Writer) -> None:
    ids = nodes(writer, 1, BOW_TIE)
    way(writer, 1, [*ids, ids[0]], landuse="forest")
    way(writer, 2, [*ids, ids[0]])
    relate(writer, 1, ("w", 2, "outer"), natural="wood")


def _missing_member(writer: Writer) -> None:
    ids = nodes(writer, 1, SQUARE)
    way(writer, 1, ids[:3])
    relate(writer, 1, ("w", 1, "outer"), ("w", 2, "outer"), natural="water")
    relate(writer, 2, ("w", 7, "outer"), type="boundary", boundary="national_park")
    relate(writer, 3, ("w", 7, "outer"), type="boundary", boundary="administrative")  # on paper only


def _member_with_a_missing_node(writer: Writer) -> None:
    ids = nodes(writer, 1, SQUARE)
    way(writer, 1, [*ids, 99, ids[0]])
    relate(writer, 1, ("w", 1, "outer"), natural="water")


def _open_ring(writer: Writer) -> None:
    ids = nodes(writer, 1, SQUARE)
    way(writer, 1, ids)
    relate(writer, 1, ("w", 1, "outer"), natural="water")
    relate(writer, 2, ("n", 1, "label"), natural="water")


def _inner_is_outer(writer: Writer) -> None:
    ids = nodes(writer, 1, SQUARE)
    way(writer, 1, [*ids, ids[0]])
    way(writer, 2, [*ids, ids[0]])
    relate(writer, 1, ("w", 1, "outer"), ("w", 2, "inner"), natural="water")


def _one_place(writer: Writer) -> None:
    ids = nodes(writer, 1, [(0, 0), (0, 0), (1, 1)])
    way(writer, 1, ids[:2], highway="track")
    way(writer, 2, ids[:1], highway="track")
    way(writer, 3, [], highway="track")
    way(writer, 4, [1, 3, 1], landuse="forest")  # a line there and back: too short for a ring


@pytest.mark.parametrize(
    ("fill", "words", "kept"),
    [
        (_missing_node, {"incomplete": 2}, []),
        (_negative_corner, {"incomplete": 1, "incomplete_multipolygons": 2}, []),
        (_no_place, {"incomplete": 2}, []),
        (_crossing, {"broken_areas": 2}, []),
        (_missing_member, {"incomplete_multipolygons": 2}, []),
        (_member_with_a_missing_node, {"incomplete_multipolygons": 1}, []),
        (_open_ring, {"broken_areas": 2}, []),
        (_inner_is_outer, {"broken_areas": 1}, []),
        (_one_place, {"broken_lines": 3}, ["w4"]),
    ],
)
def test_what_is_lost_is_counted_under_its_word(
    tmp_path: Path, fill: Callable[[Writer], None], words: dict[str, int], kept: list[str]
) -> None:
    extract, found = read(written(tmp_path / "x.osm.pbf", fill))
    assert [f.osm_id for f in found] == kept
    assert lost(extract) == words
    assert list(extract.lost.values()) == list(words.values())


def test_a_way_closed_by_place_is_an_area_and_no_line(tmp_path: Path) -> None:
    def fill(writer: Writer) -> None:
        ids = nodes(writer, 1, [*SQUARE, SQUARE[0]])
        way(writer, 1, ids, landuse="forest")
        way(writer, 2, ids, landuse="forest", area="no")
        way(writer, 3, ids, highway="track")
        way(writer, 4, ids, leisure="park", barrier="fence")

    extract, found = read(written(tmp_path / "x.osm.pbf", fill))
    kinds = [(f.osm_id, f.kind) for f in found]
    assert kinds == [("w1", "area"), ("w2", "line"), ("w3", "line"), ("w4", "line"), ("w4", "area")]
    assert (extract.counts["lines"], extract.counts["edge_lines"], extract.counts["way_areas"]) == (2, 1, 2)
    assert found[0].geometry.area == pytest.approx(1e-4)


HOLE = ((0.2, 0.2), (0.8, 0.2), (0.8, 0.8), (0.2, 0.8))


@pytest.mark.parametrize("halves", [False, True])
def test_an_old_style_multipolygon_takes_the_tags_of_its_outer_ways(tmp_path: Path, halves: bool) -> None:
    def fill(writer: Writer) -> None:
        out, hole = nodes(writer, 1, SQUARE), nodes(writer, 11, HOLE)
        lines = [out[:3], [out[2], out[3], out[0]]] if halves else [[*out, out[0]]]
        for number, line in enumerate(lines, 1):
            way(writer, number, line, natural="wood", source="survey", barrier="fence")
        way(writer, 5, [*hole, hole[0]], natural="wood", barrier="fence")
        way(writer, 6, [*hole, hole[0]], landuse="meadow")
        outer = [("w", number, "outer") for number in range(1, len(lines) + 1)]
        relate(writer, 1, *outer, ("w", 5, "inner"), name="Old wood")

    extract, found = read(written(tmp_path / "x.osm.pbf", fill))
    areas = {f.osm_id: f for f in found if f.kind == "area"}
    assert sorted(areas) == ["r1", "w6"]
    assert areas["r1"].tags == {"barrier": "fence", "name": "Old wood", "natural": "wood"}
    assert areas["r1"].geometry.area == pytest.approx(1e-4 * 0.64)
    assert {f.osm_id for f in found if f.kind == "line"} == {"w1", "w2", "w5"} - ({"w2"} if not halves else set())
    assert extract.counts["old_style_areas"] == 1


def test_an_old_style_multipolygon_that_is_lost_leaves_its_ways_what_they_are(tmp_path: Path) -> None:
    def fill(writer: Writer) -> None:
        out = nodes(writer, 1, SQUARE)
        way(writer, 1, [*out, out[0]], natural="wood")
        relate(writer, 1, ("w", 1, "outer"), ("w", 99, "inner"))
        relate(writer, 2, ("w", 98, "outer"), ("w", 99, "outer"))

    extract, found = read(written(tmp_path / "x.osm.pbf", fill))
    assert [(f.osm_id, f.kind) for f in found] == [("w1", "area")]
    assert lost(extract) == {"incomplete_multipolygons": 1}


def test_roles_that_are_wrong_do_not_matter(tmp_path: Path) -> None:
    def fill(writer: Writer) -> None:
        out, hole = nodes(writer, 1, SQUARE), nodes(writer, 11, HOLE)
        way(writer, 1, [*out, out[0]])
        way(writer, 2, [*hole, hole[0]])
        relate(writer, 1, ("w", 1, ""), ("w", 2, "outer"), natural="wood")
        relate(writer, 2, ("w", 1, "inner"), ("w", 2, "enclave"), ("n", 1, "label"), natural="wood")
        relate(writer, 3, ("w", 1, "outer"), ("w", 1, "outer"), ("w", 2, "inner"), natural="wood")

    _, found = read(written(tmp_path / "x.osm.pbf", fill))
    assert [f.geometry.area for f in found] == pytest.approx([1e-4 * 0.64] * 3)


def _dense(count: int, after: int = 0) -> bytes:
    one = b"\x02" * count
    return bytes_field(2, bytes_field(1, varint(2 * after + 2) + one[1:]) + bytes_field(8, one) + bytes_field(9, one))


def _tag_bomb() -> bytes:
    pairs = (b"\x01\x02" * 1000 + b"\0") * 2000
    one = b"\x02" * 2000
    dense = bytes_field(1, one) + bytes_field(8, one) + bytes_field(9, one) + bytes_field(10, pairs)
    return block(bytes_field(2, dense), (b"", b"k" * 1000, b"v" * 1000))


def _ways_bomb() -> bytes:
    ways = b"".join(_way(number, b"\x01" * 4000, b"\x02" * 4000) for number in range(1, 300))
    return block(ways, (b"", b"k" * 250, b"v" * 1000))


def _long_blob() -> bytes:
    return b"\0\0\0\x10" + bytes_field(1, b"OSMData") + b"\x18" + varint(1 << 40)


def _way(number: int, keys: bytes = b"", values: bytes = b"", refs: bytes = b"") -> bytes:
    packed = number_field(1, number) + bytes_field(2, keys) + bytes_field(3, values) + bytes_field(8, refs)
    return bytes_field(3, packed)


TOO_MUCH = "far more than a map of its size"
BOMBS: dict[str, tuple[Callable[[], bytes], str]] = {
    "zeros": (lambda: blob("OSMData", bytes(64 << 20)), "the limit is 33,554,432"),
    "a false size": (lambda: blob("OSMData", bytes(64 << 20), says=1000), "another size than it states"),
    "dense nodes": (lambda: block(_dense(4_300_000)), "more than 4,194,304 numbers"),
    "many blocks": (
        lambda: b"".join(block(_dense(500_000, 500_000 * n)) for n in range(7)),
        TOO_MUCH,
    ),
    "strings": (lambda: blob("OSMData", bytes_field(1, b"\x0a\0" * 1_200_000)), "more than 1,048,576 strings"),
    "tags of nodes": (_tag_bomb, TOO_MUCH),
    "tags of ways": (_ways_bomb, TOO_MUCH),
    "empty ways": (lambda: block(b"\x1a\0" * 400_000), TOO_MUCH),
    "corners": (lambda: block(_way(1, refs=b"\x02" * 5_000_000)), "more than 4,194,304 numbers"),
    "empty groups": (lambda: blob("OSMData", b"\x12\0" * 1_400_000), TOO_MUCH),
    "a long header": (lambda: b"\x7f\xff\xff\xff" + b"\x0a\x07OSMData", "the limit is 65,536"),
    "a long blob": (_long_blob, "the limit is 33,554,432"),
    "a long string": (lambda: blob("OSMData", b"\x0a" + varint(1 << 62)), "damaged"),
}
MEASURE = """
import sys
from pathlib import Path
from pipelines.access.openstreetmap.extract import BadExtractError, prepare
from tests.hostile.reading import peak_kib
before = peak_kib()
for name in sys.argv[1:]:
    try:
        prepare(Path(name), Path(name).parent / "cache")
        print("read")
    except BadExtractError as error:
        print(error)
print((peak_kib() - before) >> 10)
"""


@pytest.mark.slow
def test_a_bomb_is_one_line_and_takes_bounded_memory(tmp_path: Path) -> None:
    for name, (make, _) in BOMBS.items():
        (tmp_path / name).write_bytes(HEADER + make())
    command = [sys.executable, "-c", MEASURE, *(str(tmp_path / name) for name in BOMBS)]
    *lines, grown_mb = subprocess.run(
        command, cwd=Path(__file__).parents[3], capture_output=True, text=True, check=True
    ).stdout.splitlines()
    for line, (name, (_, words)) in zip(lines, BOMBS.items(), strict=True):
        assert line.startswith(f"{name}: ")
        assert words in line
    assert int(grown_mb) < 500
