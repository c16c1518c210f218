"""The table of radiometric rules: source x baseline x flag x what is declared, and what the numbers become."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest

from pipelines.access.errors import ItemRefused
from pipelines.sources import open_source
from pipelines.sources.observation import canonical
from schemas.modality import DEM, ENMAP, LANDSAT, SENTINEL1, SENTINEL2
from schemas.outcome import Reason
from schemas.provider import Provider
from schemas.scene import Radiometry, Scene
from schemas.sensors import DemSource, EnmapSource, LandsatSource, Sentinel1Source, Sentinel2Source

RING = [[10.0, 46.0], [11.0, 46.0], [11.0, 47.0], [10.0, 47.0], [10.0, 46.0]]
NO = object()


def item(assets: dict[str, Any], **properties: Any) -> dict[str, Any]:
    return {
        "type": "Feature",
        "id": properties.pop("id", "scene"),
        "collection": properties.pop("collection", "c"),
        "geometry": {"type": "Polygon", "coordinates": [RING]},
        "properties": {"datetime": "2022-06-01T10:00:00Z", **properties},
        "assets": {k: {"href": f"https://x.example/{k}.tif", "type": "image/tiff", **v} for k, v in assets.items()},
    }


def sentinel2(
    dialect: str,
    collection: str,
    baseline: str | None,
    applied: bool | None,
    declared: float | None,
    scale: float = 1e-4,
) -> Scene:
    raster = {} if declared is None else {"raster:bands": [{"scale": scale, "offset": declared, "nodata": 0}]}
    bands = {b.name: raster for layer in SENTINEL2.layers for b in layer.bands if b.name != "SCL"}
    properties: dict[str, Any] = {"collection": collection}
    if baseline is not None:
        properties["s2:processing_baseline"] = baseline
    if applied is not None:
        properties["earthsearch:boa_offset_applied"] = applied
    source = open_source(Sentinel2Source(providers=("p",)))
    provider = Provider(url="http://x", dialect=dialect)  # type: ignore[arg-type]
    return source.scene(item({**bands, "SCL": {}}, **properties), "p", provider)


L2A, C1 = "sentinel-2-l2a", "sentinel-2-c1-l2a"
TABLE: list[tuple[str, str, str | None, bool | None, float | None, float | None]] = [
    # dialect, collection, baseline, flag, declared offset -> offset applied by us in DN, None = refused
    ("planetary-computer", L2A, "02.14", None, None, 0.0),
    ("planetary-computer", L2A, "03.01", None, None, 0.0),
    ("planetary-computer", L2A, "04.00", None, None, -1000.0),
    ("planetary-computer", L2A, "05.10", None, None, -1000.0),
    ("planetary-computer", L2A, None, None, None, None),
    ("earth-search", L2A, "02.14", False, 0.0, 0.0),
    ("earth-search", L2A, "04.00", True, -0.1, 0.0),
    ("earth-search", L2A, "05.09", True, -0.1, 0.0),
    ("earth-search", L2A, "05.00", True, 0.0, 0.0),
    ("earth-search", L2A, "04.00", False, -0.1, -1000.0),  # Element84/earth-search#66: the pixels must agree too
    ("earth-search", L2A, "04.00", False, None, -1000.0),
    ("earth-search", L2A, "04.00", False, 0.0, None),
    ("earth-search", L2A, "04.00", None, -0.1, None),
    ("earth-search", L2A, None, True, -0.1, 0.0),
    ("earth-search", L2A, None, False, -0.1, None),
    ("earth-search", C1, "05.00", False, -0.1, -1000.0),
    ("earth-search", C1, "05.00", None, -0.1, -1000.0),
    ("earth-search", C1, "02.14", False, 0.0, 0.0),
    ("generic", "s2", "03.00", None, None, 0.0),
    ("generic", "s2", "04.00", None, None, -1000.0),
    ("generic", "s2", "05.11", None, -0.1, -1000.0),
    ("generic", "s2", "05.11", None, 0.0, None),
    ("generic", "s2", "02.14", None, -0.1, None),
    ("generic", "s2", "05.11", True, None, 0.0),
    ("generic", "s2", "05.11", False, None, -1000.0),
    ("generic", "s2", None, None, -0.1, None),
    ("generic", "s2", None, None, None, None),
]


@pytest.mark.parametrize(("dialect", "collection", "baseline", "applied", "declared", "expected"), TABLE)
def test_sentinel2_offset(
    dialect: str, collection: str, baseline: str | None, applied: bool | None, declared: float | None,
    expected: float | None,
) -> None:  # fmt: skip
    if expected is None:
        with pytest.raises(ItemRefused) as caught:
            sentinel2(dialect, collection, baseline, applied, declared)
        assert caught.value.reason is Reason.BAD_ITEM
        return
    scene = sentinel2(dialect, collection, baseline, applied, declared)
    for band, rule in scene.radiometry.items():
        assert rule.offset_dn == (0.0 if band == "SCL" else expected)
        assert rule.nodata == 0.0
        assert ("as delivered" in rule.rule) == (rule.offset_dn == 0.0)
        if band != "SCL" and baseline is not None and applied is not True:
            assert baseline in rule.rule


def test_a_scale_of_one_that_writers_put_everywhere_says_nothing() -> None:
    assert sentinel2("generic", "s2", "05.11", None, 0.0, scale=1.0).radiometry["B02"].offset_dn == -1000.0


def test_the_baseline_is_read_from_the_products_name() -> None:
    bands = {b.name: {} for layer in SENTINEL2.layers for b in layer.bands}
    name = "S2A_MSIL2A_20220305T103021_N0400_R108_T32TMT_20230630T022413.SAFE"
    source = open_source(Sentinel2Source(providers=("p",)))
    scene = source.scene(item(bands, **{"s2:product_uri": name}), "p", Provider(url="http://x"))
    assert scene.facts["baseline"] == "04.00"
    assert scene.radiometry["B8A"].offset_dn == -1000.0


@pytest.mark.parametrize(("share", "refused"), [(0.0, False), (0.1, False), (0.6, True), (1.0, True)])
def test_pixels_overrule_a_flag_that_is_known_to_lie(share: float, refused: bool) -> None:
    """Element84/earth-search#66, #71: false on items whose offset was applied."""
    scene = sentinel2("earth-search", L2A, "04.00", False, -0.1)
    source = open_source(Sentinel2Source(providers=("p",)))
    numbers = np.full((10, 10), 2500, np.uint16)
    numbers.flat[: int(share * 100)] = 400
    valid = np.ones((10, 10), bool)
    bands = dict.fromkeys(("B02", "B03", "B04"), (numbers, valid))
    found = source.contradiction([scene], bands)
    assert (found is not None) == refused
    applied = sentinel2("earth-search", L2A, "04.00", True, -0.1)
    assert source.contradiction([applied], bands) is None


