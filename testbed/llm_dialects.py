"""How servers of one's own word the chat completions API: vLLM, llama.cpp, llama-cpp-python and Ollama, on loopback.

Written from their documentation and source: shapes of answers and refusals, not their models.
vLLM: docs.vllm.ai, OpenAI-compatible server. llama.cpp: tools/server/README.md. llama-cpp-python:
llama_cpp/server/types.py. Ollama: docs/openai.md.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, get_args

from testbed.server import Answer, Request

if TYPE_CHECKING:
    from testbed.llm import LanguageModel

Json = dict[str, Any]
Dialect = Literal["vllm", "llama.cpp", "llama-cpp-python", "ollama"]
DIALECTS: tuple[Dialect, ...] = get_args(Dialect)


@dataclass
class Speaking:
    """A language model behind one of these servers."""

    model: LanguageModel
    dialect: Dialect
    name: str
    """Name of the model that it has; llama.cpp takes any."""
    loading: int = 0
    """llama.cpp: requests that are answered by 503 while the model loads."""
    refused: list[int] = field(default_factory=list)
    """Statuses of refusals so far."""

    def __post_init__(self) -> None:
        """Answer in place of the plain server."""
        self.model.server.routes.insert(0, self._route)

    def _route(self, request: Request) -> Answer | None:
        if (request.method, request.path) != ("POST", "/v1/chat/completions"):
            return None
        body = request.json()
        answer = self._refusal(body) or self._dressed(self.model.complete(body))
        if answer.status >= 400:
            self.refused.append(answer.status)
        return answer

    def _refusal(self, body: Json) -> Answer | None:
        name, form = body.get("model"), (body.get("response_format") or {}).get("type")
        if self.dialect == "llama.cpp" and self.loading > 0:
            self.loading -= 1
            return Answer.of({"error": {"code": 503, "message": "Loading model", "type": "unavailable_error"}}, 503)
        if self.dialect == "llama-cpp-python" and form not in (None, "text", "json_object"):
            where = ["body", "response_format", "type"]
            said = {"type": "literal_error", "loc": where, "msg": "Input should be 'text' or 'json_object'"}
            return Answer.of({"detail": [said]}, 422)
        if name == self.name or self.dialect in ("llama.cpp", "llama-cpp-python"):
            return None
        if self.dialect == "vllm":
            said = {"message": f"The model `{name}` does not exist.", "type": "NotFoundError", "param": "model"}
            return Answer.of({"error": {**said, "code": 404}}, 404)
        return Answer.of({"error": {"message": f"model '{name}' not found", "type": "not_found_error"}}, 404)

    def _dressed(self, answer: Answer) -> Answer:
        """The answer with the fields that the server adds, and without those that it lacks."""
        if answer.status != 200:
            return answer
        said: Json = json.loads(answer.body)
        choice = said["choices"][0]
        if self.dialect == "vllm":
            choice |= {"stop_reason": None, "token_ids": None}
            choice["message"] |= {"reasoning_content": None, "tool_calls": choice["message"].get("tool_calls", [])}
            said["usage"] |= {"prompt_tokens_details": None}
            said |= {"service_tier": None, "prompt_logprobs": None, "kv_transfer_params": None}
        elif self.dialect == "llama.cpp":
            choice.pop("logprobs")
            choice["message"].pop("refusal")
            said |= {"system_fingerprint": "b6123-abcdef12", "timings": {"prompt_n": 1, "predicted_per_second": 40.5}}
        elif self.dialect == "ollama":
            choice.pop("logprobs")
            choice["message"].pop("refusal")
            said["system_fingerprint"] = "fp_ollama"
        return Answer.of(said)
