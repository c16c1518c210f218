"""A remote raster: reads its header once, fetches blocks in merged ranges, and GDAL decodes them from memory."""

from __future__ import annotations

import math
from copy import copy
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit, urlunsplit

import numpy as np
import rasterio

from pipelines.access.http.client import AccessError, shown
from pipelines.access.rasters.crs import GDAL_ERRORS, same
from pipelines.access.rasters.decode import deflate_of
from pipelines.access.rasters.decoded_size import sound
from pipelines.access.rasters.description import described, described_once, opened
from pipelines.access.rasters.grid import unusable
from pipelines.access.rasters.jpeg2000 import incomplete, is_jpeg2000, mended, tile_bytes, tiles_in
from pipelines.access.rasters.jpeg2000_tiles import Tiles, tiles_of
from pipelines.access.rasters.levels import Level, levels_of
from pipelines.access.rasters.memory_budget import Room
from pipelines.access.rasters.ranges import Pieces, fetched, gap_limit, merged
from pipelines.access.rasters.source import Source
from pipelines.access.rasters.tiff import Block, Directory, Layout, directories, is_tiff
from pipelines.access.rasters.tiff_tags import DATE_TIME
from pipelines.access.rasters.tiff_write import block_tiff, header_tiff
from schemas.outcome import Reason

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Hashable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray
    from rasterio.crs import CRS

    from pipelines.access.http.client import Client
    from pipelines.access.rasters.levels import Image
    from pipelines.access.rasters.window import Window

    _Submit = Callable[..., Callable[[], bytes]]
    """Runs a function in the background; what it returns waits for the result."""

_T = TypeVar("_T")
_Content = bytes | Tiles | list[Directory]
"""A file as its header shows it: read whole, the tiles of a JPEG 2000, or the directories of a TIFF."""


_WHOLE_BYTES = 1 << 28
"""Largest file that is read whole: no TIFF, and no JPEG 2000 that lists its tile-parts."""
_TOGETHER_BYTES = 16 << 20
"""Decoded or stored bytes of the blocks that are decoded together: by GDAL, in one file in memory."""
_BLOCKS = Room(320 << 20)
"""Decoded bytes of the blocks at work in this process: a block of the largest that are read is decoded alone."""
_DTYPES = frozenset(f"{kind}{8 * size}" for size in (1, 2, 4, 8) for kind in ("int", "uint", "float")) - {"float8"}
"""Supported data types; complex numbers are not supported."""


