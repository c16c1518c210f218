"""Reads a recipe file, and reports each mistake in one line: what, where, and the correct form."""

from __future__ import annotations

import difflib
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, TypeAdapter, ValidationError

from pipelines.access.errors import SettingError
from pipelines.access.http.permission import local_file
from pipelines.crosswalks import CrosswalkError, resolve
from pipelines.limited_yaml import LimitedYamlError, Mapping, read_yaml
from pipelines.limited_yaml import Sequence as Entries
from pipelines.presets import PresetError, is_preset, kinds, merged, read_preset
from schemas.number import NUMBER_KINDS
from schemas.recipe import Recipe
from schemas.sensors import Source
from schemas.splits import SPLIT_KINDS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

MAX_RECIPE_BYTES = 1_000_000
"""A recipe is written by a person; anything larger is some other file."""

MOST_LINES = 20
"""Most mistakes to report together."""

_TAGGED: dict[str | int, type[BaseModel]] = dict[str | int, type[BaseModel]](
    [*SPLIT_KINDS.items(), *NUMBER_KINDS.items()]
)
"""Tag of a section that has no `kind` -> its class."""

DEFAULT_KIND = "stac"
"""Entry that may omit its kind: a provider."""


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
        raise RecipeError(_lines(path, tree, [dict(detail) for detail in error.errors()])[:MOST_LINES]) from None
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

        def find(name: str) -> Path:
            return local_file("labels.crosswalk", name, path.resolve().parent, anywhere=name in own_words)

        try:
            found = resolve(said, find, kind)
        except (CrosswalkError, SettingError) as error:
            line, key = _line_of(tree, where), ".".join(map(str, where))
            lines.append(f"{path.name}{'' if line is None else f' line {line}'}: {key}: {error}")
            continue
        label["crosswalk"] = found.crosswalk.model_dump(mode="json") | {"sha256": found.sha256}
    if lines:
        raise RecipeError(lines[:MOST_LINES])


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

        def find(name: str) -> Path:
            return local_file("sources.kind", name, path.resolve().parent, anywhere=name in own_words)

        try:
            file, preset = read_preset(kind, find)
        except (PresetError, SettingError) as error:
            line = _line_of(tree, ("sources", number, "kind"))
            lines.append(f"{path.name}{'' if line is None else f' line {line}'}: sources.{number}.kind: {error}")
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
        return [line.replace(": sources.0.", ": ", 1) for line in _lines(file, tree, details)]
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


def _lines(path: Path, tree: dict[str, Any], details: Sequence[dict[str, Any]]) -> list[str]:
    """One line per mistake: of a value that fits none of several types, the first of pydantic's errors."""
    found: dict[tuple[str | int, ...], str] = {}
    refused = {_written(tree, d) for d in details if d["type"] == "value_error"}
    for detail in details:
        place = _written(tree, detail)
        if detail["type"].endswith("_type") and place in refused and len(place) < len(detail["loc"]):
            continue  # another type of the value fits, and says what is wrong with it
        where = (*place, detail["loc"]) if len(place) == len(detail["loc"]) else place
        if detail["type"] in ("missing", "value_error", "extra_forbidden"):
            where = (*detail["loc"], str(detail["msg"]))
        found.setdefault(where, _say(path, tree, detail))
    return list(found.values())


def _written(tree: dict[str, Any], detail: dict[str, Any]) -> tuple[str | int, ...]:
    """The part of an error's location that the file has; behind it are the names of types that were tried."""
    node: Any = tree
    kept: list[str | int] = []
    for part in [p for p in detail["loc"] if not _is_tag(p, tree, detail["loc"])]:
        inside = part in node if isinstance(node, dict) else isinstance(node, list) and part in range(len(node))
        if not inside:
            break
        node = node[part]
        kept.append(part)
    return tuple(kept)


