"""A dataset opened for reading: query, samples, streams."""

from __future__ import annotations

import json
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from landweave.catalogue import BBox, Catalogue, Selection, expression
from landweave.errors import CorruptError, NotADatasetError, UnfinishedError, UnknownNameError
from landweave.layout import LEDGER, MANIFEST, RECIPE, STATISTICS, ZARR, vectors
from landweave.manifest import dataset_from_bytes
from landweave.sample import Sample
from landweave.shard import ShardReader
from landweave.store import open_store
from landweave.stream import Order, Stream

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Iterator, Mapping

    from numpy.typing import NDArray

    from landweave.layout import ArraySpec, GroupSpec, Json
    from landweave.manifest import DatasetManifest
    from landweave.store import Store


def open_dataset(place: str | os.PathLike[str]) -> Dataset:
    """Open a finished dataset by local path or URL (http(s)://, s3://, gs://, az://).

    Raises:
        NotADatasetError: nothing of landweave is there. UnfinishedError: it is still being built.
        LayoutError: a layout that this version does not read. CorruptError: its manifest is damaged.
        AccessError: the place cannot be reached.
    """
    store = open_store(place)
    try:
        raw = store.get(MANIFEST)
    except FileNotFoundError:
        raise _not_there(store) from None
    return Dataset(store, dataset_from_bytes(raw, MANIFEST))


def _not_there(store: Store) -> NotADatasetError:
    for trace in (RECIPE, f"{ZARR}/zarr.json"):
        try:
            store.get(trace)
        except FileNotFoundError:
            continue
        return UnfinishedError(
            f"{store.url}: this dataset is not finished: {MANIFEST} is written last and is not there; "
            "let the build end, or run it again"
        )
    return NotADatasetError(f"{store.url}: no dataset here: there is no {MANIFEST}")


