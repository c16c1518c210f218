"""Requires credentials as the real archives do: SAS tokens, logins, expiring bearer tokens, signed S3 addresses.

Its secrets all hold the word SECRET, so that a search through what a run has written finds any of them.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import threading
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, quote

from testbed.messages import Answer, Fault, Request

if TYPE_CHECKING:
    from testbed.services import Services

USER, PASSWORD = "somebody", "SECRET-password"
ACCESS_KEY, SECRET_KEY = "SECRETACCESSKEY", "SECRET+secret/key"
MARK = "SECRET"
"""In every secret."""


@dataclass(kw_only=True)
class Guard:
    """Stands before the files of a planet; `install` puts it there."""

    services: Services
    life_s: float = 3600.0
    """How long tokens are valid."""
    host: str = "localhost"
    """Host name under which Planetary Computer's files are served, so that they can be told from its API."""
    issued: dict[str, int] = field(default_factory=dict)
    """Service -> tokens given."""
    refused: dict[str, int] = field(default_factory=dict)
    """Archive -> requests refused."""
    passed: dict[str, int] = field(default_factory=dict)
    """Archive -> requests let through."""
    _valid: dict[str, float] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def install(self) -> None:
        """Start asking."""
        self.services.server.routes.insert(0, self._tokens)
        self.services.server.hooks.append(self._check)
        catalogue = self.services.catalogues.get("planetary-computer")
        for item in catalogue.items if catalogue is not None else ():
            for asset in item["assets"].values():
                asset["href"] = f"http://{self.host}:{self.services.port}{asset['href']}"

    def withdraw(self) -> None:
        """Make every token that was given invalid at once."""
        with self._lock:
            self._valid.clear()

    def _tokens(self, request: Request) -> Answer | None:
        if request.path.startswith("/sas/"):
            token, end = self._issue("planetary-computer")
            sas = f"st=2020-01-01&se={datetime.fromtimestamp(end, UTC):%Y-%m-%d}&sp=rl&sig={token}"
            return Answer.of({"token": sas, "msft:expiry": datetime.fromtimestamp(end, UTC).isoformat()})
        if request.path == "/urs/api/users/find_or_create_token":
            if not self._knows(request):
                return Answer.error(401, "wrong user or password")
            return Answer.of({"access_token": self._issue("earthdata")[0], "expiration_date": "12/31/2099"})
        if request.path == "/oidc":
            form = dict(parse_qsl(request.body.decode()))
            if (form.get("username"), form.get("password")) != (USER, PASSWORD):
                return Answer.error(401, "wrong user or password")
            token, end = self._issue("copernicus-data-space")
            return Answer.of({"access_token": token, "expires_in": max(1, int(end - time.time()))})
        return None

    def _issue(self, service: str) -> tuple[str, float]:
        with self._lock:
            self.issued[service] = number = self.issued.get(service, 0) + 1
            token, end = f"{MARK}-{service}-{number}", time.time() + self.life_s
            self._valid[token] = end
        return token, end

    def _check(self, request: Request) -> Fault | None:
        archive = next((a for a in _WAYS if request.path.startswith(a)), None)
        if archive is None:
            return None
        if _WAYS[archive](self, request):
            self._count(self.passed, archive)
            return None
        self._count(self.refused, archive)
        return Fault(status=403, body=b"forbidden")

    def _count(self, where: dict[str, int], archive: str) -> None:
        with self._lock:
            where[archive] = where.get(archive, 0) + 1

    def _is_valid(self, token: str) -> bool:
        with self._lock:
            return self._valid.get(token, 0.0) > time.time()

    def _sas(self, request: Request) -> bool:
        return self._is_valid(dict(request.query).get("sig", ""))

    def _bearer(self, request: Request) -> bool:
        return self._is_valid(request.headers.get("authorization", "").removeprefix("Bearer "))

    def _knows(self, request: Request) -> bool:
        said = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        return request.headers.get("authorization") == f"Basic {said}"

    def _signed(self, request: Request) -> bool:
        """AWS Signature Version 4 in the query, checked; buckets of Landsat want the payer named too."""
        query = dict(request.query)
        if "usgs-landsat" in request.path and query.get("x-amz-request-payer") != "requester":
            return False
        return hmac.compare_digest(query.pop("X-Amz-Signature", ""), signature(request, query))


_WAYS = {
    "/files/planetary-computer/": Guard._sas,
    "/files/dlr-eoc/": Guard._knows,
    "/files/earthdata/": Guard._bearer,
    "/files/copernicus-data-space/": Guard._bearer,
    "/s3/": Guard._signed,
}
"""Path -> how its files are guarded."""


def signature(request: Request, query: dict[str, str]) -> str:
    """The signature that a GET of this path with this query must carry.

    Source: https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-query-string-auth.html.
    """
    scope = "/".join(query.get("X-Amz-Credential", "").split("/")[1:])
    date, region, service = (*scope.split("/"), "", "", "")[:3]
    pairs = sorted((quote(k, safe="-_.~"), quote(v, safe="-_.~")) for k, v in query.items())
    canonical = "\n".join(
        (
            "GET",
            quote(request.path, safe="/-_.~"),
            "&".join(f"{k}={v}" for k, v in pairs),
            f"host:{request.headers.get('host', '')}\n",
            "host",
            "UNSIGNED-PAYLOAD",
        )
    )
    digest = hashlib.sha256(canonical.encode()).hexdigest()
    text = "\n".join(("AWS4-HMAC-SHA256", query.get("X-Amz-Date", ""), scope, digest))
    key = f"AWS4{SECRET_KEY}".encode()
    for part in (date, region, service, "aws4_request"):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    return hmac.new(key, text.encode(), hashlib.sha256).hexdigest()
