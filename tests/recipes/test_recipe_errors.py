"""A bad recipe gives one clear line: the file, the line, the key, what was found and what would be right."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from pipelines.recipes import RecipeError, json_schema, read_recipe
from schemas.source import RasterSource

GOOD: dict[str, Any] = {
    "name": "small",
    "seed": 3,
    "sampling": {"kind": "uniform", "count": 10},
    "grid": {"size_m": 960},
    "windows": [{"name": "summer", "start": "2021-06-01", "end": "2021-08-31"}],
    "providers": {"earth-search": {"url": "https://stac.example/v1"}},
    "sources": [{"kind": "sentinel2", "providers": ["earth-search"]}, {"kind": "dem", "providers": ["earth-search"]}],
    "labels": [{"kind": "worldcover", "providers": ["earth-search"]}],
    "captions": {"kind": "template"},
}


def write(folder: Path, tree: dict[str, Any]) -> Path:
    path = folder / "recipe.yaml"
    with path.open("w") as file:
        YAML(typ="safe").dump(tree, file)
    return path


def changed(*keys: str | int, to: Any = None, drop: bool = False, tree: dict[str, Any] | None = None) -> dict[str, Any]:
    tree = copy.deepcopy(GOOD if tree is None else tree)
    node: Any = tree
    for key in keys[:-1]:
        node = node[key]
    if drop:
        del node[keys[-1]]
    else:
        node[keys[-1]] = to
    return tree


def engine(*keys: str | int, to: Any) -> dict[str, Any]:
    """`changed`, of a recipe on Earth Engine."""
    return changed(*keys, to=to, tree=EARTH_ENGINE)


def test_the_good_recipe_is_good(tmp_path: Path) -> None:
    assert read_recipe(write(tmp_path, GOOD)).recipe.name == "small"


EARTH_ENGINE: dict[str, Any] = {
    **GOOD,
    "providers": {"ee": {"kind": "earthengine", "project": "my-project"}},
    "sources": [{"kind": "sentinel2", "providers": ["ee"]}, {"kind": "dem", "providers": ["ee"]}],
    "labels": [{"kind": "worldcover", "providers": ["ee"]}],
}

BAD = [
    (changed("seed", drop=True), ["seed", "required"]),
    (changed("sead", to=1), ["sead", "unknown key", "'seed'"]),
    (changed("name", to="Bad Name/.."), ["name", "Bad Name/.."]),
    (changed("seed", to=-1), ["seed", "-1"]),
    (changed("seed", to="many"), ["seed", "many"]),
    (changed("sampling", "kind", to="random"), ["sampling", "'random'", "uniform", "grid", "points"]),
    (changed("sampling", "kind", drop=True), ["sampling", "kind", "uniform", "grid", "points"]),
    (changed("sampling", "count", to=0), ["sampling.count", "greater than 0", "0"]),
    (changed("sampling", "area", to={"bbox": [0, 10, 5, -10]}), ["bbox", "south 10", "north -10"]),
    (changed("sampling", "area", to={"bbox": [0, -100, 5, 10]}), ["bbox", "-100"]),
    (changed("sampling", "area", to={"bbox": [0, 0, 1, 1], "file": "a.geojson"}), ["area", "not both"]),
    (changed("sampling", "area", to={"file": "/home/me/a.geojson"}), ["area.file", "relative to the recipe"]),
    (changed("grid", "size_m", to=1234), ["size_m 1234", "pixels of resolution_m 10", "size_m: 1230 or 1240"]),
    (changed("grid", "resolutions", to={"sentinel3": 10}), ["resolutions", "'sentinel3'", "sentinel2"]),
    (changed("windows", 0, "end", to="2021-01-01"), ["windows.0", "ends 2021-01-01 before it starts 2021-06-01"]),
    (changed("windows", 0, "start", to="June"), ["windows.0.start", "June"]),
    (changed("windows", to=[]), ["sentinel2", "windows"]),
    (changed("providers", to={}), ["sentinel2", "'earth-search'", "not defined"]),
    (changed("providers", "earth-search", "url", to="https://me:secret@x.org/v1"), ["url", "credentials"]),
    (changed("sources", to=7), ["sources", "7"]),
    (changed("sources", 0, "kind", to="sentinel9"), ["sources.0", "'sentinel9'", "landsat"]),
    (changed("sources", 0, "max_clouds", to=0.1), ["sources.0.max_clouds", "unknown key", "'max_cloud'"]),
    (changed("sources", 0, "max_cloud", to=30), ["sources.0.max_cloud", "less than or equal to 1", "30"]),
    (changed("sources", 0, "windows", to=["winter"]), ["'winter'", "summer"]),
    (changed("sources", 1, to=GOOD["sources"][0]), ["sentinel2 is listed twice"]),
    (changed("captions", "facts_from", to="openstreetmap"), ["facts_from 'openstreetmap'", "worldcover"]),
    (changed("splits", to={"train": 0.5, "val": 0.1, "test": 0.1}), ["splits", "must be 1", "0.7"]),
    (changed("splits", to={"block_m": 100, "buffer_m": 200}), ["buffer_m 200", "block_m 100"]),
    (changed("shards", to={"samples": 0}), ["shards.samples", "0"]),
    (changed("providers", "earth-search", "urll", to="x"), ["providers.earth-search.urll", "unknown key", "'url'"]),
    (changed("providers", "earth-search", "kind", to="stack"), ["providers.earth-search", "'stack'", "earthengine"]),
    (changed("sources", 0, "collections", to={"pc": "x"}), ["sentinel2", "'pc'", "earth-search"]),
    (
        changed("labels", 0, to={"kind": "dynamicworld", "providers": ["earth-search"], "composite": "mode"}),
        ["dynamicworld", "composite: mode", "'earth-search'"],
    ),
    (engine("providers", "ee", "slot", to=9), ["providers.ee.slot", "unknown key", "'slots'"]),
    (engine("providers", "ee", "eecu_hours", to=0), ["providers.ee.eecu_hours", "greater than 0"]),
    (engine("providers", "ee", "url", to="https://me:secret@x.org/v1"), ["providers.ee.url", "credentials"]),
    (engine("providers", "e2", to={"kind": "earthengine"}), ["providers", "'ee'", "'e2'", "one project"]),
    (engine("sources", 0, "kind", to="enmap"), ["enmap", "does not have"]),
    (engine("sources", 0, "collection", to="COPERNICUS/S2"), ["sentinel2", "S2_SR_HARMONIZED", "'COPERNICUS/S2'"]),
    (engine("sources", 0, "kind", to="sentinel1"), ["sentinel1", "product: grd", "gamma0"]),
    (
        engine("labels", 0, to={"kind": "dynamicworld", "providers": ["ee"], "min_probability": 0.5}),
        ["min_probability", "composite: probability"],
    ),
]


@pytest.mark.parametrize(("tree", "words"), BAD, ids=[str(i) for i in range(len(BAD))])
def test_a_bad_recipe_gives_one_clear_line(tmp_path: Path, tree: dict[str, Any], words: list[str]) -> None:
    with pytest.raises(RecipeError) as caught:
        read_recipe(write(tmp_path, tree))
    assert len(caught.value.lines) == 1, caught.value.lines
    line = caught.value.lines[0]
    assert line.startswith("recipe.yaml")
    assert "\n" not in line
    for word in words:
        assert word in line, line
    assert "secret" not in line


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", ["nothing"]),
        ("- a\n- b\n", ["a mapping"]),
        ("name: a\nname: b\n", ["line 2", "duplicate"]),
        ("name: a\n\tseed: 1\n", ["line 2", "not valid YAML"]),
        ("name: [a\n", ["not valid YAML"]),
        ("name: &x [*x]\nseed: 1", ["name"]),
    ],
)
def test_a_file_that_is_no_recipe_gives_one_clear_line(tmp_path: Path, text: str, words: list[str]) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text(text)
    with pytest.raises(RecipeError) as caught:
        read_recipe(path)
    for word in words:
        assert word in caught.value.lines[0]


def test_missing_file_folder_and_binary_file(tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_bytes(b"\xff\xfe\x00\x80")
    for path, word in ((tmp_path / "no.yaml", "no such"), (tmp_path, "folder"), (tmp_path / "x.yaml", "text file")):
        with pytest.raises(RecipeError, match=word):
            read_recipe(path)


def test_earth_engines_collections_need_not_be_named(tmp_path: Path) -> None:
    recipe = read_recipe(write(tmp_path, EARTH_ENGINE)).recipe
    provider, source, label = recipe.providers["ee"], recipe.sources[0], recipe.labels[0]
    assert source.collection_at("ee", provider) == "COPERNICUS/S2_SR_HARMONIZED"
    assert isinstance(label, RasterSource)
    assert label.collection_at("ee", provider) == "ESA/WorldCover/v100,ESA/WorldCover/v200"
    tree = engine("labels", 0, "collections", to={"ee": "ESA/WorldCover/v200"})
    (label,) = read_recipe(write(tmp_path, tree)).recipe.labels
    assert isinstance(label, RasterSource)
    assert label.collection_at("ee", provider) == "ESA/WorldCover/v200"


def test_the_line_number_is_the_line(tmp_path: Path) -> None:
    path = write(tmp_path, changed("sources", 0, "max_cloud", to=7.5))
    number = next(i for i, line in enumerate(path.read_text().splitlines(), 1) if "7.5" in line)
    with pytest.raises(RecipeError) as caught:
        read_recipe(path)
    assert f"line {number}:" in caught.value.lines[0]


def test_overrides_are_applied_and_checked(tmp_path: Path) -> None:
    path = write(tmp_path, GOOD)
    recipe = read_recipe(path, ["sampling.count=99", "sources.0.max_cloud=0.05", "shards.samples=7"]).recipe
    assert recipe.sampling.kind == "uniform"
    assert recipe.sampling.count == 99
    assert recipe.shards.samples == 7
    for bad in ("sampling.count", "sources.9.max_cloud=1", "name.x=1"):
        with pytest.raises(RecipeError, match="--set"):
            read_recipe(path, [bad])


def test_the_hash_depends_on_what_is_said_and_not_on_how(tmp_path: Path) -> None:
    first = read_recipe(write(tmp_path, GOOD)).recipe
    reordered = dict(reversed(list(GOOD.items())))
    assert read_recipe(write(tmp_path, reordered)).recipe.sha256 == first.sha256
    assert read_recipe(write(tmp_path, changed("seed", to=4))).recipe.sha256 != first.sha256


def test_the_published_schema_is_the_recipes() -> None:
    import json

    published = Path(__file__).parents[2] / "docs" / "recipe.schema.json"
    assert json.loads(published.read_text()) == json_schema(), (
        "run: python -m pipelines schema > docs/recipe.schema.json"
    )


@pytest.mark.parametrize(("said", "line"), [
    ("{ by: attr_n, quantile: 4 }", "subset.keep.0.quantile: unknown key; did you mean 'quantiles'?"),
    ("biome", "subset.keep.0: string should match pattern"),
    ("7", "subset.keep.0: expected a mapping (KEY: value), found 7"),
    ("{ by: attr_n, bins: [3, 2] }", "subset.keep.0: attr_n: bins must ascend, found 3 before 2"),
])  # fmt: skip
def test_a_mistake_in_what_names_a_stratum_is_one_line(tmp_path: Path, said: str, line: str) -> None:
    text = write(tmp_path, GOOD).read_text() + f"subset:\n  count: 5\n  keep: [{said}]\n"
    (tmp_path / "r.yaml").write_text(text)
    with pytest.raises(RecipeError) as caught:
        read_recipe(tmp_path / "r.yaml")
    (only,) = caught.value.lines
    assert f"line {len(text.splitlines())}: {line}" in only


@pytest.mark.parametrize(("keys", "value", "said"), [
    (("sources", 0, "providers"), "earth-search", "sources.0.providers: expected a list ([...]), found 'earth-search'"),
    (("labels",), "worldcover", "labels: expected a list ([...]), found 'worldcover'"),
    (("sources",), {"kind": "dem"}, "sources: expected a list ([...]), found a mapping (KEY: value)"),
    (("grid", "size_m"), [960], "grid.size_m: expected a number, found a list"),
    (("providers",), ["pc"], "providers: expected a mapping (KEY: value), found a list"),
    (("derived",), ["ndvi"], "derived: expected a mapping (KEY: value), found a list"),
])  # fmt: skip
def test_a_value_of_the_wrong_form_is_said_in_plain_words(
    tmp_path: Path, keys: tuple[str | int, ...], value: Any, said: str
) -> None:
    with pytest.raises(RecipeError) as caught:
        read_recipe(write(tmp_path, changed(*keys, to=value)))
    (line,) = caught.value.lines
    assert said in line


@pytest.mark.parametrize(("tree", "where"), [
    (changed("sources", 0, "providers", to=["pc"]), "sources.0.providers: sentinel2: provider 'pc' is not defined"),
    (changed("sources", 0, "windows", to=["winter"]), "sources.0.windows: sentinel2: window 'winter' is not defined"),
    (changed("sources", to=[GOOD["sources"][0]] * 2), "sources.1: sentinel2 is listed twice"),
    (changed("windows", to=[GOOD["windows"][0]] * 2), "windows.1: summer is listed twice"),
    (changed("grid", "size_m", to=965), "grid.size_m: size_m 965 is not a whole number"),
    (changed("grid", "resolutions", to={"landsat": 10}), "grid.resolutions.landsat: 'landsat' is no source or label"),
    (changed("quality", to={"require": {"landsat": 1}}), "quality.require: 'landsat' is no source of this recipe"),
    (changed("quality", to={"require": {"dem": 2}}), "quality.require.dem: 2 dates are required and 1 are asked for"),
    (changed("splits", to={"by": "attr_split"}), "splits.by: attr_split takes the splits from column 'split'"),
    (changed("captions", to={"kind": "column", "column": "t"}), "captions.kind: kind column takes texts from the file"),
    (changed("captions", to={"kind": "template", "facts_from": "x"}), "captions.facts_from: facts_from 'x' is not"),
    (changed("labels", 0, "layer", to="dem"), "sources.1: 'dem' is the name of a source and of a label"),
    (changed("labels", 0, "layer", to="attr"), "labels.0: 'attr' is the prefix of attribute columns"),
    (engine("sources", 0, to={"kind": "enmap", "providers": ["ee"]}), "sources.0: enmap: Earth Engine"),
])  # fmt: skip
def test_a_mistake_across_sections_says_its_line(tmp_path: Path, tree: dict[str, Any], where: str) -> None:
    path = write(tmp_path, tree)
    with pytest.raises(RecipeError) as caught:
        read_recipe(path)
    (line,) = caught.value.lines
    assert where in line
    number = int(line.partition("recipe.yaml line ")[2].partition(":")[0])
    key = where.partition(":")[0].split(".")[0]
    text = path.read_text().splitlines()
    assert any(text[i].startswith(key) for i in range(number)), (line, text)


@pytest.mark.parametrize(
    ("tree", "said"),
    [
        (
            changed("labels", 0, "crosswalk", to="mine.yaml"),
            "labels.0.crosswalk: 'mine.yaml' does not exist; its path is relative to the recipe",
        ),
        (
            changed("labels", 0, "crosswalk", to="no-such"),
            "labels.0.crosswalk: no crosswalk is named 'no-such'; shipped are ",
        ),
        (
            changed("sources", 0, "kind", to="mine.yaml"),
            "sources.0.kind: 'mine.yaml' does not exist; its path is relative to the recipe",
        ),
        (
            changed("sources", 0, "where", to={"sat:orbit_state": []}),
            "sources.0.where: sat:orbit_state: the list is empty, so no item would do",
        ),
        (
            changed("sources", 0, "where", to={"a": {"b": 1}}),
            "sources.0.where: a: give a text, a number or true/false, or a list of these",
        ),
        *(
            (
                changed("providers", "earth-search", to=to),
                f"providers.earth-search.{key}: expected an address that {{}}",
            )
            for key, to in (
                ("url", {"url": "ftp://x/stac"}),
                ("url", {"url": "S3://bucket/items.parquet"}),
                ("signing.url", {"url": "https://x", "signing": {"url": "ftp://x"}}),
            )
        ),
        (
            engine("providers", "ee", "url", to="ftp://x"),
            "providers.ee.url: expected an address that begins with https:// or http://, found ftp://",
        ),
        (
            changed("captions", to={"kind": "llm", "model": "m", "base_url": "localhost:8000/v1"}),
            "captions.base_url: expected an address that begins with https:// or http://, found none",
        ),
    ],
)
def test_a_mistake_names_its_place_once(tmp_path: Path, tree: dict[str, Any], said: str) -> None:
    with pytest.raises(RecipeError) as refused:
        read_recipe(write(tmp_path, tree))
    (line,) = refused.value.lines
    place, words = said.replace("{}", "begins with https:// or http://, found ").split(": ", 1)
    assert line.partition(": ")[2].startswith(f"{place}: {words}"), line


@pytest.mark.parametrize("kind", ["classes", "bands"])
def test_an_unknown_class_is_not_offered_as_one(tmp_path: Path, kind: str) -> None:
    for word, said in (("tree", "input should be 'water', 'trees'"), ("unknown", "'unknown' is no class to map to")):
        fused = {
            "classes": {"classes": ["water", word]},
            "bands": {"voters": ["worldcover", {"label": "sentinel2", "bands": {"B02": word}}]},
        }[kind]
        tree = changed("labels", to=[*GOOD["labels"], {"kind": "fused", **fused}])
        with pytest.raises(RecipeError) as refused:
            read_recipe(write(tmp_path, tree))
        (line,) = refused.value.lines
        assert said in line
        assert line.count("unknown") == (2 if word == "unknown" and "found" in line else word == "unknown")
