"""Which fused labels of a recipe are still to be made, for `status`: a file in the work folder names them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from pipelines.durable import write_durably
from pipelines.fusion.job import FOLDER
from pipelines.shards import layers_in

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

WANTED = ".work/fused.json"
"""Names of the fused layers of the recipe that a dataset was planned from."""


def want(out: Path, layers: Sequence[str]) -> None:
    """Note the fused layers of a recipe; a recipe without any leaves no file behind, and the same ones change none."""
    path, text = out / WANTED, json.dumps(list(layers)) + "\n"
    if not layers:
        path.unlink(missing_ok=True)
    elif not path.is_file() or path.read_text() != text:
        write_durably(path, text)


def coming(out: Path, shards: int, *, running: bool) -> list[str]:
    """One line per fused layer that is not in the dataset yet.

    Args:
        out: folder of the dataset, or desk of one in an object store.
        shards: of the dataset.
        running: a build holds the folder now.
    """
    path, held = out / WANTED, layers_in(out)
    wanted = json.loads(path.read_bytes()) if path.is_file() else []
    if held is None:
        return [f"{layer}: is made when all shards are built" for layer in wanted]
    left = [layer for layer in wanted if layer not in held]
    if not running:
        return [f"{layer}: is not made yet; run the same command again to make it" for layer in left]
    return [f"{layer}: {_under_way(out, shards) if i == 0 else 'is made next'}" for i, layer in enumerate(left)]


def _under_way(out: Path, shards: int) -> str:
    """Progress of the first layer that is missing: the passes of one layer are there at a time."""
    labelled = len(list(out.glob(f"{FOLDER}*/labels/shards/*.json")))
    compared = len(list(out.glob(f"{FOLDER}*/statistics/statistics/*.npz")))
    if list(out.glob(f"{FOLDER}*/labels")):
        return f"is made now: {labelled:,} of {shards:,} shards labelled"
    return f"is made now: labels of {compared:,} of {shards:,} shards compared"
