"""The miniature Earth as Earth Engine assets: the planet's files under the service's names.

The same files as behind the STAC APIs, so a product that is the same at both must give the same pixels. What differs is
what differs in the world: Sentinel-2 has its offset taken out and is clipped at 0 (SR_HARMONIZED), Sentinel-1 is sigma0
in decibels (GRD), WorldCover is one image of the whole Earth for each year, and Dynamic World has its probabilities.
"""

from __future__ import annotations

import datetime as dt
import json
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from testbed.earthengine.catalogue import EeBand, EeCatalogue, EeImage

if TYPE_CHECKING:
    from numpy.typing import NDArray

Json = dict[str, Any]
_WHOLE_EARTH: Json = {
    "type": "Polygon",
    "coordinates": [[[-180, -60], [180, -60], [180, 84], [-180, 84], [-180, -60]]],
}
_SIGMA0_DB = -1.1
"""sigma0 of flat ground against its gamma0, decibels: 10 log10(cos 39 degrees), the middle of Sentinel-1's swath."""
_CLASSES = (
    "water",
    "trees",
    "grass",
    "flooded_vegetation",
    "crops",
    "shrub_and_scrub",
    "built",
    "bare",
    "snow_and_ice",
)
"""Bands of Dynamic World, in the order of the codes."""


def catalogue_of(folder: Path | str) -> EeCatalogue:
    """What Earth Engine holds of a planet made by `make_planet`.

    Raises:
        FileNotFoundError: the folder holds no planet.
    """
    folder = Path(folder)
    stac = folder / "stac"
    items = json.loads((stac / "planetary-computer-items.json").read_text())
    items += [i for i in json.loads((stac / "testbed-items.json").read_text()) if i["collection"] == "dynamic-world-v1"]
    found = EeCatalogue()
    for item in items:
        if item["collection"] in MAKERS:
            found.add(MAKERS[item["collection"]](item, folder / "files"))
    for image in _worldcover([i for i in items if i["collection"] == "esa-worldcover"], folder / "files"):
        found.add(image)
    return found


def _moment(item: Json, name: str = "datetime") -> dt.datetime:
    return dt.datetime.fromisoformat(item["properties"][name].replace("Z", "+00:00"))


def _path(item: Json, key: str, files: Path) -> tuple[Path, ...]:
    return (files / item["assets"][key]["href"],)


def _sentinel2(item: Json, files: Path) -> EeImage:
    said, when = item["properties"], _moment(item)
    made = dt.datetime.fromisoformat(said["s2:generation_time"].replace("Z", "+00:00"))
    offset = -1000.0 if said["s2:processing_baseline"] >= "04.00" else 0.0
    bands = {
        f"B{key[1:].lstrip('0')}": EeBand(paths=_path(item, key, files), offset=offset)
        for key in sorted(item["assets"])
        if key != "SCL"
    }
    bands["SCL"] = EeBand(paths=_path(item, "SCL", files), pyramid="mode")
    return EeImage(
        id=f"COPERNICUS/S2_SR_HARMONIZED/{when:%Y%m%dT%H%M%S}_{made:%Y%m%dT%H%M%S}_T{said['s2:mgrs_tile']}",
        bands=bands,
        start=when,
        geometry=item["geometry"],
        properties={
            "CLOUDY_PIXEL_PERCENTAGE": said["eo:cloud_cover"],
            "DATASTRIP_ID": said["s2:datastrip_id"],
            "DATATAKE_IDENTIFIER": said["s2:datatake_id"],
            "MGRS_TILE": said["s2:mgrs_tile"],
            "PROCESSING_BASELINE": said["s2:processing_baseline"],
            "PRODUCT_ID": said["s2:product_uri"].removesuffix(".SAFE"),
            "SPACECRAFT_NAME": said["platform"],
        },
    )


