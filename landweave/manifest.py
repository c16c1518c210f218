"""Manifests: JSON with its own checksum, which lists the objects of a shard or a dataset with their checksums."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass, field
from typing import Any

from landweave.errors import CorruptError, LayoutError
from landweave.layout import (
    FORMAT,
    LAYOUT_VERSION,
    READABLE_VERSIONS,
    REVISED_VERSION,
    ROOT,
    SPLITS,
    WIDER_VERSION,
    DatasetSpec,
    Json,
)
from landweave.layout_json import spec_from_json, spec_to_json
from landweave.strict import NAME, SAMPLE_ID, SHA256, Fields, inside, parse, refuse, text, whole

BLOCK_BYTES = 1 << 20
"""Bytes of a block of `ObjectSum.blocks`; the last one is shorter."""
WHOLE_BYTES = 1 << 26
"""Objects of up to this many bytes are read and verified as a whole; larger ones have `blocks`."""
_HEX = re.compile("[0-9a-f]*")
_PRESENCE = re.compile("[01]{1,65536}")


@dataclass(frozen=True, slots=True)
class ObjectSum:
    """Size and checksum of one object (file)."""

    size: int
    """Bytes."""
    sha256: str
    """Lower-case hex."""
    blocks: str = ""
    """Of a large object that is read in pieces: crc32c of each `BLOCK_BYTES` of it, 8 hex digits each."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ShardManifest:
    """Content of one shard."""

    shard: int
    """Number of the shard."""
    split: str
    """'train', 'val' or 'test': one for the whole shard."""
    recipe_sha256: str
    """Its dataset."""
    samples: tuple[str | None, ...]
    """Sample id of each row; None = a hole (refused). Rows beyond the end are holes too."""
    refused: tuple[str, ...]
    """Sample ids of the holes, in row order."""
    presence: dict[str, tuple[str, ...]]
    """Group -> for each row a '1' or '0' per date slot: is the observation there?"""
    objects: dict[str, ObjectSum]
    """Path from the dataset's root -> checksum, for all objects of the shard but this manifest."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DatasetManifest:
    """Content of a finished dataset."""

    spec: DatasetSpec
    """Its form."""
    samples: int
    """Samples in the catalogue."""
    splits: dict[str, int]
    """Samples by split."""
    licences: tuple[str, ...]
    """SPDX ids of all layers, sorted."""
    attribution: tuple[str, ...]
    """Attribution that users of the data must give, one entry per source."""
    objects: dict[str, ObjectSum]
    """Checksums of the dataset's own objects (recipe, metadata, catalogue); shards carry theirs."""
    before: dict[str, ObjectSum] = field(default_factory=dict)
    """Checksums of objects that this revision replaces a moment after it holds: until then they are right too."""


def seal(data: Json) -> bytes:
    """Canonical JSON with a `sha256` of all other fields, so that a reader detects any changed byte."""
    return _canonical({**data, "sha256": hashlib.sha256(_canonical(data)).hexdigest()})


def unseal(raw: bytes, path: str) -> Json:
    """Read what `seal` wrote.

    Raises:
        CorruptError: not JSON, or changed since it was sealed.
        LayoutError: says of itself that it is of another layout (asked first: a newer one may seal in another way).
    """
    data = parse(raw, path)
    if not isinstance(data, dict) or not isinstance(data.get("sha256"), str):
        raise CorruptError(f"{path}: is not a manifest of landweave: it has no checksum")
    _check_layout(data, path)
    body = {key: value for key, value in data.items() if key != "sha256"}
    if _digest(body) != data["sha256"]:
        raise CorruptError(f"{path}: content does not match its own checksum: the file was changed or damaged")
    return body


def shard_to_bytes(manifest: ShardManifest) -> bytes:
    """The sealed file of a shard's manifest."""
    return seal(
        {
            "format": FORMAT,
            "layout": LAYOUT_VERSION,
            "shard": manifest.shard,
            "split": manifest.split,
            "recipe_sha256": manifest.recipe_sha256,
            "samples": list(manifest.samples),
            "refused": list(manifest.refused),
            "presence": {group: list(rows) for group, rows in manifest.presence.items()},
            "objects": _objects_to_json(manifest.objects),
        }
    )


