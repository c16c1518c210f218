"""Samples in torchgeo's format, for its models, transforms, trainers and plots; torchgeo need not be installed.

>>> data = TorchGeoSamples(landweave.open("out/"), train, image="sentinel2/bands_10m", mask="worldcover")
>>> data[0]  # {'image': (band, y, x), 'mask': (y, x), 'bounds': (9,), 'transform': (9,), 'epsg': (), 'index': ()}

The keys are those of torchgeo's GeoDataset (0.10): 'image' float32, 'mask' int64, 'bounds' (xmin, xmax, xres, ymin,
ymax, yres, tmin, tmax, tres: CRS metres and POSIX seconds), 'transform' the nine affine coefficients of pixel corners;
and two more, 'epsg' and 'index', for `dataset.sample(int(index))`. All are tensors, so that torch's collation and
torchgeo's `stack_samples`, which knows nothing else, make a batch of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.utils.data import Dataset as TorchDataset

from landweave.errors import QueryError, UnknownNameError

if TYPE_CHECKING:
    from collections.abc import Callable

    from landweave.dataset import Dataset
    from landweave.layout import ArraySpec
    from landweave.sample import Sample
    from landweave.selection import Selection


class TorchGeoSamples(TorchDataset[dict[str, Any]]):
    """A map-style dataset of one modality at one date, and a label.

    Only samples that have both are in it: what was not obtained is left out, not filled.
    """

    def __init__(
        self,
        dataset: Dataset,
        selection: Selection | None = None,
        *,
        image: str,
        mask: str | None = None,
        slot: int = 0,
        physical: bool = False,
        transforms: Callable[[dict[str, Any]], dict[str, Any]] | None = None,
    ) -> None:
        """Choose the image and the mask.

        Args:
            dataset: from `landweave.open`.
            selection: from `query`; all samples if None.
            image: array of the image, 'sentinel2/bands_10m'.
            mask: a label, 'worldcover', or a mask array, 'sentinel2/cloud'; on the image's grid, pixels repeated or
                left out where its own is another.
            slot: date slot of dated arrays.
            physical: the image in its unit, NaN where nothing was measured; else stored numbers.
            transforms: applied to each sample, as torchgeo does.

        Raises:
            UnknownNameError: no such array, or no such date slot. QueryError: no sample has what was chosen.
        """
        self.dataset, self.physical, self.slot, self.transforms = dataset, physical, slot, transforms
        self._image = dataset.select_arrays([image])[0]
        self._mask = None if mask is None else dataset.select_arrays([mask])[0]
        if self._mask is not None and self._mask.margin_m < self._image.margin_m:
            raise QueryError(
                f"{mask} covers {dataset.spec.extent_m(self._mask.group):g} m and {image} "
                f"{dataset.spec.extent_m(self._image.group):g} m around the same centre: a mask must cover its image"
            )
        positions = dataset.selected(selection).positions
        for array in (self._image, self._mask):
            if array is not None:
                there = dataset.catalogue.presence(array.group)
                if array.dated and not 0 <= slot < there.shape[1]:
                    raise UnknownNameError(f"{array.group} has no date slot {slot}, it has {there.shape[1]}")
                positions = positions[there[positions, slot if array.dated else 0]]
        if not len(positions):
            raise QueryError(f"no sample of the selection has {image}" + (f" and {mask}" if mask else ""))
        self.positions = positions
        """Positions in the catalogue of the samples that are here."""

    def __len__(self) -> int:
        return len(self.positions)

    def __getitem__(self, index: int) -> dict[str, Any]:
        """One sample."""
        sample = self.dataset.sample(int(self.positions[index]))
        path = self._image.path
        stored = sample.physical(path) if self.physical and self._image.kind == "continuous" else sample[path]
        pixels = np.asarray(stored[self.slot] if self._image.dated else stored, np.float32)
        pixels = pixels[np.newaxis] if pixels.ndim == 2 else pixels
        transform = sample.transform(path)
        made: dict[str, Any] = {
            "image": torch.from_numpy(pixels.copy()),
            "bounds": torch.tensor(self._bounds(sample, transform, pixels.shape), dtype=torch.float64),
            "transform": torch.tensor((*transform, 0.0, 0.0, 1.0), dtype=torch.float64),
            "epsg": torch.tensor(sample.epsg),
            "index": torch.tensor(int(self.positions[index])),
        }
        if self._mask is not None:
            labels = sample[self._mask.path]
            labels = labels[self.slot] if self._mask.dated else labels
            fitted = _fitted(labels, self._mask, pixels.shape[-2:], self._image)
            made["mask"] = torch.from_numpy(fitted.astype(np.int64))
        return made if self.transforms is None else self.transforms(made)

    def _bounds(self, sample: Sample, transform: tuple[float, ...], shape: tuple[int, ...]) -> tuple[float, ...]:
        pixel, left, top = transform[0], transform[2], transform[5]
        when = sample.datetimes(self._image.group)[self.slot] if self._image.dated else None
        seconds = float("nan") if when is None else when.timestamp()
        right, bottom = left + pixel * shape[-1], top - pixel * shape[-2]
        return (left, right, pixel, bottom, top, pixel, seconds, seconds, 1.0)


def _fitted(labels: Any, mask: ArraySpec, shape: tuple[int, ...], image: ArraySpec) -> Any:
    """The mask's pixel over the centre of each of the image's."""
    rows, columns = (
        np.clip(
            ((np.arange(n) + 0.5) * image.resolution_m + mask.margin_m - image.margin_m) / mask.resolution_m, 0, m - 1
        )
        for n, m in zip(shape, labels.shape, strict=True)
    )
    return labels[rows.astype(np.int64)[:, None], columns.astype(np.int64)]
