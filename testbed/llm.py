"""An OpenAI-compatible chat server on loopback that writes captions from facts, and misbehaves on request."""

from __future__ import annotations

import json
import re
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Self, get_args

from testbed.server import Answer, LogEntry, Request, Server

if TYPE_CHECKING:
    from types import TracebackType

Json = dict[str, Any]
Mode = Literal[
    "good",
    "invents",
    "invalid-json",
    "empty",
    "rate-limited",
    "error",
    "slow",
    "obeys-injection",
    "other-language",
    "repeats",
    "beyond-the-facts",
    "hangs",
    "unending",
]
"""good: says what the facts say. invents: names a class that is not there. invalid-json: cut off in the middle.
empty: an empty text. rate-limited: 429 with Retry-After, then good. error: 500. slow: good after `delay_s`.
obeys-injection: does what an instruction inside the facts says, else good. other-language: German. repeats: one
sentence again and again. beyond-the-facts: owners, colours and change. hangs: no answer for `hang_s`. unending: one
word until the answer is 4 MB long."""
MODES: tuple[Mode, ...] = get_args(Mode)
_INVENTED = "a large harbour with container ships beside a glacier"
_ORDER = re.compile(r"(?:ignore|disregard)[^\"\n]{0,80}?(?:and|:)\s+(?P<order>[^\"\n]{1,200})", re.IGNORECASE)


@dataclass(kw_only=True)
class LanguageModel:
    """A running server; a context manager that stops it."""

    server: Server
    mode: Mode = "good"
    """What every answer does from now on, unless `script` says otherwise."""
    script: list[Mode] = field(default_factory=list)
    """Modes of the next answers, taken from the front."""
    delay_s: float = 1.0
    """How long a slow answer takes, seconds."""
    hang_s: float = 30.0
    """How long a hanging answer takes, seconds; `close` ends it."""
    latency_s: float = 0.0
    """How long every answer takes at least, seconds."""
    refuses: frozenset[str] = frozenset()
    """What requests must not hold, answered by 400: 'json_schema', 'json_object', 'tools', 'max_tokens',
    'max_completion_tokens', 'temperature', 'seed', 'picture'."""
    wants_key: str | None = None
    """Key without which every request is answered by 401; None = any."""
    requests: list[Json] = field(default_factory=list)
    """Bodies of all chat requests, in order of arrival."""
    thread: threading.Thread | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _limited: set[str] = field(default_factory=set)
    _closing: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        """Start answering."""
        self.server.routes.append(self._route)
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True)
        self.thread.start()

    @property
    def base_url(self) -> str:
        """'http://127.0.0.1:PORT/v1', as OPENAI_BASE_URL wants it; any API key will do."""
        return f"http://127.0.0.1:{self.server.server_address[1]}/v1"

    @property
    def log(self) -> tuple[LogEntry, ...]:
        """All requests answered so far."""
        with self.server.log_lock:
            return tuple(self.server.log)

    def close(self) -> None:
        """Stop."""
        self._closing.set()
        self.server.shutdown()
        self.server.server_close()
        if self.thread is not None:
            self.thread.join(timeout=5)

    def __enter__(self) -> Self:
        """Already running."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Stop."""
        self.close()

    def _route(self, request: Request) -> Answer | None:
        if request.path == "/v1/models":
            return Answer.of({"object": "list", "data": [{"id": "testbed", "object": "model", "owned_by": "testbed"}]})
        return self._chat(request) if (request.method, request.path) == ("POST", "/v1/chat/completions") else None

    def _chat(self, request: Request) -> Answer:
        try:
            body = request.json()
        except ValueError as error:
            return _refusal(400, f"body: {error}", "invalid_request_error")
        if body.get("stream"):
            return _refusal(400, "this server does not stream", "invalid_request_error")
        if not isinstance(body.get("messages"), list) or not body["messages"]:
            return _refusal(400, "messages: expected a list with at least one message", "invalid_request_error")
        if self.wants_key is not None and request.headers.get("authorization") != f"Bearer {self.wants_key}":
            return _refusal(401, "Incorrect API key provided", "invalid_request_error")
        return self.complete(body)

    def complete(self, body: Json) -> Answer:
        """The answer to one request."""
        with self._lock:
            self.requests.append(body)
            mode = self.script.pop(0) if self.script else self.mode
        if self.latency_s:
            time.sleep(self.latency_s)
        strange = next((name for name in sorted(self.refuses) if _holds(body, name)), None)
        if strange is not None:
            return _refused_parameter(strange)
        return self._answer(body, mode)

    def _answer(self, body: Json, mode: Mode) -> Answer:
        if mode == "error":
            return _refusal(500, "the model fell over", "server_error")
        if mode == "rate-limited":
            key = json.dumps(body["messages"], sort_keys=True)
            with self._lock:
                first = key not in self._limited
                self._limited.add(key)
            if first:
                answer = _refusal(429, "too many requests", "rate_limit_error")
                answer.headers["Retry-After"] = "1"
                return answer
        if mode == "hangs":
            self._closing.wait(self.hang_s)
        if mode == "slow":
            time.sleep(self.delay_s)
        return _completion(body, _content(body, mode))


