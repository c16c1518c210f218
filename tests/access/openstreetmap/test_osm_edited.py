"""The day of each object's last edit, and how much of a sample was edited since its image: by hand, and by a seed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
import osmium
import pyarrow.parquet as pq
import pytest
from osmium.osm.mutable import Node, Relation, Way

from pipelines.access.openstreetmap import parts
from pipelines.access.openstreetmap.extract import BadExtractError, Extract, open_extract, prepare
from pipelines.access.openstreetmap.features import FeatureStore
from pipelines.access.openstreetmap.merge import merge
from pipelines.access.openstreetmap.near import Near
from pipelines.access.vectors.columns import edited_of
from pipelines.labels.openstreetmap import OpenStreetMap
from pipelines.plan.maps import notes_of_edits
from sampling.geobox import lonlat_bbox, transformer
from schemas.label import EDITED_SINCE
from schemas.label_source import OpenStreetMapLabel
from schemas.map_source import MapColumns
from schemas.place import BBox, GeoBox, Place
from tests.access.openstreetmap.osm_files import HEADER, block, bytes_field, written

if TYPE_CHECKING:
    from pathlib import Path

EVERYWHERE = Near(np.array([[-180.0, -90.0, 180.0, 90.0]]))
WHOLE = BBox(-180.0, -90.0, 180.0, 90.0)
BOX = GeoBox(epsg=32632, x_min=540_000, y_max=5_221_000, resolution_m=10, width=20, height=20)
PLACE = Place(sample_id="s", lon=9.53, lat=47.14, geobox=BOX, split="train", block="b", cell="c")
LONLAT = transformer(BOX.epsg, 4326)
IMAGE = datetime(2022, 6, 15, 10, 30, tzinfo=UTC)
BEFORE, SAME_DAY, AFTER = datetime(2020, 1, 1, tzinfo=UTC), IMAGE + timedelta(hours=13), IMAGE + timedelta(hours=14)


def _edited(extract: Extract) -> dict[str, int | None]:
    with FeatureStore(extract.parquet) as store:
        return {f.osm_id: f.edited for f in store.within(WHOLE)}


def _measure(extract: Extract, image: datetime | None = IMAGE, **said: Any) -> float | None:
    labeller = OpenStreetMap(OpenStreetMapLabel(pbf="x.osm.pbf", **said))
    with FeatureStore(extract.parquet) as store:
        day = labeller.map_day(extract, image)
        features = store.within(lonlat_bbox(BOX), whole=False, day=day)
    label, _ = labeller.layers(PLACE, 10.0, features, extract, image)
    return label.measures[EDITED_SINCE]


class _Writer:
    """Adds squares, given in pixels of the sample, with the times of each way and of its first corner."""

    def __init__(self) -> None:
        self._nodes: list[Node] = []
        self._ways: list[Way] = []

    def square(
        self, pixels: tuple[int, int, int, int], when: datetime | None, corner: datetime | None = None, **tags: str
    ) -> None:
        left, top, right, bottom = (10 * p for p in pixels)
        refs = []
        for x, y in ((left, top), (right, top), (right, bottom), (left, bottom)):
            place = LONLAT.transform(BOX.x_min + x, BOX.y_max - y)
            time = when if refs else corner or when
            self._nodes.append(Node(id=len(self._nodes) + 1, location=place, version=1, timestamp=time))
            refs.append(len(self._nodes))
        self._ways.append(Way(id=len(self._ways) + 1, nodes=[*refs, refs[0]], tags=tags, version=1, timestamp=when))

    def write(self, path: Path) -> Path:
        def fill(writer: osmium.SimpleWriter) -> None:
            for node in self._nodes:
                writer.add_node(node)
            for way in self._ways:
                writer.add_way(way)

        return written(path, fill)


def _quarters(when: datetime | None = BEFORE) -> _Writer:
    """A wood of 10 x 20 pixels; a meadow of 10 x 10 of which a corner was moved after the image, with a house of 2 x 2
    as old as the wood and one of 1 x 3 that is new; 100 pixels of nothing."""
    town = _Writer()
    town.square((0, 0, 10, 20), SAME_DAY, natural="wood")
    town.square((10, 0, 20, 10), when, AFTER, landuse="meadow")
    town.square((12, 2, 14, 4), BEFORE, building="yes")
    town.square((0, 0, 1, 3), AFTER, building="yes")
    town.square((10, 12, 20, 18), AFTER, name="has no class")
    return town


def test_the_share_of_the_labelled_pixels_as_counted_by_hand(tmp_path: Path) -> None:
    extract = prepare(_quarters().write(tmp_path / "t.osm.pbf"), tmp_path, EVERYWHERE)
    assert _measure(extract) == (100 - 4 + 3) / 300
    assert _measure(extract, IMAGE - timedelta(days=1)) == (100 - 4 + 200) / 300, "the wood's edit is a day later then"
    assert _measure(extract, AFTER) == 0.0
    assert _measure(extract, datetime(2019, 1, 1, tzinfo=UTC)) == 1.0
    assert _measure(extract, None) is None
    assert extract.untimed == ()
    assert notes_of_edits(extract) == []


def test_without_times_the_share_is_not_known_and_one_line_says_so(tmp_path: Path) -> None:
    one_unknown = prepare(_quarters(None).write(tmp_path / "one.osm.pbf"), tmp_path, EVERYWHERE)
    assert _measure(one_unknown) is None, "the meadow does not say when it was edited"
    assert notes_of_edits(one_unknown) == []
    bare = _Writer()
    bare.square((0, 0, 10, 20), None, natural="wood")
    stripped = prepare(bare.write(tmp_path / "bare.osm.pbf"), tmp_path, EVERYWHERE)
    assert _measure(stripped) is None
    (note,) = notes_of_edits(stripped)
    assert note.startswith("openstreetmap: bare.osm.pbf has no times of edits, so openstreetmap_edited_since is empty")
    assert "\n" not in note
    both = merge([one_unknown, stripped], tmp_path)
    assert notes_of_edits(both) == [note]
    assert _edited(both)["w3"] == (BEFORE - datetime(1970, 1, 1, tzinfo=UTC)).days


def test_dense_nodes_with_an_empty_list_of_times_have_none(tmp_path: Path) -> None:
    """Written where no object has a time; osmium reads such files too. A list of another length is damage."""
    numbers = {1: b"\x02\x02", 8: b"\x02\x02", 9: b"\x02\x02", 10: b"\x01\x02\x00\x01\x02\x00"}

    def file(times: bytes) -> Path:
        info = bytes_field(1, b"\x01\x01") + bytes_field(2, times)
        dense = bytes_field(5, info) + b"".join(bytes_field(n, packed) for n, packed in numbers.items())
        path = tmp_path / "dense.osm.pbf"
        path.write_bytes(HEADER + block(bytes_field(2, dense), (b"", b"natural", b"tree")))
        return path

    extract = prepare(file(b""), tmp_path, EVERYWHERE)
    assert _edited(extract) == {"n1": None, "n2": None}
    assert extract.untimed == ("dense.osm.pbf",)
    with pytest.raises(BadExtractError, match="damaged"):
        prepare(file(b"\x02"), tmp_path, EVERYWHERE)


def test_an_extract_that_an_older_version_prepared(tmp_path: Path) -> None:
    extract = prepare(_quarters().write(tmp_path / "t.osm.pbf"), tmp_path, EVERYWHERE)
    about = {b"landweave_osm": pq.read_metadata(extract.parquet).metadata[b"landweave_osm"]}
    table = pq.read_table(extract.parquet).drop_columns(["edited"])
    pq.write_table(table.replace_schema_metadata(about), tmp_path / "old.parquet")
    assert _measure(open_extract(tmp_path / "old.parquet")) is None


def _times(rng: np.random.Generator, count: int) -> list[datetime]:
    return [datetime(2015, 1, 1, tzinfo=UTC) + timedelta(seconds=int(s)) for s in rng.integers(0, 10**8, count)]


def _random(path: Path, seed: int) -> tuple[Path, dict[str, int]]:
    """Ways that share nodes, and multipolygons that share ways; and the day that is expected of each object."""
    rng = np.random.default_rng(seed)
    nodes, ways, relations = (_times(rng, n) for n in (100, 81, 20))
    corners = [[10 * y + x + 1 for x, y in ((i, j), (i + 1, j), (i + 1, j + 1), (i, j + 1), (i, j))]
               for j in range(9) for i in range(9)]  # fmt: skip
    members = [sorted(rng.choice(81, 3, replace=False).tolist()) for _ in relations]
    changed = [max(w, *(nodes[n - 1] for n in refs)) for w, refs in zip(ways, corners, strict=True)]
    days = {f"w{n + 1}": time for n, time in enumerate(changed)}
    days |= {f"n{n}": nodes[n - 1] for n in range(1, 101, 7)}
    days |= {f"r{n + 1}": max(r, *(changed[w] for w in members[n])) for n, r in enumerate(relations)}

    def fill(writer: osmium.SimpleWriter) -> None:
        for n, time in enumerate(nodes):
            tags = {"natural": "tree"} if n % 7 == 0 else {}
            place = (10.0 + 0.01 * (n % 10), 50.0 + 0.01 * (n // 10))
            writer.add_node(Node(id=n + 1, location=place, tags=tags, version=1, timestamp=time))
        for n, (time, refs) in enumerate(zip(ways, corners, strict=True)):
            writer.add_way(Way(id=n + 1, nodes=refs, tags={"landuse": "forest"}, version=1, timestamp=time))
        for n, (time, held) in enumerate(zip(relations, members, strict=True)):
            tags = {"type": "multipolygon", "natural": "water"}
            listed = [("w", w + 1, "outer") for w in held]
            writer.add_relation(Relation(id=n + 1, members=listed, tags=tags, version=1, timestamp=time))

    return written(path, fill), {k: (t - datetime(1970, 1, 1, tzinfo=UTC)).days for k, t in days.items()}


@pytest.mark.slow
@pytest.mark.parametrize("corners", [5, 2_000_000])
def test_the_day_is_that_of_the_newest_part(tmp_path: Path, corners: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts, "PART_CORNERS", corners)
    for seed in range(3):
        path, expected = _random(tmp_path / f"{seed}.osm.pbf", seed)
        found = _edited(prepare(path, tmp_path, EVERYWHERE))
        assert found == {osm_id: expected[osm_id] for osm_id in found}
        assert {osm_id[0] for osm_id in found} == {"n", "w", "r"}
        near = _edited(prepare(path, tmp_path, Near(np.array([[10.02, 50.02, 10.03, 50.03]]))))
        touching = {f"w{9 * y + x + 1}" for x in (1, 2, 3) for y in (1, 2, 3)}
        sure = touching | {osm_id for osm_id in near if osm_id[0] != "w"}
        assert touching <= near.keys()
        assert {osm_id: near[osm_id] for osm_id in sure} == {osm_id: expected[osm_id] for osm_id in sure}


def test_a_full_history_counts_edits_between_the_image_and_the_map(tmp_path: Path) -> None:
    """A wood whose corner moves a year after its first version, a meadow that gets a tag two years after."""
    first, moved, told = (datetime(year, 5, 5, 12, tzinfo=UTC) for year in (2020, 2021, 2022))

    def fill(writer: osmium.SimpleWriter) -> None:
        wood, meadow = ((0, 0), (10, 0), (10, 20), (0, 20)), ((10, 0), (20, 0), (20, 10), (10, 10))
        for number, (x, y) in enumerate((*wood, *meadow), 1):
            for version, time in enumerate((first, moved) if number == 1 else (first,), 1):
                place = LONLAT.transform(BOX.x_min + 10 * x, BOX.y_max - 10 * y)
                writer.add_node(Node(id=number, version=version, visible=True, timestamp=time, location=place))
        writer.add_node(
            Node(id=99, version=1, visible=True, timestamp=datetime(2024, 1, 1, tzinfo=UTC), location=place)
        )
        ways = [(1, first, {"natural": "wood"}), (2, first, {"landuse": "meadow"}), (2, told, {"landuse": "grass"})]
        for version, (number, time, tags) in enumerate(ways):
            refs = [4 * number - 3 + at % 4 for at in range(5)]
            writer.add_way(Way(id=number, version=max(version, 1), visible=True, timestamp=time, nodes=refs, tags=tags))

    path = written(tmp_path / "h.osh.pbf", fill)
    for day, image, expected in (
        ("2021-06-01", first + timedelta(days=9), 200 / 300),
        ("2021-06-01", moved, 0.0),
        ("2021-06-01", moved - timedelta(days=1), 200 / 300),
        ("2022-05-06", moved, 100 / 300),
        ("2022-05-06", first, 1.0),
    ):
        label = OpenStreetMapLabel.model_validate({"pbf": "h.osh.pbf", "date": day})
        extract = prepare(path, tmp_path, EVERYWHERE, at=label.date)
        assert _measure(extract, image, date=day) == expected, (day, image)
    every = prepare(path, tmp_path, EVERYWHERE, at="image")
    for image in (first + timedelta(days=2), moved, moved + timedelta(days=2), told + timedelta(days=99)):
        assert _measure(every, image, date="image") == 0.0


def test_times_of_a_map_in_geoparquet() -> None:
    nested = MapColumns.model_validate({"edited": "sources[].update_time", "tags": {"landuse": "use"}})
    rows = [
        ([{"update_time": "2024-05-01T23:59:59.000Z"}, {"update_time": "2023-01-01T00:00:00Z"}], "2024-05-01"),
        ([{"update_time": "2024-05-01T23:30:00-02:00"}, {"update_time": None}], "2024-05-02"),
        ([{"update_time": datetime(2024, 5, 1, 12)}], "2024-05-01"),  # noqa: DTZ001 - a column without a zone
        ([{"update_time": IMAGE.date()}], "2022-06-15"),
        ([{"update_time": "yesterday"}, {"update_time": 7}], None),
        (None, None),
    ]
    for said, day in rows:
        wanted = None if day is None else (datetime.fromisoformat(day) - datetime(1970, 1, 1)).days  # noqa: DTZ001
        assert edited_of({"sources": said}, nested) == wanted
    assert edited_of({"sources": rows[0][0]}, MapColumns.model_validate({"tags": {"landuse": "use"}})) is None
