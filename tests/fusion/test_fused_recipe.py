"""Recipes with `kind: fused`: what they are made of, and one line per mistake before anything is fetched."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pipelines.fusion.check import check_fused
from pipelines.fusion.families import FusionError, families
from pipelines.recipes import RecipeError, read_recipe

if TYPE_CHECKING:
    from pipelines.recipes import RecipeFile

RECIPE = """name: m
seed: 1
sampling: {kind: uniform, count: 20, area: {bbox: [10, 46, 11, 47]}}
grid: {size_m: 640}
windows: [{name: w, start: 2021-06-01, end: 2021-08-31}]
providers: {p: {url: "http://127.0.0.1:1"}}
sources:
  - {kind: sentinel2, providers: [p]}
  - {kind: enmap, providers: [p]}
labels:
  - {kind: worldcover, providers: [p], year: 2020, layer: worldcover2020}
  - {kind: worldcover, providers: [p], year: 2021}
  - {kind: dynamicworld, providers: [p]}
  - {kind: raster, name: esri2021, product: Esri, providers: [p], collection: c, crosswalk: esri}
  - FUSED
"""
CROSSWALK = """product: mine
version: 1
title: Mine
nodata: [0]
sources: [{name: mine, url: "https://example.org"}]
rows:
  - {code: 10, name: a, relation: exact, to: {trees: 1.0}}
