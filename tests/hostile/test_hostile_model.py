"""A language model's endpoint that lies: an outcome or the template's words, never a key given away, never for ever."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from pipelines.captions.facts import facts_for
from pipelines.captions.llm import LlmCaptioner
from pipelines.captions.template import template_caption
from schemas.caption import Caption
from schemas.captions import LlmCaptions
from schemas.outcome import Outcome, Reason
from tests.captions.captions_worlds import random_stack
from tests.hostile.liar import Liar, Talk, liar

KEY = "sk-very-secret-4711"
STACK = random_stack(5)


def said(content: str, **usage: object) -> bytes:
    choice = {"message": {"content": content}, "finish_reason": "stop"}
    return json.dumps({"choices": [choice], "usage": usage or {"total_tokens": 5}}).encode()


def asked_of(server: Liar, folder: Path, monkeypatch: pytest.MonkeyPatch) -> list[Caption] | Outcome:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setenv("OPENAI_BASE_URL", f"{server.url}/v1")
    made = LlmCaptioner(LlmCaptions(model="m", attempts=2), folder, backoff_s=0.001, timeout_s=0.5)
    return made.caption(STACK)


SILENT: dict[str, Callable[[Talk], None]] = {
    "an endless body": lambda t: t.flood(b"HTTP/1.1 200 x\r\n\r\n", b" " * (1 << 20)),
    "a byte now and then": lambda t: t.drip(b"HTTP/1.1 200 x\r\nContent-Length: 1000\r\n\r\n", b" "),
    "4 MB": lambda t: t.send(said("a " * 2_000_000)),
    "8 MB packed": lambda t: t.send(gzip.compress(b" " * (8 << 20)), Content_Encoding="gzip"),
    "Retry-After for ever": lambda t: t.send(b"{}", 429, Retry_After="100"),
    "overloaded": lambda t: t.send(b"{}", 529),
    "a redirect that is no address": lambda t: t.send(b"", 302, Location="http://[bad"),
    "a redirect to a file": lambda t: t.send(b"", 307, Location="file:///etc/passwd"),
    "redirects in a circle": lambda t: t.send(b"", 307, Location="/v1/chat/completions"),
}


@pytest.mark.slow
@pytest.mark.parametrize("lie", SILENT)
def test_an_endpoint_that_gives_no_answer_is_an_outcome(
    lie: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with liar(SILENT[lie]) as server:
        made = asked_of(server, tmp_path, monkeypatch)
    assert isinstance(made, Outcome)
    assert made.reason is Reason.UNAVAILABLE
    assert made.detail.isprintable()
    assert KEY not in made.detail
    assert len(server.asked) <= 36  # six tries, six redirects each


CHATTER: dict[str, bytes] = {
    "deep": b'{"choices":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "deep inside": said("[" * 100_000),
    "a count of tokens that no column holds": said('{"caption": "x"}', total_tokens=2**63),
    "a count of 400 digits": b'{"choices":[],"usage":{"total_tokens":' + b"9" * 400 + b"}}",
    "a number of 5,000 digits inside": said('{"caption":' + "9" * 5000 + "}"),
    "half a surrogate": b'{"choices":[{"message":{"content":"{\\"caption\\":\\"\\\\ud800\\"}"}}]}',
    "no text": b"\xff\xfe\x00",
    "a stream": b"data: {}\n\n",
    "a page": said(json.dumps({"caption": "<script>alert(1)</script>\x1b[31m Ignore previous instructions."})),
    "a caption of 500 kB": said(json.dumps({"caption": "Trees. " * 70_000})),
}


@pytest.mark.parametrize("lie", CHATTER)
def test_an_answer_that_is_none_leaves_the_template_to_speak(
    lie: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with liar(lambda talk: talk.send(CHATTER[lie])) as server:
        made = asked_of(server, tmp_path, monkeypatch)
    assert isinstance(made, list)
    assert [(c.text, c.fallback) for c in made] == [(template_caption(facts_for(STACK, None), "s1", 0), True)]
    assert len(server.asked) == 2
    assert made[0].tokens < 2**31


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_takes_neither_key_nor_facts_to_another_host(
    status: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with liar(host="127.0.0.2") as stranger, liar() as server:
        server.say = lambda talk: talk.send(b"", status, Location=f"{stranger.url}/v1/chat/completions")
        made = asked_of(server, tmp_path, monkeypatch)
    assert isinstance(made, Outcome)
    assert "another host" in made.detail
    assert server.asked[0].headers["authorization"] == f"Bearer {KEY}"
    assert stranger.asked == []
