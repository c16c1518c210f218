"""What a batch shows: bands, dates, windows, numbers, what is held back; against the samples' own pixels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import landweave
from landweave.view import View, chosen_slots, day_number, shown

if TYPE_CHECKING:
    from pathlib import Path

EVERYTHING = {
    "arrays": ["sentinel2", "landsat", "dem", "worldcover"],
    "crop_m": 60.0,
    "times": {"sentinel2": 1, "landsat": "last"},
    "missing": {"sentinel2": 0.4, "dem": 0.3},
    "normalise": "all",
    "noise": {"landsat": 0.5},
}


@pytest.fixture(scope="module")
def data(dataset_path: Path) -> landweave.Dataset:
    return landweave.open(dataset_path)


def test_any_samples_at_once(data: landweave.Dataset) -> None:
    batch = data.samples([5, data.sample(2).id, -1])
    assert batch["id"] == [data.sample(i).id for i in (5, 2, -1)]
    for name in data.arrays:
        for i, sample_id in enumerate(batch["id"]):
            pixels = data.sample(sample_id).get(name)
            if pixels is not None:
                np.testing.assert_array_equal(batch[name][i], pixels)
    with pytest.raises(landweave.UnknownNameError, match="no sample"):
        data.samples(["nobody"])


def test_bands_in_the_order_asked_and_no_array_without_them(data: landweave.Dataset) -> None:
    batch = data.samples(range(4), arrays=["sentinel2"], bands={"sentinel2": ["B08", "B02", "B11"]})
    assert "sentinel2/bands_60m" not in batch
    names = data.sample(0).bands("sentinel2/bands_10m")
    wanted = [names.index("B08"), names.index("B02")]
    assert batch["sentinel2/bands_10m"].shape[2] == 2
    assert batch["sentinel2/bands_20m"].shape[2] == 1
    for i in (0, 1, 3):
        np.testing.assert_array_equal(batch["sentinel2/bands_10m"][i], data.sample(i)["sentinel2/bands_10m"][:, wanted])
    with pytest.raises(landweave.UnknownNameError, match="no band 'B99'"):
        data.samples([0], bands={"sentinel2": ["B99"]})


@pytest.mark.parametrize("crop", ["random", "centre"])
def test_a_window_is_the_same_ground_in_every_array(data: landweave.Dataset, crop: str) -> None:
    batch = data.samples(range(len(data)), arrays=["sentinel2", "landsat", "dem"], crop_m=60.0, crop=crop)
    seen = set()
    for i, (right, down) in enumerate(batch["crop_m"]):
        seen.add((right, down))
        for name in ("sentinel2/bands_10m", "sentinel2/bands_60m", "landsat/bands_30m", "dem/valid"):
            pixels = data.sample(i).get(name)
            if pixels is not None:
                edge, metres = pixels.shape[-1], 120.0 / pixels.shape[-1]
                x, y, n = round(right / metres), round(down / metres), round(60.0 / metres)
                assert edge >= n
                np.testing.assert_array_equal(batch[name][i], pixels[..., y : y + n, x : x + n])
    assert len(seen) == (1 if crop == "centre" else 4)
    with pytest.raises(landweave.QueryError, match="multiple of 60 m"):
        data.samples([0], arrays=["sentinel2"], crop_m=50.0)


@pytest.mark.parametrize("rule", ["first", "last", "2021-07-01", 1, 2])
def test_dates(data: landweave.Dataset, rule: str | int) -> None:
    batch = data.samples(range(len(data)), arrays=["sentinel2"], times=rule)
    for i, slots in enumerate(batch["sentinel2/slot"]):
        there = [slot for slot, is_there in enumerate(data.sample(i).present["sentinel2"]) if is_there]
        found = [s for s in slots.tolist() if s >= 0]
        assert found == sorted(found)
        assert set(found) <= set(there)
        assert len(found) == min(len(there), rule if isinstance(rule, int) else 1)
        np.testing.assert_array_equal(batch["sentinel2/present"][i], slots >= 0)
        if rule == "first":
            assert found == there[:1]
        if rule in ("last", "2021-07-01"):  # the second date is of July
            assert found == there[-1:]
        for k, slot in enumerate(slots.tolist()):
            shown = batch["sentinel2/bands_10m"][i, k]
            np.testing.assert_array_equal(shown, data.sample(i)["sentinel2/bands_10m"][slot] if slot >= 0 else 0)


def test_normalised_by_the_train_split(data: landweave.Dataset) -> None:
    batch = data.samples(range(len(data)), arrays=["sentinel2/bands_10m", "sentinel1/backscatter"], normalise="all")
    for name in ("sentinel2/bands_10m", "sentinel1/backscatter"):
        mean, std = data.normalisation(name)
        assert batch[name].dtype == np.float32
        for i in (0, 3, 7):
            stored = data.sample(i)[name]
            empty = np.isnan(stored) if stored.dtype.kind == "f" else stored == 0
            for slot in np.flatnonzero(data.sample(i).present[name.split("/")[0]]):
                expected = (stored[slot] - mean[:, None, None]) / std[:, None, None]
                expected[empty[slot]] = 0
                np.testing.assert_allclose(batch[name][i, slot], expected, rtol=1e-4, atol=1e-4)


def test_missing_modalities(data: landweave.Dataset) -> None:
    arrays = ["sentinel2", "sentinel1", "dem", "worldcover"]
    never = data.samples(range(len(data)), arrays=arrays, missing={"sentinel2": 1.0})
    assert not never["sentinel2/present"].any()
    assert (never["sentinel2/bands_10m"] == 0).all()
    had = [any(data.sample(i).present["sentinel2"]) for i in range(len(data))]
    assert never["sentinel2/held_back"].tolist() == had
    odds = dict.fromkeys(("sentinel2", "sentinel1", "dem"), 0.7)
    some = data.samples(range(len(data)), arrays=arrays, missing=odds, seed=4)
    gone = np.stack([~some[f"{m}/present"].any(axis=1) for m in odds])
    assert 0 < sum(some[f"{m}/held_back"].sum() for m in odds) < gone.size
    drawn = np.stack([some[f"{m}/held_back"] for m in odds])
    obtained = np.stack([[any(data.sample(i).present[m]) for i in range(len(data))] for m in odds])
    assert not (drawn[:, obtained.all(axis=0)]).all(axis=0).any(), "one modality always stays"
    other = data.samples(range(len(data)), arrays=arrays, missing=odds, seed=5)
    assert any((some[f"{m}/held_back"] != other[f"{m}/held_back"]).any() for m in odds)
    np.testing.assert_array_equal(some["worldcover/present"], never["worldcover/present"])


def test_noise_needs_a_scale_and_has_it(data: landweave.Dataset) -> None:
    clean = data.samples(range(4), arrays=["sentinel2/bands_10m"], normalise="all")
    noisy = data.samples(range(4), arrays=["sentinel2/bands_10m"], normalise="all", noise={"sentinel2": 0.5})
    apart = (noisy["sentinel2/bands_10m"] - clean["sentinel2/bands_10m"])[clean["sentinel2/bands_10m"] != 0]
    assert apart.std() == pytest.approx(0.5, rel=0.05)
    with pytest.raises(landweave.QueryError, match="normalise"):
        data.samples([0], noise={"sentinel2": 0.5})


def test_what_is_drawn_depends_on_seed_epoch_and_sample_alone(data: landweave.Dataset) -> None:
    def by_id(batch_size: int, **share: int) -> dict[str, dict[str, np.ndarray]]:
        stream = data.stream(batch_size=batch_size, shuffle=True, seed=3, **EVERYTHING).share(**share)
        stream.epoch = 1
        return {
            sample: {k: np.array(v[i]) for k, v in batch.items() if k not in ("id", "position")}
            for batch in stream
            for i, sample in enumerate(batch["id"])
        }

    whole = by_id(7)
    parts = by_id(3, rank=0, ranks=2) | by_id(3, rank=1, ranks=2)
    assert whole.keys() == parts.keys()
    for sample, arrays in whole.items():
        for name, value in arrays.items():
            np.testing.assert_array_equal(parts[sample][name], value, err_msg=f"{sample} {name}")


def test_columns_come_along(data: landweave.Dataset) -> None:
    batch = data.samples([0, 3], arrays=["dem"], columns=["captions", "lon", "worldcover_trees", "split"])
    assert batch["captions"] == [[c.text for c in data.sample(i).captions] for i in (0, 3)]
    assert batch["lon"].tolist() == [data.sample(i).lonlat[0] for i in (0, 3)]
    assert batch["worldcover_trees"].dtype == np.float64
    assert batch["split"] == [data.sample(i).split for i in (0, 3)]
    with pytest.raises(landweave.QueryError, match="no column"):
        data.samples([0], columns=["captoins"])


def test_weights_say_how_often_a_sample_comes(data: landweave.Dataset) -> None:
    chosen = data.query(split="train")
    by_split = data.stream(batch_size=4, arrays=["dem"], weights={"split": {"train": 1.0, "val": 5.0}}, shuffle=True)
    met = [i for batch in by_split for i in batch["id"]]
    assert len(met) == len(data)
    counts = {i: met.count(i) for i in data.query().ids}
    assert all(counts[i] == 0 for i in data.query(split="test"))
    share = 5 * len(data) / (len(chosen) + 5 * len(data.query(split="val")))
    assert all(counts[i] in (int(share), int(share) + 1) for i in data.query(split="val"))
    assert [i for batch in by_split for i in batch["id"]] != met, "another epoch, another rounding and order"
    column = data.stream(chosen, batch_size=4, arrays=["dem"], weights="worldcover_trees")
    assert sum(len(b["id"]) for b in column) == len(chosen)
    for bad in ([1.0], "id", {"split": 3}, lambda table: np.zeros(len(table))):
        with pytest.raises(landweave.QueryError, match="weights"):
            data.stream(chosen, batch_size=4, weights=bad)


def test_bad_settings_are_named(data: landweave.Dataset) -> None:
    for settings, says in (
        ({"nonsense": 1}, "no setting"),
        ({"times": "someday"}, "times"),
        ({"times": 0}, "at least 1 date"),
        ({"missing": {"sentinel2": 1.5}}, "between 0 and 1"),
        ({"crop_m": 9999.0}, "at most"),
        ({"normalise": "some"}, "normalise"),
    ):
        with pytest.raises(landweave.QueryError, match=says):
            data.samples([0], **settings)
    with pytest.raises(landweave.UnknownNameError, match="missing: no modality 'modis'"):
        data.samples([0], missing={"modis": 0.5})


def test_a_batch_that_is_kept_is_not_written_to(data: landweave.Dataset) -> None:
    stream = data.stream(batch_size=4, shuffle=True, arrays=["sentinel2", "dem"])
    kept = [(batch["id"], batch["sentinel2/bands_10m"][1:]) for _ in range(3) for batch in stream]
    for ids, pixels in kept:
        for sample_id, given_out in zip(ids[1:], pixels, strict=True):
            stored = data.sample(sample_id).get("sentinel2/bands_10m")
            np.testing.assert_array_equal(given_out, 0 if stored is None else stored)


def test_memory_is_used_again() -> None:
    from landweave.buffers import Buffers

    buffers = Buffers()
    first = buffers.empty((100, 1000), "uint16")
    place, view = first.ctypes.data, first[3:4].T
    del first
    second = buffers.empty((100, 1000), "uint16")
    assert second.ctypes.data != place, "a view of the first is left"
    del view
    assert buffers.empty((100, 1000), "uint16").ctypes.data == place


def test_selection_is_a_geodataframe_and_a_set(data: landweave.Dataset) -> None:
    geopandas = pytest.importorskip("geopandas")
    train, trees = data.query(split="train"), data.query("worldcover_trees > 0.2")
    frame = train.to_geodataframe(["id", "lon", "lat"])
    assert isinstance(frame, geopandas.GeoDataFrame)
    assert frame.crs == "EPSG:4326"
    assert frame["id"].tolist() == train.ids
    centres = geopandas.GeoSeries(geopandas.points_from_xy(frame["lon"], frame["lat"]), crs="EPSG:4326")
    assert frame.geometry.contains(centres).all()
    assert "worldcover_trees" in train.to_geodataframe().columns
    assert set((train & trees).ids) == set(train.ids) & set(trees.ids)
    assert set((train | trees).ids) == set(train.ids) | set(trees.ids)
    assert set((train - trees).ids) == set(train.ids) - set(trees.ids)
    assert train.take([2, 0]).ids == [train.ids[2], train.ids[0]]
    assert train.take([2, 0]).table["id"].to_pylist() == train.take([2, 0]).ids


def test_sql(data: landweave.Dataset) -> None:
    pytest.importorskip("duckdb")
    asked = "split = 'train' and (worldcover_trees > 0.2 or list_contains(sentinel2_present, false))"
    expected = [
        s.id
        for s in data
        if s.split == "train" and ((s.item["worldcover_trees"] or 0) > 0.2 or not all(s.present["sentinel2"]))
    ]
    assert data.sql(asked).ids == expected
    for bad in ("nonsense = 3", "id = (select content from read_text('/etc/passwd'))"):
        with pytest.raises(landweave.QueryError):
            data.sql(bad)


@given(
    present=st.lists(st.lists(st.booleans(), min_size=3, max_size=3), min_size=1, max_size=4),
    rule=st.one_of(st.sampled_from(["all", "first", "last", "1970-01-03"]), st.integers(1, 5)),
    seed=st.integers(0, 99),
)
def test_chosen_slots_are_what_a_loop_chooses(present: list[list[bool]], rule: str | int, seed: int) -> None:
    """Also more dates than there are slots: -1 at the end."""
    rng = np.random.default_rng(seed)
    draws, there = rng.random((len(present), 3)), np.array(present)
    days = np.where(there, np.array([1.0, 2.9, 9.0]), np.nan)
    found = chosen_slots(rule, there, days, draws)
    for row, held in enumerate(present):
        mine = [i for i in range(3) if held[i]]
        if rule == "all":
            expected = [0, 1, 2]
        elif isinstance(rule, int):
            kept = sorted(sorted(mine, key=lambda i: draws[row, i])[:rule])
            expected = kept + [-1] * (rule - len(kept))
        else:
            costs = {"first": [0, 1, 2], "last": [2, 1, 0]}.get(rule, np.abs(days[row] - 2.5))
            expected = [min(mine, key=list(costs).__getitem__)] if mine else [-1]
        assert found[row].tolist() == expected


@pytest.mark.parametrize("metres", [60.0, 120.0])
def test_a_window_of_whole_pixels_fits_and_no_other(data: landweave.Dataset, metres: float) -> None:
    for crop in ("centre", "random"):
        batch = data.samples([0, 1], arrays=["sentinel2"], crop_m=metres, crop=crop)
        assert batch["sentinel2/bands_10m"].shape[-2:] == (metres / 10, metres / 10)
        assert batch["sentinel2/bands_60m"].shape[-2:] == (metres / 60, metres / 60)
    for wrong in (metres - 30, metres + 1e-6, 0.0, -60.0, 180.0, float("nan")):
        with pytest.raises(landweave.QueryError, match="crop_m must be"):
            data.samples([0], arrays=["sentinel2"], crop_m=wrong)


def test_days_of_a_text() -> None:
    assert day_number("1970-01-02") == 1.5, "noon of a day"
    assert day_number("1970-01-02T06:00:00") == 1.25
    assert day_number("1970-01-02T06:00:00+06:00") == 1.0


def test_bands_alone_leave_no_other_arrays(data: landweave.Dataset) -> None:
    names = [s.path for s in data.stream(batch_size=2, arrays=["sentinel2"], bands={"sentinel2": ["B01"]}).arrays]
    assert "sentinel2/bands_60m" in names
    assert "sentinel2/bands_10m" not in names


def test_a_band_without_spread_is_divided_by_one() -> None:
    from landweave.view import _figures

    mean, std = _figures(None, None, ([5.0, 6.0], [0.0, 2.0]))  # type: ignore[arg-type]
    assert std[:, 0, 0].tolist() == [1.0, 2.0]
    assert mean[:, 0, 0].tolist() == [5.0, 6.0]


def test_no_noise_is_a_noise_too(data: landweave.Dataset) -> None:
    how: dict[str, Any] = {"arrays": ["landsat"], "normalise": "all"}
    quiet = data.samples([0, 1], **how, noise={"landsat": 0.0})
    np.testing.assert_array_equal(quiet["landsat/bands_30m"], data.samples([0, 1], **how)["landsat/bands_30m"])
    with pytest.raises(landweave.QueryError, match="at least 0"):
        data.samples([0], **how, noise={"landsat": -0.1})


@pytest.mark.parametrize(
    ("settings", "plain"),
    [({}, True), ({"times": "first"}, True), ({"crop_m": 60.0}, False), ({"normalise": "all"}, False)],
)
def test_chips_that_stay_as_stored_are_decoded_into_their_place(
    data: landweave.Dataset, settings: dict[str, Any], *, plain: bool
) -> None:
    arrays = data.select_arrays(["sentinel2/bands_10m", "sentinel2/bands_20m"])
    assert [s.plain for s in shown(data.spec, arrays, View(**settings), data.normalisation)] == [plain] * 2


def test_bands_in_another_order_are_not_as_stored(data: landweave.Dataset) -> None:
    (array,) = data.select_arrays(["sentinel2/bands_10m"])
    names = tuple(band.name for band in array.bands)
    for bands, plain in ((names, True), (names[::-1], False), (names[:2], False)):
        (found,) = shown(data.spec, [array], View(bands={"sentinel2": bands}), data.normalisation)
        assert found.plain == plain
        assert found.shape[-3] == len(bands)