def landsat(raster: dict[str, Any] | None, **properties: Any) -> Scene:
    bands: dict[str, Any] = {b.name: {"raster:bands": [raster]} if raster else {} for b in LANDSAT.layers[0].bands}
    source = open_source(LandsatSource(providers=("p",)))
    made = item({**bands, "QA_PIXEL": {}}, **{"platform": "landsat-8", **properties})
    return source.scene(made, "p", Provider(url="http://x"))


@pytest.mark.parametrize(
    ("raster", "dn", "expected"),
    [
        (None, 10_000, 10_000),
        ({"scale": 2.75e-5, "offset": -0.2, "nodata": 0}, 10_000, 10_000),
        ({"scale": 1e-4, "offset": 0.0, "nodata": 0}, 750, 10_000),
        ({"scale": 1.0, "offset": 0.0}, 10_000, 10_000),
        ({"scale": 1e-4, "offset": 0.0, "nodata": -9999}, 1, 7276),
    ],
)
def test_landsat_is_brought_to_the_products_own_scale(raster: dict[str, Any] | None, dn: int, expected: int) -> None:
    rule = landsat(raster).radiometry["SR_B4"]
    values, _ = canonical(np.array([[dn]], np.uint16), np.ones((1, 1), bool), rule, LANDSAT.layers[0])
    assert values.dtype == np.uint16
    assert values[0, 0] == expected


@pytest.mark.parametrize(
    ("raster", "said"),
    [
        (None, "as delivered: scale 2.75e-05, offset -0.2, the product's own, the item states none"),
        ({"scale": 2.75e-5, "offset": -0.2}, "as delivered: scale 2.75e-05, offset -0.2, stated by the item"),
        (
            {"scale": 1e-4, "offset": -0.1},
            "the item states scale 0.0001, offset -0.1: brought to scale 2.75e-05, offset -0.2",
        ),
        ({"scale": 1e-4}, "the item states scale 0.0001, offset 0: brought to scale 2.75e-05, offset -0.2"),
    ],
)
def test_landsats_rule_says_what_was_done(raster: dict[str, Any] | None, said: str) -> None:
    assert landsat(raster).radiometry["SR_B4"].rule == said


