"""Predicts what texts will cost, before anything is asked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipelines.captions.counting import tokens_of_messages, tokens_of_text
from pipelines.captions.dialogue import Dialogue
from pipelines.captions.template import template_caption
from pipelines.shards.stored import fact_labels, sources_of_facts, stored_facts
from pipelines.texts.allowance import Usage
from schemas.caption import ClassShare, Facts
from schemas.label_source import OpenStreetMapLabel
from schemas.text_sets import LlmTexts

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pipelines.captions.prompts import Prompt
    from pipelines.shards.stored import Stored
    from schemas.captions import LlmCaptions
    from schemas.recipe import Recipe

_LOOKED_AT = 24
"""Samples of a finished dataset whose questions are counted."""
_TYPICAL = 6
"""Typical samples that are counted: their texts have different forms."""
_SHARES = (("trees", 41), ("crops", 27), ("grass", 19), ("water", 8), ("built", 5))
_PARTS = ("top left", "top right", "bottom left", "bottom right", "middle")
_OBJECTS = (("building", 40), ("field", 12), ("road", 11), ("path", 4), ("stream", 2))


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """Of one set of texts, if the model keeps to the facts at its first answer."""

    name: str
    """Of the set."""
    samples: int
    """Samples."""
    questions: int
    """Questions of all samples."""
    usage: Usage
    """Tokens."""
    cost: float | None
    """In the currency of the prices; None without prices."""
    measured: bool
    """Whether facts of samples were counted; False: those of a typical sample."""

    def text(self) -> str:
        """One line."""
        said = (
            f"{self.name}: {self.samples:,} samples, {self.questions:,} questions, about {self.usage.tokens:,} tokens "
            f"({self.usage.prompt:,} of questions, {self.usage.completion:,} of answers)"
        )
        if self.cost is not None:
            said += f", {self.cost:,.2f} by your prices"
        return said + ("" if self.measured else ", by the facts of a typical sample")


def estimate(config: LlmCaptions, prompt: Prompt, samples: int, facts: Sequence[Facts], *, name: str) -> Estimate:
    """What some texts will cost.

    Args:
        config: the recipe's entry.
        prompt: instructions.
        samples: how many there are.
        facts: of some of them.
        name: of the set.
    """
    dialogues = [d for n, one in enumerate(facts) for d in Dialogue.all_of(config, prompt, f"sample-{n}", one)]
    asked = [question.messages for d in dialogues if (question := d.question) is not None]
    pictures = config.pictures if isinstance(config, LlmTexts) else ()
    seen = len(pictures) * config.picture_tokens if isinstance(config, LlmTexts) else 0
    prompts = sum(tokens_of_messages(one) + seen for one in asked)
    answers = sum(_answer(one, n, config.per_sample) for n, one in enumerate(facts))
    scale = samples / max(1, len(facts))
    usage = Usage(round(prompts * scale), round(answers * scale))
    prices = config.prices if isinstance(config, LlmTexts) else None
    return Estimate(
        name=name,
        samples=samples,
        questions=round(len(asked) * scale),
        usage=usage,
        cost=None if prices is None else usage.cost(prices),
        measured=any(one != facts[0] for one in facts),
    )


def _answer(facts: Facts, number: int, wordings: int) -> int:
    """About how many tokens the answers about a sample have: texts of a template of the same forms, in JSON."""
    texts = [template_caption(facts, f"sample-{number}", index) for index in range(wordings)]
    return sum(tokens_of_text(f'{{"caption": "{text}"}}') for text in texts)


def facts_of_some(stored: Stored, facts_from: str | None, sure: float) -> list[Facts]:
    """Facts of some samples of a dataset, spread evenly."""
    data, found = stored.data, []
    if data is None:
        return []
    labels = fact_labels(stored.recipe, stored.spec, facts_from)
    step = max(1, len(data) // _LOOKED_AT)
    for number in range(0, len(data), step):
        sample = data.sample(number)
        where = sources_of_facts(stored.recipe, sample, labels, sure)
        found.append(stored_facts(sample, stored.spec.size_m, where))
    return found


def typical_facts(recipe: Recipe) -> list[Facts]:
    """Facts of as many things as a sample of a recipe usually has, as often as texts have forms."""
    ground = any(s.modality.terrain is not None for s in recipe.sources)
    mapped = any(isinstance(x, OpenStreetMapLabel) for x in recipe.labels)
    label = recipe.labels[0].layer if recipe.labels else None
    shares = tuple(ClassShare(name=name, percent=p, pixels=p * 92) for name, p in _SHARES)
    dated = any(recipe.slots_of(s) for s in recipe.sources)
    found = Facts(
        label=label,
        overall=shares if label else (),
        regions={name: shares[: 2 + n % 2] for n, name in enumerate(_PARTS)} if label else {},
        objects=_OBJECTS if mapped else (),
        road_length_m=5_120 if mapped else None,
        elevation_min_m=412 if ground else None,
        elevation_max_m=497 if ground else None,
        slope_mean_deg=6.3 if ground else None,
        relief="rolling" if ground else None,
        season="summer" if dated else None,
        month=7 if dated else None,
        year=2021 if dated else None,
        place="northern mid-latitudes",
        size_m=round(recipe.grid.size_m),
    )
    return [found] * _TYPICAL
