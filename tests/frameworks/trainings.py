"""Tiny trainings that write down the ids they see; `python -m tests.frameworks.trainings NAME PLACE FILE` is one rank.

FILE is where ranks find one another: no port is needed.
"""

from __future__ import annotations

import itertools
import json
import os
import sys
from typing import Any

import torch
from torch.utils.data import DataLoader

import landweave
from landweave.torch import TorchSamples, TorchStream

BATCH = 4


def stream(data: landweave.Dataset, batch_size: int = BATCH) -> landweave.Stream:
    """What every training here reads: 15 samples, 4 batches an epoch."""
    return data.stream(data.query(split="train"), batch_size=batch_size, shuffle=True, seed=5, arrays=["dem"])


def loader(place: Any, workers: int = 0, make: Any = DataLoader, batch_size: int = BATCH, **more: Any) -> Any:
    """The DataLoader of a stream."""
    made = TorchStream(stream(landweave.open(place), batch_size), **more.pop("stream", {}))
    return make(made, batch_size=None, num_workers=workers, **more)


class Model(torch.nn.Module):
    """One weight; its loss needs a batch's pixels."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.seen: list[list[str]] = []

    def forward(self, **batch: Any) -> dict[str, torch.Tensor]:
        self.seen.append(list(batch["id"]))
        return {"loss": (self.weight * torch.nan_to_num(batch["dem/elevation"]).mean()).sum()}


def numbered(samples: list[Any]) -> dict[str, torch.Tensor]:
    """Tensors alone, for who cannot send texts to other processes; shard and row stand for the id."""
    return {name: value for name, value in TorchSamples.collate(samples).items() if isinstance(value, torch.Tensor)}


def numbered_batch(batch: dict[str, Any]) -> dict[str, torch.Tensor]:
    """The same of a whole batch."""
    return {name: value for name, value in batch.items() if isinstance(value, torch.Tensor)}


def ids_of(batch: dict[str, torch.Tensor]) -> list[str]:
    """Ids of a batch of tensors."""
    return [f"{shard}/{row}" for shard, row in zip(batch["shard"].tolist(), batch["row"].tolist(), strict=True)]


def ddp(place: str) -> Any:
    """Plain torch: three epochs with workers, then epoch 1 again from its second batch."""
    from torch.nn.parallel import DistributedDataParallel

    model = DistributedDataParallel(Model())
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    found = {}
    for workers in (0, 2):
        made = loader(place, workers, batch_size=2, persistent_workers=workers > 0)
        epochs = []
        for _ in range(3):
            ids = []
            for batch in made:
                model(**batch)["loss"].backward()
                optimizer.step()
                ids.append(batch["id"])
            epochs.append(ids)
        made.dataset.load_state_dict({"epoch": 1, "position": 1})
        found[str(workers)] = [*epochs, [batch["id"] for batch in made]]
    return found


def accelerate_samples(place: str) -> Any:
    """`TorchSamples` through `prepare`, in every mode of accelerate's loaders."""
    from accelerate import Accelerator
    from accelerate.utils import DataLoaderConfiguration

    data, found = landweave.open(place), {}
    samples = TorchSamples(data, data.query(split="train"), arrays=["dem"], columns=["shard", "row"])
    for modes in itertools.product((True, False), (True, False), (True, False)):
        dispatch, split, even = modes
        workers = 0 if split else 2
        how = DataLoaderConfiguration(dispatch_batches=dispatch, split_batches=split, even_batches=even)
        made = DataLoader(samples, batch_size=BATCH, shuffle=True, collate_fn=numbered, num_workers=workers)
        prepared = Accelerator(cpu=True, dataloader_config=how).prepare(made)
        found[" ".join(map(str, modes))] = [[ids_of(batch) for batch in prepared] for _ in range(2)]
    return found


def accelerate_stream(place: str) -> Any:
    """`TorchStream`: outside `prepare`; inside it as a whole, dispatched; and what is said where both share out."""
    from accelerate import Accelerator
    from accelerate.utils import DataLoaderConfiguration

    accelerator = Accelerator(cpu=True, dataloader_config=DataLoaderConfiguration(dispatch_batches=True))
    outside = loader(place, batch_size=2)
    found: dict[str, Any] = {"outside": [[batch["id"] for batch in outside] for _ in range(2)]}
    data = landweave.open(place)
    for workers in (0, 2):
        made = data.stream(
            data.query(split="train"), batch_size=BATCH, shuffle=True, arrays=["dem"], columns=["shard", "row"]
        )
        whole = TorchStream(made, rank=0, ranks=1)
        prepared = accelerator.prepare(
            DataLoader(whole, batch_size=None, collate_fn=numbered_batch, num_workers=workers)
        )
        found[f"whole {workers}"] = [[ids_of(batch) for batch in prepared] for _ in range(2)]
    if accelerator.is_main_process:
        # only the process that dispatches begins an iterator of its own
        try:
            next(iter(accelerator.prepare(loader(place))))
        except landweave.QueryError as error:
            found["twice"] = str(error)
    return found


def lightning(place: str) -> Any:
    """Lightning's DDP strategy."""
    import lightning

    module = lightning_module()
    trainer = lightning.Trainer(devices=2, strategy="ddp", max_epochs=3, **QUIET)
    trainer.fit(module, loader(place, batch_size=2), loader(place, batch_size=2))
    return [module.seen[epoch] for epoch in range(3)]


QUIET: dict[str, Any] = {
    "accelerator": "cpu",
    "logger": False,
    "enable_checkpointing": False,
    "enable_progress_bar": False,
    "enable_model_summary": False,
}


def lightning_module() -> Any:
    """A LightningModule around the model."""
    import lightning

    class Module(lightning.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.model = Model()
            self.seen: dict[int, list[list[str]]] = {}
            self.validated: list[list[str]] = []

        def training_step(self, batch: dict[str, Any]) -> torch.Tensor:
            self.seen.setdefault(self.current_epoch, []).append(batch["id"])
            return self.model(**batch)["loss"]

        def on_validation_epoch_start(self) -> None:
            self.validated.append([])

        def validation_step(self, batch: dict[str, Any]) -> None:
            self.validated[-1] += batch["id"]

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.SGD(self.parameters(), 0.1)

    return Module()


def main() -> None:
    """Run one training as one rank of several; print what it saw."""
    name, place, file = sys.argv[1:]
    torch.set_num_threads(1)
    rank, ranks = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    torch.distributed.init_process_group("gloo", init_method=f"file://{file}", rank=rank, world_size=ranks)
    found = globals()[name](place)
    torch.distributed.barrier()
    sys.stdout.write("\n" + json.dumps(found) + "\n")
    sys.stdout.flush()
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main()