"""


def read(folder: Path, fused: str, text: str = RECIPE) -> RecipeFile:
    (folder / "recipe.yaml").write_text(text.replace("FUSED", fused))
    return read_recipe(folder / "recipe.yaml")


def test_maps_of_one_producer_vote_together(tmp_path: Path) -> None:
    file = read(tmp_path, "{kind: fused}")
    found = families(file.recipe, file.recipe.fused[0])
    assert [(f.form.family, [m.layer for m in f.maps]) for f in found] == [
        ("worldcover", ["worldcover2020", "worldcover"]),
        ("dynamicworld", ["dynamicworld"]),
        ("esri", ["esri2021"]),
    ]
    (line,) = check_fused(file)
    assert "worldcover (worldcover2020, worldcover)" in line
    assert "images sentinel2;" in line
    assert "uncalibrated" in line
    both = read(tmp_path, "{kind: fused, voters: [dynamicworld, {label: worldcover, family: dynamicworld}, esri2021]}")
    found = families(both.recipe, both.recipe.fused[0])
    assert [len(f.maps) for f in found] == [2, 1]


def test_the_recipe_without_fused_labels_is_what_is_built(tmp_path: Path) -> None:
    plain = read(tmp_path, "{kind: openstreetmap, pbf: x.osm.pbf}").recipe
    text = RECIPE.replace("grid: {size_m: 640}", "grid: {size_m: 640, resolutions: {fused: 20}}")
    both = read(tmp_path, "{kind: openstreetmap, pbf: x.osm.pbf}\n  - {kind: fused}", text).recipe
    assert both.base.sha256 == plain.sha256 != both.sha256
    assert both.resolution_of("fused", None) == 20.0
    assert plain.base is plain


@pytest.mark.parametrize(
    ("fused", "message"),
    [
        ("{kind: fused, voters: [worldcover, worldcover2020]}", r"two families .* are of one family, worldcover"),
        ("{kind: fused, voters: [esri2021]}", r"two families .* esri2021 are of one family, esri"),
        ("{kind: fused, classes: [trees, moss and lichen], voters: [dynamicworld, esri2021]}", r"no voter names 'moss"),
        ("{kind: fused, images: [enmap]}", r"the layers have 224 bands .* at most 24"),
        ("{kind: fused, reference: {file: short.csv}}", r"'short.csv' has 2 points, at least 30"),
        ("{kind: fused, reference: {file: strange.csv}}", r"'strange.csv', line 3: class 'forest' is none of water, "),
        (
            "{kind: fused, reference: {file: blank.csv}}",
            r"'blank.csv', line 2: the class is missing; it must",
        ),
        (
            "{kind: fused, voters: [{label: dynamicworld, crosswalk: silent.yaml}, worldcover]}",
            r"fused.voters: dynamicworld \(mine@1\) names no class: its crosswalk gives none to any code",
        ),
        ("{kind: fused, reference: {file: outside.csv}}", r"'outside.csv', line 2: lon 50, lat 46.5 is outside"),
        ("{kind: fused, reference: {file: nocolumn.csv}}", r"fused.reference: .*nocolumn.csv"),
        (
            "{kind: fused, voters: [{label: esri2021, crosswalk: mine.yaml}, worldcover]}",
            r"esri2021: .*no row for",
        ),
    ],
)
def test_a_fused_label_that_cannot_be_made_is_one_line(tmp_path: Path, fused: str, message: str) -> None:
    inside = "".join(f"10.{i:02d},46.5,trees\n" for i in range(40))
    (tmp_path / "short.csv").write_text("lon,lat,class\n10.5,46.5,trees\n10.5,46.6,water\n")
    (tmp_path / "strange.csv").write_text("lon,lat,class\n10.5,46.5,trees\n10.5,46.5,forest\n" + inside)
    (tmp_path / "outside.csv").write_text("lon,lat,class\n50,46.5,trees\n" + inside)
    (tmp_path / "nocolumn.csv").write_text("lon,lat,kind\n" + inside)
    (tmp_path / "mine.yaml").write_text(CROSSWALK)
    (tmp_path / "blank.csv").write_text("lon,lat,class\n10.5,46.5,\n" + inside)
    rows = "".join(f"  - {{code: {code}, name: a{code}, relation: none}}\n" for code in range(9))
    (tmp_path / "silent.yaml").write_text(CROSSWALK.partition("  - {")[0].replace("[0]", "[255]") + rows)
    with pytest.raises(FusionError, match=message) as caught:
        check_fused(read(tmp_path, fused))
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("fused", "message"),
    [
        ("{kind: fused, voters: [worldcove]}", r"fused.voters: 'worldcove' is none of"),
        ("{kind: fused, voters: [worldcover, worldcover]}", r"voters names 'worldcover' twice"),
        ("{kind: fused, images: [sentinel3]}", r"fused.images: 'sentinel3' is none of"),
        ("{kind: fused, classes: [forest]}", r"labels.4.classes.0"),
        ("{kind: fused, classes: [trees]}", r"`classes` names one class"),
        ("{kind: fused, abstain_below: 2}", r"labels.4.abstain_below"),
        ("{kind: fused, voter: [worldcover]}", r"did you mean 'voters'"),
        ("{kind: fused, reference: {file: /etc/passwd}}", r"labels.4.reference.file"),
        (
            "{kind: fused, voters: [{label: worldcover, crosswalk: mine.yaml}]}",
            r"voters.0.crosswalk: .*no row for",
        ),
        ("{kind: fused}\n  - {kind: fused}", r"fused is listed twice"),
        ("{kind: worldcover, providers: [p], year: 2019, layer: old}", r"WorldCover maps 2020 and 2021, found 2019"),
    ],
)
def test_a_wrong_entry_is_one_line_with_its_key(tmp_path: Path, fused: str, message: str) -> None:
    (tmp_path / "mine.yaml").write_text(CROSSWALK)
    with pytest.raises(RecipeError, match=message) as caught:
        read(tmp_path, fused)
    assert len(caught.value.lines) == 1


def test_captions_and_derived_layers_cannot_use_what_is_made_after_them(tmp_path: Path) -> None:
    for more in ("captions: {kind: template, facts_from: fused}", "derived: {x: fused.classes + 1}"):
        with pytest.raises(RecipeError) as caught:
            read(tmp_path, "{kind: fused}", RECIPE + more + "\n")
        assert len(caught.value.lines) == 1
        assert "fused" in caught.value.lines[0]
