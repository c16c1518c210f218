"""The epoch counter of a stream, shared by all its iterators, including workers of a DataLoader.

A DataLoader starts a pass by creating an iterator in each worker; the main process is not informed. So the counter is
in shared memory. The first worker of a pass takes the next epoch and records the pass; the others find the record and
run the same epoch. The workers of a pass share the parent process, the seed that it drew for them, and the number of
passes that each has started before.
"""

from __future__ import annotations

import fcntl
import mmap
import multiprocessing
import multiprocessing.context
import os
import tempfile
from contextlib import contextmanager
from multiprocessing.reduction import DupFd
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray


class Turn(NamedTuple):
    """The part of an epoch that one iterator reads: all of it, or the rest."""

    epoch: int
    """Which."""
    start: int = 0
    """The batch from which workers take turns."""
    next: int = 0
    """The first batch to return."""

    def last_worker(self, batches: int, workers: int) -> int:
        """The worker that has the last batch."""
        return (batches - 1 - self.start) % workers


class Epochs:
    """Epoch counter of one process."""

    def __init__(self, turn: Turn | None = None) -> None:
        """Start with a turn; with epoch 0 if None."""
        self._turn = turn or Turn(0)

    @property
    def coming(self) -> Turn:
        """Start of the next iterator."""
        return self._turn

    def set(self, turn: Turn) -> None:
        """Set the start of the next iterator."""
        self._turn = turn

    def take(self) -> Turn:
        """The work of a new iterator; the next one runs the following epoch."""
        turn, self._turn = self._turn, Turn(self._turn.epoch + 1)
        return turn


class Worker(NamedTuple):
    """A worker of a DataLoader that begins a pass."""

    seed: int
    """The seed that the DataLoader drew for all workers of the pass."""
    first: int
    """Number of the process that is worker 0, by its parent's count, if no other was started meanwhile."""
    workers: int
    """Number of workers."""
    passes: int
    """Number of earlier passes of this process."""

    @classmethod
    def here(cls, seed: int, worker: int, workers: int, passes: int) -> Worker:
        """This process as a worker; `seed` is its own: the common one plus its number."""
        number = getattr(multiprocessing.current_process(), "_identity", None) or (0,)
        return cls(seed - worker, number[-1] - worker, workers, passes)


_COMMANDS, _PASSES = 64, 64
"""Notes that are kept of each kind: the newest overwrites the oldest."""
_COMMAND = ("owner", "version", "epoch", "start", "next")
_PASS = ("owner", "seed", "passes", "workers", "first", "epoch", "start", "next", "version", "moved_on", "asked")
_COUNT = {"command": "commands", "pass": "passes"}
_LAYOUT = np.dtype(
    [
        ("version", np.int64),
        ("commands", np.int64),
        ("passes", np.int64),
        ("command", [(name, np.int64) for name in _COMMAND], (_COMMANDS,)),
        ("pass", [(name, np.int64) for name in _PASS], (_PASSES,)),
    ]
)


