"""What goes into a shard comes out: through the reader, plain zarr-python and xarray; the same bytes every time."""

from __future__ import annotations

import dataclasses
import hashlib
import threading
from typing import TYPE_CHECKING

import numpy as np
import pyarrow.parquet as pq
import pytest
import xarray as xr
import zarr

import landweave
from pipelines.shards import (
    IncompleteError,
    OtherDatasetError,
    done_shards,
    finalise,
    withdraw,
    write_shard,
)
from tests.shards.synthetic import HOSTILE, LEGENDS, absent, planned

if TYPE_CHECKING:
    from pathlib import Path

PLAN = planned()


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return PLAN.build(tmp_path_factory.mktemp("dataset") / "out")


def digest(root: Path) -> dict[str, str]:
    """Every file below a folder and its hash."""
    return {
        str(p.relative_to(root)): hashlib.sha256(p.read_bytes()).hexdigest()
        for p in sorted(root.rglob("*"))
        if p.is_file()
    }


def kept_stacks():
    for shard in PLAN.shards:
        for row, stack in enumerate(PLAN.stacks(shard)):
            if (shard.index, row) != (0, 3):
                yield shard, row, stack


def test_reader_returns_every_pixel(out: Path) -> None:
    data = landweave.open(out)
    seen = 0
    for _, _, stack in kept_stacks():
        sample = data.sample(stack.place.sample_id)
        for group in data.spec.groups:
            for array in group.arrays:
                if group.kind == "label":
                    label = stack.labels.get(group.name)
                    expected = None if label is None else label.classes
                    found = sample.get(array.path)
                    assert (found is None) == (expected is None)
                    assert expected is None or np.array_equal(found, expected)
                    continue
                for slot in range(group.slot_count):
                    observation = stack.observations.get((group.name, slot))
                    assert sample.present[group.name][slot] == (observation is not None)
                    if observation is None:
                        continue
                    pixels = {**observation.arrays, "valid": observation.valid, "cloud": observation.cloud}[array.name]
                    found = sample[array.path][slot] if array.dated else sample[array.path]
                    assert found.dtype == pixels.dtype
                    np.testing.assert_array_equal(found, pixels)
                    seen += 1
    assert seen > 100


def test_absent_slots_hold_nodata_and_absent_modalities_raise(out: Path) -> None:
    sample = landweave.open(out).sample("s000_001")
    assert sample.present["landsat"] == (True, False)
    assert (sample["landsat/bands_30m"][1] == 0).all()
    assert not sample.valid("landsat")[1].any()
    assert sample.get("enmap/bands_30m") is None
    with pytest.raises(landweave.AbsentError, match="enmap is absent"):
        sample["enmap/bands_30m"]
    assert "enmap" not in sample
    assert "sentinel2" in sample


def test_plain_zarr_reads_the_same(out: Path) -> None:
    root = zarr.open_group(out / "data.zarr", mode="r")
    size = PLAN.dataset.shard_samples
    for shard, row, stack in kept_stacks():
        for (name, slot), observation in stack.observations.items():
            for layer, pixels in observation.arrays.items():
                array = root[f"{name}/{layer}"]
                found = array[shard.index * size + row]
                np.testing.assert_array_equal(
                    found[slot] if "time" in array.metadata.dimension_names else found, pixels
                )
    assert root["sentinel2/bands_10m"].metadata.dimension_names == ("sample", "time", "band_10m", "y_10m", "x_10m")
    hole = 3
    assert (root["sentinel2/bands_10m"][hole] == 0).all()
    assert root["epsg"][hole] == 0
    assert root["epsg"][0] == 32633
    assert np.isnan(root["x_min"][hole])
    bands = root["sentinel2/bands_10m"].attrs["bands"]
    assert [b["name"] for b in bands] == ["B02", "B03", "B04", "B08"]


def test_xarray_gives_physical_values_and_pixel_centres(out: Path) -> None:
    stack = next(PLAN.stacks(PLAN.shards[0]))
    view = xr.open_zarr(out / "data.zarr", group="landsat")
    stored = stack.observations["landsat", 0].arrays["bands_30m"]
    expected = np.where(stored == 0, np.nan, stored * 2.75e-5 - 0.2)
    np.testing.assert_allclose(view["bands_30m"][0, 0].values, expected, atol=1e-7)
    np.testing.assert_array_equal(view["x"].values[:2], [15.0, 45.0])
    np.testing.assert_array_equal(view["y"].values[:2], [-15.0, -45.0])
    tree = xr.open_datatree(out / "data.zarr", engine="zarr")
    assert set(tree.children) == {g.name for g in PLAN.dataset.groups}
    assert set(tree.coords) == {"epsg", "x_min", "y_max", "lon", "lat"}


@pytest.mark.slow
def test_two_builds_and_any_thread_give_the_same_bytes(out: Path, tmp_path: Path) -> None:
    there = digest(out)
    thread = threading.Thread(target=lambda: [PLAN.write(tmp_path / "b", s) for s in reversed(PLAN.shards)])
    thread.start()
    thread.join()
    finalise(tmp_path / "b", PLAN.dataset)
    assert digest(tmp_path / "b") == there
    finalise(out, PLAN.dataset)
    assert digest(out) == there


def test_a_published_shard_is_not_read_again(out: Path) -> None:
    shard = PLAN.shards[0]

    def never():
        raise AssertionError("asked for a stack")
        yield

    report = write_shard(out, shard, never(), PLAN.dataset, {})
    assert (report.written, report.samples, report.refused) == (False, 3, 1)


