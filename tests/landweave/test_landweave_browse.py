"""The page of `landweave browse`: served, as plain files, and in a real browser where there is one."""

from __future__ import annotations

import contextlib
import functools
import html
import http.server
import io
import json
import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import numpy as np
import pyarrow.parquet as pq
import pytest
import requests
import uvicorn
from PIL import Image

import landweave
from landweave.browse import WEB, ExistsError, application, write
from landweave.browse.marks import pieces, place
from landweave.browse.pages import _caption
from landweave.questions import LETTERS
from landweave.render import picture
from landweave.sample import Captions
from tests.questions.question_worlds import build

BROWSER = next((b for b in map(shutil.which, ("chromium", "chromium-browser", "google-chrome")) if b), None)
CHECKOUT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def data(dataset_path: Path) -> landweave.Dataset:
    return landweave.open(dataset_path)


@contextlib.contextmanager
def served(data: landweave.Dataset, selection: landweave.Selection) -> Iterator[str]:
    with application(data, selection, "data/here", ("127.0.0.1",)) as app:
        server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="error"))
        thread = threading.Thread(target=server.run, daemon=True)
        thread.start()
        while not server.started:
            time.sleep(0.01)
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}/"
        server.should_exit = True
        thread.join()


@pytest.fixture(scope="module")
def page(data: landweave.Dataset) -> Iterator[str]:
    with served(data, data.query()) as url:
        yield url


@contextlib.contextmanager
def plain_files(folder: Path) -> Iterator[str]:
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


def test_the_index_holds_the_catalogues_plain_columns(data: landweave.Dataset, page: str) -> None:
    said = requests.get(page + "dataset.json", timeout=30).json()
    table = pq.read_table(io.BytesIO(requests.get(page + "index.parquet", timeout=30).content))
    assert table.column_names == [c["name"] for c in said["columns"]]
    assert table.num_rows == said["samples"] == len(data)
    assert table["id"].to_pylist() == data.query().ids
    assert table["lon"].to_pylist() == data.catalogue.read(["lon"])["lon"].to_pylist()
    some = requests.get(page + "index.parquet", headers={"Range": "bytes=0-3"}, timeout=30)
    assert (some.status_code, some.content) == (206, b"PAR1")


@pytest.mark.slow
def test_pictures_are_the_samples_and_what_is_absent_is_not_drawn(data: landweave.Dataset, page: str) -> None:
    for number, sample in enumerate(data):
        for i, group in enumerate(data.spec.groups):
            for slot, there in enumerate(sample.present[group.name]):
                answer = requests.get(f"{page}pictures/{number}/{i}-{slot}.webp", timeout=30)
                assert answer.status_code == (200 if there else 404)
                if there:
                    drawn = np.asarray(Image.open(io.BytesIO(answer.content)).convert("RGB"))
                    wanted = picture(sample, group, slot)
                    assert drawn.shape == wanted.shape
                    if group.classes:
                        np.testing.assert_array_equal(drawn, wanted)


def test_a_sample_says_its_captions_and_why_something_is_absent(data: landweave.Dataset, page: str) -> None:
    absent = 0
    for number, sample in enumerate(data):
        said = requests.get(f"{page}samples/{number}.json", timeout=30).json()
        assert said["id"] == sample.id
        assert [c["text"] for c in said["captions"]] == [c.text for c in sample.captions]
        assert ["".join(p["text"] for p in c["pieces"]) for c in said["captions"]] == [c.text for c in sample.captions]
        assert len(said["absent"]) == sum(not there for slots in sample.present.values() for there in slots)
        assert all(a["reason"] for a in said["absent"])
        absent += len(said["absent"])
    assert absent > 0


def test_words_of_claims_are_found_in_the_text() -> None:
    text = "Woods on about five-eighths. The scene is wooded, rising from 3 m to 40 m. Woods rule."
    cases = {
        "woods about five eighths": "Woods on about five-eighths",
        "wooded": "wooded",
        "scene is wooded , rising from 3 m to 40 m": "scene is wooded, rising from 3 m to 40 m",
        "woods": "Woods",
    }
    for words, wanted in cases.items():
        found = place(text, words)
        assert found is not None
        assert text[slice(*found)] == wanted
    for absent in ("forest", "wooded woods", "", ",", "rule woods"):
        assert place(text, absent) is None
    cut, unplaced = pieces(text, {**{words: [words] for words in cases}, "forest": ["trees lead"]})
    assert "".join(part for part, _ in cut) == text
    assert unplaced == ["trees lead"]
    for words, wanted in cases.items():
        assert "".join(part for part, says in cut if words in says) == wanted
    assert pieces("", {}) == ([], [])


