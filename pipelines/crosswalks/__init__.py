"""Crosswalks: files PRODUCT@VERSION.yaml beside this one, or a user's own; read, checked, and turned into arrays."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import ValidationError

from pipelines.limited_yaml import LimitedYamlError, read_yaml
from schemas.crosswalk import MOST_CODE, TRAITS, Crosswalk
from schemas.label import COMMON_CLASSES
from schemas.label_layer import StatedCrosswalk

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from schemas.label import Legend

FOLDER = Path(__file__).parent
"""Where the shipped files lie."""
_MOST_BYTES = 4_000_000
"""A table of 65,536 rows of 60 characters."""


class CrosswalkError(ValueError):
    """A crosswalk cannot be used; the message is one line: file, line, key, what was found and what is expected."""


@dataclass(frozen=True)
class CrosswalkFile:
    """A crosswalk and the identity of its file."""

    crosswalk: Crosswalk
    sha256: str
    """SHA-256 of the file's bytes, lower-case hex."""

    @property
    def stamp(self) -> str:
        """'worldcover@1 sha256:...': what a manifest says."""
        return f"{self.crosswalk.name} sha256:{self.sha256}"

    @property
    def legend(self) -> Legend:
        """Legend with `stamp`."""
        return replace(self.crosswalk.legend, crosswalk=self.stamp)


def resolve(said: str, find: Callable[[str], Path], product: str) -> CrosswalkFile:
    """The crosswalk that a recipe names: a file beside it ('mine.yaml'), else a shipped one ('corine', 'corine@1').

    Args:
        said: as the recipe says it.
        find: path as the recipe says it -> the file, where the recipe may read it.
        product: kind of the label; where a crosswalk of that name is shipped, each of its codes needs a row.

    Raises:
        CrosswalkError: it is not there, or cannot be used.
    """
    found = read_crosswalk(find(said)) if said.endswith((".yaml", ".yml")) else open_shipped(said)
    if any(name.partition("@")[0] == product for name in shipped()):
        legend_by(StatedCrosswalk(**found.crosswalk.model_dump(), sha256=found.sha256), open_shipped(product).legend)
    return found


def legend_of_choice(choice: str | StatedCrosswalk) -> Legend:
    """Legend of a label's crosswalk, as a recipe holds it after `read_recipe`.

    Raises:
        CrosswalkError: it is the name of a file that nobody has read, or of no shipped crosswalk.
    """
    if isinstance(choice, StatedCrosswalk):
        return replace(choice.legend, crosswalk=choice.stamp)
    return open_shipped(choice).legend


def legend_by(choice: str | StatedCrosswalk | None, own: Legend) -> Legend:
    """The legend of a product that landweave knows, with the common classes of the recipe's choice.

    Raises:
        CrosswalkError: the crosswalk lacks a code of the product.
    """
    if choice is None:
        return own
    chosen = legend_of_choice(choice)
    known = {c.code: c.common for c in chosen.classes}
    absent = [c.code for c in own.classes if c.code not in known]
    if absent:
        more = f" and {len(absent) - 1} more" if len(absent) > 1 else ""
        raise CrosswalkError(
            f"{chosen.crosswalk.split()[0]}: has no row for code {absent[0]}{more} of {own.product}; add it, with "
            "`relation: none` if it says nothing"
        )
    classes = tuple(replace(c, common=known[c.code]) for c in own.classes)
    return replace(own, classes=classes, crosswalk=chosen.crosswalk)


def shipped() -> list[str]:
    """Names of the shipped crosswalks, every version: 'cdl@1', ..."""
    return sorted(path.name.removesuffix(".yaml") for path in FOLDER.glob("*@*.yaml"))


@cache
def open_shipped(name: str) -> CrosswalkFile:
    """A shipped crosswalk: 'worldcover@1', or 'worldcover' for its newest version.

    Raises:
        CrosswalkError: there is none of that name; the message lists those that there are.
    """
    versions = [one for one in shipped() if one == name or one.partition("@")[0] == name]
    if not versions:
        raise CrosswalkError(f"no crosswalk is named {name!r}; shipped are {', '.join(shipped())}")
    return read_crosswalk(FOLDER / f"{max(versions, key=lambda one: int(one.partition('@')[2]))}.yaml")


