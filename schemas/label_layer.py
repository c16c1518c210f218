"""What labels of a recipe have in common: the name of the layer, and the crosswalk of its codes."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from schemas.crosswalk import Crosswalk

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
