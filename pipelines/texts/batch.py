"""Asks by batch files: written, uploaded, submitted, polled and collected, over as many runs and days as it takes.

The form is that of OpenAI's batch API (https://platform.openai.com/docs/guides/batch): POST /files, POST /batches, GET
/batches/ID, GET /files/ID/content. What is submitted is written down before, so that a run
that is killed submits nothing twice.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from pipelines.access.errors import AccessError
from pipelines.access.foreign import ForeignJsonError, read_json
from pipelines.captions.dialects import REFUSALS, Dialect
from pipelines.captions.endpoint import UnavailableError
from pipelines.captions.replies import Reply, read_reply
from pipelines.shards.desk import keep, kept
from pipelines.texts.answers import Answers
from pipelines.texts.errors import TextsError
from pipelines.texts.worker import BATCHED

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from pipelines.captions.endpoint import Endpoint

STATE = "batch/state.json"
"""What is submitted."""
DIALECT = "batch/dialect.json"
"""The form of a request that the endpoint takes, once it refused the first."""
MOST_LINES = 50_000
"""Questions of one batch file (OpenAI's limit)."""
MOST_BYTES = 100 << 20
"""Bytes of one batch file (half of OpenAI's limit)."""
_MOST_ANSWERS = 1 << 30
"""Bytes of one file of answers."""
_ID = re.compile(r"[A-Za-z0-9_.:-]{1,128}")
_ENDED = frozenset({"completed", "expired", "cancelled", "failed"})
_NAME = re.compile(r"(\d{5,9})-([0-9a-f]{40})")
_BOUNDARY = "landweave-batch-4f1c9a7e"


@dataclass
class Batch:
    """One submitted file."""

    token: str
    """Ours: SHA-256 of the file, so that a batch that was submitted just before a kill is found again."""
    questions: int
    """Lines."""
    id: str | None = None
    """The endpoint's; None while it is not known to be submitted."""
    status: str = "new"
    """As the endpoint said last."""


@dataclass(frozen=True)
class Collected:
    """What came back."""

    answers: int = 0
    """Answers that were kept."""
    lost: int = 0
    """Questions that came back without an answer: failed, expired or left out."""
    strange: int = 0
    """Lines of no question of ours, second answers and lines that are no answer: left aside."""
    refused: str = ""
    """What the endpoint says of requests whose form it refuses, lower case; '' if it refused none."""


class Batches:
    """The batch files of one pass."""

    def __init__(self, out: Path, endpoint: Endpoint) -> None:
        """`out`: folder of the pass; `endpoint`: who is asked."""
        self.out, self.endpoint = out, endpoint
        said = json.loads(kept(out, STATE) or b"[]")
        self.batches = [Batch(**one) for one in said]

    @property
    def under_way(self) -> bool:
        """Whether something is submitted and not yet collected."""
        return bool(self.batches)

    def submit(self, shards: Sequence[int]) -> int:
        """Submit the questions of some shards; returns how many they are.

        Raises:
            TextsError: the endpoint does not take them.
        """
        files = list(_files(line for shard in shards for line in self._lines(shard)))
        self.batches = [Batch(token=_token(lines), questions=len(lines)) for lines in files]
        self._save()
        for batch, lines in zip(self.batches, files, strict=True):
            self._begin(batch, lines)
        return sum(b.questions for b in self.batches)

    def poll(self, shards: Sequence[int]) -> bool:
        """Ask what became of the batches; returns whether all ended. One that a killed run left is submitted now.

        Raises:
            TextsError: the endpoint does not answer, or refused a whole batch.
        """
        for batch in self.batches:
            if batch.id is None:
                self._resume(batch, shards)
            elif batch.status not in _ENDED:
                batch.status = str(self._ask("GET", f"batches/{batch.id}").get("status"))
        self._save()
        failed = [b for b in self.batches if b.status == "failed"]
        if failed and all(b.status in _ENDED for b in self.batches):
            ids = ", ".join(str(b.id) for b in failed)
            self.batches = [b for b in self.batches if b.status != "failed"]
            self._save()
            if not self.batches:
                raise TextsError(
                    f"the endpoint refused the whole batch {ids}; its own page of batches says why (a limit of the "
                    "account, a model that takes no batches): nothing was asked; run again to submit it anew"
                )
        return all(b.status in _ENDED for b in self.batches)

    def collect(self, shards: Sequence[int]) -> Collected:
        """Keep the answers of batches that ended; what has none is lost."""
        asked = {str(line["custom_id"]): line for shard in shards for line in self._lines(shard)}
        answers = {shard: Answers(self.out, shard) for shard in shards}
        heard: set[str] = set()
        strange, refused, lost = 0, "", 0
        for line in self._answers():
            name = line.get("custom_id") if isinstance(line, dict) else None
            if not isinstance(name, str) or name not in asked or name in heard:
                strange += 1
                continue
            heard.add(name)
            reply, why = _reply(line, asked[name]["body"])
            refused = refused or why
            if reply is not None:
                lost += reply.lost
                _keep(answers, name, reply)
        for name in asked.keys() - heard if not refused else ():
            lost += 1
            _keep(answers, name, Reply(None, "the batch came back without it", 0, 0, lost=True))
        self.batches = []
        self._save()
        return Collected(answers=len(heard) - lost, lost=lost, strange=strange, refused=refused)

    def other_form(self, refused: str) -> None:
        """Take the next form of a request where the endpoint refused this one.

        Raises:
            TextsError: there is none.
        """
        said = kept(self.out, DIALECT)
        dialect = Dialect.first(self.endpoint.config) if said is None else Dialect(**json.loads(said))
        other = dialect.after(refused, self.endpoint.config)
        if other is None:
            raise TextsError(
                f"the endpoint refused the requests of the batch: does it have the model "
                f"{self.endpoint.config.model!r}? Set `model`, `answers` or `token_limit`"
            )
        keep(self.out, DIALECT, json.dumps(asdict(other)).encode())

    def _lines(self, shard: int) -> list[dict[str, Any]]:
        raw = kept(self.out, f"{BATCHED}/{shard:05d}.jsonl") or b""
        return [json.loads(line) for line in raw.splitlines()]

    def _begin(self, batch: Batch, lines: list[dict[str, Any]]) -> None:
        uploaded = self._ask("POST", "files", raw=_upload(_text(lines)))
        said = {
            "input_file_id": _id(uploaded),
            "endpoint": "/v1/chat/completions",
            "completion_window": "24h",
            "metadata": {"landweave": batch.token},
        }
        begun = self._ask("POST", "batches", said)
        batch.id, batch.status = _id(begun), str(begun.get("status"))
        self._save()

    def _resume(self, batch: Batch, shards: Sequence[int]) -> None:
        """A run was killed between writing down and submitting: look whether it had submitted."""
        listed = self._ask("GET", "batches?limit=100").get("data")
        for one in listed if isinstance(listed, list) else ():
            if isinstance(one, dict) and (one.get("metadata") or {}).get("landweave") == batch.token:
                batch.id, batch.status = _id(one), str(one.get("status"))
                return
        for lines in _files(line for shard in shards for line in self._lines(shard)):
            if _token(lines) == batch.token:
                self._begin(batch, lines)
                return
        raise TextsError("the questions of a batch are gone: remove the folder .work/texts-... and run again")

    def _answers(self) -> Iterator[Any]:
        for batch in self.batches:
            ended = self._ask("GET", f"batches/{batch.id}")
            for key in ("output_file_id", "error_file_id"):
                if ended.get(key) is not None:
                    yield from _read_lines(self._fetch(f"files/{_id({'id': ended[key]})}/content"))

    def _ask(
        self, method: str, path: str, body: dict[str, Any] | None = None, raw: tuple[bytes, str] | None = None
    ) -> dict[str, Any]:
        try:
            found = read_json(self._send(method, path, body, raw))
        except ForeignJsonError as error:
            raise TextsError(f"batch: {method} {path.partition('?')[0]}: expected JSON: {error}") from None
        if not isinstance(found, dict):
            raise TextsError(f"batch: {method} {path.partition('?')[0]}: expected a JSON object")
        return found

    def _fetch(self, path: str) -> bytes:
        return self._send("GET", path, None, None)

    def _send(self, method: str, path: str, body: dict[str, Any] | None, raw: tuple[bytes, str] | None) -> bytes:
        try:
            return self.endpoint.send(method, path, body, raw=raw, most_bytes=_MOST_ANSWERS)
        except AccessError as error:
            found = self.endpoint.refused(error)
            if isinstance(found, UnavailableError):
                raise TextsError(found.detail) from None
            raise TextsError(
                f"batch: {method} {path.partition('/')[0].partition('?')[0]}: the endpoint answered with status "
                f"{error.status}: does it have a batch API? Without one, set `batch: false`"
            ) from None

    def _save(self) -> None:
        keep(self.out, STATE, json.dumps([asdict(b) for b in self.batches]).encode())


def _keep(answers: dict[int, Answers], name: str, reply: Reply) -> None:
    match = _NAME.fullmatch(name)
    assert match is not None  # noqa: S101 - we wrote it
    answers[int(match[1])].put(match[2], reply)


def _reply(line: dict[str, Any], body: dict[str, Any]) -> tuple[Reply | None, str]:
    """The answer in a line; or none, and what the endpoint says of a form that it refuses."""
    response = line.get("response")
    status = response.get("status_code") if isinstance(response, dict) else None
    if isinstance(response, dict) and status == 200:
        return read_reply(json.dumps(response.get("body")).encode(), body["messages"], _wanted(body)), ""
    if status in REFUSALS and isinstance(response, dict):
        return None, json.dumps(response.get("body"))[:4_096].lower() or "refused"
    return Reply(None, "the batch came back without it", 0, 0, lost=True), ""


def _wanted(body: dict[str, Any]) -> int:
    """Captions that a question asks for: its system message says it where they are several."""
    form = str(body["messages"][0]["content"]).rpartition("\n\n")[2]
    found = re.match(r"Write (\d) captions of the same scene", form)
    return 1 if found is None else int(found[1])


def _read_lines(raw: bytes) -> Iterator[Any]:
    for line in raw.splitlines():
        if not line.strip():
            continue
        try:
            yield read_json(line)
        except ForeignJsonError:
            yield None


def _files(lines: Iterator[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    """Divided into files that an endpoint takes."""
    file: list[dict[str, Any]] = []
    size = 0
    for line in lines:
        more = len(json.dumps(line)) + 1
        if file and (len(file) >= MOST_LINES or size + more > MOST_BYTES):
            yield file
            file, size = [], 0
        file.append(line)
        size += more
    if file:
        yield file


def _text(lines: list[dict[str, Any]]) -> bytes:
    return "".join(json.dumps(line, separators=(",", ":")) + "\n" for line in lines).encode()


def _token(lines: list[dict[str, Any]]) -> str:
    return hashlib.sha256(_text(lines)).hexdigest()[:32]


def _upload(content: bytes) -> tuple[bytes, str]:
    """A form with the file (RFC 7578), and its content type."""
    head = (
        f'--{_BOUNDARY}\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nbatch\r\n'
        f'--{_BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="questions.jsonl"\r\n'
        "Content-Type: application/jsonl\r\n\r\n"
    )
    return head.encode() + content + f"\r\n--{_BOUNDARY}--\r\n".encode(), f"multipart/form-data; boundary={_BOUNDARY}"


def _id(said: dict[str, Any]) -> str:
    """An id of the endpoint, which becomes part of an address.

    Raises:
        TextsError: it is none.
    """
    found = said.get("id")
    if not isinstance(found, str) or not _ID.fullmatch(found):
        raise TextsError("batch: the endpoint names a file or batch by something that is no id")
    return found
