"""An endpoint of the OpenAI-compatible chat completions API: settings, limits, requests, and what it refuses."""

from __future__ import annotations

import json
import os
import threading
import time
from functools import cached_property
from typing import TYPE_CHECKING, Any

from pipelines.access.http.answer import refused as classed
from pipelines.access.http.body import Wanted
from pipelines.access.http.client import AccessError, Client, SettingError, interpolate, parsed
from pipelines.access.http.network import homes_of
from pipelines.access.http.permission import check_host, origin
from pipelines.access.http.transport import Request
from pipelines.captions.counting import tokens_of_messages
from pipelines.captions.dialects import REFUSALS, Dialect
from pipelines.captions.replies import read_reply
from schemas.outcome import Reason
from schemas.variables import KEY_HOMES, MODEL_URL

if TYPE_CHECKING:
    from pipelines.access.http.client import Url
    from pipelines.access.http.transport import Answer
    from pipelines.captions.dialogue import Question
    from pipelines.captions.replies import Reply
    from schemas.captions import LlmCaptions

_WHERE = "captions.base_url"
_TRIES = 6
"""Times one question is sent while the endpoint is busy or broken."""
_ANSWER_BYTES = 1 << 20
"""Of one answer, unpacked; a caption has some hundred."""
_REFUSAL_CHARS = 4_096
"""Of a refusal, in which names of parameters are looked for."""
_MOST_FORMS = 8
"""Forms of a request that are tried."""


