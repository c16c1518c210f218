"""A small miniature Earth, a recipe for it and the dataset of an undisturbed build: made once for all tests here."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from ruamel.yaml import YAML

import testbed
from tests.flow.job import CHECKOUT, run


@pytest.fixture(scope="session")
def recipe(tmp_path_factory: pytest.TempPathFactory, earth: Path) -> Path:
    """The quick start's recipe, with smaller samples and shards."""
    tree = YAML(typ="safe").load((CHECKOUT / "recipes" / "quickstart.yaml").read_text())
    tree["sampling"] |= {"spacing_m": 1100, "area": {"file": "aoi.geojson"}}
    tree["grid"]["size_m"] = 480
    tree["shards"]["samples"] = 6
    tree["splits"] = {"train": 0.6, "val": 0.2, "test": 0.2, "block_m": 2000, "buffer_m": 100}
    path = tmp_path_factory.mktemp("recipe") / "small.yaml"
    shutil.copy(earth / "aoi.geojson", path.parent)
    with path.open("w") as file:
        YAML(typ="safe").dump(tree, file)
    return path


@pytest.fixture(scope="session")
def clean(tmp_path_factory: pytest.TempPathFactory, earth: Path, recipe: Path) -> Path:
    """The dataset of an undisturbed build with two worker processes."""
    out = tmp_path_factory.mktemp("clean") / "dataset"
    with testbed.serve(earth) as services:
        done = run(services, "build", recipe, out, "--workers", "2", fresh=True)
        read = [entry.bytes for entry in services.log if entry.path.startswith("/files/")]
    assert done.returncode == 0, done.stderr
    (out.parent / "asked.json").write_text(json.dumps({"requests": len(read), "bytes": sum(read)}))
    return out
