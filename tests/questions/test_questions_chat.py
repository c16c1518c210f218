"""Chats for fine-tuning: the three forms hold the same, with pictures beside them, split by split."""

from __future__ import annotations

import dataclasses
import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

import landweave
from landweave.__main__ import main
from landweave.export import export
from landweave.render import picture
from landweave.texts import conversations
from pipelines.shards import finalise, write_shard
from tests.shards.synthetic import planned

if TYPE_CHECKING:
    from collections.abc import Iterator

CHECKOUT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def chat(asked: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export(landweave.open(asked), "chat", tmp_path_factory.mktemp("chat") / "out", file_bytes=200_000)


def lines(path: Path) -> Iterator[dict[str, Any]]:
    return (json.loads(line) for line in path.read_text(encoding="utf-8").splitlines())


def test_every_conversation_is_there_once_in_its_split(asked: Path, chat: Path) -> None:
    data = landweave.open(asked)
    for split in ("train", "test"):
        rows = list(lines(chat / f"{split}.jsonl"))
        wanted = {f"{s.id}-q{c[0].dialogue}": c for s in data if s.split == split for c in conversations(s.questions)}
        found = {row["id"]: row for row in rows if row["task"] != "caption"}
        assert list(found) == list(wanted)
        assert sum(row["task"] == "caption" for row in rows) == sum(len(s.captions) for s in data if s.split == split)
        for name, turns in wanted.items():
            messages = found[name]["messages"]
            assert [m["role"] for m in messages] == ["user", "assistant"] * len(turns)
            assert [m["content"].replace("<image>\n", "") for m in messages[::2]] == [q.text for q in turns]
            assert [m["content"] for m in messages[1::2]] == [q.answer for q in turns]
            assert messages[0]["content"].count("<image>") == len(found[name]["images"])


def test_the_three_forms_say_the_same(chat: Path) -> None:
    for split in ("train", "test"):
        rows = list(lines(chat / f"{split}.jsonl"))
        llava = json.loads((chat / "llava" / f"{split}.json").read_text(encoding="utf-8"))
        table = pq.read_table(chat / "data", filters=None).to_pylist()
        table = [r for r in table if r["id"] in {row["id"] for row in rows}]
        assert [r["id"] for r in rows] == [r["id"] for r in llava]
        assert {r["id"] for r in rows} == {r["id"] for r in table}
        by_id = {r["id"]: r for r in table}
        for row, other in zip(rows, llava, strict=True):
            texts = [m["content"] for m in row["messages"]]
            assert [c["value"] for c in other["conversations"]] == texts
            parts = [p for m in by_id[row["id"]]["messages"] for p in m["content"]]
            assert [p["text"] for p in parts if p["type"] == "text"] == [t.replace("<image>\n", "") for t in texts]
            assert sum(p["type"] == "image" for p in parts) == len(row["images"])


def test_pictures_are_those_of_the_dates_that_are_asked_about(asked: Path, chat: Path) -> None:
    data = landweave.open(asked)
    groups, seen = {g.name: g for g in data.spec.groups}, 0
    for row in list(lines(chat / "train.jsonl"))[::25]:
        sample = data.sample(row["sample_id"])
        for path in row["images"]:
            layer, _, slot = path.removesuffix(".png").rpartition(f"{sample.id}-")[2].partition("-")
            drawn = np.asarray(Image.open(chat / path))
            assert (drawn == picture(sample, groups[layer], int(slot or 0))).all()
            seen += 1
    assert seen > 10


def test_parquet_embeds_the_pictures(chat: Path) -> None:
    table = pq.read_table(next((chat / "data").glob("train-*"))).to_pylist()
    row = next(r for r in table if r["images"])
    assert (chat / row["images"][0]["path"]).read_bytes() == row["images"][0]["bytes"]
    assert Image.open(io.BytesIO(row["images"][0]["bytes"])).size[0] > 4


def test_layers_narrow_what_is_asked(asked: Path, tmp_path: Path) -> None:
    out = export(landweave.open(asked), "chat", tmp_path / "out", arrays=["sentinel1"])
    rows = list(lines(out / "train.jsonl"))
    assert rows
    assert all("-sentinel1-" in path for row in rows for path in row["images"])


def test_a_dataset_without_texts_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plan = planned((2,), sources=("dem",))
    shard = plan.shards[0]
    bare = [dataclasses.replace(stack, captions=[]) for stack in plan.stacks(shard)]
    write_shard(tmp_path / "bare", shard, bare, plan.dataset, plan.footprints(shard))
    finalise(tmp_path / "bare", plan.dataset)
    assert main(["export", "chat", str(tmp_path / "bare"), str(tmp_path / "chat")]) == 1
    assert "synthetic has neither questions nor captions: build it with" in capsys.readouterr().err
    assert not list(tmp_path.glob(".chat*"))
    assert main(["texts", str(tmp_path / "bare")]) == 1
    assert "synthetic has neither captions nor questions" in capsys.readouterr().err


def test_captions_and_pairs_are_printed_to_be_read(asked: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["texts", str(asked), "--count", "5"]) == 0
    said = capsys.readouterr().out
    assert said.count("\ncaption ") + said.startswith("caption ") == 5
    assert said.count("\npair ") == 5
    assert said.count("\nQ: ") == said.count("\nA: ") >= 5


@pytest.mark.slow
def test_datasets_loads_it(asked: Path, chat: Path, tmp_path: Path) -> None:
    """With `datasets` in an environment of its own; pictures come back as pictures, splits under the Hub's names."""
    from benchmarks.loading_venv import make

    python = make()
    read = (
        "import sys, json, datasets\n"
        "found = datasets.load_dataset(sys.argv[1], cache_dir=sys.argv[2])\n"
        "row = next(r for r in found['train'] if r['images'])\n"
        "print(json.dumps({'rows': {k: len(v) for k, v in found.items()}, 'size': row['images'][0].size,\n"
        "    'messages': row['messages'], 'id': row['id']}))"
    )
    line = [str(python), "-c", read, str(chat), str(tmp_path / "cache")]
    done = subprocess.run(line, capture_output=True, text=True, check=False, env={**os.environ, "HF_HUB_OFFLINE": "1"})
    assert done.returncode == 0, done.stderr[-2000:]
    said = json.loads(done.stdout.splitlines()[-1])
    assert said["rows"] == {s: len(list(lines(chat / f"{s}.jsonl"))) for s in ("train", "test")}
    ours = next(r for r in lines(chat / "train.jsonl") if r["id"] == said["id"])
    assert said["messages"][-1]["content"][-1]["text"] == ours["messages"][-1]["content"]


@pytest.mark.slow
def test_the_commands_say_what_they_do(asked: Path) -> None:
    for words in (["texts", "--help"], ["export", "--help"]):
        done = subprocess.run(
            [sys.executable, "-m", "landweave", *words], cwd=CHECKOUT, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0
        assert "example: landweave" in done.stdout
