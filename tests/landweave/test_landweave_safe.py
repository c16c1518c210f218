"""Forks, spawned processes, threads, ranks and workers, damage: the stream stays what it is."""

from __future__ import annotations

import itertools
import multiprocessing
import shutil
import threading
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import landweave
from landweave.order import Order


@pytest.fixture(scope="module")
def data(dataset_path: Path) -> landweave.Dataset:
    return landweave.open(dataset_path)


def ids_of(stream: landweave.Stream) -> list[str]:
    return [i for batch in stream for i in batch["id"]]


def total(data: landweave.Dataset) -> int:
    """Something that only right pixels add up to."""
    stream = data.stream(batch_size=5, shuffle=True, arrays=["sentinel2/bands_10m", "worldcover"])
    return sum(
        int(b["sentinel2/bands_10m"].astype(np.int64).sum()) + int(b["worldcover/classes"].sum()) for b in stream
    )


def put_total(data: landweave.Dataset, queue: multiprocessing.Queue) -> None:
    queue.put((total(data), [s.id for s in data][:2]))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_children_read_after_their_parent_has_read(data: landweave.Dataset, method: str) -> None:
    expected = total(data)
    data.samples([0, 1])  # its threads are running when the child is made
    running = iter(data.stream(batch_size=3))
    next(running)
    context = multiprocessing.get_context(method)
    queue = context.Queue()
    children = [context.Process(target=put_total, args=(data, queue)) for _ in range(2)]
    for child in children:
        child.start()
    found = [queue.get(timeout=120) for _ in children]
    for child in children:
        child.join(timeout=60)
    assert found == [(expected, data.query().ids[:2])] * 2
    assert sum(len(b["id"]) for b in running) == len(data) - 3


def test_threads_share_a_dataset(dataset_path: Path) -> None:
    data, found = landweave.open(dataset_path), []
    expected = total(landweave.open(dataset_path))
    threads = [threading.Thread(target=lambda: found.append(total(data))) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=120)
    assert found == [expected] * 6


