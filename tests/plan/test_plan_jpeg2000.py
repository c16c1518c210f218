"""The estimate for JPEG 2000: tile-parts where a file lists them, whole files and a note where it does not."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import rasterio
from affine import Affine

from pipelines.access.archives import Archives
from pipelines.access.chips import ChipRequest
from pipelines.access.http.client import Client
from pipelines.access.rasters.cog import Reader
from pipelines.access.rasters.raster import Raster, Unread, look_at
from pipelines.plan.estimate import Cut, Tally, _Chips, _raster, cut_key, cut_of, read_whole
from pipelines.tables import PartPlan
from schemas.place import GeoBox
from schemas.provider import Provider
from schemas.scene import AssetBand
from testbed.services import Services, serve_catalogue
from tests.shards.synthetic import recipe as small_recipe
from tests.tables.test_plan_tables import scene

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SIZE = 600
BOXES = [
    GeoBox(epsg=32632, x_min=500_000 + 10 * x, y_max=5_000_000 - 10 * y, resolution_m=10, width=50, height=50)
    for x, y in ((300, 300), (310, 320), (500, 200))
]


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[Path, Services]]:
    with serve_catalogue([], {"/f/": tmp_path}) as services:
        yield tmp_path, services


def write(path: Path, **how: Any) -> int:
    """Size of the file."""
    pixels = np.random.default_rng(2).integers(1, 9000, (1, SIZE, SIZE)).astype("uint16")
    with rasterio.open(
        path, "w", driver="JP2OpenJPEG", count=1, height=SIZE, width=SIZE, dtype="uint16", crs="EPSG:32632",
        transform=Affine(10, 0, 500_000, 0, -10, 5_000_000), QUALITY=100, REVERSIBLE="YES", tiled=True, blockxsize=128,
        blockysize=128, **how,
    ) as dataset:  # fmt: skip
        dataset.write(pixels)
    return path.stat().st_size


@pytest.mark.parametrize("listed", [True, False])
def test_the_estimate_is_what_reading_costs(listed: bool, served: tuple[Path, Services]) -> None:
    folder, services = served
    size = write(folder / "a.jp2", **({"TLM": "YES"} if listed else {}))
    href = f"{services.base_url}/f/a.jp2"
    with Archives({"p": Provider(url=f"{services.base_url}/stac", dialect="generic")}) as archives:
        cut = cut_of(archives, ("p", href))
    assert isinstance(cut, Cut)
    looked = sum(entry.bytes for entry in services.log)
    assert looked == 32_768, "planning reads the head alone"
    assert cut.whole_bytes == (None if listed else size)
    tally = Tally()
    _raster(AssetBand(href=href), cut, 1, _Chips(BOXES, 10.0), tally, {})
    with Reader(Client()) as reader:
        chips = reader.read_chips([
            ChipRequest(hrefs=(href,), bands=(1,), geobox=box, kernel="nearest", fill=(0,)) for box in BOXES
        ])  # fmt: skip
    assert not any(isinstance(chip, Exception) for chip in chips)
    asked = services.log[1:]
    assert (len(asked), sum(entry.bytes for entry in asked)) == (tally.requests, tally.bytes)
    assert (tally.bytes < size / 2) == listed


def test_a_file_is_looked_at_without_being_fetched(served: tuple[Path, Services]) -> None:
    folder, services = served
    size = write(folder / "a.jp2")
    write(folder / "b.jp2", TLM="YES")
    unread = look_at(Client(), f"{services.base_url}/f/a.jp2")
    assert isinstance(unread, Unread)
    assert unread.size == size
    assert isinstance(look_at(Client(), f"{services.base_url}/f/b.jp2"), Raster)
    assert Counter(entry.bytes for entry in services.log) == {32_768: 2}


def test_the_note_holds_for_every_file_that_is_read_whole(served: tuple[Path, Services]) -> None:
    """A PNG and a JPEG 2000 of one tile would not be read by range if they listed their tile-parts."""
    folder, services = served
    pixels = np.random.default_rng(3).integers(0, 255, (1, SIZE, SIZE)).astype("uint8")
    recipe = small_recipe()
    with Archives({"p": Provider(url=f"{services.base_url}/stac", dialect="generic")}) as archives:
        for name, driver in (("a.png", "PNG"), ("one.jp2", "JP2OpenJPEG")):
            with rasterio.open(
                folder / name, "w", driver=driver, count=1, height=SIZE, width=SIZE, dtype="uint8"
            ) as file:
                file.write(pixels)
            cut = cut_of(archives, ("p", f"{services.base_url}/f/{name}"))
            assert cut is not None
            assert cut.whole_bytes == (folder / name).stat().st_size
            part = PartPlan(recipe=recipe, number=0, shards={}, scenes={"sentinel2": {"i": scene("i", name)}})
            first = recipe.modalities["sentinel2"].layers[0].name
            (note,) = read_whole(part, {cut_key("sentinel2", first): cut})
            assert note.startswith(f"sentinel2 of here: files of {first} that are read whole, about 0.")
            assert "cannot be read by range (no TIFF, and no JPEG 2000 of several tiles that lists" in note
