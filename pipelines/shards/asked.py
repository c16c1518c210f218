"""What the questions of a finished dataset are about: for a note at the end of a build."""

from __future__ import annotations

from typing import TYPE_CHECKING

from landweave.dataset import open_dataset
from pipelines.shards.desk import store_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_WHY = {
    "change": "no sample has both dates, seen well enough",
    "time": "the dates of all samples give the same answers",
    "unanswerable": "every sample has what could be missing",
    "false premise": "every land cover is everywhere, or nowhere",
}
_ELSE = "no sample has the layers, or all samples of a shard would have one answer"


def unasked(out: Path, tasks: Sequence[str] | None) -> list[str]:
    """A line for each of the tasks that a recipe names and of which no question was made; one if there is none at all.

    Args:
        out: folder of a finished dataset with questions, or desk of one in an object store.
        tasks: as the recipe names them; None: all, and only their absence altogether is worth a line.

    Raises:
        LandweaveError: the dataset cannot be read.
    """
    store = store_of(out)
    data = open_dataset(str(out) if store is None else store.url)
    found = data.tasks
    if not found:
        return ["questions: none was made: no sample has enough labelled or measured pixels to be asked about"]
    return [f"questions: none about {task!r}: {_WHY.get(task, _ELSE)}" for task in tasks or () if task not in found]
