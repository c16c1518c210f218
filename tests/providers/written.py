"""What a run has written, unpacked, and what in it looks like a credential."""

from __future__ import annotations

import re
import zlib
from pathlib import Path

import pyarrow.parquet as pq
from numcodecs import Zstd

SIGNED = re.compile(
    rb"[?&](sig|se|sp|st|X-Amz-[A-Za-z]+|x-amz-request-payer)=|Authorization|Bearer |Basic ", re.IGNORECASE
)
"""What a signed address or a header looks like."""


def texts(folder: Path) -> dict[str, list[bytes]]:
    """Every file below a folder: its name, its bytes, and what they hold once they are unpacked."""
    found = {}
    for path in (p for p in sorted(folder.rglob("*")) if p.is_file()):
        data = path.read_bytes()
        found[str(path.relative_to(folder))] = [path.name.encode(), data, *_unpacked(path, data)]
    return found


def _unpacked(path: Path, data: bytes) -> list[bytes]:
    if path.suffix == ".parquet":
        table = pq.read_table(path)
        return [repr(table.to_pydict()).encode(), repr(table.schema.metadata).encode()]
    for decode in (zlib.decompress, Zstd().decode):
        try:
            return [bytes(decode(data))]
        except Exception:  # noqa: BLE001, S112 - not packed in this way
            continue
    return []


def leaks(pieces: dict[str, list[bytes]], secrets: list[bytes]) -> list[str]:
    """'file: what' for each secret, signature or header that is found."""
    found = []
    for name, held in pieces.items():
        for piece in held:
            found += [f"{name}: secret {number}" for number, secret in enumerate(secrets) if secret in piece]
            found += [f"{name}: {match.group(0)!r}"] if (match := SIGNED.search(piece)) else []
    return found
