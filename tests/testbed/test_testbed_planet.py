"""A small planet: the same bytes twice, valid COGs, pixels that agree with their items and with the truth."""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import osmium
import pystac
import pystac_client
import pytest
import rasterio
from pyproj import Transformer
from rasterio.enums import Resampling
from rasterio.vrt import WarpedVRT
from shapely.geometry import Point, shape

import testbed
from schemas.label import COMMON_CLASSES
from testbed.labelling import WORLDCOVER, WORLDCOVER_CODE, spoil
from testbed.landcover import Cover
from testbed.openstreetmap import HOSTILE, SNAPSHOT
from testbed.plane import Layout
from testbed.spectra import bands_of, mixtures, responses

Json = dict[str, Any]
SIZE_PX = 192


@pytest.fixture(scope="module")
def planet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return testbed.make_planet(tmp_path_factory.mktemp("testbed") / "planet", seed=7, size_px=SIZE_PX, workers=1)


@pytest.fixture(scope="module")
def items(planet: Path) -> dict[str, list[Json]]:
    providers = json.loads((planet / "providers.json").read_text())
    return {n: [i for f in p["items"] for i in json.loads((planet / f).read_text())] for n, p in providers.items()}


def pixels(planet: Path, href: str) -> np.ndarray:
    with rasterio.open(planet / "files" / href) as file:
        return file.read().squeeze()


