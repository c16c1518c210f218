"""The journal of a run: one small JSON file per shard, written by the worker that builds it."""

from __future__ import annotations

import contextlib
import json
import math
import os
import re
import secrets
import socket
from collections.abc import Mapping  # noqa: TC003 - pydantic needs it at run time
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal, Self

from pydantic import TypeAdapter

from landweave.layout import shard_name
from pipelines.durable import make_folder, read_regular, write_durably
from pipelines.journal.prices import Prices
from pipelines.journal.spent import Limits, Spent, total

if TYPE_CHECKING:
    from collections.abc import Container, Iterable
    from pathlib import Path

RUNS = "runs"
"""Folder of all journals, inside the work folder of a dataset."""
CURRENT = "run.json"
"""Says to workers which run they belong to."""

State = Literal["building", "built", "failed"]


class JournalError(RuntimeError):
    """The journal of the run that is under way cannot be read; the text says what to do."""


class LimitReached(RuntimeError):  # noqa: N818 - not a fault: the user asked for it
    """Building one more shard could spend more than the user allowed; the text names the limit."""


@dataclass(frozen=True, kw_only=True)
class Record:
    """Outcome of one shard in one run."""

    run: str
    """The run's id."""
    shard: int
    """Its number."""
    state: State
    """'building' stays behind where a worker died."""
    worker: str
    """host/pid."""
    began: str
    """UTC, by the worker's clock."""
    spent: Spent = field(default_factory=Spent)
    """Its cost; while building: the reserved cost."""
    samples: int = 0
    """Samples that came into the catalogue; while building: those that are read so far, about."""
    outcomes: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    """Layer -> reason -> how many."""
    error: str | None = None
    """Last line of what went wrong; the whole is in the log."""


_NAME = re.compile(r"\d{5,9}\.json")
_RECORD = TypeAdapter(Record)


@dataclass(frozen=True, kw_only=True)
class Journal:
    """One run's journal, as the command or a worker holds it."""

    folder: Path
    """Of this run."""
    run: str
    """Its id: lower-case letters, digits and hyphens, sortable by time."""
    began: str
    """UTC."""
    limits: Limits
    """Its spending limits."""
    prices: Prices
    """Its prices."""
    expected: Spent
    """Planned cost of one shard."""
    shards: int
    """Shards it set out to build."""

    known: dict[int, Record] = field(default_factory=dict, repr=False, compare=False)
    """Records that will not change any more, so that each is read once."""

    @classmethod
    def begin(cls, work: Path, *, limits: Limits, prices: Prices, expected: Spent, shards: int) -> Self:
        """Open a journal for a new run and tell workers of it."""
        now = datetime.now(UTC)
        run = f"r{now:%Y%m%d-%H%M%S}-{secrets.token_hex(2)}"
        folder = work / RUNS / run
        make_folder(folder)
        fields: dict[str, Any] = {"run": run, "began": now.isoformat(timespec="seconds"), "shards": shards}
        stated = {**fields, "limits": asdict(limits), "prices": prices.model_dump(), "expected": expected.json()}
        write_durably(folder / CURRENT, _json(stated))
        write_durably(work / CURRENT, _json({"run": run}))
        return cls(folder=folder, limits=limits, prices=prices, expected=expected, **fields)

    def close(self) -> None:
        """The run is over: workers that start now belong to none."""
        (self.folder.parents[1] / CURRENT).unlink(missing_ok=True)

    @classmethod
    def join(cls, work: Path) -> Self | None:
        """The journal of the run that is under way; None if nobody began one.

        Raises:
            JournalError: one was begun and its journal cannot be read.
        """
        try:
            raw = read_regular(work / CURRENT)
        except FileNotFoundError:
            return None
        try:
            return cls.read(work / RUNS / json.loads(raw)["run"])
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise JournalError(
                f"{work.name}/{CURRENT} does not lead to a run's journal ({type(error).__name__}): without it "
                "landweave cannot keep a limit; start the build again"
            ) from None

    @classmethod
    def read(cls, folder: Path) -> Self:
        """A journal by its folder."""
        stated = json.loads(read_regular(folder / CURRENT))
        return cls(
            folder=folder,
            run=stated["run"],
            began=stated["began"],
            shards=stated["shards"],
            limits=Limits(**stated["limits"]),
            prices=Prices(**stated["prices"]),
            expected=Spent(**stated["expected"]),
        )

    def start(self, shard: int) -> Record:
        """Record that a shard is being built, if the limits allow it.

        The cost of the most expensive shard of this run so far (before the first: the planned cost) is reserved for it
        first, and then all is added up: workers that start together may both be refused, and never both be admitted
        to the last place.

        Raises:
            LimitReached: it could take the run beyond a limit.
        """
        known = self.records()
        ended = [r.spent for r in known if r.state != "building"]
        aside = max(ended, key=lambda s: (s.cost(self.prices), s.all_requests), default=self.expected)
        record = Record(
            run=self.run,
            shard=shard,
            state="building",
            worker=f"{socket.gethostname()}/{os.getpid()}",
            began=datetime.now(UTC).isoformat(timespec="seconds"),
            spent=aside if self.limits else Spent(),
        )
        self._write(record)
        if self.limits and (limit := self.limits.broken_by(total(r.spent for r in self.records()), self.prices)):
            self._path(shard).unlink()
            spent = total(ended)
            raise LimitReached(
                f"{limit}: {spent.all_requests:,} requests and {spent.cost(self.prices):.2f} {self.prices.currency} "
                "are spent, and one more shard could exceed the limit"
            )
        return record

    def advance(self, record: Record) -> None:
        """Put down how far a shard is that is being built."""
        self._write(record)

    def end(self, record: Record) -> None:
        """Put down what became of a shard."""
        self._write(record)

    def records(self) -> list[Record]:
        """All shards of this run that were begun."""
        others = list(_records(self.folder, self.known))
        self.known.update((r.shard, r) for r in others if r.state == "built")
        unsettled = (r for r in others if r.state != "built")
        return sorted([*self.known.values(), *unsettled], key=lambda r: r.shard)

    def _path(self, shard: int) -> Path:
        return self.folder / f"{shard_name(shard)}.json"

    def _write(self, record: Record) -> None:
        write_durably(self._path(record.shard), _json({**asdict(record), "spent": record.spent.json()}))


def records_of(work: Path) -> list[Record]:
    """The records of all runs, in the order of runs; what cannot be read is left out."""
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        return [r for folder in sorted((work / RUNS).iterdir()) for r in _records(folder)]
    return []


def _records(folder: Path, known: Container[int] = ()) -> Iterable[Record]:
    for path in sorted(folder.glob("*.json")):
        if not _NAME.fullmatch(path.name) or int(path.stem) in known:
            continue
        record = _record(path)
        if record is not None:
            yield record


def _record(path: Path) -> Record | None:
    """Record of one file; None if it was removed since it was listed, or is not a record of this shard."""
    try:
        record = _RECORD.validate_json(read_regular(path))
        began = datetime.fromisoformat(record.began)
    except (OSError, ValueError):
        return None
    numbers = (record.spent.seconds, record.spent.eecu_s)
    sound = record.shard == int(path.stem) and began.tzinfo is not None and all(map(math.isfinite, numbers))
    return record if sound else None


def _json(stated: dict[str, Any]) -> str:
    return json.dumps(stated, indent=1) + "\n"
