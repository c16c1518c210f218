"""The frozen plan on disk: Parquet tables of samples, scenes, candidates and absences, one row group a shard."""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
import os
import shutil
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import urlsplit

import pyarrow as pa
import pyarrow.parquet as pq

from schemas.outcome import Outcome, Reason
from schemas.place import GeoBox, Place
from schemas.recipe import Recipe
from schemas.scene import AssetBand, Candidate, Radiometry, Scene

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    from schemas.scene import Coefficients, Shape

PLAN_VERSION = 1
"""Version of the plan's tables; a plan of another version is refused."""

CandidateKey = tuple[str, str, int]
"""(sample id, layer, slot)."""


class PlanError(RuntimeError):
    """The plan on disk cannot be used; the text says why and what to do."""


@dataclass(frozen=True, kw_only=True)
class ShardPlan:
    """All that building one shard needs to know."""

    index: int
    """Shard number, 0-based."""
    places: tuple[Place, ...]
    """Samples in row order; all of one split."""
    scenes: dict[str, dict[str, Scene]]
    """Layer -> item id -> scene: every scene that a candidate of this shard names."""
    candidates: dict[CandidateKey, tuple[Candidate, ...]]
    """Possible observations, best first."""
    absences: dict[CandidateKey, Outcome]
    """Wishes known at planning to stay unfulfilled."""

    @property
    def split(self) -> str:
        """The split all places belong to."""
        return self.places[0].split


@dataclass(kw_only=True)
class Plan:
    """A plan in memory, as the planner makes it."""

    recipe: Recipe
    shards: list[tuple[Place, ...]]
    """Places by shard, in row order."""
    scenes: dict[str, dict[str, Scene]] = field(default_factory=dict)
    """Layer -> item id -> scene."""
    candidates: dict[CandidateKey, tuple[Candidate, ...]] = field(default_factory=dict)
    absences: dict[CandidateKey, Outcome] = field(default_factory=dict)
    left_out: dict[str, int] = field(default_factory=dict)
    """Why drawn points did not become samples -> how many."""
    searches: int = 0
    """Search requests spent."""
    estimate: dict[str, float] = field(default_factory=dict)
    """What the build is expected to cost."""
    inputs: dict[str, str] = field(default_factory=dict)
    """Files the plan was made from -> SHA-256."""
    extract: str | None = None
    """File name of the prepared map extract in the work folder."""
    notes: tuple[str, ...] = ()
    """What the user should know about the samples, one line each."""


@dataclass(frozen=True, kw_only=True)
class Hrefs:
    """Writes a provider's own address as 'provider://name/...', so that plans hold no host that moves."""

    origins: Mapping[str, str]
    """Provider name -> scheme://host[:port] of its API now."""

    def shorten(self, href: str) -> str:
        """Address -> what the plan stores."""
        for name in sorted(self.origins):
            origin = self.origins[name]
            if href.startswith(origin + "/"):
                return f"provider://{name}/{href[len(origin) + 1 :]}"
        return href

    def expand(self, stored: str) -> str:
        """What the plan stores -> address now."""
        if not stored.startswith("provider://"):
            return stored
        name, _, rest = stored.removeprefix("provider://").partition("/")
        return f"{self.origins[name]}/{rest}"


@dataclass(frozen=True, kw_only=True)
class PlanSummary:
    """plan.json: what stands in the plan, for people and for checks."""

    recipe_sha256: str
    samples: int
    shards: int
    scenes: dict[str, int]
    left_out: dict[str, int]
    searches: int
    estimate: dict[str, float]
    unavailable: dict[str, int]
    """Layer -> wishes that could not even be planned because the archive did not answer."""
    inputs: dict[str, str]
    splits: dict[str, int]
    extract: str | None = None
    notes: tuple[str, ...] | list[str] = ()
    version: int = PLAN_VERSION

    @classmethod
    def of(cls, plan: Plan) -> Self:
        """The summary of a plan."""
        unavailable: dict[str, int] = {}
        for (_, layer, _), outcome in plan.absences.items():
            if outcome.reason.retryable:
                unavailable[layer] = unavailable.get(layer, 0) + 1
        return cls(
            recipe_sha256=plan.recipe.sha256,
            samples=sum(len(s) for s in plan.shards),
            shards=len(plan.shards),
            scenes={layer: len(scenes) for layer, scenes in sorted(plan.scenes.items())},
            left_out=dict(sorted(plan.left_out.items())),
            searches=plan.searches,
            estimate=plan.estimate,
            unavailable=dict(sorted(unavailable.items())),
            inputs=dict(sorted(plan.inputs.items())),
            splits=dict(sorted(Counter(p.split for places in plan.shards for p in places).items())),
            extract=plan.extract,
            notes=plan.notes,
        )

    def text(self) -> str:
        """The plan as lines for a person."""
        e = self.estimate
        lines = [
            f"samples   {self.samples:,} in {self.shards} shards ("
            + ", ".join(f"{name} {count:,}" for name, count in self.splits.items())
            + ")",
            "left out  " + (", ".join(f"{k.replace('_', ' ')} {v:,}" for k, v in self.left_out.items()) or "none"),
            "scenes    " + (", ".join(f"{k} {v:,}" for k, v in self.scenes.items()) or "none"),
            f"searches  {self.searches:,} requests",
            f"to fetch  about {e['requests']:,.0f} requests, {e['bytes'] / 1e6:,.1f} MB",
            f"to build  about {_duration(e['seconds'])} with one worker",
        ]
        if "earthengine_requests" in e:
            least, most = e["earthengine_eecu_hours_least"], e["earthengine_eecu_hours_most"]
            lines.append(
                f"at Earth Engine  about {e['earthengine_requests']:,.0f} requests, "
                f"{e['earthengine_bytes'] / 1e6:,.1f} MB, {e['earthengine_eecu_hours']:,.3g} EECU-hours "
                f"({least:,.3g} to {most:,.3g}: no prices are published), "
                f"{_duration(3600 * e['earthengine_hours'])} at the quota"
            )
        lines += [f"note      {note}" for note in self.notes]
        lines += [
            f"missing   {k}: {v:,} wishes could not be planned, the archive did not answer"
            for k, v in self.unavailable.items()
        ]
        return "\n".join(lines)