def read_crosswalk(path: Path) -> CrosswalkFile:
    """Read and check one file.

    Raises:
        CrosswalkError: the first mistake of the file, in one line.
    """
    try:
        with path.open("rb") as file:
            content = file.read(_MOST_BYTES + 1)
        text = content.decode("utf-8-sig")
    except OSError as error:
        raise CrosswalkError(f"{path.name}: cannot be read ({error.strerror}); give the file of a crosswalk") from None
    except UnicodeDecodeError:
        raise CrosswalkError(f"{path.name}: not a text file (UTF-8 expected)") from None
    if len(content) > _MOST_BYTES:
        raise CrosswalkError(f"{path.name}: larger than {_MOST_BYTES:,} bytes, so no crosswalk")
    return CrosswalkFile(_checked(path.name, text), hashlib.sha256(content).hexdigest())


def _checked(file: str, text: str) -> Crosswalk:
    try:
        tree = read_yaml(text)
    except LimitedYamlError as error:
        raise CrosswalkError(f"{file}{_at(error.line)}: {error.problem}") from None
    if not isinstance(tree, dict):
        raise CrosswalkError(f"{file}: a crosswalk is a mapping with product, version, rows, ..., found {_kind(tree)}")
    try:
        found = Crosswalk.model_validate(tree)
    except ValidationError as error:
        raise CrosswalkError(_first(file, tree, dict(error.errors()[0]))) from None
    if "@" in file and file.removesuffix(".yaml") != found.name:
        raise CrosswalkError(f"{file}: holds {found.name}; name the file {found.name}.yaml")
    return found


def _first(file: str, tree: Any, detail: dict[str, Any]) -> str:
    """One mistake as one line."""
    location, line, node = detail["loc"], None, tree
    for part in location:
        lines = getattr(node, "lines", {})
        if part not in lines:
            break
        line, node = lines[part], node[part] if isinstance(node, dict | list) else None
    where = ".".join(str(part) for part in location if part != "[key]")
    message = str(detail["msg"]).removeprefix("Value error, ")
    if detail["type"] == "extra_forbidden":
        message = "unknown key"
    elif detail["type"] == "missing":
        message = "this key is required and missing"
    elif detail["type"] != "value_error":
        message = f"{message[:1].lower()}{message[1:]}, found {str(detail.get('input'))[:60]!r}"
    return f"{file}{_at(line)}: {where + ': ' if where else ''}{message}"


def _at(line: int | None) -> str:
    return "" if line is None else f" line {line}"


def _kind(tree: Any) -> str:
    return "nothing" if tree is None else f"a {type(tree).__name__}"


def class_weights(crosswalk: Crosswalk) -> NDArray[np.float32]:
    """(65,536, 11): weight of each class of COMMON_CLASSES for each code.

    A row adds up to 1; codes without a row, `nodata` and relation none are 1 at 'unknown' (column 0).
    """
    table = np.zeros((MOST_CODE + 1, len(COMMON_CLASSES)), np.float32)
    table[:, 0] = 1.0
    for row in crosswalk.rows:
        for name, weight in row.to.items():
            table[row.code, 0] = 0.0
            table[row.code, COMMON_CLASSES.index(name)] = weight
    return table


def hard_classes(crosswalk: Crosswalk) -> NDArray[np.uint8]:
    """(65,536,): code of COMMON_CLASSES for each code of the product, 0 = unknown."""
    table = np.zeros(MOST_CODE + 1, np.uint8)
    for row in crosswalk.rows:
        table[row.code] = COMMON_CLASSES.index(row.common)
    return table


def trait_mask(crosswalk: Crosswalk, traits: Sequence[str]) -> NDArray[np.bool_]:
    """(65,536,): True where the code has all these traits.

    Raises:
        CrosswalkError: a word is no trait.
    """
    strange = [one for one in traits if one not in TRAITS]
    if strange:
        raise CrosswalkError(f"{strange[0]!r} is no trait; traits are {', '.join(TRAITS)}")
    table = np.zeros(MOST_CODE + 1, np.bool_)
    for row in crosswalk.rows:
        table[row.code] = set(traits) <= set(row.traits)
    return table
