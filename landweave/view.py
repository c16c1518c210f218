"""The view of samples in a batch: arrays, bands, dates, window, normalisation, and removed modalities.

Every random choice (windows, dates, removed modalities, noise) depends only on (seed, epoch, sample): it is the same
for any number of ranks, workers and batches.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any, Literal, TypedDict

import numpy as np

from landweave.bands import named, pieces_of
from landweave.errors import QueryError, UnknownNameError, unknown

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from landweave.bands import Piece
    from landweave.layout import ArraySpec, DatasetSpec
    from landweave.order import EpochRandom

Times = Literal["all", "first", "last"] | int | str
"""'all' slots; the 'first' or 'last' obtained; k of these at random, in order; a date: the nearest to it."""


class ViewSettings(TypedDict, total=False):
    """Keywords for the content of a batch, as a call takes them; `View` explains each."""

    bands: Mapping[str, str | Sequence[str]]
    times: Times | Mapping[str, Times]
    crop_m: float | None
    crop: Literal["random", "centre"]
    normalise: Literal["all", "clear"] | None
    missing: Mapping[str, float]
    noise: Mapping[str, float]
    columns: str | Sequence[str]


@dataclass(frozen=True, kw_only=True, slots=True)
class View:
    """Settings of the content of a batch; see `Dataset.stream`."""

    bands: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Modality -> names of its bands, in this order. Arrays of it without any of them are not read."""
    times: Times | Mapping[str, Times] = "all"
    """The date slots, for all dated modalities or per modality."""
    crop_m: float | None = None
    """Edge of a square window, metres: the same piece of ground in every array."""
    crop: Literal["random", "centre"] = "random"
    """Position of the window."""
    normalise: Literal["all", "clear"] | None = None
    """Measured arrays as float32, minus mean, by standard deviation of the train split over these pixels; nodata
    becomes 0, the mean. None: numbers as stored."""
    missing: Mapping[str, float] = field(default_factory=dict)
    """Modality -> probability of removing it from a sample: 1 always (entire-missing), 0.3 at random
    (random-missing). Removed data is not read. If all modalities of a sample would be removed, the one nearest to
    being kept is kept, unless its probability is 1."""
    noise: Mapping[str, float] = field(default_factory=dict)
    """Modality -> standard deviation of Gaussian noise, in those of its bands (noisy-modality); needs `normalise`."""
    columns: tuple[str, ...] = ()
    """Catalogue columns to add: numbers as arrays, other types as lists; 'captions' as lists of texts,
    'questions' as lists of `landweave.questions.Question`."""

    def __post_init__(self) -> None:
        self._check_types()
        if self.noise and self.normalise is None:
            raise QueryError("noise is in standard deviations: also set normalise='all' or 'clear'")
        for name, odds in self.missing.items():
            if not 0 <= odds <= 1:
                raise QueryError(f"missing: the probability of {name} must be between 0 and 1, got {odds}")
        if self.crop not in ("random", "centre") or self.normalise not in (None, "all", "clear"):
            raise QueryError(f"crop must be 'random' or 'centre', and normalise 'all', 'clear' or None; got {self}")
        if any(sigma < 0 for sigma in self.noise.values()):
            raise QueryError("noise: a standard deviation must be at least 0")

    def _check_types(self) -> None:
        for name in ("bands", "missing", "noise"):
            if not isinstance(getattr(self, name), Mapping):
                raise QueryError(f"{name} must be a mapping, {{'sentinel2': ...}}, got {getattr(self, name)!r}")
        for name in ("missing", "noise"):
            for value in getattr(self, name).values():
                _number(name, value)
        if self.crop_m is not None:
            _number("crop_m", self.crop_m)
        rules = self.times.values() if isinstance(self.times, Mapping) else [self.times]
        for rule in rules:
            if isinstance(rule, bool) or not isinstance(rule, (str, int)):
                raise QueryError(f"times must be 'all', 'first', 'last', a number or a date (2021-06-30), got {rule!r}")

    def times_of(self, group: str) -> Times:
        """Rule of one modality."""
        return self.times if isinstance(self.times, (str, int)) else self.times.get(group, "all")


def _number(name: str, value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, float, np.number)):
        raise QueryError(f"{name} must be a number, got {value!r}")


