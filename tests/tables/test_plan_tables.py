"""The frozen plan: what is written is read back, shard by shard, and holds no address that moves."""

from __future__ import annotations

import dataclasses
import datetime as dt
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipelines.recipes import read_recipe
from pipelines.tables import (
    Hrefs,
    PartPlan,
    PlanError,
    facts_of,
    files_of,
    read_part,
    read_recipe_of,
    read_shard,
    read_summary,
    write_part,
    write_samples,
    write_shard_table,
)
from schemas.outcome import Outcome, Reason
from schemas.place import GeoBox, Place
from schemas.scene import AssetBand, Candidate, Radiometry, Scene
from tests.recipes.test_recipe_errors import GOOD, write

NOON = dt.datetime(2021, 7, 1, 12, 0, 0, 123456, tzinfo=dt.UTC)


def place(number: int) -> Place:
    box = GeoBox(epsg=32632, x_min=600_000.0 + 960 * number, y_max=5_400_000.0, resolution_m=10.0, width=96, height=96)
    return Place(sample_id=f"s{number}", lon=11.0, lat=48.0, geobox=box, split="train", block="b", cell="534U_81R")


def scene(item_id: str, href: str) -> Scene:
    return Scene(
        item_id=item_id,
        provider="here",
        collection="sentinel-2-l2a",
        modality="sentinel2",
        datetime=NOON,
        start=NOON,
        end=NOON,
        geometry={"type": "Point", "coordinates": [11.0, 48.0]},
        acquisition="a",
        product="p",
        revision="05.00",
        assets={"B02": AssetBand(href=href), "B03": AssetBand(href=href, index=2)},
        radiometry={b: Radiometry(offset_dn=-1000.0, clip_min=1.0, nodata=0.0, rule="r") for b in ("B02", "B03")},
        cloud_cover=0.25,
        licence="CC-BY-4.0",
        facts={"baseline": "05.00", "sun": 1.5, "none": None},
    )


def columns(places: tuple[Place, ...]) -> dict[str, Any]:
    flat = [{**dataclasses.asdict(p), **dataclasses.asdict(p.geobox)} for p in places]
    return {name: [row[name] for row in flat] for name in flat[0] if name != "geobox"}


def make(tmp_path: Path, origin: str) -> tuple[PartPlan, Hrefs]:
    """A plan of two partitions: shards 0 and 2, and 1; the first planned as returned, the second without any find."""
    recipe = read_recipe(write(tmp_path, GOOD)).recipe
    folder = tmp_path / "plan"
    folder.mkdir()
    (folder / "recipe.json").write_text(recipe.model_dump_json())
    part = PartPlan(recipe=recipe, number=0, shards={0: (place(0), place(1)), 2: (place(2),)})
    part.scenes["sentinel2"] = {
        "near": scene("near", f"{origin}/files/B02.tif"),
        "far": scene("far", "https://elsewhere.example/B02.tif"),
    }
    near, both = (Candidate(scenes=s, datetime=NOON, rank=(0.0, 2.5)) for s in (("near",), ("far", "near")))
    part.candidates = {("s0", "sentinel2", 0): (both, near), ("s1", "sentinel2", 0): (near,)}
    part.absences[("s2", "sentinel2", 0)] = Outcome(
        sample_id="s2", layer="sentinel2", slot=0, reason=Reason.UNAVAILABLE, provider="here", detail="503"
    )
    hrefs = Hrefs(origins={"here": origin})
    write_shard_table(folder, [np.array([0, 2]), np.array([1])], np.array([2, 1, 1]))
    write_samples(folder, 0, [(shard, columns(places)) for shard, places in part.shards.items()])
    write_samples(folder, 1, [(1, columns((place(3),)))])
    write_part(folder, part, {"searches": 2}, hrefs)
    write_part(folder, PartPlan(recipe=recipe, number=1, shards={1: (place(3),)}), {}, hrefs)
    return part, hrefs


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    part, hrefs = make(tmp_path, "http://127.0.0.1:1111")
    folder = tmp_path / "plan"
    assert read_recipe_of(folder) == part.recipe
    assert read_part(folder, 0, hrefs) == part
    assert read_part(folder, 0).shards == part.shards
    assert (facts_of(folder, 0), facts_of(folder, 1), facts_of(folder, 2)) == ({"searches": 2}, {}, None)
    first, other, last = (read_shard(folder, i, hrefs) for i in (0, 1, 2))
    assert first.places == part.shards[0]
    assert first.candidates == part.candidates
    assert first.scenes == part.scenes
    assert first.absences == {}
    assert other.places == (place(3),)
    assert (other.scenes, other.candidates, other.absences) == ({}, {}, {})
    assert last.places == part.shards[2]
    assert last.absences == part.absences
    assert last.scenes == {}
    with pytest.raises(PlanError, match="shard 3"):
        read_shard(folder, 3, hrefs)


def test_every_file_of_a_partition_is_named_and_its_marker_is_the_last(tmp_path: Path) -> None:
    make(tmp_path, "http://127.0.0.1:1111")
    files = [tmp_path / "plan" / name for name in files_of(0)]
    assert [f for f in files if not f.is_file()] == []
    assert max(files, key=lambda f: f.stat().st_mtime_ns) == files[-1]
    assert not list((tmp_path / "plan").glob("**/.*"))


def test_addresses_follow_the_provider_and_plans_of_two_ports_are_the_same_bytes(tmp_path: Path) -> None:
    files = []
    for port in (1111, 2222):
        folder = tmp_path / str(port)
        folder.mkdir()
        make(folder, f"http://127.0.0.1:{port}")
        files.append({str(p.relative_to(folder)): p.read_bytes() for p in (folder / "plan").rglob("*.*")})
    assert files[0] == files[1]
    moved = read_shard(tmp_path / "1111" / "plan", 0, Hrefs(origins={"here": "https://new.example"}))
    assert moved.scenes["sentinel2"]["near"].assets["B02"].href == "https://new.example/files/B02.tif"
    assert moved.scenes["sentinel2"]["far"].assets["B02"].href == "https://elsewhere.example/B02.tif"


def test_a_damaged_or_foreign_plan_is_one_line(tmp_path: Path) -> None:
    assert read_summary(tmp_path) is None
    for text, word in (
        ("{", "damaged"),
        ('{"version": 1}', "version 1, .*plan again"),
        ('{"version": 99}', "version 99"),
        ("[]", "damaged"),
    ):
        (tmp_path / "plan.json").write_text(text)
        with pytest.raises(PlanError, match=word) as caught:
            read_summary(tmp_path)
        assert "\n" not in str(caught.value)
