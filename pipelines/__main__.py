"""The factory's commands: plan, build, status, schema."""

from __future__ import annotations

import json
import logging
import os
import sys
from pathlib import Path
from typing import Annotated, NoReturn

import stamina.instrumentation
import typer

from pipelines.recipes import RecipeError, RecipeFile, json_schema, read_recipe

OK, ERROR, USAGE, PARTIAL, INTERRUPTED = 0, 1, 2, 3, 130
"""Exit codes: all obtained; failed; wrong command line (typer's own); built, but something is absent that an archive
did not deliver; stopped by the user."""

stamina.instrumentation.set_on_retry_hooks([])  # retries are counted, and told by `status`, not printed one by one

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
    """A local folder, or the desk beside a dataset in an object store."""
    from pipelines.shards import StoreError, arrive

    try:
        return arrive(text)
    except StoreError as error:
        raise typer.BadParameter(str(error)) from None


OutArgument = Annotated[
    Path, typer.Argument(metavar="OUT", parser=_place, help="folder of the dataset, or its URL: s3://, gs://, az://")
]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="override a key of the recipe: --set sampling.count=1000"),
]


@app.command(epilog="Example: python -m pipelines plan recipes/quickstart.yaml data/quickstart")
def plan(
    recipe: RecipeArgument,
    out: OutArgument,
    overrides: SetOption = None,
    again: Annotated[bool, typer.Option("--again", help="ask again for what the archives did not answer")] = False,
) -> None:
    """Decide where, when and which scenes, and print what a build will cost. Fetches metadata only."""
    from pipelines.jobs import plan_dataset

    with _errors():
        summary = plan_dataset(_recipe(recipe, overrides), out, again=again)
        typer.echo(summary.text())
        if summary.unavailable:
            _stop(PARTIAL, _unavailable(summary.unavailable) + "; run the same command with --again to ask anew")


@app.command(
    epilog="Example: python -m pipelines build recipes/quickstart.yaml data/quickstart --workers 2",
    context_settings={"allow_extra_args": True},
)
def build(
    context: typer.Context,
    recipe: RecipeArgument,
    out: OutArgument,
    overrides: SetOption = None,
    workers: Annotated[
        int, typer.Option(min=1, max=256, help="worker processes on this machine", show_default="one a core")
    ] = os.cpu_count() or 1,
    runner: Annotated[
        str, typer.Option(help="a file of deploy/runners/, or the path of one: local, flink, prism, ...")
    ] = "local",
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="also rebuild shards that lack what an archive did not deliver")
    ] = False,
) -> None:
    """Plan if need be, then build the shards that are not there yet. Can be interrupted and run again.

    What follows -- is passed on to the runner. Exit code: 0 all obtained, 3 built but an archive did not deliver
    something (named), 1 failed.
    """
    logging.basicConfig(level=logging.ERROR, format="%(message)s")  # Beam warns of what nobody here uses
    from pipelines.engines import read_engine
    from pipelines.jobs import build_dataset

    with _errors():
        engine = read_engine(runner, workers, context.args)
        result = build_dataset(_recipe(recipe, overrides), out, engine, retry_failed=retry_failed, say=typer.echo)
        typer.echo(result.text())
        if result.undelivered:
            _stop(PARTIAL, "\n".join(result.undelivered))


@app.command(epilog="Example: python -m pipelines status data/quickstart --json")
def status(out: OutArgument, as_json: Annotated[bool, typer.Option("--json", help="print JSON")] = False) -> None:
    """Shards done and left, samples by outcome, of a running, interrupted or finished build."""
    from pipelines.jobs import status_of

    with _errors():
        found = status_of(out)
        typer.echo(json.dumps(found.json(), indent=2) if as_json else found.text())


@app.command(epilog="Example: python -m pipelines schema > docs/recipe.schema.json")
def schema() -> None:
    """Print the JSON Schema of recipe files, for editors."""
    typer.echo(json.dumps(json_schema(), indent=2))


def _recipe(path: Path, overrides: list[str] | None) -> RecipeFile:
    return read_recipe(path, overrides or ())


class _errors:  # noqa: N801 - reads as a statement
    """A user's mistake and the world's refusals become one line; our own mistakes keep their traceback."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> None:
        if isinstance(error, KeyboardInterrupt):
            sys.stderr.write("\ninterrupted; finished shards are kept: run the same command again to go on\n")
            sys.stderr.flush()
            os._exit(INTERRUPTED)  # Beam's worker threads would hold the process
        if isinstance(error, RecipeError):
            for line in error.lines:
                typer.echo(f"error: {line}", err=True)
            raise typer.Exit(ERROR)
        if isinstance(error, _expected()):
            _stop(ERROR, f"error: {error}")


def _expected() -> tuple[type[Exception], ...]:
    """Errors whose text is written for users."""
    from pipelines.access.http import AccessError, SettingError
    from pipelines.access.osm import BadExtractError
    from pipelines.engines import RunnerError
    from pipelines.jobs import BuildError
    from pipelines.shards import IncompleteError, OtherDatasetError, StoreError
    from pipelines.tables import PlanError
    from sampling import SamplingError

    known = (
        AccessError,
        BadExtractError,
        BuildError,
        IncompleteError,
        OtherDatasetError,
        PlanError,
        RunnerError,
        SamplingError,
    )
    return (*known, StoreError, SettingError, *_engine_errors())


def _engine_errors() -> tuple[type[Exception], ...]:
    """Beam's failures, if Beam was needed."""
    build = sys.modules.get("pipelines.build")
    return () if build is None else (build.EngineError,)


def _unavailable(layers: dict[str, int]) -> str:
    return "; ".join(f"{layer}: {count} wishes could not be planned" for layer, count in layers.items())


def _stop(code: int, message: str) -> NoReturn:
    typer.echo(message, err=True)
    raise typer.Exit(code)


if __name__ == "__main__":
    app()
