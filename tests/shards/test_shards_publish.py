"""Publishing: what is there already is compared, another recipe is refused, and only the operator's faults are told."""

from __future__ import annotations

import errno
import os
import random
from typing import TYPE_CHECKING

import pytest
from awscrt.checksums import crc32c

from landweave.layout import RECIPE, shard_manifest
from landweave.manifest import BLOCK_BYTES
from pipelines.shards import FullError, OtherDatasetError, done_shards, room_needed
from pipelines.shards.publish import (
    DamagedError,
    checksum,
    clean_staging,
    is_finished,
    is_there,
    prepare,
    publish,
    publish_shard,
    read_manifest,
    staging,
    withdraw,
)
from tests.shards.synthetic import planned
from tests.shards.test_shards_write import digest

if TYPE_CHECKING:
    from pathlib import Path

PLAN = planned((1, 1), sources=("dem",), size_m=60.0)
OTHER = planned((1, 1), sources=("dem",), size_m=60.0, name="other")


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return PLAN.build(tmp_path_factory.mktemp("publish") / "out")


def raise_in(out: Path, error: BaseException) -> None:
    with room_needed(out):
        raise error


@pytest.mark.parametrize(
    ("code", "where", "says"),
    [
        (errno.ENOSPC, None, "make room and run the same command again"),
        (errno.EDQUOT, None, "make room and run the same command again"),
        (errno.EROFS, None, "make it writable, or name another place and run"),
        (errno.ENOSPC, "elsewhere/x", "make room"),
        *((code, "out/a/b", "out/a/b: .*; the dataset's folder and everything in it must be writable")
          for code in (errno.EACCES, errno.EPERM, errno.ENOTDIR, errno.EISDIR, errno.ELOOP, errno.EIO, errno.EEXIST)),
    ],
)  # fmt: skip
def test_a_fault_of_the_file_system_is_one_line(tmp_path: Path, code: int, where: str | None, says: str) -> None:
    place = None if where is None else str(tmp_path / where)
    with pytest.raises(FullError, match=says) as caught:
        raise_in(tmp_path / "out", OSError(code, os.strerror(code), place))
    assert "\n" not in str(caught.value)
    assert str(tmp_path) not in str(caught.value)


@pytest.mark.parametrize(
    ("code", "where"),
    [
        (errno.ENOENT, "out/a"), (errno.EINVAL, "out/a"), (errno.EINVAL, None), (errno.EACCES, None),
        (errno.EACCES, "elsewhere/a"), (errno.EACCES, "out2/a"),
    ],
)  # fmt: skip
def test_another_fault_stays_what_it_is(tmp_path: Path, code: int, where: str | None) -> None:
    place = None if where is None else str(tmp_path / where)
    with pytest.raises(OSError, match=f"Errno {code}"):
        raise_in(tmp_path / "out", OSError(code, os.strerror(code), place))


def test_short_memory_and_a_place_that_is_no_folder_are_one_line(tmp_path: Path) -> None:
    with pytest.raises(FullError, match=r"^out: not enough memory; use fewer --workers"):
        raise_in(tmp_path / "out", MemoryError())
    (tmp_path / "file").write_text("x")
    (tmp_path / "loop").symlink_to("loop")
    faults = {
        "file": "it is a file", "file/below": "Not a directory", "x" * 300: "name too long",
        "loop/below": "Too many levels of symbolic links", "loop": "",
    }  # fmt: skip
    for place, why in faults.items():
        with pytest.raises(FullError, match=f"cannot be written as a folder .*{why}.*name another place"):
            raise_in(tmp_path / place, AssertionError("not reached"))


def test_documents_are_compared_and_renewed_where_they_differ(tmp_path: Path) -> None:
    prepare(tmp_path, PLAN.dataset)
    files = [p for p in tmp_path.rglob("*") if p.is_file()]
    before = {p: (p.read_bytes(), p.stat().st_ino) for p in files}
    prepare(tmp_path, PLAN.dataset)
    assert {p: (p.read_bytes(), p.stat().st_ino) for p in files} == before, "what is right is not written again"
    damaged, gone = sorted(p for p in files if p.name == "zarr.json")[:2]
    damaged.write_bytes(damaged.read_bytes().replace(b"zarr_format", b"zarr_farmat"))
    gone.unlink()
    prepare(tmp_path, PLAN.dataset)
    assert {p: p.read_bytes() for p in files} == {p: content for p, (content, _) in before.items()}


