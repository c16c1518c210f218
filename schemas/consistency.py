"""What sections of a recipe must agree on: names, providers, windows, pixels, splits."""

from __future__ import annotations

from typing import TYPE_CHECKING

from schemas import earthengine
from schemas.declared_source import DeclaredSource
from schemas.earthengine import EarthEngineProvider
from schemas.fused import FusedLabel
from schemas.keep import check_names
from schemas.label_date import check_label_date
from schemas.label_source import DynamicWorldLabel, Label, ObjectLabel, OpenStreetMapLabel, ReadLabel
from schemas.modality import MODALITIES
from schemas.osm_channels import LAYER as CHANNELS
from schemas.primitives import MOST_PIXELS
from schemas.sampling import DrawSampling, PointsSampling, Sampling
from schemas.sensors import Sentinel1Source, Source
from schemas.source import DatedSource, ImageSource, RasterSource
from schemas.splits import AnySplits, FoldSplits, SplitsOfFile
from schemas.strata import Subset, check_strata
from schemas.strict import MisplacedError
from schemas.vector_label import VectorLabel

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from schemas.grid import GridSpec
    from schemas.output import Quality
    from schemas.provider import AnyProvider
    from schemas.window import Window


Key = tuple[str | int, ...]
"""Key of the recipe that a mistake is at: ('sources', 0)."""


def _known(where: str, given: Iterable[str], known: Sequence[str], at: Key) -> None:
    for name in given:
        if name not in known:
            raise MisplacedError(f"{where}: {name!r} is none of {list(known)}", at)


def _held_by_earth_engine(entry: RasterSource, kind: str, name: str, provider: EarthEngineProvider) -> None:
    """Earth Engine must hold what is asked for, in the collections that are named."""
    if isinstance(entry, DeclaredSource):
        named = entry.collection_at(name, provider)
        if not named or not all("/" in one for one in named.split(",")):
            raise ValueError(
                f"{kind}: provider {name!r} is Earth Engine, and needs the id of an image collection there; "
                "write `earthengine: MODIS/061/MOD09A1`"
            )
        return
    known, named = earthengine.COLLECTIONS.get(kind, ()), entry.collection_at(name, provider)
    if not known:
        raise ValueError(f"{kind}: Earth Engine (provider {name!r}) does not have it")
    strange = [c for c in named.split(",") if c not in known]
    if strange:
        raise ValueError(f"{kind}: Earth Engine has it in {list(known)}, found {strange[0]!r}")
    if isinstance(entry, Sentinel1Source) and entry.product == "rtc":
        raise ValueError(
            f"{kind}: Earth Engine (provider {name!r}) has sigma0 (GRD) but no terrain-corrected gamma0; "
            "write `product: grd` to use sigma0"
        )


def check_splits(sampling: Sampling, splits: AnySplits) -> None:
    """Splits that a file states need a file; the fold of a sample needs a name of its own."""
    of_file = isinstance(sampling, PointsSampling | DrawSampling)
    if isinstance(splits, SplitsOfFile) and not of_file:
        raise MisplacedError(
            f"{splits.by} takes the splits from column {splits.column!r} of the points file, and "
            f"sampling.kind: {sampling.kind} has none; use kind: points or draw, or other splits",
            ("splits", "by"),
        )
    carried = getattr(sampling, "attributes", ())
    if isinstance(splits, FoldSplits) and "fold" in [name.lower() for name in carried]:
        raise MisplacedError(
            "folds writes the attribute 'fold', and sampling.attributes names it too", ("splits", "by")
        )
    hint = "name the column in sampling.attributes" if of_file else (
        f"sampling.kind: {sampling.kind} has no file with columns, use kind: points or draw"
    )  # fmt: skip
    check_strata(
        ("splits", "stratify"), getattr(splits, "stratify", ()), carried, balanced=_balanced(sampling), hint=hint
    )


def check_subset(sampling: Sampling, subset: Subset | None, known: Sequence[str]) -> None:
    """Attributes whose distribution a subset keeps must be there, `known` without attr_."""
    if subset is not None:
        hint = "name a column in sampling.attributes, or a number of a file in `numbers`"
        check_strata(("subset", "keep"), subset.keep, known, balanced=_balanced(sampling), hint=hint)


def _balanced(sampling: Sampling) -> bool:
    return isinstance(sampling, DrawSampling) and bool(sampling.balance)


def check_crs(grid: GridSpec, sampling: Sampling) -> None:
    """A projection for each point must be a column of its file."""
    column = grid.crs_column
    if column is None:
        return
    if not isinstance(sampling, PointsSampling):
        raise MisplacedError(
            f"{grid.crs} is a column of the points file, and sampling.kind: {sampling.kind} has none; use kind: points",
            ("grid", "crs"),
        )
    if column not in sampling.attributes:
        raise MisplacedError(
            f"{grid.crs}: {column!r} is not in sampling.attributes, which has {list(sampling.attributes)}",
            ("grid", "crs"),
        )


