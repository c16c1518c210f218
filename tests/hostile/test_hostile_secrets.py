"""Planted secrets: a whole job that needs every login, and a search through all that it writes, prints and exports."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

import landweave
import testbed
from testbed.guard import ACCESS_KEY, MARK, PASSWORD, SECRET_KEY, USER, Guard
from testbed.llm import serve_language_model
from tests.providers.conftest import logins, services  # noqa: F401 - fixtures
from tests.providers.test_providers_secrets import CHECKOUT, recipe, run
from tests.providers.written import leaks, texts

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("providers")]

PLANTED = {
    "OPENAI_API_KEY": f"{MARK}-openai",
    "LANDWEAVE_MODEL_KEY": f"{MARK}-model",
    "PC_SDK_SUBSCRIPTION_KEY": f"{MARK}-subscription",
    "CDSE_S3_ACCESS_KEY": f"{MARK}-cdse-id",
    "CDSE_S3_SECRET_KEY": f"{MARK}-cdse-key",
    "AWS_SESSION_TOKEN": "",
    "GITHUB_TOKEN": f"{MARK}-github",
    "GH_TOKEN": f"{MARK}-gh",
    "HF_TOKEN": f"{MARK}-hf",
    "AZURE_STORAGE_KEY": f"{MARK}-azure",
    "LANDWEAVE_PRICE_SECRET": f"{MARK}-own",
}
"""Beside the logins that the testbed's guard takes, all of which hold MARK too."""


def reader(*words: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "landweave", *map(str, words)]
    return subprocess.run(command, cwd=CHECKOUT, text=True, capture_output=True, timeout=600, check=False)


def test_no_output_of_a_job_holds_a_secret(
    services: testbed.Services,  # noqa: F811
    logins: dict[str, str],  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in PLANTED.items():
        if value:
            monkeypatch.setenv(name, value)
    guard = Guard(services=services, life_s=4.0)  # tokens end many times while the job runs
    guard.install()
    out = tmp_path / "out"
    said: dict[str, list[bytes]] = {}

    def told(name: str, done: subprocess.CompletedProcess[str], *codes: int) -> None:
        assert done.returncode in (codes or (0,)), f"{name}: {done.stdout}{done.stderr}"
        assert "Traceback" not in done.stderr
        said[name] = [done.stdout.encode(), done.stderr.encode()]

    with serve_language_model("good") as model:
        monkeypatch.setenv("OPENAI_BASE_URL", model.base_url)
        captions = ["--set", "captions={kind: llm, model: loopback}"]
        path = recipe(tmp_path)
        told("plan", run("plan", path, out, *captions))
        guard.withdraw()
        told("build", run("build", path, out, "--workers", "2", *captions))
        assert model.requests
    dataset = landweave.open(out)
    for name in (*dataset.modalities, *dataset.labels):
        share = sum(any(sample.present[name]) for sample in dataset) / len(dataset)
        assert share > 0.7, (name, share)
    for archive in ("planetary-computer", "dlr-eoc", "earthdata", "copernicus-data-space"):
        assert guard.passed[f"/files/{archive}/"] > 0
    assert guard.passed["/s3/"] > 0
    assert guard.issued["planetary-computer"] > 2, "tokens were renewed"
    assert guard.refused.get("/s3/", 0) == 0

    told("status", run("status", out))
    told("status json", run("status", out, "--json"))
    told("metrics", run("status", out, "--openmetrics"))
    told("another recipe", run("build", path, out, "--set", "seed=8"), 1)
    told("no host", run("plan", path, tmp_path / "no", "--set", "providers.usgs.signing.url=http://127.0.0.3:1"), 1)
    assert "--allow-host 127.0.0.3:1" in said["no host"][1].decode()
    services.close()
    once = [w for p in ("pc", "dlr", "usgs", "nasa", "cdse") for w in ("--set", f"providers.{p}.retries=0")]
    told("nobody answers", run("plan", path, tmp_path / "gone", *captions, *once), 1, 3)
    told("info", reader("info", out))
    told("check", reader("check", out))
    told("query", reader("query", out, "split != ''"), 0, 1)
    told("export", reader("export", "parquet", out, tmp_path / "export"))

    secrets = [MARK.encode(), MARK.lower().encode(), *(v.encode() for v in PLANTED.values() if v)]
    secrets += [s.encode() for s in (PASSWORD, SECRET_KEY, ACCESS_KEY, USER)]
    secrets += [json.dumps(PASSWORD)[1:-1].encode(), f"127.0.0.1:{services.port}".encode(), model.base_url.encode()]
    assert leaks(said | texts(tmp_path), secrets) == []
