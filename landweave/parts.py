"""The root of a catalogue in parts (layout 3): what a reader needs before it opens any part.

::

    catalogue/items.json            this root: small, whatever the number of samples; with each part's row groups
                                    and the columns of all parts, so that a reader asks for what it needs at once
    catalogue/items/00000.parquet   the samples of some consecutive shards of one split, stac-geoparquet
    catalogue/rows.bin              a record per shard: which rows hold a sample, which observations are there
    catalogue/ids.bin               hashes of all sample ids, sorted, with the positions of the samples

A record of `rows.bin` is a bit per row ("holds a sample"), then for each group and each date slot a bit per row ("was
obtained"), each list filled to whole bytes, lowest bit first; then crc32c of these bytes (little-endian). Records of
all shards have one length, so the record of a shard is one range.

`ids.bin` is in blocks of `ID_BLOCK` entries: 8 bytes of blake2b of the id, as an integer, and 4 bytes with the position
(both little-endian), sorted by hash; after each block its crc32c. Hashes spread evenly, so the place of a hash is known
to within a few blocks: one range.

Bytes of a part are checked in blocks of `PART_BLOCK` bytes before they are used. Their crc32c is in the footer of the
part ("landweave:blocks" in its key-value metadata), and the footer's own crc32c is in the root.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from landweave.errors import CorruptError, first_line
from landweave.layout import SPLITS
from landweave.query import moment
from landweave.strict import Fields, inside, parse, refuse

if TYPE_CHECKING:
    from datetime import datetime

    from numpy.typing import NDArray

    from landweave.layout import DatasetSpec

ROWS, IDS = "catalogue/rows.bin", "catalogue/ids.bin"
PART_BLOCK = 1 << 16
"""Bytes of a part that are checked together."""
BLOCKS_KEY = b"landweave:blocks"
"""Key of a part's metadata: crc32c of each block before the footer, 8 hex digits each."""
ID_BLOCK = 1_024
"""Entries of a block of `ids.bin`."""
ID_ENTRY = np.dtype([("hash", "<u8"), ("position", "<u4")])
"""An entry of `ids.bin`."""
FEW_TEXTS = 100
"""The root lists the values of columns that have at most this many different texts."""
_HEX8 = re.compile("[0-9a-f]{8}")
_MOST_FOOTER, _MOST_GROUPS = 1 << 26, 1 << 16


@dataclass(frozen=True, slots=True)
class Part:
    """One file of the catalogue."""

    path: str
    """From the dataset's root."""
    size: int
    """Bytes."""
    footer: int
    """Bytes before Parquet's footer."""
    footer_crc32c: str
    """Checksum of the footer, 8 hex digits."""
    split: str
    """Split of all its samples."""
    shards: int
    """Number of its shards."""
    samples: int
    """Number of its samples."""
    bbox: tuple[float, float, float, float] | None
    """West, south, east, north of all its footprints, degrees; None if one crosses the antimeridian."""
    times: tuple[datetime, datetime] | None
    """First start and last end of its samples, UTC; None if a sample lacks one."""
    groups: tuple[int, ...] = ()
    """First byte of each row group; () in a root that does not say it."""


@dataclass(frozen=True, slots=True)
class Root:
    """What the root says."""

    parts: tuple[Part, ...]
    """In order of the shards."""
    rows: str
    """Path of the records of all shards."""
    ids: str
    """Path of the ids."""
    shards: NDArray[np.int64]
    """(k,) numbers of the shards that have samples, ascending."""
    ends: NDArray[np.int64]
    """(k,) number of samples in each of these shards and those before it."""
    row_group: int
    """Rows of each row group of a part; the last of a part has fewer."""
    texts: dict[str, tuple[str, ...]]
    """Columns with few different texts, and these."""
    gaps: frozenset[str]
    """Columns of integers or bools in which some samples have no value."""
    schema: pa.Schema | None = None
    """Columns of every part; None in a root that does not say it."""


def part_path(number: int, revision: int) -> str:
    """'catalogue/items/00007.parquet', 'catalogue/items.r1/00007.parquet'."""
    return f"catalogue/items{f'.r{revision}' if revision else ''}/{number:05d}.parquet"


