"""Exports a selection to the formats of other loaders: complete or not at all, with the same bytes after a restart.

A file of the export holds a fixed number of samples of one split. Files are written into a hidden folder next to
the goal, whose name depends on the settings. Complete files are kept, so an interrupted export continues where it
stopped. When all files are complete, the folder gets its index and its final name in one step.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from landweave.errors import CorruptError, ExportError, to_install, unknown
from landweave.layout import SPLITS
from landweave.record import description, flat_name, record
from landweave.render import class_colours
from landweave.strict import inside

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from landweave.dataset import Dataset
    from landweave.layout import ArraySpec, GroupSpec, Json
    from landweave.record import Record
    from landweave.selection import Selection

FORMATS = {
    "webdataset": "landweave.export_webdataset",
    "mds": "landweave.export_mds",
    "litdata": "landweave.export_litdata",
    "parquet": "landweave.export_parquet",
    "geotiff": "landweave.export_geotiff",
    "geoparquet": "landweave.export_geoparquet",
    "chat": "landweave.export_chat",
}
"""Format -> its module."""
ABOUT = "landweave-export.json"
"""Description of the export, in its root folder."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Job:
    """Settings that all files of an export share."""

    arrays: tuple[ArraySpec, ...]
    """Arrays to be written."""
    compression: str | None
    """'zstd' or None."""
    about: Json
    """The account of the export."""
    image: GroupSpec | None = None
    """The layer that is drawn for people."""
    vectors: tuple[str, ...] = ()
    """Layers whose vector objects are written, and no arrays."""


class Writer(Protocol):
    """A format's module."""

    FILE_BYTES: int
    """Approximate decoded bytes per file, as the format's manual recommends."""

    def write_part(self, folder: Path, records: Iterator[Record], job: Job) -> None:
        """Write the samples of one file into an empty folder."""
        ...

    def assemble(self, root: Path, split: str, parts: Sequence[Path], job: Job) -> None:
        """Put the parts of a split in place below `root`, by `place`."""
        ...

    def finish(self, root: Path, splits: dict[str, int], job: Job) -> None:
        """Write what the whole needs."""
        ...


