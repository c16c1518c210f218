"""Many samples at once: cloud over the chip decides, failures are told, and luck decides nothing."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING, Any

import numpy as np
import pyproj
import pytest
import rasterio
from affine import Affine

from pipelines.access.archives import Archives
from pipelines.sources import open_source
from pipelines.sources.candidates import Rules, choose
from pipelines.sources.read_shard import ObservationRequest, gather
from sampling.times import period_of
from schemas.outcome import Outcome, Reason
from schemas.place import BBox, GeoBox, Place
from schemas.provider import Provider
from schemas.recipe import Recipe
from schemas.stack import Observation
from schemas.window import Window
from testbed.server import Fault, Request
from testbed.services import Services, serve_catalogue

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from schemas.scene import Scene

BANDS = {10: ("B02", "B03", "B04", "B08"), 20: ("B05", "B06", "B07", "B8A", "B11", "B12", "SCL"), 60: ("B01", "B09")}
LEFT, TOP, EDGE_M = 600_000, 5_200_020, 6_000
CENTRE = (LEFT + EDGE_M / 2, TOP - EDGE_M / 2)


def write_scene(
    folder: Path, name: str, *, cloudy: str = "", seed: int = 0, left: int = LEFT, gap: bool = False
) -> None:
    """One granule: random numbers, SCL vegetation; cloud in the 'west', 'east' or 'all' of it; a gap without data."""
    rng = np.random.default_rng(seed)
    for resolution, bands in BANDS.items():
        size = EDGE_M // resolution
        for band in bands:
            pixels = rng.integers(1200, 9000, (size, size)).astype("uint16")
            if band == "SCL":
                pixels = np.full((size, size), 4, "uint8")
                where = {"west": np.s_[:, : size // 2], "east": np.s_[:, size // 2 :], "all": np.s_[:, :]}
                if cloudy:
                    pixels[where[cloudy]] = 9
            if gap:
                pixels[:, : size // 2] = 0
            (folder / name).mkdir(exist_ok=True)
            with rasterio.open(
                folder / name / f"{band}.tif", "w", driver="GTiff", count=1, width=size, height=size,
                dtype=pixels.dtype, crs="EPSG:32632", transform=Affine(resolution, 0, left, 0, -resolution, TOP),
                nodata=0, tiled=True, blockxsize=128, blockysize=128, compress="deflate",
            ) as dataset:  # fmt: skip
                dataset.write(pixels, 1)


def item(
    name: str, day: int, *, cloud: float = 10.0, left: int = LEFT, tile: str = "32TPT", **more: Any
) -> dict[str, Any]:
    to_degrees = pyproj.Transformer.from_crs(32632, 4326, always_xy=True).transform
    corners = [(left, TOP), (left + EDGE_M, TOP), (left + EDGE_M, TOP - EDGE_M), (left, TOP - EDGE_M), (left, TOP)]
    ring = [list(to_degrees(*c)) for c in corners]
    xs, ys = [c[0] for c in ring], [c[1] for c in ring]
    return {
        "type": "Feature", "stac_version": "1.0.0", "id": name, "collection": "sentinel-2-l2a", "links": [],
        "geometry": {"type": "Polygon", "coordinates": [ring]}, "bbox": [min(xs), min(ys), max(xs), max(ys)],
        "properties": {
            "datetime": f"2022-06-{day:02d}T10:00:00Z", "proj:epsg": 32632, "eo:cloud_cover": cloud,
            "platform": "sentinel-2a", "s2:processing_baseline": "04.00", "s2:mgrs_tile": tile, **more,
        },
        "assets": {b: {"href": f"/s/{name}/{b}.tif", "type": "image/tiff"} for bands in BANDS.values() for b in bands},
    }  # fmt: skip


def places(step_m: int = 600, size_m: int = 600) -> list[Place]:
    found = []
    for i, x in enumerate(range(LEFT, LEFT + EDGE_M, step_m)):
        geobox = GeoBox(epsg=32632, x_min=x, y_max=TOP - 3000, resolution_m=10, width=size_m // 10, height=size_m // 10)
        lon, lat = pyproj.Transformer.from_crs(32632, 4326, always_xy=True).transform(x + size_m / 2, TOP - 3300)
        found.append(Place(sample_id=f"s{i}", lon=lon, lat=lat, geobox=geobox, split="train", block="b", cell="c"))
    return found


def recipe(**source: Any) -> Recipe:
    return Recipe.model_validate(
        {
            "name": "g", "seed": 1, "sampling": {"kind": "points", "file": "p.csv"}, "grid": {"size_m": 600},
            "windows": [{"name": "june", "start": "2022-06-01", "end": "2022-06-30"}],
            "providers": {"p": {"url": "http://x"}}, "sources": [{"kind": "sentinel2", "providers": ["p"], **source}],
        }
    )  # fmt: skip


def collect(services: Services, made: Recipe, wanted: list[Place], concurrency: int = 8) -> list[Observation | Outcome]:
    source = open_source(made.sources[0])
    provider = Provider(url=services.stac_url("catalogue"), retries=1, timeout_s=5.0, concurrency=concurrency)
    with Archives({"p": provider}) as archives:
        items = archives.search("p", "sentinel-2-l2a", [BBox(5, 40, 15, 50)], (date(2022, 6, 1), date(2022, 6, 30)))
        scenes = source.collapse([source.scene(i, "p", provider) for i in items])
        requests = [ObservationRequest(p, 0, tuple(source.candidates(scenes, p, made.windows[0]))) for p in wanted]
        return list(gather(source, made, requests, {s.item_id: s for s in scenes}, archives.reader))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("scenes")
    write_scene(path, "near", cloudy="west", seed=1)
    write_scene(path, "far", cloudy="east", seed=2)
    write_scene(path, "gap", gap=True, seed=3)
    write_scene(path, "other", seed=4, left=LEFT - 3000)
    write_scene(path, "overcast", cloudy="all", seed=5)
    return path


@pytest.fixture
def services(folder: Path) -> Iterator[Services]:
    with serve_catalogue([item("near", 15), item("far", 29)], {"/s/": folder}) as running:
        yield running


def test_cloud_over_the_chip_decides_and_not_over_the_scene(services: Services, folder: Path) -> None:
    got = collect(services, recipe(), places())
    chosen = [g.item_ids[0] if isinstance(g, Observation) else g.reason for g in got]
    assert chosen == ["far"] * 5 + ["near"] * 5
    for place, made in zip(places(), got, strict=True):
        assert isinstance(made, Observation)
        assert made.cloud_fraction == 0.0
        assert made.valid.all()
        assert made.valid.shape == (60, 60)
        assert made.cloud is not None
        assert made.cloud.shape == (30, 30)
        assert {n: a.shape for n, a in made.arrays.items()} == {
            "bands_10m": (4, 60, 60), "bands_20m": (6, 30, 30), "bands_60m": (2, 10, 10), "scl": (30, 30),
        }  # fmt: skip
        assert set(made.resampling.values()) == {"none"}
        with rasterio.open(folder / made.item_ids[0] / "B04.tif") as dataset:
            window = rasterio.windows.from_bounds(*place.geobox.bounds, transform=dataset.transform)
            raw = dataset.read(1, window=window).astype(int)
        np.testing.assert_array_equal(made.arrays["bands_10m"][2], np.clip(raw - 1000, 1, None))
        assert made.radiometry["B04"].startswith("dn - 1000: processing baseline 04.00")


def test_the_near_scene_wins_where_both_are_clear(folder: Path) -> None:
    with serve_catalogue([item("gap", 14), item("other", 3)], {"/s/": folder}) as services:
        (got,) = collect(services, recipe(min_valid=0.0), places()[9:])
    assert isinstance(got, Observation)
    assert got.item_ids == ("gap",)


def test_refusals_are_rows(folder: Path) -> None:
    with serve_catalogue([item("overcast", 14), item("gap", 15, cloud=95.0)], {"/s/": folder}) as services:
        got = collect(services, recipe(), places()[:1])
        assert [g.reason for g in got if isinstance(g, Outcome)] == [Reason.TOO_CLOUDY]
        got = collect(services, recipe(max_scene_cloud=1.0, max_cloud=1.0), places()[:1])
        assert isinstance(got[0], Observation)
        assert got[0].cloud_fraction == 1.0
    with serve_catalogue([item("gap", 15)], {"/s/": folder}) as services:
        got = collect(services, recipe(), places()[:1])
        assert [g.reason for g in got if isinstance(g, Outcome)] == [Reason.TOO_LITTLE_VALID]
    with serve_catalogue([item("gap", 15, left=LEFT + 200_000)], {"/s/": folder}) as services:
        got = collect(services, recipe(), places()[:1])
        assert [g.reason for g in got if isinstance(g, Outcome)] == [Reason.NO_SCENE]


def test_a_failure_for_good_takes_the_next_candidate(services: Services) -> None:
    clean = collect(services, recipe(max_cloud=1.0), places()[9:])
    assert isinstance(clean[0], Observation)
    assert clean[0].item_ids == ("near",)
    services.faults.append(lambda r: Fault(status=404) if r.path == "/s/near/B11.tif" else None)
    (got,) = collect(services, recipe(max_cloud=1.0), places()[9:])
    assert isinstance(got, Observation)
    assert got.item_ids == ("far",)
    services.faults.insert(0, lambda r: Fault(status=404) if r.path == "/s/far/SCL.tif" else None)
    (none,) = collect(services, recipe(max_cloud=1.0), places()[9:])
    assert isinstance(none, Outcome)
    assert none.reason is Reason.NOT_FOUND


@pytest.mark.slow
@pytest.mark.parametrize("path", ["/s/near/B11.tif", "/s/near/SCL.tif", "/s/far/SCL.tif"])
def test_a_failure_that_can_pass_never_takes_another(path: str, services: Services) -> None:
    """Even one in a candidate that would not have been chosen: who is chosen must not depend on luck."""
    services.faults.append(lambda r: Fault(status=503) if r.path == path else None)
    (got,) = collect(services, recipe(max_cloud=1.0), places()[9:])
    assert isinstance(got, Outcome)
    assert got.reason is Reason.UNAVAILABLE
    services.faults.clear()
    (again,) = collect(services, recipe(max_cloud=1.0), places()[9:])
    assert isinstance(again, Observation)
    assert again.item_ids == ("near",)


def test_granules_of_one_datatake_are_laid_together(folder: Path) -> None:
    """'other' covers the west of the chip, 'gap' (no data in its west) the east."""
    items = [item("gap", 15, tile="32TPT"), item("other", 15, left=LEFT - 3000, tile="32TNT")]
    middle = GeoBox(epsg=32632, x_min=LEFT + 2700, y_max=TOP - 3000, resolution_m=10, width=60, height=60)
    place = places()[4]
    wanted = Place(sample_id="m", lon=place.lon, lat=place.lat, geobox=middle, split="train", block="b", cell="c")
    with serve_catalogue(items, {"/s/": folder}) as services:
        (got,) = collect(services, recipe(), [wanted])
    assert isinstance(got, Outcome), "footprints say that 'gap' covers the chip alone; its pixels do not"
    items[0]["geometry"]["coordinates"] = [_east_half(items[0]["geometry"]["coordinates"][0])]
    with serve_catalogue(items, {"/s/": folder}) as services:
        (got,) = collect(services, recipe(), [wanted])
    assert isinstance(got, Observation), got
    assert set(got.item_ids) == {"gap", "other"}
    assert got.valid.all()
    for name, at in (("other", 270), ("gap", 300)):
        with rasterio.open(folder / name / "B02.tif") as dataset:
            column = at + (300 if name == "other" else 0)
            raw = dataset.read(1)[300:360, column : column + 30].astype(int)
        side = got.arrays["bands_10m"][0][:, :30] if name == "other" else got.arrays["bands_10m"][0][:, 30:]
        np.testing.assert_array_equal(side, np.clip(raw - 1000, 1, None))


def _east_half(ring: list[list[float]]) -> list[list[float]]:
    middle = [(a + b) / 2 for a, b in zip(ring[0], ring[1], strict=True)]
    below = [(a + b) / 2 for a, b in zip(ring[3], ring[2], strict=True)]
    return [middle, ring[1], ring[2], below, middle]


def test_the_same_bytes_whatever_the_order_of_threads(services: Services) -> None:
    delays = np.random.default_rng(1)

    def late(_: Request) -> Fault:
        return Fault(delay_s=float(delays.uniform(0, 0.01)))

    first = collect(services, recipe(), places(), concurrency=1)
    services.faults.append(late)
    second = collect(services, recipe(), places(), concurrency=16)
    for a, b in zip(first, second, strict=True):
        assert isinstance(a, Observation)
        assert isinstance(b, Observation)
        assert (a.item_ids, a.facts, a.radiometry, a.valid_fraction) == (
            b.item_ids,
            b.facts,
            b.radiometry,
            b.valid_fraction,
        )
        for name in a.arrays:
            np.testing.assert_array_equal(a.arrays[name], b.arrays[name])


def scenes(*items: dict[str, Any]) -> list[Scene]:
    source = open_source(recipe().sources[0])
    return source.collapse([source.scene(i, "p", Provider(url="http://x")) for i in items])


def test_a_window_of_several_slots_is_cut_so_that_no_scene_serves_two() -> None:
    window = Window(name="w", start=date(2022, 6, 1), end=date(2022, 6, 30), count=3)
    assert [period_of(window, i).start.day for i in range(3)] == [1, 11, 21]
    source = open_source(recipe().sources[0])
    found = [
        source.candidates(scenes(*(item(f"d{d}", d) for d in range(1, 31))), places()[0], window, i) for i in range(3)
    ]
    assert [f[0].scenes for f in found] == [("d6",), ("d16",), ("d26",)]
    assert not {c.scenes for c in found[0]} & {c.scenes for c in found[1]}
    assert all(len(f) == 4 for f in found)


def test_candidates_do_not_depend_on_the_order_of_scenes() -> None:
    rng = np.random.default_rng(2)
    made = scenes(*(item(f"d{d}", d, cloud=float(d)) for d in range(1, 31)))
    source = open_source(recipe().sources[0])
    window = recipe().windows[0]
    first = source.candidates(made, places()[3], window)
    for _ in range(5):
        assert source.candidates([made[i] for i in rng.permutation(len(made))], places()[3], window) == first


def test_split_granules_are_kept_and_reprocessed_ones_are_not() -> None:
    old = item("old", 5, **{"s2:processing_baseline": "02.14", "s2:datatake_id": "GS2A_20220605T100000_1_N02.14"})
    new = item("new", 5, **{"s2:processing_baseline": "05.00", "s2:datatake_id": "GS2A_20220605T100000_1_N05.00"})
    half = item("half", 5, **{"s2:processing_baseline": "05.00", "s2:datatake_id": "GS2A_20220605T100000_1_N05.00"})
    for each, strip in ((old, "S20220605T100001"), (new, "S20220605T100001"), (half, "S20220605T100300")):
        each["properties"]["s2:datastrip_id"] = f"S2A_OPER_MSI_L2A_DS_X_20220605T133244_{strip}_N05.00"
    assert [s.item_id for s in scenes(old, new, half)] == ["half", "new"]


def test_footprints_across_the_180th_meridian() -> None:
    made = scenes(item("a", 5))[0]
    x, y = pyproj.Transformer.from_crs(4326, 32760, always_xy=True).transform(179.999, -16.5)
    geobox = GeoBox(epsg=32760, x_min=round(x), y_max=round(y), resolution_m=10, width=60, height=60)
    place = Place(sample_id="f", lon=180.0, lat=-16.5, geobox=geobox, split="train", block="b", cell="c")
    split = {"type": "MultiPolygon", "coordinates": [
        [[[179.0, -17.0], [180.0, -17.0], [180.0, -16.0], [179.0, -16.0], [179.0, -17.0]]],
        [[[-180.0, -17.0], [-179.0, -17.0], [-179.0, -16.0], [-180.0, -16.0], [-180.0, -17.0]]],
    ]}  # fmt: skip
    jumping = {"type": "Polygon", "coordinates": [
        [[179.0, -17.0], [-179.0, -17.0], [-179.0, -16.0], [179.0, -16.0], [179.0, -17.0]]
    ]}  # fmt: skip
    from dataclasses import replace

    for shape in (split, jumping):
        ((found,),) = choose([replace(made, geometry=shape)], [place], None, Rules(min_valid=1.0))
        assert found.rank[0] == 0.0
