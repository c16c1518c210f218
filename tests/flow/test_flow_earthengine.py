"""Earth Engine through the whole job, by its commands: alone, beside STAC, killed, out of budget, and signed in."""

from __future__ import annotations

import json
import os
import random
import re
import signal
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ruamel.yaml import YAML

import landweave
import testbed
from testbed.earthengine import Tokens
from tests.access.earthengine.earthengine_keys import service_account
from tests.flow import job
from tests.flow.job import tree_of

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("flow")]

CHECKOUT = Path(__file__).parents[2]
SIGNING = ("GOOGLE_APPLICATION_CREDENTIALS", "EARTHENGINE_PROJECT", "GOOGLE_CLOUD_PROJECT", "LANDWEAVE_EARTHENGINE_URL")
LAYERS: list[dict[str, Any]] = [
    {"kind": "sentinel2", "max_cloud": 0.6},
    {"kind": "landsat", "max_cloud": 0.6},
    {"kind": "dem"},
]
LABELS: list[dict[str, Any]] = [{"kind": "worldcover"}, {"kind": "dynamicworld"}]


def recipe(folder: Path, earth: Path, **changes: Any) -> Path:
    """Six places; everything from Earth Engine unless `changes` say otherwise."""
    tree = {
        "name": "engine",
        "seed": 3,
        "sampling": {"kind": "grid", "spacing_m": 1100, "count": 6, "area": {"file": "aoi.geojson"}},
        "grid": {"size_m": 480},
        "windows": [{"name": "summer-2022", "start": "2022-06-01", "end": "2022-09-15"}],
        "providers": {
            "pc": {"url": "$LANDWEAVE_TESTBED/pc/stac", "dialect": "planetary-computer"},
            "testbed": {"url": "$LANDWEAVE_TESTBED/stac"},
            "dlr": {"url": "$LANDWEAVE_TESTBED/dlr/stac", "dialect": "dlr-eoc"},
            "ee": {"kind": "earthengine", "project": "testbed-project"},
        },
        "sources": [s | {"providers": ["ee"]} for s in LAYERS],
        "labels": [x | {"providers": ["ee"]} for x in LABELS],
        "shards": {"samples": 2},
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "aoi.geojson").write_bytes((earth / "aoi.geojson").read_bytes())
    with (folder / "recipe.yaml").open("w") as file:
        YAML(typ="safe").dump(tree | changes, file)
    return folder / "recipe.yaml"


def mixed(folder: Path, earth: Path) -> Path:
    """Optics from STAC APIs, radar and a composite of labels from Earth Engine."""
    return recipe(
        folder,
        earth,
        sources=[
            {"kind": "sentinel2", "providers": ["pc"], "max_cloud": 0.6},
            {"kind": "enmap", "providers": ["dlr"]},
            {"kind": "sentinel1", "providers": ["ee"], "product": "grd"},
        ],
        labels=[
            {
                "kind": "dynamicworld",
                "providers": ["ee"],
                "composite": "probability",
                "min_probability": 0.4,
                "max_gap_days": 400,
            }
        ],
    )


def settings(services: testbed.Services, variables: Mapping[str, str]) -> dict[str, str | None]:
    """Earth Engine's address and credentials as given, nothing of this process's own."""
    return {**dict.fromkeys(SIGNING), "LANDWEAVE_EARTHENGINE_URL": services.base_url, **variables}


def run(services: testbed.Services, *words: str | Path, **variables: str) -> job.Done:
    return job.run(services, *words, **settings(services, variables))


def test_the_same_places_through_stac_and_through_earth_engine(earth: Path, tmp_path: Path) -> None:
    stac = {
        "sources": [s | {"providers": ["pc"]} for s in LAYERS],
        "labels": [x | {"providers": ["testbed" if x["kind"] == "dynamicworld" else "pc"]} for x in LABELS],
    }
    with testbed.serve(earth) as services:
        one = run(services, "build", recipe(tmp_path / "a", earth, **stac), tmp_path / "stac", "--workers", "1")
        assert one.returncode == 0, one.stderr
        assert services.earthengine is not None
        assert not services.earthengine.requests
        before = len(services.log)
        two = run(services, "build", recipe(tmp_path / "b", earth), tmp_path / "engine", "--workers", "1")
        assert two.returncode == 0, two.stderr
        assert {e.path.split("/")[1] for e in services.log[before:]} <= {"v1", "$discovery"}
        pixels = services.earthengine.requests["computePixels"]
        spent_hours = services.earthengine.quota.eecu_s / 3600
    estimate = json.loads((tmp_path / "engine" / "plan" / "plan.json").read_text())["estimate"]
    assert estimate["earthengine_requests"] == pytest.approx(pixels, rel=0.35)
    assert estimate["earthengine_eecu_hours_least"] / 3 < spent_hours < estimate["earthengine_eecu_hours_most"] * 3
    assert estimate["requests"] == 0
    assert "at Earth Engine  about" in two.stdout
    assert re.search(r"EECU-hours \(estimated [0-9.e-]+\)", two.stdout), two.stdout
    assert "at Earth Engine" not in one.stdout
    compare(landweave.open(tmp_path / "stac"), landweave.open(tmp_path / "engine"))


