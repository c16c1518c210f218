"""The claims of captions, as a dataset stores them: each with the arrays and tables that prove it."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

from landweave.claims import sources_of
from pipelines.captions.check import judge
from pipelines.captions.facts import MAP, ground_of

if TYPE_CHECKING:
    from schemas.caption import Caption, Facts
    from schemas.stack import Stack


def with_claims(stack: Stack, facts: Facts) -> list[Caption]:
    """The captions of a sample with their claims in JSON; texts that rest on no facts have none."""
    where = evidence_of(stack, facts)
    return [c if not c.facts_sha256 else replace(c, claims=claims_of(c.text, facts, where)) for c in stack.captions]


def claims_of(text: str, facts: Facts, where: dict[str, str]) -> str:
    """JSON list of the claims of a text.

    Args:
        text: an accepted text.
        facts: that it was checked against.
        where: what is said about -> the array or table that shows it.
    """
    found = [{"source": sources_of(claim, where), **claim.record()} for claim in judge(text, facts).claims]
    return json.dumps(found, separators=(",", ":"), ensure_ascii=True)


def evidence_of(stack: Stack, facts: Facts) -> dict[str, str]:
    """What is said about -> the array or table of the dataset that shows it; see `landweave.claims.sources_of`."""
    found = {"place": "catalogue"}
    if facts.label is not None:
        found["cover"] = f"{facts.label}/classes"
    ground, image = ground_of(stack), stack.reference
    if ground is not None:
        found["ground"] = f"{ground.modality}/{ground.terrain}"
    if image is not None:
        found["image"] = f"{image.modality}/datetimes/{image.slot}"
    if MAP in stack.vectors:
        found["map"] = f"{MAP}/vectors"
    return found
