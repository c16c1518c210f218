"""GeoTIFF: a Cloud Optimized GeoTIFF per array and date, a static STAC catalogue, and footprints as a GeoPackage.

collection.json                               STAC collection; it links every item
samples.gpkg                                  footprints with the catalogue's plain columns
train/4998U_808R/4998U_808R.json              STAC item
train/4998U_808R/sentinel2.bands_10m.0.tif    date slot 0
"""

from __future__ import annotations

import json
import re
from collections import Counter
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import numpy as np

from landweave.export import place, write
from landweave.plain import printable
from landweave.record import flat_name

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from landweave.export import Job
    from landweave.layout import ArraySpec, Json
    from landweave.record import Record

FILE_BYTES = 1 << 26
"""Decoded bytes of a part: what an interrupted export does again."""
_COG = "image/tiff; application=geotiff; profile=cloud-optimized"
_EXTENSIONS = [
    "https://stac-extensions.github.io/projection/v2.0.0/schema.json",
    "https://stac-extensions.github.io/raster/v2.0.0/schema.json",
    "https://stac-extensions.github.io/eo/v2.0.0/schema.json",
]
_HELD = {"float16": "float32", "bool": "uint8"}
"""Types that a TIFF does not hold -> the type that holds their values."""
_PALETTE = ("uint8", "uint16")


def require() -> None:
    """ModuleNotFoundError if a library is not there."""
    for name in ("rasterio", "geopandas"):
        if find_spec(name) is None:
            raise ModuleNotFoundError(name, name=name)


def write_part(folder: Path, records: Iterator[Record], job: Job) -> None:
    """A folder per sample, with its rasters and its item."""
    for item in records:
        inside = folder / _safe(item.id)
        inside.mkdir()
        assets: Json = {}
        for array in job.arrays:
            pixels = item.arrays[flat_name(array)]
            if pixels is None:
                continue
            slots = [i for i, there in enumerate(item.metadata["present"][array.group]) if there]
            for slot, chip in zip(slots, pixels, strict=True) if array.dated else [(None, pixels)]:
                name = flat_name(array) if slot is None else f"{flat_name(array)}.{slot}"
                _raster(inside / f"{name}.tif", chip, array, item.metadata, job)
                assets[name] = _asset(f"{name}.tif", array, item.metadata, slot)
        text = json.dumps(_item(item, assets, job), ensure_ascii=False, sort_keys=True)
        (inside / f"{_safe(item.id)}.json").write_text(text, encoding="utf-8")


def assemble(root: Path, split: str, parts: Sequence[Path], job: Job) -> None:
    """`train/ID/...`."""
    del job
    for part in parts:
        for path in sorted(p for p in part.rglob("*") if p.is_file()):
            place(path, root, f"{split}/{path.relative_to(part).as_posix()}")


def finish(root: Path, splits: dict[str, int], job: Job) -> None:
    """The collection and the footprints."""
    paths = [p for split in splits for p in sorted((root / split).glob("*/*.json"))]
    items = [json.loads(path.read_text(encoding="utf-8")) for path in paths]
    hrefs = [path.relative_to(root).as_posix() for path in paths]
    write(root, "collection.json", json.dumps(_collection(items, hrefs, job), ensure_ascii=False, indent=1) + "\n")
    _footprints(root / "samples.gpkg", items)


def _safe(name: str) -> str:
    """The id as the name of a folder: another one for each id, and none that leads elsewhere."""
    quoted = quote(name, safe="")
    return re.sub(r"^\.", "%2E", quoted)


def _raster(path: Path, chip: NDArray[Any], array: ArraySpec, metadata: Json, job: Job) -> None:
    import rasterio
    from rasterio.transform import Affine

    planes = chip[None] if chip.ndim == 2 else chip
    dtype = _HELD.get(array.dtype, array.dtype)
    transform = Affine(*metadata["transforms"][flat_name(array)])
    options: Json = {"driver": "COG", "count": len(planes), "height": planes.shape[1], "width": planes.shape[2],
                     "dtype": dtype, "crs": f"EPSG:{metadata['epsg']}", "transform": transform, "nodata": array.nodata,
                     "compress": "deflate", "overviews": "none"}  # fmt: skip
    with rasterio.open(path, "w", **options) as out:
        out.write(planes.astype(dtype))
        names = [band.name for band in array.bands] or [array.name]
        for number, name in enumerate(names[: len(planes)], start=1):
            out.set_band_description(number, printable(name))
        if array.kind == "continuous":
            out.scales, out.offsets = [array.scale] * len(planes), [array.offset] * len(planes)
            out.units = [printable(array.unit)] * len(planes)
        colours = job.about["colours"].get(array.group, {})
        if array.kind == "classes" and colours and array.role == "pixels" and dtype in _PALETTE:
            table = {int(code): tuple(int(c[i : i + 2], 16) for i in (1, 3, 5)) for code, c in colours.items()}
            out.write_colormap(1, {code: colour for code, colour in table.items() if 0 <= code <= np.iinfo(dtype).max})


