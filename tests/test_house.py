"""The house itself: what is installed, what is published, what the documents promise."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import landweave
import pipelines
import sampling
import schemas

CHECKOUT = Path(__file__).parents[1]


def test_the_factory_is_the_checkouts_own() -> None:
    for package in (schemas, sampling, pipelines, landweave):
        assert Path(str(package.__file__)).is_relative_to(CHECKOUT), package


@pytest.mark.slow
def test_the_wheel_holds_the_reader_and_nothing_else(tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--quiet",
        "--no-deps",
        "--wheel-dir",
        str(tmp_path),
        str(CHECKOUT),
    ]
    subprocess.run([*command, str(CHECKOUT)], check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    tops = {name.split("/")[0] for name in zipfile.ZipFile(wheel).namelist()}
    assert {t for t in tops if not t.endswith(".dist-info")} == {"landweave"}


def test_every_make_target_that_the_documents_name_is_there() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (CHECKOUT / "Makefile").read_text(), re.M))
    for document in ("README.md", "CONTRIBUTING.md"):
        for named in re.findall(r"`?make ([a-z-]+)", (CHECKOUT / document).read_text()):
            assert named in targets, f"{document}: make {named}"
    assert "make test" in (CHECKOUT / ".ci" / "run").read_text()


def test_every_file_that_the_documents_link_is_there() -> None:
    documents = [*CHECKOUT.glob("*.md"), *(CHECKOUT / "docs").glob("*.md")]
    links = [(d, link) for d in documents for link in re.findall(r"\]\(([^)#:]+)\)", d.read_text())]
    assert links
    for document, link in links:
        assert (document.parent / link).exists(), f"{document.name}: {link}"


@pytest.mark.parametrize("name", sorted(path.stem for path in (CHECKOUT / "notebooks").glob("*.ipynb")))
def test_the_notebook_imports_the_reader_and_is_committed_without_output(name: str) -> None:
    notebook = json.loads((CHECKOUT / "notebooks" / f"{name}.ipynb").read_text())
    code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert all(not cell["outputs"] for cell in code)
    imported = set(re.findall(r"^(?:import|from) (\w+)", "\n".join("".join(c["source"]) for c in code), re.M))
    assert imported <= {"landweave", "numpy", "matplotlib", "os", "pathlib", "collections", "datasets", "tempfile"}


def test_pinned_versions_name_no_host_and_no_path() -> None:
    lines = (CHECKOUT / "constraints.txt").read_text().splitlines()
    assert lines
    for line in lines:
        assert re.fullmatch(r"([\w.-]+==[\w.+!-]+( ; [^@/:\\]+)?|    --hash=sha256:[0-9a-f]{64})( \\)?", line), line


def test_every_recipe_that_is_shipped_is_good() -> None:
    from pipelines.recipes import read_recipe

    found = sorted((CHECKOUT / "recipes").glob("*.yaml"))
    assert found
    for path in found:
        assert read_recipe(path).recipe.name == path.stem


@pytest.mark.slow
def test_one_version_everywhere() -> None:
    version = landweave.__version__
    cited = re.search(r"^version: (.*)$", (CHECKOUT / "CITATION.cff").read_text(), re.M)
    assert cited is not None
    assert cited[1] == version
    for manifest in (CHECKOUT / "deploy" / "kubernetes").glob("*.yaml"):
        assert set(re.findall(r"landweave-flink:([0-9.]+)", manifest.read_text())) <= {version}, manifest.name
    for command in ("landweave", "pipelines"):
        said = subprocess.run(
            [sys.executable, "-m", command, "--version"], cwd=CHECKOUT, capture_output=True, text=True, check=True
        )
        assert said.stdout == f"landweave {version}\n"


def test_the_public_workflow_calls_targets_that_exist() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (CHECKOUT / "Makefile").read_text(), re.M))
    called = re.findall(r"run: .*\bmake ([a-z-]+)", (CHECKOUT / ".github" / "workflows" / "ci.yml").read_text())
    assert {"test", "check"} <= set(called) <= targets


def test_every_place_that_the_architecture_names_is_there() -> None:
    text = (CHECKOUT / "ARCHITECTURE.md").read_text().partition("## What moved")[0]
    places = re.findall(
        r"`((?:pipelines|landweave|sampling|schemas|deploy|testbed|tests)/[\w/.]*)`(?: `([\w.]+)`)?", text
    )
    assert len([place for place, name in places if name]) > 20
    for place, name in places:
        path = CHECKOUT / place
        assert path.exists(), place
        for part in name.split(".") if name else ():
            assert re.search(rf"^\s*(?:def|class) {part}\b", path.read_text(), re.M), f"{place}: {name}"
