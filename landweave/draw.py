"""Draws a contact sheet: one row of pictures per sample, its captions below them, and a legend for each map."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field
from math import floor, log10
from typing import TYPE_CHECKING, Any, Protocol

from landweave.plain import printable
from landweave.render import (
    Pictured,
    array_to_draw,
    class_colours,
    classes_there,
    confidence_picture,
    has_confidence,
    picture,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from matplotlib.figure import Figure

    from landweave.layout import DatasetSpec, GroupSpec

_CELL_IN, _GAP_IN, _MARGIN_IN, _LINE_IN, _TITLE_IN = 1.5, 0.08, 0.12, 0.135, 0.2
_NARROWEST_IN, _WIDEST_CELLS = 6.5, 10
_SMALL, _NORMAL = 6.0, 7.0
"""Sizes of letters, points."""
_MOST_ENTRIES = 400
"""Entries of all legends together: an untrusted dataset may list 65,536 classes."""
_SURE = -1
"""In place of a date slot: the cell shows the confidence of a label."""


class Described(Pictured, Protocol):
    """What a sheet needs of a `landweave.sample.Sample`."""

    @property
    def split(self) -> str: ...  # noqa: D102 - see Sample

    @property
    def lonlat(self) -> tuple[float, float]: ...  # noqa: D102

    @property
    def item(self) -> Mapping[str, Any]: ...  # noqa: D102

    @property
    def captions(self) -> Sequence[Any]: ...  # noqa: D102

    def datetimes(self, group: str) -> Sequence[Any]: ...  # noqa: D102


def contact_sheet(title: str, samples: Sequence[Described]) -> Figure:
    """Every layer and date of each sample, and the confidence of labels that have one, with captions in full, as a
    matplotlib figure.

    Pictures are those of `landweave.render.picture`. What is absent says so. A bar shows the scale of each sample, and
    of each layer with another extent. The legend lists the classes that are in the pictures, map by map; a class has
    one colour on all maps.

    Args:
        title: words above the pictures.
        samples: at least one, all of one dataset.

    Raises:
        ModuleNotFoundError: matplotlib is not installed. CorruptError: a shard is damaged.
    """
    return _Sheet(samples[0].spec, title, samples).drawn()


@dataclass(kw_only=True)
class _Row:
    sample: Described
    heading: list[str]
    text: list[str]
    lines: int
    """Lines of pictures."""

    @property
    def height_in(self) -> float:
        words = len(self.heading) + len(self.text)
        return self.lines * (_CELL_IN + _TITLE_IN) + words * _LINE_IN + 3 * _GAP_IN


@dataclass
class _Sheet:
    """Lays out everything in inches from the top left corner, with measured words, then draws: nothing is cut off."""

    spec: DatasetSpec
    title: str
    samples: Sequence[Described]
    seen: dict[str, set[int]] = field(default_factory=dict)
    """Label -> codes in the pictures."""
    widths: dict[tuple[str, float, str], float] = field(default_factory=dict)
    """Measured words, inches."""

    def __post_init__(self) -> None:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
        from matplotlib.font_manager import FontProperties

        self.figure = Figure(dpi=110, facecolor="white")
        self.renderer: Any = FigureCanvasAgg(self.figure).get_renderer()  # type: ignore[no-untyped-call]
        self.font = FontProperties
        slots = {g.name: [*range(g.slot_count), *([_SURE] if has_confidence(g) else [])] for g in self.spec.groups}
        self.cells = [(g, slot) for g in self.spec.groups for slot in slots[g.name]]
        lines = -(-len(self.cells) // _WIDEST_CELLS)
        self.across = -(-len(self.cells) // lines)
        self.width_in = max(_NARROWEST_IN, self.across * (_CELL_IN + _GAP_IN) + 2 * _MARGIN_IN)

    def drawn(self) -> Figure:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Glyph .* missing from font")
            for group in self.spec.groups:
                if group.classes:
                    self.seen[group.name] = {e.code for s in self.samples for e in _there(s, group)}
            rows = [self._row(sample) for sample in self.samples]
            legend = self._legend_lines()
            head_in = 0.35
            foot_in = len(legend) * _LINE_IN * 1.25 + 2 * _MARGIN_IN
            self.height_in = head_in + sum(row.height_in for row in rows) + foot_in
            self.figure.set_size_inches(self.width_in, self.height_in)
            self._write(_MARGIN_IN, 0.12, self.title, 10, weight="bold")
            top_in = head_in
            for row in rows:
                self._draw(row, top_in)
                top_in += row.height_in
            for number, line in enumerate(legend):
                self._legend(top_in + _MARGIN_IN + number * _LINE_IN * 1.25, line)
        return self.figure

    def _row(self, sample: Described) -> _Row:
        lon, lat = sample.lonlat
        where = f"{abs(lat):.4f} {'N' if lat >= 0 else 'S'}, {abs(lon):.4f} {'E' if lon >= 0 else 'W'}"
        heading = self._wrapped(f"{sample.id}: {sample.split}, {where}", _NORMAL, weight="bold")
        text = [line for caption in sample.captions for line in self._wrapped(caption.text, _NORMAL)] or ["no caption"]
        return _Row(sample=sample, heading=heading, text=text, lines=-(-len(self.cells) // self.across))

    def _width_in(self, words: str, size: float, weight: str) -> float:
        key = words, size, weight
        if key not in self.widths:
            font = self.font(size=size, weight=weight)
            self.widths[key] = self.renderer.get_text_width_height_descent(words, font, ismath=False)[0] / 110
        return self.widths[key]

    def _wrapped(self, text: str, size: float, weight: str = "normal") -> list[str]:
        """Lines that fit the sheet, by the measured width of the words."""
        room_in, blank_in = (
            self.width_in - 2 * _MARGIN_IN,
            self._width_in("n n", size, weight) - self._width_in("nn", size, weight),
        )
        lines = []
        for paragraph in printable(text, lines=True).splitlines():
            line, used_in = "", 0.0
            for word in (p for w in paragraph.split() for p in self._pieces(w, size, weight, room_in)):
                word_in = self._width_in(word, size, weight)
                if line and used_in + blank_in + word_in > room_in:
                    lines.append(line)
                    line, used_in = word, word_in
                else:
                    line, used_in = f"{line} {word}".strip(), used_in + blank_in + word_in
            lines.append(line)
        return lines

    def _pieces(self, word: str, size: float, weight: str, room_in: float) -> list[str]:
        """The word, or parts of it where it alone is wider than the sheet."""
        if self._width_in(word, size, weight) <= room_in:
            return [word]
        most = max(1, int(len(word) * room_in / self._width_in(word, size, weight) * 0.8))
        return [word[i : i + most] for i in range(0, len(word), most)]

    def _write(self, left_in: float, top_in: float, words: str, size: float, **style: Any) -> None:
        at = left_in / self.width_in, 1 - top_in / self.height_in
        self.figure.text(*at, printable(words), fontsize=size, va="top", parse_math=False, **style)

    def _draw(self, row: _Row, top_in: float) -> None:
        for number, line in enumerate(row.heading):
            self._write(_MARGIN_IN, top_in + number * _LINE_IN, line, _NORMAL, weight="bold")
        top_in += len(row.heading) * _LINE_IN + _GAP_IN
        for number, (group, slot) in enumerate(self.cells):
            down, across = divmod(number, self.across)
            left_in = _MARGIN_IN + across * (_CELL_IN + _GAP_IN)
            self._cell(left_in, top_in + down * (_CELL_IN + _TITLE_IN), row.sample, group, slot, bar=number == 0)
        top_in += row.lines * (_CELL_IN + _TITLE_IN)
        for number, line in enumerate(row.text):
            self._write(_MARGIN_IN, top_in + number * _LINE_IN, line, _NORMAL)

    def _cell(
        self, left_in: float, top_in: float, sample: Described, group: GroupSpec, slot: int, *, bar: bool
    ) -> None:
        name = self._fitting(f"{group.name} {_note(sample, group, slot)}")
        self._write(left_in, top_in, name, _SMALL)
        bottom_in = top_in + _TITLE_IN - 0.04 + _CELL_IN
        axes = self.figure.add_axes(
            (
                left_in / self.width_in,
                1 - bottom_in / self.height_in,
                _CELL_IN / self.width_in,
                _CELL_IN / self.height_in,
            )
        )
        axes.set_xticks([])
        axes.set_yticks([])
        axes.set_box_aspect(1)
        if not sample.present[group.name][max(slot, 0)]:
            axes.text(0.5, 0.5, "absent", ha="center", va="center", fontsize=8, color="0.45", transform=axes.transAxes)
            return
        drawn = confidence_picture(sample, group) if slot == _SURE else picture(sample, group, slot)
        axes.imshow(drawn, interpolation="nearest", aspect="auto")
        if bar or self.spec.extent_m(group.name) != self.spec.extent_m(self.cells[0][0].name):
            _scale_bar(axes, group)

    def _fitting(self, words: str) -> str:
        words = printable(words)
        while self._width_in(words, _SMALL, "normal") > _CELL_IN + _GAP_IN / 2 and " " in words:
            words = words.rpartition(" ")[0]
        return words

    def _legend_lines(self) -> list[list[tuple[str, str]]]:
        """Lines of (colour, words); a colour of '' begins a map."""
        lines: list[list[tuple[str, str]]] = []
        entries = 0
        for group in self.spec.groups:
            there = self.seen.get(group.name, set())
            colours = class_colours(self.spec, group)
            line, room_in = [("", f"{group.name}:")], self.width_in - 2 * _MARGIN_IN - self._name_in()
            for entry in (e for e in group.classes if e.code in there):
                entries += 1
                if entries > _MOST_ENTRIES:
                    break
                needed_in = self._width_in(printable(entry.name), _SMALL, "normal") + 0.35
                if room_in < needed_in and len(line) > 1:
                    lines.append(line)
                    line, room_in = [("", "")], self.width_in - 2 * _MARGIN_IN - self._name_in()
                line.append((colours[entry.code], printable(entry.name)))
                room_in -= needed_in
            if len(line) > 1:
                lines.append(line)
        return lines

    def _name_in(self) -> float:
        names = [f"{printable(g.name)}:" for g in self.spec.groups if g.classes]
        return min(2.5, max((self._width_in(n, _SMALL, "bold") for n in names), default=0.0) + 0.15)

    def _legend(self, top_in: float, line: list[tuple[str, str]]) -> None:
        from matplotlib.patches import Rectangle

        self._write(_MARGIN_IN, top_in, line[0][1], _SMALL, weight="bold")
        left_in = _MARGIN_IN + self._name_in()
        for colour, words in line[1:]:
            at = left_in / self.width_in, 1 - (top_in + 0.09) / self.height_in
            size = 0.13 / self.width_in, 0.09 / self.height_in
            patch = Rectangle(at, *size, facecolor=colour, edgecolor="0.4", linewidth=0.3)
            self.figure.add_artist(patch)
            self._write(left_in + 0.18, top_in, words, _SMALL)
            left_in += self._width_in(words, _SMALL, "normal") + 0.35


def _there(sample: Described, group: GroupSpec) -> list[Any]:
    return classes_there(sample, group) if any(sample.present[group.name]) else []


def _note(sample: Described, group: GroupSpec, slot: int) -> str:
    """Day and clouds, version of a map, its mean confidence, or the range of a single band."""
    if slot == _SURE:
        mean = sample.item.get(f"{group.name}_confidence")
        return "confidence" if mean is None else f"confidence {mean:.2f}"
    if group.kind == "label":
        year, version = sample.item.get(f"{group.name}_year"), sample.item.get(f"{group.name}_version")
        return str(version or "") if year is None or str(year) in str(version) else f"{year} {version or ''}"
    if not group.dated:
        array = array_to_draw(group)
        if len(array.bands) != 1 or not sample.present[group.name][slot]:
            return ""
        values = sample.physical(array.path)
        finite = values[values == values]  # noqa: PLR0124 - NaN is nodata
        return f"{finite.min():.0f} to {finite.max():.0f} {array.unit}" if finite.size else ""
    day = sample.datetimes(group.name)[slot]
    clouds = sample.item.get(f"{group.name}_cloud") or ()
    cloud = clouds[slot] if slot < len(clouds) else None
    return ("" if day is None else f"{day:%Y-%m-%d}") + ("" if cloud is None else f" {100 * cloud:.0f}% cloud")


def bar_length_m(width_m: float) -> float:
    """1, 2 or 5 times a power of ten, from a fifth to a half of the width."""
    rough = width_m / 2
    power = 10.0 ** floor(log10(rough))
    return max(step * power for step in (1, 2, 5) if step * power <= rough)


def _scale_bar(axes: Any, group: GroupSpec) -> None:
    left, right = axes.get_xlim()
    width_m = abs(right - left) * array_to_draw(group).resolution_m
    length_m = bar_length_m(width_m)
    end = 0.05 + length_m / width_m
    axes.plot([0.05, end], [0.07, 0.07], color="black", linewidth=3.4, transform=axes.transAxes, solid_capstyle="butt")
    axes.plot([0.05, end], [0.07, 0.07], color="white", linewidth=1.8, transform=axes.transAxes, solid_capstyle="butt")
    words = f"{length_m / 1000:g} km" if length_m >= 1000 else f"{length_m:g} m"
    box = {"facecolor": "white", "alpha": 0.7, "edgecolor": "none", "pad": 0.8}
    axes.text(0.05, 0.12, words, fontsize=_SMALL, transform=axes.transAxes, bbox=box)
