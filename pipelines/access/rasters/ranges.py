"""Merges blocks of a file into requests: a few extra bytes against one request less.

A request costs about as much as a megabyte (30 ms at 30 MB/s), so the nearest neighbours are joined first, as long as
the unused bytes stay below a small share of the needed bytes.
"""

from __future__ import annotations

from collections import Counter, deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from pipelines.access.rasters.tiff import Block

    Span = tuple[int, int, Block]
    """(offset, size, block) in the file."""

WASTE_SHARE = 0.018
"""Most unused bytes, as a share of the needed bytes: with the headers below 2 percent in total."""
_ADJOINING_BYTES = 64
"""Blocks this near adjoin: GDAL's COG driver puts 4 bytes before and 4 after each, others align them."""
RANGE_BYTES = 8 << 20
"""Largest merged range, so that one failure repeats little."""
AHEAD_BYTES = 16 << 20
"""Stored bytes of one raster that are fetched or being fetched and not decoded yet."""


class Pieces:
    """Puts blocks together that are stored in several pieces, as they arrive in the order of the file."""

    def __init__(self, spans: Sequence[Span]) -> None:
        """`spans`: all pieces that will arrive."""
        self._due = Counter(block for _, _, block in spans)
        self._came: dict[Block, list[bytes]] = {}

    def joined(self, block: Block, piece: memoryview) -> memoryview | bytes | None:
        """The stored block, if this was its last piece; None while pieces are missing, or one is lost."""
        if self._due[block] <= 1:
            return piece if self._due[block] else None
        came = self._came.setdefault(block, [])
        came.append(bytes(piece))
        return b"".join(self._came.pop(block)) if len(came) == self._due[block] else None

    def lost(self, group: Sequence[Span]) -> Iterator[Block]:
        """Blocks that cannot be put together any more, each once, because these pieces did not arrive."""
        for block in dict.fromkeys(block for _, _, block in group):
            if self._due[block]:
                self._due[block] = 0
                self._came.pop(block, None)
                yield block


def gap_limit(spans: Sequence[Span]) -> int:
    """Largest gap to read across, bytes, for blocks in file order: all gaps up to it stay within the share."""
    left = WASTE_SHARE * sum(size for _, size, _ in spans)
    limit = _ADJOINING_BYTES
    reach = 0
    gaps = []
    for offset, size, _ in spans:
        if reach and offset - reach > _ADJOINING_BYTES:
            gaps.append(offset - reach)
        reach = max(reach, offset + size)
    gaps.sort()
    for i, gap in enumerate(gaps):
        left -= gap
        if left < 0:
            break
        if i + 1 == len(gaps) or gaps[i + 1] > gap:  # gaps of one size go together: the limit cannot part them
            limit = gap
    return limit


def merged(spans: Sequence[Span], limit: int) -> Iterator[list[Span]]:
    """Groups of blocks for one request each: no gap above `limit`, no range far above RANGE_BYTES."""
    group: list[Span] = []
    reach = 0
    for span in spans:
        if group and (span[0] - reach > limit or span[0] + span[1] - group[0][0] > RANGE_BYTES):
            yield group
            group, reach = [], 0
        group.append(span)
        reach = max(reach, span[0] + span[1])
    if group:
        yield group


def fetched(
    groups: Sequence[list[Span]], start: Callable[[int, int], Callable[[], bytes]]
) -> Iterator[tuple[list[Span], Callable[[], bytes]]]:
    """The groups in order, each with a function that waits for its bytes; the next groups are fetched meanwhile.

    Args:
        groups: From `merged`.
        start: Begins to fetch (offset, length) in the background and gives what waits for it.
    """
    waiting: deque[tuple[list[Span], int, Callable[[], bytes]]] = deque()
    ahead = 0
    for group in groups:
        offset, end = group[0][0], max(s[0] + s[1] for s in group)
        while waiting and ahead + end - offset > AHEAD_BYTES:
            first, length, wait = waiting.popleft()
            yield first, wait
            ahead -= length
        waiting.append((group, end - offset, start(offset, end - offset)))
        ahead += end - offset
    while waiting:
        first, _, wait = waiting.popleft()
        yield first, wait
