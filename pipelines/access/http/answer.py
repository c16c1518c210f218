"""Interprets HTTP answers: classifies errors, and checks that a body is the requested one."""

from __future__ import annotations

import base64
import binascii
import hashlib
import math
import re
import socket
import ssl
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

from pipelines.access.errors import AccessError
from pipelines.access.http.address import shown
from schemas.outcome import Reason

if TYPE_CHECKING:
    from pipelines.access.http.transport import Answer

_RETRYABLE_STATUS = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 529})
"""RFC 9110 sections 15.5.9, 15.5.10, 15.6; RFC 6585 section 4 (429); RFC 8470 (425); 529: 'overloaded' at some models'
endpoints: the request may succeed when sent again."""
_DIGEST = re.compile(r"(?:^|,)\s*(sha-256|sha-512)\s*=\s*:([A-Za-z0-9+/=]*):")
"""RFC 9530 section 2: what the bytes of this very answer hash to, ranges included."""
_CONTENT_RANGE = re.compile(r"bytes ([0-9]{1,18})-([0-9]{1,18})/([0-9]{1,18}|\*)$")


_BROKEN: tuple[tuple[type[BaseException], str], ...] = (
    (ConnectionRefusedError, "refused the connection"),
    (ConnectionError, "closed the connection"),
    (socket.gaierror, "is unknown: its host name has no address"),
    (ssl.SSLCertVerificationError, "has a certificate that cannot be verified"),
    (TimeoutError, "did not answer in time"),
)
"""Kind of connection failure -> words for it; others are reported by name."""


@dataclass(frozen=True, slots=True)
class Range:
    """Bytes of an object, whole as asked for."""

    data: bytes
    """The bytes; shorter than asked only where the object ends."""
    start: int
    """Offset of the first byte in the object."""
    total: int | None
    """Size of the object, if the server says it."""
    etag: str | None
    """Version of the object, if the server says it."""


def broken(error: BaseException, href: str) -> AccessError:
    """A connection that failed: reset, timeout, short body, name or certificate trouble. All may pass."""
    for kind, words in _BROKEN:
        if isinstance(error, kind):
            return AccessError(Reason.UNAVAILABLE, f"{shown(href)} {words} ({type(error).__name__})", retryable=True)
    return AccessError(Reason.UNAVAILABLE, f"{type(error).__name__} from {shown(href)}", retryable=True)


def refused(answer: Answer, href: str) -> AccessError:
    """An answer of 300 or above, by its class."""
    status = answer.status
    detail = f"HTTP {status} from {shown(href)}"
    if status in _RETRYABLE_STATUS:
        after = retry_after_s(answer.headers.get("Retry-After"), answer.headers.get("Date"))
        return AccessError(Reason.UNAVAILABLE, detail, retryable=True, status=status, retry_after_s=after)
    if status in (401, 403):
        return AccessError(Reason.DENIED, detail, status=status)
    if status in (404, 410):
        return AccessError(Reason.NOT_FOUND, detail, status=status)
    if status == 416:
        return AccessError(Reason.CORRUPT, f"{detail}: the object is shorter than its header states", status=status)
    return AccessError(Reason.UNAVAILABLE, detail, status=status)


def retry_after_s(value: str | None, date: str | None = None) -> float | None:
    """Seconds from a Retry-After header (RFC 9110 section 10.2.3: seconds or a date); None if there is none.

    `date`: when the server says that it answered. Its date is held against its own clock: ours may be wrong.
    """
    if value is None:
        return None
    try:
        seconds = float(value)
    except ValueError:
        pass
    else:
        return None if math.isnan(seconds) else max(0.0, seconds)
    try:
        now = datetime.now(UTC) if date is None else parsedate_to_datetime(date)
        return max(0.0, (parsedate_to_datetime(value) - now).total_seconds())
    except (ValueError, TypeError, OverflowError, IndexError):
        return None


def check_digest(answer: Answer, href: str) -> None:
    """Compare the body with its Content-Digest, where the server sends one."""
    if not answer.whole:
        return
    for name, value in _DIGEST.findall(answer.headers.get("Content-Digest", "")):
        try:
            said = base64.b64decode(value, validate=True)
        except binascii.Error:
            continue
        if hashlib.new(name.replace("-", ""), answer.body).digest() != said:
            raise AccessError(
                Reason.UNAVAILABLE,
                f"{shown(href)} sent {len(answer.body)} bytes that do not match their digest",
                retryable=True,
                status=answer.status,
            )


def checked_range(answer: Answer, href: str, start: int, length: int) -> Range:
    """The bytes that were asked for, whichever way the server tells them.

    Raises:
        AccessError: UNAVAILABLE, retryable, where they are others.
    """
    etag = answer.headers.get("ETag")
    page = answer.headers.get("Content-Type", "").startswith("text/html")
    if answer.status == 200 and (page or (answer.size is not None and answer.size < start)):
        raise AccessError(
            Reason.UNAVAILABLE,
            f"{shown(href)} answered a range request with other content than the object",
            retryable=True,
            status=answer.status,
        )
    if answer.status == 200:  # a server without ranges sends everything
        return Range(answer.body, start, answer.size, etag)
    match = _CONTENT_RANGE.match(answer.headers.get("Content-Range", "").strip())
    if answer.status != 206 or match is None:
        raise AccessError(
            Reason.UNAVAILABLE,
            f"{shown(href)} answered a range request with HTTP {answer.status} and no usable Content-Range",
            retryable=True,
            status=answer.status,
        )
    first, last = int(match.group(1)), int(match.group(2))
    total = None if match.group(3) == "*" else int(match.group(3))
    end = start + length if total is None else min(start + length, total)
    if first != start or last + 1 != end or len(answer.body) != end - start:
        raise AccessError(
            Reason.UNAVAILABLE,
            f"{shown(href)} sent bytes {first}-{last} ({len(answer.body)}), asked for {start}-{end - 1}",
            retryable=True,
            status=answer.status,
        )
    return Range(answer.body, start, total, etag)
