"""Adds the sets of texts of a recipe to a dataset: a pass over its shards, and a revision.

While the dataset still grows, the shards that are there get their texts, and the set is added when it is finished:
pixels never wait for words. Answers are kept, so that every run goes on where the last one ended.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import shutil
from collections import Counter
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from pipelines.assemble import form_of
from pipelines.captions.endpoint import Endpoint
from pipelines.captions.prompts import MOST_BYTES, Prompt, PromptError, prompt_of, shipped_prompt
from pipelines.fuse import pass_folder, run_pass
from pipelines.shards import LandweaveError, address_of, share_plan
from pipelines.shards.desk import fetch_plan, kept, store_of
from pipelines.shards.stored import Stored, check_pictures, form_to_json
from pipelines.shards.text_revision import TextSet, add_texts, text_sets
from pipelines.tables import PLAN_FOLDER, read_recipe_of, read_summary
from pipelines.texts.allowance import Usage
from pipelines.texts.batch import DIALECT, Batches
from pipelines.texts.errors import TextsError
from pipelines.texts.estimate import Estimate, estimate, facts_of_some, typical_facts
from pipelines.texts.job import FOLDER, Allotment, TextJob
from pipelines.texts.parts import Part
from schemas.canonical import canonical_json
from schemas.captions import LlmCaptions
from schemas.text_sets import LlmTexts

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from pipelines.engines import Engine
    from pipelines.recipes import RecipeFile
    from schemas.text_sets import Texts

_ROUNDS = 8
"""Times that what is left of a budget is divided among the shards that could use it."""


def prompt_for(file: RecipeFile, entry: LlmCaptions) -> Prompt:
    """The prompt of an entry: a shipped one, or the text of a file beside the recipe.

    Raises:
        PromptError: there is none, or it is empty, too long or no text.
        RecipeError: the file is not there, or may not be read.
    """
    if not entry.prompt.endswith(".txt"):
        return shipped_prompt(entry.prompt)
    path = file.file("texts.prompt", entry.prompt)
    with path.open("rb") as handle:
        raw = handle.read(MOST_BYTES + 1)
    try:
        return prompt_of(path.stem, raw.decode("utf-8-sig"))
    except UnicodeDecodeError:
        raise PromptError(f"texts.prompt: {entry.prompt!r} is no text (UTF-8 expected)") from None


def lacks_fused(file: RecipeFile, out: Path) -> bool:
    """Whether a finished dataset has none of a recipe's fused labels: of one that grows, the build makes them."""
    stored = _finished(out)
    held = () if stored is None else [g.name for g in stored.spec.groups]
    return stored is not None and any(label.layer not in held for label in file.recipe.fused)


def check_texts(file: RecipeFile, *, settings: bool = False) -> None:
    """Find mistakes in the texts of a recipe before anything is fetched or asked.

    Args:
        file: the recipe.
        settings: also look for keys and addresses in the environment.

    Raises:
        PromptError, RecipeError, SettingError: the first mistake.
    """
    for entry in file.recipe.texts:
        if isinstance(entry, LlmTexts):
            prompt_for(file, entry)
            if settings:
                Endpoint(entry)


def speak(
    file: RecipeFile,
    out: Path,
    engine: Engine,
    say: Callable[[str], None] = lambda _: None,
    *,
    replace: bool = False,
) -> bool:
    """Add the sets of texts of a recipe; those that are there already stay.

    Args:
        file: the recipe.
        out: the dataset's folder, or the desk of one in an object store; the caller holds it.
        engine: who runs the pass.
        say: called with a line about each set.
        replace: whether sets of the same names that were made in another way are replaced.

    Returns:
        Whether all are added; False where the dataset still grows or a batch is under way.

    Raises:
        TextsError: the endpoint does not answer, or the dataset lacks what the texts need.
        AddError: the dataset has another set of that name.
        PromptError, SettingError, RecipeError: a mistake in the entry or in the environment.
        EngineError: the engine failed.
    """
    entries = [(entry, prompt_for(file, entry) if isinstance(entry, LlmTexts) else None) for entry in file.recipe.texts]
    done = []
    for entry, prompt in entries:
        made = _Set(entry, prompt, out, engine, say)
        if made.stored.data is None and entry.facts_from is None and file.recipe.fused:
            say(
                f"texts {entry.name}: facts come from the fused label, which the build makes at its end: nothing is "
                "asked before; with `facts_from: LABEL` texts can be made while the dataset grows"
            )
            done.append(False)
        else:
            done.append(made.add(replace=replace))
    return all(done)


