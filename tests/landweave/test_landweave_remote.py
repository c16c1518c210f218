"""The same dataset over HTTP, in this process, in threads and in forked and spawned workers."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import landweave
from pipelines.shards.store import DatasetStore, StoreError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(scope="module")
def url(dataset_path: Path) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_HEAD(self) -> None:
            self.do_GET()

        def do_GET(self) -> None:
            path = dataset_path / self.path.lstrip("/")
            if not path.is_file():
                self.send_response(404)
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            raw, status = path.read_bytes(), 200
            total, start = len(raw), 0
            if asked := self.headers.get("Range", "").removeprefix("bytes="):
                first, last = asked.split("-")
                start = int(first) if first else max(0, total - int(last))
                raw, status = raw[start : int(last) + 1] if first and last else raw[start:], 206
            self.send_response(status)
            if status == 206:
                self.send_header("Content-Range", f"bytes {start}-{start + len(raw) - 1}/{total}")
            self.send_header("Content-Length", str(len(raw)))
            self.send_header("Last-Modified", "Mon, 01 Jan 2024 00:00:00 GMT")
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(raw)

        def log_message(self, *_: Any) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


def test_remote_equals_local(url: str, dataset_path: Path) -> None:
    remote, local = landweave.open(url), landweave.open(f"file://{dataset_path}")
    assert remote.query("sentinel2_count == 2").ids == local.query("sentinel2_count == 2").ids
    assert remote.statistics == local.statistics
    assert remote.sample(1).vectors().equals(local.sample(1).vectors())
    pairs = zip(remote.stream(batch_size=6), local.stream(batch_size=6), strict=True)
    for a, b in pairs:
        assert a["id"] == b["id"]
        for name in b.keys() - {"id", "position"}:
            np.testing.assert_array_equal(a[name], b[name])


def test_threads_share_a_dataset(url: str, dataset_path: Path) -> None:
    for place in (url, dataset_path):
        data = landweave.open(place)
        expected = [data.sample(i)["openstreetmap"].tolist() for i in range(len(data))]
        fresh = landweave.open(place)
        with ThreadPoolExecutor(8) as pool:
            found = list(pool.map(lambda i, d=fresh: d.sample(i)["openstreetmap"].tolist(), range(len(fresh))))
        assert found == expected


@pytest.mark.parametrize("method", ["fork", pytest.param("spawn", marks=pytest.mark.slow)])
def test_workers_after_the_parent_has_read(dataset_path: Path, method: str) -> None:
    torch = pytest.importorskip("torch")
    from landweave.torch import TorchStream

    data = landweave.open(dataset_path)
    expected = [b["id"] for b in data.stream(batch_size=4, arrays=["dem"])]
    stream = TorchStream(data.stream(batch_size=4, arrays=["dem"]))
    loader = torch.utils.data.DataLoader(
        stream, batch_size=None, num_workers=1, multiprocessing_context=method, timeout=60
    )
    assert [b["id"] for b in loader] == expected


@pytest.mark.parametrize("method", ["fork", pytest.param("spawn", marks=pytest.mark.slow)])
def test_workers_of_a_remote_dataset_are_spawned_or_told_to_be(url: str, method: str) -> None:
    torch = pytest.importorskip("torch")
    from landweave.torch import TorchStream

    data = landweave.open(url)
    expected = [b["id"] for b in data.stream(batch_size=12, arrays=["dem"])]
    stream = TorchStream(data.stream(batch_size=12, arrays=["dem"]))
    loader = torch.utils.data.DataLoader(
        stream, batch_size=None, num_workers=1, multiprocessing_context=method, timeout=60
    )
    if method == "spawn":
        assert [b["id"] for b in loader] == expected
    else:
        with pytest.raises(landweave.AccessError, match="multiprocessing_context='spawn'"):
            list(loader)


def test_a_remote_place_that_is_no_dataset(url: str) -> None:
    with pytest.raises(landweave.NotADatasetError, match="no dataset here"):
        landweave.open(url + "/catalogue")


def test_a_place_that_cannot_be_opened() -> None:
    with pytest.raises(landweave.AccessError, match="cannot be"):
        landweave.open("gopher://example/dataset")


@pytest.mark.parametrize(
    "address", ["127.0.0.1:9", "ftp://x", "http://a b", "http://x:99999", "http://hüx", "http://user:secret@", "minio"]
)
def test_an_endpoint_that_is_no_address_is_one_line(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    """obstore would end by a panic, which is no Exception."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", address)
    with pytest.raises(
        landweave.AccessError, match=r"AWS_ENDPOINT_URL is no address: expected https://HOST"
    ) as refused:
        landweave.open("s3://bucket/data")
    assert "secret" not in str(refused.value)
    with pytest.raises(StoreError, match=r"^s3://bucket/data: cannot be opened: .*AWS_ENDPOINT_URL is no address"):
        DatasetStore("s3://bucket/data")


@pytest.mark.parametrize("name", ["AWS_SECRET_ACCESS_KEY", "AWS_REGION"])
def test_a_setting_with_a_line_break_is_one_line_without_it(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, "hidden\r")
    with pytest.raises(landweave.AccessError, match=rf"{name} contains a line break") as refused:
        landweave.open("s3://bucket/data")
    assert "hidden" not in str(refused.value)


def test_settings_of_another_cloud_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "minio")
    with pytest.raises(landweave.AccessError, match="no Azure account name"):
        landweave.open("az://container/data")


def test_a_url_with_a_line_break_is_none() -> None:
    with pytest.raises(landweave.AccessError, match=r"^'s3://buck\\net/x' is not a path or URL of a dataset$"):
        landweave.open("s3://buck\net/x")
