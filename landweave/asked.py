"""What questions ask: quantities of a sample's arrays and tables, and the operations that make answers of them.

The factory makes answers with these functions, and `landweave prove` executes them again from the dataset alone.
Parts of the scene are boxes of whole eighths of its edge, in thousandths from the upper left corner: (left, top,
right, lower).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np

from landweave.facts import COMMON, place_words, season_of
from landweave.patches import largest_patch, runs_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    from numpy.typing import NDArray

    from landweave.layout import ArraySpec, DatasetSpec, Json

Box = tuple[int, int, int, int]
"""(left, top, right, lower) in thousandths of the scene's edge."""
Value = str | int | float | list[Any]
"""An answer before it is put into words: a word, a number, a box or a list of land covers with their percent."""
EIGHTHS = 8
PARTS: dict[str, Box] = {
    "scene": (0, 0, 1000, 1000),
    "top left": (0, 0, 500, 500),
    "top right": (500, 0, 1000, 500),
    "bottom left": (0, 500, 500, 1000),
    "bottom right": (500, 500, 1000, 1000),
    "middle": (250, 250, 750, 750),
    "top": (0, 0, 1000, 500),
    "bottom": (0, 500, 1000, 1000),
    "left": (0, 0, 500, 1000),
    "right": (500, 0, 1000, 1000),
}
"""Part -> its box; 'middle' is the inner quarter, 'top' to 'right' are halves."""
LEAST_LABELLED = 0.9
"""Share of a part's pixels that need a label before its land covers are spoken of."""
LEAST_SEEN = 0.7
"""Share of a part's pixels that have to be measured and free of clouds before its mean is spoken of."""
LISTED_PERCENT = 5.0
"""Land covers below this are not counted and not listed."""
GREENNESS_STEP = 0.1
"""A pixel lost greenness if its index fell by more than this; noise between two dates is a third of it."""
UNTOLD, NOWHERE = "untold", "nowhere"
"""Answers where a measurement is absent, and where nothing of the kind is there."""


class Reads(Protocol):
    """Where a scene's numbers come from: a sample of a dataset, or a stack on its way into one."""

    def chip(self, path: str, slot: int) -> NDArray[Any] | None:
        """([band,] y, x) of one date of an array, as stored; None if it was not obtained."""

    def mapped(self, label: str) -> Mapping[str, float] | None:
        """Kinds of map objects and their numbers, and 'road length' in metres; None without a map."""

    def time(self, group: str, slot: int) -> datetime | None:
        """When it was acquired; None if it was not obtained."""

    @property
    def latitude(self) -> float:
        """Of the centre, degrees."""


class Quantity(NamedTuple):
    """One number of a sample."""

    what: str
    """A key of `QUANTITIES`."""
    source: str
    """Array or table that shows it: 'worldcover/classes', 'openstreetmap/vectors', 'sentinel2/datetimes'."""
    about: tuple[str, ...] = ()
    """Land covers, a kind of map object, bands, or which height."""
    where: str | tuple[int, ...] = "scene"
    """A key of `PARTS`, or a box."""
    slot: int = 0
    """Date slot of the source."""
    other: int = 0
    """The second date slot, of quantities that compare two."""

    def record(self) -> Json:
        """Plain values for JSON; what has its default is left out."""
        found: Json = {"what": self.what, "source": self.source}
        if self.about:
            found["about"] = list(self.about)
        if self.where != "scene":
            found["where"] = list(self.where) if isinstance(self.where, tuple) else self.where
        return found | {k: n for k, n in (("slot", self.slot), ("other", self.other)) if n}

    @classmethod
    def from_record(cls, record: Any) -> Quantity:
        """The quantity of `record`.

        Raises:
            ValueError: a field of another type, an unknown quantity or part.
        """
        if not isinstance(record, dict) or record.get("what") not in QUANTITIES:
            raise ValueError(f"no quantity {record!r}"[:200])
        found = {name: record[name] for name in cls._fields if name in record}
        for name in ("about", "where"):
            if isinstance(found.get(name), list):
                found[name] = tuple(found[name])
        made = cls(**found)
        box = made.where if isinstance(made.where, tuple) else PARTS.get(made.where)
        if box is None or not _is_box(box):
            raise ValueError(f"no part of a scene: {made.where!r}"[:200])
        words = all(isinstance(word, str) for word in (made.source, *made.about))
        if not words or any(type(n) is not int or not 0 <= n < 1 << 16 for n in (made.slot, made.other)):
            raise ValueError(f"a quantity with {made.about!r}, slot {made.slot!r}"[:200])
        return made


