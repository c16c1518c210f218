"""The printed block of a collection is a layer that reads its pixels; a first recipe is a recipe; a trial is a part."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from pipelines.access.errors import AccessError
from pipelines.describe import describe
from pipelines.first import ARCHIVES, write_first
from pipelines.recipes import RecipeError, read_recipe
from sampling import locate
from schemas.splits import Splits
from testbed.services import serve_catalogue
from tests.declared.products import PRODUCTS, write
from tests.declared.test_declared_products import observe

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

HEAD = """name: described
seed: 1
sampling: {{ kind: uniform, count: 1 }}
grid: {{ size_m: 960 }}
windows: [{{ name: year, start: 2021-01-01, end: 2021-12-31 }}]
providers: {{ here: {{ url: "{url}" }} }}
sources:
"""


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("described")
    product = next(p for p in PRODUCTS if p.name == "scaled")
    item = write(product, folder / "scaled")
    bands = [{"data_type": "int16", "scale": 2e-4, "offset": -0.01, "nodata": -1, "spatial_resolution": 300}]
    item["assets"]["data"]["raster:bands"] = bands
    empty = {**item, "id": "e-1", "collection": "netcdf"}
    empty["assets"] = {"data": {"href": "/scaled/a.nc", "type": "application/x-netcdf"}}
    with serve_catalogue([item, empty], {"/scaled/": folder / "scaled"}) as services:
        yield services.stac_url("catalogue")


def test_the_printed_block_is_a_layer(url: str, tmp_path: Path) -> None:
    block = describe(url, "scaled")
    path = tmp_path / "recipe.yaml"
    path.write_text(HEAD.format(url=url) + block.replace("[NAME]", "[here]"))
    recipe = read_recipe(path).recipe
    got, source = observe(recipe)
    (layer,) = source.modality.layers
    assert (layer.dtype, layer.scale, layer.offset, layer.nodata) == ("int16", 2e-4, -0.01, -1)
    assert got.valid.any()
    assert np.ptp(got.arrays[layer.name]) > 100


def test_what_cannot_be_described_is_one_line(url: str) -> None:
    with pytest.raises(AccessError, match="no asset of netcdf is a GeoTIFF"):
        describe(url, "netcdf")
    with pytest.raises(AccessError, match="no item of collection 'nothing'"):
        describe(url, "nothing")
    with pytest.raises(RecipeError, match="must not contain a user, password or query"):
        describe("https://me:secret@stac.example", "c")
    with pytest.raises(RecipeError) as caught:
        describe("/etc/passwd", "c")
    assert str(caught.value).endswith("found '/etc/passwd'")


def test_a_first_recipe_is_a_recipe(tmp_path: Path) -> None:
    path = tmp_path / "My First.yaml"
    write_first(path)
    assert read_recipe(path).recipe.name == "my-first"
    with pytest.raises(RecipeError, match="is there already"):
        write_first(path)


@pytest.mark.slow
@pytest.mark.parametrize("archive", [*ARCHIVES, "https://stac.example/v1"])
def test_a_first_recipe_is_for_the_users_area_and_archives(archive: str, tmp_path: Path) -> None:
    path = tmp_path / "first.yaml"
    write_first(path, bbox="11.2, 48.1,11.6,48.3", archives=[archive], year=2021)
    recipe = read_recipe(path).recipe
    assert recipe.sampling.area.bbox == (11.2, 48.1, 11.6, 48.3)
    assert {s.name for s in recipe.sources} >= {"sentinel2"}
    assert all(s.providers == tuple(recipe.providers) for s in recipe.sources)
    assert recipe.windows[0].start == dt.date(2021, 6, 1)
    located = locate(recipe.model_copy(update={"splits": Splits(allow_overlap=True)}), tmp_path)
    assert len(located) == recipe.sampling.count > 20, "the samples have room in the area"


def test_of_two_archives_the_first_that_has_a_layer_gives_it(tmp_path: Path) -> None:
    path = tmp_path / "first.yaml"
    write_first(path, archives=["earth-search", "planetary-computer"])
    recipe = read_recipe(path).recipe
    found = {s.name: s.providers for s in recipe.sources}
    assert found == {"sentinel2": ("earth-search",), "dem": ("earth-search",), "sentinel1": ("planetary-computer",)}
    assert [x.layer for x in recipe.labels] == ["worldcover"]


@pytest.mark.parametrize(("how", "said"), [
    ({"bbox": "11,48,12"}, "--bbox 11,48,12: expected west,south,east,north in degrees"),
    ({"bbox": "11,49,12,48"}, "south 49.0 is not below north 48.0"),
    ({"bbox": "a,b,c,d"}, "--bbox a,b,c,d"),
    ({"bbox": "1,2,3,4", "area": "x.geojson"}, "give --bbox or --area, not both"),
    ({"area": "gone.geojson"}, "gone.geojson"),
    ({"area": "/etc/passwd"}, "relative to the recipe"),
    ({"archives": ["landsat"]}, "--archive landsat: expected planetary-computer, earth-search, earthengine, or"),
    ({"archives": ["https://me:secret@stac.example"]}, "must not contain a user, password or query"),
])  # fmt: skip
def test_an_area_or_archive_that_is_none_is_one_line_and_no_file(tmp_path: Path, how: Any, said: str) -> None:
    path = tmp_path / "first.yaml"
    with pytest.raises(RecipeError) as caught:
        write_first(path, **how)
    (line,) = caught.value.lines
    assert said in line
    assert "type=" not in line
    assert not path.exists()


@pytest.mark.parametrize("kind", ["{ kind: uniform, count: 60, area: { bbox: [11, 48, 13, 49] } }",
                                  "{ kind: grid, spacing_m: 20000, area: { bbox: [11, 48, 13, 49] } }"])  # fmt: skip
def test_a_trial_is_a_part_of_the_whole(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "first.yaml"
    write_first(path)
    one_line = "sampling: " + kind
    text = path.read_text()
    start, end = text.index("sampling:"), text.index("grid:")
    path.write_text(text[:start] + one_line + "\n" + text[end:])
    whole, trial = read_recipe(path).recipe, read_recipe(path, ["limit=7"]).recipe
    assert trial.sha256 != whole.sha256
    every, some = locate(whole, tmp_path), locate(trial, tmp_path)
    assert len(some) == 7 < len(every)
    ids = every.names(every.key)
    at = [ids.index(name) for name in some.names(some.key)]
    assert at == sorted(at)
    assert at[-1] > len(every) // 2
    np.testing.assert_array_equal(some.split, every.split[at])
    np.testing.assert_array_equal(some.footprints.x_min, every.footprints.x_min[at])
    assert "7 of" in some.notes[0]
