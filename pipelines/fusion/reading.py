"""Reads the evidence about the samples of a finished dataset: votes, and what images show."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from pipelines.fusion.sight import Shot, on_grid, seen
from pipelines.labels.fusion.fuse import Evidence
from schemas.place import pixels_across

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pipelines.fusion.job import Job
    from pipelines.shards.finished import Finished


@dataclass(frozen=True, kw_only=True)
class Read:
    """One sample."""

    row: dict[str, Any]
    """Its columns of the catalogue."""
    evidence: Evidence | None
    """None where no label is there."""


class Reading:
    """Reads samples of one dataset for one fused label."""

    def __init__(self, base: Finished, job: Job) -> None:
        """Look up the arrays.

        Args:
            base: the finished dataset.
            job: which label, and what the image model sees.
        """
        self.base, self.job = base, job
        resolution = job.recipe.resolution_of(job.label.layer, None)
        self.grid = (pixels_across(base.spec.size_m, resolution), resolution)
        """(pixels across, metres per pixel) of the fused label."""
        self._edges = {a.path: a.resolution_m for a in base.spec.arrays}
        self._maps = [m.layer for f in job.families for m in f.maps]
        self._bands = [sum(len(b.mean) for b in job.bands if b.layer == layer) for layer in job.layers]
        self._images = [b.path for b in job.bands]
        for layer in job.layers:
            masks = [a.path for a in base.spec.group(layer).arrays if a.role != "pixels"]
            self._images += masks

    def read(self, position: int) -> Read:
        """The sample at a place in the catalogue."""
        row = self.base.row(position)
        found = self.base.pixels(position, [f"{layer}/classes" for layer in self._maps])
        if all(pixels is None for pixels in found.values()):
            return Read(row=row, evidence=None)
        image, usable = self._image(position) if self.job.layers else (None, None)
        block = int(hashlib.sha256(str(row["block"]).encode()).hexdigest()[:8], 16)
        votes = self._votes(row, found)
        return Read(row=row, evidence=Evidence(votes=votes, image=image, usable=usable, block=block))

    def gaps(self, row: dict[str, Any]) -> dict[str, int | None]:
        """Voter -> days from the image to its map; None = not known, or absent."""
        return {layer: row[f"{layer}_date_gap_days"] for layer in self._maps}

    def _votes(self, row: dict[str, Any], found: dict[str, NDArray[Any] | None]) -> NDArray[np.uint16]:
        size, gaps = self.grid[0], self.gaps(row)
        votes = np.zeros((len(self.job.families), size, size), np.uint16)
        for vote, family in zip(votes, self.job.families, strict=True):
            paths = [f"{m.layer}/classes" for m in family.maps]
            stored = [found[path] for path in paths]
            if any(s is not None for s in stored):
                maps = [
                    None if s is None else on_grid(s, self._edges[path], self.grid)
                    for path, s in zip(paths, stored, strict=True)
                ]
                vote[...] = family.votes(maps, [gaps[m.layer] for m in family.maps])
        return votes

    def _image(self, position: int) -> tuple[NDArray[np.int32], NDArray[np.bool_]]:
        found = self.base.pixels(position, self._images)
        shots = [self._shot(position, layer, found) for layer in self.job.layers]
        return seen(shots, self._bands, self.grid)

    def _shot(self, position: int, layer: str, found: dict[str, NDArray[Any] | None]) -> Shot | None:
        valid, cloud = found[f"{layer}/valid"], found.get(f"{layer}/cloud")
        if valid is None:
            return None
        arrays = []
        for band in self.job.bands:
            pixels = found[band.path]
            if band.layer == layer and pixels is not None:
                arrays.append((band, pixels, self._edges[band.path]))
        return Shot(
            arrays=arrays,
            valid=(valid, self._edges[f"{layer}/valid"]),
            cloud=None if cloud is None else (cloud, self._edges[f"{layer}/cloud"]),
            present=self.base.present(position, layer),
        )
