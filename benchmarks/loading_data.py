"""The synthetic dataset for `benchmarks.loading`, with the entropy of real scenes, written by the real writer.

A sample is 2640 m wide: Sentinel-2 (12 bands at 10, 20 and 60 m, scene classes), Sentinel-1 (VV, VH), Landsat
(7 bands), DEM and three label maps with their masks: 1.9 MB decoded. Fields are fractal land with the noise of the
sensor on top, so that Sentinel-2 compresses by some 1.6 with blosc-zstd-1, as real scenes do; nine of ten chips are
valid everywhere, half are without a cloud.
"""

from __future__ import annotations

import json
import shutil
from datetime import UTC, datetime
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

import landweave
from pipelines.shards import ShardRows, dataset_spec, finalise, write_shard
from schemas.label import LabelClass, LabelMap, Legend
from schemas.modality import MODALITIES
from schemas.outcome import Outcome, Reason
from schemas.place import GeoBox, Place
from schemas.recipe import Recipe
from schemas.stack import Observation, Stack

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from landweave.layout import DatasetSpec

VERSION = 1
"""Grows when the data change, so that a kept copy is made again."""
SIZE_M, SHARDS = 2640.0, 4
SOURCES = ("sentinel2", "sentinel1", "landsat", "dem")
LABELS = ("worldcover", "dynamicworld", "openstreetmap")
_SCENE = 1024
_CLASSES = 8
_TIME = datetime(2021, 6, 1, 10, 30, tzinfo=UTC)
_LEGEND = Legend(
    product="benchmark",
    nodata=255,
    classes=tuple(
        LabelClass(code=c, name=f"class {c}", colour=f"#{c * 30:02x}40c0", common="trees") for c in range(_CLASSES)
    ),
    source="made for benchmarks",
)