def record_bytes(spec: DatasetSpec) -> int:
    """Length of a record of `rows.bin`."""
    return (1 + sum(g.slot_count for g in spec.groups)) * -(-spec.shard_samples // 8) + 4


def id_hash(sample_id: str) -> int:
    """The hash of an id in `ids.bin`."""
    return int.from_bytes(hashlib.blake2b(sample_id.encode(), digest_size=8).digest(), "little")


def root_to_bytes(root: Root) -> bytes:
    """The file of a root."""
    data: dict[str, Any] = {
        "rows": root.rows,
        "ids": root.ids,
        "row_group": root.row_group,
        "shards": [[int(s), int(n)] for s, n in zip(root.shards, np.diff(root.ends, prepend=0), strict=True)],
        "parts": [
            {
                "path": p.path,
                "size": p.size,
                "footer": p.footer,
                "footer_crc32c": p.footer_crc32c,
                "split": p.split,
                "shards": p.shards,
                "samples": p.samples,
                "bbox": None if p.bbox is None else list(p.bbox),
                "times": None if p.times is None else [t.isoformat() for t in p.times],
                "groups": [int(n) for n in np.diff(p.groups, prepend=0)],
            }
            for p in root.parts
        ],
        "texts": {name: list(values) for name, values in sorted(root.texts.items())},
        "gaps": sorted(root.gaps),
    }
    if root.schema is not None:
        data["schema"] = base64.b64encode(root.schema.serialize()).decode()
    return (json.dumps(data, sort_keys=True, ensure_ascii=False, separators=(",", ":")) + "\n").encode()


def root_from_bytes(raw: bytes, where: str, spec: DatasetSpec, samples: int) -> Root:
    """Read a root.

    Args:
        raw: its file.
        where: as messages name it.
        spec: of the dataset.
        samples: number of samples that the manifest states.

    Raises:
        CorruptError: it says what cannot be.
    """
    found = Fields(parse(raw, where), where)
    pairs = found.entries("shards", spec.shards)
    plain = all(isinstance(p, list) and len(p) == 2 and all(type(v) is int for v in p) for p in pairs)
    if not plain:
        refuse(found.at("shards"), "other entries", "pairs of a shard and its number of samples")
    shards = np.array([p[0] for p in pairs], np.int64)
    counts = np.array([p[1] for p in pairs], np.int64)
    if len(pairs) and not (
        shards[0] >= 0 and (np.diff(shards) > 0).all() and shards[-1] < spec.shards
        and (counts > 0).all() and (counts <= spec.shard_samples).all()
    ):  # fmt: skip
        refuse(found.at("shards"), "other numbers", f"ascending shards, each with 1 to {spec.shard_samples} samples")
    parts = tuple(_part(p, samples) for p in found.objects("parts", spec.shards))
    held, ends = np.cumsum([p.samples for p in parts]), np.cumsum(counts)
    edges = np.cumsum([p.shards for p in parts]) - 1
    whole = len(parts) and edges[-1] == len(pairs) - 1 and (ends[edges] == held).all() and held[-1] == samples
    if not whole:
        refuse(found.at("parts"), f"{int(held[-1]) if len(held) else 0} samples", f"{samples} samples of all shards")
    texts = found.object("texts")
    return Root(
        parts=parts,
        rows=inside(found.text("rows"), found.at("rows")),
        ids=inside(found.text("ids"), found.at("ids")),
        shards=shards,
        ends=ends,
        row_group=found.whole("row_group", 1, 2**20),
        texts={name: texts.texts(name, most=FEW_TEXTS) for name in texts},
        gaps=frozenset(found.texts("gaps")),
        schema=_schema(found),
    )


def _part(found: Fields, samples: int) -> Part:
    size = found.whole("size", 12, 2**50)
    footer = found.whole("footer", 4, size - 8)
    if size - footer > _MOST_FOOTER:
        refuse(found.at("footer"), f"{size - footer} bytes of footer", f"at most {_MOST_FOOTER}")
    return Part(
        path=inside(found.text("path"), found.at("path")),
        size=size,
        footer=footer,
        footer_crc32c=found.text("footer_crc32c", _HEX8),
        split=found.choice("split", SPLITS),
        shards=found.whole("shards", 1, 10**7),
        samples=found.whole("samples", 1, samples),
        bbox=_bbox(found),
        times=_times(found),
        groups=_groups(found, footer),
    )


def _groups(found: Fields, footer: int) -> tuple[int, ...]:
    steps = found.entries("groups", _MOST_GROUPS, ())
    if not all(type(n) is int and n > 0 for n in steps) or sum(steps) >= footer:
        refuse(found.at("groups"), "other entries", f"ascending places below {footer}, each from the one before")
    return tuple(accumulate(steps))


def _schema(found: Fields) -> pa.Schema | None:
    if found.only("schema") is None:
        return None
    try:
        raw = base64.b64decode(found.text("schema"), validate=True)
        return pa.ipc.read_schema(pa.BufferReader(raw))
    except (ValueError, OSError, pa.ArrowException) as error:
        raise CorruptError(f"{found.at('schema')}: cannot be read: {first_line(error)}") from error


def _bbox(found: Fields) -> tuple[float, float, float, float] | None:
    if found.only("bbox") is None:
        return None
    edges = found.entries("bbox", 4)
    if len(edges) != 4 or not all(type(v) in (int, float) and -400 <= v <= 400 for v in edges):
        refuse(found.at("bbox"), edges, "four numbers from -400 to 400")
    edges = [float(v) for v in edges]
    return edges[0], edges[1], edges[2], edges[3]


def _times(found: Fields) -> tuple[datetime, datetime] | None:
    if found.only("times") is None:
        return None
    stamps = found.texts("times", most=2)
    if len(stamps) != 2:
        refuse(found.at("times"), list(stamps), "two times")
    try:
        return moment(stamps[0]), moment(stamps[1])
    except ValueError as error:
        raise CorruptError(f"{found.at('times')}: {error}") from error
