"""One small planet for all tests of archives, and nobody's logins."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import testbed
from testbed.guard import ACCESS_KEY, PASSWORD, SECRET_KEY, USER

LOGINS = {
    "DLR_EOC_USER": USER,
    "DLR_EOC_PASSWORD": PASSWORD,
    "EARTHDATA_USERNAME": USER,
    "EARTHDATA_PASSWORD": PASSWORD,
    "CDSE_USERNAME": USER,
    "CDSE_PASSWORD": PASSWORD,
    "AWS_ACCESS_KEY_ID": ACCESS_KEY,
    "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
}
"""What the testbed's guard takes."""


@pytest.fixture
def services(earth: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[testbed.Services]:
    for name in (*LOGINS, "EARTHDATA_TOKEN", "CDSE_S3_ACCESS_KEY", "CDSE_S3_SECRET_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NETRC", str(earth / "no-netrc"))
    with testbed.serve(earth) as running:
        monkeypatch.setenv("LANDWEAVE_TESTBED", running.base_url)
        monkeypatch.setenv("LANDWEAVE_EARTHENGINE_URL", running.base_url)
        monkeypatch.setenv("EARTHENGINE_PROJECT", "testbed-project")
        yield running


@pytest.fixture
def logins(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    for name, value in LOGINS.items():
        monkeypatch.setenv(name, value)
    return LOGINS
