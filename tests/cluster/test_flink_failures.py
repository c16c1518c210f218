"""A real Flink cluster: every shard once, twice as fast on two taskmanagers, whatever is killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from deploy.flink.cluster import FlinkCluster
from deploy.flink.submit import Submission, SubmitError, run

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from deploy.flink.install import Flink

pytestmark = [pytest.mark.slow, pytest.mark.cluster, pytest.mark.xdist_group("cluster")]

SLEEPER = Path(__file__).with_name("sleeper.py")


@dataclass
class Work:
    """A dataset of one text file a shard, and the sleepers that write it."""

    out: Path
    shards: int
    seconds: float
    fates: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("attempts", "failures"):
            (self.out / name).mkdir(parents=True)

    def submission(self, master: str, parallelism: int, deadline_s: float = 60) -> Submission:
        builder = [sys.executable, str(SLEEPER), str(self.out), str(self.seconds), json.dumps(self.fates)]
        return Submission(master=master, parallelism=parallelism, builder=builder, deadline_s=deadline_s)

    def attempts(self) -> list[tuple[int, float, int]]:
        """Shard, time in seconds, process id of each attempt, in order of time."""
        parts = [path.name.split("-") for path in (self.out / "attempts").iterdir()]
        return sorted(((int(s), int(t) / 1e9, int(pid)) for s, t, pid in parts), key=lambda a: a[1])

    def done(self) -> dict[int, float]:
        """Shard -> time of publication, seconds; the content is checked."""
        times = {}
        for path in self.out.glob("*.txt"):
            square, time_ns = path.read_text().split()
            assert int(square) == int(path.stem) ** 2
            times[int(path.stem)] = int(time_ns) / 1e9
        return times

    def failures(self) -> dict[int, str]:
        return {int(path.stem): path.read_text() for path in (self.out / "failures").iterdir()}

    def rate(self) -> float:
        """Shards a second while all builders were building: without the start of job and workers, and the end."""
        done = self.done()
        times: dict[int, list[float]] = {}
        for shard, start, pid in self.attempts():
            times.setdefault(pid, []).extend([start, done[shard]])
        begin, end = max(min(t) for t in times.values()), min(max(t) for t in times.values())
        return sum(begin < t <= end for t in done.values()) / (end - begin)


def during(event: Callable[[], None], work: Work, after: int) -> threading.Thread:
    """Does `event` when `after` shards are published."""

    def wait() -> None:
        deadline = time.monotonic() + 120
        while len(work.done()) < after and time.monotonic() < deadline:
            time.sleep(0.05)
        event()

    thread = threading.Thread(target=wait)
    thread.start()
    return thread


def parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def alive(pid: int) -> bool:
    """Whether a process runs: one that has ended and that nobody has waited for yet does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def ended(pids: Iterable[int]) -> bool:
    """Whether all these processes end within 10 s."""
    deadline, left = time.monotonic() + 10, set(pids)
    while left and time.monotonic() < deadline:
        left = {pid for pid in left if alive(pid)}
        time.sleep(0.1)
    return not left


def test_two_taskmanagers_build_each_shard_once_and_twice_as_fast(
    flink: Flink, cluster: FlinkCluster, tmp_path: Path
) -> None:
    rates = {}
    for parallelism in (1, 2):
        work = Work(tmp_path / f"by-{parallelism}", shards=14, seconds=2.0)
        submission = work.submission(cluster.address, parallelism)
        run(flink, submission, range(work.shards), work.out, work.out / "failures")
        assert sorted(shard for shard, _, _ in work.attempts()) == list(range(14)), "each exactly once"
        assert sorted(work.done()) == list(range(14))
        assert len({pid for _, _, pid in work.attempts()}) == parallelism
        assert not any((work.out / ".staging").iterdir()), "the job leaves nothing aside"
        rates[parallelism] = work.rate()
    assert rates[2] / rates[1] >= 1.8
    assert 1 / rates[1] <= 2.0 * 1.25, "the engine's share of a shard of 2 s, on a busy machine"


def test_a_killed_taskmanager_costs_only_what_it_was_building(
    flink: Flink, cluster: FlinkCluster, tmp_path: Path
) -> None:
    work = Work(tmp_path / "data", shards=14, seconds=1.0)
    victim = cluster.pids()["taskmanager-0"]
    builders: list[int] = []

    def kill() -> None:
        builders.extend({pid for _, _, pid in work.attempts()})
        os.kill(victim, signal.SIGKILL)
        cluster.start_taskmanager()

    killer = during(kill, work, after=4)
    run(flink, work.submission(cluster.address, 2), range(14), work.out, work.out / "failures")
    killer.join()
    assert sorted(work.done()) == list(range(14))
    assert work.failures() == {}
    assert len(work.attempts()) <= 15, "only the shard that was being built is built again"
    assert ended(builders), "no builder outlives its worker"


@pytest.mark.parametrize("victim", ["builder", "sdk worker"])
def test_a_killed_worker_is_replaced(flink: Flink, cluster: FlinkCluster, tmp_path: Path, victim: str) -> None:
    work = Work(tmp_path / "data", shards=8, seconds=1.0)

    def kill() -> None:
        builder = work.attempts()[-1][2]
        os.kill(builder if victim == "builder" else parent(builder), signal.SIGKILL)

    killer = during(kill, work, after=2)
    run(flink, work.submission(cluster.address, 2), range(8), work.out, work.out / "failures")
    killer.join()
    assert sorted(work.done()) == list(range(8))
    assert work.failures() == {}
    if victim == "builder":
        assert len(work.attempts()) <= 9, "only the shard that was being built is built again"


