"""A recipe's identity: what it says. A field that is added later, with a default, changes no recipe's hash."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pydantic
import pytest

from pipelines.recipes import read_recipe
from schemas.identity import sha256_of, stated
from schemas.recipe import Recipe
from schemas.strict import Strict
from tests.recipes.test_recipe_errors import GOOD, write

PINNED = Path(__file__).parents[1] / "golden" / "recipe_defaults.json"


class Part(Strict):
    kind: str = "part"
    size: int = 3


class Before(Strict):
    name: str
    parts: tuple[Part, ...] = ()
    by_name: dict[str, Part] = pydantic.Field(default_factory=dict)


class PartLater(Part):
    colour: str | None = None


class After(Strict):
    name: str
    parts: tuple[PartLater, ...] = ()
    by_name: dict[str, PartLater] = pydantic.Field(default_factory=dict)
    extra: Part = pydantic.Field(default_factory=Part)


SAID: dict[str, Any] = {"name": "a", "parts": [{}, {"size": 4}], "by_name": {"x": {"size": 3}}}


def test_a_new_field_with_a_default_changes_no_hash() -> None:
    before, after = Before.model_validate(SAID), After.model_validate(SAID)
    assert sha256_of(before) == sha256_of(after)
    assert stated(before)["parts"] == [{"kind": "part"}, {"kind": "part", "size": 4}]
    for more in ({"extra": {"size": 9}}, {"parts": [{"colour": "red"}, {"size": 4}]}):
        assert sha256_of(After.model_validate(SAID | more)) != sha256_of(after)


def test_defaults_written_out_are_the_same_recipe(tmp_path: Path) -> None:
    recipe = read_recipe(write(tmp_path, GOOD)).recipe
    whole = Recipe.model_validate_json(recipe.model_dump_json())
    assert whole.sha256 == recipe.sha256
    assert Recipe.model_validate(stated(recipe)) == recipe


@pytest.mark.parametrize(
    "change",
    [{"seed": 99}, {"quality": {"min_modalities": 2}}, {"shards": {"samples": 255}}, {"description": "other"}],
    ids=lambda c: next(iter(c)),
)
def test_what_a_recipe_says_counts(tmp_path: Path, change: dict[str, Any]) -> None:
    recipe = read_recipe(write(tmp_path, GOOD)).recipe
    assert Recipe.model_validate(stated(recipe) | change).sha256 != recipe.sha256


def test_a_recipe_is_stored_as_it_was_before_later_fields_came() -> None:
    """What stands in finished datasets: a field that was added since is written only where it says something."""
    stored = (PINNED.parent / "recipe_stored.json").read_text().rstrip("\n")
    recipe = Recipe.model_validate_json(stored)
    assert recipe.model_dump_json(indent=1) == stored
    assert recipe.sha256 == "1e3dfcf76728" + recipe.sha256[12:]


def defaults(schema: dict[str, Any]) -> dict[str, Any]:
    """'Section.field' -> its default, for every field that has one."""
    sections = {"Recipe": schema, **schema["$defs"]}
    return {
        f"{section}.{name}": field["default"]
        for section, content in sections.items()
        for name, field in content.get("properties", {}).items()
        if "default" in field
    }


def test_defaults_never_change() -> None:
    """A changed default would give recipes another meaning under the same hash. New ones are added to the file:
    `python -m tests.recipes.test_recipe_identity`."""
    found, pinned = defaults(Recipe.model_json_schema()), json.loads(PINNED.read_text())
    assert {k: found.get(k) for k in pinned} == pinned


if __name__ == "__main__":
    known = json.loads(PINNED.read_text()) if PINNED.exists() else {}
    PINNED.write_text(json.dumps(defaults(Recipe.model_json_schema()) | known, indent=1, sort_keys=True) + "\n")
