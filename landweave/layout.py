"""The layout on disk, versions 1 to 4: every name and number that writer and reader share.

::

    landweave.json                  manifest of the dataset, written last: its presence = a finished dataset
    recipe.json                     the resolved recipe
    data.zarr/zarr.json             plain Zarr v3; one group per modality or label, metadata consolidated here
    data.zarr/<group>/<array>/c/<shard>/0/...   one object = one shard of samples x all dates
    data.zarr/{epsg,x_min,y_max,lon,lat}        per row: CRS and corner of the footprint, centre; written at the end
    data.zarr/<group>/{x,y}[_10m]   pixel centres, metres from the footprint's upper left corner (x_min, y_max)
    shards/00007.json               manifest of a shard, written last for it: its presence = the shard is there
    parts/{items,ledger,statistics}/00007.parquet   what the catalogue is made of
    vectors/openstreetmap/00007.parquet             OSM objects, WKB, raw tags
    questions/00007.parquet         questions and answers with their evidence, where the recipe asks for them
    packs/00007.bin                 chunks of the small arrays a second time, a record per sample (`landweave.packs`)
    thumbnails/map.webp             where the samples lie      } of datasets of at most 16,384
    thumbnails/00007/ID.webp        a picture of each sample   }
    catalogue/stac/00007/ID.json    a STAC item of each sample } rows
    catalogue/{items,ledger}.parquet, catalogue/{collection,statistics,shards}.json

Layout 2 is layout 1 with something added since it was finished (`revision` 1, 2, ...; nothing of before is touched)::

    texts/words.r2.json             how a set of texts was made, which came with revision 2
    fusion/fused.json               tables of a fused label: voters, reliability, image model, calibration
    shards/00007.r1.json            manifest of what revision 1 added to the shard
    recipes/r1.json                 the resolved recipe of what was added
    catalogue/items.r1.parquet ...  the catalogue with it; landweave.json says which revision holds

Layout 3 is either of them with one of these: a layer whose ground is not the footprint (`ArraySpec.margin_m`: the
coordinates `x` and `y` of such a layer begin left of and above the footprint's corner, or inside it), or a catalogue in
parts (`landweave.parts`), which more than 131,072 planned samples get.

Layout 4 is any of them with an array whose inner chunks hold some of its bands (`ArraySpec.bands_per_chunk`).

Rules that the names do not say:

* Row `r` of every array is one sample: shard `r // shard_samples`, row `r % shard_samples` of it. A shard holds samples
  of one split. Rows without a sample (refused, or beyond the last) are holes.
* The sharding codec's outer chunk is a shard x all dates; its inner chunk is ONE sample at ONE date, the whole chip, or
  `bands_per_chunk` bands of it (the last chunk is filled up with the fill value, and the outer chunk with it).
  Inner codecs: bytes (little), blosc, crc32c. So one random sample at one date is one range read and one decode, and a
  flipped byte is found by reading. Shard index: bytes (little), crc32c, at the end.
* Inner chunks lie in the object in order of (row, date, bands), so that a sample is one contiguous range.
* An observation that was not obtained has no inner chunk. The catalogue and the shard manifest
  state its presence; pixels never do: plain Zarr readers see the fill value there.
* Axes are (sample, [time,] [band,] y, x). Masks are bool: `valid` True = every band was measured, `cloud` True = cloud,
  cloud shadow or cirrus. `valid` lies on the modality's finest grid, `cloud` on the grid of the layer it comes from.
* Zarr's fill value is the layer's nodata; CF attributes (scale_factor, add_offset, _FillValue, units) say how stored
  numbers become physical ones.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, Literal

from landweave.plain import printable

LAYOUT_VERSION = 1
"""Layout version of a build. It increases if a reader of the earlier version would read wrongly."""
REVISED_VERSION = 2
"""Layout version after the first addition: a reader of layout 1 would look for columns in the old catalogue."""
WIDER_VERSION = 3
"""Layout version where a layer has ground of another size, or the catalogue is in parts: a reader of layout 2 would
place its pixels wrongly, or find no items."""
SPLIT_VERSION = 4
"""Layout version where chunks hold some bands: a reader of layout 3 would take the index of its shards for damaged."""
READABLE_VERSIONS = (LAYOUT_VERSION, REVISED_VERSION, WIDER_VERSION, SPLIT_VERSION)
FORMAT = "landweave"
MANIFEST = "landweave.json"
RECIPE = "recipe.json"
ZARR = "data.zarr"
ITEMS = "catalogue/items.parquet"
ROOT = "catalogue/items.json"
"""Root of a catalogue in parts, which then replaces ITEMS."""
LEDGER = "catalogue/ledger.parquet"
STATISTICS = "catalogue/statistics.json"
COLLECTION = "catalogue/collection.json"
SHARD_INDEX = "catalogue/shards.json"
FUSION = "fusion/"
"""Folder with the tables of fused labels: FUSION + layer + '.json'."""
QUESTIONS = "questions/"
"""Folder with the questions of each shard."""
TEXTS = "texts/"
"""Folder with the descriptions of sets of texts: TEXTS + name + '.r2.json', by the revision that they came with."""
STAGING = ".staging"

VECTOR_KINDS = {"sample_id": "string", "osm_id": "string", "kind": "string", "wkb": "binary"}
"""Columns of vector objects that the reader relies on, and what they hold."""
SPLITS = ("train", "val", "test")
"""There are no others: names of splits become names of files."""
DTYPES = ("bool", "uint8", "int8", "uint16", "int16", "uint32", "int32", "float32", "float64")
"""Of stored numbers. A closed list: pixels are plain numbers and never anything that Python follows."""
MOST_BYTES = 2**31
"""Largest chunk of blosc, bytes; also the largest index."""

Json = dict[str, Any]
"""A JSON object."""
Role = Literal["pixels", "valid", "cloud"]
COORDINATES: dict[str, str] = {
    "epsg": "int32",
    "x_min": "float64",
    "y_max": "float64",
    "lon": "float64",
    "lat": "float64",
}
"""Root arrays with one number per row, and their dtypes; a hole has epsg 0 and NaN elsewhere."""


def shard_name(shard: int) -> str:
    """'00007': up to 100,000 shards sort as text; beyond that, names stay unique."""
    return f"{shard:05d}"


def shard_manifest(shard: int) -> str:
    """Path of a shard's manifest."""
    return f"shards/{shard_name(shard)}.json"