def test_shards_that_cannot_be_built_do_not_hold_the_others(
    flink: Flink, cluster: FlinkCluster, tmp_path: Path
) -> None:
    work = Work(tmp_path / "data", shards=6, seconds=0.2, fates={"1": "die", "2": "hang", "3": "err"})
    run(flink, work.submission(cluster.address, 2, deadline_s=2), range(6), work.out, work.out / "failures")
    assert sorted(work.done()) == [0, 4, 5]
    failures = work.failures()
    assert sorted(failures) == [1, 2, 3]
    assert "exit status -9" in failures[1]
    assert "out of memory, says the kernel" in failures[1]
    assert "gave no answer for 2 s" in failures[2]
    assert failures[3] == "Traceback: our mistake"
    assert sorted(shard for shard, _, _ in work.attempts()) == [0, 1, 1, 1, 2, 2, 2, 3, 4, 5]


def test_a_worker_that_cannot_build_ends_the_job_with_one_line(
    flink: Flink, cluster: FlinkCluster, tmp_path: Path
) -> None:
    work = Work(tmp_path / "data", shards=6, seconds=0.2, fates={"refuse": "worker w: has no EARTHDATA_TOKEN"})
    with pytest.raises(SubmitError, match=r"^worker w: has no EARTHDATA_TOKEN$"):
        run(flink, work.submission(cluster.address, 2), range(6), work.out, work.out / "failures")
    assert work.attempts() == []
    assert {job["status"] for job in cluster.get("/jobs")["jobs"]} <= {"FINISHED", "CANCELED", "FAILED"}


def test_interrupting_cancels_the_job(flink: Flink, cluster: FlinkCluster, tmp_path: Path) -> None:
    work = Work(tmp_path / "data", shards=50, seconds=1.0)
    process = subprocess.Popen(
        [sys.executable, "-c", INTERRUPTIBLE, str(flink.home), str(flink.python), cluster.address, str(work.out)],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )
    during(lambda: process.send_signal(signal.SIGINT), work, after=2).join()
    assert process.wait(60) != 0
    assert {job["status"] for job in cluster.get("/jobs")["jobs"]} <= {"FINISHED", "CANCELED", "FAILED"}
    assert len(work.done()) < 50
    assert ended(pid for _, _, pid in work.attempts())


INTERRUPTIBLE = f"""
import signal
import sys
from pathlib import Path
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs are started deaf to it
from deploy.flink.install import Flink
from deploy.flink.cluster import FlinkCluster
from deploy.flink.submit import Submission, run
home, python, master, out = sys.argv[1:]
builder = [sys.executable, {str(SLEEPER)!r}, out, "1.0", "{{}}"]
submission = Submission(master=master, parallelism=2, builder=builder)
run(Flink(Path(home), Path(python)), submission, range(50), Path(out), Path(out) / "failures")
"""


def test_a_new_jobmanager_goes_on_with_the_job_of_a_killed_one(flink: Flink, tmp_path: Path) -> None:
    work = Work(tmp_path / "data", shards=8, seconds=1.0)
    with FlinkCluster(flink, tmp_path / "flink", taskmanagers=1, recovery=True) as recovering:

        def kill() -> None:
            os.kill(recovering.pids()["jobmanager"], signal.SIGKILL)
            recovering.start_jobmanager()

        killer = during(kill, work, after=3)
        run(flink, work.submission(recovering.address, 1), range(8), work.out, work.out / "failures")
        killer.join()
        states = [job["status"] for job in recovering.get("/jobs")["jobs"]]
    assert states == ["FINISHED"], "one job, known to the new jobmanager"
    assert sorted(work.done()) == list(range(8))
    assert work.failures() == {}
    assert len(work.attempts()) <= 9, "what was published is not built again"


def test_a_cluster_does_not_outlive_a_killed_owner(flink: Flink, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "deploy.flink.cluster", "--folder", str(tmp_path / "flink")]
    owner = subprocess.Popen(command, cwd=Path(__file__).parents[2], stdout=subprocess.PIPE, text=True)
    assert owner.stdout is not None
    assert owner.stdout.readline().startswith("127.0.0.1:")
    children = [int(pid) for pid in Path(f"/proc/{owner.pid}/task/{owner.pid}/children").read_text().split()]
    assert len(children) == 3, "guard, jobmanager, taskmanager"
    owner.kill()
    owner.wait()
    owner.stdout.close()
    assert ended(children)


def test_no_cluster_is_one_line(flink: Flink, tmp_path: Path) -> None:
    work = Work(tmp_path / "data", shards=1, seconds=0.0)
    with pytest.raises(SubmitError, match=r"^no Flink answers at 127\.0\.0\.1:9 \(.*Connection refused\)") as caught:
        run(flink, work.submission("127.0.0.1:9", 1), [0], work.out, work.out / "failures")
    assert "\n" not in str(caught.value)
