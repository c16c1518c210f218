"""Credentials for Earth Engine: service account, application default or workload identity; or a one-line error."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlsplit

import google.auth
from google.auth import exceptions as google_errors
from google.auth.credentials import AnonymousCredentials

from pipelines.access.http.client import SettingError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

Kind = Literal["auto", "service_account", "application_default", "workload_identity", "anonymous"]
SCOPES = ("https://www.googleapis.com/auth/earthengine", "https://www.googleapis.com/auth/cloud-platform")
"""https://developers.google.com/earth-engine/reference/rest/v1/projects.image/computePixels#authorization-scopes"""
KEY_VARIABLE = "GOOGLE_APPLICATION_CREDENTIALS"
PROJECT_VARIABLES = ("EARTHENGINE_PROJECT", "GOOGLE_CLOUD_PROJECT")
_TYPES: dict[str, frozenset[str]] = {
    "service_account": frozenset({"service_account"}),
    "workload_identity": frozenset({"external_account", "impersonated_service_account"}),
}
"""Kind -> `type` of the credential file that fits it."""
_ADVICE = f"set {KEY_VARIABLE} to a credential file, or run where a service account is attached"


def credentials(kind: Kind, *, url: str, environment: Mapping[str, str] | None = None) -> Any:
    """google-auth credentials with Earth Engine's scopes; nothing is fetched yet but for the metadata server's answer.

    Args:
        kind: 'auto' takes what GOOGLE_APPLICATION_CREDENTIALS names, else the application default (gcloud's login, or
            the service account that is attached to the machine: Dataflow, GKE, Compute Engine). 'service_account'
            wants a key file there. 'workload_identity' wants a federation file there or an attached service account.
            'anonymous' is for a server on this machine only.
        url: Where the service is; anonymous is refused elsewhere.
        environment: os.environ if None.

    Raises:
        SettingError: one line that says what is missing. It never holds a key, a token or a path.
    """
    variables = os.environ if environment is None else environment
    if kind == "anonymous":
        if not is_loopback(url):
            raise SettingError("Earth Engine: anonymous credentials work only with a server on this machine")
        return AnonymousCredentials()  # type: ignore[no-untyped-call]
    path = variables.get(KEY_VARIABLE)
    if path:
        return _from_file(kind, path)
    if kind == "service_account":
        raise SettingError(f"Earth Engine: environment variable {KEY_VARIABLE} is not set; it names the key file")
    try:
        found, _ = google.auth.default(scopes=list(SCOPES))
    except google_errors.GoogleAuthError:
        raise SettingError(f"Earth Engine: no credentials found; {_ADVICE}") from None
    return found


def _from_file(kind: Kind, path: str) -> Any:
    if not Path(path).is_file():
        raise SettingError(f"Earth Engine: {KEY_VARIABLE} names a file that does not exist")
    try:
        info = json.loads(Path(path).read_text())
        got = str(info["type"])
        _check_type(kind, got)
        return _MAKERS[got](info)
    except (google_errors.GoogleAuthError, ValueError, KeyError, TypeError, AttributeError, OSError) as error:
        if isinstance(error, SettingError):
            raise
        raise SettingError(f"Earth Engine: the file that {KEY_VARIABLE} names is not a credential file") from None


def _check_type(kind: Kind, got: str) -> None:
    wanted = _TYPES.get(kind)
    if wanted is not None and got not in wanted:
        raise SettingError(
            f"Earth Engine: {KEY_VARIABLE} names a file of type {got[:40]!r}, expected {' or '.join(sorted(wanted))} "
            f"for `credentials: {kind}`"
        )


# Made by type and not by google.auth.load_credentials_from_file: that asks Google for the project's name meanwhile.


def _service_account(info: dict[str, Any]) -> Any:
    from google.oauth2 import service_account

    return service_account.Credentials.from_service_account_info(info, scopes=SCOPES)  # type: ignore[no-untyped-call]


def _person(info: dict[str, Any]) -> Any:
    from google.oauth2.credentials import Credentials

    found = Credentials.from_authorized_user_info(info, scopes=SCOPES)  # type: ignore[no-untyped-call]
    project = info.get("quota_project_id")
    return found.with_quota_project(project) if project else found


def _federation(info: dict[str, Any]) -> Any:
    from google.auth import aws, identity_pool, pluggable

    source = info["credential_source"]
    if str(source.get("environment_id", "")).startswith("aws"):
        return aws.Credentials.from_info(info, scopes=SCOPES)  # type: ignore[no-untyped-call]
    if "executable" in source:
        return pluggable.Credentials.from_info(info, scopes=SCOPES)  # type: ignore[no-untyped-call]
    return identity_pool.Credentials.from_info(info, scopes=SCOPES)  # type: ignore[no-untyped-call]


def _impersonated(info: dict[str, Any]) -> Any:
    from google.auth import impersonated_credentials as made

    return made.Credentials.from_impersonated_service_account_info(info, scopes=SCOPES)  # type: ignore[no-untyped-call]


_MAKERS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "service_account": _service_account,
    "authorized_user": _person,
    "external_account": _federation,
    "impersonated_service_account": _impersonated,
}


def project_of(project: str | None, found: object, environment: Mapping[str, str] | None = None) -> str:
    """The Cloud project that is billed: from the recipe, else the environment, else the credentials.

    Raises:
        SettingError: nobody says it.
    """
    variables = os.environ if environment is None else environment
    if project:
        return project
    for name in PROJECT_VARIABLES:
        if variables.get(name):
            return variables[name]
    own = getattr(found, "quota_project_id", None) or getattr(found, "project_id", None)
    if isinstance(own, str) and own:
        return own
    raise SettingError(f"Earth Engine: no Cloud project; set `project` in the recipe or {PROJECT_VARIABLES[0]}")


def is_loopback(url: str) -> bool:
    """Whether a URL is on this machine."""
    return urlsplit(url).hostname in ("127.0.0.1", "localhost", "::1")


def check_host(url: str) -> None:
    """Tokens are sent to Google's own hosts or to this machine.

    Raises:
        SettingError: it is another one.
    """
    parts = urlsplit(url)
    host = parts.hostname or ""
    if is_loopback(url) or (parts.scheme == "https" and host.endswith(".googleapis.com")):
        return
    raise SettingError(
        f"Earth Engine: expected an https address below googleapis.com, got the host {host[:80]!r}: credentials are "
        "not sent there"
    )
