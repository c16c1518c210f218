"""Captions without a model: builds sentences from the facts; sample id and index select the wording."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from landweave.facts import MONTHS, REGIONS
from pipelines.captions.check import CHECKS, refusal_of
from pipelines.captions.facts import facts_for, facts_sha256
from pipelines.captions.words import KINDS
from schemas.caption import Caption
from schemas.outcome import Outcome, Reason

if TYPE_CHECKING:
    from collections.abc import Sequence

    from schemas.caption import ClassShare, Facts
    from schemas.captions import TemplateCaptions
    from schemas.stack import Stack

_T = TypeVar("_T")

TEMPLATE_VERSION = "template-1"
"""Raised when a wording changes."""

_NOUNS: dict[str, tuple[tuple[str, bool], ...]] = {
    "water": (("water", False), ("open water", False)),
    "trees": (("trees", True), ("tree cover", False), ("woodland", False)),
    "shrub": (("shrubland", False), ("shrubs", True), ("scrub", False)),
    "grass": (("grassland", False), ("grass", False)),
    "crops": (("cropland", False), ("crops", True), ("farmland", False)),
    "built": (("built-up land", False), ("built-up areas", True)),
    "bare": (("bare ground", False), ("bare or sparsely vegetated ground", False)),
    "snow and ice": (("snow and ice", True),),
    "wetland": (("wetland", False), ("wetlands", True)),
    "moss and lichen": (("moss and lichen", True),),
}
"""Class -> (noun, plural?)."""
_COUNTS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
_MOST_KINDS = 4
"""Kinds of map objects that a caption names."""
_FULL = 95
"""If a class has at least this percent of a region, the caption names only this class."""
_WORTH_SAYING = 5
"""A class with fewer percent of a region is not named there."""


def template_caption(facts: Facts, sample_id: str, index: int) -> str:
    """One paragraph of English from the facts: the same for the same facts, sample and index, another for another."""
    speaker = _Speaker(facts, f"{sample_id}/{index}")
    middle = [*speaker.objects(), *speaker.relief()]
    if speaker.pick("order", (True, False)):
        middle.reverse()
    return " ".join([*speaker.opening(), *speaker.regions(), *middle])


@dataclass(frozen=True)
class TemplateCaptioner:
    """Speaks from facts alone, in several wordings."""

    config: TemplateCaptions
    """The recipe's entry."""

    @property
    def tokens_spent(self) -> int:
        """None: no model is asked."""
        return 0

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