def shard_from_bytes(raw: bytes, path: str) -> ShardManifest:
    """Read a shard's manifest.

    Raises:
        CorruptError: damaged.
        LayoutError: written in another layout.
    """
    found = Fields(unseal(raw, path), path)
    presence = found.object("presence")
    samples = tuple(s if s is None else text(s, found.at("samples"), SAMPLE_ID) for s in found.entries("samples"))
    named = [s for s in samples if s is not None]
    if len(set(named)) != len(named):
        raise CorruptError(f"{path}: it contains a sample twice")
    return ShardManifest(
        shard=found.whole("shard", 0, 10**7),
        split=found.choice("split", SPLITS),
        recipe_sha256=found.text("recipe_sha256", SHA256),
        samples=samples,
        refused=found.texts("refused", SAMPLE_ID),
        presence={text(g, presence.where, NAME): presence.texts(g, _PRESENCE, len(samples)) for g in presence},
        objects=_objects_from_json(found.object("objects")),
    )


def dataset_to_bytes(manifest: DatasetManifest) -> bytes:
    """The sealed `landweave.json`."""
    revised, parted = manifest.spec.revision > 0, manifest.spec.at(ROOT) in manifest.objects
    least = WIDER_VERSION if parted else REVISED_VERSION if revised else LAYOUT_VERSION
    return seal(
        {
            "format": FORMAT,
            "layout": max(manifest.spec.layout, least),
            "dataset": spec_to_json(manifest.spec),
            "samples": manifest.samples,
            "splits": manifest.splits,
            "licences": list(manifest.licences),
            "attribution": list(manifest.attribution),
            "objects": _objects_to_json(manifest.objects),
            **({"before": _objects_to_json(manifest.before)} if revised else {}),
        }
    )


def dataset_from_bytes(raw: bytes, path: str) -> DatasetManifest:
    """Read `landweave.json`.

    Raises:
        CorruptError: damaged.
        LayoutError: written in another layout.
    """
    found = Fields(unseal(raw, path), path)
    spec = spec_from_json(found.only("dataset"), found.at("dataset"))
    splits = found.object("splits")
    manifest = DatasetManifest(
        spec=spec,
        samples=found.whole("samples", 0, spec.rows),
        splits={s: splits.whole(s, 0, spec.rows) for s in splits},
        licences=found.texts("licences"),
        attribution=found.texts("attribution"),
        objects=_objects_from_json(found.object("objects")),
        before=_objects_from_json(found.object("before", {})),
    )
    if not set(manifest.splits) <= set(SPLITS) or sum(manifest.splits.values()) != manifest.samples:
        refuse(splits.where, dict(manifest.splits), f"{', '.join(SPLITS)} with {manifest.samples} samples in all")
    return manifest


def _check_layout(data: Json, path: str) -> None:
    if data.get("format") != FORMAT:
        raise CorruptError(f"{path}: states format {data.get('format')!r}, expected {FORMAT!r}")
    version = whole(data.get("layout"), f"{path}.layout", 0, 10**6)
    if version not in READABLE_VERSIONS:
        newer = version > max(READABLE_VERSIONS)
        mend = "install a newer landweave" if newer else "this version does not know that layout"
        known = f"{min(READABLE_VERSIONS)} to {max(READABLE_VERSIONS)}"
        raise LayoutError(f"{path}: layout version {version}, this landweave reads {known}: {mend}")


def _canonical(data: Any) -> bytes:
    return (json.dumps(data, sort_keys=True, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode()


def _objects_to_json(objects: dict[str, ObjectSum]) -> Json:
    return {path: {"size": o.size, "sha256": o.sha256, **_blocks(o)} for path, o in objects.items()}


def _blocks(found: ObjectSum) -> Json:
    return {"blocks": found.blocks} if found.blocks else {}


def _objects_from_json(found: Fields) -> dict[str, ObjectSum]:
    sums = {}
    for path in found:
        about = found.object(inside(path, f"{found.where}: "))
        size = about.whole("size", 0, 2**60)
        blocks = about.text("blocks", _HEX) if "blocks" in about else ""
        if blocks and len(blocks) != 8 * -(-size // BLOCK_BYTES):
            refuse(about.at("blocks"), f"{len(blocks)} digits", f"8 for each MiB of {size} bytes")
        sums[path] = ObjectSum(size, about.text("sha256", SHA256), blocks)
    return sums


def _digest(data: Json) -> str | None:
    """The checksum; None if the content cannot be written again, because it holds half of a surrogate pair."""
    try:
        return hashlib.sha256(_canonical(data)).hexdigest()
    except (ValueError, RecursionError):
        return None
