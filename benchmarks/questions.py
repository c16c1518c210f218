"""`python -m benchmarks.questions DATA`: what a blind answerer gets right, how answers are proved, and their cost.

Questions are made from the samples of a dataset, as a build makes them. Two answerers see the words and never the
sample. `majority` knows how often each answer is right in the question's family, by what it says and by where it stands
among the options; `text` is a logistic regression on the words of a question (single ones and pairs) crossed with each
of its possible answers. Both are fitted on four fifths of the blocks of ground and tried on the fifth, five times.

Chance is a fair guess: one of the options, yes or no, one of the two that the question names. Of an open answer in
numbers it is one of the different answers of its family. A number is right within the tolerance that the question
stores; a box or a mask if it overlaps the true one by half (intersection over union). `caught` is the share of changed
answers that `landweave.questions.refuted_question` refuses.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import time
from collections import Counter, defaultdict
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.optimize import minimize
from scipy.sparse import csr_matrix

import landweave
from benchmarks.report import print_goals, print_row
from landweave.patches import mask_of
from landweave.questions import LETTERS, refuted_question
from landweave.scenes import scene_of
from pipelines.questions import ShardQuestions
from pipelines.questions.dataset import dataset_sources, questions_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from landweave.asked import Scene
    from landweave.dataset import Dataset
    from landweave.questions import Question

    Row = dict[str, Any]

PAIRS, QUICK = 48, 24
"""Pairs of a sample on which answerers are tried."""
FOLDS = 5
SPOKEN = 10
"""Pairs of a sample that the goal for speed asks for."""
_TRIED = 400
"""Questions whose answers are changed."""
_LEAST = 60
"""Questions of a task from which its figures are judged."""
_TIMED = 48


@dataclass(frozen=True)
class Item:
    """A question, as answerers see it."""

    question: Question
    fold: int
    possible: tuple[str, ...]
    """What the answer may be; () where it is open."""
    right: str
    """Which of these it is, or the open answer."""
    tolerance: float


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.questions", description=__doc__)
    parser.add_argument("data", nargs="?", default="data/quickstart", help="finished dataset (make quickstart)")
    parser.add_argument("--json", action="store_true", help="one object per row, last a summary")
    parser.add_argument("--quick", action="store_true", help=f"{QUICK} pairs per sample in place of {PAIRS}")
    asked = parser.parse_args()
    try:
        rows = list(measured(landweave.open(asked.data), QUICK if asked.quick else PAIRS))
    except (landweave.LandweaveError, OSError, ValueError) as error:
        raise SystemExit(f"benchmarks.questions: {error}") from None
    for row in rows:
        print_row(row, as_json=asked.json)
    print_goals(goals(rows), as_json=asked.json)


def measured(dataset: Dataset, pairs: int) -> Iterator[Row]:
    """A row for each task, one for the proofs, one for the wording and one for the speed."""
    listed = list(questions_of(dataset, pairs))
    if not listed:
        raise ValueError(
            "no layer of this dataset answers questions: it needs a label, a DEM, or optical or radar images"
        )
    blocks = dict(zip(*(dataset.catalogue.read(["id", "block"])[c].to_pylist() for c in ("id", "block")), strict=True))
    items = [item_of(q, blocks[q.sample_id]) for q in listed]
    yield from blind(items)
    yield proved(dataset, listed)
    yield _wording(listed)
    yield speed(dataset)


def item_of(question: Question, block: str) -> Item:
    """What answerers are given."""
    evidence = json.loads(question.evidence)
    value = evidence.get("value")
    fold = hashlib.sha256(block.encode()).digest()[0] % FOLDS
    possible: tuple[str, ...] = ()
    if question.options:
        possible = tuple(str(option) for option in evidence["options"])
    elif question.form == "yes or no":
        possible = ("yes", "no")
    elif evidence["op"] in ("largest", "smallest"):
        possible = tuple(evidence["keys"])
    elif evidence["op"] == "rank":
        possible = ("first", "second")
    right = question.mask if question.form == "mask" else json.dumps(value) if isinstance(value, list) else str(value)
    return Item(question, fold, possible, right, float(evidence["tolerance"]))


def blind(items: Sequence[Item]) -> Iterator[Row]:
    """A row for each task: chance, and what both answerers get right without the sample, percent."""
    by_majority, by_text = _majority(items), _text(items)
    chances = _chances(items)
    tasks = sorted({i.question.task for i in items})
    for task in tasks:
        mine = [n for n, i in enumerate(items) if i.question.task == task]
        rate = {name: 100 * float(np.mean([found[n] for n in mine])) for name, found in (
            ("chance_percent", chances), ("majority_percent", by_majority), ("text_percent", by_text))}  # fmt: skip
        best = max(rate["majority_percent"], rate["text_percent"])
        yield {
            "task": task,
            "questions": len(mine),
            "families": len({items[n].question.family for n in mine}),
            **rate,
            "above_chance": best - rate["chance_percent"],
            "standard_error": 100 * float(np.sqrt(0.25 / len(mine))),
        }


def _chances(items: Sequence[Item]) -> list[float]:
    different: dict[str, set[str]] = defaultdict(set)
    for i in items:
        different[i.question.family].add(i.right)
    return [
        0.0 if i.question.form in ("box", "mask") else 1 / len(i.possible or different[i.question.family])
        for i in items
    ]


def _majority(items: Sequence[Item]) -> list[float]:
    """Right or not, of the better of two rules per family: the answer, or its place, that was right most often."""
    found: dict[str, list[float]] = {rule: [0.0] * len(items) for rule in _RULES}
    for fold in range(FOLDS):
        counts, opens = _seen([i for i in items if i.fold != fold])
        for n, i in enumerate(items):
            for rule in _RULES if i.fold == fold else ():
                found[rule][n] = _by_rule(i, rule, counts) if i.possible else _open_right(i, opens[i.question.family])
    totals: dict[str, dict[str, float]] = defaultdict(lambda: dict.fromkeys(_RULES, 0.0))
    for n, i in enumerate(items):
        for rule in _RULES:
            totals[i.question.family][rule] += found[rule][n]
    best = {family: max(sums, key=lambda rule: sums[rule]) for family, sums in totals.items()}
    return [found[best[i.question.family]][n] for n, i in enumerate(items)]


_RULES = ("answer", "place")


def _seen(items: Sequence[Item]) -> tuple[dict[Any, list[float]], dict[str, Counter[str]]]:
    """(family, answer or place) -> [right, asked], and family -> open answers."""
    counts: dict[Any, list[float]] = defaultdict(lambda: [1.0, 2.0])
    opens: dict[str, Counter[str]] = defaultdict(Counter)
    for i in items:
        opens[i.question.family][i.right] += 1
        for place, what in enumerate(i.possible):
            for key in ((i.question.family, what), (i.question.family, place)):
                counts[key][0] += what == i.right
                counts[key][1] += 1
    return counts, opens


def _by_rule(item: Item, rule: str, counts: dict[Any, list[float]]) -> float:
    keys: Sequence[Any] = item.possible if rule == "answer" else range(len(item.possible))
    rates = [_rate(counts[item.question.family, key]) for key in keys]
    return float(item.possible[int(np.argmax(rates))] == item.right)


def _rate(counts: list[float]) -> float:
    return counts[0] / counts[1]


def _open_right(item: Item, seen: Counter[str]) -> float:
    if not seen:
        return 0.0
    guess = seen.most_common(1)[0][0]
    if item.question.form == "mask":
        return float(_overlap_masks(guess, item.right) >= 0.5)
    if item.question.form == "box":
        boxes = [json.loads(box) for box in seen]
        return float(_overlap(list(np.median(boxes, axis=0)), json.loads(item.right)) >= 0.5)
    try:
        return float(abs(float(guess) - float(item.right)) <= item.tolerance)
    except ValueError:
        return float(guess == item.right)


def _overlap(a: Sequence[float], b: Sequence[float]) -> float:
    wide, high = (min(a[k + 2], b[k + 2]) - max(a[k], b[k]) for k in (0, 1))
    both = max(0.0, wide) * max(0.0, high)
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (a, b)]
    return float(both / max(1e-9, sum(areas) - both))


def _overlap_masks(a: str, b: str) -> float:
    one, two = (mask_of(m["size"][0], m["size"][1], m["counts"]) for m in (json.loads(a), json.loads(b)))
    return float((one & two).sum() / max(1, (one | two).sum())) if one.shape == two.shape else 0.0


def _text(items: Sequence[Item]) -> list[float]:
    """Right or not, of a logistic regression on words crossed with possible answers."""
    rows: list[tuple[int, int]] = []
    names: dict[str, int] = {}
    columns: list[int] = []
    starts = [0]
    for n, i in enumerate(items):
        for place in range(len(i.possible)):
            columns += {names.setdefault(f, len(names)) for f in _features(i, place)}
            starts.append(len(columns))
            rows.append((n, place))
    x = csr_matrix((np.ones(len(columns)), columns, starts), shape=(len(rows), max(1, len(names))))
    y = np.array([items[n].possible[place] == items[n].right for n, place in rows], float)
    folds = np.array([items[n].fold for n, _ in rows])
    found = [0.0] * len(items)
    for fold in range(FOLDS):
        weights = _fitted(x[folds != fold], y[folds != fold])
        scores = x @ weights
        best: dict[int, tuple[float, int]] = {}
        for (n, place), score, of_fold in zip(rows, scores, folds, strict=True):
            if of_fold == fold and (n not in best or score > best[n][0]):
                best[n] = (score, place)
        for n, (_, place) in best.items():
            found[n] = float(items[n].possible[place] == items[n].right)
    seen = _by_words(items)
    return [found[n] if i.possible else seen[n] for n, i in enumerate(items)]


def _features(item: Item, place: int) -> set[str]:
    family, what = item.question.family, item.possible[place]
    words = re.findall(r"[a-z0-9]+", item.question.question.lower())
    told = [*words, *(" ".join(pair) for pair in pairwise(words))]
    numbers = [float(p) for p in item.possible] if all(re.fullmatch(r"-?[\d.]+", p) for p in item.possible) else []
    found = {f"{family}|{what}", f"{family}|#{place}", *(f"{family}|{what}|{word}" for word in told)}
    if numbers:
        rank = sorted(numbers).index(numbers[place])
        found |= {f"{family}|rank {rank}", f"{family}|rank {rank}|{int(np.log2(1 + max(0.0, *numbers)))}"}
    return found | {f"{family}|{what}|against {other}" for other in item.possible if other != what}


def _fitted(x: Any, y: Any, ridge: float = 1.0) -> Any:
    """Weights of a logistic regression with a ridge."""

    def loss(weights: Any) -> tuple[float, Any]:
        margin = x @ weights
        value = np.logaddexp(0.0, margin).sum() - (y * margin).sum() + ridge / 2 * (weights @ weights)
        return float(value), x.T @ (1 / (1 + np.exp(-margin)) - y) + ridge * weights

    return minimize(loss, np.zeros(x.shape[1]), jac=True, method="L-BFGS-B", options={"maxiter": 60}).x


def _by_words(items: Sequence[Item]) -> list[float]:
    """Of open answers: the one that was right most often for the same land covers and parts."""
    found = [0.0] * len(items)
    for fold in range(FOLDS):
        seen: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
        for i in items:
            if i.fold != fold and not i.possible:
                seen[_asked_about(i)][i.right] += 1
        for n, i in enumerate(items):
            if i.fold == fold and not i.possible:
                found[n] = _open_right(i, seen[_asked_about(i)])
    return found


def _asked_about(item: Item) -> tuple[str, str]:
    return item.question.family, json.dumps(json.loads(item.question.evidence)["of"][0].get("about"))


def proved(dataset: Dataset, listed: Sequence[Question]) -> Row:
    """How many answers the data bear, and how many changed ones are caught."""
    order = np.random.default_rng(0).permutation(len(listed))[:_TRIED]
    false = changed = caught = 0
    for n in sorted(order.tolist(), key=lambda n: listed[n].sample_id):
        scene = scene_of(dataset.sample(listed[n].sample_id))
        false += refuted_question(listed[n], scene) is not None
        for other in mutations(listed[n], listed):
            changed += 1
            caught += refuted_question(other, scene) is not None
    return {"proved": len(order), "false": false, "changed": changed, "caught_percent": 100 * caught / max(1, changed)}


def mutations(question: Question, others: Sequence[Question] = ()) -> Iterator[Question]:
    """The question with another answer: the opposite, another option, another number, another part, another mask."""
    answer = question.answer
    if question.options:
        right = LETTERS.index(answer[0])
        for k, option in enumerate(question.options):
            if k != right:
                yield replace(question, answer=f"{LETTERS[k]}. {option}")
                yield replace(question, answer=f"{LETTERS[k]}{answer[1:]}")
    for a, b in (*_OPPOSITES, *((b, a) for a, b in _OPPOSITES)):
        if re.search(rf"\b{a}\b", answer):
            yield replace(question, answer=re.sub(rf"\b{a}\b", b, answer))
    number = re.search(r"\d+", answer)
    if number and not question.options:
        yield replace(question, answer=answer.replace(number.group(), str(int(number.group()) + 1), 1))
    if question.mask:
        runs = json.loads(question.mask)
        middle = len(runs["counts"]) // 2
        runs["counts"][middle - 1] += 1
        runs["counts"][middle] -= 1
        yield replace(question, mask=json.dumps(runs, separators=(",", ":")))
    strange = next((o for o in others if o.family == question.family and o.answer != answer), None)
    if strange is not None and not question.options:
        yield replace(question, answer=strange.answer)


_OPPOSITES = (("Yes", "No"), ("left", "right"), ("top", "bottom"), ("upper", "lower"), ("above", "below"),
              ("rose", "fell"), ("before", "after"), ("first", "second"), ("First", "Second"))  # fmt: skip


def _wording(listed: Sequence[Question]) -> Row:
    masked = {re.sub(r"\d+", "0", q.question) for q in listed}
    patterns = {json.loads(q.evidence)["asked"] for q in listed}
    return {"pairs": len(listed), "forms": dict(Counter(q.form for q in listed)), "patterns": len(patterns),
            "different_questions": len(masked)}  # fmt: skip


class _InMemory:
    """A scene's numbers, read before the clock starts: a build has them in memory."""

    def __init__(self, scene: Scene) -> None:
        self._from, self._kept = scene.reads, {}  # type: ignore[var-annotated]
        self.latitude = scene.reads.latitude

    def _get(self, name: str, *what: Any) -> Any:
        if (name, *what) not in self._kept:
            self._kept[(name, *what)] = getattr(self._from, name)(*what)
        return self._kept[(name, *what)]

    def chip(self, path: str, slot: int) -> Any:
        return self._get("chip", path, slot)

    def mapped(self, label: str) -> Any:
        return self._get("mapped", label)

    def time(self, group: str, slot: int) -> Any:
        return self._get("time", group, slot)


