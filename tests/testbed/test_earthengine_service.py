"""The loopback Earth Engine as the real client sees it: protocol, evaluator, limits and errors."""

from __future__ import annotations

import datetime as dt
import io
import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ee
import hypothesis
import numpy as np
import pytest
import rasterio
from google.auth.credentials import AnonymousCredentials
from hypothesis import strategies as st
from numpy.typing import NDArray

from testbed.earthengine import EeCatalogue, Limits, Running, serve_earthengine
from tests.access.earthengine import earthengine_scenes as scenes
from tests.access.earthengine.earthengine_scenes import DW, S2, S2_A, S2_B, X0, Y0

Array = NDArray[Any]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("service")


@pytest.fixture(scope="module")
def running(folder: Path) -> Iterator[Running]:
    with serve_earthengine(scenes.catalogue(folder)) as found:
        ee.deprecation.deprecated_assets = {"": None}
        ee.Initialize(AnonymousCredentials(), url=found.base_url, project="testbed-project")
        ee.data.setMaxRetries(0)
        yield found
        ee.Reset()


def grid(width: int, height: int, step: float = 10.0, x: float = X0, y: float = Y0, crs: str = "EPSG:32633") -> Any:
    return {
        "dimensions": {"width": width, "height": height},
        "affineTransform": {
            "scaleX": step,
            "shearX": 0,
            "translateX": x,
            "shearY": 0,
            "scaleY": -step,
            "translateY": y,
        },
        "crsCode": crs,
    }


def pixels(image: ee.Image, where: Any, kind: str = "NUMPY_NDARRAY") -> Any:
    return ee.data.computePixels({"expression": image, "fileFormat": kind, "grid": where})


def raw(path: Path, band: int = 1) -> Array:
    with rasterio.open(path) as file:
        return file.read(band)


