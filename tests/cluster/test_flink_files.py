"""What is in deploy/ and cannot be run here is at least well formed, and says what the code says."""

from __future__ import annotations

import argparse
import http.server
import ipaddress
import json
import re
import shlex
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from ruamel.yaml import YAML

from deploy import images

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
    pins = pinned(DEPLOY / "flink" / "requirements.txt")
    assert sum(name.startswith("apache-flink") for name in pins) == 2
    assert all(hashes for hashes in pins.values())


def test_constraints_pin_every_package_by_the_hashes_of_its_files() -> None:
    pins = pinned(DEPLOY.parent / "constraints.txt")
    assert len(pins) > 100
    assert not [name for name, hashes in pins.items() if not hashes]


def pinned(path: Path) -> dict[str, list[str]]:
    """Name -> hashes of every requirement of a file; each is pinned to one version."""
    found = {}
    for line in path.read_text().replace("\\\n", " ").splitlines():
        if line and not line.startswith("#"):
            match = re.fullmatch(
                r"([A-Za-z0-9_.-]+)==[A-Za-z0-9_.!+]+( ; [^#]*?)?((\s+--hash=sha256:[0-9a-f]{64})*)\s*", line
            )
            assert match, line[:200]
            found[match[1]] = match[3].split()
    return found


def test_nothing_here_names_a_host_a_secret_or_a_machine() -> None:
    found = [p for p in DEPLOY.rglob("*") if p.is_file() and p.suffix != ".pyc"]
    assert len(found) > 10
    for path in found:
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
        checked = [document]
        if document["kind"] == "FlinkDeployment":
            checked = [{"apiVersion": "v1", "kind": "Pod", **pod} for pod in pods(document)]
            for pod in checked:
                pod["metadata"] = {"name": "pod", **pod["metadata"]}
        for one in checked:
            kubernetes.validate(one, "1.33", strict=True)
            with pytest.raises(kubernetes.ValidationError):
                kubernetes.validate({**one, "spce": {}}, "1.33", strict=True)


def pods(document: dict[str, Any]) -> list[dict[str, Any]]:
    """The pods that a manifest makes: of a FlinkDeployment jobmanager and taskmanager, merged as the operator does."""
    spec = document["spec"]
    if document["kind"] == "Job":
        return [spec["template"]]
    if document["kind"] != "FlinkDeployment":
        return []
    return [merged(spec["podTemplate"], spec[role].get("podTemplate", {})) for role in ("jobManager", "taskManager")]


def merged(base: Any, more: Any) -> Any:
    """Mappings key by key, lists of named things name by name, all else replaced."""
    if isinstance(base, dict) and isinstance(more, dict):
        both = {key: merged(base[key], more[key]) for key in base.keys() & more.keys()}
        return {**base, **more, **both}
    if isinstance(base, list) and all(isinstance(x, dict) and "name" in x for x in [*base, *more]):
        there = {x["name"]: x for x in more}
        return [merged(x, there.pop(x["name"], {})) for x in base] + list(there.values())
    return more


def every_pod() -> dict[str, dict[str, Any]]:
    """'build', 'jobmanager' and 'taskmanager' -> its pod."""
    documents = [d for path in (DEPLOY / "kubernetes").glob("*.yaml") for d in load(path)]
    (build,) = [pod for d in documents if d["kind"] == "Job" for pod in pods(d)]
    (session,) = [d for d in documents if d["kind"] == "FlinkDeployment"]
    return {"build": build, **dict(zip(("jobmanager", "taskmanager"), pods(session), strict=True))}


@pytest.mark.parametrize("name", ["build", "jobmanager", "taskmanager"])
def test_a_pod_runs_as_a_user_without_rights(name: str) -> None:
    spec = every_pod()[name]["spec"]
    about = spec["securityContext"]
    assert about["runAsNonRoot"] is True
    assert about["runAsUser"] == about["fsGroup"] == 9999
    assert about["seccompProfile"] == {"type": "RuntimeDefault"}
    for container in spec["containers"]:
        rights = container["securityContext"]
        assert rights["allowPrivilegeEscalation"] is False
        assert rights["capabilities"] == {"drop": ["ALL"]}
        assert not rights.get("privileged")
        if name == "build":
            assert rights["readOnlyRootFilesystem"] is True
    assert not {"hostNetwork", "hostPID", "hostIPC"} & spec.keys()
    assert not [volume for volume in spec["volumes"] if "hostPath" in volume]


