"""Tokens before a model has counted them: an estimate, and a number that they cannot exceed."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_PIECES = re.compile(r"\w+|[^\w\s]")
_OVERHEAD = 16
"""Tokens around one message, at most: its role and marks."""


def tokens_of_text(text: str) -> int:
    """About how many tokens a text has: its words and signs. Tokenisers of large models split long words and join signs
    of JSON, which about cancels."""
    return len(_PIECES.findall(text))


def tokens_of_messages(messages: Iterable[dict[str, Any]], picture_tokens: int = 0) -> int:
    """About how many tokens a question has.

    Args:
        messages: of the chat completions API.
        picture_tokens: of one picture.
    """
    return sum(tokens_of_text(t) for m in messages for t in _said(m)) + picture_tokens * _pictures(messages)


def most_tokens(messages: Sequence[dict[str, Any]], picture_tokens: int, schema_bytes: int = 0) -> int:
    """Tokens that a question cannot exceed: a token of any tokeniser has at least one byte."""
    words = sum(len(t.encode()) for m in messages for t in _said(m))
    return words + schema_bytes + _OVERHEAD * len(messages) + picture_tokens * _pictures(messages)


def _said(message: dict[str, Any]) -> list[str]:
    content = message.get("content")
    if isinstance(content, str):
        return [content]
    return [str(part["text"]) for part in content or () if part.get("type") == "text"]


def _pictures(messages: Iterable[dict[str, Any]]) -> int:
    parts = [m["content"] for m in messages if isinstance(m.get("content"), list)]
    return sum(part.get("type") == "image_url" for listed in parts for part in listed)
