"""Columns of the plan's tables, and the conversion between records and columns."""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from schemas.attribute import PREFIX
from schemas.outcome import Outcome, Reason
from schemas.place import GeoBox, Place
from schemas.scene import AssetBand, Candidate, Radiometry, Scene

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from pipelines.tables.records import CandidateKey, Hrefs, PartPlan
    from schemas.attribute import AttributeType
    from schemas.scene import Coefficients, Shape

_TIME = pa.timestamp("us", tz="UTC")
SAMPLES = pa.schema(
    [
        ("sample_id", pa.string()),
        ("shard", pa.int32()),
        ("row", pa.int32()),
        ("split", pa.string()),
        ("lon", pa.float64()),
        ("lat", pa.float64()),
        ("epsg", pa.int32()),
        ("x_min", pa.float64()),
        ("y_max", pa.float64()),
        ("resolution_m", pa.float64()),
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("block", pa.string()),
        ("cell", pa.string()),
        ("stratum", pa.string()),
    ]
)
SCENES = pa.schema([("layer", pa.string()), ("item_id", pa.string()), ("scene", pa.string())])
CANDIDATES = pa.schema(
    [
        ("sample_id", pa.string()),
        ("layer", pa.string()),
        ("slot", pa.int32()),
        ("datetime", _TIME),
        ("scenes", pa.list_(pa.string())),
        ("rank", pa.list_(pa.float64())),
    ]
)
ABSENCES = pa.schema(
    [
        ("sample_id", pa.string()),
        ("layer", pa.string()),
        ("slot", pa.int32()),
        ("reason", pa.string()),
        ("provider", pa.string()),
        ("item_ids", pa.list_(pa.string())),
        ("detail", pa.string()),
    ]
)
_SCENE, _ASSET, _RADIOMETRY = (tuple(f.name for f in dataclasses.fields(c)) for c in (Scene, AssetBand, Radiometry))


def samples_schema(attributes: Mapping[str, AttributeType]) -> pa.Schema:
    """Columns of the samples table: SAMPLES, and one per attribute, sorted by name."""
    return pa.schema([*SAMPLES, *((PREFIX + n, pa.type_for_alias(attributes[n])) for n in sorted(attributes))])


def scene_rows(part: PartPlan, keys: Iterable[CandidateKey], known: dict[int, str], hrefs: Hrefs) -> pa.Table:
    """The scenes that candidates of `keys` name; `known` holds what was written before, by the scene's id()."""
    named = sorted({(key[1], item) for key in keys for c in part.candidates[key] for item in c.scenes})
    texts = []
    for layer, item in named:
        scene = part.scenes[layer][item]
        if id(scene) not in known:
            known[id(scene)] = _scene_json(scene, hrefs)
        texts.append(known[id(scene)])
    return pa.Table.from_arrays([[n for n, _ in named], [i for _, i in named], texts], schema=SCENES)


def candidate_rows(part: PartPlan, keys: Sequence[CandidateKey]) -> pa.Table:
    """The candidates of `keys`, best first."""
    flat = [(key, c) for key in keys for c in part.candidates[key]]
    columns: list[list[Any]] = [
        [key[0] for key, _ in flat],
        [key[1] for key, _ in flat],
        [key[2] for key, _ in flat],
        [c.datetime for _, c in flat],
        [c.scenes for _, c in flat],
        [c.rank for _, c in flat],
    ]
    return _table(columns, CANDIDATES)


def absence_rows(part: PartPlan, keys: Sequence[CandidateKey]) -> pa.Table:
    """The absences of `keys`."""
    found = [part.absences[key] for key in keys]
    columns = [[getattr(outcome, name) for outcome in found] for name in ABSENCES.names]
    return _table(columns, ABSENCES)


def _table(columns: Sequence[Sequence[Any]], schema: pa.Schema) -> pa.Table:
    return pa.Table.from_arrays(
        [pa.array(c, type=field.type) for c, field in zip(columns, schema, strict=True)], schema=schema
    )


def place_from(row: Mapping[str, Any]) -> Place:
    """A row of the samples table as a Place."""
    box = {f.name: row[f.name] for f in dataclasses.fields(GeoBox)}
    attributes = tuple((name.removeprefix(PREFIX), row[name]) for name in row if name.startswith(PREFIX))
    rest = {f.name: row[f.name] for f in dataclasses.fields(Place) if f.name not in ("geobox", "attributes")}
    return Place(geobox=GeoBox(**box), attributes=attributes, **rest)


def candidates_from(rows: Iterable[Mapping[str, Any]]) -> dict[CandidateKey, tuple[Candidate, ...]]:
    """Rows of the candidates table, best first."""
    found: dict[CandidateKey, list[Candidate]] = {}
    for row in rows:
        candidate = Candidate(scenes=tuple(row["scenes"]), datetime=row["datetime"], rank=tuple(row["rank"]))
        found.setdefault((row["sample_id"], row["layer"], row["slot"]), []).append(candidate)
    return {key: tuple(value) for key, value in found.items()}


def absences_from(rows: Iterable[Mapping[str, Any]]) -> dict[CandidateKey, Outcome]:
    """Rows of the absences table."""
    outcomes = (Outcome(**{**r, "reason": Reason(r["reason"]), "item_ids": tuple(r["item_ids"])}) for r in rows)
    return {(o.sample_id, o.layer, o.slot): o for o in outcomes}


def scenes_from(rows: Iterable[Mapping[str, Any]], hrefs: Hrefs) -> dict[str, dict[str, Scene]]:
    """Rows of the scenes table: layer -> item id -> scene."""
    found: dict[str, dict[str, Scene]] = {}
    for row in rows:
        scene = _scene_from(json.loads(row["scene"]), hrefs)
        found.setdefault(row["layer"], {})[scene.item_id] = scene
    return found


def _scene_json(scene: Scene, hrefs: Hrefs) -> str:
    content = _fields(scene, _SCENE)  # not asdict, which copies every value: plans hold many thousand scenes
    for key in ("datetime", "start", "end"):
        content[key] = content[key].isoformat()
    content["assets"] = {
        band: _fields(asset, _ASSET) | {"href": hrefs.shorten(asset.href)} for band, asset in scene.assets.items()
    }
    content["radiometry"] = {band: _fields(rule, _RADIOMETRY) for band, rule in scene.radiometry.items()}
    return json.dumps(content, sort_keys=True)


def _fields(record: Any, names: tuple[str, ...]) -> dict[str, Any]:
    return {name: getattr(record, name) for name in names}


def _pair(asset: Mapping[str, Any]) -> Shape | None:
    return None if asset.get("shape") is None else (asset["shape"][0], asset["shape"][1])


def _six(asset: Mapping[str, Any]) -> Coefficients | None:
    if asset.get("transform") is None:
        return None
    a, b, c, d, e, f = asset["transform"]
    return (a, b, c, d, e, f)


def _scene_from(content: dict[str, Any], hrefs: Hrefs) -> Scene:
    content["assets"] = {
        band: AssetBand(
            href=hrefs.expand(asset["href"]), index=asset["index"], shape=_pair(asset), transform=_six(asset)
        )
        for band, asset in content["assets"].items()
    }
    content["radiometry"] = {band: Radiometry(**rule) for band, rule in content["radiometry"].items()}
    for key in ("datetime", "start", "end"):
        content[key] = dt.datetime.fromisoformat(content[key])
    return Scene(**content)
