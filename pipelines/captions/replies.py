"""Reads what a model's endpoint answers: the captions in it, or why there are none. Text of a model is only ever parsed
as JSON, and checked."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, Field, ValidationError

from pipelines.access.foreign import ForeignJsonError, read_json
from pipelines.captions.counting import tokens_of_messages, tokens_of_text

if TYPE_CHECKING:
    from collections.abc import Sequence

_CAPTION_CHARS = 10_000
"""More than this is not even checked."""
_MOST_TOKENS = 10**9
_FENCE = re.compile(r"```(?:json)?\s*(\{.*\})\s*```", re.DOTALL)


class _Function(BaseModel):
    arguments: str | None = None


class _Call(BaseModel):
    function: _Function | None = None


class _Message(BaseModel):
    content: str | None = None
    tool_calls: tuple[_Call, ...] | None = None


class _Choice(BaseModel):
    message: _Message
    finish_reason: str | None = None


class _Usage(BaseModel):
    prompt_tokens: int = Field(default=0, ge=0, le=_MOST_TOKENS)
    completion_tokens: int = Field(default=0, ge=0, le=_MOST_TOKENS)
    total_tokens: int = Field(default=0, ge=0, le=_MOST_TOKENS)


class _Completion(BaseModel):
    """The used fields of an answer of the chat completions API."""

    choices: tuple[_Choice, ...]
    usage: _Usage | None = None


@dataclass(frozen=True, slots=True)
class Reply:
    """One answer of a model."""

    texts: tuple[str, ...] | None
    """The captions; None if the answer holds none."""
    why: str
    """Why not."""
    prompt_tokens: int
    """As the endpoint counted; where it does not say, an estimate of ours."""
    completion_tokens: int
    """Of the answer."""
    lost: bool = False
    """True where a batch came back without this answer: an attempt is spent, and the model is told nothing."""

    @property
    def tokens(self) -> int:
        """Of both."""
        return self.prompt_tokens + self.completion_tokens

    def record(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)

    @classmethod
    def of_record(cls, record: Any) -> Reply:
        """From `record`.

        Raises:
            ValueError: it is none.
        """
        try:
            texts = record["texts"]
            counts = record["prompt_tokens"], record["completion_tokens"]
            sound = texts is None or (isinstance(texts, list) and all(isinstance(t, str) for t in texts))
            if not sound or not all(type(n) is int and n >= 0 for n in counts) or not isinstance(record["why"], str):
                raise ValueError("a kept answer of another form")
        except (TypeError, KeyError) as error:
            raise ValueError("not a kept answer") from error
        return cls(None if texts is None else tuple(texts), record["why"], *counts, lost=record.get("lost") is True)


def read_reply(body: bytes, asked: Sequence[dict[str, Any]], wanted: int = 1) -> Reply:
    """The captions of an answer's body.

    Args:
        body: a chat completion, as the endpoint sent it.
        asked: the messages of the question, to estimate its tokens where the endpoint counts none.
        wanted: captions that were asked for.
    """
    try:
        completion = _Completion.model_validate(read_json(body))
    except (ForeignJsonError, ValidationError):
        return Reply(None, "the answer was not a chat completion", 0, 0)
    choice = completion.choices[0] if completion.choices else None
    text = "" if choice is None else _content(choice.message)
    counts = _counts(completion.usage, asked, text)
    if choice is not None and choice.finish_reason == "length":
        return Reply(None, "the answer was cut off, write a shorter one", *counts)
    found = _texts(text, wanted)
    return Reply(None, found, *counts) if isinstance(found, str) else Reply(found, "", *counts)


def _content(message: _Message) -> str:
    for call in message.tool_calls or ():
        if call.function is not None and call.function.arguments:
            return call.function.arguments
    return message.content or ""


def _counts(usage: _Usage | None, asked: Sequence[dict[str, Any]], text: str) -> tuple[int, int]:
    """(tokens of the question, of the answer)."""
    if usage is None or not (usage.total_tokens or usage.prompt_tokens or usage.completion_tokens):
        return tokens_of_messages(asked), tokens_of_text(text)
    total = max(usage.total_tokens, usage.prompt_tokens + usage.completion_tokens)
    answer = min(usage.completion_tokens, total)
    return total - answer, answer


def _texts(text: str, wanted: int) -> tuple[str, ...] | str:
    """The captions, or why there are none."""
    fenced = _FENCE.fullmatch(text.strip())
    try:
        content = read_json((fenced[1] if fenced else text).encode())
    except ForeignJsonError:
        return "the answer was not JSON" if text else "the answer was empty"
    key = "caption" if wanted == 1 else "captions"
    listed = content.get(key) if isinstance(content, dict) and set(content) == {key} else None
    found = [listed] if wanted == 1 else listed
    if not isinstance(found, list) or not found or not all(isinstance(t, str) for t in found):
        return 'the answer was not {"caption": "..."}' if wanted == 1 else 'the answer was not {"captions": ["..."]}'
    if any(len(t) > _CAPTION_CHARS for t in found):
        return "the caption was far too long"
    return tuple(t.strip() for t in found[:wanted])