def export(
    dataset: Dataset,
    form: str,
    out: str | os.PathLike[str],
    *,
    selection: Selection | None = None,
    arrays: Iterable[str] | None = None,
    progress: Callable[[int, int], None] | None = None,
    **files: Any,
) -> Path:
    """Write a selection (all samples if None) in another format.

    Args:
        dataset: from `landweave.open`.
        form: 'webdataset', 'mds', 'litdata', 'parquet', 'geotiff', 'geoparquet' (vector objects and
            their relations) or 'chat'.
        out: folder to create; it must not exist.
        selection: from `Dataset.query`.
        arrays: modalities, labels or single arrays; all if None. Nothing else is read.
        progress: called with (samples done, samples in all).
        files: compression='zstd' for mds and litdata (parquet and geotiff are always compressed, webdataset never);
            file_bytes=..., approximate decoded bytes per file (default: the format's recommendation); image=... for
            parquet: the layer whose first date becomes a column of pictures, which the Hub's viewer shows.

    Returns:
        The folder.

    Raises:
        ExportError: unknown format, missing library, existing folder, or an empty selection.
        CorruptError: a damaged shard; nothing is visible at `out` then.
    """
    writer = _writer(form)
    compression, file_bytes = files.pop("compression", None), files.pop("file_bytes", None) or writer.FILE_BYTES
    image = _image(dataset, form, files.pop("image", None))
    if files or compression not in (None, "zstd"):
        raise ExportError(
            f"compression must be 'zstd' or None; others are file_bytes and image; got {compression!r}, {files}"
        )
    goal = Path(out).absolute()
    if os.path.lexists(goal):
        raise ExportError(f"{goal.name} already exists: remove it, or name another folder")
    chosen = dataset.query() if selection is None else selection
    if not len(chosen):
        raise ExportError("nothing to export: the selection is empty")
    getattr(writer, "check", lambda _dataset: None)(dataset)
    specs = dataset.select_arrays(arrays)
    decoded = sum(a.chip_bytes * a.slots for a in specs)
    each = max(1, file_bytes // max(1, decoded))
    said = {"format": form, "compression": compression, "samples_a_file": each}
    about = _about(dataset, chosen, specs, said if image is None else {**said, "image": image.name})
    staging = goal.with_name(f".{goal.name}.{_digest(about)[:12]}.partial")
    vectors = _vectors(dataset, specs) if form == "geoparquet" else ()
    job = Job(arrays=() if vectors else specs, compression=compression, about=about, image=image, vectors=vectors)
    tree, done = staging / "tree", 0
    by_split = _by_split(dataset, chosen)
    try:
        staging.mkdir(parents=True, exist_ok=True)
        _own_folder(staging)
        shutil.rmtree(tree, ignore_errors=True)
        tree.mkdir()
        for split, ids in by_split.items():
            parts = []
            for number, first in enumerate(range(0, len(ids), each)):
                part = staging / f"{split}-{number:06d}"
                wanted = ids[first : first + each]
                if not part.exists():
                    _write_part(dataset, wanted, part, writer, job)
                _own_folder(part)
                parts.append(part)
                done += len(wanted)
                if progress is not None:
                    progress(done, len(chosen))
            writer.assemble(tree, split, parts, job)
        write(tree, ABOUT, json.dumps(about, indent=1, sort_keys=True, ensure_ascii=False) + "\n")
        writer.finish(tree, {s: len(i) for s, i in by_split.items()}, job)
        if os.path.lexists(goal):
            raise ExportError(f"{goal.name} was created by another process: remove it, or name another folder")
        _rename_whole(tree, goal)
    except OSError as error:
        raise ExportError(f"{goal.name} cannot be written: {error.strerror or error}") from error
    shutil.rmtree(staging, ignore_errors=True)
    return goal


def _vectors(dataset: Dataset, specs: Sequence[ArraySpec]) -> tuple[str, ...]:
    """Layers of these arrays that have vector objects."""
    chosen = {array.group for array in specs}
    found = tuple(g.name for g in dataset.spec.groups if g.vectors and g.name in chosen)
    if not found:
        having = [g.name for g in dataset.spec.groups if g.vectors]
        raise ExportError(
            f"geoparquet holds vector objects; {'choose one of ' + ', '.join(having) if having else 'no layer has any'}"
        )
    return found


def _image(dataset: Dataset, form: str, name: str | None) -> GroupSpec | None:
    if name is None:
        return None
    if form != "parquet":
        raise ExportError(f"image is an option of parquet; {form} has no column of pictures")
    if find_spec("PIL") is None:
        raise ExportError(f"pictures need Pillow: {to_install('browse')}")
    group = next((g for g in dataset.spec.groups if g.name == name), None)
    if group is None:
        raise ExportError(unknown("layer", name, [g.name for g in dataset.spec.groups]))
    return group


def _own_folder(folder: Path) -> None:
    """Refuses a link in place of our folder, because files must stay inside the folder."""
    if folder.is_symlink() or not folder.is_dir():
        raise ExportError(f"{folder.name} is not an export folder: remove it")


def _write_part(dataset: Dataset, ids: Sequence[str], part: Path, writer: Writer, job: Job) -> None:
    """Writes a part completely, or not at all."""
    aside = part.with_suffix(".writing")
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir()
    own = getattr(writer, "records", _records)  # a format of texts and pictures reads no arrays
    writer.write_part(aside, own(dataset, ids, job), job)
    _rename_whole(aside, part)


def _records(dataset: Dataset, ids: Sequence[str], job: Job) -> Iterator[Record]:
    return (record(dataset.sample(i), job.arrays, job.image, job.vectors) for i in ids)


def _rename_whole(folder: Path, target: Path) -> None:
    """Rename a folder after all its files are on disk, so that a power loss leaves no empty files in it."""
    for where, _, names in os.walk(folder, topdown=False):
        for path in (*(Path(where, name) for name in names), Path(where)):
            _sync(path)
    folder.rename(target)
    _sync(target.parent)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def within(root: Path, part: str) -> Path:
    """Path of a file of the export, always below its root.

    Raises:
        ExportError: the name points elsewhere.
    """
    try:
        return root / inside(part)
    except CorruptError as error:
        raise ExportError(str(error)) from error


def place(source: Path, root: Path, part: str) -> None:
    """Put a finished file into its place: a hard link if possible, else a copy. Never replaces another file."""
    target = within(root, part)
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source, target)
    except FileExistsError:
        raise
    except OSError:
        with source.open("rb") as old, target.open("xb") as new:
            shutil.copyfileobj(old, new)


def write(root: Path, part: str, text: str) -> None:
    """A new file of the export; never replaces another file."""
    target = within(root, part)
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.open("x", encoding="utf-8") as file:
        file.write(text)


def _writer(form: str) -> Writer:
    if form not in FORMATS:
        raise ExportError(f"no format {form!r}; there are {', '.join(FORMATS)}")
    try:
        writer: Any = import_module(FORMATS[form])
        writer.require()
    except ModuleNotFoundError as error:
        raise ExportError(f"export to {form} needs {error.name}: {to_install(form)}") from error
    return writer  # type: ignore[no-any-return]


def _by_split(dataset: Dataset, chosen: Selection) -> dict[str, list[str]]:
    """Ids of each split, in the catalogue's order; usual splits first."""
    splits = dataset.catalogue.splits(chosen.positions)
    found: dict[str, list[str]] = {s: [] for s in SPLITS}
    for sample, split in zip(chosen.ids, splits, strict=True):
        found[split].append(sample)
    return {split: ids for split, ids in found.items() if ids}


def _about(dataset: Dataset, chosen: Selection, specs: tuple[ArraySpec, ...], more: Json) -> Json:
    return {
        **more,
        "dataset": dataset.spec.name,
        "description": dataset.spec.description,
        "recipe_sha256": dataset.spec.recipe_sha256,
        "layout": dataset.spec.layout,
        "samples": len(chosen),
        "ids_sha256": _digest(chosen.ids),
        "licence": dataset.spec.licence,
        "licences": list(dataset.manifest.licences),
        "attribution": list(dataset.manifest.attribution),
        "arrays": {flat_name(a): description(a) for a in specs},
        "slots": {g.name: list(g.slots) for g in dataset.spec.groups},
        "colours": {g.name: class_colours(dataset.spec, g) for g in dataset.spec.groups if g.classes},
        "legends": {g.name: {str(c.code): c.name for c in g.classes} for g in dataset.spec.groups if g.kind == "label"},
    }


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