def _is_box(box: Any) -> bool:
    if len(box) != 4 or any(type(edge) is not int or edge % 125 or not 0 <= edge <= 1000 for edge in box):
        return False
    return bool(box[0] < box[2] and box[1] < box[3])


@dataclass
class Scene:
    """One sample, as questions look at it. Sums over eighths of the scene are kept, so that parts cost little."""

    spec: DatasetSpec
    """Form of its dataset."""
    reads: Reads
    """Its numbers."""
    _kept: dict[Any, Any] = field(default_factory=dict, repr=False)

    def keep(self, key: Any, make: Callable[[], Any]) -> Any:
        """The value of `make()`, made once."""
        if key not in self._kept:
            self._kept[key] = make()
        return self._kept[key]

    def array(self, path: str) -> ArraySpec:
        """The form of an array.

        Raises:
            KeyError: the dataset has none of that name.
        """
        group, _, name = path.partition("/")
        return self.spec.group(group).array(name)

    def common(self, path: str) -> NDArray[np.uint8] | None:
        """(y, x) codes of `landweave.facts.COMMON`, 0 = no label; None if the label is absent."""
        return self.keep(("common", path), lambda: self._common(path))  # type: ignore[no-any-return]

    def _common(self, path: str) -> NDArray[np.uint8] | None:
        codes = self.reads.chip(path, 0)
        if codes is None:
            return None
        table = np.zeros(1 << 16, np.uint8)
        for kind in self.spec.group(path.partition("/")[0]).classes:
            table[kind.code] = COMMON.index(kind.common) if kind.common in COMMON else 0
        found: NDArray[np.uint8] = table[codes]
        return found

    def shares(self, path: str) -> NDArray[np.int64] | None:
        """(8, 8, class) labelled pixels of each eighth by class of `COMMON`; class 0 holds those without a label."""
        return self.keep(("shares", path), lambda: self._shares(path))  # type: ignore[no-any-return]

    def _shares(self, path: str) -> NDArray[np.int64] | None:
        common = self.common(path)
        if common is None:
            return None
        counts = np.bincount((_eighths(common.shape) + common).ravel(), minlength=EIGHTHS**2 * _CLASSES)
        return counts.reshape(EIGHTHS, EIGHTHS, _CLASSES)

    def values(self, path: str, band: str, slot: int) -> NDArray[np.float64] | None:
        """(y, x) of one band and date in the array's unit, NaN where nothing was measured; None if it is absent."""
        return self.keep(("values", path, band, slot), lambda: self._values(path, band, slot))  # type: ignore[no-any-return]

    def _values(self, path: str, band: str, slot: int) -> NDArray[np.float64] | None:
        array = self.array(path)
        chip = self.keep(("chip", path, slot), lambda: self.reads.chip(path, slot))
        names = [b.name for b in array.bands]
        if chip is None or (band not in names and band):
            return None
        stored = chip[names.index(band)] if chip.ndim == 3 and band else chip.reshape(chip.shape[-2:])
        found: NDArray[np.float64] = stored.astype(np.float64) * array.scale + array.offset
        if array.nodata is not None:
            found[np.isnan(stored) if math.isnan(array.nodata) else stored == array.nodata] = np.nan
        for role, bad in (("valid", False), ("cloud", True)):
            mask = self._mask(array.group, role, slot, found.shape)
            if mask is not None:
                found[mask == bad] = np.nan
        return found

    def _mask(self, group: str, role: str, slot: int, shape: tuple[int, ...]) -> NDArray[np.bool_] | None:
        """A mask on another grid of the same footprint, by nearest pixels; None if the group has none."""
        if all(a.name != role for a in self.spec.group(group).arrays):
            return None
        mask = self.keep(("chip", f"{group}/{role}", slot), lambda: self.reads.chip(f"{group}/{role}", slot))
        if mask is None or mask.shape == shape:
            return mask  # type: ignore[no-any-return]
        near = [_nearest(n, m) for n, m in zip(shape, mask.shape, strict=True)]
        return self.keep(("mask", group, role, slot, shape), lambda: mask[np.ix_(*near)])  # type: ignore[no-any-return]

    def greenness(self, path: str, bands: tuple[str, ...], slot: int) -> NDArray[np.float64] | None:
        """(y, x) (nir - red) / (nir + red) of one date, -1..1, NaN where either is not measured."""
        return self.keep(("green", path, slot), lambda: self._greenness(path, bands, slot))  # type: ignore[no-any-return]

    def _greenness(self, path: str, bands: tuple[str, ...], slot: int) -> NDArray[np.float64] | None:
        nir, red = (self.values(path, band, slot) for band in bands)
        if nir is None or red is None:
            return None
        total = nir + red
        total[np.abs(total) < 1e-6] = np.nan  # NaN stays NaN, so nothing warns
        return np.clip((nir - red) / total, -1.0, 1.0)

    def mean(self, key: Any, values: NDArray[np.float64] | None, box: Box) -> float | None:
        """Mean over the measured pixels of a part; None if fewer than `LEAST_SEEN` of them are measured."""
        if values is None:
            return None
        sums, seen, sizes = self.keep(("sums", key), lambda: _sums(values))
        there, size = _within(seen, box), _within(sizes, box)
        return _within(sums, box) / there if size and there >= LEAST_SEEN * size else None


