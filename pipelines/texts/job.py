"""The plan of one set of texts: a file in the folder of its pass, from which any worker starts."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Self

from pydantic import TypeAdapter

from pipelines.captions.check import CHECKS_VERSION
from pipelines.captions.prompts import Prompt
from pipelines.captions.template import TEMPLATE_VERSION
from pipelines.passes import WORK, read_plan, write_plan
from pipelines.shards.stored import fact_labels
from schemas.canonical import canonical_json
from schemas.text_sets import LlmTexts, Texts

if TYPE_CHECKING:
    from pathlib import Path

    from pipelines.shards.stored import Stored

KIND = "texts"
"""What the plan's file says that it is of."""
VERSION = 1
"""Of the form of kept answers and parts."""
FOLDER = f"{WORK}texts-"
"""Passes lie in folders of this name inside the dataset."""
_BESIDE = frozenset(
    {
        "budget",
        "prices",
        "at_once",
        "requests_per_min",
        "tokens_per_min",
        "timeout_s",
        "batch",
        "base_url",
        "api_key_variable",
    }
)
"""Keys of an entry that change no text."""
_ENTRY: TypeAdapter[Texts] = TypeAdapter(Texts)


@dataclass(frozen=True, kw_only=True)
class Allotment:
    """What one shard may spend."""

    tokens: int | None = None
    """Tokens; None = no limit."""
    cost: float | None = None
    """In the currency of the prices."""

    def name(self) -> str:
        """Part of a file's name."""
        said = canonical_json([self.tokens, self.cost])
        return "all" if self == Allotment() else hashlib.sha256(said.encode()).hexdigest()[:8]


@dataclass(frozen=True, kw_only=True)
class TextJob:
    """What a pass needs to know."""

    entry: Texts
    """The recipe's entry."""
    prompt: Prompt | None
    """Instructions for the model; None for the template."""
    growing: dict[str, Any] | None = None
    """Form of a dataset that is still being built (`landweave.layout_json`); None for a finished one."""
    dialect: dict[str, Any] | None = None
    """Of batch files: the form that the endpoint takes."""
    allotments: dict[int, Allotment] = field(default_factory=dict)
    """Shard -> what it may spend; a shard that is not there has no limit."""

    @cached_property
    def key(self) -> str:
        """Name of the set's folder: other settings that change texts, another name. Its answers serve no other."""
        prompt = None if self.prompt is None else [self.prompt.name, self.prompt.sha256]
        return hashlib.sha256(canonical_json([VERSION, self.said, prompt]).encode()).hexdigest()[:12]

    @property
    def said(self) -> dict[str, Any]:
        """What the entry says of the texts: not where, how fast or for how much they are asked."""
        return {k: v for k, v in self.entry.model_dump(mode="json").items() if k not in _BESIDE}

    @property
    def model(self) -> LlmTexts | None:
        """The entry, where a model is asked."""
        return self.entry if isinstance(self.entry, LlmTexts) else None

    def layers(self, stored: Stored) -> tuple[str, ...]:
        """Layers that were added later and that the texts may rest on."""
        pictures = () if self.model is None else self.model.pictures
        return (*fact_labels(stored.recipe, stored.spec, self.entry.facts_from), *pictures)

    def part_file(self, stored: Stored, shard: int) -> str:
        """Path of what the pass makes of a shard: other content of the shard, other checks, another name."""
        said = [stored.stamp(shard, self.layers(stored)), CHECKS_VERSION, TEMPLATE_VERSION]
        stamp = hashlib.sha256(canonical_json(said).encode()).hexdigest()[:16]
        return f"parts/{shard:05d}-{stamp}-{self.allotment(shard).name()}.json"

    def allotment(self, shard: int) -> Allotment:
        """What a shard may spend."""
        return self.allotments.get(shard, Allotment())

    def write(self, out: Path) -> None:
        """Put the plan's file into the pass's folder."""
        said = {
            "kind": KIND,
            "version": VERSION,
            "entry": self.entry.model_dump(mode="json"),
            "prompt": None if self.prompt is None else {"name": self.prompt.name, "text": self.prompt.text},
            "growing": self.growing,
            "dialect": self.dialect,
            "allotments": {str(s): [a.tokens, a.cost] for s, a in self.allotments.items()},
        }
        write_plan(out, json.dumps(said, ensure_ascii=False) + "\n")

    @classmethod
    def read(cls, out: Path) -> Self:
        """From the pass's folder."""
        said = read_plan(out)
        return cls(
            entry=_ENTRY.validate_python(said["entry"]),
            prompt=None if said["prompt"] is None else Prompt(**said["prompt"]),
            growing=said["growing"],
            dialect=said["dialect"],
            allotments={int(s): Allotment(tokens=t, cost=c) for s, (t, c) in said["allotments"].items()},
        )
