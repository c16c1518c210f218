"""What goes wrong on the way is told as what it is, retried where it can pass, and never becomes a pixel."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import rasterio
from affine import Affine

from pipelines.access.chips import Chip, ChipRequest
from pipelines.access.http.client import AccessError, Client, SettingError, interpolate, public_url, shown
from pipelines.access.rasters.cog import Reader
from schemas.outcome import Reason
from schemas.place import GeoBox
from testbed.server import Fault, Request
from testbed.services import Services, serve_catalogue

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

QUICK = {"retries": 3, "timeout_s": 1.0, "backoff_s": 0.01}


@pytest.fixture(scope="module")
def pixels() -> np.ndarray:
    return np.random.default_rng(0).integers(1, 60_000, (1024, 1024)).astype("uint16")


@pytest.fixture
def services(tmp_path: Path, pixels: np.ndarray) -> Iterator[Services]:
    with rasterio.open(
        tmp_path / "a.tif", "w", driver="GTiff", count=1, height=1024, width=1024, dtype="uint16", crs="EPSG:32632",
        transform=Affine(10, 0, 500_000, 0, -10, 5_000_000), tiled=True, blockxsize=256, blockysize=256,
        compress="deflate",
    ) as dataset:  # fmt: skip
        dataset.write(pixels, 1)
    with serve_catalogue([], {"/f/": tmp_path}) as running:
        yield running


def requests(services: Services) -> list[ChipRequest]:
    """Chips in the first and in the last block."""
    return [
        ChipRequest(
            hrefs=(f"{services.base_url}/f/a.tif?sig=secret",), bands=(1,), kernel="nearest", geobox=GeoBox(
                epsg=32632, x_min=500_000 + 10 * at, y_max=5_000_000 - 10 * at, resolution_m=10, width=100, height=100
            ),
        )
        for at in (0, 900)
    ]  # fmt: skip


def counted(
    fault: Fault, times: int, when: Callable[[Request], bool] = lambda _: True
) -> Callable[[Request], Fault | None]:
    left = [times]

    def hook(request: Request) -> Fault | None:
        if when(request) and left[0] > 0:
            left[0] -= 1
            return fault
        return None

    return hook


FAULTS = {
    "404": (Fault(status=404), Reason.NOT_FOUND),
    "410": (Fault(status=410), Reason.NOT_FOUND),
    "416": (Fault(status=416), Reason.CORRUPT),
    "403": (Fault(status=403), Reason.DENIED),
    "401": (Fault(status=401), Reason.DENIED),
    "503": (Fault(status=503), Reason.UNAVAILABLE),
    "500": (Fault(status=500), Reason.UNAVAILABLE),
    "429": (Fault(status=429, headers={"Retry-After": "0"}), Reason.UNAVAILABLE),
    "short": (Fault(short_by_bytes=10), Reason.UNAVAILABLE),
    "reset": (Fault(reset=True), Reason.UNAVAILABLE),
    "stall": (Fault(delay_s=3.0), Reason.UNAVAILABLE),
    "wrong range": (Fault(headers={"Content-Range": "bytes 5-9/1000"}), Reason.UNAVAILABLE),
    "garbage": (Fault(status=206, body=b"x" * 9, headers={"Content-Range": "bytes 0-8/9"}), Reason.CORRUPT),
    "html": (Fault(status=200, body=b"<html>Sorry</html>"), Reason.CORRUPT),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_for_ever_is_classed_and_told_without_secrets(name: str, services: Services) -> None:
    fault, reason = FAULTS[name]
    services.faults.append(lambda _: fault)
    retries = 1 if name == "stall" else 3
    client = Client(**{**QUICK, "retries": retries})  # type: ignore[arg-type]
    with Reader(client) as reader:
        got = reader.read_chips(requests(services))
    assert all(isinstance(g, AccessError) and g.reason is reason for g in got), got
    assert all("secret" not in str(g) and "sig" not in str(g) for g in got)
    permanent = reason in (Reason.NOT_FOUND, Reason.DENIED, Reason.CORRUPT)
    assert client.counters.retries == (0 if permanent else retries)


@pytest.mark.parametrize("name", ["503", "429", "500", "short", "reset", "wrong range"])
def test_a_fault_that_passes_leaves_no_trace(name: str, services: Services, pixels: np.ndarray) -> None:
    services.faults.append(counted(FAULTS[name][0], 3))
    client = Client(**QUICK)  # type: ignore[arg-type]
    with Reader(client) as reader:
        got = reader.read_chips(requests(services))
    for chip, at in zip(got, (0, 900), strict=True):
        assert isinstance(chip, Chip), chip
        np.testing.assert_array_equal(chip.pixels[0], pixels[at : at + 100, at : at + 100])
        assert chip.valid.all()
    assert client.counters.retries == 3


def test_a_failed_block_costs_the_chips_that_need_it_and_no_other(
    tmp_path: Path, services: Services, pixels: np.ndarray
) -> None:
    with rasterio.open(tmp_path / "a.tif") as dataset:
        at = int(dataset.get_tag_item("BLOCK_OFFSET_3_3", "TIFF", bidx=1))

    def near_the_end(request: Request) -> bool:
        return (request.range or "").startswith(f"bytes={at}-")

    services.faults.append(counted(Fault(status=503), 99, near_the_end))
    with Reader(Client(**QUICK)) as reader:  # type: ignore[arg-type]
        first, last = reader.read_chips(requests(services))
        assert isinstance(first, Chip)
        np.testing.assert_array_equal(first.pixels[0], pixels[:100, :100])
        assert isinstance(last, AccessError)
        assert last.reason is Reason.UNAVAILABLE
        services.faults.clear()  # nothing remembers the failure
        _, again = reader.read_chips(requests(services))
    assert isinstance(again, Chip)
    np.testing.assert_array_equal(again.pixels[0], pixels[900:1000, 900:1000])


def test_a_corrupt_block_is_told_apart_from_its_neighbours(
    tmp_path: Path, services: Services, pixels: np.ndarray
) -> None:
    with rasterio.open(tmp_path / "a.tif") as dataset:
        at = int(dataset.get_tag_item("BLOCK_OFFSET_3_3", "TIFF", bidx=1))
    raw = bytearray((tmp_path / "a.tif").read_bytes())
    raw[at + 5000] ^= 0x10  # one bit
    (tmp_path / "a.tif").write_bytes(raw)
    with Reader(Client(**QUICK)) as reader:  # type: ignore[arg-type]
        first, last = reader.read_chips(requests(services))
    assert isinstance(first, Chip)
    np.testing.assert_array_equal(first.pixels[0], pixels[:100, :100])
    assert isinstance(last, AccessError)
    assert last.reason is Reason.CORRUPT


@pytest.mark.parametrize("keep", [0, 3, 8, 100, 2000])
def test_a_truncated_file_is_corrupt(keep: int, tmp_path: Path, services: Services) -> None:
    raw = (tmp_path / "a.tif").read_bytes()
    (tmp_path / "a.tif").write_bytes(raw[:keep])
    with Reader(Client(**QUICK)) as reader:  # type: ignore[arg-type]
        got = reader.read_chips(requests(services))
    assert all(isinstance(g, AccessError) and g.reason is Reason.CORRUPT for g in got), got


@pytest.mark.slow
def test_retry_after_is_honoured(services: Services) -> None:
    services.faults.append(counted(Fault(status=429, headers={"Retry-After": "1"}), 1))
    began = time.monotonic()
    assert Client(**QUICK).get_range(f"{services.base_url}/f/a.tif", 0, 10).data[:2] in (b"II", b"MM")  # type: ignore[arg-type]
    assert time.monotonic() - began >= 1.0


def test_refused_credentials_are_renewed_once(services: Services) -> None:
    class Clock:
        fresh = 0

        def sign(self, url: str, *, fresh: bool) -> tuple[str, dict[str, str]]:
            self.fresh += fresh
            return f"{url}?token={self.fresh}", {}

    def expired(request: Request) -> Fault | None:
        return None if ("token", "1") in request.query else Fault(status=403)

    services.faults.append(expired)
    signer = Clock()
    client = Client(signer=signer, **QUICK)  # type: ignore[arg-type]
    assert client.get_range(f"{services.base_url}/f/a.tif", 0, 10).total
    assert signer.fresh == 1
    services.faults.append(lambda _: Fault(status=403))
    services.faults.reverse()
    with pytest.raises(AccessError) as caught:
        client.get_range(f"{services.base_url}/f/a.tif", 0, 10)
    assert caught.value.reason is Reason.DENIED
    assert signer.fresh == 2
    assert "token" not in str(caught.value)


def test_a_server_without_ranges_still_serves(services: Services, pixels: np.ndarray, tmp_path: Path) -> None:
    body = (tmp_path / "a.tif").read_bytes()
    services.faults.append(lambda _: Fault(status=200, body=body))
    with Reader(Client(**QUICK)) as reader:  # type: ignore[arg-type]
        (first, _) = reader.read_chips(requests(services))
    assert isinstance(first, Chip), first
    np.testing.assert_array_equal(first.pixels[0], pixels[:100, :100])


def test_an_unreachable_host_is_unavailable() -> None:
    with pytest.raises(AccessError) as caught:
        Client(retries=1, timeout_s=1.0, backoff_s=0.01).get_range("http://127.0.0.1:9/x.tif", 0, 4)
    assert caught.value.reason is Reason.UNAVAILABLE


def test_addresses() -> None:
    assert public_url("s3://bucket/a b/c.tif") == "https://bucket.s3.amazonaws.com/a%20b/c.tif"
    assert public_url("s3://dotted.bucket/c.tif") == "https://s3.amazonaws.com/dotted.bucket/c.tif"
    assert public_url("gs://bucket/c.tif") == "https://storage.googleapis.com/bucket/c.tif"
    for bad in ("/etc/passwd", "file:///etc/passwd", "ftp://host/x", "vsicurl/http://x", "../x.tif", "http:///x"):
        with pytest.raises(AccessError) as caught:
            public_url(bad)
        assert caught.value.reason is Reason.BAD_ITEM
    assert shown("https://user:word@host:1/p/q.tif?sig=1#f") == "https://host:1/p/q.tif"


def test_a_missing_variable_is_one_clear_line() -> None:
    values: dict[str, Any] = {"LANDWEAVE_ROOT": "http://x/", "LANDWEAVE_EMPTY": ""}
    assert interpolate("$LANDWEAVE_ROOT/a", values, where="provider 'p'") == "http://x/a"
    assert interpolate("${LANDWEAVE_ROOT}", values, where="provider 'p'") == "http://x/"
    for text in ("${LANDWEAVE_GONE}/a", "$LANDWEAVE_EMPTY"):
        with pytest.raises(SettingError, match=r"^provider 'p': environment variable \w+(GONE|EMPTY) is not set; .*$"):
            interpolate(text, values, where="provider 'p'")
