"""Earth Engine's collections as data: their bands, pixel grids and units."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from schemas.modality import COPERNICUS_LICENCE

Mask = Literal["s2-scl", "landsat-qa"]


@dataclass(frozen=True, kw_only=True, slots=True)
class StoredBand:
    """One band of a collection."""

    name: str
    """Earth Engine's name: 'B2'."""
    band: str
    """Ours (schemas.modality): 'B02'; for labels and others Earth Engine's own."""
    lattice: str
    """Bands of one lattice are read together: 'r10m', 'r20m', ...; also the asset's key in items."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Product:
    """One collection."""

    collection: str
    """Asset id of the collection."""
    modality: str
    """Modality or label that it serves."""
    bands: tuple[StoredBand, ...]
    """The bands that we read."""
    dtypes: dict[str, str]
    """Lattice -> numpy dtype that the bands are asked for in. It holds every stored value."""
    licence: str
    """SPDX id or 'proprietary'."""
    zero_is_value: frozenset[str] = frozenset()
    """Lattices where zero is a measurement, whatever the caller calls fill; only the service's mask says what is
    missing. Not Sentinel-2's SCL: there 0 is 'no data', masked or not."""
    cloud_mask: Mask | None = None
    """How to detect clouds, for compositing at the service."""
    cloud_property: str | None = None
    """Property with the cloud cover of the image, percent."""
    everywhere: bool = False
    """One image covers the whole Earth; its own footprint may be unbounded."""
    static: tuple[str, str] | None = None
    """(first, last day) of the product's period, if its images have no time."""
    properties: dict[str, str] = field(default_factory=dict)
    """Earth Engine's property -> name in our items."""

    def lattices(self) -> dict[str, tuple[StoredBand, ...]]:
        """Lattice -> its bands, in order."""
        return {key: tuple(b for b in self.bands if b.lattice == key) for key in self.dtypes}


def _bands(lattice: str, **names: str) -> tuple[StoredBand, ...]:
    return tuple(StoredBand(name=theirs, band=ours, lattice=lattice) for theirs, ours in names.items())


# https://developers.google.com/earth-engine/datasets/catalog/COPERNICUS_S2_SR_HARMONIZED. Numbers of baseline 04.00
# and later are shifted to the range of older ones; what would be negative is 0, which is a value, not a fill.
_SENTINEL2 = Product(
    collection="COPERNICUS/S2_SR_HARMONIZED",
    modality="sentinel2",
    bands=(
        *_bands("r10m", B2="B02", B3="B03", B4="B04", B8="B08"),
        *_bands("r20m", B5="B05", B6="B06", B7="B07", B8A="B8A", B11="B11", B12="B12"),
        *_bands("r60m", B1="B01", B9="B09"),
        *_bands("scl", SCL="SCL"),
    ),
    dtypes={"r10m": "uint16", "r20m": "uint16", "r60m": "uint16", "scl": "uint8"},
    licence=COPERNICUS_LICENCE,
    zero_is_value=frozenset({"r10m", "r20m", "r60m"}),
    cloud_mask="s2-scl",
    cloud_property="CLOUDY_PIXEL_PERCENTAGE",
    properties={
        "PRODUCT_ID": "s2:product_uri",
        "PROCESSING_BASELINE": "s2:processing_baseline",
        "DATATAKE_IDENTIFIER": "s2:datatake_id",
        "DATASTRIP_ID": "s2:datastrip_id",
        "MGRS_TILE": "s2:mgrs_tile",
        "SPACECRAFT_NAME": "platform",
    },
)
# https://developers.google.com/earth-engine/datasets/catalog/COPERNICUS_S1_GRD: sigma0, terrain-corrected, decibels,
# stored as doubles. Not gamma0 (RTC): a source that wants RTC refuses it.
_SENTINEL1 = Product(
    collection="COPERNICUS/S1_GRD",
    modality="sentinel1",
    bands=_bands("r10m", VV="VV", VH="VH"),
    dtypes={"r10m": "float32"},
    licence=COPERNICUS_LICENCE,
    zero_is_value=frozenset({"r10m"}),
    properties={
        "orbitProperties_pass": "sat:orbit_state",
        "relativeOrbitNumber_start": "sat:relative_orbit",
        "orbitNumber_start": "sat:absolute_orbit",
        "instrumentMode": "sar:instrument_mode",
    },
)
_LANDSAT_PROPERTIES = {
    "L1_LANDSAT_PRODUCT_ID": "landsat:scene_product_id",
    "SPACECRAFT_ID": "platform",
    "WRS_PATH": "landsat:wrs_path",
    "WRS_ROW": "landsat:wrs_row",
    "PROCESSING_LEVEL": "landsat:correction",
    "COLLECTION_CATEGORY": "landsat:collection_category",
    "DATE_PRODUCT_GENERATED": "landsat:product_generated",
}


