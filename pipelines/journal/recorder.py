"""Records the build of one shard in the journal and the log."""

from __future__ import annotations

import sys
import time
import traceback
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from pipelines.access.http.client import Counters
from pipelines.journal.spent import Spent
from schemas.outcome import Reason

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from pipelines.journal.run import Journal
    from schemas.stack import Stack

Meters = tuple["Mapping[str, Counters]", float, int]
"""Resources that a process has used so far: requests by provider, EECU-seconds, tokens."""

CHECKOUT = Path(__file__).resolve().parents[2]
"""Root of the checkout."""

NOTED = frozenset({Reason.UNAVAILABLE, Reason.DENIED, Reason.CORRUPT, Reason.WRONG_GRID, Reason.BAD_ITEM})
"""Reasons that the user can act on: one log line each. Clouds and gaps in archives are in the ledger."""


def _told(error: BaseException) -> str:
    """A traceback without the places where this machine keeps things."""
    text = "".join(traceback.format_exception(error))
    for place in sorted((str(CHECKOUT), sys.prefix, sys.base_prefix, str(Path.home())), key=len, reverse=True):
        text = text.replace(f"{place}/", "")
    return text


EVERY_S = 1.0
"""Interval at which a running shard records its progress."""


class Note:
    """A context around one shard: entering asks the limits, leaving writes the record.

    Raises (on entering):
        LimitReached: see `Journal.start`.
    """

    def __init__(self, journal: Journal | None, log: Any, shard: int, meters: Callable[[], Meters]) -> None:
        """`journal` None: nobody keeps one; `meters` is read before and after."""
        self.samples = 0
        """Samples that came into the catalogue."""
        self.spent = Spent()
        """Cost of the shard, known at its end."""
        self._journal, self._meters = journal, meters
        self._shard = shard
        self._log = log.bind(shard=shard)
        self._outcomes: dict[str, Counter[str]] = {}

    def __enter__(self) -> Self:
        if self._journal is not None:
            self._record = self._journal.start(self._shard)
            self._log.info("shard begun")
        self._before = self._meters()
        self._began_s = self._advanced_s = time.monotonic()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        self.spent = self._difference()
        if self._journal is None:
            return
        outcomes = {name: dict(sorted(reasons.items())) for name, reasons in sorted(self._outcomes.items())}
        record = replace(self._record, spent=self.spent, samples=self.samples, outcomes=outcomes)
        if error is None:
            self._journal.end(replace(record, state="built"))
            self._log.info("shard built", samples=self.samples, **self.spent.json())
        else:
            self._journal.end(replace(record, state="failed", error=type(error).__name__))
            self._log.error("shard failed", error=_told(error), **self.spent.json())

    def reading(self, samples: float) -> None:
        """Report the number of samples read so far, or their equivalent."""
        now_s = time.monotonic()
        if self._journal is not None and now_s - self._advanced_s >= EVERY_S:
            self._advanced_s = now_s
            self._journal.advance(replace(self._record, samples=int(samples)))

    def passing(self, stacks: Iterator[Stack]) -> Iterator[Stack]:
        """The same stacks; their outcomes are counted on the way."""
        for stack in stacks:
            for outcome in stack.outcomes:
                self._outcomes.setdefault(outcome.layer, Counter())[outcome.reason.value] += 1
                if outcome.reason in NOTED:
                    self._log.warning(
                        "absent",
                        sample=outcome.sample_id,
                        layer=outcome.layer,
                        slot=outcome.slot,
                        reason=outcome.reason.value,
                        provider=outcome.provider,
                        detail=outcome.detail,
                    )
            yield stack

    def _difference(self) -> Spent:
        counters, eecu_s, tokens = self._meters()
        before = self._before
        return Spent.of(
            {name: now - before[0].get(name, Counters()) for name, now in counters.items()},
            eecu_s=eecu_s - before[1],
            tokens=tokens - before[2],
            seconds=round(time.monotonic() - self._began_s, 3),
        )
