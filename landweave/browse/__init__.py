"""`landweave browse`: a page with a map, a gallery and every layer of each sample, from a server here or as files."""

from __future__ import annotations

import json
import shutil
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from landweave.browse.pages import PICTURE_TYPE, Pages
from landweave.errors import AbsentError, CorruptError, LandweaveError
from landweave.serve import run

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from starlette.applications import Starlette

    from landweave.dataset import Dataset
    from landweave.selection import Selection

WEB = Path(__file__).parent / "web"
_DAMAGED = "the dataset is damaged here: run landweave check"
_LOOPBACK = ("127.0.0.1", "localhost", "[::1]")


class ExistsError(LandweaveError):
    """The folder to write holds something already."""


def write(dataset: Dataset, selection: Selection, out: Path, progress: Callable[[int, int], None]) -> None:
    """Write the page and all that it shows as plain files, for any web host.

    Args:
        dataset: the dataset.
        selection: its samples that the page shows.
        out: folder to make; it must be empty or absent. It is complete when it appears.
        progress: called with (samples written, of all).

    Raises:
        ExistsError: the folder holds files. ModuleNotFoundError: Pillow is not installed. OSError: not writable.
        CorruptError: the dataset is damaged.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ExistsError(f"{out}: is not an empty folder; name another one, or empty it")
    out.parent.mkdir(parents=True, exist_ok=True)
    pages = Pages(dataset, selection, dataset.spec.name)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}.") as folder:
        made = Path(folder) / "site"
        shutil.copytree(WEB, made)
        (made / "dataset.json").write_text(json.dumps(pages.dataset_json()))
        pages.write_index(made / "index.parquet")
        (made / "samples").mkdir()
        for number in range(len(selection)):
            _write_sample(pages, number, made)
            progress(number + 1, len(selection))
        if out.is_dir():
            out.rmdir()
        made.rename(out)


def _write_sample(pages: Pages, number: int, made: Path) -> None:
    (made / "samples" / f"{number}.json").write_text(json.dumps(pages.sample_json(number)))
    folder = made / "pictures" / str(number)
    folder.mkdir(parents=True)
    for group, slot in pages.pictures(number):
        (folder / f"{group}-{slot}.webp").write_bytes(pages.picture(number, group, slot))


@contextmanager
def application(dataset: Dataset, selection: Selection, place: str, hosts: tuple[str, ...]) -> Iterator[Starlette]:
    """The ASGI application; pictures are drawn when they are asked for.

    Args:
        dataset: the dataset.
        selection: its samples that the page shows.
        place: where the dataset is, as the page's Python code names it.
        hosts: names under which requests are answered ('*' = any): other sites cannot rebind a name to this server.
    """
    from starlette.applications import Starlette
    from starlette.middleware import Middleware
    from starlette.middleware.trustedhost import TrustedHostMiddleware
    from starlette.responses import FileResponse, JSONResponse, Response
    from starlette.routing import Mount, Route
    from starlette.staticfiles import StaticFiles

    pages = Pages(dataset, selection, place)

    def described(_: Any) -> Response:
        return JSONResponse(pages.dataset_json())

    def sample(request: Any) -> Response:
        number = request.path_params["number"]
        if number >= len(selection):
            return Response("no such sample", 404)
        try:
            return JSONResponse(pages.sample_json(number))
        except CorruptError:
            return Response(_DAMAGED, 500)

    def picture(request: Any) -> Response:
        asked = request.path_params
        try:
            drawn = pages.picture(asked["number"], asked["group"], asked["slot"])
        except (AbsentError, IndexError):
            return Response("no such picture", 404)
        except CorruptError:
            return Response(_DAMAGED, 500)
        return Response(drawn, media_type=PICTURE_TYPE, headers={"Cache-Control": "max-age=600"})

    with tempfile.TemporaryDirectory(prefix="landweave-browse-") as folder:
        index = Path(folder) / "index.parquet"
        pages.write_index(index)
        yield Starlette(
            routes=[
                Route("/dataset.json", described),
                Route("/index.parquet", lambda _: FileResponse(index)),
                Route("/samples/{number:int}.json", sample),
                Route("/pictures/{number:int}/{group:int}-{slot:int}.webp", picture),
                Mount("/", StaticFiles(directory=WEB, html=True)),
            ],
            middleware=[Middleware(TrustedHostMiddleware, allowed_hosts=list(hosts))],
        )


def serve(
    dataset: Dataset, selection: Selection, place: str, where: tuple[str, int], say: Callable[[str], None]
) -> None:
    """Serve until interrupted.

    Args:
        dataset: the dataset.
        selection: its samples that the page shows.
        place: where the dataset is, as the page's Python code names it.
        where: (address, port) to listen on; port 0 = any free one.
        say: called with the address as one line, once it answers.

    Raises:
        ModuleNotFoundError: the extra `[browse]` is not installed. AccessError: the port is taken.
    """
    host, port = where
    hosts = _LOOPBACK if host in (*_LOOPBACK, "::1") else ("*",)
    with application(dataset, selection, place, hosts) as app:
        run(app, host, port, lambda address: say(f"open in a browser: {address}"))
