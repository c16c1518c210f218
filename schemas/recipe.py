"""The recipe file: one dataset in one YAML file, validated, hashed, and stored with its dataset."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Self

from pydantic import Field, model_validator

from schemas.captions import Captions, LlmCaptions
from schemas.chunks import check_chunks
from schemas.consistency import (
    check_crs,
    check_dates_of_labels,
    check_doubles,
    check_fused,
    check_label_names,
    check_pixels,
    check_quality,
    check_references,
    check_resolutions,
    check_splits,
    check_subset,
)
from schemas.declared import LayerName
from schemas.declared_source import DeclaredSource
from schemas.derived import Derived, Expression, Input, resolved
from schemas.extent import check_extents, check_facts
from schemas.fused import FusedLabel
from schemas.grid import GridSpec
from schemas.identity import sha256_of
from schemas.label_source import Label, OpenStreetMapLabel
from schemas.number import Measured, Numbers, check_numbers, measured, of_files
from schemas.osm_channels import LAYER as CHANNELS
from schemas.osm_channels import modality_of
from schemas.output import Quality, Shards
from schemas.place import Place, pixels_across
from schemas.provider import ProviderEntry
from schemas.questions import Questions, check_questions
from schemas.sampling import DrawSampling, PointsSampling, Sampling
from schemas.sensors import Source
from schemas.source import DatedSource
from schemas.splits import AnySplits, FoldSplits, Splits
from schemas.strata import Subset
from schemas.strict import MisplacedError, Name, Strict
from schemas.text_sets import MOST_SETS, Texts, check_text_sets
from schemas.texts import ColumnCaptions
from schemas.window import Window, check_windows

if TYPE_CHECKING:
    from collections.abc import Collection

    from schemas.label_source import ReadLabel
    from schemas.modality import Modality


class Recipe(Strict):
    """One dataset."""

    name: Name
    description: str = Field(default="", max_length=4_000)
    licence: str = Field(default="proprietary", max_length=64, description="SPDX id of the dataset as a whole")
    seed: int = Field(ge=0, lt=2**63)
    limit: int | None = Field(
        default=None,
        gt=0,
        exclude_if=lambda number: number is None,
        description="trial: keep this many samples, spread evenly over all of them (--limit on the command line)",
    )
    sampling: Sampling
    grid: GridSpec
    windows: tuple[Window, ...] = Field(default=(), max_length=366)
    providers: dict[Name, ProviderEntry] = Field(default_factory=dict)
    sources: tuple[Source, ...] = Field(description="sensors; [] for a dataset of labels only")
    labels: tuple[Label, ...] = ()
    derived: dict[LayerName, Expression] = Field(
        default_factory=dict,
        max_length=64,
        exclude_if=lambda stated: not stated,
        description="name -> expression over bands and labels, computed for every sample: "
        "'ndvi: (sentinel2.B08 - sentinel2.B04) / (sentinel2.B08 + sentinel2.B04)'; docs/derived.md has the grammar",
    )
    numbers: Numbers = Field(default_factory=dict)
    captions: Captions | None = None
    questions: Questions | None = Field(
        default=None,
        exclude_if=lambda stated: stated is None,
        description="questions and answers about every sample, beside the captions",
    )
    texts: tuple[Texts, ...] = Field(
        default=(),
        max_length=MOST_SETS,
        exclude_if=lambda stated: not stated,
        description="sets of texts that are added when the dataset is finished, by `build` or `add`; docs/texts.md",
    )
    quality: Quality = Field(default_factory=Quality)
    splits: AnySplits = Field(default_factory=Splits)
    subset: Subset | None = Field(
        default=None,
        exclude_if=lambda subset: subset is None,
        description="keep some of the samples, with the distribution of all over splits and attributes",
    )
    shards: Shards = Field(default_factory=Shards)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if not self.sources and not self.labels:
            raise ValueError("sources and labels are both empty: name at least one")
        check_doubles(self.sources, self.labels, self.windows, self.providers)
        check_label_names(self.labels)
        dated = {s.name: s.windows for s in self.sources if isinstance(s, DatedSource)}
        check_numbers(self.numbers, self.carried)
        check_windows(self.windows, (*self.carried, *of_files(self.numbers)), dated)
        for key in ("sources", "labels"):
            for number, entry in enumerate(getattr(self, key)):
                check_references(entry, self.providers, self.windows, (key, number))
        check_dates_of_labels(self.labels, self.sources, (*self.carried, *of_files(self.numbers)))
        fused_at = [(x, ("labels", n)) for n, x in enumerate(self.labels) if isinstance(x, FusedLabel)]
        check_fused(fused_at, self.read_labels, self.sources)
        labels = [x.layer for x in self.read_labels]
        wanted = self.captions.facts_from if self.captions is not None else None
        if wanted is not None and wanted not in labels:
            raise MisplacedError(f"facts_from {wanted!r} is not among the labels {labels}", ("captions", "facts_from"))
        products = [(s.modality, len(self.slots_of(s))) for s in self.sources if s.name not in self.extents]
        check_questions(self.questions, [x.layer for x in self.read_labels if x.layer not in self.extents], products)
        if isinstance(self.captions, LlmCaptions) and self.captions.prompt.endswith(".txt"):
            raise MisplacedError(
                "a prompt of your own works in `texts` only: put this entry there, with a name", ("captions", "prompt")
            )
        check_text_sets(self.texts, tuple(x.layer for x in self.labels))
        check_resolutions(self.grid, self.sources, self.labels)
        check_extents(self.grid, self._edges(), self.fused, [s.name for s in self.sources])
        check_pixels(self.grid, {n: [(self.size_of(n), edge) for edge in e] for n, e in self._edges().items()})
        _ = self.derived_layers, self.measured
        if self.captions is not None and self.captions.kind in ("template", "llm"):
            check_facts(self.extents, wanted)
        for one in self.texts:
            check_facts(self.extents, one.facts_from)
        layers = {name: self.modality_of(name) for name in (*self.modalities, *self.made)}
        check_chunks(self.shards.bands_per_chunk, layers, [x.layer for x in self.labels])
        check_splits(self.sampling, self.splits)
        check_subset(self.sampling, self.subset, (*self.carried, *of_files(self.numbers)))
        check_crs(self.grid, self.sampling)
        dates = {s.name: len(self.slots_of(s)) for s in self.sources}
        known: dict[str, str | None] = dict.fromkeys((*self.carried, *of_files(self.numbers)))
        known |= {m.name: m.kind for m in self.measured}
        made = {name: self.modality_of(name).band_names for name in self.made}
        fused = [x.layer for x in self.fused]
        check_quality(self.quality, self.sources, self.read_labels, dates, known, made, fused)
        if isinstance(self.captions, ColumnCaptions) and self.points_file is None:
            raise MisplacedError(
                f"kind column takes texts from the file of the samples, and sampling.kind: {self.sampling.kind} has "
                "none; use kind: points or draw, or captions of kind: file",
                ("captions", "kind"),
            )
        return self

    @cached_property
    def read_labels(self) -> tuple[ReadLabel, ...]:
        """The labels that are read, in order: all but the fused ones."""
        return tuple(x for x in self.labels if not isinstance(x, FusedLabel))

    @cached_property
    def fused(self) -> tuple[FusedLabel, ...]:
        """The labels that are made of others after all samples are there, in order."""
        return tuple(x for x in self.labels if isinstance(x, FusedLabel))

    @cached_property
    def base(self) -> Recipe:
        """The recipe without fused labels and texts: what is planned and built before they are added."""
        if not self.fused and not self.texts:
            return self
        made, said = {x.layer for x in self.fused}, self.model_dump(mode="json")
        said.pop("texts", None)
        said["labels"] = [one for one in said["labels"] if one["kind"] != "fused"]
        resolutions = said["grid"]["resolutions"]
        said["grid"]["resolutions"] = {key: value for key, value in resolutions.items() if key not in made}
        return Recipe.model_validate(said)

    @cached_property
    def textless(self) -> Recipe:
        """The recipe without texts: what is there before they are added."""
        return self.model_copy(update={"texts": ()}) if self.texts else self

    @property
    def points_file(self) -> str | None:
        """File that the samples come from, relative to the recipe."""
        if isinstance(self.sampling, DrawSampling):
            return self.sampling.frame.file
        return self.sampling.file if isinstance(self.sampling, PointsSampling) else None

    @property
    def carried(self) -> tuple[str, ...]:
        """Attributes that samples have from the file of the points, or from the rule of the splits."""
        fold = ("fold",) if isinstance(self.splits, FoldSplits) else ()
        return (*getattr(self.sampling, "attributes", ()), *fold)

    @property
    def dates(self) -> set[str]:
        """Attributes that hold dates, without attr_: those that windows are around and that labels are made for."""
        of_labels = [getattr(label, "date", None) for label in self.read_labels]
        named = {said.removeprefix("attr_") for said in of_labels if isinstance(said, str)}
        return named | {window.attribute for window in self.windows if window.attribute is not None}

    @property
    def overhang_m(self) -> float:
        """How much wider than the footprint the pixels of any layer reach, metres: 20 for the 60 m bands of Sentinel-2
        over 2,560 m, 1,920 for an extent of 2,560 m around 640 m; 0 where every layer's pixels fill the footprint."""
        return max((self.reach_of(name) for name in self._edges()), default=0.0) - self.grid.size_m

    @property
    def widest_m(self) -> float:
        """Edge of the widest ground of a layer, or of the footprint, metres: splits are audited over it."""
        return max([self.grid.size_m, *self.extents.values()])

    def reach_of(self, name: str) -> float:
        """Edge of the ground that the pixels of a layer cover, metres: its extent, or the footprint, and what its last
        row and column reach beyond."""
        return max(self.pixels_of(name, edge) * edge for edge in self._edges()[name])

    def near_m(self, layers: Collection[str]) -> float:
        """Edge of the ground around a sample that these layers may need objects of, metres: that of their pixels and of
        all that lies on the footprint."""
        return max(self.reach_of(name) for name in self._edges() if name in layers or name not in self.extents)

    def _edges(self) -> dict[str, list[float]]:
        """Source or label -> pixel edge of each of its arrays, metres."""
        edges = {x.layer: [self.resolution_of(x.layer, None)] for x in self.labels}
        return edges | {s.name: [self.resolution_of(s.name, y.name) for y in s.modality.layers] for s in self.sources}

    @property
    def resolutions(self) -> set[float]:
        """Pixel edges of all arrays of the dataset, metres."""
        return {edge for edges in self._edges().values() for edge in edges} | {
            d.resolution_m for d in self.derived_layers
        }

    @cached_property
    def extents(self) -> dict[str, float]:
        """Layer -> edge of its ground, metres, for those whose ground is not the footprint."""
        found = {name: size for name, size in self.grid.extents.items() if size != self.grid.size_m}
        if self._channelled is not None and self._channelled.layer in found:
            found[CHANNELS] = found[self._channelled.layer]
        return found | {d.name: d.extent_m for d in self.derived_layers if d.extent_m is not None}

    def size_of(self, name: str) -> float:
        """Edge of the ground of a layer, metres: its own extent, else the footprint's."""
        return self.extents.get(name, self.grid.size_m)

    def pixels_of(self, name: str, resolution_m: float) -> int:
        """Number of pixels of edge `resolution_m` that cover the ground of a layer along an edge."""
        return pixels_across(self.size_of(name), resolution_m)

    def place_of(self, place: Place, name: str) -> Place:
        """A sample's place as a layer sees it: its `geobox` is the layer's own ground, around the same centre."""
        size = self.extents.get(name)
        if size is None:
            return place
        return replace(place, geobox=place.geobox.about(size, self._finest[name]))

    @cached_property
    def _finest(self) -> dict[str, float]:
        """Layer -> edge of its finest pixels, metres."""
        found = {name: min(edges) for name, edges in self._edges().items()}
        if self.channels is not None:
            found[CHANNELS] = self.channels.layers[0].resolution_m
        return found | {d.name: d.resolution_m for d in self.derived_layers}

    @cached_property
    def targets(self) -> frozenset[str]:
        """Layers of numbers to be predicted."""
        found = {s.name for s in self.sources if isinstance(s, DeclaredSource) and s.role == "label"}
        return frozenset(found if self.channels is None else {*found, self.channels.name})

    @cached_property
    def channels(self) -> Modality | None:
        """The layer of OpenStreetMap's channels, on the grid of its classes; None where the recipe asks for none."""
        label = self._channelled
        if label is None:
            return None
        return modality_of(label.channels, self.resolution_of(label.layer, None), label.licence, label.attribution)

    @cached_property
    def _channelled(self) -> OpenStreetMapLabel | None:
        return next((x for x in self.labels if isinstance(x, OpenStreetMapLabel) and x.channels), None)

    @cached_property
    def modalities(self) -> dict[str, Modality]:
        """Layer of images -> the product as this recipe stores it."""
        return {s.name: s.modality for s in self.sources}

    @property
    def made(self) -> tuple[str, ...]:
        """Layers that are made of others: derived ones, and the channels of the map."""
        return (*self.derived, *([] if self.channels is None else [self.channels.name]))

    def modality_of(self, layer: str) -> Modality:
        """The product of a layer that is no label: of a source, a derived layer, or the channels of the map."""
        if layer in self.modalities:
            return self.modalities[layer]
        if self.channels is not None and layer == self.channels.name:
            return self.channels
        return next(d.modality for d in self.derived_layers if d.name == layer)

    def dates_of(self, layer: str) -> int:
        """Date slots of a layer that is no label; 1 where it is static."""
        made = {d.name: len(d.slots) for d in self.derived_layers}
        source = self._source(layer)
        return max(1, made.get(layer, 0) if source is None else len(self.slots_of(source)))

    def resolution_of(self, modality: str, layer: str | None) -> float:
        """Pixel edge in metres of a modality's layer (or of a label) in this dataset: override, else native."""
        overrides = self.grid.resolutions
        if layer is not None and f"{modality}.{layer}" in overrides:
            return overrides[f"{modality}.{layer}"]
        if modality in overrides:
            return overrides[modality]
        if modality in self.modalities and layer is not None:
            return self.modalities[modality].layer(layer).resolution_m
        return self.grid.resolution_m

    def slots_of(self, source: Source) -> tuple[Window, ...]:
        """The window of each date slot of a source, in order (a window with count n stands n times); static: ().

        Windows of months or `dates` stand as one window with `start` and `end` for each.
        """
        if not isinstance(source, DatedSource):
            return ()
        found: list[Window] = []
        for window in source.windows_among(self.windows):
            anchor = self._source(window.follows)
            found += [
                w for w in window.parts() for _ in range(w.count if anchor is None else len(self.slots_of(anchor)))
            ]
        return tuple(found)

    @cached_property
    def composed(self) -> frozenset[str]:
        """Layers whose dates are made of many scenes each."""
        return frozenset(s.name for s in self.sources if isinstance(s, DatedSource) and s.composite is not None)

    @cached_property
    def derived_layers(self) -> tuple[Derived, ...]:
        """The layers of `derived`, checked."""
        return resolved(self.derived, self._inputs()) if self.derived else ()

    @cached_property
    def measured(self) -> tuple[Measured, ...]:
        """The entries of `numbers` that are computed from pixels, checked."""
        if not self.numbers:
            return ()
        derived = {
            d.name: Input(bands=(d.name,), slots=d.slots, resolution_of={d.name: d.resolution_m}, units={d.name: "1"})
            for d in self.derived_layers
        }
        return measured(self.numbers, self._inputs() | derived)

    def _inputs(self) -> dict[str, Input]:
        """What expressions may use: bands of sources, classes of labels."""
        found = {
            source.name: Input(
                bands=source.modality.band_names,
                slots=tuple(window.name for window in self.slots_of(source)),
                resolution_of={
                    band.name: self.resolution_of(source.name, layer.name)
                    for layer in source.modality.layers
                    for band in layer.bands
                },
                licence=source.modality.licence,
                attribution=source.modality.attribution,
                kinds={b.name: layer.kind for layer in source.modality.layers for b in layer.bands},
                units={b.name: layer.unit for layer in source.modality.layers for b in layer.bands},
                native={b.name: layer.resolution_m for layer in source.modality.layers for b in layer.bands},
                extent_m=self._extent_of(source.name),
            )
            for source in self.sources
        }
        for label in self.read_labels:
            edge = self.resolution_of(label.layer, None)
            found[label.layer] = Input(
                bands=("classes",), slots=(), resolution_of={"classes": edge}, kinds={"classes": "classes"},
                extent_m=self._extent_of(label.layer),
            )  # fmt: skip
        return found

    def _extent_of(self, name: str) -> float | None:
        """The extent of a source or label, where it is not the footprint's."""
        size = self.grid.extents.get(name)
        return None if size == self.grid.size_m else size

    def anchor_of(self, source: Source, slot: int) -> tuple[str, int] | None:
        """(layer, date slot) whose chosen scene a date slot of a source is to be near to; None if there is none."""
        slots = self.slots_of(source)
        if not slots or slots[slot].follows is None:
            return None
        return str(slots[slot].follows), slot - slots.index(slots[slot])

    def _source(self, layer: str | None) -> Source | None:
        return next((s for s in self.sources if s.name == layer), None)

    @property
    def sha256(self) -> str:
        """Hash of what the recipe says, fields that equal their defaults left out, lower-case hex: its identity."""
        return sha256_of(self)
