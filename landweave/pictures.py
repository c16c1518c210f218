"""Pictures of a sample for models that see: true and false colour, indices and labels, each with its legend."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from landweave.errors import AbsentError, UnknownNameError
from landweave.render import NOTHING, array_to_draw, class_colours, classes_there, encoded, picture

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from landweave.layout import DatasetSpec, GroupSpec, Json
    from landweave.sample import Sample

_UM = {"green": 0.560, "red": 0.665, "nir": 0.842, "swir": 1.610}
"""Centres of Sentinel-2's B03, B04, B08 and B11, micrometres; the nearest band within `_NEAR_UM` stands for them."""
_NEAR_UM = 0.08
INDICES = {"ndvi": ("nir", "red"), "ndwi": ("green", "nir"), "ndbi": ("swir", "nir")}
"""Normalised differences (a - b) / (a + b): vegetation (Rouse 1974), open water (McFeeters 1996), built-up land (Zha
2003)."""
NAMES = ("rgb", "false-colour", *INDICES)
"""What can be drawn besides layers."""
_STEPS = np.array([(140, 81, 10), (216, 179, 101), (245, 245, 245), (90, 180, 172), (1, 102, 94)], np.float64)
"""Colours of -1, -0.5, 0, 0.5 and 1: brown, white, green (ColorBrewer BrBG, safe for the colour-blind)."""
_LINE_PX = 16
"""Height of a line of the legend."""


@dataclass(frozen=True)
class Drawn:
    """A picture with its legend."""

    title: str
    """What it shows."""
    legend: dict[str, str]
    """'#rrggbb' -> class or value; {} where colours are those of the image."""
    png: bytes = field(repr=False)
    """The file."""


class _Alone:
    """A sample without the statistics of its dataset: each picture is stretched alone, also while a dataset grows."""

    def __init__(self, sample: Sample) -> None:
        self._sample, self.id = sample, sample.id

    @property
    def spec(self) -> DatasetSpec:
        return self._sample.spec

    @property
    def present(self) -> Mapping[str, tuple[bool, ...]]:
        return self._sample.present

    @property
    def statistics(self) -> Json:
        return {}

    def physical(self, name: str, bands: Sequence[str] | None = None) -> NDArray[np.float32]:
        return self._sample.physical(name, bands)

    def __getitem__(self, name: str) -> NDArray[Any]:
        return self._sample[name]


def check_names(names: tuple[str, ...], spec: DatasetSpec) -> None:
    """See that a dataset has what is to be drawn.

    Raises:
        UnknownNameError: it has no such layer.
    """
    layers = [g.name for g in spec.groups]
    for name in names:
        if name not in NAMES and name not in layers:
            raise UnknownNameError(f"pictures: no {name!r}; there are {', '.join((*NAMES, *layers))}")


def drawn(sample: Sample, name: str, image: str | None, edge_px: int) -> Drawn:
    """One picture of a sample, north up.

    Args:
        sample: the sample.
        name: of `NAMES`, or a layer.
        image: 'GROUP/datetimes/SLOT' of the image that the texts are about; None: the first optical layer.
        edge_px: the picture is enlarged by a whole factor until its edge has at least this many pixels.

    Raises:
        AbsentError: the sample has no such observation, or its bands make no such picture.
    """
    group, slot = _place(sample, name, image)
    title = f"{_TITLES.get(name, name)} of {group.title}" if name in NAMES else group.title
    if group.dated and (when := sample.datetimes(group.name)[slot]) is not None:
        title += f", {when:%Y-%m-%d}"
    legend: dict[str, str] = {}
    if name == "false-colour":
        pixels = _stretched([_band(sample, group, slot, c) for c in ("nir", "red", "green")])
    elif name in INDICES:
        pixels = _difference(*(_band(sample, group, slot, c) for c in INDICES[name]))
        legend = {_hex(step): f"{name} {value:g}" for step, value in zip(_STEPS, (-1, -0.5, 0, 0.5, 1), strict=True)}
    else:
        pixels = picture(_Alone(sample), group, slot)
        if group.kind == "label" and group.classes:
            colours = class_colours(sample.spec, group)
            legend = {colours[c.code]: c.name for c in classes_there(_Alone(sample), group)}
    return Drawn(title=title, legend=legend, png=_with_legend(_enlarged(pixels, edge_px), legend))


_TITLES = {
    "rgb": "true colour",
    "false-colour": "false colour (red is near infrared, green is red, blue is green)",
    "ndvi": "vegetation index NDVI",
    "ndwi": "water index NDWI",
    "ndbi": "built-up index NDBI",
}


