"""A dead provider costs little, a slow one cannot hold us, and limits hold for all threads and workers together."""

from __future__ import annotations

import base64
import hashlib
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from pipelines.access.http.client import AccessError, Client
from pipelines.access.http.limits import Breaker, Pace
from pipelines.access.logins.credentials import client_of
from pipelines.access.logins.signing import PlanetaryComputerSigner
from schemas.outcome import Reason
from schemas.provider import Provider
from schemas.stack import Observation
from testbed.faults import Tokens
from testbed.server import Answer, Fault
from testbed.services import Services, serve_catalogue
from tests.faults.small import make, run, same


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def services(tmp_path: Path) -> Iterator[Services]:
    (tmp_path / "a.bin").write_bytes(bytes(range(256)) * 40)
    with serve_catalogue([], {"/f/": tmp_path}) as running:
        yield running


def test_a_breaker_opens_after_two_operations_worth_of_failures_and_probes() -> None:
    clock = Clock()
    breaker = Breaker(8, 2.0, 10.0, clock=clock)
    for _ in range(7):
        breaker.failed(0.0)
    clock.now = 1.0
    breaker.failed(0.5)
    assert breaker.admits(), "eight failures, and not yet two seconds"
    clock.now = 3.0
    breaker.failed(2.9)
    assert not breaker.admits()
    clock.now = 13.0
    assert breaker.admits(), "the probe"
    assert not breaker.admits(), "one probe"
    breaker.failed(13.0)
    clock.now = 32.0
    assert not breaker.admits(), "the pause has doubled"
    clock.now = 33.0
    assert breaker.admits()
    breaker.succeeded()
    assert breaker.admits()
    assert breaker.admits()


def test_one_success_between_keeps_it_closed() -> None:
    breaker = Breaker(6, 0.0, 10.0)
    for _ in range(50):
        for _ in range(5):
            breaker.failed(0.0)
        breaker.succeeded()
    assert breaker.admits()
    assert not breaker.ever_opened


def test_a_dead_provider_costs_little_and_is_found_again(services: Services) -> None:
    services.faults.append(lambda _: Fault(status=503))
    client = Client(retries=3, timeout_s=1.0, backoff_s=0.02, cooldown_s=0.4)
    for _ in range(300):
        with pytest.raises(AccessError) as caught:
            client.get_range(f"{services.base_url}/f/a.bin", 0, 10)
        assert caught.value.reason is Reason.UNAVAILABLE
    assert client.counters.requests < 60, "without a breaker: 300 x 4 requests"
    assert "many times in a row" in caught.value.detail
    services.faults.clear()
    found = b""
    while not found:  # the test's timeout ends it
        try:
            found = client.get_range(f"{services.base_url}/f/a.bin", 0, 3).data
        except AccessError:
            time.sleep(0.1)
    assert found == b"\0\1\2"


def test_one_hosts_death_is_not_anothers(services: Services) -> None:
    client = Client(retries=1, timeout_s=1.0, backoff_s=0.001, cooldown_s=60.0)
    for _ in range(20):
        with pytest.raises(AccessError):
            client.get_range("http://127.0.0.1:9/a", 0, 1)
    assert client.get_range(f"{services.base_url}/f/a.bin", 0, 1).data == b"\0"


@pytest.mark.slow
@pytest.mark.parametrize("part", ["headers", "body", "body of no stated length"])
def test_a_server_that_drips_is_cut_at_the_deadline(part: str) -> None:
    """A byte now and then keeps any socket timeout from firing."""
    listener = socket.create_server(("127.0.0.1", 0))
    over, sent = threading.Event(), [0]

    def drip() -> None:
        connection, _ = listener.accept()
        with connection:
            connection.recv(4096)
            if part == "body":
                connection.sendall(b"HTTP/1.1 206 x\r\nContent-Range: bytes 0-999/1000\r\nContent-Length: 1000\r\n\r\n")
            if part == "body of no stated length":  # a cut connection looks like its end
                connection.sendall(b"HTTP/1.1 200 x\r\nConnection: close\r\n\r\n")
            try:
                connection.sendall(b"HTTP/1.1 206 x\r\n" if part == "headers" else b"a")
                while not over.wait(0.1):
                    connection.sendall(b"X")
                    sent[0] += 1
            except OSError:
                pass

    thread = threading.Thread(target=drip, daemon=True)
    thread.start()
    with pytest.raises(AccessError) as caught:
        Client(retries=0, timeout_s=0.8).get_range(f"http://127.0.0.1:{listener.getsockname()[1]}/x", 0, 1000)
    assert sent[0] < 500, "of 1000 bytes: the client left long before the end"
    assert caught.value.reason is Reason.UNAVAILABLE
    over.set()
    thread.join()
    listener.close()


@pytest.mark.slow
def test_a_rate_holds_for_all_threads_and_is_divided_among_workers(services: Services) -> None:
    provider = Provider(url=services.base_url, requests_per_s=40.0, concurrency=8)
    client = client_of("p", provider, workers=2)
    assert client.concurrency == 4
    began = time.monotonic()
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: client.get_range(f"{services.base_url}/f/a.bin", 0, 1), range(21)))
    assert time.monotonic() - began >= 20 / 20.0
    assert client_of("p", provider, workers=100).concurrency == 1


