"""Earth Engine through Google's client: stored bands on an explicit grid, within the project's quota.

    with open_session(Settings(project="my-project", endpoint="high-volume")) as session:
        image = graphs.stored(("COPERNICUS/S2_SR_HARMONIZED/2023...",), ("B2", "B3"))
        chip = session.compute_chip(image, geobox, ("B2", "B3"), dtype="uint16")

A process can use one project only, because the client's state is global. Threads share the session.
"""

from __future__ import annotations

import itertools
import os
import threading
from dataclasses import dataclass
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Self, TypeVar

import ee
import numpy as np
from google_auth_httplib2 import Request as TokenRequest  # type: ignore[import-untyped]

from pipelines.access.earthengine.credentials import Kind, check_host, credentials, project_of
from pipelines.access.earthengine.meter import Meter, eecu_s, profile_eecu_s
from pipelines.access.earthengine.requests import Piece, pieces
from pipelines.access.earthengine.slots import PROJECT_REQUESTS_PER_S, PROJECT_SLOTS, Slots, share_of
from pipelines.access.earthengine.transport import TooLargeError, Transport, classed
from pipelines.access.earthengine.validity import unpacked, with_validity
from pipelines.access.http.client import AccessError, Client, Counters, SettingError
from schemas.outcome import Reason

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from schemas.place import GeoBox

_T = TypeVar("_T")
_ENDPOINTS = {
    "standard": ee.data.DEFAULT_CLOUD_API_BASE_URL,
    "high-volume": ee.data.HIGH_VOLUME_API_BASE_URL,
}
"""Many small requests belong to high-volume (https://developers.google.com/earth-engine/guides/processing_environments)."""
_PROFILE_EVERY = 50
"""The first pixel request and one in this many are profiled: a profile costs one more small request."""
_WIDEST = np.dtype("float64")
_TOKEN_REQUESTS = 4
"""Connections beside those of the slots, to token endpoints."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Settings:
    """Settings of one worker's connection to Earth Engine."""

    project: str | None = None
    """Cloud project; from EARTHENGINE_PROJECT, GOOGLE_CLOUD_PROJECT or the credentials if None."""
    endpoint: str = "high-volume"
    """'standard', 'high-volume', or an address on this machine (a test server)."""
    credentials: Kind = "auto"
    """See earthengine_credentials."""
    slots: int = PROJECT_SLOTS
    """Concurrent requests of the project, over all workers."""
    workers: int = 1
    """Processes that share the project."""
    worker: int = 0
    """Number of this one, 0-based."""
    requests_per_s: float | None = PROJECT_REQUESTS_PER_S
    """Rate of requests of the project, over all workers; None = not limited by us."""
    retries: int = 8
    """Tries after the first, for errors that can pass."""
    timeout_s: float = 300.0
    """Deadline of one request; the service itself stops after five minutes."""
    backoff_s: float = 0.5
    """First pause between tries."""
    eecu_hours: float | None = None
    """EECU-hours that the whole run may use; None = no stop."""

    @property
    def url(self) -> str:
        """Base address."""
        return _ENDPOINTS.get(self.endpoint, self.endpoint)


@dataclass(frozen=True, slots=True)
class Computed:
    """A chip's pixels."""

    pixels: NDArray[Any]
    """(band, y, x). Zero where `valid` is False, which means nothing."""
    valid: NDArray[np.bool_]
    """(band, y, x), True = measured: the service's mask, never inferred from a value."""


