"""Reads a dataset in a local folder.

Local files are read, never mapped into memory: truncating a mapped file would end the process. Reading is safe in
threads and after a fork. A path must be a regular file inside the folder; links to files outside, pipes and devices are
refused.
"""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from typing import TYPE_CHECKING

from landweave.errors import AccessError, CorruptError
from landweave.scratch import Scratch
from landweave.strict import MOST_JSON, inside

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


_OPEN_FILES = 512
"""Local files kept open at once: under the usual limit of 1,024 per process."""

_FLAGS = os.O_RDONLY | sum(getattr(os, flag, 0) for flag in ("O_CLOEXEC", "O_NONBLOCK", "O_NOFOLLOW", "O_BINARY"))

_NEAR_BYTES = 1 << 16
"""Nearby chunks of a local file within this many bytes are read together: a call costs as much as 10 kB."""


_RUN_BYTES = 1 << 22
"""Largest read of chunks that follow one another."""


class LocalStore:
    """A folder on this machine. It uses no lock, because a forked child could inherit a held one."""

    remote = False

    def __init__(self, root: str, name: str | None = None) -> None:
        """Keep the folder's place, which a change of the working directory does not move.

        Args:
            root: the folder.
            name: what messages call it; None: as it was given.
        """
        self.url = root if name is None else name
        self._place = os.path.abspath(root)  # noqa: PTH100 - links stay what they are
        self._root = os.path.realpath(self._place)
        self._files: dict[str, _File] = {}
        self._scratch = Scratch(_NEAR_BYTES)

    def __reduce__(self) -> tuple[type[LocalStore], tuple[str, str]]:
        return (LocalStore, (self._place, self.url))

    def get(self, path: str, most: int = MOST_JSON) -> bytes:
        """See `Store.get`."""
        file = self._open(path)
        if file.size > most:
            raise CorruptError(f"{path}: has {file.size} bytes, expected at most {most}")
        return file.read(0, file.size)

    def get_range(self, path: str, start: int, length: int) -> bytes:
        """See `Store.get_range`."""
        return self._file(path).read(start, length)

    def get_ranges(self, path: str, spans: list[tuple[int, int]]) -> Iterable[bytes | memoryview]:
        """See `Store.get_ranges`; into memory that is used again for the next."""
        file = self._file(path)
        if not spans:
            return ()
        first = min([start for start, _ in spans])
        last = max([start + length for start, length in spans])
        if last - first <= _NEAR_BYTES:
            memory = file.read_into(self._scratch.of(last - first), first)
            return [memory[start - first : start - first + length] for start, length in spans]
        if len(spans) > 1 and sum(spans[0]) == spans[1][0]:
            return self._runs(file, spans)
        memory = self._scratch.of(max([length for _, length in spans]))
        return (file.read_into(memory[:length], start) for start, length in spans)

    def _runs(self, file: _File, spans: list[tuple[int, int]]) -> Iterator[memoryview]:
        """Ranges that follow one another without a gap, as the chunks of a sample do, are one read."""
        at, most = 0, len(spans)
        while at < most:
            first, length = spans[at]
            last, end = at + 1, first + length
            while last < most and spans[last][0] == end and end + spans[last][1] - first <= _RUN_BYTES:
                end += spans[last][1]
                last += 1
            memory = file.read_into(self._scratch.of(end - first), first)
            for start, length in spans[at:last]:
                yield memory[start - first : start - first + length]
            at = last

    def get_tail(self, path: str, length: int) -> bytes:
        """See `Store.get_tail`."""
        file = self._file(path)
        start = max(0, file.size - length)
        return file.read(start, file.size - start)

    def size(self, path: str) -> int:
        """See `Store.size`."""
        return self._file(path).size

    def forget(self, path: str) -> None:
        """See `Store.forget`: nothing is kept."""

    def _file(self, path: str) -> _File:
        file = self._files.get(path)
        if file is None:
            self._files[path] = file = self._open(path)
            if len(self._files) > _OPEN_FILES:
                with suppress(KeyError, RuntimeError):  # another thread was quicker
                    del self._files[next(iter(self._files))]
        return file

    def _open(self, path: str) -> _File:
        try:
            place = os.path.realpath(f"{self._root}/{inside(path)}")
            if os.path.commonpath((self._root, place)) != self._root:
                raise CorruptError(f"{path}: is a link to a file outside the dataset; replace it by the file itself")
            if not stat.S_ISREG(os.lstat(place).st_mode):
                raise CorruptError(f"{path}: is not a regular file")
            return _File(place, path)
        except (FileNotFoundError, NotADirectoryError) as error:
            raise FileNotFoundError(path) from error
        except OSError as error:
            raise _unreadable(path, error) from error


def _unreadable(path: str, error: OSError) -> AccessError:
    return AccessError(f"{path}: cannot be read: {error.strerror}")


class _File:
    """An open file; closed when nobody holds it any more."""

    def __init__(self, place: str, path: str) -> None:
        self._path = path
        self._handle = os.open(place, _FLAGS)
        about = os.fstat(self._handle)
        if not stat.S_ISREG(about.st_mode):
            raise FileNotFoundError(place)  # it was exchanged a moment ago
        self.size = about.st_size

    def __del__(self) -> None:
        if hasattr(self, "_handle"):
            os.close(self._handle)

    def read(self, start: int, length: int) -> bytes:
        """Bytes from `start`, fewer at the end of the file; one system call reads at most 2 GiB.

        Raises:
            AccessError: the disk, or the server of a network disk, does not give them.
        """
        length = max(0, min(length, self.size - start))
        try:
            found = os.pread(self._handle, length, start)
            while len(found) < length and (more := os.pread(self._handle, length - len(found), start + len(found))):
                found += more
        except OSError as error:
            raise _unreadable(self._path, error) from error
        return found

    def read_into(self, memory: memoryview, start: int) -> memoryview:
        """Bytes from `start` in this memory, fewer at the end of the file; errors as those of `read`."""
        try:
            found = os.preadv(self._handle, [memory], start)
        except OSError as error:
            raise _unreadable(self._path, error) from error
        return memory if found == len(memory) else memory[:found]
