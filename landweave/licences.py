"""Licences of a dataset's layers, and whether the licence of the dataset contradicts them. Advice, not law."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

PUBLIC = ("cc0", "pddl", "unlicense", "0bsd")
"""Licences that ask for nothing, not even for attribution: beginnings of their SPDX ids, in lower case."""
UNSTATED = ("proprietary", "other", "unknown")
"""Value for terms without a known licence id."""


def conflicts(stated: str, layers: Mapping[str, str]) -> list[str]:
    """One line for each kind of layer whose licence forbids what the dataset's licence allows.

    A dataset that states none ('proprietary', the default) contradicts nothing.

    Args:
        stated: SPDX id of the dataset as a whole.
        layers: layer -> SPDX id.
    """
    if stated.lower() in UNSTATED:
        return []
    by_licence: dict[str, list[str]] = {}
    for layer, licence in layers.items():
        by_licence.setdefault(licence, []).append(layer)
    lines = []
    for licence, names in sorted(by_licence.items()):
        why = _why(stated.lower(), licence.lower(), several=len(names) > 1)
        if why:
            lines.append(f"licence: {stated} is stated for the dataset, but {', '.join(names)} ({licence}) {why}")
    return lines


def _why(stated: str, licence: str, *, several: bool) -> str:
    """Why the dataset's licence `stated` contradicts that of one input, or several; '' = no known contradiction."""
    if stated == licence or licence.startswith(PUBLIC):
        return ""
    have, their, require, them = ("have", "their", "require", "them") if several else ("has", "its", "requires", "it")
    reasons = (
        (
            licence in UNSTATED,
            f"{have} {their} own terms, which grant less: read {their} attribution, and state it too",
        ),
        ("-nc" in licence and "-nc" not in stated, "may not be used commercially, which this licence allows"),
        ("-nd" in licence, "may not be shared with changes"),
        (licence.startswith("odbl"), f"{require} ODbL-1.0 for a database made of {them}"),
        ("-sa" in licence, f"{require} {licence.upper()} for works made of {them}"),
        (stated.startswith(PUBLIC), f"{require} attribution, but this licence does not"),
    )
    return next((words for holds, words in reasons if holds), "")
