"""Checks the fused labels of a recipe before anything is fetched, and says what they will be made of."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipelines.fusion.families import FusionError, classes_of, families
from pipelines.fusion.reference import read_reference
from pipelines.fusion.sight import image_layers
from pipelines.fusion.soft import check_soft
from pipelines.fusion.strata import height_layer

if TYPE_CHECKING:
    from pipelines.recipes import RecipeFile


def check_fused(file: RecipeFile) -> list[str]:
    """One line about each fused label of a recipe: what it is made of.

    Raises:
        FusionError: one line per fused label that cannot be made.
        RecipeError: the file of the reference points is not there, or may not be read.
    """
    lines, wrong = [], []
    for label in file.recipe.fused:
        try:
            check_soft(file.recipe, label)
            height_layer(file.recipe, label)
            found = families(file.recipe, label)
            classes = classes_of(found, label)
            images = image_layers(file.recipe, label)
            points = len(read_reference(file, label))
        except FusionError as error:
            wrong.append(str(error))
            continue
        voters = ", ".join(f"{f.form.family} ({', '.join(m.layer for m in f.maps)})" for f in found)
        lines.append(
            f"{label.layer}: made after the build from {voters}; {len(classes)} classes; "
            f"images {', '.join(images) or 'none'}; {points or 'no'} reference points"
            + ("" if points else ", so the confidence is uncalibrated")
        )
    if wrong:
        raise FusionError("\n".join(wrong))
    return lines
