"""Every snippet of README.md and docs/*.md is run over a built dataset, or says above itself why not."""

from __future__ import annotations

import re
import shutil
import socket
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

import testbed
from testbed.llm import serve_language_model
from tests.flow.job import CHECKOUT, environment_of, forked
from tests.flow.pages import LANGUAGES, PAGES, blocks
from tests.flow.reader_of_pages import Reader

NOT_RUN = {
    "all tests share one miniature Earth": 1,
    "it is what CI does": 1,
    "needs a bucket": 1,
    "needs a cluster": 3,
    "needs a dataset with these numbers": 1,
    "needs an account of Earth Engine": 1,
    "needs docker": 1,
    "needs maps and images of real places": 1,
    "installs packages": 2,
}
"""Why blocks, or lines of them, are not run -> how many."""
TUTORIAL = "tutorial_own_images.md"
"""tests/own/test_own_tutorial.py follows it, and looks at what it made."""
RUN = [page for page in PAGES if page.name != TUTORIAL and any(b.language and not b.whole for b in blocks(page))]


def test_every_block_is_of_a_known_kind_or_says_why_it_is_not_run() -> None:
    every = [block for page in PAGES for block in blocks(page)]
    fences = sum(len(re.findall(r"^ *```", page.read_text(), re.MULTILINE)) for page in PAGES)
    assert fences == 2 * len(every)
    assert {block.language for block in every} == set(LANGUAGES)
    reasons = Counter(r for block in every for r in ([block.whole] if block.whole else block.without.values()))
    assert reasons == NOT_RUN
    for block in every:
        assert all(word in block.body for word in block.without), block
    assert sum("not run" in page.read_text() for page in PAGES) <= len(reasons) + 2, "a remark that no block took"
    assert len([block for block in every if block.language and not block.whole]) >= 75


@pytest.fixture(scope="module")
def services(earth: Path) -> Iterator[testbed.Services]:
    with testbed.serve(earth) as services:
        yield services


def prepared(folder: Path, text: str, clean: Path, recipe: Path, earth: Path) -> None:
    """What a reader of the page has before it: the checkout's files, a dataset at each place that the page names."""
    for name in ("data/quickstart", "data/mine", "out", "OUT"):
        if re.search(rf"\b{name}\b", text):
            shutil.copytree(clean, folder / name)
    for name in (recipe.name, "aoi.geojson"):
        shutil.copy(recipe.parent / name, folder)
    (folder / recipe.name).rename(folder / "recipe.yaml")
    shutil.copytree(CHECKOUT / "recipes", folder / "recipes")
    (folder / "data").mkdir(exist_ok=True)
    (folder / "data" / "earth").symlink_to(earth)
    shutil.copy(CHECKOUT / "pipelines" / "crosswalks" / "worldcover@1.yaml", folder / "own.yaml")
    shutil.copy(CHECKOUT / "pipelines" / "crosswalks" / "esri@1.yaml", folder / "mine.yaml")


def changed(recipe: Path, **changes: Any) -> None:
    tree = YAML(typ="safe").load(recipe.read_text())
    with recipe.open("w") as file:
        YAML(typ="safe").dump(tree | changes, file)


@pytest.mark.slow
@pytest.mark.xdist_group("flow")
@pytest.mark.parametrize("page", RUN, ids=[page.stem for page in RUN])
def test_a_page_does_what_it_says(
    page: Path, clean: Path, recipe: Path, earth: Path, services: testbed.Services, tmp_path: Path
) -> None:
    prepared(tmp_path, page.read_text(), clean, recipe, earth)
    environment = environment_of(services, {})
    with serve_language_model() as model, socket.socket() as free:
        environment |= {"OPENAI_BASE_URL": model.base_url, "OPENAI_API_KEY": "none"}
        more = _MORE.get(page.name)
        if more is not None:
            more(tmp_path, environment)
        free.bind(("127.0.0.1", 0))
        port = int(free.getsockname()[1])
        free.close()
        reader = Reader(page, tmp_path, environment, port)
        reader.follow()
    assert reader.ran == [block for block in blocks(page) if block.language and not block.whole]


def _readme(folder: Path, environment: dict[str, str]) -> None:
    """A second dataset at the same places, `more/`, with one more layer."""
    shutil.copy(folder / "recipe.yaml", folder / "more.yaml")
    heights = {"kind": "dem", "layer": "heights", "providers": ["earth-search"]}
    changed(folder / "more.yaml", name="more", sources=[heights], labels=[], captions=None, questions=None, quality={})
    done = forked(["pipelines", "build", "more.yaml", "more/", "--workers", "1"], environment, folder)
    assert done.returncode == 0, done.stderr


def _runbook(folder: Path, environment: dict[str, str]) -> None:
    shutil.copy(CHECKOUT / "deploy" / "prices.yaml", folder / "mine.yaml")


def _texts(folder: Path, environment: dict[str, str]) -> None:
    """The recipe has the sets that the page begins with."""
    first = next(block for block in blocks(CHECKOUT / "docs" / "texts.md") if block.language == "yaml")
    changed(folder / "recipe.yaml", **YAML(typ="safe").load(first.body))


_MORE = {"README.md": _readme, "runbook.md": _runbook, "texts.md": _texts}
"""Page -> what it takes for granted beside that."""
