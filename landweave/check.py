"""Checks a dataset and reports one line per fault: checksums, catalogue, manifests, arrays, splits."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np

from landweave import codec
from landweave.documents import EDITED
from landweave.errors import CorruptError, LandweaveError
from landweave.layout import ITEMS, MANIFEST, SHARD_INDEX, shard_manifest, supplement_manifest
from landweave.manifest import ObjectSum, shard_from_bytes
from landweave.packed import disagreements
from landweave.packs import pack_of
from landweave.remote_store import RemoteStore
from landweave.strict import Fields, inside, parse, text, whole

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from landweave.dataset import Dataset
    from landweave.manifest import ShardManifest

_PIECE_BYTES = 1 << 24
_NUMBER = re.compile(r"[0-9]{1,8}(\.r[0-9]{1,5})?")
_COLLECTION = re.compile(r"catalogue/collection(\.r[0-9]+)?\.json")
_MULTIHASH = re.compile("1220[0-9a-f]{64}")
_Seat = tuple[str, str]
"""(sample id, split) of a row."""


class Edited(str):
    """A line about a file that people may edit and that no reader needs: not a fault."""

    __slots__ = ()


def check(
    dataset: Dataset, *, threads: int = 4, progress: Callable[[int, int], None] = lambda _done, _total: None
) -> Iterator[str]:
    """Yields one line per fault, and nothing if there is none. Reads every byte of the dataset once.

    A file that people may edit (`landweave.documents.EDITED`) and that differs from what was written is a line of type
    `Edited`.

    Args:
        dataset: which.
        threads: shards that are looked at together; each holds 16 MiB of an object in memory.
        progress: called with (shards done, shards) after each.

    Checked: size and SHA-256 of every object, and of every STAC file that the collection leads to; every sample in
    exactly one row, and the catalogue, the shard manifests and the shard indexes must agree on the samples and
    observations; one split per shard and per block; chunks that lie side by side (`landweave.packs`) are those of the
    arrays.
    """
    if isinstance(dataset.store, RemoteStore):  # what is kept on this machine says nothing about the dataset
        dataset = type(dataset)(dataset.store.at_origin(), dataset.manifest)
    faulty = set()
    for path, expected in sorted(dataset.manifest.objects.items()):
        fault = _object(dataset, path, expected)
        before = dataset.manifest.before.get(path)
        if fault and (before is None or _object(dataset, path, before)):
            faulty.add(path)
            yield fault
    try:
        catalogue = _catalogue(dataset)
        path = dataset.spec.at(SHARD_INDEX)
        index = _index(parse(dataset.objects.read(path), path), path, dataset)
    except LandweaveError as error:
        yield f"{ITEMS} or {SHARD_INDEX} cannot be read, so shards were not compared with it: {error}"
        return
    yield from _splits(dataset)
    with ThreadPoolExecutor(threads) as pool:
        collections = [p for p in dataset.manifest.objects if _COLLECTION.fullmatch(p) and p not in faulty]
        pages = (page for path in collections for page in _linked(dataset, path))
        for faults in pool.map(lambda page: _page(dataset, page), pages):
            yield from faults
        # shards that failed were left out and are not in the index
        built = sorted(int(number) for number in index if ".r" not in number)
        jobs = [pool.submit(_shard, dataset, i, index, catalogue.get(i, {})) for i in sorted({*built, *catalogue})]
        for done, job in enumerate(jobs, 1):
            yield from job.result()
            progress(done, len(jobs))


def _object(dataset: Dataset, path: str, expected: ObjectSum) -> str | None:
    """The fault of an object; reads it in pieces, and only if its length is right."""
    try:
        size, digest = dataset.store.size(path) if expected.size else 0, hashlib.sha256()
        if size != expected.size:
            return _differs(path, f"has {size} bytes, expected {expected.size}")
        for start in range(0, size, _PIECE_BYTES):
            digest.update(dataset.store.get_range(path, start, min(_PIECE_BYTES, size - start)))
    except FileNotFoundError:
        return f"{path}: is missing"
    except LandweaveError as error:
        return f"{path}: {error}"
    return None if digest.hexdigest() == expected.sha256 else _differs(path, "content differs from its checksum")


def _differs(path: str, how: str) -> str:
    line = f"{path}: {how}"
    return Edited(f"{line}: it was edited or is damaged; no pixels or tables depend on it") if path in EDITED else line


def _linked(dataset: Dataset, path: str) -> Iterator[tuple[str, ObjectSum] | str]:
    """Path and checksum of each file that a STAC file links to, of those that the build wrote; or what is wrong."""
    try:
        links = Fields(parse(dataset.store.get(path), path), path).objects("links")
    except FileNotFoundError:
        yield f"{path}: is missing"
        return
    except LandweaveError as error:
        yield str(error)
        return
    for link in links:
        try:
            if "file:checksum" in link:
                name = link.text("href").removeprefix("./")
                target = inside(f"{path.rpartition('/')[0]}/{name}", f"{path}: the link to ")
                digest = link.text("file:checksum", _MULTIHASH).removeprefix("1220")
                yield target, ObjectSum(link.whole("file:size", 0, 2**40), digest)
        except LandweaveError as error:
            yield str(error)


def _page(dataset: Dataset, page: tuple[str, ObjectSum] | str) -> list[str]:
    """Faults of the STAC catalogue of a shard, and of its items."""
    fault = _link(dataset, page)
    if fault or isinstance(page, str):
        return [fault] if fault else []
    faults = (_link(dataset, item) for item in _linked(dataset, page[0]))
    return [fault for fault in faults if fault]


def _link(dataset: Dataset, found: tuple[str, ObjectSum] | str) -> str | None:
    return found if isinstance(found, str) else _object(dataset, *found)


def _index(data: Any, path: str, dataset: Dataset) -> dict[str, Fields]:
    """The list of shards: '7' or '7.r1' -> record of its manifest."""
    found = Fields(data, path)
    for number in found:
        text(number, path, _NUMBER)
        whole(int(number.partition(".")[0]), found.at(number), 0, dataset.spec.shards - 1)
    return {number: found.object(number) for number in found}


def _catalogue(dataset: Dataset) -> dict[int, dict[int, _Seat]]:
    """Shard -> row -> sample id, according to the catalogue."""
    seats: dict[int, dict[int, _Seat]] = {}
    light = dataset.catalogue.light
    for sample, shard, row, split in zip(*(light[c].to_pylist() for c in ("id", "shard", "row", "split")), strict=True):
        seats.setdefault(shard, {})[row] = (sample, split)
    return seats


def _splits(dataset: Dataset) -> Iterator[str]:
    """Checks the splits against the manifest, and that each block of ground has one split."""
    light = dataset.catalogue.light
    counted = dict(sorted(Counter(light["split"].to_pylist()).items()))
    if counted != {split: count for split, count in sorted(dataset.splits.items()) if count}:
        yield f"{ITEMS}: contains {counted}, {MANIFEST} states {dataset.splits}"
    blocks: dict[str, str] = {}
    table = dataset.catalogue.read(["id", "block", "split"]).to_pydict()
    for sample, block, split in zip(table["id"], table["block"], table["split"], strict=True):
        if blocks.setdefault(block, split) != split:
            yield f"sample {sample}: is in split {split}, its block {block} is in {blocks[block]}"


def _shard(dataset: Dataset, number: int, index: dict[str, Fields], seats: dict[int, _Seat]) -> list[str]:
    manifest, faults = _manifest(dataset, shard_manifest(number), index.get(str(number)))
    if manifest is None:
        return faults
    if manifest.recipe_sha256 != dataset.spec.recipe_sha256:
        faults.append(f"{shard_manifest(number)}: belongs to another recipe")
    listed = {row: (sample, manifest.split) for row, sample in enumerate(manifest.samples) if sample is not None}
    faults += [
        f"shard {number} row {row}: the manifest has {listed.get(row)}, the catalogue {seats.get(row)}"
        for row in sorted(listed.keys() | seats.keys())
        if listed.get(row) != seats.get(row)
    ]
    for revision in range(dataset.spec.revision + 1):
        found: ShardManifest | None = manifest
        if revision:
            name = supplement_manifest(number, revision)
            found, more = _manifest(dataset, name, index.get(f"{number}.r{revision}"))
            faults += more
        if found is not None:
            faults += _presence(dataset, found, revision) + _indexes(dataset, found, revision, listed)
    return faults or _pack(dataset, manifest)


def _pack(dataset: Dataset, manifest: ShardManifest) -> list[str]:
    """The chunks that lie side by side against those of the arrays; of a shard that has no other fault."""
    pack = pack_of(dataset.spec)
    try:
        return [] if pack is None else list(disagreements(dataset._reader, pack, manifest.shard, manifest.objects))
    except LandweaveError as error:
        return [str(error)]


def _manifest(dataset: Dataset, path: str, listed: Fields | None) -> tuple[ShardManifest | None, list[str]]:
    """The manifest of a shard, and the faults of the objects that it lists."""
    try:
        raw = dataset.store.get(path)
        manifest = shard_from_bytes(raw, path)
    except FileNotFoundError:
        return None, [f"{path}: is missing"]
    except LandweaveError as error:
        return None, [str(error)]
    faults = []
    if listed is None or hashlib.sha256(raw).hexdigest() != listed.only("sha256"):
        faults.append(f"{path}: is not the manifest from which the catalogue was made")
    for name, expected in sorted(manifest.objects.items()):
        fault = _object(dataset, name, expected)
        if fault:
            faults.append(fault)
    return manifest, faults


def _presence(dataset: Dataset, manifest: ShardManifest, revision: int) -> list[str]:
    """Checks that catalogue and manifest agree on which observations are present."""
    faults = []
    inside = dataset.catalogue.inside(manifest.shard)
    try:
        seats = dataset.catalogue.seats(inside)
    except CorruptError as error:
        return [str(error)]
    for group in (g for g in dataset.spec.groups if g.revision == revision):
        rows = dataset.catalogue.presence(group.name, inside)
        for (_, row), there in zip(seats, rows, strict=True):
            said = "".join("1" if slot else "0" for slot in there)
            rows_said = manifest.presence.get(group.name, ())
            if row >= len(rows_said) or rows_said[row] != said:
                faults.append(f"shard {manifest.shard} row {row}: catalogue and manifest disagree on {group.name}")
    return faults


def _indexes(dataset: Dataset, manifest: ShardManifest, revision: int, listed: dict[int, _Seat]) -> list[str]:
    """Inner chunks in the shard's objects against the manifest, in rows that hold a sample."""
    faults = []
    for array in (a for g in dataset.spec.groups if g.revision == revision for a in g.arrays):
        rows = manifest.presence.get(array.group, ())
        expected = np.zeros((dataset.spec.shard_samples, array.slots), np.bool_)
        if len(rows) > len(expected) or any(len(slots) != array.slots for slots in rows):
            faults.append(
                f"shard {manifest.shard}: the manifest does not state {array.slots} slots of {array.path} per row"
            )
            continue
        for row, slots in enumerate(rows):
            expected[row] = [slot == "1" for slot in slots]
        if array.object(manifest.shard) not in manifest.objects:
            if expected.any():
                faults.append(f"shard {manifest.shard}: the object of {array.path} is missing")
            continue
        try:
            entries = dataset._reader.index(array, manifest.shard)[..., 0]
        except CorruptError as error:
            faults.append(str(error))
            continue
        found = entries.reshape(*expected.shape, array.chunks_per_date) != codec.ABSENT
        wrong = (found != expected[..., np.newaxis]).any(axis=2)
        if revision:  # built on its own: it may hold what the dataset had refused
            wrong[[row for row in range(len(wrong)) if row not in listed]] = False
        for row, slot in np.argwhere(wrong):
            what = "lacks" if expected[row, slot] else "holds"
            faults.append(f"shard {manifest.shard}: {array.path} {what} row {row} slot {slot}, against its manifest")
    return faults
