"""Captions that a file gives: texts of others, copied with their source and never judged by their content."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from schemas.caption import Caption
from schemas.outcome import Outcome, Reason

if TYPE_CHECKING:
    from collections.abc import Sequence

    from schemas.stack import Stack
    from schemas.texts import GivenCaptions

CHECKS = ("length", "characters")
"""What a text was checked for before the plan was made."""


@dataclass(frozen=True)
class GivenCaptioner:
    """Copies texts of a file."""

    config: GivenCaptions
    """The recipe's entry."""

    @property
    def tokens_spent(self) -> int:
        """None: no model is asked."""
        return 0

    def caption_all(self, stacks: Sequence[Stack]) -> list[list[Caption] | Outcome]:
        """`caption` of several samples."""
        return [self.caption(stack) for stack in stacks]

    def caption(self, stack: Stack) -> list[Caption] | Outcome:
        """The sample's texts, or the outcome `caption_refused` if the file has none for it."""
        if not stack.texts:
            detail = f"there is no text for this sample ({self.config.source})"
            sample_id = stack.place.sample_id
            return Outcome(sample_id=sample_id, layer="captions", slot=0, reason=Reason.CAPTION_REFUSED, detail=detail)
        return [
            Caption(
                text=text,
                captioner=self.config.kind,
                model=None,
                prompt_version=self.config.source,
                facts_sha256="",
                checks=CHECKS,
                attempts=0,
                fallback=False,
                tokens=0,
            )
            for text in stack.texts
        ]
