"""The commands plan, build, add, withdraw, status, objects, judge, describe, catalogue, init and schema."""

from __future__ import annotations

import json
import logging
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import stamina.instrumentation
import typer

from pipelines.access.http.permission import allow
from pipelines.failures import (
    BUILD_BYTES,
    ERROR,
    PARTIAL,
    USAGE,
    check_address_space,
    echo,
    is_out_of_memory,
    memory_text,
    one_line_errors,
    stop,
)
from pipelines.recipes import RecipeFile, json_schema, read_recipe

if TYPE_CHECKING:
    from pipelines.journal import Prices


stamina.instrumentation.set_on_retry_hooks([])  # `status` counts retries; they are not printed one by one

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help="From one recipe file to a training-ready Earth-observation dataset.\n\n"
    "Example: python -m pipelines build recipes/quickstart.yaml data/quickstart",
)

RecipeArgument = Annotated[Path, typer.Argument(metavar="RECIPE", help="the recipe's YAML file")]


def _place(text: str) -> Path:
    """A local folder, or the local work folder of a dataset in an object store."""
    if "://" not in text:
        return Path(text)
    from landweave.plain import printable
    from pipelines.shards import StoreError, arrive

    try:
        return arrive(text)
    except StoreError as error:
        raise typer.BadParameter(printable(error)) from None


OutArgument = Annotated[
    Path, typer.Argument(metavar="OUT", parser=_place, help="folder of the dataset, or its URL: s3://, gs://, az://")
]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="override a key of the recipe: --set sampling.count=1000"),
]

LimitOption = Annotated[
    int | None,
    typer.Option("--limit", min=1, help="a trial: only this many samples, spread evenly over all of them"),
]
HostOption = Annotated[
    list[str] | None,
    typer.Option(
        "--allow-host",
        metavar="HOST[:PORT]",
        help="also let the recipe send logins to this host (for workers on other machines: LANDWEAVE_TRUSTED_HOSTS)",
    ),
]
PathOption = Annotated[
    list[Path] | None,
    typer.Option(
        "--allow-path",
        metavar="DIR",
        help="also let the recipe read files in this folder (or set LANDWEAVE_ALLOWED_PATHS)",
    ),
]

PricesOption = Annotated[
    Path | None, typer.Option(metavar="FILE", help="YAML file with your prices", show_default="deploy/prices.yaml")
]


def _print_version(wanted: bool) -> None:
    if wanted:
        from pipelines.shards import __version__

        echo(f"landweave {__version__}")
        raise typer.Exit


@app.callback()
def main(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="print the version and exit")
    ] = False,
) -> None:
    """Options that come before a command."""


@app.command(
    epilog="Example: python -m pipelines plan recipes/quickstart.yaml data/quickstart",
    context_settings={"allow_extra_args": True},
)
def plan(
    context: typer.Context,
    recipe: RecipeArgument,
    out: OutArgument,
    overrides: SetOption = None,
    limit: LimitOption = None,
    again: Annotated[
        bool, typer.Option("--again", help="repeat only the requests that the archives did not answer")
    ] = False,
    runner: Annotated[
        str | None,
        typer.Option(
            help="plan the partitions of a large recipe on an engine, as `build` does: local (processes), flink, ...",
            show_default="two threads of this process",
        ),
    ] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, max=256, help="worker processes of --runner local", show_default="one per core")
    ] = None,
    prices: PricesOption = None,
    allow_host: HostOption = None,
    allow_path: PathOption = None,
) -> None:
    """Choose places, dates and scenes; print what was found, why the rest is missing, and the cost of a build.

    It fetches metadata only. The table at the end simulates 1 to 1,000 workers: time, cost and bottleneck. Options
    after -- go to the runner. Exit codes: 0 planned; 3 planned, but a whole layer is empty or an archive did not answer
    (both are named); 1 failed.
    """
    with one_line_errors():
        allow(allow_host or (), allow_path or ())
        file, known = _recipe(recipe, overrides, limit), _prices(prices)
        from pipelines.assemble import objects_text  # seconds: not before the recipe is one
        from pipelines.engines import read_engine
        from pipelines.fusion.check import check_fused
        from pipelines.jobs import plan_dataset
        from pipelines.plan import outlook_text, plan_text, trouble
        from pipelines.shards.desk import is_remote
        from pipelines.speak import estimates

        engine = None
        if runner or workers:
            engine = read_engine(runner or "local", workers or os.cpu_count() or 1, context.args)
        elif context.args:
            stop(USAGE, f"{context.args[0]}: is for a runner, and there is none; name it with --runner, or remove this")
        summary = plan_dataset(file, out, again=again, engine=engine)
        echo(plan_text(file.recipe, summary))
        for line in check_fused(file):
            echo(f"fused     {line}")
        for found in estimates(file, out, summary.samples):
            echo(f"model     {found.text()}")
        echo(objects_text(file.recipe, summary.samples, summary.shards, remote=is_remote(out)))
        echo(outlook_text(file.recipe, summary, known))
        if lines := trouble(summary):
            stop(PARTIAL, "\n".join(lines))


