"""One sample: its pixels, masks, labels, captions and provenance, read on first use."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from landweave.bands import named
from landweave.catalogue import checked_captions
from landweave.errors import AbsentError, CorruptError, UnknownNameError, needed
from landweave.notebook import sample_html
from landweave.questions import question_of
from landweave.strict import Fields, parse
from landweave.table import REMEDY

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pyarrow as pa
    import xarray as xr
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from landweave.catalogue import Catalogue
    from landweave.layout import ArraySpec, ClassSpec, DatasetSpec, Json
    from landweave.questions import Question

Affine = tuple[float, float, float, float, float, float]
"""(a, b, c, d, e, f): x = a*col + b*row + c, y = d*col + e*row + f, of pixel corners."""


class Pixels(Protocol):
    """Source of a sample's arrays and objects."""

    def read(self, array: ArraySpec, where: tuple[int, int], present: Sequence[bool], sample_id: str) -> NDArray[Any]:
        """All dates of one sample's array."""
        ...

    def read_bands(
        self, array: ArraySpec, where: tuple[int, int], present: Sequence[bool], bands: tuple[int, ...], sample_id: str
    ) -> NDArray[Any]:
        """All dates of some bands of one sample's array."""
        ...

    def vectors(self, label: str, shard: int, sample_id: str) -> pa.Table:
        """Vector objects of one sample."""
        ...

    def questions(self, shard: int, sample_id: str) -> list[Json]:
        """Rows of a sample's questions."""
        ...

    @property
    def statistics(self) -> Json:
        """Figures of the train split."""
        ...


@dataclass(frozen=True, slots=True)
class Captions:
    """A caption and its provenance."""

    text: str
    """English."""
    captioner: str
    """'template' or 'llm'."""
    model: str | None
    """Model name, None for a template."""
    prompt_version: str
    """Version of prompt or template."""
    fallback: bool
    """True if the model's answers were refused and the template was used instead."""
    set: str = ""
    """Name of its set of texts (`Dataset.text_sets`); '' for captions that came with the pixels."""
    why: str = ""
    """Of a set: why the template speaks for a model; '' where the model speaks."""
    claims: str = ""
    """JSON list of what the text claims, each with the arrays and tables that prove it (`landweave prove`); '' for
    texts of a file, which were not read, and in older datasets."""


