"""A job through archives that ask for credentials, and refuse them; the job that gets all is in tests/hostile."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from ruamel.yaml import YAML

import landweave
import testbed
from testbed.guard import MARK, Guard
from tests.providers.written import leaks, texts

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("providers")]

CHECKOUT = Path(__file__).parents[2]


def recipe(folder: Path) -> Path:
    """Six archives, each of which asks for something else."""
    here = "$LANDWEAVE_TESTBED"
    own = {"hosts": ["127.0.0.1"]}
    tree = {
        "name": "signed",
        "seed": 7,
        "sampling": {"kind": "uniform", "count": 5, "area": {"bbox": [11.945, 48.49, 12.055, 48.51]}},
        "grid": {"size_m": 480},
        "windows": [{"name": "summer-2022", "start": "2022-06-01", "end": "2022-09-15"}],
        "providers": {
            "pc": {
                "url": f"{here}/pc/stac",
                "dialect": "planetary-computer",
                "signing": {"url": f"{here}/sas", "hosts": ["localhost"]},
            },
            "dlr": {"url": f"{here}/dlr/stac", "dialect": "dlr-eoc", "signing": {"url": here, **own}},
            "usgs": {"url": f"{here}/usgs/stac-server", "dialect": "usgs", "signing": {"url": f"{here}/s3"}},
            "nasa": {
                "url": f"{here}/cmr/stac/LPCLOUD",
                "dialect": "earthdata",
                "signing": {"url": f"{here}/urs", **own},
            },
            "cdse": {
                "url": f"{here}/cdse/v1",
                "dialect": "copernicus-data-space",
                "alternate": "https",
                "signing": {"url": f"{here}/oidc", **own},
            },
        },
        "sources": [
            {"kind": "sentinel2", "providers": ["cdse"], "max_cloud": 1.0},
            {"kind": "sentinel1", "providers": ["pc"], "min_valid": 0.1},
            {"kind": "landsat", "providers": ["usgs"], "collection": "landsat-c2l2-sr", "max_cloud": 1.0},
            {"kind": "enmap", "providers": ["dlr"], "max_cloud": 1.0},
            {"kind": "hls", "providers": ["nasa"], "max_cloud": 1.0},
            {"kind": "dem", "providers": ["pc"]},
        ],
        "labels": [{"kind": "worldcover", "providers": ["pc"]}],
        "captions": {"kind": "template"},
        "splits": {"train": 0.6, "val": 0.2, "test": 0.2, "block_m": 2000, "buffer_m": 0},
        "shards": {"samples": 2},
    }
    path = folder / "signed.yaml"
    with path.open("w") as file:
        YAML(typ="safe").dump(tree, file)
    return path


def run(*words: str | Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(CHECKOUT)}
    command = [sys.executable, "-m", "pipelines", *map(str, words)]
    return subprocess.run(
        command, env=environment, cwd=CHECKOUT, text=True, capture_output=True, timeout=600, check=False
    )


def test_credentials_that_are_refused_are_told_without_them(
    services: testbed.Services, logins: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A wrong password costs the layer, one line in the ledger, and nothing else."""
    Guard(services=services).install()
    monkeypatch.setenv("DLR_EOC_PASSWORD", f"wrong-{MARK}")
    out = tmp_path / "out"
    built = run("build", recipe(tmp_path), out, "--workers", "2", "--set", "sampling.count=2")
    assert built.returncode in (0, 3), built.stdout + built.stderr
    dataset = landweave.open(out)
    assert not any(any(sample.present["enmap"]) for sample in dataset)
    assert all(any(sample.present["landsat"]) for sample in dataset)
    ledger = repr(_rows(out))
    assert "denied" in ledger
    said = {"build": [built.stdout.encode(), built.stderr.encode()]}
    assert leaks(said | texts(out), [MARK.encode()]) == []


def _rows(out: Path) -> list[dict[str, object]]:
    import pyarrow.parquet as pq

    rows: list[dict[str, object]] = pq.read_table(out / "catalogue" / "ledger.parquet").to_pylist()
    return rows
