"""The `texts` section of a recipe: sets of texts that are added to a finished dataset, apart from its pixels."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from schemas.captions import LlmCaptions, TemplateCaptions
from schemas.primitives import Share  # noqa: TC001 - pydantic needs it at run time
from schemas.strict import MisplacedError, Name, Strict

MOST_SETS = 16
"""Most sets of one recipe."""
SURE = 0.8
"""Least confidence of a pixel that facts may rest on, where the label has a confidence."""
Picture = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]{0,63}$")]
"""'rgb', 'false-colour', 'ndvi', 'ndwi', 'ndbi', or the name of a layer."""


class TokenPrices(Strict):
    """What a model costs."""

    input: float = Field(ge=0.0, description="price of a million tokens of the questions, in your currency")
    output: float = Field(ge=0.0, description="price of a million tokens of the answers")


class Budget(Strict):
    """What a set of texts may cost in all its runs; nothing is asked that could exceed it."""

    tokens: int | None = Field(default=None, ge=1, description="tokens of questions and answers together")
    cost: float | None = Field(default=None, ge=0.0, description="in the currency of `prices`")

    @model_validator(mode="after")
    def _some(self) -> Self:
        if self.tokens is None and self.cost is None:
            raise ValueError("state tokens, cost, or both")
        return self


class TemplateTexts(TemplateCaptions):
    """A set of texts by the template."""

    name: Name = Field(description="name of the set, by which it is replaced or withdrawn")
    sure: Share = Field(
        default=SURE, description="of a label with confidence, pixels below this confidence are no facts"
    )


class LlmTexts(LlmCaptions):
    """A set of texts by a language or vision model, checked against the facts."""

    name: Name = Field(description="name of the set, by which it is replaced or withdrawn")
    sure: Share = Field(
        default=SURE, description="of a label with confidence, pixels below this confidence are no facts"
    )
    instead: Literal["template", "nothing"] = Field(
        default="template",
        description="what a sample has where the model's answers are refused, it is not asked, or does not answer; "
        "with nothing, the ledger has the reason",
    )
    pictures: tuple[Picture, ...] = Field(
        default=(),
        max_length=8,
        description="pictures for a vision model: rgb, false-colour, ndvi, ndwi, ndbi, or a layer (labels with legend)",
    )
    picture_px: int = Field(default=384, ge=64, le=2048, description="least edge of a picture, pixels")
    picture_tokens: int = Field(
        default=1_105, ge=1, le=20_000, description="most tokens that the model counts for one picture"
    )
    budget: Budget | None = None
    prices: TokenPrices | None = None
    batch: bool = Field(
        default=False,
        description="ask by batch files (POST /batches): run `add` again, hours or days later, to collect the answers",
    )

    @model_validator(mode="after")
    def _priced(self) -> Self:
        if self.budget is not None and self.budget.cost is not None and self.prices is None:
            raise ValueError(f"texts {self.name}: budget.cost needs `prices`: input and output per million tokens")
        twice = next((p for p in self.pictures if self.pictures.count(p) > 1), None)
        if twice is not None:
            raise ValueError(f"texts {self.name}: pictures names {twice!r} twice")
        return self


Texts = Annotated[TemplateTexts | LlmTexts, Field(discriminator="kind")]


def check_text_sets(texts: tuple[Texts, ...], labels: tuple[str, ...]) -> None:
    """See that sets have different names, and facts from labels of the recipe.

    Raises:
        MisplacedError: the first mistake.
    """
    names = [one.name for one in texts]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        place = len(names) - 1 - names[::-1].index(twice)
        raise MisplacedError(f"two sets are called {twice!r}; names of sets are different", ("texts", place, "name"))
    for place, one in enumerate(texts):
        if one.facts_from is not None and one.facts_from not in labels:
            where = ("texts", place, "facts_from")
            raise MisplacedError(f"facts_from {one.facts_from!r} is not among the labels {list(labels)}", where)