def estimates(file: RecipeFile, out: Path | None, samples: int) -> list[Estimate]:
    """What the model's texts of a recipe will cost: by the facts of the dataset where it is finished.

    Args:
        file: the recipe.
        out: folder of the dataset, or None.
        samples: of the plan.
    """
    recipe = file.recipe
    found: list[Estimate] = []
    stored = _finished(out)
    for entry in recipe.texts:
        if isinstance(entry, LlmTexts):
            facts = [] if stored is None else facts_of_some(stored, entry.facts_from, entry.sure)
            number = samples if stored is None or stored.data is None else len(stored.data)
            prompt = prompt_for(file, entry)
            found.append(estimate(entry, prompt, number, facts or typical_facts(recipe), name=f"texts {entry.name}"))
    if isinstance(recipe.captions, LlmCaptions):
        prompt = prompt_for(file, recipe.captions)
        found.append(estimate(recipe.captions, prompt, samples, typical_facts(recipe), name="captions"))
    return found


def _finished(out: Path | None) -> Stored | None:
    try:
        return None if out is None else Stored(address_of(out))
    except LandweaveError:
        return None


class _Set:
    """One set on its way into a dataset."""

    def __init__(
        self, entry: Texts, prompt: Prompt | None, out: Path, engine: Engine, say: Callable[[str], None]
    ) -> None:
        self.out, self.engine, self.say = out, engine, say
        self.name = entry.name
        growing = None if _finished(out) is not None else _growing(out)
        self.stored = Stored(address_of(out), growing)
        self.job = TextJob(entry=entry, prompt=prompt, growing=growing)
        self.folder = pass_folder(out, f"{FOLDER}{self.job.key}")
        self._reopen()

    @property
    def config(self) -> LlmTexts | None:
        """The entry, where a model is asked."""
        return self.job.model

    def add(self, *, replace: bool) -> bool:
        """Make the set and add it; returns whether it is added."""
        there = {} if self.stored.data is None else text_sets(self.stored.data)
        about = there.get(self.name)
        same = about is not None and about.get("key") == self._key()
        if same and about is not None and not (replace and about.get("unanswered")):
            again = "; --replace asks again for what has no answer" if about.get("unanswered") else ""
            self.say(f"texts {self.name}: revision {about['revision']} has them already{again}")
            return True
        self._check()
        if about is not None and not replace:
            add_texts(self.out, TextSet(name=self.name, about={"key": self._key()}, of_shard=lambda _: {}))
        if not self._made():
            return False
        return self._added(replace=replace)

    def _check(self) -> None:
        """Find mistakes before anything is read or asked."""
        entry = self.job.entry
        held = [g.name for g in self.stored.spec.groups if g.kind == "label"]
        if entry.facts_from is not None and entry.facts_from not in held:
            later = "; it comes when the build is finished" if self.stored.data is None else ""
            raise TextsError(
                f"texts {self.name}: the dataset has no label {entry.facts_from!r} for facts_from; it has "
                f"{', '.join(held) or 'none'}{later}"
            )
        if self.config is not None:
            check_pictures(self.config.pictures, self.stored.spec)
            Endpoint(self.config)

    def _key(self) -> str:
        """Of what decides the texts: settings, content of the shards, and the budget, however it was divided."""
        budget = None if self.config is None or self.config.budget is None else self.config.budget.model_dump()
        undivided = dataclasses.replace(self.job, allotments={})
        parts = [undivided.part_file(self.stored, shard) for shard in self.stored.shards]
        return hashlib.sha256(canonical_json([self.job.key, budget, parts]).encode()).hexdigest()

    def _made(self) -> bool:
        """Make the parts of all shards; False where a batch has to come back first."""
        self.job = dataclasses.replace(self.job, allotments=self._first_allotments())
        for _ in range(_ROUNDS):
            if not self._pass():
                return False
            more = self._more()
            if not more:
                return True
            self.job = dataclasses.replace(self.job, allotments=more)
        return True

    def _pass(self) -> bool:
        """One pass over the shards without a part, by batches as often as it takes; False while one is under way."""
        config = self.config
        if config is None or not config.batch:
            self._run()
            return True
        batches = Batches(self.folder, Endpoint(config))
        if batches.under_way and not self._collected(batches):
            return False
        self._run()
        missing = self._missing()
        if not missing:
            return True
        count = batches.submit(missing)
        self.say(f"texts {self.name}: {count:,} questions are submitted as {_ids(batches)}; run again to collect them")
        return False

    def _collected(self, batches: Batches) -> bool:
        missing = self._missing()
        if not batches.poll(missing):
            states = Counter(b.status for b in batches.batches)
            said = ", ".join(f"{n} {status}" for status, n in sorted(states.items()))
            self.say(f"texts {self.name}: {_ids(batches)}: {said}; run again to collect the answers")
            return False
        found = batches.collect(missing)
        self.say(
            f"texts {self.name}: {found.answers:,} answers are collected, {found.lost:,} questions came back without "
            f"one" + (f", {found.strange:,} lines are no answers of ours" if found.strange else "")
        )
        if found.refused:
            batches.other_form(found.refused)
            self._reopen()
        return True

    def _reopen(self) -> None:
        """Take the form of a request that the endpoint is known to take in batches."""
        dialect = kept(self.folder, DIALECT)
        self.job = dataclasses.replace(self.job, dialect=None if dialect is None else json.loads(dialect))

    def _missing(self) -> list[int]:
        return [s for s in self.stored.shards if kept(self.folder, self.job.part_file(self.stored, s)) is None]

    def _run(self) -> None:
        todo = self._missing()
        if not todo:
            return
        self.job.write(self.folder)
        share_plan(self.folder)
        run_pass(self.folder, todo, self.engine, f"texts {self.name}", lambda: len(todo) - len(self._missing()))

    def _part(self, shard: int) -> Part:
        raw = kept(self.folder, self.job.part_file(self.stored, shard))
        if raw is None:
            raise TextsError(f"texts {self.name}: shard {shard} has no texts; run again")
        return Part.of_bytes(raw)

    def _first_allotments(self) -> dict[int, Allotment]:
        """The budget in equal parts: what a shard may spend hangs on no other shard."""
        budget = None if self.config is None else self.config.budget
        if budget is None:
            return {}
        share = Allotment(
            tokens=None if budget.tokens is None else budget.tokens // self.stored.spec.shards,
            cost=None if budget.cost is None else budget.cost / self.stored.spec.shards,
        )
        return dict.fromkeys(self.stored.shards, share)

    def _more(self) -> dict[int, Allotment]:
        """What is left of the budget, for the shards that could not ask everything; {} if none can use it."""
        budget, config = None if self.config is None else self.config.budget, self.config
        if budget is None or config is None or self.stored.data is None:
            return {}
        parts = {shard: self._part(shard) for shard in self.stored.shards}
        stopped = [shard for shard, part in parts.items() if part.stopped]
        spent = sum((p.spent for p in parts.values()), Usage())
        if not stopped:
            return {}
        left = Allotment(
            tokens=None if budget.tokens is None else budget.tokens - spent.tokens,
            cost=None if budget.cost is None else budget.cost - spent.cost(config.prices),
        )
        some = stopped[: _takers(left, [(self.job.allotment(s), parts[s].spent) for s in stopped], config)]
        found = dict(self.job.allotments)
        for shard in some:
            used = parts[shard].spent
            found[shard] = Allotment(
                tokens=None if left.tokens is None else used.tokens + left.tokens // len(some),
                cost=None if left.cost is None else round(used.cost(config.prices) + left.cost / len(some), 12),
            )
        gained = any(_more_than(found[s], self.job.allotment(s)) for s in some)
        return found if gained else {}

    def _added(self, *, replace: bool) -> bool:
        shards = self.stored.shards
        if self.stored.data is None:
            self.say(
                f"texts {self.name}: {len(shards)} of {self.stored.spec.shards} shards have their texts; the set is "
                "added when the dataset is finished: run again then"
            )
            return False
        about = self._about(shards)
        cached = lru_cache(maxsize=2)(lambda shard: self._part(shard).samples)
        revision, _ = add_texts(self.out, TextSet(name=self.name, about=about, of_shard=cached), replace=replace)
        self.say(f"texts {self.name}: revision {revision}: {_told(about)}")
        if not about["unanswered"] and not about["stopped"]:
            _clear(self.out, f"{FOLDER}{self.job.key}")
        return True

    def _about(self, shards: Sequence[int]) -> dict[str, Any]:
        """Description of the set, which the dataset keeps."""
        counts: Counter[str] = Counter()
        spent, numbers, why = Usage(), Counter[str](), ""
        for shard in shards:
            part = self._part(shard)
            counts += part.reasons
            spent += part.spent
            numbers.update(questions=part.questions, stopped=part.stopped, unanswered=part.unanswered)
            numbers.update(samples=len(part.samples))
            why = why or part.why
        config, prompt = self.config, self.job.prompt
        return {
            "key": self._key(),
            "recipe": self.job.said,
            "prompt": None if prompt is None else {"name": prompt.name, "sha256": prompt.sha256, "text": prompt.text},
            "samples": numbers["samples"],
            "texts": counts["llm"] + counts["template"] + counts["instead"],
            "by_model": counts["llm"],
            "by_template_instead": counts["instead"],
            "missing": counts["missing"],
            "questions": numbers["questions"],
            "stopped": numbers["stopped"],
            "unanswered": numbers["unanswered"],
            "why": why,
            "prompt_tokens": spent.prompt,
            "completion_tokens": spent.completion,
            "cost": None if config is None or config.prices is None else round(spent.cost(config.prices), 6),
        }


