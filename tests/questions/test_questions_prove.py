"""Answers are made again from the dataset alone, and a changed one is always caught."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.ndimage import find_objects, label

import landweave
from benchmarks.questions import mutations
from landweave.asked import PARTS, Quantity, Query, answered
from landweave.facts import COMMON
from landweave.patches import largest_patch, mask_of, runs_of
from landweave.prove import Proof, prove
from landweave.questions import COLUMNS, TASKS, refuted_question
from landweave.scenes import scene_of
from pipelines.shards.write import QUESTION_SCHEMA
from schemas.questions import TASKS as RECIPE_TASKS

CHECKOUT = Path(__file__).parents[2]


def test_every_answer_is_borne_by_the_data(asked: Path) -> None:
    data, proof = landweave.open(asked), Proof()
    assert list(prove(data, proof=proof)) == []
    assert proof.questions == len(list(data.questions())) >= 10 * len(data)
    assert len(proof.tasks) >= 12


def test_every_changed_answer_is_caught(asked: Path) -> None:
    data = landweave.open(asked)
    listed = list(data.questions())
    changed = 0
    for question in listed[::3]:
        scene = scene_of(data.sample(question.sample_id))
        for other in mutations(question, listed):
            changed += 1
            assert refuted_question(other, scene) is not None, other
    assert changed > 300


@pytest.mark.parametrize("field", ["question", "answer", "options", "evidence", "mask"])
def test_nothing_of_a_question_can_be_changed(asked: Path, field: str) -> None:
    """Words of the question, an option, a value, a class or a slot of the evidence."""
    data = landweave.open(asked)
    caught = 0
    for question in list(data.questions())[::7]:
        scene, value = scene_of(data.sample(question.sample_id)), getattr(question, field)
        if not value:
            continue
        if field == "options":
            other = replace(question, options=value[::-1])
        elif field == "evidence":
            record = json.loads(value)
            if "value" not in record:
                continue
            record["value"] = "strange" if isinstance(record["value"], str) else 10_001
            other = replace(question, evidence=json.dumps(record))
        else:
            other = replace(question, **{field: value + " "})
        assert refuted_question(other, scene) is not None, other
        caught += 1
    assert caught > 2


@pytest.mark.parametrize(
    ("evidence", "says"),
    [
        ("[]", "expected an object"),
        ('{"op":"more","of":[]}', "expected an object"),
        ('{"op":"fly","of":[{}],"asked":"x"}', "no operation"),
        ('{"op":"above","of":[{"what":"share","source":"nothing/classes","about":["trees"]}],"asked":"x"}', "nothing"),
        ('{"op":"above","of":[{"what":"share","source":"worldcover/classes","where":[0,0,3,3]}],"asked":"x"}', "part"),
        ('{"op":"more","of":[{"what":"height","source":"dem/elevation","about":["mean"]}],"asked":"x"}', "index"),
        ('{"op":"above","limit":"a","of":[{"what":"height","source":"dem/elevation"}],"asked":"x"}', "limit"),
        ('{"op":"range","edges":[2,1],"of":[{"what":"height","source":"dem/elevation"}],"asked":"x"}', "edges"),
    ],
)  # fmt: skip
def test_evidence_of_others_is_never_trusted(asked: Path, evidence: str, says: str) -> None:
    data = landweave.open(asked)
    question = replace(next(data.questions()), evidence=evidence)
    try:
        why = refuted_question(question, scene_of(data.sample(question.sample_id)))
    except landweave.CorruptError as error:
        why = str(error)
    assert why is not None
    assert says in why
    assert "\n" not in why


@pytest.mark.slow
def test_the_command_counts_answers_and_finds_a_false_one(asked: Path) -> None:
    line = [sys.executable, "-m", "landweave", "prove", str(asked)]
    done = subprocess.run(line, cwd=CHECKOUT, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "answers executed: 0 false" in done.stdout
    assert "question: area" in done.stdout


def test_shares_are_those_of_the_pixels(asked: Path) -> None:
    data = landweave.open(asked)
    for sample in (data.sample(i) for i in range(0, len(data), 9)):
        codes = sample["worldcover/classes"]
        table = {c.code: c.common for c in sample.legend("worldcover")}
        names = np.vectorize(table.get)(codes)
        size = len(codes)
        for part, (left, top, right, lower) in PARTS.items():
            cut = names[top * size // 1000 : lower * size // 1000, left * size // 1000 : right * size // 1000]
            found = answered(
                Query("number", (Quantity("share", "worldcover/classes", ("trees",), part),)), scene_of(sample)
            )
            assert found is not None
            assert found.measured[0] == pytest.approx(100 * (cut == "trees").mean())


def test_the_largest_patch_is_scipys() -> None:
    random = np.random.default_rng(3)
    for _ in range(60):
        mask = random.random((random.integers(1, 24), random.integers(1, 24))) < random.uniform(0.2, 0.8)
        patches, count = label(mask)
        found = largest_patch(mask)
        sizes = np.bincount(patches.ravel())[1:]
        if count and (sizes == sizes.max()).sum() == 1:
            rows, columns = find_objects(patches)[int(sizes.argmax())]
            assert found == (rows.start, rows.stop, columns.start, columns.stop)
        elif not count:
            assert found is None
        assert (mask_of(*mask.shape, runs_of(mask)) == mask).all()


def test_writer_reader_and_recipe_name_the_same() -> None:
    assert tuple(QUESTION_SCHEMA.names) == tuple(COLUMNS)
    assert TASKS == RECIPE_TASKS
    assert "unknown" in COMMON