@dataclass(frozen=True, kw_only=True, slots=True)
class Shown:
    """One array as it is in a batch."""

    array: ArraySpec
    """As it is on disk."""
    bands: tuple[int, ...] | None
    """Indexes of the bands to show; None: all, or no band axis."""
    slots: int
    """Dates of a sample; 1 where there is no time axis."""
    edge: tuple[int, int]
    """Height and width, pixels."""
    mean: NDArray[np.float32] | None
    """(band, 1, 1); None: as stored."""
    std: NDArray[np.float32] | None
    """(band, 1, 1)."""
    noise: float
    """Standard deviation of noise, in those of the bands."""
    cast: str | None = None
    """Other dtype than the stored one."""

    pieces: tuple[Piece, ...] = field(init=False)
    """The chunks of a date that hold what is shown."""
    plain: bool = field(init=False)
    """Whether all of them are decoded into place."""
    dtype: np.dtype[Any] = field(init=False)
    """Of the batch."""
    shape: tuple[int, ...] = field(init=False)
    """Without the sample axis: ([time,] [band,] y, x)."""
    dated: bool = field(init=False)
    """Whether there is a time axis."""
    chip_bytes: int = field(init=False)
    """Of the decoded chunks of a date."""

    def __post_init__(self) -> None:
        array: ArraySpec = self.array
        known: dict[str, Any] = {}
        as_stored = self.mean is None and self.cast in (None, array.dtype)
        as_stored = as_stored and self.edge == array.chip_shape[-2:]
        known["pieces"] = pieces_of(array, self.bands, as_stored=as_stored)
        known["plain"] = all(piece.plain for piece in known["pieces"])
        known["dtype"] = np.dtype("float32" if self.mean is not None else self.cast or array.dtype)
        lead = array.chip_shape[:-2] if self.bands is None else (len(self.bands),)
        known["shape"] = ((self.slots,) if array.dated else ()) + lead + self.edge
        known |= {"dated": array.dated, "chip_bytes": array.chunk_bytes * len(known["pieces"])}
        for name, value in known.items():  # cached, because every batch uses it
            object.__setattr__(self, name, value)

    def cast_by(self, wider: Mapping[str, str]) -> Shown:
        """The same with another dtype, where the mapping has one for the stored one."""
        return replace(self, cast=wider.get(self.array.dtype))


def shown(spec: DatasetSpec, arrays: Iterable[ArraySpec], view: View, statistics: Any) -> tuple[Shown, ...]:
    """The form of each array in a batch.

    Args:
        spec: of the dataset.
        arrays: the requested arrays.
        view: settings.
        statistics: function of (array path, pixels) that returns mean and standard deviation of its bands.

    Raises:
        UnknownNameError: no such modality or band. QueryError: a window that does not fit the pixels.
    """
    _check_names(spec, view)
    _check_times(view)
    wanted = {name: named(spec, name, bands) for name, bands in view.bands.items()}
    arrays = tuple(arrays)
    if view.crop_m is not None:
        _check_crop(spec, arrays, view.crop_m)
    found = []
    for array in arrays:
        bands = _bands(array, wanted.get(array.group))
        if bands == ():
            continue
        mean = std = None
        if view.normalise is not None and array.kind == "continuous" and spec.group(array.group).is_input:
            mean, std = _figures(array, bands, statistics(array.path, view.normalise))
        height, width = array.chip_shape[-2:]
        rule = view.times_of(array.group)
        found.append(
            Shown(
                array=array,
                bands=None if bands == tuple(range(len(array.bands))) else bands,
                slots=array.slots if rule == "all" else rule if isinstance(rule, int) else 1,
                edge=(height, width) if view.crop_m is None else (_pixels(array, view.crop_m),) * 2,
                mean=mean,
                std=std,
                noise=view.noise.get(array.group, 0.0) if mean is not None else 0.0,
            )
        )
    return tuple(found)


def _pixels(array: ArraySpec, metres: float) -> int:
    return round(metres / array.resolution_m)


def lattice_m(arrays: Iterable[ArraySpec]) -> float:
    """The step of window positions, metres: a whole number of pixels in every array."""
    return math.lcm(*(round(a.resolution_m * 1000) for a in arrays)) / 1000


def common_ground(spec: DatasetSpec, arrays: Iterable[ArraySpec]) -> tuple[float, float]:
    """Where the ground that all arrays cover begins and ends, metres right of (and below) the footprint's corner."""
    margin = min(array.margin_m for array in arrays)
    return -margin, spec.size_m + margin


