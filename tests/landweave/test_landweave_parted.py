"""A catalogue in parts answers as one in a single file does; damage to any of its files is one line."""

from __future__ import annotations

import pickle
import random
import shutil
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import mlcroissant
import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

import landweave
from benchmarks.server import serve
from landweave.check import check
from landweave.documents import CROISSANT
from landweave.errors import CorruptError, QueryError, UnknownNameError
from landweave.layout import ROOT
from landweave.parted import PartedCatalogue
from landweave.parts import IDS, ROWS, id_hash, part_path
from pipelines.shards import parts
from pipelines.shards.addition import add
from tests.landweave.conftest import small_parts
from tests.shards.synthetic import planned

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def parted(parted_path: Path) -> landweave.Dataset:
    return landweave.open(parted_path)


@pytest.fixture(scope="module")
def whole(dataset_path: Path) -> landweave.Dataset:
    return landweave.open(dataset_path)


def test_it_is_layout_3_in_several_parts(parted: landweave.Dataset, parted_path: Path) -> None:
    assert isinstance(parted.catalogue, PartedCatalogue)
    assert '"layout": 3' in (parted_path / "landweave.json").read_text()
    paths = sorted((parted_path / "catalogue/items").iterdir())
    assert len(paths) > 2
    assert all(f"catalogue/items/{p.name}" in parted.manifest.objects for p in paths)
    groups = [pq.read_metadata(p) for p in paths]
    assert max(m.num_row_groups for m in groups) > 1
    assert {len(set(pq.read_table(p)["split"].to_pylist())) for p in paths} == {1}, "a part has one split"
    assert list(check(parted)) == []


@pytest.mark.slow
@given(picked=st.lists(st.integers(0, 21), max_size=40))
def test_all_columns_of_any_positions(whole: landweave.Dataset, parted: landweave.Dataset, picked: list[int]) -> None:
    ours, theirs, positions = parted.catalogue, whole.catalogue, np.array(picked, np.int64)
    assert ours.ids(positions) == theirs.ids(positions)
    assert ours.seats(positions).tolist() == theirs.seats(positions).tolist()
    assert ours.splits(positions) == theirs.splits(positions)
    assert ours.rows(None, positions).to_pylist() == theirs.rows(None, positions).to_pylist()
    for group in parted.spec.groups:
        assert ours.presence(group.name, positions).tolist() == theirs.presence(group.name, positions).tolist()
    np.testing.assert_array_equal(ours.days("sentinel2", positions), theirs.days("sentinel2", positions))
    for name in ("lat", "split", "worldcover_year", "row", "captions", "sentinel2_present", "datetime"):
        if len(positions):
            a, b = ours.column(name, positions), theirs.column(name, positions)
            assert type(a) is type(b)
            assert getattr(a, "dtype", None) == getattr(b, "dtype", None), name
            same(a, b)


def same(ours: Any, theirs: Any) -> None:
    """Equal, NaN where the other is NaN."""
    if isinstance(ours, np.ndarray):
        np.testing.assert_array_equal(ours, theirs)
    else:
        assert ours == theirs


def test_every_sample_by_id_and_by_number(whole: landweave.Dataset, parted: landweave.Dataset) -> None:
    for number, sample in enumerate(whole):
        mine = parted.sample(sample.id)
        assert mine.item == sample.item == parted.sample(number).item
        assert mine.present == sample.present
        for array in parted.arrays:
            same(mine.get(array), sample.get(array))
    names = [s.id for s in whole]
    some = [names[7], names[0], names[7], names[21]]
    assert parted.samples(some)["id"] == whole.samples(some)["id"] == some
    for unknown in ("nobody", "s000_00", "../x", "s000_000\n", ""):
        with pytest.raises(UnknownNameError, match="no sample"):
            parted.sample(unknown)
        with pytest.raises(UnknownNameError, match="no sample"):
            parted.samples([*some, unknown])


BOX = (15.0, 0.0, 15.05, 1.0)
QUERIES: list[dict[str, Any]] = [
    {},
    {"split": "train"},
    {"split": ["val", "test"]},
    {"where": "split == 'test'"},
    {"where": {"split": "val"}},
    {"where": "split != 'train'"},
    {"where": "split == 'train' and worldcover_trees > 0.3"},
    {"where": "split == 'train' or worldcover_trees > 0.3"},
    {"where": "worldcover_trees > 0.3", "split": "train"},
    {"bbox": BOX},
    {"bbox": (15.02, 0.0, 15.021, 1.0), "split": "train"},
    {"bbox": (170.0, -80.0, -170.0, 80.0)},
    {"bbox": (-180.0, -90.0, 180.0, 90.0)},
    {"time": ("2021-02-01", None)},
    {"time": (None, "2021-01-20")},
    {"time": ("2021-03-01", "2021-05-01"), "bbox": BOX},
    {"id": ["s000_001", "s004_002", "nobody"]},
    {"id": "s003_003"},
    {"where": "sentinel2_count == 2"},
    {"where": "worldcover_year is None"},
    {"where": '"split" == "val" and not "worldcover_trees" > 0.3'},
]


