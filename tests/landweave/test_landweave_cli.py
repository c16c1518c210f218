"""The command line: what it prints, its exit codes, one line for a mistake; and what importing the reader costs."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from landweave.__main__ import main

ROOT = Path(__file__).parents[2]


def test_info(dataset_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", str(dataset_path)]) == 0
    text = capsys.readouterr().out
    assert "samples        22" in text
    assert "sentinel2/bands_10m          uint16      10 m" in text
    assert main(["info", "--json", str(dataset_path)]) == 0
    assert json.loads(capsys.readouterr().out)["observations"]["dem"] == 18


def test_query(dataset_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert (
        main(["query", str(dataset_path), "sentinel2_count == 2", "--split", "val", "--columns", "id,split,lat"]) == 0
    )
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["id", "split", "lat"]
    assert lines[1].split()[:2] == ["s004_000", "val"]
    assert lines[-1] == "3 of 22 samples"
    arguments = ["--bbox", "14", "46", "16", "48", "--time", "2021-01-01", "2021-12-31", "--limit", "2", "--json"]
    assert main(["query", str(dataset_path), *arguments, "--columns", "all"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [r["id"] for r in rows] == ["s000_000", "s000_001"]
    assert rows[0]["captions"][0]["text"].startswith("Caption")


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["query", "{data}", "tree > 1"], 1, "landweave: no column 'tree'"),
        (["query", "{data}", "--columns", "tree"], 2, "landweave: no column 'tree'"),
        (["info", "{data}/nothing"], 1, "no dataset here"),
        (["check", "{data}/catalogue"], 1, "no dataset here"),
        (["show", "{data}", "{tmp}/x.png", "lat > 80"], 1, "nothing was drawn"),
    ],
)
def test_mistakes(dataset_path: Path, tmp_path: Path, capsys, arguments: list[str], code: int, says: str) -> None:
    assert main([a.format(data=dataset_path, tmp=tmp_path) for a in arguments]) == code
    error = capsys.readouterr().err
    assert says in error
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    "arguments", [[], ["fly"], ["info"], ["query", "x", "--limit", "0"], ["query", "x", "--bbox", "1"]]
)
def test_usage(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert stop.value.code == 2
    assert "usage: landweave" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["info x", "query x", "show x y.png", "export parquet x y", "check x", "texts x"])
def test_an_unknown_argument_is_answered_with_the_commands_own_usage(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        main([*command.split(), "--kount", "3"])
    assert stopped.value.code == 2
    said = capsys.readouterr().err
    assert said.startswith(f"usage: landweave {command.split(maxsplit=1)[0]} ")
    assert "unrecognized arguments: --kount" in said


@pytest.mark.parametrize("command", ["info", "query", "show", "check"])
def test_help_has_an_example(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main([command, "--help"])
    assert stop.value.code == 0
    assert f"example: landweave {command} data/quickstart" in capsys.readouterr().out


def test_check(dataset_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", str(dataset_path)]) == 0
    assert "no fault found" in capsys.readouterr().out
    shutil.copytree(dataset_path, tmp_path / "copy")
    (tmp_path / "copy/catalogue/ledger.parquet").unlink()
    (tmp_path / "copy/parts/items/00001.parquet").write_bytes(b"")
    assert main(["check", str(tmp_path / "copy")]) == 1
    captured = capsys.readouterr()
    assert captured.out.splitlines()[0] == "catalogue/ledger.parquet: is missing"
    assert captured.out.splitlines()[1].startswith("parts/items/00001.parquet: has 0 bytes")
    assert captured.err == "landweave: 2 faults found\n"


@pytest.mark.slow
def test_show_draws(dataset_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import matplotlib.image

    for target in (tmp_path / "a.png", tmp_path / "b.png"):
        assert main(["show", str(dataset_path), str(target), "--count", "3"]) == 0
    assert "3 of 22 samples" in capsys.readouterr().out
    picture = matplotlib.image.imread(tmp_path / "a.png")
    assert picture.shape[1] > 1000
    assert picture[..., :3].std() > 0.1
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


BLOCK = """
import sys
class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {blocked!r}:
            raise ModuleNotFoundError(f"blocked: {{name}}", name=name)
sys.meta_path.insert(0, Blocked())
"""


def run(code: str, blocked: set[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", BLOCK.format(blocked=blocked) + code],
        cwd=ROOT, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip


def test_reader_needs_nothing_of_the_factory(dataset_path: Path) -> None:
    factory = {
        "apache_beam", "rasterio", "pydantic", "ee", "pystac", "xarray", "pandas", "geopandas", "shapely", "pyproj",
        "matplotlib", "torch", "schemas", "sampling", "pipelines", "testbed", "scipy", "dask", "fsspec",
    }  # fmt: skip
    done = run(
        f"""
import landweave
data = landweave.open({str(dataset_path)!r})
print(data.sample(0)["sentinel2/bands_10m"].mean() > 0, len(data.query("worldcover_trees > 0")) > 5)
print(sum(len(b["id"]) for b in data.stream(batch_size=5)), data.sample(0).vectors().num_rows)
from landweave.__main__ import main
print(main(["show", {str(dataset_path)!r}, "x.png"]))
""",
        factory,
    )
    assert done.stdout.split() == ["True", "True", "22", "2", "1"], done.stderr
    assert done.stderr == "landweave: drawing needs matplotlib: in a checkout of landweave, run pip install '.[show]'\n"


def test_importing_the_reader_is_light() -> None:
    done = run("import landweave; print(sorted({'torch', 'matplotlib', 'zarr', 'obstore'} & set(sys.modules)))", set())
    assert done.stdout.strip() == "[]", done.stderr