def _duration(seconds: float) -> str:
    return (
        f"{seconds / 3600:.1f} h"
        if seconds >= 5400
        else f"{seconds / 60:.0f} min"
        if seconds >= 90
        else f"{seconds:.0f} s"
    )


def write_plan(folder: Path, plan: Plan, hrefs: Hrefs) -> PlanSummary:
    """Write a plan aside and put it in place in one step; an existing plan is replaced."""
    aside = folder.with_name(f".{folder.name}-{os.getpid()}")
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir(parents=True)
    found = _keys_by_shard(plan, plan.candidates)
    absent = _keys_by_shard(plan, plan.absences)
    tables: list[tuple[str, pa.Schema, Callable[[int], list[dict[str, Any]]]]] = [
        ("samples", _SAMPLES, lambda i: _sample_rows(plan, i)),
        ("scenes", _SCENES, lambda i: _scene_rows(plan, found[i], hrefs)),
        ("candidates", _CANDIDATES, lambda i: _candidate_rows(plan, found[i])),
        ("absences", _ABSENCES, lambda i: _absence_rows(plan, absent[i])),
    ]
    for name, schema, rows_of in tables:
        with pq.ParquetWriter(aside / f"{name}.parquet", schema, compression="zstd") as writer:
            for shard in range(len(plan.shards)):
                table = pa.Table.from_pylist(rows_of(shard), schema=schema)
                writer.write_table(table, row_group_size=max(1, table.num_rows))
    summary = PlanSummary.of(plan)
    (aside / "recipe.json").write_text(plan.recipe.model_dump_json(indent=2) + "\n")
    (aside / "plan.json").write_text(json.dumps(dataclasses.asdict(summary), indent=2, sort_keys=True) + "\n")
    old = folder.with_name(f".{folder.name}-old-{os.getpid()}")
    if folder.exists():
        folder.rename(old)
    aside.rename(folder)
    shutil.rmtree(old, ignore_errors=True)
    return summary


def read_summary(folder: Path) -> PlanSummary | None:
    """plan.json, or None where there is no plan.

    Raises:
        PlanError: the plan is of another version or damaged.
    """
    path = folder / "plan.json"
    if not path.exists():
        return None
    try:
        content = json.loads(path.read_text())
        version = content.get("version")
        if version != PLAN_VERSION:
            raise PlanError(
                f"{path.name}: the plan has version {version}, this landweave writes {PLAN_VERSION}: plan again"
            )
        return PlanSummary(**content)
    except (json.JSONDecodeError, TypeError, AttributeError) as error:
        raise PlanError(f"{path.name}: damaged ({error}); delete the plan folder and plan again") from None


def read_recipe_of(folder: Path) -> Recipe:
    """The resolved recipe that the plan was made from."""
    return Recipe.model_validate_json((folder / "recipe.json").read_text())


def read_shard(folder: Path, index: int, hrefs: Hrefs) -> ShardPlan:
    """The part of the plan that one shard needs; reads one row group of each table."""
    rows = {
        name: _row_group(folder / f"{name}.parquet", index) for name in ("samples", "scenes", "candidates", "absences")
    }
    scenes: dict[str, dict[str, Scene]] = {}
    for row in rows["scenes"]:
        scene = _scene_from(json.loads(row["scene"]), hrefs)
        scenes.setdefault(row["layer"], {})[scene.item_id] = scene
    candidates: dict[CandidateKey, list[Candidate]] = {}
    for row in rows["candidates"]:
        candidate = Candidate(scenes=tuple(row["scenes"]), datetime=row["datetime"], rank=tuple(row["rank"]))
        candidates.setdefault((row["sample_id"], row["layer"], row["slot"]), []).append(candidate)
    absences = {
        (row["sample_id"], row["layer"], row["slot"]): Outcome(
            sample_id=row["sample_id"],
            layer=row["layer"],
            slot=row["slot"],
            reason=Reason(row["reason"]),
            provider=row["provider"],
            item_ids=tuple(row["item_ids"]),
            detail=row["detail"],
        )
        for row in rows["absences"]
    }
    return ShardPlan(
        index=index,
        places=tuple(_place_from(row) for row in rows["samples"]),
        scenes=scenes,
        candidates={key: tuple(value) for key, value in candidates.items()},
        absences=absences,
    )


