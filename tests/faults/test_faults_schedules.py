"""A thousand seeded schedules of faults: what arrives is what a clean run gives, or is absent for a true reason."""

from __future__ import annotations

import copy
import random
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from affine import Affine

from schemas.outcome import Reason
from schemas.stack import Observation
from testbed.faults import Event, Schedule, Tokens, usual
from testbed.services import Services, serve_catalogue
from tests.faults.small import KINDS, LEFT, LIMITS, TOP, Run, make, raster, run, same

TRIES = int(LIMITS["retries"]) + 1
SCHEDULES = 1000
CHUNK = 50
"""Of one schedule. The client's own bound for one operation is longer: a server may ask for pauses."""
FOLDERS = {"sentinel1": "/f/s1/", "landsat": "/f/landsat/", "dem": "/f/dem/"}
BROKEN = ("garbage", "cut")
DEFECTS = {
    "no asset": Reason.BAD_ITEM,
    "gone": Reason.NOT_FOUND,
    "garbage": Reason.CORRUPT,
    "cut short": Reason.CORRUPT,
    "other crs": Reason.WRONG_GRID,
    "other size": Reason.WRONG_GRID,
    "other place": Reason.WRONG_GRID,
}
"""What can be wrong with an item's asset -> what the ledger says."""


def told(kind: str, defect: str) -> Reason:
    """Radar with one polarisation is sound, and not what is asked for."""
    return Reason.NO_SCENE if (kind, defect) == ("sentinel1", "no asset") else DEFECTS[defect]


class World:
    """The archive, its server, and what a clean run gives."""

    def __init__(self, services: Services, folder: Path) -> None:
        self.services = services
        self.folder = folder
        self.catalogue = services.catalogues["catalogue"]
        self.catalogue.largest_page = 2
        self.items = copy.deepcopy(self.catalogue.items)
        self.clean = run(services)
        assert all(isinstance(r, Observation) for r in self.clean.results.values()), self.clean
        self.softs = {
            f"/f/{p.relative_to(folder)}": first_block(p) for p in folder.rglob("*.tif") if p.stem not in BROKEN
        }

    def damage(self, kind: str, defect: str) -> None:
        """Serve the items with one asset of one sensor's scene not being what it is said to be."""
        self.catalogue.items = copy.deepcopy(self.items)
        scene = self.catalogue.items[KINDS.index(kind)]
        key = sorted(scene["assets"])[0]
        folder = FOLDERS[kind]
        if defect == "no asset":
            del scene["assets"][key]
        else:
            names = {"gone": "gone", "garbage": "garbage", "cut short": "cut"}
            scene["assets"][key]["href"] = f"{folder}{names.get(defect, defect.replace(' ', '-'))}.tif"


