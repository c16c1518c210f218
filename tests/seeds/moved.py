"""Moves a recipe of recipes/seeds onto the miniature Earth, by rules that know no recipe.

1. A provider's address becomes the testbed's of the same archive.
2. An area becomes the planet's: places whose footprints lie whole in its tiles.
3. A file that the recipe names is written with the columns that the recipe asks for, at places of that area.
4. An OpenStreetMap extract becomes the planet's.
5. Numbers of samples become small; samples may overlap, since the planet is 11 km wide.
6. A footprint above 3,840 m becomes one of 3,840 m, the extent of a layer above 3,600 m one of 3,600 m, a spread around
   places one of 1,500 m, and a grid is dense enough for a few cells in the area.
7. A language model becomes the template.
8. Folders of one's own images, masks and vectors are made of the testbed's orthophotos, in the recipe's system. They
   lie outside the planet: Sentinel-2 beside them becomes a folder of four bands.
Dates, layers, rules, splits, strata, composites and indices stay as they are written.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyproj
import stac_geoparquet.arrow
from ruamel.yaml import YAML

from pipelines.recipes import read_recipe
from sampling import locate
from testbed.archive.frames import ecoregions, fires, places_in, shots, write_frames, write_polygons, write_table
from testbed.plane import Layout
from testbed.planet import area_of
from tests.seeds.own import own_files

if TYPE_CHECKING:
    from pathlib import Path

    import testbed

Json = dict[str, Any]
MOST_M = 3_840.0
"""Largest footprint that is left as it is, metres."""
MOST_EXTENT_M = 3_600.0
"""Largest extent of a layer: a whole number of pixels of 300 m."""
SPREAD_M = 1_500.0
"""Largest spread around the places of a file, metres: the planet is 11 km wide."""
SAMPLES = 12
"""Samples that a recipe places here, if it says a number."""
HOSTS = {
    "planetarycomputer.microsoft.com": "/pc/stac",
    "geoservice.dlr.de": "/dlr/stac",
    "cmr.earthdata.nasa.gov": "/cmr/stac/LPCLOUD",
    "earth-search.aws.element84.com": "/earth-search/v1",
}
"""Host of an archive -> its API at the testbed."""


@dataclass(frozen=True)
class World:
    """The served planet."""

    planet: Path
    services: testbed.Services
    objects: Path
    """Objects of its map, as `pipelines objects` writes them."""

    def area(self, footprint_m: float) -> Json:
        """Where footprints lie whole in the tiles."""
        return area_of(Layout(size_px=_size(self.planet)), footprint_m)


def _size(planet: Path) -> int:
    return int(json.loads((planet / "planet.json").read_text())["size_px"])


def moved(path: Path, world: World, folder: Path, samples: int = SAMPLES) -> Path:
    """Write the recipe and the files that it names into a folder; the recipe's path there."""
    tree: Json = YAML(typ="safe").load(path.read_text(encoding="utf-8"))
    folder.mkdir(parents=True, exist_ok=True)
    _footprint(tree)
    own = any("://" not in provider.get("url", "://") for provider in tree["providers"].values())
    ground = max([tree["grid"]["size_m"], *tree["grid"].get("extents", {}).values()])
    area = own_files(tree, folder, ground) if own else world.area(ground)
    (folder / "area.geojson").write_text(json.dumps(area))
    for provider in tree["providers"].values():
        _provider(provider)
    if not own:
        write_frames(world.planet, area, folder)
    _sampling(tree, world, area, folder, samples)
    for label in tree.get("labels") or ():
        if label["kind"] == "openstreetmap":
            label["pbf"] = "$LANDWEAVE_TESTBED/osm/planet.osm.pbf"
    if (tree.get("captions") or {}).get("kind") == "llm":
        tree["captions"] = {"kind": "template"}
    if tree.get("splits", {}).get("by", "blocks") == "blocks":
        tree["splits"] = {**tree.get("splits", {}), "buffer_m": 0, "allow_overlap": True}
    target = folder / path.name
    with target.open("w", encoding="utf-8") as file:
        YAML(typ="safe").dump(tree, file)
    captions = tree.get("captions") or {}
    if captions.get("kind") == "file":
        located = locate(read_recipe(target).recipe, folder)
        names = located.columns(np.arange(len(located)))["sample_id"]
        write_table(folder / captions["file"], [{"sample_id": n, "text": f"text of {n}"} for n in names])
    return target


def _provider(provider: Json) -> None:
    if provider.get("kind") == "earthengine":
        provider["project"] = "testbed-project"
        return
    if "://" in provider["url"]:
        provider["url"] = "$LANDWEAVE_TESTBED" + HOSTS[provider["url"].split("/")[2]]


def _footprint(tree: Json) -> None:
    tree["grid"]["size_m"] = min(tree["grid"]["size_m"], MOST_M)
    for layer, extent in tree["grid"].get("extents", {}).items():
        tree["grid"]["extents"][layer] = min(extent, MOST_EXTENT_M)


