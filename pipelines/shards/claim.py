"""One at a time, across hosts that share no lock: a file that only one can create, and that its owner keeps renewing.

A file system's own locks often end at the host; creating a file that must not be there yet does not. Nothing here
depends on clocks: an owner is dead when its claim did not change while another watched it for STALE_S.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import threading
import time
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

from landweave.layout import STAGING

if TYPE_CHECKING:
    from collections.abc import Iterator

RENEW_S = 5.0
"""How often an owner renews its claim, seconds."""
STALE_S = 60.0
"""A claim that is not renewed for so long has no owner, seconds."""
POLL_S = 0.2


class ClaimedError(RuntimeError):
    """Another holds the claim and lives."""


class ClaimLostError(RuntimeError):
    """Another took the claim over: this process was away for longer than STALE_S."""


class Claim:
    """A claim that this process holds."""

    def __init__(self, path: Path) -> None:
        """Create the file.

        Raises:
            FileExistsError: another holds the claim.
        """
        self._path, self._token = path, f"{kernel()} {os.getpid()} {uuid.uuid4().hex}"
        self._handle = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666)
        os.pwrite(self._handle, self._token.encode(), 0)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._renew, name=f"claim {path.name}", daemon=True)
        self._thread.start()

    def check(self) -> None:
        """Raise ClaimLostError unless the claim is still ours."""
        if not _read(self._path).startswith(self._token):
            raise ClaimLostError(f"{self._path.name}: taken over by another builder while this one was away")

    def release(self) -> None:
        """Let others have it."""
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
                os.pwrite(self._handle, f"{self._token} {renewals}".encode(), 0)


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
    """Whether somebody holds a claim, as far as can be told without waiting."""
    words = _read(out / STAGING / "claims" / what).split()
    return len(words) >= 2 and not dead(words[0], int(words[1]))


def sweep(out: Path) -> None:
    """Remove the claims of processes that are known to have ended, which nobody may want to take over again."""
    for path in (out / STAGING / "claims").glob("*"):
        seen = _read(path)
        words = seen.split()
        if len(words) >= 2 and dead(words[0], int(words[1])):
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


def _await_death(path: Path, *, wait: bool) -> None:
    """Return when the claim is gone or was taken from an owner that died."""
    first, since_s = _read(path), time.monotonic()
    while path.exists():
        seen = _read(path)
        words = seen.split()
        ended = len(words) >= 2 and dead(words[0], int(words[1]))
        if ended or (seen == first and time.monotonic() - since_s > STALE_S):
            return _break(path, seen)
        if not wait and (seen != first or (words and words[0] == kernel())):
            raise ClaimedError(f"{path.name}: claimed by another that is at work")
        if seen != first:
            first, since_s = seen, time.monotonic()
        time.sleep(POLL_S)
    return None


def _break(path: Path, seen: str) -> None:
    """Remove the claim of a dead owner, and never the one that another has put in its place meanwhile."""
    aside = path.with_name(f"{path.name}.{uuid.uuid4().hex}")
    with contextlib.suppress(FileNotFoundError):
        path.rename(aside)
        if _read(aside) != seen:
            with contextlib.suppress(OSError):
                os.link(aside, path)
        aside.unlink()


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except FileNotFoundError:
        return ""
