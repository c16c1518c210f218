"""Reads a recipe file with its presets and crosswalks, checks it, and applies `--set`."""

from __future__ import annotations

import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter, ValidationError

from pipelines.access.errors import SettingError
from pipelines.access.http.permission import local_file
from pipelines.crosswalks import CrosswalkError, resolve
from pipelines.limited_yaml import LimitedYamlError, Mapping, read_yaml
from pipelines.limited_yaml import Sequence as Entries
from pipelines.mistakes import _line_of, lines_of
from pipelines.presets import PresetError, is_preset, merged, read_preset
from schemas.recipe import Recipe
from schemas.sensors import Source

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

MAX_RECIPE_BYTES = 1_000_000
"""A recipe is written by a person; anything larger is some other file."""

MOST_LINES = 20
"""Most mistakes to report together."""


class RecipeError(ValueError):
    """The recipe cannot be used. `lines` holds one clear line per mistake."""

    def __init__(self, lines: Sequence[str]) -> None:
        self.lines = tuple(lines)
        super().__init__("\n".join(self.lines))


@dataclass(frozen=True, kw_only=True)
class RecipeFile:
    """A recipe and where it was read."""

    recipe: Recipe
    """The checked recipe."""
    folder: Path
    """Folder that relative paths in the recipe start from."""
    own_words: frozenset[str] = frozenset()
    """Texts that the user wrote with `--set`, and that the file does not contain."""

    def file(self, where: str, said: str) -> Path:
        """A file that the recipe names: below its folder, or in a folder that the user allows.

        Args:
            where: Key of the recipe, for messages.
            said: The path as the recipe says it.

        Raises:
            RecipeError: it lies elsewhere, is not there, or is no regular file.
        """
        anywhere = said in self.own_words
        try:
            return local_file(where, said, self.folder, anywhere=anywhere)
        except SettingError as error:
            raise RecipeError([str(error)]) from None


def read_recipe(path: Path, overrides: Sequence[str] = ()) -> RecipeFile:
    """Read and check a recipe.

    Args:
        path: a YAML (or JSON) file.
        overrides: 'a.b=value' assignments applied before the check; list entries by position
            ('sources.0.max_cloud=0.1').

    Raises:
        RecipeError: one line per mistake: file, line, key, what was found, what was expected.
    """
    text = _read_text(path)
    try:
        tree = read_yaml(text)
    except LimitedYamlError as error:
        at = "" if error.line is None else f" line {error.line}"
        raise RecipeError([f"{path.name}{at}: {error.problem}"]) from None
    if not isinstance(tree, dict):
        found = "nothing" if tree is None else f"a {type(tree).__name__}"
        raise RecipeError([f"{path.name}: a recipe is a mapping of keys (name, seed, sampling, …), found {found}"])
    written = frozenset(_texts(tree))
    for override in overrides:
        _assign(tree, override)
    own_words = frozenset(_texts(tree)) - written
    _crosswalks(path, tree, own_words)
    _presets(path, tree, own_words)
    try:
        recipe = Recipe.model_validate(tree)
    except ValidationError as error:
        raise RecipeError(lines_of(path, tree, [dict(detail) for detail in error.errors()])[:MOST_LINES]) from None
    return RecipeFile(recipe=recipe, folder=path.resolve().parent, own_words=own_words)


def _crosswalks(path: Path, tree: dict[str, Any], own_words: frozenset[str]) -> None:
    """Put the content of each crosswalk that a label names into its place: a stored recipe needs no other file.

    Raises:
        RecipeError: one line per crosswalk that cannot be used.
    """
    lines = []
    for where, label, kind in _with_crosswalks(tree):
        said = label.get("crosswalk")
        if not isinstance(said, str):
            continue
        try:
            found = resolve(said, _finder(path, where, own_words), kind)
        except (CrosswalkError, SettingError) as error:
            lines.append(_at_key(path, tree, where, error))
            continue
        label["crosswalk"] = found.crosswalk.model_dump(mode="json") | {"sha256": found.sha256}
    if lines:
        raise RecipeError(lines[:MOST_LINES])


def _finder(path: Path, where: tuple[str | int, ...], own_words: frozenset[str]) -> Callable[[str], Path]:
    """Finds the file that a key of a recipe names."""
    key = ".".join(map(str, where))
    return lambda name: local_file(key, name, path.resolve().parent, anywhere=name in own_words)


def _at_key(path: Path, tree: dict[str, Any], where: tuple[str | int, ...], error: Exception) -> str:
    """An error as a line with the place of its key in the recipe; a `SettingError` names the key itself."""
    line, key = _line_of(tree, where), "" if isinstance(error, SettingError) else ".".join(map(str, where)) + ": "
    return f"{path.name}{'' if line is None else f' line {line}'}: {key}{error}"


