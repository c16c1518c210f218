"""Captions and questions of a dataset, to be read by a person."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from landweave.dataset import Dataset
    from landweave.questions import Question
    from landweave.sample import Captions, Sample
    from landweave.selection import Selection


def texts(dataset: Dataset, selection: Selection | None, count: int) -> Iterator[str]:
    """Blocks of text: up to `count` captions, then up to `count` pairs, spread over the selection and over tasks.

    Args:
        dataset: which.
        selection: samples; None = all.
        count: captions, and pairs; a conversation of several turns counts as one.
    """
    positions = dataset.selected(selection).positions.tolist()
    step = max(1, len(positions) // count)
    samples = [dataset.sample(position) for position in positions[::step]]
    yield from _captions(samples, count)
    yield from _pairs(samples, count)


def _captions(samples: Sequence[Sample], count: int) -> Iterator[str]:
    rounds = max((len(s.captions) for s in samples), default=0)
    listed = [(s, c) for n in range(rounds) for s in samples for c in s.captions[n : n + 1]]
    for number, (sample, caption) in enumerate(listed[:count], 1):
        yield f"caption {number}, {sample.id}, {_by(caption)}\n{caption.text}\n"


def _by(caption: Captions) -> str:
    return caption.captioner if caption.model is None else f"{caption.captioner} ({caption.model})"


def _pairs(samples: Sequence[Sample], count: int) -> Iterator[str]:
    """Conversations of one sample after the other, each time of a family that was shown least."""
    shown: dict[str, int] = {}
    left = [conversations(sample.questions) for sample in samples]
    number = 0
    while number < count and any(left):
        for listed in left:
            if not listed or number == count:
                continue
            best = min(range(len(listed)), key=lambda i: (shown.get(listed[i][0].family, 0), i))
            turns = listed.pop(best)
            shown[turns[0].family] = shown.get(turns[0].family, 0) + 1
            number += 1
            yield _shown(number, turns)


def conversations(questions: Sequence[Question]) -> list[list[Question]]:
    """The turns of each conversation of a sample, in order."""
    found: dict[int, list[Question]] = {}
    for question in questions:
        found.setdefault(question.dialogue, []).append(question)
    return [sorted(turns, key=lambda q: q.turn) for turns in found.values()]


def _shown(number: int, turns: Sequence[Question]) -> str:
    first = turns[0]
    looks = ", ".join(first.layers) or "no image"
    lines = [f"pair {number}, {first.sample_id}, {first.task} ({first.form}), {looks}"]
    for turn in turns:
        lines += [f"Q: {turn.text}", f"A: {turn.answer}"]
    return "\n".join(lines) + "\n"
