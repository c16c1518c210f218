"""The places of the samples as columns, from which a `Place` is made when it is needed."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from sampling import majortom
from sampling.packing import packed
from sampling.splits import SPLITS
from schemas.attribute import PREFIX
from schemas.place import GeoBox, Place

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from sampling.attributes import Attribute
    from sampling.geobox import Footprints
    from sampling.leakage import Leakage
    from sampling.packing import Packed
    from sampling.shared import SharedGround
    from schemas.output import Shards


@dataclass(frozen=True, eq=False, slots=True)
class Located:
    """Places of the samples, as columns (54 bytes per sample), and the samples left out.

    In the order of their draw (uniform), of the grid or of the file; sample ids are unique. A `Place` is made of a
    sample when it is asked for.
    """

    footprints: Footprints
    split: NDArray[np.int8]
    """(n,) place in `sampling.splits.SPLITS`."""
    key: NDArray[np.int64]
    """(n, 2) what names a sample: draw number and 0, row and column of a cell, or row of the file and 0."""
    names: Callable[[NDArray[np.int64]], list[str]]
    """Keys -> sample ids."""
    block_m: float
    """Edge of a block of ground, metres."""
    resolution_m: float
    """Base pixel, metres."""
    left_out: dict[str, int]
    """Candidates left out, by reason: outside_area, not_on_land (cells of a whole grid and points of a file only),
    overlap, split_buffer."""
    notes: tuple[str, ...] = ()
    """Notes for the user, one line each: fewer samples than requested, an empty split."""
    attributes: tuple[Attribute, ...] = ()
    """Columns of the points file that are carried along, one value per sample."""
    shared: tuple[SharedGround, ...] = ()
    """Ground that splits have in common, where the recipe allows it."""
    leaks: tuple[Leakage, ...] = ()
    """Overlaps and distances between splits; () where the rule of the splits keeps a distance of its own."""
    strata: tuple[str, ...] = ()
    """Names of the strata that samples were drawn from."""
    stratum: NDArray[np.int32] | None = None
    """(n,) place in `strata`."""
    parted: bool = False
    """True where the rule of the splits parts blocks of ground: the split is then part of a block's name."""

    def __len__(self) -> int:
        return len(self.footprints)

    def columns(self, index: NDArray[np.int64]) -> dict[str, list[Any] | NDArray[Any]]:
        """Samples number `index` as columns named like the fields of `Place` and of its `GeoBox`; 'attr_NAME'."""
        some = self.footprints.take(index)
        count = round(some.size_m / self.resolution_m)
        return {
            "sample_id": self.names(self.key[index]),
            "split": [SPLITS[code] for code in self.split[index].tolist()],
            "lon": some.lon,
            "lat": some.lat,
            "epsg": some.epsg,
            "x_min": some.x_min,
            "y_max": some.y_max,
            "resolution_m": np.full(len(index), self.resolution_m),
            "width": np.full(len(index), count, dtype=np.int32),
            "height": np.full(len(index), count, dtype=np.int32),
            "block": self._blocks(some, self.split[index]),
            "cell": majortom.names(*majortom.cells_of(some.lon, some.lat)),
            **({} if self.stratum is None else {"stratum": [self.strata[s] for s in self.stratum[index].tolist()]}),
            **{PREFIX + a.name: a.values.take(index).to_pylist() for a in self.attributes},
        }

    def _blocks(self, footprints: Footprints, split: NDArray[np.int8]) -> list[str]:
        """Blocks of ground whose samples are of one split: '269U_44R', or '269U_44R-val' where splits part blocks."""
        names = majortom.names(*majortom.cells_of(footprints.lon, footprints.lat, self.block_m))
        if not self.parted:
            return names
        return [f"{name}-{SPLITS[code]}" for name, code in zip(names, split.tolist(), strict=True)]

    def places(self, index: NDArray[np.int64]) -> list[Place]:
        """Samples number `index` as Places."""
        found = {k: v if isinstance(v, list) else v.tolist() for k, v in self.columns(index).items()}
        boxes = [found.pop(k) for k in _BOX]
        said = [[(a.name, value) for value in found.pop(PREFIX + a.name)] for a in self.attributes]
        rows = zip(*found.values(), strict=True)
        geoboxes = (GeoBox(**dict(zip(_BOX, b, strict=True))) for b in zip(*boxes, strict=True))
        pairs = zip(*said, strict=True) if said else itertools.repeat((), len(index))
        return [
            Place(geobox=g, attributes=more, **dict(zip(found, row, strict=True)))
            for g, row, more in zip(geoboxes, rows, pairs, strict=True)
        ]

    def limited(self, limit: int | None) -> Located:
        """At most `limit` samples, spread evenly over all; each sample is the same as without a limit."""
        if limit is None or limit >= len(self):
            return self
        index = np.arange(limit, dtype=np.int64) * len(self) // limit
        words = f"a trial of {limit:,} of {len(self):,} samples (limit)"
        return replace(self.take(index), notes=(words,), shared=(), leaks=())

    def take(self, index: NDArray[np.int64]) -> Located:
        """Samples number `index`, each as it is; what was measured over all of them stays as it was."""
        return replace(
            self,
            footprints=self.footprints.take(index),
            split=self.split[index],
            key=self.key[index],
            attributes=tuple(replace(a, values=a.values.take(index)) for a in self.attributes),
            stratum=None if self.stratum is None else self.stratum[index],
        )

    def packed(self, shards: Shards) -> Packed:
        """The samples in shards: see `sampling.packing`."""
        size = shards.size(len(self.footprints))
        return packed(self.footprints, self.split, lambda index: self.names(self.key[index]), size)


_BOX = ("epsg", "x_min", "y_max", "resolution_m", "width", "height")
