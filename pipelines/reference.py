"""The reference page of recipes, docs/recipe.md, made from the schema: every key, its type, its default, an example."""

from __future__ import annotations

import json
from typing import Any

from pipelines.presets import shipped
from pipelines.recipes import json_schema

Json = dict[str, Any]
_TOP = """# The recipe, key by key

Made from the schema by `python -m pipelines schema --page > docs/recipe.md`; `docs/language.md` says how the parts
belong together. `python -m pipelines init first.yaml` writes a recipe to begin from, and `python -m pipelines describe
URL COLLECTION` the block of a collection. A key without a default is required.

Presets, products that need no description (`kind: NAME` in `sources`): {presets}.

"""
_EXAMPLES: Json = {
    "number": 0.5,
    "integer": 4,
    "boolean": True,
    "string": "text",
    "null": None,
}
_NAMED: Json = {
    "seed": 7, "name": "my-dataset", "licence": "CC-BY-4.0", "description": "What it is", "size_m": 1920,
    "resolution_m": 10, "snap_m": 60, "url": "https://stac.example/v1", "file": "places.geojson", "layer": "s1-asc",
    "providers": ["pc"], "collection": "sentinel-2-l2a", "collections": {"pc": "landsat-c2-l2"},
    "where": {"sat:orbit_state": "ascending"}, "assets": {"B02": "blue_band"}, "windows": ["summer"],
    "resolutions": {"landsat": 10}, "extents": {"era5": 66792},
    "start": "2021-06-01", "end": "2021-08-31", "target": "2021-07-15",
    "bbox": [11.0, 48.0, 12.0, 48.5], "asset": "image#1", "bits": [1, 2, 3], "values": [3, 8, 9, 10], "dtype": "uint16",
    "nodata": 0, "scale": 0.0001, "unit": "reflectance", "bands": {"red": "image#1", "green": "image#2"},
    "arrays": {"rgb": {"resolution_m": 0.6, "dtype": "uint8", "bands": {"R": "image#1"}}},
    "clouds": {"asset": "QA_PIXEL", "bits": [1, 2, 3, 4]}, "earthengine": "MODIS/061/MOD09A1", "terrain": "elevation",
    "of": "mean(dem.elevation)", "polygons": "ecoregions.parquet", "table": "income.csv", "column": "name",
    "crs": "EPSG:2154", "common_name": "red", "center_um": 0.665, "fwhm_um": 0.04, "title": "My orthophotos",
    "edge_km": 110, "per_day": 0.35, "stratify": ["attr_biome"],
    "quantiles": 10, "bins": [50, 100], "bands_per_chunk": {"sentinel2": 1, "enmap": 8}, "requests_per_sample": 4,
}  # fmt: skip
"""Key -> an example that says more than its type does."""


_WHOLE: Json = {
    "windows": [{"name": "summer", "start": "2021-06-01", "end": "2021-08-31"}],
    "providers": {
        "pc": {"url": "https://planetarycomputer.microsoft.com/api/stac/v1", "dialect": "planetary-computer"}
    },
    "sampling": {"kind": "uniform", "count": 1000, "area": {"bbox": [11.0, 48.0, 12.0, 48.5]}},
    "sources": [{"kind": "sentinel2", "providers": ["pc"], "max_cloud": 0.2}],
    "labels": [{"kind": "worldcover", "providers": ["pc"]}],
    "splits": {"train": 0.8, "val": 0.1, "test": 0.1},
    "quality": {"min_modalities": 2},
    "subset": {"fraction": 0.1, "keep": ["attr_biome", {"by": "attr_agbd", "quantiles": 10}]},
    "numbers": {"height": "mean(dem.elevation)", "biome": {"polygons": "ecoregions.parquet", "column": "BIOME_NAME"}},
    "shards": {"samples": 256},
}
"""Examples of the recipe's own sections."""
_USUAL = {
    "by": "selects the rule of the splits",
    "product": "name of the product, to display",
    "note": "remark for people",
    "per_sample": "captions per sample",
    "max_tokens": "most tokens of one answer",
    "temperature": "temperature of the model",
    "facts_from": "label layer for the class shares; the first if absent",
    "kind": "selects this section",
    "name": "name: lower-case letters, digits and '-'",
    "description": "what the dataset is, for people",
    "seed": "number that all random choices come from",
    "train": "share of the samples for training",
    "val": "share of the samples for validation",
    "test": "share of the samples for tests",
    "collection": "collection id at the provider; separate several with commas",
}
"""Meaning of keys that need no more words."""


def page() -> str:
    """The page as Markdown."""
    schema = json_schema()
    definitions: Json = schema["$defs"]
    presets = ", ".join(f"`{name}`" for name in shipped())
    parts = [_TOP.format(presets=presets), _section("Recipe", schema, definitions)]
    return "".join([*parts, *(_section(n, definitions[n], definitions) for n in _in_order(schema, definitions))])


