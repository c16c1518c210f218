"""`benchmarks.labels_agreement`: figures of made-up maps are those that were put in; real ones are in their range."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import rasterio
from rasterio.transform import from_origin

from benchmarks.labels_agreement import autocorrelation, compare, kappa

REAL = Path(__file__).parents[3] / "shared" / "real" / "multimodal"


def write(path: Path, bands: np.ndarray, crs: str = "EPSG:32633", nodata: float | None = None) -> Path:
    stack = bands if bands.ndim == 3 else bands[None]
    form = {"count": len(stack), "height": stack.shape[1], "width": stack.shape[2], "dtype": stack.dtype, "crs": crs}
    with rasterio.open(path, "w", transform=from_origin(500_000, 5_000_000, 10, 10), nodata=nodata, **form) as file:
        file.write(stack)
    return path


def test_two_maps_agree_as_they_were_made_to(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    one = rng.choice(np.array([10, 40, 80], np.uint8), (96, 128))
    one[:8] = 0
    two = np.where(rng.random(one.shape) < 0.25, np.uint8(50), one)  # built, which the first never says
    two[one == 0] = 10
    files = [write(tmp_path / f"{n}.tif", m) for n, m in (("one", one), ("two", two))]
    rows = list(compare([("worldcover", f) for f in files], [], None))
    known = one > 0
    assert rows[0]["covered"] == pytest.approx(known.mean(), abs=1e-4)
    assert rows[0]["shares"]["trees"] == pytest.approx((one == 10)[known].mean(), abs=1e-4)
    assert rows[2]["pixels"] == known.sum()
    assert rows[2]["agreement"] == pytest.approx((one == two)[known].mean(), abs=1e-4)
    assert rows[2]["same_class"]["built"] == 0
    assert abs(rows[2]["autocorrelation_of_disagreement"][5]) < 0.05


def test_kappa_and_autocorrelation_have_their_known_values() -> None:
    one = np.array([[1, 1, 2, 2]], np.uint8)
    assert kappa(one, one) == 1
    assert kappa(one, np.array([[1, 2, 1, 2]], np.uint8)) == pytest.approx(0)
    stripes = np.tile(np.array([True, True, False, False]), (3, 8))
    there = np.ones_like(stripes)
    assert autocorrelation(stripes, there, 4) == pytest.approx(1)
    assert autocorrelation(stripes, there, 2) == pytest.approx(-1)
    assert autocorrelation(stripes & False, there, 1) is None


def test_an_image_shows_a_map_that_it_was_made_from_and_no_other(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    blocks = rng.integers(0, 2, (8, 8)).repeat(16, 0).repeat(16, 1)
    image = (blocks[None] * 500 + rng.normal(1000, 60, (3, 128, 128))).astype(np.float32)
    right = write(tmp_path / "right.tif", np.where(blocks, 10, 80).astype(np.uint8))
    wrong = write(tmp_path / "wrong.tif", rng.choice(np.array([10, 80], np.uint8), (128, 128)))
    seen = write(tmp_path / "image.tif", image)
    rows = [r for r in compare([("worldcover", right), ("worldcover", wrong)], [seen], None) if "image_pixels" in r]
    assert rows[0]["image_agreement"] > 0.95
    assert 0.4 < rows[1]["image_agreement"] < 0.6


@pytest.mark.parametrize(
    ("crosswalk", "bbox", "message"),
    [
        ("esri", None, "one.tif: code 40 has no row in esri@1; name another crosswalk"),
        ("worldcover", [100, 0, 101, 1], "one.tif: does not lie in --bbox 100 0 101 1"),
        ("korine", None, "no crosswalk is named 'korine'"),
    ],
)
def test_a_mistake_is_one_line(tmp_path: Path, crosswalk: str, bbox: list[float] | None, message: str) -> None:
    file = write(tmp_path / "one.tif", np.full((8, 8), 40, np.uint8))
    with pytest.raises(ValueError, match=message) as caught:
        list(compare([(crosswalk, file)], [], bbox))
    assert len(str(caught.value).splitlines()) == 1


def test_two_years_of_worldcover_on_real_ground() -> None:
    folder = REAL / "sao_tome"
    if not folder.is_dir():
        pytest.skip("needs ../shared/real")
    maps = [("worldcover", path) for path in sorted(folder.glob("*_Map.tif"))]
    row = list(compare(maps, [], (6.6, 0.2, 6.7, 0.3)))[-1]
    assert 0.9 < row["agreement"] < 0.995
    assert row["autocorrelation_of_disagreement"][5] >= 0.15, "errors of one product stay where they are"
