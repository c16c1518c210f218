"""Adds modalities, labels, attributes and captions of a second dataset at the same places to a finished dataset.

Existing files do not change: new objects and the new catalogue lie next to the old ones, and one step replaces
`landweave.json`. Readers that opened the dataset before continue as before. If the process is killed, the dataset is
either the old or the new one; the same call finishes the rest.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from landweave.dataset import Dataset, open_dataset
from landweave.documents import EDITED
from landweave.documents import documents as documents_of
from landweave.errors import LandweaveError
from landweave.layout import (
    COLLECTION,
    FUSION,
    ITEMS,
    LEDGER,
    MANIFEST,
    QUESTIONS,
    RECIPE,
    SHARD_INDEX,
    STATISTICS,
    ZARR,
    added_recipe,
    shard_manifest,
    supplement_manifest,
)
from landweave.manifest import ObjectSum, dataset_to_bytes, shard_from_bytes, shard_to_bytes
from landweave.parted import PartedCatalogue
from landweave.strict import parse
from pipelines.durable import move_durably
from pipelines.shards.desk import store_of
from pipelines.shards.finalise import ROW_GROUP
from pipelines.shards.join import joined, joined_schema
from pipelines.shards.pages import Pages
from pipelines.shards.parts import PartsWriter
from pipelines.shards.publish import checksum, publish, publish_many, staging
from pipelines.shards.write import PARQUET
from pipelines.shards.zarr_metadata import documents
from schemas.canonical import canonical_json

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from pathlib import Path

    from landweave.layout import AttributeSpec, DatasetSpec, GroupSpec, Json
    from landweave.manifest import DatasetManifest, ShardManifest

ROOT = f"{ZARR}/zarr.json"


@dataclass(frozen=True, kw_only=True, slots=True)
class Added:
    """Result of an addition."""

    manifest: DatasetManifest
    """The dataset's `landweave.json` now."""
    revision: int
    """Revision that contains the addition."""
    new: bool
    """False where an earlier call had added it: nothing was left to do."""


class AddError(ValueError):
    """The second dataset cannot be added to the first; the text says why and what to do."""


def add(out: Path, extra: str, *, progress: Callable[[int, int], None] = lambda _done, _total: None) -> Added:
    """Add what `extra` has and `out` has not, as the next revision of `out`; a second call finds it there.

    Args:
        out: folder of a finished dataset (or the desk of one in an object store).
        extra: path or URL of another finished dataset, built from a recipe with the same seed, sampling, grid, splits
            and shards: its samples stand in the same rows.
        progress: told (shards done, shards) after each.

    Raises:
        AddError: the two do not fit together, `extra` brings nothing new, or one of them is unfinished, damaged or
            cannot be reached.
    """
    try:
        return _added(out, extra, progress)
    except LandweaveError as error:
        raise AddError(str(error)) from error


def _added(out: Path, extra: str, progress: Callable[[int, int], None]) -> Added:
    store = store_of(out)
    base, more = open_dataset(str(out) if store is None else store.url), open_dataset(extra)
    target = Target(out)
    mend(target, base)
    known = revision_with(base, built_from(more))
    if known is not None:
        return Added(manifest=base.manifest, revision=known, new=False)
    groups = _new_groups(base, more)
    spec = dataclasses.replace(
        base.spec,
        groups=(*base.spec.groups, *groups),
        attributes=tuple(sorted((*base.spec.attributes, *_new_attributes(base, more)), key=lambda a: a.name)),
        revision=base.spec.revision + 1,
        recipe=canonical_json(built_from(base)),
        questions=base.spec.revision + 1 if _new_questions(base, more) else base.spec.questions,
    )
    _same_places(base, more)
    index: Json = json.loads(base.objects.read(base.spec.at(SHARD_INDEX)))
    built = sorted(int(number) for number in index if ".r" not in number)
    for done, shard in enumerate(built, 1):
        index[f"{shard}.r{spec.revision}"] = _supplement(target, base, more, shard, groups)
        progress(done, len(built))
    return Added(manifest=_finish(target, base, more, spec, index), revision=spec.revision, new=True)


