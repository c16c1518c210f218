"""Runner files: found by name or path, the command line wins, mistakes are one line."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipelines.engines import Engine, RunnerError, read_engine
from pipelines.passes import named


def test_the_local_runner_is_named_and_takes_more_options() -> None:
    assert read_engine("local", 4, ["--x=1"]) == Engine(workers=4, beam="FnApiRunner", options=("--x=1",))


def test_the_command_line_comes_after_the_file() -> None:
    engine = read_engine("flink", 2, ["--parallelism=64"])
    assert engine.command == ("python", "-m", "deploy.flink.submit")
    assert engine.options[0] == "--flink-master=127.0.0.1:8081"
    assert engine.options.index("--parallelism=2") < engine.options.index("--parallelism=64")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("options: {}", "must contain `options` and either `beam` or `command`"),
        ("{beam: A, command: [b], options: {}}", "must contain `options` and either `beam` or `command`"),
        ("{beam: A, options: [--x]}", "options: must be a mapping of option to value"),
        ("{", "is not YAML"),
    ],
)
def test_a_file_of_another_form_is_one_line(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(RunnerError, match=message) as caught:
        read_engine(str(path), 1, [])
    assert "\n" not in str(caught.value)


def test_an_unknown_runner_names_those_known() -> None:
    with pytest.raises(RunnerError, match=r"flonk: .* the runners are dataflow, flink, flink-beam, local, prism"):
        read_engine("flonk", 1, [])


@pytest.mark.parametrize(
    ("folder", "name"),
    [
        ("data/mine", "mine"), ("/data/mine/.work/planning", "mine/.work/planning"),
        ("mine/.work/fused-x", "mine/.work/fused-x"), ("/a/.work/mine", "a/.work/mine"),
    ],
)  # fmt: skip
def test_messages_name_a_folder_from_its_dataset_on(folder: str, name: str) -> None:
    assert named(Path(folder)) == name
