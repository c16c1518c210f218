"""A dataset opened for reading: query, samples, streams."""

from __future__ import annotations

import hashlib
import os
import warnings
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, Unpack

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from landweave.batch import ASKED, Loading, Source
from landweave.buffers import Buffers
from landweave.classes import Classes
from landweave.errors import NotADatasetError, QueryError, UnfinishedError, UnknownNameError, unknown, whole_number
from landweave.kept import Kept, size_of
from landweave.layout import LEDGER, MANIFEST, RECIPE, TEXTS, ZARR, added_recipe
from landweave.manifest import dataset_from_bytes
from landweave.notebook import table_html
from landweave.order import EpochRandom, Order
from landweave.parted import catalogue_of
from landweave.pixels import SamplePixels
from landweave.query import NO_HINT, BBox, degrees, expression, hint
from landweave.questions import TASKS
from landweave.remote_store import RemoteStore
from landweave.sample import Sample
from landweave.selection import Selection
from landweave.shard import ShardReader
from landweave.store import open_store
from landweave.stream import Stream, cores
from landweave.strict import Fields, parse
from landweave.table import Objects, read_table
from landweave.values import each
from landweave.view import View, shown

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    import xarray as xr
    from numpy.typing import NDArray

    from landweave.batch import Batch, OnError
    from landweave.handover import SharedBuffers
    from landweave.layout import ArraySpec, GroupSpec, Json
    from landweave.manifest import DatasetManifest
    from landweave.questions import Question
    from landweave.store import Store
    from landweave.stream import StreamSettings
    from landweave.view import ViewSettings


_LOCAL = "cache_dir is not used: the dataset is on this machine, and only what is read from a URL is kept"
_ALONE_BYTES = 1 << 20
"""The caller's thread decodes this many bytes alone: it takes 1 ms, and waking other threads costs a tenth of that."""


def open_dataset(
    place: str | os.PathLike[str],
    *,
    cache_dir: str | os.PathLike[str] | None = None,
    cache_size: int | str = "100GB",
) -> Dataset:
    """Open a finished dataset by local path or URL (file:, http(s)://, s3://, gs://, az://, hf://).

    Args:
        place: where it is.
        cache_dir: folder on this machine that keeps what is read from a URL, for the next epoch and for other processes
            (`landweave.kept`); made if it is missing. None: nothing is kept. A local dataset needs none: a warning.
        cache_size: most bytes of that folder, or a text such as '500GB'; what was used longest ago is removed.

    Raises:
        NotADatasetError: there is no dataset of landweave. UnfinishedError: it is still being built.
        LayoutError: this version does not read the layout. CorruptError: its manifest is damaged.
        AccessError: the place cannot be reached. QueryError: cache_size is no size.
    """
    size, store = size_of(cache_size), open_store(place)
    try:
        raw = store.get(MANIFEST)
    except FileNotFoundError:
        raise _not_there(store) from None
    if cache_dir is not None and isinstance(store, RemoteStore):
        store.keep(Kept(cache_dir, size, hashlib.sha256(raw).hexdigest()))
    elif cache_dir is not None:
        warnings.warn(_LOCAL, UserWarning, stacklevel=2)
    return Dataset(store, dataset_from_bytes(raw, MANIFEST))


def _not_there(store: Store) -> NotADatasetError:
    folder, _, name = store.url.rstrip("/").rpartition("/")
    if name == MANIFEST:
        return NotADatasetError(f"{store.url}: is the dataset's manifest; open the folder: landweave.open({folder!r})")
    for trace in (RECIPE, f"{ZARR}/zarr.json"):
        try:
            store.get(trace)
        except FileNotFoundError:
            continue
        return UnfinishedError(
            f"{store.url}: this dataset is not finished: {MANIFEST}, which is written last, is missing; "
            "wait for the build to end, or run it again"
        )
    return NotADatasetError(f"{store.url}: no dataset here: there is no {MANIFEST}")


def _form(array: ArraySpec) -> str:
    return f"{array.path} {tuple(array.sample_shape)} {array.dtype}"