@pytest.mark.usefixtures("running")
class TestPixels:
    def test_geotiff_and_npy_hold_the_same(self) -> None:
        image = ee.Image(S2_A).select(["B2", "B3"])
        where = grid(30, 20, x=X0 + 100)
        table = pixels(image, where)
        with rasterio.open(io.BytesIO(pixels(image, where, "GEO_TIFF"))) as file:
            assert file.crs.to_epsg() == 32633
            assert file.transform[:6] == (10, 0, X0 + 100, 0, -10, Y0)
            assert file.descriptions == ("B2", "B3")
            np.testing.assert_array_equal(file.read(), np.stack([table["B2"], table["B3"]]))

    def test_get_pixels_defaults_to_the_asset_s_own_grid(self, folder: Path) -> None:
        asked = {"assetId": S2_A, "fileFormat": "NUMPY_NDARRAY", "bandIds": ["B3"]}
        np.testing.assert_array_equal(ee.data.getPixels(asked)["B3"], raw(folder / "1-10.tif", 2))
        part = ee.data.getPixels({**asked, "grid": grid(5, 4)})
        np.testing.assert_array_equal(part["B3"], raw(folder / "1-10.tif", 2)[:4, :5])

    def test_band_ids_choose_and_order(self) -> None:
        asked = {
            "expression": ee.Image(S2_A),
            "fileFormat": "NUMPY_NDARRAY",
            "grid": grid(4, 4),
            "bandIds": ["B4", "B2"],
        }
        assert ee.data.computePixels(asked).dtype.names == ("B4", "B2")

    def test_coarser_grids_read_the_pyramid(self, folder: Path) -> None:
        four = raw(folder / "1-10.tif").astype(float)[:160, :160].reshape(80, 2, 80, 2)
        mean = np.round(four.mean(axis=(1, 3)))
        np.testing.assert_array_equal(pixels(ee.Image(S2_A).select("B2"), grid(80, 80, 20.0))["B2"], mean)
        label = raw(folder / "dw-0.tif")[20:180, 20:180]
        found = pixels(
            ee.Image(f"{DW}/{S2_A.rpartition('/')[2]}").select("label"), grid(80, 80, 20.0, X0 + 200, Y0 - 200)
        )
        blocks = label.reshape(80, 2, 80, 2).transpose(0, 2, 1, 3).reshape(80, 80, 4)
        votes = np.array(
            [
                [(b == v).sum() for b, v in zip(row, values, strict=True)]
                for row, values in zip(blocks, found["label"], strict=True)
            ]
        )
        best = np.array([[np.unique(b, return_counts=True)[1].max() for b in row] for row in blocks])
        np.testing.assert_array_equal(votes, best)

    def test_nearest_in_another_crs(self, folder: Path) -> None:
        from pyproj import Transformer

        step = 0.0001
        found = pixels(ee.Image(S2_A).select("B2"), grid(50, 40, step, 15.004, 47.850, "EPSG:4326"))["B2"]
        lon, lat = np.meshgrid(15.004 + (np.arange(50) + 0.5) * step, 47.850 - (np.arange(40) + 0.5) * step)
        x, y = Transformer.from_crs(4326, 32633, always_xy=True).transform(lon, lat)
        rows, columns = np.floor((Y0 - y) / 10).astype(int), np.floor((x - X0) / 10).astype(int)
        assert rows.min() > 0
        np.testing.assert_array_equal(found, raw(folder / "1-10.tif")[rows, columns])

    def test_bilinear_between_pixels(self, folder: Path) -> None:
        image = ee.Image(S2_A).select("B2").toDouble().resample("bilinear")
        found = pixels(image, grid(20, 20, x=X0 + 25, y=Y0 - 13))["B2"]
        values = raw(folder / "1-10.tif").astype(float)
        r, c = np.meshgrid(np.arange(20) + 1.3, np.arange(20) + 2.5, indexing="ij")
        i, j = r.astype(int), c.astype(int)
        fy, fx = r - i, c - j
        expected = (
            values[i, j] * (1 - fx) * (1 - fy)
            + values[i, j + 1] * fx * (1 - fy)
            + values[i + 1, j] * (1 - fx) * fy
            + values[i + 1, j + 1] * fx * fy
        )
        np.testing.assert_allclose(found, expected)
        copied = pixels(image, grid(20, 20))["B2"]
        np.testing.assert_array_equal(copied, values[:20, :20])

    def test_reproject_forces_a_lattice(self, folder: Path) -> None:
        image = ee.Image(S2_A).select("B2").reproject("EPSG:32633", [40, 0, X0, 0, -40, Y0])
        found = pixels(image, grid(40, 40))["B2"]
        assert (found.reshape(10, 4, 10, 4) == found.reshape(10, 4, 10, 4)[:, :1, :, :1]).all()
        del folder

    def test_masks(self, folder: Path) -> None:
        values = raw(folder / "1-10.tif")
        image = ee.Image(S2_A).select("B2")
        where = grid(240, 240)
        np.testing.assert_array_equal(pixels(image.mask().toUint8(), where)["B2"], values != 0)
        np.testing.assert_array_equal(pixels(image.unmask(7), where)["B2"], np.where(values == 0, 7, values))
        outside = grid(10, 10, x=X0 - 1000)
        assert (pixels(image.unmask(7), outside)["B2"] == 0).all(), "unmask keeps the footprint"
        assert (pixels(image.unmask(7, False), outside)["B2"] == 7).all()
        clipped = image.clipToBoundsAndScale(ee.Geometry.Rectangle([X0, Y0 - 50, X0 + 100, Y0], "EPSG:32633", False))
        found = pixels(clipped.unmask(0, False), grid(20, 20))["B2"]
        np.testing.assert_array_equal(found[:5, :10], values[:5, :10])
        assert (found[5:] == 0).all()
        assert (found[:, 10:] == 0).all()

    def test_remap_and_bits(self, folder: Path) -> None:
        scl = ee.Image(S2_A).select("SCL")
        where = grid(60, 60, 20.0)
        codes = raw(folder / "1-scl.tif")[:60, :60]
        table = {4: 1, 5: 2}
        np.testing.assert_array_equal(
            pixels(scl.remap(list(table), list(table.values()), 9), where)["remapped"],
            np.vectorize(lambda c: table.get(c, 9))(codes),
        )
        np.testing.assert_array_equal(pixels(scl.bitwiseAnd(6).rightShift(1), where)["SCL"], (codes & 6) >> 1)


@pytest.mark.slow
@hypothesis.settings(
    deadline=None, max_examples=40, suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture]
)
@hypothesis.given(
    steps=st.lists(
        st.tuples(
            st.sampled_from(["add", "subtract", "multiply", "gt", "lte", "eq", "max", "min"]), st.integers(-50, 50)
        ),
        min_size=1,
        max_size=6,
    )
)
def test_arithmetic_is_numpy_s(running: Running, folder: Path, steps: list[tuple[str, int]]) -> None:
    image = ee.Image(S2_A).select("B2").toInt32()
    expected = raw(folder / "1-10.tif")[:12, :12].astype(np.int64)
    calls = {
        "add": np.add,
        "subtract": np.subtract,
        "multiply": np.multiply,
        "gt": np.greater,
        "lte": np.less_equal,
        "eq": np.equal,
        "max": np.maximum,
        "min": np.minimum,
    }
    for name, number in steps:
        image = getattr(image, name)(number)
        expected = np.clip(calls[name](expected, number).astype(np.int64), -(2**31), 2**31 - 1)
    np.testing.assert_array_equal(pixels(image.toInt32(), grid(12, 12))["B2"], expected)
    del running