class Raster:
    """One file of an archive. Made by `open_raster`; used by one thread at a time."""

    def __init__(self, client: Client, href: str, source: Source, content: _Content) -> None:
        """Describe the file from its header, which `source` holds already."""
        self.href = href
        self._client = client
        self._source = source
        self.memory = content if isinstance(content, bytes) else None
        """The file, where it was read whole."""
        self._tile_bytes = tile_bytes(content) if isinstance(content, bytes) and is_jpeg2000(content) else 0
        images = content if isinstance(content, list) else []
        try:
            if isinstance(content, bytes):
                said = described(content)
            elif isinstance(content, Tiles) and source.whole:
                said = described(source.head)
            else:
                tiled = content.described() if isinstance(content, Tiles) else None
                said = described_once(tiled or header_tiff(images[0], source.read))
        except GDAL_ERRORS as error:
            raise AccessError(Reason.CORRUPT, f"{shown(href)} is not a raster that GDAL can read") from error
        width, height = (images[0].width, images[0].height) if images else (said.width, said.height)
        if (problem := unusable(said.transform, width, height) or _not_ours(said.dtypes)) is not None:
            raise AccessError(Reason.CORRUPT, f"{shown(href)} {problem}")
        self.crs: CRS | None = said.crs
        self.wkt: str = "" if said.crs is None else said.crs.to_wkt()
        self.count: int = said.count
        self.dtype = np.dtype(next(iter(said.dtypes)))
        self.nodata: tuple[float | None, ...] = tuple(_as_gdal(value, self.dtype) for value in said.nodata)
        self.placed: bool = not said.transform.is_identity and (not images or images[0].placed)
        """False where the file does not say where on the ground its pixels lie: GDAL then counts pixels."""
        self.alpha: int | None = said.alpha
        self.bands: tuple[tuple[str, str], ...] = said.bands
        self.levels = levels_of(images, said.transform, width, height)
        if isinstance(content, Tiles):
            self.levels = (replace(self.levels[0], image=content),)
        self.mask_file: Raster | None = None
        """The file that the masks are in; None if they are in this one."""
        self._mask_sought = False
        self._layouts: dict[int, Layout | Tiles] = {}
        self._lies_in: dict[int, bool] = {}

    def mean_block_bytes(self, image: Image) -> float:
        """Mean stored size of a block of one of the file's images, bytes."""
        return self.layout(image).mean_bytes

    @property
    def lattice(self) -> Hashable:
        """Where the pixels of all levels lie: the same for rasters that lie alike. Levels can go: see `seek_mask`."""
        return self.wkt, self.placed, tuple((level.transform, level.width, level.height) for level in self.levels)

    @property
    def date_time(self) -> str | None:
        """The file's TIFFTAG_DATETIME as it stands there; None if it has none."""
        image = self.levels[0].image
        tiff = image if isinstance(image, Directory) else None
        raw = None if tiff is None else _parsed(self.href, self._source, lambda read: tiff.tag(DATE_TIME, read))
        return None if raw is None else raw.rstrip(b"\0").decode("ascii", "replace")

    def check_whole(self) -> None:
        """Check that all blocks lie inside the file.

        Raises:
            AccessError: CORRUPT, it is cut short.
        """
        images = [i for level in self.levels for i in (level.image, level.mask) if i is not None]
        end = max((self.layout(image).end for image in images), default=0)
        if self._source.total is not None and end > self._source.total:
            raise AccessError(
                Reason.CORRUPT, f"{shown(self.href)} is cut short: it has {self._source.total:,} of {end:,} bytes"
            )

    @property
    def head_bytes(self) -> int:
        """Bytes from the file's start that came with its header."""
        return len(self._source.head)

    @property
    def whole_bytes(self) -> int:
        """Bytes in memory of a file that was read whole; 0 of one that is read by range."""
        return len(self._source.head) if self._source.whole else 0

    def seek_mask(self) -> None:
        """Look once for the validity mask that GDAL writes beside a file (`<file>.msk`), if nothing in it says which
        pixels are measured: no nodata, no mask, no alpha band.

        Raises:
            AccessError: the mask is there and cannot be used, or the archive did not say whether it is.
        """
        silent = self.alpha is None and self.levels[0].mask is None and all(n is None for n in self.nodata)
        if self._mask_sought or not silent:
            return
        parts = urlsplit(self.href)
        href = urlunsplit(parts._replace(path=f"{parts.path}.msk"))
        try:
            mask = open_raster(self._client, href)
        except AccessError as error:
            absent = error.reason in (Reason.NOT_FOUND, Reason.DENIED)  # S3 denies what is not there
            if not absent and not (error.reason is Reason.CORRUPT and _is_page(self._client, href)):
                raise
        else:
            self.levels, self.mask_file = _masked(self, mask), mask
        self._mask_sought = True

    def lies_in(self, epsg: int) -> bool:
        """True if the raster's horizontal CRS is this one; computed once, because it costs as much as a chip."""
        if epsg not in self._lies_in:
            self._lies_in[epsg] = self.crs is not None and same(self.crs, epsg)
        return self._lies_in[epsg]

    def layout(self, image: Image) -> Layout | Tiles:
        """Positions of the blocks of one of the file's images."""
        if isinstance(image, Tiles):
            return image
        if id(image) not in self._layouts:
            self._layouts[id(image)] = _parsed(self.href, self._source, lambda read: Layout(image, read))
        return self._layouts[id(image)]

    def blocks(self, image: Image, plan: Mapping[Block, tuple[int, int, int]], workers: _Submit) -> Generator[_Decoded]:
        """Fetch and decode blocks, in the order in which they lie in the file.

        Args:
            image: The directory they belong to.
            plan: The wanted blocks, each asked for once, with (first row, row after the last, column after the last)
                of what is wanted of it.
            workers: Runs a fetch in the background.

        Yields:
            Decoded blocks, or the error of a block. Sparse blocks are not yielded: they hold no data. Pixels are right
            where they are wanted, and hold until the next block is asked for.
        """
        with _BLOCKS.taken(image.block_bytes):
            yield from self._blocks(image, plan, workers)

    def _blocks(self, image: Image, plan: Mapping[Block, tuple[int, int, int]], workers: _Submit) -> Iterator[_Decoded]:
        layout = self.layout(image)
        spans = sorted((*span, block) for block in plan for span in layout.spans(block))
        strange = {s[2]: problem for s in spans if (problem := layout.absurd(s[2], self._source.total)) is not None}
        yield from (self._refused(block, problem) for block, problem in strange.items())
        spans = [s for s in spans if s[2] not in strange]
        groups = list(merged(spans, gap_limit(spans)))
        pieces = Pieces(spans)
        fast = deflate_of(image, self.dtype) if isinstance(image, Directory) else None
        room = np.zeros(0 if fast is None else fast.bytes_of(image.block_height), np.uint8)
        left: dict[Block, bytes] = {}
        held = 0
        for group, wait in fetched(groups, lambda offset, size: workers(self._source.fetch, offset, size)):
            try:
                piece = memoryview(wait())
            except AccessError as error:
                yield from (_Decoded(block, None, error) for block in pieces.lost(group))
                continue
            for offset, size, block in group:
                raw = pieces.joined(block, piece[offset - group[0][0] : offset - group[0][0] + size])
                if raw is None:
                    continue
                pixels = None if fast is None else fast.decode(raw, image.rows_of(block), plan[block], room)
                if pixels is not None:
                    height, width = _cut(image, block)
                    yield _Decoded(block, pixels[:, :height, :width], None)
                    continue
                left[block] = bytes(raw)
                held += max(image.block_bytes, len(raw))
                if held >= _TOGETHER_BYTES:
                    yield from self._decode(image, left)
                    left, held = {}, 0
        if left:
            yield from self._decode(image, left)

    def _decode(self, image: Image, data: dict[Block, bytes]) -> Iterator[_Decoded]:
        planes = sorted({b[0] for b in data}) if image.separate else [0]
        try:
            yield from list(self._read(image, planes, data))
        except (*GDAL_ERRORS, AccessError) as error:
            if len(data) == 1:
                yield self._again(image, *next(iter(data.items())), error)
                return
            for block, raw in data.items():  # one bad block must not cost the others
                yield from self._decode(image, {block: raw})

    def _again(self, image: Image, block: Block, raw: bytes, error: Exception) -> _Decoded:
        """Fetch a block again that could not be decoded: if it is the same, it is corrupt; else it was damaged."""
        spans = self.layout(image).spans(block)
        problem = AccessError(
            Reason.UNAVAILABLE, f"a block of {shown(self.href)} arrives damaged, differently each time"
        )
        try:
            for _ in range(self._client.tries):
                before, raw = raw, b"".join(self._source.anew(*span) for span in spans)
                if raw == before:
                    return self._refused(block, error.detail if isinstance(error, AccessError) else "cannot be decoded")
                try:
                    return next(iter(list(self._read(image, [block[0]], {block: raw}))))
                except (*GDAL_ERRORS, AccessError) as again:
                    error = again
        except AccessError as lost:
            problem = lost
        return _Decoded(block, None, problem)

    def _refused(self, block: Block, what: str) -> _Decoded:
        """Refuse a block for good, after the header was read again and was the same."""
        try:
            self.confirm()
        except AccessError as changed:
            return _Decoded(block, None, changed)
        return _Decoded(block, None, AccessError(Reason.CORRUPT, f"a block of {shown(self.href)} {what}"))

    @property
    def doubtful(self) -> bool:
        """True after the file arrived in two versions: open it again."""
        return self._source.changed

    def confirm(self) -> None:
        """Fetch the header again, before a file is refused for good because of its header.

        Raises:
            AccessError: UNAVAILABLE if it comes differently: it was damaged on its way, and must be read again.
        """
        self._source.confirm()

    def _read(self, image: Image, planes: Sequence[int], data: dict[Block, bytes]) -> Iterator[_Decoded]:
        if isinstance(image, Tiles):
            yield from (_Decoded(block, image.decode(block, raw), None) for block, raw in data.items())
            return
        sound_data = {block: sound(image, block, raw, self._source.read) for block, raw in data.items()}
        file, (top, left) = block_tiff(image, self._source.read, planes, sound_data)
        with opened(file, self.href) as dataset:
            at: dict[tuple[int, int], list[int]] = {}
            for plane, row, column in data:
                at.setdefault((row, column), []).append(plane)
            for (row, column), present in at.items():
                y, x = row * image.block_height, column * image.block_width
                height, width = min(image.block_height, image.height - y), min(image.block_width, image.width - x)
                bands = [planes.index(p) + 1 for p in present] if image.separate else None
                window = rasterio.windows.Window(x - left, y - top, width, height)
                pixels = dataset.read(bands, window=window)
                if image.separate:
                    for i, plane in enumerate(present):
                        yield _Decoded((plane, row, column), pixels[i : i + 1], None)
                else:
                    yield _Decoded((0, row, column), pixels, None)

    def read_memory(self, bands: Sequence[int], window: Window) -> NDArray[Any]:
        """Pixels (band, y, x) of a window of a file that was read whole."""
        row, column, height, width = window
        if self.memory is None:
            raise AssertionError("only files in formats other than TIFF are kept in memory as a whole")
        try:
            # with several threads GDAL takes memory for pixels where a tile of a JPEG 2000 cannot be decoded
            alone = rasterio.Env(GDAL_NUM_THREADS="1")
            with _BLOCKS.taken(self._tile_bytes), alone, opened(self.memory, self.href) as dataset:
                pixels: NDArray[Any] = dataset.read(
                    list(bands), window=rasterio.windows.Window(column, row, width, height)
                )
        except GDAL_ERRORS as error:
            self.confirm()
            raise AccessError(Reason.CORRUPT, f"{shown(self.href)} cannot be decoded") from error
        return pixels


