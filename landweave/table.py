"""Reads tables with checksums from the manifests; verifies bytes before it uses them.

Small tables are read completely. Large tables are read in pieces, and each block has its own checksum. In older
datasets without block checksums, a local file is hashed once at its first read, and a file behind a URL has only the
checksums of its Parquet pages.
"""

from __future__ import annotations

import hashlib
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
from awscrt.checksums import crc32c

from landweave.errors import CorruptError, first_line
from landweave.manifest import BLOCK_BYTES, WHOLE_BYTES
from landweave.store import ObjectFile

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    import pyarrow.compute as pc

    from landweave.manifest import ObjectSum
    from landweave.store import Store

REMEDY = "run `landweave check`"


class Objects:
    """Objects of a dataset other than pixels: its own files and the tables of its shards; picklable."""

    def __init__(self, store: Store, sums: Mapping[str, ObjectSum], before: Mapping[str, ObjectSum]) -> None:
        """Take the checksums.

        Args:
            store: where the objects are.
            sums: path -> checksum.
            before: what an object may be instead, for a moment after an addition.
        """
        self.url = store.url
        """Of the dataset, as messages name it."""
        self._store, self._sums, self._before = store, sums, before
        self._kept: dict[str, Any] = {}

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_kept": {}}

    def read(self, path: str) -> bytes:
        """A whole object.

        Raises:
            CorruptError: it is missing, or not what its checksum says. AccessError: it cannot be reached.
        """
        return self._whole(path, self._expected(path))

    def table(self, path: str, expected: ObjectSum | None = None) -> Any:
        """Source from which pyarrow reads a Parquet file, opened on demand.

        Args:
            path: from the dataset's root.
            expected: its checksum; None: the dataset's manifest says it.
        """
        expected = self._expected(path) if expected is None else expected
        if expected.size <= WHOLE_BYTES:
            if path not in self._kept:
                self._keep(path, pa.py_buffer(self._whole(path, expected)))
            return pa.BufferReader(self._kept[path])
        if not expected.blocks and not self._store.remote and path not in self._kept:
            self._hash(path, expected)
            self._keep(path, True)
        file = ObjectFile(self._store, path, expected.size)
        return pa.PythonFile(_Blocks(file, path, expected) if expected.blocks else file, mode="r")

    def _keep(self, path: str, what: Any) -> None:
        """Keeps a few objects in memory, because the catalogue and a shard's vectors are read again and again."""
        while len(self._kept) >= 3:
            self._kept.pop(next(iter(self._kept)), None)
        self._kept[path] = what

    def _expected(self, path: str) -> ObjectSum:
        if path not in self._sums:
            raise CorruptError(f"{path}: landweave.json does not list it; {REMEDY}")
        return self._sums[path]

    def _whole(self, path: str, expected: ObjectSum) -> bytes:
        allowed = [s for s in (expected, self._before.get(path)) if s is not None]
        try:
            raw = self._store.get(path, max(s.size for s in allowed))
        except FileNotFoundError as error:
            raise CorruptError(f"{path} is missing; {REMEDY}") from error
        if (len(raw), hashlib.sha256(raw).hexdigest()) not in [(s.size, s.sha256) for s in allowed]:
            raise CorruptError(f"{path}: content differs from its checksum; {REMEDY}")
        return raw

    def _hash(self, path: str, expected: ObjectSum) -> None:
        digest = hashlib.sha256()
        for start in range(0, expected.size, WHOLE_BYTES):
            digest.update(self._store.get_range(path, start, WHOLE_BYTES))
        if digest.hexdigest() != expected.sha256:
            self._store.forget(path)
        if self._store.size(path) != expected.size or digest.hexdigest() != expected.sha256:
            raise CorruptError(f"{path}: content differs from its checksum; {REMEDY}")