def corners(spec: DatasetSpec, arrays: tuple[ArraySpec, ...], view: View, draws: NDArray[np.float64]) -> NDArray[Any]:
    """(n, 2) metres right of and below the footprint's corner where each window lies; `draws` (n, 2) in [0, 1)."""
    if view.crop_m is None:
        return np.zeros((len(draws), 2))
    step, (start, end) = lattice_m(arrays), common_ground(spec, arrays)
    places = math.floor((end - start - view.crop_m) / step + 1e-9) + 1
    if view.crop == "centre":
        return np.full((len(draws), 2), start + (places - 1) // 2 * step)
    return np.asarray(start + np.floor(draws * places) * step)


def chosen_slots(
    rule: Times, present: NDArray[np.bool_], days: NDArray[np.float64] | None, draws: NDArray[np.float64]
) -> NDArray[np.int64]:
    """(n, k) chosen slots, in order of time; -1 where there are fewer.

    Args:
        rule: which.
        present: (n, slots) True = obtained.
        days: (n, slots) acquisition times, days since 1970, for a rule that is a date.
        draws: (n, slots) in [0, 1).
    """
    slots = np.arange(present.shape[1])
    if rule == "all":
        return np.broadcast_to(slots, present.shape)
    if rule == "first":
        cost: NDArray[np.float64] = np.broadcast_to(slots, present.shape).astype(np.float64)
    elif rule == "last":
        cost = -np.broadcast_to(slots, present.shape).astype(np.float64)
    elif isinstance(rule, int):
        cost = draws
    else:
        assert days is not None  # noqa: S101 - given for a date
        cost = np.abs(days - day_number(rule))
    k = rule if isinstance(rule, int) else 1
    cost = np.where(present, cost, np.inf)
    best = np.argsort(cost, axis=1, kind="stable")[:, :k]
    if best.shape[1] < k:
        best = np.pad(best, ((0, 0), (0, k - best.shape[1])), constant_values=-1)
    there = (best >= 0) & np.take_along_axis(np.isfinite(cost), np.maximum(best, 0), axis=1)
    late = np.where(there, best, np.iinfo(np.int64).max)
    return np.where(np.sort(late, axis=1) == np.iinfo(np.int64).max, -1, np.sort(late, axis=1))


def day_number(text: str) -> float:
    """Days since 1970 of a date or time, UTC.

    Raises:
        QueryError: neither.
    """
    try:
        moment = datetime.fromisoformat(text) if len(text) > 10 else datetime.combine(date.fromisoformat(text), _NOON)
    except ValueError as error:
        raise QueryError(
            f"times must be 'all', 'first', 'last', a number or a date (2021-06-30), got {text!r}"
        ) from error
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() / 86_400


_NOON = datetime(1970, 1, 1, 12, tzinfo=UTC).timetz()


def held_back(view: View, groups: Iterable[str], positions: NDArray[np.int64], random: EpochRandom) -> dict[str, Any]:
    """Modality -> (n,) True where dropout removes it from the sample.

    Args:
        view: settings.
        groups: modalities of the batch.
        positions: (n,) in the catalogue.
        random: the random choices of the epoch.
    """
    names = list(groups)
    odds = np.array([view.missing.get(name, 0.0) for name in names])
    draws = np.stack([random.uniform(f"missing/{name}", positions) for name in names]) if names else np.empty((0, 0))
    gone = draws < odds[:, None] if names else draws.astype(bool)
    if names and (odds < 1).any():
        margin = np.where(odds[:, None] < 1, draws - odds[:, None], -np.inf)
        rows = np.flatnonzero(gone.all(axis=0))
        gone[margin.argmax(axis=0)[rows], rows] = False
    return {name: gone[i] for i, name in enumerate(names) if odds[i] > 0}


def _check_names(spec: DatasetSpec, view: View) -> None:
    modalities = [g.name for g in spec.groups if g.kind == "modality"]
    inputs = [g.name for g in spec.groups if g.is_input]
    times = view.times if not isinstance(view.times, (str, int)) else {}
    for setting, names in (("bands", view.bands), ("times", times), ("missing", view.missing), ("noise", view.noise)):
        for name in names:
            if name not in modalities:
                raise UnknownNameError(f"{setting}: {unknown('modality', name, modalities)}")
            if setting in ("missing", "noise") and name not in inputs:
                raise QueryError(f"{setting}: {name!r} is a label (role: label), which is never left out or changed")


def _check_times(view: View) -> None:
    for rule in [view.times] if isinstance(view.times, (str, int)) else view.times.values():
        if isinstance(rule, int):
            if rule < 1:
                raise QueryError(f"times must be at least 1 date, got {rule}")
        elif rule not in ("all", "first", "last"):
            day_number(rule)


def _check_crop(spec: DatasetSpec, arrays: tuple[ArraySpec, ...], crop_m: float) -> None:
    step, (start, end) = lattice_m(arrays), common_ground(spec, arrays)
    for array in arrays:
        across = (start + array.margin_m) / array.resolution_m
        if abs(across - round(across)) > 1e-6:
            raise QueryError(
                f"crop_m: {array.path} lies on ground of another size ({spec.extent_m(array.group):g} m), and windows "
                f"begin between its pixels of {array.resolution_m:g} m; leave it out of the arrays, or crop_m"
            )
    if not 0 < crop_m <= end - start or abs(crop_m / step - round(crop_m / step)) > 1e-9:
        raise QueryError(
            f"crop_m must be a multiple of {step:g} m (whole pixels in every array) and at most "
            f"{end - start:g} m, got {crop_m:g}"
        )


def _bands(array: ArraySpec, wanted: tuple[str, ...] | None) -> tuple[int, ...] | None:
    if wanted is None or array.kind != "continuous":
        return None
    names = [b.name for b in array.bands]
    return tuple(names.index(name) for name in wanted if name in names)


def _figures(array: ArraySpec, bands: tuple[int, ...] | None, figures: Any) -> tuple[Any, Any]:
    mean, std = (np.asarray(f, np.float64) for f in figures)
    keep = list(range(len(mean))) if bands is None else list(bands)
    if not np.isfinite(mean[keep]).all():
        raise QueryError(f"normalise: the train split has no pixel of {array.path} for statistics")
    std = np.where(std > 0, std, 1.0)
    return mean[keep].astype(np.float32)[:, None, None], std[keep].astype(np.float32)[:, None, None]
