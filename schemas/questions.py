"""The `questions` section of a recipe: questions and answers about every sample."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal, get_args

from pydantic import AfterValidator, Field

from schemas.strict import MisplacedError, Strict

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from schemas.modality import Modality

Task = Literal[
    "presence", "area", "count", "comparison", "rank", "region", "referring", "relation", "description",
    "false premise", "length", "elevation", "radar", "vegetation", "change", "time", "clouds", "place", "unanswerable",
]  # fmt: skip
"""What a question asks for; docs/questions.md explains each."""
TASKS: tuple[str, ...] = get_args(Task)
MOST_PAIRS = 64
"""Most pairs of one sample."""
_COVER = ("presence", "area", "comparison", "rank", "region", "referring", "relation", "description", "false premise")


def _some(tasks: tuple[str, ...]) -> tuple[str, ...]:
    twice = next((t for t in tasks if tasks.count(t) > 1), None)
    if not tasks or twice is not None:
        raise ValueError(f"name each task once, {'not ' + repr(twice) + ' twice' if twice else 'or leave `tasks` out'}")
    return tasks


class Questions(Strict):
    """Questions and answers from a sample's arrays and tables, balanced within every shard."""

    kind: Literal["questions"] = "questions"
    per_sample: int = Field(default=12, ge=1, le=MOST_PAIRS, description="most pairs per sample")
    facts_from: str | None = Field(
        default=None, description="label layer that land cover is asked from; the first that a sample has if absent"
    )
    tasks: Annotated[tuple[Task, ...], AfterValidator(_some)] | None = Field(
        default=None, description="kinds of questions to ask; all if absent"
    )


def check_questions(asked: Questions | None, labels: Sequence[str], sources: Sequence[tuple[Modality, int]]) -> None:
    """Every task that the recipe names has a layer that answers it, and without names there is any.

    Args:
        asked: the section.
        labels: layers of labels that are read and lie over the footprint.
        sources: product and number of dates of each source over the footprint; 0 = static.

    Raises:
        MisplacedError: one has none.
    """
    if asked is None:
        return
    if asked.facts_from is not None and asked.facts_from not in labels:
        raise MisplacedError(
            f"{asked.facts_from!r} is not among the labels over the footprint, {list(labels)}",
            ("questions", "facts_from"),
        )
    has = _held(labels, sources)
    for task in asked.tasks or ():
        needs = _NEEDS[task]
        if not any(has[need] for need in needs):
            wanted = " or ".join(_WORDS[need] for need in needs)
            raise MisplacedError(f"{task!r} asks about {wanted}, and this recipe has none", ("questions", "tasks"))
    if not any(has[need] for needs in _NEEDS.values() for need in needs if need != "place"):
        listed = " or ".join(_WORDS[need] for need in ("cover", "ground", "radar", "optical"))
        raise MisplacedError(f"no layer of this recipe answers questions: they need {listed}", ("questions",))


_WORDS = {
    "cover": "a label",
    "map": "a label of kind openstreetmap",
    "ground": "a layer of elevations (kind: dem)",
    "radar": "a radar layer in decibels with VV or VH",
    "optical": "an optical layer with red and near infrared bands",
    "pairs": "a radar or optical layer of two or more dates",
    "dates": "a radar or optical layer with dates",
    "clouds": "an optical layer with a cloud mask",
    "place": "a place",
}
_NEEDS: Mapping[str, tuple[str, ...]] = {
    **dict.fromkeys(_COVER, ("cover",)),
    "count": ("cover", "map"),
    "length": ("map",),
    "elevation": ("ground",),
    "radar": ("radar",),
    "vegetation": ("optical",),
    "change": ("pairs",),
    "time": ("dates",),
    "clouds": ("clouds",),
    "place": ("dates",),
    "unanswerable": ("ground", "radar", "optical"),
}
"""Task -> what it needs, any of these."""


def _held(labels: Sequence[str], sources: Sequence[tuple[Modality, int]]) -> dict[str, bool]:
    """What the layers of a recipe bear."""
    found = dict.fromkeys(_WORDS, False)
    found["cover"] = bool(labels)
    found["map"] = "openstreetmap" in labels
    for modality, dates in sources:
        optical = radar = False
        for layer in modality.layers:
            common, names = {b.common_name for b in layer.bands}, {b.name for b in layer.bands}
            optical |= "red" in common and bool({"nir", "nir08"} & common) and layer.kind == "continuous"
            radar |= layer.unit.startswith("dB") and bool({"VV", "VH", "HH", "HV"} & names)
        found["ground"] |= modality.terrain is not None
        found["optical"] |= optical
        found["radar"] |= radar
        found["pairs"] |= dates > 1 and (optical or radar)
        found["dates"] |= dates > 0 and (optical or radar)
        found["clouds"] |= optical and modality.cloud_layer is not None
    return found
