"""What a declared layer cannot honour is one line, with the line of the YAML, before anything is fetched."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pipelines.access.errors import ItemRefused
from pipelines.presets import FOLDER, shipped
from pipelines.recipes import RecipeError, read_recipe
from pipelines.sources import open_source
from schemas.declared_source import CloudyLayer, DatedLayer, StaticLayer
from schemas.outcome import Reason
from schemas.provider import Provider
from schemas.recipe import Recipe
from schemas.sensors import Sentinel1Source

HEAD = """name: small
seed: 1
sampling: { kind: uniform, count: 1 }
grid: { size_m: 960 }
windows: [{ name: year, start: 2021-01-01, end: 2021-12-31 }]
providers: { a: { url: "https://stac.example/v1" }, gee: { kind: earthengine, project: my-project } }
sources:
"""
ARRAYS = "arrays: { a: { resolution_m: 10, dtype: uint8, bands: { red: image#1 } } }"


def read(folder: Path, *lines: str) -> Recipe:
    path = folder / "recipe.yaml"
    path.write_text(HEAD + "".join(f"  {line}\n" for line in lines))
    return read_recipe(path).recipe


X = ["- layer: x", "  providers: [a]", "  collection: c"]
BAD: list[tuple[list[str], list[str]]] = [
    ([*X, f"  {ARRAYS}", "  max_cloud: 0.1"], ["line 12", "needs `clouds`"]),
    ([*X, f"  {ARRAYS}", "  dated: false", "  windows: [year]"],
     ["line 13", "`dated: false`"]),
    (["- layer: x", "  providers: [a]", f"  {ARRAYS}"], ["x", "provider 'a' needs `collection"]),
    (["- layer: x", "  providers: [gee]", f"  {ARRAYS}"], ["x", "'gee' is Earth Engine", "earthengine:"]),
    (["- providers: [a]", "  collection: c", f"  {ARRAYS}"], ["line 8", "needs a name", "layer: NAME"]),
    (["- kind: naipp", "  providers: [a]"], ["line 8", "'naipp'", "did you mean 'naip'", "mine.yaml"]),
    (["- kind: naip", "  providers: [a]", "- kind: naip", "  providers: [a]"], ["naip is listed twice", "layer: NAME"]),
    (["- kind: naip", "  providers: [a]", "  max_cloud: 0.2"], ["line 10", "max_cloud", "needs `clouds`"]),
    (["- kind: modis-mod09a1", "  providers: [a]", "  assets: { rad: x }"], ["modis-mod09a1.assets", "'rad'", "red"]),
    (["- kind: naip", "  providers: [a]", "  where: { gsd: [] }"], ["where", "empty"]),
    (["- kind: naip", "  providers: [a]", "  where: { gsd: { a: 1 } }"], ["line 10", "where"]),
    ([*X, "  arrays:",
      "    a: { resolution_m: 10, dtype: uint8, nodata: 300, bands: { r: i } }"],
     ["line 12", "nodata 300", "0 to 255"]),
    ([*X, "  arrays:",
      "    a: { resolution_m: 10, dtype: uint9, bands: { r: i } }"], ["line 12", "dtype", "uint9"]),
    ([*X, "  arrays:",
      "    a: { resolution_m: 10, dtype: float32, kind: bits, bands: { r: i } }"], ["line 12", "whole numbers"]),
    ([*X, "  arrays:",
      "    a: { resolution_m: 10, dtype: uint8, kind: classes, kernel: cubic, bands: { r: i } }"],
     ["line 12", "cannot be interpolated"]),
    ([*X, "  arrays:",
      "    valid: { resolution_m: 10, dtype: uint8, bands: { r: i } }"], ["'valid'", "mask"]),
    ([*X, "  arrays:",
      "    a: { resolution_m: 10, dtype: uint8, bands: { r: i } }",
      "    b: { resolution_m: 10, dtype: uint8, bands: { r: j } }"], ["'r' is listed twice"]),
    ([*X, f"  {ARRAYS}", "  clouds: { asset: qa }"],
     ["line 12", "`bits` or `values`"]),
    ([*X, f"  {ARRAYS}", "  clouds: { asset: qa, bits: [1], values: [1] }"],
     ["line 12", "one of the two"]),
    ([*X, f"  {ARRAYS}", "  clouds: { asset: qa, bits: [17] }"],
     ["0 to 15", "17"]),
    ([*X, f"  {ARRAYS}", "  clouds: { asset: image#1, bits: [1] }"],
     ["'image#1'", "needs `kind: bits`"]),
    ([*X, f"  {ARRAYS}", "  rule: guess"], ["line 12", "rule", "guess"]),
    ([*X, f"  {ARRAYS}", "  terrain: b"], ["terrain", "'b'"]),
    (["- layer: sample", "  providers: [a]", "  collection: c", f"  {ARRAYS}"], ["'sample'", "another"]),
    (["- layer: Big", "  providers: [a]", "  collection: c", f"  {ARRAYS}"], ["line 8", "layer", "Big"]),
    (["- kind: nowhere.yaml", "  providers: [a]"], ["line 8", "nowhere.yaml"]),
    (["- kind: /etc/passwd.yaml", "  providers: [a]"], ["line 8", "kind"]),
    (["- kind: ../up.yaml", "  providers: [a]"], ["line 8", "kind"]),
]  # fmt: skip


@pytest.mark.parametrize(("lines", "words"), BAD, ids=[str(i) for i in range(len(BAD))])
def test_a_mistake_in_a_layer_is_one_line(lines: list[str], words: list[str], tmp_path: Path) -> None:
    with pytest.raises(RecipeError) as caught:
        read(tmp_path, *lines)
    assert len(caught.value.lines) == 1, caught.value.lines
    for word in words:
        assert word in caught.value.lines[0], caught.value.lines[0]


def test_a_mistake_in_an_own_preset_names_the_presets_line(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(
        "collection: c\narrays:\n  rgb: { resolution_m: 1, dtype: uint9, bands: { r: i } }\n"
    )
    with pytest.raises(RecipeError) as caught:
        read(tmp_path, "- kind: mine.yaml", "  providers: [a]")
    assert caught.value.lines[0].startswith("mine.yaml line 3: arrays.rgb.dtype:")
    (tmp_path / "mine.yaml").write_text("providers: [a]\n")
    with pytest.raises(RecipeError, match=r"mine.yaml line 1: 'providers' belongs into the recipe"):
        read(tmp_path, "- kind: mine.yaml", "  providers: [a]")


def test_a_stored_recipe_needs_no_preset(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(f"collection: c\n{ARRAYS}\n")
    made = read(tmp_path, "- kind: mine.yaml", "  providers: [a]", "  arrays: { a: { kernel: nearest } }")
    (entry,) = made.sources
    assert isinstance(entry, DatedLayer)
    assert (entry.name, entry.arrays["a"].kernel, entry.arrays["a"].dtype) == ("mine", "nearest", "uint8")
    again = Recipe.model_validate_json(made.model_dump_json())
    assert again == made
    assert again.sha256 == made.sha256
    (tmp_path / "mine.yaml").write_text(f"collection: other\n{ARRAYS}\n")
    assert read(tmp_path, "- kind: mine.yaml", "  providers: [a]").sha256 != made.sha256


@pytest.mark.parametrize("name", shipped())
def test_a_shipped_preset_is_a_layer(name: str, tmp_path: Path) -> None:
    text = (FOLDER / f"{name}.yaml").read_text()
    assert text.startswith("# ")
    assert "Source" in text.split("\ntitle:")[0], "the header says where the facts come from"
    provider = "gee" if "\ncollection:" not in text else "a"
    (entry,) = read(tmp_path, f"- kind: {name}", f"  providers: [{provider}]").sources
    assert isinstance(entry, CloudyLayer | DatedLayer | StaticLayer)
    assert entry.name == name
    assert entry.modality.attribution
    assert (entry.modality.density.per_day is None) == isinstance(entry, StaticLayer)


def item(**properties: Any) -> dict[str, Any]:
    ring = [[2, 48], [3, 48], [3, 49], [2, 49], [2, 48]]
    keys = ("VV", "VH", "image")
    return {
        "type": "Feature", "id": "S1A_RTC", "collection": "c", "geometry": {"type": "Polygon", "coordinates": [ring]},
        "properties": {"datetime": "2021-06-01T00:00:00Z", "sar:product_type": "RTC", **properties},
        "assets": {k: {"href": f"https://a.example/{k}.tif", "type": "image/tiff"} for k in keys},
    }  # fmt: skip


def test_two_layers_of_one_product_part_the_items(tmp_path: Path) -> None:
    lines = [
        line
        for way in ("ascending", "descending")
        for line in (
            f"- layer: s1-{way[:3]}",
            "  kind: sentinel1",
            "  providers: [a]",
            f"  where: {{ sat:orbit_state: {way} }}",
        )
    ]
    made = read(tmp_path, *lines)
    up, down = (open_source(s) for s in made.sources)
    assert isinstance(up.config, Sentinel1Source)
    assert [s.name for s in made.sources] == ["s1-asc", "s1-des"]
    scene = up.parse(item(**{"sat:orbit_state": "ASCENDING"}), "a", Provider(url="https://a.example"))
    assert scene.modality == "s1-asc"
    with pytest.raises(ItemRefused) as caught:
        down.parse(item(**{"sat:orbit_state": "ascending"}), "a", Provider(url="https://a.example"))
    assert caught.value.reason is Reason.NO_SCENE
    with pytest.raises(ItemRefused, match="did you mean 'sat:orbit_stat'") as caught:
        down.parse(item(**{"sat:orbit_stat": "ascending"}), "a", Provider(url="https://a.example"))
    assert caught.value.reason is Reason.BAD_ITEM


def test_items_that_lack_what_a_layer_needs_are_refused_with_what_they_have(tmp_path: Path) -> None:
    provider = Provider(url="https://a.example")
    made = read(tmp_path, "- layer: x", "  providers: [a]", "  collection: c", f"  {ARRAYS.replace('image#1', 'red')}")
    with pytest.raises(ItemRefused, match=r"no asset for red \(red\); it has VV, VH, image"):
        open_source(made.sources[0]).parse(item(), "a", provider)
    made = read(tmp_path, "- layer: x", "  providers: [a]", "  collection: c", f"  {ARRAYS}", "  max_scene_cloud: 0.1")
    with pytest.raises(ItemRefused, match="states no eo:cloud_cover"):
        open_source(made.sources[0]).parse(item(), "a", provider)