def speed(dataset: Dataset) -> Row:
    """Milliseconds of CPU for a sample's questions, its arrays in memory; the least of five runs."""
    sources = dataset_sources(dataset)
    samples = [dataset.sample(n) for n in range(min(_TIMED, len(dataset)))]
    reads = [_InMemory(scene_of(s)) for s in samples]
    spent = []
    for _ in range(6):  # the first run reads the arrays
        start_s = time.process_time()
        asked = ShardQuestions(sources, SPOKEN, 0)
        for row, (sample, kept) in enumerate(zip(samples, reads, strict=True)):
            asked.add(replace(scene_of(sample), reads=kept), sample.id, row)
        count = len(asked.rows())
        spent.append(time.process_time() - start_s)
    return {"pairs_per_sample": count / len(samples), "ms_per_sample": 1e3 * min(spent[1:]) / len(samples)}


def goals(rows: Sequence[Row]) -> dict[str, list[str]]:
    """'met', 'missed' and 'unjudged'."""
    found: dict[str, list[str]] = {"met": [], "missed": [], "unjudged": []}
    for row in rows:
        if "task" not in row:
            continue
        words = f"{row['task']}: a blind answerer above chance, points"
        if row["questions"] < _LEAST:
            found["unjudged"].append(f"{words}: {row['questions']} questions, at least {_LEAST} are needed")
        else:
            _judged(found, words, row["above_chance"], 5.0)
    last = {k: v for row in rows for k, v in row.items() if "task" not in row}
    _judged(found, "answers that the data do not bear", last["false"], 0)
    _judged(found, "changed answers that are not caught, percent", 100 - last["caught_percent"], 0)
    _judged(found, "milliseconds of CPU for a sample's pairs", last["ms_per_sample"], 5)
    fewer = SPOKEN - last["pairs_per_sample"]
    _judged(found, f"pairs fewer than {SPOKEN} of a sample", max(0.0, fewer), 0)
    return found


def _judged(found: dict[str, list[str]], what: str, value: float, most: float) -> None:
    found["met" if value <= most else "missed"].append(f"{what}: {value:.3g} (goal: at most {most:g})")


if __name__ == "__main__":
    main()