_CLASSES = len(COMMON)
_CODES = {name: i for i, name in enumerate(COMMON[1:])}
"""Land cover -> its place among the percents of a part."""


@cache
def _edges(size: int) -> tuple[int, ...]:
    return tuple(size * k // EIGHTHS for k in range(EIGHTHS + 1))


@cache
def _eighths(shape: tuple[int, int]) -> NDArray[np.int64]:
    """(y, x) number of the eighth of each pixel, times the number of classes."""
    rows, columns = (np.searchsorted(_edges(n)[1:], np.arange(n), side="right") for n in shape)
    return np.asarray((rows[:, None] * EIGHTHS + columns) * _CLASSES, np.int64)


@cache
def _nearest(size: int, source: int) -> NDArray[np.int64]:
    return np.asarray((np.arange(size) * source + source // 2) // size, np.int64).clip(0, source - 1)


@cache
def _cells(box: Box) -> tuple[int, int, int, int]:
    """The box in eighths."""
    left, top, right, lower = (edge * EIGHTHS // 1000 for edge in box)
    return left, top, right, lower


_Table = list[list[float]]
"""(9, 9) sums over everything above and left of a corner of the eighths."""


def _within(table: _Table, box: Box) -> float:
    """The sum inside a box."""
    left, top, right, lower = _cells(box)
    return table[lower][right] - table[top][right] - table[lower][left] + table[top][left]


def _sums(values: NDArray[np.float64]) -> tuple[_Table, _Table, _Table]:
    """Tables of the values, of the numbers of measured pixels, and of all pixels."""
    there = np.isfinite(values)
    height, width = values.shape
    if min(height, width) >= EIGHTHS and there.all():
        return _table(_summed(values)), _sizes(height, width), _sizes(height, width)
    filled = np.where(there, values, 0.0)
    if min(height, width) < EIGHTHS:  # an eighth would be empty: each pixel is shared out among eighths
        pick = np.ix_(_nearest(EIGHTHS, height), _nearest(EIGHTHS, width))
        return _table(filled[pick]), _table(there[pick]), _table(np.ones((EIGHTHS, EIGHTHS)))
    return _table(_summed(filled)), _table(_summed(there.astype(np.float64))), _sizes(height, width)


def _summed(values: NDArray[np.float64]) -> NDArray[np.float64]:
    rows, columns = (_edges(n)[:-1] for n in values.shape)
    return np.asarray(np.add.reduceat(np.add.reduceat(values, rows, axis=0), columns, axis=1))


def _table(cells: NDArray[Any]) -> _Table:
    padded = np.zeros((EIGHTHS + 1, EIGHTHS + 1))
    padded[1:, 1:] = cells.cumsum(axis=0).cumsum(axis=1)
    found: _Table = padded.tolist()
    return found


@cache
def _sizes(height: int, width: int) -> _Table:
    return _table(_summed(np.ones((height, width))))


def box_of(where: str | tuple[int, ...]) -> Box:
    """The box of a part."""
    return PARTS[where] if isinstance(where, str) else where  # type: ignore[return-value]


def _percents(scene: Scene, q: Quantity) -> list[float] | None:
    """Percent of the labelled pixels of a part by class of `COMMON` from its second on; None without enough labels."""
    return scene.keep(("percents", q.source, q.where), lambda: _percents_of(scene, q))  # type: ignore[no-any-return]


def _percents_of(scene: Scene, q: Quantity) -> list[float] | None:
    shares = scene.shares(q.source)
    if shares is None:
        return None
    left, top, right, lower = _cells(box_of(q.where))
    counts = shares[top:lower, left:right].sum(axis=(0, 1)).tolist()
    total, labelled = sum(counts), sum(counts[1:])
    return [100.0 * n / labelled for n in counts[1:]] if labelled and labelled >= LEAST_LABELLED * total else None


def _share(scene: Scene, q: Quantity) -> float | None:
    """Percent of the labelled pixels of a part that one land cover holds."""
    percents = _percents(scene, q)
    return None if percents is None else percents[_CODES[q.about[0]]]


def _covers(scene: Scene, q: Quantity) -> float | None:
    """Number of land covers with at least `LISTED_PERCENT` of a part."""
    percents = _percents(scene, q)
    return None if percents is None else float(sum(p >= LISTED_PERCENT for p in percents))


def _hectares(scene: Scene, q: Quantity) -> float | None:
    """Ground of one land cover, hectares."""
    share = _share(scene, q)
    left, top, right, lower = box_of(q.where)
    part = (right - left) * (lower - top) / 1e6
    return None if share is None else share / 100 * part * scene.spec.size_m**2 / 1e4


def _mean(scene: Scene, q: Quantity) -> float | None:
    """Mean of a band over the measured, cloudless pixels of a part, in the array's unit."""
    values = scene.values(q.source, q.about[0], q.slot)
    return scene.mean((q.source, q.about, q.slot), values, box_of(q.where))


def _green(scene: Scene, q: Quantity) -> float | None:
    """Mean greenness of a part."""
    return scene.mean(("green", q.source, q.slot), scene.greenness(q.source, q.about, q.slot), box_of(q.where))


def _faded(scene: Scene, q: Quantity) -> float | None:
    """Percent of the pixels of a part that are seen at both dates whose greenness fell by more than the step."""
    before, after = (scene.greenness(q.source, q.about, slot) for slot in (q.slot, q.other))
    if before is None or after is None:
        return None

    def fell() -> NDArray[np.float64]:
        lost = before - after
        return np.where(np.isfinite(lost), 100.0 * (np.nan_to_num(lost) > GREENNESS_STEP), np.nan)

    key = ("faded", q.source, q.slot, q.other)
    return scene.mean(key, scene.keep(key, fell), box_of(q.where))


def _dark(scene: Scene, q: Quantity) -> float | None:
    """Percent of the measured pixels of a part that are darker than the number of decibels in `about`."""
    values = scene.values(q.source, q.about[0], q.slot)
    if values is None:
        return None
    key = ("dark", q.source, q.about, q.slot)
    limit = float(q.about[1])
    dark = scene.keep(key, lambda: np.where(np.isfinite(values), 100.0 * (np.nan_to_num(values) < limit), np.nan))
    return scene.mean(key, dark, box_of(q.where))


def _over(scene: Scene, q: Quantity) -> float | None:
    """Mean of a band over the pixels of one land cover, in the array's unit; None below 100 pixels of it."""
    values, common = scene.values(q.source, q.about[0], q.slot), scene.common(q.about[2])
    if values is None or common is None or values.shape != common.shape:
        return None
    covered = scene.keep(("covered", *q.about[1:]), lambda: common == COMMON.index(q.about[1]))
    there = covered & scene.keep(("seen", q.source, q.about[0], q.slot), lambda: np.isfinite(values))
    return float(values[there].mean()) if there.sum() >= 100 else None


def _clear(scene: Scene, q: Quantity) -> float | None:
    """Percent of a part without cloud, shadow or cirrus; None if the image or its cloud mask is absent."""
    cloud = scene.keep(("chip", q.source, q.slot), lambda: scene.reads.chip(q.source, q.slot))
    if cloud is None:
        return None
    key = ("clear", q.source, q.slot)
    return scene.mean(key, scene.keep(key, lambda: 100.0 * ~cloud), box_of(q.where))


def _height(scene: Scene, q: Quantity) -> float | None:
    """Mean elevation of a part, metres, or its mean 'slope', degrees; 'lowest', 'highest', 'range' of the scene."""
    values = scene.values(q.source, "", 0)
    if values is None or scene.keep(("measured", q.source), lambda: np.isfinite(values).mean()) < LEAST_SEEN:
        return None
    if q.about[0] == "mean":
        return scene.mean(("height", q.source), values, box_of(q.where))
    if q.about[0] == "slope":
        if min(values.shape) < 2:
            return None
        edge_m = scene.spec.size_m / values.shape[1]
        slopes = scene.keep(("slope", q.source), lambda: _slopes(values, edge_m))
        return scene.mean(("slope", q.source), slopes, box_of(q.where))
    low, high = scene.keep(("ends", q.source), lambda: (float(np.nanmin(values)), float(np.nanmax(values))))
    return {"lowest": low, "highest": high, "range": high - low}.get(q.about[0])


def _slopes(values: NDArray[np.float64], edge_m: float) -> NDArray[np.float64]:
    down, right = np.gradient(values, edge_m)
    return np.asarray(np.degrees(np.arctan(np.hypot(down, right))))


def _objects(scene: Scene, q: Quantity) -> float | None:
    """Number of map objects of a kind, or 'road length' in metres."""
    found = scene.keep(("map", q.source), lambda: scene.reads.mapped(q.source.partition("/")[0]))
    return None if found is None else float(found.get(q.about[0], 0))


def _day(scene: Scene, q: Quantity) -> float | None:
    """When an image was taken, days since 1970; UTC."""
    when = scene.reads.time(q.source.partition("/")[0], q.slot)
    return None if when is None else int(when.timestamp()) / 86_400


def _month(scene: Scene, q: Quantity) -> float | None:
    """Month 1..12 of an image, UTC."""
    when = scene.reads.time(q.source.partition("/")[0], q.slot)
    return None if when is None else float(when.month)


def _centre(scene: Scene, q: Quantity) -> float | None:
    """Mean column ('x') or row ('y') of a land cover, thousandths of the edge; None below 3 percent of the scene."""
    common = scene.common(q.source)
    if common is None or (_share(scene, Quantity("share", q.source, q.about[:1])) or 0.0) < 3.0:
        return None
    centres = scene.keep(("centres", q.source), lambda: _centres(common))
    return float(centres["xy".index(q.about[1])][COMMON.index(q.about[0])])


def _centres(common: NDArray[np.uint8]) -> list[list[float]]:
    """Mean column and mean row of each class, thousandths of the edge; 0 where there is none of it."""
    found = []
    for classes in (common.T, common):
        size = len(classes)
        places = (np.arange(size) * _CLASSES)[:, None] + classes
        counts = np.bincount(places.ravel(), minlength=size * _CLASSES).reshape(size, _CLASSES)
        weights = np.arange(size) + 0.5
        found.append((1000.0 / size * (weights @ counts) / np.maximum(1, counts.sum(axis=0))).tolist())
    return found


def _contact(scene: Scene, q: Quantity) -> float | None:
    """Edges of pixels along which two land covers lie side by side."""
    common = scene.common(q.source)
    if common is None or (common == 0).mean() > 1 - LEAST_LABELLED:
        return None
    pairs = scene.keep(("contact", q.source), lambda: _pairs(common))
    a, b = (COMMON.index(name) for name in q.about)
    return float(pairs[a, b] + pairs[b, a])


def _pairs(common: NDArray[np.uint8]) -> NDArray[np.int64]:
    """(class, class) number of edges between pixels of two classes."""
    whole = common.astype(np.int64) * _CLASSES
    right = np.bincount((whole[:, :-1] + common[:, 1:]).ravel(), minlength=_CLASSES**2)
    down = np.bincount((whole[:-1] + common[1:]).ravel(), minlength=_CLASSES**2)
    return np.asarray((right + down).reshape(_CLASSES, _CLASSES))


QUANTITIES: dict[str, Callable[[Scene, Quantity], float | None]] = {
    "share": _share,
    "hectares": _hectares,
    "covers": _covers,
    "mean": _mean,
    "greenness": _green,
    "faded": _faded,
    "dark": _dark,
    "over": _over,
    "clear": _clear,
    "height": _height,
    "objects": _objects,
    "day": _day,
    "month": _month,
    "place": lambda scene, _q: scene.reads.latitude,
    "centre": _centre,
    "contact": _contact,
}
"""Quantity -> how it is measured; None where the sample does not have it."""


class Query(NamedTuple):
    """What a question asks of a sample: an operation on quantities."""

    op: str
    """A key of `OPERATIONS`."""
    of: tuple[Quantity, ...]
    """Its quantities, in order."""
    keys: tuple[str, ...] = ()
    """'largest' and 'smallest': the answer that stands for each quantity."""
    limit: float = 0.0
    """'above': the number to be exceeded. 'present': the least amount that counts as being there."""
    margin: float = 0.0
    """Values that are nearer to each other, or to the limit, are not asked about."""
    step: float = 1.0
    """'number', 'difference': the answer is rounded to whole multiples of this."""
    allow: str = ""
    """`UNTOLD` or `NOWHERE`, where such an answer is allowed."""
    edges: tuple[float, ...] = ()
    """'range': ends of the ranges that the options are, ascending; a value at an end belongs to the range
    above, the last end to the last range."""

    def record(self) -> Json:
        """Plain values for JSON; what has its default is left out."""
        found: Json = {"op": self.op, "of": [q.record() for q in self.of]}
        if self.keys:
            found["keys"] = list(self.keys)
        if self.edges:
            found["edges"] = list(self.edges)
        more = (
            ("limit", self.limit, 0.0),
            ("margin", self.margin, 0.0),
            ("step", self.step, 1.0),
            ("allow", self.allow, ""),
        )
        return found | {name: value for name, value, default in more if value != default}

    @classmethod
    def from_record(cls, record: Json) -> Query:
        """The query of `record`.

        Raises:
            ValueError: a field of another type, or an unknown operation.
        """
        of, keys, op = record.get("of"), record.get("keys", []), record.get("op")
        if op not in OPERATIONS or not isinstance(of, list) or not of or not isinstance(keys, list):
            raise ValueError(f"no operation {op!r} on quantities"[:200])
        numbers = {
            name: record.get(name, default) for name, default in (("limit", 0.0), ("margin", 0.0), ("step", 1.0))
        }
        if any(type(n) not in (int, float) for n in numbers.values()) or not numbers["step"] > 0:
            raise ValueError(f"limit, margin, step of a query: {numbers}")
        if not all(isinstance(k, str) for k in keys) or (keys and len(keys) != len(of)):
            raise ValueError(f"{len(keys)} keys for {len(of)} quantities")
        allow = record.get("allow", "")
        if allow not in ("", UNTOLD, NOWHERE):
            raise ValueError(f"allow of a query: {allow!r}"[:200])
        edges = record.get("edges", [])
        if (
            not isinstance(edges, list)
            or any(type(e) not in (int, float) for e in edges)
            or edges != sorted(set(edges))
        ):
            raise ValueError(f"edges of a query: {edges!r}"[:200])
        made = tuple(Quantity.from_record(q) for q in of)
        more = {name: float(value) for name, value in numbers.items()}
        return cls(op, made, tuple(keys), allow=allow, edges=tuple(edges), **more)


class Found(NamedTuple):
    """The answer to a query."""

    value: Value
    """The answer."""
    measured: tuple[float | None, ...] = ()
    """The quantities; None = the sample does not have it."""


def answered(query: Query, scene: Scene) -> Found | None:
    """The answer to a query; None if the sample does not have it, or values are too near to each other to say.

    Raises:
        KeyError, ValueError, IndexError: the query names what the dataset has not, or has words of another kind.
        LandweaveError: an array cannot be read.
    """
    if query.op in _OF_PIXELS:
        value = _OF_PIXELS[query.op](query, scene)
        return None if value is None else Found(value)
    measured = tuple(QUANTITIES[q.what](scene, q) for q in query.of)
    value = OPERATIONS[query.op](query, measured)
    return None if value is None else Found(value, measured)


def _known(measured: tuple[float | None, ...]) -> list[float] | None:
    known = [m for m in measured if m is not None]
    return known if len(known) == len(measured) else None


def _more(query: Query, measured: tuple[float | None, ...]) -> Value | None:
    """Whether the first quantity is larger than the second."""
    known = _known(measured)
    if known is None or abs(known[0] - known[1]) < query.margin:
        return None
    return "yes" if known[0] > known[1] else "no"


def _above(query: Query, measured: tuple[float | None, ...]) -> Value | None:
    """Whether the quantity exceeds the limit."""
    known = _known(measured)
    if known is None or abs(known[0] - query.limit) < query.margin:
        return None
    return "yes" if known[0] > query.limit else "no"


def _least(query: Query, measured: tuple[float | None, ...]) -> Value | None:
    """Whether the quantity, a count, is at least the limit."""
    known = _known(measured)
    return None if known is None else "yes" if known[0] >= query.limit else "no"


def _present(query: Query, measured: tuple[float | None, ...]) -> Value | None:
    """Whether all quantities are there: at least the limit; one that is zero is not."""
    known = _known(measured)
    if known is None or any(0 < k < query.limit for k in known):
        return None
    return "yes" if all(k >= query.limit for k in known) else "no"


def _largest(query: Query, measured: tuple[float | None, ...]) -> Value | None:
    """The key of the largest quantity, or of the smallest."""
    known = _known(measured)
    if known is None:
        return UNTOLD if query.allow == UNTOLD else None
    if query.allow == NOWHERE and max(known) <= 0:
        return NOWHERE
    signed = known if query.op == "largest" else [-k for k in known]
    first, second = sorted(signed, reverse=True)[:2]
    return query.keys[signed.index(first)] if first - second >= max(query.margin, 1e-9) else None


def _number(query: Query, measured: tuple[float | None, ...]) -> Value | None:
    """The quantity, rounded."""
    known = _known(measured)
    return None if known is None else _rounded(known[0], query.step)


def _difference(query: Query, measured: tuple[float | None, ...]) -> Value | None:
    """How far the two quantities are apart, rounded."""
    known = _known(measured)
    return None if known is None else _rounded(abs(known[0] - known[1]), query.step)


def _range(query: Query, measured: tuple[float | None, ...]) -> Value | None:
    """Which range holds the quantity, or how far the two are apart; None outside of all, and too near to an end."""
    known = _known(measured)
    if known is None:
        return None
    value = known[0] if len(known) == 1 else abs(known[0] - known[1])
    if not query.edges[0] <= value <= query.edges[-1]:
        return None
    if min(abs(value - edge) for edge in query.edges[1:-1]) < query.margin:
        return None
    return min(sum(value >= edge for edge in query.edges), len(query.edges) - 1) - 1


def _rank(query: Query, measured: tuple[float | None, ...]) -> Value | None:
    """'first', 'second', 'third' or 'fourth': how the first quantity ranks among all."""
    known = _known(measured)
    if known is None or min(abs(known[0] - k) for k in known[1:]) < query.margin:
        return None
    rank = sum(k > known[0] for k in known[1:])
    return ("first", "second", "third", "fourth")[rank] if rank < 4 else None


def _rounded(value: float, step: float) -> float:
    found = math.floor(value / step + 0.5) * step
    return round(found) if step >= 1 else round(found, 6)


def _listed(query: Query, scene: Scene) -> Value | None:
    """The land covers of a part, largest first, with whole percent: those of at least `LISTED_PERCENT`."""
    percents = _percents(scene, query.of[0])
    if percents is None:
        return None
    order = sorted(range(len(percents)), key=lambda i: (-percents[i], i))
    found = [[COMMON[i + 1], math.floor(percents[i] + 0.5)] for i in order if percents[i] >= LISTED_PERCENT]
    return found or None


def _patch(query: Query, scene: Scene) -> tuple[int, int, int, int] | None:
    common = scene.common(query.of[0].source)
    if common is None:
        return None
    key = ("patch", query.of[0].source, query.of[0].about[0])
    mask = common == COMMON.index(query.of[0].about[0])
    return scene.keep(key, lambda: largest_patch(mask, query.margin))  # type: ignore[no-any-return]


def _box(query: Query, scene: Scene) -> Value | None:
    """The box of the largest patch of a land cover: pixels that touch along edges. None if the second is as large."""
    found, common = _patch(query, scene), scene.common(query.of[0].source)
    if found is None or common is None:
        return None
    height, width = common.shape
    top, lower, left, right = found
    edges = (1000 * left / width, 1000 * top / height, 1000 * right / width, 1000 * lower / height)
    return [math.floor(edge + 0.5) for edge in edges]


def _outline(query: Query, scene: Scene) -> Value | None:
    """Pixels of a land cover, or of ground that lost greenness, as COCO's run lengths: [height, width, runs]."""
    q = query.of[0]
    if q.what == "faded":
        before, after = (scene.greenness(q.source, q.about, slot) for slot in (q.slot, q.other))
        if before is None or after is None or np.isfinite(before - after).mean() < LEAST_SEEN:
            return None
        mask = np.nan_to_num(before - after) > GREENNESS_STEP
    else:
        common = scene.common(q.source)
        if common is None:
            return None
        mask = common == COMMON.index(q.about[0])
    return [*mask.shape, runs_of(mask)] if mask.any() else None


def _season(query: Query, scene: Scene) -> Value | None:
    """The meteorological season of an image where it was taken; None within the tropics."""
    month = _month(scene, query.of[0])
    found = None if month is None else season_of(int(month), scene.reads.latitude)
    return None if found == "tropics" else found


def _zone(_query: Query, scene: Scene) -> Value | None:
    """The band of latitude: 'tropics', 'subtropics', 'mid-latitudes', 'high latitudes' or 'polar region'."""
    return place_words(scene.reads.latitude).removeprefix("northern ").removeprefix("southern ")


def _not_of_numbers(query: Query, measured: tuple[float | None, ...]) -> Value | None:
    raise ValueError(f"{query.op} takes pixels, not numbers {measured}")


_OF_PIXELS: dict[str, Callable[[Query, Scene], Value | None]] = {
    "listed": _listed, "box": _box, "outline": _outline, "season": _season, "zone": _zone,
}  # fmt: skip
OPERATIONS: dict[str, Callable[[Query, tuple[float | None, ...]], Value | None]] = {
    "more": _more,
    "above": _above,
    "at least": _least,
    "present": _present,
    "largest": _largest,
    "smallest": _largest,
    "number": _number,
    "difference": _difference,
    "range": _range,
    "rank": _rank,
    **dict.fromkeys(_OF_PIXELS, _not_of_numbers),
}
"""Operation -> the answer from its quantities."""
