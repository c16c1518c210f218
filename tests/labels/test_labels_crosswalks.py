"""Crosswalks: the shipped ones are whole, bad files are refused in one line, and arrays say what the rows say."""

from __future__ import annotations

import hashlib
import json
import re
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from landweave.layout_json import spec_from_json, spec_to_json
from pipelines.crosswalks import (
    FOLDER,
    CrosswalkError,
    class_weights,
    hard_classes,
    open_shipped,
    read_crosswalk,
    shipped,
    trait_mask,
)
from pipelines.labels import legend_of
from pipelines.labels.raster import LabelChip, label_map
from pipelines.recipes import RecipeError, read_recipe
from pipelines.shards import dataset_spec
from schemas.label import COMMON_CLASSES
from schemas.recipe import Recipe
from schemas.scene import Scene

NOW = datetime(2021, 6, 1, tzinfo=UTC)
REAL = Path(__file__).parents[3] / "shared" / "real" / "stac" / "planetary_computer"


def _span(text: str) -> set[int]:
    """'1-3 7' -> {1, 2, 3, 7}."""
    found: set[int] = set()
    for part in text.split():
        first, _, last = part.partition("-")
        found |= set(range(int(first), int(last or first) + 1))
    return found


CODES = {
    "worldcover": "10 20 30 40 50 60 70 80 90 95 100",
    "dynamicworld": "0-8",
    "esri": "1 2 4 5 7-11",
    "esri-2020": "1-10",
    "corine": "111 112 121-124 131-133 141 142 211-213 221-223 231 241-244 311-313 321-324 331-335 411 412 421-423 "
    "511 512 521-523",
    "corine-grid": "1-44",
    "nlcd": "11 12 21-24 31 41-43 51 52 71-74 81 82 90 95",
    "cdl": "1-6 10-14 21-39 41-72 74-77 81-83 87 88 92 111 112 121-124 131 141-143 152 176 190 195 204-250 254",
    "modis-igbp": "1-17",
    "esa-cci": "10 11 12 20 30 40 50 60-62 70-72 80-82 90 100 110 120-122 130 140 150-153 160 170 180 190 200-202 "
    "210 220",
    "cgls-lc100": "20 30 40 50 60 70 80 90 100 111-116 121-126 200",
    "glc-fcs30d": "10 11 12 20 51 52 61 62 71 72 81 82 91 92 120-122 130 140 150 152 153 181-187 190 200-202 210 220",
    "openstreetmap": "1-16",
    "lucas": "111-113 121 122 130 211-219 221-223 231-237 241-245 251-255 271-277 281-284 291 292 310 321-323 331-333 "
    "410 420 510 520 530 610 620 630 640 711 712 721 722 730 740 750 811 812 821-823",
}
"""The codes of each legend, written down from its publication, apart from the files."""


def test_every_product_is_there() -> None:
    assert {name.partition("@")[0] for name in shipped()} == set(CODES)


@pytest.mark.parametrize("product", sorted(CODES))
def test_every_code_has_a_row(product: str) -> None:
    found = open_shipped(product).crosswalk
    assert {row.code for row in found.rows} == _span(CODES[product])
    assert all(row.name and row.colour for row in found.rows)
    assert {row.relation for row in found.rows} <= {"exact", "narrower", "broader", "mixture", "none"}
    if product == "lucas":
        assert all(row.native for row in found.rows)


def test_real_items_name_the_same_classes() -> None:
    if not REAL.is_dir():
        pytest.skip("needs ../shared/real")
    item = json.loads((REAL / "io-lulc-annual-v02.json").read_text())[0]
    said = {v: e["summary"] for e in item["assets"]["data"]["file:values"] for v in e["values"]}
    esri = open_shipped("esri").crosswalk
    assert {row.code: row.name for row in esri.rows} == {c: n for c, n in said.items() if c not in esri.nodata}


def test_two_levels() -> None:
    weights, worldcover = class_weights(open_shipped("esri").crosswalk), open_shipped("worldcover").crosswalk
    assert weights[11, COMMON_CLASSES.index("grass")] == pytest.approx(0.6)
    assert weights[11, COMMON_CLASSES.index("shrub")] == pytest.approx(0.4)
    assert weights[10].argmax() == 0  # clouds say nothing
    assert np.flatnonzero(trait_mask(worldcover, ["mangrove"])).tolist() == [95]
    assert np.flatnonzero(trait_mask(open_shipped("corine").crosswalk, ["burnt"])).tolist() == [334]
    with pytest.raises(CrosswalkError, match="'mangroves' is no trait; traits are annual crops, "):
        trait_mask(worldcover, ["mangroves"])


