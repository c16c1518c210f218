"""Predicts a run with more workers: a discrete-event simulation of shards, workers, providers and stragglers.

Each worker takes the next shard when it is free, as the engines do. A shard waits for its providers in turn (their
slots and rates are divided among the workers, as `pipelines.access.http.limits` divides them), then computes; some
shards are late. At the end one process writes the catalogue. Nothing is random that the seed does not fix.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pipelines.journal import Spent

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pipelines.journal import Prices

WORKERS = (1, 10, 100, 1000)
"""Numbers of workers that a plan speaks of."""
SPREAD = 0.33
"""Standard deviation of the logarithm of a shard's time per sample: measured on 8 small shards of the miniature Earth,
0.33 on a machine busy with other work."""
LATE_SHARE, LATE_TIMES = 0.01, 5.0
"""Assumed: one shard in a hundred takes five times as long (a slow host, a provider that answers by halves)."""
START_S = 20.0
"""A worker's first shard begins this long after the command: measured on Flink, 8 to 20 s (docs/cluster.md)."""
FINISH_S = 0.02
"""One process reads the catalogue parts of all shards at the end: on the quick start, 5 to 20 ms per shard."""
EFFICIENT = 0.7
"""Below this share of the ideal speed-up, the table says that more workers hardly help."""


@dataclass(frozen=True, kw_only=True)
class Provider:
    """Limits of an archive, and the load that one shard puts on it."""

    requests: float
    """Requests a shard, mean."""
    bytes: float
    """Bytes a shard, mean."""
    slots: int
    """Requests under way at once, over all workers."""
    latency_s: float
    """Time to the first byte of one request."""
    per_s: float | None = None
    """Requests started per second, over all workers; None = not limited."""


@dataclass(frozen=True, kw_only=True)
class Workload:
    """A run to be simulated."""

    shards: int
    cpu_s: float
    """CPU time of a shard, mean, on one core."""
    providers: Mapping[str, Provider]
    link_bytes_s: float
    """Speed of one worker's link."""
    spread: float = SPREAD
    """See SPREAD."""
    eecu_s: float = 0.0
    """Of the whole run."""
    tokens: int = 0
    """Of the whole run."""


@dataclass(frozen=True, kw_only=True)
class Outlook:
    """Predicted time and cost with this number of workers."""

    workers: int
    seconds: float
    """From the command to the finished catalogue."""
    speedup: float
    """Against one worker."""
    bound: str
    """The bottleneck: 'processor', 'link', a provider's name, 'last shards' or 'catalogue'."""
    cost: float
    """In the currency of the prices; workers are paid until the last one ends."""

    @property
    def efficiency(self) -> float:
        """1 = twice the workers, half the time."""
        return self.speedup / self.workers


def outlook(load: Workload, prices: Prices, workers: Sequence[int] = WORKERS, *, seed: int = 0) -> list[Outlook]:
    """Simulate a run with each number of workers."""
    alone = _simulate(load, 1, seed)[0]
    found = []
    for number in workers:
        seconds, bound = _simulate(load, number, seed)
        spent = Spent(
            requests={name: round(p.requests * load.shards) for name, p in load.providers.items()},
            bytes={name: round(p.bytes * load.shards) for name, p in load.providers.items()},
            eecu_s=load.eecu_s,
            tokens=load.tokens,
            seconds=seconds * number,
        )
        found.append(
            Outlook(workers=number, seconds=seconds, speedup=alone / seconds, bound=bound, cost=spent.cost(prices))
        )
    return found


def enough(found: Sequence[Outlook]) -> Outlook:
    """The largest number of workers that still pays (see EFFICIENT)."""
    return [f for f in found if f.efficiency >= EFFICIENT or f.workers == found[0].workers][-1]


def _simulate(load: Workload, workers: int, seed: int) -> tuple[float, str]:
    """(seconds to the end, name of the bottleneck)."""
    phases = _phases(load, min(workers, load.shards))
    mean = sum(phases.values())
    own = phases["processor"] + phases["link"]  # a late host is late with its own work, not with its turn at an archive
    times = mean - own + own * _lateness(load.shards, load.spread, seed)
    free = [START_S] * min(workers, load.shards)
    for time in times.tolist():
        heapq.heapreplace(free, free[0] + time)
    built, finish = max(free), FINISH_S * load.shards
    shared_out = START_S + float(times.sum()) / len(free)
    parts = {name: part / mean * (shared_out - START_S) for name, part in phases.items()}
    parts |= {"last shards": built - shared_out, "catalogue": finish, "start": START_S}
    return built + finish, max(parts, key=lambda name: parts[name])


def _phases(load: Workload, workers: int) -> dict[str, float]:
    """Mean time of one shard per resource, with this number of workers."""
    phases = {"processor": load.cpu_s, "link": sum(p.bytes for p in load.providers.values()) / load.link_bytes_s}
    for name, p in load.providers.items():
        waits_s = p.requests * p.latency_s * workers / max(p.slots, 1)
        rate_s = 0.0 if p.per_s is None else p.requests * workers / p.per_s
        phases[name] = max(waits_s, rate_s)
    return phases


def _lateness(shards: int, spread: float, seed: int) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Factor for each shard's time; 1 on average, apart from slow shards."""
    chance = np.random.default_rng(seed)
    factors = chance.lognormal(-(spread**2) / 2.0, spread, shards)
    late = chance.random(shards) < LATE_SHARE
    return np.where(late, factors * LATE_TIMES, factors)
