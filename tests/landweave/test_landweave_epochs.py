"""The count of epochs that a stream and the workers of its loaders share: no pass is torn, none is left out."""

from __future__ import annotations

import copy
import multiprocessing
import os
import pickle
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import landweave
from landweave.epochs import SharedEpochs, Turn, Worker

if TYPE_CHECKING:
    from multiprocessing.queues import SimpleQueue
    from pathlib import Path


@pytest.fixture(scope="module")
def data(dataset_path: Path) -> landweave.Dataset:
    return landweave.open(dataset_path)


def ids(batches: Any) -> list[str]:
    return [i for batch in batches for i in batch["id"]]


@settings(deadline=None)
@given(
    passes=st.lists(st.tuples(st.integers(1, 3), st.integers(0, 1)), min_size=1, max_size=8),
    draw=st.randoms(use_true_random=False),
)
def test_workers_of_a_pass_run_one_epoch_in_whatever_order_they_come(passes: list[tuple[int, int]], draw: Any) -> None:
    """Some passes draw the same seed as the one before: they are told apart by their processes."""
    epochs, number, seed = SharedEpochs(), 1, 0
    for expected, (workers, same_seed) in enumerate(passes):
        seed += 1 - same_seed
        order = list(range(workers))
        draw.shuffle(order)
        # a worker that is stopped before it begins leaves its fellows and the next pass as they are
        coming = order[: draw.randint(1, workers)]
        turns = {epochs.take(Worker(seed, number, workers, 0)) for _ in coming}
        assert turns == {Turn(expected)}
        number += workers
    assert epochs.coming == Turn(len(passes))


def test_what_is_set_counts_for_passes_that_are_started_afterwards() -> None:
    epochs = SharedEpochs()
    late = copy.copy(epochs.__dict__)
    epochs.set(Turn(7, 2, 3))
    early = SharedEpochs.__new__(SharedEpochs)
    early.__dict__.update({**late, "_file": os.dup(epochs._file)})
    assert early.take(Worker(1, 1, 1, 0)) == Turn(0), "its process was started before"
    assert early.take(Worker(1, 1, 1, 1)) == Turn(7, 2, 3), "a persistent worker that begins again"
    assert epochs.take() == Turn(8)


def _rank(epochs: SharedEpochs, queue: SimpleQueue[Any], count: int) -> None:
    queue.put([epochs.take().epoch for _ in range(count)])


@pytest.mark.parametrize("method", ["fork", pytest.param("spawn", marks=pytest.mark.slow)])
def test_processes_that_iterate_by_themselves_count_by_themselves(method: str) -> None:
    """As ranks do that are started from one program."""
    context = multiprocessing.get_context(method)
    epochs, queue = SharedEpochs(), context.SimpleQueue()
    epochs.take()
    ranks = [context.Process(target=_rank, args=(epochs, queue, 3)) for _ in range(2)]
    for rank in ranks:
        rank.start()
    assert [queue.get() for _ in ranks] == [[1, 2, 3]] * 2
    for rank in ranks:
        rank.join()
    assert epochs.coming == Turn(1)


def test_a_copy_counts_by_itself() -> None:
    epochs = SharedEpochs(Turn(3))
    for copied in (copy.deepcopy(epochs), pickle.loads(pickle.dumps(epochs))):  # noqa: S301 - our own
        assert copied.take() == Turn(3)
    assert epochs.coming == Turn(3)


def test_an_iterator_is_an_epoch(data: landweave.Dataset) -> None:
    def stream() -> landweave.Stream:
        return data.stream(batch_size=5, shuffle=True, seed=2, arrays=["dem"])

    whole = stream()
    orders = [ids(whole) for _ in range(6)]
    assert len({tuple(order) for order in orders}) == 6
    made = stream()
    for expected in orders[:2]:
        running = iter(made)
        assert ids(next(running) for _ in range(len(made))) == expected, "exactly as many as there are"
    next(iter(made))
    assert made.epoch == 3
    assert [ids(b) for b in zip(*zip(made, made, strict=True), strict=True)] == orders[3:5]
    assert sum(1 for _ in made for _ in made) == len(made) ** 2
    made.set_epoch(5)
    assert ids(made) == orders[5]
    made.load_state_dict({"epoch": 4, "position": 2})
    made.set_epoch(4)
    assert ids(made) == orders[4][10:], "a framework that says the epoch leaves the place in it"
    made.load_state_dict({"epoch": 4, "position": 2})
    made.set_epoch(3)
    assert ids(made) == orders[3]


