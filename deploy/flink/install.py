"""Installs Apache Flink and the other programs of a cluster with pip, Go and Maven into one cache folder.

python -m deploy.flink.install                  # Flink and PyFlink
python -m deploy.flink.install prism            # Beam's Prism runner, built from its Go module
python -m deploy.flink.install job-server       # the job server of Beam's own Flink runner
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock

if TYPE_CHECKING:
    from collections.abc import Iterator

REQUIREMENTS = Path(__file__).with_name("requirements.txt")
"""PyFlink and all it needs, pinned. Its wheel of jars is a whole Flink distribution: bin/, conf/, lib/, opt/."""
PYTHONS = range(9, 13)
"""Minor versions of Python 3 that PyFlink 2.2 has wheels for."""
FLINK_MINOR = "2.2"
"""Flink that Beam's job server is asked for: the newest that Beam 2.77 supports, and the one installed here."""
OLDEST_JAVA = 11
"""Flink 2.2 runs on Java 11, 17 and 21."""


class InstallError(RuntimeError):
    """Something could not be fetched or is missing; the text says what and what to do."""


@dataclass(frozen=True)
class Flink:
    """An installed Flink."""

    home: Path
    """Folder of bin/, conf/ and lib/."""
    python: Path
    """Interpreter that has PyFlink: of the client and of the Python workers that Flink starts."""


def cache_folder() -> Path:
    """$LANDWEAVE_CACHE, or ~/.cache/landweave."""
    return Path(os.environ.get("LANDWEAVE_CACHE") or Path.home() / ".cache" / "landweave")


def install_flink(cache: Path) -> Flink:
    """PyFlink in a virtual environment of its own; does nothing when it is there.

    Its own, because PyFlink holds Beam at 2.61 and the factory needs 2.76 or newer.

    Raises:
        InstallError: wrong Python or Java, or pip failed.
    """
    check_java()
    if sys.version_info.minor not in PYTHONS:
        raise InstallError(
            f"PyFlink has wheels for Python 3.{PYTHONS[0]} to 3.{PYTHONS[-1]}, this is 3.{sys.version_info.minor}: "
            "run this with one of these versions"
        )
    digest = hashlib.sha256(REQUIREMENTS.read_bytes()).hexdigest()[:8]
    folder = cache / f"flink-py3{sys.version_info.minor}-{digest}"
    with _complete(folder) as missing:
        if missing:
            _run([sys.executable, "-m", "venv", str(folder)])
            pip = [str(folder / "bin" / "python"), "-m", "pip", "--disable-pip-version-check", "--no-input"]
            _run([*pip, "install", "--quiet", "--requirement", str(REQUIREMENTS)])
    site = next((folder / "lib").glob("python3.*")) / "site-packages"
    return Flink(home=site / "pyflink", python=folder / "bin" / "python")


def install_prism(cache: Path) -> Path:
    """Beam's Prism runner of the installed Beam's version, built with Go; returns the program.

    Raises:
        InstallError: there is no Go, or it failed.
    """
    version = importlib.metadata.version("apache-beam")
    folder = cache / f"prism-{version}"
    with _complete(folder) as missing:
        if missing:
            module = f"github.com/apache/beam/sdks/v2/go/cmd/prism@v{version}"
            sources = folder / "sources"  # 870 MB, of no use once it is built
            settings = {"GOBIN": str(folder), "GOPATH": str(sources), "GOCACHE": str(sources / "built")}
            _run([_program("go"), "install", module], {**settings, "GOFLAGS": "-modcacherw"})
            shutil.rmtree(sources)
    return folder / "prism"


def install_job_server(cache: Path) -> Path:
    """The job server of Beam's own Flink runner (a jar), of the installed Beam's version.

    Raises:
        InstallError: there is no Maven, or it could not fetch the jar.
    """
    version = importlib.metadata.version("apache-beam")
    name = f"beam-runners-flink-{FLINK_MINOR}-job-server"
    folder = cache / f"{name}-{version}"
    with _complete(folder) as missing:
        if missing:
            artifact = f"-Dartifact=org.apache.beam:{name}:{version}"
            _run([_program("mvn"), "-q", "-B", "dependency:get", "-Dtransitive=false", artifact])
            _run([_program("mvn"), "-q", "-B", "dependency:copy", artifact, f"-DoutputDirectory={folder}"])
    return folder / f"{name}-{version}.jar"


def check_java() -> None:
    """Raise InstallError unless there is a Java that Flink runs on."""
    command = [_program("java"), "-version"]
    version = subprocess.run(command, capture_output=True, text=True, check=False).stderr  # noqa: S603 - our own command
    number = version.partition('"')[2].partition(".")[0].partition('"')[0]
    if not number.isdecimal() or int(number) < OLDEST_JAVA:
        raise InstallError(f"Flink needs Java {OLDEST_JAVA} or newer, `java -version` says: {version.splitlines()[0]}")


@contextlib.contextmanager
def _complete(folder: Path) -> Iterator[bool]:
    """Yields whether `folder` must be filled; one process at a time. A half-filled folder is filled again."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    done = folder / ".complete"
    with FileLock(folder.with_name(folder.name + ".lock")):
        missing = not done.exists()
        if missing:
            shutil.rmtree(folder, ignore_errors=True)
        yield missing
        if missing:
            folder.mkdir(exist_ok=True)
            done.touch()


def _program(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        raise InstallError(f"`{name}` is not on the PATH: install it first")
    return found


def _run(command: list[str], extra: dict[str, str] | None = None) -> None:
    result = subprocess.run(  # noqa: S603 - our own commands
        command, env={**os.environ, **(extra or {})}, capture_output=True, text=True, check=False
    )
    if result.returncode:
        output = re.sub(r"\x1b\[[0-9;]*m", "", result.stdout + result.stderr)
        lines = [line.strip() for line in output.splitlines() if line.strip()] or [f"exit status {result.returncode}"]
        cause = next((line for line in lines if re.search(r"(?i)could not|couldn't|error|failed", line)), lines[-1])
        raise InstallError(f"`{Path(command[0]).name} {' '.join(command[1:])}` failed: {cause[:500]}")


def main() -> int:
    """Install what the command line names; prints where it is."""
    parser = argparse.ArgumentParser(prog="python -m deploy.flink.install", description=__doc__.splitlines()[0])
    parser.add_argument("what", nargs="?", choices=["flink", "prism", "job-server"], default="flink")
    parser.add_argument("--cache", type=Path, default=cache_folder(), help="folder to install into")
    asked = parser.parse_args()
    cache = asked.cache.resolve()
    try:
        match asked.what:
            case "flink":
                sys.stdout.write(f"{install_flink(cache).home}\n")
            case "prism":
                sys.stdout.write(f"{install_prism(cache)}\n")
            case _:
                sys.stdout.write(f"{install_job_server(cache)}\n")
    except InstallError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