@pytest.mark.usefixtures("running")
class TestCollections:
    def test_filters(self) -> None:
        images = ee.ImageCollection(S2)
        assert images.size().getInfo() == 3
        assert images.filterDate("2023-06-01", "2023-06-06").size().getInfo() == 1, "the end is left out"
        assert images.filterBounds(ee.Geometry.Point(100, 0)).size().getInfo() == 0
        assert images.filter(ee.Filter.lt("CLOUDY_PIXEL_PERCENTAGE", 20)).size().getInfo() == 1
        assert images.filterMetadata("CLOUDY_PIXEL_PERCENTAGE", "not_greater_than", 20).size().getInfo() == 2
        either = ee.Filter.Or(ee.Filter.eq("system:index", S2_A[-38:]), ee.Filter.gt("CLOUDY_PIXEL_PERCENTAGE", 50))
        assert images.filter(either).size().getInfo() == 2
        assert images.filter(either.Not()).size().getInfo() == 1
        assert images.filter(ee.Filter.inList("MGRS_TILE", ["33UWP"])).size().getInfo() == 3
        assert images.filter(ee.Filter.calendarRange(6, 6, "month")).size().getInfo() == 3
        assert images.filter(ee.Filter.gt("no such property", 1)).size().getInfo() == 0

    def test_order_limit_and_first(self) -> None:
        clouds = ee.ImageCollection(S2).sort("CLOUDY_PIXEL_PERCENTAGE", False)
        assert clouds.aggregate_array("CLOUDY_PIXEL_PERCENTAGE").getInfo() == [80.0, 20.0, 5.0]
        assert clouds.limit(2).size().getInfo() == 2
        assert clouds.first().get("CLOUDY_PIXEL_PERCENTAGE").getInfo() == 80.0
        assert ee.Date(clouds.first().get("system:time_start")).millis().getInfo() == int(
            dt.datetime(2023, 6, 11, 10, 0, 31, tzinfo=dt.UTC).timestamp() * 1000
        )

    def test_functions_inside_functions(self, folder: Path) -> None:
        images = ee.ImageCollection(S2).filter(ee.Filter.lte("CLOUDY_PIXEL_PERCENTAGE", 20))
        summed = images.map(
            lambda image: (
                ee.ImageCollection(images.map(lambda other: other.select("B2").toInt32().add(image.select("B2"))))
                .mosaic()
                .rename("b")
            )
        )
        found = pixels(summed.mosaic(), grid(10, 10))["b"]
        b = np.maximum(raw(folder / "2-10.tif")[:10, :10].astype(int) - 1000, 0)
        np.testing.assert_array_equal(found, 2 * b)

    def test_an_image_as_a_value(self) -> None:
        info = ee.Image(S2_B).getInfo()
        assert info["id"] == S2_B
        assert info["bands"][1]["crs_transform"] == [10, 0, X0, 0, -10, Y0]
        assert info["bands"][1]["data_type"] == {"type": "PixelType", "precision": "int", "min": 0, "max": 65535}
        assert ee.Image(S2_B).select("B5").projection().nominalScale().getInfo() == 20

    def test_histogram_and_mean_of_a_region(self, folder: Path) -> None:
        region = ee.Geometry.Rectangle([X0 + 100, Y0 - 200, X0 + 300, Y0 - 100], "EPSG:32633", False)
        image = ee.Image(S2_A).select(["B2"])
        mean = image.reduceRegion(ee.Reducer.mean(), region, 10).getInfo()
        assert mean["B2"] == pytest.approx(raw(folder / "1-10.tif")[10:20, 10:30].mean())
        with pytest.raises(ee.EEException, match=r"Too many pixels in the region\. Found 200"):
            image.reduceRegion(ee.Reducer.mean(), region, 10, maxPixels=50).getInfo()

    def test_listing_pages_and_views(self) -> None:
        first = ee.data.listImages({"parent": S2, "pageSize": 2})
        assert len(first["images"]) == 2
        rest = ee.data.listImages({"parent": S2, "pageSize": 2, "pageToken": first["nextPageToken"]})
        assert [i["id"] for i in rest["images"]] == [scenes.S2_C]
        assert "properties" not in ee.data.listImages({"parent": S2, "view": "BASIC"})["images"][0]
        some = ee.data.listImages({"parent": S2, "properties": ["CLOUDY_PIXEL_PERCENTAGE<=20", 'MGRS_TILE="33UWP"']})
        assert len(some["images"]) == 2
        long = {
            "type": "Polygon",
            "coordinates": [[[15 + i / 9999, 47.8] for i in range(150)] + [[15.03, 47.9], [15, 47.8]]],
        }
        assert len(ee.data.listImages({"parent": S2, "region": long})["images"]) == 3, "a long query goes as a form"
        assert ee.data.getAsset(S2)["type"] == "IMAGE_COLLECTION"