class Sample:
    """One place, co-registered. Arrays by name: `sample["sentinel2/bands_10m"]` is (time, band, y, x).

    Static modalities are (band, y, x), labels and masks lack the band axis. A dated array has all its date slots;
    slots that were not obtained hold nodata and are False in `present`. Reading an array without any obtained slot
    raises AbsentError; `get` returns None.
    """

    def __init__(self, catalogue: Catalogue, position: int, spec: DatasetSpec, pixels: Pixels) -> None:
        self._catalogue, self._position = catalogue, position
        self._spec = spec
        self._pixels = pixels
        self._read: dict[tuple[str, ...], NDArray[Any]] = {}
        self.id: str = catalogue.id(position)
        """Sample id."""

    @cached_property
    def _where(self) -> tuple[int, int]:
        shard, row = self._catalogue.seats(np.array([self._position]))[0].tolist()
        return shard, row

    @cached_property
    def item(self) -> Json:
        """Every catalogue column of this sample."""
        return self._catalogue.item(self._position)

    @property
    def split(self) -> str:
        """'train', 'val' or 'test'."""
        return str(self.item["split"])

    @property
    def epsg(self) -> int:
        """CRS of the footprint and of every array."""
        return int(self.item["epsg"])

    @property
    def spec(self) -> DatasetSpec:
        """The form of its dataset."""
        return self._spec

    @property
    def statistics(self) -> Json:
        """See `Dataset.statistics`."""
        return self._pixels.statistics

    def plot(self) -> Figure:
        """A matplotlib figure of every layer and date, with captions and legends; notebooks show it.

        Raises:
            ModuleNotFoundError: matplotlib is not installed (extra `[show]`). CorruptError: the shard is damaged.
        """
        needed("matplotlib.pyplot", "show", "plotting")  # notebooks show figures once it is imported
        from landweave.draw import contact_sheet

        return contact_sheet(self._spec.name, [self])

    def _repr_html_(self) -> str:
        """In a notebook: a picture of each layer and date, and the captions."""
        lon, lat = self.lonlat
        words = [c.text for c in self.captions]
        pictures = []
        if find_spec("PIL") is not None:
            from landweave.render import notebook_pictures

            pictures = notebook_pictures(self)
        return sample_html(f"{self.id}: {self.split}, lon {lon:.5f}, lat {lat:.5f}", pictures, words)

    def __repr__(self) -> str:
        there = [name for name, slots in self.present.items() if any(slots)]
        return f"Sample({self.id!r}, split={self.split!r}, lon={self.lonlat[0]:.5f}, lat={self.lonlat[1]:.5f}, {there})"

    @property
    def present(self) -> dict[str, tuple[bool, ...]]:
        """Modality or label -> per date slot, whether it was obtained."""
        return {g.name: tuple(self._slots(g.name)) for g in self._spec.groups}

    def _slots(self, group: str) -> list[bool]:
        found: list[bool] = self._catalogue.presence(group, np.array([self._position]))[0].tolist()
        return found

    @property
    def lonlat(self) -> tuple[float, float]:
        """Centre of the footprint, degrees, WGS 84."""
        if "item" in self.__dict__:
            return self.item["lon"], self.item["lat"]
        found = self._catalogue.columns(("lon", "lat"), np.array([self._position]))
        return float(found["lon"][0]), float(found["lat"][0])

    @property
    def attributes(self) -> dict[str, bool | int | float | str | None]:
        """Values of this sample in the points file, by the file's column names; None if missing. Untrusted data."""
        return {a.name: self.item[a.column] for a in self._spec.attributes}

    def __contains__(self, name: object) -> bool:
        group = str(name).split("/", maxsplit=1)[0]
        return any(self.present.get(group, ()))

    def __getitem__(self, name: str) -> NDArray[Any]:
        """Stored values of an array, by 'group/array'; a label's classes also by the label's name.

        Raises:
            UnknownNameError: the dataset has no such array.
            AbsentError: nothing was obtained here for it.
            CorruptError: the shard is damaged.
        """
        return self._stored(name, None)

    def get(self, name: str, bands: Sequence[str] | None = None) -> NDArray[Any] | None:
        """Like `sample[name]`, but None if it is absent; of some bands as in `physical`."""
        try:
            return self._stored(name, bands)
        except AbsentError:
            return None

    def _stored(self, name: str, bands: Sequence[str] | None) -> NDArray[Any]:
        array, path = self._catalogue.array(name)
        numbers = None if bands is None else self._numbers(array, bands)
        split = numbers is not None and array.bands_per_chunk and (path,) not in self._read
        key = (path, *map(str, numbers)) if split and numbers is not None else (path,)
        found = self._read.get(key)
        if found is None:
            slots = self._slots(array.group)
            if True not in slots:
                raise AbsentError(
                    f"sample {self.id}: {array.group} is absent; the ledger has the reason (`Dataset.ledger`)"
                )
            if split and numbers is not None:
                found = self._pixels.read_bands(array, self._where, slots, numbers, self.id)
            else:
                found = self._pixels.read(array, self._where, slots, self.id)
            self._read[key] = found
        return found if numbers is None or split else found[..., list(numbers), :, :]

    def _numbers(self, array: ArraySpec, bands: Sequence[str]) -> tuple[int, ...]:
        """Where bands stand in an array."""
        held, wanted = [b.name for b in array.bands], named(self._spec, array.group, bands)
        if len(array.chip_shape) < 3 or not wanted or set(wanted) - set(held):
            raise UnknownNameError(f"{array.path} has no such bands: {list(bands)}; it has {held}")
        return tuple(held.index(band) for band in wanted)

    def physical(self, name: str, bands: Sequence[str] | None = None) -> NDArray[np.float32]:
        """Stored * scale + offset in the array's unit, float32, NaN where there is no measured value.

        Args:
            name: as in `sample[name]`.
            bands: these bands alone, in this order, by name or common name ('red'); where a chunk holds some bands of
                the array (`ArraySpec.bands_per_chunk`), only their chunks are read.

        Raises:
            UnknownNameError: no such array, or not these bands. AbsentError, CorruptError: as `sample[name]`.
        """
        array, stored = self._catalogue.array(name)[0], self._stored(name, bands)
        values = (stored.astype(np.float64) * array.scale + array.offset).astype(np.float32)
        if array.nodata is not None and not np.isnan(array.nodata):
            values[stored == array.nodata] = np.nan
        return values

    def valid(self, modality: str) -> NDArray[np.bool_]:
        """([time,] y, x) on the modality's finest grid; True = every band was measured."""
        return self[f"{modality}/valid"]

    def cloud(self, modality: str) -> NDArray[np.bool_]:
        """([time,] y, x); True = cloud, cloud shadow or cirrus. UnknownNameError for sensors without a cloud mask."""
        return self[f"{modality}/cloud"]

    def transform(self, name: str) -> Affine:
        """Affine coefficients of an array's pixel corners in `epsg`."""
        array = self._catalogue.array(name)[0]
        edge, left, top = array.resolution_m, self.item["x_min"], self.item["y_max"]
        if array.margin_m:  # 6862703.2, not 6862703.199999999
            left, top = round(left - array.margin_m, 6), round(top + array.margin_m, 6)
        return (edge, 0.0, left, 0.0, -edge, top)

    def bounds(self, name: str) -> tuple[float, float, float, float]:
        """(x_min, y_min, x_max, y_max) of an array's pixels, metres in `epsg`: the footprint, the layer's own ground
        where it has another (`ArraySpec.margin_m`), and what the last row and column reach beyond."""
        edge, _, left, _, _, top = self.transform(name)
        height, width = self._catalogue.array(name)[0].sample_shape[-2:]
        return (left, top - height * edge, left + width * edge, top)

    def bands(self, name: str) -> tuple[str, ...]:
        """Band names of an array, in order."""
        return tuple(b.name for b in self._catalogue.array(name)[0].bands)

    def wavelengths(self, name: str) -> NDArray[np.float64]:
        """(band,) centre wavelengths, micrometres; NaN where a band has none."""
        return np.array([np.nan if b.center_um is None else b.center_um for b in self._catalogue.array(name)[0].bands])

    def datetimes(self, modality: str) -> tuple[datetime | None, ...]:
        """Acquisition time of each date slot, UTC; None if absent."""
        group = self._catalogue.group(modality)
        stamps = self.item[f"{group.name}_datetimes"] or [None] * group.slot_count
        try:
            found = tuple(None if s is None else datetime.fromisoformat(s) for s in stamps)
        except ValueError as error:
            raise CorruptError(f"sample {self.id}: {modality} has an invalid time; {REMEDY}") from error
        if len(found) != group.slot_count:
            raise CorruptError(f"sample {self.id}: {modality} has {len(found)} times, not {group.slot_count}; {REMEDY}")
        return found

    def legend(self, label: str) -> tuple[ClassSpec, ...]:
        """Classes of a label."""
        return self._catalogue.group(label).classes

    @property
    def captions(self) -> tuple[Captions, ...]:
        """Checked captions."""
        fields = Captions.__dataclass_fields__
        found = checked_captions(self.item["captions"])
        return tuple(
            Captions(**{k: v for k, v in c.items() if (k in fields and v is not None) or k == "model"}) for c in found
        )

    @property
    def questions(self) -> tuple[Question, ...]:
        """Questions and answers with their evidence, conversation by conversation; () where the dataset has none.

        Raises:
            CorruptError: the table is missing or damaged.
        """
        return tuple(question_of(row) for row in self._pixels.questions(self._where[0], self.id))

    @property
    def facts(self) -> Json | None:
        """Facts that the captions use."""
        if self.item["facts"] is None:
            return None
        found = parse(self.item["facts"].encode(), f"facts of sample {self.id}")
        Fields(found, f"facts of sample {self.id}")
        return dict(found)

    def vectors(self, label: str = "openstreetmap") -> pa.Table:
        """Vector objects: osm_id, kind, tags, wkb (in `epsg`), area_m2, length_m. Tags are untrusted text. A closed way
        that is an area with a line along its edge (a fenced park) is two rows of one osm_id: the line, then the area.
        """
        if not self._catalogue.group(label).vectors:
            raise UnknownNameError(f"{label} has no vectors")
        return self._pixels.vectors(label, self.item["shard"], self.id)

    def to_datatree(self, *, physical: bool = False) -> xr.DataTree:
        """An xarray.DataTree of the obtained data: one node per group, x and y in metres of the sample's CRS.

        Args:
            physical: continuous layers as float32 in their unit, NaN where nothing was measured; else stored numbers.

        Raises:
            ModuleNotFoundError: xarray or pyproj is not installed (extra `[xarray]`).
            CorruptError: the shard is damaged.
        """
        from landweave.tree import sample_tree

        return sample_tree(self, self._spec, physical=physical)