def _takers(left: Allotment, held: Sequence[tuple[Allotment, Usage]], config: LlmTexts) -> int:
    """How many shards divide what is left: so few that each can ask several questions. A shard stops when less than the
    worst case of one question is left to it, so what it did not spend says how much that is."""
    numbers = [len(held)]
    if left.tokens is not None:
        worst = max((a.tokens or 0) - spent.tokens for a, spent in held)
        numbers.append(left.tokens // max(1, 4 * worst))
    if left.cost is not None:
        dear = max((a.cost or 0.0) - spent.cost(config.prices) for a, spent in held)
        numbers.append(int(left.cost / max(1e-12, 4 * dear)))
    return max(1, min(numbers))


def _more_than(one: Allotment, other: Allotment) -> bool:
    """Whether one allotment lets a shard ask more than another."""
    return (one.tokens or 0) > (other.tokens or 0) or (one.cost or 0.0) > (other.cost or 0.0) + 1e-12


def _told(about: dict[str, Any]) -> str:
    """A description in words."""
    said = f"{about['texts']:,} texts of {about['samples']:,} samples"
    if about["recipe"]["kind"] == "llm":
        said += f" ({about['by_model']:,} by the model, {about['by_template_instead']:,} by the template in its place)"
        tokens = about["prompt_tokens"] + about["completion_tokens"]
        said += f"; {about['questions']:,} questions, {tokens:,} tokens"
        if about["cost"] is not None:
            said += f", {about['cost']:,.4f} by your prices"
    if about["missing"]:
        said += f"; {about['missing']:,} texts are missing, the ledger says why"
    if about["stopped"]:
        said += f"; the budget did not admit {about['stopped']:,} questions"
    if about["unanswered"]:
        said += f"; {about['unanswered']:,} questions had no answer ({about['why']}): --replace asks again"
    return said


def _growing(out: Path) -> dict[str, Any]:
    """The form of a dataset that is being built."""
    fetch_plan(out)
    summary = read_summary(out / PLAN_FOLDER)
    if summary is None:
        raise TextsError(f"{out.name}: no dataset here, and no plan of one: build it first")
    return form_to_json(form_of(read_recipe_of(out / PLAN_FOLDER), summary))


def _ids(batches: Batches) -> str:
    return "batch " + ", ".join(str(b.id) for b in batches.batches[:4]) + (", ..." if len(batches.batches) > 4 else "")


def _clear(out: Path, folder: str) -> None:
    """Remove the folder of a set that is added."""
    shutil.rmtree(out / folder, ignore_errors=True)
    store = store_of(out)
    if store is not None:
        shutil.rmtree(pass_folder(out, folder), ignore_errors=True)
        for path in store.sizes(folder):
            store.delete(path)
