"""A small archive (radar, elevation, Landsat; three samples) and one run over it: search, parse, choose, read."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyproj
import rasterio
from affine import Affine

from pipelines.access.archives import Archives
from pipelines.access.http.client import Client
from pipelines.access.logins.signing import PlanetaryComputerSigner
from pipelines.plan.blocks import Ground
from pipelines.plan.search import Question, absence, ask
from pipelines.sources import open_source
from pipelines.sources.read_shard import ObservationRequest, gather
from schemas.modality import STATIC_DENSITY
from schemas.outcome import Outcome
from schemas.place import GeoBox, Place
from schemas.recipe import Recipe
from schemas.source import DatedSource
from schemas.stack import Observation
from testbed.services import Services

Json = dict[str, Any]
LEFT, TOP, EDGE_M = 600_000, 5_200_020, 7_680
LIMITS = {"retries": 3, "timeout_s": 1.0, "backoff_s": 0.002, "concurrency": 4, "cooldown_s": 0.02}
"""Of the client: a second of patience, pauses of milliseconds."""
RECIPE = Recipe.model_validate(
    {
        "name": "faults",
        "seed": 1,
        "sampling": {"kind": "points", "file": "points.csv"},
        "grid": {"size_m": 480},
        "windows": [{"name": "june", "start": "2022-06-01", "end": "2022-06-30"}],
        "providers": {"p": {"url": "$LANDWEAVE_FAULTS_ARCHIVE", "retries": 3, "timeout_s": 1.0, "concurrency": 4}},
        "sources": [
            {"kind": "sentinel1", "providers": ["p"], "max_candidates": 1, "min_valid": 0.5},
            {"kind": "landsat", "providers": ["p"], "max_candidates": 1, "min_valid": 0.5},
            {"kind": "dem", "providers": ["p"]},
        ],
    }
)
TO_DEGREES = pyproj.Transformer.from_crs(32632, 4326, always_xy=True).transform
KINDS = ("sentinel1", "landsat", "dem")
LANDSAT = ("SR_B1", "SR_B2", "SR_B3", "SR_B4", "SR_B5", "SR_B6", "SR_B7", "QA_PIXEL")


def raster(path: Path, pixels: np.ndarray, transform: Affine, epsg: int = 32632, **more: Any) -> Json:
    """Write a tiled deflate GeoTIFF; returns what a truthful item says of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with rasterio.open(
        path, "w", driver="GTiff", count=1, height=pixels.shape[0], width=pixels.shape[1], dtype=pixels.dtype,
        crs=f"EPSG:{epsg}", transform=transform, tiled=True, blockxsize=128, blockysize=128, compress="deflate", **more,
    ) as dataset:  # fmt: skip
        dataset.write(pixels, 1)
    return {"proj:shape": list(pixels.shape), "proj:transform": list(transform)[:6], "proj:code": f"EPSG:{epsg}"}


def item(name: str, collection: str, ring: list[list[float]], assets: Json, **properties: Any) -> Json:
    lons, lats = [c[0] for c in ring], [c[1] for c in ring]
    return {
        "type": "Feature", "stac_version": "1.1.0", "id": name, "collection": collection, "links": [],
        "geometry": {"type": "Polygon", "coordinates": [ring]}, "bbox": [min(lons), min(lats), max(lons), max(lats)],
        "properties": {"datetime": "2022-06-15T10:00:00Z", **properties}, "assets": assets,
    }  # fmt: skip


def ring(left: float, top: float, edge_m: float) -> list[list[float]]:
    corners = [(left, top), (left, top - edge_m), (left + edge_m, top - edge_m), (left + edge_m, top), (left, top)]
    return [list(TO_DEGREES(*c)) for c in corners]


def make(folder: Path) -> list[Json]:
    """Write the archive's files; returns its items: one scene of each sensor, and some beside the samples."""
    rng = np.random.default_rng(5)
    found: dict[str, Json] = {}
    here, radar = ring(LEFT, TOP, EDGE_M), Affine(10, 0, LEFT, 0, -10, TOP)
    for band in ("vv", "vh"):
        power = (rng.random((384, 384)) * 0.3 + 0.01).astype("float32")
        found[band] = raster(folder / f"s1/{band}.tif", power, radar, nodata=-32768.0)
    thirty = Affine(30, 0, LEFT, 0, -30, TOP)
    for band in LANDSAT:
        numbers = rng.integers(7300, 40_000, (256, 256)).astype("uint16")
        if band == "QA_PIXEL":
            numbers = np.where(numbers % 5 == 0, 8 | 64, 64).astype("uint16")
        found[band] = raster(folder / f"landsat/{band}.tif", numbers, thirty, nodata=1 if band == "QA_PIXEL" else 0)
    lon, lat = TO_DEGREES(LEFT, TOP)
    degrees = Affine(1 / 3600, 0, lon - 0.01, 0, -1 / 3600, lat + 0.01)
    found["dem"] = raster(folder / "dem/dem.tif", rng.uniform(0, 900, (256, 256)).astype("float32"), degrees, epsg=4326)
    tif = {"type": "image/tiff; application=geotiff"}
    both = {b: {"href": f"/f/s1/{b}.tif", **tif, **found[b]} for b in ("vv", "vh")}
    items = [
        item("S1A_rtc", "sentinel-1-rtc", here, both,
             platform="sentinel-1a", **{"sar:product_type": "RTC", "sat:orbit_state": "ascending"}),
        item("LC08_L2SP_194027_20220615_02_T1", "landsat-c2-l2", here,
             {b: {"href": f"/f/landsat/{b}.tif", **tif, **found[b]} for b in LANDSAT},
             platform="landsat-8", **{"landsat:correction": "L2SP", "eo:cloud_cover": 10.0}),
        item("dem", "cop-dem-glo-30", here, {"data": {"href": "/f/dem/dem.tif", **tif, **found["dem"]}}),
    ]  # fmt: skip
    beside = [ring(LEFT + 900 + 60 * i, TOP - 1000, 30) for i in range(2)]
    return items + [
        {
            **i,
            "id": i["id"].replace("194027", f"19402{n}") + f"_beside{n}",
            "geometry": {"type": "Polygon", "coordinates": [where]},
        }
        for i in items
        for n, where in enumerate(beside)
    ]


