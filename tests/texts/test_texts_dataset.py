"""Sets of texts come into a dataset, are replaced and withdrawn: no older byte changes, whoever makes them."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest

import landweave
from landweave.check import check
from landweave.prove import Proof, prove
from pipelines.engines import Engine
from pipelines.jobs import add_text_sets, withdraw_text_set
from pipelines.shards import AddError
from pipelines.shards.stored import Stored, form_to_json
from pipelines.speak import estimates
from pipelines.texts.batch import Batches
from pipelines.texts.errors import TextsError
from testbed.llm_batch import BatchApi
from tests.fusion.test_fused_dataset import sums
from tests.texts.conftest import KEY, recipe_file, words

if TYPE_CHECKING:
    from pathlib import Path

    from testbed.llm import LanguageModel

PLAIN = {"name": "plain", "kind": "template", "per_sample": 2}


@pytest.fixture
def out(base: Path, tmp_path: Path) -> Path:
    return shutil.copytree(base, tmp_path / "data")


@pytest.fixture(autouse=True)
def _in_checkout(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    monkeypatch.chdir(request.config.rootpath)


def add(out: Path, *texts: dict[str, Any], **how: Any) -> tuple[bool, list[str]]:
    said: list[str] = []
    return add_text_sets(recipe_file(out.parent, *texts), out, how.pop("engine", Engine()), said.append, **how), said


def of_set(data: landweave.Dataset, name: str) -> list[str]:
    return [c.text for s in data for c in s.captions if c.set == name]


@pytest.mark.slow
def test_sets_are_added_replaced_and_withdrawn(out: Path, base: Path, model: LanguageModel) -> None:
    held, before = landweave.open(out), sums(out)
    done, said = add(out, PLAIN, words())
    assert done
    assert len(said) == 2
    assert said[1].startswith("texts words: revision 2: 8 texts of 8 samples (")
    after = sums(out)
    changed = {path for path, digest in before.items() if after[path] != digest}
    assert changed <= {"landweave.json", "data.zarr/zarr.json", "README.md", "croissant.json", "CITATION.cff"}
    data = landweave.open(out)
    assert list(check(data)) == []
    assert list(data.text_sets) == ["plain", "words"]
    about = data.text_sets["words"]
    assert about["prompt_tokens"] + about["completion_tokens"] == sum(
        c["tokens"] for s in data for c in s.item["captions"] if c["set"] == "words"
    )
    assert about["prompt"]["sha256"] in {c["prompt_sha256"] for s in data for c in s.item["captions"]}
    assert [len(of_set(data, name)) for name in ("", "plain", "words")] == [8, 16, 8]
    assert of_set(data, "") == of_set(landweave.open(base), "")
    proof = Proof()
    assert list(prove(data, None, proof)) == []
    assert proof.claims.total() > 60
    assert not list((out / ".work").glob("texts-*"))
    whole, asked = sums(out), len(model.requests)
    done, said = add(out, PLAIN, words())
    assert done
    assert all("has them already" in line for line in said)
    assert (sums(out), len(model.requests)) == (whole, asked)

    with pytest.raises(
        AddError, match=r"texts words: .* has a set of that name already, made in another way; .*--repl"
    ):
        add(out, words(temperature=0.1))
    assert (sums(out), len(model.requests)) == (whole, asked)
    model.mode = "invents"
    done, said = add(out, words(temperature=0.1, instead="nothing", attempts=1), replace_old=True)
    assert done
    assert "8 texts are missing, the ledger says why" in said[0]
    data = landweave.open(out)
    assert [len(of_set(data, name)) for name in ("", "plain", "words")] == [8, 16, 0]
    rows = [r for r in data.ledger.to_pylist() if r["layer"] == "texts/words"]
    assert len(rows) == 8
    assert {r["reason"] for r in rows} == {"caption_refused"}
    assert withdraw_text_set(out, "plain") == 4
    with pytest.raises(AddError, match=r"has no set of texts 'plain'; it has words"):
        withdraw_text_set(out, "plain")
    assert withdraw_text_set(out, "words") == 5
    data = landweave.open(out)
    assert list(check(data)) == []
    assert list(data.text_sets) == []
    assert [s.captions for s in data] == [s.captions for s in landweave.open(base)]
    assert [r for r in data.ledger.to_pylist() if r["layer"].startswith("texts/")] == []
    assert [s.captions for s in held] == [s.captions for s in landweave.open(base)], "opened before: reads on"
    assert all(KEY.encode() not in p.read_bytes() for p in out.rglob("*") if p.is_file())


@pytest.mark.slow
def test_facts_come_from_the_fused_label_where_it_is_sure(out: Path, model: LanguageModel) -> None:
    said = recipe_file(out.parent, {**PLAIN, "sure": 0.6}).recipe.model_dump(mode="json")
    said["labels"] += [{"kind": "fused"}]
    from pipelines.jobs import add_fused
    from pipelines.recipes import RecipeFile
    from schemas.recipe import Recipe

    file = RecipeFile(recipe=Recipe.model_validate(said), folder=out.parent)
    add_fused(file, out, Engine())
    assert add_text_sets(file, out, Engine())
    data = landweave.open(out)
    claims = [c for s in data for one in s.captions if one.set == "plain" for c in json.loads(one.claims)]
    covers = {source for c in claims for source in c["source"] if "classes" in source}
    assert all(
        source.startswith(("fused/classes?confidence>=0.6", "worldcover", "dynamic", "openstreetmap"))
        for source in covers
    )
    assert list(prove(data)) == []
    assert list(check(data)) == []
    for sample in data:
        sure = sample["fused/confidence"] / 255 >= 0.6
        about_cover = [
            c for one in sample.captions if one.set == "plain" for c in json.loads(one.claims)
            if any("fused" in source for source in c["source"]) and not c.get("where")
        ]  # fmt: skip
        assert not about_cover or sure.mean() >= 0.9


def test_a_growing_dataset_gives_the_same_samples_facts_and_stamps(base: Path, tmp_path: Path) -> None:
    from pipelines.shards.stored import fact_labels, sources_of_facts, stored_facts
    from tests.shards import synthetic
    from tests.texts.conftest import COUNTS, SOURCES

    planned = synthetic.planned(COUNTS, sources=SOURCES)
    out = tmp_path / "growing"
    for shard in planned.shards[:2]:
        planned.write(out, shard)
    growing, whole = Stored(str(out), form_to_json(planned.dataset)), Stored(str(base))
    assert (growing.shards, whole.shards) == ([0, 1], [0, 1, 2])
    labels = fact_labels(whole.recipe, whole.spec, None)
    assert labels == fact_labels(growing.recipe, growing.spec, None)
    for shard in growing.shards:
        assert growing.stamp(shard, labels) == whole.stamp(shard, labels)
        pairs = list(zip(growing.samples(shard), whole.samples(shard), strict=True))
        assert pairs
        for one, other in pairs:
            assert one.id == other.id
            where = sources_of_facts(growing.recipe, one, labels, 0.8)
            assert where == sources_of_facts(whole.recipe, other, labels, 0.8)
            assert stored_facts(one, 240.0, where) == stored_facts(other, 240.0, where)


def test_the_estimate_is_within_15_percent_of_what_the_endpoint_counts(out: Path, model: LanguageModel) -> None:
    entry = words(per_sample=2, prices={"input": 2.0, "output": 8.0})
    file = recipe_file(out.parent, entry)
    (found,) = estimates(file, out, 0)
    assert (found.samples, found.questions, found.measured) == (8, 16, True)
    add(out, entry)
    about = landweave.open(out).text_sets["words"]
    counted = about["prompt_tokens"] + about["completion_tokens"]
    answered = about["questions"] / found.questions  # a question that was repeated is paid twice
    assert abs(found.usage.tokens * answered - counted) <= 0.15 * counted
    assert found.cost is not None
    assert abs(found.cost * answered - about["cost"]) <= 0.15 * about["cost"]


@pytest.mark.slow
def test_a_batch_comes_back_later_in_any_order(out: Path, model: LanguageModel, tmp_path: Path) -> None:
    at_once = shutil.copytree(out, tmp_path / "at-once")
    add(at_once, words())
    model.requests.clear()
    api = BatchApi(model, strange=True)
    done, said = add(out, words(batch=True))
    assert not done
    assert said == ["texts words: 8 questions are submitted as batch batch_0001; run again to collect them"]
    done, said = add(out, words(batch=True))
    assert not done
    assert "1 in_progress" in said[0]
    rounds = 0
    while not done and rounds < 8:
        done, said = add(out, words(batch=True))
        rounds += 1
    assert done, said
    assert any("lines are no answers of ours" in line for line in said) or rounds > 1
    ours, theirs = landweave.open(out), landweave.open(at_once)
    assert of_set(ours, "words") == of_set(theirs, "words")
    assert list(check(ours)) == []
    assert len(api.files) >= 2


@pytest.mark.slow
@pytest.mark.parametrize("ends", ["expired", "failed", "refuses"])
def test_batches_that_expire_fail_or_refuse_a_form(out: Path, model: LanguageModel, ends: str) -> None:
    api = BatchApi(model, polls=0, ends="completed" if ends == "refuses" else ends, fails=frozenset({1}))
    if ends == "refuses":
        model.refuses = frozenset({"json_schema"})
    entry = words(batch=True, attempts=4)
    assert add(out, entry)[0] is False
    if ends == "failed":
        with pytest.raises(TextsError, match="refused the whole batch batch_0001"):
            add(out, entry)
        api.ends = "completed"
    for _ in range(8):
        done, said = add(out, entry)
        if done:
            break
    assert done, said
    data = landweave.open(out)
    assert len(of_set(data, "words")) == 8
    by_model = [c for s in data for c in s.item["captions"] if c["captioner"] == "llm"]
    assert len(by_model) >= 4
    assert list(prove(data)) == []
    if ends == "expired":
        assert max(c["attempts"] for c in by_model) > 1


def test_a_batch_that_was_submitted_just_before_a_kill_is_found_again(out: Path, model: LanguageModel) -> None:
    api = BatchApi(model, polls=0)
    add(out, words(batch=True))
    (state,) = out.glob(".work/texts-*/batch/state.json")
    said = json.loads(state.read_text())
    state.write_text(json.dumps([{**one, "id": None, "status": "new"} for one in said]))
    for _ in range(4):
        if add(out, words(batch=True))[0]:
            break
    assert len([b for b in api.batches.values() if b["metadata"] == {"landweave": said[0]["token"]}]) == 1
    assert Batches.__doc__
    assert len(of_set(landweave.open(out), "words")) == 8


def test_an_endpoint_without_a_batch_api_is_one_line(out: Path, model: LanguageModel) -> None:
    with pytest.raises(TextsError, match=r"status 404: does it have a batch API\? Without one, set `batch: false`"):
        add(out, words(batch=True))


@pytest.mark.slow
def test_other_parallelism_and_kills_give_the_same_bytes(
    base: Path, tmp_path: Path, model: LanguageModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = words(per_sample=2, at_once=1)
    one = shutil.copytree(base, tmp_path / "one")
    add(one, entry)
    whole = sums(one)
    several = shutil.copytree(base, tmp_path / "several")
    add(several, {**entry, "at_once": 8}, engine=Engine(workers=2))
    assert sums(several) == whole
    model.latency_s = 0.3
    out, kills = shutil.copytree(base, tmp_path / "killed"), 0
    (tmp_path / "recipe.yaml").write_text(recipe_file(tmp_path, entry).recipe.model_dump_json())
    command = [sys.executable, "-m", "pipelines", "add", str(out), str(tmp_path / "recipe.yaml"), "--workers", "1"]
    for pattern in ("answers/00000/*.json", "answers/00001/*.json", "parts/00001-*.json"):
        child = subprocess.Popen(command, start_new_session=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        while child.poll() is None and not list((out / ".work").glob(f"texts-*/{pattern}")):
            time.sleep(0.01)
        if child.poll() is None:
            os.killpg(child.pid, signal.SIGKILL)
            kills += 1
        child.wait()
        assert list(check(landweave.open(out))) == []
    last = subprocess.run(command, capture_output=True, text=True, check=False)
    assert last.returncode == 0, last.stderr
    assert kills == 3
    assert sums(out) == whole


@pytest.mark.parametrize("wordings", [1, 2])
def test_the_estimate_before_a_build_is_near_that_of_real_facts(
    wordings: int,
) -> None:
    from pathlib import Path

    from pipelines.captions.facts import facts_for
    from pipelines.captions.prompts import shipped_prompt
    from pipelines.recipes import read_recipe
    from pipelines.texts.estimate import estimate, typical_facts
    from schemas.text_sets import LlmTexts
    from tests.captions.captions_worlds import random_stack

    recipe = read_recipe(Path("recipes/quickstart.yaml")).recipe
    entry = LlmTexts(**words(per_sample=wordings))
    stacks = [random_stack(seed) for seed in range(40)]
    real = [f for f in (facts_for(s, "worldcover") for s in stacks) if f.overall and f.relief and f.objects and f.month]
    assert len(real) > 8
    told = [estimate(entry, shipped_prompt("facts-2"), 100, facts, name="x") for facts in (typical_facts(recipe), real)]
    assert (told[0].measured, told[1].measured) == (False, True)
    assert abs(told[0].usage.tokens - told[1].usage.tokens) <= 0.15 * told[1].usage.tokens


@pytest.mark.slow
def test_what_shards_leave_of_a_budget_is_used_by_others(out: Path, model: LanguageModel) -> None:
    done, said = add(out, words(attempts=1, max_tokens=100, budget={"tokens": 15_000}))
    assert done
    about = landweave.open(out).text_sets["words"]
    assert (about["questions"], about["stopped"]) == (8, 0), said
    assert about["prompt_tokens"] + about["completion_tokens"] <= 15_000
    asked = len(model.requests)
    done, said = add(out, words(attempts=1, max_tokens=100, budget={"tokens": 15_000}))
    assert (done, len(model.requests)) == (True, asked), "a budget is what the recipe says, not how shards divided it"
    assert all("has them already" in line for line in said)
    done, said = add(out, words(name="short", attempts=1, max_tokens=100, budget={"tokens": 7_000}))
    about = landweave.open(out).text_sets["short"]
    assert 0 < about["questions"] < 8
    assert about["questions"] + about["stopped"] == 8
    assert about["prompt_tokens"] + about["completion_tokens"] <= 7_000
