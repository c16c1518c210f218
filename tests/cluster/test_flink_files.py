"""What is in deploy/ and cannot be run here is at least well formed, and says what the code says."""

from __future__ import annotations

import argparse
import json
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from ruamel.yaml import YAML

DEPLOY = Path(__file__).parents[2] / "deploy"
RUNNERS = sorted((DEPLOY / "runners").glob("*.yaml"))
JOB_SERVER_OPTIONS = {
    "execution_mode_for_batch",
    "number_of_execution_retries",
    "execution_retry_delay",
    "max_bundle_size",
}
"""Options of Beam's FlinkPipelineOptions (Java): Beam's Python learns them from the job server."""


def load(path: Path) -> list[dict[str, Any]]:
    return [document for document in YAML(typ="safe").load_all(path.read_text()) if document is not None]


def flags(options: dict[str, Any]) -> list[str]:
    return [f"--{key}={value}" for key, value in options.items()]


@pytest.mark.parametrize("path", RUNNERS, ids=lambda p: p.stem)
def test_a_runner_file_names_an_engine_and_its_options(path: Path) -> None:
    (found,) = load(path)
    assert set(found) in ({"beam", "options"}, {"command", "options"})


@pytest.mark.parametrize("path", [p for p in RUNNERS if "command" not in load(p)[0]], ids=lambda p: p.stem)
def test_beam_knows_the_runner_and_each_option(path: Path) -> None:
    from apache_beam.runners.runner import create_runner

    (found,) = load(path)
    if found["beam"] != "DataflowRunner":  # Beam's extra `gcp` is not installed
        assert type(create_runner(found["beam"])).__name__ == found["beam"]
    parser = argparse.ArgumentParser(allow_abbrev=False)
    for options in PipelineOptions.__subclasses__():
        options._add_argparse_args(parser)
    here = {key: value for key, value in found["options"].items() if key not in JOB_SERVER_OPTIONS}
    assert parser.parse_known_args(flags(here))[1] == []


def test_the_flink_command_takes_the_options_of_its_runner_file() -> None:
    (found,) = load(DEPLOY / "runners" / "flink.yaml")
    _, *command = found["command"]
    told = subprocess.run(
        [sys.executable, *command, *flags(found["options"]), "nowhere", "no-list", "no-folder", "--help"],
        cwd=DEPLOY.parent,
        capture_output=True,
        text=True,
        check=False,
    )
    assert told.returncode == 0
    for option in found["options"]:
        assert f"--{option}" in told.stdout


def test_requirements_pin_every_package() -> None:
    lines = (DEPLOY / "flink" / "requirements.txt").read_text().split()
    assert all(re.fullmatch(r"[A-Za-z0-9_.-]+==[A-Za-z0-9_.]+", line) for line in lines)
    assert sum(line.startswith("apache-flink") for line in lines) == 2


def test_nothing_here_names_a_host_a_secret_or_a_machine() -> None:
    for path in DEPLOY.rglob("*"):
        if path.is_file() and path.suffix != ".pyc":
            text = path.read_text()
            assert "/" + "work/" not in text, path
            assert not re.search(
                r"(repo1?\.maven|pypi\.org|proxy\.golang|AKIA[0-9A-Z]{16}|BEGIN [A-Z ]*PRIVATE KEY)", text
            ), path


@pytest.mark.parametrize("path", sorted((DEPLOY / "kubernetes").glob("*.yaml")), ids=lambda p: p.stem)
def test_manifests_have_kind_and_name_and_no_literal_secret(path: Path) -> None:
    for document in load(path):
        assert document["apiVersion"]
        assert document["kind"]
        assert re.fullmatch(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?", document["metadata"]["name"])
        assert document["kind"] != "Secret", "secrets are made by the operator, never kept in a file here"


@pytest.mark.parametrize("path", sorted((DEPLOY / "kubernetes").glob("*.yaml")), ids=lambda p: p.stem)
def test_manifests_are_what_kubernetes_takes(path: Path) -> None:
    """Strictly, by its own schemas; of a FlinkDeployment, which they do not know, the pods and the volume."""
    kubernetes = pytest.importorskip("kubernetes_validate", reason="of the group `deploy`: make test-cluster-quick")
    for document in load(path):
        checked = document
        if document["kind"] == "FlinkDeployment":
            pod = document["spec"]["podTemplate"]["spec"]
            checked = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "pod"}, "spec": pod}
        kubernetes.validate(checked, "1.33", strict=True)
        with pytest.raises(kubernetes.ValidationError):
            kubernetes.validate({**checked, "spce": {}}, "1.33", strict=True)


def test_the_image_is_as_the_linter_wants_it() -> None:
    linter = Path(sys.executable).with_name("hadolint")
    if not linter.exists():
        pytest.skip("hadolint is of the group `deploy`: make test-cluster-quick")
    # DL3008: Debian keeps no old versions, so a pinned one cannot be installed a month later
    command = [linter, "--no-color", "--ignore", "DL3008", DEPLOY / "Dockerfile"]
    told = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (told.returncode, told.stdout) == (0, "")


def test_the_flink_deployment_runs_the_settings_that_were_tested() -> None:
    from deploy.flink.install import FLINK_MINOR

    (session,) = [d for d in load(DEPLOY / "kubernetes" / "flink.yaml") if d["kind"] == "FlinkDeployment"]
    spec = session["spec"]
    assert spec["flinkVersion"] == "v" + FLINK_MINOR.replace(".", "_")
    assert spec["flinkConfiguration"]["jobmanager.execution.failover-strategy"] == "region"
    assert spec["flinkConfiguration"]["high-availability.type"] == "kubernetes"
    (main,) = [c for c in spec["podTemplate"]["spec"]["containers"] if c["name"] == "flink-main-container"]
    mounts = {mount["name"] for mount in main["volumeMounts"]}
    assert mounts == {volume["name"] for volume in spec["podTemplate"]["spec"]["volumes"]}


def test_the_image_pins_what_the_checkout_pins() -> None:
    text = (DEPLOY / "Dockerfile").read_text().replace("\\\n", " ")
    instructions = [line.split(maxsplit=1) for line in text.splitlines() if line and not line.startswith("#")]
    names = [name for name, _ in instructions]
    assert names.count("FROM") == 5
    assert "ADD" not in names, "nothing is fetched but by package name"
    assert ["ENV", "PYTHONPATH=/opt/landweave"] in instructions
    for name, rest in instructions:
        if name == "RUN":
            assert shlex.split(rest)
        if name == "COPY" and not rest.startswith("--from"):
            for source in shlex.split(rest)[:-1]:
                assert (DEPLOY.parent / source).exists() or source == "constraints.txt", source


def test_the_template_passes_its_parameters_on_to_the_build() -> None:
    from deploy.dataflow.launch import command

    spec = json.loads((DEPLOY / "dataflow" / "template.json").read_text())
    assert set(spec) == {"image", "sdkInfo", "defaultEnvironment", "metadata"}
    names = [parameter["name"] for parameter in spec["metadata"]["parameters"]]
    for parameter in spec["metadata"]["parameters"]:
        assert set(parameter) == {"name", "label", "helpText", "regexes"}
        assert all(re.compile(pattern) for pattern in parameter["regexes"])
    given = [f"--{name}=/data/{name}" for name in names] + ["--project=p", "--region=r"]
    assert command(given) == [
        *("build", "/data/recipe", "/data/out", "--runner", "dataflow", "--", "--project=p", "--region=r")
    ]