def _sampling(tree: Json, world: World, area: Json, folder: Path, samples: int) -> None:
    sampling = tree["sampling"]
    sampling["allow_overlap"] = True
    kind = sampling["kind"]
    if kind == "points":
        _points(tree, world, area, folder / sampling["file"], samples)
        return
    sampling["area"] = {"file": "area.geojson"}
    if kind == "grid":
        west, _, east, _ = _bounds(area)
        sampling["spacing_m"] = min(sampling["spacing_m"], max(10.0, (east - west) * 74_000 / 5))
    sampling["count"] = min(sampling.get("count", samples), samples)
    if kind == "draw":
        _frame(sampling, world, area, folder)


def _bounds(area: Json) -> tuple[float, float, float, float]:
    points = [p for f in area["features"] for p in f["geometry"]["coordinates"][0]]
    xs, ys = zip(*points, strict=True)
    return min(xs), min(ys), max(xs), max(ys)


def _points(tree: Json, world: World, area: Json, path: Path, samples: int) -> None:
    """A file of points with the columns that the recipe names."""
    columns = list(tree["sampling"].get("attributes", ()))
    known = {tuple(shots(area)[0]): shots(area), tuple(fires(area)[0]): fires(area)}
    for names, rows in known.items():
        if columns and set(columns) <= set(names):
            write_table(path, rows[:samples])
            return
    exact = tree["grid"].get("snap_m", 60) is None
    if (tree.get("captions") or {}).get("kind") == "column":
        columns.append(tree["captions"]["column"])
    rows = [
        _row(n, place, columns, tree["grid"]["size_m"] if exact else None)
        for n, place in enumerate(places_in(area, samples, 1))
    ]
    write_table(path, rows)


def _row(number: int, place: tuple[float, float], columns: list[str], exact_m: float | None) -> Json:
    row: Json = {"lon": place[0], "lat": place[1]}
    days = (
        f"2020-0{1 + number % 9}-15",
        f"2021-07-2{1 + number % 3}T10:00:00Z",
        f"2022-07-0{1 + number % 4}T10:00:00Z",
    )
    values: Json = {
        "split": ("train", "val", "test")[number % 3], "labels": ("Forest. Water", "Crops", "Flooded Area")[number % 3],
        "source": ("s1", "s2")[number % 2], "text": f"text {number}", "caption": f"A town, {number}.",
        "knowledge": f"Known since {1900 + number}.", "population": 1000.5 * number, "gdp": 2.5 * number,
    }  # fmt: skip
    for name in columns:
        dated = "date" in name or "time" in name
        row[name] = (
            days[number % 3] if dated else values.get(name, number if name.endswith("id") else f"{name} {number}")
        )
    if exact_m is not None:
        epsg = 32632 if place[0] < 12 else 32633
        x, y = pyproj.Transformer.from_crs(4326, epsg, always_xy=True).transform(*place)
        row |= {"epsg": epsg, "x_min": round(x / 10) * 10 - exact_m / 2, "y_max": round(y / 10) * 10 + exact_m / 2}
    return row


def _frame(sampling: Json, world: World, area: Json, folder: Path) -> None:
    """The file that samples are drawn from."""
    frame = sampling["from"]
    name = frame["file"]
    if "categories" in frame or name.startswith("objects"):
        (folder / name).write_bytes(world.objects.read_bytes())
        _categories(frame)
    elif name.startswith("scenes"):
        items = [i for i in world.services.catalogues["planetary-computer"].items if _is_scene(i)]
        stac_geoparquet.arrow.to_parquet(stac_geoparquet.arrow.parse_stac_items_to_arrow(items), folder / name)
    elif name.startswith("cities"):
        write_table(folder / name, [{"lon": lon, "lat": lat} for lon, lat in places_in(area, 3, 11)])
        frame["spread_m"] = min(frame["spread_m"], SPREAD_M)
    elif name.startswith("ecoregions"):
        write_polygons(folder / name, [{"biome": n} for n, _ in ecoregions(area)], [g for _, g in ecoregions(area)])


def _is_scene(item: Json) -> bool:
    """A Sentinel-2 scene below 20 % cloud of SatCLIP's years."""
    facts = item["properties"]
    when = str(facts["datetime"])
    return (
        item["collection"] == "sentinel-2-l2a" and "2021-01-01" <= when < "2023-05-18" and facts["eo:cloud_cover"] < 20
    )


def _categories(frame: Json) -> None:
    """The planet's map has buildings, farmland, meadows and roads: they stand for the categories, in order."""
    there = [{"tags.building": "*"}, {"tags.landuse": "farmland"}, {"tags.landuse": "meadow"}, {"tags.highway": "*"}]
    names = list(frame.get("categories", ()))[: len(there)]
    if names:
        frame["categories"] = dict(zip(names, there, strict=False))