def supplement_manifest(shard: int, revision: int) -> str:
    """Path of the manifest of what a revision added to a shard."""
    return f"shards/{shard_name(shard)}.r{revision}.json"


def added_recipe(revision: int) -> str:
    """Path of the resolved recipe of what a revision added."""
    return f"recipes/r{revision}.json"


def texts_file(name: str, revision: int) -> str:
    """Path of the description of a set of texts."""
    return f"{TEXTS}{name}.r{revision}.json"


def part(kind: Literal["items", "ledger", "statistics"], shard: int) -> str:
    """Path of a shard's part of the catalogue."""
    return f"parts/{kind}/{shard_name(shard)}.parquet"


def vectors(label: str, shard: int) -> str:
    """Path of a shard's vector objects."""
    return f"vectors/{label}/{shard_name(shard)}.parquet"


def pack_path(shard: int) -> str:
    """Path of a shard's pack."""
    return f"packs/{shard_name(shard)}.bin"


MAP = "thumbnails/map.webp"
"""Where the samples lie, by split."""


def thumbnail(shard: int, sample: str) -> str:
    """'thumbnails/00007/4998U_808R.webp'."""
    return f"thumbnails/{shard_name(shard)}/{sample}.webp"


def questions(shard: int) -> str:
    """Path of a shard's questions and answers."""
    return f"{QUESTIONS}{shard_name(shard)}.parquet"


