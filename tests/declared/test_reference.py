"""docs/recipe.md is what the schema says, and describes every key with an example."""

from __future__ import annotations

from pathlib import Path

from pipelines.limited_yaml import read_yaml
from pipelines.reference import page

PUBLISHED = Path(__file__).parents[2] / "docs" / "recipe.md"
ROWS = [line for line in page().splitlines() if line.startswith("| `")]


def test_the_published_page_is_current() -> None:
    assert PUBLISHED.read_text() == page(), "run: python -m pipelines schema --page > docs/recipe.md"


def test_each_key_has_an_example_that_is_yaml() -> None:
    assert len(ROWS) > 300
    for row in ROWS:
        cells = row.split("|")[1:-1]
        assert len(cells) == 5, row
        key, example = cells[0].strip(" `"), cells[4].strip()[1:-1]
        assert example.endswith("...") or list(read_yaml(example)) == [key], row


def test_each_key_is_explained() -> None:
    bare = [row.split("|")[1] for row in ROWS if not row.split("|")[4].strip()]
    assert not bare