def test_a_state_is_of_the_iterator_that_began_last(data: landweave.Dataset) -> None:
    made = data.stream(batch_size=5, shuffle=True, seed=2, arrays=["dem"])
    assert (made.state_dict()["epoch"], made.state_dict()["next"]) == (0, 0)
    outer = iter(made)
    next(outer)
    inner = iter(made)
    assert (made.state_dict()["epoch"], made.state_dict()["next"]) == (0, 1), "not begun yet"
    next(inner)
    next(inner)
    next(outer)
    assert (made.state_dict()["epoch"], made.state_dict()["next"]) == (1, 2)
    again = data.stream(batch_size=5, shuffle=True, seed=2, arrays=["dem"])
    again.load_state_dict(made.state_dict())
    assert ids(again) == ids(inner)
    last = data.stream(batch_size=5, shuffle=True, seed=2, arrays=["dem"])
    first = ids(last)
    resumed = data.stream(batch_size=5, shuffle=True, seed=2, arrays=["dem"])
    resumed.load_state_dict(last.state_dict())
    rest = ids(resumed)
    assert sorted(rest) == sorted(first), "after the last batch of an epoch the next one begins"
    assert rest != first


OTHERS = [
    {"seed": 3},
    {"batch_size": 4},
    {"shuffle": False},
    {"mix": 2},
    {"remainder": "drop"},
    {"weights": "lon"},
]


@pytest.mark.parametrize("other", OTHERS, ids=lambda other: next(iter(other)))
def test_a_state_of_another_order_is_refused(data: landweave.Dataset, other: dict[str, Any]) -> None:
    settings = {"batch_size": 5, "shuffle": True, "seed": 2, "arrays": ["dem"]}
    state = data.stream(**settings).state_dict()
    data.stream(**settings).load_state_dict(state)
    with pytest.raises(landweave.QueryError, match=f"saved with {next(iter(other))} "):
        data.stream(**{**settings, **other}).load_state_dict(state)


def test_a_state_of_other_samples_or_ranks_is_refused(data: landweave.Dataset) -> None:
    def stream(selection: landweave.Selection | None = None) -> landweave.Stream:
        return data.stream(selection, batch_size=2, arrays=["dem"])

    state, train = stream().state_dict(), data.query(split="train")
    with pytest.raises(landweave.QueryError, match="saved with samples 22, but this stream has 15"):
        stream(train).load_state_dict(state)
    with pytest.raises(landweave.QueryError, match="saved with selection"):
        stream(data.query().take(slice(None, None, -1))).load_state_dict(state)
    with pytest.raises(landweave.QueryError, match="saved with ranks 1, but this stream has 2"):
        stream().share(rank=0, ranks=2).load_state_dict(state)
    with pytest.raises(landweave.QueryError, match="saved with weights"):
        data.stream(batch_size=2, weights="lat").load_state_dict(data.stream(batch_size=2, weights="lon").state_dict())


@settings(deadline=None, max_examples=60)
@given(
    dropped=st.sets(st.integers(0, 12), min_size=1, max_size=3),
    value=st.one_of(st.none(), st.booleans(), st.floats(), st.text(max_size=3), st.integers(max_value=-1)),
    where=st.sampled_from(["epoch", "start", "next"]),
)
def test_a_partial_state_and_garbage_are_one_line(
    data: landweave.Dataset, dropped: set[int], value: Any, where: str
) -> None:
    stream = data.stream(batch_size=5, arrays=["dem"])
    state = stream.state_dict()
    partial = {name: v for n, (name, v) in enumerate(state.items()) if n not in dropped}
    for bad in (partial, {**state, where: value}, value, [state], {"_snapshot": state}):
        with pytest.raises(landweave.QueryError) as error:
            stream.load_state_dict(bad)
        assert "\n" not in str(error.value)
    with pytest.raises(landweave.QueryError, match="batch 6 of an epoch of 5 batches"):
        stream.load_state_dict({"epoch": 0, "position": 6})
    assert stream.state_dict() == state, "what is refused changes nothing"


def test_what_is_drawn_for_samples_by_number_follows_the_epoch_in_workers(data: landweave.Dataset) -> None:
    torch = pytest.importorskip("torch")
    from landweave.torch import TorchSamples

    samples = TorchSamples(data, arrays=["dem"], crop_m=60.0)
    loader = torch.utils.data.DataLoader(
        samples, batch_size=11, num_workers=1, persistent_workers=True, collate_fn=TorchSamples.collate
    )
    found = []
    for epoch in (0, 4, 0):
        samples.set_epoch(epoch)
        found.append(torch.cat([batch["crop_m"] for batch in loader]))
        assert torch.equal(
            found[-1], torch.cat([samples.__getitems__(range(a, a + 11)).whole["crop_m"] for a in (0, 11)])
        )
    assert torch.equal(found[0], found[2])
    assert not torch.equal(found[0], found[1])
