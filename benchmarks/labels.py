"""`python -m benchmarks.labels`: fused labels against single products and other fusions; truth is known.

Worlds are arrays: ground, image, products with shared, persistent, regional, shifted and aged errors at published
accuracies. Every method sees the same maps; the truth only judges, and gives 500 reference points for calibration.
Snorkel and crowd-kit run in the environment that `python -m benchmarks.labels_venv` makes; what cannot run is named in
the summary. `--unet` adds the training proof (`benchmarks.labels_unet`).
"""

from __future__ import annotations

import argparse
import subprocess
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks import labels_venv
from benchmarks.labels_goals import goals
from benchmarks.labels_worlds import PROCESSES, World, make, read
from benchmarks.report import print_goals, print_row
from pipelines.labels.fusion.calibrate import expected_calibration_error
from pipelines.labels.fusion.doubt import Doubt, learn_doubt
from pipelines.labels.fusion.fuse import Evidence, Fused, fuse, learn_all
from pipelines.labels.fusion.image import features
from pipelines.labels.fusion.voters import symbols, voter
from schemas.label import COMMON_CLASSES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from pipelines.labels.fusion.voters import Voter

    Row = dict[str, Any]
    Map = NDArray[np.integer]

POINTS, DRAWS = 500, 8
"""Reference points for calibration, and how often they are drawn: the worst draw must meet the goal."""
PEER_PIXELS = 40_000
"""Pixels that peers see: crowd-kit holds a table row per pixel and map."""
QUICK = ("shared", "persistent")
"""Worlds of `--quick`: one like the real products, and the hardest."""


def evidence(world: World) -> tuple[list[Voter], list[Evidence]]:
    """The families of a world and the evidence about each sample."""
    voters, votes = [], []
    for family, listed in world.families.items():
        probabilities, native = world.probabilities.get(family), world.native.get(family)
        form = voter(family, len(listed), probabilities=probabilities is not None, native=native)
        voters.append(form)
        votes.append(symbols(form, [m for _, m in listed], probabilities))
    together = np.stack(votes, axis=1)
    count = len(world.truth)
    block = np.arange(count) if world.block is None else world.block
    region = np.zeros(count, int) if world.region is None else np.unique(world.region, return_inverse=True)[1]
    image, usable = _whole(world)
    return voters, [
        Evidence(
            votes=together[i],
            image=None if image is None else features(image[i]),
            usable=None if usable is None else usable[i],
            block=int(block[i]),
            stratum=int(region[i]),
        )
        for i in range(count)
    ]


def _whole(world: World) -> tuple[NDArray[np.floating] | None, NDArray[np.bool_] | None]:
    """The image brought to thousands, whatever its units, and where it is."""
    if world.image is None:
        return None, None
    usable = np.asarray(np.isfinite(world.image).all(axis=1))
    low, high = np.nanpercentile(world.image, (2, 98), axis=(0, 2, 3), keepdims=True)
    return 5000 * (world.image - low) / np.maximum(high - low, 1e-6), usable


def measure(world: World) -> Iterator[Row]:
    """One row per method, best single product first."""
    truth, known = world.truth, world.truth > 0
    maps = world.maps()
    wide = {n: m for n, m in maps.items() if (m[known] > 0).mean() > 0.5} or maps
    best = max(wide, key=lambda n: miou(wide[n], truth))
    for name, found in maps.items():
        yield _row(world, name, "single", found) | {"best": name == best}
    start = time.process_time()
    yield _row(world, "majority", "peer", majority(list(maps.values()))) | _cost(start, truth)
    start = time.process_time()
    yield _row(world, "Dawid-Skene", "peer", dawid_skene(list(maps.values()))) | _cost(start, truth)
    start = time.process_time()
    voters, samples = evidence(world)
    model = learn_all(voters, samples, rounds=0)
    yield _row(world, "ours, votes alone", "ours", np.stack([fuse(model, s).classes for s in samples])) | _cost(
        start, truth
    )
    start = time.process_time()
    voters, samples = evidence(world)
    model = learn_all(voters, samples)
    fused = [fuse(model, s) for s in samples]
    cost = _cost(start, truth)
    posterior = np.stack([f.posterior.astype(np.float32) for f in fused])
    row = _row(world, "ours", "ours", np.stack([f.classes for f in fused])) | cost
    yield row | confidence(fused, truth) | mislabelled(posterior, wide[best], truth)


