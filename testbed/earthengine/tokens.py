"""OAuth on loopback: tokens for service accounts, refresh tokens, workload identity and the metadata server."""

from __future__ import annotations

import base64
import json
import secrets
import threading
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

from google.auth import crypt, jwt

from testbed.server import Answer

if TYPE_CHECKING:
    from testbed.server import Request

TOKEN_PATH = "/oauth/token"  # noqa: S105 - a path
"""token_uri of service accounts and refresh tokens."""
STS_PATH = "/sts/v1/token"
"""token_url of workload identity federation."""
_METADATA = "/computeMetadata/v1"
_JWT = "urn:ietf:params:oauth:grant-type:jwt-bearer"
_ACCESS = "urn:ietf:params:oauth:token-type:access_token"
_EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"


class Tokens:
    """Issues and checks access tokens."""

    def __init__(self, *, lifetime_s: int = 3600) -> None:
        """`lifetime_s`: what `expires_in` says and holds."""
        self.lifetime_s = lifetime_s
        self.issued: dict[str, str] = {}
        """Token -> 'service_account', 'refresh_token', 'workload_identity' or 'metadata'."""
        self.keys: dict[str, bytes] = {}
        """Service account's e-mail -> public key, PEM."""
        self.refresh_tokens: set[str] = set()
        self.subject_tokens: set[str] = set()
        self._ends: dict[str, float] = {}
        self._lock = threading.Lock()

    def holds(self, header: str | None) -> bool:
        """Whether an Authorization header contains a token that is valid now."""
        scheme, _, token = (header or "").partition(" ")
        with self._lock:
            return scheme.lower() == "bearer" and self._ends.get(token, 0.0) > time.monotonic()

    def expire_all(self) -> None:
        """Make every token issued so far invalid."""
        with self._lock:
            self._ends.clear()

    def route(self, request: Request) -> Answer | None:
        """Token endpoints and the metadata server."""
        if request.method == "POST" and request.path == TOKEN_PATH:
            return self._grant(_form(request))
        if request.method == "POST" and request.path == STS_PATH:
            return self._exchange(_form(request))
        if request.path.startswith(_METADATA) or (request.path == "/" and "metadata-flavor" in request.headers):
            return self._metadata(request)
        return None

    def _issue(self, how: str) -> Answer:
        token = f"ya29.{secrets.token_urlsafe(24)}"
        with self._lock:
            self.issued[token] = how
            self._ends[token] = time.monotonic() + self.lifetime_s
        body: dict[str, Any] = {"access_token": token, "expires_in": self.lifetime_s, "token_type": "Bearer"}
        if how == "workload_identity":
            body["issued_token_type"] = _ACCESS
        return Answer.of(body)

    def _grant(self, form: dict[str, str]) -> Answer:
        if form.get("grant_type") == _JWT:
            return (
                self._issue("service_account")
                if self._signed(form.get("assertion", ""))
                else _refused("Invalid JWT Signature.")
            )
        if form.get("grant_type") == "refresh_token":
            if form.get("refresh_token") in self.refresh_tokens:
                return self._issue("refresh_token")
            return _refused("Token has been expired or revoked.")
        return _refused("Unsupported grant type.")

    def _signed(self, assertion: str) -> bool:
        try:
            claims: dict[str, str] = jwt.decode(assertion, verify=False)  # type: ignore[no-untyped-call]
            header, payload, signature = assertion.split(".")
            verifier = crypt.RSAVerifier.from_string(self.keys[claims["iss"]])  # type: ignore[no-untyped-call]
            padded = base64.urlsafe_b64decode(signature + "=" * (-len(signature) % 4))
            return bool(verifier.verify(f"{header}.{payload}".encode(), padded))
        except (KeyError, ValueError):
            return False

    def _exchange(self, form: dict[str, str]) -> Answer:
        if form.get("grant_type") == _EXCHANGE and form.get("subject_token") in self.subject_tokens:
            return self._issue("workload_identity")
        return _refused("The subject token is not known.")

    def _metadata(self, request: Request) -> Answer:
        if request.headers.get("metadata-flavor") != "Google":
            return Answer.error(403, "Metadata-Flavor: Google is missing")
        tail = request.path.removeprefix(_METADATA)
        if tail.endswith("/token"):
            answer = self._issue("metadata")
        elif tail.startswith("/project/project-id"):
            answer = Answer(body=b"testbed-project")
        elif tail.startswith("/universe"):
            answer = Answer(body=b"googleapis.com")
        elif tail.startswith("/instance/service-accounts/default"):
            answer = Answer.of({"email": "worker@testbed-project.iam.gserviceaccount.com", "scopes": [], "aliases": []})
        else:
            answer = Answer(body=b"ok")
        answer.headers["Metadata-Flavor"] = "Google"
        answer.headers.setdefault("Content-Type", "application/text")
        return answer


def _form(request: Request) -> dict[str, str]:
    if request.headers.get("content-type", "").startswith("application/json"):
        return {str(k): str(v) for k, v in json.loads(request.body).items()}
    return dict(parse_qsl(request.body.decode()))


def _refused(description: str) -> Answer:
    return Answer.of({"error": "invalid_grant", "error_description": description}, 400)
