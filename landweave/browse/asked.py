"""Questions of a sample as the page shows them: options, answer, mask, and the quantities that prove the answer."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from landweave.phrases import part
from landweave.plain import printable
from landweave.questions import LETTERS, query_of
from landweave.texts import conversations

if TYPE_CHECKING:
    from collections.abc import Sequence

    from landweave.asked import Quantity
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
            "looks": [printable(layer) for layer in turns[0].layers],
            "turns": [_turn(spec, question) for question in turns],
        }
        for turns in conversations(questions)
    ]


def _turn(spec: DatasetSpec, question: Question) -> Json:
    letter = question.answer.partition(". ")[0] if question.options else ""
    query = query_of(question)
    return {
        "question": printable(question.question, lines=True),
        "options": [printable(option) for option in question.options],
        "right": LETTERS.index(letter) if len(letter) == 1 and letter in LETTERS else None,
        "answer": printable(question.answer, lines=True),
        "mask": json.loads(question.mask) if question.mask else None,
        "proof": f"{query.op}: " + "; ".join(_quantity(spec, quantity) for quantity in query.of),
    }


def _quantity(spec: DatasetSpec, quantity: Quantity) -> str:
    """'share trees, the top-left quarter (worldcover/classes)'; dates are counted from 1, as the page's slider does."""
    dated = any(group.name == quantity.source.partition("/")[0] and group.slot_count > 1 for group in spec.groups)
    dates = [quantity.slot + 1] + ([quantity.other + 1] if quantity.other else [])
    when = f", date {' and '.join(map(str, dates))}" if dated else ""
    words = " ".join((quantity.what, *quantity.about))
    return printable(f"{words}, {part(quantity.where, 0)} ({quantity.source}{when})")
