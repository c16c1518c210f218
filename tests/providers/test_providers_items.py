"""Items of Copernicus Data Space, USGS and NASA, built after their documentation: keys, rules, addresses, pixels."""

from __future__ import annotations

import copy
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio

import testbed
from pipelines.access.archives import Archives
from pipelines.access.errors import ItemRefused
from pipelines.sources import open_source
from pipelines.sources.read_shard import ObservationRequest, gather
from schemas.modality import HLS, LANDSAT, SENTINEL2
from schemas.outcome import Reason
from schemas.place import BBox, GeoBox, Place
from schemas.recipe import Recipe
from schemas.scene import Scene
from schemas.sensors import HlsSource
from schemas.stack import Observation
from testbed.guard import Guard

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("providers")]

WHERE = Place(
    sample_id="s", lon=11.95, lat=48.5, split="train", block="b", cell="c",
    geobox=GeoBox(epsg=32632, x_min=717_000, y_max=5_377_020, resolution_m=10, width=48, height=48),
)  # fmt: skip
YEARS = (date(2021, 1, 1), date(2022, 12, 31))


def recipe(services: testbed.Services, sources: list[dict[str, Any]]) -> Recipe:
    base = services.base_url
    https = {"alternate": "https"}
    return Recipe.model_validate(
        {
            "name": "items",
            "seed": 1,
            "sampling": {"kind": "points", "file": "points.csv"},
            "grid": {"size_m": 480},
            "windows": [{"name": "w", "start": YEARS[0], "end": YEARS[1]}],
            "providers": {
                "pc": {"url": services.stac_url("planetary-computer"), "dialect": "planetary-computer"},
                "es": {"url": services.stac_url("earth-search"), "dialect": "earth-search"},
                "cdse": {
                    "url": services.stac_url("copernicus-data-space"), "dialect": "copernicus-data-space", **https,
                },
                "usgs": {"url": services.stac_url("usgs"), "dialect": "usgs", "signing": {"url": f"{base}/s3"}},
                "nasa": {"url": services.stac_url("earthdata"), "dialect": "earthdata"},
            },
            "sources": sources,
        }
    )  # fmt: skip


def scenes(made: Recipe, archives: Archives, number: int) -> list[Scene]:
    entry = made.sources[number]
    name = entry.providers[0]
    box = BBox(11.9, 48.4, 12.1, 48.6)
    found = archives.search(name, entry.collections.get(name, entry.collection), [box], YEARS)
    return [open_source(entry).scene(i, name, made.providers[name]) for i in found]


def seen(made: Recipe, archives: Archives, kind: int, listed: list[Scene]) -> Observation:
    source = open_source(made.sources[kind])
    candidates = tuple(source.candidates(source.collapse(listed), WHERE, made.windows[0]))
    (result,) = list(
        gather(
            source, made, [ObservationRequest(WHERE, 0, candidates)], {s.item_id: s for s in listed}, archives.reader
        )
    )
    assert isinstance(result, Observation), result
    return result


def same(one: Observation, other: Observation) -> None:
    assert one.valid.any()
    np.testing.assert_array_equal(one.valid, other.valid)
    for name in one.arrays:
        np.testing.assert_array_equal(one.arrays[name], other.arrays[name])


def test_copernicus_sentinel2_is_jpeg2000_and_gives_planetary_computers_pixels(services: testbed.Services) -> None:
    wide = {"max_cloud": 1.0, "min_valid": 0.5}
    made = recipe(services, [{"kind": "sentinel2", "providers": ["cdse"], **wide}])
    twin = recipe(services, [{"kind": "sentinel2", "providers": ["pc"], **wide}])
    with Archives(made.providers) as archives:
        listed = scenes(made, archives, 0)
        scene = next(s for s in listed if "T32UQU" in s.item_id)
        assert set(scene.assets) == set(SENTINEL2.band_names)
        assert {a.href.rpartition(".")[2] for a in scene.assets.values()} == {"jp2"}
        assert all(a.href.startswith(services.base_url) for a in scene.assets.values()), "the alternate address"
        assert scene.facts["baseline"] == "04.00"  # processing:version
        assert scene.facts["tile"] == "32UQU"  # grid:code
        assert scene.facts["crs"] == "EPSG:32632"  # proj:code
        assert {r.offset_dn for b, r in scene.radiometry.items() if b != "SCL"} == {-1000.0}
        others = [s for s in scenes(twin, archives, 0) if s.datetime == scene.datetime]
        same(seen(made, archives, 0, listed), seen(twin, archives, 0, others))