def test_credentials_are_where_archives_are_asked_and_tokens_are_elsewhere() -> None:
    found = every_pod()
    secret = {n for n, pod in found.items() if "landweave-credentials" in json.dumps(pod)}
    token = {n for n, pod in found.items() if pod["spec"].get("automountServiceAccountToken", True)}
    archives = {n for n, pod in found.items() if pod["metadata"]["labels"].get("landweave-archives") == "yes"}
    assert secret == archives == {"build", "taskmanager"}
    assert token == {"jobmanager"}
    (session,) = [d for d in load(DEPLOY / "kubernetes" / "flink.yaml") if d["kind"] == "FlinkDeployment"]
    (account,) = [d for d in load(DEPLOY / "kubernetes" / "flink.yaml") if d["kind"] == "ServiceAccount"]
    worker = session["spec"]["flinkConfiguration"]["kubernetes.taskmanager.service-account"]
    assert worker == account["metadata"]["name"] == found["build"]["spec"]["serviceAccountName"]
    assert account["automountServiceAccountToken"] is False


def test_the_network_is_shut_but_for_what_is_named() -> None:
    policies = {d["metadata"]["name"]: d["spec"] for d in load(DEPLOY / "kubernetes" / "network.yaml")}
    assert policies["landweave-nothing"] == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    labels = {n: pod["metadata"]["labels"] for n, pod in every_pod().items()}
    cluster = policies["landweave-cluster"]["podSelector"]["matchLabels"]
    assert all(cluster.items() <= own.items() for own in labels.values())
    ((rule,),) = [policies["landweave-archives"]["egress"]]
    (block,) = [peer["ipBlock"] for peer in rule["to"]]
    shut = [ipaddress.ip_network(text) for text in block["except"]]
    for inside in ("169.254.169.254", "10.1.2.3", "172.31.0.1", "192.168.1.1", "100.64.0.1"):
        assert any(ipaddress.ip_address(inside) in network for network in shut), inside
    assert rule["ports"] == [{"protocol": "TCP", "port": 443}]
    selected = policies["landweave-archives"]["podSelector"]["matchLabels"]
    assert {n for n, own in labels.items() if selected.items() <= own.items()} == {"build", "taskmanager"}


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
    assert not [key for key in spec["flinkConfiguration"] if key.startswith("high-availability")], "wants tokens"
    (main,) = [c for c in spec["podTemplate"]["spec"]["containers"] if c["name"] == "flink-main-container"]
    mounts = {mount["name"] for mount in main["volumeMounts"]}
    assert mounts == {volume["name"] for volume in spec["podTemplate"]["spec"]["volumes"]}


def test_the_image_pins_what_the_checkout_pins() -> None:
    text = (DEPLOY / "Dockerfile").read_text().replace("\\\n", " ")
    instructions = [line.split(maxsplit=1) for line in text.splitlines() if line and not line.startswith("#")]
    names = [name for name, _ in instructions]
    assert names.count("FROM") == 7
    assert "ADD" not in names, "nothing is fetched but by package name"
    assert ["ENV", "PYTHONPATH=/opt/landweave"] in instructions
    for name, rest in instructions:
        if name == "RUN":
            assert shlex.split(rest)
        if name == "COPY" and not rest.startswith("--from"):
            for source in shlex.split(rest)[:-1]:
                assert (DEPLOY.parent / source).exists() or source == "constraints.txt", source


