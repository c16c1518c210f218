"""A command of landweave in a process of its own, watched step by step: counted, killed at one, or its disk recorded.

A step is a file opened, moved, linked, made, removed or synced below the watched folder. What a loss of power would
leave is known at each: the content that every file had when it was last synced, and the names that every folder had
when it was.
"""

from __future__ import annotations

import contextlib
import os
import runpy
import signal
import stat
import sys
import threading
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from tests.forks import forks

EVENTS = {"open", "os.rename", "os.mkdir", "os.remove", "os.rmdir", "os.link", "shutil.rmtree"}
Model = Literal["names kept", "names dropped"]
MODELS: tuple[Model, ...] = ("names kept", "names dropped")
"""What a loss of power does to names that were not synced: renames are kept and contents lost, or both are lost."""
Disk = dict[str, bytes | None]
"""Path below the watched folder -> content; None = a folder."""
Inode = tuple[int, int]


@dataclass(frozen=True, kw_only=True)
class Command:
    """What to run."""

    module: Literal["pipelines", "landweave", "script"]
    """`python -m` of one, or a script whose path is the first of the words."""
    words: tuple[str, ...]
    watched: Path
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Ran:
    """What became of it."""

    code: int
    """Exit code; negative = the signal that ended it."""
    said: str
    """Standard output and error."""
    steps: list[str]
    """Each step: its kind and its path below the watched folder. Of a killed one, up to the kill."""
    disks: dict[tuple[int, Model], Disk]
    """(step, model) -> what a loss of power just before that step would have left."""


def run(command: Command, *, kill_at: int = 0, record: Collection[int] = ()) -> Ran:
    """Run a command in a fork of a process that has all libraries loaded."""
    context = forks()
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_child, args=(command, kill_at, frozenset(record), theirs))
    process.start()
    theirs.close()
    told: list[tuple[str, Any]] = []
    with contextlib.suppress(EOFError):
        while True:
            told.append(ours.recv())
    process.join()
    disks = dict(value for kind, value in told if kind == "disk")
    said = "".join(value for kind, value in told if kind == "said")
    return Ran(code=process.exitcode or 0, said=said, steps=[v for k, v in told if k == "step"], disks=disks)


def lay_down(disk: Disk, folder: Path) -> None:
    """Make a folder of what a loss of power left."""
    folder.mkdir(parents=True)
    for path, content in disk.items():
        if content is None:
            (folder / path).mkdir(parents=True, exist_ok=True)
        else:
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes(content)


class _Watch:
    """Hears of every step; knows what is on disk."""

    def __init__(self, root: Path, kill_at: int, record: frozenset[int], pipe: Any) -> None:
        self.root, self.kill_at, self.record, self.pipe = str(root), kill_at, record, pipe
        self.count = 0
        self.lock = threading.RLock()
        self.busy = threading.local()
        self.files: dict[Inode, bytes] = {}
        self.folders: dict[Inode, dict[str, tuple[Inode, bool]]] = {}
        self.held: list[int] = []
        self.seen: list[Disk] = []
        self.fsync = os.fsync

    def begin(self) -> None:
        sys.addaudithook(self.hear)
        os.fsync = self.synced

    def hear(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event not in EVENTS or getattr(self.busy, "on", False) or not arguments:
            return
        path = arguments[1] if event in ("os.rename", "os.link") else arguments[0]
        if isinstance(path, str | os.PathLike) and os.fspath(path).startswith(self.root):
            if event == "open" and not isinstance(arguments[2], int):
                return
            if event == "open" and not arguments[2] & (os.O_WRONLY | os.O_RDWR):
                return
            self.step(event.removeprefix("os."), os.fspath(path))

    def step(self, kind: str, path: str) -> None:
        with self.lock, self.alone():
            self.count += 1
            self.pipe.send(("step", f"{kind} {path[len(self.root) :].lstrip('/')}"))
            if self.count == self.kill_at:
                os.kill(os.getpid(), signal.SIGKILL)
            for model in MODELS if self.count in self.record else ():
                disk = self.disk(model)
                if disk not in self.seen:
                    self.seen.append(disk)
                    self.pipe.send(("disk", ((self.count, model), disk)))

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """What is done to watch is no step."""
        before, self.busy.on = getattr(self.busy, "on", False), True
        try:
            yield
        finally:
            self.busy.on = before

    def synced(self, handle: Any) -> None:
        """In place of `os.fsync`: what the file holds now is on disk. Its number is kept from being used again."""
        number = handle if isinstance(handle, int) else handle.fileno()
        path = os.readlink(f"/proc/self/fd/{number}")  # noqa: PTH115
        if path.startswith(self.root):
            self.step("fsync", path)
        self.fsync(number)
        with self.lock, self.alone():
            about = os.fstat(number)
            inode = (about.st_dev, about.st_ino)
            if inode not in self.files and inode not in self.folders:
                self.held.append(os.dup(number))
            if stat.S_ISDIR(about.st_mode):
                self.folders[inode] = _names(Path(f"/proc/self/fd/{number}"))
            else:
                self.files[inode] = Path(f"/proc/self/fd/{number}").read_bytes()

    def disk(self, model: Model) -> Disk:
        found: Disk = {}
        if not Path(self.root).exists():
            return found
        self._add(found, "", Path(self.root), _inode(Path(self.root)), model)
        return found

    def _add(self, found: Disk, path: str, place: Path, folder: Inode, model: Model) -> None:
        names = self.folders.get(folder, {}) if model == "names dropped" else _names(place)
        for name, (inode, is_folder) in sorted(names.items()):
            below = f"{path}/{name}".lstrip("/")
            if is_folder:
                found[below] = None
                self._add(found, below, place / name, inode, model)
            else:
                found[below] = self.files.get(inode, b"")


def _inode(path: Path) -> Inode:
    about = path.stat()
    return about.st_dev, about.st_ino


def _names(folder: Path) -> dict[str, tuple[Inode, bool]]:
    with contextlib.suppress(FileNotFoundError), os.scandir(folder) as entries:
        device = folder.stat().st_dev
        return {e.name: ((device, e.inode()), e.is_dir(follow_symlinks=False)) for e in entries}
    return {}


def _child(command: Command, kill_at: int, record: frozenset[int], pipe: Any) -> None:
    os.environ.update(command.environment)
    reader, writer = os.pipe()
    os.dup2(writer, 1)
    os.dup2(writer, 2)
    os.close(writer)
    sending = threading.Lock()

    class Pipe:
        def send(self, what: Any) -> None:
            with sending:
                pipe.send(what)

    def pass_on() -> None:
        while said := os.read(reader, 65_536):
            Pipe().send(("said", said.decode(errors="replace")))

    listener = threading.Thread(target=pass_on, daemon=True)
    listener.start()
    _Watch(command.watched, kill_at, record, Pipe()).begin()
    code = 1
    try:
        code = _main(command)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        for number in (1, 2):
            os.close(number)
        listener.join(10)
    os._exit(code)


def _main(command: Command) -> int:
    import traceback

    try:
        if command.module == "script":
            runpy.run_path(command.words[0], run_name="__main__")
            return 0
        if command.module == "landweave":
            from landweave.__main__ import main

            return main(list(command.words))
        from pipelines.__main__ import app

        app(list(command.words))
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    except BaseException:  # noqa: BLE001 - what an uncaught error prints is what is looked for
        traceback.print_exc()
        return 1
    return 0