def test_a_dataset_of_another_recipe_is_refused_by_each_way_in(built: Path, tmp_path: Path) -> None:
    before = digest(built)
    with pytest.raises(OtherDatasetError, match=r"^out/ holds a dataset of another recipe"):
        prepare(built, OTHER.dataset)
    with pytest.raises(OtherDatasetError, match="shard 0 was built from another recipe"):
        done_shards(built, OTHER.dataset)
    with pytest.raises(OtherDatasetError, match="shard 1 was built from another recipe"):
        read_manifest(built, 1, OTHER.dataset)
    assert digest(built) == before
    prepare(tmp_path, OTHER.dataset)
    (tmp_path / RECIPE).write_bytes(b"")  # emptied by a loss of power: there is none
    prepare(tmp_path, PLAN.dataset)
    assert (tmp_path / RECIPE).read_bytes() == (built / RECIPE).read_bytes()


def test_a_damaged_manifest_says_what_to_remove(built: Path, tmp_path: Path) -> None:
    PLAN.build(tmp_path / "out")
    path = tmp_path / "out" / shard_manifest(1)
    path.write_bytes(path.read_bytes()[:-20])
    for ask in (
        lambda: done_shards(tmp_path / "out", PLAN.dataset),
        lambda: read_manifest(tmp_path / "out", 1, PLAN.dataset),
    ):
        with pytest.raises(
            DamagedError, match=r"to build that shard again, remove shards/00001\.json and landweave\.json"
        ):
            ask()
    path.write_bytes(b"")
    assert done_shards(tmp_path / "out", PLAN.dataset) == {0}
    assert read_manifest(tmp_path / "out", 1, PLAN.dataset) is None
    assert not is_there(path)
    assert done_shards(tmp_path / "nowhere", PLAN.dataset) == set()


def test_whether_a_dataset_is_finished(built: Path, tmp_path: Path) -> None:
    assert is_finished(built)
    assert not is_finished(tmp_path)
    for content in (b"", b"{}", (built / "landweave.json").read_bytes()[:-9]):
        (tmp_path / "landweave.json").write_bytes(content)
        assert not is_finished(tmp_path)


def test_of_a_shard_that_is_there_nothing_is_moved(tmp_path: Path) -> None:
    def folder(name: str) -> Path:
        made = tmp_path / name
        (made / "data" / "deep").mkdir(parents=True)
        (made / "data" / "deep" / "chunk").write_text(name)
        (made / shard_manifest(3)).parent.mkdir()
        (made / shard_manifest(3)).write_text(name)
        return made

    out, paths = tmp_path / "out", ["data/deep/chunk"]
    assert publish_shard(out, folder("first"), paths, 3) is True
    assert publish_shard(out, folder("second"), paths, 3) is False
    assert [(out / path).read_text() for path in (*paths, shard_manifest(3))] == ["first", "first"]
    assert (tmp_path / "second" / paths[0]).exists()
    withdraw(out, [3])
    assert not (out / shard_manifest(3)).exists()
    assert (out / paths[0]).read_text() == "first", "objects stay until new ones replace them"
    withdraw(out, [3])
    assert publish_shard(out, tmp_path / "second", paths, 3) is True
    assert (out / paths[0]).read_text() == "second"


def test_staging_is_gone_at_the_end_and_cleaning_counts(tmp_path: Path) -> None:
    with staging(tmp_path, "shard") as folder:
        (folder / "x").write_text("x")
        assert clean_staging(tmp_path) == 0, "its writer lives"
        assert (folder / "x").exists()
    assert not folder.exists()
    assert clean_staging(tmp_path / "nowhere") == 0
    assert not (tmp_path / "nowhere").exists()


def test_checksums_of_files_of_several_pieces(tmp_path: Path) -> None:
    import hashlib

    for size in (0, 1, 1 << 20, (2 << 20) + 5):
        content = os.urandom(size)
        told = publish(tmp_path, "a/b", content)
        assert told == checksum(tmp_path / "a" / "b")
        assert (told.size, told.sha256) == (size, hashlib.sha256(content).hexdigest())


def test_a_large_table_is_written_with_the_sums_of_its_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    raw = random.Random(4).randbytes(BLOCK_BYTES + 5)
    monkeypatch.setattr("pipelines.shards.publish.WHOLE_BYTES", 1_000)
    for name, expected in (("x.parquet", [raw[:-5], raw[-5:]]), ("x.json", [])):
        (tmp_path / name).write_bytes(raw)
        assert checksum(tmp_path / name).blocks == "".join(f"{crc32c(part):08x}" for part in expected)
