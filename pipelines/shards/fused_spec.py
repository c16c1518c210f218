"""The form on disk of a fused label: classes, confidence, votes; on demand, errors and probabilities."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from landweave.layout import ArraySpec, BandSpec, ClassSpec, GroupSpec
from pipelines.shards.codecs import codec_of
from schemas.canonical import canonical_json
from schemas.place import pixels_across

if TYPE_CHECKING:
    from collections.abc import Sequence

    from landweave.layout import DatasetSpec
    from schemas.label import Legend
    from schemas.recipe import Recipe

MEASURES = ("confidence", "agreement", "entropy", "mislabelled")
"""Columns of the catalogue that a label with confidence has besides those of every label; docs/labels.md."""
UNIT = 1.0 / 255.0
"""A probability is stored in 8 bits: 255 = 1."""


def fused_dataset(
    base: DatasetSpec, recipe: Recipe, legend: Legend, layers: Sequence[str], *, calibrated: int
) -> DatasetSpec:
    """The form of a dataset at the places of `base` with a fused label alone.

    Args:
        base: the finished dataset.
        recipe: with one fused label.
        legend: its classes, contiguous from 0.
        layers: label layers that vote.
        calibrated: reference points behind the confidence; 0 = not calibrated.
    """
    return dataclasses.replace(
        base,
        recipe_sha256=recipe.sha256,
        groups=(_group(base, recipe, legend, layers, calibrated),),
        attributes=(),
        shared_ground=(),
        revision=0,
        pages=False,
        packed=(),
        recipe=canonical_json(recipe.model_dump(mode="json")),
    )


def terms_of(base: DatasetSpec, layers: Sequence[str]) -> tuple[str, str]:
    """Licence (SPDX) and attribution of a map made of these layers: ODbL where OpenStreetMap is in it, since a
    database made of one stays under it; else the licence that all have, or 'proprietary' where they differ."""
    groups = [base.group(layer) for layer in layers]
    licences = list(dict.fromkeys(g.licence for g in groups))
    shared = [one for one in licences if one.lower().startswith("odbl")]
    licence = shared[0] if shared else licences[0] if len(licences) == 1 else "proprietary"
    return licence, "; ".join(dict.fromkeys(g.attribution for g in groups if g.attribution))


def _group(base: DatasetSpec, recipe: Recipe, legend: Legend, layers: Sequence[str], calibrated: int) -> GroupSpec:
    label = recipe.fused[0]
    classes = tuple(ClassSpec(code=c.code, name=c.name, colour=c.colour, common=c.common) for c in legend.classes)
    licence, attribution = terms_of(base, layers)
    sure = f"calibrated with {calibrated} reference points" if calibrated else "uncalibrated"
    arrays = [_array(base, recipe, "classes", legend.nodata), _array(base, recipe, "confidence", 0)]
    arrays.append(_array(base, recipe, "votes", 0))
    if label.mislabelled:
        arrays.append(_array(base, recipe, "mislabelled", 0))
    if label.probabilities:
        arrays.append(_array(base, recipe, "probabilities", None, tuple(BandSpec(name=c.name) for c in classes)))
    return GroupSpec(
        name=label.layer,
        kind="label",
        title=f"Land cover fused of {', '.join(layers)}; confidence {sure}",
        slots=(),
        licence=licence,
        attribution=attribution,
        arrays=tuple(arrays),
        classes=classes,
        crosswalk=legend.crosswalk,
    )


def _array(
    base: DatasetSpec, recipe: Recipe, name: str, nodata: int | None, bands: tuple[BandSpec, ...] = ()
) -> ArraySpec:
    group = recipe.fused[0].layer
    resolution = recipe.resolution_of(group, None)
    edge = pixels_across(base.size_m, resolution)
    codes, counts = name == "classes", name == "votes"
    return ArraySpec(
        group=group,
        name=name,
        role="pixels",
        dims=("sample", *(("band",) if bands else ()), "y", "x"),
        sample_shape=(*((len(bands),) if bands else ()), edge, edge),
        dtype="uint8",
        nodata=nodata,
        kind="classes" if codes else "continuous",
        resolution_m=resolution,
        unit="class" if codes else "families" if counts else "1",
        scale=1.0 if codes or counts else UNIT,
        offset=0.0,
        bands=bands or (BandSpec(name=name),),
        codec=codec_of("classes", "uint8", "1", 1, recipe.shards.codec),
    )