def first_block(path: Path) -> int:
    """Offset of the first pixel in the file: before it is the header, whose damage nothing can tell."""
    with rasterio.open(path) as dataset:
        rows, columns = -(-dataset.height // 128), -(-dataset.width // 128)
        places = [f"BLOCK_OFFSET_{x}_{y}" for x in range(columns) for y in range(rows)]
        return min(int(dataset.get_tag_item(p, "TIFF", bidx=1)) for p in places)


def spoil(folder: Path, kind: str, path: Path) -> None:
    """Beside a good file its relatives that items point to by mistake."""
    with rasterio.open(path) as dataset:
        pixels, transform, nodata = dataset.read(1), dataset.transform, dataset.nodata
        epsg = dataset.crs.to_epsg()
    raw = path.read_bytes()
    (path.parent / "garbage.tif").write_bytes(b"<html>no raster at all</html>" * 400)
    (path.parent / "cut.tif").write_bytes(raw[: len(raw) // 16])
    other = Affine(30, 0, LEFT, 0, -30, TOP)
    raster(path.parent / "other-crs.tif", pixels, other, epsg=32633, nodata=nodata)
    raster(
        path.parent / "other-size.tif", np.ascontiguousarray(pixels[:200, :200]), transform, epsg=epsg, nodata=nodata
    )
    raster(path.parent / "other-place.tif", pixels, transform @ Affine.translation(3, 0), epsg=epsg, nodata=nodata)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("faults")
    items = make(folder)
    for kind, name in (("sentinel1", "s1/vh"), ("landsat", "landsat/QA_PIXEL"), ("dem", "dem/dem")):
        spoil(folder, kind, folder / f"{name}.tif")
    with serve_catalogue(items, {"/f/": folder}) as services:
        yield World(services, folder)


def allowed(kind: str, events: list[Event], got: Run) -> set[Reason]:
    """Why a sensor may be absent, by what was done. Less than a whole operation's tries is never enough."""
    mine = [e for e in events if e.path.startswith(FOLDERS[kind])]
    shared = Counter(e.path for e in events if not e.path.startswith("/f/"))
    files = Counter(e.path for e in mine)
    reasons: set[Reason] = set()
    expired = sum(e.kind == "expired" for e in events)
    enough = TRIES - min(expired, 1)  # a token that ended for another request costs this one a try
    if got.opened or any(n >= enough for n in (*shared.values(), *files.values())):
        reasons.add(Reason.UNAVAILABLE)
    if expired >= 2:
        reasons.add(Reason.DENIED)
    if any(e.kind == "flip" and e.lasting for e in mine):
        reasons |= {Reason.CORRUPT, Reason.UNAVAILABLE}
    return reasons


def check(world: World, seed: int, tally: Counter[str]) -> None:
    rng = random.Random(seed)
    signed = rng.random() < 0.5
    kinds = sorted(rng.sample(KINDS, 2))
    bad = rng.choice(kinds) if rng.random() < 0.25 else None
    defect = rng.choice(sorted(DEFECTS))
    world.catalogue.items = copy.deepcopy(world.items)
    if bad is not None:
        world.damage(bad, defect)
    tokens = Tokens() if signed else None
    schedule = Schedule(
        seed=seed,
        rates=usual(rng.choice([0.02, 0.1, 0.3, 0.6])),
        lasting=rng.choice([0.0, 0.0, 0.15]),
        stall_s=1.6,
        soft=lambda path: world.softs.get(path, 1 << 30),
        tokens=tokens,
    )
    hooks = [schedule] + ([tokens.hook] if tokens else [])
    routes = [tokens.route] if tokens else []
    world.services.faults.extend(hooks)
    world.services.server.routes.extend(routes)
    try:
        got = run(world.services, signed=signed, kinds=kinds)
    finally:
        for hook in hooks:
            world.services.faults.remove(hook)
        for route in routes:
            world.services.server.routes.remove(route)
    assert {k for k, _ in got.results} == set(kinds)
    for (kind, sample), result in got.results.items():
        about = (seed, kind, sample, result if not isinstance(result, Observation) else "observation")
        if isinstance(result, Observation):
            assert bad != kind, about
            clean = world.clean.results[kind, sample]
            assert isinstance(clean, Observation)
            assert same(result, clean), about
            tally["as clean"] += 1
            continue
        wanted = {told(kind, defect)} if bad == kind else set()
        assert result.reason in wanted | allowed(kind, schedule.events, got), about
        assert "secret" not in result.detail
        assert result.provider == "p"
        tally[result.reason.value] += 1
    tally.update(f"fault {e.kind}" for e in schedule.events)


@pytest.mark.slow
def test_some_schedules(world: World) -> None:
    for seed in range(-12, 0):
        check(world, seed, Counter())


@pytest.mark.slow
@pytest.mark.parametrize("first", range(0, SCHEDULES, CHUNK))
def test_schedules(first: int, world: World, record_property: Any) -> None:
    tally: Counter[str] = Counter()
    for seed in range(first, first + CHUNK):
        check(world, seed, tally)
    record_property("tally", dict(sorted(tally.items())))
    assert tally["as clean"] > CHUNK
    assert sum(n for name, n in tally.items() if name.startswith("fault")) > CHUNK


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("defect", DEFECTS)
def test_an_asset_that_is_not_what_its_item_says_is_refused_as_that(kind: str, defect: str, world: World) -> None:
    world.damage(kind, defect)
    got = run(world.services, kinds=[kind])
    reasons = {r.reason if not isinstance(r, Observation) else Reason.OK for r in got.results.values()}
    assert reasons == {told(kind, defect)}, got
