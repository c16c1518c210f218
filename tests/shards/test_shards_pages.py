"""STAC items in files of their own: reached by links, valid, checked, the same in every build; pictures of samples."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pystac
import pytest
import referencing
import shapely
from PIL import Image
from pystac.validation.local_validator import get_local_schema_cache
from referencing.jsonschema import DRAFT7

import landweave
from landweave.check import Edited, check
from landweave.manifest import seal
from landweave.render import picture
from pipelines.shards import add, dataset_spec, finalise
from pipelines.shards.pages import PAGED_ROWS
from pipelines.shards.stac_items import STRAIGHT_DEG, item
from pipelines.shards.thumbnails import map_of, thumbnail
from sampling.geobox import footprint
from schemas.place import GeoBox
from tests.shards.synthetic import LEGENDS, Planned, planned, recipe
from tests.shards.test_shards_stac import validator
from tests.shards.test_shards_write import digest

PLAN = planned((3, 2, 2), sources=("sentinel2", "sentinel1", "dem"), size_m=120.0)
SCHEMAS = Path(__file__).parent / "stac_schemas"


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return PLAN.build(tmp_path_factory.mktemp("pages") / "out")


@pytest.fixture
def out(whole: Path, tmp_path: Path) -> Path:
    return shutil.copytree(whole, tmp_path / "out")


@cache
def extension(address: str) -> jsonschema.Draft7Validator:
    name = address.split("/")[3]
    text = (SCHEMAS / f"{name}.json").read_text()
    schema = json.loads(text.replace("v1.1.0", "v2.0.0") if name == "classification" else text)
    assert schema["$id"].removesuffix("#") == address
    known = [(uri, DRAFT7.create_resource(one)) for uri, one in get_local_schema_cache().items()]
    return jsonschema.Draft7Validator(schema, registry=referencing.Registry().with_resources(known))


def validated(data: dict[str, Any]) -> None:
    kind = {"Feature": "item"}.get(data["type"], data["type"].lower())
    validator(kind).validate(data)
    assert data["stac_extensions"]
    for address in data["stac_extensions"]:
        extension(address).validate(data)


def reached(collection: Path) -> list[pystac.Item]:
    return list(pystac.Collection.from_file(str(collection)).get_items(recursive=True))


def test_pystac_reaches_every_item_by_links(whole: Path) -> None:
    data = landweave.open(whole)
    collection = pystac.Collection.from_file(str(whole / "catalogue/collection.json"))
    assert [i.id for i in collection.get_items(recursive=True)] == [s.id for s in data]
    assert [len(list(child.get_items())) for child in collection.get_children()] == [3, 2, 2]
    for found, sample in zip(collection.get_items(recursive=True), data, strict=True):
        assert (found.get_root(), found.get_collection(), found.get_parent().get_parent()) == (collection,) * 3
        assert shapely.equals(shapely.geometry.shape(found.geometry), shapely.from_wkb(sample.item["geometry"]))
        assert found.properties["split"] == sample.split
        assert found.properties["captions"][0]["text"] == sample.captions[0].text
        hrefs = {name: Path(asset.get_absolute_href() or "") for name, asset in found.assets.items()}
        assert set(hrefs) == {"thumbnail", *(g for g, slots in sample.present.items() if any(slots))}
        assert all(path.exists() for path in hrefs.values())
    assert Path(collection.assets["thumbnail"].get_absolute_href() or "").is_file()


def test_all_are_valid_against_stac_and_each_extension(whole: Path) -> None:
    files = [whole / "catalogue/collection.json", *(whole / "catalogue/stac").rglob("*.json")]
    assert len(files) == 1 + 3 + 7
    for path in files:
        validated(json.loads(path.read_text()))


def test_check_covers_every_file_and_a_card_may_be_edited(out: Path) -> None:
    for name in ("stac/00001.json", "stac/00000/s000_001.json"):
        path = out / "catalogue" / name
        sound = path.read_bytes()
        path.write_bytes(sound.replace(b"s00", b"S00", 1))
        assert list(check(landweave.open(out))) == [f"catalogue/{name}: content differs from its checksum"]
        path.unlink()
        assert list(check(landweave.open(out))) == [f"catalogue/{name}: is missing"]
        path.write_bytes(sound)
    picture_file = out / "thumbnails/00002/s002_000.webp"
    picture_file.write_bytes(picture_file.read_bytes()[:-1])
    assert [fault.partition(":")[0] for fault in check(landweave.open(out))] == ["thumbnails/00002/s002_000.webp"]
    shutil.copy(out / "thumbnails/00002/s002_001.webp", picture_file)
    assert len(list(check(landweave.open(out)))) == 1


@pytest.mark.parametrize(
    "href",
    ["../../outside.json", "./../../outside.json", "/etc/passwd", "https://example.com/x.json", "a/../../x.json"],
)
def test_a_link_out_of_the_dataset_is_a_fault_and_is_not_followed(out: Path, tmp_path: Path, href: str) -> None:
    (tmp_path / "outside.json").write_text("{}")
    path = out / "catalogue/collection.json"
    collection = json.loads(path.read_text())
    size, sha256 = 2, hashlib.sha256(b"{}").hexdigest()
    collection["links"].insert(0, {"rel": "child", "href": href, "file:size": size, "file:checksum": f"1220{sha256}"})
    path.write_text(json.dumps(collection))
    (out / "catalogue/stac/00000").joinpath("s000_000.json").write_text("{}")  # what comes after it is looked at
    signed_again(out, "catalogue/collection.json")
    faults = list(check(landweave.open(out)))
    assert [fault.partition(": ")[0] for fault in faults] == [
        "catalogue/collection.json",
        "catalogue/stac/00000/s000_000.json",
    ]
    assert "is not a path inside a dataset" in faults[0]


def signed_again(out: Path, name: str) -> None:
    manifest = json.loads((out / "landweave.json").read_text())
    raw = (out / name).read_bytes()
    manifest["objects"][name].update({"size": len(raw), "sha256": hashlib.sha256(raw).hexdigest()})
    del manifest["sha256"]
    (out / "landweave.json").write_bytes(seal(manifest))


@pytest.mark.slow
def test_files_that_people_edit_are_no_fault_and_stay(out: Path, tmp_path: Path) -> None:
    for name in ("README.md", "CITATION.cff"):
        (out / name).write_text(f"{(out / name).read_text()}\nour own words\n")
    lines = list(check(landweave.open(out)))
    assert [line.partition(":")[0] for line in lines] == ["CITATION.cff", "README.md"]
    assert all(isinstance(line, Edited) and "edited" in line for line in lines)
    command = [sys.executable, "-m", "landweave", "check", str(out)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "no fault found" in done.stdout
    assert "README.md: has" in done.stdout
    second = planned((3, 2, 2), sources=("landsat",), size_m=120.0, labels=False).build(tmp_path / "more")
    add(out, str(second))
    assert all(isinstance(line, Edited) for line in check(landweave.open(out)))
    assert "our own words" in (out / "README.md").read_text()
    assert "landsat" in (out / "croissant.json").read_text() + (out / "catalogue/collection.r1.json").read_text()
    (out / "README.md").unlink()
    assert [line for line in check(landweave.open(out)) if not isinstance(line, Edited)] == ["README.md: is missing"]


def test_a_revision_has_items_of_its_own_and_the_old_ones_stay(out: Path, whole: Path, tmp_path: Path) -> None:
    second = planned((3, 2, 2), sources=("landsat",), size_m=120.0, labels=False).build(tmp_path / "more")
    add(out, str(second))
    new, old = (reached(out / "catalogue" / name) for name in ("collection.r1.json", "collection.json"))
    assert [i.id for i in new] == [i.id for i in old] == [i.id for i in reached(whole / "catalogue/collection.json")]
    assert any("landsat" in i.assets for i in new)
    assert not any("landsat" in i.assets for i in old)
    for found in new:
        assert Path(found.assets["thumbnail"].get_absolute_href() or "").is_file()
        assert found.get_root().get_self_href().endswith("collection.r1.json")
    validated(json.loads((out / "catalogue/collection.r1.json").read_text()))
    card = (out / "README.md").read_text()
    (out / "README.md").unlink()
    assert not add(out, str(second)).new
    assert (out / "README.md").read_text() == card
    path = out / "catalogue/stac.r1/00001/s001_000.json"
    path.write_bytes(path.read_bytes()[:-1])
    assert [fault.partition(":")[0] for fault in check(landweave.open(out))] == [path.relative_to(out).as_posix()]


def test_finishing_again_gives_the_same_bytes(out: Path, whole: Path) -> None:
    shutil.rmtree(out / "catalogue/stac/00001")
    (out / "catalogue/stac/00000.json").write_text("half")
    (out / "landweave.json").unlink()
    finalise(out, PLAN.dataset)
    assert digest(out) == digest(whole)


def test_large_datasets_have_no_file_for_each_sample(tmp_path: Path) -> None:
    spec = dataset_spec(recipe(samples=4_096), 5, LEGENDS)
    assert spec.rows > PAGED_ROWS
    assert not spec.pages
    assert dataset_spec(recipe(samples=4_096), 4, LEGENDS).pages
    small = Planned(dataclasses.replace(PLAN.dataset, pages=False), PLAN.shards)
    out = small.build(tmp_path / "out")
    assert not (out / "thumbnails").exists()
    assert not (out / "catalogue/stac").exists()
    assert {link.rel for link in pystac.Collection.from_file(str(out / "catalogue/collection.json")).links} >= {"store"}
    assert list(check(landweave.open(out))) == []


def drawn(raw: bytes, enlarged: int = 1) -> np.ndarray[Any, Any]:
    return np.asarray(Image.open(io.BytesIO(raw)).convert("RGB"))[::enlarged, ::enlarged]


def test_the_picture_is_the_first_image_in_colour_or_else_what_is_there(whole: Path) -> None:
    data = landweave.open(whole)
    stack = next(PLAN.stacks(PLAN.shards[0]))
    for number in (0, 1):
        cloud = {("sentinel2", number): 0.1, ("sentinel2", 1 - number): 0.9}
        seen = {k: dataclasses.replace(o, cloud_fraction=cloud.get(k)) for k, o in stack.observations.items()}
        found = drawn(thumbnail(dataclasses.replace(stack, observations=seen), PLAN.dataset), 8).astype(float)
        shown = [picture(data.sample(stack.place.sample_id), data.spec.group("sentinel2"), slot) for slot in (0, 1)]
        same = [np.corrcoef(found.ravel(), one.ravel().astype(float))[0, 1] for one in shown]
        assert int(np.argmax(same)) == number
    labels = dataclasses.replace(stack, observations={})
    first = next(g for g in PLAN.dataset.groups if g.kind == "label")
    exact = picture(data.sample(stack.place.sample_id), data.spec.group(first.name))
    np.testing.assert_array_equal(drawn(thumbnail(labels, PLAN.dataset), 8), exact)
    with pytest.raises(ValueError, match="has nothing to draw"):
        thumbnail(dataclasses.replace(labels, labels={}), PLAN.dataset)


def test_clouds_do_not_darken_the_picture() -> None:
    plan = planned((1, 1), sources=("sentinel2",), size_m=960.0, labels=False)
    stack = next(plan.stacks(plan.shards[0]))
    seen = stack.observations["sentinel2", 0]
    ground = np.broadcast_to(np.linspace(500, 1500, 96).astype(np.uint16), (4, 96, 96)).copy()
    white = ground.copy()
    white[:, :48] = 12_000
    cloud = np.zeros((48, 48), np.bool_)
    cloud[:24] = True
    found = []
    for pixels, mask in ((ground, ~cloud & cloud), (white, cloud)):
        arrays = {**seen.arrays, "bands_10m": pixels}
        one = dataclasses.replace(seen, arrays=arrays, cloud=mask, cloud_fraction=0.0)
        found.append(
            drawn(thumbnail(dataclasses.replace(stack, observations={("sentinel2", 0): one}), plan.dataset)).astype(int)
        )
    assert np.abs(found[0][56:] - found[1][56:]).mean() < 8
    assert found[1][:40].min() > 230


def test_the_map_shows_where_samples_lie_by_split() -> None:
    def box(west: float, south: float, east: float, north: float) -> dict[str, float]:
        return {"xmin": west, "ymin": south, "xmax": east, "ymax": north}

    places = [("train", box(10, 40, 11, 41)), ("test", box(29, 49, 30, 50)), ("val", box(10, 49, 10.001, 49.001))]
    seen = np.asarray(Image.open(io.BytesIO(map_of(places))))
    assert seen.shape == (256, 512, 4)
    colours = {tuple(c) for c in seen.reshape(-1, 4).tolist()}
    assert len(colours) == 4
    assert seen[250, 5].tolist() == [0, 114, 178, 255]
    assert seen[5, 508].tolist() == [204, 121, 167, 255]
    assert seen[128, 256].tolist() == [0, 0, 0, 0]
    across = np.asarray(Image.open(io.BytesIO(map_of([("val", box(179, -17, -179, -16))]))))
    assert (across[:, [0, -1], 3] == 255).all()
    assert (across[:, 100:-100, 3] == 0).all()


def test_pictures_of_large_chips_are_small() -> None:
    large = planned((1, 1), sources=("sentinel2",), size_m=10_200.0, labels=False)
    stack = next(large.stacks(large.shards[0]))
    assert drawn(thumbnail(stack, large.dataset)).shape == (255, 255, 3)


@pytest.mark.parametrize("size_m", [240, 960, 30_000])
@pytest.mark.parametrize("corner", [(32633, 500_040.0, 5_200_020.0), (32660, 826_500.0, 20_040.0), (32661, 2e6, 2e6)])
def test_footprints_keep_the_points_that_a_straight_line_needs(size_m: int, corner: tuple[int, float, float]) -> None:
    stack = next(PLAN.stacks(PLAN.shards[0]))
    epsg, x, y = corner
    box = GeoBox(epsg=epsg, x_min=x, y_max=y, resolution_m=10.0, width=size_m // 10, height=size_m // 10)
    exact = footprint(box)
    place = dataclasses.replace(stack.place, geobox=box)
    row = item(dataclasses.replace(stack, place=place), 0, 0, "train", exact, PLAN.dataset)
    kept, outline = shapely.from_wkb(row["geometry"]), shapely.geometry.shape(exact)
    assert shapely.is_valid(kept)
    assert shapely.hausdorff_distance(kept, outline, densify=0.05) <= 1.01 * STRAIGHT_DEG + 1e-9 * size_m
    assert kept.geom_type == outline.geom_type
    if size_m == 240 and epsg == 32633:
        assert len(kept.exterior.coords) == 5
    assert shapely.get_num_coordinates(kept) <= shapely.get_num_coordinates(outline)
