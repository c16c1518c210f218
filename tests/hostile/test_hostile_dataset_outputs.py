"""What leaves the reader: terminals, pictures, cards, files of an export, a build's writes, answers to questions."""

from __future__ import annotations

import json
import shutil
import unicodedata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given
from hypothesis import strategies as st

import landweave
from landweave.__main__ import main
from landweave.errors import ExportError, QueryError
from landweave.export import export, place, within, write
from landweave.plain import markdown, printable
from pipelines.shards import StoreError, desk_of
from pipelines.shards.desk import ADDRESS, store_of
from tests.hostile import datasets
from tests.shards.synthetic import planned

if TYPE_CHECKING:
    from collections.abc import Callable

EVIL = (
    "nice\x1b]0;owned\x07\x1b[2J\x1b[31m \x9b31m \u202etxt\u2066 \u200b\x7f\ud800 \u2028 "
    "$\\frac{ <b onclick=x>|![i](http://e)"
)
TAMED = r"nice\x1b]0;owned\x07\x1b[2J\x1b[31m \x9b31m \u202etxt\u2066 \u200b\x7f"


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    plan = planned((3, 1), sources=("sentinel2", "dem"), size_m=60.0, name="hostile")
    return plan.build(tmp_path_factory.mktemp("outputs") / "out")


@pytest.fixture
def copy(small: Path, tmp_path: Path) -> Path:
    shutil.copytree(small, tmp_path / "copy", ignore=shutil.ignore_patterns(".staging"))
    return tmp_path / "copy"


@pytest.fixture
def evil(copy: Path) -> Path:
    """Every text of the dataset is hostile."""
    words = EVIL.replace("\ud800", "")

    def change(found: dict[str, Any]) -> None:
        for name in ("name", "description", "licence"):
            found["dataset"][name] = words
        found["licences"] = found["attribution"] = [words]
        for group in found["dataset"]["groups"]:
            group.update(title=words, licence=words, attribution=words)
            for array in group["arrays"]:
                array["unit"] = words
            for entry in group["classes"]:
                entry.update(name=words, common=words)

    def captions(table: pa.Table) -> pa.Table:
        one = {"text": words, "captioner": words, "model": None, "prompt_version": words, "fallback": False}
        table = datasets.column("captions", [one])(table)
        return datasets.column("worldcover_version", words)(datasets.column("block", words)(table))

    datasets.items(copy, captions)
    datasets.sealed(copy, change)
    return copy


def plain(text: str) -> bool:
    return all(c == "\n" or c.isprintable() for c in text)


