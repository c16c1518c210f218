"""Turns the pixels of chosen scenes into one observation: canonical values, validity, cloud, provenance."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from pipelines.access.chips import Chip, ChipRequest
from schemas.outcome import Reason
from schemas.stack import Observation

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from pipelines.sources.sensor import SensorSource
    from schemas.modality import Layer
    from schemas.place import Place
    from schemas.recipe import Recipe
    from schemas.scene import Candidate, Radiometry, Scene


_TABLED = (np.dtype(np.uint8), np.dtype(np.uint16))
"""Numbers that are converted by a table of all of them, which costs a fifth,"""
_TABLED_FROM = 1 << 12
"""where there are more of them than this, pixels."""
Unusable = tuple[Reason, str]
"""Why a candidate that was read cannot be used: reason and detail for the ledger."""


@dataclass(frozen=True, slots=True)
class ObservationRequest:
    """One observation to read: a place, a date slot, and the plan's candidates, best first."""

    place: Place
    slot: int
    candidates: tuple[Candidate, ...]
    by_time: bool = False
    """True: the first candidate that keeps the recipe's limits is taken, however much clearer another one is."""


@dataclass(frozen=True, slots=True)
class Ask:
    """One read: some bands of one layer from one scene, or from several scenes of one radiometry mosaicked."""

    layer: Layer
    bands: tuple[str, ...]
    """Names, in the order of the request's band indices."""
    radiometry: tuple[Radiometry, ...]
    """Of each band."""
    request: ChipRequest


@dataclass(frozen=True, slots=True)
class Layered:
    """One layer on its own grid."""

    values: NDArray[Any]
    """(band, y, x), canonical numbers, fill where not valid."""
    valid: NDArray[np.bool_]
    """(band, y, x), True = measured."""
    resampling: str


def asks(source: SensorSource, layer: Layer, scenes: Sequence[Scene], place: Place, resolution_m: float) -> list[Ask]:
    """What to read for one layer of one candidate. Bands of one file are read together; scenes whose numbers mean the
    same are laid into one window before any warp, so that no seam shows; others are read apart, in order."""
    geobox = place.geobox.at(resolution_m)
    names = [b.name for b in layer.bands]
    alike = all(
        [_numbers(s.radiometry[n]) for n in names] == [_numbers(scenes[0].radiometry[n]) for n in names]
        and [s.assets[n].index for n in names] == [scenes[0].assets[n].index for n in names]
        for s in scenes
    )
    found = []
    for group in [tuple(scenes)] if alike else [(s,) for s in scenes]:
        files: dict[tuple[tuple[str, ...], tuple[float, ...]], list[str]] = {}
        for name in names:
            hrefs = tuple(s.assets[name].href for s in group)
            declared = group[0].radiometry[name].nodata
            fill = tuple(sorted({*source.fill_of(layer), *(() if declared is None else (declared,))}))
            files.setdefault((hrefs, fill), []).append(name)
        for (hrefs, fill), bands in files.items():
            found.append(
                Ask(
                    layer,
                    tuple(bands),
                    tuple(group[0].radiometry[n] for n in bands),
                    ChipRequest(
                        hrefs=hrefs,
                        bands=tuple(group[0].assets[n].index for n in bands),
                        geobox=geobox,
                        kernel=layer.kernel,
                        fill=fill,
                        epsgs=tuple(s.epsg for s in group),
                        grids=tuple((s.assets[bands[0]].shape, s.assets[bands[0]].transform) for s in group),
                    ),
                )
            )
    return found


