"""A part of a recipe, as a page shows it, checked as a whole recipe: what it does not say comes from a small one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from pipelines.crosswalks import read_crosswalk
from pipelines.recipes import read_recipe

Tree = dict[str, Any]
_YAML = YAML(typ="safe")
_BASE: Tree = _YAML.load("""
name: part
seed: 1
sampling: { kind: points, file: places.csv, attributes: [biome, agbd, split, district] }
grid: { size_m: 1920 }
windows:
  - { name: summer, start: 2021-06-01, end: 2021-08-31 }
  - { name: winter, start: 2021-12-01, end: 2022-02-28 }
providers: {}
sources:
  - { kind: sentinel2, providers: [pc] }
  - { kind: sentinel1, providers: [pc] }
  - { kind: dem, providers: [pc] }
  - { kind: sentinel2, providers: [pc], layer: context }
  - { kind: era5-land-monthly, providers: [pc], layer: era5, collection: era5 }
  - layer: worldpop
    providers: [mine]
    collection: worldpop
    dated: false
    arrays: { population: { resolution_m: 60, dtype: float32, bands: { population: data } } }
labels:
  - { kind: worldcover, providers: [pc] }
  - { kind: worldcover, providers: [pc], layer: cover20, year: 2020 }
  - { kind: worldcover, providers: [pc], layer: cover21, year: 2021 }
  - { kind: openstreetmap, pbf: map.osm.pbf }
  - { kind: raster, name: esri2021, product: Esri, providers: [pc], collection: io-lulc, crosswalk: esri }
  - kind: vector
    layer: parcels
    file: parcels.parquet
    date: 2021-06-05
    column: crop
    classes: [{ code: 1, name: maize, common: crops }]
""")


def documents(text: str) -> Iterator[Tree]:
    """The trees of a block: a key that comes again at the margin begins an alternative."""
    lines: list[str] = []
    seen: set[str] = set()
    for line in text.splitlines():
        key = line.partition(":")[0]
        if line[:1].isalpha() and key in seen:
            yield _YAML.load("\n".join(lines))
            lines, seen = [], set()
        if line[:1].isalpha():
            seen.add(key)
        lines.append(line)
    yield _YAML.load("\n".join(lines))


def check(tree: Tree, folder: Path) -> None:
    """Read a tree as a crosswalk or as a recipe.

    Args:
        tree: what the page shows.
        folder: folder with the files that it names.

    Raises:
        RecipeError, CrosswalkError: it is no good.
    """
    if "rows" in tree:
        with (folder / "mine.yaml").open("w") as file:
            _YAML.dump(tree, file)
        read_crosswalk(folder / "mine.yaml")
        return
    with (folder / "part.yaml").open("w") as file:
        _YAML.dump(_whole(tree), file)
    read_recipe(folder / "part.yaml")


def _whole(tree: Tree) -> Tree:
    if "name" in tree:
        return tree
    whole = {**_BASE, **tree}
    if "sampling" not in tree:  # no column has two sources
        copied = [name for name in _BASE["sampling"]["attributes"] if name not in tree.get("numbers", {})]
        whole["sampling"] = {**_BASE["sampling"], "attributes": copied}
    for key in ("sources", "labels"):
        said = tree.get(key, [])
        names = {_layer(entry) for entry in said}
        whole[key] = [*(entry for entry in _BASE[key] if _layer(entry) not in names), *said]
    named = {name for key in ("sources", "labels") for entry in whole[key] for name in entry.get("providers", ())}
    made = {n: {"kind": "earthengine"} if n == "earth-engine" else {"url": "https://example.org/stac"} for n in named}
    whole["providers"] = {**made, **tree.get("providers", {})}
    return whole


def _layer(entry: Tree) -> str:
    return str(entry.get("layer") or entry.get("name") or entry.get("kind"))