def _with_crosswalks(tree: dict[str, Any]) -> Iterator[tuple[tuple[str | int, ...], dict[str, Any], str]]:
    """Labels, and voters of fused labels: where their crosswalk is in the recipe, the entry, and kind of the label."""
    said = tree.get("labels")
    labels = [(i, x) for i, x in enumerate(said if isinstance(said, list) else ()) if isinstance(x, dict)]
    kinds = {str(x.get("layer") or x.get("name") or x.get("kind")): str(x.get("kind")) for _, x in labels}
    for number, label in labels:
        yield ("labels", number, "crosswalk"), label, str(label.get("kind"))
        voters = label.get("voters")
        for place, voter in enumerate(voters if isinstance(voters, list) else ()):
            if isinstance(voter, dict):
                yield ("labels", number, "voters", place, "crosswalk"), voter, kinds.get(str(voter.get("label")), "")


def _presets(path: Path, tree: dict[str, Any], own_words: frozenset[str]) -> None:
    """Put the content of each preset that a source names into its place: a stored recipe needs no other file.

    Raises:
        RecipeError: one line per mistake in a preset.
    """
    sources: list[Any] = tree["sources"] if isinstance(tree.get("sources"), list) else []
    lines: list[str] = []
    for number, source in enumerate(sources):
        kind = source.get("kind") if isinstance(source, dict) else None
        if not isinstance(kind, str) or not is_preset(kind):
            continue
        where = ("sources", number, "kind")
        try:
            file, preset = read_preset(kind, _finder(path, where, own_words))
        except (PresetError, SettingError) as error:
            lines.append(_at_key(path, tree, where, error))
            continue
        lines += _wrong_in(file, preset)
        sources[number] = merged(source, preset, file.stem)
    if lines:
        raise RecipeError(lines[:MOST_LINES])


def _wrong_in(file: Path, preset: Mapping) -> list[str]:
    """Mistakes of a preset by itself, in its own lines."""
    alone = merged(Mapping(), preset, "x")
    alone.lines = preset.lines
    alone |= {"providers": ["x"]}
    try:
        _SOURCES.validate_python([alone])
    except ValidationError as error:
        details = [dict(detail) | {"loc": ("sources", *detail["loc"])} for detail in error.errors()]
        tree, entries = Mapping(), Entries([alone])
        tree["sources"], tree.lines, entries.lines = entries, {"sources": 1}, {0: 1}
        return [line.replace(": sources.0.", ": ", 1) for line in lines_of(file, tree, details)]
    return []


_SOURCES: TypeAdapter[list[Source]] = TypeAdapter(list[Source])


def json_schema() -> dict[str, Any]:
    """JSON Schema of the recipe file, for editors."""
    schema = Recipe.model_json_schema()
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "landweave recipe", **schema}


def _read_text(path: Path) -> str:
    try:
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            raise RecipeError([f"{path}: is a folder; give the recipe's YAML file"])
        if not stat.S_ISREG(mode):
            raise RecipeError([f"{path}: is not a regular file; give the recipe's YAML file"])
        with path.open("rb") as file:
            content = file.read(MAX_RECIPE_BYTES + 1)
        if len(content) > MAX_RECIPE_BYTES:
            raise RecipeError([f"{path.name}: larger than {MAX_RECIPE_BYTES} bytes, so not a recipe"])
        return content.decode("utf-8-sig")
    except FileNotFoundError:
        raise RecipeError([f"{path}: no such recipe file"]) from None
    except UnicodeDecodeError:
        raise RecipeError([f"{path.name}: not a text file (UTF-8 expected)"]) from None
    except (OSError, ValueError) as error:
        if isinstance(error, RecipeError):
            raise
        why = error.strerror if isinstance(error, OSError) else "its name is not valid"
        raise RecipeError([f"{path.name}: cannot be read: {why}"]) from None


def _texts(node: Any) -> Iterator[str]:
    """Every text value of a tree."""
    if isinstance(node, str):
        yield node
    elif isinstance(node, dict | list):
        for inner in node.values() if isinstance(node, dict) else node:
            yield from _texts(inner)


def _assign(tree: dict[str, Any], override: str) -> None:
    dotted, equals, raw = override.partition("=")
    if not equals or not dotted:
        raise RecipeError([f"--set {override!r}: expected key=value, for example sampling.count=1000"])
    *parents, last = dotted.split(".")
    node: Any = tree
    for part in parents:
        node = _step(node, part, dotted)
    try:
        value = read_yaml(raw)
    except LimitedYamlError as error:
        raise RecipeError([f"--set {dotted}: {error.problem}"]) from None
    if isinstance(node, list):
        node[_number(node, last, dotted)] = value
    else:
        node[last] = value


def _step(node: Any, part: str, dotted: str) -> Any:
    if isinstance(node, list):
        node = node[_number(node, part, dotted)]
    elif isinstance(node, dict):
        node = node.setdefault(part, {})
    if not isinstance(node, dict | list):
        raise RecipeError([f"--set {dotted}: {part!r} is a value or does not exist, so nothing can be set inside it"])
    return node


def _number(entries: list[Any], part: str, dotted: str) -> int:
    if not (part.isascii() and part.isdigit()) or int(part) >= len(entries):
        there = f"entries 0..{len(entries) - 1}" if entries else "no entry"
        raise RecipeError([f"--set {dotted}: the list has {there}, found {part!r}"])
    return int(part)