def observe(
    source: SensorSource,
    recipe: Recipe,
    place: Place,
    slot: int,
    scenes: Sequence[Scene],
    reads: Sequence[tuple[Ask, Chip]],
) -> Observation | Unusable:
    """Combine the pixels that were read into an observation, and apply the limits of the recipe.

    Args:
        source: The sensor.
        recipe: For resolutions.
        place: The sample.
        slot: Its date slot.
        scenes: The candidate's scenes in mosaicking order.
        reads: All asks of all layers with their chips.

    Returns:
        The observation; or BAD_ITEM (the pixels contradict the metadata), TOO_LITTLE_VALID, TOO_CLOUDY.
    """
    modality = source.modality
    problem = source.contradiction(scenes, delivered(reads))
    if problem is not None:
        return Reason.BAD_ITEM, problem
    layers = {
        layer.name: assemble(layer, [(a, c) for a, c in reads if a.layer.name == layer.name])
        for layer in modality.layers
    }
    finest = min(recipe.resolution_of(modality.name, layer.name) for layer in modality.layers)
    shape = place.geobox.at(finest).shape
    valid = np.ones(shape, np.bool_)
    for name, found in layers.items():
        coarse_m = recipe.resolution_of(modality.name, name)
        valid &= enlarged(np.asarray(found.valid.all(axis=0)), shape, coarse_m / finest)
    fraction = float(np.count_nonzero(valid)) / valid.size
    cloud, cloud_share = None, None
    if modality.cloud_layer is not None:
        sky = layers[modality.cloud_layer]
        cloud = source.cloud_mask(sky.values[0]) & sky.valid[0]
        seen = int(np.count_nonzero(valid))
        coarse_m = recipe.resolution_of(modality.name, modality.cloud_layer)
        cloudy = int(np.count_nonzero(enlarged(cloud, shape, coarse_m / finest) & valid))
        cloud_share = cloudy / seen if seen else None
    broken = limit_broken(source, fraction, cloud_share)
    if broken is not None:
        return broken
    names = modality.band_names
    return Observation(
        modality=modality.name,
        slot=slot,
        datetime=scenes[0].datetime,
        arrays={
            layer.name: layers[layer.name].values if layer.has_band_axis else layers[layer.name].values[0]
            for layer in modality.layers
        },
        valid=valid,
        cloud=cloud,
        valid_fraction=fraction,
        cloud_fraction=cloud_share,
        item_ids=tuple(s.item_id for s in scenes),
        provider=scenes[0].provider,
        radiometry={n: "; ".join(dict.fromkeys(s.radiometry[n].rule for s in scenes)) for n in names},
        resampling={name: found.resampling for name, found in layers.items()},
        facts=facts_of_scenes(scenes),
        licence="; ".join(dict.fromkeys(s.licence for s in scenes)),
        terrain=None if modality.name in recipe.extents else modality.terrain,
    )


def limit_broken(source: SensorSource, valid: float, cloud: float | None) -> Unusable | None:
    """The limit of the recipe that a chip breaks, by its share of measured pixels and, of these, of cloud; or None."""
    least, most = source.config.limits.min_valid, source.config.limits.max_cloud
    if valid < least or valid == 0.0:
        return Reason.TOO_LITTLE_VALID, f"{valid:.1%} of the chip is measured, at least {least:.1%} is required"
    if cloud is not None and cloud > most:
        return Reason.TOO_CLOUDY, f"{cloud:.1%} of the chip is cloud, at most {most:.1%} is allowed"
    return None


def assemble(layer: Layer, reads: Sequence[tuple[Ask, Chip]]) -> Layered:
    """One layer from its reads, in canonical numbers; the first valid pixel counts."""
    names = [b.name for b in layer.bands]
    shape = reads[0][0].request.geobox.shape
    whole = np.dtype(layer.dtype).kind != "f"
    fill = layer.nodata if layer.nodata is not None else 0 if whole else math.nan
    values = np.full((len(names), *shape), fill, np.dtype(layer.dtype))
    valid = np.zeros(values.shape, np.bool_)
    kernels = set()
    for ask, chip in reads:
        used = False
        for i, name in enumerate(ask.bands):
            band = names.index(name)
            numbers, good = canonical(chip.pixels[i], chip.valid[i], ask.radiometry[i], layer)
            take = good & ~valid[band]
            if take.all():
                values[band] = numbers
            else:
                np.copyto(values[band], numbers, where=take)
            valid[band] |= take
            used = used or bool(take.any())
        if used:
            kernels.add(chip.resampling)
    interpolated = kernels - {"none"}
    return Layered(values, valid, interpolated.pop() if interpolated else "none")


