"""Makes the miniature Earth from a seed, in a temporary folder that is renamed when complete."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any

import shapely
from pyproj import Transformer
from shapely.geometry import Polygon, mapping

from testbed import items as scenes
from testbed import items_static as statics
from testbed.cog import write_jpeg2000
from testbed.dem import write_dem
from testbed.dialects import DIALECTS, JPEG2000, LISTED_ZONE, spoken
from testbed.enmap import write_enmap
from testbed.hls import HLS_PASSES, hls_item, write_hls
from testbed.items_sentinel2 import sentinel2_earth_search, sentinel2_planetary_computer
from testbed.labelling import write_dynamic_world, write_truth, write_worldcover
from testbed.landsat import write_landsat
from testbed.openstreetmap import write_osm
from testbed.overpasses import LANDSAT_PASSES, SENTINEL1_PASSES, SENTINEL2_PASSES, ZONES, Sentinel2Pass
from testbed.plane import PLANE_CRS, Layout
from testbed.sentinel1 import write_sentinel1
from testbed.sentinel2 import write_sentinel2
from testbed.world import Scenery, make_world

if TYPE_CHECKING:
    from collections.abc import Iterator

Json = dict[str, Any]
VERSION = "3"
"""Of what is made from a seed; another version is made again."""
MARKER = "planet.json"
"""Written last: a folder with it is whole."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """One piece of work that a process can do alone."""

    product: str
    """'sentinel2', 'sentinel1', 'landsat', 'enmap', 'dem', 'worldcover', 'dynamicworld' or 'truth'."""
    number: int = 0
    """Which overpass or year."""
    zone: int = 0
    """UTM zone, 0 where the product is not cut by zone."""


def _datatakes() -> dict[int, tuple[Sentinel2Pass, ...]]:
    """Overpass number -> its processings."""
    numbers = sorted({p.sky.number for p in SENTINEL2_PASSES})
    return {n: tuple(p for p in SENTINEL2_PASSES if p.sky.number == n) for n in numbers}


def _jobs() -> Iterator[Job]:
    """All the work, longest first."""
    yield Job(product="enmap")
    for number in _datatakes():
        yield from (Job(product="sentinel2", number=number, zone=z) for z in ZONES)
    yield from (Job(product="worldcover", number=year) for year in (2020, 2021))
    yield from (Job(product="sentinel1", number=n, zone=z) for n in range(len(SENTINEL1_PASSES)) for z in ZONES)
    yield from (Job(product="landsat", number=n) for n in range(len(LANDSAT_PASSES)))
    yield from (Job(product="hls", number=n, zone=z) for n in range(len(HLS_PASSES)) for z in ZONES)
    yield from (Job(product="dynamicworld", number=n, zone=z) for n in _datatakes() for z in ZONES)
    yield from (Job(product="truth", zone=z) for z in ZONES)
    yield Job(product="dem")


def _do(job: Job, scenery: Scenery, folder: Path) -> Any:
    """Write one product; what its item needs to know."""
    files = folder / "files"
    match job.product:
        case "sentinel2":
            return _sentinel2(scenery, job, files)
        case "sentinel1":
            taken = SENTINEL1_PASSES[job.number]
            write_sentinel1(scenery, taken, job.zone, files / "sentinel1" / f"{taken.when:%Y%m%d}_T{job.zone}")
        case "landsat":
            passed = LANDSAT_PASSES[job.number]
            return write_landsat(scenery, passed, files / "landsat" / f"LC0{passed.satellite}_{passed.sky.when:%Y%m%d}")
        case "hls":
            return write_hls(scenery, HLS_PASSES[job.number], job.zone, files / "hls")
        case "enmap":
            return write_enmap(scenery, files / "enmap")
        case "dem":
            write_dem(scenery, files / "dem")
        case "worldcover":
            write_worldcover(scenery, job.number, files / "worldcover")
        case "dynamicworld":
            first = _datatakes()[job.number][0]
            return write_dynamic_world(scenery, first, job.zone, files / "dynamicworld")
        case _:
            write_truth(scenery, job.zone, folder / "truth")
    return None


def _sentinel2(scenery: Scenery, job: Job, files: Path) -> dict[str, dict[str, float]]:
    """Write the processings of a datatake, one of them as JPEG 2000 too."""
    mine = tuple(p for p in _datatakes()[job.number] if job.zone in p.zones)
    shares = write_sentinel2(scenery, mine, job.zone, files / "sentinel2")
    for taken in mine:
        if JPEG2000.strip("_") in taken.name:
            granule, listed = files / "sentinel2" / f"{taken.name}_T{job.zone}", job.zone == LISTED_ZONE
            write_jpeg2000(granule, files / "jp2" / "sentinel2", listed=listed)
    return shares


def _do_apart(job: Job, rasters: Path, seed: int, layout: Layout, folder: Path) -> Any:
    """`_do` in its own process, with the rasters mapped from disk."""
    return _do(job, Scenery.load(rasters, seed, layout), folder)


def _sentinel2_items(scenery: Scenery, found: dict[Job, Any]) -> tuple[list[Json], list[Json]]:
    """(Earth Search's, Planetary Computer's) items."""
    earth_search, planetary = [], []
    for number, processings in _datatakes().items():
        for zone in ZONES:
            for taken in (p for p in processings if zone in p.zones):
                shares = found[Job(product="sentinel2", number=number, zone=zone)][f"{taken.name}_T{zone}"]
                older = processings[0] if taken is not processings[0] else None
                earth_search.append(sentinel2_earth_search(scenery, taken, zone, shares, older))
                planetary.append(sentinel2_planetary_computer(scenery, taken, zone, shares))
    return earth_search, planetary


def _write_items(scenery: Scenery, found: dict[Job, Any], folder: Path) -> None:
    """Write items, collections and providers."""
    earth_search, planetary = _sentinel2_items(scenery, found)
    landsat = [
        scenes.landsat_c2_l2(scenery, p, found[Job(product="landsat", number=n)]) for n, p in enumerate(LANDSAT_PASSES)
    ]
    radar = [scenes.sentinel1_rtc(scenery, p, z) for p in SENTINEL1_PASSES for z in ZONES]
    dynamic = [
        statics.dynamic_world_item(scenery, p[0], z, found[Job(product="dynamicworld", number=n, zone=z)])
        for n, p in _datatakes().items()
        for z in ZONES
    ]
    enmap = [scenes.enmap_l2a(scenery, found[Job(product="enmap")])]
    cover = statics.worldcover_items(scenery)
    hls = [
        hls_item(scenery, p, z, found[Job(product="hls", number=n, zone=z)])
        for n, p in enumerate(HLS_PASSES)
        for z in ZONES
    ]
    dem_es, dem_pc = (statics.dem_items(scenery, earth_search=e) for e in (True, False))
    providers = {
        "testbed": ("/stac", False, [*earth_search, *radar, *landsat, *enmap, *hls, *dem_es, *cover, *dynamic]),
        "earth-search": ("/earth-search/v1", False, [*earth_search, *dem_es]),
        "planetary-computer": ("/pc/stac", True, [*planetary, *radar, *landsat, *dem_pc, *cover]),
        "dlr-eoc": ("/dlr/stac", False, enmap),
    }
    told = [*planetary, *landsat, *dem_pc, *hls]
    for dialect in DIALECTS:
        _, _, already = providers.get(dialect.name, ("", False, []))
        providers[dialect.name] = (dialect.root, dialect.merge_next, [*already, *spoken(dialect, told)])
    index: Json = {}
    (folder / "stac").mkdir()
    for name, (root, merge_next, mine) in providers.items():
        listed = {"items": mine, "collections": statics.collections_of(mine)}
        for what, records in listed.items():
            (folder / "stac" / f"{name}-{what}.json").write_text(_text(records))
        index[name] = {
            "root": root,
            "merge_next": merge_next,
            "items": [f"stac/{name}-items.json"],
            "collections": f"stac/{name}-collections.json",
        }
    (folder / "providers.json").write_text(_text(index))


def _text(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, indent=1) + "\n"


def area_of(layout: Layout, footprint_m: float = 960.0) -> Json:
    """GeoJSON polygons where footprints of `footprint_m`, snapped to 60 m, lie whole in their zone's tile.

    One polygon; two where the footprint is so large that the zones' halves part.

    Raises:
        ValueError: the footprint is larger than a tile.
    """
    inner = footprint_m / 2 + 60.0
    if 2 * inner >= layout.edge_m:
        raise ValueError(f"a footprint of {footprint_m:g} m does not fit into a tile of {layout.edge_m:g} m")
    rings = []
    for zone in ZONES:
        x0, y0, x1, y1 = layout.tile(zone).bounds
        corners = [
            (x0 + inner, y0 + inner),
            (x1 - inner, y0 + inner),
            (x1 - inner, y1 - inner),
            (x0 + inner, y1 - inner),
        ]
        to_plane = Transformer.from_crs(f"EPSG:326{zone}", PLANE_CRS, always_xy=True)
        side = Polygon([to_plane.transform(*c) for c in corners])
        far = 40_000.0
        half = Polygon(
            [(0, -far), (0, far), (-far, far), (-far, -far)]
            if zone == 32
            else [(0, -far), (far, -far), (far, far), (0, far)]
        )
        rings.append(side.intersection(half))
    whole = rings[0].union(rings[1].buffer(0.001))
    parts = [part for part in shapely.get_parts(whole) if isinstance(part, Polygon)]
    features = [_feature(part, footprint_m) for part in parts]
    return {"type": "FeatureCollection", "features": features}


def _feature(part: Polygon, footprint_m: float) -> Json:
    to_lonlat = Transformer.from_crs(PLANE_CRS, "EPSG:4326", always_xy=True)
    lonlat = Polygon([tuple(round(v, 6) for v in to_lonlat.transform(x, y)) for x, y in part.exterior.coords])
    properties = {"name": "testbed", "footprint_m": round(footprint_m)}
    return {"type": "Feature", "properties": properties, "geometry": mapping(lonlat)}


def is_whole(folder: Path, seed: int, size_px: int) -> bool:
    """Whether a folder holds the finished planet of this seed, size and version."""
    marker = folder / MARKER
    if not marker.is_file():
        return False
    said = json.loads(marker.read_text())
    return bool(said == {"seed": seed, "size_px": size_px, "version": VERSION})


def make_planet(folder: Path | str, seed: int = 7, size_px: int = Layout.size_px, workers: int = 2) -> Path:
    """Make the planet of a seed, or do nothing where it is already.

    Args:
        folder: where it is to be; its parent is made. A folder that holds something else is left alone.
        seed: the same seed gives the same bytes.
        size_px: edge of a Sentinel-2-like tile in 10 m pixels, a multiple of 12; smaller ones are for tests.
        workers: processes; 1 = this one.

    Returns:
        The folder.

    Raises:
        FileExistsError: the folder is there and is not a planet, or is one of another seed, size or version.
    """
    folder = Path(folder)
    layout = Layout(size_px=size_px)
    if is_whole(folder, seed, size_px):
        return folder
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        what = "another planet (other seed, size or version)" if (folder / MARKER).is_file() else "no planet"
        raise FileExistsError(f"{folder} is there and holds {what}; remove it or name another folder")
    folder.parent.mkdir(parents=True, exist_ok=True)
    _sweep(folder)
    aside = Path(tempfile.mkdtemp(prefix=f".{folder.name}.partial-{os.getpid()}-", dir=folder.parent))
    try:
        _make(aside, seed, layout, workers)
        aside.chmod(0o755)
        try:
            os.replace(aside, folder)  # noqa: PTH105 - replaces an empty folder in one step, which Path.rename need not
        except OSError:
            if not is_whole(folder, seed, size_px):  # else another process was quicker, with the same bytes
                raise
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return folder


def _sweep(folder: Path) -> None:
    """Remove what processes that are dead by now left aside."""
    for left in folder.parent.glob(f".{folder.name}.partial-*-*"):
        maker = int(left.name.split(".partial-")[1].split("-")[0])
        try:
            os.kill(maker, 0)
        except ProcessLookupError:
            shutil.rmtree(left, ignore_errors=True)
        except PermissionError:
            continue


def _make(aside: Path, seed: int, layout: Layout, workers: int) -> None:
    world = make_world(seed, layout)
    jobs = list(_jobs())
    if workers > 1:
        rasters = aside / "rasters"
        rasters.mkdir()
        world.scenery.save(rasters)
        with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
            futures = [pool.submit(_do_apart, job, rasters, seed, layout, aside) for job in jobs]
            write_osm(world, aside / "osm" / "planet.osm.pbf")
            found = {job: future.result() for job, future in zip(jobs, futures, strict=True)}
        shutil.rmtree(rasters)
    else:
        found = {job: _do(job, world.scenery, aside) for job in jobs}
        write_osm(world, aside / "osm" / "planet.osm.pbf")
    _write_items(world.scenery, found, aside)
    (aside / "aoi.geojson").write_text(_text(area_of(layout)))
    (aside / MARKER).write_text(_text({"seed": seed, "size_px": layout.size_px, "version": VERSION}))