def stages() -> dict[str, tuple[str, list[tuple[str, str]]]]:
    """Target of the Dockerfile -> (what it begins with, its instructions)."""
    text = (DEPLOY / "Dockerfile").read_text().replace("\\\n", " ")
    found: dict[str, tuple[str, list[tuple[str, str]]]] = {}
    for line in text.splitlines():
        if not line or line.startswith("#"):
            continue
        name, _, rest = line.partition(" ")
        if name == "FROM":
            base, _, target = rest.partition(" AS ")
            found[target] = (base, [])
        elif found:
            found[list(found)[-1]][1].append((name, rest))
    return found


def test_every_image_ends_as_a_user_of_its_own() -> None:
    targets = {target for base in images.bases(DEPLOY) for target in base.targets}
    assert targets == {"factory", "flink", "beam", "dataflow"}
    for target in targets:
        _, instructions = stages()[target]
        users = [rest for name, rest in instructions if name == "USER"]
        assert users[-1] == "9999:9999", target
        after = instructions[max(i for i, (name, _) in enumerate(instructions) if name == "USER") :]
        assert not [name for name, _ in after if name in ("RUN", "COPY")], "nothing is put in as that user"


def test_every_base_is_an_argument_that_the_lock_names_by_digest() -> None:
    known = {base.argument: base for base in images.bases(DEPLOY)}
    found = stages()
    for base, _ in found.values():
        argument = base.removeprefix("${").removesuffix("}")
        assert base in found or argument in known or argument == "LAUNCHER_IMAGE", base
    text = (DEPLOY / "Dockerfile").read_text()
    assert not re.search(r"--from=[^ ]*[:/@]", text), "a base that the lock does not know"
    locked = images.locked(DEPLOY)  # raises where a line is no digest
    assert locked.keys() <= {base.image for base in known.values()}


def test_digests_are_asked_of_the_registry_and_builds_without_one_are_refused(tmp_path: Path) -> None:
    """A registry on loopback that wants an anonymous token, as the public ones do."""
    digest = "sha256:" + "ab" * 32
    asked: list[str] = []

    class Registry(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b'{"token": "anonymous"}')

        def do_HEAD(self) -> None:
            host = f"http://127.0.0.1:{self.server.server_address[1]}"
            known = self.headers["Authorization"] == "Bearer anonymous"
            asked.append(self.path)
            self.send_response(200 if known else 401)
            if known:
                self.send_header("Docker-Content-Digest", digest if "broken" not in self.path else "latest")
            else:
                self.send_header("WWW-Authenticate", f'Bearer realm="{host}/token",service="s",scope="pull"')
            self.end_headers()

        def log_message(self, *_: object) -> None:
            return

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Registry)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    registry = f"http://127.0.0.1:{server.server_address[1]}"
    (tmp_path / "images.txt").write_text((DEPLOY / "images.txt").read_text())
    with pytest.raises(images.ImageError, match=r"no digest of python:3\.11"):
        images.arguments("flink", tmp_path)
    images.lock(tmp_path, registry)
    assert "/v2/library/python/manifests/3.11-slim-bookworm" in asked
    assert "/v2/apache/beam_python3.11_sdk/manifests/2.77.0" in asked
    assert set(images.locked(tmp_path).values()) == {digest}
    assert images.arguments("flink", tmp_path) == [
        f"--build-arg=PYTHON_IMAGE=python:3.11-slim-bookworm@{digest}",
        f"--build-arg=FLINK_IMAGE=flink:2.2.1-java17@{digest}",
    ]
    with pytest.raises(images.ImageError, match="no target 'other'; there are beam, dataflow, factory, flink"):
        images.arguments("other", tmp_path)
    with pytest.raises(images.ImageError, match="expected sha256"):
        images.digest_of("broken:1", registry)
    server.shutdown()
    server.server_close()
    with pytest.raises(images.ImageError, match="the registry gave no digest"):
        images.digest_of("python:3.11", registry)
    (tmp_path / "images.lock").write_text("python:3.11@latest\n")
    with pytest.raises(images.ImageError, match="is not IMAGE@sha256:DIGEST"):
        images.locked(tmp_path)


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
