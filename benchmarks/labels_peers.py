"""Fusion by others: `python labels_peers.py votes.npz out.npz`, in the interpreter of `labels_venv`.

`votes` is (pixel, map) int8 classes, -1 = none; the answers are (pixel,) classes. Imports nothing of ours.
"""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable


def snorkel(votes: Any, classes: int) -> Any:
    """Snorkel's label model with its own settings."""
    from snorkel.labeling.model import LabelModel

    model = LabelModel(cardinality=classes, verbose=False)
    model.fit(votes, n_epochs=500, seed=1, progress_bar=False)
    return model.predict(votes, tie_break_policy="random")


def crowdkit(name: str) -> Callable[[Any, int], Any]:
    """A model of crowd-kit: every map is a worker, every pixel a task."""

    def run(votes: Any, _classes: int) -> Any:
        import pandas as pd
        from crowdkit import aggregation

        task, worker = np.nonzero(votes >= 0)
        table = pd.DataFrame({"task": task, "worker": worker, "label": votes[task, worker].astype(int)})
        found = getattr(aggregation, name)(n_iter=20).fit_predict(table)
        answer = np.full(len(votes), -1)
        answer[found.index.to_numpy()] = found.to_numpy()
        return answer

    return run


PEERS = {
    "Snorkel LabelModel": snorkel,
    "crowd-kit DawidSkene": crowdkit("DawidSkene"),
    "crowd-kit OneCoinDawidSkene": crowdkit("OneCoinDawidSkene"),
}


def main() -> None:
    votes = np.load(sys.argv[1])["votes"].astype(int)
    answers = {}
    for name, run in PEERS.items():
        start = time.process_time()
        try:
            answers[name] = run(votes, int(votes.max()) + 1).astype(np.int16)
        except Exception as error:  # noqa: BLE001 - a peer that fails is a line of the report
            answers[f"failed {name}"] = np.array(f"{type(error).__name__}: {error}"[:200])
            continue
        answers[f"seconds {name}"] = np.array(time.process_time() - start)
    np.savez(sys.argv[2], **answers)


if __name__ == "__main__":
    main()