def check_quality(
    quality: Quality,
    sources: Sequence[Source],
    labels: Sequence[ReadLabel],
    dates: Mapping[str, int],
    attributes: Mapping[str, str | None],
    made: Mapping[str, Sequence[str]],
    later: Sequence[str],
) -> None:
    """Rules may be given for the layers and attributes of this recipe only.

    Args:
        quality: the section.
        sources: of the recipe.
        labels: of the recipe.
        dates: source -> number of its dates, 0 = static.
        attributes: attribute or number of the samples -> type of its values; None = a file decides.
        made: derived layer, or channels of the map -> its bands.
        later: fused labels.
    """
    for name, wanted in quality.require.items():
        if name not in dates:
            raise MisplacedError(
                f"{name!r} is no source of this recipe; known: {sorted(dates)}", ("quality", "require")
            )
        slots = max(1, dates[name])
        if wanted != "all" and wanted > slots:
            raise MisplacedError(f"{wanted} dates are required and {slots} are asked for", ("quality", "require", name))
    bands = {s.name: s.modality.band_names for s in sources} | dict(made)
    objects = [x.layer for x in labels if isinstance(x, ObjectLabel) and getattr(x, "objects", True)]
    check_names(quality.keep, bands, [x.layer for x in labels], objects, attributes, later)


def check_fused(
    fused: Iterable[tuple[FusedLabel, Key]], labels: Sequence[ReadLabel], sources: Sequence[Source]
) -> None:
    """Fused labels, each with its place in the recipe, are made of labels that are read, and of images."""
    known, images = [x.layer for x in labels], [s.name for s in sources]
    for one, at in fused:
        _known(f"{one.layer}.voters", [v.label for v in one.named if not v.bands], known, at)
        _known(f"{one.layer}.voters with bands", [v.label for v in one.named if v.bands], images, at)
        _known(f"{one.layer}.images", one.images or (), images, at)


def check_resolutions(grid: GridSpec, sources: Sequence[Source], labels: Sequence[Label]) -> None:
    """Resolutions may be given for the layers of this recipe only."""
    known: dict[str, list[str]] = {x.layer: [] for x in labels}
    known |= {s.name: [x.name for x in s.modality.layers] for s in sources}
    for key in grid.resolutions:
        name, _, layer = key.partition(".")
        where = ("grid", "resolutions", key)
        if name not in known:
            raise MisplacedError(f"{name!r} is no source or label of this recipe; known: {sorted(known)}", where)
        if layer and layer not in known[name]:
            raise MisplacedError(f"{name} has no layer {layer!r}; it has {known[name]}", where)


def check_doubles(
    sources: Sequence[Source],
    labels: Sequence[Label],
    windows: Sequence[Window],
    providers: Mapping[str, AnyProvider],
) -> None:
    """Names of sources, labels and windows must differ, and one Earth Engine project is the limit."""
    listed: dict[str, list[str]] = {
        "sources": [s.name for s in sources],
        "labels": [x.layer for x in labels],
        "windows": [w.name for w in windows],
    }
    engines = [name for name, p in providers.items() if isinstance(p, EarthEngineProvider)]
    if len(engines) > 1:
        raise MisplacedError(f"{engines} are all of kind earthengine; a run can use one project only", ("providers",))
    for what, names in listed.items():
        twice = sorted({k for k in names if names.count(k) > 1})
        if twice:
            hint = "; give each its own `layer: NAME`" if what == "sources" else ""
            second = len(names) - 1 - names[::-1].index(twice[0])
            raise MisplacedError(f"{twice[0]} is listed twice{hint}", (what, second))
    both = sorted(set(listed["sources"]) & set(listed["labels"]))
    if both:
        where = ("sources", listed["sources"].index(both[0]))
        raise MisplacedError(
            f"{both[0]!r} is the name of a source and of a label; give the source another `layer`", where
        )

    reserved = sorted({"attr", "sample", "thumbnail", CHANNELS} & set(listed["sources"]))
    if reserved:
        where = ("sources", listed["sources"].index(reserved[0]))
        raise MisplacedError(f"{reserved[0]!r} has another meaning in the catalogue; choose another `layer`", where)


def check_label_names(labels: Sequence[Label]) -> None:
    """A label may have the name of its own product, of no other layer, and none that columns begin with."""
    for number, label in enumerate(labels):
        if label.layer in {*MODALITIES, "worldcover", "dynamicworld", "openstreetmap"} - {label.kind}:
            raise MisplacedError(f"{label.layer!r} is the name of a built-in layer; choose another", ("labels", number))
        if label.layer == "attr":
            raise MisplacedError("'attr' is the prefix of attribute columns; choose another name", ("labels", number))
        if label.layer == "thumbnail":
            raise MisplacedError("'thumbnail' is the picture of a sample; choose another name", ("labels", number))


