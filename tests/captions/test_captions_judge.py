"""Texts of others: the command `judge`, and sets of captions that lie beside the checkout."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from pipelines.__main__ import app
from pipelines.captions.check import judge
from pipelines.captions.records import FactsError, read_facts

SHARED = Path(__file__).resolve().parents[3] / "shared" / "captions"
RECORD = {
    "id": "f1", "label": "worldcover", "overall": [{"name": "trees", "percent": 62.0, "pixels": 620},
    {"name": "crops", "percent": 38.0, "pixels": 380}], "regions": {}, "objects": [["building", 3]],
    "road_length_m": 1200, "elevation_min_m": 10, "elevation_max_m": 20, "slope_mean_deg": 1.5, "relief": "flat",
    "season": "autumn", "month": 10, "year": 2020, "place": "northern mid-latitudes", "size_m": 960,
}  # fmt: skip


def run(tmp_path: Path, facts: object, lines: bytes) -> tuple[int, list[dict[str, Any]], str]:
    (tmp_path / "facts.json").write_text(json.dumps(facts))
    (tmp_path / "captions.jsonl").write_bytes(lines)
    done = CliRunner().invoke(app, ["judge", str(tmp_path / "facts.json"), str(tmp_path / "captions.jsonl")])
    return done.exit_code, [json.loads(line) for line in done.stdout.splitlines() if line], done.stderr


def line(**fields: object) -> bytes:
    return json.dumps({"id": "c", "facts": "f1", "text": "Trees cover 62 percent of the scene.", **fields}).encode()


def test_each_line_gets_one_answer_in_order(tmp_path: Path) -> None:
    lines = b"\n".join([line(id="a"), line(id="b", text="Trees cover 72 percent of the scene."), line(id=7)])
    code, found, _ = run(tmp_path, [RECORD], lines)
    assert code == 0
    assert [(f["id"], f["accepted"]) for f in found] == [("a", True), ("b", False), (7, True)]
    assert found[0]["claims"][0]["predicate"] == "share"
    assert found[0]["reason"] is None
    assert "62 percent" in found[1]["reason"]


@pytest.mark.parametrize(
    "bad",
    [
        b"not json", b"[]", b"", b"{}", b"\xff\xfe", b'{"id": "x", "facts": "f1"}', b"[" * 30_000, b"null",
        b'{"id": "x", "facts": "zz", "text": "Trees cover it."}', b'{"id": "' + b"a" * 300_000 + b'"}',
        b'{"id": {}, "facts": "f1", "text": 3}',
    ],
)  # fmt: skip
def test_a_line_that_cannot_be_read_is_one_answer_and_the_exit_code_says_so(tmp_path: Path, bad: bytes) -> None:
    code, found, said = run(tmp_path, [RECORD], bad + b"\n" + line())
    assert code == 3
    assert [f["accepted"] for f in found] == [False, True]
    assert "line 1" in found[0]["reason"]
    assert len(found[0]["reason"]) < 400
    assert "1 lines" in said


@pytest.mark.parametrize(
    "text", ["Trees\x00 cover 62 percent.", "\x1b[31mTrees cover it all.", "x" * 60_000, "", " ", "((((((((((((((((((("]
)
def test_strange_texts_are_refused_and_not_printed_raw(tmp_path: Path, text: str) -> None:
    code, found, _ = run(tmp_path, [RECORD], line(text=text))
    assert code == 0
    assert not found[0]["accepted"]
    assert all(ord(c) >= 32 for c in found[0]["reason"])


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        ({}, "expected a JSON list"),
        ([RECORD, RECORD], "twice"),
        ([{**RECORD, "overall": [{"name": "jungle", "percent": 3}]}], "no land cover 'jungle'"),
        ([{**RECORD, "month": 13}], "record 1"),
        ([3], "record 1"),
    ],
)
def test_a_file_of_facts_that_cannot_be_used_is_one_line(tmp_path: Path, facts: object, said: str) -> None:
    code, found, error = run(tmp_path, facts, line())
    assert (code, found) == (1, [])
    assert said in error
    assert len(error.splitlines()) == 1


def test_a_missing_file_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(FactsError, match="give a JSON list"):
        read_facts(tmp_path / "none.json")


TEXTS = Path(__file__).parent / "texts"


@pytest.mark.slow
@pytest.mark.parametrize("name", ["develop", "held_out", "widened", "fresh"])
def test_captions_of_varied_facts(name: str) -> None:
    """Texts over records of facts; those of `held_out` were written after the grammar, which was widened since.

    At its first run `held_out` had 0 of 79 false texts accepted and 12 of 60 true ones refused. `widened` is what was
    written for the second widening, in parts of which each was measured before the grammar saw it: true texts
    refused 72 of 146, 43 of 105, 18 of 97, 27 of 62 and 14 of 51, false ones accepted 0 of 100, 1 of 60, 1 of 60 and
    0 of 35; `probe` texts were written against the frames, of which 6 of 84 were accepted at first. Texts in the
    manner of SkyScript, ChatEarthNet and RSTeller came last (`picture` and the true ones beside it): 36 of 71 true
    ones were refused at first, 7 of 45 and 7 of 32 that were written after the widening; 3 of 103 false ones were
    accepted, then 0 of 42.
    `fresh` is the third widening: thirteen sets, each written before the grammar saw it, true texts beside lies of
    every kind. At first sight 24 of 113, 25 of 94, 18 of 67, 21 of 65, 17 of 52, 10 of 46, 9 of 53, 9 of 49, 10 of 47,
    4 of 40, 6 of 36, 7 of 33 and 5 of 34 true ones were refused, and 4 of 650 false ones accepted (in sets 3, 4 and
    13); of 60 lies written against the frames one was.
    Texts that the facts do not bear after all ('a city', 'a coast', objects placed) are left out of the file.
    """
    facts = read_facts(TEXTS / "facts.json")
    rows = [json.loads(row) for row in (TEXTS / f"{name}.jsonl").read_text().splitlines()]
    wrong = [r for r in rows if (judge(r["text"], facts[r["facts"]]).reason is None) != r["truth"]]
    accepted = [r["text"] for r in wrong if not r["truth"]]
    assert accepted == []
    assert sum(r["truth"] for r in wrong) <= 0.15 * sum(r["truth"] for r in rows), wrong


def test_captions_by_other_hands() -> None:
    """False ones refused: 95 % and 85 % of each category; true ones refused: 15 % at most."""
    if not SHARED.is_dir():
        pytest.skip(f"no captions of others at {SHARED.name}")
    facts = read_facts(SHARED / "facts.json")
    rows = [json.loads(row) for row in (SHARED / "captions.jsonl").read_text().splitlines()]
    wrong = [r for r in rows if (judge(r["text"], facts[r["facts"]]).reason is None) != r["truth"]]
    by_category = Counter(r["category"] for r in wrong)
    every = Counter(r["category"] for r in rows)
    assert sum(not r["truth"] for r in wrong) <= 0.05 * sum(not r["truth"] for r in rows), wrong
    assert all(by_category[c] <= 0.15 * n for c, n in every.items()), by_category
