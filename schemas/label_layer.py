"""What labels of a recipe have in common: the name of the layer, and the crosswalk of its codes."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from schemas.crosswalk import MOST_CODE, Crosswalk
from schemas.label import CommonClass
from schemas.strict import Strict

LayerName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9]{0,31}$")]
"""Name of a label layer on disk, in the catalogue and in the ledger."""


class StatedCrosswalk(Crosswalk):
    """A crosswalk with the hash of the file that it was read from: the form that a stored recipe has."""

    sha256: str = Field(pattern=r"^[0-9a-f]{64}$", description="SHA-256 of the crosswalk's file")

    @property
    def stamp(self) -> str:
        """'worldcover@1 sha256:...': what a manifest says."""
        return f"{self.name} sha256:{self.sha256}"


CrosswalkChoice = Annotated[
    Annotated[str, Field(min_length=1, max_length=1024)] | StatedCrosswalk | None,
    Field(union_mode="left_to_right"),
]
"""Name of a shipped crosswalk ('corine@1'), path of a file beside the recipe ('mine.yaml'), or its content."""


def crosswalk_field(what: str) -> Any:
    """The field of a label's crosswalk."""
    return Field(
        default=None,
        exclude_if=lambda chosen: chosen is None,
        description=f"{what}: name of a shipped crosswalk ('corine', 'corine@1'), or a file beside the recipe",
    )


class LegendEntry(Strict):
    """One class of a legend that the recipe states."""

    code: int = Field(ge=0, le=MOST_CODE, description="value in the raster, 0 to 65,535")
    name: str = Field(min_length=1, max_length=100, description="name of the class in the product")
    colour: str = Field(default="#808080", pattern=r"^#[0-9a-fA-F]{6}$", description="'#rrggbb' for pictures")
    common: CommonClass = Field(description="class of the common taxonomy it maps to")
