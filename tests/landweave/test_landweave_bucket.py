"""A store that answers late, never, half, or with another object than before: right pixels or one clear line."""

from __future__ import annotations

import gc
import os
import pickle
import shutil
import subprocess
import sys
import threading
import warnings
import weakref
import zlib
from collections import Counter
from contextlib import ExitStack, contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import landweave
from landweave.check import check
from landweave.kept import Kept, size_of
from tests.shards.synthetic import planned

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class Bucket:
    """Serves a folder, and does to an answer what `habit` says."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.asked: Counter[tuple[str, str]] = Counter()
        self.sent = 0
        self.habit: Any = lambda path, times: None  # noqa: ARG005
        """(path, how often this range was asked for) -> None, 'stall', 'cut', or seconds to wait."""
        self.strict = True
        """Whether a range beyond the end of an object is an error, as from S3, and not an answer of no bytes."""
        self.over = threading.Event()
        self.url = ""


@contextmanager
def bucket(root: Path) -> Iterator[Bucket]:
    made = Bucket(root)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_GET(self) -> None:
            wanted = self.headers.get("Range", "")
            key = (self.path, wanted)
            made.asked[key] += 1
            habit = made.habit(self.path, made.asked[key])
            if habit == "stall":
                made.over.wait()
                self.close_connection = True
                return
            if isinstance(habit, float):
                made.over.wait(habit)
            path = made.root / self.path.lstrip("/")
            if not path.is_file():
                self.send_response(404)
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            self._send(path.read_bytes(), wanted.removeprefix("bytes="), cut=habit == "cut")

        def _send(self, raw: bytes, wanted: str, *, cut: bool) -> None:
            total, start, status = len(raw), 0, 200
            if wanted:
                first, last = wanted.split("-")
                start, status = int(first) if first else max(0, total - int(last)), 206
                raw = raw[start : int(last) + 1] if first and last else raw[start:]
                if start >= total and made.strict:
                    self.send_response(416)
                    self.send_header("Content-Length", "0")
                    self.end_headers()
                    return
            self.send_response(status)
            self.send_header("Content-Range", f"bytes {start}-{start + len(raw) - 1}/{total}")
            self.send_header("Content-Length", str(len(raw)))
            self.end_headers()
            with suppress(ConnectionError):  # it was asked for twice, and the other answer came first
                self.wfile.write(raw[: len(raw) // 2] if cut else raw)
                made.sent += len(raw)
            self.close_connection = cut

        def log_message(self, *_: Any) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    made.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield made
    finally:
        made.over.set()
        server.shutdown()
        server.server_close()


def same(there: landweave.Dataset, here: landweave.Dataset) -> None:
    for a, b in zip(there.stream(batch_size=6), here.stream(batch_size=6), strict=True):
        assert a["id"] == b["id"]
        for name in here.arrays:
            np.testing.assert_array_equal(a[name], b[name])


@pytest.mark.slow
def test_requests_that_never_get_an_answer_are_sent_again(dataset_path: Path) -> None:
    with bucket(dataset_path) as store:
        # every ninth object or range is not answered at first
        order: dict[str, int] = {}
        store.habit = lambda path, times: (
            "stall" if times == 1 and order.setdefault(path, len(order)) % 9 == 8 else None
        )
        data = landweave.open(store.url)
        same(data, landweave.open(dataset_path))
        asker: Any = data.store
        assert asker.asker.again + asker.asker.given_up > 0


@pytest.mark.slow
def test_second_requests_are_few_where_all_answers_are_slow(dataset_path: Path) -> None:
    with bucket(dataset_path) as store:
        store.habit = lambda path, times: 0.3  # noqa: ARG005
        data = landweave.open(store.url)
        store.asked.clear()
        same(data, landweave.open(dataset_path))
        again = sum(n - 1 for n in store.asked.values())
        assert 0 < again <= 8 + 0.05 * len(store.asked) + 1


@pytest.mark.slow
def test_a_store_that_stops_answering_is_an_error_of_one_line(dataset_path: Path) -> None:
    with bucket(dataset_path) as store:
        data: Any = landweave.open(store.url)
        data.catalogue.light  # noqa: B018
        store.habit = lambda path, times: "stall"  # noqa: ARG005
        data.store.asker.deadline_s = 0.5
        with pytest.raises(
            landweave.AccessError, match=r"data.zarr/.* cannot be read: no answer within .* s"
        ) as failed:
            next(iter(data.stream(batch_size=4)))
        assert "\n" not in str(failed.value)
        with pytest.raises(landweave.AccessError, match="no answer within"):
            data.sample(0)["dem/elevation"]
        with pytest.raises(landweave.AccessError, match=r"landweave.json cannot be read|no answer"):
            data.objects.read("recipe.json")


@pytest.mark.slow
def test_answers_that_are_cut_short_once_are_asked_for_again(dataset_path: Path) -> None:
    with bucket(dataset_path) as store:
        store.habit = lambda path, times: "cut" if times == 1 and path.endswith("/0") else None
        same(landweave.open(store.url), landweave.open(dataset_path))


@pytest.mark.slow
@pytest.mark.parametrize("how", ["cut", "changed", "gone", "index"])
def test_an_object_that_changes_while_it_is_read(dataset_path: Path, tmp_path: Path, how: str) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(dataset_path, copy)
    with bucket(copy) as store:
        data = landweave.open(store.url)
        expected = data.sample(0)["dem/elevation"].copy()
        array = data.arrays["dem/elevation"]
        path = copy / array.object(data.catalogue.shards[0])
        raw = path.read_bytes()
        if how == "gone":
            path.unlink()
        else:
            path.write_bytes({"cut": raw[: len(raw) // 8], "changed": raw[7:] + raw[:7], "index": raw[:-1]}[how])
        if how == "index":  # the chunks are what they were: the index is known
            np.testing.assert_array_equal(data.sample(0)["dem/elevation"], expected)
            data = landweave.open(store.url)
        with pytest.raises((landweave.CorruptError, landweave.AccessError)) as failed:
            list(data.stream(batch_size=4, arrays=["dem"]))
        assert "dem/elevation" in str(failed.value)
        assert "\n" not in str(failed.value)


@pytest.mark.parametrize("strict", [True, False])
def test_an_object_that_gets_shorter_loses_the_samples_beyond_its_end(
    dataset_path: Path, tmp_path: Path, *, strict: bool
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(dataset_path, copy)
    with bucket(copy) as store:
        store.strict = strict
        data = landweave.open(store.url)
        array, shard = data.arrays["dem/elevation"], data.catalogue.shards[0]
        entries = data._reader.index(array, shard)[:, 0]
        ends = sorted(int(start + size) for start, size in entries if start != 2**64 - 1)
        path = copy / array.object(shard)
        path.write_bytes(path.read_bytes()[: ends[0]])  # the first of its chunks is there
        stream = data.stream(batch_size=4, arrays=["dem/elevation"], on_error="skip")
        assert sum(len(batch["id"]) for batch in stream) == len(data) - len(ends) + 1
        assert {"0 bytes are too few for a chunk" in text for _, text in stream.skipped} == {True}
        lost = [data.sample(name) for name, _ in stream.skipped]
        for sample in lost:  # one range each, which begins beyond the end
            with pytest.raises(landweave.CorruptError, match="0 bytes are too few for a chunk"):
                sample["dem/elevation"]


@pytest.mark.slow
def test_a_stream_that_is_left_cancels_what_it_asked_for(dataset_path: Path) -> None:
    with bucket(dataset_path) as store:
        store.habit = lambda path, times: "stall" if "/c/4/" in path or "/c/5/" in path else None  # noqa: ARG005
        data = landweave.open(store.url)
        remote: Any = data.store
        remote.asker.deadline_s = 20.0
        batches = iter(data.stream(batch_size=4))
        for _ in range(3):
            next(batches)
        batches.close()  # returns, although what is read ahead is never answered
        store.habit = lambda path, times: None  # noqa: ARG005
        same(data, landweave.open(dataset_path))


@pytest.mark.slow
def test_a_batch_is_freed_when_it_is_released(dataset_path: Path) -> None:
    with bucket(dataset_path) as store:
        data = landweave.open(store.url)
        gc.collect()
        gc.disable()  # a batch that waits for the garbage collector holds memory that the next one needs
        try:
            held = [weakref.ref(batch["dem/elevation"]) for batch in data.stream(batch_size=2)]
            assert len(held) > 9
            assert sum(ref() is not None for ref in held) <= 3  # threads may still hold the last ones
        finally:
            gc.enable()


@pytest.mark.slow
def test_a_batch_that_fails_asks_for_nothing_more(dataset_path: Path) -> None:
    with bucket(dataset_path) as store:
        code = (
            "import landweave, time; from landweave import hedge; hedge.AT_ONCE = 1\n"
            f"data = landweave.open({store.url!r})\n"
            "data.catalogue.light\n"
            "data.store.asker.deadline_s = 0.3\n"
            "try:\n"
            "    next(iter(data.stream(batch_size=16)))\n"
            "except landweave.AccessError as error:\n"
            "    print(str(error).count('no answer within'))\n"
            "time.sleep(1.5)\n"  # four more deadlines
        )
        store.habit = lambda path, times: "stall" if "/c/" in path else None  # noqa: ARG005
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert (done.stdout.split(), done.stderr) == (["1"], "")
        stalled = [path for path, _ in store.asked if "/c/" in path]
        assert 1 <= len(stalled) <= 2


def test_a_stream_can_be_left_while_the_catalogue_gets_no_answer(parted_path: Path) -> None:
    with bucket(parted_path) as store:
        data: Any = landweave.open(store.url)
        held: Any = data.catalogue
        first = next(int(end) for end in held._ends if end >= 3)  # of a part that is not open when it is read ahead
        part = held._root.parts[int(np.searchsorted(held._ends, first, side="right"))].path
        data.store.asker.deadline_s = 30.0
        store.habit = lambda path, times: "stall" if path.endswith(part) else None  # noqa: ARG005
        batches = iter(data.stream(batch_size=1, shuffle=False))
        for _ in range(first - 1):
            next(batches)
        leaving = threading.Thread(target=batches.close, daemon=True)
        leaving.start()
        leaving.join(timeout=15)
        assert not leaving.is_alive()


@pytest.mark.slow
def test_what_is_asked_for_after_the_loop_has_ended_is_an_error(dataset_path: Path) -> None:
    with bucket(dataset_path) as store:
        code = (
            "import atexit\n"
            "def late():\n"
            "    try:\n"
            "        data.objects.read('recipe.json')\n"
            "    except RuntimeError as error:\n"
            "        print(error)\n"
            "atexit.register(late)\n"
            "import landweave\n"
            f"data = landweave.open({store.url!r})\n"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=100)
    assert done.stdout == "nothing can be read from a URL while Python ends\n"
    assert done.stderr == ""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_fork_while_indexes_come_is_told_to_spawn(dataset_path: Path) -> None:
    code = (
        "import os, sys, threading, landweave\n"
        "data = landweave.open(sys.argv[1])\n"
        "first = iter(data.stream(batch_size=4, arrays=['dem']))\n"
        "threading.Thread(target=lambda: next(first), daemon=True).start()\n"
        "while not data._reader._asked:\n"
        "    pass\n"
        "child = os.fork()\n"
        "if not child:\n"
        "    try:\n"
        "        next(iter(data.stream(batch_size=4, arrays=['dem'])))\n"
        "    except landweave.AccessError as error:\n"
        "        print(error, flush=True)\n"
        "    os._exit(0)\n"
        "os.waitpid(child, 0)\n"
        "os._exit(0)\n"
    )
    with bucket(dataset_path) as store:
        store.habit = lambda path, times: "stall" if "/c/" in path else None  # noqa: ARG005
        done = subprocess.run(
            [sys.executable, "-c", code, store.url], capture_output=True, text=True, timeout=60, check=True
        )
    assert "multiprocessing_context='spawn'" in done.stdout, done.stderr


def cached(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


@pytest.mark.slow
def test_a_second_epoch_and_another_process_read_what_is_kept(dataset_path: Path, tmp_path: Path) -> None:
    with bucket(dataset_path) as store:
        local = landweave.open(dataset_path)
        data = landweave.open(store.url, cache_dir=tmp_path / "cache")
        same(data, local)
        before = store.asked.total()
        same(data, local)
        assert store.asked.total() == before  # the second epoch asks for nothing
    with bucket(dataset_path) as store:  # of its own: what the first was asked twice may come late
        again = landweave.open(store.url, cache_dir=tmp_path / "cache", cache_size="1GB")
        same(again, local)
        assert not any("data.zarr" in path for path, _ in store.asked)
        pickled = pickle.loads(pickle.dumps(again))  # noqa: S301
        same(pickled, local)
        np.testing.assert_array_equal(again.sample(0)["dem/elevation"], local.sample(0)["dem/elevation"])


@pytest.mark.slow
@pytest.mark.parametrize("how", ["zeros", "short", "bytes", "list", "torn list"])
def test_what_is_kept_and_damaged_is_fetched_again(dataset_path: Path, tmp_path: Path, how: str) -> None:
    with bucket(dataset_path) as store:
        local = landweave.open(dataset_path)
        same(landweave.open(store.url, cache_dir=tmp_path), local)
        for path in cached(tmp_path):
            raw = path.read_bytes()
            if path.suffix == ".bytes" and how in ("zeros", "short"):
                path.write_bytes(bytes(len(raw)) if how == "zeros" else raw[: len(raw) // 2])
            if path.suffix == ".bytes" and how == "bytes":  # one of 997
                changed = np.frombuffer(raw, np.uint8).copy()
                changed[::997] ^= 1
                path.write_bytes(changed.tobytes())
            if path.suffix == ".spans" and how in ("list", "torn list"):
                path.write_bytes(raw[::-1] if how == "list" else raw[: len(raw) - 7])
        data: Any = landweave.open(store.url, cache_dir=tmp_path)
        list(data.stream(batch_size=6))
        same(data, local)
        store.asked.clear()
        same(data, local)  # what was fetched again is kept
        assert not store.asked


def test_a_tilde_is_the_home_folder(dataset_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "data").symlink_to(dataset_path)
    with bucket(dataset_path) as store:
        same(landweave.open(store.url, cache_dir="~/kept"), landweave.open("~/data"))
    assert cached(tmp_path / "kept")
    with pytest.raises(landweave.NotADatasetError) as failed:
        landweave.open("~/nothing")
    assert str(tmp_path) not in str(failed.value)


def test_a_dataset_that_was_built_again_shares_nothing(tmp_path: Path) -> None:
    before, after = (Kept(tmp_path, size_of("1GB"), manifest) for manifest in ("before", "after"))
    before.put("data.zarr/a", 0, b"before")
    assert after.read("data.zarr/a", 0, 6) is None
    after.put("data.zarr/a", 0, b"after!")
    for kept, expected in ((before, b"before"), (after, b"after!")):
        found = kept.read("data.zarr/a", 0, 6)
        assert found is not None
        assert bytes(found) == expected


@pytest.mark.slow
@pytest.mark.parametrize("folder", ["/proc/nothing", "/dev/null/cache", "a file"])
def test_a_folder_that_cannot_be_used_is_one_warning(dataset_path: Path, tmp_path: Path, folder: str) -> None:
    (tmp_path / "a file").write_text("")
    with bucket(dataset_path) as store:
        data = landweave.open(store.url, cache_dir=tmp_path / folder)
        with pytest.warns(RuntimeWarning, match="nothing more can be kept there") as warned:
            same(data, landweave.open(dataset_path))
        assert len(warned) == 1


def test_the_size_is_kept_and_what_is_removed_comes_again(tmp_path: Path) -> None:
    kept = Kept(tmp_path, size_of("64MB"), "dataset")
    piece = np.random.default_rng(1).bytes(1 << 20)
    for number in range(200):
        kept.put(f"object{number // 20}", number % 20 << 20, piece)
        assert sum(p.stat().st_blocks * 512 for p in cached(tmp_path)) <= 64e6
    assert kept.read("object9", 19 << 20, 1 << 20) == piece
    assert kept.read("object0", 0, 1 << 20) is None


@pytest.mark.slow
def test_a_disk_that_is_full_ends_keeping_and_not_reading(dataset_path: Path, tmp_path: Path) -> None:
    # a limit of the size of files fails as a full disk does
    with bucket(dataset_path) as store:
        code = (
            "import resource, warnings, landweave; resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))\n"
            f"data = landweave.open({store.url!r}, cache_dir={str(tmp_path)!r})\n"
            "with warnings.catch_warnings(record=True) as found:\n"
            "    warnings.simplefilter('always')\n"
            "    print(sum(len(b['id']) for b in data.stream(batch_size=4)), len(found))"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == [str(len(landweave.open(dataset_path))), "1"]


@pytest.mark.slow
def test_a_reader_that_is_killed_leaves_a_cache_that_is_whole(dataset_path: Path, tmp_path: Path) -> None:
    with bucket(dataset_path) as store:
        code = (
            "import os, signal, landweave\n"
            f"data = landweave.open({store.url!r}, cache_dir={str(tmp_path)!r})\n"
            "for number, _ in enumerate(data.stream(batch_size=2)):\n"
            "    if number == 3: os.kill(os.getpid(), signal.SIGKILL)"
        )
        assert subprocess.run([sys.executable, "-c", code], check=False).returncode == -9
        assert cached(tmp_path)
        same(landweave.open(store.url, cache_dir=tmp_path), landweave.open(dataset_path))


@pytest.mark.parametrize("size", ["much", "12", -1, True, "63MB", ""])
def test_sizes_that_are_none(size: Any) -> None:
    with pytest.raises(landweave.QueryError, match="cache_size"):
        size_of(size)


@pytest.mark.slow
def test_two_processes_fill_one_cache(dataset_path: Path, tmp_path: Path) -> None:
    with bucket(dataset_path) as store:
        code = (
            "import landweave, zlib\n"
            f"data = landweave.open({store.url!r}, cache_dir={str(tmp_path)!r})\n"
            "print([zlib.crc32(b['dem/elevation'].tobytes()) for b in data.stream(batch_size=2)])"
        )
        with ExitStack() as both:
            running = [
                both.enter_context(
                    subprocess.Popen([sys.executable, "-W", "error", "-c", code], stdout=subprocess.PIPE)
                )
                for _ in range(2)
            ]
            said = [process.communicate()[0] for process in running]
        assert [process.returncode for process in running] == [0, 0]
        here = landweave.open(dataset_path)
        expected = [zlib.crc32(b["dem/elevation"].tobytes()) for b in here.stream(batch_size=2)]
        assert said == [f"{expected}\n".encode()] * 2
        data: Any = landweave.open(store.url, cache_dir=tmp_path)
        same(data, here)
        assert data.store.kept.misses == 0


@pytest.mark.slow
def test_a_cache_that_may_be_read_alone_is_used(dataset_path: Path, tmp_path: Path) -> None:
    with bucket(dataset_path) as store:
        here = landweave.open(dataset_path)
        filled = landweave.open(store.url, cache_dir=tmp_path)
        list(filled.stream(batch_size=6, arrays=["dem"]))
        for path in [tmp_path, *tmp_path.parents]:
            if path == tmp_path or path.name.startswith(("pytest-", "popen-")):
                path.chmod(path.stat().st_mode | 0o055)
        for path in tmp_path.rglob("*"):
            path.chmod(0o555 if path.is_dir() else 0o444)
        (tmp_path / "landweave-cache").chmod(0o555)
        before = {path: path.read_bytes() for path in cached(tmp_path)}
        code = (
            "import os, warnings, obstore.store, landweave, numpy\n"
            f"data = landweave.open({store.url!r}, cache_dir={str(tmp_path)!r})\n"
            f"list(landweave.open({store.url!r}).stream(batch_size=6))\n"  # imports all that is needed
            "os.getuid() or os.seteuid(65534)\n"  # root may write everywhere
            "with warnings.catch_warnings(record=True) as found:\n"
            "    warnings.simplefilter('always')\n"
            "    first = sum(len(b['id']) for b in data.stream(batch_size=6, arrays=['dem']))\n"
            "    print(first, len(found), data.store.kept.misses)\n"
            "    print(sum(len(b['id']) for b in data.stream(batch_size=6)), *(w.message for w in found))"
        )
        store.asked.clear()
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    first, second = done.stdout.splitlines()
    assert first == f"{len(here)} 0 0"
    assert second.startswith(f"{len(here)} cache_dir ")
    assert "Permission denied" in second
    assert {path: path.read_bytes() for path in cached(tmp_path)} == before


def test_a_cache_for_a_local_dataset_is_one_warning(dataset_path: Path, tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match="cache_dir is not used: the dataset is on this machine") as warned:
        landweave.open(dataset_path, cache_dir=tmp_path / "cache")
    assert len(warned) == 1
    assert warned[0].filename == __file__
    assert not (tmp_path / "cache").exists()
    with pytest.raises(landweave.QueryError, match="cache_size"):
        landweave.open(dataset_path, cache_size="much")


@pytest.mark.parametrize("ending", ["bytes", "spans"])
@pytest.mark.parametrize("how", ["link", "link to nothing", "pipe", "folder"])
def test_nothing_but_files_in_a_cache_is_opened(tmp_path: Path, ending: str, how: str) -> None:
    Kept(tmp_path / "cache", size_of("1GB"), "dataset").put("a", 0, b"piece")
    (file,) = (path for path in cached(tmp_path) if path.suffix == f".{ending}")
    file.unlink()
    other = tmp_path / "other"
    if how == "link":
        other.write_bytes(b"of the user")
    if how.startswith("link"):
        file.symlink_to(other)
    elif how == "pipe":
        os.mkfifo(file)
    else:
        file.mkdir()
    kept = Kept(tmp_path / "cache", size_of("1GB"), "dataset")
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        assert kept.read("a", 0, 5) is None
        kept.put("a", 0, b"piece")
    assert ["nothing more can be kept" in str(w.message) for w in warned] == [True]
    assert other.exists() == (how == "link")
    if how == "link":
        assert other.read_bytes() == b"of the user"


def test_room_is_made_of_pieces_alone(tmp_path: Path) -> None:
    files = [tmp_path / "mine" / name for name in ("000000.bytes", "000000.spans")]
    for file in files:
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(bytes(1 << 20))
    kept = Kept(tmp_path / "cache", size_of("64MB"), "dataset")
    kept.put("a", 0, b"piece")
    (kept.folder / ("0" * 32)).symlink_to(tmp_path / "mine")
    piece = np.random.default_rng(1).bytes(1 << 20)
    lost = kept.folder / ("f" * 32) / "000000.bytes"  # its list was removed before a kill
    lost.parent.mkdir()
    lost.write_bytes(piece * 32)
    os.utime(lost, (0, 0))
    for number in range(70):
        kept.put(f"b{number // 20}", number % 20 << 20, piece)
    assert all(file.exists() for file in files)
    assert not lost.exists()
    assert sum(p.stat().st_blocks * 512 for p in cached(tmp_path / "cache")) <= 64e6


def test_pieces_of_two_lengths_at_one_place_are_both_kept(tmp_path: Path) -> None:
    kept = Kept(tmp_path, size_of("1GB"), "dataset")
    for _ in range(3):
        for piece in (b"piece", b"piece and more"):
            kept.put("a", 0, piece)
            found = kept.read("a", 0, len(piece))
            assert found is not None
            assert bytes(found) == piece
    assert sum(p.stat().st_size for p in cached(tmp_path) if p.suffix == ".spans") == 32


def test_a_length_that_an_index_invents_takes_no_memory(tmp_path: Path) -> None:
    kept = Kept(tmp_path, 1 << 30, "x")
    kept.put("packs/00001.bin", 0, b"12345678")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert kept.read("packs/00001.bin", 0, 2**53) is None
    assert bytes(kept.read("packs/00001.bin", 0, 8) or b"") == b"12345678"


def test_a_piece_that_is_wrong_is_dropped_also_if_its_neighbour_was_before(tmp_path: Path) -> None:
    kept = Kept(tmp_path, 1 << 30, "x")
    for start in (0, 100):
        kept.put("a", start, b"12345678")
    kept.drop("a", [(0, 8)])
    kept.drop("a", [(0, 8), (100, 8)])
    assert not kept.has("a", [(100, 8)])
    kept.put("a", 100, b"12345678")
    assert kept.has("a", [(100, 8)])


def test_a_list_that_was_torn_is_begun_again(tmp_path: Path) -> None:
    Kept(tmp_path, size_of("1GB"), "dataset").put("a", 0, b"piece")
    (spans,) = (path for path in cached(tmp_path) if path.suffix == ".spans")
    spans.write_bytes(spans.read_bytes()[:-3])
    kept = Kept(tmp_path, size_of("1GB"), "dataset")
    kept.put("a", 8, b"other")
    for again in (kept, Kept(tmp_path, size_of("1GB"), "dataset")):
        assert again.read("a", 8, 5) == b"other"


@pytest.mark.slow
def test_a_process_that_may_open_few_files_keeps_few_open(tmp_path: Path) -> None:
    code = (
        "import resource, warnings; warnings.simplefilter('error')\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (128, 128))\n"
        "from landweave.kept import Kept, size_of\n"
        f"kept = Kept({str(tmp_path)!r}, size_of('1GB'), 'dataset')\n"
        "for _ in range(2):\n"
        "    for number in range(200): kept.put(f'object{number}', 0, b'piece')\n"
        "print(sum(kept.read(f'object{number}', 0, 5) == b'piece' for number in range(200)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["200"]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["index", "items", "ids"])
def test_what_was_wrong_once_is_read_again_from_the_url(parted_path: Path, tmp_path: Path, name: str) -> None:
    copy = shutil.copytree(parted_path, tmp_path / "copy")
    here = landweave.open(parted_path)
    ids = [sample.id for sample in here]
    if name == "index":
        path = copy / here.arrays["dem/elevation"].object(here.catalogue.shards[0])
    else:
        path = next(p for p in sorted(copy.glob("catalogue/**/*")) if p.is_file() and name in str(p.relative_to(copy)))
    raw = path.read_bytes()
    with bucket(copy) as store:
        path.write_bytes(raw[:-64] + bytes(64))
        for _ in range(2):
            with pytest.raises(landweave.CorruptError):
                everything(landweave.open(store.url, cache_dir=tmp_path / "cache"), ids)
        path.write_bytes(raw)
        everything(landweave.open(store.url, cache_dir=tmp_path / "cache"), ids)


def everything(data: landweave.Dataset, ids: list[str]) -> None:
    for name in ids:
        assert data.sample(name).id == name
    assert sum(len(batch["id"]) for batch in data.stream(batch_size=6)) == len(ids)


@pytest.mark.slow
def test_check_reads_the_dataset_and_not_what_is_kept_of_it(dataset_path: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(dataset_path, tmp_path / "copy")
    with bucket(copy) as store:
        data = landweave.open(store.url, cache_dir=tmp_path / "cache")
        assert list(check(data)) == []
        path = copy / "catalogue/ledger.parquet"
        raw = path.read_bytes()
        path.write_bytes(raw[7:] + raw[:7])
        assert list(check(data)) == ["catalogue/ledger.parquet: content differs from its checksum"]
        assert not cached(tmp_path / "cache")


def test_more_batches_are_ahead_from_a_url_as_far_as_memory_goes(dataset_path: Path) -> None:
    def ahead(data: landweave.Dataset, batch_size: int, workers: int = 1) -> int:
        stream = data.stream(batch_size=batch_size)
        return stream._ahead(stream.source, workers)

    here = landweave.open(dataset_path)
    assert ahead(here, 1) == 2
    with bucket(dataset_path) as store:
        far = landweave.open(store.url)
        sample = far.stream(batch_size=1).source.sample_bytes
        assert ahead(far, 1) == ahead(far, 512_000_000 // (6 * sample)) == 6
        assert ahead(far, 512_000_000 // (4 * sample)) == ahead(far, 512_000_000 // (8 * sample), workers=2) == 4
        assert ahead(far, 512_000_000 // sample) == 2


@pytest.mark.slow
def test_a_stream_holds_the_batches_that_docs_loading_names(tmp_path: Path) -> None:
    # an epoch has 3 batches: all of them ahead and the one in use, decoded, and the compressed bytes of 3
    root = planned((8, 8, 8), sources=("sentinel2", "dem"), size_m=2560.0).build(tmp_path / "out")
    sample = sum(
        sum(a.nbytes for n, a in batch.items() if "/" in n) for batch in landweave.open(root).stream(batch_size=1)
    )
    batch = 8 * sample // len(landweave.open(root))
    assert batch > 10 << 20
    for place in ("url", "folder"):
        with bucket(root) as store:
            code = (
                "import resource, pathlib, landweave\n"
                f"data = landweave.open({(store.url if place == 'url' else str(root))!r})\n"
                "list(data.stream(batch_size=1))\n"
                "held = 1024 * int(pathlib.Path('/proc/self/status').read_text().split('VmData:')[1].split()[0])\n"
                f"most = held + 7 * {batch} + (128 << 20)\n"
                "resource.setrlimit(resource.RLIMIT_DATA, (most, most))\n"
                "stream = data.stream(batch_size=8)\n"
                "print(sum(len(b['id']) for _ in range(12) for b in stream))"
            )
            done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
        assert (done.stdout.strip(), done.stderr) == (str(12 * len(landweave.open(root))), "")
