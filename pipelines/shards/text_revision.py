"""Adds a set of texts to a finished dataset, replaces one, or withdraws one: the next revision, with another catalogue.

No pixel, shard or older catalogue changes: who opened the dataset before reads on. As with additions, one step replaces
`landweave.json`, and a killed change is finished by the same call.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from landweave.dataset import open_dataset
from landweave.errors import LandweaveError
from landweave.layout import (
    COLLECTION,
    LEDGER,
    MANIFEST,
    SHARD_INDEX,
    STATISTICS,
    TEXTS,
    added_recipe,
    shard_manifest,
    supplement_manifest,
    texts_file,
)
from landweave.manifest import dataset_to_bytes, shard_from_bytes, shard_to_bytes
from pipelines.shards.addition import (
    AddError,
    Target,
    built_from,
    changed_documents,
    json_bytes,
    mend,
    moved_collection,
    revised_items,
    schema_of_items,
)
from pipelines.shards.desk import address_of
from schemas.canonical import canonical_json

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from landweave.dataset import Dataset
    from landweave.layout import Json
    from landweave.manifest import ObjectSum

TEXT_FIELDS = (
    ("set", pa.string()),
    ("prompt_sha256", pa.string()),
    ("seed", pa.int64()),
    ("why", pa.string()),
    ("pictures", pa.list_(pa.string())),
    ("index", pa.int32()),
)
"""Fields of a caption that belongs to a set, besides those of every caption."""
_BEFORE_CLAIMS = ("claims", pa.string())


@dataclass(frozen=True, kw_only=True)
class SampleTexts:
    """What a set has for one sample."""

    texts: Sequence[Json]
    """Captions with the fields of `TEXT_FIELDS`."""
    facts: str | None = None
    """Facts that they rest on, canonical JSON."""
    missing: Sequence[Json] = ()
    """Rows of the ledger: 'reason' and 'detail' of each text that is not there."""


@dataclass(frozen=True, kw_only=True)
class TextSet:
    """A set of texts for all samples of a dataset."""

    name: str
    """Its name."""
    about: Json
    """How it was made; with 'key', which is the same for the same texts."""
    of_shard: Callable[[int], Mapping[str, SampleTexts]]
    """Shard -> sample id -> its texts."""


def text_sets(data: Dataset) -> dict[str, Json]:
    """Name -> description of each set of a dataset, in order of their names."""
    return dict(sorted(data.text_sets.items()))


def add_texts(out: Path, made: TextSet, *, replace: bool = False) -> tuple[int, bool]:
    """Add a set as the next revision.

    Args:
        out: folder of the finished dataset, or the desk of one in an object store.
        made: the set.
        replace: whether a set of that name that is there is replaced.

    Returns:
        The revision that holds it, and whether it is new.

    Raises:
        AddError: the dataset has another set of that name, or is damaged.
    """
    try:
        return _revised(out, made, replace)
    except LandweaveError as error:
        raise AddError(str(error)) from error


def withdraw_texts(out: Path, name: str) -> int:
    """Take a set out of the dataset: the next revision does not have it. Returns that revision.

    Raises:
        AddError: the dataset has no such set, or is damaged.
    """
    try:
        base = open_dataset(address_of(out))
        if name not in base.text_sets:
            known = ", ".join(text_sets(base)) or "none"
            raise AddError(f"{base.spec.name} has no set of texts {name!r}; it has {known}")
        return _write(out, base, name, None)
    except LandweaveError as error:
        raise AddError(str(error)) from error


def _revised(out: Path, made: TextSet, replace: bool) -> tuple[int, bool]:
    base = open_dataset(address_of(out))
    mend(Target(out), base)
    there = base.text_sets.get(made.name)
    if there is not None and there.get("key") == made.about["key"]:
        return int(there.get("revision", base.spec.revision)), False
    if there is not None and not replace:
        raise AddError(
            f"texts {made.name}: {base.spec.name} has a set of that name already, made in another way; give this one "
            "another name, or add --replace"
        )
    return _write(out, base, made.name, made), True


def _write(out: Path, base: Dataset, name: str, made: TextSet | None) -> int:
    """The next revision, with this set or without it."""
    target = Target(out)
    spec = dataclasses.replace(base.spec, revision=base.spec.revision + 1, recipe=canonical_json(built_from(base)))
    said = {"withdrawn": name} if made is None else {"texts": made.about}
    index: Json = json.loads(base.objects.read(base.spec.at(SHARD_INDEX)))
    for shard in sorted(int(number) for number in index if ".r" not in number):
        index[f"{shard}.r{spec.revision}"] = _supplement(target, base, shard, spec.revision, name)
    objects: dict[str, ObjectSum] = dict(base.manifest.objects)
    objects = {p: o for p, o in objects.items() if p not in base.text_files.get(name, ())}
    if made is not None:
        path = texts_file(name, spec.revision)
        objects[path] = target.put(path, json_bytes({**made.about, "name": name, "revision": spec.revision}))
    objects[added_recipe(spec.revision)] = target.put(added_recipe(spec.revision), json_bytes(said))
    schema = _schema(schema_of_items(base))
    items, children = revised_items(target, base, spec, schema, lambda table, _: _changed(table, schema, name, made))
    objects |= items
    objects[spec.at(LEDGER)] = target.table(spec.at(LEDGER), _ledgers(base, name, made), base.ledger.schema)
    statistics, collection = (base.objects.read(base.spec.at(path)) for path in (STATISTICS, COLLECTION))
    objects[spec.at(STATISTICS)] = target.put(spec.at(STATISTICS), statistics)
    moved = json_bytes(moved_collection(json.loads(collection), spec, children))
    objects[spec.at(COLLECTION)] = target.put(spec.at(COLLECTION), moved)
    objects[spec.at(SHARD_INDEX)] = target.put(spec.at(SHARD_INDEX), json_bytes(index))
    manifest, changed = changed_documents(base, dataclasses.replace(base.manifest, spec=spec, objects=objects))
    for path, raw in changed.items():
        if path not in manifest.before:
            target.put(path, raw)
    target.put(MANIFEST, dataset_to_bytes(manifest))
    for path in manifest.before:
        target.put(path, changed[path])
    return spec.revision


def _supplement(target: Target, base: Dataset, shard: int, revision: int, name: str) -> Json:
    """The manifest of what this revision adds to a shard: nothing."""
    ours = shard_from_bytes(base.store.get(shard_manifest(shard)), shard_manifest(shard))
    sealed = shard_to_bytes(dataclasses.replace(ours, presence={}, objects={}))
    found = target.put(supplement_manifest(shard, revision), sealed)
    return {"sha256": found.sha256, "size": found.size, "split": ours.split, "of": f"{TEXTS}{name}"}


def _schema(schema: pa.Schema) -> pa.Schema:
    """The catalogue's columns, with captions that can belong to sets."""
    at = schema.get_field_index("captions")
    kind = schema.field(at).type.value_field.type
    known = {kind.field(i).name for i in range(kind.num_fields)}
    more = [pa.field(*entry) for entry in (_BEFORE_CLAIMS, *TEXT_FIELDS) if entry[0] not in known]
    fields = [*(kind.field(i) for i in range(kind.num_fields)), *more]
    return schema.set(at, pa.field("captions", pa.list_(pa.struct(fields))))


