"""A remote raster: reads its header once, fetches blocks in merged ranges, and GDAL decodes them from memory."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit, urlunsplit

import numpy as np
import rasterio
from rasterio.enums import ColorInterp
from rasterio.errors import NotGeoreferencedWarning
from rasterio.io import MemoryFile

from pipelines.access.http.client import AccessError, shown
from pipelines.access.rasters.crs import GDAL_ERRORS, horizontal, same
from pipelines.access.rasters.decode import deflate_of
from pipelines.access.rasters.decoded_size import sound
from pipelines.access.rasters.grid import unusable
from pipelines.access.rasters.jpeg2000 import incomplete, is_jpeg2000, mended, tile_bytes
from pipelines.access.rasters.memory_budget import Room
from pipelines.access.rasters.ranges import fetched, gap_limit, merged
from pipelines.access.rasters.tiff import (
    DATE_TIME,
    Block,
    Directory,
    Layout,
    block_tiff,
    directories,
    header_tiff,
    is_tiff,
)
from schemas.outcome import Reason

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Mapping, Sequence

    from affine import Affine
    from numpy.typing import NDArray
    from rasterio.crs import CRS

    from pipelines.access.http.client import Client
    from pipelines.access.rasters.window import Window

    _Submit = Callable[..., Callable[[], bytes]]
    """Runs a function in the background; what it returns waits for the result."""

_T = TypeVar("_T")

warnings.filterwarnings("ignore", category=NotGeoreferencedWarning)  # `Raster.placed` is what we say of such files

_HEAD_BYTES = 1 << 15
"""First read of a file. A COG's directories with their block lists fit for all products named in the recipes."""
_MORE_BYTES = 1 << 15
"""Least size of a further read of the header."""
_KEPT_BYTES = 1 << 17
"""Largest header that is remembered with what GDAL makes of it."""
_WHOLE_BYTES = 1 << 28
"""Largest file of another format than TIFF: it is read whole."""
_TOGETHER_BYTES = 16 << 20
"""Decoded or stored bytes of the blocks that GDAL is given in one file in memory."""
_BLOCKS = Room(320 << 20)
"""Decoded bytes of the blocks at work in this process: a block of the largest that are read is decoded alone."""
_DTYPES = frozenset(f"{kind}{8 * size}" for size in (1, 2, 4, 8) for kind in ("int", "uint", "float")) - {"float8"}
"""Supported data types; complex numbers are not supported."""
_OTHER_DRIVERS = ["JP2OpenJPEG"]
"""The format beside TIFF that archives deliver; its files stand alone. GDAL's others (VRT and the like) could name
further files and addresses to open."""


@dataclass(frozen=True, slots=True)
class Description:
    """A header as GDAL reads it."""

    crs: CRS | None
    """Without heights."""
    count: int
    dtypes: frozenset[str]
    """Of all bands."""
    nodata: tuple[float | None, ...]
    width: int
    """Columns; of a TIFF its directory says it, what GDAL is given is smaller."""
    height: int
    """Rows; the same holds."""
    transform: Affine
    """Identity where the file has none."""
    alpha: int | None
    """1-based band that says how opaque pixels are, None if the file has none."""
    bands: tuple[tuple[str, str], ...]
    """(colour, description) of each band: ('red', ''), ('undefined', 'near infrared')."""


@dataclass(frozen=True, slots=True)
class Level:
    """An image of the file on the ground: full resolution, or an overview."""

    transform: Affine
    """Pixel corner coordinates of this level."""
    width: int
    height: int
    image: Directory | None
    """Its directory; None for a file that is not a TIFF."""
    mask: Directory | None
    """Its validity mask, if it has one."""
    mask_of: Raster | None = None
    """The file that the mask is in; None if it is the image's own."""