@dataclass(frozen=True, kw_only=True, slots=True)
class BandSpec:
    """One band of an array."""

    name: str
    """The field's name: 'B02'."""
    common_name: str | None = None
    """STAC `eo:common_name`."""
    center_um: float | None = None
    """Centre wavelength, micrometres."""
    fwhm_um: float | None = None
    """Full width at half maximum, micrometres."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ClassSpec:
    """One class of a label's legend."""

    code: int
    """Value in the array."""
    name: str
    """The product's own name."""
    colour: str
    """'#rrggbb'."""
    common: str
    """Name in the common taxonomy."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CodecSpec:
    """Blosc settings of an array's inner chunks."""

    cname: str
    """Compressor inside blosc."""
    level: int
    """0..9."""
    shuffle: Literal["noshuffle", "shuffle", "bitshuffle"]
    """Filter before it."""
    block_bytes: int = 0
    """Bytes that blosc compresses at once (before its own rounding); 0 = its own choice, which is small."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ArraySpec:
    """One array on disk."""

    group: str
    """Modality or label."""
    name: str
    """Array name inside the group."""
    role: Role
    """'pixels' for measured layers and label classes; 'valid' and 'cloud' are masks."""
    dims: tuple[str, ...]
    """Dimension names; 'sample' first, 'time' second where dated."""
    sample_shape: tuple[int, ...]
    """Shape without the sample axis: ([time,] [band,] y, x)."""
    dtype: str
    """numpy dtype name."""
    nodata: float | None
    """Fill value; NaN for floats, None for masks."""
    kind: Literal["continuous", "classes", "bits", "mask"]
    """Only 'continuous' may be interpolated."""
    resolution_m: float
    """Pixel edge, metres."""
    unit: str
    """Unit of stored * scale + offset."""
    scale: float
    """See unit."""
    offset: float
    """See unit."""
    bands: tuple[BandSpec, ...]
    """In array order; a single entry where there is no band axis, none for masks."""
    codec: CodecSpec
    """Compression of inner chunks."""
    margin_m: float = 0.0
    """How far its ground reaches beyond each edge of the footprint, metres: 960 for 2,560 m around 640 m; negative
    where it is a part of the footprint. The last row and column may reach further (see `resolution_m`)."""
    bands_per_chunk: int = 0
    """Bands of an inner chunk, fewer than there are; 0 = all, or no band axis."""

    @property
    def path(self) -> str:
        """'sentinel2/bands_10m'."""
        return f"{self.group}/{self.name}"

    @property
    def dated(self) -> bool:
        """Whether there is a time axis."""
        return "time" in self.dims

    @property
    def slots(self) -> int:
        """Date slots; 1 where there is no time axis."""
        return self.sample_shape[0] if self.dated else 1

    @property
    def chip_shape(self) -> tuple[int, ...]:
        """Shape of the pixels of one sample at one date: ([band,] y, x)."""
        return self.sample_shape[1:] if self.dated else self.sample_shape

    @property
    def chip_bytes(self) -> int:
        """Bytes of the pixels of one sample at one date, decoded."""
        return math.prod(self.chip_shape) * self._itemsize

    @property
    def chunks_per_date(self) -> int:
        """Inner chunks of one sample at one date."""
        return -(-self.chip_shape[0] // self.bands_per_chunk) if self.bands_per_chunk else 1

    @property
    def chunks_per_row(self) -> int:
        """Inner chunks of one sample, in order of (date, bands)."""
        return self.slots * self.chunks_per_date

    @property
    def chunk_shape(self) -> tuple[int, ...]:
        """Shape of one decoded inner chunk: ([band,] y, x)."""
        return (self.bands_per_chunk, *self.chip_shape[1:]) if self.bands_per_chunk else self.chip_shape

    @property
    def chunk_bytes(self) -> int:
        """Bytes of one decoded inner chunk."""
        return math.prod(self.chunk_shape) * self._itemsize

    @property
    def _itemsize(self) -> int:
        import numpy as np

        return np.dtype(self.dtype).itemsize

    def object(self, shard: int) -> str:
        """Path of one shard's object, from the dataset's root."""
        return "/".join((ZARR, self.path, "c", str(shard), *("0" for _ in self.sample_shape)))


@dataclass(frozen=True, kw_only=True, slots=True)
class GroupSpec:
    """One modality or label."""

    name: str
    """Name on disk and in recipes."""
    kind: Literal["modality", "label"]
    """Modality or label."""
    title: str
    """For people."""
    slots: tuple[str, ...]
    """Name of the window of each date slot; empty for static groups and labels."""
    licence: str
    """SPDX id, or 'proprietary'."""
    attribution: str
    """Attribution that users of the data must give."""
    arrays: tuple[ArraySpec, ...]
    """In the sensor's order, masks last."""
    classes: tuple[ClassSpec, ...] = ()
    """A label's legend, in code order."""
    vectors: bool = False
    """True if there are vector objects besides the arrays."""
    crosswalk: str = ""
    """Name and SHA-256 of the crosswalk that `common` of the classes is from; '' where the recipe states them."""
    revision: int = 0
    """Revision of the dataset that it came with."""
    target: bool = False
    """True for a modality whose numbers are to be predicted: a continuous label."""

    @property
    def is_input(self) -> bool:
        """Whether it is what a model gets: a modality that is no target."""
        return self.kind == "modality" and not self.target

    @property
    def dated(self) -> bool:
        """Whether there is an observation per date slot."""
        return bool(self.slots)

    @property
    def terms(self) -> dict[str, str]:
        """Title, licence and attribution, as views show them: safe to print."""
        named = {"title": self.title, "licence": self.licence, "attribution": self.attribution}
        return {name: printable(text) for name, text in named.items()}

    @property
    def slot_count(self) -> int:
        """Number of observations that a complete sample has in this group."""
        return max(1, len(self.slots))

    def array(self, name: str) -> ArraySpec:
        """The array of that name.

        Raises:
            KeyError: there is none.
        """
        for array in self.arrays:
            if array.name == name:
                return array
        raise KeyError(f"{self.name} has no array {name!r}, it has {[a.name for a in self.arrays]}")