def built_from(data: Dataset) -> Json:
    """The resolved recipe of a dataset's own build, without what was added to it."""
    return dict(parse(data.objects.read(RECIPE), RECIPE))


def revision_with(base: Dataset, recipe: Json) -> int | None:
    """The revision that a dataset with this resolved recipe came with; None if there is none."""
    revisions = range(1, base.spec.revision + 1)
    return next((r for r in revisions if json.loads(base.store.get(added_recipe(r))) == recipe), None)


class Target:
    """Destination of new files: the folder, or the store of the work folder."""

    def __init__(self, out: Path) -> None:
        self.out, self.store = out, store_of(out)

    def put(self, path: str, content: bytes) -> ObjectSum:
        """Write or replace a file."""
        if self.store is not None:
            self.store.put(path, content)
        if self.store is None or not path.startswith((ZARR, "vectors", QUESTIONS)):
            publish(self.out, path, content)
        return _sum(content)

    def put_many(self, files: Mapping[str, bytes]) -> None:
        """Write or replace small files."""
        if self.store is not None:
            for path, content in files.items():
                self.store.put(path, content)
        publish_many(self.out, files)

    def get(self, path: str) -> bytes | None:
        """A file; None if there is none."""
        if self.store is not None:
            return self.store.get(path)
        return (self.out / path).read_bytes() if (self.out / path).is_file() else None

    def move(self, path: str, aside: Path) -> None:
        """Move a file to its path."""
        if self.store is not None:
            self.store.put(path, aside)
        move_durably(aside, self.out / path)

    def table(self, path: str, tables: Iterable[pa.Table], schema: pa.Schema) -> ObjectSum:
        """Write a Parquet file row group by row group."""
        with staging(self.out, "file") as folder:
            aside = folder / "table.parquet"
            with pq.ParquetWriter(aside, schema, **PARQUET) as writer:
                for table in tables:
                    writer.write_table(table, row_group_size=ROW_GROUP)
                if schema.metadata:
                    writer.add_key_value_metadata(schema.metadata)
            found = checksum(aside)
            self.move(path, aside)
        return found


def _new_groups(base: Dataset, more: Dataset) -> tuple[GroupSpec, ...]:
    """Groups of `more` that `base` has not, marked with the revision to be.

    Raises:
        AddError: the forms differ, or there is nothing new.
    """
    for what in ("shards", "shard_samples", "size_m", "resolution_m"):
        here, there = getattr(base.spec, what), getattr(more.spec, what)
        if here != there:
            raise AddError(
                f"{what} is {here:g} in the dataset and {there:g} in the one to add: build it from a recipe with "
                "the same seed, sampling, grid, splits and shards"
            )
    known = {g.name for g in base.spec.groups}
    found = tuple(g for g in more.spec.groups if g.name not in known)
    texts = _new_questions(base, more) or _captions(more) - _captions(base)
    if not found and not _new_attributes(base, more) and not texts:
        layers = ", ".join(g.name for g in more.spec.groups)
        raise AddError(
            f"nothing to add: everything in {more.spec.name} ({layers}, and its texts if it has any) is "
            f"already in {base.spec.name}"
        )
    return tuple(dataclasses.replace(g, revision=base.spec.revision + 1) for g in found)


def _new_attributes(base: Dataset, more: Dataset) -> tuple[AttributeSpec, ...]:
    """Attributes of `more` that `base` has not."""
    known = {a.name.lower() for a in base.spec.attributes}
    return tuple(a for a in more.spec.attributes if a.name.lower() not in known)


def _new_questions(base: Dataset, more: Dataset) -> bool:
    """Whether `more` has questions and `base` has none."""
    return base.spec.questions is None and more.spec.questions is not None


