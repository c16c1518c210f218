"""Declared layers through the commands: two layers of one product, presets on STAC and on Earth Engine, a trial."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

import landweave
import testbed
from tests.flow.job import run

pytestmark = pytest.mark.slow
RECIPE = """name: layers
seed: 7
sampling: { kind: grid, spacing_m: 1100, area: { file: aoi.geojson } }
grid: { size_m: 480 }
windows:
  - { name: summer-2021, start: 2021-06-01, end: 2021-09-15 }
  - { name: summer-2022, start: 2022-06-01, end: 2022-09-15 }
providers:
  pc: { url: $LANDWEAVE_TESTBED/pc/stac, dialect: planetary-computer }
  gee: { kind: earthengine, project: testbed-project }
sources:
  - { layer: s1_asc, kind: sentinel1, providers: [pc], where: { sat:orbit_state: ascending } }
  - { layer: s1_desc, kind: sentinel1, providers: [pc], where: { sat:orbit_state: descending } }
  - { layer: landsat_8_9, kind: landsat-8-9-l2, providers: [pc], max_cloud: 1.0 }
  - { layer: terrain, kind: cop-dem-30, providers: [pc] }
  - { layer: s2, kind: sentinel2-l1c, providers: [gee], earthengine: COPERNICUS/S2_SR_HARMONIZED,
      arrays: { bands_60m: null, bands_20m: null } }
captions: { kind: template }
splits: { block_m: 2000, buffer_m: 100 }
"""


def test_declared_layers_build_and_read(earth: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copy(earth / "aoi.geojson", tmp_path)
    (tmp_path / "layers.yaml").write_text(RECIPE)
    with testbed.serve(earth) as services:
        monkeypatch.setitem(os.environ, "LANDWEAVE_EARTHENGINE_URL", services.base_url)
        done = run(services, "build", tmp_path / "layers.yaml", tmp_path / "out", "--limit", "4", "--workers", "1")
    assert done.returncode == 0, done.stderr
    assert "a trial of 4 of" in done.stdout
    data = landweave.open(tmp_path / "out")
    assert list(data.modalities) == ["s1_asc", "s1_desc", "landsat_8_9", "terrain", "s2"]
    assert len(data.query("s1_asc_count == 1 and s1_desc_count == 1 and terrain_count == 1 and s2_count == 2")) == 4
