"""The bytes of a remote file: its header is kept, everything else is fetched and checked to be of one version."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipelines.access.http.client import AccessError, shown
from schemas.outcome import Reason

if TYPE_CHECKING:
    from pipelines.access.http.client import Client


_HEAD_BYTES = 1 << 15
"""First read of a file. A COG's directories with their block lists fit for all products named in the recipes."""
_MORE_BYTES = 1 << 15
"""Least size of a further read of the header."""


class Source:
    """The bytes of a file that were read so far: its header, and what came in the same request."""

    def __init__(self, client: Client, href: str) -> None:
        self._client = client
        self._href = href
        first = client.get_range(href, 0, _HEAD_BYTES)
        self.total = first.total if first.total is not None else None
        self.etag = first.etag
        self.whole = len(first.data) < _HEAD_BYTES or first.total == len(first.data)
        self.pieces: list[tuple[int, bytes]] = [(0, first.data)]
        self.changed = False
        """True once the archive has given two versions of the file."""
        self._confirmed = False

    @property
    def head(self) -> bytes:
        """The first bytes of the file, as far as they came with the first read."""
        return self.pieces[0][1]

    def read(self, offset: int, length: int) -> bytes:
        """Bytes of the header; fetched if needed, and kept."""
        known = self._known(offset, length)
        if known is None:
            wanted = max(length, _MORE_BYTES)
            if self.total is not None:
                wanted = min(wanted, self.total - offset)
            if wanted < length or length < 0:
                raise AccessError(Reason.CORRUPT, f"{shown(self._href)}: the header points beyond the end of the file")
            self.pieces.append((offset, self.fetch(offset, wanted)))
            known = self.pieces[-1][1][:length]
        return known

    def take_whole(self, data: bytes) -> None:
        """Keep the file, fetched at once."""
        if self.total is not None and len(data) != self.total:
            raise AccessError(Reason.UNAVAILABLE, f"{shown(self._href)} changed while it was read")
        self.pieces = [(0, data)]
        self.whole = True

    def fetch(self, offset: int, length: int) -> bytes:
        """Bytes of the file, from memory or from the archive; not kept."""
        known = self._known(offset, length)
        if known is not None:
            return known
        return self.anew(offset, length)

    def confirm(self) -> None:
        """Fetch the kept bytes again.

        Raises:
            AccessError: UNAVAILABLE if it differs.
        """
        if not self._confirmed and any(self.anew(at, len(piece)) != piece for at, piece in self.pieces):
            self.changed = True
            raise AccessError(Reason.UNAVAILABLE, f"{shown(self._href)} differs when it is read again")
        self._confirmed = True

    def anew(self, offset: int, length: int) -> bytes:
        """Bytes of the file, always from the archive."""
        if self.whole and self._known(offset, length) is None:
            raise AccessError(Reason.CORRUPT, f"{shown(self._href)} is shorter than its header states")
        if self.total is not None and offset + length > self.total:
            raise AccessError(Reason.CORRUPT, f"{shown(self._href)} is shorter than its header states")
        if offset < 0 or length < 0:
            raise AccessError(Reason.CORRUPT, f"{shown(self._href)}: the header points before the start of the file")
        got = self._client.get_range(self._href, offset, length)
        if (self.etag and got.etag and got.etag != self.etag) or (self.total and got.total and got.total != self.total):
            self.changed = True
            raise AccessError(Reason.UNAVAILABLE, f"{shown(self._href)} changed while it was read")
        if len(got.data) != length:
            raise AccessError(Reason.CORRUPT, f"{shown(self._href)} is shorter than its header states")
        return got.data

    def _known(self, offset: int, length: int) -> bytes | None:
        for start, piece in self.pieces:
            if start <= offset and offset + length <= start + len(piece):
                return piece[offset - start : offset - start + length]
        return None
