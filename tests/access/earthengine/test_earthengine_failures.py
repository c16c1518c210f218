"""Every way in which Earth Engine can fail is classed, and none of them becomes pixels."""

from __future__ import annotations

import gzip
import json
import socket
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import ee
import hypothesis
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.access.earthengine import graphs
from pipelines.access.earthengine.meter import Meter, PlannedChip, cost, eecu_s, estimate, profile_eecu_s
from pipelines.access.earthengine.requests import MAX_BYTES, MAX_SIDE_PX, pieces, pixel_bytes
from pipelines.access.earthengine.session import Session, Settings, open_session
from pipelines.access.earthengine.transport import TooLargeError, refusal
from pipelines.access.http.client import AccessError, SettingError
from schemas.outcome import Reason
from schemas.place import GeoBox
from testbed.earthengine import Limits, Running, serve_earthengine
from testbed.server import Fault, Request
from tests.access.earthengine import earthengine_scenes as scenes
from tests.access.earthengine.earthengine_scenes import S2_A, box

ANONYMOUS = Settings(
    project="testbed-project", credentials="anonymous", requests_per_s=None, backoff_s=0.01, retries=3, timeout_s=5.0
)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with serve_earthengine(scenes.catalogue(tmp_path_factory.mktemp("ee"))) as found:
        yield found


@pytest.fixture(autouse=True)
def clean(running: Running) -> Iterator[None]:
    yield
    running.server.hooks.clear()
    running.service.tamper = None


@pytest.fixture
def session(running: Running) -> Iterator[Session]:
    with open_session(replace(ANONYMOUS, endpoint=running.base_url)) as found:
        yield found


def faults(running: Running, *wrong: Fault, path: str = ":computePixels") -> list[Fault]:
    """The next requests to `path` go wrong, in order."""
    left = list(wrong)

    def hook(request: Request) -> Fault | None:
        return left.pop(0) if left and request.path.endswith(path) else None

    running.server.hooks.append(hook)
    return left


def chip(session: Session, width: int = 64, height: int = 48) -> np.ndarray:
    image = graphs.stored((S2_A,), ("B2", "B3"))
    return session.compute_chip(image, box(width, height), ("B2", "B3"), dtype="uint16").pixels


def words(message: str, status: int = 400) -> bytes:
    return json.dumps({"error": {"code": status, "message": message, "status": "X"}}).encode()


TRANSIENT = [
    Fault(status=429, body=words("Too Many Requests: ...", 429), headers={"Retry-After": "0"}),
    Fault(status=503, body=words("The service is currently unavailable.", 503)),
    Fault(status=500, body=b"<html>"),
    Fault(reset=True),
    Fault(short_by_bytes=100),
    Fault(status=403, body=words("Quota exceeded for quota metric 'Number of read requests'", 403)),
    Fault(status=403, body=gzip.compress(words("Quota exceeded", 403)), headers={"Content-Encoding": "gzip"}),
]
KINDS = ["429", "503", "500", "reset", "short", "403-quota", "403-quota-gzip"]


@pytest.mark.parametrize("fault", TRANSIENT, ids=KINDS)
def test_what_passes_is_tried_again_and_gives_the_same_pixels(session: Session, running: Running, fault: Fault) -> None:
    expected = chip(session)
    left = faults(running, fault, fault)
    np.testing.assert_array_equal(chip(session), expected)
    assert not left
    assert session.counters.retries == 2


@pytest.mark.parametrize("fault", TRANSIENT, ids=KINDS)
def test_what_does_not_pass_is_unavailable(session: Session, running: Running, fault: Fault) -> None:
    faults(running, *[fault] * 20)
    with pytest.raises(AccessError) as error:
        chip(session)
    assert error.value.reason is Reason.UNAVAILABLE
    assert session.counters.failures == 1


def test_a_redirect_is_not_followed_with_a_token(session: Session, running: Running) -> None:
    with socket.create_server(("127.0.0.1", 0)) as elsewhere:
        elsewhere.setblocking(False)
        faults(running, Fault(status=307, headers={"Location": f"http://127.0.0.1:{elsewhere.getsockname()[1]}/"}))
        with pytest.raises(AccessError, match="HTTP 307") as error:
            chip(session)
        assert error.value.reason is Reason.UNAVAILABLE
        with pytest.raises(BlockingIOError):
            elsewhere.accept()


def test_retry_after_is_waited_for(session: Session, running: Running) -> None:
    import time

    faults(running, Fault(status=429, body=words("Too Many Requests", 429), headers={"Retry-After": "0.4"}))
    started = time.monotonic()
    chip(session)
    assert time.monotonic() - started >= 0.4