def _captions(data: Dataset) -> set[tuple[str, str]]:
    """(sample id, text) of every caption."""
    table = data.catalogue.read()
    rows = zip(table["id"].to_pylist(), table["captions"].to_pylist(), strict=True)
    return {(sample, caption["text"]) for sample, captions in rows for caption in captions or ()}


def _same_places(base: Dataset, more: Dataset) -> None:
    """Every common sample is in the same row and the same split."""

    def seats(data: Dataset) -> dict[str, tuple[Any, ...]]:
        light = data.catalogue.light
        columns = [light[c].to_pylist() for c in ("id", "shard", "row", "split")]
        return {sample: where for sample, *where in zip(*columns, strict=True)}  # type: ignore[misc]

    here, there = seats(base), seats(more)
    both = here.keys() & there.keys()
    wrong = next((s for s in sorted(both) if here[s] != there[s]), None)
    if not both or wrong is not None:
        detail = "they share no sample" if wrong is None else f"sample {wrong} is at {there[wrong]}, not {here[wrong]}"
        raise AddError(f"the datasets were not built at the same places: {detail}")


def _supplement(target: Target, base: Dataset, more: Dataset, shard: int, groups: tuple[GroupSpec, ...]) -> Json:
    """Copy the new groups' objects of one shard and seal a manifest of them; what is there already stays."""
    path, names = supplement_manifest(shard, base.spec.revision + 1), {g.name for g in groups}
    ours = shard_from_bytes(base.store.get(shard_manifest(shard)), shard_manifest(shard))
    theirs = _manifests(more, shard)
    asked = _new_questions(base, more)
    objects = {
        p: o
        for m in theirs
        for p, o in m.objects.items()
        if _group_of(p) in names or (asked and p.startswith(QUESTIONS))
    }
    presence = {}
    for group in groups:
        rows = next((m.presence[group.name] for m in theirs if group.name in m.presence), ())
        there = theirs[0].samples if theirs else ()
        nothing = "0" * group.slot_count
        presence[group.name] = tuple(
            rows[row] if sample is not None and row < len(there) and there[row] == sample else nothing
            for row, sample in enumerate(ours.samples)
        )
    sealed = shard_to_bytes(
        dataclasses.replace(ours, recipe_sha256=more.spec.recipe_sha256, presence=presence, objects=objects)
    )
    if target.get(path) != sealed:
        for name, expected in objects.items():
            content = more.store.get(name, expected.size)
            if _sum(content) != expected:
                raise LandweaveError(f"{more.store.url}: {name} differs from its checksum; run `landweave check` on it")
            target.put(name, content)
        target.put(path, sealed)
    found = _sum(sealed)
    return {"sha256": found.sha256, "size": found.size, "split": ours.split, "of": more.spec.name}


def _manifests(data: Dataset, shard: int) -> list[ShardManifest]:
    """All manifests of a shard, of every revision; none where the shard failed and was left out."""
    names = [shard_manifest(shard), *(supplement_manifest(shard, i) for i in range(1, data.spec.revision + 1))]
    try:
        return [shard_from_bytes(data.store.get(name), name) for name in names]
    except FileNotFoundError:
        return []


def _group_of(path: str) -> str:
    """'data.zarr/dem/elevation/c/0' -> 'dem'; 'vectors/openstreetmap/00000.parquet' -> 'openstreetmap'."""
    first, _, rest = path.partition("/")
    return rest.partition("/")[0] if first in (ZARR, "vectors") else ""


