"""Files that survive a power loss: written elsewhere, synced, renamed into place, with their folder synced.

Without a sync before it, a rename may survive a power loss while the content does not: then the file is empty. All
files that a later run needs are written here. A file may still contain anything, because other programs and broken
disks write too: `read_regular` never waits and never follows a link.
"""

from __future__ import annotations

import contextlib
import os
import stat
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


def write_durably(target: Path, content: bytes | str) -> None:
    """Write one file, completely or not at all; text is UTF-8."""
    with durably(target) as aside:
        aside.write_bytes(content.encode() if isinstance(content, str) else content)


@contextlib.contextmanager
def durably(target: Path) -> Iterator[Path]:
    """Yields a path in the same folder to write to; at the end the file is put in place, unless an error ends it."""
    make_folder(target.parent)
    aside = target.with_name(f".{target.name[:80]}.{uuid.uuid4().hex}.part")
    try:
        yield aside
        move_durably(aside, target)
    finally:
        aside.unlink(missing_ok=True)


def move_durably(aside: Path, target: Path) -> None:
    """Sync a finished file, or a folder whose files are synced already, and rename it into place."""
    sync(aside)
    make_folder(target.parent)
    aside.replace(target)
    sync(target.parent)


def make_folder(folder: Path) -> None:
    """Create a folder and sync each parent that gains an entry."""
    missing = []
    while not folder.is_dir():
        missing.append(folder)
        folder = folder.parent
    for step in reversed(missing):
        step.mkdir(exist_ok=True)
        sync(step.parent)


def sync_tree(folder: Path) -> None:
    """Sync every file and folder below, and the folder itself."""
    for place, _, names in os.walk(folder, topdown=False):
        for name in names:
            sync(Path(place, name))
        sync(Path(place))


def sync(path: Path) -> None:
    """Have the disk hold a file's content, or a folder's list of names."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def read_regular(path: Path, most_bytes: int = 64 << 20) -> bytes:
    """Content of a regular file.

    Raises:
        OSError: there is none, it cannot be read, it is larger than `most_bytes`, or something else has its name: a
            folder, a link, a device, a FIFO, none of which is opened to be read.
    """
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    with open(handle, "rb") as file:  # noqa: PTH123 - a descriptor
        found = os.fstat(handle)
        if not stat.S_ISREG(found.st_mode):
            raise OSError(f"{path.name} is not a regular file")
        if found.st_size > most_bytes:
            raise OSError(f"{path.name} is larger than {most_bytes:,} bytes")
        return file.read(found.st_size)
