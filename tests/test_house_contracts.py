"""The import contracts catch what they forbid: a violation of each is planted in a copy of the tree, and named."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

CHECKOUT = Path(__file__).parents[1]
PACKAGES = ("benchmarks", "deploy", "landweave", "pipelines", "sampling", "schemas", "testbed")
PLANTED = {
    "floors of the house": ("sampling/geobox.py", "import pipelines"),
    "floors of the factory": ("pipelines/recipes.py", "import pipelines.assemble"),
    "floors of the archives": ("pipelines/access/http/limits.py", "import pipelines.access.archives"),
    "floors of the reader": ("landweave/errors.py", "import landweave.dataset"),
    "factory and reader meet on disk alone: only shards knows the reader": ("pipelines/status.py", "import landweave"),
    "only stages and build know Beam": ("pipelines/status.py", "import apache_beam"),
    "the reader stays light": ("landweave/order.py", "import pydantic"),
    "of the product, torch lives in two files": ("landweave/order.py", "import torch"),
    "sensors are strangers to one another": ("pipelines/sources/dem.py", "import pipelines.sources.enmap"),
    "labellers are strangers to one another": (
        "pipelines/labels/worldcover.py",
        "import pipelines.labels.dynamicworld",
    ),
    "no circles": ("schemas/place.py", "import schemas.recipe"),
}
"""Contract -> the file that breaks it, and the line that does."""


def report(tree: Path) -> dict[str, str]:
    """Contract -> what import-linter says about the imports that break it, of the contracts that it calls broken."""
    linter = Path(sys.executable).parent / "lint-imports"
    done = subprocess.run(
        [linter, "--no-cache"], check=False, cwd=tree, env={"PYTHONPATH": str(tree)}, capture_output=True, text=True
    )
    assert done.returncode == 1, done.stdout + done.stderr
    details = done.stdout.partition("Broken contracts")[2]
    parts = re.split(r"^(.+)\n-+\n", details, flags=re.M)[1:]
    told = dict(zip(parts[::2], parts[1::2], strict=True))
    assert set(told) == set(re.findall(r"^(.*?) BROKEN", done.stdout, re.M)), done.stdout
    return told


def test_every_contract_catches_a_planted_violation(tmp_path: Path) -> None:
    settings = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["tool"]["importlinter"]
    contracts = {c["name"]: c for c in settings["contracts"]}
    assert set(contracts) == set(PLANTED), "plant a violation of every contract"
    for package in PACKAGES:
        shutil.copytree(CHECKOUT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(CHECKOUT / "pyproject.toml", tmp_path)
    for file, line in PLANTED.values():
        path = tmp_path / file
        path.write_text(f"{path.read_text()}\n\n{line}\n")
    for contract in contracts.values():
        for container in contract["containers"] if contract.get("exhaustive") else ():
            (tmp_path / container.replace(".", "/") / "newcomer.py").write_text('"""A module on no floor."""\n')
    told = report(tmp_path)
    for name, (file, line) in PLANTED.items():
        importer, imported = (x.replace("/", ".") for x in (file.removesuffix(".py"), line.removeprefix("import ")))
        circle = contracts[name]["type"] == "acyclic_siblings"  # which link of a circle it names is its own choice
        expected = f"in {importer.split('.')[0]}.\n" if circle else f"{importer} -> {imported} ("
        assert expected in told.get(name, ""), f"{name}: {told.get(name)}"
        if contracts[name].get("exhaustive"):
            assert f"{contracts[name]['containers'][0]}.newcomer" in told[name], "a module on no floor is not seen"


def test_mypy_and_the_contracts_see_every_package() -> None:
    tools = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["tool"]
    tracked = {p.parent.name for p in CHECKOUT.glob("*/__init__.py") if p.parent.name != "tests"}
    assert tracked == set(PACKAGES) == set(tools["mypy"]["packages"]) == set(tools["importlinter"]["root_packages"])
