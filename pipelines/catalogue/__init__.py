"""Makes the catalogue of a folder of the user's own images: stac-geoparquet (or a JSON item collection) for a recipe.

Only headers are read, by the reader that later cuts the chips: what is in the catalogue can be read. The catalogue
holds relative addresses, so the folder can be moved, or served by any web server that knows byte ranges.
"""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

import numpy as np

from pipelines.access.errors import AccessError
from pipelines.access.http.folder import FolderClient
from pipelines.access.stac.geoparquet import read_items
from pipelines.catalogue.dates import Dates as Dates
from pipelines.catalogue.dates import RefusedError
from pipelines.catalogue.dates import date_in as date_in
from pipelines.catalogue.dates import period_of as period_of
from pipelines.catalogue.item import WORK, Json, form_of, item_of
from pipelines.catalogue.table import json_of, parquet_of
from pipelines.describe import block_of
from pipelines.durable import write_durably
from pipelines.recipes import RecipeError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

_SUFFIXES = (".tif", ".tiff")
_MOST = 250_000
"""Images of one catalogue: `pipelines.access.stac.static` reads no larger one."""


@dataclass(kw_only=True)
class Catalogued:
    """What was found in a folder."""

    collection: str
    items: list[Json] = field(default_factory=list)
    refused: list[tuple[str, str]] = field(default_factory=list)
    """(file, why), each one line."""
    ignored: Counter[str] = field(default_factory=Counter)
    """Suffix of other files -> their number."""


def make_catalogue(
    folder: Path,
    out: Path,
    dates: Dates,
    collection: str | None = None,
    progress: Callable[[int], None] = lambda _: None,
) -> Catalogued:
    """Read the headers of all GeoTIFFs in and below a folder, and write the catalogue if there is any image.

    Args:
        folder: the images'; links in it are not followed.
        out: the file to write, .parquet or .json, in the folder or in one above it.
        dates: how the date of an image is known.
        collection: id of the collection; made of the folder's name if absent.
        progress: called with the number of files that were read.

    Raises:
        RecipeError: the folder or the file cannot be used, in one line.
    """
    root = _root_of(folder, out)
    found = Catalogued(collection=collection or _slug(folder.resolve().name))
    taken: set[str] = set()
    with closing(FolderClient(WORK, root)) as client:
        for number, path in enumerate(_images(folder.resolve(), root, found), 1):
            try:
                item = item_of(client, path, dates, found.collection)
            except (RefusedError, AccessError) as error:
                detail = error.detail if isinstance(error, AccessError) else str(error)
                found.refused.append((path, detail.replace(f"provider://{WORK}/{quote(path)}", "it")))
                continue
            if item["id"] in taken:
                item["id"] = path.replace("/", "-")
            taken.add(item["id"])
            found.items.append(item)
            progress(number)
            if len(found.items) > _MOST:
                raise RecipeError(
                    [f"{_plain(folder.resolve().name)}: holds more than {_MOST:,} images; make several catalogues"]
                )
    if found.items:
        found.items.sort(key=lambda item: str(item["id"]))
        write_durably(out, json_of(found.items) if out.suffix == ".json" else parquet_of(found.items))
    return found


def text_of(found: Catalogued, out: Path, folder: Path) -> str:
    """What was catalogued, and the lines for a recipe."""
    lines = [f"{_plain(out.name)}: {len(found.items):,} images of {_plain(folder.resolve().name)}"]
    forms = Counter(form_of(item) for item in found.items)
    lines += [f"  {number:,} of {form}" for form, number in forms.most_common(5)]
    if len(forms) > 1:
        lines.append("  images differ: a layer reads those that have its bands; the lines below are for the commonest")
    if found.ignored:
        kinds = ", ".join(f"{suffix or 'no suffix'} {n:,}" for suffix, n in found.ignored.most_common(5))
        lines.append(f"  other files, not read: {found.ignored.total():,} ({kinds}); only .tif and .tiff are images")
    if not found.items:
        return "\n".join([f"{_plain(folder.resolve().name)}: no image can be used, so nothing is written", *lines[1:]])
    where = os.path.relpath(out.resolve(), folder.resolve().parent)
    common = next(item for item in found.items if form_of(item) == forms.most_common(1)[0][0])
    block = block_of(found.collection, {"title": found.collection}, common, "mine")
    lines += [f"  their ground, for `sampling`: {_ground(found.items)}", "", "providers:"]
    lines += [f"  mine: {{ url: {json.dumps(where)} }} # path relative to the recipe", "sources:", block.rstrip()]
    return "\n".join(lines)


def _ground(items: Sequence[Json]) -> str:
    """The box around all images as a recipe's area: rounded outwards to 0.0001 degrees (11 m)."""
    boxes = np.array([item["bbox"] for item in items], dtype=np.float64)
    if (boxes[:, 0] > boxes[:, 2]).any():  # over the 180th meridian
        boxes[:, ::2] %= 360.0
    west, south = np.floor(boxes[:, :2].min(axis=0) * 1e4) / 1e4
    east, north = np.ceil(boxes[:, 2:].max(axis=0) * 1e4) / 1e4
    east -= 360.0 if east > 180.0 else 0.0
    corners = ", ".join(f"{corner:.4f}".rstrip("0").rstrip(".") for corner in (west, south, east, north))
    return f"area: {{ bbox: [{corners}], land_only: false }}"


def _root_of(folder: Path, out: Path) -> Path:
    """Folder of the catalogue, which the images must be in.

    Raises:
        RecipeError: one line.
    """
    if not folder.is_dir():
        raise RecipeError([f"{_plain(folder.resolve().name)}: is not a folder; give the folder that holds your images"])
    if out.suffix not in (".parquet", ".geoparquet", ".json"):
        raise RecipeError([f"--out {_plain(out.name)}: a catalogue's name ends in .parquet or .json"])
    root = out.resolve().parent
    if not root.is_dir() or not folder.resolve().is_relative_to(root):
        why = "images that are not below the catalogue are never opened"
        raise RecipeError(
            [f"--out {_plain(out.name)}: {why}; name a file in the folder of the images, or in one above it"]
        )
    if out.exists() and not _is_catalogue(out):
        raise RecipeError([f"--out {_plain(out.name)}: is there and is no catalogue; name another file"])
    return root


def _is_catalogue(path: Path) -> bool:
    """Whether a file may be replaced: it holds items."""
    try:
        raw = path.read_bytes()
        if path.suffix == ".json":
            return bool(json.loads(raw).get("type") == "FeatureCollection")
        next(read_items(raw, path.name), None)
    except (AccessError, OSError, ValueError, AttributeError):
        return False
    return True


def _images(folder: Path, root: Path, found: Catalogued) -> Iterator[str]:
    """Paths of the images relative to the root, sorted; others are counted or refused."""
    for where, folders, files in os.walk(folder):
        folders[:] = sorted(f for f in folders if not f.startswith("."))
        for file in sorted(f for f in files if not f.startswith(".")):
            path = Path(where, file).relative_to(root).as_posix()
            if not file.lower().endswith(_SUFFIXES):
                found.ignored[Path(file).suffix.lower()] += 1
            elif not path.isprintable():
                found.refused.append((_plain(path), "its name has characters that cannot be printed; rename it"))
            else:
                yield path
        linked = [f for f in folders if Path(where, f).is_symlink()]
        found.refused += [
            (_plain(Path(where, f).relative_to(root).as_posix()), "is a symbolic link, which is not followed")
            for f in linked
        ]


def _plain(path: str) -> str:
    """A name without what could move a cursor or begin a line."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in path)


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9_-]+", "-", text.lower()).strip("-")[:64] or "images"
