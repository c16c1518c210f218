"""Makes tags of the columns of a map, by the rules of a recipe or of `overture.yaml`."""

from __future__ import annotations

import hashlib
import re
from datetime import UTC, date, datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ruamel.yaml import YAML

from schemas.map_source import MapColumns
from schemas.vector_label import text_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from schemas.map_source import TagRule

_OVERTURE = Path(__file__).with_name("overture.yaml")
_STEP = re.compile(r"\.([^.\[\]]+)|\[([0-9]*)\]")
_INDEX = re.compile(r"\[[0-9]*\]")
_EPOCH = date(1970, 1, 1).toordinal()
_Row = dict[str, Any]


@cache
def overture() -> dict[str, MapColumns]:
    """theme/type of Overture Maps -> its columns and tags."""
    stated = YAML(typ="safe").load(_OVERTURE.read_text(encoding="utf-8"))
    return {name: MapColumns.model_validate(columns) for name, columns in stated.items()}


def columns_of(mapping: MapColumns) -> tuple[str, ...]:
    """The columns, dotted where nested in structs or in lists of them, that the rules need: no other is read."""
    rules = [rule for one in mapping.tags.values() for rule in one]
    named = [mapping.id, mapping.edited, *mapping.maps]
    paths = [*named, *(r.column for r in rules), *(path for r in rules for path in r.when)]
    return tuple(dict.fromkeys(_INDEX.sub("", path) for path in paths if path is not None))


def leaves_of(column: str, paths: Iterable[str]) -> list[str]:
    """Those of a Parquet file's paths ('sources.list.element.update_time') that belong to a column of `columns_of`
    ('sources.update_time'): the names that Parquet puts between a list and its entries differ from writer to writer."""
    first, *rest = column.split(".")
    found = []
    for path in paths:
        top, *inner = path.split(".")
        steps = iter(inner)
        if top == first and all(name in steps for name in rest):
            found.append(path)
    return found


def tags_of(row: _Row, mapping: MapColumns) -> dict[str, str]:
    """Tags of a row, keys sorted: untrusted text."""
    found: dict[str, str] = {}
    for path in mapping.maps:
        for held in _values(row, path):
            pairs = held.items() if isinstance(held, dict) else held if isinstance(held, list) else ()
            found |= {str(k): text for k, v in pairs if (text := text_of(v)) is not None}
    for tag, rules in mapping.tags.items():
        if tag not in found and (value := next(filter(None, (_given(row, rule) for rule in rules)), None)):
            found[tag] = value
    if mapping.id is not None and (said := id_of(row, mapping)) is not None:
        found.setdefault("id", said)
    return dict(sorted(found.items()))


def id_of(row: _Row, mapping: MapColumns) -> str | None:
    """Text of a row's id."""
    return None if mapping.id is None else next(filter(None, map(text_of, _values(row, mapping.id))), None)


def edited_of(row: _Row, mapping: MapColumns) -> int | None:
    """Day of a row's last edit, since 1970-01-01: the newest at its path; None where it gives none."""
    values = () if mapping.edited is None else _values(row, mapping.edited)
    return max((day for value in values if (day := _day(value)) is not None), default=None)


def _day(value: object) -> int | None:
    """Days since 1970-01-01 of a date, a time (UTC where it states no zone), or the text of one in ISO 8601."""
    try:
        moment = datetime.fromisoformat(value) if isinstance(value, str) else value
        if isinstance(moment, datetime) and moment.tzinfo is not None:
            moment = moment.astimezone(UTC)
    except (ValueError, OverflowError):
        return None
    return date.toordinal(moment) - _EPOCH if isinstance(moment, date) else None


def number_of(text: str) -> int:
    """A number for an id that is a text: 63 bits of its SHA-256, the same in every file."""
    return int.from_bytes(hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()[:8], "big") >> 1


def _given(row: _Row, rule: TagRule) -> str | None:
    """The value that a rule gives."""
    for path, wanted in rule.when.items():
        if not any(text_of(value) in wanted for value in _values(row, path)):
            return None
    texts = [] if rule.column is None else [t for t in map(text_of, _values(row, rule.column)) if t]
    if rule.values:
        texts = [rule.values[text] for text in texts if text in rule.values]
    return texts[0] if texts else rule.value


def _values(row: _Row, path: str) -> Iterator[Any]:
    """Values at a path; none where a part of it is absent."""
    found: list[Any] = [row.get(re.split(r"[.\[]", path, maxsplit=1)[0])]
    for name, at in _STEP.findall(path):
        if name:
            found = [value.get(name) for value in found if isinstance(value, dict)]
        elif at:
            found = [value[int(at)] for value in found if isinstance(value, list) and len(value) > int(at)]
        else:
            found = [one for value in found if isinstance(value, list) for one in value]
    yield from (value for value in found if value is not None)
