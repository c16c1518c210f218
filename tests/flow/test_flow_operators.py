"""What an operator asks of a build: stop at a limit, say what it cost, be watched, go on without what failed."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from pathlib import Path

import pytest

import landweave
import testbed
from tests.flow.job import CHECKOUT, run, start, tree_of

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("flow")]


def status(services: testbed.Services, out: Path) -> dict[str, object]:
    done = run(services, "status", out, "--json")
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


def test_it_stops_before_a_limit_and_goes_on_to_the_same_bytes(
    clean: Path, earth: Path, recipe: Path, tmp_path: Path
) -> None:
    out, limit = tmp_path / "dataset", 700
    with testbed.serve(earth) as services:
        assert run(services, "plan", recipe, out).returncode == 0
        planned = len(services.log)
        done = run(services, "build", recipe, out, "--workers", "2", "--max-requests", str(limit))
        assert done.returncode == 3, done.stderr
        assert re.search(r"stopped at --max-requests 700: \d of \d shards are built", done.stderr), done.stderr
        assert "Traceback" not in done.stderr
        sent = len(services.log) - planned
        assert 0 < sent <= limit
        told = status(services, out)
        assert 0 < int(str(told["done"])) < int(str(told["shards"]))
        assert sum(told["spent"]["requests"].values()) == sent  # type: ignore[index]
        with pytest.raises(landweave.NotADatasetError):
            landweave.open(out)
        done = run(services, "build", recipe, out, "--max-cost", "0")
        assert done.returncode == 3
        assert "stopped at --max-cost 0 USD: 0 of" in done.stderr
        assert run(services, "build", recipe, out).returncode == 0
        done = run(services, "status", out)
        assert re.search(r"spent: [\d,]+ requests \(estimated [\d,]+\)", done.stdout), done.stdout
    assert tree_of(out) == tree_of(clean)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def test_a_running_build_is_watched(earth: Path, recipe: Path, tmp_path: Path) -> None:
    out, port = tmp_path / "dataset", free_port()
    with testbed.serve(earth) as services:
        started = start(services, "build", recipe, out, "--workers", "1", "--metrics-port", str(port))
        seen: list[str] = []
        running = building = False
        while started.poll() is None:
            time.sleep(0.3)
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
                    seen.append(answer.read().decode())
            except OSError:
                continue
            if not building and (out / ".work" / "run.json").exists():
                told = status(services, out)
                running |= bool(told["running"])
                building |= bool(told["building"])
        _, err = started.communicate()
    assert started.returncode == 0, err
    assert running
    assert building
    values = [re.search(r'landweave_shards\{dataset="quickstart",state="done"\} (\S+)', text) for text in seen]
    done = [float(v[1]) for v in values if v]
    assert done == sorted(done)
    assert done[-1] > 0


def test_the_journal_and_the_log_name_run_shard_and_sample(earth: Path, recipe: Path, tmp_path: Path) -> None:
    out, quick = tmp_path / "dataset", ["--set", "providers.dlr.retries=0"]
    with testbed.serve(earth) as services:
        assert run(services, "plan", recipe, out, *quick).returncode == 0
        services.take_down("dlr-eoc")
        assert run(services, "build", recipe, out, *quick, "--workers", "2").returncode == 3
        told = status(services, out)
    (folder,) = (out / ".work" / "runs").iterdir()
    lines = [json.loads(line) for log in folder.glob("log-*.jsonl") for line in log.read_text().splitlines()]
    assert {line["run"] for line in lines} == {folder.name} == {told["run"]}
    assert all(isinstance(line["shard"], int) for line in lines)
    assert Counter(line["event"] for line in lines)["shard built"] == told["shards"]
    lost = {line["sample"] for line in lines if line["event"] == "absent" and line["layer"] == "enmap"}
    ledger = landweave.open(out).ledger.to_pylist()
    assert lost == {r["sample_id"] for r in ledger if r["layer"] == "enmap" and r["reason"] == "unavailable"}
    assert told["spent"]["failures"]["dlr"] > 0  # type: ignore[index]


BREAKS_ONE = """
import sys
from pipelines import assemble
right = assemble.write_shard
def write_shard(out, rows, *rest):
    if rows.index == 1:
        raise OSError("planted")
    return right(out, rows, *rest)
assemble.write_shard = write_shard
from pipelines.__main__ import app
app(sys.argv[1:])
"""


def test_a_shard_that_cannot_be_built_does_not_hold_the_others(
    clean: Path, earth: Path, recipe: Path, tmp_path: Path
) -> None:
    out = tmp_path / "dataset"
    words = [sys.executable, "-c", BREAKS_ONE, "build", str(recipe), str(out), "--workers", "1"]
    with testbed.serve(earth) as services:
        environment = {"LANDWEAVE_TESTBED": services.base_url, "PYTHONPATH": str(CHECKOUT)}
        done = subprocess.run(words, env=environment, cwd=CHECKOUT, capture_output=True, text=True, check=False)
        assert done.returncode == 1
        assert "shards 1 failed because of a bug in landweave (1 of 8, more than --max-failed 0.01)" in done.stderr
        words += ["--max-failed", "0.2"]
        done = subprocess.run(words, env=environment, cwd=CHECKOUT, capture_output=True, text=True, check=False)
        assert done.returncode == 3, done.stderr
        dataset = landweave.open(out)
        whole = landweave.open(clean)
        left_out = {r["sample_id"] for r in dataset.ledger.to_pylist() if r["reason"] == "shard_failed"}
        assert left_out == set(whole.query("shard == 1").ids)
        assert len(dataset) == len(whole) - len(left_out)
        checked = [sys.executable, "-m", "landweave", "check", str(out)]
        assert subprocess.run(checked, cwd=CHECKOUT, capture_output=True, check=False).returncode == 0
        done = run(services, "build", recipe, out)
        assert done.returncode == 0, done.stderr
    assert tree_of(out) == tree_of(clean)
