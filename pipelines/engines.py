"""The engine of a build: a runner file, and options from the command line."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

if TYPE_CHECKING:
    from collections.abc import Sequence

RUNNERS = Path(__file__).resolve().parents[1] / "deploy" / "runners"
"""Runner files that `--runner NAME` finds."""
LOCAL = "FnApiRunner"
"""Beam's runner on this machine, named: Beam's default one tries to fetch a binary from the network."""


FAR = "DataflowRunner"
"""Beam's runner whose workers never share a folder with this machine."""


class RunnerError(ValueError):
    """A runner file that is not there or not one; the text says what is wrong with it."""


@dataclass(frozen=True, kw_only=True)
class Engine:
    """The engine and its options."""

    workers: int = 1
    """Worker processes on this machine for Beam's local runner; 1 = inside this process."""
    beam: str = LOCAL
    """Name of a Beam runner."""
    command: tuple[str, ...] = ()
    """Instead of Beam: a program that is called with dataset, file of shard numbers, folder of failures, options."""
    options: tuple[str, ...] = ()
    """Options of the runner, or of the command."""


def read_engine(runner: str, workers: int, more: Sequence[str]) -> Engine:
    """The engine of a runner file.

    Args:
        runner: name of a file in deploy/runners/, or path of one.
        workers: worker processes of the local runner.
        more: options from the command line; they win over the file's.

    Raises:
        RunnerError: there is no such file, or it has another form.
    """
    path = Path(runner) if runner.endswith((".yaml", ".yml")) else RUNNERS / f"{runner}.yaml"
    try:
        found = YAML(typ="safe").load(path)
    except FileNotFoundError:
        known = ", ".join(sorted(p.stem for p in RUNNERS.glob("*.yaml")))
        raise RunnerError(f"--runner {runner}: there is no such runner file; the runners are {known}") from None
    except YAMLError as error:
        raise RunnerError(f"{path.name}: is not YAML: {str(error).splitlines()[0]}") from None
    return _engine(path.name, found, workers, more)


def _engine(name: str, found: Any, workers: int, more: Sequence[str]) -> Engine:
    if not isinstance(found, dict) or set(found) not in ({"beam", "options"}, {"command", "options"}):
        raise RunnerError(f"{name}: must contain `options` and either `beam` or `command`")
    if not isinstance(found["options"], dict):
        raise RunnerError(f"{name}: options: must be a mapping of option to value")
    options = (*(f"--{key}={value}" for key, value in found["options"].items()), *more)
    if "beam" in found:
        return Engine(workers=workers, beam=str(found["beam"]), options=options)
    return Engine(command=tuple(str(part) for part in found["command"]), options=options)
