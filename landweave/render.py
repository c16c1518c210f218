"""Pictures of a sample's layers, for sheets, pages and notebooks: numpy alone."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from landweave.errors import AbsentError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from landweave.layout import ArraySpec, ClassSpec, DatasetSpec, GroupSpec, Json

_RGB_UM = (0.665, 0.560, 0.490)
"""Red, green and blue: centres of Sentinel-2's B04, B03, B02, micrometres; the nearest bands are drawn."""
_VISIBLE_UM = (0.40, 0.72)
NOTHING = (209, 209, 209)
"""Colour of pixels without a value."""
_GAMMA = 0.75
_HEIGHTS = np.array(
    [(64, 122, 90), (126, 160, 98), (200, 192, 132), (176, 140, 104), (150, 128, 120), (246, 246, 246)], np.float64
)
"""Colours of elevation from the lowest to the highest pixel: green, straw, brown, white."""
_SURE = np.array([(48, 18, 90), (38, 130, 142), (250, 230, 60)], np.float64)
"""Colours of confidence 0, 0.5 and 1: they differ in lightness, also for the colour-blind."""
_LEAST_RELIEF_M = 50.0
"""A chip that is flatter than this takes only a part of the colours: noise is not drawn as mountains."""
_SUN = (np.cos(np.radians(45)) * np.sin(np.radians(315)), np.cos(np.radians(45)) * np.cos(np.radians(315)))
"""East and north of the direction to the light: from the north-west, 45 degrees high (cartographers' convention)."""
_EXAGGERATION = 2.0


class Pictured(Protocol):
    """What a picture needs of a `landweave.sample.Sample`."""

    @property
    def id(self) -> str: ...  # noqa: D102

    @property
    def spec(self) -> DatasetSpec: ...  # noqa: D102 - see Sample

    @property
    def present(self) -> Mapping[str, tuple[bool, ...]]: ...  # noqa: D102

    @property
    def statistics(self) -> Json: ...  # noqa: D102

    def physical(self, name: str, bands: Sequence[str] | None = None) -> NDArray[np.float32]: ...  # noqa: D102

    def __getitem__(self, name: str) -> NDArray[Any]: ...


def picture(sample: Pictured, group: GroupSpec, slot: int = 0) -> NDArray[np.uint8]:
    """One layer of a sample as (y, x, 3) uint8, north up.

    Optical sensors in true colour; two bands as themselves and their ratio (radar: VV, VH, VV/VH); one band of metres
    as shaded relief, another single band in grey; classes in the colours of `class_colours`. Values are stretched by
    the train split's 2nd and 98th percentile, so that samples can be compared. Pixels without a value are grey.

    Args:
        sample: the sample.
        group: modality or label.
        slot: date slot; 0 for layers without dates.

    Raises:
        AbsentError: the sample has no such observation. CorruptError: the shard is damaged.
    """
    array = array_to_draw(group)
    if not sample.present[group.name][slot]:
        raise AbsentError(f"sample {sample.id}: {group.name} is absent")
    if array.kind == "classes":
        return _classes(sample.spec, sample, group, array, slot)
    bands, banded = drawn_bands(array), len(array.chip_shape) == 3
    physical = sample.physical(array.path, [array.bands[band].name for band in bands] if banded else None)
    chip = physical[slot] if array.dated else physical
    values: NDArray[np.float64] = (chip if banded else chip[None]).astype(np.float64)
    if len(values) == 1 and array.unit == "m":
        return _shaded(values[0], array.resolution_m)
    limits = [_limits(sample, array, band, values[i]) for i, band in enumerate(bands)]
    if len(values) == 1:
        return _colours([_stretch(values[0], *limits[0])] * 3)
    if in_colour(array):
        low, high = min(low for low, _ in limits), max(high for _, high in limits)
        return _colours([_stretch(band, low, high) for band in values])
    if len(values) == 3:
        return _colours([_stretch(band, *ends) for band, ends in zip(values, limits, strict=True)])
    ratio = (
        values[0] - values[1] if array.unit.startswith("dB") else values[0] / np.where(values[1] > 0, values[1], np.nan)
    )
    return _colours([*(_stretch(values[b], *limits[b]) for b in (0, 1)), _stretch(ratio, *_own_limits(ratio))])


def in_colour(array: ArraySpec) -> bool:
    """Whether an array has the bands of a picture in true colour."""
    return _visible(array) >= 3


def drawn_bands(array: ArraySpec) -> list[int]:
    """Bands that are drawn: those nearest to red, green and blue; without them the first three, or all."""
    if not in_colour(array):
        return list(range(min(3, len(array.bands))))
    centres = np.array([np.inf if b.center_um is None else b.center_um for b in array.bands])
    return [int(np.abs(centres - um).argmin()) for um in _RGB_UM]


def has_confidence(group: GroupSpec) -> bool:
    """Whether a label comes with a confidence for each pixel, as fused labels do."""
    return group.kind == "label" and any(a.name == "confidence" for a in group.arrays)


def confidence_picture(sample: Pictured, group: GroupSpec) -> NDArray[np.uint8]:
    """The confidence of a label as (y, x, 3) uint8: dark blue = 0, green = 0.5, yellow = 1; without a class grey.

    Raises:
        AbsentError: the sample has no such label. CorruptError: the shard is damaged.
    """
    values = sample.physical(f"{group.name}/confidence")
    there = np.isfinite(values)
    steps = np.linspace(0, 1, len(_SURE))
    drawn = np.stack([np.interp(np.where(there, values, 0), steps, _SURE[:, c]) for c in range(3)], axis=-1)
    return np.where(there[..., None], drawn.round(), NOTHING).astype(np.uint8)


