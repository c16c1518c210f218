"""Captions by a language model: asked for JSON, checked, cached, and replaced by the template where the model will not
keep to the facts."""

from __future__ import annotations

import hashlib
import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from pipelines.captions.check import CHECKS_VERSION, refusal_of
from pipelines.captions.dialogue import Dialogue
from pipelines.captions.endpoint import Endpoint, UnavailableError
from pipelines.captions.facts import facts_for, facts_sha256
from pipelines.captions.prompts import shipped_prompt
from pipelines.captions.template import TEMPLATE_VERSION
from pipelines.durable import write_durably
from schemas.caption import Caption
from schemas.outcome import Outcome

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from schemas.captions import LlmCaptions
    from schemas.stack import Stack


@dataclass
class _Tally:
    """Tokens spent so far; answers from the cache folder cost nothing."""

    each: list[int] = field(default_factory=list)
    """Of each answer: threads append."""


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
    timeout_s: float | None = None
    """Deadline of one request, seconds; None: the recipe's."""
    workers: int = 1
    """Processes that share the limits."""
    tally: _Tally = field(default_factory=_Tally, repr=False, compare=False)
    """Of this process."""

    def __post_init__(self) -> None:
        """Fail before anything is spent.

        Raises:
            SettingError: the endpoint's address or key is not in the environment, or the key would be sent to a host
                that is neither its home nor named by the user.
            PromptError: there is no such prompt.
        """
        self._endpoint  # noqa: B018 - looks at the environment
        shipped_prompt(self.config.prompt)

    def caption(self, stack: Stack) -> list[Caption] | Outcome:
        """`per_sample` captions; or the outcome `unavailable` or `denied` where the endpoint gives no answer at all.

        If an answer is not JSON, or the facts do not support it, it is requested again, up to `attempts`; then the
        template speaks, and the caption says so (`fallback`).

        Raises:
            SettingError: the endpoint calls the request wrong (no such model, a parameter it does not know).
        """
        facts, sample_id = facts_for(stack, self.config.facts_from), stack.place.sample_id
        found: list[Caption] = []
        for dialogue in Dialogue.all_of(self.config, shipped_prompt(self.config.prompt), sample_id, facts):
            captions = self._cached(dialogue)
            if isinstance(captions, Outcome):
                return captions
            found += captions
        return found

    def caption_all(self, stacks: Sequence[Stack]) -> list[list[Caption] | Outcome]:
        """`caption` of several samples, with `at_once` questions under way."""
        with ThreadPoolExecutor(max_workers=self.config.at_once) as pool:
            return list(pool.map(self.caption, stacks))

    @property
    def tokens_spent(self) -> int:
        """See `Captioner`."""
        return sum(self.tally.each)

    def _cached(self, dialogue: Dialogue) -> list[Caption] | Outcome:
        indexes = range(dialogue.first, dialogue.first + dialogue.count)
        paths = [self._path(dialogue, index) for index in indexes]
        kept = [_kept(path, dialogue) for path in paths]
        if None not in kept:
            return [c for c in kept if c is not None]
        captions = self._asked(dialogue)
        if isinstance(captions, Outcome):
            return captions
        for path, caption in zip(paths, captions, strict=True):
            _keep(path, caption)
        return captions

    def _asked(self, dialogue: Dialogue) -> list[Caption] | Outcome:
        while (question := dialogue.question) is not None:
            try:
                reply = self._endpoint.ask(question)
            except UnavailableError as error:
                return Outcome(
                    sample_id=dialogue.sample_id, layer="captions", slot=0, reason=error.reason, detail=error.detail
                )
            self.tally.each.append(reply.tokens)
            dialogue.hear(reply)
        found: list[Caption] = []
        for said in dialogue.captions():
            if isinstance(said.caption, Outcome):
                return said.caption
            found.append(said.caption)
        return found

    @cached_property
    def _endpoint(self) -> Endpoint:
        return Endpoint(self.config, workers=self.workers, backoff_s=self.backoff_s, timeout_s=self.timeout_s)

    def __getstate__(self) -> dict[str, Any]:
        """A captioner travels to workers without its connections."""
        return {name: value for name, value in self.__dict__.items() if name != "_endpoint"}

    def _path(self, dialogue: Dialogue, index: int) -> Path:
        """Path of a cached answer: its name contains every input."""
        said: dict[str, Any] = {
            "facts": facts_sha256(dialogue.facts),
            "sample": dialogue.sample_id,
            "index": index,
            "model": self.config.model,
            "prompt": dialogue.prompt.name,
            "template": TEMPLATE_VERSION,
            "checks": CHECKS_VERSION,
            "temperature": self.config.temperature,
            "max_tokens": self.config.max_tokens,
            "attempts": self.config.attempts,
        }
        if self.config.together > 1:
            said["together"] = [dialogue.first, dialogue.count]
        digest = hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()
        return self.cache_dir / digest[:2] / f"{digest}.json"


def _kept(path: Path, dialogue: Dialogue) -> Caption | None:
    """The caption kept there; None if there is none, or it cannot be read, or it does not pass the checks."""
    facts = dialogue.facts
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
