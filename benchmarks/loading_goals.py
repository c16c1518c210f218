"""Compares a run of `benchmarks.loading` with the goals: met, missed, or unjudged, and why."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    Row = dict[str, Any]

OURS, LIMIT, UNCHECKED, CEILING = "landweave", "decode in C", "unchecked, in C", "memmap raw"
_NO_PEERS = (OURS, LIMIT, UNCHECKED)
_HTTP = {link: tuple(f"http {job} {link}" for job in ("batch", "stream")) for link in ("500 MB/s", "125 MB/s")}
_STREAMS = tuple(f"stream {n} workers" for n in (0, 1, 2))
_SPEED = 0.5
"""A peer that reaches this share of our speed is one 'at that speed'."""


def goals(rows: Sequence[Row], failed: Mapping[str, str]) -> dict[str, list[str]]:
    """'met', 'missed' and 'unjudged', a line each."""
    judged: dict[str, list[str]] = {"met": [], "missed": [], "unjudged": []}
    for what, found, least in _found(rows):
        if found is None:
            why = "; ".join(f"{name}: {reason}" for name, reason in failed.items()) or "no such row in this run"
            judged["unjudged"].append(f"{what}: {why[:300]}")
        else:
            line = f"{what}: {found:.2f} (goal: at least {least:g})"
            judged["met" if found >= least else "missed"].append(line)
    return judged


def _found(rows: Sequence[Row]) -> Iterator[tuple[str, float | None, float]]:
    """(what, how many times, at least)"""
    batch = _rates(rows, ("batch",))
    name, best = _best(batch)
    yield f"batches of 32 against the best peer ({name})", _ratio(batch.get(OURS), best), 2.0
    packed = {r["loader"] for r in rows if r["compressed"]}
    name, best = _best({k: v for k, v in batch.items() if k in packed})
    yield f"batches of 32 against the best compressed peer ({name})", _ratio(batch.get(OURS), best), 2.0
    yield "batches of 32 against zarr-python", _ratio(batch.get(OURS), batch.get("zarr-python")), 10.0
    yield "batches of 32 against decoding in C on all cores", _ratio(batch.get(OURS), batch.get(LIMIT)), 0.85
    what = "batches of 32 against decoding in C without looking at check sums"
    yield what, _ratio(batch.get(OURS), batch.get(UNCHECKED)), 0.85
    stream = _rates(rows, _STREAMS)
    name, best = _best({k: v for k, v in stream.items() if k in packed})
    yield f"shuffled stream against the best compressed peer ({name})", _ratio(stream.get(OURS), best), 1.5
    name, best = _best({k: v for k, v in stream.items() if k not in packed})
    yield f"shuffled stream against the best uncompressed peer ({name})", _ratio(stream.get(OURS), best), 1.0
    one = _rates(rows, ("one",))
    name, best = _best({k: v for k, v in one.items() if k in packed})
    yield f"single random sample against the best compressed peer ({name})", _ratio(one.get(OURS), best), 1.5
    for link, tasks in _HTTP.items():
        http = _rates(rows, tasks)
        name, best = _best(http)
        yield f"over HTTP, on a link of {link}, against the best peer ({name})", _ratio(http.get(OURS), best), 2.0
    ours = [r for r in rows if r["loader"] == OURS and r["task"] in _HTTP["125 MB/s"]]
    used = max((r["link_used"] for r in ours), default=None)
    yield "over HTTP, on a link of 125 MB/s: share of it that is used", used, 0.9
    yield _disk(rows, batch, stream)


def _disk(rows: Sequence[Row], *speeds: dict[str, float]) -> tuple[str, float | None, float]:
    size = {r["loader"]: r["disk_mb"] for r in rows}
    fast = {n for s in speeds for n, v in s.items() if n not in _NO_PEERS and v >= _SPEED * s.get(OURS, 1e9)}
    least = min((size[n] for n in fast), default=None)
    who = ", ".join(sorted(fast)) or "no peer is half as fast"
    if least is None and len(size) > 2:
        return f"bytes of the smallest peer at half our speed or more, to ours ({who})", 1.0, 1.0
    return f"bytes of the smallest peer at half our speed or more, to ours ({who})", _ratio(least, size.get(OURS)), 1.0


def _rates(rows: Sequence[Row], tasks: tuple[str, ...]) -> dict[str, float]:
    """Loader -> samples per second, in its best of these tasks."""
    found: dict[str, float] = {}
    for row in rows:
        if row["task"] in tasks:
            found[row["loader"]] = max(found.get(row["loader"], 0.0), row["samples_s"])
    return found


def _best(rates: Mapping[str, float]) -> tuple[str, float | None]:
    peers = {name: rate for name, rate in rates.items() if name not in (*_NO_PEERS, CEILING)}
    best = max(peers, key=lambda name: peers[name], default=None)
    return ("none ran", None) if best is None else (best, peers[best])


def _ratio(ours: float | None, theirs: float | None) -> float | None:
    return None if ours is None or not theirs else ours / theirs
