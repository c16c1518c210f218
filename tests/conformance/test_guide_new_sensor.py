"""The guide in `CONTRIBUTING.md` followed from nothing: one more sensor, at the places that it names and no other.

The sensor is CBERS-4 WFI (INPE, Brazil Data Cube), which landweave does not have. Its files are in `new_sensor/`. A
copy of the checkout gets them and the lines of `LINES`; then the conformance tests and a build from the miniature Earth
run in it.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import landweave

pytestmark = pytest.mark.slow
CHECKOUT = Path(__file__).parents[2]
HERE = Path(__file__).parent / "new_sensor"
COPIED = ("deploy", "docs", "landweave", "pipelines", "recipes", "sampling", "schemas", "testbed", "tests/conformance")
NEW = {
    "pipelines/sources/cbers.py": "new_sensor.py",
    "pipelines/presets/cbers4-wfi-l4.yaml": "new_preset.yaml",
    "testbed/cbers.py": "new_scene.py",
}
"""Path in the checkout -> the file of `new_sensor/` that becomes it."""
LINES: dict[str, tuple[tuple[str, str], ...]] = {
    "schemas/modality.py": (
        ("\nMODALITIES: dict", "\n{new_modality.txt}MODALITIES: dict"),
        ("HLS, DEM)}", "HLS, CBERS, DEM)}"),
    ),
    "schemas/sensors.py": (
        ("class DemSource(", "{new_source.txt}class DemSource("),
        ('"hls", "dem")', '"hls", "cbers", "dem")'),
        ('    | Annotated[DemSource, Tag("dem")]', '    | Annotated[CbersSource, Tag("cbers")]\n{old}'),
    ),
    "pipelines/sources/__init__.py": (
        ("from schemas.sensors import DemSource, ", "from schemas.sensors import CbersSource, DemSource, "),
        ("        case DemSource():", "{new_arm.txt}{old}"),
    ),
    "pyproject.toml": (
        ('"pipelines.sources.hls", "pipelines', '"pipelines.sources.hls", "pipelines.sources.cbers", "pipelines'),
    ),
    "tests/conformance/test_sources_conformance.py": (
        ('    "dem": ("cop-dem-30",),', '    "cbers": ("cbers4-wfi-l4",),\n{old}'),
        ('{"kind": "hls", "providers": ["testbed"]}', '{old}, {"kind": "cbers", "providers": ["testbed"]}'),
    ),
    "testbed/planet.py": (
        ("from testbed.cog import", "from testbed.cbers import cbers_item, write_cbers\n{old}"),
        ('    yield Job(product="enmap")\n', '{old}    yield Job(product="cbers")\n'),
        (
            '        case "enmap":\n',
            '        case "cbers":\n            return write_cbers(scenery, files / "cbers")\n{old}',
        ),
        ("*enmap, *hls,", '*enmap, *hls, cbers_item(scenery, found[Job(product="cbers")]),'),
        ('VERSION = "3"', 'VERSION = "new"'),
    ),
    "testbed/items_static.py": (('    "HLSS30_2.0":', '    "CB4-WFI-L4-SR-1": "CC-BY-SA-3.0",\n{old}'),),
}
"""Path in the checkout -> (what is there once, what stands there then); {old} and {file} stand for text."""
MADE = {"docs/recipe.schema.json": ("schema",), "docs/recipe.md": ("schema", "--page")}
"""Path in the checkout -> the command that `make schema` writes it with."""
RECIPE = """
name: new
seed: 1
sampling: { kind: grid, spacing_m: 1200, count: 2, area: { file: earth/aoi.geojson } }
grid: { size_m: 960 }
windows: [{ name: summer, start: 2022-06-01, end: 2022-09-15 }]
providers: { testbed: { url: $LANDWEAVE_TESTBED/stac } }
sources: [{ kind: cbers, providers: [testbed], max_cloud: 1.0, min_valid: 0.5 }]
quality: { min_modalities: 1 }
splits: { train: 1.0, val: 0.0, test: 0.0 }
"""


def named_by_the_guide() -> set[str]:
    """The files that the guide names, with the new sensor's name in them."""
    text = (CHECKOUT / "CONTRIBUTING.md").read_text()
    guide = text.partition("## Add a sensor that needs code")[2].partition("\n## ")[0]
    steps = "\n".join(re.findall(r"^\d+\. .*(?:\n   .*)*", guide, re.M)[:6])  # the seventh is of Earth Engine
    paths = re.findall(r"`([\w<>./]+\.(?:py|toml|yaml|md|json))`", steps)
    return {p.replace("<name>", "cbers").replace("<product>", "cbers4-wfi-l4") for p in paths}


def follow(tree: Path) -> None:
    """Make the changes in a copy of the checkout."""
    for path, file in NEW.items():
        shutil.copy(HERE / file, tree / path)
    for path, lines in LINES.items():
        text = (tree / path).read_text()
        for old, new in lines:
            assert text.count(old) == 1, f"{path}: {old!r} is there {text.count(old)} times"
            for file in re.findall(r"{(new_\w+\.txt)}", new):
                new = new.replace(f"{{{file}}}", (HERE / file).read_text())  # noqa: PLW2901
            text = text.replace(old, new.replace("{old}", old))
        (tree / path).write_text(text)


def run(tree: Path, *words: str) -> str:
    """A command in the copy; it must succeed."""
    env = {
        name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")
    }  # it is a run of its own
    done = subprocess.run(
        [sys.executable, *words], cwd=tree, env={**env, "PYTHONPATH": str(tree)}, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    return done.stdout


def test_a_sensor_is_added_at_the_places_that_the_guide_names(tmp_path: Path) -> None:
    assert named_by_the_guide() == {*NEW, *LINES, *MADE, "testbed/README.md"}
    tree = tmp_path / "checkout"
    for folder in COPIED:
        shutil.copytree(CHECKOUT / folder, tree / folder, ignore=shutil.ignore_patterns("__pycache__", "new_sensor"))
    for file in ("pyproject.toml", "tests/conftest.py"):
        shutil.copy(CHECKOUT / file, tree / file)
    follow(tree)
    for path, words in MADE.items():
        text = run(tree, "-m", "pipelines", *words)
        assert "cbers" in text
        assert (tree / path).read_text() != text, f"{path} has to be made again"
    conformance = ("-m", "pytest", "-q", "-p", "no:cacheprovider", "--basetemp", str(tmp_path / "base"))
    said = run(tree, *conformance, "tests/conformance", "-k", "cbers or every_table")
    assert re.search(r"^[6-9] passed", said, re.M), said
    (tmp_path / "earth").symlink_to(tmp_path / "base" / "earth")
    (tmp_path / "new.yaml").write_text(RECIPE)
    build = ("pipelines", "build", str(tmp_path / "new.yaml"), str(tmp_path / "out"), "--workers", "1")
    run(tree, "-m", "testbed", "run", str(tmp_path / "earth"), "--", sys.executable, "-m", *build)
    dataset = landweave.open(tmp_path / "out")
    assert len(dataset) == 2
    for sample in dataset:
        pixels = sample["cbers/bands_64m"]
        assert pixels.shape == (1, 4, 15, 15)
        assert pixels.dtype == np.int16
        assert len(np.unique(pixels)) > 50
        assert set(np.unique(sample["cbers/cmask"])) <= {0, 127, 255}
