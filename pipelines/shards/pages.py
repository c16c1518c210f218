"""STAC items as files of their own, which a client reaches from the collection by links.

The collection links a catalogue of each shard, which links an item of each sample. Every link states size and checksum
of its file (https://github.com/stac-extensions/file), so `landweave.json`, which has the collection's, covers them all.
"""

from __future__ import annotations

import hashlib
import json
from itertools import groupby
from typing import TYPE_CHECKING, Any

from landweave.layout import COLLECTION, shard_name
from landweave.stac import FILE, STAC_VERSION, static_item

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import pyarrow as pa

    from landweave.layout import DatasetSpec, Json

PAGED_ROWS = 1 << 14
"""Rows (planned samples) up to which each sample has a picture and an item in a file of its own."""


class Pages:
    """Takes the catalogue's rows in order of their shards, and writes the items and catalogues of shard after shard."""

    def __init__(self, dataset: DatasetSpec, put: Callable[[Mapping[str, bytes]], object]) -> None:
        """Begin.

        Args:
            dataset: its form, with the revision to be; without pages nothing is written.
            put: puts files, given as path from the dataset's root -> content, in place.
        """
        self._dataset, self._put = dataset, put
        self.wanted = dataset.pages
        """Whether the dataset has pages."""
        self._waiting: list[Json] = []
        self._links: list[Json] = []
        self.paths: list[str] = []
        """Files that were written."""

    def add(self, table: pa.Table) -> None:
        """Take rows; those of a shard follow one another."""
        if not self.wanted:
            return
        for shard, rows in groupby(table.to_pylist(), key=lambda row: row["shard"]):
            if self._waiting and self._waiting[0]["shard"] != shard:
                self._write()
            self._waiting += rows

    def finish(self) -> list[Json]:
        """Write what is left; returns the collection's links to the catalogues of the shards."""
        if self._waiting:
            self._write()
        return self._links

    def _write(self) -> None:
        rows, self._waiting = self._waiting, []
        shard = rows[0]["shard"]
        folder, name = self._dataset.page_folder, shard_name(shard)
        root = self._dataset.at(COLLECTION).rpartition("/")[2]
        files = {}
        links = [_link("root", f"../{root}"), _link("parent", f"../{root}")]
        for row in rows:
            path = f"{folder}/{name}/{row['id']}.json"
            files[path] = json_line(static_item(row, self._dataset, f"../../{root}"))
            links.append(_checked("item", f"./{name}/{row['id']}.json", row["id"], files[path]))
        title = f"shard {shard}: {len(rows)} sample{'s' * (len(rows) > 1)}, {rows[0]['split']}"
        page = {
            "type": "Catalog",
            "stac_version": STAC_VERSION,
            "stac_extensions": [FILE],
            "id": f"{self._dataset.name}-{name}",
            "title": title,
            "description": f"Samples of {self._dataset.name}, {title}",
            "links": links,
        }
        path, content = f"{folder}/{name}.json", json_line(page)
        self._put(files)
        self._put({path: content})
        self.paths += [*files, path]
        self._links.append(_checked("child", f"./{folder.rpartition('/')[2]}/{name}.json", title, content))


def json_line(data: Json) -> bytes:
    """A small file of JSON."""
    return (json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":")) + "\n").encode()


def _link(rel: str, href: str) -> Json:
    return {"rel": rel, "href": href, "type": "application/json"}


def _checked(rel: str, href: str, title: str, content: bytes) -> dict[str, Any]:
    """A link with size and checksum of its file: a multihash, 0x12 = SHA-256, of 0x20 bytes."""
    return {
        "rel": rel,
        "href": href,
        "type": "application/geo+json" if rel == "item" else "application/json",
        "title": title,
        "file:size": len(content),
        "file:checksum": f"1220{hashlib.sha256(content).hexdigest()}",
    }
