"""Classes of a label layer as a training loop needs them: indexes from 0, the index to ignore, weights."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from landweave.errors import CorruptError, UnknownNameError
from landweave.layout import ITEMS
from landweave.table import REMEDY
from landweave.values import rows_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from landweave.catalogue import Catalogue
    from landweave.layout import GroupSpec

IGNORED = 255
"""Index of a pixel without a class, where a layer has at most 255 classes: it fits into uint8."""


@dataclass(frozen=True)
class Classes:
    """Classes of one label layer, in the order of their codes; the place in that order is the index of a class."""

    group: GroupSpec
    """The layer."""
    catalogue: Catalogue
    """Of the dataset."""

    def __len__(self) -> int:
        return len(self.group.classes)

    @property
    def names(self) -> tuple[str, ...]:
        """The product's own names, by index."""
        return tuple(c.name for c in self.group.classes)

    @property
    def codes(self) -> tuple[int, ...]:
        """Stored values, by index."""
        return tuple(c.code for c in self.group.classes)

    @property
    def ignore_index(self) -> int:
        """Index of pixels without a class: 255, or 65,535 where there are more classes."""
        return IGNORED if len(self) <= IGNORED else (1 << 16) - 1

    @property
    def contiguous(self) -> bool:
        """True = stored values are indexes already, and nodata is `ignore_index`, as in fused labels."""
        return self.codes == tuple(range(len(self))) and self.group.arrays[0].nodata == self.ignore_index

    @cached_property
    def table(self) -> NDArray[np.unsignedinteger]:
        """(65,536,) index of each stored value, `ignore_index` for nodata and values that are no class."""
        dtype = np.dtype("uint8" if self.ignore_index == IGNORED else "uint16")
        table: NDArray[np.unsignedinteger] = np.full(1 << 16, self.ignore_index, dtype)
        table[list(self.codes)] = np.arange(len(self))
        return table

    def index(self, stored: Any) -> NDArray[np.unsignedinteger]:
        """Indexes of stored values, in the same shape; takes arrays and CPU tensors of whole numbers."""
        values = np.asarray(stored)
        found: NDArray[np.unsignedinteger] = self.table[values if values.dtype.kind == "u" else values.astype(np.intp)]
        return found

    def pixels(self, split: str | None = "train") -> NDArray[np.int64]:
        """(classes,) labelled pixels of each class, by the catalogue.

        Args:
            split: 'train', 'val' or 'test'; None = all samples.

        Raises:
            UnknownNameError: no sample is of that split.
        """
        name, array = self.group.name, self.group.arrays[0]
        each, place = array.chip_shape[-1] * array.chip_shape[-2], {n: i for i, n in enumerate(self.names)}
        counts, samples = np.zeros(len(self), np.int64), 0
        for _, table in self.catalogue.batches(["split", f"{name}_labelled", f"{name}_shares"]):
            chosen = [r for r in rows_of(table) if split is None or r["split"] == split]
            samples += len(chosen)
            try:
                for row in chosen:
                    for one in row[f"{name}_shares"] or ():
                        counts[place[one["name"]]] += round(one["share"] * row[f"{name}_labelled"] * each)
            except (KeyError, TypeError, ValueError) as error:
                wrong = f"{ITEMS}: column {name}_shares has a class or share that cannot be; {REMEDY}"
                raise CorruptError(wrong) from error
        if not samples:
            raise UnknownNameError(f"no sample is of split {split!r}; give 'train', 'val', 'test', or None for all")
        return counts

    def weights(self, split: str | None = "train") -> NDArray[np.float32]:
        """(classes,) weight of each class for a loss: inverse to its pixels, 1 on average over the labelled pixels; 0
        for a class without pixels.

        Args:
            split: 'train', 'val' or 'test'; None = all samples.

        Raises:
            UnknownNameError: no sample is of that split.
        """
        counts = self.pixels(split).astype(np.float64)
        there = counts > 0
        each = counts.sum() / max(1, int(there.sum()))
        return np.where(there, each / np.maximum(counts, 1), 0).astype(np.float32)