class Raster:
    """One file of an archive. Made by `open_raster`; used by one thread at a time."""

    def __init__(self, client: Client, href: str, source: _Bytes, memory: bytes | None) -> None:
        """Describe the file from its header, which `source` holds already."""
        self.href = href
        self._client = client
        self._source = source
        self._tile_bytes = 0
        if memory is not None and not memory:  # rasterio takes it for a file to be written
            raise AccessError(Reason.CORRUPT, f"{shown(href)} is empty, so it is not a raster")
        if memory is not None and is_jpeg2000(memory):
            if (problem := incomplete(memory)) is not None:
                raise AccessError(Reason.CORRUPT, f"{shown(href)} {problem}")
            self._tile_bytes = tile_bytes(memory)
            memory = mended(memory)
        self.memory = memory
        images = [] if memory is not None else self._told(directories)
        try:
            said = _described(memory) if memory is not None else described_once(header_tiff(images[0], source.read))
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
        self.levels = _levels(images, said.transform, width, height)
        self._mask_sought = False
        self._layouts: dict[int, Layout] = {}
        self._lies_in: dict[int, bool] = {}

    def _told(self, parse: Callable[[Callable[[int, int], bytes]], _T]) -> _T:
        """Parsed parts of the header; an error names the file."""
        try:
            return parse(self._source.read)
        except AccessError as error:
            if error.reason is not Reason.CORRUPT or shown(self.href) in error.detail:
                raise
            raise AccessError(error.reason, f"{shown(self.href)}: {error.detail}") from error

    def mean_block_bytes(self, image: Directory) -> float:
        """Mean stored size of a block of one of the file's images, bytes."""
        return self.layout(image).mean_bytes

    @property
    def date_time(self) -> str | None:
        """The file's TIFFTAG_DATETIME as it stands there; None if it has none."""
        image = self.levels[0].image
        raw = None if image is None else self._told(lambda read: image.tag(DATE_TIME, read))
        return None if raw is None else raw.rstrip(b"\0").decode("ascii", "replace")

    def check_whole(self) -> None:
        """See that all blocks of the file lie inside it.

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
            self.levels = _masked(self, mask)
        self._mask_sought = True

    def lies_in(self, epsg: int) -> bool:
        """Whether its CRS is this one, heights aside; comparing costs as much as cutting a chip, so it is done once."""
        if epsg not in self._lies_in:
            self._lies_in[epsg] = self.crs is not None and same(self.crs, epsg)
        return self._lies_in[epsg]

    def layout(self, image: Directory) -> Layout:
        """Positions of the blocks of one of the file's images."""
        if id(image) not in self._layouts:
            self._layouts[id(image)] = self._told(lambda read: Layout(image, read))
        return self._layouts[id(image)]

    def blocks(
        self, image: Directory, plan: Mapping[Block, tuple[int, int, int]], workers: _Submit
    ) -> Generator[_Decoded]:
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

    def _blocks(
        self, image: Directory, plan: Mapping[Block, tuple[int, int, int]], workers: _Submit
    ) -> Iterator[_Decoded]:
        layout = self.layout(image)
        spans = sorted(span for block in plan if (span := (*layout.span(block), block))[1] > 0)
        strange = {s[2]: problem for s in spans if (problem := layout.absurd(s[2], self._source.total)) is not None}
        yield from (self._refused(block, problem) for block, problem in strange.items())
        spans = [s for s in spans if s[2] not in strange]
        groups = list(merged(spans, gap_limit(spans)))
        fast = deflate_of(image, self.dtype)
        room = np.zeros(0 if fast is None else fast.bytes_of(image.block_height), np.uint8)
        left: dict[Block, bytes] = {}
        held = 0
        for group, wait in fetched(groups, lambda offset, size: workers(self._source.fetch, offset, size)):
            try:
                piece = memoryview(wait())
            except AccessError as error:
                yield from (_Decoded(block, None, error) for _, _, block in group)
                continue
            for offset, size, block in group:
                raw = piece[offset - group[0][0] : offset - group[0][0] + size]
                pixels = None if fast is None else fast.decode(raw, image.rows_of(block), plan[block], room)
                if pixels is not None:
                    height, width = _cut(image, block)
                    yield _Decoded(block, pixels[:, :height, :width], None)
                    continue
                left[block] = bytes(raw)
                held += max(image.block_bytes, size)
                if held >= _TOGETHER_BYTES:
                    yield from self._decode(image, left)
                    left, held = {}, 0
        if left:
            yield from self._decode(image, left)

    def _decode(self, image: Directory, data: dict[Block, bytes]) -> Iterator[_Decoded]:
        planes = sorted({b[0] for b in data}) if image.separate else [0]
        try:
            yield from list(self._read(image, planes, data))
        except (*GDAL_ERRORS, AccessError) as error:
            if len(data) == 1:
                yield self._again(image, *next(iter(data.items())), error)
                return
            for block, raw in data.items():  # one bad block must not cost the others
                yield from self._decode(image, {block: raw})

    def _again(self, image: Directory, block: Block, raw: bytes, error: Exception) -> _Decoded:
        """A block that could not be decoded: corrupt if it comes a second time as it was, else damaged on its way."""
        offset, size = self._layouts[id(image)].span(block)
        problem = AccessError(
            Reason.UNAVAILABLE, f"a block of {shown(self.href)} arrives damaged, differently each time"
        )
        try:
            for _ in range(self._client.tries):
                before, raw = raw, self._source.anew(offset, size)
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
        """A block that is refused finally, after its header arrived twice the same."""
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
        """Fetch the header once more, before a file is refused for good for what its header says.

        Raises:
            AccessError: UNAVAILABLE if it comes differently: it was damaged on its way, and must be read again.
        """
        self._source.confirm()

    def _read(self, image: Directory, planes: Sequence[int], data: dict[Block, bytes]) -> Iterator[_Decoded]:
        sound_data = {block: sound(image, block, raw, self._source.read) for block, raw in data.items()}
        file, (top, left) = block_tiff(image, self._source.read, planes, sound_data)
        with _gdal(file, self.href) as dataset:
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
            with _BLOCKS.taken(self._tile_bytes), _gdal(self.memory, self.href) as dataset:
                pixels: NDArray[Any] = dataset.read(
                    list(bands), window=rasterio.windows.Window(column, row, width, height)
                )
        except GDAL_ERRORS as error:
            self.confirm()
            raise AccessError(Reason.CORRUPT, f"{shown(self.href)} cannot be decoded") from error
        return pixels


