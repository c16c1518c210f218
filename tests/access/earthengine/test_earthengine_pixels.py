"""The real client against the loopback Earth Engine: pixels equal what rasterio and numpy read from the same files."""

from __future__ import annotations

import datetime as dt
import importlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ee
import numpy as np
import pytest
import rasterio
from numpy.typing import NDArray
from rasterio.transform import from_origin
from rasterio.warp import Resampling, reproject
from rasterio.windows import Window

from pipelines.access.chips import Chip, ChipRequest, Reduce
from pipelines.access.earthengine import graphs, items
from pipelines.access.earthengine.reader import EarthEngineReader
from pipelines.access.earthengine.session import Session, Settings, open_session
from pipelines.access.http.client import AccessError
from schemas import label_source, sensors
from schemas.outcome import Reason
from schemas.place import BBox, GeoBox
from schemas.provider import Provider
from testbed.earthengine import Running, serve_earthengine
from tests.access.earthengine import earthengine_scenes as scenes
from tests.access.earthengine.earthengine_scenes import DW, S2, S2_A, S2_B, S2_C, box

JUNE = (dt.datetime(2023, 6, 1, tzinfo=dt.UTC), dt.datetime(2023, 6, 30, tzinfo=dt.UTC))
AREA = BBox(15.0, 47.82, 15.05, 47.86)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("earthengine")


@pytest.fixture(scope="module")
def running(folder: Path) -> Iterator[Running]:
    with serve_earthengine(scenes.catalogue(folder)) as found:
        yield found


@pytest.fixture(scope="module")
def session(running: Running) -> Iterator[Session]:
    settings = Settings(
        project="testbed-project",
        endpoint=running.base_url,
        credentials="anonymous",
        requests_per_s=None,
        backoff_s=0.01,
        retries=2,
    )
    with open_session(settings) as found:
        yield found


def window(path: Path, geobox: GeoBox, resolution_m: float, bands: list[int]) -> NDArray[Any]:
    column = round((geobox.x_min - scenes.X0) / resolution_m)
    row = round((scenes.Y0 - geobox.y_max) / resolution_m)
    with rasterio.open(path) as file:
        return file.read(bands, window=Window(column, row, geobox.width, geobox.height))


def test_stored_pixels_are_copied(session: Session, folder: Path) -> None:
    geobox = box()
    chip = session.compute_chip(
        graphs.stored((S2_A,), ("B2", "B3", "B4", "B8")), geobox, ("B2", "B3", "B4", "B8"), dtype="uint16"
    )
    np.testing.assert_array_equal(chip.pixels, window(folder / "1-10.tif", geobox, 10, [1, 2, 3, 4]))
    assert chip.valid.all()
    assert chip.pixels.dtype == np.uint16


def test_each_lattice_at_its_own_resolution(session: Session, folder: Path) -> None:
    for resolution, file, bands in ((20.0, "1-20.tif", ("B5", "B12")), (60.0, "1-60.tif", ("B1", "B9"))):
        geobox = box(12, 10, resolution, column=30, row=24)
        chip = session.compute_chip(graphs.stored((S2_A,), bands), geobox, bands, dtype="uint16")
        which = [1, 6] if resolution == 20.0 else [1, 2]
        np.testing.assert_array_equal(chip.pixels, window(folder / file, geobox, resolution, which))


def test_harmonised_numbers_keep_a_valid_zero(session: Session, folder: Path) -> None:
    geobox = box()
    chip = session.compute_chip(graphs.stored((S2_B,), ("B2",)), geobox, ("B2",), dtype="uint16")
    raw = window(folder / "2-10.tif", geobox, 10, [1]).astype(int)
    np.testing.assert_array_equal(chip.pixels, np.maximum(raw - 1000, 0))
    assert (chip.pixels == 0).any(), "the test data have numbers below 1000"
    assert chip.valid.all(), "a dark pixel is measured"


