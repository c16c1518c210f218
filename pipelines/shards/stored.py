"""Samples of a dataset as the source of texts, shard by shard: of a finished dataset, and of one that still grows."""

from __future__ import annotations

import hashlib
import json
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeAlias

import pyarrow as pa
import pyarrow.parquet as pq

from landweave.dataset import Dataset, open_dataset
from landweave.errors import AbsentError, NotADatasetError
from landweave.layout import ITEMS, RECIPE, SHARD_INDEX, part, shard_manifest
from landweave.layout_json import spec_from_json, spec_to_json
from landweave.manifest import DatasetManifest, shard_from_bytes
from landweave.pictures import Drawn, check_names, drawn
from landweave.sample_facts import facts_from, sure_classes
from landweave.store import open_store
from schemas.caption import ClassShare, Facts
from schemas.recipe import Recipe
from schemas.source import DatedSource, OpticalSource

if TYPE_CHECKING:
    from collections.abc import Sequence

    from landweave.layout import DatasetSpec, Json
    from landweave.sample import Sample
    from landweave.store import Store

StoredSample: TypeAlias = "Sample"
"""A sample of a dataset, as the reader gives it."""
MAP = "openstreetmap"
"""Layer whose objects captions speak of."""


class Stored:
    """The shards of a dataset that are there."""

    def __init__(self, place: str, growing: Json | None = None) -> None:
        """Open it.

        Args:
            place: folder or URL of the dataset.
            growing: form of a dataset that is being built (`landweave.layout_json`); None for a finished one.

        Raises:
            LandweaveError: there is none, or it is damaged.
        """
        self.store: Store = open_store(place)
        self.data = open_dataset(place) if growing is None else None
        self.spec: DatasetSpec = self.data.spec if self.data else spec_from_json(growing or {}, "the plan")
        self.recipe = Recipe.model_validate(json.loads(self.store.get(RECIPE)))
        self._index: Json = {}
        if self.data is not None:
            self._index = json.loads(self.data.objects.read(self.spec.at(SHARD_INDEX)))

    @cached_property
    def shards(self) -> list[int]:
        """Numbers of the shards that are there when it is first asked, ascending."""
        if self.data is not None:
            return sorted(int(number) for number in self._index if ".r" not in number)
        return [shard for shard in range(self.spec.shards) if self._manifest(shard) is not None]

    def stamp(self, shard: int, layers: Sequence[str]) -> str:
        """What decides the content of a shard's layers: a checksum, the same while it grows and when it is finished."""
        revisions = sorted({g.revision for g in self.spec.groups if g.name in layers} - {0})
        if self.data is None:
            sums = [hashlib.sha256(self._manifest(shard) or b"").hexdigest()]
        else:
            names = [str(shard), *(f"{shard}.r{revision}" for revision in revisions)]
            sums = [str(self._index[name]["sha256"]) for name in names]
        return hashlib.sha256("\n".join(sums).encode()).hexdigest()

    def samples(self, shard: int) -> list[Sample]:
        """The samples of a shard, by row."""
        data = self._growing(shard) if self.data is None else self.data
        return [data.sample(i) for i in data.catalogue.inside(shard).tolist()]

    def _manifest(self, shard: int) -> bytes | None:
        try:
            return self.store.get(shard_manifest(shard)) or None
        except FileNotFoundError:
            return None

    def _growing(self, shard: int) -> Dataset:
        """One published shard as a dataset of its own: its part of the catalogue is the catalogue."""
        raw = self._manifest(shard)
        if raw is None:
            raise NotADatasetError(f"{self.store.url}: shard {shard} is not there (any more)")
        manifest = shard_from_bytes(raw, shard_manifest(shard))
        name = part("items", shard)
        content = self.store.get(name)
        if hashlib.sha256(content).hexdigest() != manifest.objects[name].sha256:
            raise NotADatasetError(f"{self.store.url}: {name} differs from its checksum; run the build again")
        found = pq.read_metadata(pa.BufferReader(content)).num_rows
        whole = DatasetManifest(
            spec=self.spec,
            samples=found,
            splits={manifest.split: found},
            licences=(),
            attribution=(),
            objects={ITEMS: manifest.objects[name]},
        )
        return Dataset(_Overlaid(self.store, {ITEMS: content}), whole)


class _Overlaid:
    """A store with some objects of other content."""

    def __init__(self, store: Store, objects: dict[str, bytes]) -> None:
        self._store, self._objects = store, objects

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def get(self, path: str, most: int = 1 << 30) -> bytes:
        """See `landweave.store.Store`."""
        return self._objects[path] if path in self._objects else self._store.get(path, most)

    def size(self, path: str) -> int:
        """See `landweave.store.Store`."""
        return len(self._objects[path]) if path in self._objects else self._store.size(path)