def array_to_draw(group: GroupSpec) -> ArraySpec:
    """The array with most visible bands, else the first that is no mask."""
    continuous = max((a for a in group.arrays if a.kind == "continuous"), key=_visible, default=None)
    classes = next((a for a in group.arrays if a.kind == "classes"), None)
    if group.kind == "label" and group.classes and classes is not None:
        return classes
    return continuous or classes or group.arrays[0]


def class_colours(spec: DatasetSpec, group: GroupSpec) -> dict[int, str]:
    """Code -> '#rrggbb': one colour per class of the common taxonomy, whichever product names it.

    The first label layer that has a class gives its colour. Classes that a product tells apart and the taxonomy does
    not keep their own colours.
    """
    first: dict[str, str] = {}
    for other in spec.groups:
        for entry in other.classes:
            first.setdefault(entry.common, entry.colour)
    shared: set[str] = set()
    colours = {}
    for entry in group.classes:
        common = entry.common and entry.common not in shared
        colours[entry.code] = first[entry.common] if common else entry.colour
        shared.add(entry.common)
    return colours


def classes_there(sample: Pictured, group: GroupSpec) -> list[ClassSpec]:
    """The legend's classes that the sample has, in code order; AbsentError as `picture`."""
    values = sample[array_to_draw(group).path]
    codes = set(np.unique(values).tolist())
    return [entry for entry in group.classes if entry.code in codes]


def encoded(pixels: NDArray[np.uint8], form: str = "WEBP", *, lossless: bool = False) -> bytes:
    """A picture file of (y, x, 3) uint8; ModuleNotFoundError: Pillow is not installed."""
    from PIL import Image

    out = io.BytesIO()
    if form == "PNG":
        Image.fromarray(pixels).save(out, form, optimize=False)
    else:
        Image.fromarray(pixels).save(out, form, lossless=lossless, quality=82, method=2)
    return out.getvalue()


def notebook_pictures(sample: Pictured) -> list[tuple[str, bytes]]:
    """(title, PNG) of each observation that the sample has."""
    return [
        (
            f"{group.name} {slot + 1}" if group.slot_count > 1 else group.name,
            encoded(picture(sample, group, slot), "PNG"),
        )
        for group in sample.spec.groups
        for slot, there in enumerate(sample.present[group.name])
        if there
    ]


def _visible(array: ArraySpec) -> int:
    return sum(b.center_um is not None and _VISIBLE_UM[0] <= b.center_um <= _VISIBLE_UM[1] for b in array.bands)


def _limits(sample: Pictured, array: ArraySpec, band: int, values: NDArray[np.float64]) -> tuple[float, float]:
    """Physical values of a band that are drawn black and white."""
    figures = sample.statistics.get(array.path, {}).get(array.bands[band].name, {})
    best = figures.get("clear", {}) if figures.get("clear", {}).get("count") else figures.get("all", {})
    ends = [best.get("percentiles", {}).get(p) for p in ("2", "98")]
    if not best.get("count") or None in ends:
        return _own_limits(values)
    low, high = (end * array.scale + array.offset for end in ends)
    return low, high


def _own_limits(values: NDArray[np.float64]) -> tuple[float, float]:
    if not np.isfinite(values).any():
        return (0.0, 1.0)
    low, high = np.nanpercentile(values, [2, 98])
    return (float(low), float(high))


def _stretch(values: NDArray[np.float64], low: float, high: float) -> NDArray[np.float64]:
    return np.asarray(np.clip((values - low) / max(high - low, 1e-9), 0.0, 1.0) ** _GAMMA)


def _colours(channels: list[NDArray[np.float64]]) -> NDArray[np.uint8]:
    there = np.logical_and.reduce([np.isfinite(channel) for channel in channels])
    drawn = np.stack([np.round(255 * np.where(there, channel, 0.0)).astype(np.uint8) for channel in channels], axis=-1)
    drawn[~there] = NOTHING
    return drawn


def _shaded(elevation: NDArray[np.float64], resolution_m: float) -> NDArray[np.uint8]:
    there = np.isfinite(elevation)
    if not there.any() or min(elevation.shape) < 2:
        return np.full((*elevation.shape, 3), NOTHING, np.uint8)
    filled = np.where(there, elevation, np.nanmean(elevation))
    level = (filled - filled.min()) / max(float(np.ptp(filled)), _LEAST_RELIEF_M)
    tint = np.stack([np.interp(level, np.linspace(0, 1, len(_HEIGHTS)), _HEIGHTS[:, c]) for c in range(3)], axis=-1)
    down, right = np.gradient(_EXAGGERATION * filled, resolution_m)
    light = (np.sin(np.radians(45)) - right * _SUN[0] + down * _SUN[1]) / np.sqrt(1 + right**2 + down**2)
    drawn: NDArray[np.uint8] = (
        np.clip(tint * (0.45 + 0.75 * np.clip(light, 0, 1)[..., None]), 0, 255).round().astype(np.uint8)
    )
    drawn[~there] = NOTHING
    return drawn


def _classes(spec: DatasetSpec, sample: Pictured, group: GroupSpec, array: ArraySpec, slot: int) -> NDArray[np.uint8]:
    read = sample[array.path]
    classes = read[slot] if array.dated else read
    colours = class_colours(spec, group)
    codes, where = np.unique(classes, return_inverse=True)
    table = np.array([_rgb(colours[code]) if code in colours else NOTHING for code in codes.tolist()], np.uint8)
    drawn: NDArray[np.uint8] = table[where.reshape(classes.shape)]
    return drawn


def _rgb(colour: str) -> tuple[int, int, int]:
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return red, green, blue
