"""Manifests: sealed JSON that says what a shard and a dataset hold, with the checksum of every object."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from typing import Any

from landweave.errors import CorruptError, LayoutError
from landweave.layout import (
    FORMAT,
    LAYOUT_VERSION,
    READABLE_VERSIONS,
    REVISED_VERSION,
    DatasetSpec,
    Json,
    spec_from_json,
    spec_to_json,
)


@dataclass(frozen=True, slots=True)
class ObjectSum:
    """Size and checksum of one object (file)."""

    size: int
    """Bytes."""
    sha256: str
    """Lower-case hex."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ShardManifest:
    """What one shard holds."""

    shard: int
    """Number of the shard."""
    split: str
    """'train', 'val' or 'test': one for the whole shard."""
    recipe_sha256: str
    """Which dataset it belongs to."""
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
    """What a finished dataset holds."""

    spec: DatasetSpec
    """Its form."""
    samples: int
    """Samples in the catalogue."""
    splits: dict[str, int]
    """Samples by split."""
    licences: tuple[str, ...]
    """SPDX ids of all layers, sorted."""
    attribution: tuple[str, ...]
    """What users of the data must say, one entry a source."""
    objects: dict[str, ObjectSum]
    """Checksums of the dataset's own objects (recipe, metadata, catalogue); shards carry theirs."""
    before: dict[str, ObjectSum] = field(default_factory=dict)
    """Checksums of objects that this revision replaces a moment after it holds: until then they are right too."""


def seal(data: Json) -> bytes:
    """Canonical JSON with a `sha256` of all the rest, so that a flipped byte anywhere is found by reading."""
    return _canonical({**data, "sha256": hashlib.sha256(_canonical(data)).hexdigest()})


def unseal(raw: bytes, path: str) -> Json:
    """Read what `seal` wrote.

    Raises:
        CorruptError: not JSON, or changed since it was sealed.
        LayoutError: says of itself that it is of another layout (asked first: a newer one may seal in another way).
    """
    try:
        data = json.loads(raw)
    except ValueError as error:
        raise CorruptError(f"{path}: not readable JSON ({error}); the file is damaged or cut short") from error
    if not isinstance(data, dict) or not isinstance(data.get("sha256"), str):
        raise CorruptError(f"{path}: is not a manifest of landweave: no checksum in it")
    _check_layout(data, path)
    body = {key: value for key, value in data.items() if key != "sha256"}
    if hashlib.sha256(_canonical(body)).hexdigest() != data["sha256"]:
        raise CorruptError(f"{path}: content does not match its own checksum; the file was changed or damaged")
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
    data = unseal(raw, path)
    return ShardManifest(
        shard=data["shard"],
        split=data["split"],
        recipe_sha256=data["recipe_sha256"],
        samples=tuple(data["samples"]),
        refused=tuple(data["refused"]),
        presence={group: tuple(rows) for group, rows in data["presence"].items()},
        objects=_objects_from_json(data["objects"]),
    )


def dataset_to_bytes(manifest: DatasetManifest) -> bytes:
    """The sealed `landweave.json`."""
    revised = manifest.spec.revision > 0
    return seal(
        {
            "format": FORMAT,
            "layout": REVISED_VERSION if revised else LAYOUT_VERSION,
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
    data = unseal(raw, path)
    return DatasetManifest(
        spec=spec_from_json(data["dataset"]),
        samples=data["samples"],
        splits=data["splits"],
        licences=tuple(data["licences"]),
        attribution=tuple(data["attribution"]),
        objects=_objects_from_json(data["objects"]),
        before=_objects_from_json(data.get("before", {})),
    )


def _check_layout(data: Json, path: str) -> None:
    if data.get("format") != FORMAT:
        raise CorruptError(f"{path}: says format {data.get('format')!r}, expected {FORMAT!r}")
    version = data.get("layout")
    if version not in READABLE_VERSIONS:
        newer = isinstance(version, int) and version > max(READABLE_VERSIONS)
        mend = "install a newer landweave" if newer else "it is no layout that this version knows"
        known = " and ".join(map(str, READABLE_VERSIONS))
        raise LayoutError(f"{path}: layout version {version}, this landweave reads {known}: {mend}")


def _canonical(data: Any) -> bytes:
    return (json.dumps(data, sort_keys=True, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode()


def _objects_to_json(objects: dict[str, ObjectSum]) -> Json:
    return {path: {"size": o.size, "sha256": o.sha256} for path, o in objects.items()}


def _objects_from_json(data: Json) -> dict[str, ObjectSum]:
    return {path: ObjectSum(o["size"], o["sha256"]) for path, o in data.items()}
