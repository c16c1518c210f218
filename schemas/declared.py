"""Layers that a recipe or a preset file describes: bands, grid, dtype, clouds and filters as data, no code.

Nothing here knows of a sensor. What numbers alone cannot say is reached by the name of a rule (`Rule`).
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

import numpy as np
from pydantic import AfterValidator, BeforeValidator, Field, field_validator, model_validator

from schemas.modality import STATIC_DENSITY, Band, Layer, Modality, SearchDensity
from schemas.strict import Strict

LayerName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]{0,31}$")]
"""Name of a layer on disk, in the catalogue and in the ledger."""
ArrayName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,31}$")]
"""Name of an array inside its layer."""
BandName = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_.-]{0,63}$")]
"""Name of a band, free to choose."""
AssetName = Annotated[str, Field(pattern=r"^[^#]{1,128}(#[1-9][0-9]{0,2})?$")]
"""Key of an asset, and behind '#' the 1-based band inside its raster (1 if absent)."""
Dtype = Literal["uint8", "int8", "uint16", "int16", "uint32", "int32", "float32"]
Rule = Literal["sentinel2-offset", "sentinel1-unit", "enmap-gains"]
"""What a product's numbers need beyond scale and offset; pipelines.sources.rules has the code of each."""
Plain = str | int | float | bool
"""A value of an item's property."""
MOST_BANDS = 512
"""Bands of one layer."""
RESERVED = ("valid", "cloud")
"""Arrays that the writer adds to each layer."""


class DeclaredBand(Strict):
    """One band: the asset that holds it, and its wavelength."""

    asset: AssetName | tuple[AssetName, ...] = Field(
        description="key of the item's asset, and after '#' the 1-based band inside it ('image#3'); 'role:data' is "
        "the only asset with that role; at Earth Engine the id of the band. In a list, the first one that"
        " the item has is used"
    )
    common_name: str | None = Field(default=None, max_length=32, description="STAC common name ('red', 'nir08')")
    center_um: float | None = Field(default=None, gt=0, description="centre wavelength, micrometres")
    fwhm_um: float | None = Field(default=None, gt=0, description="full width at half maximum, micrometres")

    @property
    def assets(self) -> tuple[str, ...]:
        """Assets to look for, in order."""
        return (self.asset,) if isinstance(self.asset, str) else self.asset


def _spelt_out(value: Any) -> Any:
    return {"asset": value} if isinstance(value, str | list | tuple) else value


BandEntry = Annotated[
    DeclaredBand,
    BeforeValidator(_spelt_out, json_schema_input_type=AssetName | tuple[AssetName, ...] | DeclaredBand),
]
"""A band, or only its asset."""


class DeclaredArray(Strict):
    """Bands of one pixel size and dtype: one array on disk."""

    resolution_m: float = Field(ge=0.01, le=100_000, description="pixel edge of the product, metres")
    dtype: Dtype = Field(description="numbers of the stored array; use the product's own")
    bands: dict[BandName, BandEntry] = Field(
        min_length=1,
        max_length=MOST_BANDS,
        description="band -> its asset, in the order of the array ('red: image#1'); or asset, common_name, center_um "
        "and fwhm_um",
    )
    kind: Literal["continuous", "classes", "bits"] = Field(
        default="continuous", description="continuous numbers may be interpolated; classes and bits never are"
    )
    unit: str = Field(default="1", max_length=64, description="unit of number * scale + offset")
    scale: float | None = Field(
        default=None,
        gt=0,
        description="factor of the stored numbers; numbers of an item with another factor are converted; if absent, "
        "numbers are stored as delivered",
    )
    offset: float | None = Field(default=None, description="addend, in the unit; 0 if absent")
    nodata: float | tuple[float, ...] | None = Field(
        default=None,
        description="number that means 'not measured', in addition to those that items and rasters state; a list for "
        "float32, which stores NaN instead",
    )
    kernel: Literal["nearest", "bilinear", "cubic"] | None = Field(
        default=None,
        description="how pixels are resampled; if absent, bilinear for continuous numbers and nearest for others",
    )

    @model_validator(mode="after")
    def _fits(self) -> Self:
        dtype = np.dtype(self.dtype)
        if self.kind != "continuous" and dtype.kind == "f":
            raise ValueError(f"{self.kind} are whole numbers, found dtype {self.dtype}")
        if self.kind != "continuous" and self.kernel not in (None, "nearest"):
            raise ValueError(f"{self.kind} cannot be interpolated: kernel {self.kernel!r} needs `kind: continuous`")
        if self.kind != "continuous" and len(self.bands) > 1:
            raise ValueError(f"an array of {self.kind} has one band, found {len(self.bands)}; write one array for each")
        if self.offset is not None and self.scale is None:
            raise ValueError(f"offset {self.offset:g} needs a scale")
        if dtype.kind != "f" and self.fill:
            limits = np.iinfo(dtype)
            if len(self.fill) > 1:
                raise ValueError(f"nodata: {self.dtype} has one fill value, found {len(self.fill)}")
            if not limits.min <= self.fill[0] <= limits.max or self.fill[0] % 1:
                raise ValueError(f"nodata {self.fill[0]:g} is no {self.dtype}: it has {limits.min} to {limits.max}")
        return self

    @property
    def fill(self) -> tuple[float, ...]:
        """Numbers that mean 'not measured'."""
        return () if self.nodata is None else self.nodata if isinstance(self.nodata, tuple) else (self.nodata,)

    def layer(self, name: str) -> Layer:
        """The array as a `Layer`, the record that all sensors use."""
        smooth = self.kind == "continuous"
        stored = float("nan") if np.dtype(self.dtype).kind == "f" else next(iter(self.fill), None)
        return Layer(
            name=name,
            bands=tuple(
                Band(name=n, common_name=b.common_name, center_um=b.center_um, fwhm_um=b.fwhm_um)
                for n, b in self.bands.items()
            ),
            resolution_m=self.resolution_m,
            dtype=self.dtype,
            nodata=stored,
            kind=self.kind,
            kernel=self.kernel or ("bilinear" if smooth else "nearest"),
            unit=self.unit,
            scale=self.scale or 1.0,
            offset=self.offset or 0.0,
        )


