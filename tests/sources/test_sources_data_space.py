"""Sentinel-2 as Copernicus Data Space describes it: strips, levels, baselines, and files by https with a token."""

from __future__ import annotations

from typing import Any

import pytest

from pipelines.access.archives import Archives
from pipelines.access.errors import ItemRefused
from pipelines.access.logins.credentials import signer_of
from pipelines.sources import open_source
from schemas.place import BBox
from schemas.provider import Provider
from schemas.sensors import Sentinel2Source
from testbed.services import serve_catalogue

Json = dict[str, Any]
PROVIDER = Provider(url="https://stac.dataspace.copernicus.eu/v1", dialect="copernicus-data-space", alternate="https")
BANDS = {"B01": 60, "B02": 10, "B03": 10, "B04": 10, "B05": 20, "B06": 20, "B07": 20, "B08": 10, "B8A": 20, "B09": 60,
         "B11": 20, "B12": 20, "SCL": 20}  # fmt: skip
RING = [[10, 46], [10.1, 46], [10.1, 46.1], [10, 46.1], [10, 46]]


def item(strip: str = "20240701T103629", **facts: Any) -> Json:
    """Fields as https://documentation.dataspace.copernicus.eu/APIs/STAC.html describes them."""
    name = f"S2A_MSIL2A_20240701T103031_N0510_R108_T32TMT_{strip}"
    node = f"https://zipper.dataspace.copernicus.eu/odata/v1/Products(x)/Nodes({name})"
    assets = {
        f"{band}_{metres}m": {
            "href": f"s3://eodata/Sentinel-2/{name}/{band}.jp2", "type": "image/jp2",
            "alternate": {"https": {"href": f"{node}/{band}.jp2/$value", "auth:refs": ["oidc"]}},
        }
        for band, metres in BANDS.items()
    }  # fmt: skip
    said = {
        "datetime": "2024-07-01T10:30:31.024Z", "platform": "sentinel-2a", "grid:code": "MGRS-32TMT",
        "processing:level": "L2", "product:type": "S2MSI2A", "processing:version": "05.10",
        "eopf:datatake_id": "GS2A_20240701T103031_047137_N05.10",
        "eopf:datastrip_id": f"S2A_OPER_MSI_L2A_DS_2APS_20240701T160000_S{strip}_N05.10", "eo:cloud_cover": 3,
    }  # fmt: skip
    return {
        "type": "Feature", "id": name, "collection": "sentinel-2-l2a", "links": [], "assets": assets,
        "geometry": {"type": "Polygon", "coordinates": [RING]}, "bbox": [10, 46, 10.1, 46.1],
        "properties": {k: v for k, v in {**said, **facts}.items() if v is not None},
    }  # fmt: skip


def scene(made: Json, **config: Any) -> Any:
    return open_source(Sentinel2Source(providers=("p",), **config)).scene(made, "p", PROVIDER)


def test_two_strips_of_one_tile_are_two_and_of_one_datatake() -> None:
    one, two = scene(item("20240701T103629")), scene(item("20240701T103941"))
    assert one.product != two.product
    assert one.acquisition == two.acquisition == "S2A|20240701T103031"
    source = open_source(Sentinel2Source(providers=("p",)))
    assert len(source.collapse([one, two])) == 2
    assert len(source.collapse([one, scene(item("20240701T103629", updated="2025-01-01T00:00:00Z"))])) == 1


L1C: list[Json] = [
    {"properties": {"product:type": "S2MSI1C"}},
    {"properties": {"s2:product_type": "S2MSI1C"}},
    {"properties": {"processing:level": "L1"}},
    {"properties": {"processing:level": "L1C"}},
    {"properties": {"processing:level": "Level-1C"}},
    {"properties": {"s2:product_uri": "S2A_MSIL1C_20240701T103031_N0510_R108_T32TMT_20240701T123829.SAFE"}},
    {"id": "S2A_MSIL1C_20240701T103031_N0510_R108_T32TMT_20240701T123829"},
    {"id": "S2A_32TMT_20240701_0_L1C"},
    {"collection": "sentinel-2-l1c"},
]


@pytest.mark.parametrize("change", L1C)
def test_level_1c_is_refused_whatever_assets_it_has(change: Json) -> None:
    made = item(**change.get("properties", {})) | {k: v for k, v in change.items() if k != "properties"}
    with pytest.raises(ItemRefused, match=r"Level-1C|level 'L"):
        scene(made)


def test_a_missing_baseline_names_the_property_and_a_recipe_can_state_it() -> None:
    made = item(**{"processing:version": None}) | {"id": "ours"}
    with pytest.raises(ItemRefused, match=r"add the property s2:processing_baseline .* `baseline`"):
        scene(made)
    old, new = scene(made, baseline="02.14"), scene(made, baseline="05.10")
    assert (old.radiometry["B02"].offset_dn, new.radiometry["B02"].offset_dn) == (0.0, -1000.0)
    assert scene(item(), baseline="02.14").facts["baseline"] == "05.10", "what an item states holds"
    for bad in ("5.1", "newest", "05.1x"):
        with pytest.raises(ValueError, match="baseline"):
            Sentinel2Source(providers=("p",), baseline=bad)


@pytest.mark.parametrize("odd", ["nan", "inf", "-inf", "1e999", "9" * 400, "x", [], {}, True])
def test_numbers_that_are_none_say_nothing(odd: object) -> None:
    made = item()
    for asset in made["assets"].values():
        asset |= {"raster:scale": 1e-4, "raster:offset": odd, "proj:transform": [odd] * 6, "proj:shape": [odd, odd]}
    where = scene(made)
    assert where.radiometry["B02"].offset_dn == -1000.0
    assert (where.assets["B02"].transform, where.assets["B02"].shape) == (None, None)


def test_https_alternates_on_its_further_hosts_get_their_token(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("CDSE_USERNAME", "CDSE_PASSWORD"):
        monkeypatch.setenv(name, "x")
    signer: Any = signer_of("p", PROVIDER)
    monkeypatch.setattr(signer, "_header", lambda _: {"Authorization": "Bearer token"})
    for host in ("download", "zipper", "catalogue", "eodata"):
        url = f"https://{host}.dataspace.copernicus.eu/odata/v1/x/$value"
        assert signer.sign(url, fresh=False) == (url, {"Authorization": "Bearer token"})
    for url in ("https://dataspace.copernicus.eu.evil.example/x", "http://zipper.dataspace.copernicus.eu/x"):
        assert signer.sign(url, fresh=False) == (url, {})
    with serve_catalogue([item()]) as services:
        entry = {"url": services.stac_url("catalogue"), "dialect": "copernicus-data-space", "alternate": "https"}
        with Archives({"p": Provider.model_validate(entry)}) as archives:
            (found,) = archives.search("p", "sentinel-2-l2a", [BBox(9.0, 45.0, 11.0, 47.0)], None)
    where = scene(found).assets["B02"].href
    assert where.startswith("https://zipper.dataspace.copernicus.eu/odata/v1/Products(x)/Nodes(")