@pytest.mark.parametrize("asked", QUERIES, ids=str)
def test_the_same_samples_are_found(whole: landweave.Dataset, parted: landweave.Dataset, asked: dict[str, Any]) -> None:
    ours, theirs = parted.query(**asked), whole.query(**asked)
    assert ours.positions.tolist() == theirs.positions.tolist()
    assert ours.ids == theirs.ids
    assert ours.table.to_pylist() == theirs.table.to_pylist()
    assert (ours & parted.query(split="train")).ids == (theirs & whole.query(split="train")).ids


def test_a_box_and_a_split_open_no_other_part(parted_path: Path) -> None:
    data = landweave.open(parted_path)
    assert isinstance(data.catalogue, PartedCatalogue)
    data.query(split="test")
    held = [p.split for p in data.catalogue._root.parts]
    assert len(data.catalogue._open) <= 1, "the split alone needs the columns' names and no row"
    data.query("lat > -90", split="test", bbox=BOX)
    assert {held[n] for n in data.catalogue._open if n} <= {"test"}


@pytest.mark.parametrize("asked", [{"split": "trian"}, {"block": 7}, {"where": "nope == 1"}, {"id": ["nobody"]}])
def test_the_same_mistakes_are_refused(
    whole: landweave.Dataset, parted: landweave.Dataset, asked: dict[str, Any]
) -> None:
    with pytest.raises(QueryError) as theirs:
        whole.query(**asked)
    with pytest.raises(QueryError) as ours:
        parted.query(**asked)
    assert str(ours.value).split(";")[0].split(" (")[0] == str(theirs.value).split(";")[0].split(" (")[0]


@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize("split", [None, "train"])
def test_the_same_batches(
    whole: landweave.Dataset, parted: landweave.Dataset, shuffle: bool, split: str | None
) -> None:
    def batches(data: landweave.Dataset) -> list[dict[str, Any]]:
        chosen = None if split is None else data.query(split=split)
        stream = data.stream(chosen, batch_size=3, shuffle=shuffle, seed=4, mix=2, columns=["captions", "lat"])
        return [dict(batch) for _ in range(2) for batch in stream]

    for ours, theirs in zip(batches(parted), batches(whole), strict=True):
        assert ours.keys() == theirs.keys()
        for name in ours:
            same(ours[name], theirs[name])


def test_a_stream_resumes_and_its_state_fits_no_other_selection(parted: landweave.Dataset) -> None:
    stream = parted.stream(batch_size=4, shuffle=True, seed=1)
    met = iter(stream)
    next(met)
    state = stream.state_dict()
    rest = [batch["id"] for batch in met]
    again = parted.stream(batch_size=4, shuffle=True, seed=1)
    again.load_state_dict(state)
    assert [batch["id"] for batch in again] == rest
    other = parted.stream(parted.query(split="train"), batch_size=4, shuffle=True, seed=1)
    with pytest.raises(QueryError, match="saved with"):
        other.load_state_dict(state)


def test_weights_sql_classes_and_pickles(whole: landweave.Dataset, parted: landweave.Dataset) -> None:
    condition = "worldcover_trees > 0.2 and lat > 0"
    assert parted.sql(condition).ids == whole.sql(condition).ids
    np.testing.assert_array_equal(parted.classes("worldcover").weights(), whole.classes("worldcover").weights())
    drawn = [
        [b["id"] for b in d.stream(batch_size=4, shuffle=True, weights="worldcover_trees")] for d in (parted, whole)
    ]
    assert drawn[0] == drawn[1]
    copied = pickle.loads(pickle.dumps(parted))  # noqa: S301 - ours
    assert copied.query(split="val").ids == whole.query(split="val").ids


