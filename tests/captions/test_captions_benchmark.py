"""`benchmarks.captions`: its measures mean what they say, and it runs on a dataset."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.captions import goals, self_bleu
from tests.shards.synthetic import planned

CHECKOUT = Path(__file__).parents[2]


def test_equal_texts_have_a_self_bleu_of_one_and_strange_ones_nearly_none() -> None:
    assert self_bleu([["a", "b", "c", "d", "e"]] * 5) == pytest.approx(1.0)
    assert self_bleu([[f"{w}{i}" for w in "abcdefgh"] for i in range(6)]) < 0.05


def test_self_bleu_counts_as_papineni_did() -> None:
    """Two texts of five words that share the first four: precisions 4/5, 3/4, 2/3, 1/2, no penalty."""
    texts = [["a", "b", "c", "d", "e"], ["a", "b", "c", "d", "f"]]
    assert self_bleu(texts) == pytest.approx((4 / 5 * 3 / 4 * 2 / 3 * 1 / 2) ** 0.25)


@pytest.mark.slow
def test_a_run_prints_a_row_per_method_and_what_it_missed(tmp_path: Path) -> None:
    data = planned((4, 3), sources=("sentinel2", "dem"), size_m=480.0).build(tmp_path / "data")
    line = [sys.executable, "-m", "benchmarks.captions", str(data), "--quick", "--json"]
    done = subprocess.run(line, cwd=CHECKOUT, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    rows = [json.loads(text) for text in done.stdout.splitlines()]
    ours = next(r for r in rows if r.get("method") == "template")
    assert ours["captions"] >= 1_000
    assert ours["refused_percent"] == 0
    assert {"met", "missed", "unjudged"} <= rows[-1].keys()
    assert rows[-1]["summary"]
    assert any("texts of others" in what for what in rows[-1]["unjudged"])
    assert goals(rows[:-1])["missed"] == rows[-1]["missed"]
    none = subprocess.run([*line[:3], str(tmp_path)], cwd=CHECKOUT, capture_output=True, text=True, check=False)
    assert none.returncode == 1
    assert len(none.stderr.splitlines()) == 1
