"""Runs a notebook over a dataset; the tests and the site of the documentation look at what it shows."""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import nbformat
from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import KernelManager
from nbclient import NotebookClient

FOLDER = Path(__file__).parent
NAMES = ("quickstart", "analysis", "labels", "instructions")
"""In the order in which a reader meets them."""
LOADERS = ("instructions",)
"""Notebooks that need `datasets`, which does not fit beside our own packages."""


def executed(name: str, dataset: Path | None = None) -> Any:
    """A notebook with its outputs.

    Args:
        name: of `NAMES`.
        dataset: folder of the dataset; None: data/quickstart of the checkout.

    Raises:
        CellExecutionError: a cell fails.
    """
    variables = {"PYTHONPATH": str(FOLDER.parent), "HF_HUB_OFFLINE": "1", "PYTHONWARNINGS": "ignore"}
    if dataset is not None:
        variables["LANDWEAVE_DATASET"] = str(dataset)
    argv = [_python(name), "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    spec = {"argv": argv, "display_name": name, "language": "python", "env": variables}
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / name).mkdir()
        (Path(folder) / name / "kernel.json").write_text(json.dumps(spec))
        specs = KernelSpecManager(kernel_dirs=[folder], ensure_native_kernel=False)
        manager = KernelManager(kernel_name=name, kernel_spec_manager=specs, transport="ipc")
        notebook = nbformat.read(FOLDER / f"{name}.ipynb", as_version=4)
        where = {"metadata": {"path": str(FOLDER.parent)}}
        try:
            NotebookClient(notebook, km=manager, timeout=240, resources=where).execute()
        finally:
            manager.shutdown_kernel(now=True)
    return notebook


def _python(name: str) -> str:
    if name not in LOADERS:
        return sys.executable
    from benchmarks.loading_venv import make

    return str(make())