@app.command(epilog="Example: python -m pipelines estimate recipes/seeds/ssl4eo-s12.yaml")
def estimate(
    recipe: RecipeArgument,
    overrides: SetOption = None,
    limit: LimitOption = None,
    samples: Annotated[
        int | None,
        typer.Option(min=1, help="number of samples, where it is in a file of the recipe that is not here"),
    ] = None,
) -> None:
    """Print about what a recipe costs at full size, without asking any archive.

    It takes the recipe's samples, dates and pixels, and how densely each product's scenes lie. `plan` is exact about
    scenes: it asks the archives.
    """
    with one_line_errors():
        file = _recipe(recipe, overrides, limit)
        from pipelines.plan.full_size import full_size, full_size_text

        echo(full_size_text(full_size(file, samples)))


@app.command(
    epilog="Example: python -m pipelines build recipes/quickstart.yaml data/quickstart --workers 2",
    context_settings={"allow_extra_args": True},
)
def build(
    context: typer.Context,
    recipe: RecipeArgument,
    out: OutArgument,
    overrides: SetOption = None,
    limit: LimitOption = None,
    workers: Annotated[
        int, typer.Option(min=1, max=256, help="worker processes on this machine", show_default="one per core")
    ] = os.cpu_count() or 1,
    runner: Annotated[
        str,
        typer.Option(help="name of a file in deploy/runners/ (local, flink, prism, ...), or the path of your own file"),
    ] = "local",
    retry_failed: Annotated[
        bool,
        typer.Option("--retry-failed", help="also rebuild shards with observations that an archive did not deliver"),
    ] = False,
    max_requests: Annotated[
        int | None, typer.Option(min=1, help="stop cleanly before this run sends more requests")
    ] = None,
    max_cost: Annotated[
        float | None, typer.Option(min=0.0, help="stop cleanly before this run costs more, in the prices' currency")
    ] = None,
    prices: PricesOption = None,
    max_failed: Annotated[
        float,
        typer.Option(min=0.0, max=1.0, help="largest share of failed shards with which the dataset is still finished"),
    ] = 0.01,
    metrics_port: Annotated[
        int | None, typer.Option(min=1, max=65535, help="serve OpenMetrics of this build at 127.0.0.1:PORT/metrics")
    ] = None,
    allow_host: HostOption = None,
    allow_path: PathOption = None,
) -> None:
    """Plan if needed, then build the missing shards. You can interrupt it and run it again.

    Options after -- go to the runner. Exit codes: 0 built; 3 built, but a whole layer is empty or an archive did not
    deliver an observation (both are named), or stopped at a limit; 1 failed.
    """
    logging.basicConfig(level=logging.ERROR, format="%(message)s")  # Beam warns of what nobody here uses
    with one_line_errors():
        allow(allow_host or (), allow_path or ())
        file = _recipe(recipe, overrides, limit)
        check_address_space(BUILD_BYTES)
        from pipelines.engines import read_engine  # seconds: not before the recipe is one
        from pipelines.jobs import Bounds, build_dataset
        from pipelines.journal import LimitReached, Limits
        from pipelines.metrics import serve

        engine = read_engine(runner, workers, context.args)
        known = _prices(prices)
        bounds = Bounds(limits=Limits(requests=max_requests, cost=max_cost), prices=known, max_failed=max_failed)
        try:
            with serve(out, metrics_port):
                result = build_dataset(file, out, engine, retry_failed=retry_failed, bounds=bounds, say=echo)
        except LimitReached as reached:
            stop(PARTIAL, str(reached))
        echo(result.text(known))
        if result.undelivered or result.failed or result.empty:
            stop(PARTIAL, "\n".join([*result.empty, *result.undelivered]))