@dataclass(frozen=True, kw_only=True, slots=True)
class AttributeSpec:
    """One attribute of samples, from a file or computed from their pixels: a column of the catalogue."""

    name: str
    """As the recipe names it."""
    dtype: Literal["bool", "int64", "float64", "string"]
    """Arrow's name of its type; values may be null."""
    unit: str = ""
    """Unit of its values; '' where none is stated."""
    description: str = ""
    """What the values are; '' where nothing is stated."""

    @property
    def column(self) -> str:
        """Name in the catalogue: 'attr_biomass'. No modality or label is called 'attr'."""
        return f"attr_{self.name}"


@dataclass(frozen=True, kw_only=True, slots=True)
class SharedGround:
    """Ground that samples of two splits share, if the recipe sets `splits.allow_overlap`."""

    split: str
    """Whose samples were looked at, as planned."""
    other: str
    """The split that they share ground with."""
    samples: int
    """Samples of `split` that overlap a sample of `other`."""
    share: float
    """Share of the ground of all samples of `split` that samples of `other` cover too, 0..1."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DatasetSpec:
    """Everything that decides the form of a dataset; picklable, JSON-serialisable, and the same for every worker."""

    name: str
    """The recipe's name: also the STAC collection id."""
    description: str
    """The recipe's description."""
    licence: str
    """SPDX id of the dataset as a whole."""
    recipe_sha256: str
    """Identity of the dataset."""
    shards: int
    """Number of shards in the plan."""
    shard_samples: int
    """Rows of a shard."""
    size_m: float
    """Edge of a footprint, metres."""
    resolution_m: float
    """Base pixel, metres."""
    groups: tuple[GroupSpec, ...]
    """Modalities, then labels, in the recipe's order."""
    attributes: tuple[AttributeSpec, ...] = ()
    """Attributes and numbers of samples, by name."""
    shared_ground: tuple[SharedGround, ...] = ()
    """Ground that splits share; () if they share none."""
    recipe: str = field(default="{}", repr=False)
    """The resolved recipe, canonical JSON."""
    revision: int = 0
    """Number of additions since the dataset was finished."""
    questions: int | None = None
    """Revision that questions and answers came with; None = there are none."""
    pages: bool = False
    """Whether every sample has a picture and, in each revision, a STAC item in a file of its own."""
    packed: tuple[str, ...] = ()
    """Paths of the arrays whose chunks also lie side by side, in the order of `landweave.packs`; () = none."""

    def at(self, path: str) -> str:
        """Path of a catalogue file in this revision: 'catalogue/items.r1.parquet'."""
        stem, dot, ending = path.rpartition(".")
        return f"{stem}.r{self.revision}{dot}{ending}" if self.revision else path

    @property
    def page_folder(self) -> str:
        """Folder of this revision's STAC items: 'catalogue/stac', 'catalogue/stac.r1'."""
        return f"catalogue/stac.r{self.revision}" if self.revision else "catalogue/stac"

    @property
    def arrays(self) -> tuple[ArraySpec, ...]:
        """All arrays of all groups."""
        return tuple(a for g in self.groups for a in g.arrays)

    @property
    def layout(self) -> int:
        """Layout version that its arrays need."""
        if any(array.bands_per_chunk for array in self.arrays):
            return SPLIT_VERSION
        return WIDER_VERSION if any(array.margin_m for array in self.arrays) else LAYOUT_VERSION

    def extent_m(self, group: str) -> float:
        """Edge of the ground that a group covers, metres: that of the footprint, or its own around the same centre."""
        return self.size_m + 2.0 * self.group(group).arrays[0].margin_m

    @property
    def rows(self) -> int:
        """Length of the sample axis."""
        return self.shards * self.shard_samples

    def group(self, name: str) -> GroupSpec:
        """The group of that name.

        Raises:
            KeyError: there is none.
        """
        for group in self.groups:
            if group.name == name:
                return group
        raise KeyError(f"the dataset has no modality or label {name!r}, it has {[g.name for g in self.groups]}")
