"""What an item says of itself, and what its pixels mean: Landsat and Sentinel-2, property by property."""

from __future__ import annotations

import re
from typing import Any, get_args

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pipelines.access.errors import ItemRefused
from pipelines.sources import open_source
from pipelines.sources.observation import canonical
from schemas.modality import LANDSAT, SENTINEL2
from schemas.outcome import Reason
from schemas.provider import Dialect, Provider
from schemas.scene import Scene
from schemas.sensors import LandsatSource, Sentinel2Source
from tests.sources.test_sources_radiometry import item, landsat, sentinel2

PROVIDER = Provider(url="http://x")
L8 = "LC08_L2SP_193027_20220601_20220610_02_T1"


@given(bits=st.integers(0, 65_535))
def test_landsat_clouds_are_bits_1_to_4_of_the_quality_band(bits: int) -> None:
    """USGS Collection 2: 0 fill, 1 dilated cloud, 2 cirrus, 3 cloud, 4 shadow, 5 snow, 6 clear, 7 water, then pairs."""
    source = open_source(LandsatSource(providers=("p",)))
    expected = any(bits >> bit & 1 for bit in (1, 2, 3, 4))
    assert source.cloud_mask(np.array([[bits]], np.uint16)).tolist() == [[expected]]


@pytest.mark.parametrize("raster", [None, {"nodata": 0}, {"scale": 1e-4, "offset": 0.1, "nodata": 7}])
def test_landsat_nodata_is_what_the_item_states_or_zero(raster: dict[str, Any] | None) -> None:
    scene = landsat(raster)
    stated = 0.0 if raster is None else float(raster["nodata"])
    assert {rule.nodata for band, rule in scene.radiometry.items() if band != "QA_PIXEL"} == {stated}
    quality = scene.radiometry["QA_PIXEL"]
    assert (quality.nodata, quality.gain, quality.offset_dn) == (1.0, 1.0, 0.0), "1 = the fill bit alone"


@given(scale=st.floats(1e-6, 1e-2), offset=st.floats(-1.0, 1.0), dn=st.integers(1, 60_000))
def test_landsat_of_any_stated_scale_keeps_its_reflectance(scale: float, offset: float, dn: int) -> None:
    rule = landsat({"scale": scale, "offset": offset}).radiometry["SR_B4"]
    got, _ = canonical(np.array([[dn]], np.uint16), np.ones((1, 1), bool), rule, LANDSAT.layers[0])
    wanted = np.clip((dn * scale + offset + 0.2) / 2.75e-5, 1, 65_535)
    if 1 < wanted < 65_535:
        assert abs(int(got[0, 0]) - wanted) <= 0.51
    as_delivered = abs(scale - 2.75e-5) < 1e-12 and abs(offset + 0.2) < 1e-9
    assert rule.rule.startswith("as delivered") == as_delivered


@pytest.mark.parametrize("raster", [{"scale": 2.75e-5, "offset": 0.0}, {"scale": 5.5e-5, "offset": -0.2}])
def test_landsat_of_half_the_products_own_scale_is_converted(raster: dict[str, float]) -> None:
    rule = landsat(raster).radiometry["SR_B4"]
    assert rule.gain == pytest.approx(raster["scale"] / 2.75e-5)
    assert rule.offset_dn == pytest.approx((raster["offset"] + 0.2) / 2.75e-5)


def test_landsat_with_a_scale_that_is_none_is_refused() -> None:
    for scale in (0.0, -2.75e-5):
        with pytest.raises(ItemRefused, match="declares a scale"):
            landsat({"scale": scale, "offset": -0.2})


@pytest.mark.parametrize(
    ("properties", "facts", "product"),
    [
        ({"id": L8, "platform": ""}, ("193", "027", "T1", "20220610"), "landsat-8|193027|20220601"),
        ({"id": L8.replace("LC08", "LC09"), "platform": ""}, ("193", "027", "T1", "20220610"), "landsat-9|193027"),
        ({"platform": "LANDSAT_9", "landsat:wrs_path": "3", "landsat:wrs_row": "7"}, ("003", "007", None, None), None),
        (
            {"id": L8, "landsat:wrs_path": "194", "landsat:wrs_row": "28", "landsat:collection_category": "T2"},
            ("194", "028", "T2", "20220610"),
            "landsat-8|194028|20220601",
        ),
    ],
)
def test_landsat_identity_comes_from_properties_or_else_from_the_id(
    properties: dict[str, Any], facts: tuple[str | None, ...], product: str | None
) -> None:
    scene = landsat(None, **properties)
    names = ("wrs_path", "wrs_row", "tier", "processed")
    assert tuple(scene.facts[name] for name in names) == facts
    if product is not None:
        assert scene.product.startswith(product)
    path = facts[0]
    assert scene.acquisition == f"{scene.facts['platform']}|{path}|20220601"


def test_landsat_revisions_order_tiers_and_processings() -> None:
    def revision(tier: str, processed: str, **more: Any) -> str:
        return landsat(None, id=f"LC08_L2SP_193027_20220601_{processed}_02_{tier}", **more).revision

    assert revision("RT", "20220630") < revision("T2", "20220602") < revision("T1", "20220601")
    assert revision("T1", "20220610") < revision("T1", "20220611")
    assert revision("T1", "20220610", **{"landsat:product_generated": "2022-06-10T01:00:00Z"}) < revision(
        "T1", "20220610", **{"landsat:product_generated": "2022-06-10T02:00:00Z"}
    )


