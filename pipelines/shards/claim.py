"""Mutual exclusion across hosts without locks: a file that only one process can create, and that its owner renews.

File-system locks often work on one host only; exclusive creation of a file works everywhere. Nothing here depends on
clocks: an owner is dead if its claim did not change while another process watched it for STALE_S. On the same kernel
this is known immediately, from the number and the start time of the process: numbers are reused, and the first process
of a container always lives.

The file of a claim may be anything. A regular file without an owner is watched for NAMELESS_S; a folder, a link or a
FIFO is not a claim and is removed.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import shutil
import stat
import threading
import time
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from landweave.layout import STAGING
from pipelines.durable import read_regular

if TYPE_CHECKING:
    from collections.abc import Iterator

RENEW_S = 5.0
"""Interval at which an owner renews its claim, seconds."""
STALE_S = 60.0
"""A claim that is not renewed for so long has no owner, seconds."""
NAMELESS_S = 3.0
"""A file that names no owner has none after so long: an owner writes its name within moments, seconds."""
POLL_S = 0.2
"""Interval at which a claim is checked, seconds."""
_MOST_BYTES = 4096
"""A claim is shorter."""


class ClaimedError(RuntimeError):
    """Another process holds the claim and is alive."""


class ClaimLostError(RuntimeError):
    """Another process took over the claim, because this process did not renew it for longer than STALE_S."""


class Claim:
    """A claim that this process holds."""

    def __init__(self, path: Path) -> None:
        """Create the file.

        Raises:
            FileExistsError: another holds the claim.
        """
        began = _began(os.getpid()) or "unknown"
        self._path, self._token = path, f"{kernel()} {os.getpid()} {began}.{uuid.uuid4().hex}"
        self._handle = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666)
        try:
            self._write(self._token)
        except OSError:  # a full disk
            path.unlink(missing_ok=True)
            os.close(self._handle)
            raise
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._renew, name=f"claim {path.name}", daemon=True)
        self._thread.start()

    def check(self) -> None:
        """Raise ClaimLostError unless the claim is still ours."""
        if not _look(self._path).text.startswith(self._token):
            raise ClaimLostError(f"{self._path.name}: another builder took it over while this one was paused")

    def release(self) -> None:
        """Release the claim."""
        self._ended.set()
        self._thread.join()
        with contextlib.suppress(OSError, ClaimLostError):
            self.check()
            self._path.unlink()
        os.close(self._handle)

    def _renew(self) -> None:
        """Write into the file that was created, also where another has put its own in place."""
        for renewals in itertools.count():
            if self._ended.wait(RENEW_S):
                return
            with contextlib.suppress(OSError):  # a full disk: the next time, or another takes over
                self._write(f"{self._token} {renewals}")

    def _write(self, text: str) -> None:
        """Synced, so that other hosts see it at once."""
        os.pwrite(self._handle, text.encode(), 0)
        os.fsync(self._handle)


@contextlib.contextmanager
def claimed(out: Path, what: str, *, wait: bool = True) -> Iterator[Claim]:
    """Hold a claim on `what` of a dataset, after its owner has let go or died.

    Args:
        out: the dataset's folder.
        what: name of the claim: a file in the folder of claims.
        wait: False = an owner that lives is an error at once (one on another host, when it has renewed).

    Raises:
        ClaimedError: an owner lives, and `wait` is False.
    """
    folder = out / STAGING / "claims"
    folder.mkdir(parents=True, exist_ok=True)
    while True:
        try:
            claim = Claim(folder / what)
            break
        except FileExistsError:
            _await_death(folder / what, wait=wait)
    try:
        yield claim
    finally:
        claim.release()


def held(out: Path, what: str) -> bool:
    """Whether somebody holds a claim, as far as can be decided without waiting."""
    return _look(out / STAGING / "claims" / what).owner not in (None, "dead")


def sweep(out: Path) -> None:
    """Remove the claims of processes that have ended."""
    for path in (out / STAGING / "claims").glob("*"):
        seen = _look(path)
        if seen.owner == "dead":
            _break(path, seen)


def kernel() -> str:
    """Names the running kernel and its process numbers: within it, whether a process lives is known at once."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot}/{Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return os.uname().nodename


def dead(owner_kernel: str, pid: int) -> bool:
    """Whether a process is known to have ended; those of other kernels are not."""
    if owner_kernel != kernel():
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        pass
    return False


def remove(path: Path) -> None:
    """Remove what has a name in the staging folder, whatever it is; links are not followed."""
    with contextlib.suppress(FileNotFoundError):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink()


@dataclass(frozen=True)
class _Seen:
    """Content of a claim's file."""

    there: bool
    regular: bool = True
    text: str = ""
    """At most _MOST_BYTES of it, bytes that are no UTF-8 replaced."""
    changed: tuple[int, int] = (0, 0)
    """The file's number and the time of its last change, which a renewal alters also where it cannot be read."""

    @property
    def owner(self) -> Literal["alive", "dead", "unknown"] | None:
        """State of the process that the claim names; None if it names none."""
        words = self.text.split()
        if len(words) < 2 or not re.fullmatch("[1-9][0-9]{0,9}", words[1]):
            return None
        if words[0] != kernel():
            return "unknown"
        if dead(words[0], int(words[1])):
            return "dead"
        now, then = _began(int(words[1])), words[2].partition(".")[0] if len(words) > 2 else ""
        if now is None or not then.isdecimal():
            return "unknown"
        return "alive" if then == now else "dead"


def _await_death(path: Path, *, wait: bool) -> None:
    """Return when the claim is gone or was taken from an owner that died."""
    first, since_s = _look(path), time.monotonic()
    while (seen := _look(path)).there:
        patience_s = STALE_S if seen.owner else min(NAMELESS_S, STALE_S)
        stale = seen == first and time.monotonic() - since_s > patience_s
        if stale or not seen.regular or seen.owner == "dead":
            return _break(path, seen)
        if not wait and (seen != first or seen.owner == "alive"):
            raise ClaimedError(f"{path.name}: another running process has claimed it")
        if seen != first:
            first, since_s = seen, time.monotonic()
        time.sleep(POLL_S)
    return None


def _break(path: Path, seen: _Seen) -> None:
    """Remove the claim of a dead owner, and never the one that another has put in its place meanwhile."""
    aside = path.with_name(f"{path.name}.{uuid.uuid4().hex}")
    with contextlib.suppress(FileNotFoundError):
        path.rename(aside)
        if _look(aside) != seen:
            with contextlib.suppress(OSError):
                os.link(aside, path, follow_symlinks=False)
        remove(aside)


def _look(path: Path) -> _Seen:
    """Look at a claim without waiting for anything."""
    try:
        found = path.lstat()
        if not stat.S_ISREG(found.st_mode):
            return _Seen(there=True, regular=False, changed=(found.st_ino, 0))
        with contextlib.suppress(PermissionError):
            text = read_regular(path, _MOST_BYTES).decode(errors="replace")
            return _Seen(there=True, text=text, changed=(found.st_ino, found.st_mtime_ns))
    except FileNotFoundError:
        return _Seen(there=False)
    except OSError:  # too large for a claim, or exchanged meanwhile
        pass
    return _Seen(there=True, changed=(found.st_ino, found.st_mtime_ns))


def _began(pid: int) -> str | None:
    """Start of a process, in ticks since the start of the kernel; None if unknown."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]  # field 22 of proc(5)
    except (OSError, IndexError):
        return None
