"""A desk: the local work folder of a build into an object store.

The desk, a local work folder, looks like a local dataset without pixels: plan, runs, manifests, parts, catalogue, and
one shard per worker while it is written. A shard's objects go to the store first and its manifest last, by a put that
succeeds only if the object does not exist: exactly one of two builders publishes a shard, and it is complete.
"""

from __future__ import annotations

import hashlib
import os
import re
import socket
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from landweave.errors import CorruptError
from landweave.layout import MANIFEST, part, shard_manifest
from landweave.strict import inside
from pipelines.durable import write_durably
from pipelines.shards.store import DatasetStore, StoreError
from pipelines.tables import PLAN_FILE, PLAN_FOLDER, WORK_FOLDER

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

SCHEMES = ("s3", "gs", "az", "abfs", "abfss", "file")
"""URL schemes for writing; `file` is for tests and mounted file systems."""
ADDRESS = f"{WORK_FOLDER}/store"
"""File on the desk that holds the store's URL. It is believed on a desk that this machine made, and nowhere else: a
folder from elsewhere could send what is built into it to any bucket."""
MARK = f"{WORK_FOLDER}/desk-"
"""File in the work folder, named after this machine and the folder's path: a copied folder does not match."""
PLAN_FILES = f"{WORK_FOLDER}/plan-files"
"""Object that names the files of the plan and what else workers read, one per line: listings may lag, reads do not."""
_OF_PLAN = re.compile(rf"({PLAN_FOLDER}|{re.escape(WORK_FOLDER)})(/[A-Za-z0-9_-][A-Za-z0-9._-]*)+")
DESKS = "LANDWEAVE_WORK"
"""Environment variable: folder of all desks; `.landweave` in the current one where it is not set."""
_LONGEST_URL = 4096
_OURS: set[tuple[str, str]] = set()
"""(desk, URL) of the desks that this process made or came to by their URL."""
_PARTS = ("items", "ledger", "statistics")


def is_url(place: str) -> bool:
    """Whether a dataset's place is an object store's URL."""
    return "://" in place


def desk_of(url: str) -> Path:
    """The local work folder of a dataset in an object store; created if missing.

    Raises:
        StoreError: a scheme that nothing can be written to, or credentials in the URL.
    """
    url = url.rstrip("/")
    parts = urlsplit(url)
    if parts.scheme not in SCHEMES:
        raise StoreError(
            f"{parts.scheme}://: landweave cannot build into it; use a local path or one of {', '.join(SCHEMES)}"
        )
    if parts.username or parts.password or parts.query or parts.fragment:
        raise StoreError(
            f"{parts.scheme}://{parts.hostname}{parts.path}: put credentials into the environment "
            "(AWS_ACCESS_KEY_ID, GOOGLE_SERVICE_ACCOUNT, AZURE_STORAGE_ACCOUNT_NAME, ...), not into the URL"
        )
    slug = re.sub(r"[^A-Za-z0-9.-]+", "-", f"{parts.netloc}{parts.path}").strip("-.")[-64:]
    desk = Path(os.environ.get(DESKS, ".landweave")) / f"{slug}-{hashlib.sha256(url.encode()).hexdigest()[:8]}"
    address = desk / ADDRESS
    if not (address.is_file() and address.stat().st_size):
        _place(address, f"{url}\n".encode())
    if desk.is_symlink() or address.read_bytes()[:_LONGEST_URL] != f"{url}\n".encode():
        raise StoreError(f"{desk.name}: is not the work folder of {url}, although it has its name: remove it")
    mark = _mark(desk, url)
    if not mark.is_file():
        _place(mark, b"")
    _OURS.add((str(desk.resolve()), url))
    return desk


def _mark(desk: Path, url: str) -> Path:
    """The file that says that this machine made the desk, here, for that store."""
    about, machine = desk.stat(), Path("/etc/machine-id")
    name = machine.read_text().strip() if machine.is_file() else ""
    facts = (name or socket.gethostname(), about.st_dev, about.st_ino, about.st_uid, desk.resolve(), url)
    return desk / (MARK + hashlib.sha256("\n".join(map(str, facts)).encode()).hexdigest()[:32])


def arrive(place: str) -> Path:
    """The local folder of a dataset, for a worker on any machine: a desk, with the plan fetched to it."""
    if not is_url(place):
        return Path(place)
    desk = desk_of(place)
    fetch_plan(desk)
    return desk


def address_of(out: Path) -> str:
    """Argument for `arrive` on another machine: the URL, or the folder's path."""
    store = store_of(out)
    return str(out.resolve()) if store is None else store.url


def is_remote(out: Path) -> bool:
    """Whether the dataset lies in a store whose readers send requests; `file` URLs are read as folders."""
    store = store_of(out)
    return store is not None and urlsplit(store.url).scheme != "file"


def store_of(out: Path) -> DatasetStore | None:
    """The store that a desk belongs to; None for a dataset that is local.

    Raises:
        StoreError: the folder says that it is a desk, and this machine did not make it.
    """
    address = out / ADDRESS
    if not address.is_file():
        return None
    url = address.read_bytes()[:_LONGEST_URL].decode(errors="replace").strip()
    if (str(out.resolve()), url) not in _OURS and not _mark(out, url).is_file():
        raise StoreError(
            f"{out.name}: states that it belongs to a store, but this machine did not create it; give the store's URL "
            f"instead of the folder, or remove {ADDRESS} from it if it is a separate dataset"
        )
    return _store_at(url)