def _asset(href: str, array: ArraySpec, metadata: Json, slot: int | None) -> Json:
    bands = []
    for band in array.bands:
        said: Json = {"name": printable(band.name), "raster:scale": array.scale, "raster:offset": array.offset}
        if band.center_um is not None:
            said["eo:center_wavelength"] = band.center_um
        if band.fwhm_um is not None:
            said["eo:full_width_half_max"] = band.fwhm_um
        bands.append(said)
    asset: Json = {
        "href": f"./{href}",
        "type": _COG,
        "title": printable(array.path),
        "roles": ["data" if array.role == "pixels" else "metadata"],
        "data_type": _HELD.get(array.dtype, array.dtype),
        "unit": printable(array.unit),
        "proj:shape": list(array.chip_shape[-2:]),
        "proj:transform": metadata["transforms"][flat_name(array)],
    }
    if array.nodata is not None:
        asset["nodata"] = "nan" if np.isnan(array.nodata) else array.nodata
    if bands:
        asset["bands"] = bands
    days = metadata.get(f"{array.group}_datetimes") or []
    if slot is not None and slot < len(days) and days[slot]:
        asset["datetime"] = days[slot]
    return asset


def _item(item: Record, assets: Json, job: Job) -> Json:
    import shapely
    import shapely.geometry

    skipped = (
        "id",
        "collection",
        "bbox",
        "present",
        "transforms",
        "proj:shape",
        "proj:transform",
        "proj:bbox",
        "facts",
    )
    properties = {
        name: value
        for name, value in item.metadata.items()
        if name not in skipped and (value is not None or name == "datetime")
    }
    properties["captions"] = [printable(text, lines=True) for text in item.captions]
    box = item.metadata["bbox"]
    up = "../../collection.json"
    return {
        "type": "Feature",
        "stac_version": "1.1.0",
        "stac_extensions": _EXTENSIONS,
        "id": item.id,
        "geometry": shapely.geometry.mapping(shapely.from_wkb(item.footprint)),
        "bbox": [box["xmin"], box["ymin"], box["xmax"], box["ymax"]],
        "properties": properties,
        "links": [{"rel": rel, "href": up, "type": "application/json"} for rel in ("root", "parent", "collection")],
        "assets": assets,
        "collection": job.about["dataset"],
    }


def _collection(items: list[Json], hrefs: list[str], job: Job) -> Json:
    boxes = np.array([item["bbox"] for item in items])
    west, east = boxes[:, 0].min(), boxes[:, 2].max()
    if (boxes[:, 0] > boxes[:, 2]).any():  # RFC 7946: west of a box across the antimeridian is the larger one
        west, east = -180.0, 180.0
    starts = [p.get("start_datetime") or p["datetime"] for p in (i["properties"] for i in items)]
    ends = [p.get("end_datetime") or p["datetime"] for p in (i["properties"] for i in items)]
    span = [min((s for s in starts if s), default=None), max((e for e in ends if e), default=None)]
    about = job.about
    extent = {
        "spatial": {"bbox": [[west, boxes[:, 1].min(), east, boxes[:, 3].max()]]},
        "temporal": {"interval": [span]},
    }
    linked = [{"rel": "item", "href": f"./{quote(href)}", "type": "application/geo+json"} for href in hrefs]
    return {
        "type": "Collection",
        "stac_version": "1.1.0",
        "stac_extensions": [],
        "id": about["dataset"],
        "description": about["description"] or f"Samples of {about['dataset']}",
        "license": about["licence"],
        "extent": extent,
        "summaries": {"split": sorted(Counter(i["properties"]["split"] for i in items))},
        "links": [{"rel": "root", "href": "./collection.json", "type": "application/json"}, *linked],
        "assets": {"samples": {"href": "./samples.gpkg", "type": "application/geopackage+sqlite3", "roles": ["data"]}},
    }


def _footprints(path: Path, items: list[Json]) -> None:
    """Plain properties as columns; lists and records stay in the items."""
    import geopandas

    rows = [
        {"sample": i["id"], **{n: v for n, v in i["properties"].items() if isinstance(v, (str, int, float, bool))}}
        for i in items
    ]
    for row, item in zip(rows, items, strict=True):
        row["caption"] = (item["properties"]["captions"] or [""])[0]
    shapes = [
        {"type": "Feature", "geometry": i["geometry"], "properties": row} for i, row in zip(items, rows, strict=True)
    ]
    geopandas.GeoDataFrame.from_features(shapes, crs="EPSG:4326").to_file(path, driver="GPKG", layer="samples")
