"""The recipes that are ready to launch, planned against the miniature Earth: the same files, other addresses."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

import pytest

import testbed
from pipelines.access.http.client import SettingError
from pipelines.jobs import plan_dataset
from pipelines.recipes import read_recipe
from pipelines.tables import read_summary
from schemas.label_source import OpenStreetMapLabel
from schemas.provider import Provider
from schemas.recipe import Recipe

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("providers")]

FOLDER = Path(__file__).parents[2] / "recipes"
ARCHIVES = {
    "earth-search.aws.element84.com": "earth-search",
    "planetarycomputer.microsoft.com": "planetary-computer",
    "geoservice.dlr.de": "dlr-eoc",
    "stac.dataspace.copernicus.eu": "copernicus-data-space",
    "landsatlook.usgs.gov": "usgs",
    "cmr.earthdata.nasa.gov": "earthdata",
}
"""Host -> the archive of the miniature Earth that stands for it."""
RECIPES = ("earth-search", "planetary-computer", "agencies", "mixed")


def overrides(recipe: Recipe, services: testbed.Services) -> list[str]:
    """The archives' addresses here, by the mechanism of `--set`; what is in S3 has an endpoint here too."""
    words = []
    for name, provider in recipe.providers.items():
        if not isinstance(provider, Provider):
            continue  # Earth Engine: its address is in the environment
        archive = ARCHIVES[urlsplit(provider.url).hostname or ""]
        words.append(f"providers.{name}.url={services.stac_url(archive)}")
        if archive == "usgs":
            words.append(f"providers.{name}.signing.url={services.base_url}/s3")
    for number, label in enumerate(recipe.labels):
        if isinstance(label, OpenStreetMapLabel):
            words.append(f"labels.{number}.pbf={services.base_url}/osm/planet.osm.pbf")
    return words


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_plans_against_the_miniature_earth(
    name: str, services: testbed.Services, logins: dict[str, str], tmp_path: Path
) -> None:
    path = FOLDER / f"{name}.yaml"
    recipe = read_recipe(path).recipe
    here = read_recipe(path, overrides(recipe, services))
    plan_dataset(here, tmp_path / "out", again=False)
    summary = read_summary(tmp_path / "out" / "plan")
    assert summary is not None
    assert summary.samples >= 10
    assert not summary.unavailable
    wanted = {s.kind for s in recipe.sources}
    wanted |= {x.layer for x in recipe.labels if not isinstance(x, OpenStreetMapLabel)}
    assert set(summary.scenes) == wanted
    assert all(count > 0 for count in summary.scenes.values())
    assert {e.path for e in services.log if e.status >= 400} == set()


@pytest.mark.parametrize("name", ["earth-search", "agencies", "mixed"])
def test_without_its_login_nothing_is_asked(name: str, services: testbed.Services, tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="needs a login"):
        plan_dataset(read_recipe(FOLDER / f"{name}.yaml"), tmp_path / "out", again=False)
    assert services.log == ()
    assert read_summary(tmp_path / "out" / "plan") is None
