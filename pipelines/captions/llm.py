"""Captions by a language model behind any OpenAI-compatible endpoint: asked for JSON, checked, cached, and replaced by
the template where it will not keep to the facts."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, Field, ValidationError

from pipelines.access.foreign import ForeignJsonError, read_json
from pipelines.access.http.client import AccessError, Client, SettingError, interpolate, parsed
from pipelines.access.http.network import homes_of
from pipelines.access.http.permission import check_host, origin
from pipelines.captions.check import CHECKS, CHECKS_VERSION, refusal_of, tidied
from pipelines.captions.facts import facts_for, facts_sha256
from pipelines.captions.prompts import PROMPT_VERSION, SCHEMA, messages
from pipelines.captions.template import TEMPLATE_VERSION, speak
from pipelines.durable import write_durably
from schemas.caption import Caption
from schemas.outcome import Outcome, Reason
from schemas.variables import KEY_HOMES, MODEL_URL

if TYPE_CHECKING:
    from pathlib import Path

    from schemas.caption import Facts
    from schemas.captions import LlmCaptions
    from schemas.stack import Stack

_WHERE = "captions.base_url"
_TRIES = 6
"""Times one question is sent while the endpoint is busy or broken."""
_TIMEOUT_S = 120.0
"""Deadline of one request."""
_ANSWER_BYTES = 1 << 20
"""Of one answer, unpacked; a caption has some hundred."""
_CAPTION_CHARS = 10_000
"""More than this is not even checked."""
_AT_ONCE = 64
"""Questions under way from one process; the endpoint says when they are too many."""
_MOST_TOKENS = 10**9


class _Message(BaseModel):
    content: str | None = None


class _Choice(BaseModel):
    message: _Message
    finish_reason: str | None = None


class _Usage(BaseModel):
    total_tokens: int = Field(default=0, ge=0, le=_MOST_TOKENS)


class _Completion(BaseModel):
    """The used fields of an answer of the chat completions API."""

    choices: tuple[_Choice, ...]
    usage: _Usage | None = None


@dataclass(frozen=True, slots=True)
class _Answer:
    text: str | None
    """The caption, None if the answer holds none."""
    why: str
    """Why not."""
    tokens: int


class _UnavailableError(Exception):
    """The endpoint did not answer."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


@dataclass
class _Tally:
    """Tokens spent so far; answers from the cache folder cost nothing."""

    tokens: int = 0