def _as_gdal(nodata: float | None, dtype: np.dtype[Any]) -> float | None:
    """The nodata value as GDAL compares it: truncated for integer pixels."""
    return nodata if nodata is None or dtype.kind == "f" or not math.isfinite(nodata) else math.trunc(nodata)


def _not_ours(dtypes: frozenset[str]) -> str | None:
    """The reason why pixels of these types are not supported; None if they are."""
    if len(dtypes) != 1:
        return f"mixes dtypes {sorted(dtypes)}"
    strange = dtypes - _DTYPES
    return f"contains {min(strange)} numbers; supported are {', '.join(sorted(_DTYPES))}" if strange else None


def _cut(image: Image, block: Block) -> tuple[int, int]:
    """(rows, columns) of a block that lie inside the image."""
    return (
        min(image.block_height, image.height - block[1] * image.block_height),
        min(image.block_width, image.width - block[2] * image.block_width),
    )


@dataclass(frozen=True, slots=True)
class _Decoded:
    """A block's pixels (band, y, x), cut at the image's edge, or why they are not there."""

    block: Block
    pixels: NDArray[Any] | None
    error: AccessError | None


@dataclass(frozen=True, slots=True)
class Unread:
    """A file that must be read whole for any of its pixels, of which only the first bytes have come."""

    href: str
    source: Source
    size: int
    """Bytes of the file."""


