"""A sample of a dataset, as questions look at it."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from landweave.asked import Scene
from landweave.facts import objects_of, road_length_of

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from numpy.typing import NDArray

    from landweave.sample import Sample


class _Reads:
    """Numbers of a stored sample; see `landweave.asked.Reads`."""

    def __init__(self, sample: Sample) -> None:
        self._sample = sample

    def chip(self, path: str, slot: int) -> NDArray[Any] | None:
        group, _, name = path.partition("/")
        array = self._sample.spec.group(group).array(name)
        slots = self._sample.present.get(group, ())
        if slot >= len(slots) or not slots[slot]:
            return None
        found = self._sample[path]
        return found[slot] if array.dated else found

    def mapped(self, label: str) -> Mapping[str, float] | None:
        if not any(self._sample.present.get(label, ())):
            return None
        rows = self._sample.vectors(label).select(["osm_id", "kind", "tags", "length_m"]).to_pylist()
        tags = [dict(row["tags"] or ()) for row in rows]
        lines = [(t, row["length_m"] or 0.0) for t, row in zip(tags, rows, strict=True) if row["kind"] == "line"]
        counts: Counter[str] = Counter(dict(objects_of((r["osm_id"], t) for r, t in zip(rows, tags, strict=True))))
        return {**counts, "road length": road_length_of(lines)}

    def time(self, group: str, slot: int) -> datetime | None:
        times = self._sample.datetimes(group)
        return times[slot] if slot < len(times) else None

    @property
    def latitude(self) -> float:
        return self._sample.lonlat[1]


def scene_of(sample: Sample) -> Scene:
    """The sample's scene; arrays are read when a question asks for them."""
    return Scene(sample.spec, _Reads(sample))
