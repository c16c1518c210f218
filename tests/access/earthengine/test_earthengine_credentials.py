"""Signing in at a local token endpoint with the real google-auth, and what is said where it fails; no secret ever."""

from __future__ import annotations

import io
import json
import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import ee
import pytest

from pipelines.access.earthengine import graphs
from pipelines.access.earthengine.session import Settings, open_session
from pipelines.access.http.client import AccessError, SettingError
from schemas.outcome import Reason
from testbed.earthengine import STS_PATH, TOKEN_PATH, EeCatalogue, Running, Tokens, serve_earthengine
from tests.access.earthengine import earthengine_scenes as scenes
from tests.access.earthengine.earthengine_keys import service_account
from tests.access.earthengine.earthengine_scenes import S2_A, box

SETTINGS = Settings(project="testbed-project", requests_per_s=None, backoff_s=0.01, retries=1)


@pytest.fixture(scope="module")
def catalogue(tmp_path_factory: pytest.TempPathFactory) -> EeCatalogue:
    return scenes.catalogue(tmp_path_factory.mktemp("ee"))


@pytest.fixture
def running(catalogue: EeCatalogue) -> Iterator[Running]:
    with serve_earthengine(catalogue, tokens=Tokens(), projects=frozenset({"testbed-project"})) as found:
        yield found


@pytest.fixture
def tokens(running: Running) -> Tokens:
    assert running.service.tokens is not None
    return running.service.tokens


def key_file(path: Path, running: Running, *, known: bool = True) -> tuple[Path, str]:
    assert running.service.tokens is not None
    return service_account(path, running.service.tokens if known else Tokens(), running.base_url)


def federation_file(folder: Path, running: Running, subject: str) -> Path:
    (folder / "subject").write_text(subject)
    path = folder / "federation.json"
    info = {
        "type": "external_account",
        "audience": "//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/p/providers/q",
        "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
        "token_url": running.base_url + STS_PATH,
        "credential_source": {"file": str(folder / "subject")},
    }
    path.write_text(json.dumps(info))
    return path


def user_file(path: Path, token: str) -> Path:
    info = {
        "type": "authorized_user",
        "client_id": "c",
        "client_secret": "s3cr3t-client",
        "refresh_token": token,
    }
    path.write_text(json.dumps(info))
    return path


def works(running: Running, path: Path, **changes: Any) -> None:
    settings = replace(SETTINGS, endpoint=running.base_url, **changes)
    with open_session(settings, {"GOOGLE_APPLICATION_CREDENTIALS": str(path)}) as session:
        image = graphs.stored((S2_A,), ("B2",))
        assert session.compute_chip(image, box(8, 8), ("B2",), dtype="uint16").valid.all()


def test_service_account(running: Running, tokens: Tokens, tmp_path: Path) -> None:
    path, _ = key_file(tmp_path / "key.json", running)
    works(running, path, credentials="service_account")
    assert set(tokens.issued.values()) == {"service_account"}
    works(running, path, credentials="auto")


def test_workload_identity_federation(running: Running, tokens: Tokens, tmp_path: Path) -> None:
    tokens.subject_tokens.add("subject-of-the-pod")
    works(running, federation_file(tmp_path, running, "subject-of-the-pod"), credentials="workload_identity")
    assert set(tokens.issued.values()) == {"workload_identity"}