@pytest.mark.slow
def test_an_addition_keeps_the_parts(monkeypatch: pytest.MonkeyPatch, parted_path: Path, tmp_path: Path) -> None:
    small_parts(monkeypatch)
    out = tmp_path / "out"
    shutil.copytree(parted_path, out)
    more = planned((4, 4, 4, 4, 4, 3), sources=("enmap",), size_m=120.0, name="more").build(tmp_path / "more")
    assert add(out, str(more)).revision == 1
    data = landweave.open(out)
    assert isinstance(data.catalogue, PartedCatalogue)
    assert part_path(0, 1) in data.manifest.objects
    assert list(check(data)) == []
    before = landweave.open(parted_path)
    for sample in before:
        item = data.sample(sample.id).item
        assert {k: v for k, v in item.items() if k in sample.item and k not in CHANGED} == {
            k: v for k, v in sample.item.items() if k not in CHANGED
        }
        assert item["enmap_count"] is not None


CHANGED = {"assets", "licences", "attribution", "captions", "facts"}


def test_croissant_is_valid_and_gives_the_samples(parted_path: Path, parted: landweave.Dataset, tmp_path: Path) -> None:
    shutil.copytree(parted_path / "catalogue", tmp_path / "catalogue")
    shutil.copy(parted_path / CROISSANT, tmp_path)
    dataset = mlcroissant.Dataset(jsonld=tmp_path / CROISSANT)
    assert not dataset.metadata.ctx.issues.errors
    rows = list(dataset.records(record_set="samples"))
    assert sorted(row["samples/id"].decode() for row in rows) == sorted(parted.query().ids)


def _answers(place: Path | str) -> list[Any]:
    data = landweave.open(place)
    stream = data.stream(batch_size=5, shuffle=True, arrays=["dem"], columns=["captions"])
    return [
        data.query("worldcover_trees > 0.3", bbox=(-180, -90, 180, 90), split="train").ids,
        data.query(split="val").ids,
        [data.sample(i).item for i in ("s000_000", "s005_002")],
        [batch["captions"] for batch in stream],
        [batch["id"] for batch in data.stream(batch_size=5, arrays=["dem"])],
    ]


def test_over_http_it_answers_the_same(parted_path: Path) -> None:
    """Parts, records and row groups are asked for together there."""
    with serve(parted_path.parent) as server:
        url = f"{server.url('parted')}/{parted_path.name}"
        assert _answers(url) == _answers(parted_path)


@pytest.mark.slow
def test_any_damage_is_told_or_changes_nothing(parted_path: Path, tmp_path: Path) -> None:
    """A flipped byte, a cut and a missing file: an answer is right or a CorruptError, and `check` finds each."""
    right = _answers(parted_path)
    rng = random.Random(5)
    files = [ROOT, ROWS, IDS, part_path(0, 0), part_path(1, 0)]
    found = 0
    for number in range(60):
        path = files[number % len(files)]
        copy = tmp_path / f"{number}"
        shutil.copytree(parted_path, copy)
        raw = bytearray((copy / path).read_bytes())
        match number // len(files) % 4:
            case 0 | 1:
                raw[rng.randrange(len(raw))] ^= 1 << rng.randrange(8)
                (copy / path).write_bytes(raw)
            case 2:
                (copy / path).write_bytes(raw[: rng.randrange(len(raw))])
            case _:
                (copy / path).unlink()
        with suppress(CorruptError):
            assert _answers(copy) == right
            found -= 1
        found += 1
        assert list(check(landweave.open(copy)))
        shutil.rmtree(copy)
    assert found > 30


@given(st.lists(st.text("abcdef0123456789", min_size=1, max_size=8), unique=True, max_size=3000))
def test_ids_are_found_by_their_hashes(ids: list[str]) -> None:
    """Also where the hashes are spread in another way than expected."""
    from landweave.parted import _IdFile

    held = sorted((id_hash(i), n) for n, i in enumerate(ids))
    crowd = [(h >> 40, n) for h, n in held]  # all near zero
    for entries in (held, sorted(crowd)):
        store = _Store(entries)
        file = _IdFile(store, IDS, len(ids))  # type: ignore[arg-type]
        hashes = [h for h, _ in entries]
        for value, number in entries:
            if hashes.count(value) == 1:
                assert file.positions(value, []) == [number]
                assert file.positions(value, [file.read(*span) for span in file.spans([value])]) == [number]
        assert file.positions(2**64 - 1, []) == []


class _Store:
    def __init__(self, entries: list[tuple[int, int]]) -> None:
        made = np.array(entries, parts.ID_ENTRY) if entries else np.empty(0, parts.ID_ENTRY)
        self._raw = parts.sealed_blocks(made)

    def get_range(self, _path: str, start: int, length: int) -> bytes:
        return self._raw[start : start + length]
