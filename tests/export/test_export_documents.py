"""The lines of docs/exports.md and docs/xarray.md run, and so does the notebook of analysis."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from landweave.__main__ import main
from tests.shards.synthetic import planned

CHECKOUT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with data/quickstart in it, as after `make quickstart`."""
    home = tmp_path_factory.mktemp("documents")
    planned((4, 3, 3), size_m=60.0).build(home / "data" / "quickstart")
    return home


def blocks(document: str, language: str) -> list[str]:
    text = (CHECKOUT / "docs" / document).read_text()
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


def run(python: Path | str, code: str, place: Path) -> None:
    more = {"PYTHONPATH": str(CHECKOUT), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(
        [str(python), "-c", code], cwd=place, env={**os.environ, **more}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{code}\n{done.stderr[-2000:]}"
    assert done.stdout


def test_views(place: Path) -> None:
    pytest.importorskip("torch")
    run(sys.executable, "\n".join(blocks("xarray.md", "python")), place)


@pytest.mark.slow
def test_exports(place: Path) -> None:
    from benchmarks.loading_venv import make

    loaders = make()
    for line in blocks("exports.md", "sh")[0].splitlines():
        words = shlex.split(line)[1:]
        python = sys.executable if "geotiff" in words else loaders
        run(python, f"import sys\nfrom landweave.__main__ import main\nsys.exit(main({words!r}))", place)
    codes = blocks("exports.md", "python")
    assert len(codes) == 7
    for code in codes:
        run(sys.executable if "pystac" in code or "geopandas" in code else loaders, code, place)


@pytest.mark.slow
def test_the_notebook_of_analysis(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LANDWEAVE_DATASET", str(place / "data" / "quickstart"))
    monkeypatch.setenv("PYTHONPATH", str(CHECKOUT))
    notebook = nbformat.read(CHECKOUT / "notebooks" / "analysis.ipynb", as_version=4)
    NotebookClient(notebook, timeout=120, resources={"metadata": {"path": str(CHECKOUT)}}).execute()
    assert main(["info", str(place / "data" / "quickstart")]) == 0
