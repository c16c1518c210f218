"""Finds or downloads a .osm.pbf: resumes an interrupted download, and computes its hash."""

from __future__ import annotations

import hashlib
import json
import os
import re
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlsplit

from filelock import FileLock

from pipelines.access.http.client import AccessError, Client, interpolate, public_url, shown
from pipelines.access.http.network import homes_of
from pipelines.access.http.permission import local_file
from pipelines.access.openstreetmap.extract import BadExtractError, DamagedExtractError, file_sha256, prepare
from pipelines.durable import move_durably, write_durably
from schemas.outcome import Reason
from schemas.variables import variable_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import date
    from pathlib import Path

    from pipelines.access.openstreetmap.extract import Extract
    from pipelines.access.openstreetmap.near import Near

_STEP_BYTES = 16 << 20
"""Bytes a request."""
_WHERE = "labels: openstreetmap: pbf"
_MOST_BYTES = 256 << 30
"""Three times the whole planet (https://planet.openstreetmap.org)."""
_RESTARTS = 3
"""Times a download begins again because the file behind the URL was replaced meanwhile."""


def obtain(
    pbf: str,
    folder: Path,
    cache_dir: Path,
    client: Client | None = None,
    *,
    anywhere: bool = False,
    where: str = _WHERE,
    what: str = "OpenStreetMap extract",
) -> Path:
    """The extract that a recipe's `pbf` names, or another file of a label, on this machine.

    Args:
        pbf: Path relative to `folder`, or an http(s), s3 or gs address; may begin with a variable LANDWEAVE_..., which
            may also hold the path of an extract, or of a folder of extracts.
        folder: Folder of the recipe.
        cache_dir: Where downloads are kept, beside a .json with size, version and SHA-256. What lies there is not asked
            for again: a 'latest' extract stays the one it was; remove the file for a newer one.
        client: HTTP; one with default limits if absent.
        anywhere: The user wrote `pbf` themselves: the path may lead out of `folder`.
        where: Key of the recipe, for messages.
        what: What the file is, for messages.

    Raises:
        SettingError: an environment variable is not set, or not one that a recipe may name; the path lies where the
            recipe may not read.
        BadExtractError: the path is not there, or is no regular file.
        AccessError: the address did not deliver.
    """
    said = interpolate(pbf, dict(os.environ), where=where, path=True)
    if "://" in said:
        return download(public_url(said), cache_dir, client or Client(homes=homes_of(said)))
    if not (folder / said).is_file():
        raise BadExtractError(
            f"{(folder / said).name}: no such {what} next to the recipe; correct `{where.rpartition(' ')[2]}`"
        )
    named = variable_of(pbf)
    if named is None:
        return local_file(where, said, folder, anywhere=anywhere)
    root = folder / os.environ[named[0]]  # the user has named it: it may be read, and what lies below
    return local_file(where, named[1].lstrip("/"), root) if named[1] else local_file(where, root.name, root.parent)


def prepare_obtained(
    path: Path,
    cache_dir: Path,
    near: Near | None = None,
    progress: Callable[[int, int], None] | None = None,
    at: Literal["image"] | date | None = None,
) -> Extract:
    """Read the extract from `obtain`; remove a download that cannot be repaired, so the next run downloads it again.

    Arguments as for `prepare`.

    Raises:
        BadExtractError: it cannot be read right; the text says what mends it.
    """
    try:
        return prepare(path, cache_dir, near, progress, at)
    except DamagedExtractError:
        if path.is_relative_to(cache_dir) and path.with_name(f"{path.name}.json").is_file():
            path.unlink(missing_ok=True)
        raise


def download(url: str, cache_dir: Path, client: Client) -> Path:
    """The whole file behind a URL, in `cache_dir`; continues an interrupted download.

    Raises:
        AccessError: classed; the part that came stays for the next try.
    """
    name = re.sub(r"[^A-Za-z0-9._-]", "_", urlsplit(url).path.rsplit("/", 1)[-1])[-80:] or "extract.osm.pbf"
    target = cache_dir / hashlib.sha256(url.encode()).hexdigest()[:16] / name
    if _is_whole(target):
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(target.with_name(f"{target.name}.lock")):  # one process of this machine downloads it
        if not _is_whole(target):
            _fetch(url, target, client)
    return target


def _is_whole(target: Path) -> bool:
    """Whether a file is there, and as large as it was when it came."""
    size = target.stat().st_size if target.is_file() else 0
    return size > 0 and _read_note(target.with_name(f"{target.name}.json")).get("bytes", size) == size


def _fetch(url: str, target: Path, client: Client) -> None:
    part, note = target.with_name(f"{target.name}.part"), target.with_name(f"{target.name}.part.json")
    for _ in range(_RESTARTS):
        begun = _read_note(note)
        if begun.get("etag") is None or not part.is_file():  # without a version nobody knows what the part is of
            begun = {}
            part.write_bytes(b"")
        if _append(url, part, note, begun, client):
            break
        note.unlink(missing_ok=True)  # another file is behind the address now
    else:
        raise AccessError(Reason.UNAVAILABLE, f"{shown(url)} was replaced {_RESTARTS} times while it was downloaded")
    about = {"bytes": part.stat().st_size, "etag": _read_note(note).get("etag"), "url": shown(url)}
    about["sha256"] = file_sha256(part)
    write_durably(target.with_name(f"{target.name}.json"), json.dumps(about, sort_keys=True, indent=1) + "\n")
    move_durably(part, target)
    note.unlink(missing_ok=True)


def _append(url: str, part: Path, note: Path, begun: dict[str, Any], client: Client) -> bool:
    """Ask for what is missing, step by step; False where the file is another than the one that was begun.

    The note says how much of the part is on disk: what lies beyond may not have survived a loss of power.
    """
    with part.open("r+b") as file:
        at = file.seek(min(file.seek(0, os.SEEK_END), begun.get("here", 0)))
        file.truncate()
        while begun.get("bytes") is None or at < begun["bytes"]:
            got = client.get_range(url, at, _STEP_BYTES)
            if max(at + len(got.data), got.total or 0) > _MOST_BYTES:
                raise AccessError(Reason.CORRUPT, f"{shown(url)} is larger than {_MOST_BYTES >> 30} GiB")
            now = {"etag": got.etag, "bytes": got.total}
            if begun and now != {key: begun.get(key) for key in now}:
                return False
            at += file.write(got.data)
            file.flush()
            os.fsync(file.fileno())
            begun = {**now, "here": at}
            write_durably(note, json.dumps(begun))
            if len(got.data) < _STEP_BYTES:
                break
    return True


def _read_note(note: Path) -> dict[str, Any]:
    try:
        found = json.loads(note.read_text())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
