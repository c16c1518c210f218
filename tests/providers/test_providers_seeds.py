"""Every recipe of the folder is one, says what it needs, and goes to archives by https."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pipelines.recipes import read_recipe
from sampling import locate
from schemas.provider import Provider
from schemas.sampling import DrawSampling, PointsSampling

if TYPE_CHECKING:
    from collections.abc import Sequence

FOLDER = Path(__file__).parents[2] / "recipes"
FILES = sorted(p.relative_to(FOLDER).as_posix() for p in FOLDER.rglob("*.yaml"))


@pytest.mark.parametrize("name", FILES)
def test_a_recipe_is_one_and_names_no_machine(name: str) -> None:
    recipe = read_recipe(FOLDER / name).recipe
    assert recipe.name == Path(name).stem
    assert recipe.description
    for provider in recipe.providers.values():
        if isinstance(provider, Provider):
            assert provider.url.startswith(("https://", "$LANDWEAVE_TESTBED/"))
            assert ("$" in provider.url) == (name == "quickstart.yaml")


@pytest.mark.parametrize(
    ("name", "pixels", "dates"), [("ssl4eo-s12", 264, 4), ("major-tom", 1068, 1), ("spectral-earth", 384, 4)]
)
def test_seeds_have_the_size_and_dates_of_what_they_follow(name: str, pixels: int, dates: int) -> None:
    recipe = read_recipe(FOLDER / "seeds" / f"{name}.yaml").recipe
    assert recipe.grid.size_m / 10 == pixels
    assert len(recipe.slots_of(recipe.sources[0])) == dates


SEEDS = sorted((FOLDER / "seeds").glob("*.yaml"))
SQUARE = [[[10.0, 48.0], [12.0, 48.0], [12.0, 49.0], [10.0, 49.0], [10.0, 48.0]]]
TAGS = (
    {"generator:source": "wind", "leisure": "stadium", "power": "line"},
    {"aeroway": "helipad", "amenity": "hospital"},
    {"waterway": "dam", "landuse": "quarry"},
)


def _row(number: int) -> dict[str, Any]:
    """Values for each column that a seed may ask its file for."""
    dates = dict.fromkeys(("date", "fire_date", "timestamp", "datetime"), f"202{number % 3}-06-30")
    return dates | {"split": ("train", "val", "test")[number % 3], "labels": "Trees. Water", "is_fire": True}


def _geojson(names: Sequence[str], *, polygons: bool) -> str:
    features = []
    for number in range(12):
        lon, lat = 10.0 + number / 6, 48.5
        geometry = {"type": "Point", "coordinates": [lon, lat]}
        if polygons:
            geometry = {"type": "Polygon", "coordinates": SQUARE}
        values = (
            dict.fromkeys(names, 1) | _row(number) | {"biome": number % 3, "osm_id": number, "tags": TAGS[number % 3]}
        )
        features.append({"type": "Feature", "geometry": geometry, "properties": values})
    return json.dumps({"type": "FeatureCollection", "features": features})


def _csv(names: Sequence[str]) -> str:
    rows = [dict.fromkeys(names, 1) | {"lon": 10 + n / 6, "lat": 48.5} | _row(n) for n in range(12)]
    return "\n".join([",".join(rows[0]), *(",".join(str(v) for v in row.values()) for row in rows)]) + "\n"


@pytest.mark.parametrize("path", SEEDS, ids=lambda p: p.stem)
def test_a_seed_places_samples_from_small_files_of_the_kind_it_names(path: Path, tmp_path: Path) -> None:
    here = tmp_path / path.name
    here.write_text(path.read_text(encoding="utf-8"), encoding="utf-8")
    sampling = read_recipe(here).recipe.sampling
    changes = []
    if isinstance(sampling, PointsSampling):
        (tmp_path / sampling.file).write_text(_csv(sampling.attributes), encoding="utf-8")
    elif isinstance(sampling, DrawSampling):
        polygons = sampling.frame.at == "within"
        (tmp_path / "frame.geojson").write_text(_geojson(sampling.attributes, polygons=polygons), encoding="utf-8")
        changes += ["sampling.from.file=frame.geojson"]
    else:
        changes += ["sampling.area.bbox=[11.0, 48.2, 11.4, 48.4]", "sampling.area.file=null"]
        if path.stem in {"rsteller", "gfm-bench"}:
            changes = ["sampling.area.bbox=[-100.0, 40.0, -99.5, 40.5]"]
    if not isinstance(sampling, PointsSampling):
        changes += ["sampling.count=6"]
    recipe = read_recipe(here, changes).recipe
    found = locate(recipe, tmp_path)
    assert len(found) == (12 if isinstance(sampling, PointsSampling) else 6)
    assert set(found.split.tolist()) <= {0, 1, 2}


@pytest.mark.parametrize("path", SEEDS, ids=lambda p: p.stem)
def test_a_seed_is_short_and_the_page_of_datasets_has_it(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 40
    assert "ifference" in text or path.stem in {"prithvi-hls", "agrifm", "las", "units"}
    assert f"`{path.stem}`" in (FOLDER.parent / "docs" / "datasets.md").read_text(encoding="utf-8")
