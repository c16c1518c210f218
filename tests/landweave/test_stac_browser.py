"""STAC Browser (https://github.com/radiantearth/stac-browser), built from npm, opens a dataset in Chromium.

Both ways: the static files behind a plain web server, and `landweave serve` on another origin.
"""

from __future__ import annotations

import contextlib
import fcntl
import functools
import http.server
import io
import json
import os
import re
import shutil
import subprocess
import tarfile
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import landweave
from tests.landweave.test_landweave_browse import BROWSER
from tests.landweave.test_landweave_serve import served

NPM = shutil.which("npm")
PACKAGE = "@radiantearth/stac-browser@4.0.1"
OL_STAC = "ol-stac@1.1.0"
"""Later ones need a later OpenLayers than STAC Browser 4.0.1 has."""
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "landweave" / "stac-browser-4.0.1"
LINE = np.array([51, 153, 204])
"""Colour of an outline on STAC Browser's map (OpenLayers' #3399cc)."""

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(BROWSER is None or NPM is None, reason="needs chromium and npm"),
    pytest.mark.xdist_group("stac browser"),
]


@pytest.fixture(scope="module")
def built() -> Path:
    """STAC Browser's files, built once for this machine, without a map service."""
    CACHE.parent.mkdir(parents=True, exist_ok=True)
    with (CACHE.parent / "stac-browser.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (CACHE / "index.html").is_file():
            work = CACHE.with_suffix(".work")
            shutil.rmtree(work, ignore_errors=True)
            work.mkdir()
            dist = build(work)
            shutil.rmtree(CACHE, ignore_errors=True)
            dist.rename(CACHE)
            shutil.rmtree(work)
    return CACHE


def build(work: Path) -> Path:
    packed = subprocess.run(
        [str(NPM), "pack", PACKAGE], cwd=work, check=False, capture_output=True, text=True, timeout=300
    )
    if packed.returncode:
        pytest.skip(f"npm does not deliver {PACKAGE}: {packed.stderr.strip().splitlines()[-1:]}")
    with tarfile.open(work / packed.stdout.strip().splitlines()[-1]) as archive:
        archive.extractall(work, filter="data")
    folder = work / "package"
    maps = folder / "basemaps.config.js"
    maps.write_text(
        re.sub(r"const BASEMAPS = \{.*?\n\};", "const BASEMAPS = {earth: []};", maps.read_text(), flags=re.DOTALL)
    )
    install = ["install", "--no-audit", "--no-fund", "--ignore-scripts", OL_STAC]
    for line in ([str(NPM), *install], ["npx", "vue-cli-service", "build", "--noSourceMaps"]):
        done = subprocess.run(line, cwd=folder, check=False, capture_output=True, text=True, timeout=1500)
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return folder / "dist"


class Quiet(http.server.SimpleHTTPRequestHandler):
    """Files for pages of any origin."""

    def end_headers(self) -> None:
        self.send_header("Access-Control-Allow-Origin", "*")
        super().end_headers()

    def log_message(self, *_: object) -> None:
        pass


class App(Quiet):
    """STAC Browser with a configuration of its own."""

    catalogue = ""

    def do_GET(self) -> None:
        if self.path != "/":
            super().do_GET()
            return
        config = json.dumps({"catalogUrl": self.catalogue, "historyMode": "hash"})
        page = Path(self.directory, "index.html").read_text()
        content = page.replace("<script", f"<script>window.STAC_BROWSER_CONFIG = {config}</script><script", 1).encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


@contextlib.contextmanager
def site(handler: type[Quiet], folder: Path) -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(handler, directory=str(folder))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


@contextlib.contextmanager
def browsing(built: Path, catalogue: str) -> Iterator[str]:
    with site(type("Configured", (App,), {"catalogue": catalogue}), built) as url:
        yield url


def shown(url: str, picture: Path) -> str:
    """The page's DOM after all is loaded; its picture is kept; an error in its console is an error."""
    assert BROWSER is not None
    line = [BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--window-size=1400,1600", "--lang=en",
            "--virtual-time-budget=40000", "--enable-logging=stderr", f"--user-data-dir={picture.parent / 'profile'}",
            f"--screenshot={picture}", "--dump-dom", url]  # fmt: skip
    done = subprocess.run(line, check=False, capture_output=True, text=True, timeout=400)
    told = [line for line in done.stderr.splitlines() if "CONSOLE" in line and "GL" not in line]
    assert told == []
    return done.stdout


def outlined(picture: Path) -> int:
    """Pixels in the colour of the map's outlines."""
    pixels = np.asarray(Image.open(io.BytesIO(picture.read_bytes())).convert("RGB")).astype(int)
    return int((np.abs(pixels - LINE).sum(axis=-1) < 30).sum())


@pytest.fixture(scope="module")
def data(dataset_path: Path) -> landweave.Dataset:
    return landweave.open(dataset_path)


def test_the_files_alone_are_browsed_by_links(built: Path, dataset_path: Path, tmp_path: Path) -> None:
    with site(Quiet, dataset_path) as files, browsing(built, f"{files}catalogue/collection.json") as url:
        page = shown(f"{url}#/", tmp_path / "collection.png")
        assert "shard 0: 3 samples, train" in page
        assert "shard 5: 3 samples, test" in page
        page = shown(f"{url}#/stac/00001.json", tmp_path / "shard.png")
        assert all(f"s001_{row:03d}" in page for row in range(4))
        assert f"{files}thumbnails/00001/s001_" in page
        page = shown(f"{url}#/stac/00001/s001_000.json", tmp_path / "item.png")
        assert "ESA WorldCover" in page
        assert "Worldcover Trees" in page
        assert outlined(tmp_path / "item.png") > 200


def test_the_api_is_browsed_from_another_origin(built: Path, data: landweave.Dataset, tmp_path: Path) -> None:
    with served(data) as api, browsing(built, api) as url:
        page = shown(f"{url}#/collections/{data.spec.name}", tmp_path / "collection.png")
        assert "s000_000" in page
        assert f"{api}files/thumbnails/00000/s000_000.webp" in page
        assert outlined(tmp_path / "collection.png") > 200
        page = shown(f"{url}#/collections/{data.spec.name}/items/s001_002", tmp_path / "item.png")
        assert "Worldcover" in page
        assert outlined(tmp_path / "item.png") > 200
