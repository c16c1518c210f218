"""Extents of layers that are not the footprint's: which layers may have one, and what each must fit."""

from __future__ import annotations

from typing import TYPE_CHECKING

from schemas.strict import MisplacedError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from schemas.fused import FusedLabel
    from schemas.grid import GridSpec

_ROUNDING = 1e-6


def check_extents(
    grid: GridSpec, edges: Mapping[str, Sequence[float]], fused: Sequence[FusedLabel], images: Sequence[str]
) -> None:
    """Each extent is of a layer of the recipe and a whole number of its finest pixels.

    Args:
        grid: the section.
        edges: source or label that is read -> pixel edges of its arrays, metres.
        fused: the labels that are made of others.
        images: names of the sources.

    Raises:
        MisplacedError: names the layer, what was found and what to write.
    """
    for name, extent in grid.extents.items():
        where = ("grid", "extents", name)
        if name in {one.layer for one in fused}:
            raise MisplacedError(f"grid.extents: {name} is fused of other labels, on their ground; remove it", where)
        if name.partition(".")[0] in edges and "." in name:
            layer = name.partition(".")[0]
            raise MisplacedError(
                f"grid.extents: {name}: an extent is of a whole layer, all its arrays; write {layer}: {extent:g}", where
            )
        if name not in edges:
            raise MisplacedError(
                f"grid.extents: {name!r} is no source or label of this recipe; known: {sorted(edges)}", where
            )
        finest = min(edges[name])
        count = extent / finest
        if abs(count - round(count)) > _ROUNDING or round(count) < 1:
            down, up = int(count) * finest, (int(count) + 1) * finest
            sizes = f"{up:.10g}" if down == 0 else f"{down:.10g} or {up:.10g}"
            raise MisplacedError(
                f"grid.extents: {name}: {extent:g} is not a whole number of its pixels of {finest:g} m; "
                f"write {sizes}, or another resolution in grid.resolutions",
                where,
            )
    for one in fused:
        voters = [v.label for v in one.named] or [name for name in edges if name not in images]
        mixed = sorted(set(grid.extents) & {*voters, *(images if one.images is None else one.images)})
        if mixed:
            raise MisplacedError(
                f"grid.extents: {mixed[0]} lies on other ground than {one.layer}, which is made of layers over the "
                f"footprint; name other `voters` and `images` in {one.layer}, or remove the extent",
                ("grid", "extents", mixed[0]),
            )


def check_facts(own: Mapping[str, float], facts_from: str | None) -> None:
    """Captions speak of the footprint: classes and objects of another extent would be called its own.

    Args:
        own: layer -> its extent, of those that have one.
        facts_from: label that the recipe takes class shares from; None: the first over the footprint.

    Raises:
        MisplacedError: the label, or the map, has an extent of its own.
    """
    for name, what in (
        (facts_from, "captions.facts_from"),
        ("openstreetmap", "captions name objects of openstreetmap"),
    ):
        if name is not None and name in own:
            raise MisplacedError(
                f"{what}: {name} has an extent of its own, {own[name]:g} m (grid.extents), and captions describe the "
                "footprint; give another layer of that product the extent (`layer: NAME`), or leave captions out",
                ("grid", "extents", name),
            )