@pytest.mark.parametrize("level", ["L1TP", "L1GT", "L2SX"])
def test_landsat_of_another_level_is_refused_by_its_id_too(level: str) -> None:
    with pytest.raises(ItemRefused) as caught:
        landsat(None, id=L8.replace("L2SP", level))
    assert caught.value.reason is Reason.BAD_ITEM


def s2(**properties: Any) -> Scene:
    source = open_source(Sentinel2Source(providers=("p",)))
    bands: dict[str, Any] = {b.name: {} for layer in SENTINEL2.layers for b in layer.bands}
    made = item(bands, **{"s2:processing_baseline": "03.01", **properties})
    return source.scene(made, "p", PROVIDER)


ID = "S2B_MSIL2A_20220601T101559_R065_T32TNT_20220601T140000"
DATATAKE = "GS2A_20220601T101031_036258_N04.00"
STRIP = "S2A_OPER_MSI_L2A_DS_VGS1_20220601T140000_S20220601T101553_N04.00"


@pytest.mark.parametrize(
    ("properties", "product"),
    [
        ({"id": ID}, "S2B|20220601T101559|32TNT|"),
        ({"id": ID, "s2:datatake_id": DATATAKE}, "S2B|20220601T101031|32TNT|"),
        ({"id": "x", "platform": "sentinel-2a", "s2:datatake_id": DATATAKE}, "S2A|20220601T101031|x|"),
        ({"id": "x", "platform": "Sentinel-2C", "eopf:datatake_id": DATATAKE}, "S2C|20220601T101031|x|"),
        ({"id": "x", "platform": "sentinel-2a", "s2:product_uri": f"{ID}.SAFE"}, "S2A|20220601T101559|x|"),
        ({"id": "x"}, "S2|20220601T100000|x|"),
        ({"id": "S2D_32UPU_20220601_0_L2A"}, "S2D|20220601T100000|32UPU|"),
        ({"id": "x_T32TNT_y", "platform": "sentinel-2b"}, "S2B|20220601T100000|32TNT|"),
        ({"id": ID, "s2:mgrs_tile": "31UFS"}, "S2B|20220601T101559|31UFS|"),
        ({"id": ID, "grid:code": "MGRS-31UGS"}, "S2B|20220601T101559|31UGS|"),
        ({"id": ID, "s2:datastrip_id": STRIP}, "S2B|20220601T101559|32TNT|20220601T101553"),
        ({"id": ID, "eopf:datastrip_id": STRIP.removesuffix("_N04.00")}, "S2B|20220601T101559|32TNT|20220601T101553"),
    ],
)
def test_sentinel2_identity_comes_from_properties_or_else_from_the_names(
    properties: dict[str, Any], product: str
) -> None:
    scene = s2(**properties)
    assert scene.product == product
    assert scene.acquisition == "|".join(product.split("|")[:2])
    assert scene.facts["platform"] == product.split("|", maxsplit=1)[0]


def test_sentinel2_revisions_order_baselines_then_times() -> None:
    older = s2(**{"s2:processing_baseline": "02.14", "s2:generation_time": "2023-01-01T00:00:00Z"})
    newer = s2(**{"s2:processing_baseline": "05.00", "s2:generation_time": "2022-01-01T00:00:00Z"})
    again = s2(**{"s2:processing_baseline": "05.00", "s2:generation_time": "2022-01-02T00:00:00Z"})
    assert older.revision < newer.revision < again.revision
    assert older.facts["baseline"] == "02.14"


@pytest.mark.parametrize("code", range(12))
def test_sentinel2_clouds_are_shadow_two_clouds_and_cirrus(code: int) -> None:
    source = open_source(Sentinel2Source(providers=("p",)))
    assert source.cloud_mask(np.array([[code]], np.uint8)).tolist() == [[code in (3, 8, 9, 10)]]


@given(dark=st.integers(0, 300), absent=st.integers(0, 100))
@example(dark=75, absent=0)
@example(dark=300, absent=100)
def test_sentinel2_pixels_overrule_the_flag_above_a_quarter(dark: int, absent: int) -> None:
    """Of the measured numbers of blue, green and red together; 1000 itself is not dark."""
    scene = sentinel2("earth-search", "sentinel-2-l2a", "04.00", False, -0.1)
    source = open_source(Sentinel2Source(providers=("p",)))
    numbers = np.full(300, 1000, np.uint16)
    numbers[:dark] = 999
    valid = np.arange(100) >= absent
    bands = {
        name: (numbers[i::3].reshape(10, 10), valid.reshape(10, 10)) for i, name in enumerate(("B02", "B03", "B04"))
    }
    seen = np.concatenate([numbers[i::3][valid] for i in range(3)])
    refused = bool(seen.size) and np.count_nonzero(seen == 999) / seen.size > 0.25
    found = source.contradiction([scene], bands)
    assert (found is not None) == refused
    if found is not None:
        (percent,) = re.findall(r"but (\d+)%", found)
        assert abs(int(percent) - 100 * np.count_nonzero(seen == 999) / seen.size) <= 0.5


@pytest.mark.parametrize(("baseline", "offset"), [("03.99", 0.0), ("04.00", -1000.0), ("04.01", -1000.0)])
@pytest.mark.parametrize("dialect", [d for d in get_args(Dialect) if d != "earth-search"])
def test_sentinel2_offset_begins_with_baseline_4_everywhere(dialect: str, baseline: str, offset: float) -> None:
    declared = None if dialect == "planetary-computer" else offset * 1e-4
    for stated in {declared, None}:
        assert sentinel2(dialect, "s2", baseline, None, stated).radiometry["B04"].offset_dn == offset