def _finish(target: Target, base: Dataset, more: Dataset, spec: DatasetSpec, index: Json) -> DatasetManifest:
    """Write the new catalogue and the metadata of the new arrays, then replace `landweave.json` in one step."""
    new = tuple(g for g in spec.groups if g.revision == spec.revision)
    files = {p: raw for p, raw in documents(spec).items() if _group_of(p) in {g.name for g in new}}
    objects = {**base.manifest.objects, **{path: target.put(path, raw) for path, raw in files.items()}}
    objects[added_recipe(spec.revision)] = target.put(added_recipe(spec.revision), more.store.get(RECIPE))
    tables = [path for path in more.manifest.objects if path.startswith(FUSION)]
    objects |= {path: target.put(path, more.objects.read(path)) for path in tables}
    items, children = _items(target, base, more, spec)
    objects |= items
    objects[spec.at(LEDGER)] = target.table(spec.at(LEDGER), _ledgers(base, more, new), base.ledger.schema)
    statistics = {"split": "train", "values": "stored numbers, before scale and offset"}
    names = {a.path for g in new for a in g.arrays}
    bands = {**base.statistics, **{path: s for path, s in more.statistics.items() if path in names}}
    objects[spec.at(STATISTICS)] = target.put(spec.at(STATISTICS), json_bytes({**statistics, "bands": bands}))
    objects[spec.at(COLLECTION)] = target.put(spec.at(COLLECTION), json_bytes(_collection(base, more, spec, children)))
    objects[spec.at(SHARD_INDEX)] = target.put(spec.at(SHARD_INDEX), json_bytes(index))
    manifest = dataclasses.replace(
        base.manifest,
        spec=spec,
        licences=tuple(sorted({*base.manifest.licences, *more.manifest.licences})),
        attribution=tuple(dict.fromkeys((*base.manifest.attribution, *more.manifest.attribution))),
        objects=objects,
    )
    manifest, changed = changed_documents(base, manifest)
    for path, raw in changed.items():
        if path not in manifest.before:
            target.put(path, raw)
    target.put(MANIFEST, dataset_to_bytes(manifest))
    for path in manifest.before:
        target.put(path, changed[path])
    return manifest


def _items(target: Target, base: Dataset, more: Dataset, spec: DatasetSpec) -> tuple[dict[str, ObjectSum], list[Json]]:
    """Write the items of both; returns what `revised_items` does."""
    new = tuple(g for g in spec.groups if g.revision == spec.revision)
    columns = [a.column for a in _new_attributes(base, more)]
    schema = joined_schema(schema_of_items(base), more.catalogue.schema, new, columns)
    if isinstance(more.catalogue, PartedCatalogue):

        def theirs(shard: int) -> pa.Table:
            return more.catalogue.rows(None, more.catalogue.inside(shard))

    else:
        rest = more.catalogue.read()

        def theirs(shard: int) -> pa.Table:  # noqa: ARG001
            return rest

    return revised_items(target, base, spec, schema, lambda table, shard: joined(table, theirs(shard), schema, new))


def schema_of_items(base: Dataset) -> pa.Schema:
    """Columns of a dataset's items, with the metadata of the file."""
    if isinstance(base.catalogue, PartedCatalogue):
        return base.catalogue.schema
    return pq.read_schema(base.objects.table(base.spec.at(ITEMS)))


def revised_items(
    target: Target,
    base: Dataset,
    spec: DatasetSpec,
    schema: pa.Schema,
    change: Callable[[pa.Table, int], pa.Table],
) -> tuple[dict[str, ObjectSum], list[Json]]:
    """Write the items of a revision in the form of the base's catalogue.

    Args:
        target: where to.
        base: the dataset before.
        spec: the form of the revision.
        schema: its columns.
        change: rows of the base and their shard (-1: of several) -> the rows of the revision, in the same order.

    Returns:
        Path -> checksum, and the collection's links to the catalogues of the shards.
    """
    pages = Pages(spec, target.put_many)
    if isinstance(base.catalogue, PartedCatalogue):
        writer = PartsWriter(target.out, spec, schema, target.move)
        for shard in base.catalogue.shards:
            writer.add(shard, change(base.catalogue.rows(None, base.catalogue.inside(shard)), shard))
        return writer.finish(), []
    items = pq.ParquetFile(base.objects.table(base.spec.at(ITEMS)))

    def changed() -> Iterator[pa.Table]:
        for i in range(items.num_row_groups):
            table = change(items.read_row_group(i), -1)
            pages.add(table)
            yield table

    objects = {spec.at(ITEMS): target.table(spec.at(ITEMS), changed(), schema)}
    return objects, pages.finish()


