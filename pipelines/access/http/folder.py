"""Files below one folder of this machine, read as the objects of a provider: a catalogue beside the recipe.

Such a provider has addresses of a host that cannot exist (RFC 6761 reserves .invalid), so catalogues, plans and
messages treat its files as any others, and no path of this machine gets into them. Only `FolderClient` opens them: part
by part from the catalogue's folder, following no link, so whatever an item says leads to no file elsewhere.
"""

from __future__ import annotations

import errno
import os
import stat
from contextlib import contextmanager
from email.message import Message
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote_to_bytes

from pipelines.access.errors import AccessError, SettingError
from pipelines.access.http.address import BESIDE, shown
from pipelines.access.http.client import Client
from pipelines.access.http.permission import local_file
from pipelines.access.http.transport import Answer
from schemas.outcome import Reason

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pipelines.access.http.address import Url
    from pipelines.access.http.client import Refusal
    from pipelines.access.http.transport import Request

RECIPE_FOLDER = "LANDWEAVE_RECIPE_FOLDER"
"""Environment variable: folder that a provider's relative url starts from. The commands set it for their workers;
workers on other machines need it, and the files."""
_OPENED = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK  # a FIFO must not hold us
_REASONS = {
    errno.ENOENT: (Reason.NOT_FOUND, "does not exist"),
    errno.ENOTDIR: (Reason.NOT_FOUND, "does not exist, or is behind a symbolic link"),
    errno.ENAMETOOLONG: (Reason.NOT_FOUND, "does not exist: its name is too long"),
    errno.ELOOP: (Reason.DENIED, "is a symbolic link, which is not followed: put the file itself there"),
    errno.EACCES: (Reason.DENIED, "may not be read by this user"),
    errno.EPERM: (Reason.DENIED, "may not be read by this user"),
}
"""What the system says -> reason and words; anything else may pass."""


def address_of(name: str, path: str) -> str:
    """Address of the catalogue of a provider whose url is relative.

    Args:
        name: the provider's name in the recipe.
        path: its url, relative to the recipe.
    """
    return f"http://{BESIDE}/{name}/{quote(PurePosixPath(path).name, safe='')}"


def catalogue_of(name: str, path: str) -> Path:
    """The catalogue of a provider whose url is relative, on this machine.

    Raises:
        SettingError: nobody says where the recipe is, or the file is not there or not allowed.
    """
    folder = os.environ.get(RECIPE_FOLDER)
    if not folder:
        raise SettingError(
            f"provider {name!r}: its url {path!r} is relative to the recipe, and this process does not know where the "
            f"recipe is; set {RECIPE_FOLDER} to the recipe's folder"
        )
    return local_file(f"provider {name!r}", path, Path(folder))


class FolderClient(Client):
    """Reads the objects of a provider from a folder of this machine, within the same limits and counters as HTTP."""

    def __init__(self, name: str, root: Path, *, concurrency: int = 8) -> None:
        """`root`: the folder that holds the catalogue; nothing outside it is opened."""
        super().__init__(concurrency=concurrency, retries=1, backoff_s=0.05)
        self._prefix = f"/{name}/"
        self._root = root

    def _classed(self, request: Request, href: Url, _: Refusal) -> Answer:
        """One read; all that goes wrong is an AccessError."""
        self._count(requests=1)
        wanted = request.wanted
        with self._opened(href) as (file, about):
            size = about.st_size
            length = size - wanted.start if wanted.length is None else min(wanted.length, size - wanted.start)
            if wanted.length is None and size > wanted.most:
                raise AccessError(Reason.CORRUPT, f"{shown(href)} has {size:,} bytes; the limit is {wanted.most:,}")
            if length <= 0 < size:
                raise AccessError(Reason.CORRUPT, f"{shown(href)} is shorter than its header states")
            body = _pread(file, max(0, length), wanted.start)
        self._connections.bytes_received += len(body)
        headers = Message()
        headers["ETag"] = f'"{about.st_ino:x}-{size:x}-{about.st_mtime_ns:x}"'
        if wanted.length is None or size == 0:
            return Answer(200, headers, body, size=size)
        headers["Content-Range"] = f"bytes {wanted.start}-{wanted.start + len(body) - 1}/{size}"
        return Answer(206, headers, body, whole=False)

    @contextmanager
    def _opened(self, href: Url) -> Iterator[tuple[int, os.stat_result]]:
        file = -1
        try:
            file = _beneath(self._root, self._parts(href))
            about = os.fstat(file)
            if not stat.S_ISREG(about.st_mode):
                raise AccessError(Reason.DENIED, f"{shown(href)} is not a regular file")
            yield file, about
        except OSError as error:
            reason, words = _REASONS.get(error.errno or 0, (Reason.UNAVAILABLE, f"cannot be read: {error.strerror}"))
            raise AccessError(reason, f"{shown(href)} {words}", retryable=reason is Reason.UNAVAILABLE) from None
        finally:
            if file >= 0:
                os.close(file)

    def _parts(self, href: Url) -> list[bytes]:
        """Names of the folders and the file that an address leads through, from the root."""
        if href.scheme != "http" or href.host != BESIDE or not href.path.startswith(self._prefix):
            raise AccessError(
                Reason.DENIED, f"{shown(href)} is outside the folder of its catalogue, so it is not opened"
            )
        parts = [unquote_to_bytes(part) for part in href.path.removeprefix(self._prefix).split("/")]
        if any(part in (b"", b".", b"..") or b"/" in part or b"\0" in part for part in parts):
            raise AccessError(Reason.DENIED, f"{shown(href)} is no name of a file below the folder of its catalogue")
        return parts


def _beneath(root: Path, parts: list[bytes]) -> int:
    """Open a file part by part; a link anywhere below the root is an error of the system."""
    here = os.open(root, os.O_RDONLY | os.O_CLOEXEC | os.O_DIRECTORY)
    try:
        for part in parts[:-1]:
            inner = os.open(part, _OPENED | os.O_DIRECTORY, dir_fd=here)
            os.close(here)
            here = inner
        return os.open(parts[-1], _OPENED, dir_fd=here)
    finally:
        os.close(here)


def _pread(file: int, length: int, start: int) -> bytes:
    """Bytes of a file, fewer only where it ends meanwhile."""
    pieces: list[bytes] = []
    while length > 0 and (piece := os.pread(file, length, start)):
        pieces.append(piece)
        length -= len(piece)
        start += len(piece)
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)
