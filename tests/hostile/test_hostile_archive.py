"""An archive that somebody broke into: it takes no credential, leads to no inner address, ends no run, fills no memory.

The promises are those of SECURITY.md, "Archives, maps and models".
"""

from __future__ import annotations

import contextlib
import gzip
import json
import subprocess
import sys
import threading
import zlib
from collections.abc import Callable
from typing import Any

import pytest

from pipelines.access.archives import Archives
from pipelines.access.foreign import DEEPEST, ForeignJsonError, read_json
from pipelines.access.http.client import AccessError, Client
from pipelines.access.http.network import homes_of
from pipelines.access.logins.credentials import client_of
from pipelines.access.logins.signing import HeaderSigner, PlanetaryComputerSigner, basic
from pipelines.access.stac.search import search
from pipelines.plan.blocks import Block
from pipelines.plan.search import Question, ask
from pipelines.sources import open_source
from schemas.outcome import Reason
from schemas.place import BBox
from schemas.provider import Provider
from schemas.scene import Scene
from schemas.sensors import DemSource
from tests.hostile.liar import Liar, Talk, liar

Json = dict[str, Any]
Say = Callable[[Talk], None]
RING = [[10, 46], [10.1, 46], [10.1, 46.1], [10, 46.1], [10, 46]]
BOX = BBox(9.0, 45.0, 11.0, 47.0)
QUICK: Json = {"retries": 1, "timeout_s": 1.0, "backoff_s": 0.001}


def item(name: object = "a", **more: Any) -> Json:
    return {
        "type": "Feature", "id": name, "collection": "c", "links": [],
        "geometry": {"type": "Polygon", "coordinates": [RING]}, "bbox": [10, 46, 10.1, 46.1],
        "properties": {"datetime": "2022-06-01T10:00:00Z"}, "assets": {"data": {"href": "https://x.example/a.tif"}},
        **more,
    }  # fmt: skip


def page(*items: Any, links: Any = (), **more: Any) -> Json:
    return {"type": "FeatureCollection", "features": list(items), "links": list(links), **more}


def found(server: Liar, client: Client | None = None) -> list[Any]:
    return search("p", Provider(url=server.url), "c", areas=[BOX], period=None, client=client or Client(**QUICK))


def linked(href: str, **more: Any) -> Say:
    """Each page points on."""

    def say(talk: Talk) -> None:
        server: Any = talk.server
        name = f"i{len(server.liar.asked)}"
        talk.json(page(item(name), links=[{"rel": "next", "href": href.replace("#", name), **more}]))

    return say


def packed(*blocks: tuple[bytes, int]) -> bytes:
    made = zlib.compressobj(9, zlib.DEFLATED, 31)
    return b"".join(made.compress(block) for block, times in blocks for _ in range(times)) + made.flush()


BOMB = packed((b" " * (1 << 20), 300))
LISTS = packed((b'{"features":[', 1), (b"[]," * (1 << 18), 24), (b"[]]}", 1))

OK = b"HTTP/1.1 200 x\r\n"

