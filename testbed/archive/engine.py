"""The archive at Earth Engine: the planet's images on other days, Level-1 products, and the further products."""

from __future__ import annotations

import datetime as dt
import json
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from testbed.archive.again import again_days, clear_path, is_clear, moved, on
from testbed.archive.change import change_of
from testbed.archive.foreign import CLEAR, NAIP_YEARS, table_of
from testbed.earthengine.catalogue import EeBand, EeImage
from testbed.earthengine.planet import MAKERS
from testbed.overpasses import ZONES

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from testbed.archive.again import Rasters
    from testbed.archive.foreign import Foreign

Json = dict[str, Any]
Derive = "Callable[[NDArray[Any]], NDArray[Any]]"
WHOLE_EARTH: Json = {"type": "Polygon", "coordinates": [[[-180, -90], [180, -90], [180, 90], [-180, 90], [-180, -90]]]}
TOA = 1.08, 0.01
"""Top-of-atmosphere reflectance = surface reflectance * TOA[0] + TOA[1]: the atmosphere, in two numbers."""
_LANDSAT = 2.75e-5, -0.2


def images_of(planet: Path, foreign: Foreign, rasters: Rasters) -> Iterator[EeImage]:
    """What the archive adds to `earthengine.planet.catalogue_of`."""
    stac, files = planet / "stac", planet / "files"
    items = json.loads((stac / "planetary-computer-items.json").read_text())
    items += [i for i in json.loads((stac / "testbed-items.json").read_text()) if i["collection"] == "dynamic-world-v1"]
    for item, days in again_days(i for i in items if i["collection"] in MAKERS):
        here = item if days == 0 else moved(item, days, "") | {"assets": item["assets"]}
        image = _of_day(MAKERS[item["collection"]](here, files), rasters, clear=is_clear(item, days))
        if days:
            yield image
        if item["collection"] == "sentinel-2-l2a":
            yield _level_1c(image)
        if item["collection"] == "landsat-c2-l2":
            yield _top_of_atmosphere(image, landsat7=False)
            yield _top_of_atmosphere(image, landsat7=True)
    yield from _modis(foreign)
    yield from _era5(foreign)
    yield from _naip(planet)
    yield from _olci(planet)
    yield _canopy(planet)


def _after(first: Any, then: Any) -> Any:
    """One function after another; `first` may be None."""
    return then if first is None else partial(_both, first, then)


def _both(first: Any, then: Any, raw: NDArray[Any]) -> NDArray[Any]:
    return np.asarray(then(first(raw)))


def _of_day(image: EeImage, rasters: Rasters, *, clear: bool) -> EeImage:
    """The image with the numbers of its own day, and without clouds if it is a clear one; the planet's days stay."""
    when = image.start
    bands = {}
    for name, band in image.bands.items():
        path = band.paths[0].relative_to(rasters.files).as_posix()
        path = clear_path(path) if clear else path
        found = rasters.own(path)
        if found is None:
            raise FileNotFoundError(f"the archive has no {path}")
        own = when is None or f"{when:%Y%m%d}" in path or change_of(path) is None
        derive = band.derive if own or when is None else _before(on(when.date(), path), band.derive)
        bands[name] = replace(band, paths=(found,), derive=derive)
    return replace(image, bands=bands)


def _before(change: Any, derive: Any) -> Any:
    return change if derive is None else partial(_both, change, derive)


def _line(factor: float, offset: float, raw: NDArray[Any]) -> NDArray[Any]:
    return raw * factor + offset


def _level_1c(image: EeImage) -> EeImage:
    """COPERNICUS/S2_HARMONIZED: thirteen bands of top-of-atmosphere reflectance; B10 sees hardly any ground."""
    bands = {}
    for name, band in image.bands.items():
        if name != "SCL":
            bands[name] = replace(band, scale=TOA[0], offset=band.offset * TOA[0] + TOA[1] * 10_000, dtype="uint16")
    bands["B10"] = replace(bands["B1"], scale=0.01, offset=12.0)
    order = sorted(bands, key=lambda b: (int(b[1:].rstrip("A")), b))
    return replace(
        image,
        id=image.id.replace("S2_SR_HARMONIZED", "S2_HARMONIZED"),
        bands={b: bands[b] for b in order},
        properties=image.properties | {"PRODUCT_ID": image.properties["PRODUCT_ID"].replace("MSIL2A", "MSIL1C")},
    )


def _top_of_atmosphere(image: EeImage, *, landsat7: bool) -> EeImage:
    """LANDSAT/LC08|LC09/C02/T1_TOA of a Level-2 image; Landsat 7's, a day later, with its own numbers of bands."""
    factor, offset = _LANDSAT[0] * TOA[0], _LANDSAT[1] * TOA[0] + TOA[1]
    bands = {
        name.removeprefix("SR_"): replace(band, scale=factor, offset=offset, dtype="float32")
        for name, band in image.bands.items()
        if name != "QA_PIXEL"
    } | {"QA_PIXEL": image.bands["QA_PIXEL"]}
    number = image.id.split("/")[1]
    made = replace(image, id=image.id.replace("T1_L2", "T1_TOA"), bands=bands)
    if not landsat7 or image.start is None:
        return made
    old = {"B1": "B2", "B2": "B3", "B3": "B4", "B4": "B5", "B5": "B6", "B7": "B7", "QA_PIXEL": "QA_PIXEL"}
    when = image.start + dt.timedelta(days=1)
    name = (
        f"LANDSAT/LE07/C02/T1_TOA/LE07_{made.id.split('_', 2)[2].split('_')[0].split('/')[-1]}_{when:%Y%m%d}_{number}"
    )
    return replace(
        made,
        id=name,
        start=when,
        bands={theirs: bands[ours] for theirs, ours in old.items()},
        properties=made.properties | {"SPACECRAFT_ID": "LANDSAT_7"},
    )


