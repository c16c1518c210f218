"""Faults between an archive and its client, at places that a seed selects.

    schedule = Schedule(7, Rates.usual(), folder_of=...)
    services.faults.append(schedule)

A decision depends on (seed, what is asked, how often it was asked before) and on nothing else: not on time, threads or
ports. `schedule.events` says afterwards what was done to whom.
"""

from __future__ import annotations

import hashlib
import json
import random
import threading
from collections import defaultdict
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from testbed.server import Answer, Fault, Request

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

ANYWHERE = ("429", "429-after", "503", "reset", "stall", "pause", "short", "html")
"""Kinds for every request: throttled, throttled with Retry-After, down, TCP reset, silence before the answer, silence
inside the body, a body that ends early, a proxy's page with status 200."""
FILES = ("flip", "range", "expired")
"""Kinds for files: one changed byte of pixels, a Content-Range of other bytes, a signature that has just expired."""
PAGES = ("empty-page", "lost-next", "twice")
"""Kinds for searches: a page that lost its items, its link to the next, or that comes instead of the one asked for."""
KINDS = ANYWHERE + FILES + PAGES


@dataclass(frozen=True, kw_only=True)
class Event:
    """One thing that was done."""

    path: str
    """URL path of the request."""
    identity: str
    """What was asked: equal for equal requests, whatever their signature."""
    number: int
    """How often it had been asked before."""
    kind: str
    lasting: bool
    """True where the same is done every time this is asked."""


def usual(share: float) -> dict[str, float]:
    """Kind -> probability a request; `share` in all, slow ones seldom."""
    weights = {kind: 0.05 if kind in ("stall", "pause") else 1.0 for kind in KINDS}
    total = sum(weights.values())
    return {kind: share * weight / total for kind, weight in weights.items()}


@dataclass(kw_only=True)
class Schedule:
    """A hook for `Services.faults`."""

    seed: int
    rates: Mapping[str, float]
    """Kind -> probability a request."""
    lasting: float = 0.0
    """Share of the faults that happen again whenever the same is asked; a lasting 'flip' is damage in the archive."""
    stall_s: float = 5.0
    """How long a stall lasts; longer than the client's patience."""
    soft: Callable[[str], int] = lambda _: 0
    """URL path of a file -> offset behind which a flip hits pixels under a check sum."""
    is_file: Callable[[str], bool] = lambda path: path.endswith(".tif")
    tokens: Tokens | None = None
    """Who issued the signatures that can expire; without one nothing does."""
    events: list[Event] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Nothing was asked yet."""
        self._lock = threading.Lock()
        self._asked: dict[str, int] = defaultdict(int)
        self._lasting: dict[str, str] = {}

    def __call__(self, request: Request) -> Fault | None:
        """What goes wrong with this request, if anything."""
        identity = identity_of(request)
        with self._lock:
            number = self._asked[identity]
            self._asked[identity] += 1
            chance = random.Random(_digest(self.seed, identity, number))
            kind = self._lasting.get(identity)
            lasting = kind is not None
            if kind is None:
                kind = self._kind(request, chance.random())
                lasting = kind is not None and chance.random() < self.lasting
            if kind is None:
                return None
            if lasting:
                self._lasting[identity] = kind
                chance = random.Random(_digest(self.seed, identity, kind))
            fault = self._fault(kind, request, chance)
            if fault is not None:
                event = Event(path=request.path, identity=identity, number=number, kind=kind, lasting=lasting)
                self.events.append(event)
            return fault

    def _kind(self, request: Request, drawn: float) -> str | None:
        special = FILES if self.is_file(request.path) else PAGES
        for kind in KINDS:
            if kind in ANYWHERE or kind in special:
                drawn -= self.rates.get(kind, 0.0)
                if drawn < 0.0:
                    return kind
        return None

    def _fault(self, kind: str, request: Request, chance: random.Random) -> Fault | None:
        if kind in _PLAIN:
            return _PLAIN[kind]
        at, bit = chance.random(), chance.randrange(8)
        match kind:
            case "stall":
                return Fault(delay_s=self.stall_s)
            case "pause":
                return Fault(pause_at=int(at * 100), pause_s=self.stall_s)
            case "short":
                return Fault(short_by_bytes=1 + int(at * 2000))
            case "flip":
                return Fault(change=lambda answer: _flipped(answer, self.soft(request.path), at, bit))
            case "expired":
                return None if self.tokens is None else self.tokens.expire(request)
        raise ValueError(f"no fault is called {kind!r}; there are {KINDS}")


@dataclass(kw_only=True)
class Tokens:
    """A signing service as the Planetary Computer's, and the check of its signatures. A route and a hook."""

    root: str = "/token/"
    """Path below which tokens are issued."""
    guarded: Callable[[str], bool] = lambda path: path.endswith(".tif")
    """URL paths that want a signature."""
    issued: int = 0
    refused: int = 0

    def __post_init__(self) -> None:
        """No token is out."""
        self._dead: set[str] = set()
        self._lock = threading.Lock()

    def route(self, request: Request) -> Answer | None:
        """Issue a token."""
        if not request.path.startswith(self.root):
            return None
        with self._lock:
            self.issued += 1
            return Answer.of({"token": f"sig=secret{self.issued}", "msft:expiry": "2099-01-01T00:00:00Z"})

    def hook(self, request: Request) -> Fault | None:
        """Refuse what is not signed, or no longer."""
        if not self.guarded(request.path):
            return None
        signature = dict(request.query).get("sig", "")
        with self._lock:
            if signature.startswith("secret") and signature not in self._dead:
                return None
            self.refused += 1
            return Fault(status=403, body=b"Signature not valid in the specified time frame")

    def expire(self, request: Request) -> Fault:
        """The signature of this request ends now, for all who use it."""
        with self._lock:
            self._dead.add(dict(request.query).get("sig", ""))
            self.refused += 1
        return Fault(status=403, body=b"Signature not valid in the specified time frame")


