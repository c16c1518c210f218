"""An object store that a dataset is built into: reads, writes that succeed once, and the publication of one shard."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from landweave.layout import shard_manifest
from landweave.manifest import shard_from_bytes
from landweave.remote_store import check_settings, explained

if TYPE_CHECKING:
    from pathlib import Path

REFRESH_S = 10.0
"""Interval at which a watcher lists the shards in the store, seconds."""


class StoreError(RuntimeError):
    """The object store refused or cannot be reached, or its address is not usable; the text says what to do."""


class DatasetStore:
    """One dataset in an object store."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._asked_s = -REFRESH_S
        try:
            from obstore.store import from_url

            check_settings(url)
            options: dict[str, Any] = {"mkdir": True} if url.startswith("file:") else {}
            if url.startswith("s3:"):
                options = {"config": {"aws_checksum_algorithm": "sha256"}}  # the store refuses what arrives changed
            self._store: Any = from_url(url, **options)
        except Exception as error:
            raise StoreError(f"{url}: cannot be opened: {explained(error)}") from error

    def get(self, path: str) -> bytes | None:
        """A whole object, or None if there is none."""
        import obstore

        try:
            return bytes(obstore.get(self._store, path).bytes())
        except FileNotFoundError:
            return None
        except Exception as error:
            raise self._refused(path, "read", error) from error

    def put(self, path: str, content: bytes | Path) -> None:
        """Write or replace an object; a file is uploaded in parts and never held in memory as a whole."""
        import obstore

        try:
            obstore.put(self._store, path, content)
        except Exception as error:
            raise self._refused(path, "written", error) from error

    def create(self, path: str, content: bytes) -> bool:
        """Write an object unless there is one: put-if-absent. Returns whether it was written."""
        import obstore

        try:
            obstore.put(self._store, path, content, mode="create", use_multipart=False)
        except (obstore.exceptions.AlreadyExistsError, FileExistsError):
            return False
        except Exception as error:
            raise self._refused(path, "written", error) from error
        return True

    def delete(self, path: str) -> None:
        """Remove an object, if it exists."""
        import obstore

        try:
            obstore.delete(self._store, path)
        except FileNotFoundError:
            return
        except Exception as error:
            raise self._refused(path, "removed", error) from error

    def sizes(self, prefix: str) -> dict[str, int]:
        """Path -> bytes of every object below a folder."""
        import obstore

        try:
            pages = obstore.list(self._store, prefix=prefix)
            return {str(o["path"]): int(o["size"]) for page in pages for o in page}
        except Exception as error:
            raise self._refused(prefix, "listed", error) from error

    def publish(self, folder: Path, paths: list[str], shard: int) -> bool:
        """Put a staged shard's objects, then its manifest if there is none yet.

        Returns:
            Whether the shard in the store is the staged one, byte for byte; False where another builder's is there.

        Raises:
            StoreError: two builders wrote different bytes at once; the shard is withdrawn and must be built again.
        """
        name = shard_manifest(shard)
        ours = (folder / name).read_bytes()
        put: list[str] = []
        for path in paths:
            theirs = self.get(name)
            if theirs is None:
                self.put(path, folder / path)
                put.append(path)
                continue
            return self._settle(shard, ours, theirs, put)
        if self.create(name, ours):
            return True
        return self._settle(shard, ours, self.get(name), put)

    def _settle(self, shard: int, ours: bytes, theirs: bytes | None, put: list[str]) -> bool:
        """Another builder published the shard first: an error only if our objects replaced its own."""
        name = shard_manifest(shard)
        if theirs == ours:
            return True
        if theirs is not None:
            mine, other = shard_from_bytes(ours, name).objects, shard_from_bytes(theirs, name).objects
            if all(mine.get(path) == other.get(path) for path in put):
                return False
            self.delete(name)
        raise StoreError(
            f"{self.url}: shard {shard} was built by two builders at the same time, which read different pixels; "
            "it was withdrawn: run the same command again"
        )

    def due(self) -> bool:
        """True if it is time to ask the store again; records the time of asking."""
        now_s = time.monotonic()
        if now_s - self._asked_s < REFRESH_S:
            return False
        self._asked_s = now_s
        return True

    def _refused(self, path: str, verb: str, error: Exception) -> StoreError:
        return StoreError(f"{self.url}: {path} cannot be {verb}: {explained(error)}")