@given(st.sampled_from(shipped()))
def test_arrays_agree_with_rows(name: str) -> None:
    found = open_shipped(name).crosswalk
    weights, hard = class_weights(found), hard_classes(found)
    np.testing.assert_allclose(weights.sum(axis=1), 1.0, rtol=1e-6)
    for row in found.rows:
        assert COMMON_CLASSES[hard[row.code]] == row.common
        if row.to:
            assert weights[row.code, hard[row.code]] == weights[row.code].max()
    others = np.setdiff1d(np.arange(65_536), [row.code for row in found.rows])
    assert not hard[others].any()
    assert (weights[others, 0] == 1.0).all()


GOOD = """product: mine
version: 1
title: My map
nodata: [0]
sources:
  - {name: my report, url: "https://example.org/report"}
rows:
  - {code: 523, name: Sea, relation: exact, to: {water: 1}}
  - {code: 65535, name: Rangeland, relation: broader, to: {grass: 0.6, shrub: 0.4}, traits: [savanna]}
"""


def test_own_file(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(GOOD)
    found = read_crosswalk(path)
    assert found.stamp.startswith("mine@1 sha256:")
    assert class_weights(found.crosswalk)[65_535, COMMON_CLASSES.index("shrub")] == pytest.approx(0.4)
    assert found.crosswalk.legend.classes[1].common == "grass"


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("grass: 0.6", "grass: 0.7", "line 9: rows.1: code 65535 (Rangeland): the weights of `to` add up to 1.1"),
        ("code: 65535", "code: 65536", "line 9: rows.1.code: input should be less than or equal to 65535"),
        ("code: 65535", "code: 523", "line 7: rows: code 523 has two rows"),
        ("nodata: [0]", "nodata: [523]", "code 523 is a class and in `nodata`"),
        ("{water: 1}", "{sea: 1}", "rows.0.to"),
        ("{water: 1}", "{water: 0.5, bare: 0.5}", "relation 'exact' goes with exactly 1 class in `to`, found 2"),
        ("relation: exact", "relation: none", "relation 'none' goes with no class"),
        ("relation: exact", "relation: close", "line 8: rows.0.relation: input should be"),
        ("[savanna]", "[savannah]", "rows.1.traits.0: input should be"),
        ("{water: 1}", "{unknown: 1}", "'unknown' is no class to map to"),
        ("product: mine\n", "", "product: this key is required and missing"),
        ("version: 1", "version: 1\nextra: 2", "line 3: extra: unknown key"),
        ("nodata: [0]", "nodata: [-1]", "nodata.0: input should be greater than or equal to 0"),
        ("https://example.org", "file:///etc", "sources.0.url"),
        ("{water: 1}", "{water: .nan}", "line 8"),
        ("  - {code: 523", "  - {code: 523, code: 1", "duplicate key"),
    ],
)
def test_bad_files_are_one_line(tmp_path: Path, old: str, new: str, said: str) -> None:
    assert old in GOOD
    path = tmp_path / "mine.yaml"
    path.write_text(GOOD.replace(old, new))
    with pytest.raises(CrosswalkError) as caught:
        read_crosswalk(path)
    told = str(caught.value)
    assert told.startswith("mine.yaml")
    assert said in told
    assert "\n" not in told


@pytest.mark.parametrize("content", [b"", b"[1, 2]", b"\xff\xfe", b"a: b: c", b"!!python/object:os.system {}"])
def test_other_files_are_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "mine.yaml"
    path.write_bytes(content)
    with pytest.raises(CrosswalkError, match=r"^mine\.yaml"):
        read_crosswalk(path)


def test_names(tmp_path: Path) -> None:
    with pytest.raises(CrosswalkError, match=r"no crosswalk is named 'corin'; shipped are cdl@1, "):
        open_shipped("corin")
    wrong = tmp_path / "other@2.yaml"
    wrong.write_text(GOOD)
    with pytest.raises(CrosswalkError, match=r"other@2.yaml: holds mine@1; name the file mine@1.yaml"):
        read_crosswalk(wrong)
    assert open_shipped("corine").sha256 == read_crosswalk(FOLDER / "corine@1.yaml").sha256


RECIPE = """name: m
seed: 1
sampling: {kind: points, file: p.csv}
grid: {size_m: 640}
providers: {p: {url: "http://127.0.0.1:1"}}
sources: []
labels:
  - {kind: worldcover, providers: [p], year: 2020, layer: worldcover2020}
  - {kind: worldcover, providers: [p], year: 2021}
  - kind: raster
    name: mine
    product: My map
    providers: [p]
    collection: c
    crosswalk: mine.yaml
  - {kind: raster, name: corine, product: CORINE, providers: [p], collection: c, crosswalk: corine}
"""


def _read(folder: Path, text: str = RECIPE, crosswalk: str = GOOD) -> Recipe:
    (folder / "mine.yaml").write_text(crosswalk)
    (folder / "recipe.yaml").write_text(text)
    return read_recipe(folder / "recipe.yaml").recipe


