"""Hugging Face: Parquet files with the features of `datasets`, and a dataset card for the Hub.

Arrays are columns of `datasets.Array2D` to `Array5D`; null if nothing was obtained. A dated array has the obtained
dates only, and no dates if there are none, because datasets 5.0 reads a null of variable length as NaN. The files'
schema contains the features, so `datasets.load_dataset` needs no code of landweave.
"""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from landweave.documents import head_lines, hub_head
from landweave.export import place, write
from landweave.plain import markdown
from landweave.record import flat_name

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from landweave.export import Job
    from landweave.layout import ArraySpec, Json
    from landweave.record import Record

FILE_BYTES = 1 << 28
"""The Hub asks for files of some hundred megabytes, and at most 10,000 of them in a folder."""
_ROW_GROUP_BYTES = 1 << 25
"""Decoded bytes of a row group: what a reader of one sample reads, and the Hub's viewer."""
_PICTURE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
"""How `datasets` stores an Image."""
_SPLITS = {"val": "validation"}
"""The Hub's names of splits."""


def require() -> None:
    """Does nothing: the format needs pyarrow only."""


def features(job: Job) -> Json:
    """datasets' features of the columns, as its Parquet schema has them."""
    value = {"id": "string", "lon": "float64", "lat": "float64", "epsg": "int32", "metadata": "string"}
    found: Json = {name: {"dtype": dtype, "_type": "Value"} for name, dtype in value.items()}
    if job.image is not None:
        found["image"] = {"_type": "Image"}
    found["captions"] = {"feature": {"dtype": "string", "_type": "Value"}, "_type": "List"}
    for array in job.arrays:
        shape = [*((None,) if array.dated else ()), *array.chip_shape]
        found[flat_name(array)] = {"shape": shape, "dtype": array.dtype, "_type": f"Array{len(shape)}D"}
    return found


