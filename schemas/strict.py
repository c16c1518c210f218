"""Base classes of a recipe's sections: strict records, and names that are safe everywhere."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,63}$")]
"""Lower-case letters, digits and '-': safe in paths, ids and URLs."""


class Strict(BaseModel):
    """Unknown keys are refused; values cannot change after reading."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class MisplacedError(ValueError):
    """A rule across sections is broken; `where` is the key of the recipe to look at."""

    def __init__(self, message: str, where: tuple[str | int, ...]) -> None:
        super().__init__(message)
        self.where = where
