"""Many places chosen for together get what each would get alone, by the plainest reading of the rules."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Sequence

import numpy as np
import pyproj
import pytest
from shapely.geometry import box
from shapely.geometry.base import BaseGeometry

from pipelines.sources.candidates import _SLACK, Rules, _candidate, _cover, choose
from pipelines.sources.outline import footprint
from sampling.times import Period
from schemas.place import GeoBox, Place
from schemas.scene import Candidate, Scene

START = dt.datetime(2021, 6, 1, tzinfo=dt.UTC)
PERIOD = Period(start=START, end=START + dt.timedelta(days=60), target=START + dt.timedelta(days=30))
LEFT, BOTTOM, GROUND_M = 600_000.0, 5_300_000.0, 60_000.0


def one_by_one(scenes: Sequence[Scene], place: Place, period: Period | None, rules: Rules) -> list[Candidate]:
    """Candidates for one place and period, best first, at most `rules.max_candidates`."""
    chip = box(*place.geobox.bounds).buffer(rules.margin_m, join_style="mitre")
    groups: dict[str, list[tuple[Scene, BaseGeometry]]] = {}
    for scene in sorted(scenes, key=lambda s: s.item_id):
        if period is not None and not period.start <= scene.datetime < period.end:
            continue
        if scene.cloud_cover is not None and scene.cloud_cover > rules.max_scene_cloud:
            continue
        part = footprint(json.dumps(scene.geometry, sort_keys=True), place.geobox.epsg).intersection(chip)
        if part.area > 0.0:
            groups.setdefault(scene.acquisition, []).append((scene, part))
    found = []
    for acquisition in sorted(groups):
        chosen, covered = _cover(groups[acquisition], chip.area, place.geobox.epsg, rules.all_parts)
        if covered >= rules.min_valid - _SLACK:
            found.append(_candidate(chosen, covered, period))
    return sorted(found, key=lambda c: (c.rank, c.scenes))[: rules.max_candidates]


def scenes_of(seed: int, count: int) -> list[Scene]:
    """Scenes of tiles that overlap, cut by swaths that lie askew, of few acquisitions; some beyond the period."""
    rng = np.random.default_rng(seed)
    found = []
    for number in range(count):
        zone = int(rng.choice([32632, 32633]))
        x, y = LEFT - 10_000 + 20_000 * rng.integers(0, 3), BOTTOM - 10_000 + 20_000 * rng.integers(0, 3)
        cut = rng.uniform(0.2, 1.0) if rng.random() < 0.5 else 1.0
        ring = [(x, y), (x + 30_000 * cut, y), (x + 27_000 * cut, y + 30_000), (x, y + 30_000), (x, y)]
        lon, lat = pyproj.Transformer.from_crs(32632, 4326, always_xy=True).transform(*zip(*ring, strict=True))
        when = START + dt.timedelta(days=6.0 * int(rng.integers(0, 11)))
        found.append(
            Scene(
                item_id=f"item-{number:03d}",
                provider="here",
                collection="c",
                modality="sentinel2",
                datetime=when,
                start=when,
                end=when,
                geometry={"type": "Polygon", "coordinates": [[list(p) for p in zip(lon, lat, strict=True)]]},
                acquisition=f"pass-{when:%j}",
                product=f"product-{number}",
                revision="",
                assets={},
                radiometry={},
                cloud_cover=float(rng.choice([0.0, 0.1, 0.95])) if rng.random() < 0.9 else None,
                facts={"crs": f"EPSG:{zone}"},
            )
        )
    return found


def places_of(seed: int, count: int) -> list[Place]:
    rng = np.random.default_rng([seed, 1])
    found = []
    for number in range(count):
        epsg = int(rng.choice([32632, 32633], p=[0.8, 0.2]))
        x, y = LEFT + rng.uniform(0, GROUND_M), BOTTOM + rng.uniform(0, GROUND_M)
        if epsg == 32633:
            x, y = pyproj.Transformer.from_crs(32632, 32633, always_xy=True).transform(x, y)
        geobox = GeoBox(epsg=epsg, x_min=x // 60 * 60, y_max=y // 60 * 60, resolution_m=10, width=256, height=256)
        found.append(Place(sample_id=f"s{number}", lon=0.0, lat=0.0, geobox=geobox, split="train", block="b", cell="c"))
    return found


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize(
    "rules",
    [
        Rules(max_candidates=4, min_valid=0.95, max_scene_cloud=0.9),
        Rules(max_candidates=2, min_valid=0.3),
        Rules(margin_m=90.0, all_parts=True),
    ],
    ids=["dated", "lenient", "static"],
)
def test_together_is_as_alone(seed: int, rules: Rules) -> None:
    scenes, places = scenes_of(seed, 90), places_of(seed, 60)
    period = None if rules.all_parts else PERIOD
    together = choose(scenes, places, period, rules)
    assert together == [one_by_one(scenes, place, period, rules) for place in places]
    several = any(len(candidate.scenes) > 1 for candidates in together for candidate in candidates)
    assert several or not rules.all_parts
    assert any(together)
    assert together == choose(scenes[::-1], places, period, rules)


def test_nothing_is_chosen_of_nothing() -> None:
    assert choose([], places_of(0, 2), PERIOD, Rules()) == [[], []]
    assert choose(scenes_of(0, 5), [], PERIOD, Rules()) == []