@app.command(
    epilog="Example: python -m pipelines add data/quickstart data/quickstart-enmap",
    context_settings={"allow_extra_args": True},
)
def add(
    context: typer.Context,
    out: OutArgument,
    extra: Annotated[
        str,
        typer.Argument(
            metavar="EXTRA",
            help="folder or URL of the finished dataset to add; or a recipe (.yaml) with fused labels or texts",
        ),
    ],
    overrides: SetOption = None,
    workers: Annotated[
        int, typer.Option(min=1, max=256, help="worker processes for labels and texts", show_default="one per core")
    ] = os.cpu_count() or 1,
    runner: Annotated[str, typer.Option(help="of fused labels and texts: see `build`")] = "local",
    replace: Annotated[
        bool, typer.Option("--replace", help="replace sets of texts of the same names that were made in another way")
    ] = False,
    estimate: Annotated[
        bool, typer.Option("--estimate", help="print what the texts of a model will cost, and ask nothing")
    ] = False,
    allow_host: HostOption = None,
    allow_path: PathOption = None,
) -> None:
    """Add the modalities, labels and captions of a second dataset to a finished one, without rewriting its shards.

    Build the second one from a recipe with the same seed, sampling, grid, splits and shards, and only the new layers.
    Labels of `kind: fused` and sets of `texts` need no second dataset: give their recipe instead. Texts can be made
    while the dataset is still being built: shards that are there get theirs, and a run after the build adds them. Exit
    codes: 0 added; 3 not yet, because the dataset is not finished or a batch is under way: run the same command again.

    Example: python -m pipelines add data/quickstart words.yaml --estimate
    """
    from pipelines.progress import ProgressPrinter
    from pipelines.shards import add as add_dataset

    with one_line_errors():
        if extra.lower().endswith((".yaml", ".yml")):
            logging.basicConfig(level=logging.ERROR, format="%(message)s")
            allow(allow_host or (), allow_path or ())
            file = _recipe(Path(extra), overrides, None)
            from pipelines.engines import read_engine
            from pipelines.jobs import add_fused, add_text_sets
            from pipelines.speak import lacks_fused

            if estimate:
                _print_estimates(file, out)
                return
            engine = read_engine(runner, workers, context.args)
            if not file.recipe.texts or lacks_fused(file, out):
                add_fused(file, out, engine, echo)
            if file.recipe.texts and not add_text_sets(file, out, engine, echo, replace_old=replace):
                stop(PARTIAL, "not all texts are added yet: run the same command again")
            return
        printer = ProgressPrinter("adding", "shards")
        found = add_dataset(out, extra, progress=printer)
        names = ", ".join(g.name for g in found.manifest.spec.groups if g.revision == found.revision)
        added = names or "only captions: every layer existed already"
        said = (
            f"added {added}" if found.new else f"{names or 'captions'}: an earlier run added it, nothing was left to do"
        )
        echo(f"revision {found.revision}: {said}")


def _print_estimates(file: RecipeFile, out: Path) -> None:
    from pipelines.speak import estimates
    from pipelines.tables import PLAN_FOLDER, read_summary

    summary = read_summary(out / PLAN_FOLDER)
    found = estimates(file, out, 0 if summary is None else summary.samples)
    for line in found:
        echo(line.text())
    if not found:
        echo("the recipe has no texts of a model: nothing is asked, and nothing is paid")


