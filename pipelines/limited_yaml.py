"""Reads YAML within limits: plain data, and the line of each part.

Somebody else may have written the files. Each repetition by an alias counts, so aliases cannot multiply; depth, size
and numbers have limits; tags, directives, duplicate keys and control characters are refused. Numbers are those of YAML
1.2's core schema, and what other readers of YAML take for something else (010, .inf, 1e999) is refused.
"""

from __future__ import annotations

import copy
import io
import math
import re
from datetime import date
from typing import TYPE_CHECKING, Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import (
    AliasEvent,
    DocumentStartEvent,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_DEPTH = 32
"""Lists and mappings inside one another."""
MAX_NODES = 100_000
"""Values, lists and mappings in all, those that aliases repeat counted each time."""
MAX_KEY = 256
"""Characters of a key."""

_NULL = frozenset({"", "~", "null", "Null", "NULL"})
_TRUE, _FALSE = frozenset({"true", "True", "TRUE"}), frozenset({"false", "False", "FALSE"})
_INT = re.compile(r"[-+]?(?:0|[1-9][0-9]*(?:_[0-9]+)*)")
_BASED = re.compile(r"0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:_[0-9]+)*(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_ODD = re.compile(r"[-+]?0[0-9_]*[0-9]|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)")
_UNSEEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]")
"""Control characters, those that turn the direction of text, and halves of characters; tabs and line ends are text."""


class LimitedYamlError(ValueError):
    """The text is not YAML, or uses features of YAML that are not accepted; a message of one line."""

    def __init__(self, problem: str, line: int | None = None) -> None:
        super().__init__(problem)
        self.problem = problem
        self.line = line
        """1-based; None if it is not known."""


class Mapping(dict[str, Any]):
    """A mapping, and the line that each of its keys stands on."""

    lines: dict[str | int, int]


class Sequence(list[Any]):
    """A list, and the line that each of its entries begins on."""

    lines: dict[str | int, int]


def read_yaml(text: str) -> Any:
    """Plain data: `Mapping`, `Sequence`, None, bool, int, float, date and str.

    Raises:
        LimitedYamlError: what is wrong, and the line.
    """
    yaml = YAML(typ="safe", pure=True)
    try:
        return _Builder(yaml.parse(io.StringIO(text))).document()
    except MarkedYAMLError as error:
        mark = error.problem_mark
        problem = (error.problem or "not YAML").splitlines()[0]
        raise LimitedYamlError(f"not valid YAML: {problem}", None if mark is None else mark.line + 1) from None
    except (YAMLError, RecursionError, ValueError, AttributeError, IndexError, TypeError, KeyError) as error:
        if isinstance(error, LimitedYamlError):
            raise
        first = (str(error).strip().splitlines() or ["it cannot be read"])[0]  # ruamel lets its own slips through
        raise LimitedYamlError(f"not valid YAML: {first[:200]}") from None


