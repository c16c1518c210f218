"""Worlds for `benchmarks.labels`: ground, image, and label products whose errors are those of real ones.

Errors are shared between products and between years and dates of one product, persist over large and small patches,
change with the region, shift by a pixel, come in coarse units, and age with the ground. Each product is brought to its
published accuracy. The processes differ from world to world, and so does which class is taken for which.
"""

from __future__ import annotations

import zipfile
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.ndimage import gaussian_filter, uniform_filter, zoom
from scipy.special import ndtr

from schemas.label import COMMON_CLASSES

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    Map = NDArray[np.uint8]
    Field = NDArray[np.float32]

WATER, TREES, SHRUB, GRASS, CROPS, BUILT, BARE, _, WETLAND, _ = range(1, len(COMMON_CLASSES))
EDGE, SIDE = 96, 4
"""Pixels across a sample; samples across a region."""
REGIONS = 4
PUBLISHED = {"worldcover": 0.767, "dynamicworld": 0.738, "esri": 0.75}
"""Overall accuracies: WorldCover validation report v2.0; Brown et al. 2022; Venter et al. 2022."""
WRONG: dict[int, dict[int, float]] = {
    WATER: {WETLAND: 0.04, BARE: 0.02},
    TREES: {SHRUB: 0.06, GRASS: 0.05, WETLAND: 0.03, CROPS: 0.03},
    SHRUB: {GRASS: 0.24, TREES: 0.18, CROPS: 0.06, BARE: 0.05},
    GRASS: {CROPS: 0.22, SHRUB: 0.18, TREES: 0.08, BARE: 0.05},
    CROPS: {GRASS: 0.14, SHRUB: 0.04, BARE: 0.04},
    BUILT: {GRASS: 0.08, BARE: 0.07, CROPS: 0.05},
    BARE: {GRASS: 0.16, SHRUB: 0.12, BUILT: 0.08},
    WETLAND: {GRASS: 0.2, WATER: 0.1, TREES: 0.1, CROPS: 0.06},
}
"""Share of a class that is taken for another; after the per-class accuracies of Venter et al. 2022."""
NATIVE: tuple[int, ...] = (
    0,
    WATER,
    TREES,
    TREES,
    SHRUB,
    GRASS,
    GRASS,
    CROPS,
    CROPS,
    BUILT,
    BUILT,
    BUILT,
    BARE,
    WETLAND,
)
"""Class of each native code of the map of volunteers: 0 none, 1 water, 2 wood, 3 orchard, 4 scrub, 5 grassland, 6 park,
7 farmland, 8 vineyard, 9 buildings, 10 roads, 11 residential (much of it gardens), 12 sand and rock, 13 wetland."""


@dataclass(frozen=True, kw_only=True)
class Process:
    """How the products of a world err."""

    shared: float = 0.35
    """Share of the variance of the error that all products have in common."""
    own: float = 0.45
    """Share that the years or dates of one product have in common."""
    patch: tuple[float, float, float] = (0.6, 0.8, 0.5)
    """Weights of error patches of about 3, 12 and 60 pixels."""
    regional: float = 0.35
    """How much the rate of errors differs by place (standard deviation of its logarithm)."""
    shift: int = 0
    """Pixels by which some products lie off."""
    change: float = 0.03
    """Share of the ground that changed from year to year."""
    failing: bool = False
    """One product fails in one of the regions: twice the errors."""
    years: int = 2
    """WorldCover-like maps, one year apart."""
    mapped: float = 0.5
    """Share of the ground that volunteers mapped."""


