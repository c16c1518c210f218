"""Downloading an extract: whole or not at all, gone on with, never mixed of two versions, no signature kept."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import osmium
import pytest

from pipelines.access.http.client import AccessError, Client, SettingError
from pipelines.access.openstreetmap import download as osm_download
from pipelines.access.openstreetmap.download import download, obtain, prepare_obtained
from pipelines.access.openstreetmap.extract import BadExtractError
from schemas.outcome import Reason
from testbed.server import Fault, Request
from testbed.services import Services, serve_catalogue
from tests.access.openstreetmap.osm_files import tree, written

STEP = 64 << 10


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "served" / "land.osm.pbf"
    path.parent.mkdir()
    path.write_bytes(np.random.default_rng(1).bytes(STEP * 5 + 17))
    return path


@pytest.fixture
def services(file: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(osm_download, "_STEP_BYTES", STEP)
    with serve_catalogue([], {"/land.osm.pbf": file}) as running:
        yield running


def client(retries: int = 2) -> Client:
    return Client(retries=retries, timeout_s=5.0, backoff_s=0.01)


def url(services: Services) -> str:
    return f"{services.base_url}/land.osm.pbf"


def test_a_path_is_found_and_an_address_is_downloaded_once(
    services: Services, file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert obtain("land.osm.pbf", file.parent, tmp_path / "cache") == file
    with pytest.raises(BadExtractError, match=r"^no\.osm\.pbf: no such"):
        obtain("no.osm.pbf", file.parent, tmp_path / "cache")
    with pytest.raises(SettingError, match="LANDWEAVE_OSM_EXTRACT"):
        obtain("$LANDWEAVE_OSM_EXTRACT", file.parent, tmp_path / "cache")
    monkeypatch.setenv("LANDWEAVE_OSM_EXTRACT", url(services) + "?token=secret")
    got = obtain("$LANDWEAVE_OSM_EXTRACT", file.parent, tmp_path / "cache", client())
    assert got.read_bytes() == file.read_bytes()
    services.faults.append(lambda _: pytest.fail("asked again"))
    assert obtain("$LANDWEAVE_OSM_EXTRACT", file.parent, tmp_path / "cache", client()) == got
    assert got.name == file.name, "the name must not depend on the address: it goes into the dataset"
    about = json.loads(got.with_name(got.name + ".json").read_text())
    assert about["sha256"] == hashlib.sha256(file.read_bytes()).hexdigest()
    kept = [p for p in (tmp_path / "cache").rglob("*") if p.is_file()]
    everything = [str(p.relative_to(tmp_path)) + p.read_text(errors="replace") for p in kept]
    assert not any("secret" in text for text in everything)
    assert not any(p.name.endswith((".part", ".part.json")) for p in kept)


def test_faults_that_pass_are_outlived(services: Services, file: Path, tmp_path: Path) -> None:
    faults = [Fault(status=503), Fault(short_by_bytes=1000), Fault(reset=True), None] * 20
    services.faults.append(lambda _: faults.pop(0))
    assert download(url(services), tmp_path / "cache", client(5)).read_bytes() == file.read_bytes()


def test_it_goes_on_where_it_stopped(services: Services, file: Path, tmp_path: Path) -> None:
    down = {"after": 3}

    def hook(request: Request) -> Fault | None:
        down["after"] -= 1
        return Fault(status=503) if down["after"] < 0 else None

    services.faults.append(hook)
    with pytest.raises(AccessError) as caught:
        download(url(services), tmp_path / "cache", client(0))
    assert caught.value.reason is Reason.UNAVAILABLE
    assert not any(p.suffix == ".pbf" for p in (tmp_path / "cache").rglob("*"))
    services.faults.remove(hook)
    asked: list[str | None] = []
    services.faults.append(lambda request: asked.append(request.range))
    assert download(url(services), tmp_path / "cache", client(0)).read_bytes() == file.read_bytes()
    assert asked == [f"bytes={STEP * n}-{STEP * (n + 1) - 1}" for n in (3, 4, 5)]  # three steps were there


def test_two_versions_are_never_mixed(services: Services, file: Path, tmp_path: Path) -> None:
    new = np.random.default_rng(2).bytes(STEP * 4)
    left = {"n": 2}

    def hook(request: Request) -> Fault | None:
        left["n"] -= 1
        if left["n"] == 0:
            file.write_bytes(new)
        return None

    services.faults.append(hook)
    assert download(url(services), tmp_path / "cache", client()).read_bytes() == new


def test_a_page_that_came_instead_of_a_map_is_not_kept(services: Services, file: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    file.write_bytes(b"<html><body>Too many requests, come back later</body></html>")
    with pytest.raises(BadExtractError, match=r"^land\.osm\.pbf: it is a web page .*; download it again$"):
        prepare_obtained(download(url(services), cache, client()), cache)
    written(file, lambda writer: tree(writer, 1))
    extract = prepare_obtained(download(url(services), cache, client()), cache)
    assert extract.counts["points"] == 1
    file.write_bytes(b"<html>")
    with pytest.raises(BadExtractError):
        prepare_obtained(file, file.parent)
    assert file.is_file(), "a user's own file is never removed"


def test_what_can_be_mended_is_kept(services: Services, file: Path, tmp_path: Path) -> None:
    def backwards(writer: osmium.SimpleWriter) -> None:
        tree(writer, 2)
        tree(writer, 1)

    written(file, backwards)
    got = download(url(services), tmp_path / "cache", client())
    with pytest.raises(BadExtractError, match="osmium sort"):
        prepare_obtained(got, tmp_path / "cache")
    assert got.is_file()


def test_a_missing_file_is_said_in_one_line(services: Services, tmp_path: Path) -> None:
    with pytest.raises(AccessError) as caught:
        download(services.base_url + "/other.osm.pbf", tmp_path / "cache", client())
    assert caught.value.reason is Reason.NOT_FOUND