@app.command(epilog="Example: python -m pipelines withdraw data/quickstart words-a")
def withdraw(
    out: OutArgument, name: Annotated[str, typer.Argument(metavar="SET", help="name of the set of texts")]
) -> None:
    """Take a set of texts out of a finished dataset. Readers that opened it before still see it."""
    with one_line_errors():
        from pipelines.jobs import withdraw_text_set

        echo(f"revision {withdraw_text_set(out, name)}: texts {name} are withdrawn")


@app.command(epilog="Example: python -m pipelines status data/quickstart --json")
def status(
    out: OutArgument,
    as_json: Annotated[bool, typer.Option("--json", help="print JSON")] = False,
    as_metrics: Annotated[bool, typer.Option("--openmetrics", help="print OpenMetrics text")] = False,
    prices: PricesOption = None,
) -> None:
    """Print the progress, outcomes and cost of a running, interrupted or finished build."""
    from pipelines.metrics import openmetrics
    from pipelines.status import planning_of, status_of

    with one_line_errors():
        if (planning := planning_of(out)) is not None and not as_metrics:
            echo(json.dumps(planning.json(), indent=2) if as_json else planning.text())
            return
        found, known = status_of(out), _prices(prices)
        if as_metrics:
            echo(openmetrics(found), nl=False)
        else:
            echo(json.dumps(found.json(known), indent=2) if as_json else found.text(known))


@app.command(epilog="Example: python -m pipelines objects bavaria.osm.pbf bavaria.parquet")
def objects(
    extract: Annotated[Path, typer.Argument(metavar="EXTRACT", help="the OpenStreetMap extract, a .osm.pbf file")],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="the GeoParquet file to write")],
) -> None:
    """Write the objects of an OpenStreetMap extract as GeoParquet, for `sampling.from` (osm_id, kind, tags, shapes)."""
    from pipelines.access.openstreetmap.extract import prepare_as
    from pipelines.progress import counted

    with one_line_errors():
        if out.suffix.lower() not in (".parquet", ".geoparquet"):
            stop(USAGE, f"error: {out.name}: the file to write is GeoParquet; end its name in .parquet")
        found = prepare_as(extract, out)
        echo(f"{out.name}: {counted(found.objects, 'object')} of {found.file}, {found.snapshot:%Y-%m-%d}")
        for (_, words), number in found.lost.items():
            echo(f"left out: {number:,} {words}")


@app.command(epilog="Example: python -m pipelines judge facts.json captions.jsonl")
def judge(
    facts: Annotated[Path, typer.Argument(metavar="FACTS", help="JSON list of records of facts, each with an id")],
    captions: Annotated[
        Path, typer.Argument(metavar="CAPTIONS", help="JSON Lines: id, facts (the id of a record) and text")
    ],
) -> None:
    """Check captions against facts: read each text into claims, and compare every claim with the facts.

    Prints one line of JSON per caption, in the same order: id, accepted, reason, claims. Exit code 3 if a line could
    not be read or names no facts.
    """
    from pipelines.captions.records import FactsError, read_facts, verdicts

    unread = 0
    try:
        known = read_facts(facts)
        with captions.open("rb") as file:
            for verdict, read in verdicts(file, known):
                sys.stdout.write(json.dumps(verdict, ensure_ascii=True) + "\n")
                unread += not read
    except FactsError as error:
        stop(ERROR, str(error))
    except BrokenPipeError:
        raise
    except OSError as error:
        stop(ERROR, f"{captions.name}: {error.strerror or error}: give a file of JSON Lines with id, facts and text")
    if unread:
        stop(PARTIAL, f"{unread} lines could not be judged: see their reasons")


@app.command(epilog="Example: python -m pipelines describe https://planetarycomputer.microsoft.com/api/stac/v1 naip")
def describe(
    url: Annotated[str, typer.Argument(metavar="URL", help="STAC API, catalog.json, collection.json or .parquet")],
    collection: Annotated[str, typer.Argument(metavar="COLLECTION", help="id of the collection")],
) -> None:
    """Print the YAML block of a collection, from its own description and one of its items, for `sources` of a recipe.

    It fetches metadata only. What the archive does not state is marked with TODO.
    """
    from pipelines.describe import describe as described

    with one_line_errors():
        echo(described(url, collection), nl=False)


