"""What the page of `landweave browse` shows: descriptions as JSON, an index as Parquet, pictures."""

from __future__ import annotations

import json
import threading
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from landweave.browse.asked import conversations_json
from landweave.browse.marks import pieces
from landweave.claims import EVERYTHING, Claim
from landweave.layout import LEDGER
from landweave.plain import printable
from landweave.record import plain
from landweave.render import array_to_draw, class_colours, encoded, picture
from landweave.table import read_table

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from landweave.dataset import Dataset
    from landweave.layout import GroupSpec, Json
    from landweave.sample import Captions, Sample
    from landweave.selection import Selection

PICTURE_TYPE = "image/webp"
_ROWS = 100_000
"""Rows of a group of the index: the page reads a column of a whole group, or some pages of it."""
_PAGE_BYTES = 16_384
"""Of a column of the index: what the page reads for the id of one sample."""
_LEFT_OUT = ("type", "geometry", "bbox", "links", "assets", "stac_extensions", "stac_version", "captions", "facts")
_LONGEST = 600
"""Characters of one value in the table of a sample."""


class Pages:
    """Samples are named by their number in the selection: no text of the dataset becomes part of a path."""

    def __init__(self, dataset: Dataset, selection: Selection, place: str) -> None:
        self._dataset, self._selection, self._place = dataset, selection, place
        self._lock = threading.Lock()
        """Of the catalogue, which keeps row groups for neighbours, one at a time."""

    @cached_property
    def _columns(self) -> list[tuple[str, str]]:
        """(name, type) of the columns with one plain value per sample."""
        found = []
        for column in self._dataset.catalogue.schema:
            kind = _kind(column.type)
            if kind and column.name not in _LEFT_OUT:
                found.append((column.name, kind))
        return found

    def dataset_json(self) -> Json:
        """Name, layers with legends, and columns."""
        spec = self._dataset.spec
        names = dict(self._columns)
        return {
            "name": printable(spec.name),
            "place": self._place,
            "samples": len(self._selection),
            "whole": len(self._dataset),
            "columns": [{"name": name, "type": kind} for name, kind in self._columns],
            "groups": [
                {
                    "name": group.name,
                    "slots": group.slot_count,
                    "present": f"{group.name}_count" if f"{group.name}_count" in names else None,
                    "classes": self._legend(group),
                    **group.terms,
                }
                for group in spec.groups
            ],
        }

    def _legend(self, group: GroupSpec) -> list[Json]:
        colours = class_colours(self._dataset.spec, group)
        return [{"name": printable(c.name), "colour": colours[c.code]} for c in group.classes]

    def write_index(self, path: Path) -> None:
        """The plain columns of the selection, in its order, as Parquet that a browser reads by ranges."""
        names, places = [name for name, _ in self._columns], self._selection.places
        schema = self._index_rows(names, places[:0]).schema
        with pq.ParquetWriter(
            path, schema, compression="snappy", data_page_size=_PAGE_BYTES, write_page_index=True
        ) as file:
            for start in range(0, len(places), _ROWS):
                file.write_table(self._index_rows(names, places[start : start + _ROWS]))

    def _index_rows(self, names: list[str], places: NDArray[np.int64]) -> pa.Table:
        """Columns of some samples; times as text."""
        table = self._dataset.catalogue.rows(names, places).replace_schema_metadata(None)
        for i in [i for i, column in enumerate(table.schema) if pa.types.is_temporal(column.type)]:
            table = table.set_column(i, table.schema[i].name, pc.strftime(table.column(i), "%Y-%m-%dT%H:%M:%SZ"))
        return table

    def _sample(self, number: int) -> Sample:
        sample = self._dataset.sample(int(self._selection.places[number]))
        with self._lock:
            _ = sample.item
        return sample

    def _questions(self, sample: Sample) -> list[Json]:
        with self._lock:
            asked = sample.questions
        return conversations_json(self._dataset.spec, asked)

    def pictures(self, number: int) -> list[tuple[int, int]]:
        """(number of the group, slot) of each observation that the sample has."""
        present = self._sample(number).present
        groups = enumerate(self._dataset.spec.groups)
        return [(i, slot) for i, group in groups for slot, there in enumerate(present[group.name]) if there]

    def picture(self, number: int, group: int, slot: int) -> bytes:
        """WebP, without loss where it shows classes.

        Raises:
            IndexError: no such sample, group or slot. AbsentError: the sample lacks it. CorruptError: it is damaged.
        """
        spec = self._dataset.spec.groups[group]
        drawn = picture(self._sample(number), spec, slot)
        return encoded(drawn, lossless=array_to_draw(spec).kind == "classes")

    def sample_json(self, number: int) -> Json:
        """Everything about one sample but its pixels.

        Raises:
            CorruptError: the dataset is damaged here.
        """
        sample = self._sample(number)
        lon, lat = sample.lonlat
        return {
            "id": printable(sample.id),
            "about": [
                sample.split or "no split",
                f"{abs(lat):.5f} {'N' if lat >= 0 else 'S'}, {abs(lon):.5f} {'E' if lon >= 0 else 'W'}",
                f"EPSG:{sample.item['epsg']}",
            ],
            "layers": [self._layer(sample, i, group) for i, group in enumerate(self._dataset.spec.groups)],
            "captions": [_caption(c) for c in sample.captions],
            "questions": self._questions(sample),
            "absent": self._absent(sample),
            "values": [
                [name, printable(str(plain(value)))[:_LONGEST]]
                for name, value in sample.item.items()
                if value is not None and name not in _LEFT_OUT
            ],
        }

    def _layer(self, sample: Sample, number: int, group: GroupSpec) -> Json:
        present = sample.present[group.name]
        days = sample.datetimes(group.name) if group.dated else [None] * group.slot_count
        clouds = sample.item.get(f"{group.name}_cloud") or ()
        slots = []
        for slot, there in enumerate(present):
            cloud = clouds[slot] if slot < len(clouds) else None
            words = ["" if days[slot] is None else f"{days[slot]:%Y-%m-%d %H:%M}"]
            words += [] if cloud is None else [f"{100 * cloud:.0f} % cloud"]
            slots.append({"present": bool(there), "note": ", ".join(w for w in words if w)})
        return {
            "group": number,
            "name": group.name,
            "title": printable(group.title) + self._ground(group),
            "slots": slots,
            "classes": self._shares(sample, group) if any(present) else [],
        }

    def _ground(self, group: GroupSpec) -> str:
        """Words on the ground of a layer that does not cover the footprint alone."""
        spec = self._dataset.spec
        extent = spec.extent_m(group.name)
        return (
            ""
            if extent == spec.size_m
            else f" ({extent:,.10g} m around the centre, the footprint is {spec.size_m:,.10g} m)"
        )

    def _shares(self, sample: Sample, group: GroupSpec) -> list[Json]:
        """Classes that the sample has, the most frequent first."""
        if not group.classes:
            return []
        codes, counts = np.unique(sample[array_to_draw(group).path], return_counts=True)
        share = dict(zip(codes.tolist(), (counts / counts.sum()).tolist(), strict=True))
        colours = class_colours(self._dataset.spec, group)
        there = sorted((c for c in group.classes if c.code in share), key=lambda c: -share[c.code])
        return [
            {"name": printable(c.name), "colour": colours[c.code], "share": f"{100 * share[c.code]:.1f} %"}
            for c in there
        ]

    def _absent(self, sample: Sample) -> list[Json]:
        """Rows of the ledger; only those of the sample's shard are read."""
        here = (pc.field("shard") == sample.item["shard"]) & (pc.field("sample_id") == sample.id)
        source, columns = (
            self._dataset.objects.table(self._dataset.spec.at(LEDGER)),
            ["layer", "slot", "reason", "detail"],
        )
        with self._lock:
            rows = read_table(source, LEDGER, columns=columns, filters=here & (pc.field("reason") != "ok")).to_pylist()
        slots = {group.name: group.slot_count for group in self._dataset.spec.groups}
        return [
            {
                "layer": f"{row['layer']} {row['slot'] + 1}" if slots.get(row["layer"], 1) > 1 else row["layer"],
                "reason": printable(row["reason"]),
                "detail": printable(row["detail"] or ""),
            }
            for row in rows
        ]