PROCESSES: dict[str, Process] = {
    "shared": Process(),
    "regional": Process(shared=0.25, own=0.5, regional=0.7, failing=True, patch=(0.4, 0.6, 0.9)),
    "shifted": Process(shared=0.3, own=0.5, shift=2, patch=(0.8, 0.6, 0.4)),
    "aged": Process(shared=0.3, own=0.45, change=0.07, years=3, patch=(0.5, 0.9, 0.4)),
    "persistent": Process(shared=0.5, own=0.4, patch=(0.3, 0.7, 0.9), mapped=0.35),
    "independent": Process(shared=0.0, own=0.0, regional=0.0, patch=(1, 0, 0), change=0.0),
}
"""Worlds by name; 'independent' is the one in which majority is near the best that there is."""
INDEPENDENT = frozenset({"independent"})


@dataclass(frozen=True, kw_only=True)
class World:
    """Products and truth as arrays."""

    name: str
    truth: Map
    """(sample, y, x) codes of COMMON_CLASSES, 0 = not known."""
    families: dict[str, list[tuple[str, NDArray[np.unsignedinteger]]]]
    """Family -> (name, (sample, y, x) codes), the map nearest to the image first; 0 = none."""
    image: NDArray[np.float32] | None = None
    """(sample, band, y, x), any units; NaN = no pixel."""
    native: dict[str, Map] = field(default_factory=dict)
    """Family -> (codes,) class of each of its own codes. Families not named here use COMMON_CLASSES."""
    probabilities: dict[str, list[NDArray[np.floating]]] = field(default_factory=dict)
    """Family -> per map (sample, y, x) 0..1."""
    block: NDArray[np.integer] | None = None
    """(sample,) block on the ground; None = each sample is its own."""
    region: NDArray[np.integer] | None = None
    """(sample,) region 0..; None = one."""
    independent: bool = False
    """Errors of the products are independent: others may be as good."""

    def common(self, family: str, codes: NDArray[np.unsignedinteger]) -> Map:
        """A map of a family in COMMON_CLASSES."""
        return self.native[family][codes] if family in self.native else codes.astype(np.uint8)

    def maps(self) -> dict[str, Map]:
        """Every map in COMMON_CLASSES, by name."""
        return {name: self.common(f, m) for f, listed in self.families.items() for name, m in listed}


def make(name: str, seed: int) -> World:
    """A world of a process (`PROCESSES`) from a seed: 64 samples of 96 px in four regions."""
    rng, process = np.random.default_rng([seed, *name.encode()]), PROCESSES[name]
    confusion = {c: {d: s * rng.uniform(0.6, 1.4) for d, s in w.items()} for c, w in WRONG.items()}
    parts = [_region(rng) for _ in range(REGIONS)]
    products = {n: np.stack([p[n] for p in parts]) for n in parts[0]}
    truth, image = products["truth"].astype(np.uint8), products["image"]
    made = _products(rng, process, confusion, truth)
    maps = {f: [(n, _cut(m)) for n, m in listed] for f, listed in made.items()}
    maps["openstreetmap"] = [("OSM", _cut(np.stack([_volunteers(rng, process, t) for t in truth])))]
    samples = SIDE * SIDE
    return World(
        name=f"{name} {seed}",
        truth=_cut(truth),
        families=maps,
        image=_cut(image),
        native={"openstreetmap": np.array(NATIVE, np.uint8)},
        probabilities={"dynamicworld": [_probability(rng, m, _cut(truth)) for _, m in maps["dynamicworld"]]},
        block=np.arange(REGIONS * samples) // SIDE,
        region=np.arange(REGIONS * samples) // samples,
        independent=name in INDEPENDENT,
    )


