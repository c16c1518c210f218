"""Two hundred flipped bytes, thirty cuts, twenty deletions: `check` finds each, and reading is right or says so."""

from __future__ import annotations

import hashlib
import os
import random
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import landweave
from landweave import table
from landweave.check import check
from tests.hostile import datasets
from tests.shards.synthetic import planned

if TYPE_CHECKING:
    from collections.abc import Callable

FLIPS, CUTS, DELETIONS = 200, 30, 20


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    plan = planned((2, 1), sources=("sentinel2", "dem"), size_m=60.0, name="damaged")
    out = plan.build(tmp_path_factory.mktemp("damage") / "out")
    shutil.rmtree(out / ".staging", ignore_errors=True)
    return out


def digest(value: Any) -> str:
    return hashlib.sha256(repr(value).encode()).hexdigest()


def answers(folder: Path) -> dict[str, str]:
    """What every way to read gives: a digest, or 'damaged' where it says so."""

    def pixels(sample: landweave.Sample) -> list[Any]:
        return [None if p is None else p.tobytes() for p in (sample.get(name) for name in data.arrays)]

    def batches() -> list[Any]:
        stream = data.stream(batch_size=2, columns=["captions", "lon"])
        return [(n, v.tobytes() if isinstance(v, np.ndarray) else v) for b in stream for n, v in b.items()]

    ways: dict[str, Callable[[], Any]] = {
        "query": lambda: data.query("lon > -200", split="train").ids,
        "table": lambda: list(data.query().table.to_pylist()),
        "item": lambda: [s.item for s in data],
        "captions": lambda: [s.captions for s in data],
        "pixels": lambda: [pixels(s) for s in data],
        "vectors": lambda: [s.vectors().to_pylist() for s in data],
        "stream": batches,
        "statistics": lambda: data.statistics,
        "recipe": lambda: data.recipe,
        "ledger": lambda: list(data.ledger.to_pylist()),
    }
    try:
        data = landweave.open(folder)
    except landweave.LandweaveError:
        return dict.fromkeys(ways, "damaged")
    found = {}
    for name, way in ways.items():
        try:
            found[name] = digest(way())
        except landweave.CorruptError as error:
            found[name] = "damaged" if str(error).isprintable() else str(error)
    return found


def damage(rng: random.Random, file: Path, kind: str) -> None:
    raw = bytearray(file.read_bytes())
    match kind:
        case "flip":
            raw[rng.randrange(len(raw))] ^= 1 << rng.randrange(8)
            file.write_bytes(raw)
        case "cut":
            file.write_bytes(raw[: rng.randrange(len(raw))])
        case _:
            file.unlink()


@pytest.mark.slow
@pytest.mark.slow
@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "times"), [pytest.param("flip", FLIPS, marks=pytest.mark.slow), ("cut", CUTS), ("deletion", DELETIONS)]
)
def test_damage_is_found_by_check_and_never_read_as_data(whole: Path, tmp_path: Path, kind: str, times: int) -> None:
    copy, rng = tmp_path / "copy", random.Random(kind)
    shutil.copytree(whole, copy)
    files = sorted(p.relative_to(copy) for p in copy.rglob("*") if p.is_file() and p.stat().st_size)
    right, told = answers(copy), 0
    assert "damaged" not in right.values()
    for number in range(times):
        name = files[number % len(files)] if number < len(files) else rng.choice(files)
        damage(rng, copy / name, kind)
        try:
            faults = [str(fault) for fault in check(landweave.open(copy))]
        except landweave.LandweaveError as error:
            faults = [str(error)]
        assert any(name.name in fault for fault in faults), f"{kind} of {name}: {faults}"
        for way, found in answers(copy).items():
            assert found in (right[way], "damaged"), f"{kind} of {name}: {way} gave something else"
            told += found == "damaged"
        shutil.copyfile(whole / name, copy / name)
    assert told, "what is read was hit"


def test_to_xarray_says_so_too(whole: Path, tmp_path: Path) -> None:
    pytest.importorskip("dask")
    shutil.copytree(whole, tmp_path / "copy")
    path = tmp_path / "copy" / landweave.open(whole).arrays["dem/elevation"].object(0)
    damage(random.Random(1), path, "flip")
    lazy = landweave.open(tmp_path / "copy").to_xarray(arrays=["dem"])
    with pytest.raises(landweave.CorruptError, match="dem/elevation"):
        lazy["dem/elevation"].compute()


@pytest.mark.parametrize("blocks", [True, False], ids=["with the sums of blocks", "written before there were such"])
def test_tables_that_are_too_large_to_be_read_whole(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, blocks: bool
) -> None:
    """All tables count as large here: read in pieces, each checked; without sums of blocks hashed when first read."""
    monkeypatch.setattr(table, "WHOLE_BYTES", 1_000)
    copy, rng = tmp_path / "copy", random.Random(3)
    shutil.copytree(whole, copy)
    names = ["catalogue/items.parquet", "catalogue/ledger.parquet"]
    if blocks:
        sums = {name: table.block_sums(copy / name) for name in names}
        datasets.sealed(copy, lambda m: [m["objects"][name].update(blocks=sums[name]) for name in names])
    assert answers(copy) == answers(whole)
    for _ in range(12):
        name = rng.choice(names)
        damage(rng, copy / name, rng.choice(["flip", "cut"]))
        data = landweave.open(copy)
        with pytest.raises(landweave.CorruptError, match=Path(name).name):
            _ = data.ledger if "ledger" in name else data.query().table
        shutil.copyfile(whole / name, copy / name)


CUT_WHILE_READ = """
import os, sys, time
import landweave
data = landweave.open(sys.argv[1])
file = os.path.join(sys.argv[1], data.arrays["sentinel2/bands_10m"].object(0))
raw = open(file, "rb").read()
child = os.fork()
if not child:
    while True:
        os.truncate(file, 0)
        with open(file, "r+b") as f:
            f.write(raw)
right = told = 0
expected = None
try:
    for number in range(3000):
        if number % 20 == 0:
            data = landweave.open(sys.argv[1])
        try:
            found = data.samples([0], arrays=["sentinel2/bands_10m"])["sentinel2/bands_10m"].tobytes()
            right += 1
            assert expected in (None, found), "other pixels"
            expected = found
        except landweave.CorruptError:
            told += 1
finally:
    os.kill(child, 9)
print(right + told)
"""


@pytest.mark.slow
def test_a_file_that_is_cut_while_it_is_read_ends_nothing(whole: Path, tmp_path: Path) -> None:
    """Again and again, by another process, at any moment of a read: a mapped file would end this one by SIGBUS."""
    shutil.copytree(whole, tmp_path / "copy")
    run = subprocess.run(
        [sys.executable, "-c", CUT_WHILE_READ, tmp_path / "copy"],
        check=False,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(landweave.__file__).parents[1])},
    )
    assert run.stdout.split() == ["3000"], run.stderr