class Dataset:
    """A finished dataset. Picklable; safe in threads and, for local paths, after a fork."""

    def __init__(self, store: Store, manifest: DatasetManifest) -> None:
        self.store = store
        """Where its bytes are."""
        self.manifest = manifest
        """What it holds."""
        self.spec = manifest.spec
        """Its form."""
        self.catalogue = Catalogue(store, self.spec)
        """Its items."""
        self.reader = ShardReader(store, self.spec.shard_samples)
        """Its pixels."""

    def __len__(self) -> int:
        return self.manifest.samples

    def __repr__(self) -> str:
        return f"Dataset({self.spec.name!r}, {len(self)} samples, {[g.name for g in self.spec.groups]})"

    @property
    def modalities(self) -> dict[str, GroupSpec]:
        """Name -> sensor: bands, slots, licence."""
        return {g.name: g for g in self.spec.groups if g.kind == "modality"}

    @property
    def labels(self) -> dict[str, GroupSpec]:
        """Name -> label layer: legend, licence."""
        return {g.name: g for g in self.spec.groups if g.kind == "label"}

    @property
    def arrays(self) -> dict[str, ArraySpec]:
        """'group/array' -> its form."""
        return {a.path: a for a in self.spec.arrays}

    @property
    def splits(self) -> dict[str, int]:
        """Samples by split."""
        return dict(self.manifest.splits)

    @cached_property
    def statistics(self) -> Json:
        """Array -> band -> 'all' | 'clear' -> count, mean, std, min, max, percentiles: train split, stored numbers."""
        return dict(json.loads(self._object(STATISTICS))["bands"])

    @cached_property
    def recipe(self) -> Json:
        """The resolved recipe."""
        return dict(json.loads(self._object(RECIPE)))

    @property
    def ledger(self) -> pa.Table:
        """Expected against obtained: sample_id, layer, slot, reason, provider, item_ids, detail."""
        try:
            return pq.read_table(self.store.parquet(LEDGER))
        except (FileNotFoundError, pa.ArrowInvalid, OSError) as error:
            raise CorruptError(f"{LEDGER} is missing or damaged; run `landweave check`") from error

    def query(
        self,
        where: str | pc.Expression | Mapping[str, Any] | None = None,
        *,
        bbox: BBox | None = None,
        time: tuple[Any, Any] | None = None,
        **equal: Any,
    ) -> Selection:
        """Samples for which everything asked holds, in the catalogue's order.

        Args:
            where: a condition in Python's spelling ("worldcover_trees > 0.5 and sentinel2_count == 2"), an Arrow
                expression, or a mapping of columns to a value or a list of values.
            bbox: (west, south, east, north), degrees; west > east crosses the antimeridian. Footprints that touch it.
            time: (first, last), dates or times, either None: samples with an observation period that touches it.
            equal: column=value or column=[values], for example split="train".

        Raises:
            QueryError: no such column, a condition that cannot be read, or a value of the wrong type.
        """
        condition = None
        if where is not None or bbox is not None or time is not None or equal:
            condition = expression(self.catalogue.schema, bbox=bbox, time=time, where=where, equal=equal)
        return Selection(self.catalogue, self.catalogue.match(condition), condition)

    def sample(self, which: str | int) -> Sample:
        """One sample by id or by position in the catalogue.

        Raises:
            UnknownNameError: no such sample.
        """
        if isinstance(which, str):
            position = self.catalogue.positions.get(which, -1)
            if position < 0:
                raise UnknownNameError(f"no sample {which!r} among the {len(self)} of this dataset")
        else:
            position = int(which) + (len(self) if which < 0 else 0)
            if not 0 <= position < len(self):
                raise UnknownNameError(f"sample number {which}: the dataset holds {len(self)}")
        return Sample(self.catalogue.item(position), self.spec, self)

    def __getitem__(self, which: str | int) -> Sample:
        """See `sample`."""
        return self.sample(which)

    def __iter__(self) -> Iterator[Sample]:
        return (self.sample(i) for i in range(len(self)))

    def stream(
        self,
        selection: Selection | None = None,
        *,
        batch_size: int,
        arrays: Iterable[str] | None = None,
        **order: Any,
    ) -> Stream:
        """Batches of a selection (all samples if None), as dicts of numpy arrays; see `landweave.stream`.

        Args:
            selection: from `query`.
            batch_size: samples of a batch and rank.
            arrays: modalities, labels ('sentinel2') or single arrays ('sentinel2/bands_10m'); all if None. Nothing else
                is read.
            order: shuffle=False, seed=0, mix=8, remainder='share': see `landweave.stream.Order`.

        Raises:
            UnknownNameError: no such modality, label or array. QueryError: a setting out of range.
        """
        chosen = self.query() if selection is None else selection
        wanted = self._arrays(arrays)
        return Stream(self.catalogue, self.reader, chosen.positions, wanted, Order(batch_size=batch_size, **order))

    def read(
        self, array: ArraySpec, where: tuple[int, int], present: str, out: NDArray[Any], sample_id: str
    ) -> NDArray[Any]:
        """All dates of one sample's array, into `out`; see `ShardReader.read`."""
        return self.reader.read(array, where, present, out, sample_id)

    def vectors(self, label: str, shard: int, sample_id: str) -> pa.Table:
        """Vector objects of one sample."""
        path = vectors(label, shard)
        try:
            return pq.read_table(self.store.parquet(path), filters=pc.field("sample_id") == sample_id)
        except (FileNotFoundError, pa.ArrowInvalid, OSError) as error:
            raise CorruptError(f"sample {sample_id}: {path} is missing or damaged; run `landweave check`") from error

    def normalisation(
        self, array: str, pixels: Literal["all", "clear"] = "all"
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """(band,) mean and (band,) standard deviation of stored numbers in the train split."""
        if array not in self.statistics:
            raise UnknownNameError(f"no statistics of {array!r}; there are {sorted(self.statistics)}")
        bands = [self.statistics[array][b.name] for b in self.arrays[array].bands]
        figures = [(b.get(pixels, b["all"]).get("mean"), b.get(pixels, b["all"]).get("std")) for b in bands]
        mean, std = np.array(figures, np.float64).T
        return mean, std

    def _arrays(self, names: Iterable[str] | None) -> tuple[ArraySpec, ...]:
        if names is None:
            return self.spec.arrays
        found: dict[str, ArraySpec] = {}
        for name in [names] if isinstance(names, str) else names:
            matching = [a for a in self.spec.arrays if name in (a.group, a.path)]
            if not matching:
                raise UnknownNameError(f"no modality, label or array {name!r}; there are {sorted(self.arrays)}")
            found |= {a.path: a for a in matching}
        return tuple(found.values())

    def _object(self, path: str) -> bytes:
        try:
            return self.store.get(path)
        except FileNotFoundError as error:
            raise CorruptError(f"{path} is missing; run `landweave check`") from error
