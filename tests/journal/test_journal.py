"""A run's journal: limits hold for workers that start together; what was spent adds up; prices and logs."""

from __future__ import annotations

import http.client
import json
import socket
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from pipelines.access.http.client import Counters
from pipelines.engines import Engine
from pipelines.jobs import Bounds, BuildError, build_dataset
from pipelines.journal import (
    Journal,
    LimitReached,
    Limits,
    Note,
    Prices,
    PricesError,
    Spent,
    log_of,
    read_prices,
    records_of,
    silent,
    total,
)
from pipelines.metrics import PortError, openmetrics, serve
from pipelines.recipes import RecipeFile
from pipelines.shards import desk_of
from pipelines.status import Status
from pipelines.tables import Estimate

PRICES = Prices(currency="EUR", request=0.5, gigabyte=0.0, eecu_hour=2.0, million_tokens=3.0, worker_hour=0.0)
counts = st.dictionaries(st.sampled_from(["a", "b"]), st.integers(0, 10**9))
spendings = st.builds(
    Spent,
    requests=counts,
    bytes=counts,
    retries=counts,
    failures=counts,
    eecu_s=st.integers(0, 1000),
    tokens=st.integers(0, 10**6),
    seconds=st.integers(0, 10**6),
)


def begin(work: Path, limits: Limits, each: int = 10) -> Journal:
    return Journal.begin(work, limits=limits, prices=PRICES, expected=Spent(requests={"all": each}), shards=100)


def build(journal: Journal, shard: int, requests: int) -> bool:
    try:
        record = journal.start(shard)
    except LimitReached:
        return False
    journal.end(replace(record, state="built", spent=Spent(requests={"a": requests})))
    return True


@given(st.lists(spendings, max_size=6), st.integers(0, 6))
def test_sums_do_not_depend_on_grouping(spent: list[Spent], cut: int) -> None:
    assert total(spent) == total([total(spent[:cut]), total(spent[cut:])])
    assert total(spent).cost(PRICES) == pytest.approx(sum(s.cost(PRICES) for s in spent))


def test_prices_are_for_what_is_billed() -> None:
    spent = Spent(requests={"a": 2, "b": 2}, eecu_s=1800.0, tokens=2_000_000)
    assert spent.cost(PRICES) == pytest.approx(4 * 0.5 + 0.5 * 2.0 + 2 * 3.0)


@pytest.mark.parametrize("limits", [Limits(requests=100), Limits(cost=50.0)])
def test_workers_that_start_together_never_pass_a_limit(tmp_path: Path, limits: Limits) -> None:
    journal = begin(tmp_path, limits)
    with ThreadPoolExecutor(8) as pool:
        # each worker holds the journal for itself, as processes do
        built = list(pool.map(lambda shard: build(Journal.read(journal.folder), shard, 10), range(40)))
    spent = total(r.spent for r in journal.records() if r.state == "built")
    assert spent.all_requests == 10 * sum(built) <= 100
    later = [shard for shard in range(40, 60) if build(journal, shard, 10)]
    assert sum(built) + len(later) == 10, "what the limit bears is built, and no more"


def test_the_dearest_shard_so_far_is_set_aside_for_the_next(tmp_path: Path) -> None:
    journal = begin(tmp_path, Limits(requests=100), each=1)
    assert build(journal, 0, 60)
    assert not build(journal, 1, 60)
    assert journal.records()[-1].shard == 0, "a shard that was refused leaves no trace"


def test_without_limits_nothing_is_refused_and_all_is_kept(tmp_path: Path) -> None:
    journal = begin(tmp_path, Limits())
    joined = Journal.join(tmp_path)
    assert joined == journal
    assert all(build(joined, shard, 10**9) for shard in range(3))
    journal.close()
    assert Journal.join(tmp_path) is None
    second = begin(tmp_path, Limits())
    assert build(second, 0, 1)
    assert [r.run == second.run for r in records_of(tmp_path)].count(True) == 1
    assert len(records_of(tmp_path)) == 4