def make_dataset(folder: Path, samples: int) -> Path:
    """The dataset below `folder`, made once."""
    out = folder / f"landweave-{samples}"
    mark = folder / f"landweave-{samples}.json"
    made = json.dumps({"version": VERSION, "layout": landweave.layout.LAYOUT_VERSION, "codecs": _codecs(samples)})
    if mark.exists() and mark.read_text() == made and (out / "landweave.json").exists():
        return out
    shutil.rmtree(out, ignore_errors=True)
    spec = spec_of(SHARDS, samples // SHARDS)
    each = samples // SHARDS
    for number in range(SHARDS):
        names = tuple(f"p{number}_{row:03d}" for row in range(each))
        write_rows(
            out, spec, ShardRows(index=number, split="train" if number < SHARDS - 1 else "val", sample_ids=names)
        )
    finalise(out, spec)
    mark.write_text(made)
    return out


def write_rows(out: Path, spec: DatasetSpec, plan: ShardRows) -> None:
    """Write one shard."""
    places = [_place(plan, row) for row in range(len(plan.sample_ids))]
    write_shard(out, plan, _stacks(spec, places), spec, {p.sample_id: _footprint(p) for p in places})


def _codecs(samples: int) -> dict[str, list[Any]]:
    arrays = spec_of(SHARDS, samples // SHARDS).arrays
    return {a.path: [a.codec.cname, a.codec.level, a.codec.shuffle] for a in arrays}


def spec_of(shards: int, each: int, sources: tuple[str, ...] = SOURCES, **packing: Any) -> DatasetSpec:
    """The form of the dataset with this many shards of `each` samples, of these sources and all labels.

    `packing` is what its recipe says of shards besides that.
    """
    recipe = Recipe.model_validate(
        {
            "name": "loading",
            "description": "made for benchmarks.loading",
            "licence": "CC-BY-4.0",
            "seed": 1,
            "sampling": {"kind": "uniform", "count": shards * each},
            "grid": {"size_m": SIZE_M},
            "windows": [{"name": "summer", "start": "2021-06-01", "end": "2021-08-31"}],
            "providers": {"earth": {"url": "http://localhost/stac"}},
            "sources": [{"kind": s, "providers": ["earth"]} for s in sources],
            "labels": [
                {"kind": "worldcover", "providers": ["earth"]},
                {"kind": "dynamicworld", "providers": ["earth"]},
                {"kind": "openstreetmap", "pbf": "x.osm.pbf"},
            ],
            "captions": {"kind": "template"},
            "shards": {"samples": each, **packing},
        }
    )
    return dataset_spec(recipe, shards, dict.fromkeys(LABELS, _LEGEND))


def _place(plan: ShardRows, row: int) -> Place:
    box = GeoBox(
        epsg=32633,
        x_min=400_020.0 + SIZE_M * row,
        y_max=5_200_020.0 + SIZE_M * plan.index,
        resolution_m=10.0,
        width=round(SIZE_M / 10),
        height=round(SIZE_M / 10),
    )
    return Place(
        sample_id=plan.sample_ids[row],
        lon=13.0 + 0.03 * row,
        lat=47.0 + 0.03 * plan.index,
        geobox=box,
        split=plan.split,  # type: ignore[arg-type]
        block=f"b{plan.index}",
        cell="496U_12R",
    )


def _footprint(place: Place) -> dict[str, Any]:
    west, south, east, north = place.lon - 0.015, place.lat - 0.012, place.lon + 0.015, place.lat + 0.012
    ring = [[west, south], [east, south], [east, north], [west, north], [west, south]]
    return {"type": "Polygon", "coordinates": [ring]}


def _stacks(spec: DatasetSpec, places: list[Place]) -> Iterator[Stack]:
    for place in places:
        rng = np.random.default_rng([VERSION, round(place.geobox.x_min), round(place.geobox.y_max)])
        stack = Stack(place=place)
        for group in spec.groups:
            if group.kind == "modality":
                stack.observations[group.name, 0] = _observation(rng, spec, group.name)
            else:
                stack.labels[group.name] = _label(rng, group.name, group.arrays[0].chip_shape)
            stack.outcomes.append(Outcome(sample_id=place.sample_id, layer=group.name, slot=0, reason=Reason.OK))
        yield stack


@cache
def _land(seed: int) -> NDArray[np.float32]:
    """(1024, 1024), mean 0, deviation 1: a fractal with the power spectrum of land, 1/f^1.6 in amplitude."""
    rng = np.random.default_rng(seed)
    fx, fy = np.meshgrid(np.fft.rfftfreq(_SCENE), np.fft.fftfreq(_SCENE))
    power = np.maximum(np.hypot(fx, fy), 1 / _SCENE) ** -1.6
    wave = np.fft.irfft2(power * np.exp(2j * np.pi * rng.random(power.shape)), s=(_SCENE, _SCENE))
    land: NDArray[np.float32] = ((wave - wave.mean()) / wave.std()).astype(np.float32)
    return land


def _field(rng: np.random.Generator, shape: tuple[int, ...]) -> NDArray[np.float32]:
    """A crop of land, at the grid of `shape`."""
    scene = _land(int(rng.integers(12)))
    height, width = shape[-2:]
    step = max(1, 264 // height)
    y, x = (int(rng.integers(0, _SCENE - edge * step + 1)) for edge in (height, width))
    return scene[y : y + height * step : step, x : x + width * step : step]


def _observation(rng: np.random.Generator, spec: DatasetSpec, name: str) -> Observation:
    group, modality = spec.group(name), MODALITIES[name]
    arrays = {a.name: _pixels(rng, a.kind, np.dtype(a.dtype), a.chip_shape) for a in group.arrays if a.role == "pixels"}
    clear, whole = rng.random(2) < (0.5, 0.9)
    valid = _field(rng, group.array("valid").chip_shape) < (np.inf if whole else 1.0)
    cloud = _field(rng, group.array("cloud").chip_shape) > (np.inf if clear else 1.0) if modality.cloud_layer else None
    return Observation(
        modality=name,
        slot=0,
        datetime=_TIME,
        arrays=arrays,
        valid=valid,
        cloud=cloud,
        valid_fraction=float(valid.mean()),
        cloud_fraction=None if cloud is None else float(cloud.mean()),
        item_ids=(f"{name}-item",),
        provider="earth",
        radiometry={},
        resampling=dict.fromkeys(arrays, "none"),
        licence=modality.licence,
        terrain=modality.terrain,
    )


def _pixels(rng: np.random.Generator, kind: str, dtype: np.dtype[Any], shape: tuple[int, ...]) -> NDArray[Any]:
    land = _field(rng, shape)
    if kind != "continuous":
        return np.clip(4 + 2 * land, 0, 11).astype(np.int64).astype(dtype)
    if dtype.kind == "f" and shape[0] == 1:
        return (600 + 150 * land + 0.05 * rng.standard_normal(shape, np.float32)).astype(dtype)
    if dtype.kind == "f":
        return (-12 + 3 * land + 1.2 * rng.standard_normal(shape, np.float32)).astype(dtype)
    level = np.linspace(600, 2600, shape[0], dtype=np.float32)[:, None, None]
    return np.clip(level * (1 + 0.25 * land) + 40 * rng.standard_normal(shape, np.float32), 1, 20_000).astype(dtype)


def _label(rng: np.random.Generator, name: str, shape: tuple[int, ...]) -> LabelMap:
    classes = np.clip(4 + 1.6 * _field(rng, shape), 0, _CLASSES - 1).astype(np.uint8)
    return LabelMap(
        label=name,
        classes=classes,
        valid=np.ones(shape, np.bool_),
        legend=_LEGEND,
        version="v1",
        year=2021,
        date_gap_days=None if name == "openstreetmap" else 3,
        item_ids=(f"{name}-item",),
        licence="CC-BY-4.0",
    )
