"""A full history gives the map of any day, as filtering it by time and reading the result does."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
import osmium
import osmium.osm
import pytest
import shapely
from osmium.osm.mutable import Node, Relation, Way
from pydantic import ValidationError

from pipelines.access.openstreetmap import parts, scan, select
from pipelines.access.openstreetmap.extract import BadExtractError, prepare
from pipelines.access.openstreetmap.features import FeatureStore
from pipelines.access.openstreetmap.near import Near
from pipelines.labels import open_vector_labeller
from schemas.label_source import OpenStreetMapLabel
from schemas.place import BBox
from tests.access.openstreetmap.osm_files import ring, written

if TYPE_CHECKING:
    from pathlib import Path

    from pipelines.access.openstreetmap.extract import Extract

FIRST = datetime(2020, 1, 1, tzinfo=UTC)
DAYS = 700
KINDS = ("building", "natural", "highway", "landuse")
WHOLE = BBox(-180.0, -90.0, 180.0, 90.0)


def _times(rng: np.random.Generator, count: int) -> list[datetime]:
    """Rising times, some on the stroke of midnight and several on one day."""
    seconds = np.sort(rng.integers(0, DAYS * 86_400, count))
    seconds[::3] -= seconds[::3] % 86_400
    return [FIRST + timedelta(seconds=int(s)) for s in np.sort(seconds)]


def _tags(rng: np.random.Generator) -> dict[str, str]:
    value = {"building": "yes", "natural": "wood", "highway": "track", "landuse": "meadow"}
    kind = KINDS[int(rng.integers(4))]
    return {kind: value[kind], "name": f"n{rng.integers(5)}"} if rng.random() < 0.85 else {}


def history(path: Path, seed: int) -> Path:
    """Nodes that move and go, ways that change their nodes and tags, multipolygons that change their members."""
    rng = np.random.default_rng(seed)

    def fill(writer: osmium.SimpleWriter) -> None:
        for node in range(1, 81):
            x, y = (node - 1) % 9, (node - 1) // 9
            for version, time in enumerate(_times(rng, int(rng.integers(1, 5))), 1):
                time = FIRST if version == 1 and rng.random() < 0.7 else time  # noqa: PLW2901 - most are there early
                visible = version == 1 or rng.random() < 0.9
                place = (10.0 + 0.001 * x + rng.normal(0, 1e-4), 50.0 + 0.001 * y + rng.normal(0, 1e-4))
                tags = {"natural": "tree"} if rng.random() < 0.1 else {}
                writer.add_node(
                    Node(id=node * 3, version=version, visible=visible, timestamp=time, tags=tags if visible else {},
                         location=place if visible else None)
                )  # fmt: skip
        for way in range(1, 41):
            for version, time in enumerate(_times(rng, int(rng.integers(1, 5))), 1):
                visible = version == 1 or rng.random() < 0.85
                corner = int(rng.integers(1, 70))
                square = [corner, corner + 1, corner + 10, corner + 9, corner]
                nodes = [3 * n for n in (square if rng.random() < 0.8 else square[:3])] if visible else []
                writer.add_way(
                    Way(id=way, version=version, visible=visible, timestamp=time, nodes=nodes,
                        tags=_tags(rng) if visible else {})
                )  # fmt: skip
        for number in range(1, 13):
            for version, time in enumerate(_times(rng, int(rng.integers(1, 4))), 1):
                visible = version == 1 or rng.random() < 0.8
                ways = rng.choice(np.arange(1, 41), int(rng.integers(1, 4)), replace=False).tolist()
                tags = {"type": "multipolygon", **_tags(rng)}
                writer.add_relation(
                    Relation(id=number, version=version, visible=visible, timestamp=time, tags=tags if visible else {},
                             members=[("w", way, "outer") for way in ways] if visible else [])
                )  # fmt: skip

    return written(path, fill)


def filtered(path: Path, day: date, out: Path) -> Path:
    """The oracle: of each object the last version at 00:00 UTC of a day, if it was not deleted (osmium time-filter)."""
    moment = datetime(day.year, day.month, day.day, tzinfo=UTC)
    last: dict[tuple[str, int], Any] = {}
    for thing in osmium.FileProcessor(path):
        if thing.timestamp <= moment:
            last[thing.type_str(), thing.id] = thing.version
    with osmium.SimpleWriter(out, overwrite=True) as writer:
        for thing in osmium.FileProcessor(path):
            if last.get((thing.type_str(), thing.id)) == thing.version and thing.visible:
                writer.add(thing)
    return out


def _map(extract: Extract, box: BBox, day: date | None) -> list[tuple[Any, ...]]:
    with FeatureStore(extract.parquet) as store:
        found = store.within(box, day=day)
    return [(f.osm_id, f.kind, f.tags, shapely.normalize(f.geometry).wkt) for f in found]


def _days(seed: int) -> list[date]:
    rng = np.random.default_rng(seed + 100)
    return sorted((FIRST + timedelta(days=int(d))).date() for d in rng.integers(0, DAYS, 6))


EVERYWHERE = Near(np.array([[-180.0, -90.0, 180.0, 90.0]]))
CORNER = Near(np.array([[10.0, 50.0, 10.0021, 50.0021]]))


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("near", [EVERYWHERE, CORNER], ids=["everywhere", "corner"])
def test_the_map_of_a_day_is_that_of_the_filtered_file(
    tmp_path: Path, seed: int, near: Near, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parts, "PART_CORNERS", 60)  # several parts
    monkeypatch.setattr(scan, "_FEW", 10**6)  # the oracle's files have many ways without a use
    path = history(tmp_path / "h.osh.pbf", seed)
    every = prepare(path, tmp_path / "all", near, at="image")
    box = WHOLE if near is EVERYWHERE else BBox(10.0, 50.0, 10.002, 50.002)
    seen = set()
    for day in _days(seed):
        oracle = prepare(filtered(path, day, tmp_path / f"{day}.osm.pbf"), tmp_path / "one")
        expected = _map(oracle, box, None)
        assert _map(every, box, day) == expected
        assert _map(prepare(path, tmp_path / "day", near, at=day), box, day) == expected
        seen.add(str(expected))
    assert len(seen) > (3 if near is EVERYWHERE else 1), "the days differ"
    newest = (FIRST + timedelta(days=DAYS + 1)).date()
    oracle = prepare(filtered(path, newest, tmp_path / "n.osm.pbf"), tmp_path / "one")
    assert _map(every, box, None) == _map(oracle, box, None)
    assert [p.name for p in (tmp_path / "all").iterdir()] == [every.parquet.name]


def test_a_reading_that_stopped_is_gone_on_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = history(tmp_path / "h.osh.pbf", 9)
    expected = prepare(path, tmp_path / "a", EVERYWHERE, at="image").parquet.read_bytes()
    monkeypatch.setattr(select, "_SAFE_EVERY_S", 0.0)

    def stop(done: int, _: int) -> None:
        if done > path.stat().st_size // 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prepare(path, tmp_path / "b", EVERYWHERE, stop, at="image")
    assert prepare(path, tmp_path / "b", EVERYWHERE, at="image").parquet.read_bytes() == expected


def test_a_label_takes_the_day_of_the_image(tmp_path: Path) -> None:
    path = history(tmp_path / "h.osh.pbf", 1)
    extract = prepare(path, tmp_path / "a", EVERYWHERE, at="image")
    of_image = open_vector_labeller(OpenStreetMapLabel(pbf="h.osh.pbf", date="image"))
    assert of_image.map_day(extract, datetime(2020, 5, 6, 12, tzinfo=UTC)) == date(2020, 5, 6)
    assert of_image.map_day(extract, datetime(2030, 1, 1, tzinfo=UTC)) is None, "later than the history: its end"
    assert of_image.map_day(extract, None) is None
    of_day = open_vector_labeller(OpenStreetMapLabel(pbf="h.osh.pbf", date=date(2020, 3, 1)))
    assert of_day.map_day(extract, None) == date(2020, 3, 1)


def test_files_that_are_no_history_get_one_line(tmp_path: Path) -> None:
    plain = written(tmp_path / "plain.osm.pbf", lambda writer: ring(writer, 1, 1, building="yes"))
    with pytest.raises(BadExtractError, match="no full-history file, which `date` needs") as error:
        prepare(plain, tmp_path / "a", EVERYWHERE, at="image")
    assert "\n" not in str(error.value)

    def timeless(writer: osmium.SimpleWriter) -> None:
        for version in (1, 2):
            writer.add_node(Node(id=1, version=version, location=(10.0, 50.0), tags={"natural": "tree"}))

    with pytest.raises(BadExtractError, match="objects without a time"):
        prepare(written(tmp_path / "t.osh.pbf", timeless), tmp_path / "a", EVERYWHERE, at="image")
    full = history(tmp_path / "h.osh.pbf", 2)
    with pytest.raises(BadExtractError, match="`date: image`"):
        prepare(full, tmp_path / "a", EVERYWHERE)
    with pytest.raises(BadExtractError, match=re.escape("before 2031-01-01; give a newer file, or an earlier `date`")):
        prepare(full, tmp_path / "a", EVERYWHERE, at=date(2031, 1, 1))
    for said in ({"date": "picture"}, {"date": 7}, {"date": "image", "pbf": None, "geoparquet": [
        {"from": "m.parquet", "columns": "overture", "date": "2025-01-01"}]}):  # fmt: skip
        with pytest.raises(ValidationError) as wrong:
            OpenStreetMapLabel.model_validate({"pbf": "h.osh.pbf", **said})
        assert wrong.value.error_count() == 1
