"""The area of a recipe: a box, the polygons of a file, or everywhere."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from schemas.primitives import RelativePath, StatedBox
from schemas.strict import Strict


class Area(Strict):
    """Area on Earth: a box, or the polygons of a file, or (neither) everywhere."""

    bbox: StatedBox | None = Field(
        default=None, description="west, south, east, north in degrees; west > east crosses the antimeridian"
    )
    file: RelativePath | None = Field(
        default=None, description="GeoJSON or GeoParquet file of polygons; the path is relative to the recipe"
    )
    land_only: bool = Field(default=True, description="keep only samples whose centre is on land")

    @model_validator(mode="after")
    def _one_of(self) -> Self:
        if self.bbox is not None and self.file is not None:
            raise ValueError("give `bbox` or `file`, not both")
        if self.bbox is not None and self.bbox[1] >= self.bbox[3]:
            raise ValueError(
                f"bbox is west, south, east, north; south {self.bbox[1]} is not below north {self.bbox[3]}"
            )
        return self
