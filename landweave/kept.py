"""Keeps what was read from a URL in a folder on this machine, for the next epoch and for other processes.

::

    FOLDER/landweave-cache/<key>/<segment>.bytes   bytes of an object at their places, in a sparse file
    FOLDER/landweave-cache/<key>/<segment>.spans   what is there: (start, length, crc32c) of each piece, 16 bytes

A key is a hash of the dataset's manifest and of the path of the object. The manifest holds the checksums of all
others, so a dataset that was built again has other keys: what is read from here belongs to the dataset as it was
opened. A piece is written first and listed after that; it is checked when it is read, so a process that is killed at
any moment, or a disk that damages bytes, makes a piece to be fetched again and nothing else. Processes need no lock:
they write the same bytes to the same places.

The folder holds at most the given number of bytes, and a segment of each process more for a moment: before a segment is
begun, those that were used longest ago are removed. A reader that has one open reads on.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import stat
import struct
import time
import warnings
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from awscrt.checksums import crc32c

from landweave.errors import QueryError
from landweave.scratch import Scratch

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_SEGMENT = 1 << 25
"""Bytes of an object that one pair of files holds: what is removed at a time."""
_PIECE = struct.Struct("<QII")
_OPEN = 256
"""Segments that are open at a time at most, two files each."""
_NEAR_BYTES = 1 << 16
"""Pieces within this many bytes are read together, as `LocalStore` does."""
_KEY = re.compile("[0-9a-f]{32}")
_LOOK_EVERY = 1 << 24
"""The size of the folder is looked at after this many bytes were written."""
_UNITS = {"": 1, **{f"{letter}B": 1000**n for n, letter in enumerate("KMGT", 1)}}
_UNITS |= {f"{letter}IB": 1024**n for n, letter in enumerate("KMGT", 1)}
_LEAST = 64 * 10**6


def size_of(text: int | str) -> int:
    """Bytes of a size: a number, or '500GB' or '64 GiB'.

    Raises:
        QueryError: it is none, or below 64 MB.
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([A-Za-z]*)", str(text).strip())
    if isinstance(text, bool) or found is None or found[2].upper() not in _UNITS:
        raise QueryError(f"cache_size must be bytes, or a text such as '100GB', got {text!r}")
    size = int(float(found[1]) * _UNITS[found[2].upper()])
    if size < _LEAST:
        raise QueryError(f"cache_size must be at least 64 MB, got {text!r}")
    return size


class _Segment:
    """One pair of files."""

    def __init__(self, stem: str) -> None:
        """Open it.

        Args:
            stem: path of both files without their endings.

        Raises:
            OSError: they cannot be opened, or one of them is no file.
        """
        self._handles: list[int] = []
        self._writable = True
        flags = os.O_RDWR | os.O_CREAT
        try:
            self.bytes = self._open(f"{stem}.bytes", flags)
            self._spans = self._open(f"{stem}.spans", flags | os.O_APPEND)
        except PermissionError:
            self._read_only(stem)
        except OSError as error:
            if error.errno != errno.EROFS:
                raise
            self._read_only(stem)
        self.used = 0.0
        """When it was used last, seconds since 1970."""
        self.marked = 0.0
        """When it was used last before its files were marked with that time."""
        self._read = 0
        self._known: dict[tuple[int, int], int] = {}
        """(start, length) of a piece -> crc32c."""

    def _read_only(self, stem: str) -> None:
        """Open files that this process may not write."""
        self._writable = False
        self.bytes, self._spans = self._open(f"{stem}.bytes", os.O_RDONLY), self._open(f"{stem}.spans", os.O_RDONLY)

    def _open(self, path: str, flags: int) -> int:
        """Open a file: no link, which could lead to any other file, and nothing that makes a reader wait."""
        handle = os.open(path, flags | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK, 0o666)
        self._handles.append(handle)
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise OSError(errno.EINVAL, "it holds something that is no file")
        return handle

    def __del__(self) -> None:
        for handle in self._handles:
            os.close(handle)

    @property
    def torn(self) -> bool:
        """Whether the list, which could be continued, ends in an entry's middle: those after it would not be found."""
        return self._writable and os.fstat(self._spans).st_size % _PIECE.size != 0

    def has(self, piece: tuple[int, int]) -> bool:
        """Whether a piece, (start, length), is listed."""
        return piece in self._known or self._look(piece)

    def read(self, start: int, memory: memoryview) -> bool:
        """Read a piece that fills this memory; False if it is not there, or not whole."""
        piece = (start, len(memory))
        if not self.has(piece):
            return False
        if self.fill(start, memory) == len(memory) and crc32c(memory) == self._known.get(piece):
            return True
        self.drop(piece)
        return False

    def fill(self, start: int, memory: memoryview) -> int:
        """Read into this memory what lies there, unchecked; returns how many bytes."""
        return os.preadv(self.bytes, [memory], start % _SEGMENT)

    def drop(self, piece: tuple[int, int]) -> None:
        """A piece is wrong: this process does not read it again until it is written anew."""
        self._known.pop(piece, None)

    def _look(self, piece: tuple[int, int]) -> bool:
        """Look at what this or another process has listed meanwhile; other threads may do the same."""
        at = self._read
        more = os.pread(self._spans, 1 << 22, at)
        whole = len(more) // _PIECE.size * _PIECE.size
        for place, size, crc in _PIECE.iter_unpack(more[:whole]):
            self._known[place, size] = crc
        self._read = max(self._read, at + whole)
        return piece in self._known

    def put(self, start: int, data: bytes | memoryview) -> None:
        """Write a piece, then list it."""
        if os.pwrite(self.bytes, data, start % _SEGMENT) == len(data):
            written = os.write(self._spans, _PIECE.pack(start, len(data), int(crc32c(data))))
            if written != _PIECE.size:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