def _file(foreign: Foreign, path: str) -> Path:
    found = foreign.base(path)
    if found is None:
        raise FileNotFoundError(f"the archive has no {path}")
    return found


def _modis(foreign: Foreign) -> Iterator[EeImage]:
    """MODIS/061/MOD09A1."""
    names = {**{f"sur_refl_b0{i}": f"sur_refl_b0{i}" for i in range(1, 8)}, "StateQA": "sur_refl_state_500m"}
    paths = {band: f"modis/{name}.tif" for band, name in names.items()}
    files = {band: _file(foreign, path) for band, path in paths.items()}
    item = foreign.modis_item()
    for _, days in again_days([item]):
        start = dt.datetime.fromisoformat(item["properties"]["start_datetime"]) + dt.timedelta(days=days)
        bands = {}
        for band, path in paths.items():
            change = None if band == "StateQA" or days == 0 else on(start.date(), path)
            bands[band] = EeBand(paths=(files[band],), derive=change)
        yield EeImage(
            id=f"MODIS/061/MOD09A1/{start:%Y_%m_%d}", bands=bands, start=start, end=start + dt.timedelta(days=8)
        )


def _era5(foreign: Foreign) -> Iterator[EeImage]:
    """ECMWF/ERA5_LAND/MONTHLY_AGGR."""
    paths = {p.rsplit("/", 1)[1].removesuffix(".tif"): p for p in foreign.tiles if p.startswith("era5-")}
    files = {band: _file(foreign, path) for band, path in paths.items()}
    for month in range(12 * 10):
        start = dt.datetime(2015 + month // 12, month % 12 + 1, 1, tzinfo=dt.UTC)
        end = dt.datetime(2015 + (month + 1) // 12, (month + 1) % 12 + 1, 1, tzinfo=dt.UTC)
        bands = {band: EeBand(paths=(files[band],), derive=on(start.date(), path)) for band, path in paths.items()}
        yield EeImage(
            id=f"ECMWF/ERA5_LAND/MONTHLY_AGGR/{start:%Y%m}", bands=bands, start=start, end=end, geometry=WHOLE_EARTH,
            properties={"year": start.year, "month": start.month},
        )  # fmt: skip


def _naip(planet: Path) -> Iterator[EeImage]:
    """USDA/NAIP/DOQQ: a zone's tile is one image; between Sentinel-2's pixels there is nothing to see."""
    for year in NAIP_YEARS:
        when = dt.datetime(year, 8, 20, 16, tzinfo=dt.UTC)
        for zone in ZONES:
            bands = {}
            for name, source, strong in (
                ("R", "B04", 2200),
                ("G", "B03", 2200),
                ("B", "B02", 2200),
                ("N", "B08", 5000),
            ):
                path = planet / "files" / "sentinel2" / CLEAR[zone] / f"{source}.tif"
                bands[name] = EeBand(
                    paths=(path,),
                    derive=_after(partial(_line, 250 / strong, 0.0), on(when.date(), "naip/")),
                    dtype="uint8",
                )
            yield EeImage(id=f"USDA/NAIP/DOQQ/m_{zone}_{when:%Y%m%d}", bands=bands, start=when)


def _olci(planet: Path) -> Iterator[EeImage]:
    """COPERNICUS/S3/OLCI: four days of 2021; one shape of the ground in all bands, brighter from band to band."""
    for month in (2, 5, 8, 11):
        when = dt.datetime(2021, month, 12, 10, tzinfo=dt.UTC)
        for zone in ZONES:
            path = planet / "files" / "sentinel2" / CLEAR[zone] / "B08.tif"
            bands = {}
            for n in range(1, 22):
                brighter = partial(_line, 1.0 + n / 10, 50.0 * n)
                bands[f"Oa{n:02d}_radiance"] = EeBand(paths=(path,), derive=brighter, dtype="uint16")
            yield EeImage(id=f"COPERNICUS/S3/OLCI/S3A_{zone}_{when:%Y%m%dT%H%M%S}", bands=bands, start=when)


def _canopy(planet: Path) -> EeImage:
    """Meta's and WRI's canopy height, from the truth."""
    paths = tuple(planet / "truth" / f"cover_{zone}.tif" for zone in ZONES)
    height = partial(_looked_up, table_of("canopy"))
    return EeImage(
        id="projects/meta-forest-monitoring-okw37/assets/CanopyHeight/planet",
        bands={"cover_code": EeBand(paths=paths[:1], derive=height, dtype="uint8")},
    )


def _looked_up(table: NDArray[Any], raw: NDArray[Any]) -> NDArray[Any]:
    return np.asarray(table[raw.astype(int)])