def _as_gdal(nodata: float | None, dtype: np.dtype[Any]) -> float | None:
    """A file's nodata as GDAL compares it: of whole numbers without what is behind the point."""
    return nodata if nodata is None or dtype.kind == "f" or not math.isfinite(nodata) else math.trunc(nodata)


def _not_ours(dtypes: frozenset[str]) -> str | None:
    """Why numbers of these types are not read, in a few words; None if they are."""
    if len(dtypes) != 1:
        return f"mixes dtypes {sorted(dtypes)}"
    strange = dtypes - _DTYPES
    return f"contains {min(strange)} numbers; supported are {', '.join(sorted(_DTYPES))}" if strange else None


def _cut(image: Directory, block: Block) -> tuple[int, int]:
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


class _Bytes:
    """The part of a file that is known so far: its header, and whatever came with it."""

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
        return self.pieces[0][1]

    def read(self, offset: int, length: int) -> bytes:
        """Bytes of the header, fetched where they are not known yet and kept."""
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

    def fetch(self, offset: int, length: int) -> bytes:
        """Bytes of the file, from what is known or from the archive, not kept."""
        known = self._known(offset, length)
        if known is not None:
            return known
        return self.anew(offset, length)

    def confirm(self) -> None:
        """Fetch what is kept once more.

        Raises:
            AccessError: UNAVAILABLE if it differs.
        """
        if not self._confirmed and any(self.anew(at, len(piece)) != piece for at, piece in self.pieces):
            self.changed = True
            raise AccessError(Reason.UNAVAILABLE, f"{shown(self._href)} differs when it is read again")
        self._confirmed = True

    def anew(self, offset: int, length: int) -> bytes:
        """Bytes of the file from the archive, whatever is known."""
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


def open_raster(client: Client, href: str) -> Raster:
    """Read a raster's header: one request for most files.

    Raises:
        AccessError: classed; CORRUPT if it is no raster, and the same bytes came twice.
    """
    before: list[tuple[int, bytes]] = []
    for _ in range(max(2, client.tries)):
        source = _Bytes(client, href)
        try:
            if is_tiff(source.head):
                return Raster(client, href, source, None)
            if not source.whole:
                source.take_whole(client.get_all(href, _WHOLE_BYTES))
            return Raster(client, href, source, source.head)
        except AccessError as error:
            if error.reason is not Reason.CORRUPT or source.pieces == before:
                raise
            before = source.pieces
    raise AccessError(Reason.UNAVAILABLE, f"{shown(href)} arrives damaged, differently each time")


