"""Fused labels are added to a finished dataset in two passes: the same bytes whoever does them, killed anywhere."""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
import zarr

import landweave
from landweave.check import check
from landweave.torch import TorchStream
from pipelines.engines import Engine
from pipelines.fusion.coming import WANTED, coming, want
from pipelines.fusion.families import FusionError
from pipelines.jobs import BuildError, add_fused
from pipelines.recipes import RecipeFile
from pipelines.shards import AddError, added_outcomes
from schemas.recipe import Recipe
from tests.shards import synthetic

COUNTS = (4, 3, 2)
SOURCES = ("sentinel2", "sentinel1")


def recipe(**fused: object) -> Recipe:
    """The recipe of the synthetic dataset with a fused label."""
    said = synthetic.recipe(sources=SOURCES, samples=4).model_dump(mode="json")
    said["labels"] += [{"kind": "fused", **fused}]
    return Recipe.model_validate(said)


def recipe_file(folder: Path, **fused: object) -> RecipeFile:
    return RecipeFile(recipe=recipe(**fused), folder=folder)


def sums(folder: Path) -> dict[str, str]:
    hidden = (".staging", ".work")
    files = [p for p in folder.rglob("*") if p.is_file() and not {*hidden} & {*p.relative_to(folder).parts}]
    return {p.relative_to(folder).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return synthetic.planned(COUNTS, sources=SOURCES, requests=3).build(tmp_path_factory.mktemp("base") / "data")


@pytest.fixture(scope="module")
def fused(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The dataset with a fused layer, made in this process."""
    out = shutil.copytree(base, tmp_path_factory.mktemp("fused") / "data")
    add_fused(recipe_file(out, probabilities=True, mislabelled=True, abstain_below=0.4), out, Engine())
    return out


def test_old_objects_keep_their_bytes_and_the_layer_is_read(base: Path, fused: Path) -> None:
    before, after = sums(base), sums(fused)
    changed = {path for path, digest in before.items() if after[path] != digest}
    assert changed == {"landweave.json", "data.zarr/zarr.json", "README.md", "croissant.json", "CITATION.cff"}
    assert not list((fused / ".work").glob("fused-*"))
    data = landweave.open(fused)
    assert list(check(data)) == []
    group = data.labels["fused"]
    assert [a.name for a in group.arrays] == ["classes", "confidence", "votes", "mislabelled", "probabilities"]
    assert [c.code for c in group.classes] == list(range(len(group.classes)))
    assert "uncalibrated" in group.title
    assert group.licence == "ODbL-1.0"
    assert [one["kind"] for one in data.recipe["labels"]][-2:] == ["openstreetmap", "fused"]
    assert data.recipe["labels"][:-1] == landweave.open(base).recipe["labels"]
    assert data.recipe["labels"][-1]["probabilities"] is True
    root = zarr.open_group(fused / "data.zarr", mode="r")
    assert root["fused/classes"].attrs["flag_values"] == [c.code for c in group.classes]
    assert "flag_values" not in root["fused/confidence"].attrs


def test_pixels_and_columns_say_the_same(fused: Path) -> None:
    data = landweave.open(fused)
    labelled = 0
    for sample in data:
        classes, confidence, votes = (sample[f"fused/{name}"] for name in ("classes", "confidence", "votes"))
        there = classes != 255
        labelled += int(there.sum())
        assert (confidence[~there] == 0).all()
        assert (votes[~there] == 0).all()
        assert confidence[there].min() >= round(0.4 * 255)
        assert votes.max() <= 3
        names = sum((sample.get(name) is not None) for name in ("worldcover", "dynamicworld", "openstreetmap"))
        assert votes.max() <= names
        share = sample["fused/probabilities"].astype(int)
        assert (share[:, ~there] == 0).all()
        assert (np.abs(share.sum(axis=0)[there] - 255) <= len(share)).all()
        best = np.take_along_axis(share, np.where(there, classes, 0)[None].astype(int), 0)[0]
        assert (best == share.max(axis=0))[there].all()
        assert sample.item["fused_confidence"] == pytest.approx(confidence[there].mean() / 255, abs=1e-5)
        assert sample.item["fused_labelled"] == pytest.approx(there.mean())
        assert 0 <= sample.item["fused_agreement"] <= 1
        assert 0 <= sample.item["fused_entropy"] <= 1
        assert sample.item["fused_version"] == "v3 uncalibrated"
        wrong = sample["fused/mislabelled"]
        assert (wrong[~there] == 0).all()
        assert 0 < sample.item["fused_mislabelled"] < 1
        assert sample.item["fused_mislabelled"] == pytest.approx(wrong[there].mean() / 255, abs=0.5 / 255 + 1e-5)
        assert sample.item["fused_date_gap_days"] == 3
    assert labelled
    for column in ("confidence", "agreement", "entropy"):
        middle = float(np.median(data.catalogue.read([f"fused_{column}"])[f"fused_{column}"].to_numpy()))
        found = data.query(f"fused_{column} > {middle}")
        assert 0 < len(found) < len(data)


def test_status_names_what_is_still_to_come(base: Path, fused: Path, tmp_path: Path) -> None:
    out = shutil.copytree(base, tmp_path / "data")
    assert coming(out, 3, running=False) == []
    want(out, ["fused", "other"])
    noted = (out / WANTED).stat().st_mtime_ns
    want(out, ["fused", "other"])
    assert (out / WANTED).stat().st_mtime_ns == noted, "a second build changes nothing"
    lines = [f"{name}: is not made yet; run the same command again to make it" for name in ("fused", "other")]
    assert coming(out, 3, running=False) == lines
    passed = out / ".work/fused-0123/statistics/statistics"
    passed.mkdir(parents=True)
    (passed / "00000.npz").write_bytes(b"x")
    now = coming(out, 3, running=True)
    assert now == ["fused: is made now: labels of 1 of 3 shards compared", "other: is made next"]
    (out / "landweave.json").unlink()
    assert coming(out, 3, running=True)[0] == "fused: is made when all shards are built"
    want(fused, ["fused"])
    assert coming(fused, 3, running=False) == []
    want(fused, [])
    assert not (fused / WANTED).exists()
    assert added_outcomes(base, [g.name for g in landweave.open(base).spec.groups]) == {}
    found = added_outcomes(fused, ["sentinel2"])
    assert sum(found["fused"].values()) == len(landweave.open(fused))
    assert found["fused"]["ok"]


@pytest.mark.parametrize("label", ["fused", "worldcover"])
def test_classes_have_indexes_and_weights_for_a_loss(fused: Path, label: str) -> None:
    data = landweave.open(fused)
    classes = data.classes(label)
    assert classes.contiguous == (label == "fused")
    assert len(classes.names) == len(classes) == len(classes.codes)
    counted = np.zeros(len(classes), int)
    for sample in data.query(split="train").ids:
        stored = data.sample(sample).get(label)
        if stored is not None:
            index = classes.index(stored)
            assert index.dtype == np.uint8
            assert (classes.contiguous is False) or (index == stored).all()
            assert set(np.unique(index)) <= {*range(len(classes)), classes.ignore_index}
            counted += np.bincount(index[index != classes.ignore_index], minlength=len(classes))
    assert classes.pixels().tolist() == counted.tolist()
    weights = classes.weights()
    assert weights.dtype == np.float32
    assert (weights * counted).sum() == pytest.approx(counted.sum(), rel=1e-5)
    assert ((weights == 0) == (counted == 0)).all()
    with pytest.raises(landweave.UnknownNameError, match="sentinel2"):
        data.classes("sentinel2")


def test_a_weighted_loss_in_a_data_loader(fused: Path) -> None:
    data = landweave.open(fused)
    classes, torch_classes = data.classes("fused"), len(data.classes("fused"))
    loss = torch.nn.CrossEntropyLoss(
        weight=torch.from_numpy(classes.weights()), ignore_index=classes.ignore_index, reduction="none"
    )
    stream = data.stream(data.query(split="train"), batch_size=3, arrays=["sentinel2", "fused"], normalise="all")
    model = torch.nn.Conv2d(8, torch_classes, 1)
    for batch in torch.utils.data.DataLoader(TorchStream(stream), batch_size=None, num_workers=1):
        assert batch["fused/classes"].dtype == batch["fused/confidence"].dtype == torch.uint8
        target, sure = batch["fused/classes"].long(), batch["fused/confidence"].float() / 255
        assert ((target == classes.ignore_index) == (sure == 0)).all()
        said = model(batch["sentinel2/bands_10m"].flatten(1, 2))
        each = loss(said, target)
        assert (each[target == classes.ignore_index] == 0).all()
        (each * sure).sum().backward()
    assert model.weight.grad is not None
    assert torch.isfinite(model.weight.grad).all()
    assert model.weight.grad.abs().sum() > 0


@pytest.mark.slow
def test_a_second_call_adds_nothing_and_other_settings_need_another_name(fused: Path, tmp_path: Path) -> None:
    out = shutil.copytree(fused, tmp_path / "data")
    before = sums(out)
    add_fused(recipe_file(out, probabilities=True, mislabelled=True, abstain_below=0.4), out, Engine())
    assert sums(out) == before
    with pytest.raises(AddError, match=r"fused: synthetic has a layer of that name already; write `layer: NAME`"):
        add_fused(recipe_file(out), out, Engine())
    add_fused(recipe_file(out, layer="second"), out, Engine())
    assert (out / "recipe.json").read_bytes() == (fused / "recipe.json").read_bytes()
    assert [one.get("layer", "fused") for one in landweave.open(out).recipe["labels"][-2:]] == ["fused", "second"]
    before = sums(out)
    none = RecipeFile(recipe=recipe().base, folder=tmp_path)
    with pytest.raises(BuildError, match="has no label of `kind: fused`"):
        add_fused(none, out, Engine())
    assert sums(out) == before


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"images": ["sentinel2", "dem"]}, "dem"),
        ({"grid": {"size_m": 480.0}}, r"grid.size_m is 480 in the recipe and 240 in synthetic"),
    ],
)
def test_what_the_dataset_lacks_is_one_line(
    base: Path, tmp_path: Path, change: dict[str, object], message: str
) -> None:
    said = synthetic.recipe(sources=(*SOURCES, "dem"), samples=4).model_dump(mode="json")
    grid = change.pop("grid", None)
    said["labels"] += [{"kind": "fused", **change}]
    said["grid"] |= grid or {}  # type: ignore[arg-type]
    out = shutil.copytree(base, tmp_path / "data")
    before = sums(out)
    with pytest.raises(FusionError, match=message) as caught:
        add_fused(RecipeFile(recipe=Recipe.model_validate(said), folder=tmp_path), out, Engine())
    assert len(str(caught.value).splitlines()) == 1
    assert sums(out) == before


def points(base: Path, folder: Path, count: int) -> str:
    """Reference points: WorldCover's own classes at random pixels of its samples."""
    data, rng = landweave.open(base), np.random.default_rng(1)
    lines = ["lon,lat,class"]
    names = {10: "trees", 40: "crops", 80: "water"}
    from pyproj import Transformer

    back = Transformer.from_crs(32633, 4326, always_xy=True)
    with_map = [s for s in data if s.get("worldcover") is not None]
    while len(lines) <= count:
        sample = with_map[rng.integers(len(with_map))]
        row, column = rng.integers(0, 24, 2)
        name = names.get(int(sample["worldcover"][row, column]))
        if name:
            x, y = sample.item["x_min"] + 10 * column + 5, sample.item["y_max"] - 10 * row - 5
            lon, lat = back.transform(x, y)
            lines.append(f"{lon:.7f},{lat:.7f},{name}")
    (folder / "points.csv").write_text("\n".join(lines) + "\n")
    return "points.csv"


@pytest.mark.slow
def test_reference_points_calibrate_the_confidence(base: Path, fused: Path, tmp_path: Path) -> None:
    out = shutil.copytree(base, tmp_path / "data")
    file = points(base, tmp_path, 200)
    add_fused(recipe_file(tmp_path, reference={"file": file}, mislabelled=True), out, Engine())
    data = landweave.open(out)
    for sample in data:
        there = sample["fused/classes"] != 255
        said = sample["fused/confidence"].astype(int) + sample["fused/mislabelled"]
        assert (np.abs(said[there] - 255) <= 1).all(), "with points, an error is what is left of the confidence"
    assert "calibrated with 200 reference points" in data.labels["fused"].title
    assert set(data.catalogue.read(["fused_version"])["fused_version"].to_pylist()) == {"v3 calibrated"}
    right = np.concatenate([(s["fused/confidence"][s["fused/classes"] != 255]).ravel() / 255 for s in data])
    raw = np.concatenate(
        [(s["fused/confidence"][s["fused/classes"] != 255]).ravel() / 255 for s in landweave.open(fused)]
    )
    assert abs(np.mean(right) - np.mean(raw)) > 0.01, "calibration moved nothing"


def test_points_outside_all_samples_leave_the_dataset_as_it_was(base: Path, tmp_path: Path) -> None:
    out = shutil.copytree(base, tmp_path / "data")
    before = sums(out)
    text = "lon,lat,class\n" + "".join(f"{100 + i / 10},10,trees\n" for i in range(40))
    (tmp_path / "points.csv").write_text(text)
    with pytest.raises(FusionError, match=r"reference: 0 of 40 points lie on labelled pixels of samples, at least 30"):
        add_fused(recipe_file(tmp_path, reference={"file": "points.csv"}), out, Engine())
    assert sums(out) == before


def test_a_damaged_map_of_the_dataset_is_one_line_and_nothing_is_added(base: Path, tmp_path: Path) -> None:
    out = shutil.copytree(base, tmp_path / "data")
    path = next(p for p in (out / "data.zarr/worldcover/classes/c").rglob("0") if p.is_file())
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 3] ^= 0x10
    path.write_bytes(raw)
    before = sums(out)
    with pytest.raises(FusionError) as caught:
        add_fused(recipe_file(out), out, Engine())
    said = str(caught.value)
    assert "Traceback" not in said
    assert "worldcover" in said
    assert len(said.splitlines()) == 2, "which shards failed, and why"
    assert sums(out) == before


@pytest.mark.slow
def test_other_parallelism_and_kills_give_the_same_bytes(base: Path, fused: Path, tmp_path: Path) -> None:
    whole = sums(fused)
    several = shutil.copytree(base, tmp_path / "several")
    add_fused(recipe_file(several, probabilities=True, mislabelled=True, abstain_below=0.4), several, Engine(workers=2))
    assert sums(several) == whole
    out, kills = shutil.copytree(base, tmp_path / "killed"), 0
    (tmp_path / "recipe.json.yaml").write_text(
        recipe(probabilities=True, mislabelled=True, abstain_below=0.4).model_dump_json()
    )
    command = [sys.executable, "-m", "pipelines", "add", str(out), str(tmp_path / "recipe.json.yaml"), "--workers", "1"]
    for pattern in ("statistics/statistics/00001.npz", "labels/shards/00001.json", "labels/landweave.json"):
        child = subprocess.Popen(command, start_new_session=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        while child.poll() is None and not list((out / ".work").glob(f"fused-*/{pattern}")):
            time.sleep(0.002)
        if child.poll() is None:
            os.killpg(child.pid, signal.SIGKILL)
            kills += 1
        child.wait()
        assert list(check(landweave.open(out))) == []
    last = subprocess.run(command, capture_output=True, text=True, check=False)
    assert last.returncode == 0, last.stderr
    assert kills >= 2
    assert sums(out) == whole


@pytest.fixture(autouse=True)
def _in_checkout(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(Path(__file__).parents[2])
