"""Interface of a captioner: takes one stack, returns checked captions or an outcome with a reason."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from schemas.caption import Caption
    from schemas.outcome import Outcome
    from schemas.stack import Stack


class Captioner(Protocol):
    """Speaks of one sample. Every caption has passed `pipelines.captions.check` against the sample's facts."""

    def caption(self, stack: Stack) -> list[Caption] | Outcome:
        """As many captions as the recipe asks, or why there are none (layer 'captions', slot 0).

        The facts are `stack.facts` where they are there, otherwise made from the stack's labels, vectors and images.
        """
        ...

    def caption_all(self, stacks: Sequence[Stack]) -> list[list[Caption] | Outcome]:
        """`caption` of several samples, in their order; a model is asked about several at once."""
        ...

    @property
    def tokens_spent(self) -> int:
        """Tokens that a model was asked to read and write since this captioner was opened; 0 where there is none."""
        ...
