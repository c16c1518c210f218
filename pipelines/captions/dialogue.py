"""One question to a model with its repetitions: what to ask next, and what the answers gave.

It is the same whether answers come at once, from a folder or from a batch file of last week: the same answers in the
same order give the same captions.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pipelines.captions.check import CHECKS, refusal_of, tidied
from pipelines.captions.facts import facts_sha256
from pipelines.captions.prompts import messages
from pipelines.captions.template import speak
from schemas.caption import Caption
from schemas.outcome import Outcome, Reason

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pipelines.captions.prompts import Prompt
    from pipelines.captions.replies import Reply
    from pipelines.captions.subject import Picture
    from schemas.caption import Facts
    from schemas.captions import LlmCaptions

MOST_REASON = 400
"""Characters of a reason that a repetition is told."""


@dataclass(frozen=True, slots=True)
class Question:
    """What a model is asked."""

    messages: list[dict[str, Any]]
    """Of the chat completions API."""
    seed: int
    """0..2^31-1."""
    wanted: int
    """Captions that are asked for."""


@dataclass(frozen=True, slots=True)
class Said:
    """A caption, and what is said of how it came about."""

    caption: Caption | Outcome
    """The caption; or why there is none."""
    seed: int | None
    """Seed of the question; None for the template."""
    why: str = ""
    """Why the template speaks, or why there is no caption."""


@dataclass(kw_only=True)
class Dialogue:
    """About some wordings of one sample."""

    config: LlmCaptions
    """The recipe's entry."""
    prompt: Prompt
    """Instructions."""
    sample_id: str
    """The sample."""
    facts: Facts
    """Its facts."""
    first: int
    """Index of the first wording."""
    count: int = 1
    """Wordings."""
    call: int = 0
    """Number of the question among those of the sample."""
    pictures: Sequence[Picture] = ()
    """For a model that sees."""
    attempts: int = 0
    """Answers so far."""
    tokens: int = 0
    """Of them together."""
    lost: int = 0
    """Answers that a batch came back without."""
    refused: str | None = None
    """Why the last answer was refused, or one caption of it."""
    found: list[tuple[str, int, int]] = field(default_factory=list)
    """(text, attempt, seed) of each caption that passed."""

    @classmethod
    def all_of(
        cls, config: LlmCaptions, prompt: Prompt, sample_id: str, facts: Facts, pictures: Sequence[Picture] = ()
    ) -> list[Dialogue]:
        """The dialogues that give a sample its `per_sample` wordings."""
        starts = range(0, config.per_sample, config.together)
        return [
            cls(
                config=config,
                prompt=prompt,
                sample_id=sample_id,
                facts=facts,
                first=first,
                count=min(config.together, config.per_sample - first),
                call=call,
                pictures=pictures,
            )
            for call, first in enumerate(starts)
        ]

    @property
    def question(self) -> Question | None:
        """What to ask next; None if nothing is to be asked any more."""
        wanted = self.count - len(self.found)
        if wanted <= 0 or self.attempts >= self.config.attempts:
            return None
        asked = messages(self.prompt, self.facts, self.refused, wanted, self.pictures)
        return Question(messages=asked, seed=self._seed, wanted=wanted)

    @property
    def _seed(self) -> int:
        """Another for each sample, wording and attempt."""
        digest = hashlib.sha256(f"{self.sample_id}/{self.call}/{self.attempts + 1}".encode()).digest()
        return int.from_bytes(digest[:4], "big") >> 1

    def hear(self, reply: Reply) -> None:
        """Take the answer to `question`."""
        seed = self._seed
        self.attempts += 1
        self.tokens += reply.tokens
        self.refused = reply.why if reply.texts is None and not reply.lost else None
        self.lost += reply.lost
        for text in map(tidied, reply.texts or ()):
            refusal = refusal_of(text, self.facts)
            if refusal is not None:
                self.refused = refusal.reason[:MOST_REASON]
            elif any(text == other for other, _, _ in self.found):
                self.refused = "two captions are the same, word for word"
            else:
                self.found.append((text, self.attempts, seed))

    def captions(self, instead: str = "template", why: str = "") -> list[Said]:
        """One entry for each wording: the model's, or the template's where its answers were refused.

        Args:
            instead: 'template', or 'nothing': an outcome.
            why: why nothing (more) was asked; '' = all attempts were refused.
        """
        shares = _divided(self.tokens, self.count)
        said = [self._of_model(n, share) for n, share in zip(range(len(self.found)), shares, strict=False)]
        why = why or self._why
        rest = range(len(self.found), self.count)
        return said + [Said(self._instead(n, shares[n], instead, why), None, why) for n in rest]

    @property
    def _why(self) -> str:
        """Why wordings are missing where all attempts are spent."""
        if self.lost == self.attempts:
            return f"the endpoint gave no answer in {self.attempts} attempts"
        return f"{self.attempts} answers were refused: {self.refused or 'too few captions'}"

    def _of_model(self, number: int, tokens: int) -> Said:
        text, attempt, seed = self.found[number]
        caption = Caption(
            text=text,
            captioner="llm",
            model=self.config.model,
            prompt_version=self.prompt.name,
            facts_sha256=facts_sha256(self.facts),
            checks=tuple(CHECKS),
            attempts=attempt,
            fallback=False,
            tokens=tokens,
        )
        return Said(caption, seed)

    def _instead(self, number: int, tokens: int, instead: str, why: str) -> Caption | Outcome:
        if instead == "nothing":
            return refused_outcome(self.sample_id, why)
        return speak(
            self.facts, self.sample_id, self.first + number, attempts=self.attempts, tokens=tokens, fallback=True
        )


def refused_outcome(sample_id: str, why: str) -> Outcome:
    """The outcome of a sample without a caption."""
    return Outcome(sample_id=sample_id, layer="captions", slot=0, reason=Reason.CAPTION_REFUSED, detail=why)


def _divided(total: int, parts: int) -> list[int]:
    """Whole numbers that add up to the total; the first have what remains."""
    each, rest = divmod(total, parts)
    return [each + (n < rest) for n in range(parts)]