def _sentinel1(item: Json, files: Path) -> EeImage:
    said = item["properties"]
    start, end = (dt.datetime.fromisoformat(said[f"{name}_datetime"]) for name in ("start", "end"))
    return EeImage(
        id=f"COPERNICUS/S1_GRD/{item['id'].removesuffix('_rtc')}_ABCD",
        bands={
            band: EeBand(paths=_path(item, band.lower(), files), derive=_decibels, offset=_SIGMA0_DB, dtype="float64")
            for band in ("VV", "VH")
        },
        start=start,
        end=end,
        geometry=item["geometry"],
        properties={
            "instrumentMode": said["sar:instrument_mode"],
            "orbitNumber_start": said["sat:absolute_orbit"],
            "orbitProperties_pass": said["sat:orbit_state"].upper(),
            "platform_number": "A",
            "relativeOrbitNumber_start": said["sat:relative_orbit"],
        },
    )


def _decibels(power: NDArray[Any]) -> NDArray[Any]:
    return 10.0 * np.log10(np.where(power > 0.0, power, np.nan))


def _landsat(item: Json, files: Path) -> EeImage:
    said, when = item["properties"], _moment(item)
    number = said["platform"][-1]
    keys = ("coastal", "blue", "green", "red", "nir08", "swir16", "swir22")
    bands = {f"SR_B{i}": EeBand(paths=_path(item, key, files), nodata=0) for i, key in enumerate(keys, 1)}
    bands["QA_PIXEL"] = EeBand(paths=_path(item, "qa_pixel", files), nodata=1, pyramid="sample")
    path, row = said["landsat:wrs_path"], said["landsat:wrs_row"]
    return EeImage(
        id=f"LANDSAT/LC0{number}/C02/T1_L2/LC0{number}_{path}{row}_{when:%Y%m%d}",
        bands=bands,
        start=when,
        geometry=item["geometry"],
        properties={
            "CLOUD_COVER": said["eo:cloud_cover"],
            "COLLECTION_CATEGORY": said["landsat:collection_category"],
            "PROCESSING_LEVEL": said["landsat:correction"],
            "SPACECRAFT_ID": f"LANDSAT_{number}",
            "WRS_PATH": int(path),
            "WRS_ROW": int(row),
        },
    )


def _dem(item: Json, files: Path) -> EeImage:
    name = f"COPERNICUS/DEM/GLO30/{item['id']}"
    return EeImage(id=name, bands={"DEM": EeBand(paths=_path(item, "data", files))}, geometry=item["geometry"])


def _dynamic_world(item: Json, files: Path) -> EeImage:
    path = _path(item, "label", files)
    bands = {
        name: EeBand(paths=path, derive=partial(_probability, code), dtype="float32")
        for code, name in enumerate(_CLASSES)
    }
    bands["label"] = EeBand(paths=path, pyramid="mode")
    return EeImage(
        id=f"GOOGLE/DYNAMICWORLD/V1/{item['id']}",
        bands=bands,
        start=_moment(item),
        geometry=item["geometry"],
        properties={"dynamicworld_algorithm_version": "3.5"},
    )


def _probability(code: int, label: NDArray[Any]) -> NDArray[Any]:
    """A sure map: most for its label, the less the farther a code is from it."""
    return np.where(label == code, 0.62, 0.08 / (1.0 + np.abs(label - code)))


def _worldcover(items: list[Json], files: Path) -> list[EeImage]:
    found = []
    for year, version in ((2020, "v100"), (2021, "v200")):
        tiles = sorted((i for i in items if f"_{year}_" in i["id"]), key=lambda i: str(i["id"]))
        found.append(
            EeImage(
                id=f"ESA/WorldCover/{version}/{year}",
                bands={"Map": EeBand(paths=tuple(_path(i, "map", files)[0] for i in tiles), pyramid="mode")},
                start=dt.datetime(year, 1, 1, tzinfo=dt.UTC),
                end=dt.datetime(year + 1, 1, 1, tzinfo=dt.UTC),
                geometry=_WHOLE_EARTH,
            )
        )
    return found


MAKERS = {
    "sentinel-2-l2a": _sentinel2,
    "sentinel-1-rtc": _sentinel1,
    "landsat-c2-l2": _landsat,
    "cop-dem-glo-30": _dem,
    "dynamic-world-v1": _dynamic_world,
}
"""Collection of the planet -> what makes an asset of one of its items and the folder of the files."""
