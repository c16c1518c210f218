"""Sensors and label products as data: bands, wavelengths, ground metres, dtypes, fill values, units, kernels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from schemas.enmap_bands import ENMAP_BANDS

Kind = Literal["continuous", "classes", "bits"]
Kernel = Literal["nearest", "bilinear", "cubic"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Band:
    """One band of a sensor."""

    name: str
    """The field's name: 'B02', 'VV', 'SR_B4', 'elevation'."""
    common_name: str | None = None
    """STAC `eo:common_name`."""
    center_um: float | None = None
    """Centre wavelength, micrometres."""
    fwhm_um: float | None = None
    """Full width at half maximum, micrometres."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Layer:
    """Bands that share one grid and one dtype: one array on disk."""

    name: str
    """Array name inside the modality's group: 'bands_10m', 'scl', 'backscatter', 'elevation'."""
    bands: tuple[Band, ...]
    """Bands in array order. One band of a 'classes' or 'bits' layer is stored without a band axis."""
    resolution_m: float
    """The product's native pixel edge, metres; a recipe can override it."""
    dtype: str
    """numpy dtype of the stored array."""
    nodata: float | None
    """Canonical fill value in the stored array; NaN for floats is written as float('nan')."""
    kind: Kind
    """'continuous' may be interpolated; 'classes' and 'bits' never are (nearest)."""
    kernel: Kernel
    """Warp kernel where the source lattice is not the sample's; a recipe can override it for continuous layers."""
    unit: str
    """Unit of value = stored * scale + offset."""
    scale: float = 1.0
    """See unit."""
    offset: float = 0.0
    """See unit."""

    @property
    def has_band_axis(self) -> bool:
        """False for a single band of classes or bits: stored (y, x)."""
        return self.kind == "continuous"


@dataclass(frozen=True, kw_only=True, slots=True)
class SearchDensity:
    """How densely an archive holds scenes of a product; it only sets the size of search blocks."""

    edge_km: float = 110.0
    """Edge of a scene, about, kilometres."""
    step_km: float = 100.0
    """Distance from one scene to the next of the same day, kilometres."""
    per_day: float | None = 0.35
    """Scenes per place and day; None = one for all times (static products)."""


STATIC_DENSITY = SearchDensity(per_day=None)
"""Of a static product on tiles of about 100 km."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Modality:
    """A sensor's product as the dataset stores it."""

    name: str
    """Group name on disk and key in recipes: 'sentinel2'."""
    title: str
    """For people."""
    layers: tuple[Layer, ...]
    """Measured layers; the masks 'valid' and (if `cloud_layer`) 'cloud' are added by the writer."""
    dated: bool
    """True: one observation per date slot. False: one for ever (DEM)."""
    cloud_layer: str | None
    """Layer that clouds are decided from, or None."""
    licence: str
    """SPDX id, or 'proprietary' with the attribution saying the terms."""
    attribution: str
    """Sentence that users of the data must carry."""
    density: SearchDensity
    """Scene density, for planning searches."""
    terrain: str | None = None
    """Layer that holds the elevation of the ground in metres, for captions; None = the product has none."""

    def layer(self, name: str) -> Layer:
        """The layer of that name.

        Raises:
            KeyError: there is none.
        """
        for layer in self.layers:
            if layer.name == name:
                return layer
        raise KeyError(f"{self.name} has no layer {name!r}, it has {[x.name for x in self.layers]}")

    @property
    def band_names(self) -> tuple[str, ...]:
        """All band names, layer by layer."""
        return tuple(b.name for layer in self.layers for b in layer.bands)


_COPERNICUS = "Contains modified Copernicus Sentinel data"
COPERNICUS_LICENCE = "LicenseRef-Copernicus-Sentinel-Data"
"""Terms of all Sentinel data as their owner, the European Union, states them: free, full and open access for any lawful
use, the source named ('Copernicus Sentinel data [year]', 'Contains modified Copernicus Sentinel data [year]'), no
endorsement implied, no warranty. They have no SPDX id, so this is a reference as SPDX allows it. Source: European
Commission, 'Legal notice on the use of Copernicus Sentinel Data and Service Information'
(https://sentinels.copernicus.eu/documents/247904/690755/Sentinel_Data_Legal_Notice), after Regulation (EU) No 377/2014
and Commission Delegated Regulation (EU) No 1159/2013."""


