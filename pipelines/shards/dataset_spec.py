"""The arrays on disk that a recipe defines: groups, shapes and dtypes."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from landweave.layout import ArraySpec, AttributeSpec, BandSpec, ClassSpec, DatasetSpec, GroupSpec, SharedGround
from pipelines.shards.codecs import codec_of
from pipelines.shards.packs import packed
from pipelines.shards.pages import PAGED_ROWS
from schemas.canonical import canonical_json
from schemas.label_source import OpenStreetMapLabel, RasterLabel
from schemas.number import of_files
from schemas.place import pixels_across
from schemas.vector_label import VectorLabel

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from schemas.attribute import AttributeType
    from schemas.label import Legend
    from schemas.label_source import ReadLabel
    from schemas.modality import Layer, Modality
    from schemas.recipe import Recipe


_LABEL_TITLES = {
    "worldcover": "ESA WorldCover land cover",
    "dynamicworld": "Dynamic World land cover",
    "openstreetmap": "OpenStreetMap land cover, rasterised, and objects",
}
_LABEL_TERMS = {
    "worldcover": ("CC-BY-4.0", "(c) ESA WorldCover project / Contains modified Copernicus Sentinel data"),
    "dynamicworld": (
        "CC-BY-4.0",
        "Dynamic World Project by Google in partnership with National Geographic Society and World Resources Institute",
    ),
}
"""Licence (SPDX) and attribution as the products' own pages demand them: esa-worldcover.org/en/data-access,
dynamicworld.app/about, openstreetmap.org/copyright."""


def dataset_spec(
    recipe: Recipe,
    shards: int,
    legends: Mapping[str, Legend],
    attributes: Mapping[str, AttributeType] = MappingProxyType({}),
    shard_samples: int | None = None,
    shared: Sequence[Mapping[str, Any]] = (),
) -> DatasetSpec:
    """The form of the dataset that a recipe and the plan's number of shards lead to.

    Args:
        recipe: the resolved recipe.
        shards: number of shards in the plan.
        legends: label name -> legend, for every label of the recipe.
        attributes: name -> type of what samples carry along from a points file.
        shard_samples: rows of a shard, as the plan says; None: as the recipe does.
        shared: ground that splits share, as the plan says: fields of `landweave.layout.SharedGround`.

    Raises:
        KeyError: a label of the recipe has no legend in `legends`.
    """
    groups = [_modality(recipe, s.modality, tuple(w.name for w in recipe.slots_of(s))) for s in recipe.sources]
    groups += [_modality(recipe, derived.modality, derived.slots) for derived in recipe.derived_layers]
    for label in recipe.read_labels:
        if label.layer not in legends:
            raise KeyError(f"no legend for label {label.layer!r}; legends were given for {sorted(legends)}")
        groups.append(_label(recipe, label, legends[label.layer]))
    if recipe.channels is not None:
        groups.append(_modality(recipe, recipe.channels, ()))
    each = recipe.shards.size(0) if shard_samples is None else shard_samples
    return DatasetSpec(
        name=recipe.name,
        description=recipe.description,
        licence=recipe.licence,
        recipe_sha256=recipe.sha256,
        shards=shards,
        shard_samples=each,
        size_m=recipe.grid.size_m,
        resolution_m=recipe.grid.resolution_m,
        groups=tuple(groups),
        attributes=_attributes(recipe, attributes),
        shared_ground=tuple(SharedGround(**one) for one in shared),
        recipe=canonical_json(recipe.model_dump(mode="json")),
        questions=None if recipe.questions is None else 0,
        pages=shards * each <= PAGED_ROWS,
        packed=packed(groups, recipe.shards.requests_per_sample),
    )


def _attributes(recipe: Recipe, carried: Mapping[str, AttributeType]) -> tuple[AttributeSpec, ...]:
    """Attributes of the plan, and the numbers that the build computes, by name."""
    said = {
        name: (carried[name], entry.unit, entry.description or f"{entry.column} of {entry.file}")
        for name, entry in of_files(recipe.numbers).items()
        if name in carried
    }
    said |= {m.name: (m.kind, m.unit, m.description) for m in recipe.measured}
    found = {name: (kind, "", "") for name, kind in carried.items()} | said
    return tuple(
        AttributeSpec(name=name, dtype=kind, unit=unit, description=about)
        for name, (kind, unit, about) in sorted(found.items())
    )


def _modality(recipe: Recipe, modality: Modality, slots: tuple[str, ...]) -> GroupSpec:
    stored = modality.name not in recipe.derived and modality is not recipe.channels
    resolutions = {
        layer.name: recipe.resolution_of(modality.name, layer.name) if stored else layer.resolution_m
        for layer in modality.layers
    }
    shared = _Shared(recipe, modality.name, tuple(resolutions.values()))
    with_bands = [layer.name for layer in modality.layers if layer.has_band_axis]
    arrays = []
    for layer in modality.layers:
        band_dim = "band" if len(with_bands) == 1 else f"band_{layer.name.removeprefix('bands_')}"
        arrays.append(_pixels(modality.name, layer, slots, shared, band_dim, resolutions[layer.name]))
    arrays.append(_mask(modality.name, "valid", slots, shared, min(resolutions.values())))
    if modality.cloud_layer is not None:
        arrays.append(_mask(modality.name, "cloud", slots, shared, resolutions[modality.cloud_layer]))
    return GroupSpec(
        name=modality.name,
        kind="modality",
        title=modality.title,
        slots=slots,
        licence=modality.licence,
        attribution=modality.attribution,
        arrays=tuple(arrays),
        target=modality.name in recipe.targets,
    )


class _Shared:
    """What a group's arrays share: dimensions 'y', 'x' on one grid, else 'y_10m', 'x_10m'; their ground; the choice of
    codecs."""

    def __init__(self, recipe: Recipe, group: str, resolutions: tuple[float, ...]) -> None:
        self._size_m = recipe.size_of(group)
        self.margin_m = (self._size_m - recipe.grid.size_m) / 2.0
        self._one = len(set(resolutions)) == 1
        self.aim = recipe.shards.codec
        self.bands_per_chunk = recipe.shards.bands_per_chunk.get(group, 0)

    def dims(self, resolution_m: float) -> tuple[str, str]:
        suffix = "" if self._one else f"_{resolution_m:g}m"
        return (f"y{suffix}", f"x{suffix}")

    def shape(self, resolution_m: float) -> tuple[int, int]:
        edge = pixels_across(self._size_m, resolution_m)
        return (edge, edge)


def _pixels(
    group: str, layer: Layer, slots: tuple[str, ...], shared: _Shared, band_dim: str, resolution_m: float
) -> ArraySpec:
    dims, shape = _leading(slots)
    together = 0
    if layer.has_band_axis:
        dims, shape = (*dims, band_dim), (*shape, len(layer.bands))
        together = shared.bands_per_chunk if shared.bands_per_chunk < len(layer.bands) else 0
    return ArraySpec(
        group=group,
        name=layer.name,
        role="pixels",
        dims=(*dims, *shared.dims(resolution_m)),
        sample_shape=(*shape, *shared.shape(resolution_m)),
        dtype=layer.dtype,
        nodata=layer.nodata,
        kind=layer.kind,
        resolution_m=resolution_m,
        unit=layer.unit,
        scale=layer.scale,
        offset=layer.offset,
        bands=tuple(
            BandSpec(name=b.name, common_name=b.common_name, center_um=b.center_um, fwhm_um=b.fwhm_um)
            for b in layer.bands
        ),
        codec=codec_of(layer.kind, layer.dtype, layer.unit, len(layer.bands), shared.aim),
        margin_m=shared.margin_m,
        bands_per_chunk=together,
    )


def _mask(group: str, name: str, slots: tuple[str, ...], shared: _Shared, resolution_m: float) -> ArraySpec:
    dims, shape = _leading(slots)
    return ArraySpec(
        group=group,
        name=name,
        role="valid" if name == "valid" else "cloud",
        dims=(*dims, *shared.dims(resolution_m)),
        sample_shape=(*shape, *shared.shape(resolution_m)),
        dtype="bool",
        nodata=None,
        kind="mask",
        resolution_m=resolution_m,
        unit="1",
        scale=1.0,
        offset=0.0,
        bands=(),
        codec=codec_of("mask", "bool", "1", 0, shared.aim),
        margin_m=shared.margin_m,
    )


def _label(recipe: Recipe, label: ReadLabel, legend: Legend) -> GroupSpec:
    name = label.layer
    resolution_m = recipe.resolution_of(name, None)
    shared = _Shared(recipe, name, (resolution_m,))
    classes = ArraySpec(
        group=name,
        name="classes",
        role="pixels",
        dims=("sample", *shared.dims(resolution_m)),
        sample_shape=shared.shape(resolution_m),
        dtype=legend.dtype,
        nodata=legend.nodata,
        kind="classes",
        resolution_m=resolution_m,
        unit="class",
        scale=1.0,
        offset=0.0,
        bands=(BandSpec(name="classes"),),
        codec=codec_of("classes", legend.dtype, "class", 1, shared.aim),
        margin_m=shared.margin_m,
    )
    title, licence, attribution = _terms(label)
    return GroupSpec(
        name=name,
        kind="label",
        title=title,
        slots=(),
        licence=licence,
        attribution=attribution,
        arrays=(classes,),
        classes=tuple(ClassSpec(code=c.code, name=c.name, colour=c.colour, common=c.common) for c in legend.classes),
        vectors=isinstance(label, OpenStreetMapLabel) or (isinstance(label, VectorLabel) and label.objects),
        crosswalk=legend.crosswalk,
    )


def licences_of(recipe: Recipe) -> dict[str, str]:
    """Layer -> SPDX id, of every sensor and label of a recipe."""
    sources = {source.name: source.modality.licence for source in recipe.sources}
    return sources | {label.layer: _terms(label)[1] for label in recipe.read_labels}


def _terms(label: ReadLabel) -> tuple[str, str, str]:
    """Title, licence (SPDX) and attribution of a label layer."""
    if isinstance(label, RasterLabel | VectorLabel):
        return label.product or label.layer, label.licence, label.attribution
    if isinstance(label, OpenStreetMapLabel):
        return _LABEL_TITLES[label.kind], label.licence, label.attribution
    return (_LABEL_TITLES[label.kind], *_LABEL_TERMS[label.kind])


def _leading(slots: tuple[str, ...]) -> tuple[tuple[str, ...], tuple[int, ...]]:
    return (("sample", "time"), (len(slots),)) if slots else (("sample",), ())
