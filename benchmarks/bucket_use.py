"""One task of `benchmarks.bucket`, in a process that imports nothing but the reader; prints what it took as JSON."""

from __future__ import annotations

import json
import resource
import sys
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

import landweave
from landweave.order import EpochRandom

if TYPE_CHECKING:
    from collections.abc import Callable

BATCH = 32


def first(data: landweave.Dataset, asked: dict[str, Any]) -> dict[str, Any]:
    """The first batch of a shuffled stream, after `open`."""
    begun = time.perf_counter()
    batch = next(iter(data.stream(batch_size=BATCH, shuffle=True, seed=asked["number"])))
    return {"first_s": time.perf_counter() - begun, "samples": len(batch["id"])}


def random(data: landweave.Dataset, asked: dict[str, Any]) -> dict[str, Any]:
    """Random batches of a few shards whose indexes and ids are known, each asked for when the one before is there."""
    read = data._reading(asked.get("arrays"), {"bands": asked["bands"]} if asked.get("bands") else {})
    rng = np.random.default_rng(5)
    inside = np.concatenate([data.catalogue.inside(shard) for shard in data.catalogue.shards[: asked["shards"]]])
    for shard in data.catalogue.shards[: asked["shards"]]:
        read(data.catalogue.inside(shard)[:1], EpochRandom())
    data.catalogue.columns(["id"], inside)
    asker: Any = data.store.asker  # type: ignore[attr-defined]
    before = asker.again + asker.given_up
    print(json.dumps({"ready": True}), flush=True)
    sys.stdin.readline()
    seconds, busy = [], time.process_time()
    for _ in range(asked["batches"]):
        begun = time.perf_counter()
        read(rng.choice(inside, BATCH, replace=False), EpochRandom())
        seconds.append(time.perf_counter() - begun)
    busy = time.process_time() - busy
    again = asker.again + asker.given_up - before
    return {"seconds": seconds, "samples": BATCH * asked["batches"], "cpu_s": busy, "again": again}


def stream(data: landweave.Dataset, asked: dict[str, Any]) -> dict[str, Any]:
    """A shuffled stream, or its first batches; `epochs` of it."""
    epochs = []
    for _ in range(asked.get("epochs", 1)):
        waits, samples, busy, begun = [], 0, time.process_time(), time.perf_counter()
        mark = begun
        for number, batch in enumerate(data.stream(batch_size=BATCH, shuffle=True, seed=7)):
            samples += len(batch["id"])
            now = time.perf_counter()
            waits.append(now - mark)
            mark = now
            if number + 1 == asked.get("batches"):
                break
        wall_s = time.perf_counter() - begun
        epochs.append({"wall_s": wall_s, "samples": samples, "cpu_s": time.process_time() - busy, "seconds": waits})
    return {**epochs[-1], "epochs": epochs}


def without_packs(data: landweave.Dataset) -> landweave.Dataset:
    """The same dataset for a reader that does not know that small arrays also lie side by side."""
    spec = replace(data.spec, packed=())
    return type(data)(data.store, replace(data.manifest, spec=spec))


TASKS: dict[str, Callable[[landweave.Dataset, dict[str, Any]], dict[str, Any]]] = {
    "first": first, "random": random, "stream": stream,
}  # fmt: skip


def main() -> None:
    asked = json.loads(sys.argv[1])
    begun = time.perf_counter()
    data = landweave.open(asked["place"], **asked.get("open", {}))
    if asked.get("alone"):
        data = without_packs(data)
    opened_s = time.perf_counter() - begun
    found = TASKS[asked["task"]](data, asked)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps({"opened_s": opened_s, "peak_mb": peak / 1e6, **found}), flush=True)


if __name__ == "__main__":
    main()
