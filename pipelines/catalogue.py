"""Makes the catalogue of a folder of the user's own images: stac-geoparquet (or a JSON item collection) for a recipe.

Only headers are read, by the reader that later cuts the chips: what is in the catalogue can be read. The catalogue
holds relative addresses, so the folder can be moved, or served by any web server that knows byte ranges.
"""

from __future__ import annotations

import json
import math
import os
import re
from collections import Counter
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pyproj
import shapely
from rasterio.warp import transform

from pipelines.access.errors import AccessError
from pipelines.access.http.folder import FolderClient, address_of
from pipelines.access.rasters.crs import GDAL_ERRORS, by_epsg, name
from pipelines.access.rasters.raster import Raster, open_raster
from pipelines.access.stac.footprint import shape_of
from pipelines.access.stac.geoparquet import read_items
from pipelines.describe import block_of
from pipelines.durable import write_durably
from pipelines.recipes import RecipeError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from rasterio.crs import CRS

Json = dict[str, Any]
Period = tuple[datetime, datetime]

ASSET = "image"
"""Key of an item's one asset."""
_SUFFIXES = (".tif", ".tiff")
_MOST = 250_000
"""Images of one catalogue: `pipelines.access.stac.static` reads no larger one."""
_STORED = frozenset(("uint8", "int8", "uint16", "int16", "uint32", "int32", "float32", "float64"))
"""Types of numbers that a layer can hold; float64 as float32."""
_COLOURS = frozenset(("red", "green", "blue"))
_SIDE = 17
"""Points along one edge of a footprint, before those that a straight line does without are left out."""
_STRAIGHT_DEG = 1e-7
"""A centimetre."""
_WORK = "images"
"""Name under which the folder is read; it is in no output."""
_CODES = {
    "%Y": r"(?P<Y>\d{4})", "%y": r"(?P<y>\d{2})", "%m": r"(?P<m>\d{2})", "%d": r"(?P<d>\d{2})", "%j": r"(?P<j>\d{3})",
    "%H": r"(?P<H>\d{2})", "%M": r"(?P<M>\d{2})", "%S": r"(?P<S>\d{2})",
}  # fmt: skip
"""Parts of a date in a name, as strptime writes them."""


class _RefusedError(Exception):
    """A file that the catalogue cannot hold; the text says why and what to do."""


@dataclass(kw_only=True)
class Catalogued:
    """What was found in a folder."""

    collection: str
    items: list[Json] = field(default_factory=list)
    refused: list[tuple[str, str]] = field(default_factory=list)
    """(file, why), each one line."""
    ignored: Counter[str] = field(default_factory=Counter)
    """Suffix of other files -> their number."""


@dataclass(frozen=True, kw_only=True)
class Dates:
    """How the date of an image is known: the first of these that is given."""

    stated: Period | None = None
    """Of all images."""
    pattern: str | None = None
    """Of its name; strptime's codes."""

    def of(self, path: str, raster: Raster) -> Period:
        """Period in which an image was taken.

        Raises:
            _RefusedError: it does not say.
        """
        if self.stated is not None:
            return self.stated
        if self.pattern is not None:
            found = date_in(path, self.pattern)
            if found is None:
                raise _RefusedError(f"its name has no date like {self.pattern!r}")
            return found
        written = (raster.date_time or "").strip()
        try:
            when = datetime.strptime(written, "%Y:%m:%d %H:%M:%S").replace(tzinfo=UTC)
        except ValueError:
            what = f"its TIFFTAG_DATETIME {written!r} is none" if written else "it has no TIFFTAG_DATETIME"
            raise _RefusedError(
                f"no date: {what}; give --datetime 2021-06-05 (or 2021), or --date-pattern %Y%m%d for dates in names"
            ) from None
        return when, when


