"""`python -m benchmarks.texts DATA`: texts of a model that answers after 250 ms, and their cost against the estimate.

A language model on loopback answers from the facts. Each way makes the texts of the same samples from nothing, in one
process: one question at a time, as captions were made before, and several under way. `tokens` are those that the
endpoint counted; `estimate` is what `plan` and `add --estimate` predict for the same samples.
"""

from __future__ import annotations

import argparse
import os
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.report import print_goals, print_row
from pipelines.captions.prompts import shipped_prompt
from pipelines.shards import address_of
from pipelines.shards.stored import Stored
from pipelines.texts.estimate import estimate, facts_of_some
from pipelines.texts.job import FOLDER, TextJob
from pipelines.texts.parts import Part
from pipelines.texts.worker import TextWorker
from schemas.text_sets import LlmTexts
from testbed.llm import LanguageModel, serve_language_model

LATENCY_S = 0.25
"""How long the model takes for an answer."""
WAYS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("one at a time", {"at_once": 1}),
    ("16 under way", {"at_once": 16}),
    ("32 under way", {"at_once": 32}),
    ("32 under way, 4 wordings per question", {"at_once": 32, "per_sample": 4, "together": 4}),
)
LEAST_TIMES = 8.0
"""Goal: texts per second of 32 under way over one at a time."""
MOST_OFF = 0.15
"""Goal: difference of the estimate from what the endpoint counted."""


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.texts", description=__doc__)
    parser.add_argument("data", nargs="?", default="data/quickstart", help="finished dataset (make quickstart)")
    parser.add_argument("--json", action="store_true", help="one object per row, last a summary")
    parser.add_argument("--quick", action="store_true", help="one shard in place of all")
    asked = parser.parse_args()
    os.environ.setdefault("OPENAI_API_KEY", "any")
    with serve_language_model() as model, tempfile.TemporaryDirectory() as place:
        os.environ["OPENAI_BASE_URL"] = model.base_url
        data = Path(shutil.copytree(asked.data, Path(place) / "data", symlinks=True))
        _measured(data, model, {"at_once": 16}, quick=True)  # the grammar is compiled, files are in memory
        model.latency_s = LATENCY_S
        rows = [{"way": name, **_measured(data, model, how, quick=asked.quick)} for name, how in WAYS]
    for row in rows:
        print_row(row, as_json=asked.json)
    print_goals(_goals(rows), as_json=asked.json)


def _measured(data: Path, model: LanguageModel, how: dict[str, Any], *, quick: bool) -> dict[str, Any]:
    """One way, from nothing."""
    entry = LlmTexts(name="words", kind="llm", model="m", **how)
    job = TextJob(entry=entry, prompt=shipped_prompt("facts-2"))
    folder, stored = data / f"{FOLDER}{job.key}", Stored(address_of(data))
    shutil.rmtree(folder, ignore_errors=True)
    job.write(folder)
    worker, shards = TextWorker(folder), stored.shards[:1] if quick else stored.shards
    asked = len(model.requests)
    began_s, cpu_s = time.perf_counter(), time.process_time()
    for shard in shards:
        worker.build(shard)
    took_s, cpu_s = time.perf_counter() - began_s, time.process_time() - cpu_s
    parts = [Part.of_bytes((folder / job.part_file(stored, shard)).read_bytes()) for shard in shards]
    shutil.rmtree(folder)
    samples = sum(len(p.samples) for p in parts)
    texts = sum(len(one.texts) for p in parts for one in p.samples.values())
    counted = sum(p.spent.tokens for p in parts)
    told = estimate(entry, shipped_prompt("facts-2"), samples, facts_of_some(stored, None, entry.sure), name="words")
    return {
        "samples": samples,
        "texts": texts,
        "questions": len(model.requests) - asked,
        "seconds": round(took_s, 2),
        "texts_per_s": round(texts / took_s, 2),
        "cpu_ms_per_text": round(1000 * cpu_s / texts, 1),
        "tokens": counted,
        "estimate": told.usage.tokens,
        "estimate_off": round(told.usage.tokens / max(1, counted) - 1, 3),
    }


def _goals(rows: list[dict[str, Any]]) -> dict[str, list[str]]:
    """'met' and 'missed'."""
    speed = {row["way"]: row["texts_per_s"] for row in rows}
    times = speed["32 under way"] / speed["one at a time"]
    off = max(abs(row["estimate_off"]) for row in rows)
    found = {
        f"32 under way is {times:.1f} times one at a time (goal: at least {LEAST_TIMES:g})": times >= LEAST_TIMES,
        f"estimates of tokens are off by {off:.1%} at most (goal: at most {MOST_OFF:.0%})": off <= MOST_OFF,
    }
    return {kind: [line for line, met in found.items() if met == (kind == "met")] for kind in ("met", "missed")}


if __name__ == "__main__":
    main()
