"""Joins the item columns of a second dataset to those of the first, row by row."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

if TYPE_CHECKING:
    from collections.abc import Sequence

    from landweave.layout import GroupSpec

_UNITED = ("licences", "attribution")
"""Lists of which both datasets' entries hold."""


def joined_schema(
    base: pa.Schema, more: pa.Schema, new: tuple[GroupSpec, ...], attributes: Sequence[str] = ()
) -> pa.Schema:
    """The columns of `base`, with those of the new groups and attributes before the captions, and their assets."""
    fields = {f.name: f for f in base}
    assets = base.field("assets").type
    theirs = more.field("assets").type
    kinds = [assets.field(i) for i in range(assets.num_fields)]
    kinds += [theirs.field(g.name) for g in new]
    fields["assets"] = pa.field("assets", pa.struct(kinds))
    tail = [_captions(fields.pop("captions"), more.field("captions")), fields.pop("facts")]
    added = [more.field(name) for name in attributes]
    added += [f for f in more if any(f.name.startswith(f"{g.name}_") for g in new) and f.name not in fields]
    return pa.schema([*fields.values(), *added, *tail], metadata=base.metadata)


def _captions(ours: pa.Field, theirs: pa.Field) -> pa.Field:
    """The captions' column with what either dataset stores: an older one has no claims."""
    known = {ours.type.value_field.type.field(i).name for i in range(ours.type.value_field.type.num_fields)}
    kind = ours.type.value_field.type
    also = theirs.type.value_field.type
    more = [also.field(i) for i in range(also.num_fields) if also.field(i).name not in known]
    return pa.field("captions", pa.list_(pa.struct([*(kind.field(i) for i in range(kind.num_fields)), *more])))


def joined(base: pa.Table, more: pa.Table, schema: pa.Schema, new: tuple[GroupSpec, ...]) -> pa.Table:
    """Rows of `base` with what `more` says of the same samples; absent where `more` lacks the sample.

    Captions of `more` follow those of `base`; its facts are taken where `base` has none.
    """
    where = pc.index_in(base["id"].combine_chunks(), value_set=more["id"].combine_chunks())
    rest = more.take(where)
    columns: dict[str, Any] = {}
    for field in schema:
        if field.name == "assets":
            columns[field.name] = _assets(base, rest, field.type)
        elif field.name in _UNITED:
            pairs = zip(base[field.name].to_pylist(), rest[field.name].to_pylist(), strict=True)
            columns[field.name] = pa.array([list(dict.fromkeys([*a, *(b or [])])) for a, b in pairs], field.type)
        elif field.name == "captions":
            pairs = zip(base[field.name].to_pylist(), rest[field.name].to_pylist(), strict=True)
            columns[field.name] = pa.array([[*(a or []), *(b or [])] for a, b in pairs], field.type)
        elif field.name == "facts":
            columns[field.name] = pc.coalesce(base["facts"], rest["facts"])
        elif field.name in base.column_names:
            columns[field.name] = base[field.name]
        else:
            columns[field.name] = _filled(rest[field.name], field, new)
    return pa.table(columns, schema=schema)


def _assets(base: pa.Table, rest: pa.Table, kind: pa.DataType) -> pa.Array:
    ours, theirs = base["assets"].to_pylist(), rest["assets"].to_pylist()
    return pa.array([{**(b or {}), **(a or {})} for a, b in zip(ours, theirs, strict=True)], kind)


def _filled(column: pa.ChunkedArray, field: pa.Field, new: tuple[GroupSpec, ...]) -> pa.ChunkedArray | pa.Array:
    """Writes explicit "absent" values for missing samples, because readers expect one entry per slot."""
    group = max((g for g in new if field.name.startswith(f"{g.name}_")), key=lambda g: len(g.name), default=None)
    if group is None:  # an attribute: absent is null
        return column
    if field.name == f"{group.name}_present":
        nothing = [False] * group.slot_count
        return pa.array([nothing if v is None else v for v in column.to_pylist()], field.type)
    if field.name == f"{group.name}_count":
        return pc.fill_null(column, 0)
    return column