class DeclaredClouds(Strict):
    """Which pixels are cloud, cloud shadow or cirrus: by bits or by values of one asset."""

    asset: AssetName = Field(
        description="asset with the cloud flags: the asset of a band of `arrays`, or another asset, which is stored "
        "as the array 'clouds'"
    )
    bits: tuple[Annotated[int, Field(ge=0, le=31)], ...] = Field(
        default=(), max_length=32, description="a pixel is cloud where one of these bits is set (0 = the lowest)"
    )
    values: tuple[Annotated[int, Field(ge=-(2**31), lt=2**32)], ...] = Field(
        default=(), max_length=256, description="a pixel is cloud where the number is one of these"
    )
    dtype: Dtype | None = Field(
        default=None,
        description="dtype of the array 'clouds', if no array reads the asset; if absent, uint16 for bits and uint8 "
        "for values",
    )
    resolution_m: float | None = Field(
        default=None,
        ge=0.01,
        le=100_000,
        description="pixel edge of the array 'clouds', metres; if absent, that of the finest array",
    )
    nodata: int | None = Field(default=None, description="number that means 'not known' in the array 'clouds'")

    @model_validator(mode="after")
    def _one_of(self) -> Self:
        if bool(self.bits) == bool(self.values):
            raise ValueError("give `bits` or `values`, one of the two")
        return self


class SceneDensity(Strict):
    """How densely the archive holds scenes; it only sets the size of searches."""

    edge_km: float = Field(default=110.0, gt=0, le=40_000, description="edge of a scene, kilometres")
    per_day: float = Field(default=0.35, gt=0, le=1_000, description="scenes per place and day")

    def known(self) -> SearchDensity:
        """The density as a `SearchDensity`, the record that the planner uses."""
        return SearchDensity(edge_km=self.edge_km, step_km=self.edge_km, per_day=self.per_day)


def _only_plain(value: dict[str, Any]) -> dict[str, Any]:
    for name, wanted in value.items():
        if isinstance(wanted, tuple) and not wanted:
            raise ValueError(f"{name}: the list is empty, so no item would do")
    return value


def _readable(value: Any) -> Any:
    for name, wanted in value.items() if isinstance(value, dict) else ():
        values = wanted if isinstance(wanted, list | tuple) else [wanted]
        if not all(isinstance(v, Plain) for v in values):
            raise ValueError(f"{name}: give a text, a number or true/false, or a list of these")
    return value


Where = Annotated[
    dict[str, Plain | tuple[Plain, ...]],
    AfterValidator(_only_plain),
    BeforeValidator(_readable, json_schema_input_type=dict[str, Plain | tuple[Plain, ...]]),
]
"""Property of an item -> the value it must have, or the values of which it must have one."""


