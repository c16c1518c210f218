"""A synthetic dataset of millions of samples for `benchmarks.catalogue`, finished by the real finaliser.

One shard is written by the real writer: 4,096 samples of 8 x 8 pixels with a label, captions with claims, and facts.
The others are that shard at other places of Europe, with other sample ids: their pixels are links to the same objects,
so that ten million samples take the disk of their catalogue alone.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import shutil
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import shapely

from landweave.layout import part, shard_manifest
from landweave.manifest import ObjectSum, ShardManifest, shard_from_bytes, shard_to_bytes
from pipelines.shards import ShardRows, dataset_spec, write_shard
from schemas.caption import Caption, ClassShare, Facts
from schemas.label import LabelClass, LabelMap, Legend
from schemas.outcome import Outcome, Reason
from schemas.place import GeoBox, Place
from schemas.recipe import Recipe
from schemas.stack import Observation, Stack

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from landweave.layout import DatasetSpec

EACH = 4_096
"""Samples of a shard."""
EDGE = 8
"""Pixels along a sample."""
_LEGEND = Legend(
    product="benchmark",
    nodata=255,
    classes=tuple(
        LabelClass(code=c, name=n, colour="#206040", common=n) for c, n in enumerate(("trees", "crops", "water"))
    ),
    source="made for benchmarks",
)
_START = datetime(2021, 1, 5, 10, 30, tzinfo=UTC)
_WORDS = ("forest", "fields", "lake", "village", "river", "road", "meadow", "orchard", "ridge", "valley", "harbour")


def spec_of(shards: int) -> DatasetSpec:
    """The form of the dataset."""
    recipe = Recipe.model_validate(
        {
            "name": "catalogue",
            "description": "made for benchmarks.catalogue",
            "licence": "CC-BY-4.0",
            "seed": 1,
            "sampling": {"kind": "uniform", "count": shards * EACH},
            "grid": {"size_m": EDGE * 10.0},
            "windows": [
                {"name": "winter", "start": "2021-01-01", "end": "2021-03-31"},
                {"name": "summer", "start": "2021-06-01", "end": "2021-08-31"},
            ],
            "providers": {"earth": {"url": "http://localhost/stac"}},
            "sources": [{"kind": "sentinel1", "providers": ["earth"]}],
            "labels": [{"kind": "worldcover", "providers": ["earth"]}],
            "captions": {"kind": "template"},
            "shards": {"samples": EACH},
        }
    )
    return dataset_spec(recipe, shards, {"worldcover": _LEGEND})


def make_parts(out: Path, samples: int) -> DatasetSpec:
    """All shards of a dataset that is not finished yet; returns its form.

    Args:
        out: its folder; what is there is removed.
        samples: at least this many samples, rounded up to whole shards.
    """
    shutil.rmtree(out, ignore_errors=True)
    shards = -(-samples // EACH)
    spec = spec_of(shards)
    names = names_of(0)
    plan = ShardRows(index=0, split="train", sample_ids=names)
    places = [_place(names[row], row) for row in range(EACH)]
    write_shard(out, plan, _stacks(spec, places), spec, {p.sample_id: _footprint(p) for p in places})
    model = shard_from_bytes((out / shard_manifest(0)).read_bytes(), shard_manifest(0))
    items, ledger = (pq.read_table(out / part(kind, 0), partitioning=None) for kind in ("items", "ledger"))
    for number in range(1, shards):
        _copy(out, spec, model, items, ledger, number, split_of(number, shards))
    return spec


def split_of(number: int, shards: int) -> str:
    """The split of a shard: 8 of 10 are train."""
    return "train" if number < shards * 0.8 else "val" if number < shards * 0.9 else "test"


def names_of(number: int) -> tuple[str, ...]:
    """Ids of the samples of a shard."""
    return tuple(hashlib.blake2b(f"{number}/{row}".encode(), digest_size=10).hexdigest() for row in range(EACH))


def _copy(
    out: Path, spec: DatasetSpec, model: ShardManifest, items: pa.Table, ledger: pa.Table, number: int, split: str
) -> None:
    """The model shard at another place."""
    names = names_of(number)
    objects: dict[str, ObjectSum] = {}
    for array in spec.arrays:
        target = out / array.object(number)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.hardlink_to(out / array.object(0))
        objects[array.object(number)] = model.objects[array.object(0)]
    east, north = (number % 50) * 0.9, (number // 50) * 0.4
    table = moved(items, names, number, split, east, north)
    rows = ledger.set_column(0, "sample_id", pa.array(np.repeat(names, len(ledger) // EACH)))
    rows = rows.set_column(rows.schema.get_field_index("shard"), "shard", pa.array([number] * len(rows), pa.int32()))
    for kind, content in (("items", table), ("ledger", rows)):
        path = out / part(kind, number)  # type: ignore[arg-type]
        pq.write_table(content, path, compression="zstd", compression_level=1, write_statistics=False)
        objects[part(kind, number)] = ObjectSum(path.stat().st_size, hashlib.sha256(path.read_bytes()).hexdigest())  # type: ignore[arg-type]
    (out / part("statistics", number)).hardlink_to(out / part("statistics", 0))
    objects[part("statistics", number)] = model.objects[part("statistics", 0)]
    manifest = dataclasses.replace(model, shard=number, split=split, samples=names, objects=objects)
    (out / shard_manifest(number)).write_bytes(shard_to_bytes(manifest))


def moved(items: pa.Table, names: tuple[str, ...], number: int, split: str, east: float, north: float) -> pa.Table:
    """The items of the model shard at another place, with their dates some days later."""
    lon, lat = pc.add(items["lon"], east), pc.add(items["lat"], north)
    edges = items["bbox"].combine_chunks().flatten()
    moved = [pc.add(edge, by) for edge, by in zip(edges, (east, north, east, north), strict=True)]
    boxes = shapely.box(*(m.to_numpy() for m in moved))
    later = pa.scalar(timedelta(days=number % 60))
    new = {
        "id": pa.array(names),
        "geometry": pa.array(shapely.to_wkb(boxes)),
        "bbox": pa.StructArray.from_arrays(moved, fields=list(items.schema.field("bbox").type)),
        "lon": lon,
        "lat": lat,
        "split": pa.array([split] * len(items)),
        "shard": pa.array([number] * len(items), pa.int32()),
        "block": pa.array([f"b{number}"] * len(items)),
        **{n: pc.add(items[n], later).cast(items.schema.field(n).type) for n in _TIMES},
    }
    for name, values in new.items():
        items = items.set_column(items.schema.get_field_index(name), items.schema.field(name), values)
    return items


_TIMES = ("datetime", "start_datetime", "end_datetime")


def _place(name: str, row: int) -> Place:
    """Rows of a shard lie in rows of 64, one after the other, as a plan lays them along a curve."""
    x, y = row % 64, row // 64
    box = GeoBox(
        epsg=32632,
        x_min=400_000.0 + 1_000.0 * x,
        y_max=5_200_000.0 + 1_000.0 * y,
        resolution_m=10.0,
        width=EDGE,
        height=EDGE,
    )
    return Place(
        sample_id=name, lon=-9.0 + 0.014 * x, lat=36.0 + 0.006 * y, geobox=box, split="train", block="b0", cell="c"
    )


def _footprint(place: Place) -> dict[str, Any]:
    west, south, east, north = place.lon - 5e-4, place.lat - 4e-4, place.lon + 5e-4, place.lat + 4e-4
    ring = [[west, south], [east, south], [east, north], [west, north], [west, south]]
    return {"type": "Polygon", "coordinates": [ring]}


def _stacks(spec: DatasetSpec, places: list[Place]) -> Iterator[Stack]:
    for row, place in enumerate(places):
        rng = np.random.default_rng(row)
        stack = Stack(place=place)
        for slot in range(2):
            stack.observations["sentinel1", slot] = _observation(rng, spec, row, slot)
            stack.outcomes.append(_there(place, "sentinel1", slot))
        classes = rng.integers(0, 3, (EDGE, EDGE)).astype(np.uint8)
        stack.labels["worldcover"] = LabelMap(
            label="worldcover", classes=classes, valid=np.ones((EDGE, EDGE), np.bool_), legend=_LEGEND, version="v200",
            year=2021, date_gap_days=0, item_ids=("W",), licence="CC-BY-4.0",
        )  # fmt: skip
        stack.outcomes.append(_there(place, "worldcover", 0))
        stack.facts, stack.captions = _texts(rng)
        yield stack


def _there(place: Place, layer: str, slot: int) -> Outcome:
    return Outcome(sample_id=place.sample_id, layer=layer, slot=slot, reason=Reason.OK, provider="earth")


def _observation(rng: np.random.Generator, spec: DatasetSpec, row: int, slot: int) -> Observation:
    arrays = {
        a.name: rng.normal(0.1, 0.02, a.chip_shape).astype(a.dtype)
        for a in spec.group("sentinel1").arrays
        if a.role == "pixels"
    }
    return Observation(
        modality="sentinel1", slot=slot, datetime=_START + timedelta(days=170 * slot + row % 20), arrays=arrays,
        valid=np.ones((EDGE, EDGE), np.bool_), cloud=None, valid_fraction=1.0, cloud_fraction=None,
        item_ids=(f"S1A_{row:05d}_{slot}",), provider="earth", radiometry={}, resampling=dict.fromkeys(arrays, "none"),
        licence="CC-BY-4.0",
    )  # fmt: skip


def _texts(rng: np.random.Generator) -> tuple[Facts, list[Caption]]:
    """Facts and a caption of some 60 words with claims, as long as those of the template."""
    shares = sorted(rng.dirichlet((2, 2, 1)) * 100)[::-1]
    facts = Facts(
        label="worldcover",
        overall=tuple(
            ClassShare(name=n, percent=round(p), pixels=round(p)) for n, p in zip(_COMMON, shares, strict=True)
        ),
    )
    words = " ".join(rng.choice(_WORDS, 60))
    claims = [
        {
            "source": ["worldcover/classes"],
            "predicate": "share",
            "about": [name],
            "low": float(percent) - 0.05,
            "high": float(percent) + 0.05,
            "words": " ".join(rng.choice(_WORDS, 4)),
        }
        for name, percent in zip(_COMMON, shares, strict=True)
    ]
    caption = Caption(
        text=f"Trees cover {shares[0]:.1f} percent. {words}.", captioner="template", model=None,
        prompt_version="benchmark", facts_sha256="0" * 64, checks=("claims",), attempts=1, fallback=False, tokens=0,
        claims=json.dumps(claims),
    )  # fmt: skip
    return facts, [caption]


_COMMON = ("trees", "crops", "water")
