"""Batches that workers hand over: the same pixels, never overwritten while somebody has them, memory used again."""

from __future__ import annotations

import gc
import pickle
import subprocess
import sys
from multiprocessing.reduction import ForkingPickler
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import landweave
from landweave import handover
from landweave.handover import SharedBuffers

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.skipif(not handover.possible(), reason="this system has no files in memory (memfd)")
WANTED = [((4, 2, 30, 30), "uint16"), ((4, 3), "bool"), ((4, 1, 5, 5), "float32")]


@pytest.fixture(scope="module")
def data(dataset_path: Path) -> landweave.Dataset:
    return landweave.open(dataset_path)


def filled(buffers: SharedBuffers, value: int, wanted: list[Any] = WANTED) -> dict[str, Any]:
    batch: dict[str, Any] = {str(n): array for n, array in enumerate(buffers.arrays(wanted))}
    for array in batch.values():
        array[...] = value
    return {**batch, "id": [str(value)], "present": np.full((4, 2), value % 2 == 0)}


def as_it_is(value: Any) -> Any:
    return value


def sent(buffers: SharedBuffers, batch: dict[str, Any]) -> dict[str, Any]:
    """As it arrives where it is sent to."""
    handed = buffers.hand_over(batch, as_it_is)
    assert handed is not None
    arrived: dict[str, Any] = pickle.loads(ForkingPickler.dumps(handed))  # noqa: S301 - our own
    return arrived


def test_what_arrives_is_what_was_sent_and_its_memory_comes_back() -> None:
    buffers = SharedBuffers()
    batch = filled(buffers, 7)
    place = batch["0"].ctypes.data
    arrived = sent(buffers, batch)
    assert list(arrived) == list(batch)
    for (shape, dtype), name in zip(WANTED, "012", strict=True):
        assert (arrived[name].shape, arrived[name].dtype) == (shape, np.dtype(dtype))
        assert (arrived[name] == np.array(7).astype(dtype)).all()
    assert arrived["id"] == ["7"]
    assert not arrived["present"].any()
    del batch
    view = arrived["0"][2:, 1].T
    del arrived
    other = filled(buffers, 8)
    assert other["0"].ctypes.data != place, "a view of the first is left where it was sent"
    assert (view == 7).all()
    del view
    assert filled(buffers, 9)["0"].ctypes.data == place


def test_a_batch_that_was_not_sent_gives_its_memory_back() -> None:
    buffers = SharedBuffers()
    batch = filled(buffers, 1)
    place = batch["0"].ctypes.data
    part = batch["0"][1:]
    del batch
    assert buffers.arrays(WANTED)[0].ctypes.data != place, "a part of it is in use"
    del part
    assert buffers.arrays(WANTED)[0].ctypes.data == place
    shorter = [((3, *shape[1:]), dtype) for shape, dtype in WANTED]
    assert buffers.arrays(shorter)[0].ctypes.data == place, "the last batch of an epoch fits"


def test_copies_are_not_handed_over() -> None:
    buffers = SharedBuffers()
    batch = filled(buffers, 1)
    assert buffers.hand_over({name: v[:2].copy() for name, v in batch.items() if name in "012"}, as_it_is) is None


def test_a_worker_keeps_few_files_for_who_keeps_many_batches() -> None:
    buffers, count = SharedBuffers(), 3 * handover._KEPT
    before = len(list(Path("/proc/self/fd").iterdir()))
    kept = [sent(buffers, filled(buffers, value)) for value in range(count)]
    received = 0 if sys.version_info >= (3, 13) else count
    assert len(list(Path("/proc/self/fd").iterdir())) - before - received < 2 * handover._KEPT + 8
    for value, batch in enumerate(kept):
        assert (batch["0"] == value).all()


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["send", "waste", "forget", "keep a view"]), st.integers(0, 5)), max_size=40))
def test_nothing_that_is_held_changes(steps: list[tuple[str, int]]) -> None:
    buffers = SharedBuffers()
    held: list[tuple[int, Any]] = []
    for value, (step, which) in enumerate(steps):
        if step == "send":
            held.append((value, sent(buffers, filled(buffers, value))["0"]))
        elif step == "waste":
            filled(buffers, value)
        elif held and step == "forget":
            held.pop(which % len(held))
        elif held:
            of, pixels = held[which % len(held)]
            held[which % len(held)] = (of, pixels[::2])
        assert all((pixels == of).all() for of, pixels in held)