def read_plan(folder: Path, hrefs: Hrefs) -> Plan:
    """A whole plan back into memory.

    Raises:
        PlanError: there is none, or it is damaged.
    """
    summary = read_summary(folder)
    if summary is None:
        raise PlanError(f"{folder.name}: no plan here")
    plan = Plan(recipe=read_recipe_of(folder), shards=[], left_out=summary.left_out, searches=summary.searches)
    plan.inputs, plan.extract, plan.notes = summary.inputs, summary.extract, tuple(summary.notes)
    for index in range(summary.shards):
        shard = read_shard(folder, index, hrefs)
        plan.shards.append(shard.places)
        plan.candidates |= shard.candidates
        plan.absences |= shard.absences
        for layer, scenes in shard.scenes.items():
            plan.scenes.setdefault(layer, {}).update(scenes)
    return plan


def _row_group(path: Path, index: int) -> list[dict[str, Any]]:
    file = pq.ParquetFile(path)
    if index >= file.num_row_groups:
        raise PlanError(f"{path.name}: has {file.num_row_groups} shards, shard {index} was asked for: plan again")
    rows: list[dict[str, Any]] = file.read_row_group(index).to_pylist()
    return rows


_TIME = pa.timestamp("us", tz="UTC")
_SAMPLES = pa.schema(
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
_SCENES = pa.schema([("layer", pa.string()), ("item_id", pa.string()), ("scene", pa.string())])
_CANDIDATES = pa.schema(
    [
        ("sample_id", pa.string()),
        ("layer", pa.string()),
        ("slot", pa.int32()),
        ("datetime", _TIME),
        ("scenes", pa.list_(pa.string())),
        ("rank", pa.list_(pa.float64())),
    ]
)
_ABSENCES = pa.schema(
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


def _sample_rows(plan: Plan, shard: int) -> list[dict[str, Any]]:
    rows = []
    for row, place in enumerate(plan.shards[shard]):
        flat = dataclasses.asdict(place)
        box = flat.pop("geobox")
        rows.append({**flat, **box, "shard": shard, "row": row})
    return rows


def _place_from(row: dict[str, Any]) -> Place:
    box = {f.name: row[f.name] for f in dataclasses.fields(GeoBox)}
    return Place(geobox=GeoBox(**box), **{f.name: row[f.name] for f in dataclasses.fields(Place) if f.name != "geobox"})


def _keys_by_shard(plan: Plan, keys: Iterable[CandidateKey]) -> list[list[CandidateKey]]:
    """Keys sorted inside their shard."""
    shard_of = {place.sample_id: index for index, places in enumerate(plan.shards) for place in places}
    grouped: list[list[CandidateKey]] = [[] for _ in plan.shards]
    for key in sorted(keys):
        grouped[shard_of[key[0]]].append(key)
    return grouped


def _scene_rows(plan: Plan, keys: Sequence[CandidateKey], hrefs: Hrefs) -> list[dict[str, Any]]:
    named = sorted({(key[1], item) for key in keys for c in plan.candidates[key] for item in c.scenes})
    scene_of = plan.scenes
    return [{"layer": n, "item_id": item, "scene": _scene_json(scene_of[n][item], hrefs)} for n, item in named]


def _candidate_rows(plan: Plan, keys: Sequence[CandidateKey]) -> list[dict[str, Any]]:
    return [
        {"sample_id": s, "layer": layer, "slot": slot, "datetime": c.datetime, "scenes": c.scenes, "rank": c.rank}
        for s, layer, slot in keys
        for c in plan.candidates[(s, layer, slot)]
    ]


def _absence_rows(plan: Plan, keys: Sequence[CandidateKey]) -> list[dict[str, Any]]:
    outcomes = [plan.absences[key] for key in keys]
    return [{**dataclasses.asdict(outcome), "reason": outcome.reason.value} for outcome in outcomes]


def _scene_json(scene: Scene, hrefs: Hrefs) -> str:
    content = dataclasses.asdict(scene)
    for key in ("datetime", "start", "end"):
        content[key] = content[key].isoformat()
    for asset in content["assets"].values():
        asset["href"] = hrefs.shorten(asset["href"])
    return json.dumps(content, sort_keys=True)


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


def origins_of(urls: Mapping[str, str]) -> dict[str, str]:
    """Provider name -> scheme://host[:port] of its URL."""
    parts = {name: urlsplit(url) for name, url in urls.items()}
    return {name: f"{p.scheme}://{p.netloc}" for name, p in parts.items()}
