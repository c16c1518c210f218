"""Draws a contact sheet: one row per sample, one picture per modality and label."""

from __future__ import annotations

import textwrap
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

from landweave.errors import AbsentError
from landweave.plain import printable

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from landweave.dataset import Dataset
    from landweave.layout import ArraySpec, GroupSpec
    from landweave.sample import Sample

_RGB_UM = (0.665, 0.560, 0.490)
"""Red, green and blue: centres of Sentinel-2's B04, B03, B02, micrometres; the nearest bands are drawn."""
_VISIBLE_UM = (0.40, 0.72)
_NOTHING = (0.82, 0.82, 0.82)
_GAMMA = 0.75
_CELL_IN, _TEXT_IN, _HEAD_IN, _LINE_IN = 1.55, 3.1, 0.6, 0.19
_LEGEND_COLUMNS, _LEGEND_ENTRIES = 6, 240


def contact_sheet(dataset: Dataset, ids: Sequence[str], picture: Path) -> None:
    """Draw samples into a PNG.

    Optical sensors in true colour and radar as VV, VH, VV/VH, stretched by the train split's 2nd and 98th percentile so
    that samples can be compared; DEM shaded; labels in their legend's colours; what is absent says so.

    Raises:
        ModuleNotFoundError: matplotlib is not installed. OSError: the picture cannot be written.
        UnknownNameError, CorruptError: see `Dataset.sample`.
    """
    from matplotlib.figure import Figure

    groups = dataset.spec.groups
    entries = [(printable(f"{g.name}: {c.name}"), c.colour) for g in groups for c in g.classes][:_LEGEND_ENTRIES]
    legend_in = 0.3 + _LINE_IN * -(-len(entries) // _LEGEND_COLUMNS) if entries else 0.1
    width, height = _CELL_IN * len(groups) + _TEXT_IN, (_CELL_IN + 0.3) * len(ids) + _HEAD_IN + legend_in
    figure = Figure(figsize=(width, height), dpi=110, facecolor="white")
    grid = figure.add_gridspec(
        len(ids),
        len(groups) + 1,
        width_ratios=[*([_CELL_IN] * len(groups)), _TEXT_IN],
        left=0.01,
        right=0.995,
        top=1 - _HEAD_IN / height,
        bottom=legend_in / height,
        wspace=0.06,
        hspace=0.22,
    )
    title = printable(f"{dataset.spec.name}: {len(ids)} of {len(dataset)} samples")
    figure.suptitle(title, fontsize=11, x=0.01, ha="left", parse_math=False)
    for row, sample_id in enumerate(ids):
        sample = dataset.sample(sample_id)
        for column, group in enumerate(groups):
            _cell(figure.add_subplot(grid[row, column]), dataset, sample, group)
        _words(figure.add_subplot(grid[row, len(groups)]), sample)
    _legend(figure, entries, legend_in / height)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        figure.savefig(picture, metadata={"Software": None})


def _cell(axes: Any, dataset: Dataset, sample: Sample, group: GroupSpec) -> None:
    axes.set_xticks([])
    axes.set_yticks([])
    slot = next((i for i, there in enumerate(sample.present[group.name]) if there), None)
    if slot is None:
        axes.set_facecolor("white")
        axes.text(0.5, 0.5, "absent", ha="center", va="center", fontsize=8, color="0.45", transform=axes.transAxes)
        axes.set_title(group.name, fontsize=6.5, pad=2, color="0.45")
        axes.set_box_aspect(1)
        return
    axes.imshow(_picture(dataset, sample, group, slot), interpolation="nearest")
    axes.set_title(printable(f"{group.name} {_caption(sample, group, slot)}"), fontsize=6.5, pad=2, parse_math=False)


def _caption(sample: Sample, group: GroupSpec, slot: int) -> str:
    if group.kind == "label":
        year, version = sample.item[f"{group.name}_year"], sample.item[f"{group.name}_version"]
        return str(version) if str(year) in str(version) else f"{year} {version}"
    if not group.dated:
        low, high = _range(sample, group)
        return f"{low:.0f} to {high:.0f} {group.arrays[0].unit}"
    day = sample.datetimes(group.name)[slot]
    clouds = sample.item[f"{group.name}_cloud"] or ()
    cloud = clouds[slot] if slot < len(clouds) else None
    return ("" if day is None else f"{day:%Y-%m-%d}") + ("" if cloud is None else f" {100 * cloud:.0f}% cloud")


def _range(sample: Sample, group: GroupSpec) -> tuple[float, float]:
    values = sample.physical(group.arrays[0].path)
    return (float(np.nanmin(values)), float(np.nanmax(values))) if np.isfinite(values).any() else (np.nan, np.nan)


def _picture(dataset: Dataset, sample: Sample, group: GroupSpec, slot: int) -> NDArray[np.float64]:
    """(y, x, 3) in 0..1."""
    if group.kind == "label":
        return _label(sample, group)
    array = _array_to_draw(group)
    physical = sample.physical(array.path)
    values: NDArray[np.float64] = (physical[slot] if array.dated else physical).astype(np.float64)
    values = values[None] if values.ndim == 2 else values
    limits = _limits(dataset, array, values)
    if len(values) == 1:
        return _shaded(values[0], array.resolution_m)
    if _visible(array) >= 3:
        centres = np.array([np.inf if b.center_um is None else b.center_um for b in array.bands])
        bands = [int(np.abs(centres - um).argmin()) for um in _RGB_UM]
        low, high = min(limits[b][0] for b in bands), max(limits[b][1] for b in bands)
        return _colours([_stretch(values[b], low, high) for b in bands])
    ratio = (
        values[0] - values[1] if array.unit.startswith("dB") else values[0] / np.where(values[1] > 0, values[1], np.nan)
    )
    low, high = _own_limits(ratio)
    return _colours([*(_stretch(values[b], *limits[b]) for b in (0, 1)), _stretch(ratio, low, high)])


def _array_to_draw(group: GroupSpec) -> ArraySpec:
    """The array with most visible bands, else the first."""
    return max((a for a in group.arrays if a.kind == "continuous"), key=_visible, default=group.arrays[0])


def _visible(array: ArraySpec) -> int:
    return sum(b.center_um is not None and _VISIBLE_UM[0] <= b.center_um <= _VISIBLE_UM[1] for b in array.bands)


def _limits(dataset: Dataset, array: ArraySpec, values: NDArray[np.float64]) -> list[tuple[float, float]]:
    """Physical value that is drawn black and white, per band."""
    limits = []
    for i, band in enumerate(array.bands):
        figures = dataset.statistics.get(array.path, {}).get(band.name, {})
        best = figures.get("clear", {}) if figures.get("clear", {}).get("count") else figures.get("all", {})
        ends = [best.get("percentiles", {}).get(p) for p in ("2", "98")]
        if best.get("count") and None not in ends:
            low, high = (end * array.scale + array.offset for end in ends)
            limits.append((low, high))
        else:
            limits.append(_own_limits(values[i]))
    return limits


def _own_limits(values: NDArray[np.float64]) -> tuple[float, float]:
    if not np.isfinite(values).any():
        return (0.0, 1.0)
    low, high = np.nanpercentile(values, [2, 98])
    return (float(low), float(high))


def _stretch(values: NDArray[np.float64], low: float, high: float) -> NDArray[np.float64]:
    return np.clip((values - low) / max(high - low, 1e-9), 0.0, 1.0) ** _GAMMA


def _colours(channels: list[NDArray[np.float64]]) -> NDArray[np.float64]:
    picture = np.stack(channels, axis=-1)
    picture[~np.isfinite(picture).all(axis=-1)] = _NOTHING
    return picture


def _shaded(elevation: NDArray[np.float64], resolution_m: float) -> NDArray[np.float64]:
    from matplotlib import colormaps
    from matplotlib.colors import LightSource

    there = np.isfinite(elevation)
    if not there.any():
        return np.broadcast_to(_NOTHING, (*elevation.shape, 3)).astype(np.float64)
    filled = np.where(there, elevation, np.nanmean(elevation))
    light = LightSource(azdeg=315, altdeg=45)
    tint = colormaps["gist_earth"](
        np.clip(0.3 + 0.55 * (filled - filled.min()) / max(float(np.ptp(filled)), 50.0), 0, 1)
    )
    shade = light.hillshade(filled, vert_exag=2.0, dx=resolution_m, dy=resolution_m)
    picture: NDArray[np.float64] = np.clip(tint[..., :3] * (0.45 + 0.75 * shade[..., None]), 0, 1)
    picture[~there] = _NOTHING
    return picture


def _label(sample: Sample, group: GroupSpec) -> NDArray[np.float64]:
    colours = {c.code: [int(c.colour[i : i + 2], 16) / 255 for i in (1, 3, 5)] for c in group.classes}
    classes = sample.get(group.arrays[0].path)
    if classes is None:
        raise AbsentError(f"sample {sample.id}: {group.name} is absent")
    codes, where = np.unique(classes, return_inverse=True)
    table = np.array([colours.get(code, _NOTHING) for code in codes.tolist()], np.float64)
    return table[where.reshape(classes.shape)]


def _words(axes: Any, sample: Sample) -> None:
    axes.axis("off")
    lon, lat = sample.lonlat
    where = f"{abs(lat):.4f}{'N' if lat >= 0 else 'S'} {abs(lon):.4f}{'E' if lon >= 0 else 'W'}"
    head = f"{sample.id}   {sample.split}\n{where}"
    axes.text(0.02, 1.0, head, fontsize=7, va="top", weight="bold", transform=axes.transAxes, parse_math=False)
    text = "\n".join(textwrap.fill(printable(c.text, lines=True), 62) for c in sample.captions) or "no caption"
    lines = text.splitlines()
    text = "\n".join([*lines[:10], "..."] if len(lines) > 10 else lines)
    axes.text(0.02, 0.80, text, fontsize=6.5, va="top", transform=axes.transAxes, parse_math=False)


def _legend(figure: Any, entries: list[tuple[str, str]], bottom: float) -> None:
    if not entries:
        return
    from matplotlib.patches import Patch

    handles = [Patch(facecolor=colour, edgecolor="0.4", linewidth=0.3, label=name) for name, colour in entries]
    legend = figure.legend(
        handles=handles,
        loc="upper left",
        bbox_to_anchor=(0.005, bottom - 0.002),
        ncols=_LEGEND_COLUMNS,
        fontsize=6,
        frameon=False,
        handlelength=1.2,
        columnspacing=1.2,
        labelspacing=0.25,
        borderpad=0,
    )
    for words in legend.get_texts():
        words.set_parse_math(False)