def _place(sample: Sample, name: str, image: str | None) -> tuple[GroupSpec, int]:
    """The layer and the date slot to draw."""
    chosen = name
    if name in NAMES:
        optical = [g.name for g in sample.spec.groups if g.is_input and _centres(g)]
        chosen = image.partition("/")[0] if image is not None else next((g for g in optical if g in sample), "")
        if chosen not in optical:
            raise AbsentError(f"sample {sample.id}: no optical image to draw {name} from")
    slots = sample.present.get(chosen, ())
    if not any(slots):
        raise AbsentError(f"sample {sample.id}: {chosen} is absent")
    return sample.spec.group(chosen), slots.index(True)


def _centres(group: GroupSpec) -> dict[tuple[str, int], float]:
    """(array, band) -> centre wavelength, micrometres."""
    return {
        (a.path, i): b.center_um
        for a in group.arrays
        if a.kind == "continuous"
        for i, b in enumerate(a.bands)
        if b.center_um is not None
    }


def _band(sample: Sample, group: GroupSpec, slot: int, colour: str) -> NDArray[np.float64]:
    """(y, x) of the band nearest to a colour, on the grid of the finest array."""
    centres, um = _centres(group), _UM[colour]
    best = min(centres, key=lambda k: (abs(centres[k] - um), k), default=None)
    if best is None or abs(centres[best] - um) > _NEAR_UM:
        raise AbsentError(f"sample {sample.id}: {group.name} has no band near {um} micrometres ({colour})")
    path, number = best
    array = group.array(path.rpartition("/")[2])
    banded = len(array.chip_shape) == 3
    values = sample.physical(path, [array.bands[number].name] if banded else None)
    chip = np.asarray(values[slot] if group.dated else values, np.float64)
    chip = chip[0] if banded else chip
    edge = sample.spec.group(group.name).array(array_to_draw(group).name).chip_shape[-1]
    rows = np.minimum(np.arange(edge) * len(chip) // edge, len(chip) - 1)
    return np.asarray(chip[np.ix_(rows, rows)])


def _stretched(bands: list[NDArray[np.float64]]) -> NDArray[np.uint8]:
    stacked = np.stack(bands, axis=-1)
    there = np.asarray(np.isfinite(stacked).all(axis=-1))
    if not there.any():
        return np.full(stacked.shape, NOTHING, np.uint8)
    low, high = np.percentile(stacked[there], [2, 98])
    level = np.clip((np.where(there[..., None], stacked, low) - low) / max(high - low, 1e-9), 0, 1)
    found = (255 * level).round().astype(np.uint8)
    found[~there] = NOTHING
    return np.asarray(found, np.uint8)


def _difference(one: NDArray[np.float64], other: NDArray[np.float64]) -> NDArray[np.uint8]:
    total = one + other
    index = np.divide(one - other, total, out=np.full(total.shape, np.nan), where=np.abs(total) > 1e-9)
    there, steps = np.isfinite(index), np.linspace(-1, 1, len(_STEPS))
    level = np.clip(np.where(there, index, 0), -1, 1)
    found = np.stack([np.interp(level, steps, _STEPS[:, c]) for c in range(3)], axis=-1).round().astype(np.uint8)
    found[~there] = NOTHING
    return np.asarray(found, np.uint8)


def _enlarged(pixels: NDArray[np.uint8], edge_px: int) -> NDArray[np.uint8]:
    factor = max(1, -(-edge_px // max(pixels.shape[:2])))
    return np.asarray(pixels.repeat(factor, axis=0).repeat(factor, axis=1))


def _with_legend(pixels: NDArray[np.uint8], legend: dict[str, str]) -> bytes:
    """A PNG with a line below the picture for each entry of the legend: its colour and its name."""
    if not legend:
        return encoded(pixels, "PNG")
    from PIL import Image, ImageDraw

    height, width = pixels.shape[:2]
    whole = Image.new("RGB", (width, height + _LINE_PX * len(legend)), (255, 255, 255))
    whole.paste(Image.fromarray(pixels), (0, 0))
    pen = ImageDraw.Draw(whole)
    for line, (colour, name) in enumerate(legend.items()):
        top = height + _LINE_PX * line
        pen.rectangle((2, top + 2, _LINE_PX, top + _LINE_PX - 3), fill=colour)
        pen.text((_LINE_PX + 6, top + 2), name.encode("ascii", "replace").decode(), fill=(0, 0, 0))
    return encoded(np.asarray(whole, np.uint8), "PNG")


def _hex(colour: NDArray[np.float64]) -> str:
    return "#" + "".join(f"{round(c):02x}" for c in colour.tolist())
