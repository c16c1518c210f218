"""Real STAC answers and real pixels: scenes, rules and observations as the providers document them."""

from __future__ import annotations

import json
import math
from collections import Counter
from datetime import date
from typing import TYPE_CHECKING, Any

import numpy as np
import pyproj
import pytest
import rasterio
from affine import Affine
from rasterio.enums import Resampling
from rasterio.warp import reproject

from pipelines.access.archives import Archives
from pipelines.access.chips import Chip, ChipRequest
from pipelines.access.errors import ItemRefused
from pipelines.access.http.client import Client
from pipelines.access.rasters.cog import Reader
from pipelines.sources import open_source
from pipelines.sources.read_shard import ObservationRequest, gather
from schemas.outcome import Outcome, Reason
from schemas.place import BBox, GeoBox, Place
from schemas.provider import Provider
from schemas.recipe import Recipe
from schemas.stack import Observation
from testbed.services import serve_catalogue

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.real

SENSORS = {
    "sentinel-2-l2a": "sentinel2",
    "sentinel-1-grd": "sentinel1",
    "sentinel-1-rtc": "sentinel1",
    "landsat-c2-l2": "landsat",
    "cop-dem-glo-30": "dem",
    "ENMAP_HSI_L2A": "enmap",
    "ENMAP_HSI_L0_QL": "enmap",
}
DIALECTS = {"earth_search_v1": "earth-search", "planetary_computer": "planetary-computer", "dlr_geoservice": "dlr-eoc"}


def recipe(sources: list[dict[str, Any]], size_m: float, resolutions: dict[str, float], base_m: float = 10.0) -> Recipe:
    return Recipe.model_validate(
        {
            "name": "real",
            "seed": 1,
            "sampling": {"kind": "points", "file": "points.csv"},
            "grid": {"size_m": size_m, "resolution_m": base_m, "snap_m": None, "resolutions": resolutions},
            "windows": [{"name": "w", "start": "2015-01-01", "end": "2025-12-31"}],
            "providers": {"p": {"url": "http://127.0.0.1:1", "dialect": "earth-search", "retries": 1, "timeout_s": 10}},
            "sources": [{"providers": ["p"], **s} for s in sources],
        }
    )


def place(geobox: GeoBox) -> Place:
    x, y = (geobox.x_min + geobox.x_max) / 2, (geobox.y_min + geobox.y_max) / 2
    lon, lat = pyproj.Transformer.from_crs(geobox.epsg, 4326, always_xy=True).transform(x, y)
    return Place(sample_id="s", lon=lon, lat=lat, geobox=geobox, split="train", block="b", cell="c")


def feature(name: str, path: Path, assets: dict[str, Any], collection: str, **properties: Any) -> dict[str, Any]:
    with rasterio.open(path) as dataset:
        box = rasterio.warp.transform_bounds(dataset.crs, "EPSG:4326", *dataset.bounds, densify_pts=21)
        epsg = dataset.crs.to_epsg()
    w, s, e, n = box
    return {
        "type": "Feature", "stac_version": "1.1.0", "id": name, "collection": collection, "links": [],
        "bbox": list(box),
        "geometry": {"type": "Polygon", "coordinates": [[[w, s], [e, s], [e, n], [w, n], [w, s]]]},
        "properties": {"proj:code": f"EPSG:{epsg}", **properties}, "assets": assets,
    }  # fmt: skip


def one(
    made: Recipe, kind: str, items: list[dict[str, Any]], files: dict[str, Path], where: Place, dialect: str
) -> Observation | Outcome:
    """Search, parse, choose, read and observe, all through the loopback archive."""
    entry = next(s for s in made.sources if s.kind == kind)
    source = open_source(entry)
    window = made.windows[0] if source.modality.dated else None
    with serve_catalogue(items, files) as services:
        providers = {"p": Provider(url=services.stac_url("catalogue"), dialect=dialect, retries=1)}  # type: ignore[arg-type]
        with Archives(providers) as archives:
            span = (date(2000, 1, 1), date(2026, 1, 1))
            box = BBox(where.lon - 0.01, where.lat - 0.01, where.lon + 0.01, where.lat + 0.01)
            found = archives.search("p", items[0]["collection"], [box], span)
            scenes = source.collapse([source.scene(i, "p", providers["p"]) for i in found])
            request = ObservationRequest(where, 0, tuple(source.candidates(scenes, where, window)))
            (result,) = list(gather(source, made, [request], {s.item_id: s for s in scenes}, archives.reader))
    return result


