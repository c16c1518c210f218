"""The tutorial, as a stranger follows it: its commands are run, its recipe is saved, its Python is executed."""

from __future__ import annotations

import os
import re
from pathlib import Path

import numpy as np
import pytest
import rasterio
import rasterio.windows
from affine import Affine

import landweave
from tests.flow.job import CHECKOUT
from tests.flow.reader_of_pages import Reader

PAGE = CHECKOUT / "docs" / "tutorial_own_images.md"


@pytest.mark.slow
def test_the_tutorial_works_as_it_stands(tmp_path: Path) -> None:
    reader = Reader(PAGE, tmp_path, os.environ, port=0)
    reader.follow()
    said = reader.said
    assert len(said) == 9
    assert "items.parquet: 4 images of orthos" in said[2]
    assert (
        "their ground, for `sampling`: area: { bbox: [2.3457, 48.8562, 2.354, 48.8617], land_only: false }" in said[2]
    )
    assert "fields.yaml line 26: labels.0: parcels: background: 'other' is no class" in said[3]
    assert re.search(r"parcels +(\d+) of \1$", said[5], re.MULTILINE)
    assert "(8, 1, 3, 256, 256) (8, 256, 256)" in said[8]
    for text in said:
        assert str(tmp_path) not in text
    out = tmp_path / "data" / "own" / "dataset"
    files = [p for p in out.rglob("*") if p.is_file() and ".work" not in p.parts]
    held = [p for p in files if str(tmp_path).encode() in p.read_bytes()]
    assert held == [], "no path of this machine gets into plan or dataset"
    _check_pixels(tmp_path / "data" / "own" / "orthos", out)


def _check_pixels(photos: Path, out: Path) -> None:
    """The samples lie on the photos' own pixels: they are copied, not resampled."""
    data, seen = landweave.open(out), 0
    for sample in data:
        place = Affine(*sample.transform("ortho/rgb"))
        assert sample.epsg == 2154
        for path in photos.glob("*.tif"):
            with rasterio.open(path) as file:
                left, top = ~file.transform @ (place.c, place.f)
                column, row = round(left), round(top)
                assert abs(left - column) < 1e-3
                if 0 <= column <= file.width - 256 and 0 <= row <= file.height - 256:
                    window = rasterio.windows.Window(column, row, 256, 256)
                    np.testing.assert_array_equal(sample["ortho/rgb"][0], file.read(window=window))
                    seen += 1
    assert seen >= 10
