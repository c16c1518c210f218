"""Files of a map in GeoParquet: on this machine, behind an http address, or in a bucket; read range by range."""

from __future__ import annotations

import hashlib
import io
import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from landweave.remote_store import check_settings
from pipelines.access.errors import interpolate
from pipelines.access.http.address import public_url, shown
from pipelines.access.http.client import Client
from pipelines.access.http.network import homes_of
from pipelines.access.http.permission import local_place
from pipelines.access.openstreetmap.extract import file_sha256
from pipelines.access.vectors.read import BadVectorsError
from schemas.variables import variable_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from pipelines.access.http.address import Url

_PARQUET = (".parquet", ".geoparquet")
_TAIL = 1 << 16
"""Bytes at the end of a file whose server states no version: they tell one version from another."""
_MOST_FILES = 100_000


@dataclass(frozen=True, kw_only=True)
class MapFile:
    """A file of a map."""

    name: str
    """Its path in the place, with '/'; data, shown by `ascii` alone."""
    size: int
    """Bytes."""
    version: str
    """Tells one content from another."""
    read: Callable[[int, int], bytes]
    """(start, length) -> bytes; refuses another version of the file."""

    def opened(self) -> io.BufferedIOBase:
        """The file for pyarrow, which asks for the ranges that it needs."""
        return _Ranges(self)


class _Ranges(io.BufferedIOBase):
    """A file that is read range by range."""

    def __init__(self, file: MapFile) -> None:
        self._file, self._at = file, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = 0) -> int:
        self._at = offset + (0, self._at, self._file.size)[whence]
        return self._at

    def read(self, size: int | None = -1) -> bytes:
        left = self._file.size - self._at
        length = max(0, left if size is None or size < 0 else min(size, left))
        found = self._file.read(self._at, length) if length else b""
        self._at += len(found)
        return found


def files_of(said: str, folder: Path, *, anywhere: bool, where: str) -> list[MapFile]:
    """The Parquet files of a place, by name.

    Args:
        said: a file or folder beside the recipe, the address of a file, or of a folder in a bucket; it may begin with a
            variable LANDWEAVE_....
        folder: of the recipe.
        anywhere: the user wrote `said` themselves.
        where: key of the recipe, for messages.

    Raises:
        SettingError: the place is not there, may not be read, or holds no Parquet file.
        AccessError: a server did not deliver.
    """
    address = interpolate(said, dict(os.environ), where=where, path=True)
    if address[:5].lower() in ("s3://", "gs://"):
        found = _in_bucket(address, where)
    elif "://" in address:
        found = [_served(public_url(address), where)]
    else:
        named = variable_of(said)
        root = folder if named is None else folder / os.environ[named[0]]
        rest = said if named is None else named[1].lstrip("/")
        if named is not None and not rest:
            root, rest = root.parent, root.name
        found = _here(local_place(where, rest, root, anywhere=anywhere))
    if not found:
        raise BadVectorsError(f"{where}: {said!a} holds no .parquet file")
    if len(found) > _MOST_FILES:
        raise BadVectorsError(f"{where}: {said!a} holds {len(found):,} files; the limit is {_MOST_FILES:,}")
    return sorted(found, key=lambda file: file.name)


def _is_data(name: str) -> bool:
    return name.lower().endswith(_PARQUET) and not any(part.startswith((".", "_")) for part in name.split("/"))


def _here(place: Path) -> list[MapFile]:
    """Files on this machine; links out of the folder are not followed."""
    if place.is_file():
        return [_local(place, place.name)]
    names = (p.relative_to(place).as_posix() for p in place.rglob("*") if p.is_file() and not p.is_symlink())
    return [_local(place / name, f"{place.name}/{name}") for name in names if _is_data(name)]


def _local(path: Path, name: str) -> MapFile:
    def read(start: int, length: int) -> bytes:
        with path.open("rb") as file:
            file.seek(start)
            return file.read(length)

    return MapFile(name=name, size=path.stat().st_size, version=file_sha256(path), read=read)


def _served(url: Url, where: str) -> MapFile:
    """The file behind an http address."""
    name = url.path.rpartition("/")[2]
    if not _is_data(name):
        raise BadVectorsError(
            f"{where}: {shown(url)}: an http address must name a .parquet file, since folders cannot be listed over "
            "http; name each file, or give the s3:// or gs:// address of the folder"
        )
    client = Client(homes=homes_of(url))
    first = client.get_range(url, 0, 4)
    if first.total is None:
        raise BadVectorsError(f"{where}: {shown(url)}: the server does not say how large the file is")
    total, etag = first.total, first.etag

    def read(start: int, length: int) -> bytes:
        got = client.get_range(url, start, length)
        if (got.total, got.etag) != (total, etag):
            raise BadVectorsError(f"{shown(url)} was replaced while it was read; run the same command again")
        return got.data

    at = max(0, total - _TAIL)
    version = etag or hashlib.sha256(read(at, total - at)).hexdigest()
    return MapFile(name=url.path.lstrip("/"), size=total, version=version, read=read)


def _in_bucket(address: str, where: str) -> list[MapFile]:
    """The files below an address in a bucket; logins are those of AWS's and Google's own variables."""
    import obstore
    from obstore.store import from_url

    scheme, _, rest = address.partition("://")
    bucket, _, prefix = rest.partition("/")
    try:
        check_settings(address)
        store: Any = from_url(f"{scheme}://{bucket}")
        if _is_data(prefix.rpartition("/")[2]):
            entries: list[Any] = [obstore.head(store, prefix)]
        else:
            entries = [one for page in obstore.list(store, prefix=prefix.strip("/") or None) for one in page]
    except FileNotFoundError:
        raise BadVectorsError(f"{where}: {shown(address)} is not there") from None
    except Exception as error:
        raise BadVectorsError(f"{where}: {shown(address)} cannot be listed: {_explained(error)}") from error
    return [_object(store, one, f"{scheme}://{bucket}") for one in entries if _is_data(str(one["path"]))]


def _explained(error: Exception) -> str:
    """An error of obstore on one line, without addresses, and with advice where it found no login."""
    said = str(error).strip().partition("\n")[0]
    if "169.254." in said or "metadata" in said or "credential" in said.lower():
        return (
            "no credentials were found: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or "
            "GOOGLE_APPLICATION_CREDENTIALS; "
            "for a public bucket AWS_SKIP_SIGNATURE=true or GOOGLE_SKIP_SIGNATURE=true"
        )
    return ascii(re.sub(r"\b[a-z][a-z0-9+.-]*://\S+", "the store", said)[:200])[1:-1]


def _object(store: Any, entry: Any, root: str) -> MapFile:
    import obstore

    path, size, etag = str(entry["path"]), int(entry["size"]), entry.get("e_tag")

    def read(start: int, length: int) -> bytes:
        try:
            got = obstore.get(store, path, options={"range": (start, start + length)})
            now, data = got.meta.get("e_tag"), bytes(got.bytes())
        except Exception as error:
            raise BadVectorsError(f"{shown(f'{root}/{path}')} cannot be read: {_explained(error)}") from error
        if now != etag or len(data) != length:
            raise BadVectorsError(f"{shown(f'{root}/{path}')} was replaced while it was read; run the command again")
        return data

    return MapFile(name=path, size=size, version=f"{etag} {entry.get('last_modified')}", read=read)
