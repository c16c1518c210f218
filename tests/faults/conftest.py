"""A very small recipe of the miniature Earth, and what an undisturbed build of it leaves."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from ruamel.yaml import YAML

import testbed
from tests.faults.steps import Command, Ran, run
from tests.flow.job import CHECKOUT, Tree, tree_of

WHOLE = os.environ.get("LANDWEAVE_FAULTS") == "whole"
"""Set by `make test-faults`: every step and every kill instead of a sample."""


@dataclass(frozen=True, kw_only=True)
class World:
    """The miniature Earth, served, and a recipe for it."""

    recipe: Path
    environment: dict[str, str]
    clean: Path
    tree: Tree
    steps: list[str]

    def command(self, verb: str, out: Path, *more: str) -> Command:
        """`python -m pipelines VERB ...`, watched."""
        words = (verb, str(out)) if verb == "status" else (verb, str(self.recipe), str(out), *more)
        return Command(module="pipelines", words=words, watched=out, environment=self.environment)

    def build(self, out: Path) -> Command:
        """One worker, inside the command's own process."""
        return self.command("build", out, "--workers", "1")


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory, earth: Path) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("faults")
    tree = YAML(typ="safe").load((CHECKOUT / "recipes" / "quickstart.yaml").read_text())
    tree["sampling"] |= {"spacing_m": 3300, "area": {"file": "aoi.geojson"}}
    tree["grid"]["size_m"] = 480
    tree["shards"]["samples"] = 2
    tree["windows"] = tree["windows"][-1:]
    tree["sources"] = [s for s in tree["sources"] if s["kind"] in ("sentinel1", "dem")]
    tree["labels"] = [x for x in tree["labels"] if x["kind"] == "openstreetmap"]
    tree |= {"quality": {"min_modalities": 1}, "splits": {"train": 1.0, "val": 0.0, "test": 0.0}}
    shutil.copy(earth / "aoi.geojson", folder)
    with (folder / "small.yaml").open("w") as file:
        YAML(typ="safe").dump(tree, file)
    with testbed.serve(earth) as services:
        about = {"LANDWEAVE_TESTBED": services.base_url}
        started = World(recipe=folder / "small.yaml", environment=about, clean=folder / "clean", tree={}, steps=[])
        done = run(started.build(folder / "clean"))
        assert done.code == 0, done.said
        yield World(
            recipe=started.recipe,
            environment=about,
            clean=started.clean,
            tree=tree_of(started.clean),
            steps=done.steps,
        )


@pytest.fixture
def tried() -> Callable[[Command], Ran]:
    """Run a command that may fail, and must not fall over."""

    def ran(command: Command) -> Ran:
        done = run(command)
        assert "Traceback" not in done.said, done.said
        assert done.code in (0, 1, 3), done.said
        return done

    return ran
