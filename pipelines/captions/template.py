"""Captions without a model: builds sentences from the facts; sample id and index select the wording."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from landweave.claims import VEGETATION
from pipelines.captions.check import CHECKS, refusal_of
from pipelines.captions.facts import facts_for, facts_sha256
from pipelines.captions.slots import slots_of
from pipelines.captions.wording import Chooser, chosen, fill, frames, slots_in
from schemas.caption import Caption
from schemas.outcome import Outcome, Reason

if TYPE_CHECKING:
    from collections.abc import Sequence

    from schemas.caption import Facts
    from schemas.captions import TemplateCaptions
    from schemas.stack import Stack

_T = TypeVar("_T")

TEMPLATE_VERSION = "template-4"
"""Raised when a wording changes."""

FORMS = ("long", "medium", "short")
"""Long: everything worth saying. Medium: under 60 words. Short: under 30."""
_MOST_WORDS = {"short": 29, "medium": 59, "long": 190}
_PLANS = {
    "short": ("cover", "where|ground|map|next"),
    "medium": ("time|place", "cover", "next", "where", "map|ground|rest"),
    "long": (
        "time|place",
        "cover",
        "next",
        "rest",
        "rest",
        "where",
        "where",
        "where",
        "map",
        "road",
        "ground",
        "slope",
    ),
}
"""Topics of a form, in order; of several, one is chosen."""
_TRIES = 6
"""Frames that are tried for one sentence."""


def template_caption(facts: Facts, sample_id: str, index: int) -> str:
    """One paragraph of English from the facts: the same for the same facts, sample and index, another for another."""
    chooser = Chooser(f"{sample_id}/{index}")
    form = form_of(sample_id, index)
    plan = [chooser.pick(f"topic {number}", topics.split("|")) for number, topics in enumerate(_PLANS[form])]
    told: list[str] = []
    said = set[_Said]()
    for number, topic in enumerate(plan):
        sentence = _worded(topic, facts, chooser, f"{topic}/{number}", said)
        if sentence is not None and sentence not in told and _words(told, sentence) <= _MOST_WORDS[form]:
            told.append(sentence)
    text = " ".join(told)
    if told and refusal_of(text, facts) is None:
        return text
    return _one_by_one(plan, facts, chooser, _MOST_WORDS[form]) or _plain(facts)


def form_of(sample_id: str, index: int) -> str:
    """The one of `FORMS` that the caption of this index has: samples begin with different ones."""
    return FORMS[(index + int.from_bytes(hashlib.sha256(sample_id.encode()).digest()[:4], "big")) % len(FORMS)]


def _words(told: list[str], sentence: str) -> int:
    return sum(len(s.split()) for s in (*told, sentence))


_Said = tuple[str, frozenset[str]]
"""A topic, and the slots of a frame: a second frame of the same slots would say the same in other words."""
_SAID_ONCE = ("rest", "next")
"""Topics of which a second sentence has to say something else."""


def _worded(topic: str, facts: Facts, chooser: Chooser, question: str, said: set[_Said]) -> str | None:
    """A sentence of a topic, not yet checked; None if the facts have the slots of none of some frames."""
    patterns = _patterns(topic, facts)
    for attempt in range(_TRIES):
        pattern = chooser.pick(f"{question}/{attempt}", patterns)
        about = (topic, slots_in(pattern))
        if topic in _SAID_ONCE and about in said:
            continue
        slots = slots_of(topic, facts, chooser, question, about[1])
        text = fill(chosen(pattern, chooser, f"{question}/{attempt}"), slots)
        if text is not None:
            said.add(about)
            return text
    return None


def _one_by_one(plan: list[str], facts: Facts, chooser: Chooser, most: int) -> str:
    """The same, where a sentence was refused: each is worded until the facts bear it behind those before it."""
    kept: list[str] = []
    said = set[_Said]()
    for number, topic in enumerate(plan):
        for attempt in range(_TRIES):
            sentence = _worded(topic, facts, chooser, f"{topic}/{number}/{attempt}", said)
            if sentence is None or sentence in kept or _words(kept, sentence) > most:
                continue
            if refusal_of(" ".join([*kept, sentence]), facts) is None:
                kept.append(sentence)
                break
    return " ".join(kept)


def _patterns(topic: str, facts: Facts) -> tuple[str, ...]:
    if topic != "cover":
        return frames()[topic]
    first = facts.overall[0] if facts.overall else None
    share = 0 if first is None else first.percent
    if share >= 95:
        return frames()["full"]
    found = frames()["lead"] + frames()["adj"] + (frames()["much"] if share > 50 else ())
    if first is not None and first.name == "crops":
        found += frames()["farm"]
    return found + frames()["green"] if first is not None and first.name in _BLANKETING else found


_BLANKETING = frozenset((*VEGETATION, "snow and ice"))
"""Land covers that may be said to blanket the ground."""


def _plain(facts: Facts) -> str:
    """What can be said of any facts."""
    size, where = _length(facts.size_m), facts.place
    lies = f"This {size} wide scene lies in the {where}" if where else f"This {size} wide scene is seen from above"
    return f"{lies}."


@dataclass(frozen=True)
class TemplateCaptioner:
    """Speaks from facts alone, in several wordings."""

    config: TemplateCaptions
    """The recipe's entry."""

    @property
    def tokens_spent(self) -> int:
        """None: no model is asked."""
        return 0

    def caption_all(self, stacks: Sequence[Stack]) -> list[list[Caption] | Outcome]:
        """`caption` of several samples."""
        return [self.caption(stack) for stack in stacks]

    def caption(self, stack: Stack) -> list[Caption] | Outcome:
        """`per_sample` captions, or the outcome `caption_refused` if the facts support none."""
        facts, sample_id = facts_for(stack, self.config.facts_from), stack.place.sample_id
        found: list[Caption] = []
        for index in range(self.config.per_sample):
            caption = speak(facts, sample_id, index)
            if isinstance(caption, Outcome):
                return caption
            found.append(caption)
        return found


def speak(
    facts: Facts, sample_id: str, index: int, *, attempts: int = 1, tokens: int = 0, fallback: bool = False
) -> Caption | Outcome:
    """One checked caption of the template; `attempts`, `tokens`, `fallback` where it speaks for a model."""
    text = template_caption(facts, sample_id, index)
    refusal = refusal_of(text, facts)
    if refusal is not None:
        detail = f"the template's caption was refused ({refusal.check}): {refusal.reason}"
        return Outcome(sample_id=sample_id, layer="captions", slot=0, reason=Reason.CAPTION_REFUSED, detail=detail)
    return Caption(
        text=text,
        captioner="template",
        model=None,
        prompt_version=TEMPLATE_VERSION,
        facts_sha256=facts_sha256(facts),
        checks=tuple(CHECKS),
        attempts=attempts,
        fallback=fallback,
        tokens=tokens,
    )


def _length(metres: int) -> str:
    return f"{metres} m" if metres < 1000 else f"{metres / 1000:.1f}".removesuffix(".0") + " km"
