"""What a worker does with one shard: facts from its arrays, questions to the model, and the texts."""

from __future__ import annotations

import json
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from pipelines.captions.counting import most_tokens
from pipelines.captions.dialects import Dialect
from pipelines.captions.dialogue import MOST_REASON, Dialogue, Question, Said
from pipelines.captions.endpoint import Endpoint, UnavailableError
from pipelines.captions.prompts import schema
from pipelines.captions.subject import Picture
from pipelines.captions.template import speak
from pipelines.passes import base_of
from pipelines.shards.desk import keep
from pipelines.shards.stored import Stored, fact_labels, sources_of_facts, stored_facts, stored_pictures
from pipelines.texts.allowance import Allowance, Usage
from pipelines.texts.answers import Answers, name_of
from pipelines.texts.errors import TextsError
from pipelines.texts.job import TextJob
from pipelines.texts.parts import Part, texts_of
from schemas.caption import Caption
from schemas.outcome import Outcome, Reason

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pipelines.shards.stored import StoredSample
    from schemas.caption import Facts
    from schemas.captions import LlmCaptions
    from schemas.text_sets import LlmTexts

BATCHED = "questions"
"""Folder of questions that wait for a batch."""
_MOST_UNANSWERED = 0.5
"""A shard fails where more than this share of its questions had no answer: the endpoint is down, and is asked later."""


@dataclass
class _Talk:
    """One dialogue under way."""

    dialogue: Dialogue
    number: int
    asked: bool = True
    """False where the budget does not admit it."""
    spent: Usage = field(default_factory=Usage)
    questions: int = 0
    why: str = ""
    """Why it ended early."""
    lost: bool = False
    """Whether the endpoint did not answer."""
    waiting: Question | None = None
    """What a batch is to ask."""


@dataclass
class _Subject:
    facts: Facts
    where: dict[str, str]
    pictures: list[Picture]
    talks: list[_Talk]


