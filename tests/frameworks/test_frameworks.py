"""A training in each real framework sees each sample once an epoch, in a new order every epoch, also when resumed."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch
from torchdata.stateful_dataloader import StatefulDataLoader

import landweave
from landweave.torch import TorchSamples, TorchStream, whole
from tests.frameworks import trainings
from tests.frameworks.trainings import QUIET, Model, lightning_module, loader

if TYPE_CHECKING:
    from collections.abc import Iterator

CHECKOUT = Path(__file__).parents[2]
WORKERS = [(0, {}), (1, {}), (2, {}), (2, {"persistent_workers": True})]
SLOW_WORKERS = [
    pytest.param(workers, {"multiprocessing_context": method, "persistent_workers": persistent}, marks=pytest.mark.slow)
    for workers, method, persistent in ((2, "spawn", False), (1, "spawn", True), (2, "forkserver", False))
]
pytestmark = pytest.mark.filterwarnings("ignore")


def flat(batches: list[list[str]]) -> list[str]:
    return [i for ids in batches for i in ids]


def epoch_of(batches: Any) -> list[str]:
    return [i for batch in batches for i in batch["id"]]


# torch's own loader


@pytest.mark.slow
@pytest.mark.parametrize(("workers", "more"), [*WORKERS, *SLOW_WORKERS])
def test_torch(place: Path, orders: list[list[str]], workers: int, more: dict[str, Any]) -> None:
    made = loader(place, workers, **more)
    assert [epoch_of(made) for _ in range(2)] == orders[:2]
    made.dataset.set_epoch(5)
    assert epoch_of(made) == orders[5]
    made.dataset.load_state_dict({"epoch": 1, "position": 1})
    assert epoch_of(made) == orders[1][4:]
    assert epoch_of(made) == orders[2], "only the next iterator begins elsewhere"


@pytest.mark.slow
@pytest.mark.parametrize(("workers", "more"), WORKERS)
def test_torch_passes_that_are_not_run_to_their_end(
    place: Path, orders: list[list[str]], workers: int, more: dict[str, Any]
) -> None:
    made = loader(place, workers, **more)
    assert [epoch_of(itertools.islice(made, len(made))) for _ in range(3)] == orders[:3]
    next(iter(made))
    for _ in made:
        break
    assert epoch_of(made) == orders[5]


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 2])
def test_torch_iterators_side_by_side(place: Path, orders: list[list[str]], workers: int) -> None:
    made = loader(place, workers)
    pairs = list(zip(made, made, strict=True))
    found = [epoch_of(batches) for batches in zip(*pairs, strict=True)]
    assert sorted(found) == sorted(orders[:2])
    assert sum(1 for _ in made for _ in made) == len(made) ** 2


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 2])
def test_torch_wrappers_of_a_stream(place: Path, orders: list[list[str]], workers: int) -> None:
    class Mapped(torch.utils.data.IterableDataset):
        def __init__(self, inner: TorchStream) -> None:
            self.inner = inner

        def __iter__(self) -> Iterator[Any]:
            for batch in self.inner:
                yield {"id": batch["id"], "twice": batch["dem/elevation"] * 2}

    made = torch.utils.data.DataLoader(Mapped(loader(place).dataset), batch_size=None, num_workers=workers)
    assert [epoch_of(made) for _ in range(2)] == orders[:2]
    chained = torch.utils.data.ChainDataset([loader(place).dataset, loader(place).dataset])
    twice = torch.utils.data.DataLoader(chained, batch_size=None, num_workers=workers)
    assert [Counter(epoch_of(twice)) for _ in range(2)] == [Counter(orders[0] * 2)] * 2
    taken = loader(place, workers, collate_fn=lambda batch: batch["id"])
    assert [flat(list(taken)) for _ in range(2)] == orders[:2]


def test_torch_with_a_batch_size_of_its_own(place: Path, orders: list[list[str]]) -> None:
    stream = loader(place).dataset
    assert epoch_of(torch.utils.data.DataLoader(stream)) == orders[0], "one whole batch is itself"
    with pytest.raises(landweave.QueryError, match=r"use DataLoader\(..., batch_size=None\)"):
        next(iter(torch.utils.data.DataLoader(stream, batch_size=3)))


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 2])
def test_torch_wrappers_of_samples(place: Path, workers: int) -> None:
    data = landweave.open(place)
    parts = [TorchSamples(data, data.query(split=split), arrays=["dem"]) for split in ("train", "val")]

    class Own(torch.utils.data.Dataset):
        def __len__(self) -> int:
            return len(parts[0])

        def __getitem__(self, number: int) -> Any:
            return parts[0][number]

    both = torch.utils.data.ConcatDataset(parts)
    train, val = parts[0]._dataset.query(split="train").ids, data.query(split="val").ids
    halves = torch.utils.data.random_split(parts[0], [0.5, 0.5])
    for wrapped, ids in (
        (both, train + val),
        (Own(), train),
        (torch.utils.data.Subset(parts[0], [3, 1]), [train[3], train[1]]),
        (torch.utils.data.Subset(both, [0, 16]), [train[0], val[1]]),
        (torch.utils.data.ConcatDataset(halves), None),
    ):
        made = torch.utils.data.DataLoader(wrapped, batch_size=4, collate_fn=TorchSamples.collate, num_workers=workers)
        batches = list(made)
        assert epoch_of(batches) == ids or (ids is None and sorted(epoch_of(batches)) == sorted(train))
        for batch in batches:
            assert batch["dem/elevation"].shape[0] == len(batch["id"])
            for number, sample in enumerate(batch["id"]):
                pixels = data.sample(sample).get("dem/elevation")
                if pixels is not None:
                    assert torch.equal(batch["dem/elevation"][number].nan_to_num(), torch.tensor(pixels).nan_to_num())


# torchdata


@pytest.mark.slow
@pytest.mark.parametrize(("workers", "more"), WORKERS)
def test_torchdata(place: Path, orders: list[list[str]], workers: int, more: dict[str, Any]) -> None:
    """Interrupted after every batch, also the last, of the second epoch: as if nothing had happened."""
    made = loader(place, workers, StatefulDataLoader, **more)
    assert epoch_of(made) == orders[0]
    states, met, running = [], [], iter(made)
    for batch in running:
        met.append(batch["id"])
        states.append(made.state_dict())
    states.append(made.state_dict())
    assert flat(met) == orders[1]
    for came, state in zip([1, 2, 3, 4, 4], states, strict=True):
        resumed = loader(place, workers, StatefulDataLoader, **more)
        resumed.load_state_dict(json.loads(json.dumps(state)) if not workers else state)
        rest = flat(met[came:])
        expected = [rest, orders[2]] if rest else [orders[2], orders[3]]
        assert [epoch_of(resumed) for _ in range(2)] == expected, f"after {came} batches"


# Lightning


@pytest.mark.slow
@pytest.mark.parametrize(("workers", "more"), [WORKERS[0], WORKERS[2], WORKERS[3]])
@pytest.mark.parametrize("make", [torch.utils.data.DataLoader, StatefulDataLoader])
def test_lightning(place: Path, orders: list[list[str]], make: Any, workers: int, more: dict[str, Any]) -> None:
    import lightning

    module = lightning_module()
    trainer = lightning.Trainer(max_epochs=3, **QUIET)
    trainer.fit(module, loader(place, workers, make, **more), loader(place, workers, **more))
    assert [flat(module.seen[epoch]) for epoch in range(3)] == orders[:3]
    assert [len(ids) for ids in module.validated] == [8, 15, 15, 15], "a sanity check of two batches, then all"


@pytest.mark.slow
@pytest.mark.parametrize(("workers", "more"), [WORKERS[0], WORKERS[3]])
def test_lightning_resumed(
    place: Path, orders: list[list[str]], workers: int, more: dict[str, Any], tmp_path: Path
) -> None:
    import lightning
    from lightning.pytorch.callbacks import ModelCheckpoint

    kept = ModelCheckpoint(
        tmp_path, filename="{step}", auto_insert_metric_name=False, every_n_train_steps=1, save_top_k=-1
    )
    settings = {**QUIET, "enable_checkpointing": True, "callbacks": [kept]}
    lightning.Trainer(max_epochs=2, **settings).fit(lightning_module(), loader(place, workers, StatefulDataLoader))
    whole_run = flat(orders[:3])
    for step in (2, 4, 7):
        module = lightning_module()
        trainer = lightning.Trainer(max_epochs=3, **QUIET)
        resumed = loader(place, workers, StatefulDataLoader, **more)
        trainer.fit(module, resumed, ckpt_path=str(tmp_path / f"{step}.ckpt"), weights_only=False)
        met = [i for epoch in sorted(module.seen) for i in flat(module.seen[epoch])]
        first = 15 * (step // 4) + 4 * (step % 4)
        assert met == whole_run[first:], f"after step {step}"


# accelerate and the Hugging Face trainer, one process


@pytest.mark.slow
@pytest.mark.parametrize(("workers", "more"), [WORKERS[0], WORKERS[2], WORKERS[3]])
def test_accelerate(place: Path, orders: list[list[str]], workers: int, more: dict[str, Any]) -> None:
    from accelerate import Accelerator, skip_first_batches

    accelerator = Accelerator(cpu=True)
    prepared = accelerator.prepare(loader(place, workers, **more))
    assert [epoch_of(prepared) for _ in range(3)] == orders[:3]
    prepared.set_epoch(1)
    assert epoch_of(skip_first_batches(prepared, 2)) == orders[1][8:]


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("streamed", [True, False])
def test_hugging_face_trainer(
    place: Path, orders: list[list[str]], workers: int, streamed: bool, tmp_path: Path
) -> None:
    from transformers import Trainer, TrainingArguments

    data = landweave.open(place)
    dataset: Any = loader(place).dataset
    if not streamed:
        dataset = TorchSamples(data, data.query(split="train"), arrays=["dem"])

    def train(epochs: int, resume: str | None = None) -> list[list[str]]:
        arguments = TrainingArguments(
            output_dir=str(tmp_path), num_train_epochs=epochs, save_steps=3, report_to=[], use_cpu=True,
            per_device_train_batch_size=1 if streamed else 4, remove_unused_columns=False, disable_tqdm=True,
            dataloader_num_workers=workers, dataloader_persistent_workers=workers > 0, logging_strategy="no",
        )  # fmt: skip
        model = Model()
        collate = whole if streamed else TorchSamples.collate
        Trainer(model=model, args=arguments, train_dataset=dataset, data_collator=collate).train(resume)
        return model.seen

    seen = train(3)
    epochs = [flat(seen[i : i + 4]) for i in (0, 4, 8)]
    assert len(seen) == 12
    assert [sorted(ids) for ids in epochs] == [sorted(orders[0])] * 3
    assert len({tuple(ids) for ids in epochs}) == 3
    if streamed:
        assert epochs == orders[:3]
    resumed = train(3, str(tmp_path / "checkpoint-6"))
    assert resumed == seen[6:], "from the middle of the second epoch"


# two processes


def ranks_of(name: str, place: Path, folder: Path) -> list[Any]:
    """What each of two ranks of a training saw."""
    command = [sys.executable, "-m", f"{trainings.__name__}", name, str(place), str(folder / "meet")]
    more = {"WORLD_SIZE": "2", "OMP_NUM_THREADS": "1", "TORCHELASTIC_RUN_ID": "test", "PYTHONPATH": str(CHECKOUT)}
    more |= {"LOCAL_WORLD_SIZE": "2", "GROUP_RANK": "0", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "0"}
    running = [
        subprocess.Popen(
            command,
            env={**os.environ, **more, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            cwd=CHECKOUT,
            stdout=subprocess.PIPE,
            stderr=(folder / f"stderr-{rank}").open("w"),
            text=True,
        )
        for rank in range(2)
    ]
    found = []
    for rank, process in enumerate(running):
        said, _ = process.communicate(timeout=300)
        assert process.returncode == 0, (folder / f"stderr-{rank}").read_text()[-3000:]
        found.append(json.loads(said.strip().splitlines()[-1]))
    return found


def together(ranks: list[list[list[str]]]) -> list[str]:
    """Ids of an epoch, step by step."""
    return [i for step in zip(*ranks, strict=True) for ids in step for i in ids]


@pytest.mark.slow
def test_ddp_of_two_processes(place: Path, orders: list[list[str]], tmp_path: Path) -> None:
    one, two = ranks_of("ddp", place, tmp_path)
    for workers in ("0", "2"):
        found = [together([one[workers][n], two[workers][n]]) for n in range(4)]
        assert found[:3] == orders[:3]
        assert found[3] == orders[1][4:], "resumed after the first step"


@pytest.mark.slow
def test_lightning_ddp_of_two_processes(place: Path, orders: list[list[str]], tmp_path: Path) -> None:
    one, two = ranks_of("lightning", place, tmp_path)
    assert [together([one[n], two[n]]) for n in range(3)] == orders[:3]


@pytest.mark.slow
def test_accelerate_of_two_processes_in_every_mode(place: Path, tmp_path: Path) -> None:
    one, two = ranks_of("accelerate_samples", place, tmp_path)
    assert len(one) == 8
    for modes in one:
        epochs = [Counter(flat(one[modes][n]) + flat(two[modes][n])) for n in range(2)]
        dispatch, _, even = modes.split()
        for seen in epochs:
            assert len(seen) == 15, modes
            filled = 1 if "True" in (dispatch, even) else 0
            assert 15 <= sum(seen.values()) <= 15 + filled, f"{modes}: accelerate fills the last step, nobody else"
        assert one[modes][0] != one[modes][1], modes


@pytest.mark.slow
def test_accelerate_of_two_processes_and_streams(place: Path, orders: list[list[str]], tmp_path: Path) -> None:
    one, two = ranks_of("accelerate_stream", place, tmp_path)
    assert [together([one["outside"][n], two["outside"][n]]) for n in range(2)] == orders[:2]
    for workers in (0, 2):
        epochs = [flat(one[f"whole {workers}"][n]) + flat(two[f"whole {workers}"][n]) for n in range(2)]
        assert [len(set(ids)) for ids in epochs] == [15, 15]
        assert epochs[0] != epochs[1]
    assert "leave the loader out of prepare()" in one["twice"]
