"""Publishes a shard: writes files elsewhere, syncs them, moves them into place, and its manifest last."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import shutil
import tempfile
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from landweave.errors import CorruptError, LandweaveError
from landweave.layout import MANIFEST, RECIPE, STAGING, shard_manifest, shard_name
from landweave.manifest import WHOLE_BYTES, ObjectSum, dataset_from_bytes, shard_from_bytes
from landweave.table import block_sums
from pipelines.durable import make_folder, move_durably, sync
from pipelines.shards.claim import ClaimLostError, claimed, dead, kernel, remove, sweep
from pipelines.shards.desk import adopt, refresh, store_of
from pipelines.shards.zarr_metadata import documents

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from landweave.layout import DatasetSpec
    from landweave.manifest import ShardManifest

_READ_BYTES = 1 << 20
ABANDONED_S = 86_400.0
"""Files of an interrupted writer on another host are kept this long after their last change, seconds."""
_FULL = {errno.ENOSPC: "make room", errno.EDQUOT: "make room", errno.EROFS: "make it writable, or name another place"}
"""Error that the user can solve -> what to do."""
_BARRED = {
    errno.EACCES, errno.EPERM, errno.ENOTDIR, errno.EEXIST, errno.EROFS, errno.ENAMETOOLONG, errno.EISDIR, errno.ELOOP,
    errno.EIO,
}  # fmt: skip
"""Why something below the folder cannot be written."""


class FullError(RuntimeError):
    """The machine is out of disk or memory, or the folder cannot be written; the message says what to do."""


class DamagedError(RuntimeError):
    """A published shard's manifest or catalogue rows are damaged; the text says what to do."""


class OtherDatasetError(ValueError):
    """The output folder holds a dataset of another recipe."""


