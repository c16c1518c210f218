"""Ten foreign products, each of at most 25 lines of YAML and no Python, pixel for pixel as GDAL warps them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from pipelines.access.archives import Archives
from pipelines.recipes import read_recipe
from pipelines.sources import open_source
from pipelines.sources.read_shard import ObservationRequest, gather
from schemas.place import BBox
from schemas.stack import Observation
from testbed.services import serve_catalogue
from tests.access.rasters.test_cog_warp import oracle
from tests.declared.products import PRODUCTS, place, write

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from schemas.recipe import Recipe
    from tests.declared.products import Product

RECIPE = """
name: foreign
seed: 1
sampling: {{ kind: uniform, count: 1 }}
grid: {{ size_m: 960 }}
windows: [{{ name: year, start: 2021-01-01, end: 2021-12-31 }}]
providers: {{ here: {{ url: {url} }} }}
sources:
        - layer: {name}
          providers: [here]
          {yaml}
"""


class World:
    """The products behind a STAC API on loopback, and recipes of them."""

    def __init__(self, folder: Path, url: str) -> None:
        self.folder, self.url = folder, url

    def recipe(self, product: Product, more: str = "") -> Recipe:
        path = self.folder / f"{product.name}.yaml"
        text = RECIPE.format(url=self.url, name=product.name, yaml=product.yaml.strip())
        path.write_text(text + more)
        return read_recipe(path).recipe


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("foreign")
    items = [write(product, folder / product.name) for product in PRODUCTS]
    with serve_catalogue(items, {f"/{p.name}/": folder / p.name for p in PRODUCTS}) as services:
        yield World(folder, services.stac_url("catalogue"))


def observe(recipe: Recipe) -> tuple[Observation, Any]:
    (entry,) = recipe.sources
    source = open_source(entry)
    with Archives(recipe.providers) as archives:
        found = archives.search("here", entry.collection, [BBox(1.9, 48.7, 2.7, 49.1)], None)
        scenes = source.collapse([source.parse(item, "here", recipe.providers["here"]) for item in found])
        window = recipe.windows[0] if source.modality.dated else None
        candidates = tuple(source.candidates(scenes, place(), window))
        request = ObservationRequest(place(), 0, candidates)
        (got,) = gather(source, recipe, [request], {s.item_id: s for s in scenes}, archives.reader)
    assert isinstance(got, Observation), got
    return got, source


@pytest.mark.slow
@pytest.mark.parametrize("product", PRODUCTS, ids=[p.name for p in PRODUCTS])
def test_a_product_in_yaml_has_the_pixels_of_gdal(product: Product, world: World) -> None:
    assert len(product.yaml.strip().splitlines()) <= 25
    recipe = world.recipe(product)
    got, source = observe(recipe)
    scale, offset = product.stated.get("scale"), product.stated.get("offset")
    for layer in source.modality.layers:
        geobox = place().geobox.at(recipe.resolution_of(product.name, layer.name))
        array = got.arrays[layer.name].reshape(len(layer.bands), *geobox.shape)
        assert array.dtype == np.dtype(layer.dtype)
        for number, band in enumerate(layer.bands):
            key, _, index = source.config.bands[band.name][0].partition("#")
            key = "data" if key.startswith("role:") or key not in product.assets else key
            path = world.folder / product.name / f"{key}-{index or 1}.tif"
            expected, valid = oracle(path, geobox, layer.kernel)
            if scale is not None:
                expected = (expected * scale + offset) / layer.scale
            if product.name == "l1c":
                expected = np.maximum(expected - 1000, 1)
            if layer.kind == "continuous" and array.dtype.kind != "f":
                expected = np.floor(expected + 0.5)
            assert valid.any()
            off = np.abs(array[number][valid].astype(np.float64) - expected[valid])
            if layer.kernel == "nearest":
                assert not off.any(), layer.name
            elif array.dtype.kind == "f":
                assert off.max() < 1e-3 * max(product.values), layer.name
            else:
                assert off.max() <= 1, layer.name
                assert (off > 0).mean() < 0.02, layer.name


def test_pixels_that_are_clouds_are_those_of_the_bits(world: World) -> None:
    product = next(p for p in PRODUCTS if p.name == "toa")
    recipe = world.recipe(product, "          max_cloud: 0.9\n")
    got, _ = observe(recipe)
    bits, valid = oracle(world.folder / "toa" / "QA_PIXEL-1.tif", place().geobox.at(30), "nearest")
    assert got.cloud is not None
    np.testing.assert_array_equal(got.cloud, ((bits & 0b11110) != 0) & valid)
    assert 0.0 < (got.cloud_fraction or 0.0) < 0.9