@app.command(epilog="Example: python -m pipelines catalogue orthos --datetime 2021-06")
def catalogue(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="folder of your own GeoTIFFs")],
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="the catalogue: .parquet or .json, in FOLDER or above",
            show_default="FOLDER/items.parquet",
        ),
    ] = None,
    when: Annotated[
        str | None,
        typer.Option("--datetime", metavar="TIME", help="date of all images: 2021, 2021-06, 2021-06-05, or START/END"),
    ] = None,
    pattern: Annotated[
        str | None,
        typer.Option("--date-pattern", metavar="PATTERN", help="where names have the date: %Y%m%d, or ortho_%Y-%m-%d"),
    ] = None,
    collection: Annotated[str | None, typer.Option(help="id of the collection", show_default="name of FOLDER")] = None,
) -> None:
    """Make the catalogue of a folder of your own images, and print the lines for a recipe.

    Headers are read, pixels are not. Without --datetime and --date-pattern the date is each file's TIFFTAG_DATETIME.
    Exit codes: 0 all images are in the catalogue; 3 some are not (each is named, with the reason); 1 none is.
    """
    from pipelines.catalogue import Dates, date_in, make_catalogue, period_of, text_of

    with one_line_errors():
        try:
            if pattern is not None:
                date_in("", pattern)
            dates = Dates(stated=None if when is None else period_of(when), pattern=pattern)
        except ValueError as error:
            stop(USAGE, f"error: {error}")
        out = out or folder / "items.parquet"
        found = make_catalogue(folder, out, dates, collection)
        echo(text_of(found, out, folder))
        lines = [f"refused: {path}: {why}" for path, why in found.refused]
        if lines or not found.items:
            stop(PARTIAL if found.items else ERROR, "\n".join(lines or ["error: no .tif or .tiff in the folder"]))


@app.command(epilog="Example: python -m pipelines init first.yaml --bbox 11.2,48.1,11.9,48.4 --archive earth-search")
def init(
    path: Annotated[Path, typer.Argument(metavar="RECIPE", help="the file to write; it must not exist")],
    bbox: Annotated[str | None, typer.Option(help="your area: west,south,east,north in degrees")] = None,
    area: Annotated[str | None, typer.Option(help="your area: file of polygons, relative to the recipe")] = None,
    archive: Annotated[
        list[str] | None,
        typer.Option(
            help="planetary-computer (default), earth-search, earthengine, or the address of a STAC API; may be given "
            "several times: the first that has a layer gives it"
        ),
    ] = None,
    year: Annotated[int, typer.Option(min=1980, max=2200, help="year of the images")] = 2023,
) -> None:
    """Write a minimal recipe with comments for your area and archives, to begin from; nothing is fetched."""
    from pipelines.first import write_first

    with one_line_errors():
        write_first(path, bbox, area, archive or (), year)
        echo(f"{path}: written; next: python -m pipelines plan {path} data/{path.stem} --limit 10")


@app.command(epilog="Example: python -m pipelines schema > docs/recipe.schema.json")
def schema(
    as_page: Annotated[bool, typer.Option("--page", help="print the reference page, docs/recipe.md, instead")] = False,
) -> None:
    """Print the JSON Schema of recipe files, for editors."""
    from pipelines.reference import page

    echo(page() if as_page else json.dumps(json_schema(), indent=2), nl=not as_page)


def _recipe(path: Path, overrides: list[str] | None, limit: int | None) -> RecipeFile:
    return read_recipe(path, [*(overrides or ()), *([] if limit is None else [f"limit={limit}"])])


def _prices(path: Path | None) -> Prices:
    from pipelines.journal import read_prices
    from pipelines.journal.prices import PRICES

    return read_prices(path or PRICES)


def _run() -> None:
    """Run the command line."""
    try:
        app()
    except (MemoryError, ImportError, SystemError) as error:  # before a command had begun
        if not is_out_of_memory(error):
            raise
        sys.exit(f"error: {memory_text()}")


if __name__ == "__main__":
    _run()
