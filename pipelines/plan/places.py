"""Writes the samples of a dataset as the first part of its plan: partitions of neighbouring shards."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from pipelines.access.openstreetmap.download import obtain, prepare_obtained
from pipelines.access.openstreetmap.extract import file_sha256
from pipelines.access.openstreetmap.features import FeatureStore
from pipelines.access.openstreetmap.merge import merge
from pipelines.access.openstreetmap.near import Near
from pipelines.durable import read_regular, write_durably
from pipelines.plan.indexes import large_index
from pipelines.plan.maps import notes_of_edits, prepared_maps
from pipelines.plan.own_vectors import notes_of, own_vectors, prepare_vectors
from pipelines.progress import ProgressPrinter
from pipelines.tables import PLACES, PLAN_VERSION, LayerFound, Why, write_samples, write_shard_table, write_texts
from sampling import locate
from sampling.errors import SamplingError
from sampling.numbers import with_numbers
from sampling.splits import SPLITS
from sampling.texts import texts_of
from schemas.keep import check_types
from schemas.label_source import OpenStreetMapLabel
from schemas.number import files_of
from schemas.outcome import Reason
from schemas.sampling import DrawSampling, PointsSampling
from schemas.texts import ColumnCaptions, FileCaptions

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import date
    from pathlib import Path

    from pipelines.access.openstreetmap.extract import Extract
    from pipelines.recipes import RecipeFile
    from sampling import Located, Packed
    from sampling.geobox import Footprints
    from schemas.attribute import AttributeType
    from schemas.recipe import Recipe

_METRES_PER_DEGREE = 111_195
"""Of latitude, on a sphere of 6,371 km."""
PART_SAMPLES = 16_384
"""Approximate samples per partition: planned together, in memory, and planned again if not finished."""


_LEFT_OUT = ("attributes", "shared", "leaks", "map_found", "vectors", "vectors_found")
"""Fields that are not written where they are empty."""


@dataclass(frozen=True, kw_only=True)
class Laid:
    """Summary of a plan after its places are written."""

    identity: dict[str, Any]
    """Recipe, plan version and input files that the places come from."""
    samples: int
    shards: int
    parts: int
    splits: dict[str, int]
    left_out: dict[str, int]
    notes: list[str]
    inputs: dict[str, str] = field(default_factory=dict)
    """Files the plan is made from -> SHA-256; the map extract -> its name."""
    extract: str | None = None
    """File name of the prepared map extract in the work folder."""
    vectors: dict[str, str] = field(default_factory=dict)
    """Layer of the user's own vectors -> file name of what is prepared of them in the work folder."""
    vectors_found: dict[str, Any] = field(default_factory=dict)
    """Layer -> `LayerFound.json` of it."""
    map_found: dict[str, Any] = field(default_factory=dict)
    """`LayerFound.json` of the map extract; {} without one."""
    attributes: dict[str, AttributeType] = field(default_factory=dict)
    """Name -> type of what samples carry along from the points file; left out of the file where there is none."""
    bounds: list[float] = field(default_factory=list)
    """West, south, east, north of the samples' centres, degrees; west > east where they cross the antimeridian."""
    shared: list[dict[str, Any]] = field(default_factory=list)
    """`sampling.shared.SharedGround` as JSON; left out of the file where there is none."""
    leaks: list[dict[str, Any]] = field(default_factory=list)
    """`sampling.leakage.Leakage` as JSON; left out of the file where there is none."""


def identity_of(file: RecipeFile) -> dict[str, Any]:
    """Inputs that determine the places of a plan."""
    return {"version": PLAN_VERSION, "recipe": file.recipe.sha256, "inputs": inputs_of(file)}


