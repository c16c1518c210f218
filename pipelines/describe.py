"""Prints the block of a recipe that describes a collection, so that nobody types bands."""

from __future__ import annotations

import re
from typing import Any, get_args

from pydantic import ValidationError

from pipelines.access.archives import Archives
from pipelines.access.errors import AccessError
from pipelines.access.stac.paging import Take
from pipelines.recipes import RecipeError
from schemas.declared import Dtype
from schemas.outcome import Reason
from schemas.place import BBox
from schemas.provider import Provider

Json = dict[str, Any]
_EARTH = [BBox(-180.0, -90.0, 180.0, 90.0)]
_TIFF = re.compile(r"tiff|geotiff|jp2", re.IGNORECASE)
_CLASSES = re.compile(r"(^|[_-])(scl|qa|fmask|mask|classes|classification|quality|state|flags?)([_-]|$)", re.IGNORECASE)
"""Names of assets that are more often codes than measurements."""


def describe(url: str, collection: str) -> str:
    """The YAML block of a collection: what its document and one item state; the rest marked TODO.

    Args:
        url: STAC API, static catalogue or stac-geoparquet file.
        collection: its id there.

    Raises:
        RecipeError: the address is none.
        AccessError: the archive does not answer, or holds no item of the collection.
    """
    try:
        provider = Provider(url=url)
    except ValidationError as error:
        why = str(error.errors()[0]["msg"]).removeprefix("Value error, ")
        raise RecipeError([f"URL: {why}"]) from None
    with Archives({"p": provider}) as archives:
        document = _document(archives, url, collection)
        item = _one_item(archives, collection)
    return block_of(collection, document, item)


def _document(archives: Archives, url: str, collection: str) -> Json:
    """The collection's own document; {} where the archive gives none."""
    try:
        return archives.client("p").json("GET", f"{url.rstrip('/')}/collections/{collection}")
    except AccessError:
        return {}


class _EnoughError(Exception):
    """One item is there."""


def _one_item(archives: Archives, collection: str) -> Json:
    found: list[Json] = []

    def take(item: Json) -> None:
        found.append(item)
        raise _EnoughError

    try:
        archives.search("p", collection, _EARTH, None, Take(take, lambda: None, lambda _who, _why: None))
    except _EnoughError:
        return found[0]
    raise AccessError(Reason.NOT_FOUND, f"the archive has no item of collection {collection!r}")


def block_of(collection: str, document: Json, item: Json, provider: str = "NAME # TODO: a name of `providers`") -> str:
    """The entry of `sources` for a collection: what its document and one item state; the rest marked TODO.

    Raises:
        AccessError: no asset of the item is a raster that is read.
    """
    name, _, remark = provider.partition(" ")
    assets = {k: a for k, a in item.get("assets", {}).items() if isinstance(a, dict) and _is_raster(a)}
    if not assets:
        kinds = sorted({str(a.get("type")) for a in item.get("assets", {}).values() if isinstance(a, dict)})
        raise AccessError(Reason.BAD_ITEM, f"no asset of {collection} is a GeoTIFF or JPEG 2000; it has {kinds}")
    item_assets = document.get("item_assets")
    described = item_assets if isinstance(item_assets, dict) else {}
    lines = [
        f"  - layer: {_plain(collection)}",
        f"    providers: [{name}] {remark}".rstrip(),
        f"    collection: {_quoted(collection)}",
        f"    title: {_quoted(str(document.get('title') or collection))}",
        f"    licence: {_quoted(str(document.get('license') or 'proprietary'))}",
        f"    attribution: {_quoted(_attribution(document))}",
        "    arrays:",
    ]
    for n, (form, bands) in enumerate(_arrays(item, assets, described).items()):
        lines += _array(n, form, bands)
    if not item.get("properties", {}).get("datetime") and not item.get("properties", {}).get("start_datetime"):
        lines.append("    dated: false")
    if "eo:cloud_cover" in item.get("properties", {}):
        lines.append("    # max_scene_cloud: 0.5 # items state eo:cloud_cover; for clouds in the pixels add `clouds`")
    return "\n".join(lines) + "\n"


_Form = tuple[str, str, float | None, float | None, float | None, float | None, str]
"""(kind, dtype, resolution, scale, offset, nodata, unit) of bands that make one array."""


def _arrays(item: Json, assets: Json, described: Json) -> dict[_Form, list[tuple[str, str, Json]]]:
    """Form -> (band, asset, eo entry), in the order of the item."""
    found: dict[_Form, list[tuple[str, str, Json]]] = {}
    taken: set[str] = set()
    for key, asset in assets.items():
        general = described.get(key)
        about: Json = {**general, **asset} if isinstance(general, dict) else asset
        rasters = _entries(about, "raster:bands") or _entries(about, "bands") or [{}]
        eo = _entries(about, "eo:bands") or _entries(about, "bands") or [{}]
        for number in range(max(len(rasters), len(eo))):
            raster = rasters[number] if number < len(rasters) else rasters[-1]
            band = eo[number] if number < len(eo) else {}
            several = max(len(rasters), len(eo)) > 1
            name = _band_name(str(band.get("name") or key) if several else key, taken)
            form = _form(item, about, {**about, **raster}, key)
            if form[0] != "continuous":
                form = (*form[:6], f"{form[6]} {key}")  # each array of codes has one band
            found.setdefault(form, []).append((name, f"{key}#{number + 1}" if several else key, band))
    return found


