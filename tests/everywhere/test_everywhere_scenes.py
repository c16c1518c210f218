"""Scenes in parts: granules that overlap, footprints that need two, edges without data, series, voids, six sensors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from affine import Affine

from schemas.enmap_bands import ENMAP_BANDS
from schemas.modality import ENMAP, LANDSAT, SENTINEL2
from tests.everywhere.planes import Plane, around, item
from tests.everywhere.test_everywhere_golden import MOST_PX, points, radar, recipe
from tests.real.served import built, ledger_reasons

LON, LAT = 6.0005, 46.3
LEFT, TOP = 500_003.7, 5_200_002.3
"""Of a radar lattice that is nobody's."""
HERE = (9.006, 46.95)
HLS_KEYS = {
    "coastal": "B01",
    "blue": "B02",
    "green": "B03",
    "red": "B04",
    "nir08": "B8A",
    "swir16": "B11",
    "swir22": "B12",
}
"""Band -> the product's own key in the Sentinel-2 half."""


def part(folder: Path, name: str, first: int, columns: int) -> dict[str, Plane]:
    """Columns of one radar scene of 160 rows."""
    transform = Affine(10, 0, LEFT + 10 * first, 0, -10, TOP)
    return {
        key: Plane(
            path=folder / f"s1/{name}-{key}.tif", epsg=32632, transform=transform, shape=(160, columns),
            across=key == "vv", origin=first if key == "vv" else 0,
        )
        for key in ("vv", "vh")
    }  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("cut", [(80, 80), (100, 60)], ids=["side by side", "overlapping"])
def test_slices_of_one_datatake_are_one_scene_without_a_seam(cut: tuple[int, int], tmp_path: Path) -> None:
    whole = part(tmp_path, "whole", 0, 160)
    west, east = part(tmp_path, "west", 0, cut[0]), part(tmp_path, "east", cut[1], 160 - cut[1])
    about = {"s1:datatake_id": "take-1"}
    items = [radar(tmp_path, "rtc-west", west, **about), radar(tmp_path, "rtc-east", east, **about)]
    x, y = LEFT + 800, TOP - 800
    import pyproj

    points(tmp_path, {"seam": pyproj.Transformer.from_crs(32632, 4326, always_xy=True).transform(x, y)})
    asked = recipe(sources=[{"kind": "sentinel1", "providers": ["real"], "scale": "linear", "min_valid": 1.0}])
    with built(tmp_path, asked, items, {"/f/": tmp_path}) as dataset:
        sample = dataset.sample("seam")
        assert sample["sentinel1/valid"].all()
        for position, key in enumerate(("vv", "vh")):
            got = sample["sentinel1/backscatter"][0, position]
            assert np.abs(got - whole[key].expected(sample, "sentinel1/backscatter")).max() < MOST_PX


def test_a_scene_edge_and_a_hole_are_not_pixels(tmp_path: Path) -> None:
    planes = {
        key: around(tmp_path / f"s1/{key}.tif", 32631, LON, LAT, pixel_m=10, size=160, across=key == "vv")
        for key in ("vv", "vh")
    }
    hole = np.s_[70:84, 82:]
    items = [radar(tmp_path, "rtc", planes, hole)]
    points(tmp_path, {"edge": (LON, LAT)})
    sources = recipe()["sources"][:1]  # the archive holds no elevation
    with built(tmp_path, recipe(sources=sources), items, {"/f/": tmp_path}) as dataset:
        sample = dataset.sample("edge")
        exact = planes["vv"].gdal(sample, "sentinel1/backscatter")
        valid = sample["sentinel1/valid"][0]
        assert 0.1 < 1 - valid.mean() < 0.6
        np.testing.assert_array_equal(valid, np.isfinite(exact))
        got = sample["sentinel1/backscatter"][0, 0]
        assert np.isnan(got[~valid]).all()
        np.testing.assert_allclose(got[valid], exact[valid], atol=MOST_PX)