class Described(Strict):
    """What a declared layer says of its product."""

    title: str = Field(
        default="", max_length=200, description="name of the product, to display; if absent, the name of the layer"
    )
    arrays: dict[ArrayName, DeclaredArray] = Field(
        min_length=1,
        max_length=64,
        description="array on disk -> its pixels; the key '*' holds what all arrays share",
    )
    licence: str = Field(default="proprietary", max_length=64, description="SPDX id of the product")
    attribution: str = Field(default="", max_length=500, description="attribution that users of the data must give")
    rule: Rule | None = Field(default=None, description="named rule for numbers that scale and offset do not describe")
    terrain: ArrayName | None = Field(
        default=None, description="array that holds the elevation of the ground in metres, for captions"
    )

    @field_validator("arrays", mode="before")
    @classmethod
    def _shared(cls, value: Any) -> Any:
        return with_defaults(value)

    @model_validator(mode="after")
    def _told_apart(self) -> Self:
        reserved = [name for name in self.arrays if name in RESERVED]
        if reserved:
            raise ValueError(f"arrays: {reserved[0]!r} is the name of a mask that is always written; choose another")
        names = [band for array in self.arrays.values() for band in array.bands]
        twice = sorted({n for n in names if names.count(n) > 1})
        if twice:
            raise ValueError(f"arrays: band {twice[0]!r} is listed twice; choose another name for one of them")
        if self.terrain is not None:
            found = self.arrays.get(self.terrain)
            if found is None or found.kind != "continuous" or len(found.bands) != 1 or found.unit != "m":
                raise ValueError(
                    f"terrain: {self.terrain!r} must be one of `arrays` with one continuous band and `unit: m`"
                )
        return self

    def assets_of(self, clouds: DeclaredClouds | None) -> dict[str, tuple[str, ...]]:
        """Band -> where to look for it, clouds included."""
        found = {name: band.assets for array in self.arrays.values() for name, band in array.bands.items()}
        if clouds is not None and self._sky(clouds) is None:
            found[CLOUDS] = (clouds.asset,)
        return found

    def described(self, name: str, clouds: DeclaredClouds | None, density: SceneDensity | None) -> Modality:
        """The layer as the factory knows it: the same record as that of a sensor in `schemas.modality`.

        Args:
            name: of the layer.
            clouds: None = nothing says where clouds are.
            density: of scenes; None = a static layer.
        """
        layers = [array.layer(key) for key, array in self.arrays.items()]
        sky = None if clouds is None else self._sky(clouds) or CLOUDS
        if clouds is not None and sky == CLOUDS and CLOUDS not in self.arrays:
            layers.append(_cloud_layer(clouds, min(x.resolution_m for x in layers)))
        return Modality(
            name=name,
            title=self.title or name,
            layers=tuple(layers),
            dated=density is not None,
            cloud_layer=sky,
            licence=self.licence,
            attribution=self.attribution,
            density=STATIC_DENSITY if density is None else density.known(),
            terrain=self.terrain,
        )

    def _sky(self, clouds: DeclaredClouds) -> str | None:
        """The array that reads the clouds' asset; None = no array does."""
        reads = {k: [x for b in a.bands.values() for x in b.assets] for k, a in self.arrays.items()}
        return next((name for name, assets in reads.items() if clouds.asset in assets), None)

    def check_clouds(self, clouds: DeclaredClouds) -> None:
        """Whether the asset of the clouds can hold them.

        Raises:
            ValueError: one line.
        """
        name = self._sky(clouds)
        if name is None and CLOUDS in self.arrays:
            raise ValueError(f"clouds: no band of the array {CLOUDS!r} reads {clouds.asset!r}; rename that array")
        if name is not None and self.arrays[name].kind == "continuous":
            wanted = "bits" if clouds.bits else "classes"
            raise ValueError(f"clouds: {clouds.asset!r} is in the array {name!r}, which needs `kind: {wanted}`")
        dtype = np.dtype(_cloud_layer(clouds, 1.0).dtype if name is None else self.arrays[name].dtype)
        width = dtype.itemsize * 8
        if dtype.kind == "f" or (clouds.bits and max(clouds.bits) >= width):
            raise ValueError(f"clouds: {dtype.name} has the bits 0 to {width - 1}, found {max(clouds.bits, default=0)}")
        strange = [v for v in clouds.values if not np.iinfo(dtype).min <= v <= np.iinfo(dtype).max]
        if strange:
            raise ValueError(f"clouds: {strange[0]} is no {dtype.name}")


CLOUDS = "clouds"
"""Array and band of a cloud asset that no array reads."""


def _cloud_layer(clouds: DeclaredClouds, finest_m: float) -> Layer:
    return Layer(
        name=CLOUDS,
        bands=(Band(name=CLOUDS),),
        resolution_m=clouds.resolution_m or finest_m,
        dtype=clouds.dtype or ("uint16" if clouds.bits else "uint8"),
        nodata=clouds.nodata,
        kind="bits" if clouds.bits else "classes",
        kernel="nearest",
        unit="bit field" if clouds.bits else "class",
    )


def with_defaults(arrays: Any) -> Any:
    """`arrays` with '*' spelt out: beside the arrays for all of them, inside one for all of its bands."""
    if not isinstance(arrays, dict):
        return arrays
    shared = arrays.get("*")
    found: dict[Any, Any] = {}
    for name, array in arrays.items():
        if name == "*" and isinstance(shared, dict):
            continue
        if isinstance(array, dict):
            inner = array.get("*")
            outer = shared if isinstance(shared, dict) else {}
            own = {k: v for k, v in array.items() if k != "*" or not isinstance(inner, dict)}
            found[name] = {**outer, **(inner if isinstance(inner, dict) else {}), **own}
        else:
            found[name] = array
    return found