def compare(stac: Any, engine: Any) -> None:
    """Every pixel and every mask: what is copied is the same to the bit; what is interpolated (heights, which lie on
    degrees, and Landsat, whose pixels are shifted by half a pixel or lie in the next zone) is so to one number and to
    one centimetre."""
    assert [s.id for s in stac] == [s.id for s in engine]
    assert len(stac) >= 4
    seen = set()
    for left, right in zip(stac, engine, strict=True):
        assert left.present == right.present
        for name, array in stac.arrays.items():
            if left.get(name) is None:
                continue
            seen.add(name)
            if name in ("dem/elevation", "landsat/bands_30m"):
                most = 0.01 if name == "dem/elevation" else 1
                np.testing.assert_allclose(right[name].astype(float), left[name], rtol=0, atol=most, err_msg=name)
            else:
                np.testing.assert_array_equal(right[name], left[name], err_msg=f"{name} of {left.id}")
            assert engine.arrays[name].unit == array.unit
    assert seen == set(stac.arrays)


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory, earth: Path) -> Path:
    """The mixed dataset, built undisturbed by two processes that are signed in as a service account."""
    folder = tmp_path_factory.mktemp("mixed")
    with testbed.serve(earth) as services:
        engine = services.earthengine
        assert engine is not None
        engine.tokens = Tokens()
        path, secret = service_account(folder / "key.json", engine.tokens, services.base_url)
        out, variables = folder / "dataset", {"GOOGLE_APPLICATION_CREDENTIALS": str(path)}
        done = run(services, "build", mixed(folder / "r", earth), out, "--workers", "2", **variables)
        assert done.returncode == 0, done.stderr
        assert engine.quota.refused == 0
        issued = list(engine.tokens.issued)
    assert issued
    words = [*issued, secret.splitlines()[1], "GOOGLE_APPLICATION", str(folder / "key.json")]
    written = [p.read_bytes() for p in out.rglob("*") if p.is_file()] + [(done.stdout + done.stderr).encode()]
    for word in words:
        assert not any(word.encode() in content for content in written), "a credential was written"
    return out


def test_one_recipe_mixes_archives_by_layer(clean: Path) -> None:
    dataset = landweave.open(clean)
    assert len(dataset) >= 4
    rows = dataset.ledger.to_pylist()
    assert {(r["layer"], r["provider"]) for r in rows if r["reason"] == "ok"} == {
        ("sentinel2", "pc"),
        ("enmap", "dlr"),
        ("sentinel1", "ee"),
        ("dynamicworld", "ee"),
    }
    radar = dataset.modalities["sentinel1"]
    assert radar.title == "Sentinel-1 GRD sigma0 backscatter"
    assert dataset.arrays["sentinel1/backscatter"].unit == "dB sigma0"
    for sample in dataset:
        numbers = sample["sentinel1/backscatter"][0, 0][sample.valid("sentinel1")[0]]
        assert -40 < np.median(numbers) < 0
    facts = json.dumps([s.item for s in dataset], default=str)
    assert "probability of 3 days 2021-06-18..2022-07-03, probability >= 0.4" in facts
    assert "sigma0 on the ellipsoid" in facts


def test_killed_and_run_again_it_makes_the_same_bytes(clean: Path, earth: Path, tmp_path: Path) -> None:
    out, chance = tmp_path / "dataset", random.Random(3)
    path = mixed(tmp_path / "r", earth)
    with testbed.serve(earth) as services:
        for _ in range(2):
            started = job.start(services, "build", path, out, "--workers", "2", **settings(services, {}))
            time.sleep(chance.uniform(4.0, 12.0))
            os.killpg(started.pid, signal.SIGKILL)
            started.communicate()
        done = run(services, "build", path, out, "--workers", "2")
    assert done.returncode == 0, done.stderr
    assert tree_of(out) == tree_of(clean)