def write_part(folder: Path, records: Iterator[Record], job: Job) -> None:
    """One Parquet file, zstd."""
    decoded = sum(a.chip_bytes * a.slots for a in job.arrays)
    each = max(1, _ROW_GROUP_BYTES // max(1, decoded))
    names = ["id", "lon", "lat", "epsg", "metadata", "captions"]
    plain = [pa.string(), pa.float64(), pa.float64(), pa.int32(), pa.string(), pa.list_(pa.string())]
    fields = [pa.field(n, t) for n, t in zip(names, plain, strict=True)]
    fields += [] if job.image is None else [pa.field("image", _PICTURE)]
    fields += [pa.field(flat_name(a), _storage(a)) for a in job.arrays]
    info = json.dumps({"info": {"features": features(job)}}, sort_keys=True)
    schema = pa.schema(fields, metadata={"huggingface": info})
    options: Json = {"compression": "zstd", "use_dictionary": names, "write_statistics": names}
    with pq.ParquetWriter(folder / "part.parquet", schema, **options) as writer:
        rows: list[Record] = []
        for item in records:
            rows.append(item)
            if len(rows) == each:
                writer.write_table(_table(rows, schema, job.arrays))
                rows = []
        if rows:
            writer.write_table(_table(rows, schema, job.arrays))


def _table(rows: Sequence[Record], schema: pa.Schema, arrays: Sequence[ArraySpec]) -> pa.Table:
    meta = [r.metadata for r in rows]
    found: dict[str, Any] = {
        "id": [r.id for r in rows],
        **{name: [m[name] for m in meta] for name in ("lon", "lat", "epsg")},
        "metadata": [json.dumps(m, sort_keys=True, ensure_ascii=False) for m in meta],
        "captions": [r.captions for r in rows],
        **({"image": [_picture(r) for r in rows]} if "image" in schema.names else {}),
    }
    for array in arrays:
        name = flat_name(array)
        none = np.empty((0, *array.chip_shape), array.dtype) if array.dated else None
        pixels = [r.arrays[name] for r in rows]
        found[name] = _nested([none if p is None else p for p in pixels], schema.field(name).type)
    return pa.table(found, schema=schema)


def _picture(row: Record) -> Json | None:
    return None if row.image is None else {"bytes": row.image, "path": None}


def _storage(array: ArraySpec) -> pa.DataType:
    kind: pa.DataType = pa.from_numpy_dtype(np.dtype(array.dtype))
    for _ in range(len(array.sample_shape)):
        kind = pa.list_(kind)
    return kind


def _nested(rows: Sequence[NDArray[Any] | None], kind: pa.DataType) -> pa.Array:
    """Arrays of one number of axes as lists of lists, null where there is none."""
    there = [r for r in rows if r is not None]
    if not there:
        return pa.nulls(len(rows), kind)
    values: pa.Array = pa.array(np.concatenate([r.ravel() for r in there]))
    axes = there[0].ndim
    for axis in range(axes - 1, 0, -1):
        lengths = np.concatenate([np.full(math.prod(r.shape[:axis]), r.shape[axis]) for r in there])
        values = pa.ListArray.from_arrays(pa.array(_ends(lengths), pa.int32()), values)
    sizes = [0 if r is None else r.shape[0] for r in rows]
    mask = pa.array([r is None for r in rows])
    return pa.ListArray.from_arrays(pa.array(_ends(sizes), pa.int32()), values, mask=mask)


def _ends(lengths: Any) -> NDArray[np.int64]:
    return np.concatenate([[0], np.cumsum(np.asarray(lengths, np.int64))])


def assemble(root: Path, split: str, parts: Sequence[Path], job: Job) -> None:
    """`data/train-00000-of-00012.parquet`, ..."""
    del job
    name = _SPLITS.get(split, split)
    for number, part in enumerate(parts):
        place(part / "part.parquet", root, f"data/{name}-{number:05d}-of-{len(parts):05d}.parquet")


def finish(root: Path, splits: dict[str, int], job: Job) -> None:
    """Write the dataset card."""
    write(root, "README.md", card(splits, job))


def _yaml(name: str, feature: Json) -> Json:
    """A feature in the YAML of a dataset card."""
    kind = feature["_type"]
    if kind == "List":
        return {"name": name, "list": feature["feature"]["dtype"]}
    if kind == "Image":
        return {"name": name, "dtype": "image"}
    if kind == "Value":
        return {"name": name, "dtype": feature["dtype"]}
    axes = kind.removeprefix("Array").removesuffix("D")
    return {"name": name, "dtype": {f"array{axes}_d": {"dtype": feature["dtype"], "shape": feature["shape"]}}}


def card(splits: dict[str, int], job: Job) -> str:
    """README.md: the head that the Hub reads (https://huggingface.co/docs/hub/datasets-cards), then words."""
    about = job.about
    head = hub_head(about["licence"], about["dataset"], sum(splits.values()))
    files = [{"split": _SPLITS.get(s, s), "path": f"data/{_SPLITS.get(s, s)}-*"} for s in splits]
    head["configs"] = [{"config_name": "default", "data_files": files}]
    # without these, `load_dataset` would take the columns for lists of lists
    head["dataset_info"] = {"config_name": "default", "features": [_yaml(n, f) for n, f in features(job).items()]}
    lines = [
        *head_lines(head),
        f"# {markdown(' '.join(about['dataset'].split()))}",
        "",
        markdown(about["description"]),
        "",
    ]
    lines += ["| column | dims | dtype | m | unit of stored x scale + offset |", "|---|---|---|---|---|"]
    for name, a in about["arrays"].items():
        physical = f"{markdown(a['unit'])}, x {a['scale']:g} + {a['offset']:g}"
        lines.append(f"| `{name}` | {', '.join(a['dims'])} | {a['dtype']} | {a['resolution_m']:g} | {physical} |")
    lines += [
        "",
        "A column is null where nothing was obtained. A dated array holds the obtained dates, which may be",
        "none; `present` in `metadata` (JSON) lists them.",
        "Masks: `valid` True = every band was measured, `cloud` True = cloud, shadow or cirrus.",
        "",
        f"Licences of the inputs: {', '.join(markdown(name) for name in about['licences'])}.",
        *(f"- {markdown(' '.join(line.split()))}" for line in about["attribution"]),
    ]
    return "\n".join(lines) + "\n"