def test_application_default_of_a_person(
    running: Running, tokens: Tokens, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("google.oauth2.credentials._GOOGLE_OAUTH2_TOKEN_ENDPOINT", running.base_url + TOKEN_PATH)
    tokens.refresh_tokens.add("1//refresh")
    works(running, user_file(tmp_path / "adc.json", "1//refresh"), credentials="application_default")
    assert set(tokens.issued.values()) == {"refresh_token"}


def test_attached_service_account_of_a_worker(running: Running, tokens: Tokens) -> None:
    """The metadata server, as on Dataflow, GKE and Compute Engine; google-auth reads its address when imported."""
    code = (
        "import sys; from pipelines.access.earthengine.session import *\n"
        "s = open_session(Settings(project='testbed-project', endpoint=sys.argv[1], credentials='workload_identity'))\n"
        "print(s.value(ee.Number(1).add(2)))"
    )
    host = running.base_url.removeprefix("http://")
    environment = {k: v for k, v in os.environ.items() if k != "GOOGLE_APPLICATION_CREDENTIALS"}
    environment |= {"GCE_METADATA_HOST": host, "GCE_METADATA_IP": host, "HOME": "/nonexistent", "NO_GCE_CHECK": "false"}
    done = subprocess.run(
        [sys.executable, "-c", code, running.base_url],
        env=environment,
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[3],
        timeout=60,
        check=False,
    )
    assert done.stdout.strip() == "3", done.stderr
    assert set(tokens.issued.values()) == {"metadata"}


def test_an_expired_token_is_renewed_once(running: Running, tokens: Tokens, tmp_path: Path) -> None:
    path, _ = key_file(tmp_path / "key.json", running)
    settings = replace(SETTINGS, endpoint=running.base_url)
    with open_session(settings, {"GOOGLE_APPLICATION_CREDENTIALS": str(path)}) as session:
        before = len(tokens.issued)
        tokens.expire_all()
        assert session.value(ee.Number(1).add(2)) == 3
        assert len(tokens.issued) == before + 1


@pytest.mark.parametrize(
    ("environment", "kind", "words"),
    [
        ({}, "service_account", "GOOGLE_APPLICATION_CREDENTIALS is not set"),
        ({"GOOGLE_APPLICATION_CREDENTIALS": "{folder}/nothing.json"}, "auto", "names a file that does not exist"),
        ({"GOOGLE_APPLICATION_CREDENTIALS": "{folder}/bad.json"}, "auto", "is not a credential file"),
        ({"GOOGLE_APPLICATION_CREDENTIALS": "{folder}/adc.json"}, "service_account", "of type 'authorized_user'"),
    ],
)
def test_a_missing_credential_is_one_line(
    running: Running, tmp_path: Path, environment: dict[str, str], kind: Any, words: str
) -> None:
    (tmp_path / "bad.json").write_text('{"type": "service_account", "private_key": "s3cr3t"}')
    user_file(tmp_path / "adc.json", "1//refresh")
    variables = {k: v.format(folder=tmp_path) for k, v in environment.items()}
    with pytest.raises(SettingError, match=words) as error:
        open_session(replace(SETTINGS, endpoint=running.base_url, credentials=kind), variables)
    text = str(error.value)
    assert "\n" not in text
    assert str(tmp_path) not in text
    assert "s3cr3t" not in text


def test_tokens_go_to_google_or_to_this_machine_only() -> None:
    for url in (
        "https://earthengine.example.com",
        "http://earthengine.googleapis.com",
        "https://googleapis.com.evil.org",
    ):
        with pytest.raises(SettingError, match="credentials are not sent there"):
            open_session(replace(SETTINGS, endpoint=url), {})
    with pytest.raises(SettingError, match="only with a server on this machine"):
        open_session(replace(SETTINGS, endpoint="standard", credentials="anonymous"), {})


def test_no_project_is_one_line(running: Running, tmp_path: Path) -> None:
    path = user_file(tmp_path / "adc.json", "1//refresh")
    with pytest.raises(SettingError, match="no Cloud project"):
        open_session(
            replace(SETTINGS, endpoint=running.base_url, project=None), {"GOOGLE_APPLICATION_CREDENTIALS": str(path)}
        )


def test_refused_credentials_and_projects_are_denied(running: Running, tmp_path: Path) -> None:
    stranger, _ = key_file(tmp_path / "stranger.json", running, known=False)
    with pytest.raises(AccessError) as error:
        works(running, stranger)
    assert error.value.reason is Reason.DENIED
    path, _ = key_file(tmp_path / "key.json", running)
    with pytest.raises(AccessError, match="permission to use project other-project") as error:
        works(running, path, project="other-project")
    assert error.value.reason is Reason.DENIED
    works(running, path)  # the next session is not hurt


def test_no_secret_in_logs_or_exceptions(
    running: Running, tokens: Tokens, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("google.oauth2.credentials._GOOGLE_OAUTH2_TOKEN_ENDPOINT", running.base_url + TOKEN_PATH)
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    root = logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    told: list[str] = []
    secrets: list[str] = []
    try:
        path, secret = key_file(tmp_path / "key.json", running)
        secrets += secret.splitlines()[1:-1]
        works(running, path)
        variables = {"GOOGLE_APPLICATION_CREDENTIALS": str(path)}
        with open_session(replace(SETTINGS, endpoint=running.base_url), variables) as session:
            told += [repr(session.settings), str(session.counters)]
            tokens.keys.clear()
            tokens.expire_all()
            with pytest.raises(AccessError) as error:
                session.value(ee.Number(1).add(2))
            chain: BaseException | None = error.value
            while chain is not None:
                told.append(f"{chain!r} {chain}")
                chain = chain.__cause__ or (None if chain.__suppress_context__ else chain.__context__)
        refused = user_file(tmp_path / "adc.json", "1//unknown-refresh")
        with pytest.raises(AccessError) as error:
            works(running, refused)
        told.append(f"{error.value!r} {error.value}")
    finally:
        root.removeHandler(handler)
        root.setLevel(level)
    text = stream.getvalue() + "\n".join(told)
    secrets += [*tokens.issued, "1//unknown-refresh", "s3cr3t-client"]
    assert tokens.issued
    for secret in secrets:
        assert secret not in text
