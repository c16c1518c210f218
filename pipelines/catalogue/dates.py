"""When an image was taken: as the user states it, by its name, or by its header."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pipelines.access.rasters.raster import Raster

Period = tuple[datetime, datetime]

_CODES = {
    "%Y": r"(?P<Y>\d{4})", "%y": r"(?P<y>\d{2})", "%m": r"(?P<m>\d{2})", "%d": r"(?P<d>\d{2})", "%j": r"(?P<j>\d{3})",
    "%H": r"(?P<H>\d{2})", "%M": r"(?P<M>\d{2})", "%S": r"(?P<S>\d{2})",
}  # fmt: skip
"""Parts of a date in a name, as strptime writes them."""


class RefusedError(Exception):
    """A file that the catalogue cannot hold; the text says why and what to do."""


@dataclass(frozen=True, kw_only=True)
class Dates:
    """How the date of an image is known: the first of these that is given."""

    stated: Period | None = None
    """Of all images."""
    pattern: str | None = None
    """Of its name; strptime's codes."""

    def of(self, path: str, raster: Raster) -> Period:
        """Period in which an image was taken.

        Raises:
            RefusedError: it does not say.
        """
        if self.stated is not None:
            return self.stated
        if self.pattern is not None:
            found = date_in(path, self.pattern)
            if found is None:
                raise RefusedError(f"its name has no date like {self.pattern!r}")
            return found
        written = (raster.date_time or "").strip()
        try:
            when = datetime.strptime(written, "%Y:%m:%d %H:%M:%S").replace(tzinfo=UTC)
        except ValueError:
            what = f"its TIFFTAG_DATETIME {written!r} is none" if written else "it has no TIFFTAG_DATETIME"
            raise RefusedError(
                f"no date: {what}; give --datetime 2021-06-05 (or 2021), or --date-pattern %Y%m%d for dates in names"
            ) from None
        return when, when


def period_of(text: str) -> Period:
    """The period that --datetime states: a year, a month, a day, a moment, or two of them with '/' between.

    Raises:
        ValueError: it states none.
    """
    first, slash, last = text.partition("/")
    start, end = _moments(first)
    if slash:
        end = _moments(last)[1]
        end += timedelta(days=1, seconds=-1) if re.fullmatch(r"\d{4}-\d{2}-\d{2}", last.strip()) else timedelta()
    if end < start:
        raise ValueError(f"{text!r} ends before it begins")
    return start, end


def date_in(path: str, pattern: str) -> Period | None:
    """The first date in a path that is one, by a pattern of strptime's codes; None if there is none.

    Raises:
        ValueError: the pattern has no year, or a code twice.
    """
    for found in _expression(pattern).finditer(path):
        parts = {key: int(value) for key, value in found.groupdict().items()}
        year = parts.get("Y", 2000 + parts.get("y", 0))
        try:
            if "j" in parts:
                day = datetime(year, 1, 1, tzinfo=UTC) + timedelta(days=parts["j"] - 1)
            else:
                day = datetime(year, parts.get("m", 1), parts.get("d", 1), tzinfo=UTC)
            when = day.replace(hour=parts.get("H", 0), minute=parts.get("M", 0), second=parts.get("S", 0))
        except ValueError:
            continue
        if when.year != year:
            continue
        if {"d", "j"} & parts.keys():
            return when, when
        return _moments(f"{year:04d}-{when.month:02d}" if "m" in parts else f"{year:04d}")
    return None


def _expression(pattern: str) -> re.Pattern[str]:
    """`pattern` as a regular expression that finds it anywhere in a name, not inside a longer number."""
    pieces = re.split(r"(%.|\*)", pattern)
    codes = [piece for piece in pieces if piece.startswith("%")]
    strange = [code for code in codes if code not in _CODES]
    if strange or not {"%Y", "%y"} & set(codes) or len(set(codes)) < len(codes):
        raise ValueError(f"--date-pattern: expected %Y and others of {' '.join(_CODES)}, each once; found {pattern!r}")
    made = "".join(".*?" if p == "*" else _CODES.get(p) or re.escape(p) for p in pieces)
    return re.compile(rf"(?<!\d){made}(?!\d)")


def _moments(text: str) -> Period:
    text = text.strip()
    try:
        if match := re.fullmatch(r"(\d{4})(?:-(\d{2}))?", text):
            start = datetime(int(match[1]), int(match[2] or 1), 1, tzinfo=UTC)
            months = start.year * 12 + start.month - 1 + (1 if match[2] else 12)
            return start, datetime(months // 12, months % 12 + 1, 1, tzinfo=UTC) - timedelta(seconds=1)
        when = datetime.fromisoformat(text.upper().replace("Z", "+00:00"))
    except ValueError:
        raise ValueError(f"expected 2021, 2021-06, 2021-06-05 or 2021-06-05T10:30:00Z, found {text[:40]!r}") from None
    when = when.replace(tzinfo=UTC) if when.tzinfo is None else when.astimezone(UTC)
    return when, when
