"""The objects of an extract as a file that samples are drawn from."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pipelines.access.openstreetmap.extract import BadExtractError, prepare_as
from pipelines.access.openstreetmap.features import FeatureStore
from sampling.frames import rows_of
from schemas.place import BBox

if TYPE_CHECKING:
    from pathlib import Path


def test_objects_come_into_the_named_file(tmp_path: Path) -> None:
    osmium = pytest.importorskip("osmium")
    with osmium.SimpleWriter(str(tmp_path / "map.osm.pbf")) as writer:
        for i in range(3):
            node = osmium.osm.mutable.Node(id=i + 1, location=(10 + i / 10, 50), tags={"amenity": "school"}, version=1)
            writer.add_node(node)
    found = prepare_as(tmp_path / "map.osm.pbf", tmp_path / "objects.parquet")
    assert found.objects == 3
    with FeatureStore(tmp_path / "objects.parquet") as store:
        assert [f.osm_id for f in store.within(BBox(0, 40, 20, 60))] == ["n1", "n2", "n3"]
    rows = next(rows_of("objects.parquet", tmp_path, ("tags.amenity",), shapes=True))
    assert rows.columns["tags.amenity"] == ["school"] * 3
    assert rows.shapes is not None
    assert [shape.y for shape in rows.shapes] == [50.0] * 3
    assert {p.name for p in tmp_path.iterdir()} == {"map.osm.pbf", "objects.parquet"}


def test_a_folder_that_does_not_exist_is_named(tmp_path: Path) -> None:
    (tmp_path / "map.osm.pbf").write_bytes(b"")
    with pytest.raises(BadExtractError, match=r"o\.parquet: cannot be written \(No such file or directory\)"):
        prepare_as(tmp_path / "map.osm.pbf", tmp_path / "none" / "o.parquet")
