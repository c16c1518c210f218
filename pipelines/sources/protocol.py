"""What a sensor is to the factory: items become scenes, scenes become candidates, numbers become canonical."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from schemas.modality import Modality
    from schemas.outcome import Reason
    from schemas.place import Place
    from schemas.recipe import AnyProvider, DatedSource, DemSource, Window
    from schemas.scene import Candidate, Scene

Item = dict[str, Any]
"""A STAC item as JSON gave it: third-party data, trusted in nothing."""


class SceneRejected(ValueError):  # noqa: N818 - a judgement, not a fault
    """An item that this source cannot or must not use."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        """BAD_ITEM: its pixels cannot be read right. NO_SCENE: it is not what the recipe asks for."""
        self.detail = detail


class SensorSource(Protocol):
    """One sensor as one recipe wants it. Stateless: equal configurations give equal answers."""

    @property
    def config(self) -> DatedSource | DemSource:
        """The recipe's entry."""
        ...

    @property
    def modality(self) -> Modality:
        """The modality as this recipe stores it (Sentinel-1's unit is the recipe's choice)."""
        ...

    @property
    def fill(self) -> tuple[float, ...]:
        """Numbers that mean 'no data' in this sensor's products, whatever an asset declares."""
        ...

    def scene(self, item: Item, provider_name: str, provider: AnyProvider) -> Scene:
        """Parse and judge one item.

        Raises:
            SceneRejected: with the reason.
        """
        ...

    def collapse(self, scenes: Sequence[Scene]) -> list[Scene]:
        """Drop what a newer processing of the same product replaces; sorted by item id."""
        ...

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
        ...

    def candidates_at(
        self, scenes: Sequence[Scene], places: Sequence[Place], window: Window | None, occurrence: int = 0
    ) -> list[list[Candidate]]:
        """`candidates` of many places, looked at together: same arguments, a list for each place."""
        ...

    def cloud_mask(self, layer: NDArray[np.generic]) -> NDArray[np.bool_]:
        """(y, x) of the cloud layer's canonical numbers -> True = cloud, cloud shadow or cirrus."""
        ...

    def contradiction(
        self, scenes: Sequence[Scene], bands: Mapping[str, tuple[NDArray[Any], NDArray[np.bool_]]]
    ) -> str | None:
        """Why the pixels cannot be what the metadata says, in one sentence; None where they can.

        `bands`: band name -> (numbers as delivered, valid), (y, x) each.
        """
        ...