def _landsat(collection: str) -> Product:
    """https://developers.google.com/earth-engine/datasets/catalog/LANDSAT_LC08_C02_T1_L2 (LC09: the same bands)."""
    names = {f"SR_B{i}": f"SR_B{i}" for i in range(1, 8)}
    return Product(
        collection=collection,
        modality="landsat",
        bands=_bands("r30m", **names, QA_PIXEL="QA_PIXEL"),
        dtypes={"r30m": "uint16"},
        licence="PDDL-1.0",
        cloud_mask="landsat-qa",
        cloud_property="CLOUD_COVER",
        properties=_LANDSAT_PROPERTIES,
    )


# https://developers.google.com/earth-engine/datasets/catalog/COPERNICUS_DEM_GLO30
_DEM = Product(
    collection="COPERNICUS/DEM/GLO30",
    modality="dem",
    bands=_bands("elevation", DEM="elevation"),
    dtypes={"elevation": "float32"},
    licence="proprietary",
    static=("2010-12-01", "2015-01-31"),
)
_DW_CLASSES = (
    "water",
    "trees",
    "grass",
    "flooded_vegetation",
    "crops",
    "shrub_and_scrub",
    "built",
    "bare",
    "snow_and_ice",
)


def _worldcover(version: str) -> Product:
    """https://developers.google.com/earth-engine/datasets/catalog/ESA_WorldCover_v200 and _v100."""
    return Product(
        collection=f"ESA/WorldCover/{version}",
        modality="worldcover",
        bands=_bands("map", Map="map"),
        dtypes={"map": "uint8"},
        licence="CC-BY-4.0",
        everywhere=True,
    )


# https://developers.google.com/earth-engine/datasets/catalog/GOOGLE_DYNAMICWORLD_V1: class 0 is water, a value.
_DYNAMIC_WORLD = Product(
    collection="GOOGLE/DYNAMICWORLD/V1",
    modality="dynamicworld",
    bands=(
        *_bands("label", label="label"),
        *_bands("probabilities", **{name: name for name in _DW_CLASSES}),
    ),
    dtypes={"label": "uint8", "probabilities": "float32"},
    licence="CC-BY-4.0",
    zero_is_value=frozenset({"label", "probabilities"}),
    properties={"dynamicworld_algorithm_version": "version"},
)

PRODUCTS: dict[str, Product] = {
    p.collection: p
    for p in (
        _SENTINEL2,
        _SENTINEL1,
        _landsat("LANDSAT/LC08/C02/T1_L2"),
        _landsat("LANDSAT/LC09/C02/T1_L2"),
        _DEM,
        _worldcover("v100"),
        _worldcover("v200"),
        _DYNAMIC_WORLD,
    )
}
"""Asset id of a collection -> what we know of it."""


def product_of(asset_id: str) -> Product | None:
    """The product that an image belongs to; None if we do not know it."""
    return PRODUCTS.get(asset_id.rpartition("/")[0])
