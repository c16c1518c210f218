"""What a finished dataset holds besides what its plan says: layers that were added after the build."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from landweave.dataset import open_dataset
from landweave.layout import MANIFEST
from landweave.manifest import dataset_from_bytes

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path


def layers_in(out: Path) -> set[str] | None:
    """Layers of a finished dataset, added ones included; None if it is not finished."""
    path = out / MANIFEST
    if not path.is_file():
        return None
    return {group.name for group in dataset_from_bytes(path.read_bytes(), MANIFEST).spec.groups}


def added_outcomes(out: Path, known: Collection[str]) -> dict[str, dict[str, int]]:
    """Layer -> reason -> number, by the dataset's ledger, of the layers besides the known ones."""
    layers = (layers_in(out) or set()) - set(known)
    if not layers:
        return {}
    counts: dict[str, Counter[str]] = {layer: Counter() for layer in sorted(layers)}
    for row in open_dataset(str(out)).ledger.select(["layer", "reason"]).to_pylist():
        if row["layer"] in counts:
            counts[row["layer"]][row["reason"]] += 1
    return {layer: dict(sorted(reasons.items())) for layer, reasons in counts.items()}