class Session:
    """One project, one worker. Made by `open_session`."""

    def __init__(self, settings: Settings, transport: Transport, slots: Slots, client: Client) -> None:
        self.settings = settings
        self.slots = slots
        self.meter = Meter(settings.eecu_hours, workers=settings.workers)
        self._transport = transport
        self._tries = client
        self._numbers = itertools.count()
        self.users = 1
        """Number of users of the session."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the session; when the last user has, it ends, and another project may be opened then."""
        if _closed(self):
            self._transport.close()

    @property
    def counters(self) -> Counters:
        """Requests, bytes, retries and failures so far."""
        return self._tries.counters

    @property
    def restricted(self) -> bool:
        """True after the service reported that the project's monthly compute quota is used up."""
        return self._transport.restricted

    def value(self, expression: ee.ComputedObject, *, expected_s: float = 0.03) -> Any:
        """Value of an expression other than an image (`value:compute`); `expected_s`: EECU-seconds assumed.

        Raises:
            AccessError: classed.
        """

        def once(_: bool) -> Any:
            self.meter.reserve(expected_s)
            return classed(lambda: ee.data.computeValue(expression))

        return self._tries.retrying(once)

    def assets(self, request: Mapping[str, Any]) -> list[dict[str, Any]]:
        """All images that `ee.data.listImages` finds, every page; costs no compute time.

        Raises:
            AccessError: classed.
        """
        found: list[dict[str, Any]] = []
        token: str | None = None
        while True:
            page = self._listed(request, token)
            found += page["images"] or []
            following = page.get("nextPageToken")
            if not following:
                return found
            if following == token:
                raise AccessError(
                    Reason.UNAVAILABLE, "the list of assets is a loop: a page names itself as the next page"
                )
            token = str(following)

    def _listed(self, request: Mapping[str, Any], token: str | None) -> dict[str, Any]:
        return self._tries.retrying(lambda _: classed(lambda: _page(request, token)))

    def compute_chip(
        self,
        expression: ee.Image,
        geobox: GeoBox,
        bands: Sequence[str],
        *,
        dtype: str | None = None,
        images: int = 1,
    ) -> Computed:
        """Pixels of an image on a grid, split into as many requests as the service's limits ask for.

        Args:
            expression: The image.
            geobox: The grid; each pixel is computed at its centre.
            bands: Names of its bands, in the order wanted.
            dtype: numpy dtype that the service is asked to cast to; the bands' own, brought to one, if None.
            images: How many images it is made of, for the estimate of compute time.

        Returns:
            All pixels: there is no chip with a part missing.

        Raises:
            AccessError: classed. A failed request is never pixels.
        """
        wanted = None if dtype is None else np.dtype(dtype)
        valid = np.zeros((len(bands), *geobox.shape), np.bool_)
        parts: list[tuple[Piece, NDArray[Any]]] = []
        waiting = list(pieces(geobox, len(bands), wanted or _WIDEST))
        while waiting:
            piece = waiting.pop(0)
            try:
                pixels, good = self._piece(expression, geobox, tuple(bands[piece.bands]), piece, wanted, images)
            except TooLargeError:
                halves = piece.halves()
                if halves is None:
                    raise
                waiting[:0] = halves
                continue
            parts.append((piece, pixels))
            valid[piece.bands, piece.rows, piece.columns] = good
        out = np.zeros(valid.shape, wanted or np.result_type(*[p.dtype for _, p in parts]))
        for piece, pixels in parts:
            out[piece.bands, piece.rows, piece.columns] = pixels
        out[~valid] = 0
        return Computed(out, valid)

    def _piece(
        self,
        expression: ee.Image,
        geobox: GeoBox,
        bands: tuple[str, ...],
        piece: Piece,
        dtype: np.dtype[Any] | None,
        images: int,
    ) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        request = {
            "expression": with_validity(expression, bands, dtype),
            "fileFormat": "NUMPY_NDARRAY",
            "grid": piece.grid(geobox),
        }
        expected_s = eecu_s(piece.width * piece.height, len(bands), images)

        def once(_: bool) -> tuple[NDArray[Any], NDArray[np.bool_]]:
            table = self._metered(expected_s, lambda: ee.data.computePixels(dict(request)))
            return unpacked(table, bands, dtype, (piece.height, piece.width))

        return self._tries.retrying(once)

    def _metered(self, expected_s: float, call: Callable[[], _T]) -> _T:
        charged_s = self.meter.reserve(expected_s)
        if next(self._numbers) % _PROFILE_EVERY:
            return classed(call)
        profiles: list[str] = []
        with ee.data.profiling(profiles.append):
            result = classed(call)
        if profiles:
            self._profiled(profiles, expected_s, charged_s)
        return result

    def _profiled(self, profiles: list[str], expected_s: float, charged_s: float) -> None:
        try:
            text = classed(lambda: ee.data.computeValue(ee.ApiFunction.call_("Profile.getProfiles", profiles)))
        except AccessError:
            return  # the pixels are there; the next profile will do
        if isinstance(text, str) and (measured_s := profile_eecu_s(text)) > 0.0:
            self.meter.measured(expected_s, charged_s, measured_s)


