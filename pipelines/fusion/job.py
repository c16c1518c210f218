"""The plan of one pass of a fusion: a file in the pass's folder, from which any worker starts."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from pipelines.fusion.families import Family, classes_of, families
from pipelines.fusion.sight import Band
from pipelines.passes import WORK, read_plan, write_plan
from schemas.recipe import Recipe

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from schemas.fused import FusedLabel

KIND = "fusion"
"""What the plan's file says that it is of."""
VERSION = 3
"""Of the algorithm: labels of another version are made again from the beginning."""
MODEL_FILE = "plan/model.json"
FOLDER = f"{WORK}fused-"
"""Passes lie in folders of this name inside the dataset."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """What both passes of one fused label need to know."""

    recipe: Recipe
    """The recipe, with this one fused label."""
    pixels_each: int
    """Pixels of each sample that the image model may learn from."""
    bands: tuple[Band, ...]
    """Arrays of images that the model sees; () = votes alone."""
    points: NDArray[np.float64]
    """(points, 3): longitude, latitude, code of COMMON_CLASSES."""

    @cached_property
    def label(self) -> FusedLabel:
        """The recipe's entry."""
        return self.recipe.fused[0]

    @cached_property
    def families(self) -> tuple[Family, ...]:
        """The voters."""
        return families(self.recipe, self.label)

    @cached_property
    def classes(self) -> tuple[int, ...]:
        """Codes of COMMON_CLASSES that the map may have; the place in it is the code on disk."""
        return classes_of(self.families, self.label)

    @property
    def layers(self) -> tuple[str, ...]:
        """Layers of images, in order."""
        return tuple(dict.fromkeys(b.layer for b in self.bands))

    def text(self) -> str:
        """The plan's file."""
        said = {
            "kind": KIND,
            "version": VERSION,
            "recipe": self.recipe.model_dump(mode="json"),
            "pixels_each": self.pixels_each,
            "bands": [b.to_json() for b in self.bands],
            "points": self.points.tolist(),
        }
        return json.dumps(said, ensure_ascii=False) + "\n"

    def key(self, base: str) -> str:
        """Name of the fusion of the dataset that says `base` of its content: other inputs, another name."""
        return hashlib.sha256(f"{base}\n{self.text()}".encode()).hexdigest()[:12]

    def write(self, out: Path) -> None:
        """Put the plan's file into a pass's folder."""
        write_plan(out, self.text())

    @classmethod
    def read(cls, out: Path) -> Self:
        """From a pass's folder."""
        said = read_plan(out)
        return cls(
            recipe=Recipe.model_validate(said["recipe"]),
            pixels_each=said["pixels_each"],
            bands=tuple(Band.of_json(b) for b in said["bands"]),
            points=np.array(said["points"], float).reshape(-1, 3),
        )


def described(model: dict[str, Any]) -> str:
    """Text of a model's file."""
    return json.dumps(model, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n"
