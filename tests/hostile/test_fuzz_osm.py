"""Damaged map extracts are read or refused in one line, in bounded memory and time, and never end the process."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pipelines.access.openstreetmap.extract import BadExtractError, prepare
from tests.access.openstreetmap.osm_files import HEADER, block, bytes_field, number_field

CHECKOUT = Path(__file__).parents[2]
MEMORY_MIB = 4096
"""Address space of the reading process, libraries included."""
PEAK_MIB = 700
"""What it may come to hold."""


def read_seeds(folder: Path, first: int, count: int) -> dict[str, int]:
    """Read `count` damaged files in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.hostile.extracts", str(folder), str(first), str(count), str(MEMORY_MIB)],
        cwd=CHECKOUT, capture_output=True, text=True, timeout=900, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    assert found["peak_mib"] < PEAK_MIB
    assert found["slowest_s"] < 20.0, "seconds of CPU time"
    tally: dict[str, int] = found["tally"]
    assert set(tally) <= {"read", "refused in one line"}
    return tally


@pytest.mark.slow
def test_some_seeds(tmp_path: Path) -> None:
    tally = read_seeds(tmp_path, 0, 400)
    assert tally["refused in one line"] > 100
    assert tally["read"] > 20


@pytest.mark.slow
@pytest.mark.parametrize("first", range(10_000, 14_000, 2000))
def test_seeds(first: int, tmp_path: Path) -> None:
    read_seeds(tmp_path, first, 2000)


def _node(keys: bytes, values: bytes) -> bytes:
    return number_field(1, 2) + bytes_field(2, keys) + bytes_field(3, values) + number_field(8, 2) + number_field(9, 2)


_NODES = bytes_field(1, b"\2\2") + bytes_field(8, b"\2") + bytes_field(9, b"\2")
_MEMBER = number_field(1, 1) + bytes_field(9, b"\2") + bytes_field(10, b"\1")
FOUND = {
    "a string that ends within itself": block(bytes_field(1, _node(b"\1", b"\2")), (b"", b"natural", b"\0ater")),
    "a key without a value": block(bytes_field(1, _node(b"\1\1", b"\2")), (b"", b"natural", b"water")),
    "a string that is not in the table": block(bytes_field(1, _node(b"\1", b"\7")), (b"", b"natural", b"water")),
    "a member without a role": block(bytes_field(4, _MEMBER)),
    "a node without a place": block(bytes_field(2, _NODES)),
}
"""What fuzzing found, or what is like it: osmium read beyond its buffer and was ended by a signal."""


@pytest.mark.parametrize("name", FOUND)
def test_what_was_found_is_refused(tmp_path: Path, name: str) -> None:
    path = tmp_path / "x.osm.pbf"
    path.write_bytes(HEADER + FOUND[name])
    with pytest.raises(BadExtractError, match="a block in it is damaged"):
        prepare(path, tmp_path / "cache")
