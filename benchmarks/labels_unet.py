"""A small U-Net trained on fused labels and on the nearest map of each family, tested on the truth elsewhere.

Same network, crops, order, number of steps and loss for all; only the labels differ. CPU, one thread, five seeds, each
with a world of its own. The learning rate falls to zero at the end: at a constant one, the last steps decided which
rare class a network knew, and seeds of one label lay up to 17 points apart. The interval is Student's, of the gains of
the seeds over the product that trains best on average.

The goal judges one way of training, `JUDGED`, which was chosen before the seeds of the stored result were run: all
pixels alike, because this is the loop that `docs/reading.md` shows first, and what a user gets without a setting. The
other way is printed beside it and judges nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from benchmarks.labels import evidence, miou
from benchmarks.labels_worlds import make
from pipelines.labels.fusion.fuse import fuse, learn_all
from schemas.label import COMMON_CLASSES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from benchmarks.labels_worlds import World

SEEDS, STEPS, BATCH, CROP, LEAST = 5, 120, 12, 48, 0.25
"""Trainings per label, steps of a training, crops of a step, their pixels across; least share of a map to train on."""
JUDGED = "fused"
"""The way of training that the goal is about: all labelled pixels alike."""
BESIDE = "fused, weighed by confidence"
"""The other way: each pixel weighs as much in the loss as it is sure."""
RATE = 1e-2
"""Highest learning rate, after a fifth of the steps."""
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


def prove(seed: int, brought: World | None = None) -> Iterator[dict[str, Any]]:
    """One row per way of training: mIoU on each label, gain of fused labels and its 95 % interval.

    A quarter of the blocks is for the test; the fusion sees the training part alone. The first row is the judged one.

    Args:
        seed: the first of the `SEEDS` seeds of worlds and trainings, which follow one another.
        brought: a world for all trainings, in place of one that is made of the process `shared` from each seed.
    """
    torch.set_num_threads(1)  # more wait for one another in busy loops on a machine with other work
    scores: dict[str, list[float]] = {}
    for number in range(seed, seed + SEEDS):
        world = make("shared", number) if brought is None else brought
        for name, found in _scores(world, number):
            scores.setdefault(name, []).append(found)
    whole = {name: found for name, found in scores.items() if len(found) == SEEDS}
    best = max((n for n in whole if n not in {JUDGED, BESIDE}), key=lambda n: np.mean(whole[n]))
    for chosen in (JUDGED, BESIDE):
        yield _row("shared" if brought is None else brought.name, chosen, best, whole) | {"seed": seed}


def _scores(world: World, seed: int) -> Iterator[tuple[str, float]]:
    """(label, mIoU in percent on the truth of the test part) of one training on each label of a world."""
    if world.image is None:
        raise ValueError(f"{world.name}: the training proof needs an image")
    block = np.arange(len(world.truth)) if world.block is None else world.block
    test = np.isin(block, np.unique(block)[::4])
    mean, spread = np.nanmean(world.image, (0, 2, 3)), np.nanstd(world.image, (0, 2, 3))
    scaled = (np.nan_to_num(world.image) - mean[:, None, None]) / spread[:, None, None]
    image = torch.from_numpy(scaled.astype(np.float32))
    for name, (labels, weight) in _labels(world, test).items():
        yield name, _trained(image[~test], labels, weight, image[test], world.truth[test], seed)


def _labels(world: World, test: NDArray[np.bool_]) -> dict[str, tuple[NDArray[np.int64], NDArray[np.float32]]]:
    """Name -> (classes, weight of each pixel in the loss) of the training part."""
    voters, samples = evidence(world)
    kept = [s for s, away in zip(samples, test, strict=True) if not away]
    model = learn_all(voters, kept)
    fused = [fuse(model, s) for s in kept]
    maps, nearest = world.maps(), [listed[0][0] for listed in world.families.values()]
    ones: NDArray[Any] = np.ones(world.truth[~test].shape, np.float32)
    jobs = {n: (maps[n][~test].astype(np.int64), ones) for n in nearest if (maps[n] > 0).mean() > LEAST}
    classes = np.stack([f.classes for f in fused]).astype(np.int64)
    jobs[JUDGED] = (classes, ones)
    sure = np.stack([f.confidence for f in fused]).astype(np.float32) / np.float32(255)
    jobs[BESIDE] = (classes, sure)
    return jobs


def _row(world: str, chosen: str, best: str, scores: dict[str, list[float]]) -> dict[str, Any]:
    gains = np.array(scores[chosen]) - np.array(scores[best])
    half = T_95 * gains.std(ddof=1) / np.sqrt(SEEDS)
    shown = [n for n in scores if n == chosen or n not in {JUDGED, BESIDE}]
    return {
        "world": world,
        "method": f"U-Net, {chosen}",
        "kind": "proof" if chosen == JUDGED else "beside",
        "miou": {n: [round(float(x), 1) for x in scores[n]] for n in shown},
        "best": best,
        "gain": round(float(gains.mean()), 2),
        "low": round(float(gains.mean() - half), 2),
        "high": round(float(gains.mean() + half), 2),
    }


def _trained(image: torch.Tensor, labels: Any, weight: Any, test: torch.Tensor, truth: Any, seed: int) -> float:
    """mIoU in percent on the test places after training on these labels."""
    torch.manual_seed(seed)
    net, order = UNet(image.shape[1]), np.random.default_rng(seed)
    optimiser = torch.optim.AdamW(net.parameters(), lr=RATE)
    falling = torch.optim.lr_scheduler.OneCycleLR(optimiser, RATE, total_steps=STEPS, pct_start=0.2)
    wanted, heard = torch.from_numpy(labels), torch.from_numpy(weight)
    for _ in range(STEPS):
        picked = order.integers(0, len(image), BATCH)
        corners = order.integers(0, image.shape[-1] - CROP + 1, (BATCH, 2))
        seen, target, share = (_crops(part, picked, corners) for part in (image, wanted, heard))
        loss = functional.cross_entropy(net(seen), target, ignore_index=0, reduction="none") * share
        optimiser.zero_grad()
        (loss.sum() / (target > 0).sum().clamp(min=1)).backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        falling.step()
    net.eval()
    with torch.no_grad():
        found = torch.cat([net(part)[:, 1:].argmax(1) + 1 for part in torch.split(test, BATCH)])
    return miou(found.numpy(), truth)


def _crops(stack: torch.Tensor, picked: Any, corners: Any) -> torch.Tensor:
    cut = zip(picked.tolist(), corners.tolist(), strict=True)
    return torch.stack([stack[i, ..., y : y + CROP, x : x + CROP] for i, (y, x) in cut])
