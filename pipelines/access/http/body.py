"""Reads the body of an HTTP answer, completely or the requested part, decompresses it and limits its size."""

from __future__ import annotations

import time
import zlib
from dataclasses import dataclass
from http.client import HTTPException, HTTPResponse, IncompleteRead
from typing import TYPE_CHECKING

from pipelines.access.errors import AccessError
from schemas.outcome import Reason

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_CHUNK_BYTES = 1 << 18
_LARGE_CHUNK_BYTES = 16 << 20
"""A body of known length comes in one piece up to this size: more than the largest merged range."""
_UNPACKED_BYTES = 1 << 20
"""A packed body is unpacked in pieces of this size, so that one that is too large is noticed early."""
_REFUSAL_BYTES = 1 << 16
"""Read at most of the body of an answer that is a refusal or a redirect."""
_REST_BYTES = 1 << 20
"""Read in vain, so that the connection can be used again."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """The requested part of a body."""

    most: int
    """Bytes, unpacked, that a body may have at most."""
    start: int = 0
    length: int | None = None
    """Bytes [start, start + length) of the object are asked for; None = all of it."""
    reason: bool = False
    """Whether the body of a refusal is kept, up to 64 KiB: some services say there what is wrong."""

    @property
    def allowed(self) -> int:
        """Bytes that a body may have which is what was asked for."""
        return self.most if self.length is None else self.length


@dataclass(frozen=True, slots=True)
class Body:
    """The bytes read."""

    data: bytes
    whole: bool
    """False: `data` is a part of what was sent."""
    size: int | None
    """Bytes of the whole body, where that is known."""
    at_end: bool
    """Whether the connection stands behind the body."""


def read_body(response: HTTPResponse, wanted: Wanted, deadline_s: float, received: list[int]) -> Body:
    """Read a body.

    Args:
        response: Headers read, body not.
        wanted: What is kept, and how much is allowed.
        deadline_s: On the monotonic clock.
        received: [bytes]: what is read from the connection is added.

    Raises:
        AccessError: CORRUPT if it is larger than allowed; the text lacks the address.
        HTTPException: it ends before its length, or cannot be unpacked.
        TimeoutError: the deadline passed.
    """
    if response.status >= 300:
        return _refusal(response, wanted, deadline_s, received)
    said = response.length  # None: chunked, or until the connection ends
    coding = _coding(response)
    packed = coding not in ("", "identity")
    chunks: Iterable[bytes] = _chunks(response, said, deadline_s, received)
    if wanted.length is not None and response.status == 200:
        return _part(_unpacked(chunks, coding) if packed else chunks, wanted, None if packed else said)
    if said is not None and said > wanted.allowed:
        raise _too_large(wanted)
    data = _joined(_unpacked(chunks, coding) if packed else chunks, wanted)
    return Body(data, True, len(data), True)


def _coding(response: HTTPResponse) -> str:
    return (response.headers.get("Content-Encoding") or "identity").strip().lower()


def _refusal(response: HTTPResponse, wanted: Wanted, deadline_s: float, received: list[int]) -> Body:
    coding = _coding(response)
    chunks: Iterable[bytes] = _chunks(response, response.length, deadline_s, received, _CHUNK_BYTES >> 2)
    if wanted.reason and coding not in ("", "identity"):
        chunks = _unpacked(chunks, coding)
    kept, size = bytearray(), 0
    for chunk in chunks:
        size += len(chunk)
        if wanted.reason:
            kept += chunk[: _REFUSAL_BYTES - len(kept)]
        if size > _REFUSAL_BYTES:
            return Body(bytes(kept), False, None, False)
    return Body(bytes(kept), True, size, True)


def _part(chunks: Iterable[bytes], wanted: Wanted, said: int | None) -> Body:
    """The requested part of an object that is sent completely; does not wait for the bytes after it."""
    end = wanted.start + (wanted.length or 0)
    if end > wanted.most or (said is not None and said > wanted.most):
        raise _too_large(Wanted(wanted.most))
    kept = bytearray()
    at = 0
    for chunk in chunks:
        first = max(wanted.start - at, 0)
        if at < end:
            kept += chunk[first : end - at]
        at += len(chunk)
        if at >= end and (said is None or said - at > _REST_BYTES):
            return Body(bytes(kept), False, said, False)
    return Body(bytes(kept), wanted.start == 0 and at <= end, at, True)


def _chunks(
    response: HTTPResponse, said: int | None, deadline_s: float, received: list[int], most: int = _LARGE_CHUNK_BYTES
) -> Iterator[bytes]:
    """Pieces of the body as sent; ends where it ends."""
    got = 0
    while said is None or got < said:
        chunk = response.read1(min(_CHUNK_BYTES, most)) if said is None else response.read(min(said - got, most))
        got += len(chunk)
        received[0] += len(chunk)
        if time.monotonic() > deadline_s and got != said:  # cut: without a length it would look like its end
            raise TimeoutError
        if not chunk:
            break
        yield chunk
    if said is not None and got < said:
        raise IncompleteRead(b"", said - got)


def _joined(chunks: Iterable[bytes], wanted: Wanted) -> bytes:
    found: list[bytes] = []
    size = 0
    for chunk in chunks:
        size += len(chunk)
        if size > wanted.allowed:
            found.clear()  # an error keeps the frames it went through
            raise _too_large(wanted)
        found.append(chunk)
    return found[0] if len(found) == 1 else b"".join(found)


def _unpacked(chunks: Iterable[bytes], coding: str) -> Iterator[bytes]:
    """A body that was stored packed, as static catalogues are: gzip or deflate, whatever was asked for."""
    if coding not in ("gzip", "x-gzip", "deflate"):
        raise AccessError(Reason.UNAVAILABLE, f"uses the encoding {coding[:32]!a}; only gzip and deflate are supported")
    inflate = zlib.decompressobj(47)  # zlib or gzip, by their header
    try:
        for chunk in chunks:
            left = chunk
            while left:
                if inflate.eof:  # RFC 1952 section 2.2: members stand one after the other
                    inflate = zlib.decompressobj(47)
                plain = inflate.decompress(left, _UNPACKED_BYTES)
                left = inflate.unused_data if inflate.eof else inflate.unconsumed_tail
                if plain:
                    yield plain
    except zlib.error:
        raise HTTPException("damaged Content-Encoding") from None
    if not inflate.eof:
        raise HTTPException("cut Content-Encoding")


def _too_large(wanted: Wanted) -> AccessError:
    if wanted.length is not None:
        return AccessError(Reason.UNAVAILABLE, f"sends more than the {wanted.length} requested bytes", retryable=True)
    return AccessError(Reason.CORRUPT, f"is larger than {wanted.most} bytes")