def test_masked_and_outside_pixels_are_not_valid(session: Session, folder: Path) -> None:
    geobox = box(100, 100, column=160, row=160)  # half of it in the fill, and over the edge of the file
    chip = session.compute_chip(graphs.stored((S2_A,), ("B2", "B3")), geobox, ("B2", "B3"), dtype="uint16")
    expected = np.zeros((100, 100), bool)
    expected[:20, :80] = expected[:80, :20] = True
    np.testing.assert_array_equal(chip.valid, np.stack([expected, expected]))
    assert (chip.pixels[~chip.valid] == 0).all()


def test_a_mask_of_one_band_does_not_spread(session: Session) -> None:
    image = ee.Image(S2_A).select(["B2", "B3"])
    image = image.addBands(image.select("B2").updateMask(image.select("B3").gt(3000)), None, True)
    geobox = box()
    chip = session.compute_chip(image, geobox, ("B2", "B3"), dtype="uint16")
    assert chip.valid[1].all()
    np.testing.assert_array_equal(chip.valid[0], chip.pixels[1] > 3000)


def test_forty_bands_come_in_two_requests(session: Session, running: Running) -> None:
    image = ee.Image(S2_A).select("B2")
    many = ee.Image.cat([image.add(i).rename(f"b{i}") for i in range(40)])
    before = running.service.requests.get("computePixels", 0)
    chip = session.compute_chip(many, box(8, 8), [f"b{i}" for i in range(40)], dtype="uint16")
    assert running.service.requests["computePixels"] - before == 2
    np.testing.assert_array_equal(chip.pixels - chip.pixels[:1], np.arange(40)[:, None, None] + 0 * chip.pixels)
    assert chip.valid.all()


def test_first_image_with_a_valid_pixel_wins(session: Session, folder: Path) -> None:
    geobox = box()
    clear = ee.Image(S2_A).select(["B2"]).updateMask(ee.Image(S2_A).select("B3").gt(3000))
    laid = ee.ImageCollection.fromImages([ee.Image(S2_C).select(["B2"]), clear]).mosaic()
    chip = session.compute_chip(laid, geobox, ("B2",), dtype="uint16")
    a, c = window(folder / "1-10.tif", geobox, 10, [1, 2]), window(folder / "3-10.tif", geobox, 10, [1])
    np.testing.assert_array_equal(chip.pixels[0], np.where(a[1] > 3000, a[0], np.maximum(c[0].astype(int) - 1000, 0)))
    both = session.compute_chip(graphs.stored((S2_A, S2_C), ("B2",)), geobox, ("B2",), dtype="uint16")
    np.testing.assert_array_equal(both.pixels, a[:1])


@pytest.mark.parametrize("how", ["mode", "probability"])
def test_named_maps_are_reduced_to_one(session: Session, folder: Path, how: Any) -> None:
    """What a label's composite asks for, against numpy: the smallest of equals; sure pixels only."""
    geobox, least = box(48, 40, row=0), 0.8
    found = items.search(session, DW, areas=[AREA], period=None)
    request = ChipRequest(
        hrefs=tuple(item["assets"]["label"]["href"] for item in found),
        bands=(1,),
        geobox=geobox,
        kernel="nearest",
        fill=(255.0,),
        reduce=Reduce(how=how, least=least if how == "probability" else 0.0),
    )
    with EarthEngineReader(session) as reader:
        (chip,) = reader.read_chips([request])
    assert isinstance(chip, Chip)
    assert chip.pixels.dtype == np.uint8
    assert chip.resampling == "none"
    if how == "mode":
        maps = np.stack([window(folder / f"dw-{i}.tif", geobox, 10, [1])[0] for i in range(3)])
        votes = np.stack([(maps == code).sum(axis=0) for code in range(9)])
        assert chip.valid.all()
        np.testing.assert_array_equal(chip.pixels[0], votes.argmax(axis=0))
        return
    names = [window(folder / f"dw-{i}-p.tif", geobox, 10, list(range(1, 10))).astype(np.float64) for i in range(3)]
    mean = np.mean(names, axis=0)
    np.testing.assert_array_equal(chip.valid[0], mean.max(axis=0) >= least)
    assert 0.05 < chip.valid.mean() < 0.95
    np.testing.assert_array_equal(chip.pixels[0][chip.valid[0]], mean.argmax(axis=0)[chip.valid[0]])