def answers(real: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    for path in sorted((real / "stac").glob("*/*.json")):
        content = json.loads(path.read_text())
        content = content.get("response", content) if isinstance(content, dict) else content
        if isinstance(content, dict):
            content = content["features"] if content["type"] == "FeatureCollection" else [content]
        for found in content:
            yield path.parent.name, found


def test_every_real_answer_parses_as_its_provider_documents(real: Path) -> None:
    seen: Counter[tuple[str, str, str]] = Counter()
    for folder, found in answers(real):
        kind = SENSORS.get(found["collection"])
        if kind is None:
            continue
        (entry,) = recipe([{"kind": kind}], 2520, {}).sources
        provider = Provider(url="http://x", dialect=DIALECTS[folder])  # type: ignore[arg-type]
        try:
            scene = open_source(entry).scene(found, "p", provider)
        except ItemRefused as rejected:
            seen[folder, found["collection"], rejected.reason.value] += 1
            continue
        assert scene.datetime.tzinfo is not None
        assert set(scene.radiometry) == set(scene.assets) == set(open_source(entry).modality.band_names)
        assert not any("sig=" in a.href for a in scene.assets.values())
        first = scene.radiometry[open_source(entry).modality.band_names[0]]
        baseline = found["properties"].get("s2:processing_baseline")
        if kind == "sentinel2" and folder == "planetary_computer":
            assert first.offset_dn == (-1000.0 if float(baseline) >= 4 else 0.0)
        elif kind == "sentinel2":
            applied = found["properties"]["earthsearch:boa_offset_applied"]
            assert applied == (float(baseline) >= 4)
            assert first.offset_dn == 0.0
        else:
            assert (first.gain, first.offset_dn) == (1.0, 0.0)
        assert first.to_db == (kind == "sentinel1")
        seen[folder, found["collection"], "scene"] += 1
    assert seen == {
        ("dlr_geoservice", "ENMAP_HSI_L2A", "scene"): 10,
        ("dlr_geoservice", "ENMAP_HSI_L0_QL", "bad_item"): 11,
        ("earth_search_v1", "cop-dem-glo-30", "scene"): 10,
        ("earth_search_v1", "landsat-c2-l2", "scene"): 1,
        ("earth_search_v1", "sentinel-1-grd", "bad_item"): 10,
        ("earth_search_v1", "sentinel-2-l2a", "scene"): 17,
        ("planetary_computer", "cop-dem-glo-30", "scene"): 4,
        ("planetary_computer", "landsat-c2-l2", "scene"): 4,
        ("planetary_computer", "sentinel-1-rtc", "scene"): 4,
        ("planetary_computer", "sentinel-2-l2a", "scene"): 4,
    }


def test_reprocessed_twins_collapse_to_the_newest(real: Path) -> None:
    (entry,) = recipe([{"kind": "sentinel2"}], 2520, {}).sources
    source = open_source(entry)
    provider = Provider(url="http://x", dialect="earth-search")
    items = [i for f, i in answers(real) if f == "earth_search_v1" and i["id"].startswith("S2A_32")]
    kept = source.collapse([source.scene(i, "p", provider) for i in items])
    assert len(items) == 16
    assert len(kept) == 8
    assert {s.facts["baseline"] for s in kept} == {"05.00"}


SITES = {"282D_485L_3_3": ("05.00", None), "38D_378R_2_3": ("05.09", True), "433D_629L_3_1": ("05.00", None)}
"""TerraMesh site -> (baseline, flag) as its numbers show: two carry the offset, one does not (PROVENANCE.md)."""
L2A_BANDS = ["B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B09", "B11", "B12"]


def terramesh_box(path: Path) -> GeoBox:
    with rasterio.open(path) as dataset:
        return GeoBox(
            epsg=dataset.crs.to_epsg(), x_min=dataset.bounds.left, y_max=dataset.bounds.top, resolution_m=10, width=224,
            height=224,
        )  # fmt: skip


@pytest.mark.parametrize("site", SITES)
def test_terramesh_arrives_pixel_for_pixel(site: str, real: Path, tmp_path: Path) -> None:
    folder = real / "multimodal" / "terramesh" / site
    where = place(terramesh_box(folder / "S2L2A.tif"))
    made = recipe(
        [{"kind": "sentinel2", "min_valid": 0.0}, {"kind": "sentinel1", "delivered": "db"}, {"kind": "dem"}],
        2240, {"sentinel2": 10, "sentinel1": 10, "dem": 10},
    )  # fmt: skip
    with rasterio.open(folder / "S2L2A.tif") as dataset, rasterio.open(
        tmp_path / "scl.tif", "w", driver="GTiff", count=1, width=224, height=224, dtype="uint8", crs=dataset.crs,
        transform=dataset.transform,
    ) as scl:  # fmt: skip
        raw = dataset.read()
        scl.write(np.full((1, 224, 224), 4, "uint8"))
    baseline, applied = SITES[site]
    assets = {
        "data": {"href": "/S2L2A.tif", "type": "image/tiff", "bands": [{"name": b} for b in L2A_BANDS]},
        "SCL": {"href": "/scl.tif", "type": "image/tiff"},
    }
    properties: dict[str, Any] = {"datetime": "2021-07-23T13:22:41Z", "s2:processing_baseline": baseline}
    if applied:
        properties["earthsearch:boa_offset_applied"] = True
    item = feature("s2", folder / "S2L2A.tif", assets, "sentinel-2-l2a", **properties)
    files = {"/S2L2A.tif": folder / "S2L2A.tif", "/scl.tif": tmp_path / "scl.tif"}
    got = one(made, "sentinel2", [item], files, where, "generic")
    assert isinstance(got, Observation), got
    for name, layer in got.arrays.items():
        if name == "scl":
            continue
        bands = [b.name for b in open_source(made.sources[0]).modality.layer(name).bands]
        source = raw[[L2A_BANDS.index(b) for b in bands]].astype(int)
        expected = source if applied else np.clip(source - 1000, 1, None)
        valid = source != 0
        np.testing.assert_array_equal(layer[valid], np.clip(expected, 1, None)[valid])
        assert got.resampling[name] == "none"

    item = feature(
        "s1", folder / "S1RTC.tif",
        {"data": {"href": "/S1RTC.tif", "type": "image/tiff", "eo:bands": [{"name": "VV"}, {"name": "VH"}]}},
        "sentinel-1-rtc", datetime="2021-07-21T08:40:10Z",
    )  # fmt: skip
    got = one(made, "sentinel1", [item], {"/S1RTC.tif": folder / "S1RTC.tif"}, where, "generic")
    assert isinstance(got, Observation), got
    with rasterio.open(folder / "S1RTC.tif") as dataset:
        np.testing.assert_array_equal(got.arrays["backscatter"], dataset.read().astype(np.float32))

    item = feature(
        "dem", folder / "DEM.tif", {"data": {"href": "/DEM.tif", "type": "image/tiff"}}, "cop-dem-glo-30",
        datetime="2021-04-22T00:00:00Z",
    )  # fmt: skip
    got = one(made, "dem", [item], {"/DEM.tif": folder / "DEM.tif"}, where, "generic")
    assert isinstance(got, Observation), got
    with rasterio.open(folder / "DEM.tif") as dataset:
        np.testing.assert_array_equal(got.arrays["elevation"], dataset.read().astype(np.float32))


def gdal(path: Path, geobox: GeoBox, kernel: str) -> np.ndarray:
    """GDAL's warp of the whole file, NaN where not valid."""
    with rasterio.open(path) as dataset:
        source = dataset.read(1).astype(np.float64)
        source[dataset.read_masks(1) == 0] = np.nan
        out = np.full(geobox.shape, np.nan)
        reproject(
            source, out, src_transform=dataset.transform, src_crs=dataset.crs, src_nodata=np.nan, dst_nodata=np.nan,
            dst_transform=Affine(*geobox.transform), dst_crs=f"EPSG:{geobox.epsg}", resampling=Resampling[kernel],
        )  # fmt: skip
    return out


def test_sentinel2_29rkh_through_its_real_item(real: Path) -> None:
    """The files are reduced tenfold, so they are read at 100, 200 and 600 m."""
    folder = real / "sentinel2" / "S2A_29RKH_20200219_0_L2A"
    item = json.loads((folder / "S2A_29RKH_20200219_0_L2A.json").read_text())
    for asset in item["assets"].values():  # true of the whole files
        asset.pop("proj:shape", None), asset.pop("proj:transform", None)
    files = {
        a["href"]: folder / a["href"].rsplit("/", 1)[1] for k, a in item["assets"].items() if a["href"].endswith(".tif")
    }
    files = {href: path for href, path in files.items() if path.exists()}
    resolutions = {
        "sentinel2.bands_10m": 100.0, "sentinel2.bands_20m": 200.0, "sentinel2.bands_60m": 600.0,
        "sentinel2.scl": 200.0,
    }  # fmt: skip
    made = recipe([{"kind": "sentinel2", "max_cloud": 1.0, "min_valid": 0.5}], 12_000, resolutions, 100.0)
    here = GeoBox(epsg=32629, x_min=199_980 + 6000, y_max=2_800_020 - 12_000, resolution_m=100, width=120, height=120)
    there = GeoBox(epsg=32628, x_min=860_000, y_max=2_740_000, resolution_m=100, width=120, height=120)
    for geobox in (here, there):
        got = one(made, "sentinel2", [item], files, place(geobox), "earth-search")
        assert isinstance(got, Observation), got
        assert "02.14 is before 04.00" in got.radiometry["B02"]
        for layer in open_source(made.sources[0]).modality.layers:
            array = got.arrays[layer.name]
            grid = geobox.at(resolutions[f"sentinel2.{layer.name}"])
            copied = geobox is here
            assert got.resampling[layer.name] == ("none" if copied else layer.kernel)
            for i, band in enumerate(layer.bands):
                expected = gdal(folder / f"{band.name}.tif", grid, "nearest" if copied else layer.kernel)
                pixels = array[i] if layer.has_band_axis else array
                known = ~np.isnan(expected)
                assert known.mean() > 0.9
                off = np.abs(pixels[known].astype(float) - expected[known])
                assert off.max() <= (0.0 if copied or layer.kernel == "nearest" else 0.51)
                assert not pixels[~known].any()
        reflectance = got.arrays["bands_10m"][:, got.valid] * 1e-4
        assert reflectance.min() > 0.0
        assert reflectance.max() < 2.0


def test_landsat_scene_through_its_real_items(real: Path) -> None:
    """Reduced to 600 m with unequal pixel edges; SR_B1 is not among the files, so the scene as a whole is absent."""
    folder = real / "landsat" / "LC08_L2SP_001062_20201031"
    name = "LC08_L2SP_001062_20201031_20201106_02_T2"
    item = json.loads((folder / f"{name}_SR_stac.json").read_text())
    thermal = json.loads((folder / f"{name}_ST_stac.json").read_text())
    made = recipe([{"kind": "landsat", "max_cloud": 1.0, "max_scene_cloud": 1.0, "collection": item["collection"]}],
                  12_000, {"landsat": 600.0}, 600.0)  # fmt: skip
    source = open_source(made.sources[0])
    with pytest.raises(ItemRefused, match="SR_B1"):
        source.scene(thermal, "p", Provider(url="http://x"))
    files = {a["href"]: folder / a["href"].rsplit("/", 1)[1] for a in item["assets"].values()}
    files = {href: path for href, path in files.items() if path.exists()}
    geobox = GeoBox(epsg=32620, x_min=240_000, y_max=-300_000, resolution_m=600, width=20, height=20)
    item["properties"]["datetime"] += "T14:30:00Z"  # the service gives the day alone, which no time search can find
    item["assets"]["SR_B1.TIF"]["href"] = "/absent/SR_B1.TIF"
    got = one(made, "landsat", [item], files, place(geobox), "generic")
    assert isinstance(got, Outcome)
    assert got.reason is Reason.NOT_FOUND
    files["/absent/SR_B1.TIF"] = folder / f"{name}_SR_B2.TIF"  # a stand-in, so that the other bands can be seen
    for epsg, grid in ((32620, geobox), (32720, GeoBox(
        epsg=32720, x_min=240_000, y_max=9_700_000, resolution_m=600, width=20, height=20))):  # fmt: skip
        got = one(made, "landsat", [item], files, place(grid), "generic")
        assert isinstance(got, Observation), (epsg, got)
        for i, band in enumerate(("SR_B2", "SR_B3", "SR_B4", "SR_B5", "SR_B6", "SR_B7"), 1):
            expected = gdal(folder / f"{name}_{band}.TIF", grid, "bilinear")
            known = ~np.isnan(expected)
            pixels = got.arrays["bands_30m"][i]
            assert np.abs(pixels[known] - expected[known]).max() <= 0.51
            reflectance = pixels[known] * 2.75e-5 - 0.2
            assert reflectance.min() >= -0.2
            assert reflectance.max() < 1.7
        expected = gdal(folder / f"{name}_QA_PIXEL.TIF", grid, "nearest")
        np.testing.assert_array_equal(got.arrays["qa_pixel"], expected)
        assert got.cloud_fraction is not None
        assert got.cloud_fraction > 0.9  # the item says 99.94 %


def test_opera_series_becomes_decibels(real: Path) -> None:
    folder = real / "sentinel1" / "opera_rtc_santa_barbara"
    made = recipe([{"kind": "sentinel1"}], 1500, {"sentinel1": 30.0}, 30.0)
    geobox = GeoBox(epsg=32611, x_min=242_070 + 600, y_max=3_835_110 - 900, resolution_m=30, width=50, height=50)
    dates = 0
    for path in sorted(folder.glob("*_VV.tif")):
        stem = path.name.removesuffix("_VV.tif")
        moment = stem.split("_")[4]
        assets = {p: {"href": f"/{stem}_{p}.tif", "type": "image/tiff"} for p in ("VV", "VH")}
        when = f"{moment[:4]}-{moment[4:6]}-{moment[6:11]}:{moment[11:13]}:{moment[13:15]}Z"
        item = feature(stem, path, assets, "sentinel-1-rtc", datetime=when)
        files = {a["href"]: folder / a["href"][1:] for a in assets.values()}
        got = one(made, "sentinel1", [item], files, place(geobox), "generic")
        assert isinstance(got, Observation), got
        for i, p in enumerate(("VV", "VH")):
            with rasterio.open(folder / f"{stem}_{p}.tif") as dataset:
                linear = dataset.read(1)[30:80, 20:70].astype(float)
            good = linear > 0
            np.testing.assert_allclose(got.arrays["backscatter"][i][good], 10 * np.log10(linear[good]), rtol=1e-6)
            assert np.isnan(got.arrays["backscatter"][i][~good]).all()
        dates += 1
    assert dates == 10


@pytest.mark.slow
def test_sao_tome_from_degrees_onto_utm(real: Path) -> None:
    folder = real / "multimodal" / "sao_tome"
    dem = folder / "Copernicus_DSM_COG_10_N00_00_E006_00_DEM.tif"
    maps = sorted(folder.glob("ESA_WorldCover*_Map.tif"))
    assert maps
    boxes = []
    to_utm = pyproj.Transformer.from_crs(4326, 32632, always_xy=True)
    for lon, lat in ((6.6, 0.3), (6.53, 0.12), (6.68, 0.22)):
        x, y = (math.floor(v / 60) * 60 for v in to_utm.transform(lon, lat))
        boxes.append(GeoBox(epsg=32632, x_min=x, y_max=y, resolution_m=10, width=252, height=252))
    with serve_catalogue([], {"/f/": folder}) as services, Reader(Client()) as reader:
        asked = [ChipRequest(hrefs=(f"{services.base_url}/f/{m.name}",), bands=(1,), geobox=b, kernel="nearest")
                 for m in maps for b in boxes]  # fmt: skip
        hrefs = (f"{services.base_url}/f/{dem.name}",)
        asked += [ChipRequest(hrefs=hrefs, bands=(1,), geobox=b.at(30), kernel="bilinear") for b in boxes]
        got = reader.read_chips(asked)
    for request, chip, path in zip(asked, got, [m for m in maps for _ in boxes] + [dem] * 3, strict=True):
        assert isinstance(chip, Chip), chip
        if path == dem:
            expected = gdal(path, request.geobox, "bilinear")
            np.testing.assert_allclose(chip.pixels[0], expected, atol=1e-3)
            continue
        with rasterio.open(path) as dataset:
            out = np.zeros(request.geobox.shape, np.uint8)
            reproject(
                rasterio.band(dataset, 1), out, dst_transform=Affine(*request.geobox.transform), dst_crs="EPSG:32632",
                resampling=Resampling.nearest,
            )  # fmt: skip
        np.testing.assert_array_equal(np.where(chip.valid[0], chip.pixels[0], 0), out)
        assert len(np.unique(out)) > 1