LIES: dict[str, Say] = {
    "lists 100,000 deep": lambda t: t.send(b'{"features":' + b"[" * 100_000 + b"]" * 100_000 + b"}"),
    "objects 100,000 deep": lambda t: t.send(b'{"a":' * 100_000 + b"1" + b"}" * 100_000),
    "deep behind a bracket in a string": lambda t: t.send(b'{"a": "]]]]", "b": ' + b"[" * 500 + b"]" * 500 + b"}"),
    "a next link that is no address": linked("http://[bad"),
    "a next link to port 99999": linked("http://127.0.0.1:99999/"),
    "a next link to a file": linked("file:///etc/passwd"),
    "a next link with a line break": linked("/search?x=\r\nEvil: 1"),
    "a next link to the metadata service": linked("http://169.254.169.254/latest/meta-data"),
    "a next link that a terminal obeys": linked("http://127.0.0.1:1/\x1b[31mred\x07"),
    "a redirect that is no address": lambda t: t.send(b"", 302, Location="http://[bad"),
    "a redirect to a file": lambda t: t.send(b"", 302, Location="file:///etc/passwd"),
    "a redirect to a bucket": lambda t: t.send(b"", 302, Location="s3://bucket/key"),
    "a redirect to the metadata service": lambda t: t.send(b"", 302, Location="http://169.254.169.254/x"),
    "a redirect to an inner host": lambda t: t.send(b"", 307, Location="http://10.0.0.1/x"),
    "redirects in a circle": lambda t: t.send(b"", 302, Location="/search"),
    "a gibibyte that is announced": lambda t: t.flood(OK + b"Content-Length: 1073741824\r\n\r\n", b" " * 4096),
    "an endless body": lambda t: t.flood(b"HTTP/1.1 200 x\r\n\r\n", b" " * (1 << 20)),
    "an endless refusal": lambda t: t.flood(b"HTTP/1.1 500 x\r\n\r\n", b" " * (1 << 20)),
    "a byte now and then": lambda t: t.drip(b"HTTP/1.1 200 x\r\nContent-Length: 1000\r\n\r\n", b" "),
    "a header now and then": lambda t: t.drip(b"HTTP/1.1 200 x\r\n", b"X: y\r\n"),
    "100 Continue for ever": lambda t: t.drip(b"", b"HTTP/1.1 100 x\r\n\r\n"),
    "300 MB in 300 kB": lambda t: t.send(BOMB, Content_Encoding="gzip"),
    "19 million values in 20 kB": lambda t: t.send(LISTS, Content_Encoding="gzip"),
    "packed twice": lambda t: t.send(gzip.compress(gzip.compress(b"{}")), Content_Encoding="gzip, gzip"),
    "a coding of its own": lambda t: t.send(b"{}", Content_Encoding="br"),
    "a packed body cut short": lambda t: t.send(gzip.compress(b"{}" * 999)[:-9], Content_Encoding="gzip"),
    "100,000 headers": lambda t: t.raw(b"HTTP/1.1 200 x\r\n" + b"X: y\r\n" * 100_000 + b"\r\n"),
    "a header of 10 MB": lambda t: t.raw(b"HTTP/1.1 200 x\r\nX: " + b"y" * 10_000_000 + b"\r\n\r\n"),
    "a status line that is none": lambda t: t.raw(b"HTTP/9.9 -5 \x1b[31m\r\n\r\n"),
    "a length of 5,000 digits": lambda t: t.raw(b"HTTP/1.1 200 x\r\nContent-Length: " + b"9" * 5000 + b"\r\n\r\n{}"),
    "a length that is longer": lambda t: t.raw(b"HTTP/1.1 200 x\r\nContent-Length: 99\r\n\r\n{}"),
    "a chunk that is none": lambda t: t.raw(b"HTTP/1.1 200 x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n{}"),
    "a chunk of an exabyte": lambda t: t.raw(OK + b"Transfer-Encoding: chunked\r\n\r\nffffffffffffff\r\n{}"),
    "bytes that are no text": lambda t: t.send(b'{"features":[{"id":"\xff\xfe"}]}'),
    "another text encoding": lambda t: t.send(json.dumps(page(item())).encode("utf-16")),
    "a list": lambda t: t.send(b"[]"), "null": lambda t: t.send(b"null"), "nothing": lambda t: t.send(b""),
    "features that are no list": lambda t: t.json({"features": {"a": 1}}),
    "Retry-After for ever": lambda t: t.send(b"", 429, Retry_After="100"),
    "Retry-After in the year 9999": lambda t: t.send(b"", 503, Retry_After="Fri, 31 Dec 9999 23:59:59 GMT"),
    "Retry-After that is no date": lambda t: t.send(b"", 503, Retry_After="Sat, 99 Dec 99999 23:59:59 +9999"),
    "Retry-After nan": lambda t: t.send(b"", 429, Retry_After="nan"),
    "pages without end": linked("/search?p=#"),
    "pages in a circle": linked("/search"),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("lie", LIES)
def test_every_lie_is_a_reason_that_can_be_printed(lie: str) -> None:
    with liar(LIES[lie]) as server, pytest.raises(AccessError) as caught:
        found(server)
    said = str(caught.value)
    assert said.isprintable()
    assert len(said) < 1000
    assert len(server.asked) <= 260


NUMBERS = b'{"features":[{"id":"a","bbox":[NaN,Infinity,-Infinity,1e999]}],"numberMatched":NaN}'
COLLECTIONS = json.dumps(page(*({"id": str(c), "collection": c} for c in (["c"], {"c": 1}, None, 7, "c")))).encode()
BRACKETS = json.dumps(page(*({"id": f"i{n:02d} ["} for n in range(90)))).encode()
ODD_BUT_READ: dict[str, tuple[bytes, list[str]]] = {
    "numbers that are none": (NUMBERS, ["a"]),
    "a count of 100,000 digits": (b'{"features":[],"numberMatched":' + b"9" * 100_000 + b"}", []),
    "half a surrogate": (b'{"features":[{"id":"\\ud800"}]}', ["\ufffd"]),
    "ids that are numbers": (b'{"features":[{"id":7},{"id":true},{"id":null},{"id":""},{},[],null,"x"]}', ["7"]),
    "collections that are none": (COLLECTIONS, ["None", "c"]),
    "links that are none": (b'{"features":[{"id":"a"}],"links":"abc","numberMatched":-5,"context":[]}', ["a"]),
    "a bracket in each string": (BRACKETS, [f"i{n:02d} [" for n in range(90)]),
}


@pytest.mark.parametrize("what", ODD_BUT_READ)
def test_what_is_odd_and_can_be_read_is_read(what: str) -> None:
    body, ids = ODD_BUT_READ[what]
    with liar(lambda talk: talk.send(body)) as server:
        assert [i["id"] for i in found(server)] == ids


def test_what_comes_through_the_gate_is_sane() -> None:
    raw = json.dumps({"a": "\ud800x", "\udfff": ["\U0001f600", 2**63, 2**63 - 1, -(2**63), 10**400, 1.5]}).encode()
    assert read_json(raw) == {"a": "\ufffdx", "\ufffd": ["\U0001f600", None, 2**63 - 1, -(2**63), None, 1.5]}
    assert read_json(b'{"a": [1e400, -1e999, NaN, -Infinity, 1e3, 0.1]}') == {"a": [None, None, None, None, 1e3, 0.1]}
    deepest = b"[" * DEEPEST + b"]" * DEEPEST
    assert json.loads(deepest) == read_json(deepest)
    for bad in (b"[" + deepest + b"]", b"[" * 9999, b"\xff", b"{", b"[1,]", b"0" * 5000, b"'a'"):
        with pytest.raises(ForeignJsonError):
            read_json(bad)
    with pytest.raises(ForeignJsonError, match="more than 10 values"):
        read_json(b"[1,2,3,4,5,6,7,8,9,0,1]", most_values=10)


@pytest.mark.slow
def test_memory_stays_small_whatever_is_unpacked() -> None:
    """In a process of its own: a page of 300 MB, one of 19 million values, one without end, each a few times."""
    script = (
        "import re, tests.hostile.test_hostile_archive as t\n"
        "peak = lambda: print(re.search(r'VmHWM:\\s+(\\d+)', open('/proc/self/status').read())[1])\n"
        "peak()\n"
        "for lie in ('300 MB in 300 kB', '19 million values in 20 kB', 'an endless body'):\n"
        "    with t.liar(t.LIES[lie]) as server:\n"
        "        try: t.found(server, t.Client(retries=0))\n"
        "        except t.AccessError: peak()\n"
    )
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    peaks_mib = [int(line) >> 10 for line in run.stdout.split()]
    assert len(peaks_mib) == 4
    assert max(peaks_mib) - peaks_mib[0] < 250  # a page may have 64 MiB; before it was refused, 340 were kept


@pytest.mark.parametrize("length", ["announced", "unknown"])
def test_a_server_that_sends_everything_for_a_range_fills_no_memory(length: str) -> None:
    """Sixteen bytes are wanted; what stands behind them is not waited for."""
    head = OK + (b"Content-Length: 400000000\r\n\r\n" if length == "announced" else b"\r\n")
    with liar(lambda talk: talk.flood(head, bytes(range(256)) * 256)) as server:
        client = Client(**QUICK | {"timeout_s": 20.0})
        assert client.get_range(f"{server.url}/x", 1000, 16).data == bytes((1000 + i) % 256 for i in range(16))
        assert client.counters.bytes_received < 64 << 20


@pytest.mark.parametrize(
    ("status", "said", "body"),
    [
        (206, "bytes 0-15/100", b"x" * 17), (206, "bytes 5-20/100", b"x" * 16), (206, "bytes 0-15/9", b"x" * 16),
        (206, "bytes 0-9/100", b"x" * 16), (206, f"bytes 0-{'9' * 5000}/*", b"x" * 16), (206, "", b"x" * 16),
        (206, "bytes \u0660-15/100", b"x" * 16), (204, "bytes 0-15/100", b""),
    ],
)  # fmt: skip
def test_other_bytes_than_were_asked_for_are_no_bytes(status: int, said: str, body: bytes) -> None:
    text = said.encode("utf-8").decode("latin-1")
    with liar(lambda talk: talk.send(body, status, Content_Range=text)) as server, pytest.raises(AccessError) as caught:
        Client(**QUICK).get_range(f"{server.url}/x", 0, 16)
    assert caught.value.reason is Reason.UNAVAILABLE


def test_a_catalogue_whose_links_never_end_ends() -> None:
    def say(talk: Talk) -> None:
        server: Any = talk.server
        talk.json({"type": "Catalog", "links": [{"rel": "child", "href": f"/{len(server.liar.asked)}.json"}]})

    with liar(say) as server:
        providers = {"p": Provider(url=f"{server.url}/catalog.json", retries=0)}
        with Archives(providers) as archives, pytest.raises(AccessError, match="more than 64 levels"):
            archives.search("p", "c", [BOX], None)
    assert len(server.asked) == 64


@pytest.mark.parametrize("href", ["http://[bad", "file:///etc/passwd", "http://169.254.169.254/x", "\\\\evil\\x"])
def test_a_catalogue_that_links_to_what_nobody_may_ask_is_no_answer(href: str) -> None:
    told = {"type": "Catalog", "links": [{"rel": "item", "href": href}]}
    with liar(lambda talk: talk.json(told)) as server:
        providers = {"p": Provider(url=f"{server.url}/catalog.json", retries=0)}
        with Archives(providers) as archives, pytest.raises(AccessError) as caught:
            archives.search("p", "c", [BOX], None)
    assert caught.value.reason is Reason.BAD_ITEM


# --- credentials -----------------------------------------------------------------------------------------------------


TRICKS = ["\\@{home}", "\\.{home}", "#@{home}", "?@{home}", "/@{home}", "%5c@{home}", "\t@{home}"]


@pytest.mark.parametrize("trick", TRICKS)
def test_no_spelling_of_an_address_takes_a_password_to_a_stranger(trick: str) -> None:
    with liar(host="127.0.0.2") as stranger, liar(host="127.0.0.1") as home:
        signer = HeaderSigner(("127.0.0.1",), basic("user", "password"))
        client = Client(signer=signer, **QUICK)
        address = stranger.url + trick.format(home=home.url.removeprefix("http://")) + "/x.tif"
        for url in (address, f"http://user:password@{address.removeprefix('http://')}"):
            with contextlib.suppress(AccessError):
                client.get_all(url, 100)
        client.get_all(f"{home.url}/x.tif", 100)
    assert home.asked[-1].headers["authorization"].startswith("Basic ")
    assert all("authorization" not in asked.headers for asked in stranger.asked)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_takes_no_header_to_another_host(status: int) -> None:
    with liar(host="127.0.0.2") as stranger, liar() as home:
        home.say = lambda talk: talk.send(b"", status, Location=f"{stranger.url}/x")
        client = Client(signer=HeaderSigner(("127.0.0.1",), basic("user", "password")), **QUICK)
        assert client.get_all(f"{home.url}/x", 100) == b"{}"
    assert "authorization" in home.asked[0].headers
    assert "authorization" not in stranger.asked[0].headers


def test_a_password_in_a_body_goes_no_further_than_its_service(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("CDSE_USERNAME", "CDSE_PASSWORD"):
        monkeypatch.setenv(name, "s3cret-word")
    monkeypatch.setenv("LANDWEAVE_TRUSTED_HOSTS", "127.0.0.1,127.0.0.2")
    with liar(host="127.0.0.2") as stranger, liar() as home:
        home.say = lambda talk: talk.send(b"", 307, Location=f"{stranger.url}/token")
        signing = {"url": f"{home.url}/token", "hosts": ["127.0.0.1"]}
        entry = {"url": home.url, "dialect": "copernicus-data-space", "alternate": "https", "signing": signing}
        with pytest.raises(AccessError, match="another host") as caught:
            client_of("p", Provider.model_validate({**entry, "retries": 0})).get_all(f"{home.url}/x", 100)
    assert "s3cret-word" in home.asked[0].body.decode()
    assert stranger.asked == []
    assert "s3cret-word" not in str(caught.value)


def test_tokens_are_not_put_into_addresses_in_the_clear() -> None:
    signer = PlanetaryComputerSigner("https://tokens.example", (".blob.core.windows.net",))
    clear = "http://account.blob.core.windows.net/container/a.tif"
    assert signer.sign(clear, fresh=False) == (clear, {})


def test_a_next_link_takes_no_header_of_ours_and_sets_none_that_is_not_its_own() -> None:
    headers = {
        "search-after": "z", "Authorization": "Bearer theirs", "Host": "evil", "Content-Length": "0", "Cookie": "c",
        "X-Bad": "a\r\nEvil: 1", "Bad Name": "x", "X-Number": 7, "X-Odd": "\u00e9", "Proxy-Authorization": "x",
    }  # fmt: skip

    def say(talk: Talk) -> None:
        link = {"rel": "next", "method": "POST", "href": "/search", "body": {"t": 1}, "headers": headers, "merge": True}
        talk.json(page(item("b")) if "t" in talk.asked.json else page(item("a"), links=[link]))

    with liar(say) as server:
        assert [i["id"] for i in found(server)] == ["a", "b"]
    first, second = server.asked
    assert set(second.headers) - set(first.headers) == {"search-after"}
    assert second.headers["host"] == first.headers["host"]
    assert json.loads(second.body) == {**json.loads(first.body), "t": 1}


# --- addresses -------------------------------------------------------------------------------------------------------


def test_a_public_archive_reaches_nothing_on_this_machine() -> None:
    """By an item's address, by a name that resolves here, by a redirect, by a next link."""
    with liar() as inner:
        client = client_of("p", Provider(url="https://8.8.8.8/stac", retries=0, timeout_s=1.0))
        port = inner.url.rpartition(":")[2]
        for host in ("127.0.0.1", "localhost", "0.0.0.0", "[::ffff:127.0.0.1]"):  # noqa: S104 - where nobody may go
            with pytest.raises(AccessError, match="does not live") as caught:
                client.get_range(f"http://{host}:{port}/x", 0, 4)
            assert caught.value.reason is Reason.BAD_ITEM
    assert inner.asked == []


def test_an_archive_on_this_machine_reaches_its_neighbours_and_no_inner_network() -> None:
    with liar(host="127.0.0.2") as neighbour, liar(lambda t: t.send(b"", 302, Location="http://10.0.0.1/x")) as home:
        client = client_of("p", Provider(url=home.url, retries=0, timeout_s=1.0))
        assert client.get_all(f"{neighbour.url}/x", 10) == b"{}"
        for url in (f"{home.url}/x", "http://169.254.169.254/latest/meta-data/", "http://192.168.0.1/"):
            with pytest.raises(AccessError, match="does not live"):
                client.get_all(url, 10)


def test_the_address_that_is_judged_is_the_one_that_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that resolves to the internet when it is judged, and to this machine a moment later."""
    answers = iter(["8.8.8.8", "127.0.0.1", "127.0.0.1"])
    went: list[Any] = []
    monkeypatch.setattr("socket.getaddrinfo", lambda _h, port, *_, **__: [(2, 1, 6, "", (next(answers), port))])

    def connect(address: tuple[str, int], *_: object) -> None:
        went.append(address)
        raise ConnectionRefusedError

    monkeypatch.setattr("socket.create_connection", connect)
    client = Client(retries=0, homes=homes_of("https://archive.example"))
    with pytest.raises(AccessError, match="refused the connection"):
        client.get_all("http://rebound.example/x", 10)
    with pytest.raises(AccessError, match="does not live"):
        client.get_all("http://rebound.example/x", 10)
    assert went == [("8.8.8.8", 80)]


# --- items -----------------------------------------------------------------------------------------------------------

ODD_ITEMS: dict[str, Json] = {
    "no address": {"assets": {"data": {"href": "http://[bad"}}},
    "our own scheme": {"assets": {"data": {"href": "provider://p/etc/passwd"}}},
    "a file": {"assets": {"data": {"href": "file:///etc/passwd"}}},
    "a backslash": {"assets": {"data": {"href": "https://evil\\@geoservice.dlr.de/x"}}},
    "a user": {"assets": {"data": {"href": "https://user:word@host.example/x"}}},
    "year 1 east of Greenwich": {"properties": {"datetime": "0001-01-01T00:00:00+14:00"}},
    "year 10^400": {"properties": {"datetime": "1" + "0" * 400 + "-01-01T00:00:00Z"}},
    "no time": {"properties": {"datetime": None}},
    "properties that are none": {"properties": ["datetime"]},
    "no place": {"geometry": None, "bbox": ["x", None, {}, []]},
    "a place off the Earth": {"geometry": None, "bbox": [0, 100, 1, 101]},
    "assets that are a list": {"assets": [1]},
    "an address that is a number": {"assets": {"data": {"href": 7}}},
}


@pytest.mark.parametrize("kind", ["api", "static"])
def test_an_item_that_cannot_be_used_is_counted_and_the_others_are_used(kind: str) -> None:
    bad = [item(f"bad {name}", **change) for name, change in ODD_ITEMS.items()]
    told = page(item("good"), *bad, {"type": "Feature"}, item("other", collection="other"))
    with liar(lambda talk: talk.json(told)) as server:
        providers = {"p": Provider(url=server.url + ("/all.json" if kind == "static" else ""), retries=0)}
        source = open_source(DemSource(providers=("p",), collection="c"))
        question = Question(layer="dem", providers=("p",), collection="c", period=None, slots=(0,), parse=source.scene)
        with Archives(providers) as archives:
            answer = ask(archives, question, Block(places=(), bboxes=(BOX,)))
    assert [scene.item_id for scene in answer.scenes] == ["good"]
    whose = {name.removeprefix("bad ") for name in answer.refused}
    assert set(ODD_ITEMS) <= whose
    assert any("without an id" in why for _, why in answer.refused.values())
    assert all(reason is Reason.BAD_ITEM for reason, _ in answer.refused.values())
    assert "word" not in " ".join(why for _, why in answer.refused.values())


def test_code_that_stumbles_over_an_item_does_not_end_the_run() -> None:
    def parse(raw: Json, *_: object) -> Scene:
        raise RecursionError(raw["id"])

    with liar(lambda talk: talk.json(page(item("a"), item("b")))) as server:
        question = Question(layer="dem", providers=("p",), collection="c", period=None, slots=(0,), parse=parse)  # type: ignore[arg-type]
        with Archives({"p": Provider(url=server.url, retries=0)}) as archives:
            answer = ask(archives, question, Block(places=(), bboxes=(BOX,)))
    assert sorted(answer.refused) == ["a", "b"]
    assert all("RecursionError" in why for _, why in answer.refused.values())


@pytest.mark.slow
def test_many_at_once_end_at_their_deadline() -> None:
    with liar(LIES["a byte now and then"]) as server:
        client = Client(concurrency=4, retries=0, timeout_s=0.5)
        errors: list[AccessError] = []

        def one() -> None:
            try:
                client.json("GET", f"{server.url}/x")
            except AccessError as error:
                errors.append(error)

        threads = [threading.Thread(target=one) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(errors) == 8
