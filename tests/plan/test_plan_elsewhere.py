"""Plans of which an engine plans the partitions are, byte for byte, those of one process; a failure loses nothing."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from typer.testing import CliRunner

import pipelines.plan.places
from pipelines.__main__ import app
from pipelines.engines import Engine
from pipelines.jobs import BuildError, build_dataset, plan_dataset
from pipelines.plan import plan_elsewhere
from pipelines.recipes import RecipeFile
from pipelines.shards import arrive
from pipelines.tables import PLAN_FOLDER, PlanError, growing_of, read_summary, unfinished_in
from pipelines.worker import attempt, open_worker
from testbed.anywhere import serve_anywhere
from testbed.messages import Fault, Request
from testbed.services import Services
from tests.plan.bounded_planner import recipe_of

TWO = Engine(workers=2)
PLACES = 360


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipelines.plan.places, "PART_SAMPLES", 64)


@pytest.fixture(scope="module")
def services() -> Iterator[Services]:
    with serve_anywhere() as running:
        yield running


@pytest.fixture
def file(services: Services, tmp_path: Path) -> RecipeFile:
    recipe = recipe_of(services.base_url + "/anywhere", PLACES)
    (window,) = recipe.windows
    few = window.model_copy(update={"end": window.start.replace(day=6)})
    shards = recipe.shards.model_copy(update={"samples": 16})
    return RecipeFile(recipe=recipe.model_copy(update={"windows": (few,), "shards": shards}), folder=tmp_path)


def tree(out: Path) -> dict[str, str]:
    files = sorted(p for p in (out / PLAN_FOLDER).rglob("*") if p.is_file())
    return {str(p.relative_to(out)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


@pytest.mark.slow
def test_two_workers_of_beam_plan_the_bytes_of_one_process(
    file: RecipeFile, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    alone = plan_dataset(file, tmp_path / "alone", again=False)
    capsys.readouterr()
    together = plan_dataset(file, tmp_path / "together", again=False, engine=TWO)
    assert alone == together
    assert alone.parts >= 5
    assert alone.unavailable == {}
    assert tree(tmp_path / "alone") == tree(tmp_path / "together")
    assert f"{alone.samples:,} of {alone.samples:,} locations" in capsys.readouterr().err
    assert [p.name for p in (tmp_path / "together/.work").glob("planning*")] == []


@pytest.mark.slow
def test_what_was_planned_before_an_engine_fell_is_kept(file: RecipeFile, tmp_path: Path) -> None:
    expected = plan_dataset(file, tmp_path / "alone", again=False)
    out, asked = tmp_path / "mine", list[int]()

    def falls(folder: Path, parts: Sequence[int], watch: Callable[[], None]) -> list[str]:
        worker = open_worker(folder)
        built = [attempt(worker, part) for part in parts[:2]]
        worker.close()
        watch()
        asked.extend(parts)
        assert all(one.error is None for one in built)
        return ["the machine burnt"]

    said: list[int] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            "pipelines.jobs._on",
            lambda out, _: (
                lambda parts, tell, again: plan_elsewhere(
                    out, parts, falls, lambda done: (said.append(done), tell(done))[1], again=again
                )
            ),
        )
        with pytest.raises(PlanError, match=r"partitions were not planned .*; run again\nthe machine burnt"):
            plan_dataset(file, out, again=False, engine=TWO)
    unfinished = unfinished_in(out / PLAN_FOLDER)
    assert unfinished is not None
    assert unfinished.planned == 3  # the first, which is planned here, and two of the others
    assert said == [2, 2]
    before = {p: p.stat().st_mtime_ns for p in growing_of(out / PLAN_FOLDER).glob("parts/*.json")}
    assert plan_dataset(file, out, again=False, engine=TWO) == expected
    assert tree(out) == tree(tmp_path / "alone")
    kept = {p: (out / PLAN_FOLDER / "parts" / p.name).stat().st_mtime_ns for p in before}
    assert kept == before


@pytest.mark.slow
def test_a_place_that_cannot_be_written_is_one_line(file: RecipeFile, tmp_path: Path) -> None:
    out = tmp_path / "mine"

    def hindered(folder: Path, parts: Sequence[int], watch: Callable[[], None]) -> list[str]:
        held = growing_of(out / PLAN_FOLDER) / "parts"
        held.rename(tmp_path / "parts")
        held.write_bytes(b"a file")
        worker = open_worker(folder)
        built = attempt(worker, parts[0])
        worker.close()
        held.unlink()
        (tmp_path / "parts").rename(held)
        return [built.error or ""]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            "pipelines.jobs._on",
            lambda out, _: lambda parts, tell, again: plan_elsewhere(out, parts, hindered, tell, again=again),
        )
        with pytest.raises(PlanError) as error:
            plan_dataset(file, out, again=False, engine=TWO)
    first, why = str(error.value).splitlines()
    assert "partitions were not planned" in first
    assert why.startswith("mine/.plan-next/parts")
    assert why.endswith("the dataset's folder and everything in it must be writable by this user")
    assert str(tmp_path) not in why


@pytest.mark.slow
def test_a_runner_that_cannot_be_started_is_one_line(file: RecipeFile, tmp_path: Path) -> None:
    out = tmp_path / "mine"
    from pipelines.build import EngineError  # Beam takes seconds to import

    for command, words in (
        (("no-such-program",), r"^the runner cannot be started: no-such-program: No such file or directory; mend"),
        (("sh", "-c", "echo first >&2; echo last words >&2; exit 3"), r"^last words$"),
    ):
        with pytest.raises(EngineError, match=words):
            plan_dataset(file, out, again=False, engine=Engine(command=command))
    with pytest.raises(EngineError, match=r"^NoSuchRunner cannot be started: Unexpected pipeline runner[^\n]*$"):
        plan_dataset(file, out, again=False, engine=Engine(beam="NoSuchRunner"))
    with pytest.raises(PlanError, match=r"run again\nthe engine ended without them$"):
        plan_dataset(file, out, again=False, engine=Engine(command=("true",)))
    assert (out / ".work/planning").is_dir()
    assert plan_dataset(file, out, again=False).unavailable == {}
    assert not (out / ".work/planning").exists(), "whoever plans the rest"


@pytest.mark.slow
def test_a_damaged_partition_begins_the_planning_again(file: RecipeFile, tmp_path: Path) -> None:
    plan_dataset(file, tmp_path / "alone", again=False)
    out = tmp_path / "mine"
    plan_dataset(file, out, again=False)
    (out / PLAN_FOLDER).rename(growing_of(out / PLAN_FOLDER))
    growing = growing_of(out / PLAN_FOLDER)
    (growing / "parts/part-00003.json").unlink()
    (growing / "parts/part-00004.json").unlink()
    (growing / "samples/part-00003.parquet").write_bytes(b"PAR1 damaged")
    plan_dataset(file, out, again=False, engine=TWO)
    assert tree(out) == tree(tmp_path / "alone")


@pytest.mark.slow
def test_what_no_archive_answered_is_asked_again_on_an_engine(
    services: Services, file: RecipeFile, tmp_path: Path
) -> None:
    down = 0

    def every_second(request: Request) -> Fault | None:
        nonlocal down
        down += request.path.endswith("/search")
        return Fault(status=503) if request.path.endswith("/search") and down % 2 else None

    whole = plan_dataset(file, tmp_path / "whole", again=False)
    services.faults.append(every_second)
    try:
        lacking = plan_dataset(file, tmp_path / "mine", again=False)
    finally:
        services.faults.remove(every_second)
    assert lacking.unavailable["sentinel2"] > 0
    mended = plan_dataset(file, tmp_path / "mine", again=True, engine=TWO)
    assert mended.unavailable == {}
    assert mended.layers["sentinel2"].found == whole.layers["sentinel2"].found
    assert read_summary(tmp_path / "mine" / PLAN_FOLDER) == mended


def test_a_runner_whose_workers_share_no_folder_is_refused(
    file: RecipeFile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LANDWEAVE_WORK", str(tmp_path / "desks"))
    desk = arrive(f"file://{tmp_path}/store")
    for out, beam in ((desk, "DataflowRunner"), (desk, "FlinkRunner"), (tmp_path / "here", "DataflowRunner")):
        with pytest.raises(BuildError, match=rf"^plan --runner: the workers of {beam} share no folder"):
            plan_dataset(file, out, again=False, engine=Engine(beam=beam))
        assert unfinished_in(out / PLAN_FOLDER) is None


def test_a_build_into_a_folder_that_no_worker_reaches_is_refused(file: RecipeFile, tmp_path: Path) -> None:
    with pytest.raises(BuildError, match=r"^here: the workers of DataflowRunner share no folder") as error:
        build_dataset(file, tmp_path / "here", Engine(beam="DataflowRunner"))
    assert "\n" not in str(error.value)
    assert not (tmp_path / "here").exists()


def test_words_for_a_runner_need_one(tmp_path: Path) -> None:
    recipe = Path(__file__).parents[2] / "recipes" / "earth-search.yaml"
    done = CliRunner().invoke(app, ["plan", str(recipe), str(tmp_path / "out"), "--", "--parallelism", "2"])
    assert done.exit_code == 2
    assert "--parallelism: is for a runner, and there is none" in done.output
    assert not (tmp_path / "out").exists()