@lru_cache(maxsize=16)
def _store_at(url: str) -> DatasetStore:
    return DatasetStore(url)


def fetch_plan(desk: Path) -> None:
    """Bring the plan to a desk that has none; its last file, which says that it is whole, last."""
    store = store_of(desk)
    if store is None or (desk / PLAN_FOLDER / PLAN_FILE).is_file():
        return
    if store.get(f"{PLAN_FOLDER}/{PLAN_FILE}") is None:
        return
    stated = store.get(PLAN_FILES)
    if stated is not None:
        there = [line for line in stated.decode(errors="replace").splitlines() if line]
    else:  # shared before the list was kept
        listed = store.sizes(PLAN_FOLDER) | store.sizes(WORK_FOLDER)
        there = sorted((p for p in listed if not p.startswith((ADDRESS, MARK))), key=_last)
    for path in there:
        if not _OF_PLAN.fullmatch(path) or path.startswith((ADDRESS, MARK)):
            raise StoreError(f"{store.url}: {PLAN_FILES} names {path[:80]!r}, which is no file of a plan")
        _fetch(store, path, desk)


def _last(path: str) -> tuple[bool, str]:
    """Sort key: the file that completes a plan comes last."""
    return path == f"{PLAN_FOLDER}/{PLAN_FILE}", path


def share_plan(desk: Path, extra: Iterable[str] = ()) -> None:
    """Put the plan, and what else workers read (paths on the desk), into the store."""
    store = store_of(desk)
    if store is None:
        return
    files = sorted(p.relative_to(desk).as_posix() for p in (desk / PLAN_FOLDER).rglob("*") if p.is_file())
    paths = sorted([*files, *extra], key=_last)
    store.put(PLAN_FILES, "".join(f"{path}\n" for path in paths).encode())
    for path in paths:
        store.put(path, desk / path)


def refresh(desk: Path, shards: int, *, always: bool = False) -> None:
    """Bring manifests and parts of shards that others published; forget those that the store no longer has.

    The same applies to `landweave.json`: the next build finishes one that was killed before.
    """
    store = store_of(desk)
    if store is None or not (store.due() or always):
        return
    finished = store.get(MANIFEST)
    if finished is None:
        (desk / MANIFEST).unlink(missing_ok=True)
    else:
        _place(desk / MANIFEST, finished)
    there = store.sizes(shard_manifest(0).rpartition("/")[0])
    for shard in range(shards):
        name = shard_manifest(shard)
        here = (desk / name).stat().st_size if (desk / name).is_file() else None
        if name not in there and here is not None:
            (desk / name).unlink()
        elif name in there and here != there[name]:
            adopt(desk, shard)


def adopt(desk: Path, shard: int) -> bytes | None:
    """Bring a shard that is published in the store to the desk, its manifest last; None if there is none."""
    store = store_of(desk)
    raw = None if store is None else store.get(shard_manifest(shard))
    if store is None or raw is None:
        return None
    for kind in _PARTS:
        _fetch(store, part(kind, shard), desk)  # type: ignore[arg-type] # the literals of `part`
    _place(desk / shard_manifest(shard), raw)
    return raw


def hand_over(out: Path, folder: Path, paths: list[str], shard: int) -> list[str] | None:
    """Publish a staged shard in the dataset's store, if it has one.

    Returns:
        The objects that are kept in `out`: all of a local dataset; what the catalogue is made of on a desk. None if
        another builder's shard is in the store.
    """
    store = store_of(out)
    if store is None:
        return paths
    if not store.publish(folder, paths, shard):
        return None
    return [path for path in paths if path.startswith("parts/")]


def deliver(desk: Path, paths: Iterable[str], said: Callable[[str], None] = lambda _: None) -> None:
    """Put a finished dataset's own objects into the store; `landweave.json` last, in one step."""
    store = store_of(desk)
    if store is None:
        return
    for path in (*paths, MANIFEST):
        said(path)
        store.put(path, (desk / path).read_bytes() if path == MANIFEST else desk / path)


def keep(out: Path, path: str, content: bytes) -> None:
    """Keep a file of a folder's work where every worker and the submitter find it: in the store of a desk, else in the
    folder, on disk before this returns."""
    store = store_of(out)
    if store is None:
        write_durably(out / path, content)
    else:
        store.put(path, content)


def kept(out: Path, path: str) -> bytes | None:
    """What `keep` kept; None if there is nothing."""
    store = store_of(out)
    if store is not None:
        return store.get(path)
    target = out / path
    return target.read_bytes() if target.is_file() and target.stat().st_size else None


def kept_under(out: Path, prefix: str) -> set[str]:
    """Paths of what `keep` kept in a folder."""
    store = store_of(out)
    if store is not None:
        return set(store.sizes(prefix))
    return {f"{prefix}/{p.name}" for p in (out / prefix).glob("*") if p.is_file() and p.stat().st_size}


def _fetch(store: DatasetStore, path: str, desk: Path) -> None:
    try:
        target = desk / inside(path)
    except CorruptError as error:
        raise StoreError(f"{store.url}: {error}") from error
    raw = store.get(path)
    if raw is None:
        raise StoreError(f"{store.url}: {path} is missing")
    _place(target, raw)


def _place(target: Path, content: bytes) -> None:
    write_durably(target, content)
