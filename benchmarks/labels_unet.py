"""A small U-Net trained on fused labels and on the nearest map of each family, tested on the truth elsewhere.

Same network, images, order and number of steps for all; only the labels differ. CPU, five seeds. The interval is
Student's, of the gains of the seeds over the product that trains best on average.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from benchmarks.labels import evidence, miou
from pipelines.labels.fusion.fuse import fuse, learn_all
from schemas.label import COMMON_CLASSES

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from benchmarks.labels_worlds import World

SEEDS, EPOCHS, BATCH, LEAST = 5, 8, 6, 0.5
T_95 = 2.776
"""Student's t for four degrees of freedom, 95 % two-sided."""


class UNet(nn.Module):
    """Two levels, 16 and 32 channels: some 30,000 weights."""

    def __init__(self, bands: int, width: int = 16) -> None:
        super().__init__()
        self.one, self.two = _block(bands, width), _block(width, 2 * width)
        self.three = _block(3 * width, width)
        self.last = nn.Conv2d(width, len(COMMON_CLASSES), 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        fine = self.one(x)
        coarse = functional.interpolate(self.two(functional.max_pool2d(fine, 2)), scale_factor=2)
        return self.last(self.three(torch.cat([fine, coarse], 1)))  # type: ignore[no-any-return]


def _block(inside: int, outside: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for channels in (inside, outside):
        layers += [nn.Conv2d(channels, outside, 3, padding=1), nn.BatchNorm2d(outside), nn.ReLU()]
    return nn.Sequential(*layers)


def prove(world: World) -> dict[str, Any]:
    """One row: mIoU of each training, gain of fused labels and its 95 % interval.

    A quarter of the blocks is for the test; the fusion sees the training part alone.
    """
    if world.image is None:
        raise ValueError(f"{world.name}: the training proof needs an image")
    block = np.arange(len(world.truth)) if world.block is None else world.block
    test = np.isin(block, np.unique(block)[::4])
    mean, spread = np.nanmean(world.image, (0, 2, 3)), np.nanstd(world.image, (0, 2, 3))
    scaled = (np.nan_to_num(world.image) - mean[:, None, None]) / spread[:, None, None]
    image = torch.from_numpy(scaled.astype(np.float32))
    voters, samples = evidence(world)
    kept = [s for s, away in zip(samples, test, strict=True) if not away]
    model = learn_all(voters, kept)
    fused = [fuse(model, s) for s in kept]
    maps, nearest = world.maps(), [listed[0][0] for listed in world.families.values()]
    labels = {n: maps[n][~test] for n in nearest if (maps[n] > 0).mean() > LEAST}
    ones: NDArray[Any] = np.ones(world.truth[~test].shape, np.float32)
    jobs: dict[str, tuple[NDArray[np.int64], NDArray[np.float32]]] = {
        n: (m.astype(np.int64), ones) for n, m in labels.items()
    }
    weight = np.stack([f.confidence for f in fused]).astype(np.float32) / np.float32(255)
    jobs["fused"] = (np.stack([f.classes for f in fused]).astype(np.int64), weight)
    scores = {
        n: [_trained(image[~test], m, w, image[test], world.truth[test], seed) for seed in range(SEEDS)]
        for n, (m, w) in jobs.items()
    }
    best = max((n for n in scores if n != "fused"), key=lambda n: np.mean(scores[n]))
    gains = np.array(scores["fused"]) - np.array(scores[best])
    half = T_95 * gains.std(ddof=1) / np.sqrt(SEEDS)
    return {
        "world": world.name,
        "method": "U-Net",
        "kind": "proof",
        "miou": {n: [round(float(x), 1) for x in s] for n, s in scores.items()},
        "best": best,
        "gain": round(float(gains.mean()), 2),
        "low": round(float(gains.mean() - half), 2),
        "high": round(float(gains.mean() + half), 2),
    }


def _trained(image: torch.Tensor, labels: Any, weight: Any, test: torch.Tensor, truth: Any, seed: int) -> float:
    """mIoU in percent on the test places after training on these labels."""
    torch.manual_seed(seed)
    net = UNet(image.shape[1])
    optimiser = torch.optim.Adam(net.parameters(), lr=3e-3)
    wanted, heard = torch.from_numpy(labels), torch.from_numpy(weight)
    order = np.random.default_rng(seed)
    for _ in range(EPOCHS):
        for rows in np.array_split(order.permutation(len(image)), max(1, len(image) // BATCH)):
            loss = functional.cross_entropy(net(image[rows]), wanted[rows], ignore_index=0, reduction="none")
            loss = (loss * heard[rows]).mean()
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
    net.eval()
    with torch.no_grad():
        found = torch.cat([net(part)[:, 1:].argmax(1) + 1 for part in torch.split(test, BATCH)])
    return miou(found.numpy(), truth)