@given(st.text(max_size=60))
def test_nothing_that_does_not_print_is_left(text: str) -> None:
    found = printable(text)
    assert found.isprintable()
    assert not any(unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zl", "Zp") for c in found)
    if text.isprintable():
        assert found == text
    lines = printable(text, lines=True)
    assert lines.count("\n") == text.count("\n")
    assert not set(markdown(text)) & set("<>")


@pytest.mark.parametrize(
    "command",
    [["info"], ["info", "--json"], ["query", "--columns", "all"], ["query", "--columns", "captions,block", "--json"],
     ["check"], ["query", "nothing == 1"]],
    ids=" ".join,
)  # fmt: skip
def test_no_command_hands_it_to_the_terminal(
    evil: Path, command: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    name, *more = command
    main([name, str(evil), *more])
    told = capsys.readouterr()
    assert plain(told.out), told.out
    assert plain(told.err), told.err
    if command == ["info"]:
        assert TAMED in told.out, "it is shown for what it is"


def test_names_of_files_and_errors_are_tamed(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sums = {"size": 1, "sha256": "0" * 64}
    datasets.sealed(copy, lambda m: m["objects"].update({"a\x1b]0;owned\x07": sums}))
    assert main(["check", str(copy)]) == 1
    told = capsys.readouterr()
    assert plain(told.err)
    assert r"a\x1b]0;owned\x07: is not a path inside a dataset" in told.err
    error = landweave.CorruptError("sample \x1b[2J\u202e")
    assert str(error) == r"sample \x1b[2J\u202e"


@pytest.mark.slow
def test_it_is_drawn_as_it_stands(evil: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    assert main(["show", str(evil), str(tmp_path / "sheet.png")]) == 0
    assert (tmp_path / "sheet.png").read_bytes()[:4] == b"\x89PNG"


def test_the_card_is_words(evil: Path, tmp_path: Path) -> None:
    card = (export(landweave.open(evil), "parquet", tmp_path / "out", arrays=["dem"]) / "README.md").read_text()
    assert plain(card)
    assert "<b" not in card
    body = card.split("\n---\n", 1)[1]
    assert "![" not in body
    assert body.lstrip().startswith("# nice")
    head = card.split("---\n")[1]
    assert all(isinstance(json.loads(line.split(": ", 1)[1]), (str, list, dict)) for line in head.strip().splitlines())


@pytest.mark.parametrize("split", ["../../victim/keep", "/keep", "train\n", "..", "", "extra", "CON", "a/b", "x" * 300])
def test_only_known_splits_become_files(copy: Path, tmp_path: Path, split: str) -> None:
    datasets.items(copy, datasets.column("split", split))
    datasets.sealed(copy, lambda m: m.update(splits={split: 4}))
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(landweave.CorruptError):
        export(landweave.open(copy), "parquet", tmp_path / "deep/er/out", arrays=["dem"])
    datasets.sealed(copy, lambda m: m.update(splits={"train": 4}))
    with pytest.raises(landweave.CorruptError, match="splits other than train, val, test"):
        export(landweave.open(copy), "parquet", tmp_path / "deep/er/out", arrays=["dem"])
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("name", ["../x", "/x", "a/../../x", "", "a\0", "a//b", "..", "a/./b", "\u202ea"])
def test_files_of_an_export_stay_in_it(tmp_path: Path, name: str) -> None:
    (tmp_path / "source").write_text("x")
    for way in (lambda: within(tmp_path, name), lambda: write(tmp_path, name, "x")):
        with pytest.raises(ExportError, match="not a path inside"):
            way()
    with pytest.raises(ExportError, match="not a path inside"):
        place(tmp_path / "source", tmp_path, name)


def test_nothing_is_written_over(small: Path, tmp_path: Path) -> None:
    for name in ("taken", "data/taken"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("mine")
        with pytest.raises(FileExistsError):
            write(tmp_path, name, "other")
        with pytest.raises(FileExistsError):
            place(small / "recipe.json", tmp_path, name)
        assert (tmp_path / name).read_text() == "mine"
    data = landweave.open(small)
    (tmp_path / "dangling").symlink_to(tmp_path / "victim")
    (tmp_path / "folder").mkdir()
    for name in ("dangling", "folder", "taken"):
        with pytest.raises(ExportError, match=f"{name} already exists"):
            export(data, "parquet", tmp_path / name, arrays=["dem"])
    assert not (tmp_path / "victim").exists()
    export(data, "parquet", tmp_path / "twice", arrays=["dem"])
    with pytest.raises(ExportError, match="twice already exists"):
        export(data, "parquet", tmp_path / "twice", arrays=["dem"])


def test_a_staging_folder_that_is_a_link_is_not_written_to(small: Path, tmp_path: Path) -> None:
    data = landweave.open(small)

    class StopError(Exception):
        pass

    def stop(_done: int, _total: int) -> None:
        raise StopError

    with pytest.raises(StopError):
        export(data, "parquet", tmp_path / "out", arrays=["dem"], progress=stop)
    (staging,) = tmp_path.glob(".out.*")
    shutil.rmtree(staging)
    (tmp_path / "victim").mkdir()
    staging.symlink_to(tmp_path / "victim")
    with pytest.raises(ExportError, match="is not an export folder"):
        export(data, "parquet", tmp_path / "out", arrays=["dem"])
    assert not list((tmp_path / "victim").iterdir())


def test_a_desk_from_elsewhere_steers_nothing(copy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LANDWEAVE_WORK", str(tmp_path / "work"))
    url = f"file://{tmp_path}/bucket"
    (copy / ADDRESS).parent.mkdir(exist_ok=True)
    (copy / ADDRESS).write_text(url + "\n")
    with pytest.raises(StoreError, match=r"this machine did not create it; give the store's URL"):
        store_of(copy)
    desk = desk_of(url)
    store = store_of(desk)
    assert store is not None
    assert store.url == url
    shutil.copytree(desk, tmp_path / "elsewhere")
    with pytest.raises(StoreError, match="this machine did not create it"):
        store_of(tmp_path / "elsewhere")
    (desk / ADDRESS).write_text("file:///somewhere/else\n")
    with pytest.raises(StoreError, match="is not the work folder of"):
        desk_of(url)
    with pytest.raises(StoreError, match="this machine did not create it"):
        store_of(desk)


def test_a_desk_that_an_earlier_process_made_is_believed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:

    monkeypatch.setenv("LANDWEAVE_WORK", str(tmp_path / "work"))
    desk = desk_of(f"file://{tmp_path}/bucket")
    monkeypatch.setattr("pipelines.shards.desk._OURS", set())
    assert store_of(desk) is not None


CONDITIONS = [
    "1=1; drop table items", "1=1) union all (select 999", "true union select 999", "lat > 0 limit 1",
    "true order by id",
    "lat > 0, lon > 0", "exists (select * from read_csv('/etc/passwd'))", "exists (select * from hidden)", "",
    "exists (select * from '/etc/passwd')", "getenv('HOME') = 'x'", "'x'", "\ud800", "lat > 0 from items",
]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("condition", CONDITIONS)
def test_sql_is_one_condition_over_the_catalogue(small: Path, condition: str) -> None:
    pytest.importorskip("duckdb")
    hidden = pa.table({"secret": [1]})
    assert hidden.num_rows
    with pytest.raises(QueryError):
        landweave.open(small).sql(condition)


def test_sql_gives_positions_of_the_catalogue(small: Path) -> None:
    pytest.importorskip("duckdb")
    data = landweave.open(small)
    assert data.sql("lat > -100 -- all").ids == data.query().ids
    assert data.sql("split = 'train'").ids == data.query(split="train").ids


DEEP: dict[str, Callable[[int], str]] = {
    "not": lambda n: "not " * n + "lat > 0",
    "parentheses": lambda n: "(" * n + "lat > 0" + ")" * n,
    "minus": lambda n: "lat > " + "-" * n + "1",
    "lists": lambda n: "id in " + "[" * n + "]" * n,
    "and or": lambda n: "(lat > 0 and " * n + "lat > 0" + ")" * n,
    "plus": lambda n: "lat > " + "1+" * n + "1",
}


@pytest.mark.parametrize("form", DEEP)
@pytest.mark.parametrize("depth", [70, 150, 1_000, 5_000, 100_000])
def test_conditions_are_neither_deep_nor_long(small: Path, form: str, depth: int) -> None:
    data = landweave.open(small)
    if form == "parentheses" and depth < 200:
        assert len(data.query(DEEP[form](depth)))  # Python's reader drops them
        return
    with pytest.raises(QueryError) as told:
        data.query(DEEP[form](depth))
    assert len(str(told.value)) < 70_000


@pytest.mark.slow
def test_many_terms_are_no_depth(small: Path) -> None:
    data = landweave.open(small)
    text = " or ".join(f"lat > {n}" for n in range(4_000))
    assert data.query(text).ids == data.query("lat > 0").ids
    assert data.query(pc.field("lat") > 0).ids == data.query("lat > 0").ids
