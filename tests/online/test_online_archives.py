"""Ten samples from each real archive: run with `--online`; a login that is missing is named, and its archive skipped.

Each is a whole job by the commands, with one small recipe of the folder `recipes/`.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import landweave
from landweave.sample import Sample
from pipelines.access.http.client import SettingError
from pipelines.access.logins.required import check_credentials
from pipelines.recipes import read_recipe
from tests.providers.written import leaks, texts

pytestmark = pytest.mark.online

CHECKOUT = Path(__file__).parents[2]
OURS = ("bad_item", "corrupt", "wrong_grid", "not_found", "denied")
"""Reasons that would mean that we read the service wrong, or are not signed in."""
FEW = ("sampling.count=10", "shards.samples=10", "splits.block_m=4000")
ARCHIVES: dict[str, tuple[str, tuple[str, ...]]] = {
    "earth search and dlr": ("earth-search", FEW),
    "planetary computer": ("planetary-computer", FEW),
    "copernicus, usgs and nasa": ("agencies", FEW),
}
"""What is asked -> (recipe, what is changed)."""
PLAUSIBLE: dict[str, tuple[str, float, float]] = {
    "sentinel2": ("bands_10m", 0.0, 0.6),
    "landsat": ("bands_30m", -0.1, 0.6),
    "hls": ("bands_30m", -0.1, 0.6),
    "enmap": ("bands_30m", 0.0, 0.6),
    "sentinel1": ("backscatter", -30.0, 5.0),
    "dem": ("elevation", 300.0, 600.0),
}
"""Modality -> (layer, least and most that its median over Bavaria in summer can be: reflectance, decibels, metres)."""
SECRETS = (
    *("DLR_EOC_PASSWORD", "CDSE_PASSWORD", "CDSE_S3_SECRET_KEY", "EARTHDATA_TOKEN", "EARTHDATA_PASSWORD"),
    *("AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "PC_SDK_SUBSCRIPTION_KEY"),
)


@pytest.mark.parametrize("name", ARCHIVES)
def test_ten_samples(name: str, tmp_path: Path) -> None:
    recipe, changes = ARCHIVES[name]
    path, out = CHECKOUT / "recipes" / f"{recipe}.yaml", tmp_path / "dataset"
    try:
        check_credentials(read_recipe(path, changes).recipe)
    except SettingError as missing:
        pytest.skip(str(missing))
    words = [word for change in changes for word in ("--set", change)]
    command = [sys.executable, "-m", "pipelines", "build", str(path), str(out), *words]
    environment = {**os.environ, "PYTHONPATH": str(CHECKOUT)}
    built = subprocess.run(command, cwd=CHECKOUT, env=environment, text=True, capture_output=True, check=False)
    assert built.returncode in (0, 3), built.stderr
    dataset = landweave.open(out)
    rows = dataset.ledger.to_pylist()
    wrong = [f"{r['layer']}: {r['reason']}: {r['detail']}" for r in rows if r["reason"] in OURS]
    assert not wrong, wrong
    assert len(dataset) >= 5
    for layer in (*dataset.modalities, *dataset.labels):
        mine = [r["reason"] for r in rows if r["layer"] == layer]
        assert mine.count("ok") >= len(mine) / 4, (layer, mine)
    for modality, (layer, least, most) in PLAUSIBLE.items():
        if modality not in dataset.modalities:
            continue
        medians = [m for sample in dataset if (m := median(sample, modality, layer)) is not None]
        assert medians, modality
        assert least <= float(np.median(medians)) <= most, (modality, medians)
    secrets = [os.environ[name].encode() for name in SECRETS if os.environ.get(name)]
    said = {"output": [built.stdout.encode(), built.stderr.encode()]}
    assert leaks(said | texts(out), secrets) == []


def median(sample: Sample, modality: str, layer: str) -> float | None:
    """Median of the measured numbers in the layer's unit, over all dates and bands; None where there are none."""
    if not any(sample.present[modality]):
        return None
    values = sample.physical(f"{modality}/{layer}")
    return None if np.isnan(values).all() else float(np.nanmedian(values))
