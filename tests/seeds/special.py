"""What is special in each recipe of recipes/seeds, looked at in its tiny dataset: dates, strata, splits, pixels."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import rasterio

from landweave.prove import prove
from pipelines.recipes import read_recipe
from sampling import locate
from sampling.splits import SPLITS
from tests.seeds.own import burnt

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    import landweave
    from landweave.sample import Sample
    from schemas.recipe import Recipe
    from tests.seeds.moved import World

Json = dict[str, Any]
DAY = dt.timedelta(days=1)


@dataclass(frozen=True)
class Built:
    """One recipe, built."""

    recipe: Recipe
    path: Path
    """The moved recipe."""
    dataset: landweave.Dataset
    world: World

    def located(self, count: int) -> Any:
        """Places that the recipe has for a larger number of samples."""
        return locate(read_recipe(self.path, [f"sampling.count={count}"]).recipe, self.path.parent)

    def window(self, name: str) -> Any:
        """A window of the recipe."""
        return next(w for w in self.recipe.windows if w.name == name)


def moment(text: Any) -> dt.datetime:
    """A time with its zone; a date is its midnight."""
    found = dt.datetime.fromisoformat(str(text).replace("Z", "+00:00"))
    return found if found.tzinfo else found.replace(tzinfo=dt.UTC)


def seen(sample: Sample, layer: str) -> list[dt.datetime]:
    """Times of the dates that a sample has of a layer, at least one."""
    found = [when for when in sample.datetimes(layer) if when is not None]
    assert found, (sample.id, layer)
    return found


def near(sample: Sample, layer: str, other: str, most: dt.timedelta) -> None:
    """Each date of a layer is near the other layer's of the same place in the series."""
    pairs = [(a, b) for a, b in zip(sample.datetimes(layer), sample.datetimes(other), strict=True) if a and b]
    assert pairs, (sample.id, layer)
    assert all(abs(a - b) <= most for a, b in pairs), pairs


def balanced(built: Built, count: int, strata: int) -> None:
    """Each stratum has its share of the samples, within 2 % of them."""
    located = built.located(count)
    shares = np.bincount(located.stratum, minlength=len(located.strata)) / len(located)
    assert len(located.strata) == strata
    assert np.abs(shares - 1 / strata).max() < 0.02, shares


def index_of(built: Built, sample: Sample, layer: str, high: str, low: str) -> NDArray[np.float32]:
    """(high - low) / (high + low) by numpy over stored numbers, unknown where one of them is."""
    mine = [n for n in built.dataset.arrays if n.startswith(f"{layer}/") and high in sample.bands(n)]
    (name,) = mine
    bands, stored = sample.bands(name), sample[name][0]
    a, b = (stored[bands.index(band)].astype(np.float64) * 1e-4 for band in (high, low))
    known = (stored[bands.index(high)] != 0) & (stored[bands.index(low)] != 0)
    with np.errstate(all="ignore"):
        return np.where(known, (a - b) / (a + b), np.nan).astype(np.float32)


def slope_of(elevation: NDArray[np.float32], metres: float) -> NDArray[np.float64]:
    """Horn's slope inside the edge, degrees."""
    z = elevation.astype(np.float64)
    dx = (z[:-2, 2:] + 2 * z[1:-1, 2:] + z[2:, 2:]) - (z[:-2, :-2] + 2 * z[1:-1, :-2] + z[2:, :-2])
    dy = (z[2:, :-2] + 2 * z[2:, 1:-1] + z[2:, 2:]) - (z[:-2, :-2] + 2 * z[:-2, 1:-1] + z[:-2, 2:])
    return np.degrees(np.arctan(np.hypot(dx, dy) / (8 * metres)))