@pytest.mark.parametrize("raster", [None, {"scale": 2.75e-5, "offset": -0.2, "nodata": 0}])
def test_landsat_in_its_own_scale_is_stored_as_delivered(raster: dict[str, Any] | None) -> None:
    """Every number from 1 on: no measurement is raised to another one, or taken for the fill."""
    rule = landsat(raster).radiometry["SR_B4"]
    numbers = np.arange(1, 2**16, dtype=np.uint16)[None]
    values, valid = canonical(numbers, np.ones(numbers.shape, bool), rule, LANDSAT.layers[0])
    np.testing.assert_array_equal(values, numbers)
    assert valid.all()


@pytest.mark.parametrize(
    ("properties", "reason"),
    [
        ({"platform": "landsat-7"}, Reason.NO_SCENE),
        ({"landsat:correction": "L1TP"}, Reason.BAD_ITEM),
    ],
)
def test_other_landsats_are_refused(properties: dict[str, Any], reason: Reason) -> None:
    with pytest.raises(ItemRefused) as caught:
        landsat(None, **properties)
    assert caught.value.reason is reason


def sentinel1(delivered: str, scale: str, unit: str | None = None, **properties: Any) -> Scene:
    raster = {"raster:bands": [{"nodata": -32768, **({"unit": unit} if unit else {})}]}
    source = open_source(Sentinel1Source(providers=("p",), delivered=delivered, scale=scale))  # type: ignore[arg-type]
    made = item({"vv": raster, "vh": raster}, **{"collection": "sentinel-1-rtc", **properties})
    return source.scene(made, "p", Provider(url="http://x"))


@pytest.mark.parametrize(
    ("delivered", "scale", "dn", "expected"),
    [
        ("linear", "db", 0.01, -20.0),
        ("linear", "db", 1.0, 0.0),
        ("linear", "db", 0.0, None),
        ("linear", "db", -0.5, None),
        ("linear", "linear", 0.01, 0.01),
        ("db", "db", -20.0, -20.0),
        ("db", "db", 0.0, 0.0),
        ("db", "linear", -20.0, 0.01),
    ],
)
def test_sentinel1_unit(delivered: str, scale: str, dn: float, expected: float | None) -> None:
    rule = sentinel1(delivered, scale).radiometry["VV"]
    values, valid = canonical(np.array([[dn]], np.float32), np.ones((1, 1), bool), rule, SENTINEL1.layers[0])
    assert values.dtype == np.float32
    if expected is None:
        assert not valid.any()
        assert np.isnan(values).all()
    else:
        assert values[0, 0] == pytest.approx(expected, rel=1e-6)


def test_sentinel1_refuses_what_is_not_corrected_or_contradicts_the_recipe() -> None:
    for properties in ({"collection": "sentinel-1-grd", "sar:product_type": "GRD"}, {"collection": "other"}):
        with pytest.raises(ItemRefused, match="RTC"):
            sentinel1("linear", "db", **properties)
    with pytest.raises(ItemRefused, match="unit"):
        sentinel1("linear", "db", unit="dB")
    assert sentinel1("db", "db", unit="dB").radiometry["VH"].to_db is False
    source = open_source(Sentinel1Source(providers=("p",)))
    numbers = np.full((4, 4), -12.0, np.float32)
    said = source.contradiction([sentinel1("linear", "db")], {"VV": (numbers, np.ones((4, 4), bool))})
    assert said is not None
    assert "decibels" in said


def radar(kind: str, product: str, unit: str | None) -> Scene:
    source = open_source(Sentinel1Source(providers=("p",), product=product))  # type: ignore[arg-type]
    bands = [{"name": name, **({} if unit is None else {"unit": unit})} for name in ("VV", "VH")]
    made = item({"r10m": {"bands": bands}}, **{"sar:product_type": kind})
    return source.scene(made, "p", Provider(url="http://x"))


def test_sigma0_and_gamma0_are_never_mixed() -> None:
    scene = radar("GRD", "grd", "dB")
    assert not scene.radiometry["VV"].to_db
    assert "sigma0" in scene.radiometry["VV"].rule
    assert scene.facts["backscatter"] == "sigma0"
    assert radar("RTC", "rtc", None).facts["backscatter"] == "gamma0"
    for kind, product, unit, word in (
        ("GRD", "rtc", "dB", "not terrain-corrected"),
        ("RTC", "grd", "dB", "is RTC"),
        ("GRD", "grd", None, "not stated"),  # amplitudes, not calibrated: how archives of raw products have it
        ("GRD", "grd", "linear", "is .linear."),
    ):
        with pytest.raises(ItemRefused, match=word):
            radar(kind, product, unit)
    units = {
        (product, scale): open_source(
            Sentinel1Source(providers=("p",), product=product, scale=scale)  # type: ignore[arg-type]
        )
        .modality.layers[0]
        .unit
        for product in ("rtc", "grd")
        for scale in ("db", "linear")
    }
    assert len(set(units.values())) == 4
    assert units["rtc", "db"] == "dB"


