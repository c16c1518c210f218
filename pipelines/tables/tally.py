"""Requested and found observations per layer, and the reasons for the missing ones."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from schemas.outcome import Reason

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from pipelines.tables.records import PartPlan

_REASONS_SHOWN = 3
"""Of each layer."""
MOST_KINDS = 50
"""Different reasons that are kept apart for one layer; the rarest of more are counted together."""


@dataclass(frozen=True, kw_only=True, slots=True, order=True)
class Why:
    """One reason, and how often it was the reason."""

    reason: str
    """A code of `schemas.outcome.Reason`."""
    provider: str
    """Provider, by its name in the recipe."""
    detail: str
    """The provider's own words, or what is known of the item; one example of those that are alike."""

    @property
    def text(self) -> str:
        """The reason as text: 'earth-search: HTTP 404 from https://...'."""
        return ": ".join(part for part in (self.provider, self.detail) if part)


@dataclass(kw_only=True)
class LayerFound:
    """One layer of a plan."""

    wanted: int = 0
    """Observations that the recipe asks for: samples times date slots."""
    found: int = 0
    """Observations that at least one scene could serve."""
    absent: Counter[Why] = field(default_factory=Counter)
    """Reasons of the missing observations and their numbers, `wanted - found` in total."""
    dropped: Counter[Why] = field(default_factory=Counter)
    """Items that an archive gave and landweave cannot use, and why. Each counts once per
    partition, however many searches bring it."""

    def add(self, other: LayerFound) -> None:
        """Add another partition's numbers."""
        self.wanted += other.wanted
        self.found += other.found
        self.absent = _fewer(self.absent + other.absent)
        self.dropped = _fewer(self.dropped + other.dropped)

    @property
    def unanswered(self) -> Counter[Why]:
        """The reasons why no archive answered; another attempt may find these observations."""
        return Counter({why: number for why, number in self.absent.items() if Reason(why.reason).retryable})

    def json(self) -> dict[str, Any]:
        """As JSON; `from_json` reads it."""
        return {
            "wanted": self.wanted,
            "found": self.found,
            **{
                name: [[w.reason, w.provider, w.detail, number] for w, number in sorted(counts.items())]
                for name, counts in (("absent", self.absent), ("dropped", self.dropped))
                if counts
            },
        }

    @classmethod
    def from_json(cls, stated: Mapping[str, Any]) -> LayerFound:
        """Inverse of `json`."""
        absent, dropped = (
            Counter({Why(reason=r, provider=p, detail=d): number for r, p, d, number in stated.get(name, ())})
            for name in ("absent", "dropped")
        )
        return cls(wanted=stated["wanted"], found=stated["found"], absent=absent, dropped=dropped)


def tally_of(part: PartPlan) -> dict[str, LayerFound]:
    """Count a planned partition, layer by layer."""
    layers: dict[str, LayerFound] = {}
    for _, name, _ in part.candidates:
        layer = layers.setdefault(name, LayerFound())
        layer.wanted += 1
        layer.found += 1
    for (_, name, _), outcome in part.absences.items():
        layer = layers.setdefault(name, LayerFound())
        layer.wanted += 1
        why = Why(reason=outcome.reason.value, provider=outcome.provider or "", detail=_alike(outcome.detail))
        layer.absent[why] += 1
    for (name, provider, whose), (reason, detail) in part.dropped.items():
        layer = layers.setdefault(name, LayerFound())
        layer.dropped[Why(reason=reason.value, provider=provider, detail=_of_any(whose, detail))] += 1
    return {name: _short(layer) for name, layer in sorted(layers.items())}


def added(parts: Iterable[Mapping[str, LayerFound]]) -> dict[str, LayerFound]:
    """Several partitions together."""
    layers: dict[str, LayerFound] = {}
    for part in parts:
        for name, layer in part.items():
            layers.setdefault(name, LayerFound()).add(layer)
    return dict(sorted(layers.items()))


def not_used(layers: Mapping[str, LayerFound]) -> list[str]:
    """One line for each layer of which something was there that landweave cannot use."""
    return [
        f"  {name:15} {layer.dropped.total():>9,} items not used: {words_of(layer.dropped, with_codes=True)}"
        for name, layer in layers.items()
        if layer.dropped
    ]


def words_of(counts: Counter[Why], *, with_codes: bool = False) -> str:
    """'not_found 34 (earth-search: HTTP 404 from https://...)', the commonest reasons first."""
    ordered = sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))
    texts = [f"{why.reason} {number:,} ({why.text})" if with_codes else why.text for why, number in ordered]
    rest = len(texts) - _REASONS_SHOWN
    return ", ".join(texts[:_REASONS_SHOWN]) + (f", and {rest} other reasons" if rest > 0 else "")


def _alike(detail: str) -> str:
    """The message without the number of scenes and the period of one sample, so that equal reasons are equal."""
    detail = re.sub(r"none of \d+ scenes", "none of the scenes", detail)
    detail = re.sub(r"the window has \d+ dates here", "the window has fewer dates here", detail)
    return re.sub(r"(in window '[a-z0-9-]+') from [0-9-]{10} to [0-9-]{10}", r"\1", detail)


def _of_any(whose: str, detail: str) -> str:
    """The message without the item's id, so that equal reasons are equal."""
    for named in (repr(whose), whose):
        detail = detail.replace(f"item {named}: ", "").replace(f"item {named}", "an item")
    return detail


def _short(layer: LayerFound) -> LayerFound:
    layer.absent, layer.dropped = _fewer(layer.absent), _fewer(layer.dropped)
    return layer


def _fewer(counts: Counter[Why]) -> Counter[Why]:
    """At most MOST_KINDS: beyond it, a reason of a provider is printed with its most frequent message."""
    if len(counts) <= MOST_KINDS:
        return counts
    alike: dict[tuple[str, str], Counter[Why]] = {}
    for why, number in counts.items():
        alike.setdefault((why.reason, why.provider), Counter())[why] += number
    return Counter({max(sorted(c), key=lambda w: c[w]): c.total() for c in alike.values()})