def _holds(body: Json, name: str) -> bool:
    """Whether a request holds what `LanguageModel.refuses` names."""
    if name in ("json_schema", "json_object"):
        return bool((body.get("response_format") or {}).get("type") == name)
    if name == "picture":
        contents = [m.get("content") for m in body["messages"]]
        return any(part.get("type") == "image_url" for c in contents if isinstance(c, list) for part in c)
    return name in body


def _refused_parameter(name: str) -> Answer:
    """As OpenAI's endpoint words it."""
    parameter = "response_format" if name.startswith("json") else name
    message = f"Unsupported parameter: '{parameter}' is not supported with this model."
    if name == "max_tokens":
        message += " Use 'max_completion_tokens' instead."
    return _refusal(400, message, "invalid_request_error")


def _refusal(status: int, message: str, kind: str) -> Answer:
    return Answer.of({"error": {"message": message, "type": kind, "param": None, "code": None}}, status)


def _text_of(message: Json) -> str:
    content = message.get("content")
    if isinstance(content, list):
        return "\n".join(str(part.get("text", "")) for part in content if isinstance(part, dict))
    return str(content or "")


def find_facts(messages: list[Json]) -> Json:
    """The largest JSON object in the last user message; empty where there is none."""
    text = next((_text_of(m) for m in reversed(messages) if m.get("role") == "user"), "")
    decoder = json.JSONDecoder()
    best: tuple[int, Json] = (0, {})
    at = text.find("{")
    while at >= 0:
        try:
            found, end = decoder.raw_decode(text, at)
        except ValueError:
            at = text.find("{", at + 1)
            continue
        if isinstance(found, dict) and end - at > best[0]:
            best = (end - at, found)
        at = text.find("{", end)
    return best[1]


def _shares(value: Any) -> list[tuple[str, int]]:
    """(class, percent) from what facts may hold: a list of records or of pairs, or an object of numbers."""
    if isinstance(value, dict):
        return [(str(k), int(v)) for k, v in value.items() if isinstance(v, int | float)]
    found = []
    for entry in value if isinstance(value, list) else []:
        if isinstance(entry, dict) and "name" in entry:
            found.append((str(entry["name"]), int(entry.get("percent", 0))))
        elif isinstance(entry, list) and len(entry) >= 2 and isinstance(entry[1], int | float):
            found.append((str(entry[0]), int(entry[1])))
    return found


_SPOKEN = {"built": "built-up areas", "bare": "bare ground"}
"""Classes whose names are no nouns."""


def caption_of(facts: Json, variant: int = 0) -> str:
    """A plain caption that says nothing but what the facts say; each variant speaks of other parts of the scene."""
    overall = _shares(facts.get("overall"))[:3]
    words = [f"{_SPOKEN.get(name, name)} ({percent} percent)" for name, percent in overall if percent]
    season = facts.get("season")
    opening = f"In {season}, the scene" if isinstance(season, str) else "The scene"
    sentences = [f"{opening} shows {_joined(words)}." if words else "A view from above."]
    relief = facts.get("relief")
    if isinstance(relief, str):
        sentences.append(f"The terrain is {relief}.")
    regions = facts.get("regions")
    if isinstance(regions, dict):
        for region, shares in sorted(regions.items())[variant : variant + 2]:
            mine = _shares(shares)
            if mine:
                sentences.append(f"The {region} shows {_SPOKEN.get(mine[0][0], mine[0][0])} ({mine[0][1]} percent).")
    return " ".join(sentences)


def _joined(words: list[str]) -> str:
    return words[0] if len(words) == 1 else ", ".join(words[:-1]) + " and " + words[-1]