class _Blocks(ObjectFile):
    """A large object, read in blocks that are each checked."""

    def __init__(self, file: ObjectFile, path: str, expected: ObjectSum) -> None:
        super().__init__(file.store, path, expected.size)
        self._sums = expected.blocks

    def read(self, size: int = -1) -> bytes:
        """Bytes from the current position, fewer at the end."""
        start = self.tell()
        stop = self.size if size < 0 else min(self.size, start + size)
        if stop <= start:
            return b""
        first, last = start // BLOCK_BYTES, -(-stop // BLOCK_BYTES)
        raw = memoryview(self.store.get_range(self.path, first * BLOCK_BYTES, (last - first) * BLOCK_BYTES))
        for number in range(first, last):
            block = raw[(number - first) * BLOCK_BYTES :][:BLOCK_BYTES]
            if f"{crc32c(block):08x}" != self._sums[8 * number : 8 * number + 8]:
                self.store.forget(self.path)
                raise CorruptError(f"{self.path}: block {number} differs from its checksum; {REMEDY}")
        self.seek(stop)
        return bytes(raw[start - first * BLOCK_BYTES : stop - first * BLOCK_BYTES])


def block_sums(path: Path) -> str:
    """`ObjectSum.blocks` of a local file."""
    with path.open("rb") as file:
        return "".join(f"{crc32c(block):08x}" for block in iter(lambda: file.read(BLOCK_BYTES), b""))


def read_table(
    source: Any, path: str, columns: Sequence[str] | None = None, filters: pc.Expression | None = None
) -> pa.Table:
    """Columns (all if None) of a Parquet file; texts are checked to be valid UTF-8.

    Args:
        source: from `Objects.table`.
        path: as messages name it.
        columns: their names.
        filters: a condition that rows fulfil; row groups without such rows are not read.

    Raises:
        CorruptError: damaged.
    """
    with told(path):
        if filters is None:
            file = pq.ParquetFile(source, pre_buffer=True, page_checksum_verification=True)
            table = file.read(None if columns is None else list(columns))
        else:
            table = pq.read_table(source, page_checksum_verification=True, columns=columns, filters=filters)
        table.validate(full=True)
        return table if columns is None else table.select(list(columns))


def read_row_groups(
    source: Any, path: str, numbers: Sequence[int], metadata: pq.FileMetaData, columns: Sequence[str] | None = None
) -> pa.Table:
    """Columns (all if None) of some row groups, as `read_table`."""
    with told(path):
        file = pq.ParquetFile(source, metadata=metadata, pre_buffer=True, page_checksum_verification=True)
        table = file.read_row_groups(list(numbers), None if columns is None else list(columns), use_threads=False)
        table.validate(full=True)
        return table if columns is None else table.select(list(columns))


def read_metadata(source: Any, path: str) -> pq.FileMetaData:
    """The file's metadata; errors as for `read_table`."""
    with told(path):
        return pq.read_metadata(source)


@contextmanager
def told(path: str) -> Iterator[None]:
    """Raises CorruptError where a file cannot be read."""
    try:
        yield
    except (pa.ArrowException, OSError, ValueError, KeyError, MemoryError) as error:
        raise CorruptError(f"{path} cannot be read: {first_line(error)}; {REMEDY}") from error


def check_columns(schema: pa.Schema, kinds: Mapping[str, str], path: str) -> None:
    """CorruptError if a column is missing or of another kind: 'string', 'list<bool>', 'struct'."""
    for name, kind in kinds.items():
        places = schema.get_all_field_indices(name)
        found = [_kind(schema.field(i).type) for i in places]
        if found != [kind]:
            there = " and ".join(found) if found else "missing"
            raise CorruptError(f"{path}: column {name} is {there}, expected one of {kind}; {REMEDY}")


def _kind(found: pa.DataType) -> str:
    if pa.types.is_list(found):
        return f"list<{_kind(found.value_type)}>"
    return "struct" if pa.types.is_struct(found) else str(found)
