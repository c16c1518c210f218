"""Says what is wrong in a recipe: one line for each mistake, with the line of the file, the key, and what is right."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

from pipelines.presets import kinds
from schemas.label_date import DAY
from schemas.number import NUMBER_KINDS
from schemas.recipe import Recipe
from schemas.splits import SPLIT_KINDS
from schemas.strata import BINNED, Binned

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


DEFAULT_KIND = "stac"
"""Entry that may omit its kind: a provider."""
_TAGGED: dict[str | int, type[BaseModel]] = dict[str | int, type[BaseModel]](
    [*SPLIT_KINDS.items(), *NUMBER_KINDS.items(), (BINNED, Binned)]
)
"""Tag of a section that has no `kind` -> its class."""


_WANTED = {
    "dict_type": "a mapping (KEY: value)", "model_type": "a mapping (KEY: value)", "list_type": "a list ([...])",
    "tuple_type": "a list ([...])", "string_type": "a text", "int_type": "a whole number", "float_type": "a number",
    "bool_type": "true or false", "date_type": "a day (2021-06-05)",
}  # fmt: skip
"""Pydantic's error of a value of the wrong form -> what was expected."""
_SECTIONS = ("dict_type", "model_type", "list_type", "tuple_type")
"""Those of them where something with parts was expected."""


def lines_of(path: Path, tree: dict[str, Any], details: Sequence[dict[str, Any]]) -> list[str]:
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
            message = _unlike(str(detail["type"]), message, found)
            if "bbox" in location[:-1]:
                message += " (a bbox is west, south, east, north)"
    at = f" line {line}" if line is not None else ""
    return f"{path.name}{at}: {where}: {message}"


def _unlike(kind: str, message: str, found: Any) -> str:
    """A value that has not the form it should have."""
    if isinstance(found, dict | list):
        form = "a list" if isinstance(found, list) else "a mapping (KEY: value)"
        return f"expected {_WANTED[kind]}, found {form}" if kind in _WANTED else message
    if kind in _SECTIONS:
        return f"expected {_WANTED[kind]}, found {_short(found)}"
    return f"{message[:1].lower()}{message[1:]}, found {_short(found)}"


def _is_tag(part: str | int, tree: Any, loc: tuple[str | int, ...]) -> bool:
    """True for the discriminator that pydantic puts into a location ('sources', 0, 'sentinel2', 'max_cloud')."""
    node = tree
    for step in loc[: loc.index(part)]:
        if isinstance(node, dict):
            node = node.get(step, node)
        elif isinstance(node, list) and isinstance(step, int) and step < len(node):
            node = node[step]
    if part in _TAGGED or part in ("a text", "a voter", DAY):
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
