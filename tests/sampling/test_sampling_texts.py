"""Texts of a file come to the samples that they belong to; what a caption must not hold is refused with its row."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from pipelines.tables import write_texts
from pipelines.tables.texts import read_texts
from sampling import SamplingError, locate
from sampling.texts import checked_texts, texts_of
from schemas.recipe import Recipe
from schemas.texts import MOST_TEXT_BYTES

if TYPE_CHECKING:
    from pathlib import Path

    from tests.sampling.conftest import Recipes


def got(recipe: Recipe, folder: Path) -> dict[str, list[str]]:
    found = locate(recipe, folder)
    names, held = found.columns(np.arange(len(found)))["sample_id"], {}
    assert recipe.captions is not None
    for number, texts in texts_of(recipe.captions, found, recipe.points_file, folder):  # type: ignore[arg-type]
        held.setdefault(names[number], []).extend(texts)
    return held


@pytest.mark.parametrize("sampling", [{"kind": "points"}, {"kind": "draw", "count": 15}])
def test_a_column_gives_each_sample_the_text_of_its_row(
    tmp_path: Path, recipe: Recipes, sampling: dict[str, Any]
) -> None:
    lines = [f"{10 + i / 5},{48},s{i},{'' if i == 3 else f'text {i}'}" for i in range(20)]
    (tmp_path / "p.csv").write_text("\n".join(["lon,lat,sample_id,text", *lines]) + "\n")
    place = {"file": "p.csv"} if sampling["kind"] == "points" else {"from": {"file": "p.csv"}}
    made = recipe(sampling | place, captions={"kind": "column", "column": "text"}, splits={"by": "random"})
    texts = got(made, tmp_path)
    assert len(texts) >= 15
    assert all(found == ([] if name == "s3" else [f"text {name[1:]}"]) for name, found in texts.items())


@pytest.mark.parametrize("suffix", ["jsonl", "csv", "parquet"])
def test_a_file_gives_texts_by_sample_id(tmp_path: Path, recipe: Recipes, suffix: str) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    (tmp_path / "p.csv").write_text("lon,lat,sample_id\n10,48,a\n11,48,b\n12,48,c\n")
    rows = [("b", "second"), ("a", 'said "so", \u00fcber all'), ("nobody", "x"), ("b", "again")]
    path = tmp_path / f"t.{suffix}"
    if suffix == "jsonl":
        path.write_text("\n".join(json.dumps({"sample_id": n, "text": t}) for n, t in rows) + "\n\n")
    elif suffix == "csv":
        path.write_text("sample_id,text\n" + "".join(f'{n},"{t.replace(chr(34), 2 * chr(34))}"\n' for n, t in rows))
    else:
        pq.write_table(pa.table({"sample_id": [n for n, _ in rows], "text": [t for _, t in rows]}), path)
    made = recipe({"kind": "points", "file": "p.csv"}, captions={"kind": "file", "file": path.name})
    assert got(made, tmp_path) == {"b": ["second", "again"], "a": ['said "so", \u00fcber all']}


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("a\x07b", r"U\+0007"),
        ("\u202eevil", r"U\+202E"),
        ("x\x85y", r"U\+0085"),
        ("\ud800", "not valid Unicode"),
        ("x" * (MOST_TEXT_BYTES + 1), "65,537 bytes"),
        (7, "is 7, expected a text"),
        ({"a": 1}, "expected a text"),
        (["fine", 3], "is 3, expected a text"),
        (["x"] * 65, "65 texts; at most 64"),
    ],
)
def test_what_no_caption_may_be(value: Any, words: str) -> None:
    with pytest.raises(SamplingError, match=words) as error:
        checked_texts(value, "t.jsonl", "line 4", "text")
    assert str(error.value).startswith("'t.jsonl', line 4: text ")
    assert "\n" not in str(error.value)


def test_lists_and_blanks() -> None:
    assert checked_texts(["one", None, " ", "two\nlines\t"], "f", "row 1", "text") == ["one", "two\nlines"]
    assert checked_texts(None, "f", "row 1", "text") == []


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("{bad\n", "line 1: is not JSON"),
        ('{"sample_id": "a"}\n', "line 1: expected an object with the keys 'sample_id' and 'text'"),
        ('{"sample_id": "a", "text": "x"}\n[1]\n', "line 2: expected an object"),
    ],
)
def test_mistakes_in_json_lines(tmp_path: Path, recipe: Recipes, content: str, words: str) -> None:
    (tmp_path / "p.csv").write_text("lon,lat,sample_id\n10,48,a\n")
    (tmp_path / "t.jsonl").write_text(content)
    made = recipe({"kind": "points", "file": "p.csv"}, captions={"kind": "file", "file": "t.jsonl"})
    with pytest.raises(SamplingError, match=words):
        got(made, tmp_path)


def test_a_column_needs_a_file(recipe: Recipes) -> None:
    with pytest.raises(ValueError, match="uniform has none"):
        recipe({"kind": "uniform", "count": 3}, captions={"kind": "column", "column": "text"})


def test_texts_of_a_shard_are_read_alone(tmp_path: Path) -> None:
    rows = [(i % 7, f"s{i}", [f"t{i}"]) for i in range(500)] + [(0, "s0", ["more"])]
    assert write_texts(tmp_path, rows) == 500
    found = read_texts(tmp_path, 0)
    assert found["s0"] == ("t0", "more")
    assert set(found) == {f"s{i}" for i in range(0, 500, 7)}
    assert read_texts(tmp_path / "none", 0) == {}
