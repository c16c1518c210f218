"""A finished dataset as the source of more labels: its samples' arrays, places and gaps, shard by shard."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import shapely

from landweave.dataset import open_dataset
from landweave.layout import SHARD_INDEX, STATISTICS, shard_manifest
from landweave.manifest import shard_from_bytes
from schemas.outcome import Outcome, Reason
from schemas.place import GeoBox, Place
from schemas.stack import Stack

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from numpy.typing import NDArray

    from landweave.layout import DatasetSpec
    from landweave.manifest import ShardManifest

_NOWHERE = GeoBox(epsg=32631, x_min=0.0, y_max=0.0, resolution_m=1.0, width=1, height=1)
"""Of samples that a quality rule kept out: the dataset keeps their ids and not their places."""
_BESIDE = ("id", "split", "block", "cell", "stratum", "lon", "lat", "epsg", "x_min", "y_max", "datetime", "geometry")


class Finished:
    """A finished dataset, opened for reading."""

    def __init__(self, place: str) -> None:
        """Open it.

        Args:
            place: its folder or URL.

        Raises:
            LandweaveError: there is none, or it is damaged.
        """
        self.data = open_dataset(place)
        self.spec: DatasetSpec = self.data.spec
        self._index = json.loads(self.data.objects.read(self.spec.at(SHARD_INDEX)))
        names = [f"{g.name}_{what}" for g in self.data.labels.values() for what in ("date_gap_days", "items")]
        self._rows = self.data.catalogue.read([*_BESIDE, *names])

    @property
    def shards(self) -> list[int]:
        """Numbers of the shards that are there, ascending."""
        return sorted(int(number) for number in self._index if ".r" not in number)

    @property
    def stamp(self) -> str:
        """What decides the content: checksums of every shard's manifests, and of the statistics."""
        sums = {number: entry["sha256"] for number, entry in sorted(self._index.items())}
        return json.dumps([sums, self.data.manifest.objects[self.spec.at(STATISTICS)].sha256], sort_keys=True)

    def manifest(self, shard: int) -> ShardManifest:
        """Manifest of a shard."""
        return shard_from_bytes(self.data.store.get(shard_manifest(shard)), shard_manifest(shard))

    def positions(self, shard: int) -> list[int]:
        """Places in the catalogue of a shard's samples, by row."""
        return [int(i) for i in self.data.catalogue.inside(shard)]

    def row(self, position: int) -> dict[str, Any]:
        """Columns of the catalogue about a sample: place, time, and each label's gap and items."""
        return dict(self._rows.slice(position, 1).to_pylist()[0])

    def pixels(self, position: int, paths: Sequence[str]) -> dict[str, NDArray[Any] | None]:
        """Path of an array -> pixels as stored; None where nothing was obtained."""
        sample = self.data.sample(position)
        return {path: sample.get(path) for path in paths}

    def present(self, position: int, layer: str) -> tuple[bool, ...]:
        """Per date slot, whether a layer was obtained."""
        return tuple(self.data.catalogue.presence(layer, np.array([position]))[0].tolist())

    def place(self, row: dict[str, Any]) -> Place:
        """The ground of a sample, from its columns."""
        spec = self.spec
        across = round(spec.size_m / spec.resolution_m)
        box = GeoBox(
            epsg=row["epsg"],
            x_min=row["x_min"],
            y_max=row["y_max"],
            resolution_m=spec.resolution_m,
            width=across,
            height=across,
        )
        said = {name: row[name] for name in ("split", "block", "cell", "stratum", "lon", "lat")}
        return Place(sample_id=row["id"], geobox=box, **said)

    def footprint(self, row: dict[str, Any]) -> dict[str, Any]:
        """GeoJSON of a sample's footprint, from its columns."""
        return dict(shapely.geometry.mapping(shapely.from_wkb(row["geometry"])))

    def time(self, row: dict[str, Any]) -> datetime:
        """The first observation of a sample."""
        found: datetime = row["datetime"]
        return found


def refused_stack(sample_id: str, split: Any) -> Stack:
    """A row that stays a hole, since a quality rule kept its sample out."""
    place = Place(sample_id=sample_id, lon=0.0, lat=0.0, geobox=_NOWHERE, split=split, block="", cell="")
    outcome = Outcome(sample_id=sample_id, layer="sample", slot=0, reason=Reason.SAMPLE_REFUSED)
    return Stack(place=place, outcomes=[outcome])
