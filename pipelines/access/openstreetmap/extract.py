"""OpenStreetMap extracts: reads a .osm.pbf once into a GeoParquet file of its objects, for fast box queries."""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections import Counter
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import shapely

from pipelines.access.openstreetmap.history import HistoryCollector, read_history, write_history
from pipelines.access.openstreetmap.objects import COUNTS, WORDS, Row, id_order, read_objects
from pipelines.access.openstreetmap.parts import z_order
from pipelines.access.openstreetmap.pbf import DamagedError, RefusedError
from pipelines.access.openstreetmap.rules import RULES
from pipelines.access.openstreetmap.scan import scan
from pipelines.access.openstreetmap.select import select
from pipelines.durable import durably
from schemas.place import BBox

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from pipelines.access.openstreetmap.history import Period
    from pipelines.access.openstreetmap.near import Near

FORMAT = 4
"""Version of the GeoParquet that this file writes; part of its name, so another version is prepared again."""
ROWS = 4096
"""Rows in a group: what one small box reads."""
_CORNERS = ("xmin", "ymin", "xmax", "ymax")
_SCHEMA = pa.schema(
    [
        pa.field("osm_id", pa.string(), nullable=False),
        pa.field("kind", pa.string(), nullable=False),
        pa.field("tags", pa.map_(pa.string(), pa.string()), nullable=False),
        pa.field(
            "bbox", pa.struct([pa.field(n, pa.float64(), nullable=False) for n in ("xmin", "ymin", "xmax", "ymax")])
        ),
        pa.field("geometry", pa.binary(), nullable=False),
    ]
)
_EDITED = _SCHEMA.append(pa.field("edited", pa.int32()))
"""With the day of each object's last edit, since 1970-01-01."""
_DATED = _SCHEMA.append(pa.field("since", pa.int32(), nullable=False)).append(
    pa.field("until", pa.int32(), nullable=False)
)
"""With the days of each object: the first, and the one after the last, since 1970-01-01."""


class BadExtractError(ValueError):
    """The extract cannot be used; the message is one line that says why."""


class DamagedExtractError(BadExtractError):
    """The extract cannot be repaired: download it again."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Extract:
    """A .osm.pbf that has been read into Parquet."""

    parquet: Path
    """The objects: `osm_id`, `kind`, `tags`, `bbox`, `geometry` (WKB, longitude and latitude); GeoParquet 1.1."""
    name: str
    """File name and hash of the .osm.pbf, and the version of the rules that made its areas and lines (`osm_rules`): fit
    to be published, no path of this machine."""
    sha256: str
    """SHA-256 of the .osm.pbf, lower-case hex."""
    snapshot: datetime
    """The header's replication timestamp, else the time of the newest object, UTC."""
    counts: dict[str, int]
    """Of the objects near the samples. With tags, as osmium reads them: tagged_nodes, tagged_ways, relations,
    areas (of closed ways and of
    multipolygon relations); what was kept: points, lines, edge_lines (along the edge of an area of the same way),
    way_areas, relation_areas, old_style_areas (of relations whose tags are on their outer ways, old_style_ways);
    what was not: boundaries (on paper only, see `osm_rules`) and what cannot be drawn, `osm_objects.LOST`."""

    dated: bool = False
    """Whether the objects have the days on which they are the map (`since`, `until`): read from a full history."""
    bounds: BBox | None = None
    """West, south, east, north of all of the extract's nodes, degrees; None where all objects were read."""
    untimed: tuple[str, ...] = ()
    """Files whose objects do not say when they were edited."""

    merged: tuple[tuple[str, dict[str, int]], ...] = ()
    """Of an extract that is made of several: file name and counts of each; `counts` then has the rows of each kind."""

    @property
    def file(self) -> str:
        """Name of the .osm.pbf, or of all."""
        return ", ".join(file for file, _ in self.merged) or self.name.rsplit(" sha256:", 1)[0]

    @property
    def objects(self) -> int:
        """Number of objects."""
        return int(pq.read_metadata(self.parquet).num_rows)

    @property
    def lost(self) -> dict[tuple[str, str], int]:
        """(file, reason why objects of it could not be drawn) -> number of objects; one in two files is in both."""
        of_each = self.merged or ((self.file, self.counts),)
        return {
            (file, words): counts[name] for file, counts in of_each for name, words in WORDS.items() if counts.get(name)
        }