def test_a_recipe_holds_what_its_crosswalks_say(tmp_path: Path) -> None:
    recipe = _read(tmp_path)
    (tmp_path / "mine.yaml").unlink()
    again = Recipe.model_validate_json(recipe.model_dump_json())
    assert again.sha256 == recipe.sha256
    assert _read(tmp_path, crosswalk=GOOD.replace("0.6, shrub: 0.4", "0.5, shrub: 0.5")).sha256 != recipe.sha256
    spec = dataset_spec(again, 1, {x.layer: legend_of(x) for x in again.labels})
    groups = {g.name: g for g in spec.groups}
    assert list(groups) == ["worldcover2020", "worldcover", "mine", "corine"]
    assert groups["mine"].crosswalk == f"mine@1 sha256:{hashlib.sha256(GOOD.encode()).hexdigest()}"
    assert groups["corine"].crosswalk == open_shipped("corine").stamp
    assert groups["worldcover"].crosswalk == open_shipped("worldcover").stamp
    assert [groups[name].arrays[0].dtype for name in groups] == ["uint8", "uint8", "uint16", "uint16"]
    assert spec_from_json(json.loads(json.dumps(spec_to_json(spec)))).groups == spec.groups


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("crosswalk: mine.yaml", "crosswalk: ../x.yaml", "line 15: labels.2.crosswalk: "),
        ("crosswalk: mine.yaml", "crosswalk: gone.yaml", "line 15: labels.2.crosswalk: "),
        ("crosswalk: mine.yaml", "crosswalk: korine", "line 15: labels.2.crosswalk: no crosswalk is named 'korine'"),
        ("    crosswalk: mine.yaml\n", "", "mine: give `classes` or `crosswalk`, found none"),
        ("crosswalk: mine.yaml", "crosswalk: mine.yaml\n    nodata: 3", "`nodata` comes from the crosswalk"),
        (", layer: worldcover2020", "", "labels.1: worldcover is listed twice"),
        ("layer: worldcover2020", "layer: dynamicworld", "'dynamicworld' is the name of a built-in layer"),
        ("layer: worldcover2020", "layer: World-Cover", "labels.0.layer: string should match pattern"),
        ("layer: worldcover2020", "crosswalk: corine, layer: other", "corine@1: has no row for code 10"),
    ],
)
def test_bad_choices_are_one_line(tmp_path: Path, old: str, new: str, said: str) -> None:
    assert old in RECIPE
    with pytest.raises(RecipeError) as caught:
        _read(tmp_path, RECIPE.replace(old, new, 1))
    assert len(caught.value.lines) == 1
    assert said in caught.value.lines[0]


def test_a_map_of_16_bits(tmp_path: Path) -> None:
    """Codes above 255 come through as they are, every fill value of the crosswalk becomes the first."""
    label = next(x for x in _read(tmp_path).labels if x.layer == "corine")
    codes = np.array([[111, 523, 999], [990, 311, 335]], np.int32)
    legend = legend_of(label)
    scene = Scene(
        item_id="i", provider="p", collection="c", modality="corine", datetime=NOW, start=NOW, end=NOW, geometry={},
        acquisition="a", product="p", revision="", assets={}, radiometry={}, licence="x", facts={"product_version": ""},
    )  # fmt: skip
    chip = LabelChip(classes=codes, valid=np.ones(codes.shape, bool))
    got = label_map(legend, scene, chip, name="corine", item_ids=("i",), reference_time=None)
    assert got.classes.dtype == np.uint16
    assert got.classes.tolist() == [[111, 523, 999], [999, 311, 335]]
    assert got.valid.tolist() == [[True, True, False], [False, True, True]]
    names = [COMMON_CLASSES[c] for c in legend.common(got.classes, got.valid).ravel()]
    assert names == ["built", "water", "unknown", "unknown", "trees", "snow and ice"]


def test_own_common_classes_of_a_known_product(tmp_path: Path) -> None:
    """A user who wants mangroves among the trees says so in a file; codes and names stay the product's."""
    text = (FOLDER / "worldcover@1.yaml").read_text().replace("product: worldcover", "product: mine")
    own = re.sub(
        r"(code: 95, .*?)relation: narrower, to: \{wetland: 1\}", r"\1relation: narrower, to: {trees: 1}", text
    )
    assert own != text
    recipe = _read(tmp_path, RECIPE.replace("layer: worldcover2020", "crosswalk: mine.yaml, layer: two"), own)
    two, one = legend_of(recipe.labels[0]), legend_of(recipe.labels[1])
    assert {c.code: c.common for c in two.classes}[95] == "trees"
    assert {c.code: c.common for c in one.classes}[95] == "wetland"
    assert [(c.code, c.name) for c in two.classes] == [(c.code, c.name) for c in one.classes]
    assert two.crosswalk.startswith("mine@1 sha256:")
