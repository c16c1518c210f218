"""Compares a run of `benchmarks.labels` with the goals: met, missed or unjudged, one line each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    Row = dict[str, Any]
    Found = tuple[str, float | None, float, bool]

OTHERS = "Snorkel's and crowd-kit's models"


def goals(rows: Sequence[Row], failed: Mapping[str, str]) -> dict[str, list[str]]:
    """'met', 'missed' and 'unjudged'."""
    judged: dict[str, list[str]] = {"met": [], "missed": [], "unjudged": []}
    for what, found, bound, least in _found(rows):
        if found is None:
            why = "; ".join(f"{name}: {reason}" for name, reason in failed.items()) or "no such row in this run"
            judged["unjudged"].append(f"{what}: {why}"[:300])
            continue
        line = f"{what}: {found:.4g} (goal: {'at least' if least else 'at most'} {bound:g})"
        met = found >= bound if least else found <= bound
        judged["met" if met else "missed"].append(line)
    return judged


def _found(rows: Sequence[Row]) -> Iterator[Found]:
    worlds = list(dict.fromkeys(r["world"] for r in rows if r["kind"] not in {"proof", "beside"}))
    for world in worlds:
        yield from _world([r for r in rows if r["world"] == world])
    yield "worlds judged", float(len(worlds)) if len(worlds) >= 4 else None, 4, True
    proof = next((r for r in rows if r["kind"] == "proof"), None)
    what = "U-Net on fused labels over the best single product, mIoU"
    yield what, None if proof is None else proof["gain"], 2, True
    yield f"{what}, lower end of the 95 % interval", None if proof is None else proof["low"], 0, True


def _world(rows: list[Row]) -> Iterator[Found]:
    name, ours = rows[0]["world"], next(r for r in rows if r["method"] == "ours")
    best = next(r for r in rows if r.get("best"))
    yield f"{name}: mIoU over the best single product ({best['method']})", ours["miou"] - best["miou"], 5, True
    yield f"{name}: ECE after {ours['points']} points, worst draw", ours["ece_worst"], 0.03, False
    yield f"{name}: AUROC of the wrong pixels of {best['method']}", ours["auroc"], 0.85, True
    yield f"{name}: AUROC of the fused map's own wrong pixels, no points", ours["auroc_fused"], 0.85, True
    yield f"{name}: the same after {ours['points']} points", ours["auroc_fused_calibrated"], 0.85, True
    yield f"{name}: CPU milliseconds per sample, learning and labelling", ours["ms_per_sample"], 100, False
    least = -1.0 if rows[0]["independent"] else 0.0
    for row in rows:
        if row["kind"] == "peer":
            yield f"{name}: mIoU over {row['method']}", ours["miou"] - row["miou"], least, True
    if not any(r["method"].startswith(("Snorkel", "crowd-kit")) for r in rows):
        yield f"{name}: mIoU over {OTHERS}", None, least, True
