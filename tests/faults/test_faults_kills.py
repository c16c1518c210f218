"""kill -9 at steps of planning, building, publishing, adding and exporting; the same command then ends the same."""

from __future__ import annotations

import hashlib
import random
import shutil
import signal
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

import landweave
from landweave.check import check
from tests.faults.conftest import WHOLE, World
from tests.faults.steps import Command, Ran, run
from tests.faults.test_faults_power import holds_what_it_says
from tests.flow.job import Tree, tree_of
from tests.shards.synthetic import planned

KILLS = {"planning": 15, "before the first shard": 10, "publishing": 25, "after the first shard": 45} if WHOLE else {
    "planning": 1, "before the first shard": 1, "publishing": 2, "after the first shard": 2
}  # fmt: skip
"""Kills of a build by where they fall: 95 with `make test-faults`, 70 of them when a shard is published already."""
OTHERS = 20 if WHOLE else 3
"""Kills of an addition and of each export."""


def phases(steps: list[str]) -> list[str]:
    """Where in a build each step falls."""
    found, phase, published = [], "planning", 0
    for step in steps:
        kind, _, path = step.partition(" ")
        if path == "plan" and kind == "rename":
            phase = "before the first shard"
        if path.startswith(".staging/claims/shard.") and kind == "open":
            phase = "publishing"
        found.append(phase)
        if path.startswith(".staging/claims/shard.") and kind == "remove":
            published += 1
            phase = "after the first shard"
    assert published > 1
    return found


def kill_and_go_on(command: Command, step: int) -> str:
    """Kill a command at a step; returns the step."""
    killed = run(command, kill_at=step)
    if killed.code == 0:  # threads are never in step: this run had fewer
        return "too late"
    assert killed.code == -signal.SIGKILL, killed.said
    return killed.steps[-1]


@pytest.mark.slow
@pytest.mark.parametrize("phase", KILLS)
def test_a_killed_build_goes_on_and_ends_the_same(
    phase: str, world: World, tmp_path: Path, tried: Callable[[Command], Ran], record_property: Callable[..., None]
) -> None:
    told, rng = phases(world.steps), random.Random(phase)
    choice = [number for number, name in enumerate(told, 1) if name == phase]
    steps = sorted(rng.sample(choice, min(len(choice), KILLS[phase])))
    tally: Counter[str] = Counter()
    for step in steps:
        out = tmp_path / str(step)
        fell = kill_and_go_on(world.build(out), step)
        tally[fell.partition(" ")[0]] += 1
        if out.exists():
            holds_what_it_says(out)
            tried(world.command("status", out))
        done = tried(world.build(out))
        assert done.code == 0, (fell, done.said)
        assert tree_of(out) == world.tree, fell
        shutil.rmtree(out)
    record_property("kills", dict(tally))
    assert tally.total() == KILLS[phase]


def sums(folder: Path) -> Tree:
    files = [p for p in folder.rglob("*") if p.is_file() and ".staging" not in p.parts]
    return {p.relative_to(folder).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


@pytest.mark.slow
def test_a_killed_addition_goes_on_and_ends_the_same(tmp_path: Path, tried: Callable[[Command], Ran]) -> None:
    first = planned((3, 2), sources=("sentinel2",), size_m=60.0).build(tmp_path / "first")
    more = planned((3, 2), sources=("dem", "landsat"), size_m=60.0, labels=False, name="more").build(tmp_path / "more")

    def command(out: Path) -> Command:
        return Command(module="pipelines", words=("add", str(out), str(more)), watched=out)

    whole = shutil.copytree(first, tmp_path / "whole")
    count = len(tried(command(whole)).steps)
    revisions = set()
    for step in sorted({*random.Random(5).sample(range(1, count), OTHERS - 1), count - 1}):
        out = shutil.copytree(first, tmp_path / str(step))
        kill_and_go_on(command(out), step)
        data = landweave.open(out)
        revisions.add(data.spec.revision)
        assert list(check(data)) == []
        again = tried(command(out))
        assert again.code == 0, again.said
        assert again.said.splitlines()[-1].startswith(
            ("revision 1: added dem, landsat", "revision 1: dem, landsat: an earlier run added it")
        )
        assert sums(out) == sums(whole), step
        shutil.rmtree(out)
    assert revisions == {0, 1}, "kills before and after the one step"


@pytest.mark.slow
@pytest.mark.parametrize("form", ["parquet", "webdataset"])
def test_a_killed_export_goes_on_and_ends_the_same(form: str, tmp_path: Path, tried: Callable[[Command], Ran]) -> None:
    if form != "parquet":
        pytest.importorskip(form, reason="of the extra of that name")
    data = planned((3, 2), sources=("sentinel2",), size_m=60.0).build(tmp_path / "data")

    def command(place: Path) -> Command:
        place.mkdir()
        words = ("export", form, str(data), str(place / "out"))
        return Command(module="landweave", words=words, watched=place)

    done = tried(command(tmp_path / "whole"))
    assert done.code == 0, done.said
    for step in sorted(random.Random(form).sample(range(1, len(done.steps)), min(OTHERS, len(done.steps) - 1))):
        place = tmp_path / str(step)
        killing = command(place)
        kill_and_go_on(killing, step)
        seen = (place / "out").exists()
        if seen:
            assert sums(place / "out") == sums(tmp_path / "whole" / "out"), "half an export could be seen"
        again = tried(killing)
        assert again.code == int(seen), again.said
        assert sums(place / "out") == sums(tmp_path / "whole" / "out")
        shutil.rmtree(place)