def _described(file: bytes) -> Description:
    """Raises one of GDAL_ERRORS if GDAL cannot read it."""
    with MemoryFile(file) as memory, memory.open(driver=["GTiff"] if is_tiff(file) else _OTHER_DRIVERS) as dataset:
        return Description(
            crs=None if dataset.crs is None else horizontal(dataset.crs),
            count=dataset.count,
            dtypes=frozenset(dataset.dtypes),
            nodata=tuple(dataset.nodatavals),
            width=dataset.width,
            height=dataset.height,
            transform=dataset.transform,
            alpha=next((i for i, kind in enumerate(dataset.colorinterp, 1) if kind is ColorInterp.alpha), None),
            bands=tuple(
                (kind.name, said or "") for kind, said in zip(dataset.colorinterp, dataset.descriptions, strict=True)
            ),
        )


described_small = lru_cache(maxsize=1024)(_described)


def described_once(header: bytes) -> Description:
    """The same, remembered: a granule has few different headers; GDAL and PROJ take 1 ms for each, 10 ms the first time
    in a thread. Long ones are not kept."""
    return described_small(header) if len(header) <= _KEPT_BYTES else _described(header)


class _gdal:  # noqa: N801 - used as a context, like open()
    """A dataset over bytes in memory."""

    def __init__(self, data: bytes, href: str) -> None:
        self._file = MemoryFile(data)
        self._href = href
        self._drivers = ["GTiff"] if is_tiff(data) else _OTHER_DRIVERS

    def __enter__(self) -> Any:
        try:
            self._dataset = self._file.open(driver=self._drivers)
        except GDAL_ERRORS as error:
            self._file.close()
            raise AccessError(Reason.CORRUPT, f"{shown(self._href)} is not a raster that GDAL can read") from error
        return self._dataset

    def __exit__(self, *_: object) -> None:
        self._dataset.close()
        self._file.close()


def _is_page(client: Client, href: str) -> bool:
    """Whether a server answers with a web page, as some do for what they do not have."""
    return client.get_range(href, 0, 64).data.lstrip().startswith(b"<")


def _masked(raster: Raster, mask: Raster) -> tuple[Level, ...]:
    """The levels of a raster that a file beside it has masks for."""
    sizes = {(level.width, level.height): level.image for level in mask.levels}
    found = tuple(
        replace(level, mask=image, mask_of=mask)
        for level in raster.levels
        if (image := sizes.get((level.width, level.height))) is not None
    )
    if not found or found[0].width != raster.levels[0].width or mask.count != 1:
        full = mask.levels[0]
        raise AccessError(
            Reason.WRONG_GRID, f"{shown(mask.href)} is {mask.count} masks of {full.width} x {full.height} pixels"
        )
    return found


def _levels(images: list[Directory], transform: Affine, width: int, height: int) -> tuple[Level, ...]:
    """Full resolution first, then overviews from fine to coarse, each with its mask where there is one."""
    if not images:
        return (Level(transform, width, height, None, None),)
    masks = {(d.width, d.height): d for d in images[1:] if d.subfile & 4}
    full = images[0]
    chosen = [full]
    masked = (full.width, full.height) in masks
    chosen += sorted(
        (d for d in images[1:] if _is_overview(d, full) and (not masked or (d.width, d.height) in masks)),
        key=lambda d: -d.width,
    )
    return tuple(
        Level(
            transform * transform.scale(width / d.width, height / d.height),
            d.width,
            d.height,
            d,
            masks.get((d.width, d.height)),
        )
        for d in chosen
    )


def _is_overview(image: Directory, full: Directory) -> bool:
    """Whether an image is the full one's, smaller, with the same numbers."""
    return (
        image.subfile & 5 == 1
        and (image.samples, image.bits) == (full.samples, full.bits)
        and (image.width, image.height) != (full.width, full.height)
    )