def fact_labels(recipe: Recipe, spec: DatasetSpec, chosen: str | None) -> tuple[str, ...]:
    """Label layers that class shares may come from, best first: the chosen one; else fused labels, which have a
    confidence, and then the recipe's labels in order."""
    held = [g.name for g in spec.groups if g.kind == "label" and g.name not in recipe.extents]
    if chosen is not None:
        return (chosen,) if chosen in held else ()
    sure = [g.name for g in spec.groups if g.name in held and _has_confidence(spec, g.name)]
    return tuple(dict.fromkeys([*sure, *(x.layer for x in recipe.read_labels if x.layer in held)]))


def _has_confidence(spec: DatasetSpec, label: str) -> bool:
    return any(a.name == "confidence" for a in spec.group(label).arrays)


def sources_of_facts(recipe: Recipe, sample: Sample, labels: Sequence[str], sure: float) -> dict[str, str]:
    """What is said about -> the array or table of a stored sample that shows it (`landweave.claims.sources_of`).

    Args:
        recipe: of the dataset.
        sample: the sample.
        labels: from `fact_labels`; the first that the sample has is taken.
        sure: of a label with confidence, the least of a pixel that facts rest on, 0..1.
    """
    present, found = sample.present, {"place": "catalogue"}
    label = next((name for name in labels if any(present.get(name, ()))), None)
    if label is not None:
        limited = _has_confidence(sample.spec, label) and sure > 0
        found["cover"] = sure_classes(label, sure) if limited else f"{label}/classes"
    inside = [s for s in recipe.sources if s.name not in recipe.extents]
    grounds = sorted((s.name, s.modality.terrain) for s in inside if s.modality.terrain is not None)
    ground = next((f"{name}/{array}" for name, array in grounds if any(present.get(name, ()))), None)
    if ground is not None:
        found["ground"] = ground
    image = _image(recipe, present)
    if image is not None:
        found["image"] = image
    mapped = MAP not in recipe.extents and any(g.name == MAP and g.vectors for g in sample.spec.groups)
    if mapped and any(present.get(MAP, ())):
        found["map"] = f"{MAP}/vectors"
    return found


def _image(recipe: Recipe, present: dict[str, tuple[bool, ...]]) -> str | None:
    """The image that texts refer to, as `pipelines.sources.reference` chooses it; None if it has no one date."""
    dated = [s for s in recipe.sources if isinstance(s, DatedSource) and s.name not in recipe.targets]
    for source in sorted(dated, key=lambda s: not isinstance(s, OpticalSource)):
        slots = present.get(source.name, ())
        if any(slots):
            return None if source.name in recipe.composed else f"{source.name}/datetimes/{slots.index(True)}"
    return None


def stored_facts(sample: Sample, size_m: float, where: dict[str, str]) -> Facts:
    """The facts of a stored sample, from its arrays and tables.

    Args:
        sample: the sample.
        size_m: edge of its footprint, metres.
        where: from `sources_of_facts`.
    """
    said: dict[str, Any] = {}
    for source in where.values():
        said |= facts_from(sample, size_m, source)
    said["overall"] = _shares(said.get("overall", ()))
    said["regions"] = {name: _shares(shares) for name, shares in said.get("regions", {}).items()}
    cover = where.get("cover")
    return Facts(label=None if cover is None else cover.partition("/")[0], **said)


def _shares(shares: Sequence[Any]) -> tuple[ClassShare, ...]:
    return tuple(ClassShare(name=s.name, percent=s.percent, pixels=s.pixels) for s in shares)


def stored_pictures(sample: Sample, names: Sequence[str], where: dict[str, str], edge_px: int) -> list[Drawn]:
    """Pictures of a stored sample for a vision model; what the sample has no data for is left out.

    Args:
        sample: the sample.
        names: see `landweave.pictures.drawn`.
        where: from `sources_of_facts`: the image that the facts are about.
        edge_px: least edge of a picture, pixels.
    """
    found = []
    for name in names:
        try:
            found.append(drawn(sample, name, where.get("image"), edge_px))
        except AbsentError:
            continue
    return found


def check_pictures(names: tuple[str, ...], spec: DatasetSpec) -> None:
    """See that a dataset has the layers that are to be drawn.

    Raises:
        UnknownNameError: it has not.
    """
    check_names(names, spec)


def form_to_json(spec: DatasetSpec) -> Json:
    """The form of a dataset that is being built, for `Stored`."""
    return spec_to_json(spec)