def changed_documents(base: Dataset, manifest: DatasetManifest) -> tuple[DatasetManifest, dict[str, bytes]]:
    """The manifest of a revision with the checksums of the files that it replaces, and these files by path."""
    root = documents(manifest.spec)[ROOT]
    changed = {ROOT: root, **{path: text.encode() for path, text in documents_of(manifest).items()}}
    for path in [path for path in EDITED if _edited(base, path)]:
        del changed[path]
    sums = {path: _sum(raw) for path, raw in changed.items()}
    before = {path: base.manifest.objects[path] for path in changed if path in base.manifest.objects}
    objects = dict(sorted({**manifest.objects, **sums}.items()))
    return dataclasses.replace(manifest, objects=objects, before=before), changed


def _edited(base: Dataset, path: str) -> bool:
    """Whether a file of the dataset is not as landweave wrote it: then it stays as it is."""
    known = [about[path] for about in (base.manifest.objects, base.manifest.before) if path in about]
    return bool(known) and _stored(base, path) not in (None, *known)


def _stored(base: Dataset, path: str) -> ObjectSum | None:
    """Checksum of a file of the dataset as it is now; None if somebody removed it."""
    try:
        return _sum(base.store.get(path))
    except FileNotFoundError:
        return None


def mend(target: Target, base: Dataset) -> None:
    """Finish an addition that was killed after it replaced `landweave.json`: Zarr's root and card are old."""
    texts = {path: text.encode() for path, text in documents_of(base.manifest).items()}
    for path, before in base.manifest.before.items():
        if _stored(base, path) in (None, before):
            target.put(path, documents(base.spec)[ROOT] if path == ROOT else texts[path])


def _ledgers(base: Dataset, more: Dataset, new: tuple[GroupSpec, ...]) -> list[pa.Table]:
    ours, theirs = base.ledger, more.ledger
    names = {g.name for g in new}
    return [ours, theirs.filter(pa.array([layer in names for layer in theirs["layer"].to_pylist()]))]


def _collection(base: Dataset, more: Dataset, spec: DatasetSpec, children: list[Json]) -> Json:
    ours, theirs = (json.loads(d.objects.read(d.spec.at(COLLECTION))) for d in (base, more))
    names = {g.name for g in spec.groups}
    ours["summaries"] |= {a.column: theirs["summaries"][a.column] for a in _new_attributes(base, more)}
    ours["item_assets"] |= {name: asset for name, asset in theirs["item_assets"].items() if name in names}
    for what in ("licences", "attribution"):
        ours["summaries"][what] = list(dict.fromkeys((*ours["summaries"][what], *theirs["summaries"][what])))
    return moved_collection(ours, spec, children)


def moved_collection(collection: Json, spec: DatasetSpec, children: list[Json]) -> Json:
    """A base's collection with the addresses of a revision's files.

    Args:
        collection: of the base.
        spec: the form of the revision.
        children: links to the catalogues of its shards.
    """
    for path in (ITEMS, STATISTICS):
        asset = collection["assets"]["items" if path == ITEMS else "statistics"]
        name = spec.at(path).rpartition("/")[2]
        name = f"{name.removesuffix('.parquet')}/" if asset["href"].endswith("/") else name
        asset["href"] = f"{asset['href'].rstrip('/').rpartition('/')[0]}/{name}"
    links = [link for link in collection["links"] if link["rel"] not in ("root", "child")]
    root = {"rel": "root", "href": f"./{spec.at(COLLECTION).rpartition('/')[2]}", "type": "application/json"}
    return {**collection, "links": [root, *links, *children]}


def _sum(content: bytes) -> ObjectSum:
    return ObjectSum(len(content), hashlib.sha256(content).hexdigest())


def json_bytes(data: Json) -> bytes:
    """A file of JSON."""
    return (json.dumps(data, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode()