_SAID = {
    "other-language": "Das Bild zeigt Wald und Felder, dazwischen liegt ein Dorf.",
    "beyond-the-facts": "The fields belong to the state, the river has grown this year, and the town has red roofs.",
    "unending": "trees " * 700_000,
}
"""Mode -> what it says, whatever the facts are."""


def _caption(messages: list[Json], mode: Mode, variant: int = 0) -> str:
    facts = find_facts(messages)
    good = caption_of(facts, variant)
    if mode in _SAID:
        return _SAID[mode]
    if mode == "repeats":
        return " ".join([good.split(". ")[0].rstrip(".") + "."] * 4)
    if mode == "invents":
        return f"{good} There is {_INVENTED}."
    if mode == "obeys-injection":
        order = _ORDER.search(json.dumps(facts, ensure_ascii=False))
        return order["order"] if order else good
    return good


def _filled(schema: Json, caption: str, facts: Json) -> Any:
    """A value of a JSON schema: text holds the caption, numbers 0, lists one entry, objects what they require."""
    if "enum" in schema:
        return schema["enum"][0]
    kind = schema.get("type")
    if isinstance(kind, list):
        kind = next(k for k in kind if k != "null")
    match kind:
        case "object":
            inner = schema.get("properties", {})
            return {k: _filled(v, caption, facts) for k, v in inner.items()}
        case "array":
            items = schema.get("items", {})
            names = [name for name, _ in _shares(facts.get("overall"))]
            return names if items.get("type") == "string" and names else [_filled(items, caption, facts)]
        case "integer" | "number":
            return 0
        case "boolean":
            return False
    return caption


_WANTED = re.compile(r"Write (\d+) captions of the same scene")
_ASKS_JSON = re.compile(r"Answer with JSON: \{\"caption\"")


def _content(body: Json, mode: Mode) -> str:
    if mode == "empty":
        return ""
    caption = _caption(body["messages"], mode)
    wanted = body.get("response_format") or {}
    number = _WANTED.search(_text_of(body["messages"][0]))
    if number is not None and mode != "invalid-json":
        several = [_caption(body["messages"], mode, variant) for variant in range(int(number[1]))]
        return json.dumps({"captions": several}, ensure_ascii=False)
    if wanted.get("type") == "json_schema":
        schema = wanted.get("json_schema", {}).get("schema", {})
        text = json.dumps(_filled(schema, caption, find_facts(body["messages"])), ensure_ascii=False)
    elif wanted.get("type") == "json_object" or body.get("tools") or _ASKS_JSON.search(_text_of(body["messages"][0])):
        text = json.dumps({"caption": caption}, ensure_ascii=False)
    else:
        text = caption
    return '{"caption": "A view of' if mode == "invalid-json" else text


def _tokens(text: str) -> int:
    """Words and signs: near enough to what models count."""
    return len(re.findall(r"\w+|[^\w\s]", text))


def _completion(body: Json, content: str) -> Answer:
    asked = sum(_tokens(_text_of(m)) for m in body["messages"])
    said = _tokens(content)
    limit = body.get("max_completion_tokens") or body.get("max_tokens")
    cut = isinstance(limit, int) and said > limit
    if isinstance(limit, int) and cut:
        content = "".join(re.findall(r"\s*(?:\w+|[^\w\s])", content)[:limit])
        said = limit
    message: Json = {"role": "assistant", "content": content, "refusal": None}
    if body.get("tools"):
        name = body["tools"][0]["function"]["name"]
        call = {"id": "call_1", "type": "function", "function": {"name": name, "arguments": content}}
        message = {"role": "assistant", "content": None, "refusal": None, "tool_calls": [call]}
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "length" if cut else "stop"}
    answer = {
        "id": "chatcmpl-testbed",
        "object": "chat.completion",
        "created": 1_656_849_600,
        "model": str(body.get("model", "testbed")),
        "choices": [choice],
        "usage": {"prompt_tokens": asked, "completion_tokens": said, "total_tokens": asked + said},
    }
    return Answer.of(answer)


def serve_language_model(mode: Mode = "good", port: int = 0) -> LanguageModel:
    """Start the server.

    Args:
        mode: what its answers do; change `LanguageModel.mode` or fill `script` while it runs.
        port: port on 127.0.0.1, 0 = any free one.
    """
    return LanguageModel(server=Server(port), mode=mode)
