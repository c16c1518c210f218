"""Earth Engine as a recipe's provider: settings, addresses, who is which worker, and one session for all who use it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from pipelines.access.archives import Archives
from pipelines.access.chips import ChipRequest
from pipelines.access.earthengine.archive import EarthEngineArchive, settings_of, worker_number
from pipelines.access.earthengine.items import item_of
from pipelines.access.earthengine.products import PRODUCTS
from pipelines.access.earthengine.slots import share_of
from pipelines.access.http.client import AccessError, SettingError
from pipelines.labels.footprint import covered_share
from schemas.earthengine import EarthEngineProvider
from schemas.outcome import Reason
from schemas.place import BBox, GeoBox
from schemas.provider import Provider
from testbed.earthengine import Running, serve_earthengine
from tests.access.earthengine import earthengine_scenes as scenes
from tests.access.earthengine.earthengine_scenes import S2, box

AREA = BBox(15.0, 47.82, 15.05, 47.86)
URL = "LANDWEAVE_EARTHENGINE_URL"
ENGINE = EarthEngineProvider(project="testbed-project", retries=1)


@pytest.fixture
def running(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Running:  # type: ignore[misc]
    with serve_earthengine(scenes.catalogue(tmp_path)) as found:
        monkeypatch.setenv(URL, found.base_url)
        monkeypatch.delenv("GOOGLE_APPLICATION_CREDENTIALS", raising=False)
        yield found


def test_no_credentials_are_sent_to_this_machine_unless_some_are_named() -> None:
    local = {URL: "http://127.0.0.1:1234/"}
    assert settings_of("ee", ENGINE, local).credentials == "anonymous"
    assert settings_of("ee", ENGINE, local).endpoint == "http://127.0.0.1:1234"
    assert settings_of("ee", ENGINE, {**local, "GOOGLE_APPLICATION_CREDENTIALS": "k"}).credentials == "auto"
    signed = ENGINE.model_copy(update={"credentials": "workload_identity"})
    assert settings_of("ee", signed, local).credentials == "workload_identity"
    assert settings_of("ee", ENGINE, {}).credentials == "auto"
    assert settings_of("ee", ENGINE, {}).url == "https://earthengine-highvolume.googleapis.com"
    standard = ENGINE.model_copy(update={"endpoint": "standard"})
    assert settings_of("ee", standard, {}).url == "https://earthengine.googleapis.com"
    own = ENGINE.model_copy(update={"url": "$LANDWEAVE_PLACE"})
    assert (
        settings_of("ee", own, {**local, "LANDWEAVE_PLACE": "https://x.googleapis.com"}).url
        == "https://x.googleapis.com"
    )
    with pytest.raises(SettingError, match="LANDWEAVE_PLACE"):
        settings_of("ee", own, local)


@pytest.mark.parametrize(
    "address", ["https://example.org", "http://earthengine.googleapis.com", "https://evilgoogleapis.com"]
)
def test_other_hosts_are_refused_before_anything_is_sent(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    monkeypatch.setenv(URL, address)
    with Archives({"ee": ENGINE}) as archives, pytest.raises(SettingError, match=r"googleapis\.com"):
        archives.check()


def test_one_session_serves_all_who_open_it(running: Running) -> None:
    """As several bundles of one worker process do: it ends when the last of them lets go."""
    first, second = EarthEngineArchive("ee", ENGINE), EarthEngineArchive("ee", ENGINE)
    assert first.session is second.session
    first.close()
    found = second.search(S2, [AREA], None)
    assert [item["collection"] for item in found] == [S2] * 3
    request = ChipRequest(hrefs=(found[0]["assets"]["r10m"]["href"],), bands=(1,), geobox=box(8, 8), kernel="nearest")
    (chip,) = second.read_chips([request])
    assert not isinstance(chip, AccessError)
    assert second.eecu_hours > 0.0
    second.close()
    with Archives({"ee": ENGINE, "p": Provider(url="http://127.0.0.1:9")}) as archives:
        both = archives.search("ee", "LANDSAT/LC08/C02/T1_L2,LANDSAT/LC09/C02/T1_L2", [AREA], None)
        assert len(both) == 2
        assert archives.counters.requests > 0
        assert set(archives.origins) == {"p"}


def test_a_box_over_the_180th_meridian_and_a_shape_are_asked_for(running: Running) -> None:
    engine = EarthEngineArchive("ee", ENGINE)
    ring = [[15.0, 47.82], [15.05, 47.82], [15.05, 47.86], [15.0, 47.82]]
    assert len(engine.search(S2, {"type": "Polygon", "coordinates": [ring]}, None)) == 3
    assert engine.search(S2, [BBox(179.9, 10.0, -179.9, 10.2)], None) == []
    engine.close()


def test_an_image_of_the_whole_earth_covers_every_place() -> None:
    """However the service draws its footprint."""
    product = PRODUCTS["ESA/WorldCover/v200"]
    asset = {
        "id": "ESA/WorldCover/v200/2021",
        "startTime": "2021-01-01T00:00:00Z",
        "geometry": {"type": "LinearRing", "coordinates": [["-Infinity", "-Infinity"]]},
    }
    place = GeoBox(epsg=32701, x_min=500_000, y_max=8_000_000, resolution_m=10, width=8, height=8)
    assert covered_share(item_of(asset, product)["geometry"], place) == 1.0


def test_a_service_that_does_not_answer_is_why_no_chip_could_be_had(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(URL, "http://127.0.0.1:9")
    engine = EarthEngineArchive("ee", ENGINE.model_copy(update={"retries": 0, "timeout_s": 2.0}))
    request = ChipRequest(hrefs=("earthengine:x",), bands=(1,), geobox=box(8, 8), kernel="nearest")
    got = engine.read_chips([request, request])
    assert [getattr(e, "reason", None) for e in got] == [Reason.UNAVAILABLE] * 2
    engine.close()


@pytest.mark.slow
def test_workers_number_themselves_and_share_every_slot(tmp_path: Path) -> None:
    """Three processes on one machine: 14, 13 and 13 of 40 slots. A number is free again when its process has ended."""
    program = (
        "import sys, pathlib\n"
        "from pipelines.access.earthengine.archive import worker_number\n"
        "print(worker_number(pathlib.Path(sys.argv[1]), 3), flush=True)\n"
        "sys.stdin.read()\n"
    )

    def start() -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-c", program, str(tmp_path / "locks")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parents[3],
        )

    running = [start() for _ in range(3)]
    numbers = [int((p.stdout or sys.stdin).readline()) for p in running]
    assert sorted(numbers) == [0, 1, 2]
    assert sum(share_of(40, 3, n) for n in numbers) == 40
    running[0].communicate()
    running.append(start())
    assert int((running[3].stdout or sys.stdin).readline()) == numbers[0]
    for process in running[1:]:
        process.communicate()
    assert worker_number(None, 3) == 2
    assert worker_number(tmp_path, 1) == 0