def radar_median(built: Built, sample: Sample, layer: str, slot: int) -> NDArray[np.float64]:
    """The median, by numpy, of the radar images that the catalogue names: (band, y, x), decibels."""
    engine = built.world.services.earthengine
    assert engine is not None
    transform, stack = sample.transform(f"{layer}/backscatter"), []
    for name in sample.item[f"{layer}_items"][slot]:
        image, planes = engine.catalogue.image(f"COPERNICUS/S1_GRD/{name}"), []
        for band in ("VV", "VH"):
            source = image.bands[band]
            with rasterio.open(source.paths[0]) as file:
                column, row = (round(v) for v in ~file.transform * (transform[2], transform[5]))
                size = sample[f"{layer}/backscatter"].shape[-1]
                raw = file.read(1)[row : row + size, column : column + size].astype(np.float64)
            assert source.derive is not None
            number = source.derive(np.where(raw == -32768, np.nan, raw)) + source.offset
            planes.append(number)
        stack.append(planes)
    assert len(stack) > 3
    return np.asarray(np.nanmedian(np.array(stack), axis=0))


def agbd(built: Built) -> None:
    for sample in built.dataset:
        shot, (image,) = moment(sample.attributes["date"]), seen(sample, "sentinel2")
        assert dt.timedelta(0) <= shot + DAY - image <= 181 * DAY
        assert abs(seen(sample, "alos-palsar")[0] - shot) <= 366 * DAY
        scl = sample["sentinel2/scl"].reshape(sample["sentinel2/scl"].shape[-2:])
        assert scl[scl.shape[0] // 2, scl.shape[1] // 2] == 4
        assert (scl == 4).mean() >= 0.2
        assert sample["canopy-height/height"].shape[-1] == 25
        assert sample["canopy-height/height"][..., 12, 12] != 255
        assert sample.attributes["rh98"] > 0


def agrifm(built: Built) -> None:
    for sample in built.dataset:
        for layer, least in (("sentinel2", 20), ("landsat", 30), ("modis", 30)):
            times = seen(sample, layer)
            assert least <= len(times) <= 32
            assert times == sorted(set(times))
        assert sample["modis/sr"].shape[-1] == 5


def canadafiresat(built: Built) -> None:
    for sample in built.dataset:
        fire = moment(sample.attributes["fire_date"])
        assert all(-DAY <= fire - when <= 65 * DAY for when in seen(sample, "sentinel2-l1c"))
        assert sum(len(sample.bands(n)) for n in built.dataset.arrays if n.startswith("sentinel2-l1c/bands")) == 13
        assert sample.split == {2022: "val", 2023: "test"}.get(fire.year, "train")
        kelvin = sample["era5/temperature"]
        assert 250 < np.nanmin(kelvin) <= np.nanmax(kelvin) < 320
        if any(sample.present["fire"]):  # inside the extent of the polygons
            assert sample["fire/classes"].shape[-2:] == (27, 27)
            assert (sample["fire/classes"] == 2).any() == (sample.attributes["is_fire"] is True)
            assert sample.item["fire_version"] == fire.date().isoformat()


def chatearthnet(built: Built) -> None:
    for sample in built.dataset:
        assert sample["sentinel2/bands_10m"].shape[-2:] == (256, 256)
        assert sample.cloud("sentinel2").mean() <= 0.05
        assert len(sample.captions) == 1


def crisislandmark(built: Built) -> None:
    rows = _rows(built.path.parent / "crisislandmark.csv")
    for sample in built.dataset:
        when = moment(sample.attributes["timestamp"])
        row = _row_of(rows, sample)
        times = [t for layer in ("sentinel1", "sentinel2") for t in sample.datetimes(layer) if t]
        assert times
        assert all(abs(t - when) <= 4 * DAY for t in times)
        assert sample.split == row["split"]
        assert [c.text for c in sample.captions] == [row["labels"]]


def dynamicvl(built: Built) -> None:
    for sample in built.dataset:
        assert sample["naip/rgbn"].shape[-2:] == (1024, 1024)
        for window, when in zip(built.recipe.windows, sample.datetimes("naip"), strict=True):
            assert when is None or window.start <= when.date() <= window.end
        assert sum(sample.present["naip"]) >= 2
    assert {q.task for q in built.dataset.questions()} <= {"vegetation", "change", "time"}
    assert list(prove(built.dataset)) == []


def geolink(built: Built) -> None:
    keys = set()
    for sample in built.dataset:
        table = sample.vectors()
        assert {"point", "line", "area"} >= set(table.column("kind").to_pylist())
        keys |= {key for tags in table.column("tags").to_pylist() for key, _ in tags}
        assert sample.attributes["image_id"] is not None
    assert {"building", "highway", "landuse"} <= keys


def geoplant(built: Built) -> None:
    rows = _rows(built.path.parent / "surveys.csv")
    for sample in built.dataset:
        assert sample.split == _row_of(rows, sample)["split"]
        assert all(abs(t - moment(sample.attributes["date"])) <= 181 * DAY for t in seen(sample, "sentinel2"))
        quarters = [(t.year, (t.month - 1) // 3) for t in seen(sample, "landsat")]
        assert len(set(quarters)) >= 18
        assert len(sample.datetimes("landsat")) == 20


def gfm_bench(built: Built) -> None:
    centres = {b.name: b.center_um for b in built.dataset.arrays["landsat8/bands_30m"].bands}
    assert centres == {
        "blue": 0.482,
        "green": 0.5615,
        "red": 0.6545,
        "nir08": 0.865,
        "swir16": 1.6085,
        "swir22": 2.2005,
    }
    for sample in built.dataset:
        for layer in ("landsat7", "landsat8"):
            if layer in sample:
                good = sample[f"{layer}/bands_30m"][:, :, sample.valid(layer)[0]]
                assert 0 <= np.nanmedian(good) < 1
        assert set(np.unique(sample["cdl/classes"])) <= {
            0,
            1,
            61,
            111,
            112,
            121,
            123,
            124,
            131,
            141,
            142,
            152,
            176,
            195,
        }
    shares = np.bincount(built.located(400).split, minlength=3)
    assert shares[SPLITS.index("train")] > 0


def las(built: Built) -> None:
    for sample in built.dataset:
        assert {"sentinel2", "landsat", "sentinel1", "naip"} <= {k for k, v in sample.present.items() if any(v)}
        codes = sample["esri/classes"]
        assert set(np.unique(codes)) <= {0, 1, 2, 4, 5, 7, 8, 9, 11}
        for label in ("worldcover", "dynamicworld", "esri"):
            assert (sample[f"{label}/classes"] != built.dataset.arrays[f"{label}/classes"].nodata).any()
        assert sample["naip/rgbn"].shape[-1] == 2560


def m3leo(built: Built) -> None:
    (sample, *_) = built.dataset
    assert [t.month for t in seen(sample, "sentinel2")] == list(range(1, 13))
    for layer in ("s1_asc", "s1_desc"):
        expected, stored = radar_median(built, sample, layer, 1), sample[f"{layer}/backscatter"][1]
        good = sample.valid(layer)[1]
        assert good.mean() > 0.9
        np.testing.assert_allclose(stored[:, good], expected[:, good], atol=1e-3)
    metres = built.dataset.arrays["dem/elevation"].resolution_m
    expected = slope_of(sample["dem/elevation"][0], metres)
    np.testing.assert_allclose(sample["slope/values"][0, 1:-1, 1:-1], expected, atol=0.05)


def major_tom(built: Built) -> None:
    for sample in built.dataset:
        assert "U_" in sample.id
        assert {k for k, v in sample.present.items() if any(v)} == {"sentinel2", "sentinel1", "dem"}
        assert sample["sentinel2/bands_10m"].shape[-1] == 384


def mmearth(built: Built) -> None:
    balanced(built, 280, 14)
    for sample in built.dataset:
        (image,) = seen(sample, "sentinel2")
        for layer in ("s1_asc", "s1_desc"):
            (radar,) = seen(sample, layer)
            assert abs(radar - image) <= 6.6 * DAY, "an overpass comes again after twelve days: another one was nearer"
        (month,) = seen(sample, "era5")
        assert dt.timedelta(0) <= image - month <= 62 * DAY


def noldo_s12(built: Built) -> None:
    for sample in built.dataset:
        assert len(seen(sample, "dynamicworld")) == len(seen(sample, "sentinel2")) == 4
        near(sample, "dynamicworld", "sentinel2", DAY / 2)
        assert set(np.unique(sample["dynamicworld/label"])) <= {*range(9), 255}


def olmoearth(built: Built) -> None:
    balanced(built, 60, len(built.recipe.sampling.frame.categories))  # the map has 17 of the rarest
    for sample in built.dataset:
        for layer in ("sentinel2", "sentinel1", "landsat"):
            assert len(sample.datetimes(layer)) == 12
            assert len(seen(sample, layer)) == 12
        days = [t.date() for t in seen(sample, "sentinel2")]
        assert days == sorted(days)
        assert dt.timedelta(days=300) < days[-1] - days[0] < dt.timedelta(days=360)
        assert any(len(ids) > 1 for ids in sample.item["sentinel2_items"])
        assert sample["openstreetmap/classes"].shape[-1] == 1024
        channels, names = sample["openstreetmap_channels/channels"], sample.bands("openstreetmap_channels/channels")
        assert channels.shape == (30, 1024, 1024)
        tags = [dict(pairs) for pairs in sample.vectors("openstreetmap").column("tags").to_pylist()]
        for name, key in {"building": "building", "highway": "highway", "leisure": "leisure"}.items():
            assert channels[names.index(name)].any() == any(t.get(key, "no") != "no" for t in tags), name
        for name, key, value in (("silo", "man_made", "silo"), ("runway", "aeroway", "runway")):
            assert channels[names.index(name)].any() == any(t.get(key) == value for t in tags), name
        assert channels.any()
        assert len(seen(sample, "era5")) == 12
        assert sample["canopy/height"].shape[-1] == 256


def prithvi_hls(built: Built) -> None:
    for sample in built.dataset:
        assert len(seen(sample, "hls")) == 4
        assert sample["hls/bands_30m"].shape[1] == 7


def rsteller(built: Built) -> None:
    for sample in built.dataset:
        assert sample["naip/rgbn"].shape[-2:] == (448, 448)
        assert sample.captions


def satclip(built: Built) -> None:
    for sample in built.dataset:
        assert abs(seen(sample, "sentinel2")[0] - moment(sample.attributes["datetime"])) <= dt.timedelta(hours=1)
    shares = np.bincount(built.located(400).split, minlength=3) / 400
    assert abs(shares[SPLITS.index("train")] - 0.9) < 0.05, "three standard deviations of 400 draws"
    assert shares[SPLITS.index("test")] == 0


def skyscript(built: Built) -> None:
    balanced(built, 72, 4)  # the map has 19 objects of the rarest category
    texts = {r["sample_id"]: r["text"] for r in _rows(built.path.parent / "captions.csv")}
    for sample in built.dataset:
        assert [c.text for c in sample.captions] == [texts[sample.id]]
        assert str(sample.attributes["osm_id"])[0] in "nwr"


def spectral_earth(built: Built) -> None:
    (window,) = [w for w in built.recipe.windows if w.every == "scene"]
    for sample in built.dataset:
        times = seen(sample, "enmap")
        assert times == sorted(set(times))
        assert all(window.start <= t.date() <= window.end for t in times)
        assert len(times) > 1
        assert (
            sum(len(sample.bands(n)) for n in built.dataset.arrays if n.startswith("enmap/") and _pixels(built, n))
            >= 224
        )


def ssl4eo_s12(built: Built) -> None:
    cities = [(float(r["lon"]), float(r["lat"])) for r in _rows(built.path.parent / "cities.csv")]
    located = built.located(40)
    lon, lat = located.footprints.lon[:, None], located.footprints.lat[:, None]
    east, north = (np.array(c) for c in zip(*cities, strict=True))
    away = np.hypot((lon - east) * 74_000, (lat - north) * 111_000).min(axis=1)
    assert away.max() < 5 * built.recipe.sampling.frame.spread_m
    for sample in built.dataset:
        _seasons(sample)
        near(sample, "sentinel2_l1c", "sentinel2", DAY / 2)
        assert sample["sentinel2/bands_10m"].shape[-1] == 264


def _seasons(sample: Sample) -> None:
    """Four dates of Sentinel-2 and Sentinel-1, each in its 30 days, all moved by one number of days."""
    times = seen(sample, "sentinel2")
    assert len(times) == len(seen(sample, "sentinel1")) == 4
    anchors = [dt.date(2020, *map(int, d.split("-"))) for d in ("03-20", "06-21", "09-22", "12-21")]
    reach = [(t.date() - a).days for t, a in zip(times, anchors, strict=True)]
    assert max(reach) - min(reach) <= 30, "the four dates are moved by one number of days"


def ssl4eo_s12_v11(built: Built) -> None:
    rows = _rows(built.path.parent / "ssl4eo-s12-v11.csv")
    for sample in built.dataset:
        row = _row_of(rows, sample)
        assert (sample.item["x_min"], sample.item["y_max"]) == (float(row["x_min"]), float(row["y_max"]))
        _seasons(sample)
        near(sample, "sentinel2_l1c", "sentinel2", DAY / 2)


def terramesh(built: Built) -> None:
    for sample in built.dataset:
        near(sample, "sentinel2_l1c", "sentinel2", DAY / 2)
        near(sample, "s1_rtc", "sentinel2", 12 * DAY)
        near(sample, "s1_grd", "sentinel2", 12 * DAY)
        stored = sample["ndvi/values"].reshape(sample["ndvi/values"].shape[-2:])
        assert np.array_equal(stored, index_of(built, sample, "sentinel2", "B08", "B04"), equal_nan=True)


def units(built: Built) -> None:
    for sample in built.dataset:
        assert not sample.cloud("target").any()
        assert sample.cloud("sentinel2").mean() > 0.01
        assert len(sample.datetimes("sentinel2")) == 24


def copernicus_pretrain(built: Built) -> None:
    for sample in built.dataset:
        assert len(seen(sample, "sentinel2")) == len(seen(sample, "sentinel1")) == 4
        assert sample["sentinel2/bands_10m"].shape[-1] == 264
        assert "U_" in sample.id
        assert len(seen(sample, "sentinel3")) == 4
        assert sample["sentinel3/radiance"].shape[-3:] == (21, 12, 12), "96 px of the whole cell, cut to the planet"
        assert sample["dem/elevation"].shape[-2:] == (120, 120)
        assert middle(sample, "sentinel3/radiance") == middle(sample, "dem/elevation")
        assert middle(sample, "dem/elevation") == middle(sample, "sentinel2/bands_10m")


def middle(sample: Sample, array: str) -> tuple[float, float]:
    """Centre of an array's ground, metres."""
    west, south, east, north = sample.bounds(array)
    return round((west + east) / 2, 6), round((south + north) / 2, 6)


def farmseg_vl(built: Built) -> None:
    balanced(built, 100, 2)
    codes = {"arable land": 1, "grassland": 2}
    for sample in built.dataset:
        stored = sample["parcels/classes"]
        middle = stored[stored.shape[0] // 2 - 3 : stored.shape[0] // 2 + 3, stored.shape[1] // 2 - 3 :][:, :6]
        assert (middle == codes[str(sample.attributes["crop"])]).any(), "the place lies in a field of its crop"
        assert len(sample.captions) == 2
        assert sample.vectors("parcels").num_rows


def flair_hyscdg(built: Built) -> None:
    classes = {"wheat": 1, "maize": 1, "rapeseed": 1, "meadow": 2, "pond": 3}
    for sample in built.dataset:
        assert sample.epsg == 2154
        assert sample["ortho/bands"].shape[-3:] == (5, 512, 512)
        assert sample["sentinel2/bands_10m"].shape[-2:] == (40, 40)
        assert middle(sample, "sentinel2/bands_10m") == middle(sample, "ortho/bands")
        expected = burnt(built.path.parent / "objects.parquet", classes, sample.transform("objects/classes"), 512)
        stored, empty = sample["objects/classes"].reshape(512, 512), built.dataset.arrays["objects/classes"].nodata
        other = stored != np.where(expected > 0, expected, empty)
        assert other.sum() <= 3, "a pixel's centre may lie on an edge"


def gamus(built: Built) -> None:
    for sample in built.dataset:
        assert sample["rgb/rgb"].shape[-2:] == sample["ndsm/height"].shape[-2:] == (1024, 1024)
        assert set(np.unique(sample["gamus/classes"])) <= {0, 1, 2, 3}


def landcover_ai(built: Built) -> None:
    for sample in built.dataset:
        assert sample.epsg == 2180
        assert sample["ortho/rgb"].shape[-2:] == (512, 512)
        assert set(np.unique(sample["landcover/classes"])) <= {0, 1, 2, 3}


def mapformer(built: Built) -> None:
    rows = _rows(built.path.parent / "areas.csv")
    for sample in built.dataset:
        assert [seen(sample, layer)[0].year for layer in ("before", "after")] == [2018, 2019]
        maps = []
        for layer in ("before", "after"):
            near(sample, f"map_{layer}", layer, DAY / 2)
            maps.append(sample[f"map_{layer}/label"].reshape(156, 156))
        known = (maps[0] != 255) & (maps[1] != 255)
        change = np.where(known, maps[0] != maps[1], np.nan).astype(np.float32)
        assert np.array_equal(sample["change/values"].reshape(156, 156), change, equal_nan=True)
        assert sample.split == _row_of(rows, sample)["split"]


def multiview(built: Built) -> None:
    for sample in built.dataset:
        inside = int(np.ceil((2560 - 15) / 30))  # pixels of 30 m with their centre in the footprint
        elevation = sample["dem/elevation"][0, :inside, :inside].astype(np.float64)
        np.testing.assert_allclose(sample.attributes["height"], elevation.mean(), rtol=1e-6)
        np.testing.assert_allclose(sample.attributes["relief"], elevation.std(), rtol=1e-6)


def oam_tcd(built: Built) -> None:
    for sample in built.dataset:
        assert sample["ortho/rgb"].shape[-2:] == (2048, 2048)
        assert sample.vectors("crowns").num_rows
        assert sample.split == {0: "test", 1: "val"}.get(int(sample.attributes["fold"]), "train")


def rswk(built: Built) -> None:
    rows = _rows(built.path.parent / "landmarks.csv")
    for sample in built.dataset:
        assert [c.text for c in sample.captions] == [_row_of(rows, sample)["knowledge"]]
        assert sample.cloud("sentinel2").mean() <= 0.05


def sar_rsvqa(built: Built) -> None:
    rows = _rows(built.path.parent / "bigearthnet.csv")
    for sample in built.dataset:
        assert seen(sample, "sentinel1")
        assert seen(sample, "sentinel2")
        assert [c.text for c in sample.captions] == [_row_of(rows, sample)["labels"]]
        assert sample.facts
        assert sample.questions
    assert list(prove(built.dataset)) == []


def skysense(built: Built) -> None:
    for sample in built.dataset:
        assert sample["naip/rgbn"].shape[-2:] == (660, 660)
        assert len(sample.datetimes("sentinel2")) == len(sample.datetimes("sentinel1")) == 20
        assert len(seen(sample, "sentinel1")) == 20


def urbanclip(built: Built) -> None:
    rows = _rows(built.path.parent / "tiles.csv")
    for sample in built.dataset:
        row = _row_of(rows, sample)
        assert [c.text for c in sample.captions] == [row["caption"]]
        assert sample.attributes["population"] == float(row["population"])
        index = index_of(built, sample, "sentinel2", "B08", "B04")
        np.testing.assert_allclose(sample.attributes["green"], np.nanmean(index.astype(np.float64)), rtol=1e-5)


def urbanfusion(built: Built) -> None:
    for sample in built.dataset:
        assert sample.present["sentinel2"] != (False,) or sample.present["sentinel1"] != (False,)
        assert sample.vectors().num_rows


def _pixels(built: Built, name: str) -> bool:
    return bool(built.dataset.arrays[name].kind == "continuous")


def _rows(path: Path) -> list[dict[str, str]]:
    import csv

    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def _row_of(rows: list[dict[str, str]], sample: Sample) -> dict[str, str]:
    """The row of the points file that a sample is of: the nearest one."""
    lon, lat = sample.lonlat
    return min(rows, key=lambda r: (float(r["lon"]) - lon) ** 2 + (float(r["lat"]) - lat) ** 2)


CHECKS: dict[str, Callable[[Built], None]] = {
    name.replace("_", "-"): check
    for name, check in sorted(globals().items())
    if callable(check)
    and getattr(check, "__annotations__", {}).get("built") == "Built"
    and set(check.__annotations__) == {"built", "return"}
}
"""Recipe -> what is looked at."""