def read(path: Path) -> World:
    """A world from an .npz file; docs/labels.md has the form.

    Raises:
        ValueError: the file is no such world; one line.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {key: file[key] for key in file.files}
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path.name}: not an .npz file of arrays without pickled objects: {error}") from None
    if "truth" not in arrays or arrays["truth"].ndim != 3:
        raise ValueError(f"{path.name}: needs an array 'truth' (sample, y, x) with codes of the common taxonomy")
    truth = arrays["truth"].astype(np.uint8)
    families: dict[str, list[tuple[str, NDArray[np.unsignedinteger]]]] = {}
    probabilities: dict[str, list[NDArray[np.floating]]] = {}
    native: dict[str, Map] = {}
    for key in sorted(arrays, key=list(arrays).index):
        kind, _, rest = key.partition("/")
        family, _, name = rest.partition("/")
        if kind == "product":
            if arrays[key].shape != truth.shape or arrays[key].dtype.kind not in "ui":
                raise ValueError(f"{path.name}: {key} must be whole numbers of shape {truth.shape}, as 'truth' is")
            families.setdefault(family, []).append((name or family, arrays[key].astype(np.uint16)))
            if f"probability/{rest}" in arrays:
                probabilities.setdefault(family, []).append(arrays[f"probability/{rest}"])
        elif kind == "native":
            native[family] = arrays[key].astype(np.uint8)
        elif kind not in {"truth", "image", "block", "region", "probability", "independent"}:
            raise ValueError(f"{path.name}: array {key!r} is not known: {FORM}")
    if len(families) < 2:
        raise ValueError(f"{path.name}: at least two families are needed, found {sorted(families)}: {FORM}")
    world = World(
        name=path.stem,
        truth=truth,
        families=families,
        image=None if "image" not in arrays else arrays["image"].astype(np.float32),
        native=native,
        probabilities={f: p for f, p in probabilities.items() if len(p) == len(families[f])},
        block=arrays.get("block"),
        region=arrays.get("region"),
        independent=bool(arrays.get("independent", False)),
    )
    _check(path.name, world)
    return world


FORM = "truth, product/FAMILY/NAME, native/FAMILY, probability/FAMILY/NAME, image, block, region, independent"
"""Names of the arrays in a world's file."""


def _check(name: str, world: World) -> None:
    count = len(world.truth)
    if world.truth.max(initial=0) >= len(COMMON_CLASSES):
        raise ValueError(f"{name}: truth has code {world.truth.max()}, the common taxonomy ends at 10")
    for family, listed in world.families.items():
        codes = len(world.native[family]) if family in world.native else len(COMMON_CLASSES)
        if family in world.native and len(listed) > 1:
            raise ValueError(f"{name}: family {family} has native codes and {len(listed)} maps: give one map")
        for product, codes_of in listed:
            if codes_of.max(initial=0) >= codes:
                raise ValueError(f"{name}: {product} has code {codes_of.max()}, but {family} ends at {codes - 1}")
    for what, array in (("block", world.block), ("region", world.region)):
        if array is not None and array.shape != (count,):
            raise ValueError(f"{name}: {what} must have one number per sample ({count}), found shape {array.shape}")
    if world.image is not None and (world.image.ndim != 4 or world.image.shape[::3] != world.truth.shape[::2]):
        raise ValueError(f"{name}: image must be (sample, band, y, x) as truth is, found shape {world.image.shape}")


def write(world: World, path: Path) -> None:
    """Write a world in the form that `read` reads."""
    arrays: dict[str, NDArray[np.generic]] = {"truth": world.truth, "independent": np.array(world.independent)}
    for family, listed in world.families.items():
        for number, (name, codes) in enumerate(listed):
            arrays[f"product/{family}/{name}"] = codes.astype(np.uint8)
            if family in world.probabilities:
                arrays[f"probability/{family}/{name}"] = world.probabilities[family][number]
    arrays |= {f"native/{family}": codes for family, codes in world.native.items()}
    for key, array in (("image", world.image), ("block", world.block), ("region", world.region)):
        if array is not None:
            arrays[key] = array
    np.savez_compressed(path, **arrays)  # type: ignore[arg-type]


def _cut(canvas: NDArray[Any]) -> NDArray[Any]:
    """(region, ..., Y, X) -> (sample, ..., y, x)."""
    rows = [
        region[..., y * EDGE : (y + 1) * EDGE, x * EDGE : (x + 1) * EDGE]
        for region in canvas
        for y in range(SIDE)
        for x in range(SIDE)
    ]
    return np.ascontiguousarray(np.stack(rows))


