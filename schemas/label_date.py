"""The date that a label is made for, where it is not that of the image: a day, or a date of each sample."""

from __future__ import annotations

import calendar
import re
from datetime import date
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Discriminator, Field, Tag

from schemas.primitives import Day
from schemas.splits import ATTRIBUTE
from schemas.strict import MisplacedError

if TYPE_CHECKING:
    from collections.abc import Collection

_PERIOD = re.compile(r"([0-9]{4})(?:-([0-9]{2})(?:-([0-9]{2})(?:[T ].+)?)?)?")


def _form(given: object) -> str:
    return "a text" if isinstance(given, str) and given.startswith("attr") else DAY


DAY = "a day"
"""Tag of a day in the recipe, where the name of an attribute may stand."""
LabelDate = Annotated[
    Annotated[str, Field(pattern=ATTRIBUTE), Tag("a text")] | Annotated[Day, Tag(DAY)], Discriminator(_form)
]
"""A day, or the attribute that holds the date of each sample (attr_NAME)."""
LabelPick = Literal["nearest", "same", "before", "after"]
"""Which of a product's maps a sample gets."""


def days_of(text: str) -> tuple[date, date] | None:
    """First and last day of '2021', '2021-06', '2021-06-05' or '2021-06-05T10:00:00'; None for other text."""
    found = _PERIOD.fullmatch(text.strip())
    if found is None:
        return None
    year, month, day = (None if part is None else int(part) for part in found.groups())
    try:
        first = date(year or 0, month or 1, day or 1)
        last_month = month or 12
        return first, date(first.year, last_month, day or calendar.monthrange(first.year, last_month)[1])
    except (ValueError, calendar.IllegalMonthError):
        return None


def check_label_date(where: tuple[str | int, ...], layer: str, said: date | str | None, known: Collection[str]) -> None:
    """An attribute that a label takes its date from must be there, `known` without attr_.

    Raises:
        MisplacedError: it is not.
    """
    if isinstance(said, str) and said.removeprefix("attr_") not in known:
        has = ", ".join(f"attr_{name}" for name in known) or "none"
        raise MisplacedError(
            f"{layer}: {said} is no attribute of the samples (there are: {has}); name the column in "
            "sampling.attributes, or write a day (2021-06-05)",
            (*where, "date"),
        )
