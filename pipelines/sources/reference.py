"""The image of a sample that its labels and texts refer to."""

from __future__ import annotations

from typing import TYPE_CHECKING

from schemas.source import DatedSource, OpticalSource

if TYPE_CHECKING:
    from collections.abc import Mapping

    from schemas.recipe import Recipe
    from schemas.stack import Observation


def reference_image(recipe: Recipe, observations: Mapping[tuple[str, int], Observation]) -> Observation | None:
    """The image that decides the date gap of labels and the season in texts.

    It is the earliest date slot that was obtained of the first optical layer in the recipe's order; if no optical layer
    was obtained, of the first dated layer. A layer of numbers to be predicted (`role: label`) is no image.

    Args:
        recipe: says which layers are optical and which are dated, and their order.
        observations: (layer, slot) -> what was obtained of one sample.

    Returns:
        None if no dated layer was obtained.
    """
    dated = [s for s in recipe.sources if isinstance(s, DatedSource) and s.name not in recipe.targets]
    for source in sorted(dated, key=lambda s: not isinstance(s, OpticalSource)):
        slots = [slot for name, slot in observations if name == source.name]
        if slots:
            return observations[source.name, min(slots)]
    return None
