"""Logins: what is missing is one line before any request; headers and signed addresses go to their own hosts only."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import botocore.auth
import botocore.awsrequest
import botocore.credentials
import pytest

from pipelines.access.http.client import AccessError, Client, SettingError
from pipelines.access.logins.credentials import client_of, signer_of
from pipelines.access.logins.required import check_credentials
from pipelines.access.logins.signing import PlanetaryComputerSigner
from pipelines.access.logins.tokens import Tokens
from schemas.outcome import Reason
from schemas.provider import Provider
from schemas.recipe import Recipe
from testbed.server import Answer, Request
from testbed.services import serve_catalogue

VARIABLES = (
    "DLR_EOC_USER", "DLR_EOC_PASSWORD", "CDSE_S3_ACCESS_KEY", "CDSE_S3_SECRET_KEY", "CDSE_USERNAME", "CDSE_PASSWORD",
    "EARTHDATA_TOKEN", "EARTHDATA_USERNAME", "EARTHDATA_PASSWORD", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN", "PC_SDK_SUBSCRIPTION_KEY",
)  # fmt: skip


@pytest.fixture(autouse=True)
def nobody(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No login of whoever runs the tests."""
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))


def recipe(kind: str, url: str, dialect: str, **more: Any) -> Recipe:
    return Recipe.model_validate(
        {
            "name": "logins",
            "seed": 1,
            "sampling": {"kind": "uniform", "count": 1},
            "grid": {"size_m": 960},
            "windows": [{"name": "w", "start": "2022-06-01", "end": "2022-06-30"}],
            "providers": {"p": {"url": url, "dialect": dialect, **more}},
            "sources": [{"kind": kind, "providers": ["p"]}],
        }
    )


