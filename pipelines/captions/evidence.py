"""The claims of captions, as a dataset stores them: each with the arrays and tables that prove it."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

from landweave.claims import sources_of
from pipelines.captions.check import judge
from pipelines.captions.facts import ground_of

if TYPE_CHECKING:
    from schemas.caption import Caption, Facts
    from schemas.stack import Stack


def with_claims(stack: Stack, facts: Facts, vectors: str | None) -> list[Caption]:
    """The captions of a sample with their claims in JSON; texts that rest on no facts have none.

    Args:
        stack: what was obtained.
        facts: what the captions rest on.
        vectors: name of the label layer that has the map's objects; None: the recipe has no map.
    """
    where = evidence_of(stack, facts, vectors)
    return [c if not c.facts_sha256 else replace(c, claims=_claims(c.text, facts, where)) for c in stack.captions]


def _claims(text: str, facts: Facts, where: dict[str, str]) -> str:
    found = [{"source": sources_of(claim, where), **claim.record()} for claim in judge(text, facts).claims]
    return json.dumps(found, separators=(",", ":"), ensure_ascii=True)


def evidence_of(stack: Stack, facts: Facts, vectors: str | None) -> dict[str, str]:
    """What is said about -> the array or table of the dataset that shows it; see `landweave.claims.sources_of`."""
    found = {"place": "catalogue"}
    if facts.label is not None:
        found["cover"] = f"{facts.label}/classes"
    ground, image = ground_of(stack), stack.reference
    if ground is not None:
        found["ground"] = f"{ground.modality}/{ground.terrain}"
    if image is not None:
        found["image"] = f"{image.modality}/datetimes/{image.slot}"
    if stack.vectors is not None and vectors is not None:
        found["map"] = f"{vectors}/vectors"
    return found
