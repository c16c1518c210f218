"""Where a dataset may lie: file: URLs, relative paths, Azure, the Hub, and HTTP servers that know little of HTTP."""

from __future__ import annotations

import os
import pickle
import shutil
import subprocess
import sys
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import landweave
from landweave.remote_store import public
from landweave.store import open_store

if TYPE_CHECKING:
    from collections.abc import Iterator


class Served(BaseHTTPRequestHandler):
    """Files below `root` at `prefix`, with the habits of some server."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    root: Path
    prefix = ""
    suffix: int | str = "kept"
    """What a range from the end gets: 'kept', 'ignored' (the whole), or a status."""
    head = True
    seen: list[dict[str, str]]

    def log_message(self, *_: Any) -> None:
        return

    def do_HEAD(self) -> None:
        if self.head:
            self.do_GET()
        else:
            self._answer(405, b"")

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        self.seen.append({"path": path, **{k.lower(): v for k, v in self.headers.items()}})
        file = self.root / path.removeprefix(self.prefix).lstrip("/")
        if not path.startswith(self.prefix) or not file.is_file():
            self._answer(404, b"", {"x-ms-error-code": "BlobNotFound"})
            return
        raw = file.read_bytes()
        asked = (self.headers.get("x-ms-range") or self.headers.get("Range") or "").removeprefix("bytes=")
        if not asked:
            self._answer(200, raw)
            return
        first, last = asked.split("-")
        if not first and self.suffix != "kept":
            self._answer(*((200, raw) if self.suffix == "ignored" else (int(self.suffix), b"")))
            return
        start = int(first) if first else max(0, len(raw) - int(last))
        part = raw[start : int(last) + 1] if first and last else raw[start:]
        self._answer(206, part, {"Content-Range": f"bytes {start}-{start + len(part) - 1}/{len(raw)}"})

    def _answer(self, status: int, body: bytes, more: dict[str, str] | None = None) -> None:
        self.send_response(status)
        about = {"Content-Length": str(len(body)), "ETag": '"1"', "Last-Modified": "Mon, 01 Jan 2024 00:00:00 GMT"}
        for name, value in {**about, "x-ms-blob-type": "BlockBlob", **(more or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)


@contextmanager
def serving(handler: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


def served(root: Path, **habits: Any) -> type[Served]:
    return type("Handler", (Served,), {"root": root, "seen": [], **habits})


def same(there: landweave.Dataset, here: Path) -> None:
    """Catalogue, statistics, pixels and vectors are those of the folder."""
    expected = landweave.open(here)
    assert there.query(split="train").ids == expected.query(split="train").ids
    assert there.statistics == expected.statistics
    assert there.sample(0).vectors().equals(expected.sample(0).vectors())
    mine, theirs = (d.samples([0, 1], arrays=["dem", "sentinel2/bands_20m"]) for d in (there, expected))
    for name in ("dem/elevation", "sentinel2/bands_20m"):
        np.testing.assert_array_equal(mine[name], theirs[name])


@pytest.mark.slow
@pytest.mark.parametrize("suffix", ["kept", "ignored", 400, 416])
def test_servers_that_cannot_count_from_the_end_and_refuse_head(dataset_path: Path, suffix: int | str) -> None:
    with serving(served(dataset_path, suffix=suffix, head=False)) as url:
        same(landweave.open(url), dataset_path)


def test_a_server_that_knows_no_ranges_is_named(dataset_path: Path) -> None:
    class Plain(SimpleHTTPRequestHandler):
        def __init__(self, *args: Any) -> None:
            super().__init__(*args, directory=str(dataset_path))

        def log_message(self, *_: Any) -> None:
            return

    with serving(Plain) as url:
        data = landweave.open(url)
        assert len(data.query(split="train")), "small tables are read whole"
        with pytest.raises(landweave.AccessError, match=r"ignores byte ranges \(python -m http\.server does\)") as told:
            data.sample(0)["dem/elevation"]
        assert "\n" not in str(told.value)


def test_azure(dataset_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    handler = served(dataset_path, prefix="/account/box/some/where", suffix=400)
    with serving(handler) as url:
        monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_NAME", "account")
        monkeypatch.setenv("AZURE_STORAGE_ENDPOINT", f"{url}/account")
        monkeypatch.setenv("AZURE_SKIP_SIGNATURE", "true")
        monkeypatch.setenv("AZURE_ALLOW_HTTP", "true")
        same(landweave.open("az://box/some/where"), dataset_path)
        with pytest.raises(landweave.NotADatasetError, match="no dataset here"):
            landweave.open("az://box/elsewhere")


@pytest.mark.slow
@pytest.mark.parametrize("revision", ["", "@v1.0", "@refs%2Fpr%2F2"])
def test_the_hub(dataset_path: Path, monkeypatch: pytest.MonkeyPatch, revision: str) -> None:
    at = {"": "main", "@v1.0": "v1.0", "@refs%2Fpr%2F2": "refs%2Fpr%2F2"}[revision]
    handler = served(dataset_path, prefix=f"/datasets/someone/land/resolve/{at}/small")
    with serving(handler) as url:
        monkeypatch.setenv("HF_ENDPOINT", url)
        monkeypatch.setenv("HF_TOKEN", "hf_hidden")
        same(landweave.open(f"hf://datasets/someone/land{revision}/small"), dataset_path)
    assert {seen.get("authorization") for seen in handler.seen} == {"Bearer hf_hidden"}
    with pytest.raises(landweave.AccessError, match="write hf://datasets/OWNER/NAME"):
        landweave.open("hf://someone/land")


def test_file_urls(dataset_path: Path, tmp_path: Path) -> None:
    folder = tmp_path / "my data ü 100%41 #1?"
    folder.symlink_to(dataset_path)
    encoded = folder.as_uri().removeprefix("file://")
    for url in (folder.as_uri(), f"file:{encoded}", f"file://localhost{encoded}", f"FILE://LocalHost{encoded}/"):
        assert len(landweave.open(url)) == len(landweave.open(dataset_path)), url
    with pytest.raises(landweave.AccessError, match="names the machine 'server'"):
        landweave.open("file://server/share")
    for wrong in ("file:relative", "file:///a%00b", "a\0b", ""):
        with pytest.raises(landweave.AccessError, match=r"not a path or URL|not an absolute path"):
            landweave.open(wrong)


def test_a_relative_path_stays_what_it_was(dataset_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(dataset_path, tmp_path / "here/data")
    monkeypatch.chdir(tmp_path / "here")
    data = landweave.open("data")
    packed = pickle.dumps(data)
    monkeypatch.chdir("/")
    assert data.samples([0], arrays=["dem"])["dem/elevation"].shape[0] == 1
    code = "import sys, pickle; d = pickle.load(sys.stdin.buffer); print(d[0]['dem/elevation'].sum(), len(d.query()))"
    run = subprocess.run(
        [sys.executable, "-c", code],
        input=packed,
        capture_output=True,
        check=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(Path(landweave.__file__).parents[1])},
    )
    assert run.stdout.decode().split() == [str(data.sample(0)["dem/elevation"].sum()), str(len(data))]


def test_the_manifest_in_place_of_the_folder(dataset_path: Path) -> None:
    with pytest.raises(landweave.NotADatasetError, match=r"open the folder: landweave\.open\('.*out'\)"):
        landweave.open(dataset_path / "landweave.json")
    with serving(served(dataset_path)) as url, pytest.raises(landweave.NotADatasetError, match="open the folder"):
        landweave.open(f"{url}/landweave.json")


def test_without_credentials_there_is_one_helpful_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """The login service of a cloud's machines is on loopback here, and has no login."""
    for name in list(os.environ):
        if name.startswith("AWS_"):
            monkeypatch.delenv(name)

    class Refusing(BaseHTTPRequestHandler):
        def do_PUT(self) -> None:
            self.send_response(403)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def do_GET(self) -> None:
            self.do_PUT()

        def log_message(self, *_: Any) -> None:
            return

    with serving(Refusing) as url:
        monkeypatch.setenv("AWS_METADATA_ENDPOINT", url)
        with pytest.raises(landweave.AccessError, match="no AWS credentials were found: set AWS_ACCESS_KEY_ID") as told:
            landweave.open("s3://bucket/data")
    assert "\n" not in str(told.value)


def test_no_secret_of_a_url_is_shown() -> None:
    url = "http://user:hidden@127.0.0.1:9/data?X-Amz-Signature=hidden#hidden"
    assert public(url) == "http://127.0.0.1:9/data" == open_store(url).url
    assert public("http://[bad?hidden") == "http://[bad"