def test_copernicus_by_s3_is_signed_with_its_own_keys(
    services: testbed.Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    from testbed.guard import ACCESS_KEY, SECRET_KEY

    monkeypatch.setenv("CDSE_S3_ACCESS_KEY", ACCESS_KEY)
    monkeypatch.setenv("CDSE_S3_SECRET_KEY", SECRET_KEY)
    guard = Guard(services=services)
    guard.install()
    entry = {"kind": "dem", "providers": ["cdse"], "collection": "cop-dem-glo-30-dged-cog"}
    made = recipe(services, [entry])
    signing = {"url": f"{services.base_url}/s3", "region": "default"}
    tree = made.model_dump(mode="json")
    tree["providers"]["cdse"] |= {"alternate": None, "signing": signing}
    made = Recipe.model_validate(tree)
    with Archives(made.providers) as archives:
        listed = scenes(made, archives, 0)
        assert all(a.href.startswith("s3://eodata/") for s in listed for a in s.assets.values())
        assert seen(made, archives, 0, listed).valid.all()
    assert guard.passed["/s3/"] > 0
    assert "/s3/" not in guard.refused


def test_usgs_landsat_is_read_from_its_s3_alternate_and_gives_planetary_computers_pixels(
    services: testbed.Services, logins: dict[str, str]
) -> None:
    wide = {"max_cloud": 1.0, "min_valid": 0.5}
    made = recipe(services, [{"kind": "landsat", "providers": ["usgs"], "collection": "landsat-c2l2-sr", **wide}])
    twin = recipe(services, [{"kind": "landsat", "providers": ["pc"], **wide}])
    guard = Guard(services=services)
    with Archives(made.providers) as archives:
        listed = scenes(made, archives, 0)
        others = scenes(twin, archives, 0)
        assert {s.product for s in listed} == {s.product for s in others}
        for scene in listed:
            assert set(scene.assets) == set(LANDSAT.band_names)
            assert all(a.href.startswith("s3://usgs-landsat/") for a in scene.assets.values())
            assert "the item states none" in scene.radiometry["SR_B4"].rule
            assert scene.facts["platform"] in ("landsat-8", "landsat-9")
        plain = seen(twin, archives, 0, others)
        guard.install()  # from here on the requester pays
        same(seen(made, archives, 0, listed), plain)
    assert guard.passed["/s3/"] > 0
    assert "/s3/" not in guard.refused


def test_collection_1_of_earth_search_never_has_the_offset_taken_out(services: testbed.Services) -> None:
    wide = {"max_cloud": 1.0, "min_valid": 0.5, "collection": "sentinel-2-c1-l2a"}
    made = recipe(services, [{"kind": "sentinel2", "providers": ["es"], **wide}])
    with Archives(made.providers) as archives:
        offsets = {(s.facts["baseline"], s.radiometry["B02"].offset_dn) for s in scenes(made, archives, 0)}
    assert offsets == {("03.00", 0.0), ("03.01", 0.0), ("04.00", -1000.0), ("05.00", -1000.0)}


def test_hls_halves_share_seven_bands(services: testbed.Services, earth: Path) -> None:
    made = recipe(services, [{"kind": "hls", "providers": ["nasa"], "max_cloud": 1.0, "min_valid": 0.5}])
    with Archives(made.providers) as archives:
        listed = scenes(made, archives, 0)
        assert {s.collection for s in listed} == {"HLSS30_2.0", "HLSL30_2.0"}
        for scene in listed:
            assert set(scene.assets) == set(HLS.band_names)
            narrow = "B8A" if scene.facts["half"] == "S30" else "B05"
            assert f".{narrow}.tif" in scene.assets["nir08"].href
            assert scene.radiometry["red"].nodata == -9999.0
            assert scene.radiometry["Fmask"].nodata == 255.0
        half = [s for s in listed if s.facts["half"] == "L30"]
        assert len({s.acquisition for s in half}) == 1, "tiles of one pass may be laid together"
        chip = seen(made, archives, 0, half)
        (tile,) = [s for s in half if s.facts["tile"] == "32UQU"]
        with rasterio.open(earth / "files" / "hls" / f"{tile.item_id}.Fmask.tif") as file:
            box = WHERE.geobox.bounds
            window = rasterio.windows.from_bounds(*box, transform=file.transform)
            bits = file.read(1, window=window)
        np.testing.assert_array_equal(chip.arrays["fmask"], bits)
        assert chip.cloud is not None
        assert chip.cloud.mean() == pytest.approx(((bits & 0b1110) != 0).mean(), abs=0.02)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"id": "HLS.S30.T32UQU.2022184T101041.v1.5"}, "version 1.5"),
        ({"id": "S2B_MSIL2A_20220703T101041"}, "does not have an HLS"),
        ({"drop": "B8A"}, "no asset for nir08"),
    ],
)
def test_hls_that_cannot_be_read_right_is_refused(
    change: dict[str, str], said: str, services: testbed.Services
) -> None:
    item = copy.deepcopy(next(i for i in services.catalogues["earthdata"].items if "S30" in i["id"]))
    if "drop" in change:
        del item["assets"][change["drop"]]
    else:
        item |= change
    source = open_source(HlsSource(providers=("p",)))
    provider = recipe(services, [{"kind": "hls", "providers": ["nasa"]}]).providers["nasa"]
    with pytest.raises(ItemRefused, match=said) as caught:
        source.scene(item, "nasa", provider)
    assert caught.value.reason is Reason.BAD_ITEM
