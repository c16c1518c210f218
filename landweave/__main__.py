"""Command line of the reader: info, query, show, browse, serve, check, prove, export.

Exit codes: 0 all is well, 1 an error or a fault found, 2 a wrong command line.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import landweave
from landweave.dataset import open_dataset
from landweave.errors import LandweaveError, to_install
from landweave.plain import printable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from landweave.dataset import Dataset
    from landweave.selection import Selection

_COLUMNS = ("id", "split", "lon", "lat", "datetime")
LEAST_BYTES = 2 << 30
"""Address space without which no command is begun, bytes: Arrow reserves 1 GiB of it, and ends the process by a signal
where none is left for its threads."""
_RAW = argparse.RawDescriptionHelpFormatter


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    arguments, unknown = _parser().parse_known_args(argv)
    if unknown:
        arguments.parser.error(f"unrecognized arguments: {' '.join(unknown)}")
    limit = _address_space()
    if limit is not None and limit < LEAST_BYTES:
        sys.stderr.write(
            f"landweave: `ulimit -v` is {limit >> 10}, but its libraries need {LEAST_BYTES >> 10}: raise it "
            "(`ulimit -v unlimited`)\n"
        )
        return 1
    try:
        return int(arguments.run(arguments))
    except LandweaveError as error:
        _complain(str(error))
        return 1
    except MemoryError:
        sys.stderr.write("landweave: not enough memory: select fewer samples, or raise `ulimit -v`\n")
        return 1
    except BrokenPipeError:
        sys.stderr.close()
        return 0
    except KeyboardInterrupt:
        return 130


def _address_space() -> int | None:
    """The soft limit that `ulimit -v` sets, bytes; None = unlimited, or a system that has none."""
    try:
        import resource
    except ModuleNotFoundError:  # not a Unix
        return None
    soft, _ = resource.getrlimit(resource.RLIMIT_AS)
    return None if soft == resource.RLIM_INFINITY else soft


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="landweave",
        description="Inspect and export a dataset that landweave built.",
        epilog="example: landweave info data/quickstart",
        formatter_class=_RAW,
    )
    parser.add_argument("--version", action="version", version=f"landweave {landweave.__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    info = _command(commands, "info", "print the contents of a dataset", "landweave info data/quickstart")
    info.add_argument("--json", action="store_true", help="as JSON")
    info.set_defaults(run=_info)
    query = _command(
        commands,
        "query",
        "list the samples that fulfil a condition",
        "landweave query data/quickstart \"worldcover_trees > 0.5 and split == 'train'\" --bbox 5 45 16 48",
    )
    _selection_arguments(query)
    query.add_argument("--columns", help="catalogue columns to print, separated by commas; 'all' for all columns")
    query.add_argument("--limit", type=_positive, default=20, help="number of samples to print (default 20)")
    query.add_argument("--json", action="store_true", help="one JSON object per line")
    query.set_defaults(run=_query)
    show = _command(
        commands,
        "show",
        "draw a contact sheet",
        "landweave show data/quickstart sheet.png \"split == 'test'\" --count 6",
    )
    show.add_argument("picture", type=Path, help="PNG file to write")
    _selection_arguments(show)
    show.add_argument(
        "--count", type=_positive, default=8, help="number of samples to draw, spread over the selection (default 8)"
    )
    show.set_defaults(run=_show)
    browse = _command(
        commands,
        "browse",
        "look at the samples in a browser: map, gallery, every layer, captions",
        "landweave browse data/quickstart",
    )
    _selection_arguments(browse)
    browse.add_argument("--static", type=Path, metavar="OUT", help="write plain files for a web host, and end")
    browse.add_argument(
        "--count",
        type=_positive,
        default=None,
        help="number of samples, spread over the selection (default: all; 1000 with --static)",
    )
    browse.add_argument("--host", default="127.0.0.1", help="address to listen on (default: this machine only)")
    browse.add_argument("--port", type=_port, default=8081, help="0: any free port (default 8081)")
    browse.set_defaults(run=_browse)
    serve = _command(
        commands,
        "serve",
        "serve the catalogue as a STAC API 1.0 (read-only)",
        "landweave serve data/quickstart --port 8080",
    )
    serve.add_argument("--host", default="127.0.0.1", help="address to listen on (default: this machine only)")
    serve.add_argument("--port", type=_port, default=8080, help="0: any free port (default 8080)")
    serve.set_defaults(run=_serve)
    check = _command(
        commands,
        "check",
        "verify every checksum and the consistency of all files; print one line per fault",
        "landweave check data/quickstart",
    )
    check.set_defaults(run=_check)
    prove = _command(
        commands,
        "prove",
        "execute every claim of the captions and every answer again, from the arrays and tables alone; print one line "
        "for each false one",
        "landweave prove data/quickstart",
    )
    _selection_arguments(prove)
    prove.add_argument("--json", action="store_true", help="the counts as JSON")
    prove.set_defaults(run=_prove)
    read = _command(
        commands,
        "texts",
        "print captions, and questions with their answers, to be read",
        "landweave texts data/quickstart --count 40",
    )
    _selection_arguments(read)
    read.add_argument("--count", type=_positive, default=10, help="captions, and pairs (default 10)")
    read.set_defaults(run=_texts)
    _export_command(commands)
    return parser


def _export_command(commands: Any) -> None:
    purpose = (
        "write a selection for other tools: webdataset, MosaicML streaming (mds), litdata, Hugging Face (parquet); "
        "geotiff: COGs, a static STAC catalogue and a GeoPackage for QGIS; geoparquet: vector objects and their "
        "relations; chat: questions, answers and captions as messages with pictures, for fine-tuning"
    )
    example = (
        'landweave export parquet data/quickstart out/ --where "worldcover_trees > 0.5" --arrays sentinel2,worldcover'
    )
    export: argparse.ArgumentParser = commands.add_parser(
        "export", help=purpose, description=purpose, epilog=f"example: {example}", formatter_class=_RAW
    )
    export.add_argument(
        "format",
        choices=("webdataset", "mds", "litdata", "parquet", "geotiff", "geoparquet", "chat"),
        help="format to write",
    )
    export.add_argument("dataset", help="path or URL (http(s)://, s3://, gs://, az://, hf://)")
    export.add_argument("out", type=Path, help="folder to create; an interrupted export continues")
    export.add_argument("--where", help="condition on catalogue columns, in Python syntax")
    _narrowing_arguments(export)
    export.add_argument("--arrays", help="modalities, labels or arrays, separated by commas (default: all)")
    export.add_argument("--compression", choices=("zstd",), help="compression of mds and litdata (default: none)")
    export.add_argument("--file-mb", type=_positive, help="decoded megabytes per file (default: depends on the format)")
    export.add_argument(
        "--image", metavar="LAYER", help="of parquet: add a column of pictures of this layer's first date"
    )
    export.set_defaults(run=_export, parser=export)


def _command(commands: Any, name: str, purpose: str, example: str) -> argparse.ArgumentParser:
    command: argparse.ArgumentParser = commands.add_parser(
        name, help=purpose, description=purpose, epilog=f"example: {example}", formatter_class=_RAW
    )
    command.add_argument("dataset", help="path or URL (http(s)://, s3://, gs://, az://, hf://)")
    command.set_defaults(parser=command)
    return command


def _selection_arguments(command: argparse.ArgumentParser) -> None:
    command.add_argument("where", nargs="?", help="condition on catalogue columns, in Python syntax")
    _narrowing_arguments(command)


def _narrowing_arguments(command: argparse.ArgumentParser) -> None:
    command.add_argument("--bbox", nargs=4, type=float, metavar=("WEST", "SOUTH", "EAST", "NORTH"), help="degrees")
    command.add_argument("--time", nargs=2, metavar=("FIRST", "LAST"), help="dates, for example 2021-06-01 2021-08-31")
    command.add_argument("--split", choices=("train", "val", "test"), help="only samples of this split")


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, got {value}")
    return value


def _port(text: str) -> int:
    value = int(text)
    if not 0 <= value <= 65_535:
        raise argparse.ArgumentTypeError(f"must be 0 to 65535, got {value}")
    return value


def _select(dataset: Dataset, arguments: argparse.Namespace) -> Selection:
    equal = {} if arguments.split is None else {"split": arguments.split}
    bbox = None if arguments.bbox is None else tuple(arguments.bbox)
    time = None if arguments.time is None else tuple(arguments.time)
    return dataset.query(arguments.where, bbox=bbox, time=time, **equal)


def _info(arguments: argparse.Namespace) -> int:
    dataset = open_dataset(arguments.dataset)
    facts: dict[str, Any] = {
        "name": dataset.spec.name,
        "description": dataset.spec.description,
        "samples": len(dataset),
        "splits": dataset.splits,
        "footprint_m": dataset.spec.size_m,
        "shards": dataset.spec.shards,
        "recipe_sha256": dataset.spec.recipe_sha256,
        "licences": list(dataset.manifest.licences),
        "attribution": list(dataset.manifest.attribution),
        **({"attributes": {a.name: a.dtype for a in dataset.spec.attributes}} if dataset.spec.attributes else {}),
        "arrays": {
            a.path: {
                "dims": list(a.dims[1:]),
                "shape": list(a.sample_shape),
                "dtype": a.dtype,
                "resolution_m": a.resolution_m,
                **({"extent_m": dataset.spec.extent_m(a.group)} if a.margin_m else {}),
                **({"bands_per_chunk": a.bands_per_chunk} if a.bands_per_chunk else {}),
                **({"side_by_side": True} if a.path in dataset.spec.packed else {}),
            }
            for a in dataset.spec.arrays
        },
        "observations": {g.name: int(dataset.catalogue.presence(g.name).sum()) for g in dataset.spec.groups},
    }
    if arguments.json:
        _print(json.dumps(facts, indent=1))
        return 0
    arrays, observations = facts.pop("arrays"), facts.pop("observations")
    for name, value in facts.items():
        lines = [f"{k} {v}" for k, v in value.items()] if isinstance(value, dict) else value
        words = [printable(line) for line in (lines if isinstance(lines, list) else [lines])]
        _print(f"{name:14} {(chr(10) + ' ' * 15 if name == 'attribution' else ', ').join(words)}")
    _print("")
    for path, array in arrays.items():
        there = observations[path.split("/")[0]]
        grid = " x ".join(f"{d} {n}" for d, n in zip(array["dims"], array["shape"], strict=True))
        grid += f"  over {array['extent_m']:g} m" if "extent_m" in array else ""
        grid += f"  {array['bands_per_chunk']} bands per chunk" if "bands_per_chunk" in array else ""
        grid += "  side by side" if "side_by_side" in array else ""
        _print(f"{path:28} {array['dtype']:8} {array['resolution_m']:>5g} m  {there:>7} obs  {grid}")
    return 0


def _query(arguments: argparse.Namespace) -> int:
    dataset = open_dataset(arguments.dataset)
    selection = _select(dataset, arguments)
    names = dataset.catalogue.schema.names
    chosen = list(_COLUMNS) if arguments.columns is None else arguments.columns.split(",")
    chosen = [n for n in names if n not in ("geometry", "links", "assets")] if chosen == ["all"] else chosen
    unknown = [c for c in chosen if c not in names]
    if unknown:
        _complain(f"no column {unknown[0]!r}; there are {', '.join(names)}")
        return 2
    rows = selection.table.select(chosen).slice(0, arguments.limit).to_pylist()
    if arguments.json:
        for row in rows:
            _print(json.dumps(row, default=str))
        return 0
    _table(chosen, rows)
    _print(
        f"{len(selection)} of {len(dataset)} samples" + (f", {len(rows)} shown" if len(rows) < len(selection) else "")
    )
    return 0


def _table(columns: list[str], rows: list[dict[str, Any]]) -> None:
    text = [[_cell(row[c]) for c in columns] for row in rows]
    widths = [max([len(c), *(len(line[i]) for line in text)]) for i, c in enumerate(columns)]
    for line in [columns, *text]:
        _print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.5g}"
    return printable(" ".join(str(value).split())[:60])[:60]


def _show(arguments: argparse.Namespace) -> int:
    from landweave.draw import contact_sheet

    dataset = open_dataset(arguments.dataset)
    ids = _select(dataset, arguments).ids
    if not ids:
        _complain("no sample fulfils the condition: nothing was drawn")
        return 1
    step = max(1, len(ids) // arguments.count)
    chosen = ids[::step][: arguments.count]
    try:
        title = f"{dataset.spec.name}: {len(chosen)} of {len(ids)} samples"
        figure = contact_sheet(title, [dataset.sample(sample_id) for sample_id in chosen])
        figure.savefig(arguments.picture, metadata={"Software": None})
    except ModuleNotFoundError as error:
        _complain(f"drawing needs {error.name}: {to_install('show')}")
        return 1
    except OSError as error:
        _complain(f"{arguments.picture}: cannot be written: {error.strerror}")
        return 1
    _print(f"{arguments.picture}: {len(chosen)} of {len(ids)} samples")
    return 0


_STATIC_SAMPLES = 1000
"""Samples of a static page unless the user says otherwise: each has a picture per layer and date."""


def _browse(arguments: argparse.Namespace) -> int:
    from landweave import browse

    dataset = open_dataset(arguments.dataset)
    selection = _select(dataset, arguments)
    if not len(selection):
        _complain("no sample fulfils the condition: there is nothing to show")
        return 1
    most = arguments.count or (_STATIC_SAMPLES if arguments.static else len(selection))
    if most < len(selection):
        ids = selection.ids
        spread = [ids[i * len(ids) // most] for i in range(most)]
        selection = dataset.query({"id": spread})
        _complain(f"{most} of {len(ids)} samples are shown, spread over the selection (--count)")
    try:
        if arguments.static:
            browse.write(dataset, selection, arguments.static, _Progress("wrote", "samples"))
            _print(
                f"{arguments.static}: open index.html from any web server, for example: "
                f"python -m http.server --directory {arguments.static}"
            )
        else:
            browse.serve(dataset, selection, arguments.dataset, (arguments.host, arguments.port), _print)
    except ModuleNotFoundError as error:
        _complain(f"browsing needs {error.name}: {to_install('browse')}")
        return 1
    except OSError as error:
        _complain(f"{arguments.static or 'the page'}: cannot be written: {error.strerror}")
        return 1
    return 0


def _serve(arguments: argparse.Namespace) -> int:
    try:
        from landweave.serve import serve

        serve(open_dataset(arguments.dataset), arguments.host, arguments.port, _print)
    except ModuleNotFoundError as error:
        _complain(f"serving needs {error.name}: {to_install('serve')}")
        return 1
    return 0


def _check(arguments: argparse.Namespace) -> int:
    from landweave.check import Edited, check

    dataset, faults = open_dataset(arguments.dataset), 0
    for fault in check(dataset, progress=_Progress("checked", "shards")):
        faults += not isinstance(fault, Edited)
        _print(printable(fault))
    if faults:
        _complain(f"{faults} fault{'s' if faults > 1 else ''} found")
        return 1
    _print(f"{len(dataset)} samples in {dataset.spec.shards} shards: no fault found")
    return 0


def _prove(arguments: argparse.Namespace) -> int:
    from landweave.prove import Proof, prove

    dataset, proof = open_dataset(arguments.dataset), Proof()
    for line in prove(dataset, _select(dataset, arguments), proof, _Progress("proved", "samples")):
        (_complain if arguments.json else _print)(line)
    counts = dict(sorted(proof.claims.items(), key=lambda pair: (-pair[1], pair[0])))
    told = {
        "captions": proof.captions,
        "stored_without_claims": proof.unclaimed,
        "claims": proof.claims.total(),
        "questions": proof.questions,
        "false": proof.false,
        "by_predicate": counts,
        "by_task": dict(sorted(proof.tasks.items())),
    }
    if arguments.json:
        _print(json.dumps(told))
    else:
        asked = f" and {proof.questions:,} answers" if proof.questions else ""
        _print(f"{proof.claims.total():,} claims of {proof.captions:,} captions{asked} executed: {proof.false:,} false")
        for predicate, count in counts.items():
            _print(f"  {predicate:16} {count:>9,}")
        for task, count in sorted(proof.tasks.items(), key=lambda pair: (-pair[1], pair[0])):
            _print(f"  question: {task:16} {count:>7,}")
        if proof.unclaimed:
            _print(f"{proof.unclaimed:,} captions stored without claims")
    return 1 if proof.false else 0


def _texts(arguments: argparse.Namespace) -> int:
    from landweave.texts import texts

    dataset, shown = open_dataset(arguments.dataset), 0
    for block in texts(dataset, _select(dataset, arguments), arguments.count):
        _print(block)
        shown += 1
    if not shown:
        _complain(f"{dataset.spec.name} has neither captions nor questions")
    return 0 if shown else 1


class _Progress:
    """Progress and time left: one live line on a terminal, a line every ten seconds in a log."""

    def __init__(self, verb: str, unit: str) -> None:
        self._words, self._live = (verb, unit), sys.stderr.isatty()
        self._start_s = self._last_s = time.monotonic()

    def __call__(self, done: int, total: int) -> None:
        now_s = time.monotonic()
        if now_s - self._last_s < (0.5 if self._live else 10.0) and not (self._live and done == total):
            return
        self._last_s = now_s
        left_s = (now_s - self._start_s) / done * (total - done)
        line = f"{self._words[0]} {done} of {total} {self._words[1]}, about {left_s:.0f} s left"
        sys.stderr.write(f"\r\033[K{line}" + ("\n" if done == total else "") if self._live else f"{line}\n")
        sys.stderr.flush()


def _export(arguments: argparse.Namespace) -> int:
    from landweave.export import export

    dataset = open_dataset(arguments.dataset)
    selection = _select(dataset, arguments)
    export(
        dataset,
        arguments.format,
        arguments.out,
        selection=selection,
        arrays=None if arguments.arrays is None else arguments.arrays.split(","),
        compression=arguments.compression,
        file_bytes=None if arguments.file_mb is None else arguments.file_mb * 1_000_000,
        image=arguments.image,
        progress=_Progress("exported", "samples"),
    )
    _print(f"{arguments.out}: {len(selection)} of {len(dataset)} samples as {arguments.format}")
    return 0


def _print(text: str) -> None:
    sys.stdout.write(printable(text, lines=True) + "\n")


def _complain(text: str) -> None:
    sys.stderr.write(f"landweave: {printable(text)}\n")


if __name__ == "__main__":
    sys.exit(main())