def _smooth(rng: np.random.Generator, sigma: float, size: int = EDGE * SIDE) -> Field:
    """A random field with mean 0 and deviation 1; wide ones are drawn coarsely and enlarged."""
    step = max(1, int(sigma / 3))
    small = -(-size // step)
    drawn = gaussian_filter(rng.normal(size=(small, small)).astype(np.float32), sigma / step, mode="wrap")
    wide = zoom(drawn, step, order=1)[:size, :size] if step > 1 else drawn
    return np.asarray((wide - wide.mean()) / max(1e-6, float(wide.std())), np.float32)


def _parcels(rng: np.random.Generator, size: int) -> NDArray[np.int64]:
    """Number of the parcel of each pixel: cells of a warped grid."""
    y, x = np.mgrid[:size, :size] + 6 * np.stack([_smooth(rng, 25), _smooth(rng, 25)])
    turn = rng.uniform(0, np.pi / 2)
    along, across = x * np.cos(turn) + y * np.sin(turn), y * np.cos(turn) - x * np.sin(turn)
    cells = np.floor(along / 22).astype(int) * 1009 + np.floor(across / rng.uniform(9, 16)).astype(int) * 9176
    return np.unique(cells, return_inverse=True)[1].reshape(size, size)


def _region(rng: np.random.Generator) -> dict[str, NDArray[np.generic]]:
    """Ground and image of one region; the mix of classes differs from region to region."""
    size = EDGE * SIDE
    height, wet, people = _smooth(rng, 45), _smooth(rng, 20), _smooth(rng, 14)
    parcels = _parcels(rng, size)
    draw = rng.random(parcels.max() + 1)[parcels]
    farmed = rng.uniform(0.35, 0.75)
    ground = np.where(draw < farmed, CROPS, GRASS)
    ground = np.where(_smooth(rng, 9) + 0.5 * height > rng.uniform(0.3, 0.8), TREES, ground)
    ground = np.where(_smooth(rng, 7) - 0.3 * wet > 1.35, SHRUB, ground)
    ground = np.where(height > rng.uniform(1.4, 1.9), BARE, ground)
    ground = np.where((people > 1.2) & (_smooth(rng, 2.5) > -0.6), BUILT, ground)
    ground = np.where(wet < -1.5, WETLAND, ground)
    ground = np.where(wet < -1.85, WATER, ground)
    return {"truth": ground, "image": _image(rng, ground, parcels)}


def _image(rng: np.random.Generator, ground: NDArray[np.integer], parcels: NDArray[np.int64]) -> Field:
    """(band, y, x): six bands on two dates and two of radar, of mixed materials, blurred, with haze and noise."""
    # blue, green, red, near infrared, short-wave 1.6 and 2.2 micrometres; reflectance x 10,000
    leaf, straw, soil, wet, roof = (
        np.array(v, np.float32)
        for v in (
            (300, 650, 350, 3900, 1900, 900),
            (900, 1300, 1900, 2900, 3100, 2300),
            (900, 1300, 1700, 2400, 3000, 2700),
            (450, 450, 280, 120, 60, 30),
            (1500, 1650, 1750, 2200, 2400, 2200),
        )
    )
    crop = rng.integers(0, 4, parcels.max() + 1)[parcels]
    vigour = np.clip(0.5 + 0.22 * _smooth(rng, 6) + 0.14 * _smooth(rng, 1.2), 0.05, 0.98)
    dates = []
    for date in range(2):
        green = np.select(
            [ground == TREES, ground == SHRUB, ground == GRASS, ground == CROPS, ground == WETLAND, ground == BUILT],
            [
                0.82 + 0.25 * (vigour - 0.5),
                0.62 + 0.5 * (vigour - 0.5),
                (0.66, 0.52)[date] + 0.6 * (vigour - 0.5),
                np.array([(0.85, 0.25, 0.55, 0.7), (0.2, 0.8, 0.4, 0.62)][date])[crop] + 0.4 * (vigour - 0.5),
                0.55 + 0.5 * (vigour - 0.5),
                0.3 + 0.6 * (vigour - 0.5),
            ],
            0.06 + 0.2 * (vigour - 0.5),
        )[None]
        dry = np.where(ground == CROPS, 0.4, np.where(ground == GRASS, 0.8, 0.5))[None]
        back = dry * straw[:, None, None] + (1 - dry) * soil[:, None, None]
        back = np.where(ground == BUILT, roof[:, None, None], back)
        back = np.where(np.isin(ground, (WATER, WETLAND)), wet[:, None, None], back)
        dark = np.where(ground == TREES, 0.68, np.where(ground == SHRUB, 0.82, 1.0))[None]
        green = np.clip(green, 0, 1) * np.where(ground == WATER, 0.3, 1)
        bands = dark * (green * leaf[:, None, None] + (1 - green) * back)
        haze = 60 * rng.normal() + 40 * _smooth(rng, 60)
        bands = gaussian_filter(bands * (1 + 0.06 * rng.normal(size=(6, 1, 1))), (0, 0.8, 0.8)) + haze
        dates.append(bands + rng.normal(size=bands.shape) * (80 + 0.06 * bands))
    base = np.array([0, -2100, -900, -1150, -1300, -1200, -500, -1350, 0, -1150, 0], np.float32)[ground]
    radar = [base - off + 250 * rng.normal(size=base.shape) + 90 * _smooth(rng, 5) for off in (0, 650)]
    return np.concatenate([*dates, np.stack(radar)]).astype(np.float32)


def _errors(rng: np.random.Generator, process: Process, shape: tuple[int, ...]) -> list[Field]:
    """Two fields per region: who is wrong, and what it is taken for."""

    def one() -> Field:
        sigmas = (3, 12, 60) if process.patch[1] else (0.3, 12, 60)
        found = sum(w * _smooth(rng, s) for w, s in zip(process.patch, sigmas, strict=True) if w)
        return np.asarray(found / np.std(found), np.float32)

    return [np.stack([one() for _ in range(shape[0])]) for _ in range(2)]


def _products(
    rng: np.random.Generator, process: Process, confusion: dict[int, dict[int, float]], truth: Map
) -> dict[str, list[tuple[str, Map]]]:
    """Families of maps, each map at its published accuracy."""
    shared = _errors(rng, process, truth.shape)
    rate = np.exp(process.regional * np.stack([_smooth(rng, 100) for _ in truth]))
    rate = rate * np.exp(process.regional * rng.normal(size=(len(truth), 1, 1)))
    made: dict[str, list[tuple[str, Map]]] = {}
    forms = {
        "worldcover": (process.years, 3, 0),
        "dynamicworld": (3, 5, process.shift // 2),
        "esri": (1, 7, process.shift),
    }
    for family, (maps, unit, shift) in forms.items():
        own, here = _errors(rng, process, truth.shape), rate.copy()
        if process.failing:
            here[rng.integers(len(truth))] *= 2
        ground = truth
        for number in range(maps):
            if family == "worldcover" and number:
                ground = _changed(rng, process, ground)
            a, b = process.shared, process.own
            fields = [
                ndtr(np.sqrt(a) * s + np.sqrt(b) * p + np.sqrt(1 - a - b) * e)
                for s, p, e in zip(shared, own, _errors(rng, process, truth.shape), strict=True)
            ]
            moved = (
                np.roll(_units(ground, unit), (shift, shift - number % 2), (1, 2)) if shift else _units(ground, unit)
            )
            known = _tuned(moved, fields, here, confusion, truth, PUBLISHED[family] - 0.015 * number)
            if family == "esri":
                known = np.where(known == SHRUB, GRASS, known)
            name = {"worldcover": f"WC{21 - number}", "dynamicworld": f"DW{number + 1}", "esri": "Esri"}[family]
            made.setdefault(family, []).append((name, known.astype(np.uint8)))
    return made


def _tuned(
    base: Map,
    fields: list[NDArray[np.floating]],
    rate: NDArray[np.floating],
    confusion: dict[int, dict[int, float]],
    truth: Map,
    wanted: float,
) -> Map:
    """Errors at the rate that brings the map to the wanted accuracy."""
    low, high = 0.0, 8.0
    part = (slice(None), slice(None, None, 2), slice(None, None, 2))
    some = [f[part] for f in fields]
    for _ in range(10):
        scale = (low + high) / 2
        found = _wrong(base[part], some, rate[part] * scale, confusion)
        low, high = (low, scale) if float((found == truth[part]).mean()) < wanted else (scale, high)
    return _wrong(base, fields, rate * scale, confusion)


def _wrong(
    base: Map, fields: list[NDArray[np.floating]], rate: NDArray[np.floating], confusion: dict[int, dict[int, float]]
) -> Map:
    rank, pick = fields
    out = base.copy()
    for code, shares in confusion.items():
        total = sum(shares.values())
        wrong = (base == code) & (rank < np.clip(total * rate, 0, 0.85))
        low = 0.0
        for other, share in shares.items():
            out[wrong & (pick >= low) & (pick <= low + share / total)] = other
            low += share / total
    return out


def _units(ground: Map, edge: int) -> Map:
    """The most frequent class of the neighbourhood: a coarse mapping unit."""
    best, out = np.full(ground.shape, -1, np.float32), np.zeros_like(ground)
    for code in np.unique(ground):
        share = uniform_filter((ground == code).astype(np.float32), (0, edge, edge), mode="nearest")
        out[share > best + 1e-6] = code
        best = np.maximum(best, share)
    return out


def _changed(rng: np.random.Generator, process: Process, ground: Map) -> Map:
    """The ground a year before: patches that were something else."""
    out = ground.copy()
    for number in range(len(ground)):
        patch = ndtr(_smooth(rng, 6)) < process.change
        for now, before in ((BUILT, CROPS), (CROPS, GRASS), (TREES, SHRUB), (GRASS, CROPS), (WATER, WETLAND)):
            out[number][patch & (ground[number] == now)] = before
    return out


def _volunteers(rng: np.random.Generator, process: Process, ground: NDArray[np.integer]) -> Map:
    """Native codes where somebody mapped: whole patches, right at nine in ten, residential areas with their gardens."""
    parcels = _parcels(rng, len(ground))
    coarse = _units(ground[None].astype(np.uint8), 5)[0]
    second = rng.random(parcels.max() + 1)[parcels] < 0.3
    codes = np.array([0, 1, 2, 4, 5, 7, 9, 12, 0, 13, 0], np.uint8)[coarse]
    codes = np.where(second & (codes == 2), 3, np.where(second & (codes == 5), 6, codes))
    codes = np.where(second & (codes == 7), 8, np.where(second & (codes == 9), 10, codes))
    town = uniform_filter((ground == BUILT).astype(np.float32), 15) > 0.3
    codes = np.where(town & np.isin(coarse, (BUILT, GRASS, TREES)), 11, codes)
    astray = rng.random(parcels.max() + 1)[parcels] < 0.08
    codes = np.where(astray & (codes > 0) & (codes != 11), rng.choice([2, 5, 7], parcels.max() + 1)[parcels], codes)
    return np.where(ndtr(_smooth(rng, 30)) < process.mapped, codes, 0).astype(np.uint8)


def _probability(rng: np.random.Generator, codes: Map, truth: Map) -> Field:
    """Top probability of a classifier: higher where it is right, with much overlap, as Dynamic World's is."""
    mean = np.where(codes == truth, 0.64, 0.55)
    rough = np.stack([_smooth(rng, 4, EDGE) for _ in codes])
    return np.asarray(np.clip(mean + 0.12 * rough, 0.2, 0.95), np.float32)
