"""Permissions that the user gives a recipe: hosts for logins, and folders for files.

Somebody else may have written a recipe. A login is sent only to its own service, and files are read only below the
recipe's folder, unless the user allows more: in these two variables, or on the command line, which adds to them. They
are environment variables, like logins, so that workers on other machines get them in the same way.
"""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.access.errors import AccessError, SettingError
from pipelines.access.http.address import parsed

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

HOSTS = "LANDWEAVE_TRUSTED_HOSTS"
"""Hosts that any login may be sent to: 'host' or 'host:port', with spaces or commas between."""
PATHS = "LANDWEAVE_ALLOWED_PATHS"
"""Folders and files that a recipe may read besides its own folder, separated by ':' as in PATH."""
TESTBED = "LANDWEAVE_TESTBED"
"""Address of the miniature Earth on this machine, which stands for every archive: trusted like HOSTS."""

_ENTRY = re.compile(r"(?P<host>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::(?P<port>[0-9]{1,5}))?")
_PORTS = {"http": 80, "https": 443}
_THIS_MACHINE = ("127.0.0.1", "localhost", "::1")


def allow(hosts: Iterable[str] = (), paths: Iterable[Path] = ()) -> None:
    """Add to what this process and those that it starts allow.

    Raises:
        SettingError: a host is not written as 'host' or 'host:port', or a path does not exist.
    """
    added = list(hosts)
    for host in added:
        _entry(host, "--allow-host")
    found = [str(_existing(path, "--allow-path")) for path in paths]
    for name, more, between in ((HOSTS, added, ","), (PATHS, found, os.pathsep)):
        if more:
            os.environ[name] = between.join([*filter(None, [os.environ.get(name)]), *more])


def check_host(where: str, url: str, homes: Sequence[str], whose: str) -> None:
    """See that a login may be sent to an address.

    Args:
        where: Which part of the recipe says the address, for messages.
        url: The address, variables replaced.
        homes: Hosts of the service that gave the login; those below them are its own too.
        whose: Whose login it is, for messages.

    Raises:
        SettingError: the address is not one of them and the user has not allowed it, or it is not encrypted.
    """
    scheme, host, port = origin(url)
    named = host if port == _PORTS.get(scheme) else f"{host}:{port}"
    if not is_below(host, homes) and not is_trusted(url):
        raise _refused(where, named, whose)
    if not parsed(url).keeps_secrets:
        raise SettingError(f"{where}: {whose} is sent to https addresses only, found {scheme}://{host}")


def is_trusted(url: str) -> bool:
    """Whether the user has allowed the host of an address, and its port if one was given."""
    _, host, port = origin(url)
    return any(is_below(host, (h,)) and p in (None, port) for h, p in _trusted())


def signed_hosts(where: str, hosts: Sequence[str], homes: Sequence[str], whose: str) -> tuple[str, ...]:
    """Hosts that a recipe names for a login, each as 'host', or as 'host:port' where only that port is allowed.

    Raises:
        SettingError: one is neither the service's own nor allowed by the user.
    """
    found: list[str] = []
    for host in hosts:
        if is_below(host.lstrip("."), homes):
            found.append(host)
            continue
        ours = [(h, p) for h, p in _trusted() if is_below(host.lstrip("."), (h,))]
        if not ours:
            raise _refused(where, host, whose)
        found += [host if port is None else f"{host}:{port}" for _, port in ours]
    return tuple(dict.fromkeys(found))


def origin(url: str) -> tuple[str, str, int]:
    """(scheme, host, port) of an address.

    Raises:
        SettingError: it cannot be used.
    """
    try:
        return parsed(url).origin
    except AccessError as error:
        raise SettingError(error.detail) from None


def is_below(host: str, others: Sequence[str]) -> bool:
    """Whether a host is one of the others, or a name below one of them."""
    return any(host == o.lstrip(".") or host.endswith("." + o.lstrip(".")) for o in others)


def local_file(where: str, said: str, folder: Path, *, anywhere: bool = False) -> Path:
    """The regular file that a recipe names; see `local_place`."""
    real = local_place(where, said, folder, anywhere=anywhere)
    if not real.is_file():
        raise SettingError(f"{where}: {said!r} is not a regular file")
    return real


def local_place(where: str, said: str, folder: Path, *, anywhere: bool = False) -> Path:
    """The file or folder that a recipe names, links followed: below the recipe's folder, or below what is allowed.

    Args:
        where: Which part of the recipe names it, for messages.
        said: Path relative to `folder`.
        folder: The recipe's folder.
        anywhere: The user wrote this path themselves.

    Raises:
        SettingError: it lies elsewhere, is not there, or is neither a regular file nor a folder. The message holds the
            path as the recipe says it and no other.
    """
    try:
        real = (folder / said).resolve(strict=True)
        kind = real.stat().st_mode
    except (OSError, RuntimeError, ValueError):  # RuntimeError: links that lead in a circle
        raise SettingError(f"{where}: {said!r} does not exist; its path is relative to the recipe") from None
    roots = [folder.resolve(), *_allowed()]
    if not anywhere and not any(real == root or root in real.parents for root in roots):
        raise SettingError(
            f"{where}: {said!r} is outside the recipe's folder; if the recipe may read that file, add "
            f"--allow-path DIR with its folder (or set {PATHS})"
        )
    if not stat.S_ISREG(kind) and not stat.S_ISDIR(kind):
        raise SettingError(f"{where}: {said!r} is not a regular file")
    return real


def _refused(where: str, host: str, whose: str) -> SettingError:
    return SettingError(
        f"{where}: {whose} is not sent to {host}, which is not its own service; if you trust that host, add "
        f"--allow-host {host} (or set {HOSTS})"
    )


def _trusted() -> list[tuple[str, int | None]]:
    """(host, port; None = any) of each host that is allowed every login."""
    found = [_entry(e, HOSTS) for e in re.split(r"[\s,]+", os.environ.get(HOSTS, "")) if e]
    try:
        testbed = parsed(os.environ[TESTBED])
    except (KeyError, AccessError):
        return found  # the error appears when the address is used
    names = _THIS_MACHINE if testbed.host in _THIS_MACHINE else (testbed.host,)
    return found + [(name, testbed.port) for name in names]


def _entry(text: str, where: str) -> tuple[str, int | None]:
    match = _ENTRY.fullmatch(text)
    if match is None:
        raise SettingError(f"{where}: expected 'host' or 'host:port', found {text[:80]!r}")
    port = match["port"]
    return match["host"].strip("[]").lower(), None if port is None else int(port)


def _allowed() -> list[Path]:
    return [_existing(Path(p), PATHS) for p in os.environ.get(PATHS, "").split(os.pathsep) if p]


def _existing(path: Path, where: str) -> Path:
    try:
        return path.resolve(strict=True)
    except (OSError, RuntimeError):
        raise SettingError(f"{where}: {str(path)!r} does not exist") from None