class _Builder:
    """Builds a tree from a stream of events."""

    def __init__(self, events: Iterator[Any]) -> None:
        self._events = events
        self._nodes = 0
        self._anchors: dict[str, tuple[Any, int] | None] = {}
        """Name -> (what it stands for, nodes in it); None while that is being read."""

    def document(self) -> Any:
        found: Any = None
        documents = 0
        for event in self._events:
            if isinstance(event, DocumentStartEvent):
                documents += 1
                if documents > 1:
                    raise LimitedYamlError("it contains a second document; expected one", _line(event))
                if event.version is not None or event.tags:
                    raise LimitedYamlError("directives (%YAML, %TAG) are not accepted; remove the line", _line(event))
            elif isinstance(event, AliasEvent | ScalarEvent | SequenceStartEvent | MappingStartEvent):
                found = self._node(event, 1)
        return found

    def _node(self, event: Any, depth: int) -> Any:
        line = _line(event)
        if isinstance(event, AliasEvent):
            return self._repeated(event.anchor, line)
        self._count(1, line)
        if depth > MAX_DEPTH:
            raise LimitedYamlError(f"lists and mappings are more than {MAX_DEPTH} deep", line)
        if event.tag is not None:
            raise LimitedYamlError(f"tags are not accepted, found {str(event.tag)[:80]!r}; write the plain value", line)
        before = self._nodes - 1
        if event.anchor is not None:
            self._anchors[event.anchor] = None
        made = self._made(event, depth)
        if event.anchor is not None:
            self._anchors[event.anchor] = (made, self._nodes - before)
        return made

    def _made(self, event: Any, depth: int) -> Any:
        if isinstance(event, SequenceStartEvent):
            return self._sequence(depth)
        if isinstance(event, MappingStartEvent):
            return self._mapping(depth)
        plain = event.style is None and bool(event.implicit[0])
        text = _seen(event.value, _line(event))
        return _scalar(text, _line(event)) if plain else text

    def _sequence(self, depth: int) -> Sequence:
        made = Sequence()
        made.lines = {}
        for event in self._events:
            if isinstance(event, SequenceEndEvent):
                break
            made.lines[len(made)] = _line(event)
            made.append(self._node(event, depth + 1))
        return made

    def _mapping(self, depth: int) -> Mapping:
        made, merged = Mapping(), Mapping()
        made.lines, merged.lines = {}, {}
        for event in self._events:
            if isinstance(event, MappingEndEvent):
                break
            line = _line(event)
            key = self._key(event)
            value = self._node(next(self._events), depth + 1)
            if key == "<<" and event.style is None:
                self._merge(value, merged, line)
                continue
            if key in made:
                raise LimitedYamlError(f"not valid YAML: duplicate key {key!r}", line)
            made[key], made.lines[key] = value, line
        for key, value in merged.items():
            if key not in made:
                made[key], made.lines[key] = value, merged.lines[key]
        return made

    def _key(self, event: Any) -> str:
        line = _line(event)
        if not isinstance(event, ScalarEvent) or event.tag is not None or event.anchor is not None:
            raise LimitedYamlError("a key must be a plain word", line)
        self._count(1, line)
        if len(event.value) > MAX_KEY:
            raise LimitedYamlError(f"a key has {len(event.value):,} characters, at most {MAX_KEY} are accepted", line)
        return _seen(event.value, line)

    def _merge(self, value: Any, into: Mapping, line: int) -> None:
        """`<<: *name`, or a list of such: the first that has a key decides."""
        for each in value if isinstance(value, Sequence) else [value]:
            if not isinstance(each, Mapping):
                raise LimitedYamlError("'<<' takes a mapping, or a list of mappings", line)
            self._count(len(each), line)
            for key, inner in each.items():
                if key not in into:
                    into[key], into.lines[key] = inner, each.lines[key]

    def _repeated(self, name: str, line: int) -> Any:
        if name not in self._anchors:
            raise LimitedYamlError(f"not valid YAML: no earlier value has the name &{name[:80]}", line)
        found = self._anchors[name]
        if found is None:
            raise LimitedYamlError(f"*{name[:80]} is inside the value that it names", line)
        self._count(found[1], line)
        return copy.deepcopy(found[0])

    def _count(self, nodes: int, line: int) -> None:
        self._nodes += nodes
        if self._nodes > MAX_NODES:
            raise LimitedYamlError(f"more than {MAX_NODES:,} values, counting each repetition by an alias", line)


def _line(event: Any) -> int:
    return int(event.start_mark.line) + 1


def _seen(text: str, line: int) -> str:
    found = _UNSEEN.search(text)
    if found is not None:
        raise LimitedYamlError(f"the text holds the control character U+{ord(found[0]):04X}; remove it", line)
    return text


def _scalar(text: str, line: int) -> Any:
    """The value of an unquoted word."""
    if text in _NULL:
        return None
    if text in _TRUE or text in _FALSE:
        return text in _TRUE
    if _DATE.fullmatch(text):
        try:
            return date.fromisoformat(text)
        except ValueError:
            raise LimitedYamlError(f"{text} is not a valid date", line) from None
    if _ODD.fullmatch(text):
        raise LimitedYamlError(
            f"{text[:40]} is read differently by different programs; write a plain number, or '{text[:40]}' in "
            "quotes for text",
            line,
        )
    return _number(text, line)


def _number(text: str, line: int) -> int | float | str:
    is_int = _INT.fullmatch(text) is not None or _BASED.fullmatch(text) is not None
    if not is_int and _FLOAT.fullmatch(text) is None:
        return text
    value = math.inf if len(text) > 64 else int(text.replace("_", ""), 0) if is_int else float(text.replace("_", ""))
    if not -(2**63) <= value < 2**63 if is_int else not math.isfinite(value):
        shown = text if len(text) <= 24 else f"{text[:20]}..."
        raise LimitedYamlError(f"the number {shown} is too large", line)
    return value