@pytest.mark.parametrize(
    ("status", "message", "reason"),
    [
        (
            400,
            "Image.load: Image asset 'X' not found (does not exist or caller does not have access).",
            Reason.NOT_FOUND,
        ),
        (400, "Image.select: Band pattern 'B99' did not match any bands. Available bands: [B1]", Reason.BAD_ITEM),
        (404, "Asset 'X' does not exist or doesn't allow this operation.", Reason.NOT_FOUND),
        (403, "Caller does not have required permission to use project testbed-project.", Reason.DENIED),
        (401, "Request had invalid authentication credentials.", Reason.DENIED),
        (418, "?", Reason.UNAVAILABLE),
    ],
)
def test_what_cannot_pass_is_asked_once(
    session: Session, running: Running, status: int, message: str, reason: Reason
) -> None:
    left = faults(running, *[Fault(status=status, body=words(message, status))] * 9)
    with pytest.raises(AccessError) as error:
        chip(session)
    assert error.value.reason is reason
    assert len(left) == 8
    assert message[:20] in error.value.detail or status == 401


def test_real_words_of_the_service_are_classed(session: Session) -> None:
    geobox = box()
    with pytest.raises(AccessError) as error:
        session.compute_chip(graphs.stored(("NO/SUCH/IMAGE",), ("B2",)), geobox, ("B2",), dtype="uint16")
    assert error.value.reason is Reason.NOT_FOUND
    with pytest.raises(AccessError) as error:
        session.compute_chip(ee.Image(S2_A), geobox, ("B99",), dtype="uint16")
    assert error.value.reason is Reason.BAD_ITEM
    with pytest.raises(AccessError) as error:
        session.value(ee.ImageCollection("NO/SUCH").size())
    assert error.value.reason is Reason.NOT_FOUND
    with pytest.raises(AccessError) as error:
        session.assets({"parent": "NO/SUCH"})
    assert error.value.reason is Reason.NOT_FOUND
    empty = ee.Image(
        ee.ImageCollection(scenes.S2).filter(ee.Filter.lte("CLOUDY_PIXEL_PERCENTAGE", -1)).select(["B2"]).first()
    )
    with pytest.raises(AccessError) as error:
        session.compute_chip(empty, geobox, ("B2",), dtype="uint16")
    assert error.value.reason is Reason.BAD_ITEM


@pytest.mark.parametrize(
    "body", [b"", b"\x93NUMPY", b"{}", b"\x93NUMPY\x01\x00v\x00{'descr': '<u2', 'fortran_order': False"]
)
def test_bytes_that_are_no_pixels_are_corrupt(session: Session, running: Running, body: bytes) -> None:
    running.service.tamper = lambda _: body
    with pytest.raises(AccessError) as error:
        chip(session)
    assert error.value.reason is Reason.CORRUPT


def test_pixels_of_another_shape_are_corrupt(session: Session, running: Running) -> None:
    import io

    def smaller(data: bytes) -> bytes:
        out = io.BytesIO()
        np.save(out, np.load(io.BytesIO(data))[:-1])
        return out.getvalue()

    running.service.tamper = smaller
    with pytest.raises(AccessError, match="47 x 64") as error:
        chip(session)
    assert error.value.reason is Reason.CORRUPT


def test_slow_answers_end_at_the_deadline(running: Running) -> None:
    settings = replace(ANONYMOUS, endpoint=running.base_url, timeout_s=0.3, retries=0)
    with open_session(settings) as session:
        faults(running, Fault(delay_s=1.0, status=503))
        with pytest.raises(AccessError) as error:
            chip(session)
    assert error.value.reason is Reason.UNAVAILABLE
    assert error.value.retryable


def test_too_much_for_one_request_is_asked_in_halves(session: Session, running: Running) -> None:
    expected = chip(session, 100, 90)
    too_much = Fault(status=400, body=words("User memory limit exceeded."))
    left = faults(running, too_much, too_much)
    np.testing.assert_array_equal(chip(session, 100, 90), expected)
    assert not left
    faults(running, *[too_much] * 99)
    with pytest.raises(TooLargeError) as error:
        chip(session, 100, 90)
    assert error.value.reason is Reason.UNAVAILABLE