def _caption(caption: Captions) -> Json:
    """Its text, and the words that claim something with what they claim and which arrays or tables show it."""
    found: dict[str, list[str]] = {}
    for entry in json.loads(caption.claims) if caption.claims else []:
        claim = Claim.from_record(entry)
        against = ("against", *claim.against) if claim.predicate == "comparison" else claim.against
        words = (claim.predicate, *claim.about, *against, *claim.where)
        what = " ".join(printable(word) for word in words) + _bounds(claim)
        shown = ", ".join(printable(source) for source in entry.get("source", []))
        found.setdefault(claim.words, []).append(f"{what} ({shown})")
    cut, unplaced = pieces(caption.text, found)
    return {
        "text": printable(caption.text, lines=True),
        "by": printable(caption.model or caption.captioner),
        "pieces": [{"text": printable(text, lines=True), "says": "; ".join(says)} for text, says in cut],
        "unplaced": unplaced,
    }


def _bounds(claim: Claim) -> str:
    """The values that a claim allows, ', 57.5 to 67.5', or the place in a ranking; '' where it holds or not."""
    if claim.high < EVERYTHING:
        return f", {claim.low:g} to {claim.high:g}"
    if claim.predicate in ("rank", "order"):
        return f", from place {claim.low:g}" if claim.predicate == "order" else f", place {claim.low:g}"
    return f", at least {claim.low:g}" if claim.low > 1 else ""


def _kind(column: Any) -> str:
    """Type that the page knows: number, boolean, text; '' = not a plain value."""
    if pa.types.is_boolean(column):
        return "boolean"
    if pa.types.is_integer(column) or pa.types.is_floating(column):
        return "number"
    if pa.types.is_string(column) or pa.types.is_large_string(column) or pa.types.is_temporal(column):
        return "text"
    return ""