def loaded(data: landweave.Dataset, workers: int, epochs: int, **more: Any) -> Iterator[dict[str, Any]]:
    torch = pytest.importorskip("torch")
    from landweave.torch import TorchStream

    stream = data.stream(batch_size=4, shuffle=True, arrays=["sentinel2", "worldcover"], columns=["lon"])
    loader = torch.utils.data.DataLoader(
        TorchStream(stream), batch_size=None, num_workers=workers, persistent_workers=workers > 0, **more
    )
    for _ in range(epochs):
        yield from loader


@pytest.mark.slow
@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_batches_of_workers_are_those_without(data: landweave.Dataset, method: str) -> None:
    torch = pytest.importorskip("torch")
    expected = list(loaded(data, 0, 4))
    assert len(expected) >= 8
    kept = []
    for batch, right in zip(loaded(data, 2, 4, multiprocessing_context=method), expected, strict=True):
        assert list(batch) == list(right)
        for name, value in right.items():
            if isinstance(value, torch.Tensor):
                assert batch[name].dtype == value.dtype
                assert torch.equal(batch[name], value), name
            else:
                assert batch[name] == value
        kept.append(batch["sentinel2/bands_10m"][1:])
    for pixels, right in zip(kept, expected, strict=True):
        assert torch.equal(pixels, right["sentinel2/bands_10m"][1:]), "held since it came"


@pytest.mark.slow
@pytest.mark.parametrize("whole", [True, False])
def test_samples_by_number_of_workers_are_those_without(data: landweave.Dataset, *, whole: bool) -> None:
    torch = pytest.importorskip("torch")
    from landweave.torch import TorchSamples

    samples = TorchSamples(data, arrays=["sentinel2", "dem"])

    def batches(workers: int) -> list[dict[str, Any]]:
        loader = torch.utils.data.DataLoader(
            samples, batch_size=4, collate_fn=TorchSamples.collate if whole else None, num_workers=workers
        )
        return [b for _ in range(2) for b in loader]

    for batch, right in zip(batches(2), batches(0), strict=True):
        assert batch["id"] == right["id"]
        assert batch["sentinel2/bands_10m"].dtype == torch.int32
        for name in ("sentinel2/bands_10m", "sentinel2/valid", "dem/elevation", "dem/present"):
            np.testing.assert_array_equal(batch[name].numpy(), right[name].numpy())


@pytest.mark.slow
def test_epochs_broken_off_again_and_again_leave_nothing_behind(data: landweave.Dataset) -> None:
    torch = pytest.importorskip("torch")
    from landweave.torch import TorchStream

    def seen() -> tuple[int, int]:
        maps = Path("/proc/self/maps").read_text().count("memfd:landweave")
        return maps, len(list(Path("/proc/self/fd").iterdir()))

    for _ in data.stream(batch_size=2, arrays=["sentinel2"]):
        pass  # the dataset's own files are open from here on
    maps, files = seen()
    stream = TorchStream(data.stream(batch_size=2, arrays=["sentinel2"], shuffle=True))
    loader = torch.utils.data.DataLoader(stream, batch_size=None, num_workers=2, persistent_workers=True)
    batch: dict[str, Any] = {}
    for _ in range(20):
        batch = next(iter(loader))
    assert batch["sentinel2/bands_10m"].shape[0] == 2
    workers = [worker.pid for worker in loader._iterator._workers]
    assert all(len(list(Path(f"/proc/{pid}/fd").iterdir())) < files + 4 * handover._KEPT for pid in workers)
    del loader, batch
    gc.collect()
    assert seen()[0] == maps
    assert seen()[1] <= files + 4


KILLED = """
import os, signal, sys, time
import torch, landweave
from landweave.torch import TorchStream
stream = TorchStream(landweave.open(sys.argv[1]).stream(batch_size=2, arrays=["sentinel2/bands_10m"]))
expected = next(iter(torch.utils.data.DataLoader(stream, batch_size=None)))["sentinel2/bands_10m"]
stream.set_epoch(0)
running = iter(torch.utils.data.DataLoader(stream, batch_size=None, num_workers=1))
pixels = next(running)["sentinel2/bands_10m"]
try:
    os.kill(running._workers[0].pid, signal.SIGKILL)
    time.sleep(100)
except RuntimeError as error:  # torch raises wherever the process happens to be
    print("killed" in str(error), torch.equal(pixels, expected), flush=True)
os._exit(0)
"""


@pytest.mark.slow
def test_a_batch_outlives_its_worker(dataset_path: Path) -> None:
    pytest.importorskip("torch")
    command = [sys.executable, "-c", KILLED, str(dataset_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.stdout.split() == ["True", "True"], done.stderr
