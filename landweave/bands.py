"""Bands of an array: their names, the chunks that hold them, their coordinates in xarray."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from landweave.errors import UnknownNameError, unknown

if TYPE_CHECKING:
    from collections.abc import Iterable

    from landweave.layout import ArraySpec, DatasetSpec


class Piece(NamedTuple):
    """One chunk of a date, and what is shown of it."""

    number: int
    """Its place among the chunks of the date."""
    bands: list[int] | None
    """Which bands of the chunk are shown, in the batch's order; None: all, or no band axis."""
    where: slice | list[int] | None
    """Which bands of the batch they are; None: all, or no band axis."""
    plain: bool
    """Whether it stays as it is on disk, so that it can be decoded into place."""


def pieces_of(array: ArraySpec, bands: tuple[int, ...] | None, *, as_stored: bool) -> tuple[Piece, ...]:
    """The chunks of a date that hold bands (None: all); `as_stored`: whether nothing but bands is chosen."""
    each = array.bands_per_chunk
    if not each:
        return (Piece(0, None if bands is None else list(bands), None, as_stored and bands is None),)
    wanted, held = tuple(range(array.chip_shape[0])) if bands is None else bands, array.chip_shape[0]
    found = []
    for number in range(array.chunks_per_date):
        first, stop = number * each, min(number * each + each, held)
        where = [i for i, band in enumerate(wanted) if first <= band < stop]
        if not where:
            continue
        inside = [wanted[i] - first for i in where]
        run = where == list(range(where[0], where[0] + len(where)))
        whole = inside == list(range(stop - first))
        place = slice(where[0], where[0] + len(where)) if run else where
        found.append(Piece(number, inside, place, as_stored and run and whole))
    return tuple(found)


def named(spec: DatasetSpec, modality: str, wanted: Iterable[str]) -> tuple[str, ...]:
    """Names of bands that were requested by name or by common name ('red')."""
    bands = [b for a in spec.group(modality).arrays for b in a.bands]
    names, found = [b.name for b in bands], []
    for asked in [wanted] if isinstance(wanted, str) else wanted:
        common = [b.name for b in bands if b.common_name == asked]
        if asked not in names and len(common) > 1:
            raise UnknownNameError(
                f"bands: {modality} has several bands with the common name {asked!r}: choose one of {common}"
            )
        if asked not in names and not common:
            held = sorted({b.common_name for b in bands if b.common_name})
            raise UnknownNameError(f"bands: {modality} has {unknown('band', asked, [*names, *held])}")
        found.append(asked if asked in names else common[0])
    return tuple(found)


def wavelengths(array: ArraySpec, dim: str) -> dict[str, Any]:
    """Coordinates along the band axis: centre wavelength and width, micrometres; none for sensors without."""
    found: dict[str, Any] = {}
    tail = dim.removeprefix("band")
    for name, field in (("wavelength", "center_um"), ("fwhm", "fwhm_um")):
        numbers = [getattr(b, field) for b in array.bands]
        if any(n is not None for n in numbers):
            about = {"units": "um", "long_name": "centre wavelength" if name == "wavelength" else "full width half max"}
            found[f"{name}{tail}"] = (dim, np.array([np.nan if n is None else n for n in numbers]), about)
    return found