def confidence(fused: list[Fused], truth: Map) -> Row:
    """Calibration error before and after calibration on POINTS random pixels, measured on the others, mean and worst of
    DRAWS draws of the points; and how well wrong pixels of the fused map are found and counted per sample, without
    points and with the first draw."""
    raw = np.stack([f.raw.astype(np.float32) for f in fused])
    right = np.stack([f.classes for f in fused]) == truth
    usable = (truth > 0) & (raw > 0)
    raws, rights = raw[usable], right[usable]
    told = np.stack([f.signs for f in fused])
    learnt = [(picked, learn_doubt(told[usable][picked], ~rights[picked])) for picked in _draws(len(raws))]
    errors = [expected_calibration_error(1 - doubt(told[usable][~picked]), rights[~picked]) for picked, doubt in learnt]
    found = {"": Doubt()(told), "_calibrated": learnt[0][1](told)}
    return {
        "points": min(POINTS, len(raws) // 2),
        "ece_raw": round(expected_calibration_error(raws, rights), 4),
        "ece": round(float(np.mean(errors)), 4),
        "ece_worst": round(max(errors), 4),
        **{f"auroc_fused{k}": round(auroc(each[usable], ~rights), 4) for k, each in found.items()},
        **{k + name: v for name, each in found.items() for k, v in counted(each, right, usable).items()},
    }


def _draws(count: int) -> Iterator[NDArray[np.bool_]]:
    """DRAWS times: which of the labelled pixels are reference points."""
    for draw in range(DRAWS):
        picked = np.zeros(count, bool)
        picked[np.random.default_rng(draw).choice(count, min(POINTS, count // 2), replace=False)] = True
        yield picked


def counted(doubt: NDArray[np.floating], right: NDArray[np.bool_], usable: NDArray[np.bool_]) -> Row:
    """The estimated share of wrong pixels of a sample against the true one: means, correlation, mean difference; and
    the mean difference of an estimate that knows the true mean of all samples, and says it of each."""
    kept = [i for i in range(len(right)) if usable[i].any()]
    said = np.array([doubt[i][usable[i]].mean() for i in kept])
    true = np.array([1 - right[i][usable[i]].mean() for i in kept])
    shown = {"wrong_said": said.mean(), "wrong_off": np.abs(said - true).mean(), "wrong": true.mean()}
    shown["wrong_spread"] = np.abs(true - true.mean()).mean()
    if len(kept) > 2 and said.std() > 0 and true.std() > 0:
        shown["wrong_r"] = np.corrcoef(said, true)[0, 1]
    return {name: round(float(value), 4) for name, value in shown.items()}


def mislabelled(posterior: NDArray[np.floating], product: Map, truth: Map) -> Row:
    """How well 1 - P(product's class) finds the wrong pixels of the best single product."""
    there = (product > 0) & (truth > 0)
    doubt = 1 - np.take_along_axis(posterior, product[..., None].astype(np.intp), -1)[..., 0]
    return {"auroc": round(auroc(doubt[there], (product != truth)[there]), 4)}


def auroc(score: NDArray[np.floating], positive: NDArray[np.bool_]) -> float:
    """Area under the receiver operating characteristic; equal scores count half."""
    _, inverse, counts = np.unique(score, return_inverse=True, return_counts=True)
    rank = np.cumsum(counts) - (counts - 1) / 2
    many, few = int(positive.sum()), int((~positive).sum())
    if not many or not few:
        return float("nan")
    return float((rank[inverse][positive].sum() - many * (many + 1) / 2) / (many * few))


def majority(maps: list[Map]) -> Map:
    """The class that most maps name; of equals the one of the earlier map."""
    counts = np.zeros((len(COMMON_CLASSES), *maps[0].shape), np.float32)
    for place, found in enumerate(maps):
        for code in range(1, len(COMMON_CLASSES)):
            counts[code] += (found == code) * (1 - 1e-3 * place)
    return np.where(counts.max(axis=0) > 0, counts.argmax(axis=0), 0)


def dawid_skene(maps: list[Map], rounds: int = 50) -> Map:
    """Plain Dawid-Skene on vote patterns: every map is an independent witness; begins with the shares of votes."""
    size = len(COMMON_CLASSES)
    keys = np.zeros(maps[0].shape, np.int64)
    for found in maps:
        keys = keys * size + found
    unique, inverse, counts = np.unique(keys, return_inverse=True, return_counts=True)
    votes = np.stack([unique // size**p % size for p in range(len(maps) - 1, -1, -1)])
    weights = np.stack([(votes == k).sum(axis=0) for k in range(size)], 1).astype(float)
    weights[:, 0] = 0
    weights /= np.maximum(weights.sum(axis=1, keepdims=True), 1)
    for _ in range(rounds):
        mass = weights * counts[:, None]
        logs = np.repeat(np.log(mass.sum(axis=0) + 1e-9)[None], len(unique), axis=0)
        for vote in votes:
            table = np.full((size, size), 1e-2)
            np.add.at(table, vote, mass)
            table[0] = 0
            table = np.log(np.maximum(table / table.sum(axis=0), 1e-12))
            table[0] = 0
            logs += table[vote]
        logs[:, 0] = -np.inf
        weights = np.exp(logs - logs.max(axis=1, keepdims=True))
        weights /= weights.sum(axis=1, keepdims=True)
    answer = np.where((votes > 0).any(axis=0), weights.argmax(axis=1), 0)
    return np.asarray(answer[inverse].reshape(maps[0].shape))


def peers(world: World, failed: dict[str, str]) -> Iterator[Row]:
    """Rows of Snorkel and crowd-kit, on the same random pixels; what fails is put into `failed`."""
    interpreter = labels_venv.python()
    if interpreter is None:
        failed["Snorkel, crowd-kit"] = "not installed: python -m benchmarks.labels_venv"
        return
    maps = np.stack([m.ravel() for m in world.maps().values()], axis=1)
    usable = np.flatnonzero((world.truth.ravel() > 0) & (maps > 0).any(axis=1))
    picked = np.sort(np.random.default_rng(1).choice(usable, min(PEER_PIXELS, len(usable)), replace=False))
    with tempfile.TemporaryDirectory() as folder:
        there, back = Path(folder) / "votes.npz", Path(folder) / "answers.npz"
        np.savez(there, votes=maps[picked].astype(np.int8) - 1)
        script = Path(__file__).with_name("labels_peers.py")
        done = subprocess.run([interpreter, script, there, back], capture_output=True, text=True, check=False)
        if done.returncode:
            failed["Snorkel, crowd-kit"] = (done.stderr.strip().splitlines() or ["no answer"])[-1][:200]
            return
        answers = dict(np.load(back).items())
    view = replace(world, truth=world.truth.ravel()[picked])
    for name, found in answers.items():
        if name.startswith("failed "):
            failed[name.removeprefix("failed ")] = str(found)
        elif not name.startswith("seconds "):
            cost = float(answers[f"seconds {name}"]) * 1000 / (len(picked) / 96**2)
            yield _row(view, name, "peer", found + 1) | {"pixels": len(picked), "ms_per_sample": round(cost, 1)}


def miou(found: Map, truth: Map) -> float:
    """Mean intersection over union of the classes of the truth, in percent; pixels without truth do not count."""
    known = truth > 0
    return 100 * float(np.mean([_iou((found == k)[known], (truth == k)[known]) for k in np.unique(truth[known])]))


def _iou(one: NDArray[np.bool_], two: NDArray[np.bool_]) -> float:
    return float((one & two).sum() / max(1, (one | two).sum()))


def _row(world: World, method: str, kind: str, found: Map) -> Row:
    known = world.truth > 0
    return {
        "world": world.name,
        "independent": world.independent,
        "method": method,
        "kind": kind,
        "accuracy": round(100 * float((found == world.truth)[known].mean()), 1),
        "miou": round(miou(found, world.truth), 1),
        "coverage": round(float((found > 0)[known].mean()), 3),
    }


def _cost(start: float, truth: Map) -> Row:
    """CPU milliseconds per 96 x 96 pixels since `start`."""
    return {"ms_per_sample": round((time.process_time() - start) * 1000 / (truth.size / 96**2), 1)}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.labels", description=__doc__)
    parser.add_argument("--json", action="store_true", help="one object per row, last a summary")
    parser.add_argument("--quick", action="store_true", help="two worlds, under three minutes")
    parser.add_argument("--world", type=Path, action="append", help=".npz of another world: docs/labels.md; repeatable")
    parser.add_argument("--seed", type=int, default=1, help="of the worlds that are made here")
    parser.add_argument("--unet", action="store_true", help="also train small U-Nets: some minutes more")
    asked = parser.parse_args()
    try:
        brought = [read(path) for path in asked.world or ()]
    except ValueError as error:
        raise SystemExit(str(error)) from None
    names = () if brought else QUICK if asked.quick else tuple(PROCESSES)
    rows: list[Row] = []
    failed: dict[str, str] = {}
    for world in (*brought, *(make(name, asked.seed) for name in names)):
        for row in _rows(world, failed):
            rows.append(row)
            print_row(row, as_json=asked.json)
    if asked.unet:
        from benchmarks.labels_unet import prove

        for row in prove(asked.seed, brought[0] if brought else None):
            rows.append(row)
            print_row(row, as_json=asked.json)
    not_run = [f"{name}: {why}" for name, why in failed.items()]
    print_goals({**goals(rows, failed), "not_run": not_run}, as_json=asked.json)


def _rows(world: World, failed: dict[str, str]) -> Iterator[Row]:
    try:
        yield from measure(world)
    except ValueError as error:
        raise SystemExit(f"{world.name}: {error}") from None
    yield from peers(world, failed)


if __name__ == "__main__":
    main()
