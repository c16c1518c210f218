"""Which epoch comes next: one count for a stream and for all that iterate over it, workers of a DataLoader among them.

A DataLoader starts a pass by asking each of its workers for an iterator; the process it runs in does not hear of it.
So the count lies in memory that these processes share. The first worker of a pass to ask takes the next epoch and
notes the pass; the others find the note and run the same epoch. A pass is known by what its workers have in common:
the process that started them, the seed that it drew for them, and how often each of them has begun before.
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

from landweave.errors import QueryError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray


class Turn(NamedTuple):
    """What an iterator runs: an epoch, or the rest of one."""

    epoch: int
    """Which."""
    start: int = 0
    """The batch from which workers take turns."""
    next: int = 0
    """The first batch that is wanted."""

    def within(self, batches: int) -> Turn:
        """The next epoch where nothing of this one is left."""
        return Turn(self.epoch + 1) if self.next >= batches else self


class Epochs:
    """The count of one process."""

    def __init__(self, turn: Turn = Turn(0)) -> None:
        self._turn = turn

    @property
    def coming(self) -> Turn:
        """What the next iterator runs."""
        return self._turn

    def set(self, turn: Turn) -> None:
        """Choose what the next iterator runs."""
        self._turn = turn

    def take(self, batches: int) -> Turn:
        """What an iterator is to run, of epochs of so many batches; the next one runs the epoch after."""
        turn = self._turn.within(batches)
        self._turn = Turn(turn.epoch + 1)
        return turn


class Worker(NamedTuple):
    """A worker of a DataLoader that begins a pass."""

    seed: int
    """What the DataLoader drew for all workers of the pass."""
    first: int
    """Number of the process that is worker 0, by its parent's count, if no other was started meanwhile."""
    workers: int
    """How many work together."""
    passes: int
    """How many passes this process has begun before."""

    @classmethod
    def here(cls, seed: int, worker: int, workers: int, passes: int) -> Worker:
        """This process as a worker; `seed` is its own: the common one plus its number."""
        number = getattr(multiprocessing.current_process(), "_identity", None) or (0,)
        return cls(seed - worker, number[-1] - worker, workers, passes)


_COMMANDS, _PASSES = 64, 64
"""Notes that are kept of each kind: the newest overwrites the oldest."""
_COMMAND = ("owner", "version", "epoch", "start", "next")
_PASS = ("owner", "seed", "passes", "first", "epoch", "start", "next")
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
    """The count of a process and of the workers that it starts, by fork or else.

    What is set counts for passes that are started afterwards: a worker that comes late to an earlier pass still runs
    what that one runs. A process that was forked from the owner and sets or takes something itself, as a rank of a
    training does, goes on with a count of its own.
    """

    def __init__(self, turn: Turn = Turn(0), shared: tuple[int, int, int] | None = None) -> None:
        """Begin a count; or join one with `shared`: file, owner, version."""
        super().__init__(turn)
        if shared is None:
            self._begin(turn)
        else:
            self._file, self._owner, self._version = shared
            self._memory = _mapped(self._file)

    def _begin(self, turn: Turn) -> None:
        self._file = _new_file(_LAYOUT.itemsize)
        self._memory = _mapped(self._file)
        self._owner, self._version = os.getpid(), 0
        self._note("command", self._owner, 0, *turn)

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
        """What the next iterator runs."""
        return self._current(self._version if os.getpid() == self._owner else self._newest)[1]

    def set(self, turn: Turn) -> None:
        """Choose what the next iterator runs, here or in workers that are asked for one from now on."""
        self._own()
        with self._locked():
            self._version += 1
            self._turn = turn
            self._note("command", self._owner, self._version, *turn)
            self._memory["version"] = self._version

    def take(self, batches: int, worker: Worker | None = None, loaded: Turn | None = None) -> Turn:
        """What an iterator is to run; the next one runs the epoch after.

        Args:
            batches: of an epoch.
            worker: which worker asks; None: this process iterates itself.
            loaded: what a worker was told to run by a state of its own.
        """
        if worker is None:
            self._own()
        with self._locked():
            noted = None if worker is None else self._pass(worker)
            if noted is not None:
                return loaded or noted
            version = self._version if worker is None or not worker.passes else self._newest
            where, coming = self._current(version)
            turn = loaded or coming.within(batches)
            after = (self._owner if worker is None else _owner_of_this(), version, *Turn(turn.epoch + 1))
            if where is None:
                self._note("command", *after)
            else:
                self._memory["command"][where] = after
            if worker is not None:
                self._note("pass", _owner_of_this(), worker.seed, worker.passes, worker.first, *turn)
            return turn

    @property
    def _newest(self) -> int:
        return int(self._memory["version"])

    def _current(self, version: int) -> tuple[int | None, Turn]:
        """Where it is noted what the process that this one works for runs next, and what: at first as its owner."""
        owner = self._owner if os.getpid() == self._owner else _owner_of_this()
        notes = self._memory["command"]
        for asked in (owner, self._owner):
            found = np.flatnonzero((notes["owner"] == asked) & (notes["version"] == version))
            if len(found):
                where = int(found[0])
                return (where if asked == owner else None), Turn(*notes[where].tolist()[2:])
        return None, self._turn

    def _pass(self, worker: Worker) -> Turn | None:
        """What other workers of the pass run, if one of them has begun."""
        notes = self._memory["pass"]
        same = (notes["owner"] == _owner_of_this()) & (notes["seed"] == worker.seed)
        apart = np.abs(notes["first"] - worker.first)
        found = np.flatnonzero(same & (notes["passes"] == worker.passes) & (apart < worker.workers))
        if not len(found):
            return None
        return Turn(*notes[int(found[np.argmin(apart[found])])].tolist()[4:])

    def _note(self, kind: str, *values: int) -> None:
        count = int(self._memory[_COUNT[kind]])
        notes = self._memory[kind]
        notes[count % len(notes)] = values
        self._memory[_COUNT[kind]] = count + 1

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


def whole_number(name: str, value: Any) -> int:
    """A setting that counts; QueryError where it is none."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 0:
        raise QueryError(f"{name} is a whole number of at least 0, got {value!r}")
    return int(value)


def _owner_of_this() -> int:
    """The process that this one works for."""
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
    return np.frombuffer(memoryview(mmap.mmap(file, _LAYOUT.itemsize)), _LAYOUT)[0]