class TextWorker:
    """Resources that all shards of one process share."""

    def __init__(self, out: Path, workers: int = 1) -> None:
        """Open a pass.

        Args:
            out: its folder, which holds its plan.
            workers: processes that share the endpoint's limits.
        """
        self.out, self.job, self._workers = out, TextJob.read(out), workers
        self.stored = Stored(base_of(out), self.job.growing)
        self._failed = threading.Event()

    @cached_property
    def _endpoint(self) -> Endpoint:
        assert self.job.model is not None  # noqa: S101 - asked for models alone
        return Endpoint(self.job.model, workers=self._workers)

    def build(self, shard: int) -> int:
        """Make the texts of one shard; returns its samples.

        Raises:
            TextsError: the endpoint does not answer.
            SettingError: it refuses the key or the request.
        """
        self._failed.clear()
        samples = self.stored.samples(shard)
        part = self._template(samples) if self.job.model is None else self._model(self.job.model, shard, samples)
        if part is not None:
            keep(self.out, self.job.part_file(self.stored, shard), part.to_bytes())
        return len(samples)

    def close(self) -> None:
        """Nothing is held."""

    def _template(self, samples: list[StoredSample]) -> Part:
        part = Part()
        for sample in samples:
            facts, where = self._facts(sample)
            spoken = [speak(facts, sample.id, index) for index in range(self.job.entry.per_sample)]
            said = [Said(one, None, one.detail if isinstance(one, Outcome) else "") for one in spoken]
            part.samples[sample.id] = texts_of(self.job, facts, where, said, 0)
        return part

    def _facts(self, sample: StoredSample) -> tuple[Facts, dict[str, str]]:
        labels = fact_labels(self.stored.recipe, self.stored.spec, self.job.entry.facts_from)
        where = sources_of_facts(self.stored.recipe, sample, labels, self.job.entry.sure)
        return stored_facts(sample, self.stored.spec.size_m, where), where

    def _model(self, config: LlmTexts, shard: int, samples: list[StoredSample]) -> Part | None:
        """The texts of a shard; None where a batch has to ask first."""
        allowance, answers = Allowance(self.job.allotment(shard), config.prices), Answers(self.out, shard)
        subjects: dict[str, _Subject] = {}
        with ThreadPoolExecutor(max_workers=config.at_once) as pool:
            jobs: list[Future[None]] = []
            number = 0
            for sample in samples:
                subjects[sample.id] = subject = self._subject(config, sample, number)
                number += len(subject.talks)
                jobs += [job for talk in subject.talks if (job := self._begun(pool, talk, allowance, answers))]
                if self._failed.is_set():
                    break
            for one in jobs:
                one.result()
        if self._failed.is_set():
            raise TextsError(f"shard {shard} was not finished")
        waiting = [t for s in subjects.values() for t in s.talks if t.waiting is not None]
        if waiting:
            keep(self.out, f"{BATCHED}/{shard:05d}.jsonl", self._questions(config, shard, waiting))
            return None
        return self._part(config, subjects)

    def _begun(
        self, pool: ThreadPoolExecutor, talk: _Talk, allowance: Allowance, answers: Answers
    ) -> Future[None] | None:
        """Begin a dialogue if the budget admits it. With batches nothing is asked here, and nothing waited for."""
        config = talk.dialogue.config
        batched = self._batched
        admitted = allowance.admit(talk.number, _worst(config, talk.dialogue), wait=not batched)
        talk.asked = admitted is not False
        if admitted and batched:
            self._talk(talk, allowance, answers)
        return pool.submit(self._talk, talk, allowance, answers) if admitted and not batched else None

    def _subject(self, config: LlmTexts, sample: StoredSample, first: int) -> _Subject:
        facts, where = self._facts(sample)
        drawn = stored_pictures(sample, config.pictures, where, config.picture_px)
        pictures = [Picture(title=d.title, legend=d.legend, png=d.png) for d in drawn]
        assert self.job.prompt is not None  # noqa: S101 - a model has one
        dialogues = Dialogue.all_of(config, self.job.prompt, sample.id, facts, pictures)
        return _Subject(facts, where, pictures, [_Talk(d, first + n) for n, d in enumerate(dialogues)])

    def _talk(self, talk: _Talk, allowance: Allowance, answers: Answers) -> None:
        """Lead one dialogue to its end, or to a question that waits for a batch."""
        try:
            while (question := talk.dialogue.question) is not None and not self._failed.is_set():
                name = name_of(talk.dialogue, question)
                reply = answers.get(name)
                if reply is None and self._batched:
                    talk.waiting = question
                    return
                if reply is None:
                    reply = self._endpoint.ask(question)
                    answers.put(name, reply)
                talk.spent += Usage(reply.prompt_tokens, reply.completion_tokens)
                talk.questions += not reply.lost
                talk.dialogue.hear(reply)
        except UnavailableError as error:
            if error.reason is Reason.DENIED:
                self._failed.set()
                raise TextsError(error.detail) from None
            talk.lost, talk.why = True, error.detail
        except Exception:
            self._failed.set()
            raise
        finally:
            if talk.waiting is None:
                allowance.settle(talk.number, talk.spent)

    @property
    def _batched(self) -> bool:
        return self.job.model is not None and self.job.model.batch

    def _part(self, config: LlmTexts, subjects: dict[str, _Subject]) -> Part:
        talks = [t for s in subjects.values() for t in s.talks]
        lost = [t for t in talks if t.lost]
        if len(lost) > _MOST_UNANSWERED * len(talks):
            raise TextsError(f"{len(lost)} of {len(talks)} questions had no answer: {lost[0].why}")
        part = Part(
            spent=sum((t.spent for t in talks), Usage()),
            questions=sum(t.questions for t in talks),
            stopped=sum(not t.asked for t in talks),
            unanswered=len(lost),
            why=lost[0].why if lost else "",
        )
        for name, subject in subjects.items():
            spoken = [said for talk in subject.talks for said in self._said(config, talk)]
            part.samples[name] = texts_of(self.job, subject.facts, subject.where, spoken, len(subject.pictures))
        return part

    def _said(self, config: LlmTexts, talk: _Talk) -> list[Said]:
        why = talk.why if talk.asked else "the budget was spent before this question"
        said = talk.dialogue.captions(config.instead, why)
        if config.instead == "template":
            return said
        reason = Reason.UNAVAILABLE if talk.lost else Reason.CAPTION_REFUSED
        return [s if isinstance(s.caption, Caption) else Said(_outcome(talk, reason, s.why), None, s.why) for s in said]

    def _questions(self, config: LlmTexts, shard: int, waiting: list[_Talk]) -> bytes:
        """Lines of a batch file."""
        dialect = Dialect.first(config) if self.job.dialect is None else Dialect(**self.job.dialect)
        lines = (json.dumps(line, separators=(",", ":")) for line in _lines(config, dialect, shard, waiting))
        return "".join(f"{line}\n" for line in lines).encode()


def _outcome(talk: _Talk, reason: Reason, why: str) -> Outcome:
    return Outcome(sample_id=talk.dialogue.sample_id, layer="captions", slot=0, reason=reason, detail=why)


def _lines(config: LlmTexts, dialect: Dialect, shard: int, waiting: list[_Talk]) -> Iterator[dict[str, Any]]:
    for talk in waiting:
        question = talk.waiting
        assert question is not None  # noqa: S101 - they wait
        body = dialect.body(config, question.messages, question.seed, question.wanted)
        name = f"{shard:05d}-{name_of(talk.dialogue, question)}"
        yield {"custom_id": name, "method": "POST", "url": "/v1/chat/completions", "body": body}


def _worst(config: LlmCaptions, dialogue: Dialogue) -> Usage:
    """Most that a dialogue can cost: all attempts, each told why the one before was refused."""
    question = dialogue.question
    if question is None:
        return Usage()
    form = len(json.dumps(schema(question.wanted)))
    prompt = most_tokens(question.messages, getattr(config, "picture_tokens", 0), form) + 4 * MOST_REASON
    return Usage(prompt * config.attempts, config.max_tokens * question.wanted * config.attempts)