@pytest.mark.usefixtures("running")
class TestRefusals:
    @pytest.mark.parametrize(
        ("image", "where", "words"),
        [
            (lambda: ee.Image("NO/SUCH"), grid(4, 4), "Image asset 'NO/SUCH' not found"),
            (lambda: ee.Image(S2_A).select("B99"), grid(4, 4), "did not match any bands. Available bands: \\[B1, "),
            (lambda: ee.ImageCollection("NO/SUCH").mosaic(), grid(4, 4), "ImageCollection asset 'NO/SUCH' not found"),
            (lambda: ee.Image(1), grid(32769, 1), "dimensions \\(32769x1\\) must be less than or equal to 32768"),
            (lambda: ee.Image(1), grid(0, 1), "must be greater than zero"),
            (lambda: ee.Image.constant([1] * 1025), grid(4, 4), "bands \\(1025\\) must be less than or equal to 1024"),
            (
                lambda: ee.Image(1).toUint8(),
                grid(5200, 5200),
                "size \\(54080000 bytes\\) must be less than or equal to 50331648",
            ),
            (lambda: ee.Image(1), grid(4, 4, crs="EPSG:0"), "could not be parsed"),
            (lambda: ee.Image(S2_A).gradient(), grid(4, 4), "does not evaluate this algorithm"),
        ],
    )
    def test_words_of_the_service(self, image: Any, where: Any, words: str) -> None:
        with pytest.raises(ee.EEException, match=words) as error:
            pixels(image(), where)
        assert error.value.__context__.resp.status == 400  # type: ignore[union-attr]

    def test_missing_assets_are_404(self) -> None:
        for call in (lambda: ee.data.getAsset("NO/SUCH"), lambda: ee.data.listImages("NO/SUCH")):
            with pytest.raises(ee.EEException, match="does not exist or doesn't allow this operation") as error:
                call()
            assert error.value.__context__.resp.status == 404  # type: ignore[union-attr]

    @pytest.mark.parametrize(
        "expression",
        [
            None,
            {},
            {"result": "0"},
            {"result": "0", "values": {}},
            {"result": "0", "values": {"0": {}}},
            {"result": "0", "values": {"0": {"valueReference": "0"}}},
            {"result": "0", "values": {"0": {"functionInvocationValue": {"functionName": "No.such"}}}},
            {"result": "0", "values": {"0": {"argumentReference": "x"}}},
            {"result": "0", "values": {"0": {"functionInvocationValue": {"functionName": "Image.select"}}}},
        ],
    )
    def test_malformed_expressions_are_400(self, running: Running, expression: Any) -> None:
        status, body = post(running, {"expression": expression})
        assert status == 400
        assert body["error"]["status"] == "INVALID_ARGUMENT"
        assert body["error"]["message"]

    def test_large_payloads(self, running: Running) -> None:
        status, body = post(
            running, {"expression": {"result": "0", "values": {"0": {"constantValue": "x" * 10_500_000}}}}
        )
        assert status == 400
        assert body["error"]["message"] == "Request payload size exceeds the limit: 10485760 bytes."


def post(running: Running, body: Any) -> tuple[int, Any]:
    request = urllib.request.Request(  # noqa: S310 - our own server
        f"{running.base_url}/v1/projects/testbed-project/value:compute",
        data=json.dumps(body).encode(),
        headers={"Content-Type": "application/json"},
    )
    try:
        with urllib.request.urlopen(request) as answer:  # noqa: S310 - our own server
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def test_quota_refuses_the_next_one() -> None:
    from concurrent.futures import ThreadPoolExecutor

    with serve_earthengine(EeCatalogue(), limits=Limits(slots=3, service_s=0.3, retry_after_s=2.0)) as running:
        three = {"expression": {"result": "0", "values": {"0": {"constantValue": 3}}}}
        with ThreadPoolExecutor(8) as pool:
            found = list(pool.map(lambda _: post(running, three), range(8)))
        assert sorted(s for s, _ in found) == [200] * 3 + [429] * 5
        assert all(b["error"]["status"] == "RESOURCE_EXHAUSTED" for s, b in found if s == 429)
        assert running.service.quota.refused == 5
        assert running.service.quota.eecu_s > 0