class SharedEpochs(Epochs):
    """Epoch counter of a process and of the workers that it starts, by fork or spawn.

    What is set counts for passes that are started afterwards: a worker that comes late to an earlier pass still runs
    what that one runs. A process that was forked from the owner and sets or takes something itself, as a rank of a
    training does, continues with its own count.
    """

    def __init__(self, turn: Turn | None = None, shared: tuple[int, int, int] | None = None) -> None:
        """Begin a count; or join one with `shared`: file, owner, version."""
        super().__init__(turn)
        if shared is None:
            self._begin(self._turn)
        else:
            self._file, self._owner, self._version = shared
            self._memory = _mapped(self._file)

    def _begin(self, turn: Turn) -> None:
        self._file = _new_file(_LAYOUT.itemsize)
        self._memory = _mapped(self._file)
        self._owner, self._version = os.getpid(), 0
        self._note("command", None, self._owner, 0, *turn)

    def __del__(self) -> None:
        if hasattr(self, "_file"):
            os.close(self._file)

    def __reduce__(self) -> tuple[Callable[..., SharedEpochs], tuple[Any, ...]]:
        if multiprocessing.context.get_spawning_popen() is None:  # a copy, not a worker
            return (SharedEpochs, (self.coming,))
        self._own()
        return (_joined, (DupFd(self._file), self._owner, self._version, self._turn))

    @property
    def coming(self) -> Turn:
        """Start of the next iterator."""
        return self._current(self._version if os.getpid() == self._owner else self._newest)[1]

    def set(self, turn: Turn) -> None:
        """Choose what the next iterator runs, here or in workers that are asked for one from now on."""
        self._own()
        with self._locked():
            self._version += 1
            self._turn = turn
            self._note("command", None, self._owner, self._version, *turn)
            self._memory["version"] = self._version

    def take(self, worker: Worker | None = None, batches: int = 0) -> Turn:
        """The work of a new iterator; the next one runs the following epoch.

        Args:
            worker: which worker asks; None: this process iterates itself.
            batches: of an epoch.
        """
        if worker is None:
            self._own()
        with self._locked():
            where = None if worker is None else self._pass(worker)
            if where is not None:
                return self._turn_of_pass(where)
            version = self._version_for(worker)
            turn = self._unused(version, batches) or self._current(version)[1]
            self._begun(worker, turn)
            return turn

    def go_on(self, worker: Worker, turn: Turn, *, moved_on: bool) -> None:
        """Record that a worker continues from its own state: the other workers do too, and the next pass follows.

        Args:
            worker: which.
            turn: what it runs.
            moved_on: nothing was left of the state's epoch, so that the pass is the one after.
        """
        with self._locked():
            where = self._pass(worker)
            if where is None or moved_on:
                self._begun(worker, turn, where, moved_on=moved_on)

    def noted(self, worker: Worker) -> Turn | None:
        """The work of a worker's pass, from the latest note."""
        where = self._pass(worker)
        return None if where is None else self._turn_of_pass(where)

    def asked(self, worker: Worker) -> None:
        """Count a batch request to a worker, in a pass that continues from a state."""
        with self._locked():
            where = self._pass(worker)
            if where is not None:
                self._memory["pass"]["asked"][where] += 1

    def _unused(self, version: int, batches: int) -> Turn | None:
        """The epoch of a pass that moved on and of which nobody took more than a DataLoader fetches ahead.

        torchdata's StatefulDataLoader begins such a pass, and drops it, where its state is that of a finished pass.
        """
        notes = self._memory["pass"]
        mine = (notes["owner"] == _owner_of_this()) & (notes["version"] == version) & (notes["moved_on"] == 1)
        found = np.flatnonzero(mine)
        if not len(found):
            return None
        notes["moved_on"][found] = 0
        last = int(found[np.argmax(notes["epoch"][found])])
        follows = self._current(version)[1] == Turn(int(notes["epoch"][last]) + 1)
        return Turn(int(notes["epoch"][last])) if follows and notes["asked"][last] <= batches else None

    def _turn_of_pass(self, where: int) -> Turn:
        return Turn(*(int(self._memory["pass"][name][where]) for name in Turn._fields))

    def _begun(self, worker: Worker | None, turn: Turn, where: int | None = None, *, moved_on: bool = False) -> None:
        """Note that a pass has begun, and what follows it."""
        version = self._version_for(worker)
        owner = self._owner if worker is None else _owner_of_this()
        self._note("command", self._current(version)[0], owner, version, *Turn(turn.epoch + 1))
        if worker is not None:
            which = (owner, worker.seed, worker.passes, worker.workers, worker.first)
            self._note("pass", where, *which, *turn, version, int(moved_on), 0)

    def _version_for(self, worker: Worker | None) -> int:
        """The command that counts: in a new worker the one that its process was started with."""
        return self._version if worker is None or not worker.passes else self._newest

    @property
    def _newest(self) -> int:
        return int(self._memory["version"])

    def _current(self, version: int) -> tuple[int | None, Turn]:
        """Place and content of the note on the next work of the parent process; at first that of the owner."""
        owner = self._owner if os.getpid() == self._owner else _owner_of_this()
        notes = self._memory["command"]
        for asked in (owner, self._owner):
            found = np.flatnonzero((notes["owner"] == asked) & (notes["version"] == version))
            if len(found):
                where = int(found[0])
                return (where if asked == owner else None), Turn(*notes[where].tolist()[2:])
        return None, self._turn

    def _pass(self, worker: Worker) -> int | None:
        """Place of the note on a worker's pass, if one of its workers has started."""
        notes = self._memory["pass"]
        same = (notes["owner"] == _owner_of_this()) & (notes["seed"] == worker.seed)
        same &= notes["workers"] == worker.workers
        apart = np.abs(notes["first"] - worker.first)
        found = np.flatnonzero(same & (notes["passes"] == worker.passes) & (apart < worker.workers))
        if not len(found):
            return None
        return int(found[np.argmin(apart[found])])

    def _note(self, kind: str, where: int | None, *values: int) -> None:
        """Write a note in place of another; None: of the oldest."""
        notes = self._memory[kind]
        if where is None:
            count = int(self._memory[_COUNT[kind]])
            where = count % len(notes)
            self._memory[_COUNT[kind]] = count + 1
        notes[where] = values

    def _own(self) -> None:
        """Begin a count of this process's own where the one at hand is that of the process it was forked from."""
        if os.getpid() != self._owner:
            turn = self.coming
            os.close(self._file)
            self._begin(turn)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """One process at a time. A lock of the file system: no child inherits it, and it ends with its holder."""
        fcntl.lockf(self._file, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.lockf(self._file, fcntl.LOCK_UN)


def _owner_of_this() -> int:
    """Process id of the process that started this worker."""
    parent = multiprocessing.parent_process()
    return os.getpid() if parent is None or parent.pid is None else parent.pid


def _joined(file: Any, owner: int, version: int, turn: Turn) -> SharedEpochs:
    return SharedEpochs(turn, (file.detach(), owner, version))


def _new_file(size: int) -> int:
    """A file without a name."""
    try:
        file = os.memfd_create("epochs", os.MFD_CLOEXEC)
    except (AttributeError, OSError):
        with tempfile.TemporaryFile() as made:
            file = os.dup(made.fileno())
    os.ftruncate(file, size)
    return file


def _mapped(file: int) -> NDArray[Any]:
    memory = np.frombuffer(memoryview(mmap.mmap(file, _LAYOUT.itemsize)), _LAYOUT)
    return memory.reshape(())