def enmap(gain: float | None, offset: float = 0.0, count: int = 224) -> Scene:
    band = {} if gain is None else {"enmap:gain_of_band": gain, "enmap:offset_of_band": offset}
    bands = [{"name": i + 1, **band} for i in range(count)]
    source = open_source(EnmapSource(providers=("p",)))
    made = item({"image": {"eo:bands": bands}, "quality_cloud": {}}, **{"processing:level": "L2A"})
    return source.scene(made, "p", Provider(url="http://x"))


def test_enmap_gain_is_the_items() -> None:
    scene = enmap(1e-4)
    assert (scene.radiometry["B001"].gain, scene.radiometry["B001"].offset_dn) == (1.0, 0.0)
    assert scene.assets["B224"].index == 224
    assert scene.radiometry["B100"].nodata == -32768.0
    rule = enmap(2e-4, 0.01).radiometry["B007"]
    values, _ = canonical(np.array([[100]], np.int16), np.ones((1, 1), bool), rule, ENMAP.layers[0])
    assert values[0, 0] == 300
    for bad in ({"gain": None}, {"gain": 1e-4, "count": 218}):
        with pytest.raises(ItemRefused):
            enmap(**bad)  # type: ignore[arg-type]


def test_dem_voids_are_never_zero() -> None:
    source = open_source(DemSource(providers=("p",)))
    scene = source.scene(item({"data": {}}), "p", Provider(url="http://x"))
    assert {-32767.0, -32768.0} <= set(source.fill)
    assert 0.0 not in source.fill
    numbers = np.array([[0.0, 5.5]], np.float32)
    values, _ = canonical(numbers, np.array([[True, False]]), scene.radiometry["elevation"], DEM.layers[0])
    assert values[0, 0] == 0.0
    assert np.isnan(values[0, 1])


def test_numbers_are_clipped_into_the_dtype_and_off_the_fill() -> None:
    layer = SENTINEL2.layers[0]
    rule = Radiometry(offset_dn=-1000.0, clip_min=1.0, nodata=0.0)
    numbers = np.array([[1, 1000, 1001, 1500, 65_535]], np.uint16)
    values, _ = canonical(numbers, np.ones((1, 5), bool), rule, layer)
    assert values.tolist() == [[1, 1, 1, 500, 64_535]]
    halves = np.array([[1000.5, 1001.49, 1001.5, 70_000.0]], np.float32)
    values, _ = canonical(halves, np.ones((1, 4), bool), rule, layer)
    assert values.tolist() == [[1, 1, 2, 65_535]]


def test_band_inside_a_file_of_many_by_either_version_of_stac() -> None:
    names = [b.name for layer in SENTINEL2.layers for b in layer.bands]
    made = item({"all": {"eo:bands": [{"name": n} for n in names]}}, **{"s2:processing_baseline": "05.00"})
    newer = copy.deepcopy(made)
    newer["assets"]["all"]["bands"] = [{"name": n, "raster:scale": 1e-4, "raster:offset": -0.1} for n in names]
    del newer["assets"]["all"]["eo:bands"]
    newer["properties"]["proj:code"] = "EPSG:32632"
    source = open_source(Sentinel2Source(providers=("p",)))
    for each in (made, newer):
        scene = source.scene(each, "p", Provider(url="http://x"))
        assert {n: a.index for n, a in scene.assets.items()} == {n: i + 1 for i, n in enumerate(names)}
        assert scene.radiometry["B02"].offset_dn == -1000.0
    assert source.scene(newer, "p", Provider(url="http://x")).facts["crs"] == "EPSG:32632"


def test_signed_hrefs_lose_their_signature() -> None:
    made = item({"data": {}})
    made["assets"]["data"]["href"] = "https://a.blob.core.windows.net/c/x.tif?st=2024&se=2024&sig=secret"
    source = open_source(DemSource(providers=("p",)))
    assert source.scene(made, "p", Provider(url="http://x")).assets["elevation"].href == (
        "https://a.blob.core.windows.net/c/x.tif"
    )
