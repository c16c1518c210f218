"""Samples and composites that are larger than memory allows are kept in a file, and are the same."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import numpy as np
import pyproj
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays_of

import pipelines.assemble
import pipelines.sources.composite
import pipelines.sources.read_shard
from pipelines.access.archives import Archives
from pipelines.assemble import Factory
from pipelines.plan import make_plan
from pipelines.recipes import read_recipe
from pipelines.sources.composite import reduce_clear
from pipelines.sources.spill import spilled
from schemas.modality import SENTINEL2
from testbed.services import Services, serve_catalogue
from tests.sources.test_sources_gather import LEFT, TOP, item, write_scene

DTYPES = st.sampled_from(["uint8", "bool", "int16", "uint16", "float32", "float64"])
SHAPES = arrays_of.array_shapes(min_dims=1, max_dims=3, min_side=0, max_side=9)


@given(st.lists(st.tuples(DTYPES, SHAPES, st.booleans()), max_size=6), st.integers(0, 2**31))
def test_arrays_in_a_file_are_the_same_and_cannot_be_changed(kinds: list[Any], seed: int) -> None:
    rng = np.random.default_rng(seed)
    made = [rng.integers(0, 250, shape).astype(dtype) for dtype, shape, _ in kinds]
    made = [a.T if turned else a for a, (_, _, turned) in zip(made, kinds, strict=True)]
    for before, after in zip(made, spilled(made, None), strict=True):
        assert after.dtype == before.dtype
        np.testing.assert_array_equal(after, before)
        assert not after.flags.writeable


def test_the_file_has_no_name_and_goes_with_its_arrays(tmp_path: Path) -> None:
    def open_there() -> int:
        return sum(str(tmp_path) in line for line in Path("/proc/self/maps").read_text().splitlines())

    held = spilled([np.arange(10_000), np.zeros(3)], tmp_path)
    assert not list(tmp_path.iterdir())
    assert open_there() == 1
    held.pop()
    assert held[0].sum() == sum(range(10_000))
    del held
    assert open_there() == 0


@pytest.mark.parametrize("how", ["median", "mean", "mosaic"])
def test_rows_that_are_reduced_at_once_change_nothing(how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(3)
    values = [rng.integers(1, 10_000, (2, 23, 17)).astype("uint16") for _ in range(6)]
    clear = [rng.random((2, 23, 17)) < 0.5 for _ in range(6)]
    whole = reduce_clear(values, clear, SENTINEL2.layers[0], how)
    for limit in (1, 6 * 17 * 8 * 5):
        monkeypatch.setattr(pipelines.sources.composite, "_REDUCED_BYTES", limit)
        for one, two in zip(whole, reduce_clear(values, clear, SENTINEL2.layers[0], how), strict=True):
            np.testing.assert_array_equal(one, two)


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("scenes")
    for seed, name in enumerate("ab"):
        write_scene(folder, name, cloudy="west" if name == "b" else "", seed=seed)
    listed = []
    for day in range(9):
        one = item("ab"[day % 2], 15)
        when = dt.date(2022, 6, 1) + dt.timedelta(days=day)
        listed.append(
            {**one, "id": f"s{day:03d}", "properties": {**one["properties"], "datetime": f"{when}T10:00:00Z"}}
        )
    with serve_catalogue(listed, {"/s/": folder}) as services:
        yield services


def built(archive: Services, folder: Path, window: str, source: str) -> dict[str, bytes]:
    """Objects of a dataset of two samples."""
    to_degrees = pyproj.Transformer.from_crs(32632, 4326, always_xy=True).transform
    lines = ["lon,lat", *("{:.6f},{:.6f}".format(*to_degrees(LEFT + x, TOP - 640)) for x in (640, 1_880))]
    folder.mkdir()
    (folder / "p.csv").write_text("\n".join(lines) + "\n")
    (folder / "recipe.yaml").write_text(
        "name: m\nseed: 1\nsampling: { kind: points, file: p.csv }\ngrid: { size_m: 1200 }\n"
        "splits: { train: 1, val: 0, test: 0 }\n"
        f"windows: [{{ name: june, {window}start: 2022-06-01, end: 2022-06-30 }}]\n"
        f"providers: {{ p: {{ url: {archive.stac_url('catalogue')} }} }}\n"
        f"sources: [{{ kind: sentinel2, {source}providers: [p], max_cloud: 1.0, min_valid: 0.0 }}]\n"
    )
    file, out = read_recipe(folder / "recipe.yaml"), folder / "out"
    with Archives(file.recipe.providers) as archives:
        make_plan(file, archives, out / "plan", out / ".work", lambda *_: None)
    factory = Factory.open(out)
    assert factory.build(0) == 2
    factory.close()
    held = {str(p.relative_to(out)): p.read_bytes() for p in sorted((out / "data.zarr").rglob("*")) if p.is_file()}
    ledger = (out / "parts" / "ledger").glob("*")
    return held | {p.name: p.read_bytes() for p in ledger}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("window", "source"),
    [("every: scene, count: 9, ", ""), ("", "composite: median, max_scenes: 9, ")],
    ids=["series", "composite"],
)
def test_what_is_kept_in_a_file_builds_the_same_bytes(
    window: str, source: str, archive: Services, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usual = built(archive, tmp_path / "usual", window, source)
    kept: list[int] = []
    real = pipelines.sources.spill.spilled

    def counting(arrays: Any, folder: Path | None) -> Any:
        assert folder == tmp_path / "small" / "out" / ".work"
        kept.append(sum(a.nbytes for a in arrays))
        return real(arrays, folder)

    monkeypatch.setattr(pipelines.sources.spill, "spilled", counting)
    monkeypatch.setattr(pipelines.assemble, "STACKS_BYTES", 1_000_000)
    monkeypatch.setattr(pipelines.sources.read_shard, "GROUP_BYTES", 1_000_000)
    small = built(archive, tmp_path / "small", window, source)
    assert len(kept) >= 9
    assert sorted(small) == sorted(usual)
    assert small == usual