def open_raster(client: Client, file: str | Unread) -> Raster:
    """Read a raster's header: one request for most files; the whole file where pixels cannot be had by range.

    Raises:
        AccessError: classed; CORRUPT if it is no raster, and the same bytes came twice.
    """
    href, source = (file.href, copy(file.source)) if isinstance(file, Unread) else (file, None)  # it takes the bytes
    raster = _opened(client, href, source, whole=True)
    assert isinstance(raster, Raster)  # noqa: S101 - asked for
    return raster


def look_at(client: Client, href: str) -> Raster | Unread:
    """A raster, from its header alone; or a file that must be read whole for any of its pixels.

    Raises:
        AccessError: as `open_raster`.
    """
    return _opened(client, href, None, whole=False)


def _opened(client: Client, href: str, source: Source | None, *, whole: bool) -> Raster | Unread:
    before: list[tuple[int, bytes]] = []
    for _ in range(max(2, client.tries)):
        source = source or Source(client, href)
        try:
            content = _content(href, source)
            if content is None:
                if not whole and source.total is not None:
                    return Unread(href, source, source.total)
                source.take_whole(client.get_all(href, _WHOLE_BYTES))
                content = _in_memory(href, source.head)
            return Raster(client, href, source, content)
        except AccessError as error:
            if error.reason is not Reason.CORRUPT or source.pieces == before:
                raise
            before, source = source.pieces, None
    raise AccessError(Reason.UNAVAILABLE, f"{shown(href)} arrives damaged, differently each time")