def _say(path: Path, tree: dict[str, Any], detail: dict[str, Any]) -> str:
    """One pydantic error as one line."""
    location = [p for p in detail["loc"] if not _is_tag(p, tree, detail["loc"])]
    if detail["type"] not in ("missing", "extra_forbidden"):
        location = list(_written(tree, detail))
    location += getattr(detail.get("ctx", {}).get("error"), "where", ())
    where = ".".join("".join(c if c.isprintable() else "?" for c in str(p)) for p in location) or "recipe"
    line = _line_of(tree, location)
    message = str(detail["msg"]).removeprefix("Value error, ")
    found = detail.get("input")
    match detail["type"]:
        case "extra_forbidden":
            message = _refused(tuple(detail["loc"])) or "unknown key" + _did_you_mean(
                str(location[-1]), _fields_at(tuple(detail["loc"])[:-1])
            )
        case "missing":
            message = "this key is required and missing"
        case "union_tag_not_found":
            message = "needs a `kind`" + _kinds_at(tuple(detail["loc"]))
        case "union_tag_invalid":
            tag = str(detail["ctx"]["tag"])
            message = f"unknown kind {tag!r}; expected one of {detail['ctx']['expected_tags']}"
            if location[:1] == ["sources"]:
                hint = _did_you_mean(tag, kinds()).partition("; known keys")[0]
                message = f"unknown kind {tag!r}{hint}; kinds are {', '.join(kinds())}, or your own preset (mine.yaml)"
        case "value_error":
            pass
        case _:
            if isinstance(found, str | int | float | bool) or found is None:
                message = f"{message[:1].lower()}{message[1:]}, found {_short(found)}"
            if "bbox" in location[:-1]:
                message += " (a bbox is west, south, east, north)"
    at = f" line {line}" if line is not None else ""
    return f"{path.name}{at}: {where}: {message}"


def _is_tag(part: str | int, tree: Any, loc: tuple[str | int, ...]) -> bool:
    """True for the discriminator that pydantic puts into a location ('sources', 0, 'sentinel2', 'max_cloud')."""
    node = tree
    for step in loc[: loc.index(part)]:
        if isinstance(node, dict):
            node = node.get(step, node)
        elif isinstance(node, list) and isinstance(step, int) and step < len(node):
            node = node[step]
    if part in _TAGGED or part == "a text":
        return True
    if not isinstance(node, dict) or part in node:
        return False
    return node.get("kind", DEFAULT_KIND) == part or str(part).startswith("declared/")


def _line_of(tree: Any, location: Sequence[str | int]) -> int | None:
    node, line = tree, None
    for part in location:
        lines: dict[str | int, int] = getattr(node, "lines", {})
        if part not in lines:
            break
        line = lines[part]
        if isinstance(node, dict) and part not in node:
            break
        node = node[part]
    return line


def _models_at(loc: tuple[str | int, ...]) -> list[type[BaseModel]]:
    """Pydantic models at a location of the recipe."""
    models: list[type[BaseModel]] = [Recipe]
    for part in loc:
        if isinstance(part, int):
            continue
        if part in _TAGGED:
            models = [_TAGGED[part]]
            continue
        tagged = [m for m in models if "kind" in m.model_fields and _tag_of(m) == part]
        if tagged:
            models = tagged
            continue
        fields = [f for m in models for name, f in m.model_fields.items() if (f.alias or name) == part]
        models = [x for f in fields for x in _inner_models(f.annotation)] or models  # or a name that the user chose
    return models


def _tag_of(model: type[BaseModel]) -> str:
    return str(getattr(model, "tag", model.model_fields["kind"].default))


def _refused(loc: tuple[str | int, ...]) -> str | None:
    """The reason why a key of other layers is not allowed here."""
    refused = [getattr(model, "refused", {}).get(loc[-1]) for model in _models_at(loc[:-1])]
    return next((why for why in refused if why is not None), None)


def _inner_models(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [m for inner in getattr(annotation, "__args__", ()) for m in _inner_models(inner)]


def _fields_at(loc: tuple[str | int, ...]) -> list[str]:
    return sorted({field.alias or name for m in _models_at(loc) for name, field in m.model_fields.items()})


def _kinds_at(loc: tuple[str | int, ...]) -> str:
    kinds = [str(m.model_fields["kind"].default) for m in _models_at(loc) if "kind" in m.model_fields]
    return f"; expected one of {', '.join(repr(k) for k in kinds)}" if kinds else ""


def _did_you_mean(word: str, known: list[str]) -> str:
    close = difflib.get_close_matches(word, known, n=1)
    if close:
        return f"; did you mean {close[0]!r}?"
    return f"; known keys are {', '.join(known)}" if known else ""


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "…"
