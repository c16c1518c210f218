"""GeoParquet: the vector objects of each sample with ids and tags, and a table of the relations between them.

objects/train-00000-of-00002.parquet      an object in a sample: sample, id, kind, tags, geometry (GeoParquet)
relations/train-00000-of-00002.parquet    two objects of a sample that touch, cross, contain ..., and DE-9IM
samples.parquet                           footprints with the catalogue's plain columns (GeoParquet)

Geometries are in longitude and latitude. Relations are those of the stored geometries, which are cut to the footprint,
in the sample's own CRS.
"""

from __future__ import annotations

import json
from importlib.util import find_spec
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from landweave.export import place, write
from landweave.graph import RELATIONS, relations_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from landweave.export import Job
    from landweave.layout import Json
    from landweave.record import Record

FILE_BYTES = 1 << 26
"""Samples of a part are as many as this holds decoded bytes of the layers' class rasters."""
OBJECTS = pa.schema(
    [
        ("sample_id", pa.string()), ("layer", pa.string()), ("object", pa.int32()), ("osm_id", pa.string()),
        ("kind", pa.string()), ("tags", pa.map_(pa.string(), pa.string())), ("area_m2", pa.float64()),
        ("length_m", pa.float64()), ("to_sample", pa.string()), ("de9im_to_sample", pa.string()), ("epsg", pa.int32()),
        ("geometry", pa.binary()),
    ]
)  # fmt: skip
"""Columns of objects: `object` numbers the objects of a sample and layer from 0; `to_sample` is the relation of the
object to the footprint: within, touches, crosses, overlaps, contains or equals."""
LINKS = pa.schema(
    [
        ("sample_id", pa.string()), ("layer", pa.string()), ("subject", pa.int32()), ("object", pa.int32()),
        ("relation", pa.string()), ("de9im", pa.string()),
    ]
)  # fmt: skip
"""Columns of relations: each pair once; the subject is the one that contains, else the one with the lower number."""


def require() -> None:
    """ModuleNotFoundError if a library is not there."""
    for name in ("shapely", "pyproj"):
        if find_spec(name) is None:
            raise ModuleNotFoundError(name, name=name)


def write_part(folder: Path, records: Iterator[Record], job: Job) -> None:
    """Objects, relations and footprints of some samples."""
    del job
    with (
        pq.ParquetWriter(folder / "objects.parquet", _geo(OBJECTS), compression="zstd") as objects,
        pq.ParquetWriter(folder / "relations.parquet", LINKS, compression="zstd") as links,
    ):
        rows: list[Json] = []
        made: list[pa.Table] = []
        related: list[pa.Table] = []
        for item in records:
            rows.append({"sample_id": item.id, "geometry": item.footprint, **_plain(item.metadata)})
            for layer, table in item.vectors.items():
                one, two = _graph(item, layer, table)
                made.append(one)
                related.append(two)
        objects.write_table(pa.concat_tables([_geo(OBJECTS).empty_table(), *made]))
        links.write_table(pa.concat_tables([LINKS.empty_table(), *related]))
    (folder / "samples.json").write_text(
        "".join(json.dumps({**row, "geometry": row["geometry"].hex()}, sort_keys=True) + "\n" for row in rows)
    )


def assemble(root: Path, split: str, parts: Sequence[Path], job: Job) -> None:
    """`objects/train-00000-of-00002.parquet`, ..."""
    del job
    for number, part in enumerate(parts):
        for name in ("objects", "relations"):
            place(part / f"{name}.parquet", root, f"{name}/{split}-{number:05d}-of-{len(parts):05d}.parquet")
        place(part / "samples.json", root, f"samples/{split}-{number:05d}.json")


