"""`python -m benchmarks.browse`: the page of `landweave browse` with 10^6 places, in a headless Chromium.

    python -m benchmarks.browse                  10^6 samples (minutes, 3 GB of disk below the temporary folder)
    python -m benchmarks.browse --quick --json   10^5 samples, as JSON

The dataset is that of `benchmarks.catalogue`. A server process answers on loopback as the command does; the browser has
no graphics card. `picture` is from the address until all places are on the map with their colours; `work` is a frame's
time on the page's thread while it is dragged or zoomed, `interval` the time between frames (16.7 ms at most 60 frames
per second). `condition` reads its columns, `condition_again` has them. `transferred_mb` is what the server sent.
Needs chromium on the PATH.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

from benchmarks.catalogue_data import EACH, make_parts, spec_of
from benchmarks.report import print_goals, print_row

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, MutableMapping

    Row = dict[str, Any]
    Message = MutableMapping[str, Any]

QUICK, SAMPLES = 100_000, 1_000_000
WATCH = Path(__file__).with_name("browse_watch.js")
SCRIPT = b'<script type="module" src="watch.js"></script></body>'
GOALS = {
    "picture_s": 2.0,
    "pan_work_ms": 16.7,
    "zoom_work_ms": 16.7,
    "condition_s": 1.0,
    "condition_again_s": 0.3,
    "next_page_s": 0.5,
    "sample_s": 0.5,
    "heap_mb": 250.0,
    "transferred_mb": 20.0,
    "server_mb": 500.0,
}
"""Measure -> at most, for 10^6 samples."""


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.browse", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--samples", type=float, default=SAMPLES, help="size (default 1e6)")
    parser.add_argument("--quick", action="store_true", help=f"{QUICK} samples")
    parser.add_argument("--json", action="store_true", help="one object per row, last a summary")
    parser.add_argument("--folder", type=Path, help="where the dataset is made and kept (default: a temporary folder)")
    parser.add_argument("--serve", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.serve:
        print(json.dumps(_watched(asked.serve)))
        return
    browser = next((b for b in map(shutil.which, ("chromium", "chromium-browser", "google-chrome")) if b), None)
    if browser is None:
        parser.error("no chromium on the PATH: install one")
    samples = QUICK if asked.quick else int(asked.samples)
    with tempfile.TemporaryDirectory() as scratch:
        row = measured(asked.folder or Path(scratch), samples, browser)
    print_row(row, as_json=asked.json, digits=3)
    print_goals(goals(row), as_json=asked.json)


def measured(folder: Path, samples: int, browser: str) -> Row:
    """What the page costs; the dataset is made if it is not in the folder."""
    from pipelines.shards import finalise

    out = folder / f"catalogue-{samples}"
    if not (out / "landweave.json").exists():
        make_parts(out, samples)
        finalise(out, spec_of(-(-samples // EACH)))
    line = [sys.executable, "-m", "benchmarks.browse", "--serve", str(out)]
    with (
        subprocess.Popen(line, stdout=subprocess.PIPE, text=True) as server,
        tempfile.TemporaryDirectory() as profile,
    ):
        said: Any = server.stdout
        address = said.readline().strip()
        words = ["--headless", "--no-sandbox", "--enable-precise-memory-info", "--window-size=1280,800"]
        watching = subprocess.Popen([browser, *words, f"--user-data-dir={profile}", address], stderr=subprocess.DEVNULL)
        peak_mb = max(_resident_mb(watching, server))
        row = dict(json.loads(said.readline()))
        for process in psutil.Process(watching.pid).children(recursive=True):
            process.kill()
        watching.kill()
        watching.wait()
        shutil.rmtree(profile, ignore_errors=True)
    if "error" in row:
        raise SystemExit(f"the page failed: {row['error']}")
    return {**row, "browser_mb": peak_mb}


def _resident_mb(browser: subprocess.Popen[bytes], server: subprocess.Popen[str]) -> Iterator[float]:
    """Memory of the browser's largest process, until the server ends."""
    while server.poll() is None:
        for process in psutil.Process(browser.pid).children(recursive=True):
            try:
                yield process.memory_info().rss / 1e6
            except psutil.NoSuchProcess:
                continue
        time.sleep(0.2)


def _watched(out: Path) -> Row:
    """Serve the page with the script that uses it, until that has posted what it found."""
    import uvicorn

    import landweave
    from landweave.browse import application

    start_s, spent_s = time.perf_counter(), time.process_time()
    data = landweave.open(str(out))
    with application(data, data.query(), "data/here", ("127.0.0.1",)) as app:
        opened = {"opened_s": time.perf_counter() - start_s, "opened_cpu_s": time.process_time() - spent_s}
        watch = _Watch(app)
        server = uvicorn.Server(uvicorn.Config(watch, port=0, log_level="error"))
        asyncio.run(_until_posted(server, watch))
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    sent = {"transferred_mb": watch.sent / 1e6, "requests": watch.requests, "server_mb": peak_mb}
    return {"task": "browse", **opened, **watch.found, **sent}


async def _until_posted(server: Any, watch: _Watch) -> None:
    serving = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.01)
    print(f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}/", flush=True)
    await watch.posted.wait()
    server.should_exit = True
    await serving


class _Watch:
    """The application, with one script more in its page; counts what it sends."""

    def __init__(self, app: Callable[..., Awaitable[None]]) -> None:
        self._app = app
        self.sent = self.requests = 0
        self.found: Row = {}
        self.posted = asyncio.Event()

    async def __call__(self, scope: Message, receive: Callable[[], Awaitable[Message]], send: Any) -> None:
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        if scope["path"] == "/watched":
            self.found = json.loads((await receive())["body"])
            await self._answer(send, b"", "text/plain")
            self.posted.set()
            return None
        if scope["path"] == "/watch.js":
            return await self._answer(send, WATCH.read_bytes(), "text/javascript")
        if scope["path"] == "/":
            from landweave.browse import WEB

            page = (WEB / "index.html").read_bytes().replace(b"</body>", SCRIPT)
            return await self._answer(send, page, "text/html")

        async def counted(message: Message) -> None:
            self.sent += len(message.get("body", b""))
            await send(message)

        self.requests += 1
        return await self._app(scope, receive, counted)

    async def _answer(self, send: Any, body: bytes, kind: str) -> None:
        headers = [(b"content-type", kind.encode()), (b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})


def goals(row: Row) -> dict[str, list[str]]:
    """'met' and 'missed'."""
    found: dict[str, list[str]] = {"met": [], "missed": []}
    for measure, bound in GOALS.items():
        text = f"{measure} {row[measure]:.3g} (goal: at most {bound:g})"
        found["met" if row[measure] <= bound else "missed"].append(text)
    return found


if __name__ == "__main__":
    main()
