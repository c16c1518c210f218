"""Claims: one holder at a time, the dead are found out, and builders of one dataset at once leave one of it."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from pipelines.shards import ClaimedError, FullError, claim, claimed, clean_staging, held, room_needed, staging
from tests.shards.synthetic import planned
from tests.shards.test_shards_write import digest

CHECKOUT = Path(__file__).parents[2]


def count(folder: Path, times: int) -> None:
    """Adds one to a file `times` times, reading and writing it apart."""
    for _ in range(times):
        with claimed(folder, "sum"):
            total = int((folder / "sum").read_text())
            (folder / "sum").write_text(str(total + 1))


def test_claims_exclude_one_another(tmp_path: Path) -> None:
    (tmp_path / "sum").write_text("0")
    processes = [multiprocessing.get_context("fork").Process(target=count, args=(tmp_path, 8)) for _ in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert (tmp_path / "sum").read_text() == "24"


def holder(folder: Path) -> subprocess.Popen[str]:
    """A process that holds a claim until it is killed."""
    code = (
        "import sys, time; from pathlib import Path; from pipelines.shards import claimed\n"
        "with claimed(Path(sys.argv[1]), 'build'): print('held', flush=True); time.sleep(3600)"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(folder)], cwd=CHECKOUT, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    process.stdout.close()
    return process


def test_a_living_owner_is_told_at_once_and_a_killed_one_is_followed_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(claim, "STALE_S", 1e9)  # whoever watches an owner instead runs into the test's timeout
    process = holder(tmp_path)
    with pytest.raises(ClaimedError), claimed(tmp_path, "build", wait=False):
        pass
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert not held(tmp_path, "build")
    with claimed(tmp_path, "build", wait=False) as mine:
        mine.check()
        assert held(tmp_path, "build")


def test_an_owner_on_another_host_is_watched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(claim, "STALE_S", 0.6)
    folder = tmp_path / ".staging" / "claims"
    folder.mkdir(parents=True)
    (folder / "build").write_text("another-kernel 1 token 0")
    start = time.monotonic()
    with claimed(tmp_path, "build", wait=False) as mine:
        mine.check()
        assert time.monotonic() - start > 0.6, "it might have lived"
        (folder / "build").write_text("another-kernel 1 token 7")  # it had only been away
        with pytest.raises(claim.ClaimLostError):
            mine.check()
    assert (folder / "build").read_text() == "another-kernel 1 token 7", "what is not ours stays"


def test_an_owner_on_another_host_that_renews_is_told(tmp_path: Path) -> None:
    folder = tmp_path / ".staging" / "claims"
    folder.mkdir(parents=True)
    (folder / "build").write_text("another-kernel 1 token 0")
    renewal = threading.Timer(0.5, (folder / "build").write_text, ["another-kernel 1 token 1"])
    renewal.start()
    with pytest.raises(ClaimedError), claimed(tmp_path, "build", wait=False):
        pass
    renewal.join()


def test_cleaning_leaves_what_another_writes_and_removes_what_the_dead_left(tmp_path: Path) -> None:
    with staging(tmp_path, "shard-00001") as mine:
        (mine / "array").write_bytes(b"half")
        process = subprocess.Popen(["true"])
        process.wait()
        what, kernel, _, chance = mine.name.split(".")
        left = mine.with_name(f"{what}.{kernel}.{process.pid}.{chance}")
        left.mkdir()
        (left / "array").write_bytes(b"half")
        foreign = mine.with_name(f"{what}.0123456789ab.1.{chance}")
        foreign.mkdir()
        claims = tmp_path / ".staging" / "claims"
        claims.mkdir()
        (claims / "shard.00002").write_text(f"{claim.kernel()} {process.pid} token 3")
        (claims / "shard.00003").write_text("another-kernel 1 token 3")
        with claimed(tmp_path, "shard.00001"):
            assert clean_staging(tmp_path) == 1
            assert sorted(p.name for p in claims.iterdir()) == ["shard.00001", "shard.00003"]
        shutil.rmtree(claims)
        assert sorted(p.name for p in (tmp_path / ".staging").iterdir()) == sorted([mine.name, foreign.name])
        os.utime(foreign, (0, 0))
        assert clean_staging(tmp_path) == 1
    assert list((tmp_path / ".staging").iterdir()) == []
    assert clean_staging(tmp_path / "nowhere") == 0


@pytest.mark.parametrize("exchanged", [False, True])
def test_a_claim_that_another_puts_in_place_of_a_dead_ones_is_put_back(tmp_path: Path, exchanged: bool) -> None:
    """Between looking at the dead one's and removing it, another may have been quicker."""
    path = tmp_path / "build"
    path.write_text("another-kernel 1 dead 0")
    seen = claim._look(path)
    if exchanged:
        path.unlink()
        path.write_text("another-kernel 2 alive 0")
    claim._break(path, seen)
    left = {p.name: p.read_text() for p in tmp_path.iterdir()}
    assert left == ({"build": "another-kernel 2 alive 0"} if exchanged else {})


def build(out: str) -> None:
    planned((2, 1, 2), sources=("dem",), size_m=120.0).build(Path(out))


@pytest.mark.slow
def test_two_builders_at_once_leave_one_dataset(tmp_path: Path) -> None:
    build(str(tmp_path / "alone"))
    together = [
        multiprocessing.get_context("fork").Process(target=build, args=(str(tmp_path / "out"),)) for _ in range(3)
    ]
    for process in together:
        process.start()
    for process in together:
        process.join()
    assert [process.exitcode for process in together] == [0, 0, 0]
    assert digest(tmp_path / "out") == digest(tmp_path / "alone")


def write_too_much(out: Path) -> None:
    with room_needed(out), Path("/dev/full").open("wb", buffering=0) as file:
        file.write(b"more")


def test_a_full_disk_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(FullError, match=r"^out: No space left on device; make room and run the same command again$"):
        write_too_much(tmp_path / "out")