def _in_order(schema: Json, definitions: Json) -> list[str]:
    """Sections in the order in which a reader meets them."""
    found: list[str] = []
    waiting = _references(schema.get("properties", {}))
    while waiting:
        name = waiting.pop(0)
        if name not in found:
            found.append(name)
            waiting = [*_references(definitions[name]), *waiting]
    return [name for name in found if "properties" in definitions[name]]


def _references(node: Any) -> list[str]:
    if isinstance(node, list):
        return [name for inner in node for name in _references(inner)]
    if not isinstance(node, dict):
        return []
    own = [str(node["$ref"]).rpartition("/")[2]] if "$ref" in node else []
    return own + [name for key, inner in node.items() if key != "discriminator" for name in _references(inner)]


def _section(name: str, schema: Json, definitions: Json) -> str:
    about = str(schema.get("description", "")).split("\n\n")
    rows = [
        _row(key, field, (_WHOLE.get(key) if name == "Recipe" else None), schema, definitions)
        for key, field in schema.get("properties", {}).items()
    ]
    head = "| key | type | default | meaning | example |\n|---|---|---|---|---|\n"
    return f"## {name}\n\n{' '.join(' '.join(about).split())}\n\n{head}{''.join(rows)}\n"


def _row(key: str, field: Json, example: Any, schema: Json, definitions: Json) -> str:
    said = "see below" if _references(field) else _USUAL.get(key, "")
    default = "required" if key in schema.get("required", ()) else _code(field["default"]) if "default" in field else ""
    cells = [
        f"`{key}`",
        _kind(field, definitions),
        default,
        " ".join(str(field.get("description", said)).split()),
        _code({key: _example(key, field, definitions) if example is None else example}),
    ]
    return "| " + " | ".join(cell.replace("|", "/") for cell in cells) + " |\n"


def _kind(field: Json, definitions: Json) -> str:  # noqa: PLR0911 - one for each form of JSON Schema
    if "$ref" in field:
        name = str(field["$ref"]).rpartition("/")[2]
        return (
            f"[{name}](#{name.lower()})" if "properties" in definitions[name] else _kind(definitions[name], definitions)
        )
    if "const" in field:
        return _code(field["const"])
    if "enum" in field:
        return " or ".join(_code(v) for v in field["enum"])
    for union in ("anyOf", "oneOf"):
        if union in field:
            return " or ".join(dict.fromkeys(_kind(each, definitions) for each in field[union]))
    kind = str(field.get("type", "any"))
    if kind == "array" and isinstance(field.get("items"), dict):
        return f"list of {_kind(field['items'], definitions)}"
    if kind == "object" and isinstance(field.get("additionalProperties"), dict):
        return f"mapping to {_kind(field['additionalProperties'], definitions)}"
    return {"null": "null", "integer": "whole number"}.get(kind, kind)


def _example(key: str, field: Json, definitions: Json) -> Any:  # noqa: PLR0911 - one for each form
    """A value that the key takes."""
    if "const" in field:
        return field["const"]
    if key in _NAMED and field.get("type") != "boolean":
        return _NAMED[key]
    if "$ref" in field:
        return _filled(definitions[str(field["$ref"]).rpartition("/")[2]], definitions)
    if "enum" in field:
        return field["enum"][-1]
    for union in ("anyOf", "oneOf"):
        if union in field:
            return _example(key, field[union][0], definitions)
    if field.get("type") == "array" and isinstance(field.get("items"), dict):
        return [_example("", field["items"], definitions)]
    if field.get("type") == "object":
        inner = field.get("additionalProperties")
        return {"name": _example("", inner, definitions)} if isinstance(inner, dict) else {}
    least = field.get("minimum", field.get("exclusiveMinimum"))
    if field.get("default") is not None:
        return field["default"]
    return _EXAMPLES.get(str(field.get("type")), "text") if not least else max(least, 1)


def _filled(schema: Json, definitions: Json) -> Any:
    """A section with the keys that it requires, and its kind."""
    if "properties" not in schema:
        return _example("", schema, definitions)
    wanted = [k for k, f in schema["properties"].items() if k in schema.get("required", ()) or "const" in f]
    return {key: _example(key, schema["properties"][key], definitions) for key in wanted}


def _code(value: Any) -> str:
    """A value as one line of YAML in code marks."""
    text = _flow(value)
    return f"`{text}`" if len(text) <= 160 else f"`{text[:157]}...`"


def _flow(value: Any, top: bool = True) -> str:
    if isinstance(value, dict):
        inner = ", ".join(f"{key}: {_flow(v, top=False)}" for key, v in value.items())
        return inner if top and value else "{ " + inner + " }" if value else "{}"
    if isinstance(value, list):
        return "[" + ", ".join(_flow(v, top=False) for v in value) + "]"
    if isinstance(value, str) and value and value.replace("-", "").replace("_", "").replace("/", "").isalnum():
        return value
    return json.dumps(value, ensure_ascii=False)
