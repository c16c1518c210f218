"""A labeller turns rasters of an archive, or objects of an extract, into one label map per sample.

The base classes hold what all products have in common; a product adds how its items become scenes, and which of them
fit a sample.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

from pipelines.crosswalks import legend_by
from pipelines.labels.raster import LabelChip, label_map, picked
from sampling.times import day_of_label

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import date, datetime

    from pipelines.access.chips import Reduce
    from pipelines.access.openstreetmap.extract import Extract
    from pipelines.access.openstreetmap.features import OsmFeature
    from schemas.label import LabelMap, Legend, VectorLayer
    from schemas.label_source import RasterLabelEntry, ReadLabel
    from schemas.place import Place
    from schemas.provider import AnyProvider
    from schemas.scene import Candidate, Scene

BAND = "classes"
"""Name of the one band of a raster label's scene (`Scene.assets`, `Scene.radiometry`)."""

C = TypeVar("C", bound="ReadLabel")
R = TypeVar("R", bound="RasterLabelEntry")


@dataclass(frozen=True)
class Labeller(Generic[C]):
    """A label layer with the recipe's settings."""

    product: ClassVar[Legend]
    """Legend of the product as its maker publishes it."""
    config: C
    """The recipe's entry."""

    @property
    def name(self) -> str:
        """Name of the label layer."""
        return self.config.layer

    @property
    def legend(self) -> Legend:
        """Codes, names and colours of the product, with the common classes of the recipe's crosswalk or its own."""
        return legend_by(self.config.crosswalk, self.product)

    def moment(self, place: Place, image: datetime | None) -> datetime | None:
        """The moment that the label of a sample is made for: the recipe's date of the label, else that of its image.

        None: the sample has neither.
        """
        said = getattr(self.config, "date", None)
        return image if said is None else day_of_label(said, place)


class RasterLabeller(Labeller[R], ABC):
    """A label product with rasters in an archive."""

    def maps(self, scenes: Sequence[Scene], place: Place, image: datetime | None) -> tuple[tuple[Candidate, ...], str]:
        """Maps that could label the place, best first, as the recipe's `date` and `pick` say; if there is none, why."""
        when, config = self.moment(place, image), self.config
        if when is None and (config.date is not None or config.pick != "nearest"):
            return (), f"{config.date} has no value here" if config.date is not None else "no image has a date here"
        fitting = scenes if when is None else picked(scenes, when, config.pick)
        if fitting or not scenes:
            return tuple(self.candidates(fitting, place, when)), ""
        years = ", ".join(sorted({f"{s.start:%Y}" for s in scenes}))
        return (), f"maps of {years} are there, none that `pick: {config.pick}` allows for {when:%Y-%m-%d}"

    @property
    def reduce(self) -> Reduce | None:
        """Composite of the maps of one candidate; None = the first map with a valid pixel wins."""
        return None

    @property
    def raster_nodata(self) -> int | None:
        """The raster's own number for 'no label', where it is another than the legend's."""
        return None

    @abstractmethod
    def scene(self, item: Mapping[str, Any], provider_name: str, provider: AnyProvider) -> Scene:
        """One STAC item as a scene.

        Raises:
            ItemRefused: the item lacks a fact that its pixels cannot be read right without.
        """

    @abstractmethod
    def candidates(self, scenes: Sequence[Scene], place: Place, reference_time: datetime | None) -> list[Candidate]:
        """Maps that could label the place, best first; [] if there is none.

        `reference_time` is the time of the image that is labelled; None = the sample has no dated image, then the
        newest map is the best.
        """

    def described_by(self, scenes: Sequence[Scene]) -> Scene:
        """The scene that tells version, period and licence of a map that is made of these."""
        return scenes[0]

    def label(self, scenes: Sequence[Scene], chip: LabelChip, reference_time: datetime | None) -> LabelMap:
        """Pixels and provenance as a label map.

        Args:
            scenes: of the candidate that was read, in its order.
            chip: its pixels.
            reference_time: time of the image that is labelled; the date gap is 0 inside the map's period.

        Raises:
            UnknownCodeError: a valid pixel holds a code that the legend does not know.
        """
        return label_map(
            self.legend,
            self.described_by(scenes),
            chip,
            name=self.name,
            item_ids=tuple(s.item_id for s in scenes),
            reference_time=reference_time,
            nodata=self.raster_nodata,
        )


class VectorLabeller(Labeller[C], ABC):
    """A label made from map objects."""

    def map_day(self, extract: Extract, image: datetime | None) -> date | None:  # noqa: ARG002
        """Day whose map a sample gets of a full history; None = the newest map."""
        return None

    def why_none(self, extract: Extract, objects: int, place: Place, image: datetime | None) -> str:  # noqa: ARG002
        """Why a sample has no class, in words; `objects` touch it."""
        return f"{extract.file} gives no class here ({objects} objects); is the place inside it?"

    @abstractmethod
    def layers(
        self,
        place: Place,
        resolution_m: float,
        features: Sequence[OsmFeature],
        extract: Extract,
        reference_time: datetime | None,
    ) -> tuple[LabelMap, VectorLayer]:
        """The objects that touch the place, rasterised at `resolution_m` metres, and as a list."""