def _s2(name: str, common: str | None, center: float, fwhm: float) -> Band:
    return Band(name=name, common_name=common, center_um=center, fwhm_um=fwhm)


# Sentinel-2 centre wavelengths and widths: microsoft/planetary-computer-tasks,
# datasets/sentinel-2/collection/template.json
SENTINEL2 = Modality(
    name="sentinel2",
    title="Sentinel-2 L2A surface reflectance",
    dated=True,
    cloud_layer="scl",
    licence=COPERNICUS_LICENCE,
    attribution=_COPERNICUS,
    density=SearchDensity(),  # two satellites, 5 days at the equator, overlaps of swaths and tiles
    layers=(
        Layer(
            name="bands_10m",
            resolution_m=10,
            dtype="uint16",
            nodata=0,
            kind="continuous",
            kernel="bilinear",
            unit="reflectance",
            scale=1e-4,
            bands=(
                _s2("B02", "blue", 0.490, 0.098),
                _s2("B03", "green", 0.560, 0.045),
                _s2("B04", "red", 0.665, 0.038),
                _s2("B08", "nir", 0.842, 0.145),
            ),
        ),
        Layer(
            name="bands_20m",
            resolution_m=20,
            dtype="uint16",
            nodata=0,
            kind="continuous",
            kernel="bilinear",
            unit="reflectance",
            scale=1e-4,
            bands=(
                _s2("B05", "rededge071", 0.704, 0.019),
                _s2("B06", "rededge075", 0.740, 0.018),
                _s2("B07", "rededge078", 0.783, 0.028),
                _s2("B8A", "nir08", 0.865, 0.033),
                _s2("B11", "swir16", 1.610, 0.143),
                _s2("B12", "swir22", 2.190, 0.242),
            ),
        ),
        Layer(
            name="bands_60m",
            resolution_m=60,
            dtype="uint16",
            nodata=0,
            kind="continuous",
            kernel="bilinear",
            unit="reflectance",
            scale=1e-4,
            bands=(_s2("B01", "coastal", 0.443, 0.027), _s2("B09", "nir09", 0.945, 0.026)),
        ),
        Layer(
            name="scl",
            resolution_m=20,
            dtype="uint8",
            nodata=0,
            kind="classes",
            kernel="nearest",
            unit="class",
            bands=(Band(name="SCL"),),
        ),
    ),
)

# C-band centre frequency 5.405 GHz (sar:center_frequency of Sentinel-1 items) = 55465.8 um.
SENTINEL1 = Modality(
    name="sentinel1",
    title="Sentinel-1 RTC gamma0 backscatter",
    dated=True,
    cloud_layer=None,
    licence="CC-BY-4.0",
    attribution=_COPERNICUS,
    density=SearchDensity(edge_km=250.0, step_km=170.0, per_day=0.25),  # 12 days, both directions
    layers=(
        Layer(
            name="backscatter",
            resolution_m=10,
            dtype="float32",
            nodata=float("nan"),
            kind="continuous",
            kernel="bilinear",
            unit="dB",
            bands=(Band(name="VV", center_um=55465.8), Band(name="VH", center_um=55465.8)),
        ),
    ),
)

# Landsat 8/9 OLI band centres: torchgeo/datasets/landsat.py; scale and offset: USGS Collection 2 Level-2,
# as in microsoft/planetary-computer-tasks datasets/landsat/collection/landsat-c2-l2/template.json
LANDSAT = Modality(
    name="landsat",
    title="Landsat 8/9 Collection 2 Level-2 surface reflectance",
    dated=True,
    cloud_layer="qa_pixel",
    licence="PDDL-1.0",
    attribution="Landsat courtesy of the U.S. Geological Survey",
    density=SearchDensity(edge_km=185.0, step_km=160.0, per_day=0.2),  # two satellites, 16 days each
    layers=(
        Layer(
            name="bands_30m",
            resolution_m=30,
            dtype="uint16",
            nodata=0,
            kind="continuous",
            kernel="bilinear",
            unit="reflectance",
            scale=2.75e-5,
            offset=-0.2,
            bands=(
                Band(name="SR_B1", common_name="coastal", center_um=0.440, fwhm_um=0.02),
                Band(name="SR_B2", common_name="blue", center_um=0.480, fwhm_um=0.06),
                Band(name="SR_B3", common_name="green", center_um=0.560, fwhm_um=0.06),
                Band(name="SR_B4", common_name="red", center_um=0.655, fwhm_um=0.03),
                Band(name="SR_B5", common_name="nir08", center_um=0.865, fwhm_um=0.03),
                Band(name="SR_B6", common_name="swir16", center_um=1.610, fwhm_um=0.09),
                Band(name="SR_B7", common_name="swir22", center_um=2.200, fwhm_um=0.18),
            ),
        ),
        Layer(
            name="qa_pixel",
            resolution_m=30,
            dtype="uint16",
            nodata=1,
            kind="bits",
            kernel="nearest",
            unit="bit field",
            bands=(Band(name="QA_PIXEL"),),
        ),
    ),
)