def test_a_series_of_eleven_dates_with_one_missing(tmp_path: Path) -> None:
    items = []
    days = [f"2022-0{6 + i // 3}-{1 + 10 * (i % 3):02d}" for i in range(11)]
    for i, day in enumerate(days):
        if i == 4:
            continue
        planes = {
            key: around(
                tmp_path / f"s1/{day}-{key}.tif", 32632, *HERE, pixel_m=10, size=120, base=100.0 * (i + 1),
                across=key == "vv",
            )
            for key in ("vv", "vh")
        }  # fmt: skip
        items.append(radar(tmp_path, f"rtc-{day}", planes, datetime=f"{day}T12:00:00Z"))
    points(tmp_path, {"series": HERE})
    source = {"kind": "sentinel1", "providers": ["real"], "scale": "linear"}
    window = {"name": "season", "start": "2022-05-27", "end": "2022-09-14", "count": 11}
    with built(tmp_path, recipe(sources=[source], windows=[window]), items, {"/f/": tmp_path}) as dataset:
        reasons = ledger_reasons(dataset)["series", "sentinel1"]
        wanted = [{"rtc-" + d for d in days if _slot(d) == slot} for slot in range(11)]
        assert [r == "ok" for r in reasons] == [bool(w - {f"rtc-{days[4]}"}) for w in wanted]
        assert reasons.count("ok") == 10
        series = dataset.sample("series")["sentinel1/backscatter"]
        assert series.shape[0] == 11
        bases = [100.0 * (i + 1) for i in range(11)]
        first = series[0, 0]
        for slot, base in enumerate(bases):
            if slot != 4:
                np.testing.assert_allclose(series[slot, 0] - first, base - 100.0, atol=MOST_PX)


