"""The frozen plan: what is written is read back, shard by shard, and holds no address that moves."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest

from pipelines.recipes import read_recipe
from pipelines.tables import (
    Hrefs,
    Plan,
    PlanError,
    origins_of,
    read_plan,
    read_recipe_of,
    read_shard,
    read_summary,
    write_plan,
)
from schemas.outcome import Outcome, Reason
from schemas.place import GeoBox, Place
from schemas.scene import AssetBand, Candidate, Radiometry, Scene
from tests.pipelines.test_recipe_errors import GOOD, write

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


def make(tmp_path: Path, origin: str) -> tuple[Plan, Hrefs]:
    recipe = read_recipe(write(tmp_path, GOOD)).recipe
    plan = Plan(recipe=recipe, shards=[(place(0), place(1)), (place(2),)], left_out={"overlap": 3}, searches=2)
    plan.scenes["sentinel2"] = {
        "near": scene("near", f"{origin}/files/B02.tif"),
        "far": scene("far", "https://elsewhere.example/B02.tif"),
    }
    near, both = (Candidate(scenes=s, datetime=NOON, rank=(0.0, 2.5)) for s in (("near",), ("far", "near")))
    plan.candidates = {("s0", "sentinel2", 0): (both, near), ("s1", "sentinel2", 0): (near,)}
    plan.absences[("s2", "sentinel2", 0)] = Outcome(
        sample_id="s2", layer="sentinel2", slot=0, reason=Reason.UNAVAILABLE, provider="here", detail="503"
    )
    plan.estimate = {"samples": 3, "scenes": 2, "requests": 10, "bytes": 1000, "seconds": 1.0}
    return plan, Hrefs(origins=origins_of({"here": f"{origin}/stac"}))


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    plan, hrefs = make(tmp_path, "http://127.0.0.1:1111")
    summary = write_plan(tmp_path / "plan", plan, hrefs)
    assert read_summary(tmp_path / "plan") is not None
    assert summary.unavailable == {"sentinel2": 1}
    assert read_recipe_of(tmp_path / "plan") == plan.recipe
    whole = read_plan(tmp_path / "plan", hrefs)
    assert (whole.shards, whole.candidates, whole.scenes) == (plan.shards, plan.candidates, plan.scenes)
    assert (whole.absences, whole.left_out) == (plan.absences, plan.left_out)
    first, second = (read_shard(tmp_path / "plan", i, hrefs) for i in (0, 1))
    assert first.places == plan.shards[0]
    assert first.candidates == plan.candidates
    assert first.scenes == plan.scenes
    assert first.absences == {}
    assert second.absences == plan.absences
    assert second.scenes == {}
    with pytest.raises(PlanError, match="shard 2"):
        read_shard(tmp_path / "plan", 2, hrefs)


def test_addresses_follow_the_provider_and_plans_of_two_ports_are_the_same_bytes(tmp_path: Path) -> None:
    files = []
    for port in (1111, 2222):
        folder = tmp_path / str(port)
        folder.mkdir()
        plan, hrefs = make(folder, f"http://127.0.0.1:{port}")
        write_plan(folder / "plan", plan, hrefs)
        files.append({p.name: p.read_bytes() for p in sorted((folder / "plan").iterdir())})
    assert files[0] == files[1]
    moved = read_shard(tmp_path / "1111" / "plan", 0, Hrefs(origins={"here": "https://new.example"}))
    assert moved.scenes["sentinel2"]["near"].assets["B02"].href == "https://new.example/files/B02.tif"
    assert moved.scenes["sentinel2"]["far"].assets["B02"].href == "https://elsewhere.example/B02.tif"


def test_a_damaged_or_foreign_plan_is_one_line(tmp_path: Path) -> None:
    assert read_summary(tmp_path) is None
    for text, word in (("{", "damaged"), ('{"version": 99}', "version 99"), ("[]", "damaged")):
        (tmp_path / "plan.json").write_text(text)
        with pytest.raises(PlanError, match=word) as caught:
            read_summary(tmp_path)
        assert "\n" not in str(caught.value)
