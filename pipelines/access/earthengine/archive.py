"""Earth Engine as a provider of a recipe: checks it before any request, opens it once, searches, reads and meters."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING

from filelock import FileLock

from pipelines.access.earthengine import items as earthengine_items
from pipelines.access.earthengine.credentials import KEY_VARIABLE, is_loopback
from pipelines.access.earthengine.reader import EarthEngineReader
from pipelines.access.earthengine.session import Settings, check, open_session
from pipelines.access.http.client import AccessError, Counters, interpolate
from pipelines.access.http.permission import check_host, origin

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import date, datetime
    from pathlib import Path

    from pipelines.access.chips import Chip, ChipRequest
    from pipelines.access.earthengine.session import Session
    from schemas.earthengine import EarthEngineProvider
    from schemas.place import BBox

URL_VARIABLE = "LANDWEAVE_EARTHENGINE_URL"
"""Address of the service where the recipe names none: a server on this machine, for trying a recipe without an
account. Anything but this machine and hosts below googleapis.com is refused."""


GOOGLE = ("googleapis.com",)
"""Whose logins these are."""


class EarthEngineArchive:
    """One provider of kind `earthengine`, as one worker reaches it. Threads share it; signs in when first asked."""

    def __init__(
        self, name: str, provider: EarthEngineProvider, *, workers: int = 1, locks: Path | None = None
    ) -> None:
        """See the class.

        Args:
            name: The provider's name in the recipe, for messages.
            provider: Its entry.
            workers: Processes that share the project.
            locks: Folder that these processes share; there they find out which of them is which. None: each takes the
                smallest share.
        """
        self._name, self._provider = name, provider
        self._workers, self._locks = workers, locks
        self._lock = threading.Lock()
        self._session: Session | None = None
        self._reader: EarthEngineReader | None = None

    def check(self) -> None:
        """Check that credentials, a project, a slot for each worker and an address exist; sends no request.

        Raises:
            SettingError: one line that names what is missing.
        """
        check(settings_of(self._name, self._provider, os.environ, workers=self._workers))

    @property
    def session(self) -> Session:
        """The open session.

        Raises:
            SettingError: the user's mistake.
            AccessError: the service refuses or does not answer.
        """
        with self._lock:
            if self._session is None:
                number = worker_number(self._locks, self._workers)
                settings = settings_of(self._name, self._provider, os.environ, workers=self._workers, worker=number)
                self._session = open_session(settings)
            return self._session

    def search(
        self,
        collection: str,
        areas: Sequence[BBox] | earthengine_items.Item,
        period: tuple[date | datetime, date | datetime] | None,
        *,
        plain: bool = False,
    ) -> list[earthengine_items.Item]:
        """All images of a collection (or several, with commas between) over an area, as STAC items; the service filters
        (`earthengine_items.search`). `plain`: each band by its own name, whatever we know of the collection."""
        session = self.session
        return [
            item
            for each in collection.split(",")
            for item in earthengine_items.search(session, each, areas=areas, period=period, plain=plain)
        ]

    def read_chips(self, requests: Sequence[ChipRequest]) -> list[Chip | AccessError]:
        """`EarthEngineReader.read_chips`; where the session cannot be opened, that is why no chip could be had.

        Raises:
            SettingError: the user's mistake.
        """
        try:
            session = self.session
        except AccessError as error:
            return [error] * len(requests)
        with self._lock:
            if self._reader is None:
                self._reader = EarthEngineReader(session)
        return self._reader.read_chips(requests)

    @property
    def counters(self) -> Counters:
        """Requests, bytes, retries and failures so far."""
        return Counters() if self._session is None else self._session.counters

    @property
    def eecu_hours(self) -> float:
        """Compute time charged so far, EECU-hours."""
        return 0.0 if self._session is None else self._session.meter.used_hours

    def close(self) -> None:
        """End threads and the session."""
        if self._reader is not None:
            self._reader.close()
        if self._session is not None:
            self._session.close()
        self._reader = self._session = None


def settings_of(
    name: str, provider: EarthEngineProvider, environment: Mapping[str, str], *, workers: int = 1, worker: int = 0
) -> Settings:
    """A provider's entry and the environment, as the session needs them.

    A server on this machine is asked without credentials unless the environment names some; with credentials only where
    the user has named its address.

    Raises:
        SettingError: its address names an environment variable that is not set, or is not one to send credentials to.
    """
    where, named = f"provider {name!r}", environment.get(URL_VARIABLE)
    address = provider.url or named
    url = None if address is None else interpolate(address, dict(environment), where=where)
    unsigned = url is not None and is_loopback(url) and provider.credentials == "auto"
    signed = not unsigned or environment.get(KEY_VARIABLE)
    if url is not None and signed and (named is None or origin(named) != origin(url)):
        check_host(f"{where}: url", url, GOOGLE, "a Google login")
    return Settings(
        project=provider.project,
        endpoint=url.rstrip("/") if url else provider.endpoint.replace("_", "-"),
        credentials=provider.credentials if signed else "anonymous",
        slots=provider.slots,
        workers=workers,
        worker=worker,
        requests_per_s=provider.requests_per_s,
        retries=provider.retries,
        timeout_s=provider.timeout_s,
        eecu_hours=provider.eecu_hours,
    )


_numbers: dict[tuple[str, int], int] = {}
_numbering = threading.Lock()
_held: list[FileLock] = []
"""Locks that this process holds until it ends."""


def worker_number(locks: Path | None, workers: int) -> int:
    """Number of this process among `workers`, 0-based: the first number whose lock is free.

    The lock is held until the process ends, however it ends. The number decides who holds the slots that are left
    over when they do not divide: processes that cannot see each other's locks take the smallest share.
    """
    if locks is None or workers == 1:
        return workers - 1
    key = (str(locks), workers)
    with _numbering:
        if key not in _numbers:
            locks.mkdir(parents=True, exist_ok=True)
            _numbers[key] = next((i for i in range(workers) if _locked(locks / f"worker-{i}.lock")), workers - 1)
        return _numbers[key]


def _locked(path: Path) -> bool:
    lock = FileLock(path, thread_local=False)
    try:
        lock.acquire(blocking=False)
    except OSError:  # another process holds it, or this file system has no locks
        return False
    _held.append(lock)
    return True