def finish(root: Path, splits: dict[str, int], job: Job) -> None:
    """The footprints, and what the tables mean."""
    rows: list[Json] = []
    for split in splits:
        for path in sorted((root / "samples").glob(f"{split}-*.json")):
            rows += [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    for path in (root / "samples").iterdir():
        path.unlink()
    (root / "samples").rmdir()
    columns = {name: [row.get(name) for row in rows] for name in dict.fromkeys(name for row in rows for name in row)}
    columns["geometry"] = [bytes.fromhex(row["geometry"]) for row in rows]
    table = pa.table(columns)
    pq.write_table(
        table.replace_schema_metadata(_geo(table.schema).metadata), root / "samples.parquet", compression="zstd"
    )
    write(root, "README.md", _readme(job))


def _graph(item: Record, layer: str, table: pa.Table) -> tuple[pa.Table, pa.Table]:
    """Objects and relations of one layer of a sample."""
    import shapely

    shapes: NDArray[np.object_] = shapely.from_wkb(table.column("wkb").to_numpy(zero_copy_only=False))
    bounds = item.metadata["proj:bbox"]
    within, matrices, pairs = relations_of(shapes, shapely.box(*bounds))
    epsg = int(item.metadata["epsg"])
    count = len(table)
    objects = pa.table(
        {
            "sample_id": pa.array([item.id] * count, pa.string()),
            "layer": pa.array([layer] * count, pa.string()),
            "object": pa.array(range(count), pa.int32()),
            "osm_id": table.column("osm_id"),
            "kind": table.column("kind"),
            "tags": pa.array(table.column("tags").to_pylist(), OBJECTS.field("tags").type),
            "area_m2": table.column("area_m2"),
            "length_m": table.column("length_m"),
            "to_sample": pa.array(within, pa.string()),
            "de9im_to_sample": pa.array(matrices, pa.string()),
            "epsg": pa.array([epsg] * count, pa.int32()),
            "geometry": pa.array(shapely.to_wkb(_lonlat(shapes, epsg)), pa.binary()),
        },
        schema=_geo(OBJECTS),
    )
    links = {name: [pair[at] for pair in pairs] for at, name in enumerate(("subject", "object", "relation", "de9im"))}
    related = pa.table({"sample_id": [item.id] * len(pairs), "layer": [layer] * len(pairs), **links}, schema=LINKS)
    return objects, related


def _lonlat(shapes: NDArray[np.object_], epsg: int) -> NDArray[np.object_]:
    import pyproj
    import shapely

    change = pyproj.Transformer.from_crs(epsg, 4326, always_xy=True)

    def move(xy: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.column_stack(change.transform(xy[:, 0], xy[:, 1]))

    moved: NDArray[np.object_] = shapely.transform(shapes, move)
    return moved


def _plain(metadata: Json) -> Json:
    """Catalogue columns with one value."""
    names = (name for name in metadata if name not in ("id", "bbox", "facts"))
    return {n: v for n in names if isinstance(v := metadata[n], str | int | float | bool)}


def _geo(schema: pa.Schema) -> pa.Schema:
    """The schema with the metadata of GeoParquet 1.1; a geometry without `crs` is in longitude and latitude."""
    column = {"encoding": "WKB", "geometry_types": []}
    geo = {"version": "1.1.0", "primary_column": "geometry", "columns": {"geometry": column}}
    return schema.with_metadata({"geo": json.dumps(geo)})


def _readme(job: Job) -> str:
    from landweave.plain import markdown

    about = job.about
    said = "\n".join(f"- `{name}`: {words}" for name, words in RELATIONS.items())
    credit = "".join(f"- {markdown(' '.join(line.split()))}\n" for line in about["attribution"])
    return (
        f"# {markdown(' '.join(about['dataset'].split()))}: objects and their relations\n\n"
        "`objects/` and `samples.parquet` are GeoParquet in longitude and latitude. `relations/` links `subject` and "
        "`object`, numbers of objects of one sample and layer; `de9im` is the matrix of the subject to the object. "
        "Relations are of geometries cut to the footprint, in the sample's CRS (`epsg`).\n\n"
        f"{said}\n\nTags are untrusted text.\n\n"
        f"Licences of the inputs: {', '.join(markdown(name) for name in about['licences'])}.\n{credit}"
    )
