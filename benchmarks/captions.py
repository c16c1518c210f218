"""`python -m benchmarks.captions DATA`: variety, truth and cost of captions, beside captions as others build them.

Every method speaks from the same facts, those of a dataset. The baselines follow the form of published sets, filled
from these facts: ChatEarthNet (shares over the image and its parts), SkyScript (tags of map objects) and RSTeller (map
objects and roads in sentences). `--texts` judges texts of others, whose lines say `truth`, against `--facts`.

Measures: `words` is the number of different words, `sentences` that of different sentences once numbers are masked;
`self_bleu4` the mean BLEU-4 of a caption against all others of its method, numbers masked (Zhu et al. 2018, Texygen,
with epsilon 0.1 for missing n-grams, NLTK's method 1); `distinct2` different pairs of words per pair; `recall` the
share of a sample's facts that its captions claim.
"""

from __future__ import annotations

import argparse
import json
import re
import tempfile
import time
from collections import Counter, defaultdict
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import landweave
from benchmarks.report import print_goals, print_row
from pipelines.captions.check import judge
from pipelines.captions.records import FactsError, read_facts
from pipelines.captions.template import FORMS, form_of, template_caption
from pipelines.captions.wording import expansions, frames

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from landweave.claims import Claim
    from schemas.caption import Facts

    Row = dict[str, Any]

CAPTIONS, QUICK = 10_000, 1_000
"""Captions of the template; the baselines say one for each sample."""
BLEU_TEXTS = 400
"""Texts that self-BLEU compares, drawn by seed: its cost is linear, its value changes little above this."""
_NUMBER = re.compile(r"\d+(?:[.,]\d+)*")
_EPSILON = 0.1


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.captions", description=__doc__)
    parser.add_argument("data", nargs="?", default="data/quickstart", help="dataset with captions (make quickstart)")
    parser.add_argument("--json", action="store_true", help="one object per row, last a summary")
    parser.add_argument("--quick", action="store_true", help=f"{QUICK} captions in place of {CAPTIONS}")
    parser.add_argument(
        "--texts", type=Path, action="append", default=[], help="JSON lines: facts, text, truth, category"
    )
    parser.add_argument("--facts", type=Path, help="JSON list of the facts that the texts name")
    asked = parser.parse_args()
    if asked.texts and asked.facts is None:
        raise SystemExit("--texts needs --facts: the records that the texts name")
    try:
        facts = facts_of_dataset(asked.data)
        rows = [*methods(facts, QUICK if asked.quick else CAPTIONS), *judged(asked.texts, asked.facts)]
    except (landweave.LandweaveError, FactsError, OSError, ValueError, KeyError) as error:
        raise SystemExit(f"benchmarks.captions: {error}") from None
    for row in rows:
        print_row(row, as_json=asked.json)
    print_goals(goals(rows), as_json=asked.json)


def facts_of_dataset(place: str) -> dict[str, Facts]:
    """Facts of each sample that has some, as the dataset's catalogue holds them."""
    read = landweave.open(place).catalogue.read(["id", "facts"])
    pairs = zip(read["id"].to_pylist(), read["facts"].to_pylist(), strict=True)
    records = [{**json.loads(text), "id": name} for name, text in pairs if text]
    if not records:
        raise ValueError(f"{place}: no sample has facts: build it with captions")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "facts.json"
        path.write_text(json.dumps(records), encoding="utf-8")
        return read_facts(path)