@dataclass(frozen=True)
class LlmCaptioner:
    """Asks a model, checks its answers against the facts, keeps them in a folder.

    The same facts, sample, prompt, model and settings give the same bytes again from the folder, and spend nothing.
    """

    config: LlmCaptions
    """The recipe's entry."""
    cache_dir: Path
    """Folder of cached answers."""
    backoff_s: float = 1.0
    """First pause between tries."""
    timeout_s: float = _TIMEOUT_S
    """Deadline of one request, seconds."""
    tally: _Tally = field(default_factory=_Tally, repr=False, compare=False)
    """Of this process."""

    def __post_init__(self) -> None:
        """Fail before anything is spent.

        Raises:
            SettingError: the endpoint's address or key is not in the environment, or the key would be sent to a host
                that is neither its home nor named by the user.
        """
        self._key()
        self._base_url()

    def caption(self, stack: Stack) -> list[Caption] | Outcome:
        """`per_sample` captions; or the outcome `unavailable` or `denied` where the endpoint gives no answer at all.

        If an answer is not JSON, or the facts do not support it, it is requested again, up to `attempts`; then the
        template speaks, and the caption says so (`fallback`).

        Raises:
            SettingError: the endpoint calls the request wrong (no such model, a parameter it does not know).
        """
        facts, sample_id = facts_for(stack, self.config.facts_from), stack.place.sample_id
        found: list[Caption] = []
        for index in range(self.config.per_sample):
            path = self._path(facts, sample_id, index)
            kept = _kept(path, facts)
            caption = self._ask(facts, sample_id, index) if kept is None else kept
            if isinstance(caption, Outcome):
                return caption
            if kept is None:
                _keep(path, caption)
            found.append(caption)
        return found

    @property
    def tokens_spent(self) -> int:
        """See `Captioner`."""
        return self.tally.tokens

    def _ask(self, facts: Facts, sample_id: str, index: int) -> Caption | Outcome:
        tokens, refused = 0, None
        for attempt in range(1, self.config.attempts + 1):
            try:
                answer = self._answer(messages(facts, refused), _seed(sample_id, index, attempt))
            except _UnavailableError as error:
                return Outcome(sample_id=sample_id, layer="captions", slot=0, reason=error.reason, detail=error.detail)
            tokens += answer.tokens
            self.tally.tokens += answer.tokens
            if answer.text is None:
                refused = answer.why
                continue
            refusal = refusal_of(answer.text, facts)
            if refusal is None:
                return Caption(
                    text=answer.text,
                    captioner="llm",
                    model=self.config.model,
                    prompt_version=PROMPT_VERSION,
                    facts_sha256=facts_sha256(facts),
                    checks=tuple(CHECKS),
                    attempts=attempt,
                    fallback=False,
                    tokens=tokens,
                )
            refused = refusal.reason
        return speak(facts, sample_id, index, attempts=self.config.attempts, tokens=tokens, fallback=True)

    def _answer(self, asked: list[dict[str, str]], seed: int) -> _Answer:
        """One answer, after as many tries as a busy endpoint needs."""
        parameters: dict[str, Any] = {
            "model": self.config.model,
            "messages": asked,
            "temperature": self.config.temperature,
            "max_tokens": self.config.max_tokens,
            "seed": seed,
            "response_format": {"type": "json_schema", "json_schema": SCHEMA},
        }
        url = f"{self._base_url().rstrip('/')}/chat/completions"
        headers = {"Authorization": f"Bearer {self._key()}"} if parsed(url).keeps_secrets else {}
        try:
            return _read(self._client.post(url, parameters, {"Accept": "application/json", **headers}, _ANSWER_BYTES))
        except AccessError as error:
            raise self._refused(error, told=bool(headers)) from None

    def _refused(self, error: AccessError, *, told: bool) -> Exception:
        """The error for a failure. The endpoint's text is not repeated, because it may quote the key.

        `told`: whether the key was sent.
        """
        status = error.status
        if status in (401, 403):
            name = self.config.api_key_variable
            why = f"refused the key in ${name}" if told else f"needs the key in ${name}, and keys go over https only"
            return _UnavailableError(Reason.DENIED, f"the caption endpoint {why} (status {status})")
        if status is None or error.retryable or status < 400 or status >= 500:
            return _UnavailableError(Reason.UNAVAILABLE, f"the caption endpoint gave no answer: {error.detail}")
        return SettingError(
            f"captions: the endpoint refused the request with status {status}: does it have the model "
            f"{self.config.model!r}, and does it support `response_format` json_schema? "
            "Set `captions.model` or `captions.base_url`"
        )

    @cached_property
    def _client(self) -> Client:
        return Client(
            concurrency=_AT_ONCE,
            retries=_TRIES - 1,
            timeout_s=self.timeout_s,
            backoff_s=self.backoff_s,
            homes=homes_of(self._base_url(), roams=False),
        )

    def __getstate__(self) -> dict[str, Any]:
        """A captioner travels to workers without its connections."""
        return {name: value for name, value in self.__dict__.items() if name != "_client"}

    def _base_url(self) -> str:
        url = interpolate(self.config.base_url, os.environ, where=_WHERE)
        name, own = self.config.api_key_variable, os.environ.get(MODEL_URL)
        if own is None or origin(own) != origin(url):  # who sets OPENAI_BASE_URL has named that host
            check_host(_WHERE, url, tuple(filter(None, [KEY_HOMES.get(name)])), f"the key in {name}")
        return url

    def _key(self) -> str:
        name = self.config.api_key_variable
        key = os.environ.get(name, "")
        if not key:
            raise SettingError(
                f"captions: the environment variable {name} is not set: put the endpoint's key there (any word if "
                f"it needs none), or choose captions of kind 'template', which need no model"
            )
        return key

    def _path(self, facts: Facts, sample_id: str, index: int) -> Path:
        """Path of a cached answer: its name contains every input."""
        said = {
            "facts": facts_sha256(facts),
            "sample": sample_id,
            "index": index,
            "model": self.config.model,
            "prompt": PROMPT_VERSION,
            "template": TEMPLATE_VERSION,
            "checks": CHECKS_VERSION,
            "temperature": self.config.temperature,
            "max_tokens": self.config.max_tokens,
            "attempts": self.config.attempts,
        }
        digest = hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()
        return self.cache_dir / digest[:2] / f"{digest}.json"


def _read(body: bytes) -> _Answer:
    """The caption in an answer, or why there is none; the model's text is only ever parsed as JSON and checked."""
    try:
        completion = _Completion.model_validate(read_json(body))
    except (ForeignJsonError, ValidationError):
        return _Answer(None, "the answer was not a chat completion", 0)
    tokens = completion.usage.total_tokens if completion.usage is not None else 0
    choice = completion.choices[0] if completion.choices else None
    text = "" if choice is None else choice.message.content or ""
    if choice is not None and choice.finish_reason == "length":
        return _Answer(None, "the answer was cut off, write a shorter one", tokens)
    try:
        content = read_json(text.encode())
    except ForeignJsonError:
        return _Answer(None, "the answer was not JSON" if text else "the answer was empty", tokens)
    if not isinstance(content, dict) or set(content) != {"caption"} or not isinstance(content["caption"], str):
        return _Answer(None, 'the answer was not {"caption": "..."}', tokens)
    if len(content["caption"]) > _CAPTION_CHARS:
        return _Answer(None, "the caption was far too long", tokens)
    return _Answer(tidied(content["caption"].strip()), "", tokens)


def _seed(sample_id: str, index: int, attempt: int) -> int:
    """0..2^31-1, another for each sample, wording and attempt."""
    digest = hashlib.sha256(f"{sample_id}/{index}/{attempt}".encode()).digest()
    return int.from_bytes(digest[:4], "big") >> 1


def _kept(path: Path, facts: Facts) -> Caption | None:
    """The caption kept there; None if there is none, or it cannot be read, or it does not pass the checks."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        caption = Caption(**{**content, "checks": tuple(content["checks"])})
        sound = caption.facts_sha256 == facts_sha256(facts) and refusal_of(caption.text, facts) is None
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None
    return caption if sound else None


def _keep(path: Path, caption: Caption) -> None:
    """Writes elsewhere and renames into place."""
    content = {name: getattr(caption, name) for name in Caption.__dataclass_fields__}
    write_durably(path, json.dumps(content, sort_keys=True, indent=1) + "\n")