def file_sha256(path: Path) -> str:
    """SHA-256 of a file, lower-case hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def prepare_as(pbf: Path, target: Path) -> Extract:
    """Read a .osm.pbf into a file of this name.

    Raises:
        BadExtractError: as for `prepare`; or the file cannot be written.
    """
    try:
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=".objects-") as folder:
            found = prepare(pbf, Path(folder))
            found.parquet.replace(target)
    except OSError as error:
        raise BadExtractError(f"{target.name}: cannot be written ({error.strerror})") from None
    return open_extract(target)


def prepare(
    pbf: Path,
    cache_dir: Path,
    near: Near | None = None,
    progress: Callable[[int, int], None] | None = None,
    at: Literal["image"] | date | None = None,
) -> Extract:
    """Read the objects of a .osm.pbf near some ground into `cache_dir`, or find them there from last time.

    Args:
        pbf: the extract; by the hash of its content it is found again.
        cache_dir: for the GeoParquet, and for working files while it is made: 20 bytes per node and 28 per way of the
            extract. A call continues where an earlier, killed one stopped.
        near: the ground. None = all objects, whose locations and tags are then held in memory.
        progress: gets bytes done and bytes in all.
        at: 'image': the file is a full history, of which the map of any day is wanted; a day: the map of this day
            alone; None: the file is a plain extract.

    Raises:
        BadExtractError: the file is missing, or cannot be read right; the text says what mends it.
        DamagedExtractError: nothing mends it.
    """
    if not pbf.is_file():
        raise BadExtractError(f"{pbf.name}: no such OpenStreetMap extract; give the path of a .osm.pbf file")
    try:
        sha256 = file_sha256(pbf)
    except OSError as error:
        raise BadExtractError(f"{pbf.name}: cannot be read ({error.strerror}); give a readable file") from None
    ground = "" if near is None else f"-{near.sha256[:16]}"
    dated = "" if at is None else f"-{at}"
    target = cache_dir / f"osm-{sha256[:32]}{ground}{dated}-f{FORMAT}.parquet"
    if target.is_file():
        try:
            return open_extract(target)
        except BadExtractError:
            pass  # half a file of an older machine: prepared again
    name = f"{pbf.name} sha256:{sha256} rules:{RULES}"
    try:
        if at is None:
            _read(pbf, target, {"name": name, "sha256": sha256}, near, progress)
        else:
            assert near is not None  # noqa: S101 - a history is never read whole
            _read_history(pbf, target, {"name": name, "sha256": sha256}, near, (progress, at))
    except DamagedError as error:
        raise DamagedExtractError(f"{pbf.name}: {error}") from None
    except RefusedError as error:
        raise BadExtractError(f"{pbf.name}: {error}") from None
    except (RuntimeError, ValueError, OverflowError) as error:
        why = f"{pbf.name}: not a complete OpenStreetMap file ({error}); download it again"
        raise DamagedExtractError(why) from error
    return open_extract(target)


def _read(
    pbf: Path, target: Path, about: dict[str, Any], near: Near | None, progress: Callable[[int, int], None] | None
) -> None:
    """Write the GeoParquet, part by part."""
    if near is None:
        found = scan(pbf)
        rows, of_all = read_objects(pbf)
        about |= {"snapshot": (found.replicated or found.newest).isoformat()}
        with durably(target) as aside:
            write_tables([table_of(rows)], about, of_all, aside)
        return
    work = target.with_suffix(".reading")
    chosen = select(pbf, near, work, progress)
    counts: Counter[str] = Counter(dict.fromkeys(COUNTS, 0))
    counts.update(chosen.lost)
    about |= {"snapshot": (chosen.about.replicated or chosen.about.newest).isoformat(), "bounds": chosen.bounds}
    about |= {"edited": True, "untimed": [] if chosen.about.timed else [pbf.name]}

    def parts() -> Iterator[pa.Table]:
        for part in chosen.parts:
            rows, of_part = read_objects(part)
            counts.update(of_part)
            yield table_of(rows, edited=chosen.edited.of([row[0] for row in rows]))

    with durably(target) as aside:
        write_tables(parts(), about, counts, aside)
    shutil.rmtree(work)


def _read_history(
    pbf: Path,
    target: Path,
    about: dict[str, Any],
    near: Near,
    how: tuple[Callable[[int, int], None] | None, Literal["image"] | date],
) -> None:
    """Write the GeoParquet of the versions of a full history, part by part."""
    progress, at = how
    work = target.with_suffix(".reading")
    chosen = select(pbf, near, work, progress, (HistoryCollector, write_history))
    counts: Counter[str] = Counter(dict.fromkeys(COUNTS, 0))
    newest = chosen.about.replicated or chosen.about.newest
    day = (at - date(1970, 1, 1)).days if isinstance(at, date) else None
    if isinstance(at, date) and at > newest.date():
        raise RefusedError(
            f"its history ends on {newest:%Y-%m-%d}, before {at}; give a newer file, or an earlier `date`"
        )
    about |= {"snapshot": newest.isoformat(), "bounds": chosen.bounds, "dated": True}

    def parts() -> Iterator[pa.Table]:
        for part in chosen.parts:
            rows, periods, of_part = read_history(part, day)
            counts.update(of_part)
            yield table_of(rows, periods)

    with durably(target) as aside:
        write_tables(parts(), about, counts, aside)
    shutil.rmtree(work)


def open_extract(parquet: Path) -> Extract:
    """The extract behind a Parquet that `prepare` wrote.

    Raises:
        BadExtractError: it is no such file.
    """
    try:
        about = json.loads(pq.read_metadata(parquet).metadata[b"landweave_osm"])
        pq.ParquetFile(parquet).close()
    except (OSError, pa.ArrowException, KeyError, ValueError) as error:
        raise BadExtractError(
            f"{parquet.name}: not an extract prepared by landweave; remove it and build again"
        ) from error
    return Extract(
        parquet=parquet,
        name=about["name"],
        sha256=about["sha256"],
        snapshot=datetime.fromisoformat(about["snapshot"]),
        counts=about["counts"],
        dated=bool(about.get("dated")),
        bounds=BBox(*about["bounds"]) if about.get("bounds") else None,
        untimed=tuple(about.get("untimed", ())),
        merged=tuple((file, counts) for file, counts in about.get("merged", ())),
    )


def is_extract(parquet: Path) -> bool:
    """Whether a whole extract is there."""
    try:
        open_extract(parquet)
    except BadExtractError:
        return False
    return True


def write_tables(tables: Iterable[pa.Table], about: dict[str, Any], counts: Mapping[str, int], aside: Path) -> None:
    """The GeoParquet; `counts` are complete after the last table. `about` says whether the tables have the columns for
    days (`dated`) or for the last edit (`edited`)."""
    geo = {
        "version": "1.1.0",
        "primary_column": "geometry",
        "columns": {
            "geometry": {
                "encoding": "WKB",
                "geometry_types": [],
                "covering": {"bbox": {name: ["bbox", name] for name in _CORNERS}},
            }
        },
    }
    schema = _DATED if about.get("dated") else _EDITED if about.get("edited") else _SCHEMA
    with pq.ParquetWriter(aside, schema, compression="zstd") as writer:
        for table in tables:
            writer.write_table(table, row_group_size=ROWS)
        whole = about | {"counts": dict(counts)}
        writer.add_key_value_metadata({"geo": json.dumps(geo), "landweave_osm": json.dumps(whole, sort_keys=True)})


def table_of(rows: list[Row], periods: list[Period] | None = None, edited: list[int | None] | None = None) -> pa.Table:
    """Rows along a space-filling curve, then by id; with each one's days, or the day of its last edit."""
    boxes = shapely.bounds(shapely.from_wkb([row[3] for row in rows])) if rows else np.zeros((0, 4))
    curve = z_order(boxes)
    order = sorted(range(len(rows)), key=lambda i: (int(curve[i]), id_order(*rows[i][:2])))
    days: dict[str, list[Any]] = (
        {} if periods is None else {"since": [periods[i][0] for i in order], "until": [periods[i][1] for i in order]}
    )
    days |= {} if edited is None else {"edited": [edited[i] for i in order]}
    return pa.table(
        {
            "osm_id": [rows[i][0] for i in order],
            "kind": [rows[i][1] for i in order],
            "tags": pa.array([list(rows[i][2].items()) for i in order], _SCHEMA.field("tags").type),
            "bbox": pa.StructArray.from_arrays(
                [pa.array(boxes[order, k] if order else [], pa.float64()) for k in range(4)],
                fields=list(_SCHEMA.field("bbox").type),
            ),
            "geometry": pa.array([rows[i][3] for i in order], pa.binary()),
            **days,
        },
        schema=_DATED if periods is not None else _SCHEMA if edited is None else _EDITED,
    )