def methods(facts: dict[str, Facts], count: int) -> Iterator[Row]:
    """A row for the template, one for each of its forms, and one for each baseline."""
    names = list(facts)
    each = max(len(FORMS), -(-count // len(names)))
    start_s = time.process_time()
    said = {name: [template_caption(facts[name], name, i) for i in range(each)] for name in names}
    made_s = time.process_time() - start_s
    total = each * len(names)
    written = {text for patterns in frames().values() for pattern in patterns for text in expansions(pattern)}
    yield {**_measured("template", said, facts), "frames": len(written), "ms_per_caption": 1e3 * made_s / total}
    for form in FORMS:
        texts = {name: [t for k, t in enumerate(listed) if form_of(name, k) == form] for name, listed in said.items()}
        lengths = [len(t.split()) for listed in texts.values() for t in listed]
        yield {"method": f"template, {form}", "captions": len(lengths), "most_words": max(lengths, default=0)}
    for name, speak in BASELINES.items():
        yield _measured(name, {k: [text] for k, f in facts.items() if (text := speak(f))}, facts)


def _measured(method: str, said: dict[str, list[str]], facts: dict[str, Facts]) -> Row:
    texts = [text for listed in said.values() for text in listed]
    if not texts:  # the facts hold nothing that this method speaks of
        return {"method": method, "captions": 0}
    claims: dict[str, list[Claim]] = defaultdict(list)
    refused, count = 0, 0
    start_s = time.process_time()
    for name, listed in said.items():
        for number, text in enumerate(listed):
            verdict = judge(text, facts[name])
            refused += verdict.reason is not None
            count += len(verdict.claims)
            if verdict.reason is None and number < len(FORMS):
                claims[name] += verdict.claims
    judged_s = time.process_time() - start_s
    masked = [_tokens(_NUMBER.sub("0", text)) for text in texts]
    words = [_tokens(text) for text in texts]
    pairs = [pair for w in words for pair in pairwise(w)]
    sentences = {_NUMBER.sub("0", s) for text in texts for s in re.split(r"(?<=[.!?])\s+", text)}
    return {
        "method": method,
        "captions": len(texts),
        "refused_percent": 100 * refused / len(texts),
        "claims": count,
        "words": len({w for listed in words for w in listed if not w[0].isdigit()}),
        "sentences": len(sentences),
        "self_bleu4": self_bleu(masked),
        "distinct2": len(set(pairs)) / max(1, len(pairs)),
        "mean_words": float(np.mean([len(text.split()) for text in texts])),
        "recall_percent": 100 * float(np.mean([_recall(facts[name], claims[name]) for name in said])),
        "check_ms": 1e3 * judged_s / len(texts),
    }


def _tokens(text: str) -> list[str]:
    return re.findall(r"[a-z]+|\d+(?:[.,]\d+)*", text.lower())


def self_bleu(texts: Sequence[list[str]], seed: int = 0) -> float:
    """Mean BLEU-4 of each text against the others."""
    drawn = np.random.default_rng(seed).permutation(len(texts))[:BLEU_TEXTS]
    chosen = [texts[i] for i in drawn]
    grams = [[Counter(zip(*(t[k:] for k in range(n)), strict=False)) for n in range(1, 5)] for t in chosen]
    best: list[dict[Any, list[tuple[int, int]]]] = [{} for _ in range(4)]
    for i, of_text in enumerate(grams):
        for n, counts in enumerate(of_text):
            for gram, number in counts.items():
                top = best[n].setdefault(gram, [])
                top.append((number, i))
                top.sort(reverse=True)
                del top[2:]  # the largest of another text is enough
    lengths = np.array([len(t) for t in chosen])
    scores = []
    for i, of_text in enumerate(grams):
        logs = []
        for n, counts in enumerate(of_text):
            total = sum(counts.values())
            found = sum(min(c, next((m for m, j in best[n][g] if j != i), 0)) for g, c in counts.items())
            logs.append(np.log((found or _EPSILON) / max(total, 1)))
        others = np.delete(lengths, i)
        nearest = others[np.abs(others - lengths[i]).argmin()] if len(others) else lengths[i]
        penalty = min(0.0, 1 - nearest / max(1, lengths[i]))
        scores.append(np.exp(np.mean(logs) + penalty))
    return float(np.mean(scores))


def _recall(facts: Facts, claims: Sequence[Claim]) -> float:
    """Share of the facts that the claims speak of."""
    about = {(name, where) for c in claims for name in c.about for where in c.where or ("",)}
    parts = {where for c in claims for where in (*c.where, *c.against_where)}
    named = {name for c in claims for name in (*c.about, *c.against)}
    predicates = {c.predicate for c in claims}
    known: list[bool] = [(s.name, "") in about for s in facts.overall if s.percent >= 1]
    known += [part in parts for part, shares in facts.regions.items() if shares]
    known += [kind in named for kind, _ in facts.objects if kind != "road"]
    known += ["length" in predicates] if facts.road_length_m else []
    known += ["height" in predicates] if facts.elevation_max_m is not None else []
    known += ["slope" in predicates] if facts.slope_mean_deg is not None else []
    known += ["relief" in predicates] if facts.relief is not None else []
    known += [bool({"season", "time"} & predicates)] if facts.season is not None else []
    known += ["place" in predicates] if facts.place is not None else []
    return float(np.mean(known)) if known else 1.0


def _chatearthnet(facts: Facts) -> str:
    if not facts.overall:
        return ""
    whole = ", ".join(f"{s.percent:.0f} percent {s.name}" for s in facts.overall if s.percent >= 1)
    parts = [
        f"The {part} has {shares[0].percent:.0f} percent {shares[0].name}."
        for part, shares in facts.regions.items()
        if shares
    ]
    return " ".join([f"The image has {whole}.", *parts])


def _skyscript(facts: Facts) -> str:
    kinds = [kind for kind, _ in facts.objects[:3]]
    return f"A satellite image of {' and '.join(kinds)}." if kinds else ""


def _rsteller(facts: Facts) -> str:
    said = [f"The map shows {n} {kind}{'s' * (n > 1)}." for kind, n in facts.objects[:3] if kind != "road"]
    if facts.road_length_m:
        said.append(f"Roads run for {facts.road_length_m:.0f} m.")
    return " ".join(said)


BASELINES: dict[str, Callable[[Facts], str]] = {
    "ChatEarthNet-like": _chatearthnet,
    "SkyScript-like": _skyscript,
    "RSTeller-like": _rsteller,
}


def judged(paths: Sequence[Path], facts_path: Path | None) -> Iterator[Row]:
    """A row for each file of texts of others."""
    if facts_path is None:
        return
    facts = read_facts(facts_path)
    for path in paths:
        counts: Counter[tuple[str, bool, bool]] = Counter()
        start_s = time.process_time()
        for line in path.read_text(encoding="utf-8").splitlines():
            said = json.loads(line)
            accepted = judge(said["text"], facts[said["facts"]]).reason is None
            counts[str(said.get("category", "")), bool(said["truth"]), accepted] += 1
        spent_s = time.process_time() - start_s
        yield {"texts": path.name, **_rates(counts), "check_ms": 1e3 * spent_s / max(1, counts.total())}


def _rates(counts: Counter[tuple[str, bool, bool]]) -> Row:
    def share(truth: bool, category: str | None = None) -> float | None:
        those = {k: n for k, n in counts.items() if k[1] == truth and category in (None, k[0])}
        return 100 * sum(n for k, n in those.items() if not k[2]) / sum(those.values()) if those else None

    lies = sorted({category for category, truth, _ in counts if not truth})
    worst = min(((share(False, c) or 0.0, c) for c in lies), default=(None, ""))
    return {
        "false_refused_percent": share(False),
        "least_category_percent": worst[0],
        "least_category": worst[1],
        "true_refused_percent": share(True),
    }


def goals(rows: Sequence[Row]) -> dict[str, list[str]]:
    """'met', 'missed' and 'unjudged'."""
    ours = next(r for r in rows if r.get("method") == "template")
    most = {r["method"]: float(r["most_words"]) for r in rows if "most_words" in r}
    listed: list[tuple[str, float | None, float, bool]] = [
        ("template captions refused, percent", ours["refused_percent"], 0, False),
        ("recall of the facts, percent", ours["recall_percent"], 70, True),
        ("different words", ours["words"], 801, True),
        ("frames of the data file, alternatives written out", ours["frames"], 3_000, True),
        ("self-BLEU4 with numbers masked", ours["self_bleu4"], 0.80, False),
        ("words of a short caption", most.get("template, short"), 29, False),
        ("words of a medium caption", most.get("template, medium"), 59, False),
        ("milliseconds for a caption and its check", ours["ms_per_caption"], 2, False),
    ]
    texts = [r for r in rows if "texts" in r]
    for row in texts or [{}]:
        name = row.get("texts", "texts of others (--texts)")
        listed += [
            (f"{name}: false refused, percent", row.get("false_refused_percent"), 95, True),
            (f"{name}: least of a category, percent", row.get("least_category_percent"), 85, True),
            (f"{name}: true refused, percent", row.get("true_refused_percent"), 15, False),
        ]
    found: dict[str, list[str]] = {"met": [], "missed": [], "unjudged": []}
    for what, value, bound, least in listed:
        if value is None:
            found["unjudged"].append(what)
            continue
        met = value >= bound if least else value <= bound
        found["met" if met else "missed"].append(
            f"{what}: {value:.4g} (goal: {'at least' if least else 'at most'} {bound:g})"
        )
    return found


if __name__ == "__main__":
    main()