def _form(item: Json, asset: Json, raster: Json, key: str) -> _Form:
    stated = raster.get("data_type") or raster.get("raster:data_type")
    codes = "classification:classes" in raster or "classification:bitfields" in raster or bool(_CLASSES.search(key))
    kind = "bits" if "classification:bitfields" in raster else "classes" if codes else "continuous"
    dtype = str(stated) if stated in get_args(Dtype) else "float32" if str(stated) == "float64" else "TODO"
    metres = raster.get("spatial_resolution") or raster.get("raster:spatial_resolution") or raster.get("gsd")
    metres = metres or _pixel_m(item, asset) or item.get("properties", {}).get("gsd")
    numbers = [raster.get(n, raster.get(f"raster:{n}")) for n in ("scale", "offset", "nodata")]
    scale, offset, nodata = (float(v) if isinstance(v, int | float) else None for v in numbers)
    if kind != "continuous" or (scale == 1.0 and not offset):
        scale = offset = None
    unit = raster.get("unit") if isinstance(raster.get("unit"), str) else "1"
    return kind, dtype, float(metres) if isinstance(metres, int | float) else None, scale, offset, nodata, str(unit)


def _array(number: int, form: _Form, bands: list[tuple[str, str, Json]]) -> list[str]:
    kind, dtype, metres, scale, offset, nodata, unit = form
    size = "" if metres is None else f"_{metres:g}m".replace(".", "p")
    name = re.sub(r"[^a-z0-9_]", "_", bands[0][0].lower()) if len(bands) == 1 else f"bands{size}"
    name = name if number == 0 or len(bands) == 1 else f"{name}_{number}"
    name = name[:31] if re.match(r"[a-z]", name) else f"a_{name}"[:31]
    name = f"{name}_" if name in ("valid", "cloud") else name
    settings = {
        "resolution_m": "TODO" if metres is None else f"{metres:g}",
        "dtype": dtype,
        "kind": None if kind == "continuous" else kind,
        "scale": None if scale is None else f"{scale:.9g}",
        "offset": None if offset is None or scale is None else f"{offset:.9g}",
        "nodata": None if nodata is None or nodata != nodata else f"{nodata:g}",  # noqa: PLR0124 - NaN needs no word
        "unit": _quoted(unit) if kind == "continuous" else None,
    }
    lines = [f"      {name}:", *(f"        {k}: {v}" for k, v in settings.items() if v is not None), "        bands:"]
    for band, asset, eo in bands:
        more: Json = {"common_name": eo.get("eo:common_name") or eo.get("common_name"), **_wavelength(eo)}
        said = "".join(f", {k}: {_quoted(v) if isinstance(v, str) else v}" for k, v in more.items() if v)
        lines.append(f"          {band}: {{ asset: {_quoted(asset)}{said} }}")
    return lines


def _wavelength(eo: Json) -> dict[str, float]:
    """Centre and width in micrometres; some archives state nanometres (DLR's EnMAP), which no optical band exceeds."""
    center = eo.get("eo:center_wavelength") or eo.get("center_wavelength")
    width = eo.get("eo:full_width_half_max") or eo.get("full_width_half_max")
    if not isinstance(center, int | float):
        return {}
    divisor = 1000.0 if center >= 100.0 else 1.0
    said = {"center_um": center, "fwhm_um": width} if isinstance(width, int | float) else {"center_um": center}
    return {name: round(value / divisor, 6) for name, value in said.items()}


def _entries(asset: Json, name: str) -> list[Json]:
    found = asset.get(name)
    return [e for e in found if isinstance(e, dict)] if isinstance(found, list) else []


def _is_raster(asset: Json) -> bool:
    roles = asset.get("roles")
    pictures = {"thumbnail", "overview", "visual", "metadata"}
    if isinstance(roles, list) and pictures & {str(r) for r in roles}:
        return False
    return bool(_TIFF.search(str(asset.get("type") or asset.get("href") or "")))


def _pixel_m(item: Json, asset: Json) -> float | None:
    """Edge of a pixel from proj:transform, where the CRS is not in degrees."""
    transform = asset.get("proj:transform") or item.get("properties", {}).get("proj:transform")
    if not isinstance(transform, list) or len(transform) < 6 or not isinstance(transform[0], int | float):
        return None
    edge = abs(float(transform[0]))
    return round(edge if edge > 0.05 else edge * 111_320.0, 3)


def _attribution(document: Json) -> str:
    providers = document.get("providers")
    listed = [p for p in providers if isinstance(p, dict)] if isinstance(providers, list) else []
    owners = [str(p.get("name")) for p in listed if {"producer", "licensor"} & set(p.get("roles") or [])]
    return ", ".join(dict.fromkeys(owners))[:500]


def _band_name(said: str, taken: set[str]) -> str:
    name = re.sub(r"[^A-Za-z0-9_.-]", "_", said)[:60]
    name = name if re.match(r"[A-Za-z]", name) else f"b{name}"
    while name in taken:
        name += "_"
    taken.add(name)
    return name


def _plain(text: str) -> str:
    name = re.sub(r"[^a-z0-9_-]+", "-", text.lower()).strip("-")[:31]
    return name if re.match(r"[a-z]", name) else f"l-{name}"[:31]


def _quoted(text: str) -> str:
    """A YAML scalar: quoted unless it is a plain word."""
    if re.fullmatch(r"[A-Za-z][A-Za-z0-9_.#/-]*", text) and text.lower() not in (
        "true",
        "false",
        "null",
        "yes",
        "no",
        "on",
        "off",
    ):
        return text
    clean = "".join(c if c.isprintable() else " " for c in text)
    return "'" + clean.replace("'", "''") + "'"