REAL = [
    ("enmap", "https://geoservice.dlr.de/eoc/ogc/stac/v1", "dlr-eoc", {}, ("DLR_EOC_USER", "DLR_EOC_PASSWORD")),
    ("sentinel2", "https://stac.dataspace.copernicus.eu/v1", "copernicus-data-space", {},
     ("CDSE_S3_ACCESS_KEY", "CDSE_S3_SECRET_KEY")),
    ("sentinel2", "https://stac.dataspace.copernicus.eu/v1", "copernicus-data-space", {"alternate": "https"},
     ("CDSE_USERNAME", "CDSE_PASSWORD")),
    ("hls", "https://cmr.earthdata.nasa.gov/stac/LPCLOUD", "earthdata", {}, ("EARTHDATA_TOKEN",)),
    ("landsat", "https://landsatlook.usgs.gov/stac-server", "usgs", {}, ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")),
    ("landsat", "https://earth-search.aws.element84.com/v1", "earth-search", {},
     ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "url", "dialect", "more", "variables"), REAL)
def test_a_missing_login_is_one_line_that_names_the_variable(
    kind: str, url: str, dialect: str, more: dict[str, Any], variables: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    made = recipe(kind, url, dialect, **more)
    for number, name in enumerate(variables):
        with pytest.raises(SettingError) as caught:
            check_credentials(made)
        said = str(caught.value)
        assert "\n" not in said
        assert said.startswith(f"provider 'p': {kind} needs a login")
        assert all(v in said for v in variables[number:])
        assert not any(v in said for v in variables[:number])
        monkeypatch.setenv(name, "x")
    check_credentials(made)


def test_whoever_needs_no_login_is_asked_for_none() -> None:
    with pytest.raises(SettingError, match="needs a login"):
        check_credentials(recipe(*REAL[0][:3], **REAL[0][3]))
    for kind, url, dialect in (
        ("sentinel2", "https://earth-search.aws.element84.com/v1", "earth-search"),
        ("sentinel2", "https://planetarycomputer.microsoft.com/api/stac/v1", "planetary-computer"),
        ("enmap", "http://127.0.0.1:9/dlr/stac", "dlr-eoc"),
        ("hls", "http://127.0.0.1:9/cmr/stac", "earthdata"),
        ("sentinel2", "https://stac.example/v1", "generic"),
    ):
        check_credentials(recipe(kind, url, dialect))


def test_earthdata_takes_a_netrc_or_a_user_too(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    made = recipe("hls", "https://cmr.earthdata.nasa.gov/stac/LPCLOUD", "earthdata")
    with pytest.raises(SettingError, match=r"EARTHDATA_TOKEN, or EARTHDATA_USERNAME and EARTHDATA_PASSWORD$"):
        check_credentials(made)
    (tmp_path / "netrc").write_text("machine urs.earthdata.nasa.gov login me password secret\n")
    check_credentials(made)
    (tmp_path / "netrc").unlink()
    monkeypatch.setenv("EARTHDATA_USERNAME", "me")
    monkeypatch.setenv("EARTHDATA_PASSWORD", "secret")
    check_credentials(made)


def signed(provider: Provider, url: str) -> tuple[str, dict[str, str]]:
    signer = signer_of("p", provider)
    assert signer is not None
    return signer.sign(url, fresh=False)


def test_headers_go_to_the_services_own_hosts_and_never_in_the_clear(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DLR_EOC_USER", "me")
    monkeypatch.setenv("DLR_EOC_PASSWORD", "secret")
    monkeypatch.setenv("EARTHDATA_TOKEN", "tok")
    dlr = Provider(url="https://geoservice.dlr.de/eoc/ogc/stac/v1", dialect="dlr-eoc")
    nasa = Provider(url="https://cmr.earthdata.nasa.gov/stac/LPCLOUD", dialect="earthdata")
    assert signed(dlr, "https://download.geoservice.dlr.de/ENMAP/a.TIF")[1] == {"Authorization": "Basic bWU6c2VjcmV0"}
    assert signed(nasa, "https://data.lpdaac.earthdatacloud.nasa.gov/a.tif")[1] == {"Authorization": "Bearer tok"}
    for provider in (dlr, nasa):
        for other in ("http://geoservice.dlr.de/a", "https://geoservice.dlr.de.example/a", "https://evil.example/a",
                      "http://data.lpdaac.earthdatacloud.nasa.gov/a", "https://nasa.gov.example/a"):  # fmt: skip
            assert signed(provider, other) == (other, {})


def test_landsat_on_aws_is_signed_as_the_requester_pays(monkeypatch: pytest.MonkeyPatch) -> None:
    """The address has AWS's own signature: botocore signs the same request to the same hex digits."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "verysecret")
    provider = Provider(url="https://landsatlook.usgs.gov/stac-server", dialect="usgs")
    href = "s3://usgs-landsat/collection02/level-2/standard/oli-tirs/2020/001/062/LC08/LC08_SR_B4.TIF"
    url, headers = signed(provider, href)
    assert headers == {}
    query = dict(parse_qsl(urlsplit(url).query))
    assert query["x-amz-request-payer"] == "requester"
    assert urlsplit(url).hostname == "s3.us-west-2.amazonaws.com"
    asked = botocore.awsrequest.AWSRequest("GET", url.split("?")[0], params={"x-amz-request-payer": "requester"})
    keys = botocore.credentials.Credentials("AKIDEXAMPLE", "verysecret")
    then = datetime.strptime(query["X-Amz-Date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    monkeypatch.setattr(botocore.auth, "get_current_datetime", lambda: then)
    auth = botocore.auth.S3SigV4QueryAuth(keys, "s3", "us-west-2", expires=int(query["X-Amz-Expires"]))
    auth.add_auth(asked)
    assert dict(parse_qsl(urlsplit(asked.url).query))["X-Amz-Signature"] == query["X-Amz-Signature"]
    assert signed(provider, "https://landsatlook.usgs.gov/data/a.TIF") == (
        "https://landsatlook.usgs.gov/data/a.TIF",
        {},
    )
    assert signed(provider, "s3://other/a.TIF") == ("s3://other/a.TIF", {})


def test_copernicus_data_space_signs_with_its_own_keys_at_its_own_store(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CDSE_S3_ACCESS_KEY", "A")
    monkeypatch.setenv("CDSE_S3_SECRET_KEY", "B")
    provider = Provider(url="https://stac.dataspace.copernicus.eu/v1", dialect="copernicus-data-space")
    url, _ = signed(provider, "s3://eodata/Sentinel-2/MSI/L2A/2024/01/01/x.SAFE/T31_B02_10m.jp2")
    assert url.startswith("https://eodata.dataspace.copernicus.eu/eodata/Sentinel-2/MSI/L2A/2024/01/01/x.SAFE/T31_B02")
    assert "X-Amz-Credential=A%2F" in url
    assert "request-payer" not in url


class Tokened:
    """A token service that counts, and files that want its newest token."""

    def __init__(self, life_s: float) -> None:
        self.life_s, self.issued, self.refused = life_s, 0, 0
        self.asked: list[Request] = []

    def __call__(self, request: Request) -> Answer | None:
        if request.path.startswith("/files/"):
            if dict(request.query).get("sig") == f"secret{self.issued}":
                return Answer(body=b"0123456789")
            self.refused += 1
            return Answer.error(403, "no")
        if not request.path.startswith("/token/"):
            return None
        self.asked.append(request)
        self.issued += 1
        end = datetime.now(UTC) + timedelta(seconds=self.life_s)
        return Answer.of({"token": f"sig=secret{self.issued}", "msft:expiry": end.strftime("%Y-%m-%dT%H:%M:%SZ")})


def test_tokens_are_kept_renewed_before_their_end_and_once_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PC_SDK_SUBSCRIPTION_KEY", "subscribed")
    with serve_catalogue([], {}) as services:
        monkeypatch.setenv("LANDWEAVE_TRUSTED_HOSTS", f"127.0.0.1:{services.port}")
        service = Tokened(life_s=3600.0)
        services.server.routes.insert(0, service)
        late = [0.0]
        signing = {"url": f"{services.base_url}/token", "hosts": ["127.0.0.1"]}
        provider = Provider.model_validate({"url": "http://x", "dialect": "planetary-computer", "signing": signing})
        client = client_of("p", provider)
        signer = client._signer
        assert isinstance(signer, PlanetaryComputerSigner)
        signer._tokens._now = lambda: datetime.now(UTC).timestamp() + late[0]
        href = f"{services.base_url}/files/box/a.tif"
        assert client.get_all(href, 100) == client.get_all(href, 100) == b"0123456789"
        assert (service.issued, service.refused) == (1, 0)
        late[0] = 3600.0 - 60.0  # a minute before its end it counts as ended
        client.get_all(href, 100)
        assert (service.issued, service.refused) == (2, 0)
        late[0] = 0.0
        service.issued += 1  # the service has withdrawn what it gave
        client.get_all(href, 100)
        assert (service.issued, service.refused) == (4, 1)
        assert {r.path for r in service.asked} == {"/token/127.0.0.1/files"}
        assert all(r.headers["ocp-apim-subscription-key"] == "subscribed" for r in service.asked)


def test_what_stays_refused_is_denied_and_tells_no_secret() -> None:
    with serve_catalogue([], {}) as services:
        services.server.routes.insert(0, lambda r: Answer.error(403, "no") if r.path.startswith("/files/") else None)
        services.server.routes.insert(1, Tokened(life_s=3600.0))
        signer = PlanetaryComputerSigner(f"{services.base_url}/token", ("127.0.0.1",))
        client = Client(signer=signer, retries=2, backoff_s=0.01)
        with pytest.raises(AccessError) as caught:
            client.get_all(f"{services.base_url}/files/a.tif", 100)
        assert caught.value.reason is Reason.DENIED
        assert "secret" not in str(caught.value)
        assert client.counters.requests == 2


def test_an_account_gives_a_token_by_user_and_password(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Request] = []

    def service(request: Request) -> Answer | None:
        if request.method != "POST":
            return Answer(body=request.headers.get("authorization", "").encode())
        seen.append(request)
        if request.path == "/login/api/users/find_or_create_token":
            return Answer.of({"access_token": "nasa", "token_type": "Bearer", "expiration_date": "12/31/2099"})
        return Answer.of({"access_token": "esa", "expires_in": 600})

    for name in ("EARTHDATA_USERNAME", "EARTHDATA_PASSWORD", "CDSE_USERNAME", "CDSE_PASSWORD"):
        monkeypatch.setenv(name, name.lower())
    with serve_catalogue([], {}) as services:
        monkeypatch.setenv("LANDWEAVE_TRUSTED_HOSTS", f"127.0.0.1:{services.port}")
        services.server.routes.insert(0, service)
        signing = {"url": f"{services.base_url}/login", "hosts": ["127.0.0.1"]}
        for dialect, more, token in (
            ("earthdata", {}, b"nasa"),
            ("copernicus-data-space", {"alternate": "https"}, b"esa"),
        ):
            provider = Provider.model_validate({"url": "http://x", "dialect": dialect, "signing": signing, **more})
            client = client_of("p", provider)
            for _ in range(2):
                assert client.get_all(f"{services.base_url}/a.tif", 100) == b"Bearer " + token
    assert len(seen) == 2
    assert seen[0].headers["authorization"].startswith("Basic ")
    form = dict(parse_qsl(seen[1].body.decode()))
    assert form == {"grant_type": "password", "client_id": "cdse-public", "username": "cdse_username",
                    "password": "cdse_password"}  # fmt: skip


def test_one_thread_fetches_for_all() -> None:
    calls: list[str] = []

    def fetch(key: str) -> tuple[str, float]:
        calls.append(key)
        return f"{key}{len(calls)}", 1e12

    tokens = Tokens(fetch)
    threads = [threading.Thread(target=tokens.get, args=("k",), kwargs={"fresh": False}) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert calls == ["k"]
