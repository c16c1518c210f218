"""Records of facts and texts to judge, as other programs write them: JSON in, verdicts out."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, BinaryIO

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from pipelines.access.foreign import ForeignJsonError, read_json
from pipelines.captions.check import judge
from schemas.caption import ClassShare, Facts
from schemas.label import COMMON_CLASSES

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_MOST_FACTS_BYTES = 1 << 28
"""Of a file of facts."""
_MOST_LINE_BYTES = 1 << 16
"""Of one line: a caption has some hundred bytes."""
_SHOWN = 60
"""Characters of a foreign value that a message repeats."""


class FactsError(ValueError):
    """A file of facts cannot be used; one clear line."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class _Share(_Strict):
    name: str
    percent: float = Field(ge=0, le=100, allow_inf_nan=False)
    pixels: int = Field(default=0, ge=0)


class _Record(_Strict):
    """The fields of `schemas.caption.Facts`, and the id by which texts name them."""

    id: str
    label: str | None = None
    overall: tuple[_Share, ...] = ()
    regions: dict[str, tuple[_Share, ...]] = Field(default_factory=dict)
    objects: tuple[tuple[str, int], ...] = ()
    road_length_m: float | None = Field(default=None, ge=0, allow_inf_nan=False)
    elevation_min_m: float | None = Field(default=None, allow_inf_nan=False)
    elevation_max_m: float | None = Field(default=None, allow_inf_nan=False)
    slope_mean_deg: float | None = Field(default=None, ge=0, le=90, allow_inf_nan=False)
    relief: str | None = None
    season: str | None = None
    month: int | None = Field(default=None, ge=1, le=12)
    year: int | None = None
    place: str | None = None
    size_m: float = Field(default=0, ge=0, allow_inf_nan=False)

    def facts(self) -> Facts:
        """As the checks take them: shares in descending order."""
        values = {name: getattr(self, name) for name in Facts.__dataclass_fields__}
        values |= {name: _whole(v) for name, v in values.items() if isinstance(v, float) and name != "slope_mean_deg"}
        values["overall"] = _shares(self.overall)
        values["regions"] = {name: _shares(shares) for name, shares in self.regions.items()}
        return Facts(**values)


class _Line(BaseModel):
    """One text to judge; other fields are left alone."""

    id: str | int
    facts: str
    text: str


def _whole(percent: float) -> int:
    """Whole percents as the factory writes them; others stay as they are."""
    return int(percent) if percent.is_integer() else percent  # type: ignore[return-value]


def _shares(shares: tuple[_Share, ...]) -> tuple[ClassShare, ...]:
    made = [ClassShare(name=s.name, percent=_whole(s.percent), pixels=s.pixels) for s in shares]
    return tuple(sorted(made, key=lambda s: -s.percent))


def read_facts(path: Path) -> dict[str, Facts]:
    """Facts by id.

    Raises:
        FactsError: the file is missing, is not a JSON list of records, or two records have the same id.
    """
    try:
        if path.stat().st_size > _MOST_FACTS_BYTES:
            raise FactsError(f"{path.name}: more than {_MOST_FACTS_BYTES >> 20} MiB: divide it")
        listed = read_json(path.read_bytes())
    except OSError as error:
        raise FactsError(f"{path.name}: {error.strerror or error}: give a JSON list of records of facts") from None
    except ForeignJsonError as error:
        raise FactsError(f"{path.name}: expected a JSON list of records of facts: {error}") from None
    if not isinstance(listed, list):
        raise FactsError(f"{path.name}: expected a JSON list of records of facts, got {_kind(listed)}")
    found: dict[str, Facts] = {}
    for number, entry in enumerate(listed, 1):
        try:
            record = _Record.model_validate(entry)
        except ValidationError as error:
            raise FactsError(f"{path.name}, record {number}: {_first(error)}") from None
        strange = {s.name for shares in (record.overall, *record.regions.values()) for s in shares}
        strange -= set(COMMON_CLASSES)
        if strange:
            known = ", ".join(name for name in COMMON_CLASSES[1:])
            raise FactsError(f"{path.name}, record {number}: no land cover {_short(min(strange))}: one of {known}")
        if record.id in found:
            raise FactsError(f"{path.name}, record {number}: the id {_short(record.id)} stands there twice")
        found[record.id] = record.facts()
    return found


def verdicts(file: BinaryIO, facts: dict[str, Facts]) -> Iterator[tuple[dict[str, Any], bool]]:
    """For each line of `file`, in order, its verdict and whether the line could be read at all."""
    number = 0
    while line := file.readline(_MOST_LINE_BYTES + 1):
        number += 1
        too_long = len(line) > _MOST_LINE_BYTES
        while too_long and line and not line.endswith(b"\n"):
            line = file.readline(_MOST_LINE_BYTES)
        if too_long:
            yield _unread(
                None, f"line {number}: more than {_MOST_LINE_BYTES >> 10} KiB, a caption has some hundred bytes"
            )
        else:
            yield _verdict(line, number, facts)


def _verdict(line: bytes, number: int, facts: dict[str, Facts]) -> tuple[dict[str, Any], bool]:
    try:
        entry = read_json(line)
    except ForeignJsonError as error:
        return _unread(None, f"line {number}: expected a JSON object with id, facts and text: {error}")
    name = entry.get("id") if isinstance(entry, dict) else None
    name = name if isinstance(name, str | int) and not isinstance(name, bool) else None
    try:
        row = _Line.model_validate(entry, strict=True)
    except ValidationError as error:
        return _unread(name, f"line {number}: {_first(error)}")
    known = facts.get(row.facts)
    if known is None:
        return _unread(name, f"line {number}: no facts {_short(row.facts)} in the file of facts")
    found = judge(row.text, known)
    claims = [claim.record() for claim in found.claims]
    return {"id": row.id, "accepted": found.reason is None, "reason": found.reason, "claims": claims}, True


def _unread(name: str | int | None, reason: str) -> tuple[dict[str, Any], bool]:
    return {"id": name, "accepted": False, "reason": reason, "claims": []}, False


def _first(error: ValidationError) -> str:
    first = error.errors(include_url=False)[0]
    where = ".".join(str(part) for part in first["loc"]) or "the record"
    return f"{_short(where)}: {first['msg'][:200]}, got {_short(first['input'])}"


def _short(value: object) -> str:
    text = json.dumps(value, ensure_ascii=True, default=str) if not isinstance(value, str) else ascii(value)
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "..."


def _kind(value: object) -> str:
    return {dict: "an object", str: "a string", type(None): "null"}.get(type(value), type(value).__name__)