def places() -> list[Place]:
    found = []
    for i, (x, y) in enumerate([(300, 300), (1260, 1260), (1800, 1200)]):
        box = GeoBox(epsg=32632, x_min=LEFT + x, y_max=TOP - y, resolution_m=10, width=48, height=48)
        lon, lat = TO_DEGREES(box.x_min + 240, box.y_max - 240)
        found.append(Place(sample_id=f"s{i}", lon=lon, lat=lat, geobox=box, split="train", block="b", cell="c"))
    return found


Key = tuple[str, str]
"""(modality, sample id)."""


@dataclass(frozen=True)
class Run:
    """What a run gave."""

    results: dict[Key, Observation | Outcome]
    opened: bool
    """Whether a circuit breaker opened meanwhile."""


def run(services: Services, *, signed: bool = False, kinds: Collection[str] = KINDS, limits: Json | None = None) -> Run:
    """Search, parse, choose and read everything, as plan and build do."""
    results: dict[Key, Observation | Outcome] = {}
    chosen = {**LIMITS, **(limits or {})}
    signer = None
    if signed:
        signer = PlanetaryComputerSigner(f"{services.base_url}/token", ("127.0.0.1",), client=Client(**chosen))
    client = Client(signer=_FilesOnly(signer) if signer else None, **chosen)
    provider = RECIPE.providers["p"].model_copy(update={"url": services.stac_url("catalogue")})
    (block,) = Ground(places()).blocks(STATIC_DENSITY, 1.0)
    with Archives({"p": provider}) as archives:
        archives._clients["p"] = client
        for entry in (e for e in RECIPE.sources if e.kind in kinds):
            source = open_source(entry)
            window = RECIPE.windows[0] if isinstance(entry, DatedSource) else None
            question = Question(
                layer=entry.kind, providers=("p",), collection=entry.collection, slots=(0,),
                period=None if window is None else (window.start, window.end), parse=source.scene,
            )  # fmt: skip
            answer = ask(archives, question, block)
            scenes = source.collapse(answer.scenes)
            requests = []
            for place in block.places:
                candidates = [] if answer.error else source.candidates(scenes, place, window)
                if candidates:
                    requests.append(ObservationRequest(place, 0, tuple(candidates)))
                else:
                    results[entry.kind, place.sample_id] = absence(place, question, 0, answer)
            got = gather(source, RECIPE, requests, {s.item_id: s for s in scenes}, archives.reader)
            for request, result in zip(requests, got, strict=True):
                results[entry.kind, request.place.sample_id] = result
        opened = any(host.ever_opened for host in client._hosts.values())
        if signer is not None:
            opened = opened or any(host.ever_opened for host in signer._client._hosts.values())
            signer._client.close()
    return Run(results, opened)


class _FilesOnly:
    """The search needs no signature."""

    def __init__(self, signer: PlanetaryComputerSigner) -> None:
        self._signer = signer

    def sign(self, url: str, *, fresh: bool) -> tuple[str, dict[str, str]]:
        return self._signer.sign(url, fresh=fresh) if url.endswith(".tif") else (url, {})


def same(one: Observation, other: Observation) -> bool:
    """Every number, mask and fact."""
    plain = ("modality", "slot", "datetime", "valid_fraction", "cloud_fraction", "item_ids", "provider", "radiometry",
             "resampling", "facts", "licence")  # fmt: skip
    arrays = [(a, other.arrays[n]) for n, a in one.arrays.items()] + [(one.valid, other.valid)]
    if (one.cloud is None) != (other.cloud is None) or set(one.arrays) != set(other.arrays):
        return False
    if one.cloud is not None and other.cloud is not None:
        arrays.append((one.cloud, other.cloud))
    return all(getattr(one, n) == getattr(other, n) for n in plain) and all(
        a.dtype == b.dtype and a.tobytes() == b.tobytes() for a, b in arrays
    )
