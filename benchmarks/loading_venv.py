"""An environment for packages that do not fit beside ours: MosaicML wants NumPy below 2.2, datasets an older fsspec.

python -m benchmarks.loading_venv

makes `.benchmarks/loading` once, in a few minutes: these packages in front, and behind them, by a .pth file, all that
our own environment has. torch is not downloaded a second time, and landweave's own dependencies are there.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

ROOT = Path(__file__).parents[1]
HOME = ROOT / ".benchmarks" / "loading"
PACKAGES = (
    "mosaicml-streaming==0.13.0",
    "litdata==0.2.76",
    "webdataset==1.0.2",
    "datasets==5.0.1",
    "fsspec[http]==2026.6.0",
    "h5py==3.16.0",
    "hdf5plugin==7.1.0",
    "tensorstore==0.1.86",
    "zarrs==0.2.3",
)
"""Versions that were installed and measured together, with NumPy 2.1."""


def python() -> Path | None:
    """The environment's interpreter; None where it was not made, or made of other packages."""
    found = HOME / "bin" / "python"
    return found if found.exists() and _stamp().exists() else None


def make() -> Path:
    """Make the environment where it is not there.

    Raises:
        CalledProcessError: a package could not be installed.
    """
    there = python()
    if there is not None:
        return there
    venv.create(HOME, with_pip=True, clear=True)
    own = Path(sysconfig.get_path("purelib"))
    inside = HOME / "lib" / f"python{sys.version_info.major}.{sys.version_info.minor}" / "site-packages"
    (inside / "zz_behind.pth").write_text(f"{own}\n")
    subprocess.run([str(HOME / "bin" / "python"), "-m", "pip", "install", "--quiet", *PACKAGES], check=True)
    _stamp().touch()
    return HOME / "bin" / "python"


def _stamp() -> Path:
    named = hashlib.sha256("\n".join((sys.version, *PACKAGES)).encode()).hexdigest()[:12]
    return HOME / f".made-{named}"


if __name__ == "__main__":
    print(make())