ENMAP = Modality(
    name="enmap",
    title="EnMAP L2A hyperspectral surface reflectance",
    dated=True,
    cloud_layer="quality_cloud",
    licence="proprietary",
    attribution="EnMAP data (c) DLR",
    density=SearchDensity(edge_km=30.0, step_km=30.0, per_day=0.005),  # on order
    layers=(
        Layer(
            name="bands_30m",
            resolution_m=30,
            dtype="int16",
            nodata=-32768,
            kind="continuous",
            kernel="bilinear",
            unit="reflectance",
            scale=1e-4,
            bands=tuple(
                Band(name=f"B{i:03d}", center_um=center, fwhm_um=fwhm)
                for i, (center, fwhm) in enumerate(ENMAP_BANDS, 1)
            ),
        ),
        Layer(
            name="quality_cloud",
            resolution_m=30,
            dtype="uint8",
            nodata=255,
            kind="classes",
            kernel="nearest",
            unit="class",
            bands=(Band(name="QUALITY_CLOUD"),),
        ),
    ),
)

# Bands of HLS 2.0 that Sentinel-2's half (S30) and Landsat's (L30) share, S30 adjusted to OLI's bandpasses: OLI's
# centres. Scale 0.0001, fill -9999, Fmask's bits and its fill 255: HLS Product User Guide, version 2.0, tables 6 to 9.
HLS = Modality(
    name="hls",
    title="Harmonized Landsat Sentinel-2 (HLS) 2.0 nadir BRDF-adjusted surface reflectance",
    dated=True,
    cloud_layer="fmask",
    licence="CC0-1.0",
    attribution="HLS data courtesy of NASA LP DAAC",
    density=SearchDensity(per_day=0.55),  # Sentinel-2 and Landsat on the tiles of Sentinel-2
    layers=(
        Layer(
            name="bands_30m",
            resolution_m=30,
            dtype="int16",
            nodata=-9999,
            kind="continuous",
            kernel="bilinear",
            unit="reflectance",
            scale=1e-4,
            bands=tuple(
                Band(name=b.common_name or b.name, common_name=b.common_name, center_um=b.center_um, fwhm_um=b.fwhm_um)
                for b in LANDSAT.layer("bands_30m").bands
            ),
        ),
        Layer(
            name="fmask",
            resolution_m=30,
            dtype="uint8",
            nodata=255,
            kind="bits",
            kernel="nearest",
            unit="bit field",
            bands=(Band(name="Fmask"),),
        ),
    ),
)

DEM = Modality(
    name="dem",
    title="Copernicus DEM GLO-30",
    dated=False,
    cloud_layer=None,
    licence="proprietary",
    attribution=(
        "(c) DLR e.V. 2010-2014 and (c) Airbus Defence and Space GmbH 2014-2018 provided under COPERNICUS "
        "by the European Union and ESA; all rights reserved"
    ),
    density=STATIC_DENSITY,
    terrain="elevation",
    layers=(
        Layer(
            name="elevation",
            resolution_m=30,
            dtype="float32",
            nodata=float("nan"),
            kind="continuous",
            kernel="bilinear",
            unit="m",
            bands=(Band(name="elevation"),),
        ),
    ),
)

MODALITIES: dict[str, Modality] = {m.name: m for m in (SENTINEL2, SENTINEL1, LANDSAT, ENMAP, HLS, DEM)}
"""Every sensor the factory knows, by name."""
