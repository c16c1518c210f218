"""The user's own vectors in a plan: values are checked before an archive is asked; features are prepared."""

from __future__ import annotations

from collections import Counter
from datetime import date
from typing import TYPE_CHECKING

from pipelines.access.openstreetmap.download import obtain
from pipelines.access.vectors.periods import Periods, check_periods
from pipelines.access.vectors.prepare import WORDS, Asked, prepare, values_of
from pipelines.access.vectors.read import BadVectorsError
from pipelines.durable import make_folder
from schemas.vector_label import VectorLabel

if TYPE_CHECKING:
    from pathlib import Path

    from pipelines.access.openstreetmap.extract import Extract
    from pipelines.access.openstreetmap.near import Near
    from pipelines.recipes import RecipeFile
    from schemas.recipe import Recipe

_NAMED = 8
"""Values that a message names."""


def own_vectors(recipe: Recipe) -> list[VectorLabel]:
    """Labels that are made of files of the user's own."""
    return [label for label in recipe.labels if isinstance(label, VectorLabel)]


def check_vectors(file: RecipeFile, work: Path) -> dict[str, Path]:
    """See that each file can be read, that each value of its column has a class, and that days are days; layer -> file.

    Raises:
        BadVectorsError: one line: which values have no class, or what else is wrong.
        SettingError: the file is not there or not allowed.
        AccessError: an address did not deliver.
    """
    found: dict[str, Path] = {}
    for label in own_vectors(file.recipe):
        path = _obtained(file, label, work)
        found[label.layer] = path
        make_folder(work)
        column = label.column if label.column is not None else next(iter(label.needed), None)
        values = values_of(path, _asked(label), column, work)
        if label.dated:
            check_periods(label.layer, path, _asked(label), Periods(begins=label.begins, until=label.until), work)
        if label.column is not None and label.other is None:
            _check_values(label, values)
    return found


def prepare_vectors(file: RecipeFile, work: Path, near: Near) -> dict[str, Extract]:
    """Layer -> its features near the samples, prepared in `work`; those of an earlier run are found there.

    Raises:
        As `check_vectors`.
    """
    return {
        label.layer: prepare(_obtained(file, label, work), _asked(label), work, near)
        for label in own_vectors(file.recipe)
    }


def notes_of(extracts: dict[str, Extract]) -> list[str]:
    """What was mended or left out of each file, for people."""
    return [
        f"{layer}: {extract.counts[key]:,} {words} ({extract.file}, near the samples)"
        for layer, extract in extracts.items()
        for key, words in WORDS.items()
        if extract.counts.get(key)
    ]


def _obtained(file: RecipeFile, label: VectorLabel, work: Path) -> Path:
    return obtain(
        label.file, file.folder, work, anywhere=label.file in file.own_words,
        where=f"labels: {label.layer}: file", what="file of vectors",
    )  # fmt: skip


def _asked(label: VectorLabel) -> Asked:
    kept = label.attributes if label.objects else ()
    day = label.date if isinstance(label.date, date) else None
    return Asked(name=label.file, table=label.table, crs=label.crs, columns=kept, needed=label.needed, date=day)


def _check_values(label: VectorLabel, values: Counter[str | None]) -> None:
    strange = Counter({value: n for value, n in values.items() if value is None or value not in label.codes})
    if not strange:
        return
    told = ", ".join(f"{'(empty)' if v is None else ascii(v[:40])} {n:,}" for v, n in strange.most_common(_NAMED))
    more = f" and {len(strange) - _NAMED:,} more" if len(strange) > _NAMED else ""
    raise BadVectorsError(
        f"labels: {label.layer}: column {label.column!r} of {label.file!r} has values without a class: {told}{more}; "
        "name them in `classes` (`values`), or write `other: ignore` or `other: CLASS`"
    )
