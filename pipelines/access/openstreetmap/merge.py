"""Several extracts as one: of an object that is in more than one, that of the newest extract counts."""

from __future__ import annotations

import hashlib
from collections import Counter
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipelines.access.openstreetmap.extract import FORMAT, BadExtractError, open_extract, write_tables
from pipelines.durable import durably

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from pipelines.access.openstreetmap.extract import Extract


def merge(extracts: Sequence[Extract], cache_dir: Path) -> Extract:
    """One extract of all objects of several; the extract itself where it is the only one.

    Its `snapshot` is that of the oldest one; its name has all of theirs. Lies in `cache_dir`; 100 bytes of memory per
    object.
    """
    if len(extracts) == 1:
        return extracts[0]
    whole = hashlib.sha256("\n".join(one.parquet.name for one in extracts).encode()).hexdigest()
    target = cache_dir / f"osm-merged-{whole[:32]}-f{FORMAT}.parquet"
    if target.is_file():
        try:
            return open_extract(target)
        except BadExtractError:
            pass  # half a file: merged again
    corners = [one.bounds for one in extracts if one.bounds is not None]
    about = {
        "name": "; ".join(one.name for one in extracts),
        "sha256": hashlib.sha256("".join(one.sha256 for one in extracts).encode()).hexdigest(),
        "snapshot": min(one.snapshot for one in extracts).isoformat(),
        **({"dated": True} if extracts[0].dated else {"edited": True}),
        "merged": [(one.file, one.counts) for one in extracts],
        "untimed": [name for one in extracts for name in one.untimed],
        "bounds": [f(c[i] for c in corners) for i, f in enumerate((min, min, max, max))] if corners else None,
    }
    counts: Counter[str] = Counter()
    newest_first = sorted(extracts, key=lambda one: one.snapshot, reverse=True)
    with durably(target) as aside:
        write_tables(_tables(newest_first, counts), about, counts, aside)
    return open_extract(target)


def _tables(extracts: Sequence[Extract], counts: Counter[str]) -> Iterator[pa.Table]:
    """Row groups of every extract without the objects of those before it; `counts` gets the rows of each kind."""
    seen = pa.array([], pa.string())
    for number, one in enumerate(extracts):
        ids = []
        with pq.ParquetFile(one.parquet) as file:
            for group in range(file.num_row_groups):
                table = file.read_row_group(group)
                ids.append(table.column("osm_id"))
                if number:
                    table = table.filter(pc.invert(pc.is_in(table.column("osm_id"), seen)))
                if table.num_rows:
                    counts.update(f"{kind}s" for kind in table.column("kind").to_pylist())
                    yield table
        seen = pa.concat_arrays([seen, *(chunk for column in ids for chunk in column.chunks)]).unique()
