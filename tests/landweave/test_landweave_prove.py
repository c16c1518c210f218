"""Stored claims are executed again from arrays and tables alone, and false ones are found."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

import landweave
from landweave.__main__ import main
from landweave.claims import EXECUTE, Claim
from landweave.errors import CorruptError, QueryError
from landweave.facts import COMMON, MONTHS, TROPIC_DEG, season_of
from landweave.prove import Proof, _stored, prove
from pipelines.captions.evidence import with_claims
from pipelines.captions.facts import facts_of
from pipelines.captions.template import speak
from pipelines.shards.addition import add
from sampling import seasons
from schemas.caption import Caption, ClassShare
from schemas.label import COMMON_CLASSES
from tests.shards.synthetic import Planned, planned

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pipelines.shards.write import ShardRows
    from schemas.caption import Facts
    from schemas.stack import Stack

FALSE = "s000_001"
"""The sample whose captions rest on other facts than its arrays."""


def changed(facts: Facts) -> Facts:
    """Facts of no array: every share moved, more houses, higher ground."""
    moved = tuple(ClassShare(name=s.name, percent=s.percent + 7, pixels=s.pixels) for s in facts.overall)
    return replace(facts, overall=moved, road_length_m=9990, year=(facts.year or 2000) + 1)


@dataclass(frozen=True)
class Told(Planned):
    """A plan whose samples have captions of the template, with their claims, and one text of a file."""

    def stacks(self, shard: ShardRows) -> Iterator[Stack]:
        for made in super().stacks(shard):
            made.reference = made.observations.get(("sentinel2", 0)) or made.observations["sentinel2", 1]
            facts = facts_of(made, "worldcover" if "worldcover" in made.labels else None)
            facts = changed(facts) if made.place.sample_id == FALSE else facts
            spoken = [speak(facts, made.place.sample_id, i) for i in range(4)]
            given = replace(made.captions[0], text="Somebody wrote this.", captioner="column", facts_sha256="")
            made.facts = facts
            made.captions = [c for c in spoken if isinstance(c, Caption)]
            made.captions = [*with_claims(made, facts), given]
            yield made


def told(*sources: str) -> Planned:
    plan = planned((3, 2), sources=sources, size_m=240.0)
    return Told(plan.dataset, plan.shards, plan.seed)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return told("sentinel2", "dem").build(tmp_path_factory.mktemp("told") / "out")


def test_true_claims_are_true_and_changed_ones_are_found(path: Path) -> None:
    data, proof = landweave.open(path), Proof()
    lines = list(prove(data, None, proof))
    assert proof.captions == 4 * len(data)
    assert proof.unclaimed == len(data)
    assert proof.claims.total() > 20 * len(data)
    assert {"share", "length", "time", "place"} <= set(proof.claims)
    assert len(lines) == proof.false > 4
    assert {line.split()[0] for line in lines} == {FALSE}
    assert any("9990" in line or "10 k" in line for line in lines), "the length of the roads is measured again"
    true = Proof()
    assert list(prove(data, data.query(id=[i for i in data.query().ids if i != FALSE]), true)) == []
    assert true.claims.total() + sum(1 for _ in lines) <= proof.claims.total()


def test_the_command_counts_and_its_exit_code_says_whether_a_claim_is_false(
    path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["prove", str(path)]) == 1
    said = capsys.readouterr().out
    assert f"{FALSE} caption 1" in said
    assert "5 captions stored without claims" in said
    assert main(["prove", str(path), f"id != '{FALSE}'", "--json"]) == 0
    counts = json.loads(capsys.readouterr().out)
    assert counts["false"] == 0
    assert counts["claims"] == sum(counts["by_predicate"].values()) > 50


def test_every_caption_names_the_array_or_table_that_shows_it(path: Path) -> None:
    data = landweave.open(path)
    known = {*(a.path for a in data.spec.arrays), "openstreetmap/vectors", "catalogue"}
    for sample in data:
        for caption in sample.captions:
            for claim in json.loads(caption.claims) if caption.claims else ():
                assert claim["source"], claim
                assert all(s in known or s.startswith("sentinel2/datetimes/") for s in claim["source"]), claim


def test_captions_that_speak_of_something_are_found(path: Path) -> None:
    data = landweave.open(path)
    water = data.speaking_of("water").ids
    for sample in data:
        said = {n for c in sample.captions if c.claims for k in json.loads(c.claims) for n in k.get("about", ())}
        assert (sample.id in water) == ("water" in said)
    roads = data.speaking_of("road_length_m", predicate="length").ids
    assert 0 < len(roads) <= len(data)
    assert roads == data.speaking_of("road_length_m").ids
    assert data.speaking_of("road_length_m", predicate="share").ids == []
    with pytest.raises(QueryError, match="such as speaking_of"):
        data.speaking_of()


def test_claims_of_added_captions_are_proved_too(path: Path, tmp_path: Path) -> None:
    base = planned((3, 2), sources=("landsat",), size_m=240.0, name="base", labels=False).build(tmp_path / "base")
    before = Proof()
    assert list(prove(landweave.open(base), None, before)) == []
    assert (before.captions, before.unclaimed) == (0, 5)
    add(base, str(path))
    after = Proof()
    lines = list(prove(landweave.open(base), None, after))
    assert after.captions == 20
    assert {line.split()[0] for line in lines} == {FALSE}


def test_a_claim_whose_array_is_absent_is_not_taken_for_true(path: Path) -> None:
    data = landweave.open(path)
    sample = next(s for s in data if not any(s.present["worldcover"]))
    from landweave.prove import _executed, _Sample

    claim = Claim("presence", ("water",), words="water")
    assert "cannot be read" in str(_executed(_Sample(sample, 240.0), ("worldcover/classes",), claim, {}))
    assert "names no array" in str(_executed(_Sample(sample, 240.0), (), claim, {}))
    assert _executed(_Sample(sample, 240.0), ("nothing/here",), claim, {}) is not None


@pytest.mark.parametrize(
    "bad",
    ["{}", "[3]", "not json", '[{"source": 3}]', '[{"source": [], "predicate": "sings"}]',
     '[{"source": [], "predicate": "share", "about": "trees"}]', '[{"source": [], "predicate": "share", "low": "x"}]'],
)  # fmt: skip
def test_damaged_claims_are_one_clear_error(bad: str) -> None:
    with pytest.raises(CorruptError, match="claims of it"):
        list(_stored(bad, "it"))


@pytest.mark.parametrize("predicate", sorted(EXECUTE))
def test_a_claim_survives_its_record(predicate: str) -> None:
    claim = Claim(predicate, ("trees",), ("top left",), 1.5, 2.5, ("crops",), ("middle",), "words")
    assert Claim.from_record(json.loads(json.dumps(claim.record()))) == claim
    assert Claim.from_record({**Claim(predicate).record(), "unknown": 1}) == Claim(predicate)


def test_reader_and_factory_know_the_same_classes_and_seasons() -> None:
    assert COMMON == COMMON_CLASSES
    assert len(MONTHS) == 12
    for lat in (-80.0, -TROPIC_DEG, 0.0, 23.0, 23.5, 60.0):
        for month in range(1, 13):
            assert season_of(month, lat) == seasons.season(month, lat)


def test_shares_are_those_that_numpy_counts(path: Path) -> None:
    data = landweave.open(path)
    sample = next(s for s in data if any(s.present["worldcover"]))
    codes = np.asarray(sample["worldcover/classes"])
    by_code = {c.code: c.common for c in sample.legend("worldcover")}
    labelled = sum(int((codes == code).sum()) for code in by_code)
    trees = sum(int((codes == code).sum()) for code, name in by_code.items() if name == "trees")
    from landweave.prove import _facts_from, _Sample

    found = _facts_from(_Sample(sample, 240.0), "worldcover/classes")["overall"]
    share = next(s for s in found if s.name == "trees")
    assert share.pixels == trees
    assert abs(share.percent - 100 * trees / labelled) <= 0.5
