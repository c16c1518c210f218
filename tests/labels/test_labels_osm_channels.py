"""Channels of a map through a build: 0 and 1 as GDAL burns the objects, and no input to a model."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import rasterio.features
import rasterio.warp
from affine import Affine
from osmium import SimpleWriter
from typer.testing import CliRunner

import landweave
import pipelines.__main__ as commands
from pipelines.assemble import sample_bytes
from pipelines.recipes import RecipeError, read_recipe
from tests.access.openstreetmap.osm_files import nodes, way, written

RECIPE = """
name: channels
seed: 1
sampling: {{ kind: points, file: points.csv }}
grid: {{ size_m: 640 }}
sources: []
splits: {{ by: random, train: 1.0, val: 0.0, test: 0.0 }}
labels:
  - {{ kind: openstreetmap, pbf: map.osm.pbf, channels: {channels} }}
"""
CHANNELS = '{ house: { building: "*" }, green: [{ landuse: [forest, meadow] }, { natural: wood }], gone: { a: b } }'
HOUSE = [(0.2, 0.2), (0.4, 0.2), (0.4, 0.45), (0.2, 0.45)]
WOOD = [(0.3, 0.3), (0.7, 0.35), (0.6, 0.8)]
EDGE = [(-3, -3), (4, -3), (4, 4), (-3, 4)]


def fill(writer: SimpleWriter) -> None:
    first = [nodes(writer, 1 + 10 * number, corners) for number, corners in enumerate((HOUSE, WOOD, EDGE))]
    tags: list[dict[str, str]] = [{"building": "house"}, {"natural": "wood", "building": "no"}, {"landuse": "military"}]
    for number, (ids, about) in enumerate(zip(first, tags, strict=True), 1):
        way(writer, number, [*ids, ids[0]], **about)


def test_channels_of_a_build_are_those_that_gdal_burns(tmp_path: Path) -> None:
    written(tmp_path / "map.osm.pbf", fill)
    (tmp_path / "points.csv").write_text("id,lon,lat\na,10.005,50.005\n")
    (tmp_path / "r.yaml").write_text(RECIPE.format(channels=CHANNELS))
    words = ["build", str(tmp_path / "r.yaml"), str(tmp_path / "out"), "--workers", "1"]
    done = CliRunner().invoke(commands.app, words)
    assert done.exit_code == 0, done.output
    data = landweave.open(tmp_path / "out")
    sample = data.sample(0)
    found = sample["openstreetmap_channels/channels"]
    assert found.dtype == np.uint8
    assert sample.bands("openstreetmap_channels/channels") == ("house", "green", "gone")
    grid = Affine(*sample.transform("openstreetmap_channels/channels"))
    for number, corners in enumerate((HOUSE, WOOD)):
        ground = [(10 + x * 0.01, 50 + y * 0.01) for x, y in corners]
        shape = {"type": "Polygon", "coordinates": [[*ground, ground[0]]]}
        moved = rasterio.warp.transform_geom("EPSG:4326", f"EPSG:{sample.epsg}", shape)
        expected = rasterio.features.rasterize([moved], (64, 64), transform=grid)
        assert expected.any()
        np.testing.assert_array_equal(found[number], expected)
    assert not found[2].any()
    assert list(data.targets) == ["openstreetmap_channels"]


@pytest.mark.parametrize(
    ("channels", "said"),
    [
        ("{ road: {} }", "at least 1 item"),
        ("{ road: [] }", "at least 1 item"),
        ("{ road: highway }", "channels.road"),
        ("{ '1 road': { highway: primary } }", "channels"),
    ],
)
def test_a_channel_that_says_nothing_is_refused(channels: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "r.yaml").write_text(RECIPE.format(channels=channels))
    with pytest.raises(RecipeError) as caught:
        read_recipe(tmp_path / "r.yaml")
    assert said in str(caught.value)
    assert "line 9" in str(caught.value)


def test_labels_and_channels_count_in_the_memory_of_a_sample(tmp_path: Path) -> None:
    (tmp_path / "r.yaml").write_text(RECIPE.format(channels=CHANNELS))
    assert sample_bytes(read_recipe(tmp_path / "r.yaml").recipe) == 64 * 64 * (2 + 1 + 3 + 1)
