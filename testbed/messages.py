"""Messages of the servers: requests, answers, faults and log entries."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

Json = dict[str, Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class Request:
    """What a client asked."""

    method: str
    """'GET', 'HEAD', 'POST'."""
    path: str
    """Percent-decoded path without the query."""
    query: tuple[tuple[str, str], ...]
    """Query parameters in order."""
    headers: Mapping[str, str]
    """Header fields, names in lower case."""
    body: bytes
    """Request body."""

    @property
    def range(self) -> str | None:
        """The Range header as sent, or None."""
        return self.headers.get("range")

    def json(self) -> Json:
        """The body as a JSON object.

        Raises:
            ValueError: it is none.
        """
        found = json.loads(self.body or b"{}")
        if not isinstance(found, dict):
            raise ValueError(  # noqa: TRY004 - malformed JSON and JSON of another type are one fault to the client
                f"the body must be a JSON object, got {type(found).__name__}"
            )
        return found


@dataclass(kw_only=True, slots=True)
class Answer:
    """What the server says."""

    status: int = 200
    """HTTP status."""
    body: bytes = b""
    """Whole body; not sent on HEAD."""
    headers: dict[str, str] = field(default_factory=dict)
    """Header fields beyond Content-Length."""

    @classmethod
    def of(cls, value: object, status: int = 200, kind: str = "application/json") -> Answer:
        """A JSON answer."""
        body = json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
        return cls(status=status, body=body, headers={"Content-Type": kind})

    @classmethod
    def error(cls, status: int, description: str) -> Answer:
        """An error as STAC API and OGC API Features word it."""
        return cls.of({"code": HTTPStatus(status).phrase.replace(" ", ""), "description": description}, status)


@dataclass(frozen=True, kw_only=True, slots=True)
class Fault:
    """What goes wrong with one answer; a field left at its default goes right."""

    status: int | None = None
    """Answer with this status and `body` instead of the real answer."""
    body: bytes = b"fault"
    """Body of the answer when `status` is set."""
    headers: Mapping[str, str] = field(default_factory=dict)
    """Header fields added, for example Retry-After."""
    short_by_bytes: int = 0
    """Promise the whole length, send this many bytes less, close the connection."""
    delay_s: float = 0.0
    """Wait before answering, seconds."""
    reset: bool = False
    """Close the connection with a TCP reset instead of an answer."""
    pause_at: int | None = None
    """Send this many bytes of the body, then wait `pause_s` before the rest."""
    pause_s: float = 0.0
    """See `pause_at`, seconds."""
    change: Callable[[Answer], Answer] | None = None
    """Makes another answer of the right one."""


Hook = Callable[[Request], Fault | None]
"""Asked about every request; None = nothing goes wrong. The first hook that returns a fault wins."""
Route = Callable[[Request], "Answer | None"]
"""Answers a request, or None if the path is not its own."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LogEntry:
    """One answered request, in the order in which answers were ready."""

    method: str
    path: str
    query: str
    range: str | None
    status: int
    bytes: int
    """Body bytes sent; of an answer still on its way, those it will be."""
    started_s: float
    """Monotonic clock, seconds."""
    ended_s: float
    """Monotonic clock, seconds."""
