"""Reads the evidence about the samples of a finished dataset: votes, and what images show."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from pipelines.fusion.families import Vote
from pipelines.fusion.sight import Shot, clear_pixels, on_grid, seen
from pipelines.fusion.soft import soft_vote
from pipelines.fusion.strata import height_layer, stratum_of
from pipelines.labels.fusion.fuse import Evidence
from schemas.place import pixels_across

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pipelines.fusion.families import Map
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
        maps = [m for f in job.families for m in f.maps]
        self._maps = [m.layer for m in maps if not m.bands]
        self._soft = {
            m.layer: [a for a in base.spec.group(m.layer).arrays if a.role != "valid"] for m in maps if m.bands
        }
        height = height_layer(job.recipe, job.label)
        self._height = None if height is None else base.spec.group(height).arrays[0].path
        self._bands = [sum(len(b.mean) for b in job.bands if b.layer == layer) for layer in job.layers]
        self._images = [b.path for b in job.bands]
        for layer in job.layers:
            masks = [a.path for a in base.spec.group(layer).arrays if a.role != "pixels"]
            self._images += masks

    def read(self, position: int) -> Read:
        """The sample at a place in the catalogue."""
        row = self.base.row(position)
        paths = [f"{layer}/classes" for layer in self._maps]
        for layer, arrays in self._soft.items():
            paths += [f"{layer}/valid", *(a.path for a in arrays)]
        found = self.base.pixels(position, paths)
        if all(pixels is None for pixels in found.values()):
            return Read(row=row, evidence=None)
        image, usable = self._image(position) if self.job.layers else (None, None)
        block = int(hashlib.sha256(str(row["block"]).encode()).hexdigest()[:8], 16)
        votes, gaps = self._votes(position, row, found), self.gaps(row)
        stratum = stratum_of(self.job.label.strata, row, gaps.values(), self._heights(position))
        evidence = Evidence(votes=votes, image=image, usable=usable, block=block, stratum=stratum)
        return Read(row=row, evidence=evidence)

    def gaps(self, row: dict[str, Any]) -> dict[str, int | None]:
        """Map of classes that votes -> days from the image; None = not known, or absent."""
        return {layer: row[f"{layer}_date_gap_days"] for layer in self._maps}

    def _votes(self, position: int, row: dict[str, Any], found: dict[str, NDArray[Any] | None]) -> NDArray[np.uint16]:
        size, gaps = self.grid[0], self.gaps(row)
        votes = np.zeros((len(self.job.families), size, size), np.uint16)
        for vote, family in zip(votes, self.job.families, strict=True):
            given = [self._vote(position, one, found) for one in family.maps]
            if any(one is not None for one in given):
                vote[...] = family.votes(given, [gaps.get(m.layer) for m in family.maps])
        return votes

    def _vote(self, position: int, one: Map, found: dict[str, NDArray[Any] | None]) -> Vote | None:
        """What a layer says of a sample, on the grid of the fused label; None where it is absent."""
        if one.bands:
            return self._soft_vote(position, one, found)
        path = f"{one.layer}/classes"
        stored = found[path]
        return None if stored is None else Vote(codes=on_grid(stored, self._edges[path], self.grid))

    def _soft_vote(self, position: int, one: Map, found: dict[str, NDArray[Any] | None]) -> Vote | None:
        valid, cloud = (found.get(f"{one.layer}/{mask}") for mask in ("valid", "cloud"))
        if valid is None:
            return None
        clear = clear_pixels(
            (valid, self._edges[f"{one.layer}/valid"]),
            None if cloud is None else (cloud, self._edges[f"{one.layer}/cloud"]),
            self.base.present(position, one.layer),
            self.grid,
        )
        bands: dict[str, NDArray[Any]] = {}
        for array in self._soft[one.layer]:
            pixels = found[array.path]
            if array.role == "pixels" and pixels is not None:
                whole = on_grid(
                    pixels.reshape(len(clear), len(array.bands), *pixels.shape[-2:]), array.resolution_m, self.grid
                )
                bands |= {band.name: whole[:, i] for i, band in enumerate(array.bands)}
        codes, share = soft_vote(bands, one.bands, clear)
        return Vote(codes=codes, share=share)

    def _heights(self, position: int) -> NDArray[Any] | None:
        return None if self._height is None else self.base.pixels(position, [self._height])[self._height]

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
