"""The queue of the local engine: a slow shard holds nobody, each shard is taken once."""

from __future__ import annotations

import multiprocessing
import time
from pathlib import Path

import pytest

from pipelines.stages.shards import _taken, fill_queue


def work(queue: str, seconds: dict[int, float], done: Path) -> None:
    for number in _taken(0, queue):
        time.sleep(seconds.get(number, 0.01))
        with (done / str(number)).open("x") as file:
            file.write(multiprocessing.current_process().name)


@pytest.mark.slow
def test_shards_behind_a_slow_one_are_taken_by_who_is_free(tmp_path: Path) -> None:
    fill_queue(tmp_path / "queue", range(40))
    done = tmp_path / "done"
    done.mkdir()
    processes = [
        multiprocessing.get_context("fork").Process(target=work, args=(str(tmp_path / "queue"), {0: 2.0}, done))
        for _ in range(3)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0, 0], "none was taken twice"
    owners = {int(path.name): path.read_text() for path in done.iterdir()}
    assert sorted(owners) == list(range(40))
    assert sum(owner == owners[0] for owner in owners.values()) < 20, "the owner of the slow shard took few others"