@dataclass(frozen=True)
class _Speaker:
    facts: Facts
    seed: str

    def pick(self, question: str, options: Sequence[_T]) -> _T:
        """One of several wordings: always the same for the same seed and question."""
        digest = hashlib.sha256(f"{self.seed}/{question}".encode()).digest()
        return options[int.from_bytes(digest[:8], "big") % len(options)]

    def noun(self, name: str) -> str:
        """Noun of a class in this caption."""
        return self.pick(f"noun {name}", _NOUNS[name])[0]

    def verb(self, name: str, plural: str, singular: str) -> str:
        """The verb's form for this caption's noun."""
        return plural if self.pick(f"noun {name}", _NOUNS[name])[1] else singular

    def opening(self) -> list[str]:
        """The scene, its place and time, and its main land cover."""
        size, when, where = _length(self.facts.size_m), self._when(), self.facts.place
        scene = self.pick("scene", (f"this {size} wide scene", f"this {size} by {size} scene", f"this {size} square"))
        placed = scene if where is None else f"{scene} in the {where}"
        if not self.facts.overall:
            lies = f"{scene} lies in the {where}" if where else f"{scene} is seen from above"
            return [_sentence(lies if when is None else f"{lies}, seen {when}")]
        core = self._core()
        if when is None:
            return [_sentence(f"{placed} {core}"), *self._rest()]
        frames = (f"{placed}, seen {when}, {core}", f"seen {when}, {placed} {core}", f"{when}, {placed} {core}")
        return [_sentence(self.pick("frame", frames)), *self._rest()]

    def _when(self) -> str | None:
        facts = self.facts
        if facts.month is None or facts.year is None:
            return None
        month = f"in {MONTHS[facts.month - 1]} {facts.year}"
        if facts.season in (None, "tropics"):
            return month
        return self.pick(
            "when",
            (
                month,
                f"in the {facts.season} of {facts.year}",
                f"on {'an' if facts.season == 'autumn' else 'a'} {facts.season} day {month}",
            ),
        )

    def _shared(self) -> bool:
        """Whether two covers hold about as much as one another."""
        shares = self.facts.overall
        return len(shares) > 1 and shares[0].percent - shares[1].percent <= 1

    def _core(self) -> str:
        top = self.facts.overall[0]
        noun, percent = self.noun(top.name), f"{top.percent} percent"
        if self._shared():
            second = self.facts.overall[1]
            pair = f"{noun} ({percent}) and {self.noun(second.name)} ({_percent(second)})"
            return self.pick("core", (f"is led by {pair}", f"has {pair} as its main covers"))
        if len(self.facts.overall) == 1 and top.percent == 100:
            return self.pick("core", (f"is covered entirely by {noun}", f"is entirely {noun}"))
        if top.percent >= 95:
            return self.pick(
                "core", (f"is almost entirely {noun}", f"is covered almost entirely by {noun} ({percent})")
            )
        cover = f"{self.verb(top.name, 'cover', 'covers')} {percent} of it"
        if top.percent >= 50:
            options = (
                f"is dominated by {noun}, which {cover}",
                f"is mostly {noun} ({percent})",
                f"is mainly {noun}, at {percent}",
            )
            return self.pick("core", options)
        hold = f"{self.verb(top.name, 'hold', 'holds')} the largest share, {percent}"
        options = (
            f"is a mix in which {noun} {hold}",
            f"has {noun} as its largest cover, at {percent}",
            f"is a patchwork led by {noun}, at {percent}",
        )
        return self.pick("core", options)

    def _rest(self) -> list[str]:
        rest = self.facts.overall[2 if self._shared() else 1 :][:3]
        if not rest:
            return []
        named = _listed([f"{self.noun(s.name)} ({_percent(s)})" for s in rest])
        many = len(rest) > 1
        follow = "follow" if many else self.verb(rest[0].name, "follow", "follows")
        come = "come" if many else self.verb(rest[0].name, "come", "comes")
        return [
            _sentence(self.pick("rest", (f"{named} {follow}", f"next {come} {named}", f"the rest includes {named}")))
        ]

    def regions(self) -> list[str]:
        """Places of the land covers in the scene."""
        regions = {name: self.facts.regions[name] for name in REGIONS if self.facts.regions.get(name)}
        if len(regions) < 2 or (self.facts.overall and self.facts.overall[0].percent >= 95):
            return []
        tellers = {"leaders": self._leaders, "extremes": self._extremes, "walk": self._walk}
        style = self.pick("regions", tuple(tellers))
        return tellers[style](regions) or self._walk(regions)

    def _leaders(self, regions: dict[str, tuple[ClassShare, ...]]) -> list[str]:
        led: dict[str, list[str]] = {}
        for name, shares in regions.items():
            led.setdefault(shares[0].name, []).append(name)
        if len(led) < 2:
            return []
        verb = self.pick("lead", ("lead", "dominate", "prevail"))
        parts = []
        for name, where in led.items():
            form = self.verb(name, verb, f"{verb}s")
            place = "the " + _listed(where)
            parts.append(
                f"{self.noun(name)} {form} {place}" if verb == "dominate" else f"{self.noun(name)} {form} in {place}"
            )
        if len(parts) == 2:
            return [_sentence(f"{parts[0]}, while {parts[1]}")]
        return [_sentence(f"{parts[0]}, while {parts[1]}"), *(_sentence(part) for part in parts[2:])]

    def _extremes(self, regions: dict[str, tuple[ClassShare, ...]]) -> list[str]:
        top = self.facts.overall[0].name if self.facts.overall else next(iter(regions.values()))[0].name
        found = [(share.percent, name) for name, shares in regions.items() for share in shares if share.name == top]
        if len(found) < 2:
            return []
        (low, lowest), (high, highest) = min(found), max(found)
        if high - low < 10:
            return []
        noun, reach = self.noun(top), self.verb(top, "reach", "reaches")
        options = (
            f"{noun} {reach} {high} percent in the {highest}, but {low} percent in the {lowest}",
            f"in the {highest}, {noun} {reach} {high} percent, while the {lowest} has {low} percent",
        )
        return [_sentence(self.pick("extremes", options))]

    def _walk(self, regions: dict[str, tuple[ClassShare, ...]]) -> list[str]:
        told, full = [], dict[str, list[str]]()
        for name, shares in regions.items():
            if shares[0].percent >= _FULL:
                full.setdefault(shares[0].name, []).append(name)
                continue
            named = [s for s in shares[:2] if s.percent >= _WORTH_SAYING]
            what = _listed([f"{self.noun(s.name)} ({_percent(s)})" for s in named or shares[:1]])
            told.append(f"the {name} {self.pick(f'has {name}', ('holds', 'has', 'shows'))} {what}")
        for name, where in full.items():
            told.append(f"the {_listed(where)} {'are' if len(where) > 1 else 'is'} almost entirely {self.noun(name)}")
        return [_sentence("; ".join(told[i : i + 2])) for i in range(0, len(told), 2)]

    def objects(self) -> list[str]:
        """Objects and roads of the map."""
        facts = self.facts
        roads = facts.road_length_m or 0
        kinds = [(kind, n) for kind, n in facts.objects if n and not (kind == "road" and roads)][:_MOST_KINDS]
        told = []
        if kinds:
            named = _listed([_counted(kind, n) for kind, n in kinds])
            told.append(self.pick("objects", (f"the map shows {named}", f"mapped features include {named}")))
        if roads:
            length = _length(roads)
            told.append(
                self.pick(
                    "roads",
                    (f"roads add up to {length}", f"roads run for {length} in all"),
                )
            )
        return [_sentence(part) for part in told]

    def relief(self) -> list[str]:
        """The shape of the ground."""
        low, high, word = self.facts.elevation_min_m, self.facts.elevation_max_m, self.facts.relief
        if low is None or high is None:
            return []
        if low < 0:
            span = f"from {-low} m below sea level to {abs(high)} m {'above' if high >= 0 else 'below'} it"
        else:
            span = f"{'at' if low == high else f'from {low} m to'} {high} m above sea level"
        slope = self.facts.slope_mean_deg
        tail = "" if slope is None else f", with a mean slope of {slope:g} degrees"
        if word is None:
            return [_sentence(f"the terrain lies {span}{tail}")]
        ranging = "stay" if low == high else "range"
        options = (
            f"the terrain is {word}, {span}{tail}",
            f"the {word} terrain lies {span}{tail}",
            f"elevations {ranging} {span} over {word} ground{tail}",
        )
        return [_sentence(self.pick("relief", options))]


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}."


def _listed(parts: Sequence[str]) -> str:
    """'a', 'a and b', 'a, b and c'."""
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"


def _percent(share: ClassShare) -> str:
    return "less than one percent" if share.percent == 0 else f"{share.percent} percent"


def _counted(kind: str, count: int) -> str:
    words = KINDS[kind]
    if count == 1:
        return words.one
    if not words.counted:
        return words.many
    return f"{_COUNTS[count] if count < len(_COUNTS) else count} {words.many}"


def _length(metres: int) -> str:
    return f"{metres} m" if metres < 1000 else f"{metres / 1000:.1f}".removesuffix(".0") + " km"
