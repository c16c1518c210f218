"""The ledger: expected and obtained observations, one row per sample x layer x slot."""

from __future__ import annotations

import contextlib
from collections import Counter
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq

from landweave.layout import MANIFEST, part, shard_manifest
from pipelines.shards.publish import DamagedError
from schemas.outcome import Reason

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from landweave.layout import DatasetSpec
    from schemas.outcome import Outcome
    from schemas.stack import Stack


class IncompleteError(RuntimeError):
    """A part of the dataset is missing, so it cannot be finished; the message names the part."""


SCHEMA = pa.schema(
    [
        ("sample_id", pa.string()),
        ("layer", pa.string()),
        ("slot", pa.int32()),
        ("reason", pa.string()),
        ("provider", pa.string()),
        ("item_ids", pa.list_(pa.string())),
        ("detail", pa.string()),
        ("shard", pa.int32()),
        ("row", pa.int32()),
    ]
)
"""Columns of the ledger: schemas.outcome.Outcome, and where the sample is (or would be)."""


def refused(stack: Stack) -> bool:
    """Whether a quality rule keeps the sample out of the catalogue: it has an outcome SAMPLE_REFUSED."""
    return any(o.reason is Reason.SAMPLE_REFUSED for o in stack.outcomes)


def rows(stack: Stack, shard: int, row: int) -> list[dict[str, object]]:
    """The ledger rows of one sample, by layer and slot."""
    ordered = sorted(stack.outcomes, key=lambda o: (o.layer, o.slot, o.reason.value))
    return [
        {
            "sample_id": o.sample_id,
            "layer": o.layer,
            "slot": o.slot,
            "reason": o.reason.value,
            "provider": o.provider,
            "item_ids": list(o.item_ids),
            "detail": o.detail,
            "shard": shard,
            "row": row,
        }
        for o in ordered
    ]


def table_of_failed(shard: int, outcomes: Sequence[Outcome]) -> pa.Table:
    """The ledger rows of a shard that could not be built: one per sample, in row order."""
    rows = [
        {**asdict(o), "reason": o.reason.value, "item_ids": list(o.item_ids), "shard": shard, "row": row}
        for row, o in enumerate(outcomes)
    ]
    return pa.Table.from_pylist(rows, SCHEMA)


def check(stack: Stack, dataset: DatasetSpec) -> None:
    """Check the outcomes against the stack: one row per expected observation, OK where it was obtained.

    Raises:
        ValueError: a row is missing, doubled, or contradicts the stack: a mistake of the factory.
    """
    sample = stack.place.sample_id
    outcomes: dict[tuple[str, int], Outcome] = {}
    for outcome in stack.outcomes:
        key = (outcome.layer, outcome.slot)
        if outcome.sample_id != sample or key in outcomes:
            raise ValueError(f"sample {sample}: outcome {key} occurs twice or belongs to sample {outcome.sample_id}")
        outcomes[key] = outcome
    for group in dataset.groups:
        for slot in range(group.slot_count):
            there = (group.name, slot) in stack.observations if group.kind == "modality" else group.name in stack.labels
            row = outcomes.get((group.name, slot))
            if row is None or (row.reason is Reason.OK) != there:
                said = "no outcome" if row is None else f"outcome {row.reason.value!r}"
                raise ValueError(
                    f"sample {sample}: {group.name} slot {slot} is {'there' if there else 'absent'} with {said}"
                )


def ledger_of(out: Path, shard: int, *more: str) -> list[dict[str, Any]]:
    """'layer', 'reason' and 'provider' of every ledger row of a published shard, and `more` of its columns.

    Raises:
        IncompleteError, DamagedError: see `whole_part`.
    """
    columns = ["layer", "reason", "provider", *more]
    rows: list[dict[str, Any]] = read_part(out, "ledger", shard, columns).to_pylist()
    return rows


def read_part(
    out: Path, kind: Literal["items", "ledger", "statistics"], shard: int, columns: list[str] | None = None
) -> pa.Table:
    """A published shard's part of a table.

    Raises:
        IncompleteError, DamagedError: see `whole_part`.
    """
    with whole_part(out, kind, shard):
        return pq.read_table(out / part(kind, shard), columns=columns, partitioning=None)


def in_form(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """A part of a table in the form of the whole: a column that the shard's version did not have yet is empty."""
    absent = [field for field in schema if field.nullable and field.name not in table.column_names]
    for field in absent:
        table = table.append_column(field, pa.nulls(len(table), field.type))
    return (table.select(schema.names) if absent else table).cast(schema)


def why_absent(rows: Iterable[dict[str, Any]]) -> dict[str, str]:
    """Layer -> 'not_found 34 (earth-search: HTTP 404 from https://...)', for layers that no row has obtained.

    Args:
        rows: of `ledger_of` with 'detail'; for each reason the message is that of its first row.
    """
    counts: dict[str, Counter[str]] = {}
    words: dict[tuple[str, str], str] = {}
    for row in rows:
        layer, reason = row["layer"], row["reason"]
        counts.setdefault(layer, Counter())[reason] += 1
        words.setdefault((layer, reason), ": ".join(w for w in (row["provider"], row["detail"]) if w))
    return {
        layer: ", ".join(f"{reason} {n:,} ({words[layer, reason]})" for reason, n in reasons.most_common())
        for layer, reasons in counts.items()
        if not reasons[Reason.OK]
    }


@contextlib.contextmanager
def whole_part(out: Path, kind: Literal["items", "ledger", "statistics"], shard: int) -> Iterator[None]:
    """Turns errors of reading a published shard's table into one line.

    Raises:
        IncompleteError: it is not there.
        DamagedError: it is damaged.
    """
    path = part(kind, shard)
    try:
        yield
    except FileNotFoundError:
        raise IncompleteError(
            f"{out.name}/{path} is missing, but shard {shard} is published: the dataset is incomplete; copy all of it "
            "again, or build into another folder"
        ) from None
    except (OSError, pa.ArrowException, KeyError) as error:
        raise DamagedError(
            f"{out.name}/{path} is damaged ({type(error).__name__}); to build that shard again, remove "
            f"{shard_manifest(shard)} and {MANIFEST} and run the build again"
        ) from None
