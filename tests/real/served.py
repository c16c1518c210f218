"""Serve real files as STAC and COG on loopback, and build a dataset from them through the product's own commands."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import rasterio
from rasterio.warp import transform_bounds
from ruamel.yaml import YAML

import landweave
import testbed
from pipelines.engines import Engine
from pipelines.jobs import build_dataset
from pipelines.recipes import read_recipe

Json = dict[str, Any]


def item(identity: str, collection: str, raster: Path, when: str | None, properties: Json, assets: Json) -> Json:
    """A STAC item whose footprint is that of a raster."""
    with rasterio.open(raster) as source:
        west, south, east, north = transform_bounds(source.crs, "EPSG:4326", *source.bounds, densify_pts=21)
        epsg = source.crs.to_epsg()
    ring = [[west, south], [east, south], [east, north], [west, north], [west, south]]
    return {
        "type": "Feature",
        "stac_version": "1.1.0",
        "id": identity,
        "collection": collection,
        "geometry": {"type": "Polygon", "coordinates": [ring]},
        "bbox": [west, south, east, north],
        "properties": {"datetime": when, "proj:code": f"EPSG:{epsg}", **properties},
        "assets": assets,
        "links": [],
    }


def asset(path: str, bands: list[str] | None = None, **more: Any) -> Json:
    """An asset at a URL path of the server."""
    found: Json = {"href": path, "type": "image/tiff; application=geotiff", "roles": ["data"], **more}
    if bands is not None:
        found["bands"] = [{"name": name} for name in bands]
    return found


@contextmanager
def built(folder: Path, recipe: Json, items: list[Json], files: dict[str, Path]) -> Iterator[landweave.Dataset]:
    """The dataset that a recipe makes of items and files; `$LANDWEAVE_REAL_ARCHIVE` in the recipe is the STAC API."""
    path = folder / "recipe.yaml"
    with path.open("w") as file:
        YAML(typ="safe").dump(recipe, file)
    with testbed.serve_catalogue(items, files, name="real") as services:
        os.environ["LANDWEAVE_REAL_ARCHIVE"] = services.stac_url("real")
        try:
            build_dataset(read_recipe(path), folder / "out", Engine(workers=1))
        finally:
            del os.environ["LANDWEAVE_REAL_ARCHIVE"]
    yield landweave.open(folder / "out")


def ledger_reasons(dataset: landweave.Dataset) -> dict[tuple[str, str], list[str]]:
    """(sample id, layer) -> reasons by slot."""
    found: dict[tuple[str, str], list[str]] = {}
    for row in dataset.ledger.sort_by(
        [("sample_id", "ascending"), ("layer", "ascending"), ("slot", "ascending")]
    ).to_pylist():
        found.setdefault((row["sample_id"], row["layer"]), []).append(row["reason"])
    return found


def load(path: Path) -> Json:
    """A JSON file."""
    content: Json = json.loads(path.read_text())
    return content
