"""All questions that could be asked of one sample."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipelines.questions.asker import Asker
from pipelines.questions.cover import cover
from pipelines.questions.dice import Dice
from pipelines.questions.layers import heights, objects, optical, radar, times

if TYPE_CHECKING:
    from landweave.asked import Scene
    from pipelines.questions.candidate import Candidate
    from pipelines.questions.sources import Sources


def candidates(scene: Scene, sample_id: str, sources: Sources) -> list[Candidate]:
    """All questions that the sample answers."""
    ask = Asker(scene, Dice(f"questions/{sample_id}"), sources)
    label = next((path for path in sources.labels if scene.common(path) is not None), None)
    found: list[Candidate | None] = []
    if label is not None:
        found += cover(ask, label)
    if sources.map:
        found += objects(ask, sources.map)
    if sources.ground:
        found += heights(ask, sources.ground)
    if sources.radar is not None:
        found += radar(ask, sources.radar, label)
    if sources.optical is not None:
        found += optical(ask, sources.optical)
    found += times(ask, sources.dated)
    return [one for one in found if one is not None]