def lay(file: RecipeFile, folder: Path, work: Path) -> Laid:
    """Place, pack and write the samples of a recipe, unless `folder` already holds all of them.

    Args:
        file: the recipe and its folder.
        folder: of the plan under way; emptied by the caller where it belongs to something else.
        work: folder for the prepared map extract.

    Raises:
        SamplingError: the recipe's area or points cannot be used.
        SettingError: an environment variable is missing.
        RecipeError: the recipe names a file that does not exist, or that it may not read.
    """
    known = laid_in(folder)
    if known is not None:
        return known
    recipe, identity = file.recipe, identity_of(file)  # looks at the files before anything reads them
    located = with_numbers(locate(recipe, file.folder), recipe, file.folder)
    attributes = {a.name: a.kind for a in located.attributes}
    _check_rules(recipe, attributes)
    if large := large_index(recipe, recipe.shards.size(len(located))):
        raise SamplingError(large)
    extract = map_extract(file, work, located.footprints)
    vectors = vector_extracts(file, work, located.footprints)
    shards = located.packed(recipe.shards)
    folder.mkdir(parents=True, exist_ok=True)
    write_durably(folder / "recipe.json", recipe.model_dump_json(indent=2) + "\n")
    groups = shards.neighbourhoods(PART_SAMPLES)
    write_shard_table(folder, groups, np.diff(shards.starts))
    for number, group in enumerate(groups):
        write_samples(folder, number, ((s, located.columns(shards.shard(s))) for s in group.tolist()), attributes)
    notes = [*located.notes, *_give_texts(file, folder, located, shards), *notes_of(vectors), *notes_of_edits(extract)]
    split = np.bincount(located.split, minlength=len(SPLITS)).tolist()
    inputs = identity["inputs"] | ({} if extract is None else {"openstreetmap": extract.name})
    inputs |= {layer: one.name for layer, one in vectors.items()}
    found = {layer: _map_found(one, located.footprints, recipe.size_of(layer)).json() for layer, one in vectors.items()}
    laid = Laid(
        identity=identity,
        samples=len(located),
        shards=len(shards),
        parts=len(groups),
        splits=dict(sorted((name, count) for name, count in zip(SPLITS, split, strict=True) if count)),
        left_out=dict(sorted(located.left_out.items())),
        notes=notes,
        inputs=dict(sorted(inputs.items())),
        extract=None if extract is None else extract.parquet.name,
        vectors={layer: one.parquet.name for layer, one in vectors.items()},
        vectors_found=found,
        map_found={} if extract is None else _map_found(extract, located.footprints, _map_size(recipe)).json(),
        attributes=attributes,
        bounds=_bounds(located.footprints),
        shared=[asdict(s) for s in located.shared],
        leaks=[asdict(x) for x in located.leaks],
    )
    content = {k: v for k, v in asdict(laid).items() if v or k not in _LEFT_OUT}
    write_durably(folder / PLACES, json.dumps(content, indent=2, sort_keys=True) + "\n")
    return laid


def _check_rules(recipe: Recipe, attributes: Mapping[str, AttributeType]) -> None:
    try:
        check_types(recipe.quality.keep, attributes)
    except ValueError as error:
        raise SamplingError(str(error)) from None


def _give_texts(file: RecipeFile, folder: Path, located: Located, shards: Packed) -> list[str]:
    """Write the texts that a file gives to the samples; a note if some have none."""
    captions = file.recipe.captions
    if not isinstance(captions, ColumnCaptions | FileCaptions):
        return []
    shard = np.empty(len(located), dtype=np.int64)
    shard[shards.order] = np.repeat(np.arange(len(shards)), np.diff(shards.starts))
    names = located.names(located.key)
    texts = texts_of(captions, located, file.recipe.points_file, file.folder)
    having = write_texts(folder, ((int(shard[i]), names[i], found) for i, found in texts))
    if having == len(located):
        return []
    return [f"captions: {len(located) - having:,} of {len(located):,} samples have no text ({captions.source})"]


def laid_in(folder: Path) -> Laid | None:
    """Stored summary of a plan's places; None if they are incomplete."""
    try:
        return Laid(**json.loads(read_regular(folder / PLACES)))
    except (OSError, ValueError, TypeError):
        return None


def map_extract(file: RecipeFile, work: Path, footprints: Footprints | None = None) -> Extract | None:
    """Read what the OpenStreetMap extract has near the samples once, for all shards; None = no such label.

    Args:
        file: the recipe and its folder.
        work: folder for the prepared extract.
        footprints: of all samples; found again from the recipe if absent.
    """
    for label in file.recipe.read_labels:
        if isinstance(label, OpenStreetMapLabel):
            extracts = [obtain(pbf, file.folder, work, anywhere=pbf in file.own_words) for pbf in label.extracts]
            grounds = locate(file.recipe, file.folder).footprints if footprints is None else footprints
            near = Near.footprints(grounds.lon, grounds.lat, file.recipe.near_m([label.layer]))
            prepared = [_prepared(extract, work, near, label.date) for extract in extracts]
            return merge([*prepared, *prepared_maps(file, label, work, near)], work)
    return None


