"""Validates JSON from disk field by field: type, range and format.

A dataset may come from anybody, so its files are not trusted. An invalid field raises a CorruptError with its place,
the found and the expected value. Unknown fields are ignored, because a later version may have added them.
"""

from __future__ import annotations

import json
import math
import re
from typing import TYPE_CHECKING, Any, NoReturn

from landweave.errors import CorruptError
from landweave.plain import printable

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from re import Pattern

NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,63}")
"""Of a modality, label, array or dimension."""
SAMPLE_ID = re.compile(r"[A-Za-z0-9_-]{1,128}")
"""Pattern of sample ids, as in `sampling`."""
SHA256 = re.compile(r"[0-9a-f]{64}")
_PART = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,254}|\.[A-Za-z0-9_-][A-Za-z0-9._-]{0,253}")
MOST_TEXT = 1 << 20
"""Characters of one text."""
MOST_ENTRIES = 1 << 24
"""Entries of one list or object."""
MOST_JSON = 1 << 28
"""Bytes of a JSON file whose size nothing else says."""
_REQUIRED = object()


def inside(path: str, where: str = "") -> str:
    """The path, if it is relative, plain and stays inside the dataset; otherwise CorruptError."""
    if len(path) > 1024 or not all(_PART.fullmatch(part) for part in path.split("/")):
        raise CorruptError(
            f"{where}{printable(path[:200])}: is not a path inside a dataset (letters, digits, '.', '_', '-' "
            "between '/')"
        )
    return path


def parse(raw: bytes, path: str) -> Any:
    """Strict JSON: UTF-8, no key twice, no NaN and no infinity.

    Raises:
        CorruptError: anything else.
    """
    try:
        data = json.loads(str(raw, "utf-8"), object_pairs_hook=_once, parse_constant=_no_constant, parse_float=_finite)
        if b"\\ud" in raw.lower():
            json.dumps(data, ensure_ascii=False).encode()  # halves of characters cannot be written
    except (ValueError, RecursionError) as error:
        raise CorruptError(f"{path}: not readable JSON ({error}); the file is damaged or truncated") from error
    return data


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key occurs twice")
    return found


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError("a number does not fit in 64 bits")
    return value


class Fields:
    """A JSON object whose fields are asked for by name; `where` is what messages call it."""

    def __init__(self, value: Any, where: str) -> None:
        if not isinstance(value, dict):
            refuse(where, value, "an object")
        self._value: dict[str, Any] = value
        self.where = where

    def __iter__(self) -> Iterator[str]:
        return iter(self._value)

    def __len__(self) -> int:
        return len(self._value)

    def at(self, name: str) -> str:
        """Name of a field in messages."""
        return f"{self.where}.{printable(name)}"

    def _get(self, name: str, default: Any) -> Any:
        found = self._value.get(name, default)
        if found is _REQUIRED:
            raise CorruptError(f"{self.where}: lacks {name!r}")
        return found

    def whole(self, name: str, low: int, high: int, default: Any = _REQUIRED) -> int:
        """An integer within bounds, both included."""
        found = self._get(name, default)
        if type(found) is int and low <= found <= high:  # the usual case needs no name for a message
            return found
        return whole(found, self.at(name), low, high)

    def number(self, name: str, low: float = -1e300, high: float = 1e300) -> float:
        """A finite number (int or float) within bounds, both included."""
        found = self._get(name, _REQUIRED)
        if type(found) is float and low <= found <= high:
            return found
        return number(found, self.at(name), low, high)

    def number_or_none(self, name: str, low: float = -1e300, high: float = 1e300) -> float | None:
        """A finite number, or null where there is none."""
        found = self._get(name, None)
        return None if found is None else number(found, self.at(name), low, high)

    def flag(self, name: str, default: Any = _REQUIRED) -> bool:
        """True or False."""
        found = self._get(name, default)
        if not isinstance(found, bool):
            refuse(self.at(name), found, "true or false")
        return found

    def text(self, name: str, pattern: Pattern[str] | None = None) -> str:
        """A text that matches the pattern, if one is given."""
        return text(self._get(name, _REQUIRED), self.at(name), pattern)

    def text_or_none(self, name: str) -> str | None:
        """A text, or null where there is none."""
        found = self._get(name, None)
        return None if found is None else text(found, self.at(name))

    def choice(self, name: str, values: Sequence[str]) -> Any:
        """One of the values."""
        found = self._get(name, _REQUIRED)
        if not isinstance(found, str) or found not in values:
            refuse(self.at(name), found, f"one of {', '.join(values)}")
        return found

    def entries(self, name: str, most: int = MOST_ENTRIES, default: Any = _REQUIRED) -> list[Any]:
        """A list."""
        found = self._get(name, default)
        if not isinstance(found, (list, tuple)):
            refuse(self.at(name), found, "a list")
        if len(found) > most:
            refuse(self.at(name), f"{len(found)} entries", f"at most {most}")
        return list(found)

    def texts(self, name: str, pattern: Pattern[str] | None = None, most: int = MOST_ENTRIES) -> tuple[str, ...]:
        """A list of texts."""
        return tuple(text(v, self.at(name), pattern) for v in self.entries(name, most))

    def objects(self, name: str, most: int = MOST_ENTRIES, default: Any = _REQUIRED) -> list[Fields]:
        """A list of objects."""
        return [Fields(v, f"{self.at(name)}[{i}]") for i, v in enumerate(self.entries(name, most, default))]

    def object(self, name: str, default: Any = _REQUIRED) -> Fields:
        """An object."""
        found = Fields(self._get(name, default), self.at(name))
        if len(found) > MOST_ENTRIES:
            refuse(self.at(name), f"{len(found)} entries", f"at most {MOST_ENTRIES}")
        return found

    def only(self, name: str) -> Any:
        """A field without validation: the caller validates it."""
        return self._get(name, None)


def whole(value: Any, where: str, low: int, high: int) -> int:
    """An integer within bounds, both included; true and false are refused."""
    if type(value) is not int or not low <= value <= high:
        refuse(where, value, f"an integer from {low} to {high}")
    return value


def number(value: Any, where: str, low: float = -1e300, high: float = 1e300) -> float:
    """A finite number (int or float) within bounds, both included."""
    if type(value) not in (int, float) or not low <= value <= high:
        refuse(where, value, f"a number from {low:g} to {high:g}")
    return value  # type: ignore[no-any-return]


def text(value: Any, where: str, pattern: Pattern[str] | None = None) -> str:
    """A text that matches the pattern, if one is given."""
    if not isinstance(value, str) or len(value) > MOST_TEXT:
        refuse(where, value, f"a text of at most {MOST_TEXT} characters")
    if pattern is not None and not pattern.fullmatch(value):
        refuse(where, value, f"a text like {pattern.pattern}")
    return value


def refuse(where: str, found: Any, expected: str) -> NoReturn:
    """Raise CorruptError with the found and the expected value."""
    raise CorruptError(f"{where}: expected {expected}, found {_brief(found)}")


def _brief(value: Any) -> str:
    """The found value, shortened."""
    try:
        return printable(value if isinstance(value, str) else json.dumps(value))[:80]
    except (TypeError, ValueError, RecursionError):
        return type(value).__name__