@contextlib.contextmanager
def room_needed(out: Path) -> Iterator[None]:
    """Memory that is short and a file system that is full, read-only, broken or not ours to write to are the
    operator's to mend, and one line.

    Raises:
        FullError: it is.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
        if not os.access(out, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    except OSError as error:
        why = "it is a file" if error.errno == errno.EEXIST and out.is_file() else error.strerror
        raise FullError(f"{out}: cannot be written as a folder ({why}); name another place") from error
    try:
        yield
    except MemoryError as error:
        raise FullError(
            f"{out.name}: not enough memory; use fewer --workers or smaller shards, or raise `ulimit -v`"
        ) from error
    except OSError as error:
        if error.errno in _FULL:
            what = f"{_FULL[error.errno]} and run the same command again"
            raise FullError(f"{out.name}: {os.strerror(error.errno)}; {what}") from error
        if error.errno not in _BARRED or not isinstance(error.filename, str | Path):
            raise
        place, parent = Path(error.filename).absolute(), out.absolute().parent
        if not place.is_relative_to(out.absolute()):
            raise
        raise FullError(
            f"{place.relative_to(parent).as_posix()}: {os.strerror(error.errno)}; the dataset's folder and everything "
            "in it must be writable by this user"
        ) from error


def prepare(out: Path, dataset: DatasetSpec) -> None:
    """Write the files that precede all shards, once; every worker may call it.

    Raises:
        OtherDatasetError: `out` holds a dataset of another recipe.
    """
    present = out / RECIPE
    files = documents(dataset)
    if is_there(present) and present.read_bytes() != files[RECIPE]:
        raise OtherDatasetError(f"{out.name}/ holds a dataset of another recipe; build into another folder")
    for path, content in files.items():
        target = out / path
        if path != RECIPE and not (target.is_file() and target.read_bytes() == content):
            publish(out, path, content)
    if not is_there(present):
        store = store_of(out)
        if store is not None and not store.create(RECIPE, files[RECIPE]) and store.get(RECIPE) != files[RECIPE]:
            raise OtherDatasetError(f"{store.url} holds a dataset of another recipe; build into another place")
        publish(out, RECIPE, files[RECIPE])


def done_shards(out: Path, dataset: DatasetSpec) -> set[int]:
    """Numbers of the shards that are complete and belong to this dataset. Empty manifests do not count: see `is_there`.

    Raises:
        DamagedError: a manifest is damaged or of another layout.
        OtherDatasetError: a manifest belongs to another recipe.
    """
    refresh(out, dataset.shards)
    try:
        names = {entry.name: entry.stat() for entry in os.scandir((out / shard_manifest(0)).parent)}
    except FileNotFoundError:
        return set()
    done = set()
    for index in range(dataset.shards):
        path = out / shard_manifest(index)
        found = names.get(path.name)
        if found is not None and found.st_size:
            _checked(path, (found.st_mtime_ns, found.st_size), index, dataset.recipe_sha256)
            done.add(index)
    return done


@lru_cache(maxsize=65_536)
def _checked(path: Path, _seen: tuple[int, int], shard: int, recipe_sha256: str) -> None:
    """Read a manifest and raise its faults; the result is kept while the file is unchanged."""
    _of_recipe(_parsed(path.read_bytes(), shard), recipe_sha256)


def read_manifest(out: Path, shard: int, dataset: DatasetSpec) -> ShardManifest | None:
    """The manifest of a published shard, or None if it has not been published.

    Raises: see `done_shards`.
    """
    path = out / shard_manifest(shard)
    raw = path.read_bytes() if is_there(path) else adopt(out, shard)
    return None if raw is None else _of_recipe(_parsed(raw, shard), dataset.recipe_sha256)


def is_there(path: Path) -> bool:
    """True if a file is in place and not empty: landweave writes no empty files, so a power loss emptied it."""
    return path.is_file() and path.stat().st_size > 0


def is_finished(out: Path) -> bool:
    """True if the dataset can be opened: the last file of a build exists and is complete."""
    path = out / MANIFEST
    try:
        return is_there(path) and bool(dataset_from_bytes(path.read_bytes(), MANIFEST).samples)
    except CorruptError:
        return False


def _parsed(raw: bytes, shard: int) -> ShardManifest:
    path = shard_manifest(shard)
    try:
        return shard_from_bytes(raw, path)
    except LandweaveError as error:
        raise DamagedError(
            f"{error}; to build that shard again, remove {path} and {MANIFEST} and run the build again"
        ) from None


def _of_recipe(manifest: ShardManifest, recipe_sha256: str) -> ShardManifest:
    if manifest.recipe_sha256 != recipe_sha256:
        raise OtherDatasetError(f"shard {manifest.shard} was built from another recipe; build into another folder")
    return manifest


@contextlib.contextmanager
def staging(out: Path, what: str) -> Iterator[Path]:
    """A private folder inside `out` (the same file system, so that moving is atomic); removed at the end.

    Its name says whose it is, so that what a killed process leaves is known for that from its first moment.
    """
    root = out / STAGING
    root.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=f"{what}.{_short(kernel())}.{os.getpid()}.", dir=root))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def clean_staging(out: Path) -> int:
    """Remove the files of interrupted writers, never those of active ones. Returns the number of folders."""
    root, left = out / STAGING, 0
    if not root.is_dir():
        return 0
    sweep(out)
    with tempfile.TemporaryFile(dir=root) as probe:
        now_s = os.fstat(probe.fileno()).st_mtime  # the file system's clock, which its other times are of
    for folder in sorted(root.glob("*.*.*.*")):
        with contextlib.suppress(FileNotFoundError):  # its writer has just ended
            if _abandoned(folder, now_s):
                remove(folder)
                left += 1
    return left


def _abandoned(folder: Path, now_s: float) -> bool:
    owner, pid = folder.name.split(".")[1:3]
    if owner == _short(kernel()) and pid.isdecimal() and dead(kernel(), int(pid)):
        return True
    return now_s - max(path.lstat().st_mtime for path in (folder, *folder.rglob("*"))) > ABANDONED_S


def _short(owner_kernel: str) -> str:
    return hashlib.sha256(owner_kernel.encode()).hexdigest()[:12]


def withdraw(out: Path, shards: Iterable[int]) -> None:
    """Withdraw shards, so that they are built again: the dataset is unfinished afterwards.

    The manifests go first, in one step each; the objects stay until the new ones replace them, unseen by readers.
    """
    store = store_of(out)
    for path in (MANIFEST, *(shard_manifest(s) for s in shards)):
        if store is not None:
            store.delete(path)
        with contextlib.suppress(FileNotFoundError):
            (out / path).unlink()
            sync((out / path).parent)


def publish_shard(out: Path, folder: Path, paths: list[str], shard: int) -> bool:
    """Move a shard's objects from `folder` into place, file by file, and its manifest after all others are on disk.

    One builder at a time; where another has published the shard meanwhile, its objects stay.

    Returns:
        Whether it was this one.

    Raises:
        ClaimLostError: this process was away for a minute amid it, and who took over has not published either.
    """
    for path in paths:
        sync(folder / path)
    target = out / shard_manifest(shard)
    try:
        with claimed(out, f"shard.{shard_name(shard)}") as claim:
            if is_there(target):
                return False
            parents = set()
            for path in paths:
                make_folder((out / path).parent)
                claim.check()
                (folder / path).replace(out / path)
                parents.add((out / path).parent)
            for parent in sorted(parents):
                sync(parent)
            claim.check()
            move_durably(folder / shard_manifest(shard), target)
    except ClaimLostError:
        with claimed(out, f"shard.{shard_name(shard)}"):
            if not is_there(target):
                raise
        return False
    return True


def publish(out: Path, path: str, content: bytes) -> ObjectSum:
    """Put one file in place atomically."""
    with staging(out, "file") as folder:
        aside = folder / "content"
        aside.write_bytes(content)
        move_durably(aside, out / path)
    return ObjectSum(len(content), hashlib.sha256(content).hexdigest())


def publish_many(out: Path, files: Mapping[str, bytes]) -> None:
    """Put small files in place, each atomically, after all of them are on disk; folders are synced once."""
    with staging(out, "file") as folder:
        for number, content in enumerate(files.values()):
            (folder / str(number)).write_bytes(content)
            sync(folder / str(number))
        for number, path in enumerate(files):
            make_folder((out / path).parent)
            (folder / str(number)).replace(out / path)
        for parent in sorted({(out / path).parent for path in files}):
            sync(parent)


def checksum(path: Path) -> ObjectSum:
    """Size and SHA-256 of a file, and of a large table, which is read in pieces, those of its blocks."""
    digest, size = hashlib.sha256(), 0
    with path.open("rb") as file:
        while block := file.read(_READ_BYTES):
            digest.update(block)
            size += len(block)
    blocks = block_sums(path) if path.suffix == ".parquet" and size > WHOLE_BYTES else ""
    return ObjectSum(size, digest.hexdigest(), blocks)