def _content(href: str, source: Source) -> _Content | None:
    """What the header of a file leads to: its directories, its tiles, or a short file; None = it must be read whole."""
    if is_tiff(source.head):
        return _parsed(href, source, directories)
    if source.whole:
        return _in_memory(href, source.head)
    return _parsed(href, source, lambda read: tiles_of(read, source.total)) if is_jpeg2000(source.head) else None


def _in_memory(href: str, data: bytes) -> _Content:
    """A file that was read whole: its tiles, or all of it where GDAL must decode it."""
    if not data:  # rasterio takes it for a file to be written
        raise AccessError(Reason.CORRUPT, f"{shown(href)} is empty, so it is not a raster")
    if not is_jpeg2000(data):
        return data
    if (problem := incomplete(data)) is not None:
        raise AccessError(Reason.CORRUPT, f"{shown(href)} {problem}")
    return tiles_in(data) or mended(data)


def _parsed(href: str, source: Source, parse: Callable[[Callable[[int, int], bytes]], _T]) -> _T:
    """Parsed parts of the header; an error names the file."""
    try:
        return parse(source.read)
    except AccessError as error:
        if error.reason is not Reason.CORRUPT or shown(href) in error.detail:
            raise
        raise AccessError(error.reason, f"{shown(href)}: {error.detail}") from error


def _is_page(client: Client, href: str) -> bool:
    """True if the server answers with a web page, as some do instead of HTTP 404."""
    return client.get_range(href, 0, 64).data.lstrip().startswith(b"<")


def _masked(raster: Raster, mask: Raster) -> tuple[Level, ...]:
    """The levels of a raster that a file beside it has masks for."""
    sizes = {(level.width, level.height): level.image for level in mask.levels}
    found = tuple(
        replace(level, mask=image)
        for level in raster.levels
        if (image := sizes.get((level.width, level.height))) is not None
    )
    if not found or found[0].width != raster.levels[0].width or mask.count != 1:
        full = mask.levels[0]
        raise AccessError(
            Reason.WRONG_GRID, f"{shown(mask.href)} is {mask.count} masks of {full.width} x {full.height} pixels"
        )
    return found
