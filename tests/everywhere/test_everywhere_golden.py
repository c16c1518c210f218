"""The hard places of the Earth, from recipe to reader, against GDAL's exact warp and against arithmetic."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from affine import Affine

import landweave
from tests.everywhere.planes import Plane, around, item
from tests.real.served import built, ledger_reasons

PLACES: dict[str, tuple[float, float, int, int]] = {
    # lon, lat, CRS of the sample, CRS of the radar scene
    "north-pole": (0.0, 90.0, 32661, 32661),
    "arctic": (-120.0, 88.5, 32661, 32661),
    "south-pole": (0.0, -90.0, 32761, 32761),
    "antarctic": (77.0, -84.0, 32761, 32761),
    "zone-border": (6.0005, 46.3, 32632, 32631),
    "norway": (4.2, 60.5, 32632, 32631),
    "svalbard-31": (8.95, 78.6, 32631, 32633),
    "svalbard-33": (9.05, 78.6, 32633, 32631),
    "southern": (-60.001, -30.0, 32720, 32721),
    "equator": (10.0, 0.0, 32632, 32632),
    "fiji": (179.9995, -17.0, 32760, 32701),
    "chukotka": (-179.999, 66.3, 32601, 32660),
    "wrangel": (179.999, 71.2, 32660, 32601),
}
"""Sample and scene lie in different zones wherever two zones meet."""
SEA = {"pacific": (-140.0, 5.0), "southern-ocean": (60.0, -58.0)}
SIZE_M = 480
MOST_PX = 0.05


def recipe(**more: Any) -> dict[str, Any]:
    return {
        "name": "everywhere",
        "seed": 1,
        "sampling": {"kind": "points", "file": "points.csv"},
        "grid": {"size_m": SIZE_M},
        "windows": [{"name": "june", "start": "2022-06-01", "end": "2022-06-30"}],
        "providers": {"real": {"url": "$LANDWEAVE_REAL_ARCHIVE"}},
        "sources": [
            {"kind": "sentinel1", "providers": ["real"], "scale": "linear", "min_valid": 0.2},
            {"kind": "dem", "providers": ["real"]},
        ],
        "splits": {"train": 1.0, "val": 0.0, "test": 0.0, "buffer_m": 0},
        **more,
    }


def points(folder: Path, places: dict[str, tuple[float, float]]) -> None:
    rows = ["sample_id,lon,lat", *(f"{name},{lon},{lat}" for name, (lon, lat) in places.items())]
    (folder / "points.csv").write_text("\n".join(rows) + "\n")


def radar(folder: Path, name: str, planes: dict[str, Plane], hole: Any = None, **properties: Any) -> dict[str, Any]:
    for plane in planes.values():
        plane.write("float32", -32768.0, hole)
    hrefs = {key: f"/f/{plane.path.relative_to(folder)}" for key, plane in planes.items()}
    about = {"platform": "sentinel-1a", "sar:product_type": "RTC", "sat:orbit_state": "ascending", **properties}
    return item(name, "sentinel-1-rtc", planes, hrefs, **about)


def elevation(folder: Path, name: str, lon: float, lat: float) -> list[tuple[Plane, dict[str, Any]]]:
    """Tiles of degrees round a place: one, or two that meet at the 180th meridian; round a pole, all longitudes."""
    if abs(lat) > 85.0:
        step = 0.25 if abs(lat) == 90.0 else 0.01
        columns = round(360.0 / step)
        top = 90.0 if lat > 0 else -89.96
        rows = 144
        if abs(lat) < 90.0:
            top = lat + 0.02
        tiles = [(name, Affine(step, 0, -180.0, 0, -1 / 3600, top), (rows, columns), 0)]
    else:
        half = max(40, round(60 / np.cos(np.deg2rad(lat))))
        left = round(lon * 3600) - half
        tiles = [(name, Affine(1 / 3600, 0, left / 3600, 0, -1 / 3600, lat + 60 / 3600), (120, 2 * half), 0)]
        if left + 2 * half > 648_000 or left < -648_000:
            east = left if left > 0 else left + 1_296_000
            width = 648_000 - east
            tiles = [
                (f"{name}-e", Affine(1 / 3600, 0, east / 3600, 0, -1 / 3600, lat + 60 / 3600), (120, width), 0),
                (
                    f"{name}-w",
                    Affine(1 / 3600, 0, -180.0, 0, -1 / 3600, lat + 60 / 3600),
                    (120, 2 * half - width),
                    width,
                ),
            ]
    found = []
    for tile, transform, shape, origin in tiles:
        plane = Plane(
            path=folder / f"dem/{tile}.tif", epsg=4326, transform=transform, shape=shape, origin=origin,
            across=abs(lat) < 85.0,
        ).write("float32")  # fmt: skip
        west, north = transform.c, transform.f
        box = [west, north + transform.e * shape[0], west + transform.a * shape[1], north]
        made = item(f"dem-{tile}", "cop-dem-glo-30", {"data": plane}, {"data": f"/f/dem/{tile}.tif"})
        ring = [[box[0], box[1]], [box[2], box[1]], [box[2], box[3]], [box[0], box[3]], [box[0], box[1]]]
        found.append((plane, made | {"bbox": box, "geometry": {"type": "Polygon", "coordinates": [ring]}}))
    return found


class Built:
    """The dataset and the rasters it came from."""

    def __init__(self, folder: Path) -> None:
        self.radar: dict[str, dict[str, Plane]] = {}
        self.dem: dict[str, list[Plane]] = {}
        items = []
        for name, (lon, lat, _, epsg) in PLACES.items():
            self.radar[name] = {
                key: around(folder / f"s1/{name}-{key}.tif", epsg, lon, lat, pixel_m=10, size=160, across=key == "vv")
                for key in ("vv", "vh")
            }
            items.append(radar(folder, f"rtc-{name}", self.radar[name]))
            tiles = elevation(folder, name, lon, lat)
            self.dem[name] = [plane for plane, _ in tiles]
            items += [made for _, made in tiles]
        points(folder, {**{n: (p[0], p[1]) for n, p in PLACES.items()}, **SEA})
        with built(folder, recipe(), items, {"/f/": folder}) as found:
            self.dataset: landweave.Dataset = found
        self.reasons = ledger_reasons(self.dataset)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Built:
    return Built(tmp_path_factory.mktemp("everywhere"))


@pytest.mark.parametrize("name", PLACES)
def test_radar_is_where_it_is(name: str, world: Built) -> None:
    assert world.reasons[name, "sentinel1"] == ["ok"]
    sample = world.dataset.sample(name)
    assert sample.epsg == PLACES[name][2]
    assert sample["sentinel1/valid"].all()
    for position, key in enumerate(("vv", "vh")):
        got = sample["sentinel1/backscatter"][0, position].astype(np.float64)
        plane = world.radar[name][key]
        assert np.abs(got - plane.expected(sample, "sentinel1/backscatter")).max() < MOST_PX
        assert np.abs(got - plane.gdal(sample, "sentinel1/backscatter")).max() < MOST_PX


@pytest.mark.parametrize("name", PLACES)
def test_elevation_is_where_it_is(name: str, world: Built) -> None:
    assert world.reasons[name, "dem"] == ["ok"]
    sample = world.dataset.sample(name)
    got = sample["dem/elevation"].astype(np.float64).reshape(16, 16)
    first = world.dem[name][0]
    right = first.expected(sample, "dem/elevation")
    inside = np.isfinite(got)
    if abs(PLACES[name][1]) == 90.0:  # the last row of the raster ends at the pole: its centre is half a pixel off
        height = right - first.base
        inside &= (height > 0.5) & (height < first.shape[0] - 1.5)
        assert inside.mean() > 0.9
    else:
        assert inside.all()
    coarser = max(1.0, 1.0 / first.scales(sample, Affine(*tuple(sample.transform("dem/elevation"))[:6]))["XSCALE"])
    assert np.abs(got - right)[inside].max() < MOST_PX * coarser, "in pixels of the sample"
    if len(world.dem[name]) == 1 and abs(PLACES[name][1]) < 85.0:
        assert np.abs(got - first.gdal(sample, "dem/elevation")).max() < MOST_PX


@pytest.mark.parametrize("name", SEA)
def test_the_open_sea_has_nothing_and_says_so(name: str, world: Built) -> None:
    assert world.reasons[name, "sentinel1"] == ["no_scene"]
    assert world.reasons[name, "dem"] == ["no_scene"]
