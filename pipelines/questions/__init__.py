"""Questions and answers about samples, made from their arrays and tables, each with the evidence that proves it."""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING, Any

from landweave.asked import Scene
from landweave.facts import objects_of, road_length_of
from landweave.questions import told
from pipelines.questions.ask import candidates
from pipelines.questions.dice import Dice
from pipelines.questions.select import chosen
from pipelines.questions.sources import sources_of
from pipelines.questions.wording import VERSION, worded
from schemas.outcome import Reason
from schemas.questions import Questions

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from datetime import datetime

    from numpy.typing import NDArray

    from landweave.layout import DatasetSpec, Json
    from pipelines.questions.candidate import Candidate
    from pipelines.questions.sources import Sources
    from schemas.recipe import Recipe
    from schemas.stack import Stack

__all__ = ["VERSION", "ShardQuestions", "questions_for", "scene_of_stack", "sources_of"]


class ShardQuestions:
    """The questions of a shard's samples: candidates are collected sample by sample, and chosen at the end."""

    def __init__(self, sources: Sources, most: int, shard: int, tasks: Sequence[str] | None = None) -> None:
        """`sources`: layers to ask about; `most`: pairs of a sample; `shard`: its number; `tasks`: all if None."""
        self._sources, self._most, self._shard, self._tasks = sources, most, shard, tasks
        self._found: dict[str, list[Candidate]] = {}
        self._rows: dict[str, int] = {}

    def add(self, scene: Scene, sample_id: str, row: int) -> None:
        """Collect what can be asked of one sample, which stands in row `row` of the shard."""
        found = candidates(scene, sample_id, self._sources)
        self._found[sample_id] = [c for c in found if self._tasks is None or c.family.task in self._tasks]
        self._rows[sample_id] = row

    def rows(self) -> list[Json]:
        """Rows of questions/<shard>.parquet (`landweave.questions.COLUMNS`), by sample and conversation."""
        picked = chosen(self._found, self._most, self._shard)
        return [row for sample, listed in picked.items() for row in self._of_sample(sample, listed)]

    def _of_sample(self, sample: str, listed: Sequence[Candidate]) -> list[Json]:
        dice = Dice(f"words/{sample}")
        made = []
        for dialogue, first in enumerate(listed):
            for turn, one in enumerate((first, *first.follows)):
                row = _row(one, dice, f"{dialogue}/{turn}")
                where = {"sample_id": sample, "row": self._rows[sample], "dialogue": dialogue, "turn": turn}
                made.append(where | row)
        return made


def _row(one: Candidate, dice: Dice, name: str) -> Json:
    """The words of a question and its evidence."""
    key = one.wording or one.family.name
    evidence: Json = {**one.query.record(), "asked": worded(f"{key} asked", dice, name), "noun": one.noun}
    if one.options:
        evidence["options"] = list(one.options)
    else:
        evidence["said"] = worded(f"{key} said", dice, name, one.found.value)
    if one.unit:
        evidence["unit"] = one.unit
    if one.query.op != "outline":
        evidence["value"] = one.found.value
    evidence["tolerance"] = one.tolerance
    question, answer, options, mask = told(one.query, one.found, evidence)
    return {
        "task": one.family.task,
        "family": one.family.name,
        "form": one.family.form,
        "question": question,
        "options": list(options),
        "answer": answer,
        "mask": mask,
        "layers": list(one.layers),
        "evidence": json.dumps(evidence, separators=(",", ":"), ensure_ascii=True),
        "version": VERSION,
    }


class NoQuestions:
    """Of a recipe that asks none."""

    def passing(self, stacks: Iterator[Stack]) -> Iterator[Stack]:
        """The stacks, as they are."""
        return stacks

    def rows(self) -> list[Json]:
        """None."""
        return []


class StackQuestions:
    """The questions of a shard, collected while its stacks pass by on their way to the writer."""

    def __init__(self, recipe: Recipe, form: DatasetSpec, shard: int) -> None:
        """Of shard `shard` of a recipe with questions; `form`: of its dataset."""
        wanted = recipe.questions or Questions()
        labels = [x.layer for x in recipe.read_labels if wanted.facts_from in (None, x.layer)]
        terrain = {s.name: s.modality.terrain for s in recipe.sources if s.modality.terrain is not None}
        self._form, self._row = form, 0
        sources = sources_of(form, labels, terrain)
        self._shard = ShardQuestions(sources, wanted.per_sample, shard, wanted.tasks)

    def passing(self, stacks: Iterator[Stack]) -> Iterator[Stack]:
        """The stacks; what can be asked of each is collected before it goes on."""
        for stack in stacks:
            if not any(o.reason is Reason.SAMPLE_REFUSED for o in stack.outcomes):
                self._shard.add(scene_of_stack(stack, self._form), stack.place.sample_id, self._row)
            self._row += 1
            yield stack

    def rows(self) -> list[Json]:
        """Rows of the questions of all stacks that have passed."""
        return self._shard.rows()


def questions_for(recipe: Recipe, form: DatasetSpec, shard: int) -> StackQuestions | NoQuestions:
    """The questions of a shard of a recipe."""
    return NoQuestions() if recipe.questions is None else StackQuestions(recipe, form, shard)


class _Reads:
    """Numbers of a stack; see `landweave.asked.Reads`."""

    def __init__(self, stack: Stack, spec: DatasetSpec) -> None:
        self._stack, self._groups = stack, {g.name: g for g in spec.groups}

    def chip(self, path: str, slot: int) -> NDArray[Any] | None:
        group, _, name = path.partition("/")
        if self._groups[group].kind == "label":
            label = self._stack.labels.get(group)
            if label is None or name != "classes":
                return None
            return label.stored
        found = self._stack.observations.get((group, slot))
        if found is None:
            return None
        masks = {"valid": found.valid, "cloud": found.cloud}
        return masks[name] if name in masks else found.arrays.get(name)

    def mapped(self, label: str) -> Mapping[str, float] | None:
        layer = self._stack.vectors.get(label)
        if layer is None or label not in self._stack.labels:
            return None
        lines = ((f.tags, f.length_m) for f in layer.features if f.kind == "line")
        counts = Counter(dict(objects_of((f.osm_id, f.tags) for f in layer.features)))
        return {**counts, "road length": road_length_of(lines)}

    def time(self, group: str, slot: int) -> datetime | None:
        found = self._stack.observations.get((group, slot))
        return None if found is None else found.datetime

    @property
    def latitude(self) -> float:
        return self._stack.place.lat


def scene_of_stack(stack: Stack, spec: DatasetSpec) -> Scene:
    """The scene of a stack, before it is written."""
    return Scene(spec, _Reads(stack, spec))