@pytest.mark.slow
def test_limits_of_the_service_are_met_exactly(running: Running) -> None:
    """More than twice what one request may bring: three requests, each just below what the server refuses."""
    geobox = GeoBox(epsg=32633, x_min=scenes.X0, y_max=scenes.Y0, resolution_m=10, width=1100, height=900)
    names = [f"b{i}" for i in range(12)]
    before = running.service.requests.get("computePixels", 0)
    with open_session(replace(ANONYMOUS, endpoint=running.base_url, timeout_s=60.0)) as session:
        image = ee.Image.constant([float(i) for i in range(1, 13)]).rename(names)
        found = session.compute_chip(image, geobox, names, dtype="float64")
    total = 1100 * 900 * pixel_bytes(12, np.dtype("float64"))
    assert running.service.requests["computePixels"] - before == -(-total // MAX_BYTES) == 3
    assert (found.pixels == np.arange(1, 13)[:, None, None]).all()
    assert found.valid.all()


@hypothesis.settings(deadline=None, max_examples=60)
@given(
    width=st.integers(1, 40_000),
    height=st.integers(1, 40_000),
    bands=st.integers(1, 70),
    dtype=st.sampled_from(["uint8", "uint16", "float32", "float64"]),
)
def test_pieces_tile_the_chip_within_the_limits(width: int, height: int, bands: int, dtype: str) -> None:
    geobox = GeoBox(epsg=32633, x_min=0, y_max=0, resolution_m=10, width=width, height=height)
    area = 0
    for piece in pieces(geobox, bands, np.dtype(dtype)):
        count = piece.bands.stop - piece.bands.start
        assert 1 <= piece.width <= MAX_SIDE_PX
        assert 1 <= piece.height <= MAX_SIDE_PX
        assert piece.width * piece.height * pixel_bytes(count, np.dtype(dtype)) <= MAX_BYTES
        area += piece.width * piece.height * count
    assert area == width * height * bands


def spend(session: Session) -> None:
    for _ in range(200):
        chip(session)


def test_meter_stops_before_the_budget_is_passed(running: Running) -> None:
    budget = 20 * eecu_s(64 * 48, 2, 1) / 3600
    with open_session(replace(ANONYMOUS, endpoint=running.base_url, eecu_hours=budget)) as session:
        before = running.service.requests.get("computePixels", 0)
        with pytest.raises(AccessError, match="budget is spent") as error:
            spend(session)
        sent = running.service.requests["computePixels"] - before
        assert error.value.reason is Reason.UNAVAILABLE
        assert not error.value.retryable
        assert 0 < sent < 200
        assert session.meter.used_hours <= budget
        for _ in range(3):
            with pytest.raises(AccessError, match="budget is spent"):
                chip(session)
        assert running.service.requests["computePixels"] - before == sent, "a stopped meter sends nothing"
    # the server's own bill: the profile of the first request has taught the meter its prices
    assert session.meter.scale == pytest.approx((0.02 + 0.5 * 4 * 64 * 48 / 1e6) / eecu_s(64 * 48, 2, 1), rel=0.35)


def test_meter_never_passes_its_budget_with_many_threads() -> None:
    from concurrent.futures import ThreadPoolExecutor

    meter = Meter(1.0, workers=2)

    def spend(_: int) -> int:
        try:
            meter.reserve(7.0)
        except AccessError:
            return 0
        return 1

    with ThreadPoolExecutor(16) as pool:
        assert sum(pool.map(spend, range(1000))) == 1800 // 7
    assert meter.used_hours <= 0.5


def test_profile_table_is_read() -> None:
    text = (
        " EECU·s PeakMem Count  Description\n  0.280     59k     6  Algorithm Image.reduceRegions\n"
        "  0.250    571k    86  Loading assets: projects/x\n      -     -   1 no cost\n"
    )
    assert profile_eecu_s(text) == pytest.approx(0.53)
    assert profile_eecu_s("nothing") == 0.0


def test_cost_at_the_quota() -> None:
    found = cost(requests=72_000, pixel_bytes=10**12, compute_s=7200.0, slots=40)
    assert found.hours == pytest.approx(1.0)
    assert found.eecu_hours == pytest.approx(2.0)
    assert found.eecu_hours_range[0] < 2.0 < found.eecu_hours_range[1]


def test_the_estimate_counts_what_is_sent(session: Session, running: Running) -> None:
    before, received = running.service.requests.get("computePixels", 0), session.counters.bytes_received
    planned = estimate([PlannedChip(geobox=box(), bands=2, dtype="uint16")] * 3)
    for _ in range(3):
        chip(session)
    assert running.service.requests["computePixels"] - before == planned.requests == 3
    masks = 3 * 64 * 48 * 3  # the service counts them and does not send them
    assert session.counters.bytes_received - received == pytest.approx(planned.bytes - masks, rel=0.05)


def test_restricted_mode_is_seen(tmp_path: Path) -> None:
    limits = Limits(eecu_hours=1e-9)
    with (
        serve_earthengine(scenes.catalogue(tmp_path), limits=limits) as running,
        open_session(replace(ANONYMOUS, endpoint=running.base_url)) as session,
    ):
        assert not session.restricted
        with pytest.warns(UserWarning, match="noncommercial compute quota"):
            chip(session)
        assert session.restricted


def test_one_session_a_process(session: Session, running: Running) -> None:
    with open_session(session.settings) as again:
        assert again is session
    with pytest.raises(SettingError, match="another session is open"):
        open_session(replace(session.settings, project="other-project"))
    del running


def test_errors_are_one_printable_line() -> None:
    error = refusal(400, words("line\nline\x1b[31m" + "x" * 5000))
    assert "\n" not in error.detail
    assert "\x1b" not in error.detail
    assert len(error.detail) < 400