def _page(request: Mapping[str, Any], token: str | None) -> dict[str, Any]:
    found: dict[str, Any] = ee.data.listImages(
        {**request, "pageSize": 1000, **({} if token is None else {"pageToken": token})}
    )
    return found


_lock = threading.Lock()
_open: list[Session] = []


def open_session(settings: Settings, environment: Mapping[str, str] | None = None) -> Session:
    """Sign in and load the service's description; the same session again where one with these settings is open.

    Close it as often as it was opened.

    Raises:
        SettingError: the user's mistake in one line: no credentials, no project, too many workers, another session.
        AccessError: the service or the token endpoint refuses or does not answer.
    """
    with _lock:
        if _open:
            if _open[0].settings == settings:
                _open[0].users += 1
                return _open[0]
            raise SettingError("Earth Engine: a process can have one session only, and another session is open")
        found, project, share = check(settings, environment)
        rate = None if settings.requests_per_s is None else settings.requests_per_s / settings.workers
        slots = Slots(share, requests_per_s=rate)
        client = Client(
            concurrency=slots.share + _TOKEN_REQUESTS,
            retries=settings.retries,
            timeout_s=settings.timeout_s,
            backoff_s=settings.backoff_s,
        )
        transport = Transport(settings.url, slots, client)
        session = Session(settings, transport, slots, client)
        session._tries.retrying(lambda _: classed(lambda: _initialize(found, settings.url, project, transport)))
        _open.append(session)
        return session


def check(settings: Settings, environment: Mapping[str, str] | None = None) -> tuple[Any, str, int]:
    """(credentials, project, slots of this worker); nothing is asked of the service.

    Raises:
        SettingError: the user's mistake in one line: a foreign address, no credentials, no project, too many workers.
    """
    check_host(settings.url)
    try:
        share = share_of(settings.slots, settings.workers, settings.worker)
    except ValueError as error:
        raise SettingError(f"Earth Engine: {error}") from None
    found = credentials(settings.credentials, url=settings.url, environment=environment)
    return found, project_of(settings.project, found, os.environ if environment is None else environment), share


def _initialize(found: Any, url: str, project: str, transport: Transport) -> None:
    if getattr(found, "token", None) is None and hasattr(found, "refresh") and not _is_anonymous(found):
        found.refresh(
            TokenRequest(SimpleNamespace(request=transport.ask_for_token))
        )  # once here, not by forty threads at once
    # The client would fetch a list of deprecated data sets from another host, without a deadline: leave it out.
    none: Any = {"": None}
    ee.deprecation.deprecated_assets = none
    ee.Initialize(found, url=url, project=project, http_transport=transport)
    ee.data.setMaxRetries(0)  # ours know the slots, Retry-After and the budget


def _is_anonymous(found: object) -> bool:
    return type(found).__name__ == "AnonymousCredentials"


def _closed(session: Session) -> bool:
    """Whether that was the last user."""
    with _lock:
        session.users -= 1
        if session.users > 0 or session not in _open:
            return False
        _open.remove(session)
        ee.Reset()
        return True
