"""The fuzzing command: ten thousand inputs, and those that found something once."""

from __future__ import annotations

import itertools
import subprocess
import sys
from pathlib import Path

import pytest

from tests.hostile.fuzz import SEEDS, parts, shared_out
from tests.hostile.fuzz_targets import CHECKOUT, SHARES, TARGETS


def fuzz(*words: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tests.hostile.fuzz", *map(str, words)]
    return subprocess.run(command, cwd=CHECKOUT, text=True, capture_output=True, timeout=1500, check=False)


@pytest.mark.slow
def test_kept_inputs_find_nothing_any_more() -> None:
    kept = sorted(p for p in SEEDS.iterdir() if p.name.split("-")[0] in TARGETS)
    assert kept
    done = fuzz("--replay", *kept)
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(done.stdout.splitlines()) == len(kept)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "good"),
    [("recipe", "recipe"), ("tiff", "chip"), ("jp2", "chip"), ("pbf", "extract"), ("shard", "chips"), ("pack", "chips"),
     ("stac", "items"), ("manifest", "from_bytes"), ("answer", "caption")],
)  # fmt: skip
def test_what_is_made_wrong_was_right(name: str, good: str, tmp_path: Path) -> None:
    """Else everything is refused at the door, and nothing behind it is tried."""
    target = TARGETS[name](tmp_path)
    became = [good in target.read(whole) for whole in target.seeds]
    if name in ("stac", "answer", "jp2"):  # not every one is read as what it is; a bare codestream has no place
        assert any(became)
    else:
        assert all(became)


def test_a_run_is_cut_into_parts_that_hold_every_input_once() -> None:
    counts = shared_out(1_000_000, list(TARGETS))
    assert sum(counts.values()) == 1_000_000
    assert set(counts) == set(SHARES)
    cut = parts(counts)
    for name, count in counts.items():
        mine = sorted((first, n) for kind, first, n in cut if kind == name)
        assert sum(n for _, n in mine) == count
        assert all(first + n == after for (first, n), (after, _) in itertools.pairwise(mine))


@pytest.mark.slow
def test_ten_thousand_inputs(tmp_path: Path) -> None:
    """No signal, no hang, no exception that is not documented, bounded memory."""
    done = fuzz("--count", "10000", "--seed", "7", "--workers", "2", "--out", tmp_path / "found")
    found = sorted(p.read_text()[-1500:] for p in tmp_path.glob("found/*.txt"))
    assert done.returncode == 0, "\n".join([done.stdout, done.stderr[-2000:], *found[:3]])
    assert "10,000 inputs: 0 signals, 0 hangs, 0 tracebacks, 0 other ends" in done.stdout
