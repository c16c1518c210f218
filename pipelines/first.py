"""Writes a first recipe with comments, for the user's area and archives; nothing is fetched."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from pydantic import ValidationError

from pipelines.recipes import RecipeError, read_recipe
from sampling.errors import SamplingError
from sampling.region import area_m2, region_of
from schemas.area import Area

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_SIZE_M = 1920.0
"""Edge of a sample: 192 pixels of 10 m, 64 of 30 m, 32 of 60 m."""
_ROOM = 0.25
"""Share of the area that the first recipe's samples may cover: places are then found at once."""
_MOST = 1_000
_BOX = "11.0,48.0,12.0,48.5"
ARCHIVES: dict[str, tuple[str, tuple[str, ...], tuple[str, ...]]] = {
    "planetary-computer": (
        "{ url: https://planetarycomputer.microsoft.com/api/stac/v1, dialect: planetary-computer } # asks for no login",
        ("{ kind: sentinel2, providers: [NAME], max_cloud: 0.2 }", "{ kind: sentinel1, providers: [NAME] }",
         "{ kind: dem, providers: [NAME] }"),
        ("{ kind: worldcover, providers: [NAME] }",),
    ),
    "earth-search": (
        "{ url: https://earth-search.aws.element84.com/v1, dialect: earth-search } # asks for no login",
        ("{ kind: sentinel2, providers: [NAME], max_cloud: 0.2 }", "{ kind: dem, providers: [NAME] }"),
        (),
    ),
    "earthengine": (
        "{ kind: earthengine, eecu_hours: 100 } # needs a project with Earth Engine: docs/earthengine.md",
        ("{ kind: sentinel2, providers: [NAME], max_cloud: 0.2 }",
         "{ kind: sentinel1, providers: [NAME], product: grd }", "{ kind: dem, providers: [NAME] }"),
        ("{ kind: worldcover, providers: [NAME] }", "{ kind: dynamicworld, providers: [NAME] }"),
    ),
}  # fmt: skip
"""Archive -> its provider, layers of images and labels, as lines of a recipe."""
_OTHER = (
    "{{ url: {url} }}",
    ("{ kind: sentinel2, providers: [NAME], max_cloud: 0.2 } # what the archive has: describe URL COLLECTION",),
    (),
)
_LABELS = "\nlabels: # weak labels\n{labels}\n\ncaptions: {{ kind: template }}\n"
_TEXT = """\
# A first recipe. Plan a trial of ten places:  python -m pipelines plan {name} data/{stem} --limit 10
# Every key is in docs/recipe.md; products that need no description are listed in docs/language.md.
name: {stem}
description: ""
licence: proprietary # SPDX id of the dataset as a whole
seed: 1

sampling: # where: uniform points, a grid, or points of a file
  kind: uniform
  count: {count}
  area: {{ {area} }} # {words}

grid: {{ size_m: {size:.0f} }} # edge of a sample: 192 pixels of 10 m, 64 of 30 m, 32 of 60 m

windows: # when: one observation from each
  - {{ name: summer, start: {year}-06-01, end: {year}-08-31 }}

providers: # where images come from
{providers}

sources: # layers of images; print the block of any other collection: python -m pipelines describe URL COLLECTION
{sources}
{labels}"""


def write_first(
    path: Path, bbox: str | None = None, area: str | None = None, archives: Sequence[str] = (), year: int = 2023
) -> None:
    """Write a minimal recipe with comments, and see that it reads.

    Args:
        path: the file; it must not exist.
        bbox: 'west,south,east,north', degrees.
        area: file of polygons, relative to the recipe, instead of `bbox`.
        archives: names of `ARCHIVES`, or addresses of STAC APIs; the first that has a layer gives it.
        year: of the window.

    Raises:
        RecipeError: the file exists or cannot be written, or the area or an archive is none; one line.
    """
    stem = re.sub(r"[^a-z0-9-]+", "-", path.stem.lower()).strip("-")
    stem = stem if re.match(r"[a-z]", stem) else f"d-{stem}".strip("-")
    place, words, count = _placed(path, bbox, area)
    providers, sources, labels = _layers(archives or ("planetary-computer",))
    text = _TEXT.format(
        name=path.name, stem=stem[:64], count=count, area=place, words=words, size=_SIZE_M, year=year,
        providers=_lines(providers, "  "), sources=_lines(sources, "  - "),
        labels=_LABELS.format(labels=_lines(labels, "  - ")) if labels else "",
    )  # fmt: skip
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise RecipeError([f"{path}: is there already; name another file"]) from None
    except OSError as error:
        raise RecipeError([f"{path}: cannot be written: {error.strerror}"]) from None
    try:
        read_recipe(path)
    except RecipeError:
        path.unlink()
        raise


def _placed(path: Path, bbox: str | None, area: str | None) -> tuple[str, str, int]:
    """The area in a recipe's words, its comment, and how many samples have room in it."""
    if bbox is not None and area is not None:
        raise RecipeError(["give --bbox or --area, not both"])
    said = None if area is not None else (bbox or _BOX)
    corners = [] if said is None else [part.strip() for part in said.split(",")]
    try:
        asked = Area(file=area) if said is None else Area.model_validate({"bbox": corners})
        ground = area_m2(region_of(asked, path.parent))
    except ValidationError as error:
        why = str(error.errors()[0]["msg"]).removeprefix("Value error, ")
        where = f"--area {area}" if said is None else f"--bbox {said}: expected west,south,east,north in degrees"
        raise RecipeError([f"{where}: {why}"]) from None
    except SamplingError as error:
        raise RecipeError([str(error)]) from None
    count = max(1, min(_MOST, int(_ROOM * ground / _SIZE_M**2)))
    if said is None:
        return f"file: {area}", "polygons of this file; or bbox: [west, south, east, north]", count
    return f"bbox: [{', '.join(corners)}]", "west, south, east, north in degrees; or file: area.geojson", count


def _layers(archives: Sequence[str]) -> tuple[list[str], list[str], list[str]]:
    """Lines of providers, sources and labels."""
    providers: list[str] = []
    layers: dict[str, dict[str, str]] = {"sources": {}, "labels": {}}
    for number, said in enumerate(dict.fromkeys(archives)):
        if said not in ARCHIVES and "://" not in said:
            raise RecipeError([f"--archive {said}: expected {', '.join(ARCHIVES)}, or the address of a STAC API"])
        provider, sources, labels = ARCHIVES.get(said, (_OTHER[0].format(url=said), *_OTHER[1:]))
        name = said if said in ARCHIVES else f"archive-{number + 1}"
        providers.append(f"{name}: {provider}")
        for key, lines in (("sources", sources), ("labels", labels)):
            for line in lines:
                layers[key].setdefault(line.partition(",")[0], line.replace("NAME", name))
    return providers, list(layers["sources"].values()), list(layers["labels"].values())


def _lines(entries: Sequence[str], lead: str) -> str:
    return "\n".join(lead + entry for entry in entries)
