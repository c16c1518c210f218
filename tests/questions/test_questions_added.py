"""Questions come to a dataset that has none by `add`; a build says what nothing was asked about."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

import landweave
from landweave.check import check
from landweave.prove import Proof, prove
from pipelines.shards import AddError, add, unasked
from tests.questions.question_worlds import build

if TYPE_CHECKING:
    from pathlib import Path

COUNTS = (8, 5)


@pytest.mark.slow
def test_added_questions_are_read_proved_and_checked(tmp_path: Path) -> None:
    base, more = build(tmp_path / "base", COUNTS, ask=False), build(tmp_path / "more", COUNTS)
    assert landweave.open(base).tasks == {}
    before, wanted = landweave.open(base), list(landweave.open(more).questions())
    assert add(base, str(more)).new
    data, proof = landweave.open(base), Proof()
    assert list(data.questions()) == wanted
    assert list(prove(data, proof=proof)) == []
    assert proof.questions == len(wanted) == sum(data.tasks.values())
    assert list(check(data)) == []
    assert before.sample(0).questions == (), "who opened it before reads on as before"
    assert not add(base, str(more)).new
    with pytest.raises(AddError, match="nothing to add"):
        add(more, str(build(tmp_path / "again", COUNTS, per_sample=4)))


def test_what_nothing_was_asked_about_is_said(tmp_path: Path) -> None:
    made = build(tmp_path / "data", (3,), tasks=["time", "area"], per_sample=4)
    said = unasked(made, ["time", "area"])
    assert said == ["questions: none about 'time': the dates of all samples give the same answers"]
    assert unasked(made, None) == []
    nothing = build(tmp_path / "nothing", (2,), tasks=["unanswerable"])
    data = landweave.open(nothing)
    assert list(data.questions()) == []
    assert all(sample.questions == () for sample in data)
    assert next(iter(data.stream(batch_size=2, arrays=["dem"], columns=["questions"])))["questions"] == [[], []]
    assert unasked(nothing, None) == [
        "questions: none was made: no sample has enough labelled or measured pixels to be asked about"
    ]