class Dataset:
    """A finished dataset. Picklable; safe in threads and, for local paths, after a fork."""

    def __init__(self, store: Store, manifest: DatasetManifest) -> None:
        self.store = store
        """The store of its bytes."""
        self.manifest = manifest
        """Its specification: groups, arrays, shards."""
        self.spec = manifest.spec
        """Its form."""
        self.objects = Objects(store, manifest.objects, manifest.before)
        """Its files other than pixels, verified before use."""
        self.catalogue = catalogue_of(store, self.objects, manifest)
        """Its items."""
        self._reader = ShardReader(store, self.spec.shard_samples)
        self._buffers = Buffers()
        self._pixels = SamplePixels(self.objects, self.spec, self._reader, self._buffers)
        self._threads: tuple[int, ThreadPoolExecutor] | None = None

    def __len__(self) -> int:
        return self.manifest.samples

    def _repr_html_(self) -> str:
        """In a notebook: its layers and splits."""
        heading = f"{self.spec.name}: {len(self)} samples, " + ", ".join(
            f"{n} {name}" for name, n in self.splits.items()
        )
        rows = [
            (g.name, g.title, g.slot_count if g.dated else "", "; ".join(_form(a) for a in g.arrays), g.licence)
            for g in self.spec.groups
        ]
        return table_html(heading, ("layer", "title", "dates", "arrays", "licence"), rows)

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

    def classes(self, label: str) -> Classes:
        """Classes of a label layer for training: `names`, `index(stored)`, `ignore_index`, `weights()`.

        Raises:
            UnknownNameError: the dataset has no such label.
        """
        if label not in self.labels:
            raise UnknownNameError(unknown("label", label, sorted(self.labels)))
        return Classes(self.labels[label], self.catalogue)

    @property
    def targets(self) -> dict[str, GroupSpec]:
        """Name -> layer of numbers to be predicted (`role: label` in the recipe); `modalities` holds them too."""
        return {g.name: g for g in self.spec.groups if g.target}

    @property
    def arrays(self) -> dict[str, ArraySpec]:
        """'group/array' -> its form."""
        return {a.path: a for a in self.spec.arrays}

    @property
    def splits(self) -> dict[str, int]:
        """Samples by split."""
        return dict(self.manifest.splits)

    @property
    def statistics(self) -> Json:
        """Array -> band -> 'all' | 'clear' -> count, mean, std, min, max, percentiles: train split, stored numbers."""
        return self._pixels.statistics

    @cached_property
    def recipe(self) -> Json:
        """The resolved recipe, with the fused labels that were made after the build.

        `recipe.json` is what was built first; `recipes/rN.json` is the recipe of what revision N added.
        """
        found = parse(self.objects.read(RECIPE), RECIPE)
        Fields(found, RECIPE)
        built, made = dict(found), []
        for revision in range(1, self.spec.revision + 1):
            path = added_recipe(revision)
            labels = Fields(parse(self.objects.read(path), path), path).entries("labels", default=())
            made += [one for one in labels if isinstance(one, dict) and one.get("kind") == "fused"]
        return {**built, "labels": [*built.get("labels", ()), *made]} if made else built

    @cached_property
    def text_files(self) -> dict[str, tuple[str, ...]]:
        """Name of a set of texts -> paths of its description."""
        found: dict[str, tuple[str, ...]] = {}
        for path in self.manifest.objects:
            if path.startswith(TEXTS):
                name = path.removeprefix(TEXTS).rsplit(".r", 1)[0]
                found[name] = (*found.get(name, ()), path)
        return found

    @cached_property
    def text_sets(self) -> dict[str, Json]:
        """Name -> how a set of texts was made: model, prompt with its hash, settings, tokens, how many of each outcome.

        Captions name their set (`Captions.set`); '' are those that came with the pixels.
        """
        found = {}
        for name, (path, *_) in sorted(self.text_files.items()):
            about = parse(self.objects.read(path), path)
            Fields(about, path)
            found[name] = dict(about)
        return found

    @property
    def ledger(self) -> pa.Table:
        """Expected and obtained observations: sample_id, layer, slot, reason, provider, item_ids, detail."""
        return read_table(self.objects.table(self.spec.at(LEDGER)), LEDGER)

    def query(
        self,
        where: str | pc.Expression | Mapping[str, Any] | None = None,
        *,
        bbox: BBox | None = None,
        time: tuple[Any, Any] | None = None,
        **equal: Any,
    ) -> Selection:
        """Samples that fulfil all conditions, in the catalogue's order.

        Args:
            where: a condition in Python syntax ("worldcover_trees > 0.5 and sentinel2_count == 2"), an Arrow
                expression, or a mapping of columns to a value or a list of values.
            bbox: (west, south, east, north), degrees; footprints that touch it. west > east crosses the antimeridian.
            time: (first, last), dates or times, either may be None: samples with an observation in it.
            equal: column=value or column=[values], for example split="train".

        Raises:
            QueryError: an unknown column, a condition that cannot be parsed, a value of the wrong type or one that no
                sample has (split="trian"), a reversed period or box.
        """
        condition, wanted = None, NO_HINT
        if where is not None or bbox is not None or time is not None or equal:
            schema, texts = self.catalogue.schema, self.catalogue.texts
            condition = expression(schema, bbox=bbox, time=time, where=where, equal=equal, texts=texts)
            wanted = hint(bbox=bbox, time=time, where=where, equal=equal)
        found = Selection(self.catalogue, self.catalogue.match(condition, wanted))
        if not len(found) and bbox is not None:
            self._check_box(bbox)
        return found

    def _check_box(self, bbox: BBox) -> None:
        """Raises QueryError if an empty box spans most of the globe: west and east are probably swapped."""
        west, _, east, _ = degrees(bbox)
        if 0 < west - east < 180:
            ends = [pc.min_max(table["lon"]).as_py() for _, table in self.catalogue.batches(["lon"])]
            raise QueryError(
                f"bbox {tuple(bbox)}: west is east of east, which is a box across the antimeridian, and no sample is "
                f"in it; longitudes here are {min(e['min'] for e in ends):.6g} to {max(e['max'] for e in ends):.6g}"
            )

    def speaking_of(self, *about: str, predicate: str | None = None, limit: int | None = None) -> Selection:
        """Samples with a caption that claims something about all of these things.

        Captions are read batch by batch, so memory does not grow with the dataset.

        Args:
            about: land covers of the common taxonomy ('water'), kinds of map objects ('river'), or quantities
                ('road_length_m', 'elevation_max_m', 'month'), as `landweave.claims.Claim.about` names them.
            predicate: only claims of this kind: 'share', 'presence', 'absence', 'count' ...; None: of any kind.
            limit: end after this many samples, the first of the catalogue; None: find all.

        Raises:
            QueryError: nothing is named, or the limit is no whole number of at least 1.
        """
        from landweave.claims import about_of

        if not about:
            raise QueryError("speaking_of takes what captions speak of, such as speaking_of('water')")
        most = len(self) if limit is None else whole_number("limit", limit, 1)
        found: list[int] = []
        for positions, table in self.catalogue.batches(["captions"]):
            for position, captions in zip(positions.tolist(), each(table["captions"]), strict=True):
                if set(about) <= about_of([c.get("claims") or "" for c in captions or ()], predicate):
                    found.append(position)
                if len(found) == most:
                    return Selection(self.catalogue, np.array(found, np.int64))
        return Selection(self.catalogue, np.array(found, np.int64))

    def questions(self, selection: Selection | None = None, *, task: str | None = None) -> Iterator[Question]:
        """Questions and answers of a selection (all samples if None), in the catalogue's order.

        Args:
            selection: from `query`.
            task: only questions of this kind: 'presence', 'area', 'change' ... (`docs/questions.md`).

        Raises:
            QueryError: the dataset has no questions, or none of this task is known.
        """
        if self.spec.questions is None:
            raise QueryError(
                f"{self.spec.name} has no questions: build it with `questions: {{kind: questions}}` in its recipe, or "
                "add a dataset that has some (`python -m pipelines add`)"
            )
        if task is not None and task not in TASKS:
            raise QueryError(unknown("task", task, TASKS))
        for position in self.selected(selection).positions.tolist():
            yield from (q for q in self.sample(position).questions if task in (None, q.task))

    @property
    def tasks(self) -> dict[str, int]:
        """Questions by task; {} where the dataset has none. One column of each shard's table is read."""
        counts = Counter(task for shard in self.catalogue.shards for task in self._pixels.tasks(shard))
        return dict(sorted(counts.items()))

    def sql(self, condition: str) -> Selection:
        """Samples that fulfil an SQL condition, which DuckDB runs: "worldcover_trees > 0.5 and lat > 40".

        It uses columns of the catalogue. The condition can read nothing but the catalogue: no file, no network.

        Raises:
            ModuleNotFoundError: duckdb is not installed (extra `[sql]`).
            QueryError: not a condition over these columns.
        """
        from landweave.sql import matching

        return Selection(self.catalogue, matching(self.catalogue, condition))

    def sample(self, which: str | int) -> Sample:
        """One sample by id or by position in the catalogue.

        Raises:
            UnknownNameError: no such sample.
        """
        return Sample(self.catalogue, self._position(which), self.spec, self._pixels)

    def _position(self, which: str | int) -> int:
        return self._positions([which])[0]

    def _positions(self, which: Sequence[str | int]) -> list[int]:
        """Positions of samples by id or number; UnknownNameError for the first that is not there."""
        names = [one for one in which if isinstance(one, str)]
        places = iter(self.catalogue.places(names) if names else ())
        found = []
        for one in which:
            position = next(places) if isinstance(one, str) else self._numbered(one)
            if position is None:
                raise UnknownNameError(f"no sample {one!r} among the {len(self)} of this dataset")
            found.append(position)
        return found

    def _numbered(self, which: int) -> int:
        if isinstance(which, bool) or not isinstance(which, (int, np.integer)):
            raise QueryError(f"give the sample's id or its number, an integer; got {which!r}")
        position = int(which) + (len(self) if which < 0 else 0)
        if not 0 <= position < len(self):
            raise UnknownNameError(f"sample number {which}: the dataset has {len(self)} samples")
        return position

    def __getitem__(self, which: str | int) -> Sample:
        """See `sample`."""
        return self.sample(which)

    def __iter__(self) -> Iterator[Sample]:
        return (self.sample(i) for i in range(len(self)))

    def stream(
        self,
        selection: Selection | None = None,
        *,
        arrays: Iterable[str] | None = None,
        weights: str | Mapping[Any, float] | NDArray[Any] | Callable[[pa.Table], Any] | None = None,
        on_error: OnError = "raise",
        **settings: Unpack[StreamSettings],
    ) -> Stream:
        """Batches of a selection (all samples if None), as dicts of numpy arrays; see `landweave.stream`.

        Args:
            selection: from `query`.
            arrays: modalities, labels ('sentinel2') or single arrays ('sentinel2/bands_10m'); all if None. Only
                these are read.
            weights: how often to draw each sample: a catalogue column of numbers (null is 0), {'column': {value:
                weight}}, an array (len(selection),), or a function of the selection's table. None: once per epoch.
            on_error: 'raise', or 'skip' damaged samples and count them in `Stream.skipped`.
            settings: the order: batch_size, shuffle=False, seed=0, mix=8, remainder='share' (`landweave.order.Order`),
                and the content of a batch: bands, times, crop_m, crop, normalise, missing, noise, columns
                (`landweave.view.View`). Editors and type checkers know them (`landweave.stream.StreamSettings`).

        Raises:
            UnknownNameError: no such modality, label or array. QueryError: a setting out of range.
        """
        chosen = self.selected(selection)
        order, view = _sorted(settings, Order)
        if "batch_size" not in order:
            raise QueryError("stream needs a batch_size")
        if on_error not in ("raise", "skip"):
            raise QueryError(f"on_error must be 'raise' or 'skip', got {on_error!r}")
        wanted = None if weights is None else chosen.weights(weights)
        made = Stream(self._source(arrays, view), chosen.places, Order(**order), wanted, on_error)
        len(made)  # raises an error for an epoch without a batch
        return made

    def selected(self, selection: Selection | None) -> Selection:
        """The selection to read: the given one, or all samples for None.

        Raises:
            QueryError: not a selection, one of another dataset, or an empty one.
        """
        if selection is None:
            selection = self.query()
        if not isinstance(selection, Selection):
            raise QueryError(
                f"a selection is what query() gives, such as data.query(split='train') or data.query(id=[...]); "
                f"got {_shortly(selection)}"
            )
        if not selection.of(self.catalogue):
            raise QueryError("the selection belongs to another dataset: query this one")
        if not len(selection):
            held = ", ".join(f"{name} {count}" for name, count in self.splits.items())
            raise QueryError(f"the selection is empty: nothing to read; the dataset has {len(self)} samples ({held})")
        return selection

    def samples(
        self,
        which: Iterable[str | int],
        *,
        arrays: Iterable[str] | None = None,
        seed: int = 0,
        **view: Unpack[ViewSettings],
    ) -> Batch:
        """Reads any samples as one batch; keys as in `landweave.stream`.

        Args:
            which: ids, or positions in the catalogue.
            arrays: see `stream`.
            seed: of the random choices.
            view: the content of the batch: bands, times, crop_m, crop, normalise, missing, noise, columns
                (`landweave.view.View`).

        Raises:
            UnknownNameError: no such sample, modality, label or array. CorruptError: a sample is damaged.
        """
        if isinstance(which, (str, bytes)) or not isinstance(which, Iterable):
            raise QueryError(f"samples takes a list of ids or numbers, got {which!r}; for one sample use sample()")
        positions = np.array(self._positions(list(which)), np.int64)
        return self._reading(arrays, view)(positions, EpochRandom(seed))

    def _reading(
        self,
        arrays: Iterable[str] | None,
        view: ViewSettings,
        *,
        cast: Mapping[str, str] | None = None,
        buffers: Buffers | SharedBuffers | None = None,
    ) -> Callable[[NDArray[np.int64], EpochRandom], Batch]:
        """The function behind `samples`, with its settings parsed once: (positions, random choices) -> batch.

        Args:
            arrays: see `stream`.
            view: the content of the batch: see `landweave.view.ViewSettings`.
            cast: stored dtype -> dtype of the batch.
            buffers: memory of the batches; None: the dataset's.
        """
        source = self._source(arrays, view)
        seen = tuple(s.cast_by(cast or {}) for s in source.shown)
        source = replace(source, shown=seen, buffers=buffers or self._buffers)

        def read(positions: NDArray[np.int64], random: EpochRandom) -> Batch:
            much = self.store.remote or source.sample_bytes * len(positions) > _ALONE_BYTES
            pool, threads = self._pool() if much else (None, 0)
            loading = Loading(source, positions, random, pool)
            if threads or self.store.remote:
                loading.start(threads)
            loading.drain()
            return loading.result()[0]

        return read

    def _source(self, arrays: Iterable[str] | None, view: Mapping[str, object]) -> Source:
        settings, others = _sorted(view, View)
        if others:
            raise QueryError(unknown("setting", min(others), sorted(_names(View) | _names(Order))))
        if isinstance(settings.get("columns"), str):
            settings["columns"] = (settings["columns"],)
        chosen = View(**{name: _plain(value) for name, value in settings.items()})
        for column in chosen.columns:
            if column != ASKED or self.spec.questions is None:
                self.catalogue.check_column(column)
        seen = shown(self.spec, self.select_arrays(arrays), chosen, self.normalisation)
        return Source(self.catalogue, self._reader, self.spec, self._buffers, seen, chosen, self._asked)

    def _asked(self, positions: NDArray[np.int64]) -> list[list[Question]]:
        """Questions of each of these samples."""
        return [list(self.sample(position).questions) for position in positions.tolist()]

    def _pool(self) -> tuple[ThreadPoolExecutor, int]:
        """Threads besides the caller's, for single batches; a forked child starts its own."""
        threads = cores() if self.store.remote else cores() - 1
        if self._threads is None or self._threads[0] != os.getpid():
            self._threads = (os.getpid(), ThreadPoolExecutor(max(1, threads), thread_name_prefix="landweave"))
        return self._threads[1], threads

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_threads": None}

    def to_xarray(
        self,
        selection: Selection | None = None,
        *,
        arrays: Iterable[str] | None = None,
        values: Literal["masked", "stored", "physical"] = "masked",
    ) -> xr.DataTree:
        """A lazy xarray.DataTree of a selection (default: all samples): one node per group, dims (sample, ...).

        Dask chunks follow the shards; nothing is read before it is computed. Coordinates of each node: id, split, CRS
        and place of each sample, and `present`, (sample[, time]) bool.

        Args:
            selection: from `query`; samples come in the catalogue's order.
            arrays: modalities, labels or single arrays; all if None.
            values: 'masked': floats, NaN where nothing was obtained (by the catalogue) or measured (nodata); 'stored':
                values as on disk, absent observations hold nodata; 'physical': masked * scale + offset.
                Masks stay bool, False where nothing was obtained.

        Raises:
            ModuleNotFoundError: xarray or dask is not installed (extra `[xarray]`).
        """
        from landweave.cube import tree

        wanted = self.select_arrays(arrays)
        groups = [(g, [a for a in wanted if a.group == g.name]) for g in self.spec.groups]
        positions = np.sort(self.selected(selection).positions)
        named = [(g, found) for g, found in groups if found]
        return tree(self.catalogue, self._reader, named, positions=positions, values=values)

    def normalisation(
        self, array: str, pixels: Literal["all", "clear"] = "all"
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """(band,) mean and (band,) standard deviation of stored numbers in the train split."""
        if array not in self.statistics:
            raise UnknownNameError(unknown("statistics of", array, sorted(self.statistics)))
        bands = [self.statistics[array][b.name] for b in self.arrays[array].bands]
        figures = [(b.get(pixels, b["all"]).get("mean"), b.get(pixels, b["all"]).get("std")) for b in bands]
        mean, std = np.array(figures, np.float64).T
        return mean, std

    def select_arrays(self, names: Iterable[str] | None) -> tuple[ArraySpec, ...]:
        """Forms of modalities, labels or single arrays, by name; of all if None. UnknownNameError for others."""
        if names is None:
            return self.spec.arrays
        if not isinstance(names, Iterable):
            raise QueryError(f"arrays must be a list of modalities, labels or arrays, got {names!r}")
        found: dict[str, ArraySpec] = {}
        for name in [names] if isinstance(names, str) else names:
            matching = [a for a in self.spec.arrays if name in (a.group, a.path)]
            if not matching:
                groups = [g.name for g in self.spec.groups]
                raise UnknownNameError(unknown("modality, label or array", name, [*groups, *sorted(self.arrays)]))
            found |= {a.path: a for a in matching}
        return tuple(found.values())


def _shortly(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{type(value).__name__} {text[:60]}..."


def _names(record: Any) -> set[str]:
    return set(record.__dataclass_fields__)


def _sorted(settings: Mapping[str, object], record: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """Divides settings into those that are fields of a record, and the others."""
    mine = {name: value for name, value in settings.items() if name in _names(record)}
    return mine, {name: value for name, value in settings.items() if name not in mine}


def _plain(value: Any) -> Any:
    """Lists as tuples, also inside a mapping."""
    if isinstance(value, dict):
        return {key: _plain(v) for key, v in value.items()}
    return tuple(value) if isinstance(value, list) else value