def digest(folder: Path) -> dict[str, str]:
    files = sorted(p for p in folder.rglob("*") if p.is_file())
    return {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


@pytest.mark.slow
def test_the_same_seed_gives_the_same_bytes_with_one_process_or_two(planet: Path, tmp_path: Path) -> None:
    again = testbed.make_planet(tmp_path / "again", seed=7, size_px=SIZE_PX, workers=2)
    assert digest(again) == digest(planet)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["again"]


@pytest.mark.slow
def test_another_seed_gives_another_world() -> None:
    from testbed.world import make_world

    one, other = (make_world(seed, Layout(size_px=96)).scenery for seed in (7, 8))
    assert (one.cover != other.cover).mean() > 0.3


def test_a_second_make_does_nothing_and_strangers_are_left_alone(planet: Path, tmp_path: Path) -> None:
    before = {p: p.stat().st_mtime_ns for p in planet.rglob("*")}
    testbed.make_planet(planet, seed=7, size_px=SIZE_PX)
    assert {p: p.stat().st_mtime_ns for p in planet.rglob("*")} == before
    with pytest.raises(FileExistsError, match="another planet"):
        testbed.make_planet(planet, seed=8, size_px=SIZE_PX)
    (tmp_path / "diary.txt").write_text("mine")
    with pytest.raises(FileExistsError, match="no planet"):
        testbed.make_planet(tmp_path, seed=7, size_px=SIZE_PX)
    with pytest.raises(FileNotFoundError, match="make one"):
        testbed.serve(tmp_path)


@pytest.mark.slow
def test_a_make_killed_in_the_middle_leaves_no_planet(planet: Path, tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "testbed",
        "make",
        str(tmp_path / "p"),
        "--size-px",
        str(SIZE_PX),
        "--workers",
        "1",
    ]
    with subprocess.Popen(command) as process:
        until = time.monotonic() + 60
        while not list(tmp_path.glob(".p.partial-*/files/*/*")) and time.monotonic() < until:
            time.sleep(0.02)
        process.kill()
    assert list(tmp_path.glob(".p.partial-*"))
    assert not (tmp_path / "p").exists()
    testbed.make_planet(tmp_path / "p", seed=7, size_px=SIZE_PX, workers=1)
    assert [f.name for f in tmp_path.iterdir()] == ["p"]
    assert digest(tmp_path / "p") == digest(planet)


def test_every_file_is_a_cog_that_its_items_describe(planet: Path, items: dict[str, list[Json]]) -> None:
    seen = 0
    for item in (i for mine in items.values() for i in mine):
        for asset in item["assets"].values():
            facts = item["properties"] | asset
            if asset["href"].endswith(".jp2"):
                continue  # of those the next test speaks
            with rasterio.open(planet / "files" / _path(asset["href"])) as file:
                seen += 1
                assert file.profile["tiled"]
                assert file.block_shapes[0] == (256, 256)
                assert file.compression.name == "deflate"
                assert bool(file.overviews(1)) == (max(file.shape) > 256)
                assert file.crs.to_epsg() == facts.get("proj:epsg") or "proj:epsg" not in facts
                if "proj:transform" in facts and "sentinel1" not in asset["href"]:
                    assert list(file.transform)[:6] == pytest.approx(facts["proj:transform"])
                    assert list(file.shape) == facts["proj:shape"]
                for band in asset.get("raster:bands", []):
                    assert band["data_type"] == file.dtypes[0]
                    assert band.get("nodata") == file.nodata
    assert seen > 150


def _path(href: str) -> str:
    """Path below `files` of an address that an archive writes in its own way."""
    return re.sub(r"^(s3://[a-z-]+/|/login/)", "", href)


def test_jpeg2000_twins_hold_the_same_pixels(planet: Path, items: dict[str, list[Json]]) -> None:
    assets = [a for i in items["copernicus-data-space"] for a in i["assets"].values() if a["href"].endswith(".jp2")]
    assert len(assets) == 2 * 13
    listed = [b"\xff\x55\x00" in (planet / "files" / _path(a["href"])).read_bytes()[:8192] for a in assets]
    assert sum(listed) == 13, "one granule lists its tile-parts (TLM), the other does not"
    for asset in assets[::5]:
        path = _path(asset["href"])
        assert asset["type"] == "image/jp2"
        assert asset["alternate"]["https"]["href"] == path
        with rasterio.open(planet / "files" / path) as file:
            assert file.driver == "JP2OpenJPEG"
            assert list(file.shape) == asset["proj:shape"]
            assert list(file.transform)[:6] == pytest.approx(asset["proj:transform"])
            twin = pixels(planet, path.removeprefix("jp2/").replace(".jp2", ".tif"))
            np.testing.assert_array_equal(file.read(1), twin)


def test_hls_lies_on_the_tiles_and_keeps_its_fill(planet: Path, items: dict[str, list[Json]]) -> None:
    assert {i["collection"] for i in items["earthdata"]} == {"HLSS30_2.0", "HLSL30_2.0"}
    for item in items["earthdata"]:
        for key, asset in item["assets"].items():
            with rasterio.open(planet / "files" / asset["href"]) as file:
                assert file.res == (30.0, 30.0)
                assert (file.dtypes[0], file.nodata) == (("uint8", 255) if key == "Fmask" else ("int16", -9999))
                assert file.transform.c % 60 == file.transform.f % 60 == 0


def test_headers_come_before_pixels_and_overviews_before_full_resolution(planet: Path) -> None:
    found = sorted((planet / "files").rglob("*.[tT][iI][fF]"))
    assert found
    for path in found:
        with rasterio.open(path) as file:
            levels = [None, *range(len(file.overviews(1)))]
            heads = [_number(file, "IFD_OFFSET", ovr) for ovr in levels]
            first = [_number(file, "BLOCK_OFFSET_0_0", ovr) for ovr in levels]
        assert max(heads) < min(first)
        assert sorted(first, reverse=True) == first


def _number(file: Any, name: str, ovr: int | None) -> int:
    return int(file.get_tag_item(name, "TIFF", bidx=1, ovr=ovr))


def test_grids_lie_as_the_real_products_do(planet: Path, items: dict[str, list[Json]]) -> None:
    def transform(href: str) -> Any:
        with rasterio.open(planet / "files" / href) as file:
            return file.transform, file.tags().get("AREA_OR_POINT")

    mine = items["testbed"]
    for item in mine:
        href = next(iter(item["assets"].values()))["href"]
        place, point = transform(href)
        if item["collection"] in ("sentinel-2-l2a", "sentinel-1-rtc", "dynamic-world-v1"):
            assert place.c % 60 == place.f % 60 == 0
        elif item["collection"] in ("landsat-c2-l2", "ENMAP_HSI_L2A"):
            assert place.c % 30 == place.f % 30 == 15
        elif item["collection"] == "cop-dem-glo-30":
            assert (place.c * 7200) % 2 == pytest.approx(1)
            assert point == "Point"
    edges = {i["id"]: shape(i["geometry"]).bounds for i in mine if i["collection"] == "cop-dem-glo-30"}
    west, east = sorted(edges.values())
    assert west[2] == pytest.approx(east[0], abs=1e-6)
    assert west[2] == pytest.approx(12 - 1 / 7200, abs=1e-6)


def test_items_are_valid_stac(items: dict[str, list[Json]]) -> None:
    assert all(items.values())
    for item in (i for mine in items.values() for i in mine):
        links = [{"rel": "collection", "href": "http://127.0.0.1/x", "type": "application/json"}]
        pystac.Item.from_dict(item | {"stac_extensions": [], "links": links}, migrate=False).validate()


def _reflectance(planet: Path, item: Json, band: str) -> tuple[np.ndarray, np.ndarray]:
    """(reflectance, valid) by the rules of the item's provider."""
    key = {"B04": "red", "B08": "nir"}[band] if "red" in item["assets"] else band
    dn = pixels(planet, item["assets"][key]["href"])
    facts = item["properties"]
    offset = (
        1000 if facts["s2:processing_baseline"] >= "04.00" and not facts.get("earthsearch:boa_offset_applied") else 0
    )
    return (dn.astype(float) - offset) / 10_000, dn > 0


@pytest.mark.parametrize("provider", ["earth-search", "planetary-computer"])
def test_reflectance_equals_the_truth_on_both_sides_of_the_offset_change(
    planet: Path, items: dict[str, list[Json]], provider: str
) -> None:
    bands = bands_of("sentinel2")
    table = responses(bands)
    checked = set()
    for item in items[provider]:
        facts = item["properties"]
        if item["collection"] != "sentinel-2-l2a":
            continue
        when = datetime.fromisoformat(facts["datetime"]).astimezone(UTC)
        truth = pixels(planet, f"../truth/cover_{str(facts['proj:epsg'])[-2:]}.tif")
        scl = pixels(planet, item["assets"]["scl" if "scl" in item["assets"] else "SCL"]["href"])
        clear = np.isin(scl, (4, 5, 6)).repeat(2, axis=0).repeat(2, axis=1)
        for cover in (Cover.BROADLEAF, Cover.WATER):
            for band in ("B04", "B08"):
                found, valid = _reflectance(planet, item, band)
                here = (truth == cover) & clear & valid
                if here.sum() < 400:
                    continue
                pure = mixtures(when.date()).reshape(-1, 256, 12)[cover] @ table[:, list(bands).index(band)]
                middle = float(np.median(found[here]))
                assert pure.min() * 0.75 - 0.004 <= middle <= pure.max() * 1.25 + 0.004, (item["id"], cover, band)
                checked.add((facts["s2:processing_baseline"], facts.get("earthsearch:boa_offset_applied")))
    assert {b for b, _ in checked} >= {"03.01", "04.00", "05.00"}


def test_a_reprocessing_differs_by_the_offset_alone(planet: Path, items: dict[str, list[Json]]) -> None:
    takes: dict[str, list[Json]] = {}
    for item in items["planetary-computer"]:
        if item["collection"] == "sentinel-2-l2a":
            key = item["properties"]["datetime"] + item["properties"]["s2:mgrs_tile"]
            takes.setdefault(key, []).append(item)
    (pair,) = [p for p in takes.values() if len(p) == 2]
    old, new = sorted(pair, key=lambda i: i["properties"]["s2:processing_baseline"])
    a, b = (pixels(planet, i["assets"]["B03"]["href"]).astype(int) for i in (old, new))
    assert np.median(b - a) == 1000
    assert np.abs(b - a - 1000)[a > 1].max() <= 1
    applied = {
        i["properties"]["s2:processing_baseline"]: i["properties"]["earthsearch:boa_offset_applied"]
        for i in items["earth-search"]
        if i["collection"] == "sentinel-2-l2a"
    }
    assert applied == {"03.00": False, "03.01": False, "04.00": False, "05.00": True}


def _both_zones(planet: Path, name: str, resampling: Resampling) -> tuple[np.ndarray, np.ndarray]:
    """A truth raster of zone 32 and that of zone 33 warped onto it by GDAL; 0 where there is none."""
    with (
        rasterio.open(planet / "truth" / f"{name}_32.tif") as west,
        rasterio.open(planet / "truth" / f"{name}_33.tif") as east,
        WarpedVRT(
            east,
            crs=west.crs,
            transform=west.transform,
            width=west.width,
            height=west.height,
            nodata=0,
            resampling=resampling,
        ) as over,
    ):
        return west.read(1), over.read(1)


def test_both_zones_see_one_world(planet: Path) -> None:
    a, b = _both_zones(planet, "elevation", Resampling.bilinear)
    both = (a > 0) & (b > 0)
    assert both.mean() > 0.2
    assert np.median(np.abs(a - b)[both]) < 0.1
    assert abs(np.median((a - b)[both])) < 0.03
    a, b = _both_zones(planet, "cover", Resampling.nearest)
    both = (a > 0) & (b > 0)
    # two nearest samplings half a pixel apart differ at borders alone, and houses are all border
    inner = both & ~np.isin(a, (Cover.GARDEN, Cover.ROOF, Cover.ROAD))
    for dy in (-1, 0, 1):
        for dx in (-1, 0, 1):
            inner &= np.roll(a, (dy, dx), (0, 1)) == a
    assert inner.sum() > 1_000
    assert (a == b)[inner].mean() > 0.99


def test_maps_in_degrees_lie_where_the_truth_does(planet: Path) -> None:
    with rasterio.open(planet / "truth" / "elevation_32.tif") as truth:
        bare = truth.read(1)
        (path,) = (planet / "files" / "dem").glob("*E011*")
        with (
            rasterio.open(path) as file,
            WarpedVRT(
                file,
                crs=truth.crs,
                transform=truth.transform,
                width=truth.width,
                height=truth.height,
                nodata=-9999,
                resampling=Resampling.bilinear,
            ) as warped,
        ):
            surface = warped.read(1)
    seen = surface > 0
    above = (surface - bare)[seen]
    assert seen.mean() > 0.3
    assert np.percentile(above, 5) > -1.0
    assert np.percentile(above, 99) < 20.0


def test_worldcover_is_the_truth_with_the_errors_it_states(planet: Path) -> None:
    rng = np.random.default_rng(1)
    truth = np.full((900, 900), COMMON_CLASSES.index("grass"), dtype=np.uint8)
    found = spoil(truth, WORLDCOVER[2021], rng, 10.0)
    share = (found == COMMON_CLASSES.index("crops")).mean()
    assert share == pytest.approx(0.10, abs=0.03)
    maps = sorted((planet / "files" / "worldcover").glob("*2021*"))
    values = np.unique(np.concatenate([np.unique(pixels(planet, f"worldcover/{m.name}")) for m in maps]))
    assert set(values.tolist()) <= set(WORLDCOVER_CODE.values())


def test_enmap_has_224_bands_and_agrees_with_sentinel2(planet: Path, items: dict[str, list[Json]]) -> None:
    (item,) = items["dlr-eoc"]
    assert item["properties"]["proj:epsg"] is None
    with rasterio.open(planet / "files" / item["assets"]["image"]["href"]) as file:
        assert (file.count, file.dtypes[0], file.nodata) == (224, "int16", -32768)
        red, place = file.read(47), file.profile  # 0.660 um; Sentinel-2's B04 is 0.665 um
    other = next(
        i
        for i in items["planetary-computer"]
        if i["collection"] == "sentinel-2-l2a"
        and i["properties"]["datetime"].startswith("2022")
        and i["properties"]["proj:epsg"] == 32632
    )
    shape_of = {k: place[k] for k in ("crs", "transform", "width", "height")}
    with (
        rasterio.open(planet / "files" / other["assets"]["B04"]["href"]) as file,
        WarpedVRT(file, **shape_of, nodata=0, resampling=Resampling.average) as warped,
    ):
        b04 = warped.read(1).astype(float)
    dark = (red > 0) & (red < 1500) & (b04 > 0) & (b04 < 2500)
    assert dark.sum() > 500
    assert abs(np.median((b04 - 1000 - red)[dark])) < 60
    classes = pixels(planet, item["assets"]["quality_classes"]["href"])
    assert set(np.unique(classes)) <= {1, 2, 3}


def test_sentinel1_is_linear_power_with_speckle(planet: Path, items: dict[str, list[Json]]) -> None:
    states = set()
    for item in (i for i in items["planetary-computer"] if i["collection"] == "sentinel-1-rtc"):
        states.add(item["properties"]["sat:orbit_state"])
        vv = pixels(planet, item["assets"]["vv"]["href"])
        cover = pixels(planet, f"../truth/cover_{item['properties']['proj:epsg'] % 100}.tif")
        forest = vv[(cover == Cover.BROADLEAF) & (vv != -32768)]
        assert (forest > 0).all()
        assert 10 * np.log10(forest.mean()) == pytest.approx(-9.2, abs=1.6)
        assert 3.0 < (forest.mean() / forest.std()) ** 2 < 5.0
    assert states == {"ascending", "descending"}


def test_landsat_bits_agree_with_its_pixels(planet: Path, items: dict[str, list[Json]]) -> None:
    for item in (i for i in items["planetary-computer"] if i["collection"] == "landsat-c2-l2"):
        qa = pixels(planet, item["assets"]["qa_pixel"]["href"])
        blue = pixels(planet, item["assets"]["blue"]["href"])
        fill = (qa & 1) > 0
        np.testing.assert_array_equal(fill, blue == 0)
        cloud = (qa >> 3 & 1) > 0
        assert ((qa >> 8 & 3)[cloud] == 3).all()
        if cloud.sum() > 50:
            assert blue[cloud].mean() > 1.5 * blue[~cloud & ~fill].mean()


def test_samples_in_the_area_lie_whole_in_every_product(planet: Path, items: dict[str, list[Json]]) -> None:
    area = shape(json.loads((planet / "aoi.geojson").read_text())["features"][0]["geometry"])
    rng = np.random.default_rng(0)
    points = rng.uniform(area.bounds[:2], area.bounds[2:], (200, 2))
    for lon, lat in (p for p in points if area.contains(Point(p))):
        zone = 32 if lon < 12 else 33
        x, y = Transformer.from_crs("EPSG:4326", f"EPSG:326{zone}", always_xy=True).transform(lon, lat)
        tile = Layout(size_px=SIZE_PX).tile(zone).bounds
        assert tile[0] + 540 <= x + 1 <= tile[2] - 539
        assert tile[1] + 540 <= y + 1 <= tile[3] - 539


def test_the_whole_planet_has_150_samples_on_either_side() -> None:
    from testbed.planet import area_of

    area = shape(area_of(Layout())["features"][0]["geometry"])
    for zone in (32, 33):
        to_lonlat = Transformer.from_crs(f"EPSG:326{zone}", "EPSG:4326", always_xy=True)
        x0, y0, x1, y1 = Layout().tile(zone).bounds
        best = 0
        for shift in range(0, 1000, 125):
            xs, ys = np.meshgrid(np.arange(x0 + shift, x1, 1000.0), np.arange(y0 + shift, y1, 1000.0))
            lon, lat = to_lonlat.transform(xs.ravel(), ys.ravel())
            inside = [area.contains(Point(p)) and (p[0] < 12) == (zone == 32) for p in zip(lon, lat, strict=True)]
            best = max(best, sum(inside))
        assert best >= 150


def test_the_map_is_a_real_osm_file(planet: Path) -> None:
    path = str(planet / "osm" / "planet.osm.pbf")
    reader = osmium.io.Reader(path)
    assert reader.header().get("osmosis_replication_timestamp") == SNAPSHOT
    reader.close()
    counts = {"n": 0, "w": 0, "r": 0}
    keys: dict[str, int] = {}
    names = set()
    known: set[int] = set()
    for thing in osmium.FileProcessor(path):
        counts[thing.type_str()] += 1
        for tag in thing.tags:
            keys[tag.k] = keys.get(tag.k, 0) + 1
            if tag.k == "name":
                names.add(tag.v)
        if thing.is_node():
            known.add(thing.id)
        elif thing.is_way():
            assert {n.ref for n in thing.nodes} <= known
    assert counts["n"] > 300
    assert counts["w"] > 40
    assert {t["name"] for t in HOSTILE} <= names
    assert {"highway", "building", "landuse", "natural", "waterway", "place"} <= set(keys)
    areas = [a for a in osmium.FileProcessor(path).with_areas() if a.is_area() and a.num_rings()[0] > 0]
    assert len(areas) > 20


def test_the_planet_behind_its_services(planet: Path) -> None:
    with testbed.serve(planet) as services:
        mine = {"testbed", "earth-search", "planetary-computer", "dlr-eoc"}
        assert set(services.catalogues) == mine | {"copernicus-data-space", "usgs", "earthdata"}
        client = pystac_client.Client.open(services.stac_url("planetary-computer"))
        found = list(client.search(collections=["sentinel-2-l2a"], datetime="2021-06-01/2021-08-31", limit=2).items())
        assert {i.properties["s2:processing_baseline"] for i in found} == {"03.00", "03.01", "05.00"}
        href = found[0].assets["B02"].href
        assert href.startswith(services.base_url + "/files/planetary-computer/sentinel2/")
        answer = client._stac_io.session.get(href, headers={"Range": "bytes=0-3"})  # type: ignore[union-attr]
        assert answer.content[:2] == b"II"
        services.take_down("planetary-computer")
        assert client._stac_io.session.get(href).status_code == 503  # type: ignore[union-attr]
        index = client._stac_io.session.get(services.base_url + "/").json()  # type: ignore[union-attr]
        assert client._stac_io.session.get(index["osm"]).status_code == 200  # type: ignore[union-attr]
        everything = pystac_client.Client.open(services.stac_url("testbed"))
        assert len(list(everything.get_collections())) == 9


@pytest.mark.slow
def test_the_server_runs_as_a_process_that_gdal_reads_from(planet: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "testbed", "serve", str(planet), "--url-file", str(tmp_path / "url")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            base = process.stdout.readline().strip()
            assert (tmp_path / "url").read_text() == base
            client = pystac_client.Client.open(f"{base}/earth-search/v1")
            found = next(iter(client.search(collections=["sentinel-2-l2a"], max_items=1).items()))
            with rasterio.open("/vsicurl/" + found.assets["red"].href) as file:
                assert file.read(1, window=((0, 8), (0, 8))).shape == (8, 8)
        finally:
            process.terminate()
        assert process.wait(timeout=120) == 0


@pytest.mark.slow
def test_the_command_line_says_what_is_wrong_in_one_line(tmp_path: Path) -> None:
    for arguments in (["serve", str(tmp_path)], ["make", str(tmp_path / "x"), "--size-px", "100"]):
        command = [sys.executable, "-m", "testbed", *arguments]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 1
        assert done.stderr.startswith("testbed: ")
        assert done.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []
