"""Presets: products described once, in files NAME.yaml beside this one, or in a user's own beside the recipe.

A preset has the keys of a declared source (`schemas.declared_source.DeclaredSource`) and no code. A source of
`kind: NAME` is its preset with what the recipe writes on top; the stored recipe holds the result and needs no file.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.limited_yaml import LimitedYamlError, Mapping, read_yaml
from schemas.sensors import CODED_KINDS

if TYPE_CHECKING:
    from collections.abc import Callable

FOLDER = Path(__file__).parent
"""Where the shipped files lie."""
_MOST_BYTES = 1_000_000
_FILES = (".yaml", ".yml")
_OWN = ("layer", "kind", "preset", "providers", "windows")
"""Keys that belong into the recipe: a preset describes a product and not its use."""


class PresetError(ValueError):
    """A preset cannot be used; the message is one line: file, line, what was found and what is expected."""


@cache
def shipped() -> tuple[str, ...]:
    """Names of the presets that come with landweave."""
    return tuple(sorted(path.stem for path in FOLDER.glob("*.yaml")))


def kinds() -> list[str]:
    """Every kind of source that a recipe may name without a file of its own."""
    return [*CODED_KINDS, *shipped()]


def is_preset(kind: object) -> bool:
    """Whether a source of this kind is described by a file."""
    return isinstance(kind, str) and (kind in shipped() or kind.endswith(_FILES))


def read_preset(kind: str, find: Callable[[str], Path]) -> tuple[Path, Mapping]:
    """The preset that a recipe names: a file beside it ('mine.yaml'), else a shipped one ('naip').

    Args:
        kind: as the recipe says it.
        find: path as the recipe says it -> the file, where the recipe may read it.

    Raises:
        PresetError: it is not there, or is not YAML of a mapping.
    """
    path = find(kind) if kind.endswith(_FILES) else FOLDER / f"{kind}.yaml"
    try:
        content = path.read_bytes()
        if len(content) > _MOST_BYTES:
            raise PresetError(f"{path.name}: larger than {_MOST_BYTES:,} bytes, so not a preset")
        tree = read_yaml(content.decode("utf-8-sig"))
    except OSError as error:
        raise PresetError(f"{path.name}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise PresetError(f"{path.name}: not a text file (UTF-8 expected)") from None
    except LimitedYamlError as error:
        at = "" if error.line is None else f" line {error.line}"
        raise PresetError(f"{path.name}{at}: {error.problem}") from None
    if not isinstance(tree, Mapping):
        raise PresetError(f"{path.name}: a preset is a mapping of keys (collection, arrays, ...)")
    for key in _OWN:
        if key in tree:
            raise PresetError(f"{path.name} line {tree.lines[key]}: {key!r} belongs into the recipe; remove it here")
    return path, tree


def merged(entry: dict[str, Any], preset: Mapping, name: str) -> Mapping:
    """A source's entry on top of its preset: mappings key by key, other values in place of the preset's; null removes.

    Lines are those of the entry; a key that only the preset has, has none.
    """
    made = _over(entry, preset)
    made["kind"], made["preset"] = "declared", name
    return made


def _over(upper: dict[str, Any], lower: dict[str, Any]) -> Mapping:
    made = Mapping()
    made.lines = dict(getattr(upper, "lines", {}))
    for key in [*lower, *(k for k in upper if k not in lower)]:
        above, below = upper.get(key), lower.get(key)
        if key not in upper:
            made[key] = below
        elif isinstance(above, dict) and isinstance(below, dict):
            made[key] = _over(above, below)
        elif above is not None or key not in lower:
            made[key] = above
    return made