class UnavailableError(Exception):
    """The endpoint did not answer."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


class TokenPace:
    """Holds questions apart so that a number of tokens per minute is not exceeded, for all threads of a worker."""

    def __init__(self, per_min: float | None) -> None:
        self._per_s = None if per_min is None else per_min / 60.0
        self._lock = threading.Lock()
        self._next_s = 0.0

    def turn(self, tokens: int) -> float:
        """Seconds that a question of so many tokens has to wait."""
        if self._per_s is None:
            return 0.0
        with self._lock:
            now_s = time.monotonic()
            start_s = max(now_s, self._next_s)
            self._next_s = start_s + tokens / self._per_s
        return start_s - now_s


class Endpoint:
    """Asks one endpoint; shared by all threads of a worker."""

    def __init__(
        self, config: LlmCaptions, *, workers: int = 1, backoff_s: float = 1.0, timeout_s: float | None = None
    ) -> None:
        """Fail before anything is spent.

        Args:
            config: the recipe's entry.
            workers: processes that share its limits.
            backoff_s: first pause between tries.
            timeout_s: deadline of one request, seconds; None: the recipe's.

        Raises:
            SettingError: the endpoint's address or key is not in the environment, or the key would be sent to a host
                that is neither its home nor named by the user.
        """
        self.config, self.workers, self.backoff_s, self.timeout_s = config, workers, backoff_s, timeout_s
        self._key()
        self.base_url()
        self._dialect = Dialect.first(config)
        limit = config.tokens_per_min
        self._pace = TokenPace(None if limit is None else limit / workers)

    def ask(self, question: Question) -> Reply:
        """One answer, after as many tries as a busy endpoint needs.

        Raises:
            UnavailableError: the endpoint does not answer, or refuses the key.
            SettingError: it calls every form of the request wrong, or does not have the model.
        """
        if (pause_s := self._pace.turn(tokens_of_messages(question.messages) + self.config.max_tokens)) > 0.0:
            time.sleep(pause_s)
        for _ in range(_MOST_FORMS):
            dialect, refusals = self._dialect, list[str]()
            body = dialect.body(self.config, question.messages, question.seed, question.wanted)
            try:
                answer = self.send("POST", "chat/completions", body, heard=refusals)
                return read_reply(answer, question.messages, question.wanted)
            except AccessError as error:
                other = dialect.after("".join(refusals), self.config) if error.status in REFUSALS else None
                if other is None:
                    raise self.refused(error) from None
                if self._dialect == dialect:  # another thread may have gone on already
                    self._dialect = other
        raise SettingError("captions: the endpoint refused every form of the request")

    def send(
        self,
        method: str,
        path: str,
        body: dict[str, Any] | None = None,
        *,
        raw: tuple[bytes, str] | None = None,
        most_bytes: int = _ANSWER_BYTES,
        heard: list[str] | None = None,
    ) -> bytes:
        """Body of the answer of a request below the endpoint's address.

        Args:
            method: 'GET' or 'POST'.
            path: below the address.
            body: sent as JSON.
            raw: (body, content type) to send in its place.
            most_bytes: of the answer, unpacked.
            heard: is given what a refusal says, lower case; it is shown to nobody, because it may quote the key.

        Raises:
            AccessError: classed.
        """
        content, kind = raw or (None if body is None else _json(body), "application/json")
        url = parsed(f"{self.base_url().rstrip('/')}/{path}")
        headers = {"Accept": "application/json", "Content-Type": kind, **self._credentials(url)}
        request = Request(method, url, headers, content, Wanted(most_bytes, reason=heard is not None))

        def refusal(answer: Answer, href: Url) -> AccessError | None:
            if heard is not None:
                heard.append(answer.body[:_REFUSAL_CHARS].decode("utf-8", "replace").lower())
            return classed(answer, href)

        return self._client.retrying(lambda _fresh: self._client.exchange(request, refusal).body)

    def refused(self, error: AccessError) -> Exception:
        """The error for a failure. The endpoint's text is not repeated, because it may quote the key."""
        status = error.status
        if status in (401, 403):
            name, told = self.config.api_key_variable, bool(self._credentials(parsed(self.base_url())))
            why = f"refused the key in ${name}" if told else f"needs the key in ${name}, and keys go over https only"
            return UnavailableError(Reason.DENIED, f"the caption endpoint {why} (status {status})")
        if status is None or error.retryable or status < 400 or status >= 500:
            return UnavailableError(Reason.UNAVAILABLE, f"the caption endpoint gave no answer: {error.detail}")
        return SettingError(
            f"captions: the endpoint refused the request with status {status}: does it have the model "
            f"{self.config.model!r}, and does it support `response_format` json_schema? "
            "Set `captions.model` or `captions.base_url`"
        )

    @cached_property
    def _client(self) -> Client:
        rate = self.config.requests_per_min
        return Client(
            concurrency=self.config.at_once,
            retries=_TRIES - 1,
            timeout_s=self.config.timeout_s if self.timeout_s is None else self.timeout_s,
            backoff_s=self.backoff_s,
            requests_per_s=None if rate is None else rate / 60.0 / self.workers,
            homes=homes_of(self.base_url(), roams=False),
        )

    def __getstate__(self) -> dict[str, Any]:
        """An endpoint travels to workers without its connections, and without locks."""
        return {name: getattr(self, name) for name in ("config", "workers", "backoff_s", "timeout_s")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state.pop("config"), **state)  # type: ignore[misc]

    def base_url(self) -> str:
        """Address of the endpoint, variables replaced.

        Raises:
            SettingError: see the class.
        """
        url = interpolate(self.config.base_url, os.environ, where=_WHERE)
        name, own = self.config.api_key_variable, os.environ.get(MODEL_URL)
        if own is None or origin(own) != origin(url):  # who sets OPENAI_BASE_URL has named that host
            check_host(_WHERE, url, tuple(filter(None, [KEY_HOMES.get(name)])), f"the key in {name}")
        return url

    def _credentials(self, url: Url) -> dict[str, str]:
        return {"Authorization": f"Bearer {self._key()}"} if url.keeps_secrets else {}

    def _key(self) -> str:
        name = self.config.api_key_variable
        key = os.environ.get(name, "")
        if not key:
            raise SettingError(
                f"captions: the environment variable {name} is not set: put the endpoint's key there (any word if "
                f"it needs none), or choose captions of kind 'template', which need no model"
            )
        return key


def _json(body: dict[str, Any]) -> bytes:
    return json.dumps(body, separators=(",", ":")).encode()
