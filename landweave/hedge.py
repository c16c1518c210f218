"""Sends requests to a store, many at a time, and asks again where an answer is late.

One thread of the process runs an event loop for all stores. Each request has a watch:

* An answer is late after 1.25 times the time within which 95 of 100 recent requests of its size were answered, those
  that still wait counted. Then the same request is sent a second time, and the first answer counts; the other is
  cancelled. If both are late, there is a third after the same time, and a fourth.
* Such requests are at most 5 of 100, and those that came too late to help at most 1 of 100 bytes, so that a store that
  is slow as a whole does not get twice the load. The last 5 of 100, or the last two, of those that were sent together
  may be sent again twice in any case.
* A request without an answer for 2 s (and four times the late time), while four others of its size are answered for
  each that is late, is given up and sent anew, whatever the shares say; where fewer are answered, as from a store that
  is slow as a whole, after 10 s. Each time the request has twice the time, so that a slow link brings it in the end.
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
_LATE, _SHARE = 1.25, 0.95
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
    """How long recent requests of a size took, and those that wait for their first answer."""

    def __init__(self) -> None:
        self._last: deque[tuple[float, bool]] = deque(maxlen=512)
        """(seconds, whether it was not answered then and nobody waited longer)."""
        self.count = 0
        """Requests that were answered."""
        self._measured = 0
        """Number of answers when the time was measured last."""
        self.late_s = _UNKNOWN_S
        self.usual_s = 0.0
        """Half of the requests are answered within this time."""
        self.fresh: deque[_Request] = deque()
        """Requests that were sent once, in the order of sending; those that are answered leave it later."""
        self.late: dict[_Request, None] = {}
        """Requests that are late."""
        self.sent = self.open = 0
        """Requests that were sent so far, and those of them that are open."""

    def add(self, seconds: float) -> None:
        """Count an answer."""
        self._last.append((seconds, False))
        self.count += 1

    def add_left(self, seconds: float) -> None:
        """Count a try that had no answer after this time, when another brought it."""
        self._last.append((seconds, True))

    def look(self, now: float) -> bool:
        """Find those that are late; returns whether any request is open."""
        few = 1 if self.late_s == _UNKNOWN_S else 2 * _FEW
        if self.count >= max(_FEW, self._measured + few):
            self._measured = self.count
            self._measure(now)
        while self.fresh and (self.fresh[0].done or now - self.fresh[0].began > self.late_s):
            request = self.fresh.popleft()
            if not request.done:
                self.late[request] = None
        return bool(self.fresh or self.late)

    def _measure(self, now: float) -> None:
        """The time within which a share is answered, by Kaplan and Meier: those that wait have taken their time so far.

        Without those that wait, the first answers of many requests that were sent together would make the others late.
        """
        waiting = [(now - r.began, True) for r in (*self.fresh, *self.late) if not r.done]
        at_risk, left = len(self._last) + len(waiting), 1.0
        usual = False
        for seconds, open_ended in sorted([*self._last, *waiting]):
            if not open_ended:
                left *= 1 - 1 / at_risk
                if left <= 0.5 and not usual:
                    self.usual_s, usual = seconds, True
                if left <= 1 - _SHARE:
                    self.late_s = max(2 * _TICK_S, _LATE * seconds)
                    return
            at_risk -= 1


class _Request:
    """A request with all its tries."""

    __slots__ = (
        "again", "answer", "asker", "began", "broken", "done", "latest", "number", "resent", "seen", "send", "size",
        "times", "tries",
    )  # fmt: skip

    def __init__(self, asker: Asker, send: Callable[[], Awaitable[Any]], size: int, times: _Times) -> None:
        self.asker, self.send, self.size, self.times = asker, send, size, times
        self.again = self.broken = self.resent = self.seen = 0
        self.began = self.latest = 0.0
        self.number = -1
        """Requests of its size that were sent before; -1: it has not been sent."""
        self.done = False
        self.answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self.answer.add_done_callback(self._over)
        self.tries: dict[asyncio.Future[Any], float] = {}

    def start(self) -> None:
        """Send it for the first time, and watch it."""
        self.number = self.times.sent
        self.times.sent += 1
        self.times.open += 1
        self.try_once()
        self.began = self.latest
        self.times.fresh.append(self)
        self.asker.watch()

    @property
    def last(self) -> bool:
        """Whether 95 of 100 requests of its size that were sent with it or later, or all but two, are answered."""
        since = self.times.sent - self.number
        return since >= _FEW and self.times.open <= max(2, (1 - _SHARE) * since)

    def try_once(self) -> None:
        """Send it."""
        self.latest = asyncio.get_running_loop().time()
        try:
            sent = asyncio.ensure_future(self.send())
        except Exception as error:  # noqa: BLE001 - raised again where the answer is awaited
            if not self.answer.done():
                self.answer.set_exception(error)
            return
        self.seen = self.times.count
        self.tries[sent] = self.latest
        sent.add_done_callback(self._came)

    def _came(self, done: asyncio.Future[Any]) -> None:
        began = self.tries.pop(done, None)
        if done.cancelled():
            return
        error = done.exception()
        if self.done or began is None or self.answer.done():
            return
        if error is None:
            self.asker.count(self, began)
            self.answer.set_result(done.result())
        elif self.tries:  # they may bring an answer
            return
        elif self.broken < _BROKEN and _BREAKS.search(str(error)):
            self.broken += 1
            self.try_once()
        else:
            self.answer.set_exception(error)

    def _over(self, _: asyncio.Future[Any]) -> None:
        """There is an answer or an error, or nobody waits for one."""
        self.done = True
        self.times.late.pop(self, None)
        self.times.open -= self.number >= 0
        for sent in list(self.tries):
            sent.cancel()
        del self.answer, self.send  # the watch may hold this request a little longer
        _room().leave(self)


class _Room:
    """Requests of a loop that are open, and those that wait until there are fewer."""

    def __init__(self) -> None:
        self._open: set[_Request] = set()
        self._waiting: deque[_Request] = deque()

    def enter(self, request: _Request) -> None:
        """Start a request, now or later."""
        if len(self._open) < AT_ONCE:
            self._open.add(request)
            request.start()
        else:
            self._waiting.append(request)

    def leave(self, request: _Request) -> None:
        """A request is over."""
        self._open.discard(request)
        while self._waiting and len(self._open) < AT_ONCE:
            following = self._waiting.popleft()
            if not following.done:
                self.enter(following)

    def close(self) -> None:
        """Nobody waits for an answer any more."""
        waiting, self._waiting = self._waiting, deque()
        for request in (*waiting, *self._open):
            if not request.done:
                request.answer.cancel()


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
        self._ticking = False

    def ask(self, send: Callable[[], Awaitable[T]], size: int) -> asyncio.Future[T]:
        """Ask for something, in the loop: no task is made, which would cost as much as the request.

        Args:
            send: sends it; called again if the answer is late.
            size: bytes that are asked for, about.

        Returns:
            The answer, or LateError (none within the deadline), or what `send` raises. Cancel it if nobody wants it.
        """
        request = _Request(self, send, size, self._times[sum(size > s for s in _SIZES)])
        answer = request.answer
        _room().enter(request)
        return answer

    def watch(self) -> None:
        """A request was started: look at what is open until nothing is."""
        if not self._ticking:
            self._ticking = True
            asyncio.get_running_loop().call_later(_TICK_S, self._tick)

    def count(self, request: _Request, began: float) -> None:
        """Count an answer; the try that brought it began then."""
        self.requests += 1
        self._bytes += request.size
        now, times = asyncio.get_running_loop().time(), request.times
        times.add(now - began)
        for sent in request.tries.values():
            if sent < began:
                times.add_left(now - sent)
            elif now - sent > times.usual_s / 2:  # the second one was for nothing, and its answer perhaps on the way
                self._wasted += request.size

    def _tick(self) -> None:
        loop = asyncio.get_running_loop()
        now, self._ticking = loop.time(), False
        for times in self._times:
            self._ticking |= times.look(now)
            for request in list(times.late):
                self._look(request, now)
        if self._ticking:
            loop.call_later(_TICK_S, self._tick)

    def _look(self, request: _Request, now: float) -> None:
        if request.answer.done():
            return
        more_s = request.size / _SLOW_BYTES_S if request.size > _SIZES[-1] else 0.0
        late_s = request.times.late_s + more_s
        if now - request.began > self.deadline_s + more_s:
            request.answer.set_exception(
                LateError(f"no answer within {now - request.began:.0f} s, although it was asked for again")
            )
            return
        stalled_s = max(_STALLED_S, 4 * late_s) * 2**request.resent
        if request.times.count - request.seen < _OTHERS * len(request.times.late):
            stalled_s *= _PATIENT
        given_up = [sent for sent, began in request.tries.items() if now - began > stalled_s]
        for sent in given_up:
            del request.tries[sent]
            sent.cancel()
        if given_up and not request.tries:
            self.given_up += 1
            request.resent += 1
            request.try_once()
        elif request.again < _MOST and now - request.latest > late_s and self._may(request):
            request.again += 1
            self.again += 1
            request.try_once()

    def _may(self, request: _Request) -> bool:
        """Whether a late request may be sent a second time."""
        if request.again < 2 and request.last:
            return True
        few = self.again < _AGAIN_FIRST + _AGAIN_SHARE * self.requests
        return few and self._wasted < _WASTED_FIRST + _WASTED_SHARE * self._bytes


class _Loop:
    """The event loop of a process, in a thread."""

    def __init__(self) -> None:
        self.process = os.getpid()
        self.ended = False
        """Whether its process is ending."""
        self.loop = asyncio.new_event_loop()
        _ROOMS[self.loop] = _Room()
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
        _room().close()
        self.loop.call_later(_TICK_S, self.loop.stop)


_LOOPS: list[_Loop] = []
_ROOMS: WeakKeyDictionary[asyncio.AbstractEventLoop, _Room] = WeakKeyDictionary()
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


def _room() -> _Room:
    """Of the loop that this is called in."""
    return _ROOMS[asyncio.get_running_loop()]


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