def check_dates_of_labels(labels: Sequence[Label], sources: Sequence[Source], known: Sequence[str]) -> None:
    """The date that a label is made for must be there: an attribute (`known`, without attr_), or that of an image."""
    image = any(
        isinstance(s, DatedSource) and not (isinstance(s, DeclaredSource) and s.role == "label") for s in sources
    )
    for number, label in enumerate(labels):
        if isinstance(label, OpenStreetMapLabel | FusedLabel):
            continue
        where = ("labels", number)
        check_label_date(where, label.layer, label.date, known)
        if image or label.date is not None:
            continue
        if isinstance(label, VectorLabel):
            raise MisplacedError(
                f"{label.layer}: `from` and `until` are compared with the date of the image, and no source has dates; "
                "write `date: 2021-06-05` or `date: attr_NAME`",
                where,
            )
        if label.pick != "nearest":
            raise MisplacedError(
                f"{label.layer}: `pick: {label.pick}` compares with the date of the image, and no source has dates; "
                "add `date: 2021-06-05` or `date: attr_NAME`",
                (*where, "pick"),
            )


def check_references(
    entry: Source | Label, providers: Mapping[str, AnyProvider], windows: Sequence[Window], at: Key
) -> None:
    """Providers and windows that an entry names must be defined; `at` is its place in the recipe."""
    if isinstance(entry, RasterSource):
        try:
            _archives_of(entry, providers, at)
        except MisplacedError:
            raise
        except ValueError as error:
            raise MisplacedError(str(error), at) from None
    if isinstance(entry, ImageSource):
        _known(f"{entry.name}.assets", entry.assets, entry.modality.band_names, (*at, "assets"))
    if not isinstance(entry, DatedSource):
        return
    if not windows:
        raise MisplacedError(f"{entry.name}: needs at least one entry in `windows`", at)
    names = [w.name for w in windows]
    series = next((w.name for w in entry.windows_among(windows) if w.every == "scene"), None)
    if entry.composite is not None and series is not None:
        raise MisplacedError(
            f"{entry.name}: `composite: {entry.composite}` makes one date of many scenes, and window "
            f"{series!r} wants each scene as a date; remove one of the two",
            (*at, "composite"),
        )
    for window in entry.windows or ():
        if window not in names:
            raise MisplacedError(
                f"{entry.name}: window {window!r} is not defined; `windows` has {names}", (*at, "windows")
            )


def _archives_of(entry: RasterSource, providers: Mapping[str, AnyProvider], at: Key) -> None:
    """Providers that an entry names must be defined, and must be able to hold it."""
    kind = entry.name if isinstance(entry, DeclaredSource) else str(getattr(entry, "kind", ""))
    for name in entry.providers:
        provider = providers.get(name)
        if provider is None:
            raise MisplacedError(
                f"{kind}: provider {name!r} is not defined; `providers` has {sorted(providers)}", (*at, "providers")
            )
        if isinstance(provider, EarthEngineProvider):
            _held_by_earth_engine(entry, kind, name, provider)
        elif isinstance(entry, DynamicWorldLabel) and entry.composite != "nearest":
            raise ValueError(
                f"{kind}: `composite: {entry.composite}` needs Earth Engine; provider {name!r} is not Earth Engine"
            )
        elif not entry.collection_at(name, provider):
            raise ValueError(f"{kind}: provider {name!r} needs `collection: ID`")
    _known(f"{kind}.collections", entry.collections, entry.providers, (*at, "collections"))


def check_pixels(grid: GridSpec, grounds: Mapping[str, Sequence[tuple[float, float]]]) -> None:
    """The base pixel must divide the footprint; layers of other pixels get as many as cover it.

    `grounds`: layer -> (edge of its ground, edge of its pixels) of each of its arrays, metres.
    """
    every = {"size_m": [(grid.size_m, grid.resolution_m)]} | dict(grounds)
    name, size, edge = max(
        ((name, size, edge) for name, pairs in every.items() for size, edge in pairs), key=lambda one: one[1] / one[2]
    )
    if size / edge > MOST_PIXELS:
        what = f"extents: {name}" if size != grid.size_m else "size_m"
        raise MisplacedError(
            f"{what} {size:g} has {size / edge:,.0f} pixels of {edge:g} m along an edge; the limit is {MOST_PIXELS:,}",
            ("grid",),
        )
    resolution = grid.resolution_m
    count = grid.size_m / resolution
    if abs(count - round(count)) > 1e-6:
        down, up = int(count) * resolution, (int(count) + 1) * resolution
        sizes = f"{up:g}" if down == 0 else f"{down:g} or {up:g}"
        raise MisplacedError(
            f"size_m {grid.size_m:g} is not a whole number of pixels of resolution_m {resolution:g}; "
            f"write size_m: {sizes}, or another resolution_m",
            ("grid", "size_m"),
        )
