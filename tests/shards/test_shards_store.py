"""Building into a real S3-protocol server on loopback: staged, published once, resumed, raced for, read back."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
import threading
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from moto.server import ThreadedMotoServer

import landweave
from landweave.check import check
from landweave.manifest import shard_from_bytes
from pipelines.shards import StoreError, desk_of, done_shards, finalise, withdraw
from pipelines.shards.desk import arrive, refresh, share_plan, store_of
from pipelines.shards.store import DatasetStore
from tests.shards import slow_listing
from tests.shards.synthetic import Planned, planned

if TYPE_CHECKING:
    from collections.abc import Iterator

CHECKOUT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """Endpoint of an S3-protocol server that honours If-None-Match."""
    running = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    running.start()
    host, port = running.get_host_and_port()
    yield f"http://{host}:{port}"
    running.stop()


@pytest.fixture
def url(server: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, request: pytest.FixtureRequest) -> str:
    """A bucket of the test's own."""
    settings = {"ACCESS_KEY_ID": "test", "SECRET_ACCESS_KEY": "test", "REGION": "us-east-1", "ALLOW_HTTP": "true"}
    for name, value in {**settings, "ENDPOINT_URL": server}.items():
        monkeypatch.setenv(f"AWS_{name}", value)
    bucket = request.node.name.replace("_", "-").split("[")[0][:60]
    made = urllib.request.Request(f"{server}/{bucket}", method="PUT")  # noqa: S310 - loopback
    urllib.request.urlopen(made).close()  # noqa: S310 - loopback
    monkeypatch.setenv("LANDWEAVE_WORK", str(tmp_path / "desks"))
    return f"s3://{bucket}/data/set"


def small(**kwargs: Any) -> Planned:
    return planned((2, 1), sources=("sentinel2", "dem"), size_m=60.0, **kwargs)


def objects(url: str) -> dict[str, bytes]:
    store = DatasetStore(url)
    return {path: store.get(path) or b"" for path in store.sizes("") if not path.startswith(("plan", ".work"))}


@pytest.mark.slow
def test_the_same_objects_as_on_a_local_disk_and_no_pixels_on_the_desk(url: str, tmp_path: Path) -> None:
    plan = small()
    desk = plan.build(desk_of(url))
    local = plan.build(tmp_path / "local")
    files = {p.relative_to(local).as_posix(): p.read_bytes() for p in local.rglob("*") if p.is_file()}
    expected = {path: raw for path, raw in files.items() if not path.startswith(".")}
    assert objects(url) == expected
    assert not list(desk.glob("data.zarr/sentinel2/bands_10m/c"))
    assert not [p for p in (desk / ".staging").rglob("*.json") if p.is_file()]
    remote = landweave.open(url)
    assert list(check(remote)) == []
    here = landweave.open(local)
    for sample in here:
        theirs = remote.sample(sample.id)
        assert (theirs["sentinel2/bands_10m"] == sample["sentinel2/bands_10m"]).all()
        assert theirs.vectors().equals(sample.vectors())


@pytest.mark.slow
def test_nothing_is_visible_before_the_manifest_and_a_second_machine_resumes(url: str, tmp_path: Path) -> None:
    plan = small()
    first = desk_of(url)
    plan.write(first, plan.shards[0])
    with pytest.raises(landweave.UnfinishedError):
        landweave.open(url)
    for path in first.rglob("*"):  # the first machine is gone
        if path.is_file():
            path.unlink()
    second = desk_of(url)
    assert done_shards(second, plan.dataset) == {0}
    assert plan.write(second, plan.shards[0]).written is False
    assert plan.write(second, plan.shards[1]).written is True
    finalise(second, plan.dataset)
    assert list(check(landweave.open(url))) == []
    (second / "landweave.json").unlink()
    refresh(second, 2, always=True)
    assert (second / "landweave.json").is_file()  # another machine sees that it is finished
    DatasetStore(url).delete("landweave.json")
    refresh(second, 2, always=True)
    assert not (second / "landweave.json").exists()  # killed before it was delivered: finished by the next build
    finalise(second, plan.dataset)
    withdraw(second, [1])
    with pytest.raises(landweave.UnfinishedError):
        landweave.open(url)
    assert done_shards(second, plan.dataset) == {0}


