"""Questions and answers of samples: the record, its evidence, and the proof of an answer from the data."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from landweave.asked import Query, answered
from landweave.errors import CorruptError, LandweaveError
from landweave.phrases import fill, said
from landweave.strict import parse

if TYPE_CHECKING:
    from landweave.asked import Found, Scene
    from landweave.layout import Json

COLUMNS = {
    "sample_id": "string", "row": "int32", "task": "string", "family": "string", "form": "string", "dialogue": "int32",
    "turn": "int32", "question": "string", "options": "list<string>", "answer": "string", "mask": "string",
    "layers": "list<string>", "evidence": "string", "version": "string",
}  # fmt: skip
"""Columns of questions/<shard>.parquet, and what they hold."""
TASKS = (
    "presence", "area", "count", "comparison", "rank", "region", "referring", "relation", "description",
    "false premise", "length", "elevation", "radar", "vegetation", "change", "time", "clouds", "place", "unanswerable",
)  # fmt: skip
"""What questions ask for."""
LETTERS = "ABCDEFGH"
FORMS = ("yes or no", "choice", "open", "box", "mask")
"""Yes or no; one of lettered options; free words; an answer that is a box, or a mask."""


@dataclass(frozen=True, slots=True)
class Question:
    """One question about a sample, with its answer."""

    sample_id: str
    """Which sample."""
    task: str
    """What it asks for: 'presence', 'area', 'count' ... (`docs/questions.md` lists them)."""
    family: str
    """Which wording and operation within the task: the unit by which answers are balanced."""
    form: str
    """One of `FORMS`."""
    dialogue: int
    """Number of the conversation within the sample."""
    turn: int
    """Turn of the conversation, 0-based; later turns may need the earlier ones to be understood."""
    question: str
    """English; the options are not in it."""
    options: tuple[str, ...]
    """Of a choice: option A, B, ...; otherwise ()."""
    answer: str
    """English; of a choice 'B. the top-left quarter'; of a box '[125, 250, 500, 750]' within a sentence."""
    mask: str
    """JSON in COCO's uncompressed form ({'size': [height, width], 'counts': [...]}) that the question or the answer
    calls <mask>; '' where there is none."""
    layers: tuple[str, ...]
    """What to look at, as 'layer' or 'layer/date slot': 'sentinel1/0'."""
    evidence: str
    """JSON: the operation and its quantities, each with array, region and slot; value, tolerance, and the patterns."""
    version: str
    """Version of the wording and of the rules of choice."""

    @property
    def text(self) -> str:
        """The question with its lettered options, one per line."""
        listed = [f"{LETTERS[i]}. {option}" for i, option in enumerate(self.options)]
        return "\n".join([self.question, *listed])


def question_of(row: Json) -> Question:
    """The question of a row of the table.

    Raises:
        CorruptError: a value is missing.
    """
    names = Question.__dataclass_fields__
    found = {name: row.get(name) for name in names}
    lacking = [name for name, value in found.items() if value is None]
    if lacking:
        raise CorruptError(f"a question of sample {row.get('sample_id')}: lacks {lacking[0]!r}")
    listed = {name: tuple(found[name] or ()) for name in ("options", "layers")}
    return Question(**{**found, **listed})  # type: ignore[arg-type]


def told(query: Query, found: Found, evidence: Json) -> tuple[str, str, tuple[str, ...], str]:
    """Question, answer, options and mask: what the patterns of the evidence make of an answer.

    Raises:
        ValueError: the patterns do not fit the query, or no option is the answer, or two are.
    """
    noun, unit = int(evidence.get("noun", 0)), str(evidence.get("unit", ""))
    question = fill(str(evidence["asked"]), query, found, noun, unit)
    listed = evidence.get("options", [])
    options = tuple(said(value, query, noun, unit) for value in listed)
    if listed:
        right = [i for i, value in enumerate(listed) if value == found.value]
        if len(right) != 1 or len(set(options)) != len(options):
            raise ValueError(f"{len(right)} of the options are the answer {found.value!r}")
        answer = f"{LETTERS[right[0]]}. {options[right[0]]}"
    else:
        if "{value}" not in evidence["said"] and "{list}" not in evidence["said"]:
            raise ValueError("the answer's pattern does not say the value")
        answer = fill(str(evidence["said"]), query, found, noun, unit)
    mask = ""
    if query.op == "outline" and isinstance(found.value, list):
        height, width, runs = found.value
        mask = json.dumps({"size": [height, width], "counts": runs}, separators=(",", ":"))
    return question, answer, options, mask


def refuted_question(question: Question, scene: Scene) -> str | None:
    """Why the data do not bear a question's answer, as one clause; None if they do.

    Everything is made again from the arrays: the value, the words of the question, of its options and of the answer.

    Raises:
        CorruptError: the evidence is not what this version reads.
    """
    evidence = _evidence(question)
    try:
        query = Query.from_record(evidence)
        found = answered(query, scene)
        if found is None:
            return "the data do not decide it"
        stored = evidence.get("value")
        if query.op != "outline" and stored != found.value:
            return f"the evidence says {stored!r}, the data {found.value!r}"
        made = told(query, found, evidence)
    except (ValueError, KeyError, IndexError, TypeError) as error:
        return f"its evidence does not fit the dataset: {error}"
    except LandweaveError as error:
        return f"it cannot be read: {error}"
    stored_words = (question.question, question.answer, question.options, question.mask)
    for what, is_, ought in zip(("question", "answer", "options", "mask"), stored_words, made, strict=True):
        if is_ != ought:
            return f"the {what} is {_short(is_)}, the data make it {_short(ought)}"
    return None


def query_of(question: Question) -> Query:
    """The operation and the quantities that an answer is made of.

    Raises:
        CorruptError: the evidence is not what this version reads.
    """
    try:
        return Query.from_record(_evidence(question))
    except ValueError as error:
        raise CorruptError(f"evidence of a question of sample {question.sample_id}: {error}") from None


def _evidence(question: Question) -> Json:
    where = f"evidence of a question of sample {question.sample_id}"
    found: Any = parse(question.evidence.encode(), where)
    if (
        not isinstance(found, dict)
        or not isinstance(found.get("asked"), str)
        or not isinstance(found.get("said", ""), str)
    ):
        raise CorruptError(f"{where}: expected an object with 'asked'")
    if not isinstance(found.get("options", []), list) or type(found.get("noun", 0)) is not int:
        raise CorruptError(f"{where}: expected a list 'options' and a whole 'noun'")
    return found


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 120 else f"{text[:117]}..."
