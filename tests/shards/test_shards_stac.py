"""The catalogue is valid STAC 1.1 and stac-geoparquet, by schemas and by the libraries people read it with."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import Any

import duckdb
import geopandas
import jsonschema
import pyarrow.parquet as pq
import pystac
import pytest
import referencing
import shapely
import stac_geoparquet.arrow
from pystac.validation.local_validator import get_local_schema_cache
from referencing.jsonschema import DRAFT7

import landweave
from pipelines.captions.facts import facts_sha256
from pipelines.shards.ledger import in_form
from pipelines.shards.stac_items import bbox, schema
from tests.shards.synthetic import planned

GOLDEN = Path(__file__).parents[1] / "golden"
PLAN = planned((3, 3, 2), sources=("sentinel2", "sentinel1", "dem"))
PROJECTION = {
    "type": "object",
    "required": ["proj:code", "proj:shape", "proj:transform", "proj:bbox"],
    "properties": {
        "proj:code": {"type": "string", "pattern": r"^[A-Z]+:\S+$"},
        "proj:shape": {"type": "array", "minItems": 2, "maxItems": 2, "items": {"type": "integer", "minimum": 1}},
        "proj:transform": {
            "oneOf": [{"type": "array", "minItems": n, "maxItems": n, "items": {"type": "number"}} for n in (6, 9)]
        },
        "proj:bbox": {
            "oneOf": [{"type": "array", "minItems": n, "maxItems": n, "items": {"type": "number"}} for n in (4, 6)]
        },
        "proj:epsg": False,
    },
}
"""Written after the text of the projection extension, v2.0.0 (README of stac-extensions/projection)."""


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return PLAN.build(tmp_path_factory.mktemp("stac") / "out")


@pytest.fixture(scope="module")
def items(out: Path) -> list[dict[str, Any]]:
    table = pq.read_table(out / "catalogue" / "items.parquet")
    return [json.loads(json.dumps(i)) for i in stac_geoparquet.arrow.stac_table_to_items(table)]


def validator(kind: str) -> jsonschema.Draft7Validator:
    schemas = get_local_schema_cache()
    registry = referencing.Registry().with_resources(
        (uri, DRAFT7.create_resource(schema)) for uri, schema in schemas.items()
    )
    schema = schemas[f"https://schemas.stacspec.org/v1.1.0/{kind}-spec/json-schema/{kind}.json"]
    return jsonschema.Draft7Validator(schema, registry=registry, format_checker=jsonschema.FormatChecker())


def test_items_are_valid(items: list[dict[str, Any]]) -> None:
    core, projection = validator("item"), jsonschema.Draft7Validator(PROJECTION)
    assert len(items) == 8
    for item in items:
        core.validate(item)
        projection.validate(item["properties"])
        made = pystac.Item.from_dict(item)
        assert made.bbox == pytest.approx(list(shapely.geometry.shape(item["geometry"]).bounds))
        hrefs = {name: asset.href for name, asset in made.assets.items()}
        assert hrefs.pop("thumbnail") == f"../thumbnails/{item['properties']['shard']:05d}/{item['id']}.webp"
        assert all(href == f"../data.zarr/{name}" for name, href in hrefs.items())
        present = {g.name for g in PLAN.dataset.groups if any(item["properties"][f"{g.name}_present"])}
        assert set(hrefs) == present
        assert made.get_single_link("store").target == "../data.zarr"


def test_assets_point_at_groups(out: Path, items: list[dict[str, Any]]) -> None:
    assert any(item["assets"] for item in items)
    for item in items:
        for name, asset in item["assets"].items():
            if name == "thumbnail":
                assert (out / "catalogue" / asset["href"]).is_file()
                continue
            node = json.loads((out / "catalogue" / asset["href"] / "zarr.json").read_text())
            assert node["node_type"] == "group"
            assert asset["type"] == "application/vnd.zarr; version=3"


def test_collection_is_valid(out: Path) -> None:
    collection = json.loads((out / "catalogue" / "collection.json").read_text())
    validator("collection").validate(collection)
    made = pystac.Collection.from_dict(collection)
    assert made.extent.temporal.intervals[0][0].isoformat().startswith("2021-01-15T10:")
    assert collection["summaries"]["split"] == ["test", "train", "val"]
    assert "ODbL-1.0" in collection["summaries"]["licences"]
    names = [b["name"] for b in collection["item_assets"]["sentinel2"]["bands"]]
    assert names[:4] == ["B02", "B03", "B04", "B08"]


def test_the_collection_says_how_to_read_layers(out: Path) -> None:
    collection = json.loads((out / "catalogue" / "collection.json").read_text())
    assets = collection["item_assets"]
    blue = assets["sentinel2"]["bands"][0]
    assert blue["raster:scale"] == 0.0001
    assert blue["raster:offset"] == 0
    assert blue["eo:common_name"] == "blue"
    assert 0.4 < blue["eo:center_wavelength"] < 0.6
    assert blue["nodata"] == 0
    legend = assets["worldcover"]["classification:classes"]
    assert {c["value"]: c["title"] for c in legend}[10] == "Tree cover"
    assert all(re.fullmatch(r"[0-9A-Za-z_-]+", c["name"]) for c in legend)
    assert all(re.fullmatch(r"[0-9A-F]{6}", c["color_hint"]) for c in legend)
    columns = collection["assets"]["items"]["table:columns"]
    assert [c["name"] for c in columns] == pq.read_schema(out / "catalogue" / "items.parquet").names
    for link in collection["links"]:
        assert (out / "catalogue" / link["href"]).exists(), link
    assert {p["name"] for p in collection["providers"]} == set(collection["summaries"]["attribution"])


def test_properties_say_where_everything_came_from(items: list[dict[str, Any]]) -> None:
    properties = items[0]["properties"]
    assert properties["sentinel2_items"] == [["sentinel2-0-item"], ["sentinel2-1-item"]]
    assert json.loads(properties["sentinel2_radiometry"][0]) == {"B02": "as delivered", "B03": "as delivered"}
    assert properties["worldcover_version"] == "v200"
    assert properties["licences"] == ["CC-BY-4.0", "LicenseRef-Copernicus-Sentinel-Data", "ODbL-1.0", "proprietary"]
    assert properties["captions"][0]["text"].startswith("Caption of s000_000")
    stack = next(PLAN.stacks(PLAN.shards[0]))
    assert hashlib.sha256(properties["facts"].encode()).hexdigest() == facts_sha256(stack.facts)


def test_class_shares_add_up(items: list[dict[str, Any]]) -> None:
    assert {tuple(item["properties"]["worldcover_present"]) for item in items} >= {(True,)}
    for item in items:
        p = item["properties"]
        if p["worldcover_present"] == [True]:
            shares = [p[f"worldcover_{c}"] for c in ("trees", "crops", "water")]
            assert sum(shares) == pytest.approx(1.0)
            assert sum(s["share"] for s in p["worldcover_shares"]) == pytest.approx(1.0)
        else:
            assert p.get("worldcover_trees") is None


def test_duckdb_and_geopandas_read_it(out: Path) -> None:
    path = out / "catalogue" / "items.parquet"
    frame = geopandas.read_parquet(path)
    assert frame.crs.to_string() == "OGC:CRS84"
    assert frame.geometry.is_valid.all()
    assert len(geopandas.read_parquet(path, bbox=(14.9, 46.9, 15.1, 47.0))) == 8
    question = "select count(*) from read_parquet(?) where worldcover_trees > 0.2 and sentinel2_present[1]"
    assert duckdb.execute(question, [str(path)]).fetchall() == [(6,)]
    metadata = pq.read_metadata(path).metadata
    assert json.loads(metadata[b"stac-geoparquet"])["version"] == "1.1.0"
    assert json.loads(metadata[b"geo"])["columns"]["geometry"]["covering"]["bbox"]["xmin"] == ["bbox", "xmin"]


def test_bbox_of_a_footprint_across_the_antimeridian() -> None:
    east, west = shapely.box(179.9, -17, 180, -16.9), shapely.box(-180, -17, -179.9, -16.9)
    assert bbox(shapely.MultiPolygon([east, west])) == (179.9, -17, -179.9, -16.9)
    pole = shapely.box(-180, 89, 180, 90)
    assert bbox(pole) == (-180, 89, 180, 90)


@pytest.mark.parametrize("version", ["v1", "v3"])
def test_shards_of_an_older_version_go_into_todays_catalogue(version: str) -> None:
    """A dataset that an older version began can be finished: columns that it did not know are empty."""
    folder = GOLDEN / version
    whole = schema(landweave.open(folder).spec)
    table = pq.read_table(folder / "parts" / "items" / "00000.parquet", partitioning=None)
    found = in_form(table, whole)
    assert found.schema.equals(whole)
    assert found.column("openstreetmap_edited_since").null_count == len(table)
    kept = [name for name in table.column_names if name != "captions"]  # whose entries got a field since v1
    assert found.select(kept).to_pylist() == table.select(kept).to_pylist()
    assert [len(row) for row in found["captions"].to_pylist()] == [len(row) for row in table["captions"].to_pylist()]