@pytest.mark.slow
def test_of_builders_that_race_exactly_one_publishes(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = small()
    desks = []
    for name in "abc":
        monkeypatch.setenv("LANDWEAVE_WORK", str(tmp_path / name))
        desks.append(desk_of(url))
    won: list[bool] = []
    together = threading.Barrier(len(desks))
    create = DatasetStore.create

    def counted(self: DatasetStore, path: str, content: bytes) -> bool:
        if path.startswith("shards/"):
            together.wait(30)  # all have put their objects and none its manifest
            won.append(create(self, path, content))
            return won[-1]
        return create(self, path, content)

    monkeypatch.setattr(DatasetStore, "create", counted)
    threads = [threading.Thread(target=plan.write, args=(desk, plan.shards[0])) for desk in desks]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(won) == [False, False, True]
    monkeypatch.setattr(DatasetStore, "create", create)
    plan.write(desks[2], plan.shards[1])
    finalise(desks[0], plan.dataset)
    assert list(check(landweave.open(url))) == []


@pytest.mark.slow
def test_builders_that_read_different_pixels_at_once_take_the_shard_back(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan, other = small(), small(seed=9)
    desk = desk_of(url)
    monkeypatch.setenv("LANDWEAVE_WORK", str(tmp_path / "elsewhere"))
    rival = desk_of(url)
    create = DatasetStore.create

    def overtaken(self: DatasetStore, path: str, content: bytes) -> bool:
        if path == "shards/00000.json":
            monkeypatch.setattr(DatasetStore, "create", create)
            other.write(rival, other.shards[0])
        return create(self, path, content)

    monkeypatch.setattr(DatasetStore, "create", overtaken)
    with pytest.raises(StoreError, match="shard 0 was built by two builders at the same time"):
        plan.write(desk, plan.shards[0])
    assert done_shards(desk, plan.dataset) == set()
    assert plan.write(desk, plan.shards[0]).written
    plan.write(desk, plan.shards[1])
    finalise(desk, plan.dataset)
    assert list(check(landweave.open(url))) == []


@pytest.mark.slow
def test_a_killed_upload_leaves_no_shard_and_is_done_again(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = small()
    desk = desk_of(url)
    put, calls = DatasetStore.put, [0]

    def dying(self: DatasetStore, path: str, content: Any) -> None:
        calls[0] += 1
        if calls[0] == 3:
            raise KeyboardInterrupt
        put(self, path, content)

    monkeypatch.setattr(DatasetStore, "put", dying)
    with pytest.raises(KeyboardInterrupt):
        plan.write(desk, plan.shards[0])
    assert done_shards(desk, plan.dataset) == set()
    monkeypatch.setattr(DatasetStore, "put", put)
    plan.build(desk)
    assert list(check(landweave.open(url))) == []


def test_a_worker_elsewhere_finds_the_plan_in_the_store(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk = desk_of(url)
    for path, text in {"plan/plan.json": "last", "plan/scenes/part-00000.parquet": "x", ".work/osm/a.pbf": "m"}.items():
        (desk / path).parent.mkdir(parents=True, exist_ok=True)
        (desk / path).write_text(text)
    share_plan(desk, [".work/osm/a.pbf"])
    monkeypatch.setenv("LANDWEAVE_WORK", str(tmp_path / "worker"))
    there = arrive(url)
    assert there != desk
    assert (there / "plan/plan.json").read_text() == "last"
    assert (there / ".work/osm/a.pbf").read_text() == "m"
    DatasetStore(url).put(".work/plan-files", b"plan/../../outside\n")
    monkeypatch.setenv("LANDWEAVE_WORK", str(tmp_path / "another"))
    with pytest.raises(StoreError, match="which is no file of a plan"):
        arrive(url)
    assert not list(tmp_path.rglob("outside"))


def test_a_plan_is_found_whole_while_the_stores_listings_lag(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = {"ACCESS_KEY_ID": "test", "SECRET_ACCESS_KEY": "test", "REGION": "us-east-1", "ALLOW_HTTP": "true"}
    with slow_listing.serve(lag_s=3600.0) as (endpoint, _):
        for name, value in {**settings, "ENDPOINT_URL": endpoint, "BUCKET": "late"}.items():
            monkeypatch.setenv(f"AWS_{name}", value)
        urllib.request.urlopen(urllib.request.Request(f"{endpoint}/late", method="PUT")).close()  # noqa: S310
        monkeypatch.setenv("LANDWEAVE_WORK", str(tmp_path / "planner"))
        desk = desk_of("s3://late/data")
        for path in ("plan/plan.json", "plan/scenes/part-00000.parquet"):
            (desk / path).parent.mkdir(parents=True, exist_ok=True)
            (desk / path).write_text(path)
        share_plan(desk)
        monkeypatch.setenv("LANDWEAVE_WORK", str(tmp_path / "worker"))
        there = arrive("s3://late/data")
        assert (there / "plan/scenes/part-00000.parquet").read_text() == "plan/scenes/part-00000.parquet"


def test_bad_places_are_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LANDWEAVE_WORK", str(tmp_path))
    with pytest.raises(StoreError, match="put credentials into the environment") as caught:
        desk_of("s3://key:hidden@bucket/x")
    assert "hidden" not in str(caught.value)
    with pytest.raises(StoreError, match="ftp://: landweave cannot build into it"):
        desk_of("ftp://host/x")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_ALLOW_HTTP", "true")
    assert store_of(tmp_path) is None


def test_a_manifest_says_what_lies_in_the_store(url: str) -> None:
    plan = small()
    plan.write(desk_of(url), plan.shards[0])
    raw = DatasetStore(url).get("shards/00000.json")
    assert raw is not None
    sizes = DatasetStore(url).sizes("data.zarr")
    promised = shard_from_bytes(raw, "x").objects
    assert {p: o.size for p, o in promised.items() if p.startswith("data.zarr")} == sizes
    assert dataclasses.is_dataclass(plan)


BUILDER = """
import sys
from pipelines.shards import clean_staging, desk_of, done_shards, finalise
from tests.shards.synthetic import planned
plan = planned((2, 1, 2), sources=("sentinel2", "dem"), size_m=60.0)
desk = desk_of(sys.argv[1])
clean_staging(desk)
for shard in plan.shards[:: int(sys.argv[2])]:
    if shard.index not in done_shards(desk, plan.dataset):
        plan.write(desk, shard)
finalise(desk, plan.dataset)
print(sorted(done_shards(desk, plan.dataset)))
"""


@pytest.mark.slow
def test_two_builders_whose_stores_listings_lag_leave_one_dataset(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing that decides is read from a listing: both end, with the bytes of one builder on a local disk."""
    local = planned((2, 1, 2), sources=("sentinel2", "dem"), size_m=60.0).build(tmp_path / "local")
    files = {p.relative_to(local).as_posix(): p.read_bytes() for p in local.rglob("*") if p.is_file()}
    settings = {"ACCESS_KEY_ID": "test", "SECRET_ACCESS_KEY": "test", "REGION": "us-east-1", "ALLOW_HTTP": "true"}
    with slow_listing.serve(lag_s=20.0) as (endpoint, store):
        for name, value in {**settings, "ENDPOINT_URL": endpoint}.items():
            monkeypatch.setenv(f"AWS_{name}", value)
        urllib.request.urlopen(urllib.request.Request(f"{endpoint}/lagging", method="PUT")).close()  # noqa: S310
        url = "s3://lagging/data"
        builders = [
            subprocess.Popen(
                [sys.executable, "-c", BUILDER, url, order],
                env={**os.environ, "LANDWEAVE_WORK": str(tmp_path / f"desk{order}"), "PYTHONPATH": str(CHECKOUT)},
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            for order in ("1", "-1")
        ]
        said = [builder.communicate(timeout=300) for builder in builders]
        assert [builder.returncode for builder in builders] == [0, 0], said
        assert store.hidden > 0, "the listings did lag"
        monkeypatch.setenv("LANDWEAVE_WORK", str(tmp_path / "desk-of-a-third"))
        assert list(check(landweave.open(url))) == []
        reached = DatasetStore(url)
        expected = {path: raw for path, raw in files.items() if not path.startswith(".")}
        assert {path: reached.get(path) for path in expected} == expected
