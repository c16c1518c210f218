"""Creates environments for conflicting packages: MosaicML needs NumPy below 2.2, and its fork has the same name.

python -m benchmarks.loading_venv

makes two, once, in $LANDWEAVE_CACHE or ~/.cache/landweave: these packages in front, and behind them, by a .pth file,
all that our own environment has. So torch is not downloaded a second time, and landweave's own dependencies are there.
`benchmarks.loading` reads its peers with them, and tests/export reads exports back with the first. The second has what
is newest; zarr 3.4 and insitubatch need Python 3.12 and are left out before it.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

PACKAGES = (
    "aiohappyeyeballs==2.7.1",
    "aiohttp==3.14.5",
    "aiosignal==1.4.0",
    "braceexpand==0.1.7",
    "brotli==1.2.1",
    "catalogue==2.0.10",
    "cramjam==2.14.0",
    "crc32c==2.8",
    "datasets==5.0.1",
    "dill==0.4.1",
    "frozenlist==1.8.0",
    "fsspec==2026.6.0",
    "h5py==3.16.0",
    "hdf5plugin==7.1.0",
    "hf-xet==1.8.0",
    "httpcore==1.0.9",
    "httpx==0.28.1",
    "huggingface-hub==0.36.2",
    "lightning-utilities==0.15.3",
    "litdata==0.2.76",
    "ml-dtypes==0.6.0",
    "mosaicml-streaming==0.13.0",
    "multidict==7.2.1",
    "multiprocess==0.70.19",
    "numpy==2.1.3",
    "propcache==0.5.4",
    "python-snappy==0.7.3",
    "regex==2026.11.19",
    "safetensors==0.8.0",
    "tensorstore==0.1.86",
    "tifffile==2026.3.3",
    "tokenizers==0.22.2",
    "torchvision==0.29.2",
    "tqdm==4.70.1",
    "transformers==4.57.6",
    "webdataset==1.0.2",
    "xxhash==3.8.2",
    "yarl==1.25.1",
    "zarrs==0.2.3",
    "zstd==1.5.7.2",
)
"""Versions that were installed and measured together. Without what MosaicML asks for and only some clouds need."""
NEWEST = (
    "brotli==1.2.1",
    "catalogue==2.0.10",
    "cramjam==2.14.0",
    "crc32c==2.8",
    "datasets==5.2.0",
    "dill==0.4.1",
    "donfig==0.8.1.post1",
    "fsspec==2026.9.0",
    "hf-xet==1.8.0",
    "httpcore2==2.16.2",
    "httpx2==2.16.2",
    "huggingface-hub==2.4.0",
    "lance-namespace-urllib3-client==0.13.0",
    "lance-namespace==0.13.0",
    "multiprocess==0.70.19",
    "pylance==14.0.2",
    "python-snappy==0.7.3",
    "regex==2026.11.19",
    "safetensors==0.8.0",
    "streaming-community==0.14.2",
    "tokenizers==0.23.3",
    "torchvision==0.29.2",
    "tqdm==4.70.1",
    "transformers==5.24.0",
    "truststore==0.10.5",
    "typer==0.29.2",
    "xxhash==4.1.0",
    "zstandard==0.25.0",
    "zstd==1.5.7.2",
) + (("insitubatch==0.2.0", "msgspec==0.23.0", "zarr==3.4.2") if sys.version_info >= (3, 12) else ())
"""The same for the newest of each, the community's fork of MosaicML among them."""


def home(kind: str = "loaders", packages: tuple[str, ...] = PACKAGES) -> Path:
    """Folder of the environment; its name contains a hash of what it is made of."""
    cache = Path(os.environ.get("LANDWEAVE_CACHE") or Path.home() / ".cache" / "landweave")
    made_of = "\n".join((sys.version, str(_behind()), *packages))
    return cache / f"{kind}-{hashlib.sha256(made_of.encode()).hexdigest()[:12]}"


def python(kind: str = "loaders", packages: tuple[str, ...] = PACKAGES) -> Path | None:
    """The environment's interpreter; None if it was not made."""
    place = home(kind, packages)
    return place / "bin" / "python" if (place / "made").exists() else None


def make(kind: str = "loaders", packages: tuple[str, ...] = PACKAGES) -> Path:
    """Make the environment unless it is there; a second caller waits for the first.

    Raises:
        CalledProcessError: a package could not be installed.
    """
    from filelock import FileLock

    place = home(kind, packages)
    place.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(place.with_suffix(".lock")):
        there = python(kind, packages)
        if there is not None:
            return there
        venv.create(place, with_pip=True, clear=True)
        inside = place / "lib" / f"python{sys.version_info.major}.{sys.version_info.minor}" / "site-packages"
        (inside / "zz_behind.pth").write_text(f"{_behind()}\n")
        own = str(place / "bin" / "python")
        subprocess.run([own, "-m", "pip", "install", "--quiet", "--no-deps", *packages], check=True)
        (place / "made").touch()
    return place / "bin" / "python"


def _behind() -> Path:
    return Path(sysconfig.get_path("purelib")).resolve()


if __name__ == "__main__":
    print(make())
    print(make("newest", NEWEST))
