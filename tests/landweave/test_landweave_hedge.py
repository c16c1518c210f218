"""Which requests are sent again, on a clock that is not the machine's."""

from __future__ import annotations

import asyncio
import math
import random
from typing import TYPE_CHECKING, Any

import pytest

from landweave import hedge

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


class Clock(asyncio.SelectorEventLoop):
    """A loop whose time passes only while nothing else is to be done."""

    now = 0.0

    def time(self) -> float:
        return self.now

    def _run_once(self) -> None:
        held: Any = self
        if not held._ready and held._scheduled:
            self.now = max(self.now, held._scheduled[0]._when)
        super()._run_once()  # type: ignore[misc]


@pytest.fixture
def clock() -> Iterator[Clock]:
    loop = Clock()
    hedge._ROOMS[loop] = hedge._Room()
    yield loop
    loop.close()


class Store:
    """Answers after the seconds that `draw` says; counts what it was asked."""

    def __init__(self, asker: hedge.Asker, draw: Callable[[], float]) -> None:
        self.asker, self.draw = asker, draw
        self.asked = self.answered = 0

    async def _answer(self) -> bytes:
        self.asked += 1
        seconds = self.draw()
        await (asyncio.sleep(seconds) if math.isfinite(seconds) else asyncio.Event().wait())
        self.answered += 1
        return b"x"

    async def batch(self, requests: int, size: int = 1000) -> float:
        """Seconds until all have been answered."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        await asyncio.gather(*(self.asker.ask(self._answer, size) for _ in range(requests)))
        return loop.time() - began


def habits(seed: int) -> Callable[[], float]:
    """98 of 100 answers after a lognormal 30 ms, one after 2 s, one never."""
    dice = random.Random(seed)

    def draw() -> float:
        kind = dice.random()
        return math.inf if kind < 0.01 else 2.0 if kind < 0.02 else 0.03 * math.exp(dice.gauss(0, 0.35))

    return draw


def wide(seed: int) -> Callable[[], float]:
    """A lognormal distribution with a median of 30 ms and a 99th percentile of 2 s; one of 100 is never answered."""
    dice = random.Random(seed)

    def draw() -> float:
        return math.inf if dice.random() < 0.01 else 0.03 * math.exp(dice.gauss(0, math.log(2 / 0.03) / 2.326))

    return draw


@pytest.mark.parametrize("made", [habits, wide])
@pytest.mark.parametrize("requests", [128, 320])
def test_slow_batches_take_three_times_the_median(clock: Clock, made: Any, requests: int) -> None:
    store = Store(hedge.Asker(), made(3))
    clock.run_until_complete(store.batch(requests))  # until then nobody knows what is late
    seconds = sorted(clock.run_until_complete(store.batch(requests)) for _ in range(30))
    assert sum(s > 3 * seconds[15] for s in seconds) <= (made is wide)
    assert store.asked <= 8 + 1.05 * 31 * requests
    assert store.answered <= 1.01 * 31 * requests


@pytest.mark.parametrize("requests", [20, 90, 340])
def test_the_first_requests_of_all_are_compared_with_each_other(clock: Clock, requests: int) -> None:
    for seed in range(10):
        store = Store(hedge.Asker(), habits(seed))
        assert clock.run_until_complete(store.batch(requests)) < 0.6


def test_the_first_answers_of_many_do_not_make_the_others_late(clock: Clock) -> None:
    dice = random.Random(1)
    store = Store(hedge.Asker(), lambda: 0.03 * math.exp(dice.gauss(0, 0.35)))
    clock.run_until_complete(store.batch(250))
    assert store.asked <= 1.03 * 250


@pytest.mark.parametrize("seconds", [0.5, 1.9, 8.0])
def test_a_store_that_is_slow_as_a_whole_gets_few_requests_more(clock: Clock, seconds: float) -> None:
    store = Store(hedge.Asker(), lambda: seconds)
    for _ in range(4):
        clock.run_until_complete(store.batch(200))
    assert store.asked <= 8 + 1.05 * 800


def test_what_is_never_answered_is_an_error_and_the_others_come(clock: Clock) -> None:
    waits = iter([0.03] * 5 + [math.inf] * 1000)
    store = Store(hedge.Asker(deadline_s=20.0), lambda: next(waits))

    async def ask() -> list[Any]:
        asked = [store.asker.ask(store._answer, 1000) for _ in range(6)]
        return await asyncio.gather(*asked, return_exceptions=True)

    found = clock.run_until_complete(ask())
    assert found[:5] == [b"x"] * 5
    assert isinstance(found[5], hedge.LateError)
    assert 20 <= clock.now < 21
    assert store.asked < 20


def test_what_nobody_wants_any_more_is_not_sent(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hedge, "AT_ONCE", 4)
    store = Store(hedge.Asker(), lambda: 1.0)

    async def leave() -> bytes:
        asked = [store.asker.ask(store._answer, 1000) for _ in range(50)]
        await asyncio.sleep(0.01)
        for answer in asked[:-1]:
            answer.cancel()
        return await asked[-1]

    assert clock.run_until_complete(leave()) == b"x"
    assert store.asked <= 4 + 4  # the last one is late, and sent three times more


def test_an_error_of_the_store_is_the_error_of_the_request(clock: Clock) -> None:
    async def refuse() -> bytes:
        raise FileNotFoundError("no such object")

    def broken() -> Any:
        raise OSError("not even sent")

    async def ask(send: Any) -> bytes:
        return await hedge.Asker().ask(send, 10)

    for send, kind in ((refuse, FileNotFoundError), (broken, OSError)):
        with pytest.raises(kind):
            clock.run_until_complete(ask(send))


def test_requests_that_waited_for_those_of_another_store_are_watched(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hedge, "AT_ONCE", 4)
    slow, waits = Store(hedge.Asker(), lambda: 1.0), iter([math.inf, 0.03])
    other = Store(hedge.Asker(), lambda: next(waits))

    async def ask() -> bytes:
        first = [slow.asker.ask(slow._answer, 1000) for _ in range(4)]
        second = other.asker.ask(other._answer, 1000)
        await asyncio.gather(*first)
        return await asyncio.wait_for(second, 60)

    assert clock.run_until_complete(ask()) == b"x"


@pytest.mark.parametrize(("least", "most"), [(3, 9), (1, 5)])
def test_a_store_that_becomes_slow_as_a_whole_gets_few_requests_more(clock: Clock, least: int, most: int) -> None:
    dice, slow = random.Random(1), False
    store = Store(hedge.Asker(), lambda: dice.uniform(least, most) if slow else 0.03)
    clock.run_until_complete(store.batch(200))
    slow = True
    for _ in range(3):
        clock.run_until_complete(store.batch(200))
    assert store.asked <= 1.15 * 800


def test_a_link_that_brings_one_answer_after_another_gets_few_requests_more(clock: Clock) -> None:
    free = 0.0

    def queued() -> float:
        nonlocal free
        free = max(free, clock.now) + 0.03
        return free - clock.now

    store = Store(hedge.Asker(), queued)
    assert clock.run_until_complete(store.batch(400)) < 1.1 * 400 * 0.03
    assert store.asked <= 8 + 1.05 * 400


def test_a_moment_in_which_all_is_late_does_not_end_repeats_for_long(clock: Clock) -> None:
    draw, hiccups = habits(5), iter([False] * 640 + [True] * 64)
    store = Store(hedge.Asker(), lambda: 0.1 if next(hiccups, False) else draw())
    seconds = [clock.run_until_complete(store.batch(64, 400_000)) for _ in range(40)]
    assert max(seconds[11:]) < 1.0
    assert store.answered <= 1.02 * 40 * 64