def test_no_more_requests_are_under_way_than_the_provider_allows(services: Services) -> None:
    """Sixteen threads, one client, some requests tried again."""
    numbers, lock, three = iter(range(1 << 20)), threading.Lock(), threading.Barrier(3)
    under_way, most = 0, 0

    def answer(_: object) -> Fault:
        nonlocal under_way, most
        with lock:
            number, under_way = next(numbers), under_way + 1
            most = max(most, under_way)
        if number < 3:
            three.wait()  # the test's timeout ends it if they never come together
        time.sleep(0.01)
        with lock:
            under_way -= 1
        return Fault(status=503 if number % 7 == 0 else None)

    services.faults.append(answer)
    client = Client(concurrency=3, retries=5, timeout_s=5.0, backoff_s=0.001)
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda _: client.get_range(f"{services.base_url}/f/a.bin", 0, 1), range(40)))
    assert client.counters.retries > 3
    assert most == 3


def test_turns_are_apart() -> None:
    clock = Clock()
    pace = Pace(10.0, clock=clock)
    assert [round(pace.turn(), 6) for _ in range(3)] == [0.0, 0.1, 0.2]
    clock.now = 5.0
    assert pace.turn() == 0.0
    assert Pace(None).turn() == 0.0


@pytest.mark.slow
def test_retry_after_holds_back_all_threads(services: Services) -> None:
    left = [1]
    arrivals: list[float] = []

    def once(_: object) -> Fault | None:
        arrivals.append(time.monotonic())
        if left[0]:
            left[0] -= 1
            return Fault(status=429, headers={"Retry-After": "1"})
        return None

    services.faults.append(once)
    client = Client(retries=2, timeout_s=5.0, backoff_s=0.01)
    url = f"{services.base_url}/f/a.bin"
    first = threading.Thread(target=client.get_range, args=(url, 0, 1))
    first.start()
    while client.counters.bytes_received == 0:
        time.sleep(0.01)
    time.sleep(0.05)
    client.get_range(url, 1, 1)
    first.join()
    assert arrivals[1] - arrivals[0] >= 0.9


@pytest.mark.parametrize("algorithm", ["sha-256", "sha-512"])
def test_a_digest_is_believed(algorithm: str, services: Services) -> None:
    def digested(wrong: int) -> Fault:
        def change(answer: Answer) -> Answer:
            value = base64.b64encode(hashlib.new(algorithm.replace("-", ""), answer.body).digest()).decode()
            body = bytearray(answer.body)
            body[3] ^= wrong
            return Answer(
                status=answer.status,
                body=bytes(body),
                headers={**answer.headers, "Content-Digest": f"{algorithm}=:{value}:"},
            )

        return Fault(change=change)

    client = Client(retries=1, timeout_s=2.0, backoff_s=0.001)
    services.faults.append(lambda _: digested(0))
    assert client.get_range(f"{services.base_url}/f/a.bin", 0, 10).data == bytes(range(10))
    services.faults[-1] = lambda _: digested(4)
    with pytest.raises(AccessError, match="digest"):
        client.get_range(f"{services.base_url}/f/a.bin", 0, 10)
    assert client.counters.retries == 1


def test_many_threads_refused_at_once_get_one_new_token(services: Services) -> None:
    tokens = Tokens(guarded=lambda path: path.endswith(".bin"))
    services.server.routes.append(tokens.route)
    services.faults.append(tokens.hook)
    signer = PlanetaryComputerSigner(f"{services.base_url}/token", ("127.0.0.1",))
    client = Client(retries=2, timeout_s=5.0, backoff_s=0.01, signer=signer)
    url = f"{services.base_url}/f/a.bin"
    client.get_range(url, 0, 1)
    assert tokens.issued == 1
    tokens._dead.add("secret1")
    barrier = threading.Barrier(8)

    def read(at: int) -> bytes:
        barrier.wait()
        return client.get_range(url, at, 1).data

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(read, range(8))) == [bytes([i]) for i in range(8)]
    assert tokens.issued <= 3


def test_reading_never_changes_the_provider_and_a_later_run_gives_the_clean_bytes(tmp_path: Path) -> None:
    """A plan names who delivers. Another archive's copy of a product is other bytes: it is not taken by chance."""
    items = make(tmp_path)
    with serve_catalogue(items, {"/f/": tmp_path}) as services:
        clean = run(services, kinds=["dem"])
        services.faults.append(lambda r: Fault(status=503) if r.path.startswith("/f/dem") else None)
        lost = run(services, kinds=["dem"])
        reasons = {r.reason for r in lost.results.values() if not isinstance(r, Observation)}
        assert reasons == {Reason.UNAVAILABLE}
        assert {r.provider for r in lost.results.values()} == {"p"}
        services.faults.clear()
        again = run(services, kinds=["dem"])
        for key, result in again.results.items():
            before = clean.results[key]
            assert isinstance(result, Observation)
            assert isinstance(before, Observation)
            assert same(result, before)