def test_claims_are_told_without_endless_bounds() -> None:
    def told(**claim: object) -> str:
        claims = json.dumps([{"source": ["worldcover/classes"], "words": "Woods", "about": ["trees"], **claim}])
        caption = Captions(
            text="Woods rule.", captioner="template", model=None, prompt_version="1", fallback=False, claims=claims
        )
        found: str = _caption(caption)["pieces"][0]["says"]
        return found

    assert told(predicate="share", low=57.5, high=67.5) == "share trees, 57.5 to 67.5 (worldcover/classes)"
    assert told(predicate="rank", low=2.0) == "rank trees, place 2 (worldcover/classes)"
    assert told(predicate="comparison", low=1.5, against=["grass"]) == (
        "comparison trees against grass, at least 1.5 (worldcover/classes)"
    )
    assert told(predicate="presence", low=0.0, where=["top"]) == "presence trees top (worldcover/classes)"


@pytest.fixture(scope="module")
def asked_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset with questions about every sample."""
    return build(tmp_path_factory.mktemp("browse") / "asked", (12, 6))


@pytest.fixture(scope="module")
def asked(asked_path: Path) -> landweave.Dataset:
    return landweave.open(asked_path)


def test_a_sample_says_its_questions_their_answers_and_what_proves_them(asked: landweave.Dataset) -> None:
    forms = set()
    with served(asked, asked.query()) as url:
        for number, sample in enumerate(asked):
            said = requests.get(f"{url}samples/{number}.json", timeout=30).json()["questions"]
            turns = [turn for conversation in said for turn in conversation["turns"]]
            assert [(t["question"], tuple(t["options"]), t["answer"]) for t in turns] == [
                (q.question, q.options, q.answer) for q in sample.questions
            ]
            for turn, question in zip(turns, sample.questions, strict=True):
                forms.add(question.form)
                if question.options:
                    assert turn["answer"] == f"{LETTERS[turn['right']]}. {turn['options'][turn['right']]}"
                else:
                    assert turn["right"] is None
                assert (turn["mask"] is not None) == bool(question.mask)
                for quantity in json.loads(question.evidence)["of"]:
                    assert f"({quantity['source']}" in turn["proof"]
                    assert quantity["what"] in turn["proof"]
            looked = [looks for conversation in said for looks in conversation["looks"]]
            firsts = [q for q in sample.questions if q.turn == 0]
            assert [int(looks.rpartition(" ")[2]) - 1 for looks in looked if ", date " in looks] == [
                int(layer.partition("/")[2]) for q in firsts for layer in q.layers if "/" in layer
            ]
    assert {"yes or no", "choice"} <= forms


def test_damaged_questions_are_said_not_a_traceback(asked_path: Path, tmp_path: Path) -> None:
    damaged = tmp_path / "damaged"
    shutil.copytree(asked_path, damaged)
    for table in (damaged / "questions").iterdir():
        table.write_bytes(b"PAR1" + b"\0" * 60)
    data = landweave.open(damaged)
    with served(data, data.query()) as url:
        answer = requests.get(f"{url}samples/0.json", timeout=30)
    assert (answer.status_code, "landweave check" in answer.text) == (500, True)


@pytest.mark.parametrize(
    "path",
    ["samples/999.json", "samples/-1.json", "pictures/0/99-0.webp", "pictures/0/0-99.webp", "pictures/999/0-0.webp",
     "..%2f..%2fpyproject.toml", "%2e%2e/%2e%2e/etc/passwd", "samples/0.json/x", "vendor/..%2f..%2f__init__.py"],
)  # fmt: skip
def test_nothing_else_is_served(page: str, path: str) -> None:
    assert requests.get(page + path, timeout=30).status_code == 404


def test_another_sites_name_is_refused(page: str) -> None:
    assert requests.get(page, headers={"Host": "evil.example"}, timeout=30).status_code == 400


def test_plain_files_are_complete_and_name_no_folder_of_this_machine(data: landweave.Dataset, tmp_path: Path) -> None:
    chosen = data.query(split="train")
    seen: list[tuple[int, int]] = []
    write(data, chosen, tmp_path / "site", lambda done, of: seen.append((done, of)))
    assert seen[-1] == (len(chosen), len(chosen))
    assert {p.name for p in tmp_path.iterdir()} == {"site"}
    for path in (p for p in (tmp_path / "site").rglob("*") if p.suffix in (".json", ".html", ".js")):
        assert str(tmp_path.parent) not in path.read_text()
    for number in range(len(chosen)):
        said = json.loads((tmp_path / "site" / "samples" / f"{number}.json").read_text())
        for layer in said["layers"]:
            for slot, has in enumerate(layer["slots"]):
                drawn = tmp_path / "site" / "pictures" / str(number) / f"{layer['group']}-{slot}.webp"
                assert drawn.exists() == has["present"]
    with pytest.raises(ExistsError, match="empty folder"):
        write(data, chosen, tmp_path / "site", lambda *_: None)


@pytest.mark.slow
def test_a_user_is_told_what_to_do(dataset_path: Path, tmp_path: Path) -> None:
    def run(*words: str) -> subprocess.CompletedProcess[str]:
        line = [sys.executable, "-m", "landweave", "browse", str(dataset_path), *words]
        return subprocess.run(line, cwd=CHECKOUT, capture_output=True, text=True, check=False, timeout=120)

    done = run("split == 'train'", "--static", str(tmp_path / "site"), "--count", "2")
    assert done.returncode == 0, done.stderr
    assert "open index.html" in done.stdout
    assert "2 of" in done.stderr
    assert len(list((tmp_path / "site" / "samples").iterdir())) == 2
    again = run("--static", str(tmp_path / "site"))
    assert (again.returncode != 0, "Traceback" in again.stderr) == (True, False)
    assert "empty folder" in again.stderr
    none = run("lon > 1000", "--static", str(tmp_path / "none"))
    assert none.returncode == 1
    assert "no sample" in none.stderr


def test_the_page_asks_no_other_host() -> None:
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', (WEB / "index.html").read_text())
    assert policy is not None
    assert "default-src 'none'" in policy[1]
    assert not re.search(r"https?:|unsafe", policy[1])
    for path in ("index.html", "app.js", "map.js", "condition.js", "style.css"):
        assert not re.search(r"https?://|innerHTML|eval\(|new Function", (WEB / path).read_text()), path


def dom(url: str) -> str:
    """The page's elements after its work is done, from a headless browser."""
    assert BROWSER is not None
    line = [BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=30000", "--dump-dom", url]
    return subprocess.run(line, capture_output=True, text=True, check=True, timeout=120).stdout


in_a_browser = pytest.mark.skipif(BROWSER is None, reason="needs chromium")


@pytest.mark.slow
@in_a_browser
@pytest.mark.parametrize(
    "condition",
    ["split == 'train'", "lon > 0 and not split == 'test'", "split in ['val', 'test'] or sentinel2_count >= 2",
     "sentinel2_count == 2", "lat < -100", "(split != 'val') and landsat_count in [1, 2]"],
)  # fmt: skip
def test_conditions_mean_what_the_reader_means(data: landweave.Dataset, page: str, condition: str) -> None:
    shown = dom(f"{page}#q={quote(condition)}")
    assert 'data-ready="yes"' in shown
    assert f"{len(data.query(condition))} of {len(data)} samples" in shown


@pytest.mark.slow
@in_a_browser
def test_a_link_reopens_a_sample_and_mistakes_are_said(data: landweave.Dataset, page: str, tmp_path: Path) -> None:
    shown = html.unescape(dom(f"{page}#sample=1&date=1"))
    assert f'<h2 id="title">{data[1].id}</h2>' in shown
    for caption in data[1].captions:
        assert caption.text in shown
    assert "landweave.open(" in shown
    assert "no column nothing" in dom(f"{page}#q=nothing+%3E+2")
    assert "write == for equality" in dom(f"{page}#q=split+%3D+%27train%27")
    write(data, data.query(), tmp_path / "site", lambda *_: None)
    with plain_files(tmp_path / "site") as url:  # a server without byte ranges
        files = dom(url)
    assert 'data-ready="yes"' in files
    assert f"{len(data)} of {len(data)} samples" in files


@pytest.mark.slow
@in_a_browser
def test_the_page_shows_questions_with_their_options(asked: landweave.Dataset) -> None:
    with served(asked, asked.query()) as url:
        shown = html.unescape(dom(f"{url}#sample=0"))
    assert 'data-ready="yes"' in shown
    for question in asked[0].questions:
        assert question.question in shown
        assert (question.answer.partition(". ")[2] if question.options else question.answer) in shown
        for option in question.options:
            assert f">{option}</li>" in shown
    masks = [q for q in asked[0].questions if q.mask]
    assert shown.count('class="mask"') == len(masks)