def test_a_note_tells_what_a_failed_shard_has_cost(tmp_path: Path) -> None:
    journal = begin(tmp_path, Limits())
    used = iter([({"a": Counters(5, 50, 0, 0)}, 0.0, 7), ({"a": Counters(9, 90, 1, 0), "b": Counters()}, 2.0, 10)])
    log = log_of(journal.folder, journal.run)
    with pytest.raises(ZeroDivisionError), Note(journal, log, 3, lambda: next(used)):
        raise ZeroDivisionError("with a\nnew line")
    (record,) = journal.records()
    assert (record.state, record.error, record.shard) == ("failed", "ZeroDivisionError", 3)
    assert (record.spent.requests, record.spent.bytes, record.spent.retries) == ({"a": 4}, {"a": 40}, {"a": 1})
    assert (record.spent.eecu_s, record.spent.tokens) == (2.0, 3)
    (path,) = journal.folder.glob("log-*.jsonl")
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [line["event"] for line in lines] == ["shard begun", "shard failed"]
    assert all(line["run"] == journal.run and line["shard"] == 3 for line in lines)
    assert 'File "tests/journal/test_journal.py"' in lines[1]["error"], "told without this machine's places"
    assert str(Path(__file__).parents[2]) not in path.read_text()


def test_without_a_journal_a_note_only_measures() -> None:
    used = iter([({}, 0.0, 0), ({"a": Counters(2, 3, 0, 0)}, 0.0, 0)])
    with Note(None, silent(), 0, lambda: next(used)) as note:
        pass
    assert note.spent.requests == {"a": 2}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("currency: USD\n", "request: Field required"),
        ("- 1\n", "the whole file"),
        ("{", "is not YAML"),
        ("currency: USD\nrequest: -1\ngigabyte: 0\neecu_hour: 0\nmillion_tokens: 0\nworker_hour: 0\n", "request: "),
    ],
)
def test_a_bad_file_of_prices_is_told_in_one_line(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(PricesError, match=said) as told:
        read_prices(path)
    assert "\n" not in str(told.value)
    assert str(tmp_path) not in str(told.value)


def test_limits_that_cannot_be_kept_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LANDWEAVE_WORK", str(tmp_path))
    file = RecipeFile(recipe=None, folder=tmp_path)  # type: ignore[arg-type] # refused before it is looked at
    elsewhere = Engine(beam="DataflowRunner")
    with pytest.raises(BuildError, match="do not work with DataflowRunner") as told:
        build_dataset(file, desk_of("s3://bucket/x"), elsewhere, bounds=Bounds(limits=Limits(requests=5)))
    assert "\n" not in str(told.value)


def test_a_build_without_a_plan_is_scraped_and_a_taken_port_is_one_line(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = int(listener.getsockname()[1])
        with pytest.raises(PortError, match=f"--metrics-port {port}"), serve(tmp_path, port):
            pytest.fail("the port is taken")
    openmetrics_only = {"Accept": "application/openmetrics-text; version=1.0.0"}
    with serve(tmp_path, port):
        there = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        there.request("GET", "/metrics", headers=openmetrics_only)
        answer = there.getresponse()
        assert answer.status == 200
        assert list(text_string_to_metric_families(answer.read().decode())) == []
        there.close()
    with pytest.raises(ConnectionRefusedError):
        http.client.HTTPConnection("127.0.0.1", port, timeout=30).connect()


def test_openmetrics_are_read_by_prometheus_own_parser() -> None:
    status = Status(
        name="x", shards=5, done=2, finished=False, running=True, run="r1", failed={4: "OSError"}, building=[],
        samples=10, outcomes={"dem": {"ok": 3, "unavailable": 1}}, undelivered=[], spent=Spent(requests={"a": 7}),
        estimate=Estimate(), seconds_left=30.0,
    )  # fmt: skip
    found = {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(openmetrics(status))
        for sample in family.samples
    }
    assert found["landweave_shards", "x", "left"] == 3
    assert found["landweave_shards", "x", "failed"] == 1
    assert found["landweave_outcomes", "x", "dem", "unavailable"] == 1
    assert found["landweave_requests_total", "x", "a"] == 7
    assert found["landweave_left_seconds", "x"] == 30.0


def test_numbers_of_a_status_stand_in_one_column() -> None:
    status = Status(
        name="x", shards=1, done=1, finished=True, running=False, run="r1", failed={}, building=[], samples=10,
        outcomes={"dem": {"ok": 3}, "a-layer-with-a-rather-long-name": {"ok": 12}}, undelivered=[],
        spent=Spent(requests={"planetary-computer": 7, "dlr": 1_234}), estimate=Estimate(), seconds_left=None,
    )  # fmt: skip
    lines = status.text().splitlines()
    ends = [line.index(" of ") for line in lines if " obtained" in line]
    ends += [line.index(" requests") for line in lines if " MB, " in line]
    assert len(ends) == 4
    assert len(set(ends)) == 1