def test_worldcover_is_nearest_and_the_dem_is_one_surface(session: Session, folder: Path) -> None:
    geobox = box(64, 48)
    with EarthEngineReader(session) as reader:
        (cover,) = _chips(reader, session, "ESA/WorldCover/v200", geobox, "nearest")
        thirty = GeoBox(epsg=32633, x_min=scenes.X0 + 3000, y_max=scenes.Y0 - 900, resolution_m=30, width=40, height=30)
        (heights,) = _chips(reader, session, "COPERNICUS/DEM/GLO30", thirty, "bilinear", laid=True)
    expected, seen = _warped(folder / "wc.tif", geobox, Resampling.nearest)
    same = cover.pixels[0] == expected
    assert same.mean() > 0.995  # GDAL's warp approximates positions by up to an eighth of a pixel
    np.testing.assert_array_equal(cover.valid[0], seen != 0)
    assert cover.resampling == "nearest"
    surface, _ = _warped(folder / "dem.tif", thirty, Resampling.bilinear)
    assert heights.resampling == "bilinear"
    assert heights.valid.all(), "no gap at the seam of the two tiles"
    np.testing.assert_allclose(heights.pixels[0], surface, atol=0.35)


def _chips(
    reader: EarthEngineReader, session: Session, collection: str, geobox: GeoBox, kernel: Any, *, laid: bool = False
) -> list[Chip]:
    found = items.search(session, collection, areas=[AREA], period=None)
    hrefs = [next(iter(item["assets"].values()))["href"] for item in found]
    groups = [tuple(hrefs)] if laid else [(h,) for h in hrefs]
    chips = reader.read_chips([ChipRequest(hrefs=g, bands=(1,), geobox=geobox, kernel=kernel) for g in groups])
    for chip in chips:
        assert isinstance(chip, Chip), chip
    return [c for c in chips if isinstance(c, Chip)]


def _warped(path: Path, geobox: GeoBox, kernel: Resampling) -> tuple[NDArray[Any], NDArray[Any]]:
    with rasterio.open(path) as file:
        out = np.zeros(geobox.shape, file.dtypes[0])
        reproject(
            rasterio.band(file, 1),
            out,
            dst_crs=f"EPSG:{geobox.epsg}",
            dst_transform=from_origin(geobox.x_min, geobox.y_max, geobox.resolution_m, geobox.resolution_m),
            resampling=kernel,
            tolerance=0.0,
        )
    return out, out


def test_reader_is_a_raster_reader(session: Session, folder: Path) -> None:
    geobox = box()
    (item,) = [i for i in items.search(session, S2, areas=[AREA], period=JUNE) if i["id"] == S2_B.rpartition("/")[2]]
    ten = item["assets"]["r10m"]
    assert [b["name"] for b in ten["bands"]] == ["B02", "B03", "B04", "B08"]
    missing = "earthengine:NO/SUCH#B1;EPSG:32633;10,0,0,0,-10,0"
    with EarthEngineReader(session) as reader:
        red, nothing, wrong = reader.read_chips(
            [
                ChipRequest(hrefs=(ten["href"],), bands=(3, 1), geobox=geobox, kernel="bilinear", fill=(0.0,)),
                ChipRequest(
                    hrefs=(missing,),
                    bands=(1,),
                    geobox=geobox,
                    kernel="nearest",
                ),
                ChipRequest(hrefs=("https://example.com/B02.tif",), bands=(1,), geobox=geobox, kernel="nearest"),
            ]
        )
    assert isinstance(red, Chip)
    assert red.resampling == "none"
    raw = window(folder / "2-10.tif", geobox, 10, [3, 1]).astype(int)
    np.testing.assert_array_equal(red.pixels, np.maximum(raw - 1000, 0))
    assert red.valid.all()
    assert isinstance(nothing, AccessError)
    assert nothing.reason is Reason.NOT_FOUND
    assert isinstance(wrong, AccessError)
    assert wrong.reason is Reason.BAD_ITEM