def vector_extracts(file: RecipeFile, work: Path, footprints: Footprints | None = None) -> dict[str, Extract]:
    """Layer -> what the user's own file of vectors has near the samples, prepared once for all shards.

    Arguments as for `map_extract`.
    """
    if not own_vectors(file.recipe):
        return {}
    grounds = locate(file.recipe, file.folder).footprints if footprints is None else footprints
    layers = [label.layer for label in own_vectors(file.recipe)]
    near = Near.footprints(grounds.lon, grounds.lat, file.recipe.near_m(layers))
    return prepare_vectors(file, work, near)


def _map_size(recipe: Recipe) -> float:
    """Edge of the ground of the label of OpenStreetMap, metres."""
    return max(recipe.size_of(x.layer) for x in recipe.read_labels if isinstance(x, OpenStreetMapLabel))


def _prepared(extract: Path, work: Path, near: Near, at: Literal["image"] | date | None) -> Extract:
    progress = ProgressPrinter(f"reading {extract.name}", "MB")

    def in_mb(done: int, whole: int) -> None:
        if whole >= 10_000_000:  # less is read at once
            progress(done // 1_000_000, whole // 1_000_000)

    return prepare_obtained(extract, work, near, in_mb, at)


def _map_found(extract: Extract, footprints: Footprints, size_m: float) -> LayerFound:
    """Samples inside the extract's bounding box, and objects of the extract that cannot be drawn."""
    with FeatureStore(extract.parquet) as store:
        west, south, east, north = extract.bounds or store.bounds
    lon, lat = footprints.lon, footprints.lat
    high = size_m / 2 / _METRES_PER_DEGREE
    wide = high / np.cos(np.radians(lat))
    inside = (lat >= south - high) & (lat <= north + high) & (lon >= west - wide) & (lon <= east + wide)
    layer = LayerFound(wanted=len(footprints), found=int(inside.sum()))
    if layer.found < layer.wanted:
        covered = (
            f"it covers {west:.4g} to {east:.4g} E, {south:.4g} to {north:.4g} N" if west <= east else "it has none"
        )
        why = Why(reason=Reason.LABEL_MISSING.value, provider=extract.file, detail=f"it has no object here: {covered}")
        layer.absent[why] = layer.wanted - layer.found
    for (name, words), number in extract.lost.items():
        layer.dropped[Why(reason=Reason.BAD_ITEM.value, provider=name, detail=words)] = number
    return layer


def inputs_of(file: RecipeFile) -> dict[str, str]:
    """SHA-256 of every file that the places depend on, by its name in the recipe."""
    sampling = file.recipe.sampling
    named = [("sampling.area.file", sampling.area.file)]
    if isinstance(sampling, PointsSampling):
        named.append(("sampling.file", sampling.file))
    if isinstance(sampling, DrawSampling):
        named.append(("sampling.from.file", sampling.frame.file))
    if isinstance(file.recipe.captions, FileCaptions):
        named.append(("captions.file", file.recipe.captions.file))
    named += [(f"labels.{v.layer}.file", v.file) for v in own_vectors(file.recipe) if _is_here(v.file)]
    named += files_of(file.recipe.numbers)
    return {name: file_sha256(file.file(where, name)) for where, name in named if name is not None}


def _bounds(footprints: Footprints) -> list[float]:
    """(west, south, east, north): the shortest span of longitudes that holds all centres."""
    lon = np.unique(footprints.lon)
    gaps = np.diff(lon, append=lon[0] + 360.0)
    last = int(np.argmax(gaps))
    west, east = lon[(last + 1) % len(lon)], lon[last]
    return [round(float(v), 4) for v in (west, footprints.lat.min(), east, footprints.lat.max())]


def _is_here(said: str) -> bool:
    """Whether a file lies beside the recipe, and not behind an address or a variable."""
    return "://" not in said and not said.startswith("$")
