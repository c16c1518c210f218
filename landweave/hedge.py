"""Sends requests to a store, many at a time, and asks again where an answer is late.

One thread of the process runs an event loop for all stores. Each request has a watch:

* An answer is late after 1.5 times the time within which 95 of 100 recent requests of its size were answered. Then the
  same request is sent a second time, and the first answer counts; the other is cancelled. If both are late, there is a
  third after twice that time, and a fourth after four times.
* Such requests are at most 5 of 100, and those that came too late to help at most 1 of 100 bytes, so that a
  store that is slow as a whole does not get twice the load.
* A request without an answer for 2 s (and ten times the late time), while others of its size that were sent later are
  answered, is given up and sent anew, whatever the shares say; where no others are answered, after 10 s. Each time the
  request has twice the time, so that a slow link brings it in the end.
* An answer that breaks off is asked for again, twice at most.
* After `deadline_s` there is an error.

Requests of more bytes get more time: what a link of 256 kB/s would need.
"""

from __future__ import annotations

import asyncio
import atexit
import os
import re
import threading
from collections import deque
from typing import TYPE_CHECKING, Any, TypeVar
from weakref import WeakKeyDictionary

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine

T = TypeVar("T")

AT_ONCE = 256
"""Requests of a process that wait for an answer at a time: at 30 ms and 60 kB each they fill a link of 500 MB/s."""
DEADLINE_S = 120.0
"""Seconds after which a request without an answer is an error."""
_TICK_S = 0.01
_LATE, _SHARE = 1.5, 0.95
_UNKNOWN_S, _FEW = 0.25, 16
"""When an answer is late as long as fewer than this many of its size have come."""
_AGAIN_SHARE, _AGAIN_FIRST, _WASTED_SHARE, _WASTED_FIRST = 0.05, 8, 0.01, 1 << 22
_MOST, _BROKEN = 3, 2
_BREAKS = re.compile(r"response body|end of file|connection (closed|reset)|incomplete", re.IGNORECASE)
"""Messages of obstore if a connection ends in the middle of an answer."""
_STALLED_S, _SLOW_BYTES_S, _OTHERS, _PATIENT = 2.0, 256e3, 4, 5
_SIZES = (1 << 16, 1 << 20)
"""Requests are compared with those of their own size: up to 64 kB, up to 1 MB, larger."""


class LateError(Exception):
    """No answer came within the deadline."""


class _Times:
    """How long recent requests of a size took."""

    def __init__(self) -> None:
        self._last: deque[float] = deque(maxlen=512)
        self.count = 0
        self.late_s = _UNKNOWN_S

    def add(self, seconds: float) -> None:
        self._last.append(seconds)
        self.count += 1
        if self.count >= _FEW and self.count % _FEW == 0:
            self.late_s = max(2 * _TICK_S, _LATE * sorted(self._last)[int(_SHARE * (len(self._last) - 1))])


class _Request:
    """A request with all its tries."""

    __slots__ = ("again", "answer", "began", "broken", "latest", "resent", "seen", "send", "size", "times", "tries")

    def __init__(self, send: Callable[[], Awaitable[Any]], size: int, times: _Times) -> None:
        loop = asyncio.get_running_loop()
        self.send, self.size, self.times = send, size, times
        self.began = loop.time()
        self.again = self.broken = self.resent = self.seen = 0
        self.latest = self.began
        self.answer: asyncio.Future[Any] = loop.create_future()
        self.tries: dict[asyncio.Future[Any], float] = {}