@pytest.mark.slow
def test_report_and_ledger_tell_the_refused_sample(tmp_path: Path) -> None:
    plan = planned((4, 1, 1))
    report = plan.write(tmp_path, plan.shards[0])
    assert (report.written, report.samples, report.refused) == (True, 3, 1)
    assert report.reasons["sample_refused"] == 1
    for shard in plan.shards[1:]:
        plan.write(tmp_path, shard)
    finalise(tmp_path, plan.dataset)
    data = landweave.open(tmp_path)
    assert "s000_003" not in data.query().ids
    ledger = data.ledger.to_pylist()
    refused = [r for r in ledger if r["reason"] == "sample_refused"]
    assert [(r["sample_id"], r["detail"]) for r in refused] == [("s000_003", "too little")]
    expected = {(f"s000_{row:03d}", *key) for row in range(4) for key in absent(0, row)}
    found = {(r["sample_id"], r["layer"], r["slot"]) for r in ledger if r["reason"] == "no_scene" and r["shard"] == 0}
    assert found == expected


def test_vectors_keep_raw_tags(out: Path) -> None:
    rows = landweave.open(out).sample("s001_002").vectors().to_pylist()
    assert [r["osm_id"] for r in rows] == ["r7", "w12"]
    assert dict(rows[0]["tags"]) == {"natural": "water", "name": HOSTILE}
    assert dict(rows[1]["tags"])["name"] == "Straße 通り"


def test_done_withdraw_and_unfinished(tmp_path: Path) -> None:
    plan = planned((2, 2, 2), sources=("sentinel2", "dem"))
    plan.write(tmp_path, plan.shards[1])
    assert done_shards(tmp_path, plan.dataset) == {1}
    with pytest.raises(IncompleteError, match=r"2 of 3 shards are missing \(0, 2\)"):
        finalise(tmp_path, plan.dataset)
    with pytest.raises(landweave.UnfinishedError, match="not finished"):
        landweave.open(tmp_path)
    plan.build(tmp_path)
    before = digest(tmp_path)
    withdraw(tmp_path, [0])
    with pytest.raises(landweave.UnfinishedError):
        landweave.open(tmp_path)
    assert done_shards(tmp_path, plan.dataset) == {1, 2}
    plan.build(tmp_path)
    assert digest(tmp_path) == before


def test_another_recipe_is_refused(out: Path) -> None:
    other = planned((1, 1, 1), name="other")
    with pytest.raises(OtherDatasetError, match="another recipe"):
        other.write(out, other.shards[0])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (
            lambda s: s.observations["dem", 0].arrays.update(elevation=np.zeros((1, 8, 9), "f4")),
            r"expected float32 \(1, 8, 8\)",
        ),
        (lambda s: s.observations["dem", 0].arrays.update(elevation=np.zeros((1, 8, 8), "f8")), "got float64"),
        (lambda s: s.observations["dem", 0].arrays.clear(), "got nothing"),
        (lambda s: s.observations.pop(("dem", 0)), "dem slot 0 is absent with outcome 'ok'"),
        (lambda s: s.outcomes.pop(0), "there with no outcome"),
        (lambda s: s.outcomes.append(s.outcomes[0]), "occurs twice"),
        (lambda s: s.observations.clear() or s.labels.clear(), "absent with outcome"),
    ],
)
def test_mistakes_of_the_factory_are_told(tmp_path: Path, spoil, says: str) -> None:
    plan = planned((2, 1, 1))
    shard = plan.shards[0]
    stacks = list(plan.stacks(shard))
    spoil(stacks[0])
    with pytest.raises(ValueError, match=says):
        write_shard(tmp_path, shard, stacks, plan.dataset, plan.footprints(shard))
    assert done_shards(tmp_path, plan.dataset) == set()


def test_stacks_of_another_order_or_number_are_told(tmp_path: Path) -> None:
    shard = PLAN.shards[0]
    stacks = list(PLAN.stacks(shard))
    footprints = PLAN.footprints(shard)
    for wrong, says in (
        (stacks[::-1], "row 0: got sample s000_003"),
        (stacks[:2], "2 stacks arrived, the plan has 4"),
        ([*stacks, stacks[0]], "row 4: got sample s000_000"),
    ):
        with pytest.raises(ValueError, match=says):
            write_shard(tmp_path, shard, wrong, PLAN.dataset, footprints)
    with pytest.raises(ValueError, match="does not match"):
        write_shard(tmp_path, dataclasses.replace(shard, index=3), [], PLAN.dataset, {})
    assert not any((tmp_path / "data.zarr").rglob("c/0/0"))


def test_a_dataset_that_keeps_nothing_is_not_finished(tmp_path: Path) -> None:
    from schemas.outcome import Outcome, Reason

    plan = planned((1,))
    shard = plan.shards[0]
    stacks = list(plan.stacks(shard))
    stacks[0].outcomes.append(Outcome(sample_id="s000_000", layer="sample", slot=0, reason=Reason.SAMPLE_REFUSED))
    write_shard(tmp_path, shard, stacks, plan.dataset, {})
    with pytest.raises(IncompleteError, match="no sample was kept"):
        finalise(tmp_path, plan.dataset)


def test_objects_are_few(out: Path) -> None:
    manifest = landweave.open(out).manifest
    per_shard = len(list((out / "parts").rglob("*.parquet"))) / PLAN.dataset.shards
    assert per_shard == 3
    assert len(manifest.objects) < 120


def test_label_without_legend_is_told() -> None:
    from pipelines.shards import dataset_spec
    from tests.shards.synthetic import recipe

    with pytest.raises(KeyError, match="no legend for label 'dynamicworld'"):
        dataset_spec(recipe(), 1, {"worldcover": LEGENDS["worldcover"]})


def test_items_parquet_has_one_row_a_sample(out: Path) -> None:
    table = pq.read_table(out / "catalogue" / "items.parquet")
    assert table.num_rows == 8
    assert table["id"].to_pylist() == sorted(table["id"].to_pylist())
