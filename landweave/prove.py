"""Executes claims of captions and answers of questions again, from the arrays and tables of the dataset alone."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from landweave.claims import Claim, Evidence, refuted
from landweave.errors import CorruptError, LandweaveError
from landweave.facts import (
    COMMON,
    Facts,
    objects_of,
    place_words,
    region_shares,
    relief,
    road_length_of,
    season_of,
    shares_of,
    terrain_of,
)
from landweave.questions import refuted_question
from landweave.scenes import scene_of
from landweave.strict import parse

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from landweave.dataset import Dataset
    from landweave.sample import Sample
    from landweave.selection import Selection


@dataclass
class Proof:
    """What was executed."""

    captions: int = 0
    """Captions with claims."""
    questions: int = 0
    """Questions whose answers were made again."""
    tasks: Counter[str] = field(default_factory=Counter)
    """Task -> questions."""
    unclaimed: int = 0
    """Captions that were stored without claims: texts of a file, and those of older datasets."""
    claims: Counter[str] = field(default_factory=Counter)
    """Predicate -> claims that were executed."""
    false: int = 0
    """Claims and answers that the data do not bear."""


@dataclass(frozen=True)
class _Sample:
    sample: Sample
    size_m: float
    """Edge of the footprint, metres."""


def prove(
    dataset: Dataset,
    selection: Selection | None = None,
    proof: Proof | None = None,
    progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> Iterator[str]:
    """Yield one line per false claim or answer; nothing where all are true.

    Args:
        dataset: which.
        selection: samples; None = all.
        proof: is filled with counts while the lines are taken.
        progress: is called with (samples done, samples) after each.

    A claim that the data cannot decide, because an array is absent, counts as false. Nothing that the builder
    computed is used: neither the stored facts nor the columns of class shares.
    """
    proof = Proof() if proof is None else proof
    positions = dataset.selected(selection).positions
    for done, position in enumerate(positions.tolist(), 1):
        sample = dataset.sample(position)
        yield from _sample(sample, dataset.spec.size_m, proof)
        yield from _questions(sample, proof)
        progress(done, len(positions))


def _questions(sample: Sample, proof: Proof) -> Iterator[str]:
    asked = sample.questions
    scene = scene_of(sample)
    for number, question in enumerate(asked, 1):
        proof.questions += 1
        proof.tasks[question.task] += 1
        why = refuted_question(question, scene)
        if why is not None:
            proof.false += 1
            yield f"{sample.id} question {number}, {question.task}: {why}"


def _sample(sample: Sample, size_m: float, proof: Proof) -> Iterator[str]:
    known: dict[str, dict[str, Any]] = {}
    about = _Sample(sample, size_m)
    for number, caption in enumerate(sample.captions, 1):
        if not caption.claims:
            proof.unclaimed += 1
            continue
        proof.captions += 1
        for sources, claim in _stored(caption.claims, f"sample {sample.id}, caption {number}"):
            proof.claims[claim.predicate] += 1
            why = _executed(about, sources, claim, known)
            if why is not None:
                proof.false += 1
                yield f"{sample.id} caption {number}, {claim.predicate}: {why}"


def _stored(claims: str, what: str) -> Iterator[tuple[tuple[str, ...], Claim]]:
    listed = parse(claims.encode(), f"claims of {what}")
    if not isinstance(listed, list):
        raise CorruptError(f"claims of {what}: expected a list")
    for entry in listed:
        sources = entry.get("source", []) if isinstance(entry, dict) else None
        if not isinstance(sources, list) or not all(isinstance(s, str) for s in sources):
            raise CorruptError(f"claims of {what}: expected objects with a list 'source'")
        try:
            yield tuple(sources), Claim.from_record(entry)
        except ValueError as error:
            raise CorruptError(f"claims of {what}: {error}") from None


def _executed(about: _Sample, sources: tuple[str, ...], claim: Claim, known: dict[str, dict[str, Any]]) -> str | None:
    """Why a claim is false; None if it is true."""
    if not sources:
        return f"{claim.words!r}: it names no array or table that shows it"
    said: dict[str, Any] = {}
    for source in sources:
        if source not in known:
            try:
                known[source] = _facts_from(about, source)
            except LandweaveError as error:
                return f"{claim.words!r}: {source} cannot be read: {error}"
        said |= known[source]
    return refuted(claim, Evidence(Facts(**said)))


def _facts_from(about: _Sample, source: str) -> dict[str, Any]:
    """Fields of `Facts` that one array or table gives."""
    sample = about.sample
    group, _, rest = source.partition("/")
    if source == "catalogue":
        return {"place": place_words(sample.lonlat[1]), "size_m": round(about.size_m)}
    if rest == "vectors":
        return _map(sample, group)
    if rest.startswith("datetimes/"):
        return _time(sample, group, rest.partition("/")[2])
    if rest == "classes":
        common = _common(sample, group)
        return {"overall": shares_of(common), "regions": region_shares(common)}
    return _ground(about, source)


def _common(sample: Sample, label: str) -> Any:
    """(y, x) codes of `COMMON`."""
    codes = np.asarray(sample[f"{label}/classes"])
    found = np.zeros(codes.shape, np.uint8)
    for kind in sample.legend(label):
        found[codes == kind.code] = COMMON.index(kind.common) if kind.common in COMMON else 0
    return found


def _map(sample: Sample, label: str) -> dict[str, Any]:
    rows = sample.vectors(label).select(["osm_id", "kind", "tags", "length_m"]).to_pylist()
    tags = [dict(row["tags"] or ()) for row in rows]
    lines = [(t, row["length_m"] or 0.0) for t, row in zip(tags, rows, strict=True) if row["kind"] == "line"]
    objects = objects_of((row["osm_id"], t) for t, row in zip(tags, rows, strict=True))
    return {"objects": objects, "road_length_m": road_length_of(lines)}


def _time(sample: Sample, modality: str, slot: str) -> dict[str, Any]:
    times = sample.datetimes(modality)
    when = times[int(slot)] if slot.isdecimal() and int(slot) < len(times) else None
    if when is None:
        raise CorruptError(f"sample {sample.id} has no image {modality} in slot {slot}")
    return {"month": when.month, "year": when.year, "season": season_of(when.month, sample.lonlat[1])}


def _ground(about: _Sample, source: str) -> dict[str, Any]:
    sample = about.sample
    elevation = np.asarray(sample[source], np.float64)
    elevation = elevation.reshape(elevation.shape[-2:])
    valid = sample.get(f"{source.partition('/')[0]}/valid")
    if valid is not None and np.shape(valid) == elevation.shape:
        elevation = np.where(valid, elevation, np.nan)
    low, high, slope = terrain_of(elevation, about.size_m / elevation.shape[1])
    word = None if low is None or high is None or slope is None else relief(high - low, slope)
    return {"elevation_min_m": low, "elevation_max_m": high, "slope_mean_deg": slope, "relief": word}