def _slot(day: str) -> int:
    start = np.datetime64("2022-05-27")
    step = (np.datetime64("2022-09-15") - start).astype(int) / 11
    return int((np.datetime64(day) - start).astype(int) // step)


def test_elevation_has_no_seam_and_keeps_its_voids(tmp_path: Path) -> None:
    """Two tiles meet on the degree, one of them with a void."""
    degree, items = 9.0, []
    whole = Plane(
        path=tmp_path / "dem/whole.tif", epsg=4326, transform=Affine(1 / 3600, 0, degree - 0.05, 0, -1 / 3600, 46.98),
        shape=(216, 360),
    )  # fmt: skip
    for name, first, columns in (("west", 0, 180), ("east", 180, 180)):
        tile = Plane(
            path=tmp_path / f"dem/{name}.tif", epsg=4326, shape=(216, columns), origin=first,
            transform=whole.transform @ Affine.translation(first, 0),
        )  # fmt: skip
        tile.write("float32", -32767.0, np.s_[100:110, 2:9] if name == "east" else None)
        items.append(item(f"dem-{name}", "cop-dem-glo-30", {"data": tile}, {"data": f"/f/dem/{name}.tif"}))
    points(tmp_path, {"seam": (degree, 46.97), "void": (degree, 46.9515)})
    with built(tmp_path, recipe(sources=[{"kind": "dem", "providers": ["real"]}]), items, {"/f/": tmp_path}) as dataset:
        seam, void = dataset.sample("seam"), dataset.sample("void")
        got = seam["dem/elevation"].reshape(16, 16)
        assert np.abs(got - whole.expected(seam, "dem/elevation")).max() < MOST_PX
        got = void["dem/elevation"].reshape(16, 16)
        assert 0.05 < np.isnan(got).mean() < 0.5
        right = whole.expected(void, "dem/elevation")
        far = np.isfinite(got) & ~_near(np.isnan(got))
        assert np.abs(got - right)[far].max() < MOST_PX


def _near(mask: np.ndarray) -> np.ndarray:
    """The mask and its neighbours: a kernel beside a void has one side only."""
    wide = np.pad(mask, 1)
    return np.any([np.roll(wide, (y, x), (0, 1)) for y in (-1, 0, 1) for x in (-1, 0, 1)], axis=0)[1:-1, 1:-1]


@pytest.mark.slow
def test_a_gradient_through_six_sensors_lies_on_itself(tmp_path: Path) -> None:
    """All in the neighbouring zone, off every lattice."""
    planes: dict[str, Plane] = {}
    scenes: list[dict[str, Any]] = []

    def scene(name: str, collection: str, made: dict[str, Plane], **properties: Any) -> dict[str, Any]:
        hrefs = {key: f"/f/{plane.path.relative_to(tmp_path)}" for key, plane in made.items()}
        return item(name, collection, made, hrefs, **properties)

    def plane(name: str, pixel_m: float, dtype: str, base: float, slope: float, bands: int = 1, **more: Any) -> Plane:
        size = round(1800 / pixel_m)
        made = around(
            tmp_path / f"{name}.tif", 32631, LON, LAT, pixel_m=pixel_m, size=size, base=base, slope=slope,
            across=len(planes) % 2 == 0,
        )  # fmt: skip
        planes[name.split("/")[1]] = made
        return made.write(dtype, bands=bands, **more)

    s2 = {}
    for layer in SENTINEL2.layers:
        for band in layer.bands:
            classes = band.name == "SCL"
            name, base, slope = f"s2/{band.name}", 4.0 if classes else 1000.0, 0.0 if classes else 40.0
            s2[band.name] = plane(name, layer.resolution_m, "uint8" if classes else "uint16", base, slope, nodata=0)
    scenes.append(scene("S2", "sentinel-2-l2a", s2, **{"s2:processing_baseline": "02.14", "eo:cloud_cover": 1.0}))
    landsat = {b.name: plane(f"l8/{b.name}", 30, "uint16", 8000.0, 100.0, nodata=0) for b in LANDSAT.layers[0].bands}
    landsat["QA_PIXEL"] = plane("l8/QA_PIXEL", 30, "uint16", 64.0, 0.0, nodata=1)
    scenes.append(scene("LC08_L2SP_195028_20220615_02_T1", "landsat-c2-l2", landsat, platform="landsat-8"))
    enmap = {"image": plane("en/image", 30, "int16", 500.0, 50.0, bands=len(ENMAP_BANDS), nodata=-32768)}
    enmap["quality_cloud"] = plane("en/quality_cloud", 30, "uint8", 0.0, 0.0)
    scenes.append(scene("ENMAP", "ENMAP_HSI_L2A", enmap))
    names = [b.name for b in ENMAP.layer("bands_30m").bands]
    scenes[-1]["assets"]["image"]["bands"] = [{"name": n, "enmap:gain_of_band": 1e-4} for n in names]
    hls = {key: plane(f"hls/{band}", 30, "int16", 900.0, 30.0, nodata=-9999) for band, key in HLS_KEYS.items()}
    hls["Fmask"] = plane("hls/Fmask", 30, "uint8", 64.0, 0.0, nodata=255)
    scenes.append(scene("HLS.S30.T31TGM.2022166T100000.v2.0", "HLSS30_2.0", hls, **{"eo:cloud_cover": 1}))
    scenes.append(scene("DEM", "cop-dem-glo-30", {"data": plane("dem/elevation", 30, "float32", 100.0, 10.0)}))
    radio = {key: plane(f"s1/{key}", 10, "float32", 100.0, 1.0) for key in ("vv", "vh")}
    scenes.append(radar(tmp_path, "rtc", radio))
    points(tmp_path, {"here": (LON, LAT)})
    kinds = ("sentinel2", "landsat", "enmap", "hls", "dem", "sentinel1")
    sources = [{"kind": k, "providers": ["real"], **({"scale": "linear"} if k == "sentinel1" else {})} for k in kinds]
    with built(tmp_path, recipe(sources=sources), scenes, {"/f/": tmp_path}) as dataset:
        sample = dataset.sample("here")
        assert sample.epsg == 32632
        for array, known in (
            ("sentinel2/bands_10m", None), ("sentinel2/bands_20m", None), ("sentinel2/bands_60m", None),
            ("landsat/bands_30m", None), ("enmap/bands_30m", "image"), ("hls/bands_30m", None),
            ("dem/elevation", "elevation"), ("sentinel1/backscatter", None),
        ):  # fmt: skip
            stack = sample[array].reshape(-1, *sample[array].shape[-2:])
            for position, band in enumerate(sample.bands(array)):
                source = planes[known or (band.lower() if array.startswith("sentinel1") else band)]
                moved = (stack[position].astype(np.float64) - source.expected(sample, array)) / source.slope
                assert np.abs(moved).max() < MOST_PX, (array, band)