def canonical(
    numbers: NDArray[Any], valid: NDArray[np.bool_], rule: Radiometry, layer: Layer
) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """Converts delivered numbers to those that the modality stores.

    Whole numbers: clip(floor(dn * gain + offset + 0.5)) to the dtype's range and `clip_min`, and never onto the fill
    value. Floats: as they are, or between decibels and linear power. Where not valid, the numbers mean nothing.

    Returns:
        (numbers in the layer's dtype, valid): power that is not positive has no decibels and becomes invalid.
    """
    dtype = np.dtype(layer.dtype)
    if dtype.kind == "f":
        out = np.where(valid, numbers, np.nan).astype(np.float64)
        if rule.to_db:
            valid = valid & (out > 0.0)
            out = 10.0 * np.log10(np.where(valid, out, 1.0))
        elif rule.to_linear:
            out = 10.0 ** (out / 10.0)
        else:
            out = out * rule.gain + rule.offset_dn
        return np.where(valid, out, math.nan if layer.nodata is None else layer.nodata).astype(dtype), valid
    if numbers.dtype == dtype and (rule.gain, rule.offset_dn) == (1.0, 0.0) and rule.clip_min is None:
        return numbers, valid
    if numbers.dtype in _TABLED and numbers.size > _TABLED_FROM:
        return _table(numbers.dtype.str, rule, layer)[numbers], valid
    return _whole(np.where(valid, numbers, 0), rule, layer), valid


def _whole(numbers: NDArray[Any], rule: Radiometry, layer: Layer) -> NDArray[Any]:
    """Delivered numbers of valid pixels as the whole numbers that a layer stores."""
    dtype = np.dtype(layer.dtype)
    limits = np.iinfo(dtype)
    low = limits.min if rule.clip_min is None else max(limits.min, math.ceil(rule.clip_min))
    if layer.nodata is not None and low == layer.nodata and layer.kind == "continuous":
        low += 1
    scaled = numbers.astype(np.float64) * rule.gain + rule.offset_dn
    out: NDArray[Any] = np.clip(np.floor(scaled + 0.5), low, limits.max).astype(dtype)
    if layer.nodata is not None and limits.min < layer.nodata < limits.max and layer.kind == "continuous":
        out[out == layer.nodata] += 1
    return out


@lru_cache(maxsize=64)
def _table(dtype: str, rule: Radiometry, layer: Layer) -> NDArray[Any]:
    """What each number of an unsigned dtype becomes."""
    return _whole(np.arange(np.iinfo(dtype).max + 1, dtype=dtype), rule, layer)


def enlarged(mask: NDArray[np.bool_], shape: tuple[int, int], factor: float) -> NDArray[np.bool_]:
    """A mask (y, x) on a finer grid of the same corner: each fine pixel takes the coarse one over its centre.

    Args:
        mask: (y, x).
        shape: (rows, columns) of the finer grid.
        factor: edge of a coarse pixel in fine ones, at least 1.
    """
    if factor == 1.0:
        return mask
    rows, columns = (
        np.minimum((np.arange(fine) + 0.5) / factor, coarse - 1).astype(np.intp)
        for fine, coarse in zip(shape, mask.shape, strict=True)
    )
    found: NDArray[np.bool_] = mask.take(rows, axis=0).take(columns, axis=1)
    return found


def delivered(reads: Sequence[tuple[Ask, Chip]]) -> dict[str, tuple[NDArray[Any], NDArray[np.bool_]]]:
    """Band -> numbers as delivered; of bands read in several parts, the first."""
    found: dict[str, tuple[NDArray[Any], NDArray[np.bool_]]] = {}
    for ask, chip in reads:
        for i, name in enumerate(ask.bands):
            found.setdefault(name, (chip.pixels[i], chip.valid[i]))
    return found


def _numbers(rule: Radiometry) -> tuple[object, ...]:
    return (rule.gain, rule.offset_dn, rule.clip_min, rule.nodata, rule.to_db, rule.to_linear)


def facts_of_scenes(scenes: Sequence[Scene]) -> dict[str, str | float | None]:
    """Common value of all scenes; if they differ, the value of each, in order."""
    found: dict[str, str | float | None] = {}
    for name in sorted({k for s in scenes for k in s.facts}):
        said = list(dict.fromkeys(s.facts.get(name) for s in scenes))
        found[name] = said[0] if len(said) == 1 else "; ".join(str(v) for v in said)
    return found
