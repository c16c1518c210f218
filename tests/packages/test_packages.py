"""The lists of packages hold what the code imports: in environments that have nothing else, everything runs."""

from __future__ import annotations

import ast
import importlib.metadata
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import testbed
from tests.packages import environment
from tests.packages.environment import CHECKOUT, PROJECT, Environment, NotInstalledError, extra, group

FACTORY = ("landweave", "pipelines", "sampling", "schemas", "testbed")
"""Rooms that the group `factory` is for; of landweave, what it imports without being asked for a view."""
OURS = (*FACTORY, "deploy")
GOLDEN = CHECKOUT / "tests" / "golden" / "v2"


def imports(path: Path, *, always: bool) -> set[str]:
    """Top-level packages that a file imports when it runs; with `always`, those that importing the file needs."""
    tree = ast.parse(path.read_text())
    skipped: set[int] = set()
    for node in ast.walk(tree):
        typing = isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)
        if typing or (always and isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)):
            skipped |= {id(n) for child in node.body for n in ast.walk(child)}
    found = set()
    for node in ast.walk(tree):
        if id(node) in skipped:
            continue
        if isinstance(node, ast.Import):
            found |= {a.name for a in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found |= {f"{node.module}.{a.name}" for a in node.names}
    return {name for name in found if name.split(".")[0] not in (*sys.stdlib_module_names, *OURS)}


def named(requirements: list[str]) -> set[str]:
    """Modules, by their first one or two names, that the named packages themselves bring."""
    names = {canonicalize_name(Requirement(text).name) for text in requirements}
    found = set()
    for name in names:
        for file in importlib.metadata.files(name) or ():
            if file.suffix in (".py", ".so", ".pyi") and ".." not in file.parts:
                parts = [*file.parts[:-1], file.name.split(".")[0]]
                found |= {parts[0], ".".join(parts[:2])} if parts[0] != "google" else {".".join(parts[:2])}
    return found


def bring(module: str, modules: set[str]) -> bool:
    first, second = module.split(".", maxsplit=1)[0], ".".join(module.split(".")[:2])
    return second in modules if first == "google" else first in modules


@pytest.mark.slow
@pytest.mark.parametrize("room", FACTORY)
def test_the_factorys_group_names_every_package_that_its_code_imports(room: str) -> None:
    modules = named(group("factory"))
    for path in sorted((CHECKOUT / room).rglob("*.py")):
        for module in imports(path, always=room == "landweave"):
            optional = room == "landweave" and path.name.startswith(OPTIONAL)
            assert optional or bring(module, modules), f"{path.relative_to(CHECKOUT)} imports {module}"


@pytest.mark.slow
def test_the_reader_imports_its_dependencies_and_what_one_of_its_extras_brings() -> None:
    needed, views = named(extra(None)), {}
    for name in PROJECT["project"]["optional-dependencies"]:
        try:
            views[name] = named(extra(name))
        except importlib.metadata.PackageNotFoundError:  # an exporter that is not installed here
            views[name] = {name, "streaming"} | needed
    for path in sorted((CHECKOUT / "landweave").rglob("*.py")):
        optional = path.name.startswith(OPTIONAL)
        for module in imports(path, always=not optional):
            assert optional or bring(module, needed), f"{path.name} imports {module}"
        for module in imports(path, always=False):
            assert any(bring(module, found) for found in views.values()), f"{path.name}: no extra brings {module}"


def test_the_group_of_an_image_holds_what_the_wheel_depends_on() -> None:
    assert sorted(group("reader")) == sorted(PROJECT["project"]["dependencies"])
    text = (CHECKOUT / "deploy" / "Dockerfile").read_text()
    assert "--group factory" in text


def test_the_wheel_says_that_it_is_typed(tmp_path: Path) -> None:
    assert (CHECKOUT / "landweave" / "py.typed").is_file()
    if environment.WITH_PIP:
        subprocess.run(
            [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", tmp_path, CHECKOUT],
            check=True,
        )
        (wheel,) = tmp_path.glob("*.whl")
        assert "landweave/py.typed" in zipfile.ZipFile(wheel).namelist()


OPTIONAL = ("torch", "export_", "serve_app")
"""Beginnings of the names of the reader's modules that import what an extra brings."""
IMPORT_ALL = f"""
OPTIONAL = {OPTIONAL!r}
import importlib, pkgutil, sys
for room in sys.argv[1:]:
    package = importlib.import_module(room)
    for module in pkgutil.walk_packages(package.__path__, room + "."):
        if not module.name.rpartition(".")[2].startswith((*OPTIONAL, "__main__")):
            importlib.import_module(module.name)
print("imported")
"""


@pytest.fixture(scope="module")
def factory(tmp_path_factory: pytest.TempPathFactory) -> Environment:
    return environment.of_group("factory", tmp_path_factory.mktemp("factory") / "venv")


@pytest.fixture(scope="module")
def services(earth: Path) -> Iterator[testbed.Services]:
    with testbed.serve(earth) as running:
        yield running


@pytest.mark.slow
def test_the_images_packages_import_build_and_answer_flink(
    factory: Environment, earth: Path, services: testbed.Services, tmp_path: Path
) -> None:
    path = {"PYTHONPATH": str(CHECKOUT)}
    done = factory.run("-c", IMPORT_ALL, *FACTORY, **path)
    assert done.stdout == "imported\n", done.stderr
    recipe = (CHECKOUT / "recipes" / "quickstart.yaml").read_text()
    (tmp_path / "aoi.geojson").write_bytes((earth / "aoi.geojson").read_bytes())
    (tmp_path / "tiny.yaml").write_text(recipe.replace("../data/earth/aoi.geojson", "aoi.geojson"))
    sets = ["sampling.spacing_m=3300", "grid.size_m=480", "splits.block_m=3000"]
    build = ["-m", "pipelines", "build", tmp_path / "tiny.yaml", tmp_path / "out", "--workers", "1"]
    words = [word for setting in sets for word in ("--set", setting)]
    variables = {**path, "LANDWEAVE_TESTBED": services.base_url}
    done = factory.run(*build, *words, **variables)
    assert done.returncode == 0, done.stderr
    assert "finished" in done.stdout
    version = factory.run("-c", "from deploy.flink.builder import code_version; print(code_version())", **path)
    assert version.returncode == 0, version.stderr
    builder = ["-m", "deploy.flink.builder", tmp_path / "out", "--code"]
    ready = factory.run(*builder, version.stdout.strip(), **variables)
    assert ready.stdout.splitlines()[:1] == ['{"ready": true}'], (ready.stdout, ready.stderr)
    other = factory.run(*builder, "another", **variables)
    assert "has other code or library versions" in other.stdout


def test_an_environment_without_a_package_is_told(tmp_path: Path) -> None:
    """The judge is judged: what is not in the list cannot be imported."""
    poor = environment._linked(["numpy>=2.0"], tmp_path / "venv")
    assert poor.run("-c", "import numpy").returncode == 0
    done = poor.run("-c", IMPORT_ALL, "landweave", PYTHONPATH=str(CHECKOUT))
    assert "ModuleNotFoundError: No module named" in done.stderr


VIEWS = {
    None: "list(data); data.query(\"split == 'train'\").ids; next(iter(data.stream(batch_size=1)))",
    "torch": "from landweave.torch import TorchStream; next(iter(TorchStream(data.stream(batch_size=1))))",
    "show": "from landweave.__main__ import main; assert main(['show', sys.argv[1], sys.argv[2]]) == 0",
    "geo": "assert len(data.query().to_geodataframe()) == len(data)",
    "sql": "assert len(data.sql(\"split = 'train'\")) >= 0",
    "browse": "from landweave.__main__ import main\n"
    "assert main(['browse', sys.argv[1], '--static', sys.argv[2]]) == 0\n"
    "import starlette, uvicorn",
    "serve": "from landweave.serve import application_of; application_of(data)",
    "xarray": "data.to_xarray(); data.sample(0).to_datatree()",
    "webdataset": "from landweave.__main__ import main; assert main(['export', 'webdataset', *sys.argv[1:]]) == 0",
    "mds": "from landweave.__main__ import main; assert main(['export', 'mds', *sys.argv[1:]]) == 0",
    "litdata": "from landweave.__main__ import main; assert main(['export', 'litdata', *sys.argv[1:]]) == 0",
    "geotiff": "from landweave.__main__ import main; assert main(['export', 'geotiff', *sys.argv[1:]]) == 0",
    "geoparquet": "from landweave.__main__ import main; assert main(['export', 'geoparquet', *sys.argv[1:]]) == 0",
    "parquet": "from landweave.__main__ import main; assert main(['export', 'parquet', *sys.argv[1:]]) == 0",
}
"""Extra of the wheel -> what it is for, on a dataset."""


def test_every_extra_is_tried() -> None:
    assert {name for name in VIEWS if name} == set(PROJECT["project"]["optional-dependencies"])


@pytest.mark.slow
@pytest.mark.parametrize("name", VIEWS, ids=str)
def test_the_wheel_with_one_extra_has_all_that_the_extra_is_for(name: str | None, tmp_path: Path) -> None:
    try:
        made = environment.of_wheel(name, tmp_path / "venv")
    except NotInstalledError as error:
        pytest.skip(f"{error} is not installed here; `make test-packages` installs it")
    code = f"import sys, landweave\ndata = landweave.open(sys.argv[1])\n{VIEWS[name]}\nprint('well')"
    done = made.run("-c", code, GOLDEN, tmp_path / "out.png" if name == "show" else tmp_path / "out")
    assert done.stdout.splitlines()[-1:] == ["well"], done.stderr


@pytest.mark.slow
def test_without_extras_each_view_names_the_one_that_it_needs(tmp_path: Path) -> None:
    made = environment.of_wheel(None, tmp_path / "venv")
    for name, view in VIEWS.items():
        if name in (None, "parquet", "torch"):  # who imports landweave.torch knows what is missing
            continue
        code = f"import sys, landweave\ndata = landweave.open(sys.argv[1])\n{view.replace('== 0', '== 1')}"
        done = made.run("-c", code, GOLDEN, tmp_path / "out")
        assert f".[{name}]" in done.stderr, (name, done.stdout, done.stderr)
