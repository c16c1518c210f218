"""The batch API of the language model on loopback: files, batches, and every way in which they come back."""

from __future__ import annotations

import json
import re
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from testbed.server import Answer, Request

if TYPE_CHECKING:
    from testbed.llm import LanguageModel

Json = dict[str, Any]
_FILE = re.compile(rb'name="file"; filename="[^"]*"\r\nContent-Type: [^\r]*\r\n\r\n(.*?)\r\n--', re.DOTALL)


@dataclass
class BatchApi:
    """Answers a batch when it has been polled `polls` times."""

    model: LanguageModel
    polls: int = 1
    """Times that a batch says that it is in progress."""
    ends: str = "completed"
    """How batches end: 'completed', 'expired' (every second answer is missing) or 'failed' (none was asked)."""
    fails: frozenset[int] = frozenset()
    """Lines (by position in a file) whose answer is a failure."""
    strange: bool = False
    """Whether answers come in another order, some twice, with ids of nobody and lines that are no JSON."""
    files: dict[str, bytes] = field(default_factory=dict)
    """File id -> content."""
    batches: dict[str, Json] = field(default_factory=dict)
    """Batch id -> batch."""
    _polled: dict[str, int] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        """Answer below /v1/files and /v1/batches."""
        self.model.server.routes.insert(0, self._route)

    def _route(self, request: Request) -> Answer | None:
        parts = request.path.strip("/").split("/")
        return self._answer(request, parts[1:]) if parts[:2] in (["v1", "files"], ["v1", "batches"]) else None

    def _answer(self, request: Request, parts: list[str]) -> Answer:
        found = Answer.error(404, f"nothing is at {request.path}")
        with self._lock:
            match (request.method, parts[0], parts[1:]):
                case ("POST", "files", []):
                    found = self._upload(request)
                case ("GET", "files", [name, "content"]) if name in self.files:
                    found = Answer(body=self.files[name], headers={"Content-Type": "application/octet-stream"})
                case ("POST", "batches", []):
                    found = self._begin(request.json())
                case ("GET", "batches", []):
                    found = Answer.of({"object": "list", "data": list(self.batches.values()), "has_more": False})
                case ("GET", "batches", [name]) if name in self.batches:
                    found = self._poll(name)
        return found

    def _upload(self, request: Request) -> Answer:
        found = _FILE.search(request.body)
        if found is None or b'name="purpose"\r\n\r\nbatch' not in request.body:
            return Answer.of({"error": {"message": "expected purpose and file", "type": "invalid_request_error"}}, 400)
        return Answer.of({"id": self._keep(found[1]), "object": "file", "purpose": "batch", "bytes": len(found[1])})

    def _keep(self, content: bytes) -> str:
        name = f"file-{len(self.files) + 1:04d}"
        self.files[name] = content
        return name

    def _begin(self, said: Json) -> Answer:
        if said.get("input_file_id") not in self.files or said.get("endpoint") != "/v1/chat/completions":
            return Answer.of({"error": {"message": "no such file", "type": "invalid_request_error"}}, 400)
        name = f"batch_{len(self.batches) + 1:04d}"
        self.batches[name] = {
            "id": name,
            "object": "batch",
            "endpoint": said["endpoint"],
            "input_file_id": said["input_file_id"],
            "completion_window": said["completion_window"],
            "status": "validating",
            "output_file_id": None,
            "error_file_id": None,
            "metadata": said.get("metadata"),
        }
        return Answer.of(self.batches[name])

    def _poll(self, name: str) -> Answer:
        batch = self.batches[name]
        self._polled[name] = self._polled.get(name, 0) + 1
        if self._polled[name] <= self.polls:
            batch["status"] = "in_progress"
        elif batch["status"] not in ("completed", "expired", "failed"):
            batch["status"] = self.ends
            if self.ends != "failed":
                self._end(batch)
        return Answer.of(batch)

    def _end(self, batch: Json) -> None:
        good: list[Json] = []
        bad: list[Json] = []
        for number, raw in enumerate(self.files[batch["input_file_id"]].splitlines()):
            line = json.loads(raw)
            if self.ends == "expired" and number % 2:
                error = {"code": "batch_expired", "message": "This request could not be executed in time."}
                bad.append({"id": f"r{number}", "custom_id": line["custom_id"], "response": None, "error": error})
                continue
            answer = Answer.of({"error": {"message": "overloaded"}}, 500) if number in self.fails else None
            answer = answer or self.model.complete(line["body"])
            response = {"status_code": answer.status, "request_id": f"q{number}", "body": json.loads(answer.body)}
            found = {"id": f"r{number}", "custom_id": line["custom_id"], "response": response, "error": None}
            (good if answer.status == 200 else bad).append(found)
        lines = [json.dumps(one).encode() for one in good]
        if self.strange:
            stranger = json.dumps({**good[0], "custom_id": "00000-" + "f" * 40}).encode() if good else b"{}"
            lines = [b"not JSON", b"[]", stranger, *reversed(lines), *lines[:2], b'{"custom_id": 3}']
        batch["output_file_id"] = self._keep(b"\n".join(lines) + b"\n") if lines else None
        batch["error_file_id"] = self._keep(b"\n".join(json.dumps(b).encode() for b in bad) + b"\n") if bad else None