def identity_of(request: Request) -> str:
    """Equal for equal questions: without signature, host and port."""
    query = [(k, v) for k, v in request.query if k != "sig"]
    return (
        f"{request.method} {request.path} {query} {request.range or ''} {hashlib.sha256(request.body).hexdigest()[:16]}"
    )


def _digest(*parts: object) -> int:
    return int.from_bytes(hashlib.sha256(repr(parts).encode()).digest()[:8], "little")


def _flipped(answer: Answer, soft: int, at: float, bit: int) -> Answer:
    """One bit of the body changed, behind the offset `soft` of the file; nothing where all of it lies before."""
    said = answer.headers.get("Content-Range", "bytes 0-").removeprefix("bytes ")
    first = max(0, soft - int(said.split("-")[0]))
    if first >= len(answer.body):
        return answer
    body = bytearray(answer.body)
    body[first + int(at * (len(body) - first))] ^= 1 << bit
    return replace(answer, body=bytes(body))


def _shifted(answer: Answer) -> Answer:
    """The bytes asked for under the name of others."""
    said = answer.headers.get("Content-Range")
    if said is None:
        return answer
    span, _, total = said.removeprefix("bytes ").partition("/")
    first, last = (int(v) for v in span.split("-"))
    moved = f"bytes {first + 512}-{last + 512}/{total}"
    return replace(answer, headers={**answer.headers, "Content-Range": moved})


def _page(answer: Answer, *, twice: bool = False, **changed: Any) -> Answer:
    """A search's answer with some of it changed; other answers as they are."""
    try:
        page = json.loads(answer.body)
    except ValueError:
        return answer
    if not isinstance(page, dict) or page.get("type") != "FeatureCollection":
        return answer
    if twice:
        changed = {"features": [*page["features"], *page["features"]], "links": []}
    return Answer.of({**page, **changed}, answer.status, "application/geo+json")


_PLAIN = {
    "429": Fault(status=429),
    "429-after": Fault(status=429, headers={"Retry-After": "0"}),
    "503": Fault(status=503, body=b"Service Unavailable"),
    "reset": Fault(reset=True),
    "html": Fault(status=200, body=b"<html>Please try again</html>", headers={"Content-Type": "text/html"}),
    "range": Fault(change=_shifted),
    "empty-page": Fault(change=lambda answer: _page(answer, features=[])),
    "lost-next": Fault(change=lambda answer: _page(answer, links=[])),
    "twice": Fault(change=lambda answer: _page(answer, twice=True)),
}
