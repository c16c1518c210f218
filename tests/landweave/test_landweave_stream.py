"""The order of a stream: each sample once, the same sequence however it is shared out, interrupted and resumed."""

from __future__ import annotations

import itertools
import pickle
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import landweave
from landweave.order import Order

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def data(dataset_path: Path) -> landweave.Dataset:
    return landweave.open(dataset_path)


@settings(deadline=None)
@given(
    samples=st.integers(1, 200),
    batch=st.integers(2, 9),
    ranks=st.integers(1, 8),
    shuffle=st.booleans(),
    epoch=st.integers(0, 3),
)
def test_every_sample_once_and_equal_batches(samples: int, batch: int, ranks: int, shuffle: bool, epoch: int) -> None:
    order = Order(batch_size=batch, shuffle=shuffle, seed=5, mix=3)
    sequence = order.sequence(np.arange(samples) // 7, epoch)
    assert sorted(sequence) == list(range(samples))
    if samples < ranks:
        with pytest.raises(landweave.QueryError, match="without a batch"):
            order.batches(samples, 0, ranks)
        return
    shares = [order.batches(samples, rank, ranks) for rank in range(ranks)]
    assert len({len(s) for s in shares}) == 1
    met = [i for step in zip(*shares, strict=True) for part in step for i in range(part.start, part.stop)]
    assert met == list(range(samples))
    assert all(1 <= part.stop - part.start <= batch for share in shares for part in share)


@settings(deadline=None)
@given(samples=st.integers(1, 100), batch=st.integers(1, 9), ranks=st.integers(1, 8))
def test_drop_and_repeat_give_full_batches(samples: int, batch: int, ranks: int) -> None:
    for remainder in ("drop", "repeat"):
        order = Order(batch_size=batch, remainder=remainder)
        parts = [p for rank in range(ranks) for p in order.batches(samples, rank, ranks)]
        assert all(p.stop - p.start == batch for p in parts)
        total = len(parts) * batch
        assert total % (batch * ranks) == 0
        assert (total <= samples) if remainder == "drop" else (samples <= total < samples + batch * ranks)


def test_shuffle_mixes_shards_and_stays_bounded() -> None:
    shards = np.arange(1000) // 10
    order = Order(batch_size=8, shuffle=True, seed=1, mix=4)
    sequence = order.sequence(shards, 0)
    window = 4 * 10
    for start in range(0, 1000, window):
        assert len(set(shards[sequence[start : start + window]])) == 4
    assert len(set(shards[sequence[:8]])) > 1
    assert not np.array_equal(sequence, order.sequence(shards, 1))
    np.testing.assert_array_equal(sequence, Order(batch_size=3, shuffle=True, seed=1, mix=4).sequence(shards, 0))


def test_batches_hold_the_pixels_of_their_samples(data: landweave.Dataset) -> None:
    chosen = data.query("split != 'test'")
    met = []
    for batch in data.stream(chosen, batch_size=4, shuffle=True, seed=3, arrays=["sentinel2", "worldcover"]):
        assert set(batch) == {
            "id", "position", "sentinel2/present", "worldcover/present", "worldcover/classes",
            *(f"sentinel2/{a}" for a in ("bands_10m", "bands_20m", "bands_60m", "scl", "valid", "cloud")),
        }  # fmt: skip
        for i, sample_id in enumerate(batch["id"]):
            sample = data.sample(sample_id)
            met.append(sample_id)
            for group in ("sentinel2", "worldcover"):
                assert tuple(batch[f"{group}/present"][i]) == sample.present[group]
            for name in batch.keys() - {"id", "position", "sentinel2/present", "worldcover/present"}:
                pixels = sample.get(name)
                if pixels is None:
                    assert (batch[name][i] == 0).all()
                else:
                    np.testing.assert_array_equal(batch[name][i], pixels)
    assert sorted(met) == sorted(chosen.ids)


@pytest.mark.parametrize(("ranks", "workers"), list(itertools.product((1, 2, 3), (1, 2, 3))))
def test_interrupted_anywhere_it_goes_on_in_the_same_order(data: landweave.Dataset, ranks: int, workers: int) -> None:
    def stream(rank: int, worker: int) -> landweave.Stream:
        made = data.stream(batch_size=12 // ranks // 2, shuffle=True, seed=9, arrays=["dem"])
        made.epoch = 2
        return made.share(rank=rank, ranks=ranks, worker=worker, workers=workers)

    def by_worker(rank: int, state: dict[str, int] | None = None) -> list[tuple[int, list[str]]]:
        """Batches of a rank as a DataLoader collects them: from its workers in turn."""
        lists = []
        for worker in range(workers):
            made = stream(rank, worker)
            if state is not None:
                made.load_state_dict(state)
            lists.append([(b["position"], b["id"]) for b in made])
        return [b for turn in itertools.zip_longest(*lists) for b in turn if b is not None]

    whole = [by_worker(rank) for rank in range(ranks)]
    sequence = [i for step in zip(*whole, strict=True) for _, ids in step for i in ids]
    alone = data.stream(batch_size=5, shuffle=True, seed=9, arrays=["dem"])
    alone.epoch = 2
    assert sequence == [i for b in alone for i in b["id"]]
    for rank, stop in itertools.product(range(ranks), range(len(whole[0]) + 1)):
        rest = by_worker(rank, {"epoch": 2, "position": stop, "ranks": ranks, "seed": 9})
        assert rest == whole[rank][stop:]


def test_state_dict_goes_on_within_and_across_epochs(data: landweave.Dataset) -> None:
    def ids(stream: landweave.Stream) -> list[str]:
        return [i for b in stream for i in b["id"]]

    first = data.stream(batch_size=5, shuffle=True, seed=2, arrays=["dem"])
    expected = [ids(first), ids(first)]
    assert expected[0] != expected[1]
    second = data.stream(batch_size=5, shuffle=True, seed=2, arrays=["dem"])
    running = iter(second)
    head = [i for _ in range(2) for i in next(running)["id"]]
    third = pickle.loads(pickle.dumps(data.stream(batch_size=5, shuffle=True, seed=2, arrays=["dem"])))  # noqa: S301
    third.load_state_dict(second.state_dict())
    assert head + ids(third) == expected[0]
    assert ids(third) == expected[1]
    with pytest.raises(landweave.QueryError, match="seed"):
        data.stream(batch_size=5, seed=3).load_state_dict(second.state_dict())


def test_workers_keep_their_own_state(data: landweave.Dataset) -> None:
    """As torchdata's StatefulDataLoader does: each worker saves and loads its own."""

    def stream(worker: int) -> landweave.Stream:
        return data.stream(batch_size=3, arrays=["dem"]).share(worker=worker, workers=2)

    for worker in range(2):
        made = stream(worker)
        whole = [b["position"] for b in stream(worker)]
        running = iter(made)
        next(running)
        resumed = stream(worker)
        resumed.load_state_dict(made.state_dict())
        assert [b["position"] for b in resumed] == whole[1:]


def test_bad_settings(data: landweave.Dataset) -> None:
    for bad in ({"batch_size": 0}, {"batch_size": 2, "mix": 0}, {"batch_size": 2, "seed": -1}):
        with pytest.raises(landweave.QueryError):
            data.stream(**bad)
    with pytest.raises(landweave.QueryError, match="rank 2"):
        data.stream(batch_size=2).share(rank=2, ranks=2)
    with pytest.raises(landweave.QueryError, match="worker 1"):
        data.stream(batch_size=2).share(worker=1, workers=1)
    with pytest.raises(landweave.QueryError, match="the selection is empty"):
        data.stream(data.query("lat > 80"), batch_size=2)
    with pytest.raises(landweave.QueryError, match="are too few for a batch of 50"):
        data.stream(batch_size=50, remainder="drop")


@pytest.mark.parametrize("workers", [0, 2])
def test_torch_dataloader(data: landweave.Dataset, workers: int) -> None:
    torch = pytest.importorskip("torch")
    from landweave.torch import TorchStream

    def loader(position: int = 0) -> list[dict]:
        stream = TorchStream(data.stream(batch_size=4, shuffle=True, seed=4, arrays=["sentinel2", "dem"]))
        assert len(stream) == 6
        stream.set_epoch(1)
        if position:
            stream.load_state_dict({"epoch": 1, "position": position})
        return list(torch.utils.data.DataLoader(stream, batch_size=None, num_workers=workers))

    batches = loader()
    plain = data.stream(batch_size=4, shuffle=True, seed=4, arrays=["sentinel2", "dem"])
    plain.epoch = 1
    for found, expected in zip(batches, plain, strict=True):
        assert found["id"] == expected["id"]
        assert found["sentinel2/bands_10m"].dtype == torch.int32
        assert found["sentinel2/present"].dtype == torch.bool
        np.testing.assert_array_equal(found["sentinel2/bands_10m"].numpy(), expected["sentinel2/bands_10m"])
        np.testing.assert_array_equal(found["dem/elevation"].numpy(), expected["dem/elevation"])
    assert [b["id"] for b in loader(3)] == [b["id"] for b in batches[3:]]


def test_shards_that_are_not_mixed_come_one_after_another(data: landweave.Dataset) -> None:
    where = {item["id"]: item["shard"] for item in data.catalogue.read().to_pylist()}
    stream = data.stream(batch_size=1, shuffle=True, seed=4, mix=1, arrays=["dem"])
    shards = [where[batch["id"][0]] for batch in stream]
    assert len([shard for shard, _ in itertools.groupby(shards)]) == len(set(where.values()))


@pytest.mark.parametrize("workers", [1, 3])
def test_a_position_is_the_number_of_batches_of_the_rank_so_far(data: landweave.Dataset, workers: int) -> None:
    met = []
    for worker in range(workers):
        stream = data.stream(batch_size=2, arrays=["dem"]).share(worker=worker, workers=workers)
        met += [batch["position"] for batch in stream]
    assert sorted(met) == list(range(1, len(data.stream(batch_size=2)) + 1))
    alone = data.stream(batch_size=2, arrays=["dem"])
    assert [b["position"] for b in alone.share()] == sorted(met), "without words, all of it"


@pytest.mark.parametrize(
    ("cores", "workers", "threads"), [(8, 1, 7), (8, 2, 3), (8, 8, 0), (1, 1, 1), (1, 4, 0), (3, 2, 0)]
)
def test_threads_leave_a_core_for_the_one_that_iterates(
    data: landweave.Dataset, cores: int, workers: int, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(cores)), raising=False)
    monkeypatch.setattr("os.process_cpu_count", lambda: cores, raising=False)
    stream = data.stream(batch_size=2)
    assert stream._threads(workers) == threads
    stream.threads = 5
    assert stream._threads(workers) == 5


@pytest.mark.parametrize("prefetch", [0, 1, 4])
@pytest.mark.parametrize("threads", [None, 0, 3])
def test_reading_ahead_changes_no_batch(data: landweave.Dataset, prefetch: int, threads: int | None) -> None:
    def ids(**settings: int | None) -> list[list[str]]:
        stream = data.stream(batch_size=3, shuffle=True, seed=1, arrays=["dem"])
        for name, value in settings.items():
            setattr(stream, name, value)
        return [batch["id"] for batch in stream]

    assert ids(prefetch=prefetch, threads=threads) == ids()


def test_one_sample_fills_a_batch_where_samples_are_repeated(data: landweave.Dataset) -> None:
    one = data.query(id=data.query().ids[3])
    (batch,) = data.stream(one, batch_size=3, remainder="repeat", arrays=["dem"])
    assert batch["id"] == one.ids * 3
