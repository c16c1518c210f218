"""Environments that hold what a list of requirements brings and nothing else.

`make test-packages` installs them with pip, as the image and the wheel do. Elsewhere they are made in a second, without
a network: a fresh virtual environment into which the files of those installed packages are linked that the list needs.
"""

from __future__ import annotations

import importlib.metadata
import os
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

CHECKOUT = Path(__file__).parents[2]
WITH_PIP = os.environ.get("LANDWEAVE_PACKAGES") == "pip"
PROJECT: dict[str, Any] = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())


class NotInstalledError(Exception):
    """A package is in no environment of this machine."""


@dataclass(frozen=True)
class Environment:
    """A virtual environment."""

    folder: Path

    def run(self, *words: str | Path, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run its Python from an empty folder, with no packages but its own and what PYTHONPATH names."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
        command = [str(self.folder / "bin" / "python"), *map(str, words)]
        here = self.folder / "empty"
        here.mkdir(exist_ok=True)
        return subprocess.run(
            command, env={**kept, **variables}, cwd=here, capture_output=True, text=True, check=False, timeout=600
        )


def group(name: str) -> list[str]:
    """Requirements of a dependency group."""
    found: list[str] = []
    for entry in PROJECT["dependency-groups"][name]:
        found += [entry] if isinstance(entry, str) else group(entry["include-group"])
    return found


def extra(name: str | None) -> list[str]:
    """Requirements of the wheel, with one of its extras."""
    return [*PROJECT["project"]["dependencies"], *PROJECT["project"]["optional-dependencies"].get(name, [])]


def of_group(name: str, folder: Path) -> Environment:
    """What the image installs: a group, and no wheel."""
    if not WITH_PIP:
        return _linked(group(name), folder)
    made = _fresh(folder, with_pip=True)
    _pip(made, "install", "--constraint", "constraints.txt", "--group", name)
    return made


def of_wheel(name: str | None, folder: Path) -> Environment:
    """The reader's wheel with one of its extras."""
    if WITH_PIP:
        made = _fresh(folder, with_pip=True)
        _pip(made, "install", f"{CHECKOUT}[{name}]" if name else str(CHECKOUT))  # as a user does: the newest of all
        return made
    made = _linked(extra(name), folder)
    (wheel,) = PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    shutil.copytree(CHECKOUT / wheel, _site(made) / wheel)
    return made


def _fresh(folder: Path, *, with_pip: bool) -> Environment:
    more = [] if with_pip else ["--without-pip"]
    subprocess.run([sys.executable, "-m", "venv", *more, str(folder)], check=True)
    return Environment(folder)


def _pip(made: Environment, *words: str) -> None:
    program = [str(made.folder / "bin" / "python"), "-m", "pip", "--quiet"]
    subprocess.run([*program, "install", "--upgrade", "pip>=25.1"], check=True)
    subprocess.run([*program, *words], check=True, cwd=CHECKOUT)


def _site(made: Environment) -> Path:
    (found,) = made.folder.glob("lib/python3.*/site-packages")
    return found


def _linked(requirements: Iterable[str], folder: Path) -> Environment:
    made = _fresh(folder, with_pip=False)
    site = _site(made)
    for distribution in _needed(requirements):
        for file in distribution.files or ():
            if ".." in file.parts or "__pycache__" in file.parts or file.suffix == ".pth":
                continue
            target = site / file
            target.parent.mkdir(parents=True, exist_ok=True)
            if not target.exists():
                target.symlink_to(Path(str(distribution.locate_file(file))).resolve())
    return made


def _needed(requirements: Iterable[str]) -> Iterator[importlib.metadata.Distribution]:
    """The installed distributions that pip would install for a list, each once."""
    waiting = [(Requirement(text), "") for text in requirements]
    seen: set[tuple[str, str]] = set()
    told: set[str] = set()
    while waiting:
        wanted, by_extra = waiting.pop()
        if wanted.marker is not None and not wanted.marker.evaluate({"extra": by_extra}):
            continue
        try:
            found = importlib.metadata.distribution(wanted.name)
        except importlib.metadata.PackageNotFoundError:
            raise NotInstalledError(wanted.name) from None
        assert wanted.specifier.contains(found.version, prereleases=True), (str(wanted), found.version)
        name = canonicalize_name(wanted.name)
        if name not in told:
            told.add(name)
            yield found
        for one in ("", *wanted.extras):
            if (name, one) not in seen:
                seen.add((name, one))
                waiting += [(Requirement(text), one) for text in found.requires or ()]
