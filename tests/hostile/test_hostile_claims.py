"""Whatever lies in the place of a claim: tolerated, never a crash, never for ever, and nothing outside is touched."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from pipelines.shards import ClaimedError, claim, claimed, clean_staging, held
from pipelines.shards.claim import kernel

CHECKOUT = Path(__file__).parents[2]
OURS = f"{kernel()} {os.getpid()}"


def folder_with_files(path: Path) -> None:
    (path / "deep").mkdir(parents=True)
    (path / "deep" / "file").write_text("x")


CONTENTS: dict[str, str | bytes | Callable[[Path], object]] = {
    "nothing": "",
    "one word": "x",
    "no number": "x notanumber",
    "a negative number": f"{kernel()} -1 t",
    "zero": f"{kernel()} 0 t",
    "a number beyond any": f"{kernel()} {'9' * 30} t",
    "digits of another script": f"{kernel()} \u0663\u0664 t",
    "bytes": b"\xff\xfe\xff\x00",
    "only spaces": " \n\t",
    "megabytes": b"a 1 " * 500_000,
    "the first process, which lives for ever": f"{kernel()} 1 token",
    "a number that another process has now": f"{OURS} 1.token 3",
    "another kernel": "elsewhere 12 token 3",
    "a folder": folder_with_files,
    "a FIFO": os.mkfifo,
    "a link to a file": lambda path: path.symlink_to("/etc/hostname"),
    "a link to nowhere": lambda path: path.symlink_to("/nowhere/at/all"),
    "a link to itself": lambda path: path.symlink_to(path),
    "an endless device": lambda path: path.symlink_to("/dev/zero"),
}


@pytest.mark.slow
@pytest.mark.parametrize("wait", [False, True])
@pytest.mark.parametrize("kind", CONTENTS)
def test_it_is_taken_over_after_its_owner_had_time_to_be_heard(
    kind: str, wait: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(claim, "STALE_S", 0.6)
    monkeypatch.setattr(claim, "NAMELESS_S", 0.3)
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "kept").write_text("kept")
    place = tmp_path / "out" / ".staging" / "claims" / "build"
    place.parent.mkdir(parents=True)
    made = CONTENTS[kind]
    if callable(made):
        made(place)
    else:
        place.write_bytes(made.encode() if isinstance(made, str) else made)
    held(tmp_path / "out", "build")
    clean_staging(tmp_path / "out")
    with claimed(tmp_path / "out", "build", wait=wait) as mine:
        mine.check()
        assert held(tmp_path / "out", "build")
    assert list(place.parent.iterdir()) == []
    assert (outside / "kept").read_text() == "kept"


def test_a_link_to_a_folder_is_removed_and_the_folder_is_not(tmp_path: Path) -> None:
    folder_with_files(tmp_path / "precious")
    place = tmp_path / "out" / ".staging" / "claims" / "build"
    place.parent.mkdir(parents=True)
    place.symlink_to(tmp_path / "precious")
    with claimed(tmp_path / "out", "build", wait=False):
        pass
    assert (tmp_path / "precious" / "deep" / "file").read_text() == "x"


def test_the_living_owner_is_believed_whatever_is_beside_it(tmp_path: Path) -> None:
    with claimed(tmp_path, "build"):
        os.mkfifo(tmp_path / ".staging" / "claims" / "shard.00001")
        (tmp_path / ".staging" / "a.b.c.d").symlink_to("/nowhere")
        clean_staging(tmp_path)
        with pytest.raises(ClaimedError), claimed(tmp_path, "build", wait=False):
            pass
    shutil.rmtree(tmp_path / ".staging")


COMMANDS = {
    "pipelines": ("status", "OUT"),
    "landweave": ("info", str(CHECKOUT / "tests" / "golden" / "v2")),
}


@pytest.mark.slow
@pytest.mark.parametrize("limit_kb", [300_000, 700_000, 1_200_000, 1_800_000])
@pytest.mark.parametrize("module", COMMANDS)
def test_too_little_address_space_is_one_line(module: str, limit_kb: int, tmp_path: Path) -> None:
    words = [str(tmp_path) if word == "OUT" else word for word in COMMANDS[module]]
    script = f'ulimit -v {limit_kb}; exec "$0" -m "$@"'
    done = subprocess.run(
        ["bash", "-c", script, sys.executable, module, *words],
        cwd=CHECKOUT,
        env={**os.environ, "PYTHONPATH": str(CHECKOUT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1, done.stderr
    (line,) = done.stderr.splitlines()
    assert "ulimit -v" in line
    assert str(limit_kb) in line or "not enough memory" in line
