"""Questions of a sample as the page shows them: options, answer, mask, and the quantities that prove the answer."""

from __future__ import annotations

import json
from itertools import groupby
from operator import itemgetter
from typing import TYPE_CHECKING

from landweave.phrases import part
from landweave.plain import printable
from landweave.questions import LETTERS, query_of
from landweave.texts import conversations

if TYPE_CHECKING:
    from collections.abc import Sequence

    from landweave.asked import Quantity, Query
    from landweave.layout import DatasetSpec, Json
    from landweave.questions import Question


def conversations_json(spec: DatasetSpec, questions: Sequence[Question]) -> list[Json]:
    """The conversations of a sample; each with what it is about, what to look at, and its turns.

    Raises:
        CorruptError: evidence or a mask is not what this version reads.
    """
    return [
        {
            "about": printable(f"{turns[0].task} ({turns[0].form})"),
            "looks": [_look(layer) for layer in turns[0].layers],
            "turns": [_turn(spec, question) for question in turns],
        }
        for turns in conversations(questions)
    ]


def _turn(spec: DatasetSpec, question: Question) -> Json:
    letter = question.answer.partition(". ")[0] if question.options else ""
    return {
        "question": printable(question.question, lines=True),
        "options": [printable(option) for option in question.options],
        "right": LETTERS.index(letter) if len(letter) == 1 and letter in LETTERS else None,
        "answer": printable(question.answer, lines=True),
        "mask": json.loads(question.mask) if question.mask else None,
        "proof": _proof(spec, query_of(question)),
    }


def _proof(spec: DatasetSpec, query: Query) -> str:
    """'largest: share trees, the top-left quarter; share trees, the scene (worldcover/classes)': each source once."""
    shown = [(_measured(quantity), _source(spec, quantity)) for quantity in query.of]
    groups = groupby(shown, key=itemgetter(1))
    listed = [f"{'; '.join(words for words, _ in group)} ({source})" for source, group in groups]
    return printable(f"{query.op}: " + "; ".join(listed))


def _measured(quantity: Quantity) -> str:
    return f"{' '.join((quantity.what, *quantity.about))}, {part(quantity.where, 0)}"


def _source(spec: DatasetSpec, quantity: Quantity) -> str:
    """Array or table, and its dates counted from 1, as the page's slider does."""
    name = quantity.source.partition("/")[0]
    if not any(group.name == name and group.slot_count > 1 for group in spec.groups):
        return quantity.source
    dates = [quantity.slot + 1] + ([quantity.other + 1] if quantity.other else [])
    return f"{quantity.source}, date {' and '.join(map(str, dates))}"


def _look(layer: str) -> str:
    """'sentinel2, date 2' for 'sentinel2/1'."""
    name, _, slot = layer.partition("/")
    return printable(f"{name}, date {int(slot) + 1}" if slot.isdecimal() else layer)
