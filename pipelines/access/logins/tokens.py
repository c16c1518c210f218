"""Tokens that expire: fetched on first use, renewed before they expire and when refused, kept only in memory."""

from __future__ import annotations

import math
import threading
import time
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from pipelines.access.http.client import AccessError
from schemas.outcome import Reason

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

K = TypeVar("K", bound="Hashable")

_EARLY_S = 120.0
"""A token this near its end is renewed before use, or at half its life if that is shorter."""


class Tokens(Generic[K]):
    """One token for each key (a container, a service), shared by all threads of a worker.

    Many threads are refused at once when a token ends early: the first of them gets a new one for all.
    """

    def __init__(self, fetch: Callable[[K], tuple[str, float]], *, now: Callable[[], float] = time.time) -> None:
        """`fetch`: key -> (token, its end in seconds since 1970). `now`: the clock, likewise."""
        self._fetch = fetch
        self._now = now
        self._lock = threading.Lock()
        self._known: dict[K, tuple[str, float]] = {}
        self._used = threading.local()

    def get(self, key: K, *, fresh: bool) -> str:
        """A valid token; `fresh` = the one that this thread used last was refused.

        Raises:
            AccessError: none was given; the tries of `fetch` are spent.
        """
        used: dict[K, str] = self._used.__dict__.setdefault("tokens", {})
        with self._lock:
            token, renew_s = self._known.get(key, ("", 0.0))
            if self._now() >= renew_s or (fresh and token == used.get(key, token)):
                token, end_s = self._fetch(key)
                life_s = end_s - self._now()
                # A new token that has ended already: this host's clock is ahead. It is used until it is refused.
                renew_s = end_s - min(_EARLY_S, life_s / 2.0) if life_s > 0.0 else math.inf
                self._known[key] = (token, renew_s)
        used[key] = token
        return token


def token_in(answer: dict[str, Any], name: str, whose: str) -> str:
    """The token in a service's answer.

    Raises:
        AccessError: UNAVAILABLE if there is none. The message never contains the answer.
    """
    token = answer.get(name)
    if not isinstance(token, str) or not token:
        raise AccessError(Reason.UNAVAILABLE, f"no token for {whose} in the answer of its service")
    return token
