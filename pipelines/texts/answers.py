"""Kept answers of a set of texts, by shard: what was asked once is never asked again."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

from pipelines.captions.replies import Reply
from pipelines.shards.desk import keep, kept, kept_under
from schemas.canonical import canonical_json

if TYPE_CHECKING:
    from pathlib import Path

    from pipelines.captions.dialogue import Dialogue, Question

ANSWERS = "answers"
"""Folder of kept answers, inside the folder of the pass."""


class Answers:
    """Of one shard."""

    def __init__(self, out: Path, shard: int) -> None:
        """`out`: folder of the pass."""
        self._out, self._folder = out, f"{ANSWERS}/{shard:05d}"
        self._there = kept_under(out, self._folder)

    def get(self, name: str) -> Reply | None:
        """An answer by `name_of`; None if there is none, or it is damaged."""
        path = f"{self._folder}/{name}.json"
        raw = kept(self._out, path) if path in self._there else None
        if raw is None:
            return None
        try:
            return Reply.of_record(json.loads(raw))
        except ValueError:
            return None

    def put(self, name: str, reply: Reply) -> None:
        """Keep an answer."""
        keep(self._out, f"{self._folder}/{name}.json", _bytes(reply.record()))


def name_of(dialogue: Dialogue, question: Question) -> str:
    """Name of an answer: other words, pictures, sample or attempt, another name."""
    said = [dialogue.sample_id, dialogue.call, dialogue.attempts + 1, question.seed, question.messages]
    return hashlib.sha256(canonical_json(said).encode()).hexdigest()[:40]


def _bytes(record: dict[str, Any]) -> bytes:
    return (json.dumps(record, sort_keys=True, ensure_ascii=True) + "\n").encode()
