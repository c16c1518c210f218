"""Interface of a sensor: turns items into scenes, scenes into candidates, and values into canonical values."""

from __future__ import annotations

import difflib
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

import numpy as np

from pipelines.access.errors import ItemRefused
from pipelines.sources.candidates import choose_dated
from sampling.times import period_of
from schemas.outcome import Reason
from schemas.scene import newest_revisions
from schemas.source import DatedSource

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from sampling.times import Period
    from schemas.modality import Layer, Modality
    from schemas.place import Place
    from schemas.provider import AnyProvider
    from schemas.scene import Candidate, Scene
    from schemas.source import ImageSource
    from schemas.window import Window

Item = dict[str, Any]
"""A STAC item as JSON gave it: third-party data, trusted in nothing."""


def check_where(item: Item, where: Mapping[str, object]) -> None:
    """Compare an item's properties with those that the recipe asks for; texts without regard to capitals.

    Raises:
        ItemRefused: BAD_ITEM for a property that the item does not have, NO_SCENE for another value.
    """
    said = item.get("properties")
    properties = said if isinstance(said, dict) else {}
    for name, wanted in where.items():
        if name not in properties:
            close = difflib.get_close_matches(name, [str(p) for p in properties], n=1)
            hint = f"did you mean {close[0]!r}?" if close else f"it has {', '.join(sorted(map(str, properties)))[:200]}"
            raise ItemRefused(Reason.BAD_ITEM, f"where: item {item.get('id')!r} has no property {name!r}; {hint}")
        values = wanted if isinstance(wanted, tuple) else (wanted,)
        if _folded(properties[name]) not in [_folded(v) for v in values]:
            found = str(properties[name])[:40]
            raise ItemRefused(Reason.NO_SCENE, f"item {item.get('id')!r} has {name} {found!r}, not what `where` asks")


def _folded(value: object) -> object:
    """The value for comparison: texts in lower case; true and false differ from 1 and 0."""
    return value.casefold() if isinstance(value, str) else (value, isinstance(value, bool))


class SensorSource(ABC):
    """One sensor with a recipe's settings; a base with common defaults. Stateless: equal settings give equal answers.

    A sensor without clouds, and one whose pixels cannot contradict its metadata, keeps the defaults.
    """

    __slots__ = ()

    config: ImageSource
    """The recipe's entry."""

    @property
    def modality(self) -> Modality:
        """The product as this recipe's layer stores it."""
        return self.config.modality

    @property
    def fill(self) -> tuple[float, ...]:
        """Numbers that mean 'no data' in this sensor's products, whatever an asset declares."""
        return ()

    def fill_of(self, layer: Layer) -> tuple[float, ...]:
        """`fill`, for an array of measurements: 0 is a class of some masks."""
        return self.fill if layer.kind == "continuous" else ()

    def parse(self, item: Item, provider_name: str, provider: AnyProvider) -> Scene:
        """`scene` of an item that has the properties that the recipe's `where` asks for.

        Raises:
            ItemRefused: with the reason.
        """
        check_where(item, self.config.where)
        return self.scene(item, provider_name, provider)

    @abstractmethod
    def scene(self, item: Item, provider_name: str, provider: AnyProvider) -> Scene:
        """Parse and judge one item.

        Raises:
            ItemRefused: with the reason.
        """

    def collapse(self, scenes: Sequence[Scene]) -> list[Scene]:
        """Drop every scene that a newer processing of the same product replaces; sorted by item id."""
        return newest_revisions(scenes)

    def candidates(
        self, scenes: Sequence[Scene], place: Place, window: Window | None, occurrence: int = 0
    ) -> list[Candidate]:
        """Possible observations of a place, best first, from metadata alone.

        Args:
            scenes: Collapsed scenes of one provider.
            place: The sample.
            window: The date slot's window; None for a static source.
            occurrence: Which of the window's `count` slots: a window is cut into that many equal periods.
        """
        return self.candidates_at(scenes, [place], window, occurrence)[0]

    @abstractmethod
    def candidates_at(
        self, scenes: Sequence[Scene], places: Sequence[Place], window: Window | None, occurrence: int = 0
    ) -> list[list[Candidate]]:
        """`candidates` of many places at once: same arguments, a list for each place."""

    def candidates_in(
        self,
        scenes: Sequence[Scene],
        places: Sequence[Place],
        period: Period | Sequence[Period] | None,
        most: int | None = None,
    ) -> list[list[Candidate]]:
        """`candidates_at` of a dated source, for a period of all places, or one for each; `most` candidates, else as
        many as the recipe says."""
        assert isinstance(self.config, DatedSource)  # noqa: S101 - only sources with windows are asked
        return choose_dated(self.config, scenes, places, period, most)

    def cloud_mask(self, layer: NDArray[np.generic]) -> NDArray[np.bool_]:
        """(y, x) of the cloud layer's canonical numbers -> True = cloud, cloud shadow or cirrus."""
        return np.zeros(layer.shape[-2:], np.bool_)

    def contradiction(
        self,
        scenes: Sequence[Scene],  # noqa: ARG002 - a sensor that knows better overrides this
        bands: Mapping[str, tuple[NDArray[Any], NDArray[np.bool_]]],  # noqa: ARG002
    ) -> str | None:
        """Why the pixels cannot be what the metadata says, in one sentence; None if they can.

        `bands`: band name -> (numbers as delivered, valid), (y, x) each.
        """
        return None


class DatedSensor(SensorSource):
    """Base of the sensors that observe a place again and again."""

    __slots__ = ()

    config: DatedSource

    def candidates_at(
        self, scenes: Sequence[Scene], places: Sequence[Place], window: Window | None, occurrence: int = 0
    ) -> list[list[Candidate]]:
        """Parts of one acquisition are mosaicked where a chip needs several of them."""
        return self.candidates_in(scenes, places, None if window is None else period_of(window, occurrence))
