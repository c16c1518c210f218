"""The `captions` section of a recipe: who writes the texts."""

from __future__ import annotations

import re
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from schemas.primitives import Address, relative
from schemas.strict import Strict
from schemas.texts import ColumnCaptions, FileCaptions
from schemas.variables import checked_key

PROMPT = "facts-2"
"""The prompt of a recipe that names none."""
AT_ONCE = 16
"""Questions under way at once where a recipe does not say."""
TIMEOUT_S = 120.0
"""Deadline of one question where a recipe does not say, seconds."""
_SHIPPED = re.compile(r"[a-z][a-z0-9-]{0,60}-[0-9]{1,4}")


def _prompt(name: str) -> str:
    return name if _SHIPPED.fullmatch(name) else _prompt_file(name)


def _prompt_file(name: str) -> str:
    if not name.lower().endswith(".txt"):
        raise ValueError(
            f"expected the name of a shipped prompt with its version, such as {PROMPT}, or a file in .txt beside the "
            f"recipe; found {name[:80]!r}"
        )
    return relative(name)


Prompt = Annotated[str, Field(min_length=1, max_length=1024), AfterValidator(_prompt)]
"""Name of a shipped prompt, or the path of a file."""


class TemplateCaptions(Strict):
    """Sentences from facts, without a model."""

    kind: Literal["template"] = "template"
    per_sample: int = Field(default=1, ge=1, le=8, description="wordings per sample")
    facts_from: str | None = Field(default=None, description="label layer for the class shares; the first if absent")


class LlmCaptions(Strict):
    """Sentences from a language model behind an OpenAI-compatible endpoint, checked against the facts."""

    kind: Literal["llm"] = "llm"
    model: str = Field(min_length=1, description="model name at the endpoint")
    base_url: Address = Field(
        default="$OPENAI_BASE_URL",
        description="endpoint; may begin with $OPENAI_BASE_URL or a variable $LANDWEAVE_...; the key is sent to its "
        "own service, to the host in OPENAI_BASE_URL and to hosts that the user allows (--allow-host)",
    )
    api_key_variable: Annotated[str, AfterValidator(checked_key)] = Field(
        default="OPENAI_API_KEY",
        pattern=r"^[A-Z][A-Z0-9_]*$",
        max_length=128,
        description="environment variable that holds the key: a model service's own, or LANDWEAVE_...",
    )
    per_sample: int = Field(default=1, ge=1, le=8)
    attempts: int = Field(
        default=3, ge=1, le=10, description="number of answers to request before the template is used instead"
    )
    max_tokens: int = Field(default=300, ge=16, le=4096)
    temperature: float = Field(default=0.7, ge=0.0, le=2.0)
    facts_from: str | None = None
    prompt: Prompt = Field(
        default=PROMPT,
        exclude_if=lambda name: name == PROMPT,
        description="a shipped prompt (facts-2, chatearthnet-1, rsteller-1, fmow-1), or a .txt file beside the recipe",
    )
    at_once: int = Field(
        default=AT_ONCE,
        ge=1,
        le=256,
        exclude_if=lambda number: number == AT_ONCE,
        description="questions under way at once, in each worker process",
    )
    together: int = Field(
        default=1,
        ge=1,
        le=8,
        exclude_if=lambda number: number == 1,
        description="wordings that one question asks for; per_sample of them take per_sample / together questions",
    )
    requests_per_min: int | None = Field(
        default=None,
        ge=1,
        exclude_if=lambda number: number is None,
        description="requests per minute that the key may send, divided among the workers",
    )
    tokens_per_min: int | None = Field(
        default=None,
        ge=1_000,
        exclude_if=lambda number: number is None,
        description="tokens per minute that the key may use, divided among the workers",
    )
    timeout_s: float = Field(
        default=TIMEOUT_S,
        gt=0,
        le=7_200,
        exclude_if=lambda seconds: seconds == TIMEOUT_S,
        description="deadline of one question, seconds",
    )
    answers: Literal["auto", "json_schema", "tools", "json"] = Field(
        default="auto",
        exclude_if=lambda form: form == "auto",
        description="how the endpoint is asked for structured answers; auto: json_schema, and where the endpoint "
        "refuses it tools, then plain JSON",
    )
    token_limit: Literal["auto", "max_tokens", "max_completion_tokens"] = Field(
        default="auto",
        exclude_if=lambda name: name == "auto",
        description="name of the parameter that limits an answer; auto: max_tokens, and the other where the endpoint "
        "refuses it",
    )

    @model_validator(mode="after")
    def _together(self) -> Self:
        if self.together > self.per_sample:
            raise ValueError(
                f"together is {self.together} and per_sample {self.per_sample}: one question cannot ask for more "
                "wordings than a sample gets"
            )
        return self


Captions = Annotated[TemplateCaptions | LlmCaptions | ColumnCaptions | FileCaptions, Field(discriminator="kind")]