class Kept:
    """The folder of one dataset; picklable; safe in threads. A folder that cannot be used is a warning, no error.

    Whoever may write the folder can change what is read from it, so share it with people whom you trust.
    """

    def __init__(self, folder: str | os.PathLike[str], size: int, dataset: str) -> None:
        """Use a folder.

        Args:
            folder: made if it is missing, ~ is the home folder; other datasets and processes may use it too.
            size: most bytes of it.
            dataset: identity of the dataset: checksum of its manifest.
        """
        place = os.path.expanduser(os.fspath(folder))  # noqa: PTH111 - an unknown user's home stays what it is
        self.folder, self.size, self._dataset = Path(place).absolute() / "landweave-cache", size, dataset
        self.hits = self.misses = 0
        """Pieces that were there, and that were not."""
        self._open: dict[str, _Segment] = {}
        self._off = False
        self._most_open = _most_open()
        self._look_every = min(_LOOK_EVERY, size // 16)
        self._since = self._look_every
        self._folders: dict[str, str] = {}
        self._forgotten: set[str] = set()
        """Paths of objects whose pieces are wrong and cannot be removed."""
        self._scratch = Scratch(1 << 16)

    def __reduce__(self) -> tuple[type[Kept], tuple[str, int, str]]:
        return (Kept, (str(self.folder.parent), self.size, self._dataset))

    def has(self, path: str, spans: Sequence[tuple[int, int]]) -> bool:
        """Whether all these pieces, (start, length), are listed."""
        return self._listed(path, spans) is not None

    def _listed(self, path: str, spans: Sequence[tuple[int, int]]) -> list[_Segment] | None:
        """The segment of each of these pieces, if all are listed."""
        found: list[_Segment] = []
        segment, number = None, -1
        try:
            for piece in spans:
                if piece[0] // _SEGMENT != number:
                    number = piece[0] // _SEGMENT
                    segment = self._segment(path, piece[0], write=False)
                if segment is None or not segment.has(piece):
                    return None
                found.append(segment)
        except OSError as error:
            self._stop(error)
            return None
        return found

    def pieces(self, path: str, spans: Sequence[tuple[int, int]]) -> Iterable[memoryview] | None:
        """Pieces of an object, unchecked, if all are listed; neighbours are read together.

        Each is good until this thread reads the next. The caller checks them, and calls `drop` with those that are
        wrong.
        """
        found = self._listed(path, spans)
        if not found:
            return None if found is None else ()
        self.hits += len(spans)
        first = min([start for start, _ in spans])
        size = max([start + length for start, length in spans]) - first
        if size <= _NEAR_BYTES and all(segment is found[0] for segment in found):
            memory = self._fill(found[0], first, self._scratch.of(size))
            return [memory[start - first : start - first + length] for start, length in spans]
        memory = self._scratch.of(max([length for _, length in spans]))
        pairs = zip(found, spans, strict=True)
        return (self._fill(segment, start, memory[:length]) for segment, (start, length) in pairs)

    def _fill(self, segment: _Segment, start: int, memory: memoryview) -> memoryview:
        """What lies there: less, if not all of it can be read."""
        try:
            return memory[: segment.fill(start, memory)]
        except OSError as error:
            self._stop(error)
            return memory[:0]

    def drop(self, path: str, spans: Sequence[tuple[int, int]]) -> None:
        """These pieces, which counted as hits, are wrong: they are fetched again, and count as misses then."""
        self.hits -= len(spans)
        for piece in spans:
            for segment in self._listed(path, [piece]) or ():
                segment.drop(piece)

    def read(self, path: str, start: int, length: int) -> memoryview | None:
        """A piece, or None if it is not there or not whole. It is good until this thread reads the next."""
        found = None
        try:
            segment = self._segment(path, start, write=False)
            if segment is not None and segment.has((start, length)):  # no memory for a length that an index invents
                memory = self._scratch.of(length)
                found = memory if segment.read(start, memory) else None
        except OSError as error:
            self._stop(error)
        self.hits += found is not None
        self.misses += found is None
        return found

    def put(self, path: str, start: int, data: bytes | memoryview) -> None:
        """Keep bytes of an object."""
        if self._off or self.has(path, [(start, len(data))]):
            return
        try:
            self._since += len(data)
            if self._since >= self._look_every:
                self._since = 0
                self._make_room()
            segment = self._segment(path, start, write=True)
            if segment is not None:
                segment.put(start, data)
        except OSError as error:
            self._stop(error)

    def forget(self, path: str) -> None:
        """Remove all pieces of an object, because they are not those of the dataset; or use none of them."""
        self._forgotten.add(path)
        folder = self._folder(path)
        with suppress(OSError):
            for file in os.scandir(folder) if os.path.isdir(folder) else ():  # noqa: PTH112 - texts as elsewhere
                stem = file.path.rpartition(".")[0]
                self._open.pop(stem, None)
                _remove(stem)
            self._forgotten.discard(path)

    def _stop(self, error: OSError) -> None:
        """One warning; from then on nothing is added: what is there is read, the rest comes from the URL."""
        if not self._off:
            self._off = True
            why = error.strerror or type(error).__name__
            warnings.warn(
                f"cache_dir {self.folder.parent.name}: nothing more can be kept there ({why}); reading goes on without",
                RuntimeWarning, stacklevel=2,
            )  # fmt: skip

    def _folder(self, path: str) -> str:
        folder = self._folders.get(path)
        if folder is None:
            key = hashlib.sha256(f"{self._dataset}\0{path}".encode()).hexdigest()[:32]
            folder = self._folders[path] = f"{self.folder}/{key}"
        return folder

    def _segment(self, path: str, start: int, *, write: bool) -> _Segment | None:
        if path in self._forgotten:
            return None
        folder = self._folder(path)
        stem = f"{folder}/{start // _SEGMENT:06d}"
        known = self._open.get(stem)
        if known is None:
            if not write and not os.path.exists(f"{stem}.spans"):  # noqa: PTH110 - called for every chunk
                return None
            if write:
                os.makedirs(folder, exist_ok=True)  # noqa: PTH103 - as above
            known = _Segment(stem)
            if known.torn:  # by a full disk, or a disk that lost bytes: begin again
                _remove(stem)
                known = _Segment(stem)
            self._open[stem] = known
            while len(self._open) > self._most_open:
                with suppress(KeyError, RuntimeError, StopIteration):  # another thread was quicker
                    self._open.pop(next(iter(self._open)), None)
        known.used = time.time()
        return known

    def _make_room(self) -> None:
        """Remove the segments that were used longest ago, down to nine tenths of the size."""
        self._mark()
        found = self._segments()
        total = sum(blocks for _, _, blocks in found)
        if total + self._look_every <= self.size:
            return
        for _, stem, blocks in sorted(found):
            if total <= 0.9 * self.size - self._look_every:
                break
            self._open.pop(stem, None)
            with suppress(OSError):  # another user's, in a folder that many may write
                _remove(stem)
                total -= blocks
        if total + self._look_every > self.size:
            raise OSError(errno.ENOSPC, "it is full of files that this user cannot remove")

    def _segments(self) -> list[tuple[float, str, int]]:
        """(when it was used, stem, bytes on the disk) of each segment, also of one whose list was removed."""
        found = []
        for key in os.scandir(self.folder) if self.folder.is_dir() else ():
            if not _KEY.fullmatch(key.name) or not key.is_dir(follow_symlinks=False):
                continue
            for file in os.scandir(key.path):
                stem, ending = file.path.rpartition(".")[::2]
                if ending == "bytes" and file.is_file(follow_symlinks=False):
                    with suppress(FileNotFoundError):
                        about = file.stat(follow_symlinks=False)
                        used, blocks = about.st_mtime, about.st_blocks
                        with suppress(FileNotFoundError):
                            listed = os.stat(f"{stem}.spans", follow_symlinks=False)  # noqa: PTH116 - called for all
                            used, blocks = listed.st_mtime, blocks + listed.st_blocks
                        found.append((used, stem, blocks * 512))
        return found

    def _mark(self) -> None:
        """Note when the open segments were used; forget those that another process has removed."""
        for stem, segment in list(self._open.items()):
            if segment.used == segment.marked:
                continue
            segment.marked = segment.used
            try:
                os.utime(f"{stem}.spans", (segment.used, segment.used))
            except OSError:
                self._open.pop(stem, None)


def _remove(stem: str) -> None:
    """Remove a segment: its list first, so that nothing is listed that is not there."""
    for ending in ("spans", "bytes"):
        Path(f"{stem}.{ending}").unlink(missing_ok=True)


def _most_open() -> int:
    """Segments that are open at a time: with two files each, a quarter of the files that this process may open."""
    try:
        import resource
    except ImportError:
        return _OPEN
    return max(4, min(_OPEN, resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 8))
