"""The store of a local folder gives the bytes that the file has, whatever ranges are asked for, in new threads too."""

from __future__ import annotations

import sys
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from landweave.errors import AccessError
from landweave.local_store import LocalStore

CONTENT = bytes(range(256)) * 5
SPANS = st.lists(st.tuples(st.integers(0, len(CONTENT) + 9), st.integers(0, 400)), max_size=4)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one file."""
    folder = tmp_path_factory.mktemp("store")
    (folder / "object").write_bytes(CONTENT)
    return folder


@given(asked=st.lists(SPANS, min_size=1, max_size=3))
def test_ranges_are_the_files_bytes(folder: Path, asked: list[list[tuple[int, int]]]) -> None:
    """Ranges of no bytes and ranges past the end too; the store is new each time, so nothing was read before."""
    store = LocalStore(str(folder), "")
    for spans in asked:
        found = [bytes(part) for part in store.get_ranges("object", spans)]
        assert found == [CONTENT[start : start + length] for start, length in spans]


def test_a_new_thread_may_ask_for_no_bytes_first(folder: Path) -> None:
    """Each thread begins without memory."""
    store = LocalStore(str(folder), "")
    found: list[bytes] = []
    thread = threading.Thread(target=lambda: found.extend(map(bytes, store.get_ranges("object", [(5, 0)]))))
    thread.start()
    thread.join()
    assert found == [b""]


@pytest.mark.skipif(sys.platform != "linux", reason="a file whose bytes cannot be read is one of Linux's own")
def test_a_disk_that_does_not_give_bytes_is_an_error_of_one_line() -> None:
    store = LocalStore("/proc/self")  # nothing is mapped at address 0 of a process
    for spans in ([(0, 16)], [(0, 1 << 16), (1 << 16, 8)], [(0, 4), (1 << 17, 4)]):
        with pytest.raises(AccessError, match=r"^mem: cannot be read: Input/output error$"):
            list(store.get_ranges("mem", spans))
