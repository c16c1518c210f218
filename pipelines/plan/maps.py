"""Maps in GeoParquet that a recipe names, prepared for all shards."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipelines.access.vectors.geomap import prepare_map
from pipelines.access.vectors.place import files_of
from pipelines.progress import ProgressPrinter

if TYPE_CHECKING:
    from pathlib import Path

    from pipelines.access.openstreetmap.extract import Extract
    from pipelines.access.openstreetmap.near import Near
    from pipelines.recipes import RecipeFile
    from schemas.label_source import OpenStreetMapLabel

_WHERE = "labels: openstreetmap: geoparquet: from"


def notes_of_edits(extract: Extract | None) -> list[str]:
    """A note on each file of the map whose objects do not say when they were edited."""
    found = []
    for name in () if extract is None else extract.untimed:
        mend = "give an extract with metadata" if name.endswith(".pbf") else "name their column as `edited`"
        found.append(
            f"openstreetmap: {name} has no times of edits, so openstreetmap_edited_since is empty where its objects "
            f"are; {mend}"
        )
    return found


def prepared_maps(file: RecipeFile, label: OpenStreetMapLabel, work: Path, near: Near) -> list[Extract]:
    """What each map has near the samples; those of an earlier run are found in `work`.

    Raises:
        BadVectorsError: a map cannot be read; one line.
        SettingError: it is not there or not allowed.
        AccessError: a server did not deliver.
    """
    found = []
    for source in label.geoparquet:
        files = [
            one
            for place in source.places
            for one in files_of(place, file.folder, anywhere=place in file.own_words, where=_WHERE)
        ]
        found.append(prepare_map(source, files, work, near, ProgressPrinter("reading the map", "files")))
    return found
