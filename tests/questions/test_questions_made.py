"""Questions of a recipe: balanced, the same however they are built, in words that fill."""

from __future__ import annotations

import json
import random
import re
from collections import Counter, defaultdict
from typing import TYPE_CHECKING

import pytest

import landweave
from landweave.errors import QueryError
from landweave.scenes import scene_of
from pipelines.questions import ShardQuestions
from pipelines.questions.candidate import Family
from pipelines.questions.cover import _TALK as COVER
from pipelines.questions.dataset import dataset_sources, questions_of
from pipelines.questions.layers import _TALK as LAYERS
from pipelines.questions.wording import wordings
from tests.questions.question_worlds import build, recipe

if TYPE_CHECKING:
    from pathlib import Path


def test_ten_or_more_of_every_sample_and_no_more_than_asked(asked: Path, tmp_path: Path) -> None:
    data = landweave.open(asked)
    counts = Counter(q.sample_id for q in data.questions())
    assert set(counts) == {s.id for s in data}
    assert min(counts.values()) >= 10
    assert max(counts.values()) <= 12
    few = landweave.open(build(tmp_path / "few", (6,), per_sample=2, tasks=["area", "presence"]))
    found = list(few.questions())
    assert {q.task for q in found} <= {"area", "presence"}
    assert max(Counter(q.sample_id for q in found).values()) <= 2


def test_yes_is_as_frequent_as_no_and_each_option_as_the_others(asked: Path) -> None:
    """In every group of questions that name the same, in each shard: exactly."""
    families: dict[str, Family] = {**COVER, **LAYERS}
    answers: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    data = landweave.open(asked)
    for question in data.questions():
        shares = families[question.family].shares
        if shares and question.turn == 0:
            value = str(json.loads(question.evidence)["value"])
            answers[question.family, data.sample(question.sample_id).split][value] += 1
    assert len(answers) > 15
    for (family, _), found in answers.items():
        assert len(set(found.values())) == 1, (family, found)
        assert set(found) == set(families[family].shares), (family, found)


def test_a_finished_dataset_gives_the_questions_that_its_build_gave(asked: Path) -> None:
    """What the writer had in memory and what the reader reads are the same, to the letter."""
    data = landweave.open(asked)
    stored = {q.sample_id: [] for q in data.questions()}  # type: ignore[var-annotated]
    made = {name: [] for name in stored}  # type: ignore[var-annotated]
    for question in data.questions():
        stored[question.sample_id].append(question)
    for question in questions_of(data, 12):
        made[question.sample_id].append(question)
    assert made == stored


def test_the_order_of_samples_changes_nothing(asked: Path) -> None:
    data, sources = landweave.open(asked), None
    sources = dataset_sources(data)
    positions = [i for i in range(len(data)) if data.sample(i).split == "train"]
    rows = []
    for shuffled in (positions, random.Random(1).sample(positions, len(positions))):
        questions = ShardQuestions(sources, 12, 0)
        for position in shuffled:
            questions.add(scene_of(data.sample(position)), data.sample(position).id, 0)
        rows.append(sorted(questions.rows(), key=lambda r: (r["sample_id"], r["dialogue"], r["turn"])))
    assert rows[0] == rows[1]


def test_conversations_have_later_turns(asked: Path) -> None:
    data = landweave.open(asked)
    turns = Counter(q.turn for q in data.questions())
    assert turns[1] > 20
    for sample in list(data)[:6]:
        seen = [(q.dialogue, q.turn) for q in sample.questions]
        assert seen == sorted(seen)


def test_the_reader_gives_them_by_sample_task_and_stream(asked: Path) -> None:
    data = landweave.open(asked)
    assert {q.task for q in data.questions(task="radar")} == {"radar"}
    train = list(data.questions(data.query(split="train")))
    assert {data.sample(q.sample_id).split for q in train} == {"train"}
    batch = next(iter(data.stream(batch_size=3, arrays=["dem"], columns=["questions"])))
    assert len(batch["questions"]) == 3
    for name, listed in zip(batch["id"], batch["questions"], strict=True):
        assert listed == list(data.sample(str(name)).questions)
    with pytest.raises(QueryError, match="did you mean 'area'"):
        next(data.questions(task="aera"))


def test_every_family_has_words_and_every_wording_a_family() -> None:
    families = {**COVER, **LAYERS}
    keys = {key.split(" ")[0] for key in wordings()}
    follow = {"area.next", "describe.again", "height.open.highest", "height.open.lowest"}
    assert keys - follow == set(families) - {"height.open"}
    for name, family in families.items():
        if name != "height.open":
            assert (f"{name} said" in wordings()) == (family.form != "choice"), name


@pytest.mark.parametrize(
    ("sources", "questions", "says"),
    [
        (("dem",), {"tasks": ["change"]}, "'change' asks about a radar or optical layer of two or more dates"),
        (("dem",), {"tasks": ["radar"]}, "'radar' asks about a radar layer in decibels with VV or VH"),
        (("sentinel2",), {"tasks": ["elevation"]}, "'elevation' asks about a layer of elevations"),
        (("dem",), {"facts_from": "corine"}, "'corine' is not among the labels over the footprint"),
        (("dem",), {"tasks": ["poetry"]}, "presence"),
        (("dem",), {"per_sample": 0}, "greater than or equal to 1"),
    ],
)
def test_a_task_that_no_layer_answers_is_refused(
    sources: tuple[str, ...], questions: dict[str, object], says: str
) -> None:
    with pytest.raises(ValueError, match=re.escape(says)):
        recipe(4, sources=sources, **questions)
