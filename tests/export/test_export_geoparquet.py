"""Vector objects with ids, tags and topology as GeoParquet: read back by geopandas and pyarrow, checked by shapely."""

from __future__ import annotations

from typing import TYPE_CHECKING

import geopandas
import numpy as np
import pyarrow.parquet as pq
import pyproj
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

import landweave
from landweave.errors import ExportError
from landweave.export import export
from landweave.graph import relations_of
from tests.shards.synthetic import planned

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> landweave.Dataset:
    out = planned((3, 2), size_m=120.0).build(tmp_path_factory.mktemp("data") / "d")
    return landweave.open(out)


def test_objects_are_those_of_the_samples_and_relations_are_shapelys(data: landweave.Dataset, tmp_path: Path) -> None:
    out = export(data, "geoparquet", tmp_path / "out", arrays=["openstreetmap"], file_bytes=1)
    objects = geopandas.read_parquet(out / "objects")
    links = pq.read_table(out / "relations").to_pylist()
    assert objects.crs.to_epsg() in (4326, None) or objects.crs == "OGC:CRS84"
    seen = 0
    for sample in data:
        stored = sample.vectors()
        mine = objects[objects.sample_id == sample.id].sort_values("object")
        assert mine.osm_id.tolist() == stored.column("osm_id").to_pylist()
        assert [sorted(t) for t in mine.tags] == [sorted(t) for t in stored.column("tags").to_pylist()]
        shapes = shapely.from_wkb(np.array(stored.column("wkb").to_pylist(), dtype=object))
        move = pyproj.Transformer.from_crs(sample.epsg, 4326, always_xy=True)
        corners = shapely.get_coordinates(shapes)
        there = shapely.set_coordinates(shapes.copy(), np.column_stack(move.transform(corners[:, 0], corners[:, 1])))
        assert shapely.equals_exact(there, mine.geometry.to_numpy(), 1e-9).all()
        found = {(x["subject"], x["object"]): x for x in links if x["sample_id"] == sample.id}
        for one in range(len(shapes)):
            for two in range(one + 1, len(shapes)):
                link = found.pop((one, two), None) or found.pop((two, one), None)
                assert (link is None) == shapely.disjoint(shapes[one], shapes[two])
                if link is not None:
                    seen += 1
                    a, b = shapes[link["subject"]], shapes[link["object"]]
                    assert getattr(shapely, link["relation"])(a, b)
                    assert shapely.relate(a, b) == link["de9im"]
        assert not found
        footprint = shapely.box(*sample.item["proj:bbox"])
        assert [shapely.relate(s, footprint) for s in shapes] == mine.de9im_to_sample.tolist()
    footprints = geopandas.read_parquet(out / "samples.parquet")
    assert sorted(footprints.sample_id) == sorted(data.query().ids)
    assert "ODbL" in (out / "README.md").read_text()
    assert seen or not links


_NUMBER = st.integers(0, 4).map(float)
_SHAPE = st.one_of(
    st.builds(shapely.Point, _NUMBER, _NUMBER),
    st.builds(lambda a, b, c, d: shapely.LineString([(a, b), (c + 0.5, d)]), _NUMBER, _NUMBER, _NUMBER, _NUMBER),
    st.builds(lambda x, y, w, h: shapely.box(x, y, x + 1 + w, y + 1 + h), _NUMBER, _NUMBER, _NUMBER, _NUMBER),
)


@given(st.lists(_SHAPE, max_size=6))
@settings(max_examples=60, deadline=None)
def test_every_pair_that_is_not_disjoint_has_one_relation_that_holds(shapes: list[shapely.Geometry]) -> None:
    footprint = shapely.box(0, 0, 4, 4)
    to_sample, matrices, pairs = relations_of(np.array(shapes, dtype=object), footprint)
    expected = {
        (i, j)
        for i in range(len(shapes))
        for j in range(i + 1, len(shapes))
        if shapely.intersects(shapes[i], shapes[j])
    }
    assert {(min(a, b), max(a, b)) for a, b, *_ in pairs} == expected
    for a, b, name, matrix in pairs:
        assert getattr(shapely, name)(shapes[a], shapes[b])
        assert shapely.relate(shapes[a], shapes[b]) == matrix
    for shape, name, matrix in zip(shapes, to_sample, matrices, strict=True):
        assert getattr(shapely, name)(shape, footprint)
        assert shapely.relate(shape, footprint) == matrix


def test_a_shape_that_crosses_itself_is_mended_and_no_layer_of_objects_is_said(tmp_path: Path) -> None:
    bow = shapely.Polygon([(0, 0), (2, 2), (2, 0), (0, 2)])
    _, _, pairs = relations_of(np.array([bow, shapely.Point(2, 1)], dtype=object), shapely.box(0, 0, 4, 4))
    assert [p[:3] for p in pairs] == [(0, 1, "touches")]
    plain = landweave.open(planned((1, 1), sources=("dem",), size_m=60.0).build(tmp_path / "d"))
    with pytest.raises(ExportError, match="geoparquet holds vector objects"):
        export(plain, "geoparquet", tmp_path / "out", arrays=["dem"])
