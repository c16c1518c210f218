"""Command line of the testbed: make a planet, serve it, run a command against it."""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from testbed import make_planet, serve
from testbed.anywhere import serve_anywhere
from testbed.archive.frames import write_frames
from testbed.orthophotos import make_orthophotos
from testbed.plane import Layout

if TYPE_CHECKING:
    from testbed.services import Services

EARTH_ENGINE_URL = "LANDWEAVE_EARTHENGINE_URL"
"""Where the factory looks for Earth Engine in place of Google's address."""
ALLOWED_PATHS = "LANDWEAVE_ALLOWED_PATHS"
"""Folders that a recipe may read beside its own."""
ARCHIVE_HELP = "also serve ten years of passes and further products (NAIP, MODIS, ...), made when asked for"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m testbed",
        description="A miniature Earth and its loopback services.",
        epilog="example: python -m testbed make data/planet && python -m testbed serve data/planet --port 8080",
    )
    verbs = parser.add_subparsers(dest="verb", required=True)
    make = verbs.add_parser("make", help="make the planet; does nothing where it is already")
    make.add_argument("folder", type=Path)
    make.add_argument("--seed", type=int, default=7)
    make.add_argument(
        "--size-px", type=int, default=Layout.size_px, help="edge of a tile in 10 m pixels, multiple of 12"
    )
    make.add_argument("--workers", type=int, default=2, help="processes")
    photos = verbs.add_parser("orthophotos", help="make four orthophotos of 0.2 m and the parcels on them")
    photos.add_argument("folder", type=Path)
    photos.add_argument("--seed", type=int, default=7)
    run = verbs.add_parser("serve", help="serve the planet on 127.0.0.1 until interrupted")
    run.add_argument("folder", type=Path)
    run.add_argument("--port", type=int, default=0, help="0 = any free one")
    run.add_argument("--url-file", type=Path, help="write the base URL here once the server answers")
    run.add_argument("--archive", action="store_true", help=ARCHIVE_HELP)
    frames = verbs.add_parser(
        "frames", help="write files to draw samples from: shots, fires, parcels, ecoregions, cities"
    )
    frames.add_argument("folder", type=Path, help="the planet")
    frames.add_argument("out", type=Path, help="folder for the files")
    anywhere = verbs.add_parser(
        "anywhere", help="serve a STAC API of Sentinel-2 items for anywhere on Earth, made when asked for, no rasters"
    )
    anywhere.add_argument("--port", type=int, default=0, help="0 = any free one")
    anywhere.add_argument("--url-file", type=Path, help="write the API's URL here once the server answers")
    anywhere.add_argument(
        "--keep", type=Path, help="folder where answers are kept: asked for again, they cost the server next to nothing"
    )
    with_it = verbs.add_parser(
        "run",
        help="run a command while the planet is served; it finds the base URL in LANDWEAVE_TESTBED (Earth Engine: "
        f"{EARTH_ENGINE_URL})",
        epilog="example: python -m testbed run data/earth -- python -m pipelines plan recipes/quickstart.yaml out/",
    )
    with_it.add_argument("--archive", action="store_true", help=ARCHIVE_HELP)
    with_it.add_argument("folder", type=Path)
    with_it.add_argument("command", nargs=argparse.REMAINDER, help="-- and the command")
    return parser


def _run(folder: Path, command: list[str], *, archive: bool) -> int:
    """Serve the planet, run a command beside it, and return its exit status."""
    words = command[1:] if command[:1] == ["--"] else command
    if not words:
        raise ValueError("run: no command given; write it behind --")
    with serve(folder, archive=archive) as services:
        environment = {**os.environ, "LANDWEAVE_TESTBED": services.base_url, EARTH_ENGINE_URL: services.base_url}
        environment.setdefault("EARTHENGINE_PROJECT", "testbed-project")
        # the quick start's recipe reads the planet's outline, which is not below the recipe's own folder
        allowed = (os.environ.get(ALLOWED_PATHS), str(folder.resolve()))
        environment[ALLOWED_PATHS] = os.pathsep.join(filter(None, allowed))
        child = subprocess.Popen(words, env=environment)  # noqa: S603 - the user's own command
        signal.signal(signal.SIGTERM, lambda *_: child.terminate())
        while True:
            try:
                return child.wait()
            except KeyboardInterrupt:
                continue  # the terminal has told the child too: it ends by itself


def _served(asked: argparse.Namespace) -> Services:
    """What `serve` and `anywhere` serve."""
    if asked.verb == "anywhere":
        return serve_anywhere(asked.port, asked.keep)
    return serve(asked.folder, asked.port, archive=asked.archive)


def main(argv: list[str] | None = None) -> int:
    """Run a verb; 0 = done, 1 = a user's mistake, said in one line."""
    asked = _parser().parse_args(argv)
    try:
        if asked.verb == "make":
            print(make_planet(asked.folder, asked.seed, asked.size_px, asked.workers))  # noqa: T201
            return 0
        if asked.verb == "orthophotos":
            print(make_orthophotos(asked.folder, asked.seed))  # noqa: T201
            return 0
        if asked.verb == "run":
            return _run(asked.folder, asked.command, archive=asked.archive)
        if asked.verb == "frames":
            write_frames(asked.folder, json.loads((asked.folder / "aoi.geojson").read_text()), asked.out)
            return 0
        stop = threading.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: stop.set())
        far = asked.verb == "anywhere"
        with _served(asked) as services:
            url = services.base_url + ("/anywhere" if far else "")
            if asked.url_file is not None:
                aside = asked.url_file.with_name(asked.url_file.name + ".partial")
                aside.write_text(url)
                aside.replace(asked.url_file)
            print(url, flush=True)  # noqa: T201
            stop.wait()
    except (OSError, ValueError) as error:
        print(f"testbed: {error}", file=sys.stderr)  # noqa: T201
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