def make_catalogue(
    folder: Path, out: Path, dates: Dates, collection: str | None = None, told: Callable[[int], None] = lambda _: None
) -> Catalogued:
    """Read the headers of all GeoTIFFs in and below a folder, and write the catalogue if there is any image.

    Args:
        folder: the images'; links in it are not followed.
        out: the file to write, .parquet or .json, in the folder or in one above it.
        dates: how the date of an image is known.
        collection: id of the collection; made of the folder's name if absent.
        told: called with the number of files that were read.

    Raises:
        RecipeError: the folder or the file cannot be used, in one line.
    """
    root = _root_of(folder, out)
    found = Catalogued(collection=collection or _slug(folder.resolve().name))
    taken: set[str] = set()
    with closing(FolderClient(_WORK, root)) as client:
        for number, path in enumerate(_images(folder.resolve(), root, found), 1):
            try:
                item = _item(client, path, dates, found.collection)
            except (_RefusedError, AccessError) as error:
                detail = error.detail if isinstance(error, AccessError) else str(error)
                found.refused.append((path, detail.replace(f"provider://{_WORK}/{quote(path)}", "it")))
                continue
            if item["id"] in taken:
                item["id"] = path.replace("/", "-")
            taken.add(item["id"])
            found.items.append(item)
            told(number)
            if len(found.items) > _MOST:
                raise RecipeError(
                    [f"{_plain(folder.resolve().name)}: holds more than {_MOST:,} images; make several catalogues"]
                )
    if found.items:
        found.items.sort(key=lambda item: str(item["id"]))
        write_durably(out, _json(found.items) if out.suffix == ".json" else _parquet(found.items))
    return found


def text_of(found: Catalogued, out: Path, folder: Path) -> str:
    """What was catalogued, and the lines for a recipe."""
    lines = [f"{_plain(out.name)}: {len(found.items):,} images of {_plain(folder.resolve().name)}"]
    forms = Counter(_form(item) for item in found.items)
    lines += [f"  {number:,} of {form}" for form, number in forms.most_common(5)]
    if len(forms) > 1:
        lines.append("  images differ: a layer reads those that have its bands; the lines below are for the commonest")
    if found.ignored:
        kinds = ", ".join(f"{suffix or 'no suffix'} {n:,}" for suffix, n in found.ignored.most_common(5))
        lines.append(f"  other files, not read: {found.ignored.total():,} ({kinds}); only .tif and .tiff are images")
    if not found.items:
        return "\n".join([f"{_plain(folder.resolve().name)}: no image can be used, so nothing is written", *lines[1:]])
    where = os.path.relpath(out.resolve(), folder.resolve().parent)
    common = next(item for item in found.items if _form(item) == forms.most_common(1)[0][0])
    block = block_of(found.collection, {"title": found.collection}, common, "mine")
    return "\n".join([
        *lines, "", "providers:", f"  mine: {{ url: {json.dumps(where)} }} # path relative to the recipe", "sources:",
        block.rstrip(),
    ])  # fmt: skip


def period_of(text: str) -> Period:
    """The period that --datetime states: a year, a month, a day, a moment, or two of them with '/' between.

    Raises:
        ValueError: it states none.
    """
    first, slash, last = text.partition("/")
    start, end = _moments(first)
    if slash:
        end = _moments(last)[1]
        end += timedelta(days=1, seconds=-1) if re.fullmatch(r"\d{4}-\d{2}-\d{2}", last.strip()) else timedelta()
    if end < start:
        raise ValueError(f"{text!r} ends before it begins")
    return start, end


def date_in(path: str, pattern: str) -> Period | None:
    """The first date in a path that is one, by a pattern of strptime's codes; None if there is none.

    Raises:
        ValueError: the pattern has no year, or a code twice.
    """
    for found in _expression(pattern).finditer(path):
        parts = {key: int(value) for key, value in found.groupdict().items()}
        year = parts.get("Y", 2000 + parts.get("y", 0))
        try:
            if "j" in parts:
                day = datetime(year, 1, 1, tzinfo=UTC) + timedelta(days=parts["j"] - 1)
            else:
                day = datetime(year, parts.get("m", 1), parts.get("d", 1), tzinfo=UTC)
            when = day.replace(hour=parts.get("H", 0), minute=parts.get("M", 0), second=parts.get("S", 0))
        except ValueError:
            continue
        if when.year != year:
            continue
        if {"d", "j"} & parts.keys():
            return when, when
        return _moments(f"{year:04d}-{when.month:02d}" if "m" in parts else f"{year:04d}")
    return None


