"""The `captions` section of a recipe: who writes the texts."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from schemas.primitives import Address
from schemas.strict import Strict
from schemas.texts import ColumnCaptions, FileCaptions
from schemas.variables import checked_key


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


Captions = Annotated[TemplateCaptions | LlmCaptions | ColumnCaptions | FileCaptions, Field(discriminator="kind")]