def _changed(table: pa.Table, schema: pa.Schema, name: str, made: TextSet | None) -> pa.Table:
    """Rows of the catalogue with this set of texts, or without it."""
    captions, facts = [], []
    known: tuple[int, Mapping[str, SampleTexts]] = (-1, {})
    columns = [table[c].to_pylist() for c in ("id", "shard", "captions", "facts")]
    for sample, shard, old, fact in zip(*columns, strict=True):
        if made is not None and known[0] != shard:
            known = (shard, made.of_shard(shard))
        found = known[1].get(sample)
        kept = [c for c in old or () if c.get("set") != name]
        captions.append([*kept, *(() if found is None else found.texts)])
        facts.append(fact if fact is not None or found is None else found.facts)
    for column, values in (("captions", captions), ("facts", facts)):
        at = schema.get_field_index(column)
        table = table.set_column(at, schema.field(at), pa.array(values, schema.field(at).type))
    return table.cast(schema)


def layer_of(name: str) -> str:
    """How the ledger calls a set."""
    return f"texts/{name}"


def _ledgers(base: Dataset, name: str, made: TextSet | None) -> Iterator[pa.Table]:
    ledger = base.ledger
    yield ledger.filter(pa.array([layer != layer_of(name) for layer in ledger["layer"].to_pylist()], pa.bool_()))
    if made is None:
        return
    light = base.catalogue.light
    columns = [light[c].to_pylist() for c in ("id", "shard", "row")]
    known: tuple[int, Mapping[str, SampleTexts]] = (-1, {})
    for sample, shard, row in zip(*columns, strict=True):
        if known[0] != shard:
            known = (shard, made.of_shard(shard))
        found = known[1].get(sample)
        rows = [_missing(sample, shard, row, name, one) for one in (() if found is None else found.missing)]
        if rows:
            yield pa.Table.from_pylist(rows, ledger.schema)


def _missing(sample: str, shard: int, row: int, name: str, one: Json) -> dict[str, Any]:
    return {
        "sample_id": sample,
        "layer": layer_of(name),
        "slot": int(one.get("slot", 0)),
        "reason": one["reason"],
        "provider": None,
        "item_ids": [],
        "detail": one["detail"],
        "shard": shard,
        "row": row,
    }
