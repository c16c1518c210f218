"""Executes claims of captions and answers of questions again, from the arrays and tables of the dataset alone."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from landweave.claims import Claim, Evidence, refuted
from landweave.errors import CorruptError, LandweaveError
from landweave.facts import Facts
from landweave.questions import refuted_question
from landweave.sample_facts import facts_from
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
    return facts_from(about.sample, about.size_m, source)