class Asker:
    """Requests to one store."""

    def __init__(self, deadline_s: float = DEADLINE_S) -> None:
        self.deadline_s = deadline_s
        """Seconds after which a request without an answer is an error."""
        self.requests = 0
        """Requests that were answered."""
        self.again = 0
        """Requests that were sent a second time because they were late."""
        self.given_up = 0
        """Requests that were given up without an answer and sent anew."""
        self._bytes = self._wasted = 0
        self._times = [_Times() for _ in range(len(_SIZES) + 1)]
        self._open: dict[_Request, None] = {}
        self._ticking = False

    async def ask(self, send: Callable[[], Awaitable[T]], size: int) -> T:
        """The answer to a request.

        Args:
            send: sends it; called again if the answer is late.
            size: bytes that are asked for, about.

        Raises:
            LateError: none within the deadline. What `send` raises.
        """
        async with _limit():
            request = _Request(send, size, self._times[sum(size > s for s in _SIZES)])
            self._open[request] = None
            self._send(request)
            if not self._ticking:
                self._ticking = True
                asyncio.get_running_loop().call_later(_TICK_S, self._tick)
            try:
                found: T = await request.answer
                return found
            finally:
                del self._open[request]
                for late in request.tries:
                    late.cancel()

    def _send(self, request: _Request) -> None:
        sent = asyncio.ensure_future(request.send())
        request.seen = request.times.count
        request.tries[sent] = request.latest = asyncio.get_running_loop().time()
        sent.add_done_callback(lambda done: self._came(request, done))

    def _came(self, request: _Request, done: asyncio.Future[Any]) -> None:
        began = request.tries.pop(done, None)
        if done.cancelled():
            return
        error = done.exception()
        if began is None or request.answer.done():
            return
        if error is not None:
            if request.tries:  # they may bring an answer
                return
            if request.broken < _BROKEN and _BREAKS.search(str(error)):
                request.broken += 1
                self._send(request)
            else:
                request.answer.set_exception(error)
            return
        self.requests += 1
        self._bytes += request.size
        request.times.add(asyncio.get_running_loop().time() - began)
        if any(sent > began for sent in request.tries.values()):  # the second one was for nothing
            self._wasted += request.size
        request.answer.set_result(done.result())

    def _tick(self) -> None:
        loop = asyncio.get_running_loop()
        now = loop.time()
        for request in list(self._open):
            if not request.answer.done():
                self._look(request, now)
        self._ticking = bool(self._open)
        if self._ticking:
            loop.call_later(_TICK_S, self._tick)

    def _look(self, request: _Request, now: float) -> None:
        more_s = request.size / _SLOW_BYTES_S if request.size > _SIZES[-1] else 0.0
        late_s = request.times.late_s + more_s
        if now - request.began > self.deadline_s + more_s:
            request.answer.set_exception(
                LateError(f"no answer within {now - request.began:.0f} s, although it was asked for again")
            )
            return
        stalled_s = max(_STALLED_S, 10 * late_s) * 2**request.resent
        if request.times.count - request.seen < _OTHERS:
            stalled_s *= _PATIENT
        given_up = [sent for sent, began in request.tries.items() if now - began > stalled_s]
        for sent in given_up:
            del request.tries[sent]
            sent.cancel()
        if given_up and not request.tries:
            self.given_up += 1
            request.resent += 1
            self._send(request)
        elif request.again < _MOST and now - request.latest > late_s * 2**request.again and self._may():
            request.again += 1
            self.again += 1
            self._send(request)

    def _may(self) -> bool:
        """Whether a late request may be sent a second time."""
        few = self.again < _AGAIN_FIRST + _AGAIN_SHARE * self.requests
        return few and self._wasted < _WASTED_FIRST + _WASTED_SHARE * self._bytes


class _Loop:
    """The event loop of a process, in a thread."""

    def __init__(self) -> None:
        self.process = os.getpid()
        self.ended = False
        """Whether its process is ending."""
        self.loop = asyncio.new_event_loop()
        _LIMITS[self.loop] = asyncio.Semaphore(AT_ONCE)
        self._thread = threading.Thread(target=self.loop.run_forever, name="landweave-requests", daemon=True)
        self._thread.start()
        atexit.register(self.stop)

    def stop(self) -> None:
        """Cancel what is under way, and end the thread."""
        if self.process != os.getpid() or not self._thread.is_alive():
            return
        with _STARTING:  # nothing would end a thread that is started now, and Python would abort
            self.ended = True
        asyncio.run_coroutine_threadsafe(self._cancel(), self.loop)
        self._thread.join(timeout=5)

    async def _cancel(self) -> None:
        tasks = asyncio.all_tasks(self.loop) - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self.loop.call_later(_TICK_S, self.loop.stop)


_LOOPS: list[_Loop] = []
_LIMITS: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Semaphore] = WeakKeyDictionary()
_STARTING = threading.Lock()
if hasattr(os, "register_at_fork"):  # another thread may hold it while this one forks
    os.register_at_fork(after_in_child=lambda: globals().update(_STARTING=threading.Lock()))


def _running() -> _Loop:
    with _STARTING:
        if not _LOOPS or _LOOPS[0].process != os.getpid():
            _LOOPS[:] = [_Loop()]
        if _LOOPS[0].ended:
            raise RuntimeError("nothing can be read from a URL while Python ends")
        return _LOOPS[0]


def _limit() -> asyncio.Semaphore:
    """Of the loop that this is called in."""
    return _LIMITS[asyncio.get_running_loop()]


def run(work: Coroutine[Any, Any, T]) -> T:
    """The result of work in the loop, from any other thread."""
    found: T = begin(work).result()
    return found


def begin(work: Coroutine[Any, Any, T]) -> Any:
    """Start work in the loop, from any thread; returns a `concurrent.futures.Future`.

    Raises:
        RuntimeError: Python is ending.
    """
    try:
        loop = _running().loop
    except RuntimeError:
        work.close()
        raise
    return asyncio.run_coroutine_threadsafe(work, loop)