def test_a_budget_that_is_spent_leaves_absences_and_a_later_run_goes_on(earth: Path, tmp_path: Path) -> None:
    provider = {"kind": "earthengine", "project": "testbed-project", "eecu_hours": 5e-5}
    path = recipe(
        tmp_path / "r",
        earth,
        providers={"ee": provider},
        sources=[{"kind": "dem", "providers": ["ee"]}],
        labels=[{"kind": "worldcover", "providers": ["ee"]}],
        quality={"min_modalities": 0},
    )
    out, obtained = tmp_path / "dataset", []
    with testbed.serve(earth) as services:
        for attempt in range(8):
            done = run(services, "build", path, out, "--workers", "1", *(["--retry-failed"] if attempt else []))
            rows = landweave.open(out).ledger.to_pylist()
            obtained.append(sum(r["reason"] == "ok" for r in rows))
            if done.returncode == 0:
                break
            assert done.returncode == 3, done.stderr
            assert "did not deliver" in done.stderr
            lost = [r for r in rows if r["reason"] != "ok" and r["layer"] != "sample"]
            assert {r["reason"] for r in lost} == {"unavailable"}
            assert all("Earth Engine budget is spent" in r["detail"] for r in lost)
        assert services.earthengine is not None
        assert services.earthengine.quota.eecu_s / 3600 < 5e-5 * len(obtained) * 3
    assert done.returncode == 0, done.stderr
    assert len(obtained) > 1, "the budget was never spent"
    assert obtained == sorted(set(obtained)), "a run got no further"
    with testbed.serve(earth) as services:
        free = ["--set", "providers.ee.eecu_hours=null", "--workers", "1"]
        assert run(services, "build", path, tmp_path / "free", *free).returncode == 0
    for left, right in zip(landweave.open(tmp_path / "free"), landweave.open(out), strict=True):
        for name in ("dem/elevation", "worldcover/classes"):
            np.testing.assert_array_equal(left[name], right[name])


@pytest.mark.parametrize(
    ("provider", "variables", "words"),
    [
        ({"credentials": "service_account"}, {}, ["GOOGLE_APPLICATION_CREDENTIALS", "not set"]),
        ({"project": None}, {"LANDWEAVE_EARTHENGINE_URL": "http://127.0.0.1:9"}, ["EARTHENGINE_PROJECT"]),
        ({"slots": 1}, {"LANDWEAVE_EARTHENGINE_URL": "http://127.0.0.1:9"}, ["1 Earth Engine slots", "2 workers"]),
    ],
    ids=["key", "project", "workers"],
)
def test_what_is_missing_is_one_line_before_anything_is_fetched(
    earth: Path, tmp_path: Path, provider: dict[str, Any], variables: dict[str, str], words: list[str]
) -> None:
    known = {"kind": "earthengine", "project": "testbed-project"} | provider
    path = recipe(tmp_path / "r", earth, providers={"ee": {k: v for k, v in known.items() if v is not None}})
    with testbed.serve(earth) as services:
        variables = {"LANDWEAVE_EARTHENGINE_URL": "https://earthengine.googleapis.com"} | variables
        done = run(services, "build", path, tmp_path / "dataset", "--workers", "2", **variables)
        assert not services.log
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1, done.stderr
    for word in words:
        assert word in done.stderr


def test_the_recipe_for_earth_engine_is_ready_to_launch(earth: Path, tmp_path: Path) -> None:
    """`recipes/earthengine.yaml` as it is, but for its places, which the miniature Earth does not have."""
    area = {"file": os.path.relpath(earth / "aoi.geojson", CHECKOUT / "recipes")}
    places = json.dumps({"kind": "grid", "spacing_m": 2000, "area": area})
    with testbed.serve(earth) as services:
        command = ["plan", "recipes/earthengine.yaml", tmp_path / "dataset", "--set", f"sampling={places}"]
        done = run(services, *command, EARTHENGINE_PROJECT="testbed-project")
        assert done.returncode == 0, done.stderr
        assert services.earthengine is not None
        assert "computePixels" not in services.earthengine.requests
    assert "at Earth Engine  about" in done.stdout
    summary = json.loads((tmp_path / "dataset" / "plan" / "plan.json").read_text())
    assert not summary["unavailable"]
    assert set(summary["scenes"]) == {"sentinel2", "sentinel1", "landsat", "dem", "worldcover", "dynamicworld"}
