"""Attributes: columns of a points file that the catalogue copies unchanged."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

AttributeName = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_]{0,63}$")]
"""Name of a column: letters, digits and '_', so that queries in Python's spelling and in SQL can say it."""
AttributeType = Literal["bool", "int64", "float64", "string"]
"""Arrow's name of a column's type."""
AttributeValue = bool | int | float | str | None
"""None if the file has no value."""
PREFIX = "attr_"
"""Before the name of an attribute in the plan's tables: no other column there begins like this."""
MOST_BYTES = 4_096
"""Longest text of an attribute, bytes of UTF-8."""