def _expression(pattern: str) -> re.Pattern[str]:
    """`pattern` as a regular expression that finds it anywhere in a name, not inside a longer number."""
    pieces = re.split(r"(%.|\*)", pattern)
    codes = [piece for piece in pieces if piece.startswith("%")]
    strange = [code for code in codes if code not in _CODES]
    if strange or not {"%Y", "%y"} & set(codes) or len(set(codes)) < len(codes):
        raise ValueError(f"--date-pattern: expected %Y and others of {' '.join(_CODES)}, each once; found {pattern!r}")
    made = "".join(".*?" if p == "*" else _CODES.get(p) or re.escape(p) for p in pieces)
    return re.compile(rf"(?<!\d){made}(?!\d)")


def _moments(text: str) -> Period:
    text = text.strip()
    try:
        if match := re.fullmatch(r"(\d{4})(?:-(\d{2}))?", text):
            start = datetime(int(match[1]), int(match[2] or 1), 1, tzinfo=UTC)
            months = start.year * 12 + start.month - 1 + (1 if match[2] else 12)
            return start, datetime(months // 12, months % 12 + 1, 1, tzinfo=UTC) - timedelta(seconds=1)
        when = datetime.fromisoformat(text.upper().replace("Z", "+00:00"))
    except ValueError:
        raise ValueError(f"expected 2021, 2021-06, 2021-06-05 or 2021-06-05T10:30:00Z, found {text[:40]!r}") from None
    when = when.replace(tzinfo=UTC) if when.tzinfo is None else when.astimezone(UTC)
    return when, when


def _root_of(folder: Path, out: Path) -> Path:
    """Folder of the catalogue, which the images must be in.

    Raises:
        RecipeError: one line.
    """
    if not folder.is_dir():
        raise RecipeError([f"{_plain(folder.resolve().name)}: is not a folder; give the folder that holds your images"])
    if out.suffix not in (".parquet", ".geoparquet", ".json"):
        raise RecipeError([f"--out {_plain(out.name)}: a catalogue's name ends in .parquet or .json"])
    root = out.resolve().parent
    if not root.is_dir() or not folder.resolve().is_relative_to(root):
        why = "images that are not below the catalogue are never opened"
        raise RecipeError(
            [f"--out {_plain(out.name)}: {why}; name a file in the folder of the images, or in one above it"]
        )
    if out.exists() and not _is_catalogue(out):
        raise RecipeError([f"--out {_plain(out.name)}: is there and is no catalogue; name another file"])
    return root


def _is_catalogue(path: Path) -> bool:
    """Whether a file may be replaced: it holds items."""
    try:
        raw = path.read_bytes()
        if path.suffix == ".json":
            return bool(json.loads(raw).get("type") == "FeatureCollection")
        next(read_items(raw, path.name), None)
    except (AccessError, OSError, ValueError, AttributeError):
        return False
    return True


def _images(folder: Path, root: Path, found: Catalogued) -> Iterator[str]:
    """Paths of the images relative to the root, sorted; others are counted or refused."""
    for where, folders, files in os.walk(folder):
        folders[:] = sorted(f for f in folders if not f.startswith("."))
        for file in sorted(f for f in files if not f.startswith(".")):
            path = Path(where, file).relative_to(root).as_posix()
            if not file.lower().endswith(_SUFFIXES):
                found.ignored[Path(file).suffix.lower()] += 1
            elif not path.isprintable():
                found.refused.append((_plain(path), "its name has characters that cannot be printed; rename it"))
            else:
                yield path
        linked = [f for f in folders if Path(where, f).is_symlink()]
        found.refused += [
            (_plain(Path(where, f).relative_to(root).as_posix()), "is a symbolic link, which is not followed")
            for f in linked
        ]


def _plain(path: str) -> str:
    """A name without what could move a cursor or begin a line."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in path)


def _item(client: FolderClient, path: str, dates: Dates, collection: str) -> Json:
    raster = open_raster(client, f"{address_of(_WORK, '')}{quote(path)}")
    raster.check_whole()
    if raster.crs is None or not raster.placed:
        raise _RefusedError(
            "it does not say where on the ground it lies: " + ("no CRS" if raster.crs is None else "no position")
            + "; gdal_edit.py -a_srs EPSG:CODE (and -a_ullr) adds it"
        )  # fmt: skip
    if str(raster.dtype) not in _STORED:
        raise _RefusedError(f"it holds {raster.dtype} numbers; gdal_translate -ot Int32 makes some that are stored")
    outline = _outline(raster, raster.crs)
    start, end = dates.of(path, raster)
    west, south, east, north = shapely.bounds(outline)
    facts: Json = {"datetime": _text(start) if start == end else None}
    if start != end:
        facts |= {"start_datetime": _text(start), "end_datetime": _text(end)}
    return {
        "type": "Feature",
        "stac_version": "1.1.0",
        "stac_extensions": list(_EXTENSIONS),
        "id": re.sub(r"\.tiff?$", "", path, flags=re.IGNORECASE).replace("/", "-"),
        "collection": collection,
        "geometry": json.loads(shapely.to_geojson(outline)),
        "bbox": [west, south, east if east <= 180.0 else east - 360.0, north],
        "properties": facts,
        "links": [],
        "assets": {ASSET: _asset(raster, raster.crs, path)},
    }


_EXTENSIONS = (
    "https://stac-extensions.github.io/projection/v2.0.0/schema.json",
    "https://stac-extensions.github.io/raster/v2.0.0/schema.json",
    "https://stac-extensions.github.io/eo/v2.0.0/schema.json",
)


def _asset(raster: Raster, crs: CRS, path: str) -> Json:
    full = raster.levels[0]
    code = crs.to_epsg()
    bands = [
        _band(number, said, raster)
        for number, said in enumerate(raster.bands, 1)
        if number != raster.alpha or number < raster.count
    ]
    return {
        "href": f"./{quote(path)}",
        "type": "image/tiff; application=geotiff",
        "roles": ["data"],
        "proj:code": None if code is None else f"EPSG:{code}",
        "proj:wkt2": crs.to_wkt() if code is None else None,
        "proj:shape": [full.height, full.width],
        "proj:transform": list(full.transform)[:6],
        "raster:spatial_resolution": _metres(crs, full.transform, full.height),
        "bands": bands,
    }


def _band(number: int, said: tuple[str, str], raster: Raster) -> Json:
    colour, description = said
    nodata = raster.nodata[number - 1]
    found: Json = {
        "name": colour if colour in _COLOURS else f"band{number}",
        "data_type": str(raster.dtype),
        "nodata": nodata if nodata is not None and math.isfinite(nodata) else None,
        "eo:common_name": colour if colour in _COLOURS else None,
        "description": description[:200] if description.isprintable() and description else None,
    }
    if colour == "palette":
        found["classification:classes"] = []
    return found


def _outline(raster: Raster, crs: CRS) -> Any:
    """Polygon of the image, WGS 84 degrees."""
    full, steps = raster.levels[0], np.linspace(0.0, 1.0, _SIDE)
    zero, one = np.zeros(_SIDE), np.ones(_SIDE)
    x = np.concatenate([steps, one, 1.0 - steps, zero]) * full.width
    y = np.concatenate([zero, steps, one, 1.0 - steps]) * full.height
    try:
        a, b, c, d, e, f = full.transform[:6]
        east, north = a * x + b * y + c, d * x + e * y + f
        lon, lat = transform(crs, by_epsg(4326), east.tolist(), north.tolist())
        ring = np.stack([lon, lat], axis=1)
        if not np.isfinite(ring).all() or (np.abs(ring[:, 1]) > 90.0).any():
            raise _RefusedError(f"its corners have no longitude and latitude in {name(crs)}")
        ring[-1] = ring[0]
        shape = shape_of({"type": "Polygon", "coordinates": [ring.tolist()]})
        return shapely.simplify(shape, _STRAIGHT_DEG)
    except (*GDAL_ERRORS, shapely.errors.ShapelyError) as error:
        raise _RefusedError(f"{name(crs)} has no way to longitude and latitude") from error


def _metres(crs: CRS, to_ground: Any, height: int) -> float:
    """Edge of a pixel in metres, at the middle of the image where the CRS is in degrees."""
    edge = math.hypot(to_ground.a, to_ground.d)
    unit = float(pyproj.CRS.from_wkt(crs.to_wkt()).axis_info[0].unit_conversion_factor)
    if crs.is_geographic:
        middle = to_ground * (0.0, height / 2.0)
        return float(f"{edge * unit * 6_371_008.8 * math.cos(middle[1] * unit):.4g}")
    return float(f"{edge * unit:.6g}")


def _form(item: Json) -> str:
    """What kind of image an item is, in a few words."""
    asset = item["assets"][ASSET]
    bands, crs = asset["bands"], asset["proj:code"] or "a CRS without an EPSG code"
    count = f"{len(bands)} band{'s' if len(bands) > 1 else ''}"
    return f"{count} {bands[0]['data_type']}, {asset['raster:spatial_resolution']:g} m, {crs}"


def _text(when: datetime) -> str:
    return when.isoformat().replace("+00:00", "Z")


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9_-]+", "-", text.lower()).strip("-")[:64] or "images"


def _json(items: Sequence[Json]) -> bytes:
    """An item collection."""
    whole = {"type": "FeatureCollection", "features": [_without_none(item) for item in items]}
    return (json.dumps(whole, indent=1) + "\n").encode()


def _without_none(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _without_none(v) for k, v in value.items() if v is not None or k == "datetime"}
    return [_without_none(v) for v in value] if isinstance(value, list) else value


_MOMENT = pa.timestamp("us", tz="UTC")
_BAND = pa.struct([
    ("name", pa.string()), ("data_type", pa.string()), ("nodata", pa.float64()), ("eo:common_name", pa.string()),
    ("description", pa.string()),
])  # fmt: skip
_ASSET = pa.struct([
    ("href", pa.string()), ("type", pa.string()), ("roles", pa.list_(pa.string())), ("proj:code", pa.string()),
    ("proj:wkt2", pa.string()), ("proj:shape", pa.list_(pa.int64())), ("proj:transform", pa.list_(pa.float64())),
    ("raster:spatial_resolution", pa.float64()), ("bands", pa.list_(_BAND)),
])  # fmt: skip
_BOX = pa.struct([(side, pa.float64()) for side in ("xmin", "ymin", "xmax", "ymax")])
_SCHEMA = pa.schema([
    ("type", pa.string()), ("stac_version", pa.string()), ("stac_extensions", pa.list_(pa.string())),
    ("id", pa.string()), ("collection", pa.string()), ("geometry", pa.binary()), ("bbox", _BOX),
    ("links", pa.list_(pa.struct([("rel", pa.string()), ("href", pa.string())]))),
    ("assets", pa.struct([(ASSET, _ASSET)])), ("datetime", _MOMENT), ("start_datetime", _MOMENT),
    ("end_datetime", _MOMENT),
])  # fmt: skip


def _parquet(items: Sequence[Json]) -> bytes:
    """The items as stac-geoparquet 1.0 (https://github.com/stac-utils/stac-geoparquet/blob/main/spec)."""
    shapes = shapely.from_geojson([json.dumps(item["geometry"]) for item in items])
    rows = [
        {
            **{key: item[key] for key in ("type", "stac_version", "stac_extensions", "id", "collection", "links")},
            "geometry": wkb,
            "bbox": dict(zip(("xmin", "ymin", "xmax", "ymax"), item["bbox"], strict=True)),
            "assets": item["assets"],
            **{key: _when(item["properties"].get(key)) for key in ("datetime", "start_datetime", "end_datetime")},
        }
        for item, wkb in zip(items, shapely.to_wkb(shapes), strict=True)
    ]
    geo = {
        "version": "1.1.0",
        "primary_column": "geometry",
        "columns": {
            "geometry": {
                "encoding": "WKB",
                "geometry_types": sorted({shape.geom_type for shape in shapes}),
                "bbox": [float(v) for v in shapely.total_bounds(shapes)],
                "covering": {"bbox": {side: ["bbox", side] for side in ("xmin", "ymin", "xmax", "ymax")}},
            }
        },
    }
    table = pa.Table.from_pylist(rows, schema=_SCHEMA)
    table = table.replace_schema_metadata({"geo": json.dumps(geo), "stac-geoparquet": '{"version": "1.0.0"}'})
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd")
    return bytes(sink.getvalue())


def _when(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text.replace("Z", "+00:00"))
