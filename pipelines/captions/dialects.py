"""How endpoints of the chat completions API differ: structured answers, and the names of parameters.

A request begins in the richest form. Where an endpoint refuses it, the next form is tried: first by what the refusal
names, else from `json_schema` to `tools` to `json_object` to plain words. What an endpoint took is kept for the rest.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from pipelines.captions.prompts import schema

if TYPE_CHECKING:
    from schemas.captions import LlmCaptions

Limit = Literal["max_tokens", "max_completion_tokens"]
Structure = Literal["json_schema", "tools", "json_object", "plain"]
_STRUCTURES: tuple[Structure, ...] = ("json_schema", "tools", "json_object", "plain")
_BEGIN: dict[str, Structure] = {
    "auto": "json_schema",
    "json_schema": "json_schema",
    "tools": "tools",
    "json": "json_object",
}
"""`answers` of a recipe -> the first form."""
REFUSALS = frozenset({400, 415, 422, 501})
"""Statuses by which endpoints refuse a parameter that they do not know."""


@dataclass(frozen=True, slots=True)
class Dialect:
    """What an endpoint is sent."""

    structure: Structure = "json_schema"
    """How a structured answer is asked for."""
    limit: Limit = "max_tokens"
    """Parameter that limits an answer."""
    temperature: bool = True
    """Whether it takes one."""
    seed: bool = True
    """Whether it takes one."""

    @classmethod
    def first(cls, config: LlmCaptions) -> Dialect:
        """The form that a recipe begins with."""
        return cls(structure=_BEGIN[config.answers], limit=_limits(config)[0])

    def after(self, said: str, config: LlmCaptions) -> Dialect | None:
        """The form to try next where this one was refused; None if there is none.

        Args:
            said: the refusal, lower case: only known names of parameters are looked for in it.
            config: the recipe's entry.
        """
        other = _limits(config)[-1]
        if other != self.limit and other in said:
            return replace(self, limit=other)
        if "temperature" in said and self.temperature:
            return replace(self, temperature=False)
        if "seed" in said and self.seed:
            return replace(self, seed=False)
        at = _STRUCTURES.index(self.structure) + 1
        if at == len(_STRUCTURES) or config.answers in ("json_schema", "tools"):
            return None
        return replace(self, structure=_STRUCTURES[at])

    def body(self, config: LlmCaptions, messages: list[dict[str, Any]], seed: int, wanted: int) -> dict[str, Any]:
        """A request, as JSON."""
        found: dict[str, Any] = {"model": config.model, "messages": messages}
        if self.temperature:
            found["temperature"] = config.temperature
        found[self.limit] = config.max_tokens * wanted
        if self.seed:
            found["seed"] = seed
        if self.structure == "json_schema":
            found["response_format"] = {"type": "json_schema", "json_schema": schema(wanted)}
        elif self.structure == "json_object":
            found["response_format"] = {"type": "json_object"}
        elif self.structure == "tools":
            form = schema(wanted)
            tool = {"name": form["name"], "strict": True, "parameters": form["schema"]}
            found["tools"] = [{"type": "function", "function": tool}]
            found["tool_choice"] = {"type": "function", "function": {"name": form["name"]}}
        return found


def _limits(config: LlmCaptions) -> tuple[Limit, ...]:
    """Names of the parameter that limits an answer, in the order in which they are tried."""
    match config.token_limit:
        case "auto":
            return ("max_tokens", "max_completion_tokens")
        case name:
            return (name,)
