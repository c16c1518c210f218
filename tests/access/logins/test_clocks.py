"""A host whose clock is wrong reads what the others read."""

from __future__ import annotations

import time

import pytest

from pipelines.access.http.answer import retry_after_s
from pipelines.access.logins.tokens import Tokens

DAY_S = 86_400.0


@pytest.mark.parametrize("skew_s", [0.0, 500 * DAY_S, -500 * DAY_S], ids=["right", "ahead", "behind"])
def test_a_token_is_fetched_once_and_anew_when_it_is_refused(skew_s: float) -> None:
    fetched: list[str] = []

    def fetch(key: str) -> tuple[str, float]:
        fetched.append(f"{key}{len(fetched)}")
        return fetched[-1], time.time() + 3600.0  # by the clock of the service

    tokens: Tokens[str] = Tokens(fetch, now=lambda: time.time() + skew_s)
    assert [tokens.get("a", fresh=False) for _ in range(3)] == ["a0"] * 3
    assert tokens.get("a", fresh=True) == "a1"
    assert [tokens.get("a", fresh=False) for _ in range(3)] == ["a1"] * 3
    assert len(fetched) == 2


def test_a_pause_until_a_date_is_measured_by_the_clock_of_the_server() -> None:
    assert retry_after_s("Fri, 01 Jan 1999 00:00:07 GMT", "Fri, 01 Jan 1999 00:00:00 GMT") == 7.0
    assert retry_after_s("Fri, 01 Jan 1999 00:00:00 GMT", "Fri, 01 Jan 1999 00:00:07 GMT") == 0.0
    assert retry_after_s("Fri, 01 Jan 1999 00:00:00 GMT") == 0.0, "no date of its own: ours"
    assert retry_after_s("soon", "Fri, 01 Jan 1999 00:00:00 GMT") is None