def test_items_are_frozen_facts(session: Session) -> None:
    found = items.search(session, S2, areas=[AREA, AREA], period=(dt.date(2023, 6, 1), dt.date(2023, 6, 6)))
    assert [i["id"] for i in found] == [S2_A.rpartition("/")[2], S2_B.rpartition("/")[2]]
    first = found[0]
    assert first["properties"]["s2:boa_offset_applied"] is True
    assert first["properties"]["eo:cloud_cover"] == 5.0
    assert first["properties"]["platform"] == "sentinel-2a"
    assert first["assets"]["r60m"]["proj:code"] == "EPSG:32633"
    assert items.parse_href(first["assets"]["r60m"]["href"]).bands == ("B1", "B9")
    assert items.search(session, S2, areas=[BBox(100.0, 0.0, 101.0, 1.0)], period=None) == []
    radar = items.search(session, "COPERNICUS/S1_GRD", areas=[AREA], period=None)[0]
    assert radar["properties"]["sat:orbit_state"] == "descending"
    assert radar["properties"]["sar:product_type"] == "GRD"
    with pytest.raises(AccessError, match="is unknown"):
        items.search(session, "NO/SUCH", areas=[AREA], period=None)


def test_radar_holes_and_float_bands(session: Session, folder: Path) -> None:
    (item,) = items.search(session, "COPERNICUS/S1_GRD", areas=[AREA], period=None)
    geobox = box(32, 32, row=0)
    with EarthEngineReader(session) as reader:
        (chip,) = reader.read_chips(
            [ChipRequest(hrefs=(item["assets"]["r10m"]["href"],), bands=(1, 2), geobox=geobox, kernel="bilinear")]
        )
    assert isinstance(chip, Chip)
    raw = window(folder / "s1.tif", geobox, 10, [1, 2])
    np.testing.assert_array_equal(chip.valid, ~np.isnan(raw))
    np.testing.assert_array_equal(chip.pixels[chip.valid], raw[~np.isnan(raw)].astype(np.float32))


@pytest.mark.parametrize(
    ("collection", "source"),
    [
        (S2, "pipelines.sources.sentinel2:Sentinel2:Sentinel2Source"),
        ("LANDSAT/LC08/C02/T1_L2", "pipelines.sources.landsat:Landsat:LandsatSource"),
        ("LANDSAT/LC09/C02/T1_L2", "pipelines.sources.landsat:Landsat:LandsatSource"),
        ("COPERNICUS/DEM/GLO30", "pipelines.sources.dem:Dem:DemSource"),
        ("ESA/WorldCover/v100", "pipelines.labels.worldcover:WorldCover:WorldCoverLabel"),
        ("ESA/WorldCover/v200", "pipelines.labels.worldcover:WorldCover:WorldCoverLabel"),
        (DW, "pipelines.labels.dynamicworld:DynamicWorld:DynamicWorldLabel"),
    ],
)
def test_sources_and_labels_read_the_items_as_they_are(session: Session, collection: str, source: str) -> None:
    """No sensor knows that the archive is Earth Engine: its parser takes the item, and its scene's hrefs are read."""
    module, kind, config = source.split(":")
    section = label_source if config.endswith("Label") else sensors
    settings = getattr(section, config)(providers=("ee",), collection=collection)
    parser = getattr(importlib.import_module(module), kind)(settings)
    provider = Provider(url="https://earthengine-highvolume.googleapis.com")
    found = items.search(session, collection, areas=[AREA], period=None)
    assert found
    for item in found:
        scene = parser.scene(item, "ee", provider)
        assert scene.item_id == item["id"]
        for band, asset in scene.assets.items():
            assert asset.index <= len(items.parse_href(asset.href).bands), band
        if collection == S2:
            assert scene.radiometry["B02"].offset_dn == 0.0
            assert scene.radiometry["B02"].clip_min == 1.0
            assert "has applied the offset" in scene.radiometry["B02"].rule
            assert scene.acquisition != found[0]["id"]
