"""The time for which each feature of a file of vectors is there: columns of first and last days, both included."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from pipelines.access.vectors.read import BadVectorsError, batches, opened
from schemas.label_date import days_of
from schemas.vector_label import text_of

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import date
    from pathlib import Path

    from pipelines.access.vectors.prepare import Asked

_SHOWN = 40


@dataclass(frozen=True, kw_only=True, slots=True)
class Periods:
    """The columns that say when a feature is there."""

    begins: str | None
    """Column of the first days; None: features always were."""
    until: str | None
    """Column of the last days; None: features still are."""

    def holds(self, tags: Mapping[str, str], day: date) -> bool:
        """Whether a feature with these values is there on a day."""
        first, last = _days(tags.get(self.begins or "")), _days(tags.get(self.until or ""))
        return (first is None or first[0] <= day) and (last is None or day <= last[1])


def check_periods(label: str, path: Path, asked: Asked, periods: Periods, work: Path) -> None:
    """See that the columns hold days, and that no feature ends before it begins.

    Args:
        label: layer of the label, for messages.
        path: the file.
        asked: how it is read.
        periods: the columns.
        work: folder for temporary files.

    Raises:
        BadVectorsError: one line: the first feature that is wrong, and what was expected.
    """
    columns = {
        key: column for key, column in (("from", periods.begins), ("until", periods.until)) if column is not None
    }
    with opened(asked.name, path, work, asked.table) as file:
        for batch in batches(asked.name, file, list(dict.fromkeys(columns.values())), None, shapes=False):
            said = {key: [text_of(value) for value in batch.columns[column]] for key, column in columns.items()}
            for key, texts in said.items():
                for number, text in zip(batch.numbers, texts, strict=True):
                    if text and _days(text) is None:
                        raise BadVectorsError(
                            f"labels: {label}: {key}: column {columns[key]!r} of {asked.name!r} is {text[:_SHOWN]!a} "
                            f"in feature v{int(number)}, expected a date (2021-06-05, 2021-06 or 2021; empty: no end)"
                        )
            for number, begin, end in zip(batch.numbers, *(said.get(k, ()) for k in ("from", "until")), strict=False):
                first, last = _days(begin), _days(end)
                if first is not None and last is not None and first[0] > last[1]:
                    raise BadVectorsError(
                        f"labels: {label}: feature v{int(number)} of {asked.name!r} ends {end[:_SHOWN]} "
                        f"({columns['until']}), before it begins {begin[:_SHOWN]} ({columns['from']})"
                    )


@lru_cache(maxsize=65_536)
def _days(text: str | None) -> tuple[date, date] | None:
    return days_of(text) if text else None