@settings(deadline=None, max_examples=60)
@given(
    samples=st.integers(16, 150),
    batch=st.integers(2, 9),
    ranks=st.sampled_from((1, 2, 3, 8)),
    workers=st.integers(0, 3),
    stop=st.integers(0, 40),
    other=st.integers(0, 3),
)
def test_the_same_order_at_any_ranks_and_workers_interrupted_and_resumed(
    samples: int, batch: int, ranks: int, workers: int, stop: int, other: int
) -> None:
    """A rank's batches come from its workers in turn; resumed, they may be more or fewer workers."""
    order = Order(batch_size=batch, shuffle=True, seed=3, mix=2)
    sequence = np.asarray(order.sequence(np.arange(samples) // 5, 1))
    steps = len(order.batches(samples, 0, ranks))
    stop = min(stop, steps)

    def rank_batches(rank: int) -> list[list[int]]:
        slices = order.batches(samples, rank, ranks)
        met: dict[int, list[int]] = {}
        for start, last, count in ((0, stop, workers), (stop, steps, other)):
            by_worker = [
                [n for n in range(start, last) if (n - start) % max(1, count) == w] for w in range(max(1, count))
            ]
            turns = [n for turn in itertools.zip_longest(*by_worker) for n in turn if n is not None]
            assert turns == list(range(start, last))
            met |= {n: sequence[slices[n]].tolist() for n in turns}
        return [met[n] for n in range(steps)]

    parts = [rank_batches(rank) for rank in range(ranks)]
    merged = [i for step in zip(*parts, strict=True) for part in step for i in part]
    assert merged == sequence.tolist()
    assert sorted(merged) == list(range(samples))


@pytest.mark.slow
@pytest.mark.parametrize(("ranks", "workers", "then"), [(1, 0, 3), (2, 2, 1), (3, 1, 0), (8, 3, 2)])
def test_torch_loaders_of_all_ranks_interrupted_and_resumed(
    data: landweave.Dataset, ranks: int, workers: int, then: int
) -> None:
    torch = pytest.importorskip("torch")
    from landweave.torch import TorchStream

    def batches(rank: int, workers: int, position: int = 0) -> list[list[str]]:
        made = data.stream(batch_size=2, shuffle=True, seed=8, arrays=["dem"])
        stream = TorchStream(made, rank=rank, ranks=ranks)
        stream.load_state_dict({"epoch": 2, "position": position})
        loader = torch.utils.data.DataLoader(stream, batch_size=None, num_workers=workers)
        return [b["id"] for b in loader]

    alone = data.stream(batch_size=7, shuffle=True, seed=8, arrays=["dem"])
    alone.epoch = 2
    parts = []
    for rank in range(ranks):
        whole = batches(rank, workers)
        parts.append(whole[:1] + batches(rank, then, 1))
        assert parts[-1] == whole
    assert [i for step in zip(*parts, strict=True) for part in step for i in part] == ids_of(alone)


@pytest.fixture
def damaged(dataset_path: Path, tmp_path: Path) -> tuple[landweave.Dataset, str]:
    """A copy with a flipped byte in one sample's elevation; the sample's id."""
    copy = tmp_path / "damaged"
    shutil.copytree(dataset_path, copy)
    data = landweave.open(copy)
    array = data.arrays["dem/elevation"]
    shard, row = data.catalogue.seats(np.array([2]))[0].tolist()
    start, length = data._reader.index(array, shard)[row, 0].tolist()
    with (copy / array.object(shard)).open("r+b") as file:
        file.seek(start + length // 2)
        byte = file.read(1)
        file.seek(start + length // 2)
        file.write(bytes([byte[0] ^ 1]))
    return landweave.open(copy), data.sample(2).id


def test_a_damaged_sample_stops_the_stream_by_name(damaged: tuple[landweave.Dataset, str]) -> None:
    data, sample = damaged
    with pytest.raises(landweave.CorruptError, match=rf"sample {sample}: dem/elevation in shard 0: crc32c"):
        ids_of(data.stream(batch_size=4))
    with pytest.raises(landweave.CorruptError, match=sample):
        data.samples([1, 2])
    assert sample in ids_of(data.stream(batch_size=4, arrays=["sentinel2"])), "what is not read is not missed"


@pytest.mark.parametrize("batch_size", [4, 5])
def test_or_is_left_out_and_counted(damaged: tuple[landweave.Dataset, str], batch_size: int) -> None:
    data, sample = damaged
    stream = data.stream(batch_size=batch_size, on_error="skip")
    met = []
    for batch in stream:
        met += batch["id"]
        assert all(len(value) == len(batch["id"]) for name, value in batch.items() if name != "position")
        for i, sample_id in enumerate(batch["id"]):
            pixels = data.sample(sample_id).get("dem/elevation")
            np.testing.assert_array_equal(batch["dem/elevation"][i], np.nan if pixels is None else pixels)
    assert met == [i for i in data.query().ids if i != sample]
    assert [i for i, _ in stream.skipped] == [sample]
    assert "crc32c" in stream.skipped[0][1]
    assert len(list(stream)) == len(stream), "every rank keeps its number of batches"
    with pytest.raises(landweave.QueryError, match="on_error"):
        data.stream(batch_size=2, on_error="ignore")


def test_map_style_samples(data: landweave.Dataset) -> None:
    torch = pytest.importorskip("torch")
    from landweave.torch import TorchSamples

    samples = TorchSamples(data, data.query(split="train"), arrays=["sentinel2", "dem"])
    assert len(samples) == len(data.query(split="train"))
    np.testing.assert_array_equal(samples[0]["dem/elevation"].numpy(), data.sample(samples[0]["id"])["dem/elevation"])
    assert samples[0]["sentinel2/bands_10m"].dtype == torch.int32
    with pytest.raises(IndexError):
        samples[len(samples)]
    for collate in (TorchSamples.collate, None):
        loader = torch.utils.data.DataLoader(samples, batch_size=4, collate_fn=collate)
        batches = list(loader)
        assert [i for b in batches for i in b["id"]] == data.query(split="train").ids
        assert batches[0]["sentinel2/bands_10m"].shape[0] == 4


def test_workers_keep_uint16_where_that_is_asked_for(data: landweave.Dataset) -> None:
    torch = pytest.importorskip("torch")
    from landweave.torch import TorchStream

    def first(**kwargs: bool) -> dict:
        stream = TorchStream(data.stream(batch_size=22, arrays=["sentinel2/bands_10m"]), **kwargs)
        return next(iter(torch.utils.data.DataLoader(stream, batch_size=None, num_workers=1)))

    kept, wide = first(unsigned=True), first()
    assert kept["sentinel2/bands_10m"].dtype == torch.uint16
    place = kept["sentinel2/bands_10m"].data_ptr()
    shared = [line.split("-") for line in Path("/proc/self/maps").read_text().splitlines() if "memfd:landweave" in line]
    assert any(int(m[0], 16) <= place < int(m[1].split()[0], 16) for m in shared), "not copied on its way"
    assert torch.equal(kept["sentinel2/bands_10m"].to(torch.int32), wide["sentinel2/bands_10m"])
