"""One reading of an address: canonical, refused where two readers could differ, and judged where a connection goes."""

from __future__ import annotations

import ipaddress
import pickle
import string
from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.access.errors import AccessError
from pipelines.access.http.address import joined, parsed, public_url, shown
from pipelines.access.http.network import Homes, homes_of, kind_of
from schemas.outcome import Reason

REFUSED = [
    "", " ", "http:", "http://", "http:///x", "http://[bad", "http://[::1", "http://[::1%25eth0]/", "http://a@b@c/",
    "https://user:word@host/x", r"https://evil\@geoservice.dlr.de/x", r"https://evil.example\.geoservice.dlr.de/x",
    "https://evil.example\t@geoservice.dlr.de/", "http://host/a\nb", "http://host/\x00", "http://host/\x7f",
    "http://host/\ud800", "http://host:0/", "http://host:99999/", "http://host:abc/", "http://host:-1/",
    "http://2130706433/", "http://0x7f.0.0.1/", "http://0177.0.0.1/", "http://127.1/", "http://1.2.3.4.5/",
    "http://\uff11\uff12\uff17.0.0.1/", "http://\u2488\u2488/", "http://b\u00fccher.example/", "http://a..b/",
    "http://-a/", "http://a%2eb/", "http://a b/", "http://host:80:80/", "file:///etc/passwd", "ftp://host/x",
    "provider://p/x", "javascript:alert(1)", "/etc/passwd", "../x.tif", "vsicurl/http://x", "s3://", "s3://b@c/x",
    "s3://b:80/x", "gs://b\\c/x", "http://" + "a" * 9000, "http://" + "a." * 200 + "com/",
]  # fmt: skip


@pytest.mark.parametrize("text", REFUSED)
def test_what_two_readers_could_read_in_two_ways_is_refused(text: str) -> None:
    with pytest.raises(AccessError) as caught:
        public_url(text)
    assert caught.value.reason is Reason.BAD_ITEM
    said = str(caught.value)
    assert said.isascii()
    assert said.isprintable()
    assert len(said) < 400
    assert "word" not in said
    assert shown(text).isprintable()


@pytest.mark.parametrize(
    ("text", "canonical", "target"),
    [
        ("HTTPS://Host.Example/A?b=C#d", "https://host.example/A?b=C", "/A?b=C"),
        ("http://host:80", "http://host/", "/"),
        ("http://host.:8080/a/../b/./c/..", "http://host:8080/b/", "/b/"),
        ("https://[2001:DB8:0::1]:443/x", "https://[2001:db8::1]/x", "/x"),
        ("https://h/a b/\u00e9?q=[1]|2%zz%41", "https://h/a%20b/%C3%A9?q=%5B1%5D%7C2%25zz%41",
         "/a%20b/%C3%A9?q=%5B1%5D%7C2%25zz%41"),
        ("https://evil.example#@geoservice.dlr.de/", "https://evil.example/", "/"),
        ("https://evil.example?@geoservice.dlr.de/", "https://evil.example/?@geoservice.dlr.de/",
         "/?@geoservice.dlr.de/"),
        ("s3://My.Bucket_1/k ey", "s3://My.Bucket_1/k%20ey", "/k%20ey"),
    ],
)  # fmt: skip
def test_an_address_has_one_form(text: str, canonical: str, target: str) -> None:
    url = parsed(text)
    assert (url, url.target) == (canonical, target)
    assert parsed(str(url)) == url
    again = pickle.loads(pickle.dumps(url))  # noqa: S301 - our own bytes
    assert (again.scheme, again.host, again.port, again.target) == (url.scheme, url.host, url.port, url.target)
    with pytest.raises(AttributeError):
        url.host = "other"


@given(st.text(string.printable + "\\@:/?#[]%\u00e9\ud800\uff11", max_size=40))
def test_any_text_is_refused_or_read_as_the_standard_library_reads_its_canonical_form(rest: str) -> None:
    try:
        url = parsed("https://" + rest)
    except AccessError:
        return
    assert url.isascii()
    assert parsed(str(url)) == url
    theirs = urlsplit(str(url))
    assert (theirs.hostname, theirs.port or 443, theirs.username) == (url.host, url.port, None)


def test_relative_addresses_and_a_service_that_forgets_its_encryption() -> None:
    base = parsed("https://api.example/v1/search?x=1")
    assert joined(base, "?token=2") == "https://api.example/v1/search?token=2"
    assert joined(base, "../a/b.tif") == "https://api.example/a/b.tif"
    assert joined(base, "//other.example/x") == "https://other.example/x"
    assert joined(base, "http://api.example/v1/search?p=2") == "https://api.example/v1/search?p=2"
    assert joined(base, "http://api.example:8080/x") == "http://api.example:8080/x"
    assert joined(base, "http://other.example/x") == "http://other.example/x"
    for bad in ("http://[bad", "\\\\evil\\x", "//a@b/", "x\ty", "http:evil"):
        with pytest.raises(AccessError):
            joined(base, bad)


def test_secrets_are_kept_by_encryption_and_by_this_machine() -> None:
    for kept in ("https://x/", "http://127.9.9.9/", "http://[::1]:8/", "http://localhost/"):
        assert parsed(kept).keeps_secrets
    for told in ("http://x/", "http://localhost.evil.example/", "s3://b/k", "http://127.0.0.1.evil.example/"):
        assert not parsed(told).keeps_secrets


@pytest.mark.parametrize(
    ("address", "kind"),
    [
        ("127.0.0.1", "loopback"), ("127.255.0.9", "loopback"), ("::1", "loopback"), ("0.0.0.0", "loopback"),  # noqa: S104
        ("0.1.2.3", "loopback"), ("::", "loopback"), ("::ffff:127.0.0.1", "loopback"), ("64:ff9b::7f00:1", "loopback"),
        ("169.254.169.254", "link-local"), ("fe80::1", "link-local"), ("::ffff:169.254.169.254", "link-local"),
        ("2002:a9fe:a9fe::1", "link-local"), ("10.0.0.1", "private"), ("172.16.0.1", "private"),
        ("192.168.1.1", "private"), ("100.64.0.1", "private"), ("fd00::1", "private"), ("::ffff:10.0.0.1", "private"),
        ("224.0.0.1", "private"), ("ff02::1", "private"), ("255.255.255.255", "private"), ("198.18.0.1", "private"),
        ("8.8.8.8", "public"), ("2606:4700::1111", "public"), ("::ffff:8.8.8.8", "public"),
    ],
)  # fmt: skip
def test_networks(address: str, kind: str) -> None:
    assert kind_of(address) == kind
    ipaddress.ip_address(address)


INNER = ["http://127.0.0.1:1/", "http://[::ffff:7f00:1]/", "http://0.0.0.0/", "http://169.254.169.254/latest/meta-data",
         "http://10.1.2.3/", "http://localhost/"]  # fmt: skip


@pytest.mark.parametrize("asked", INNER)
def test_what_lives_on_the_internet_leads_to_no_inner_address(asked: str) -> None:
    with pytest.raises(AccessError, match="does not live"):
        homes_of("https://8.8.8.8/stac").addresses(parsed(asked))


def test_a_service_in_a_network_leads_to_its_neighbours_and_no_further() -> None:
    here, inner = homes_of("http://127.0.0.1:8000/stac"), homes_of("http://10.0.0.5/stac")
    assert here.addresses(parsed("http://127.0.0.2:9000/")) == [("127.0.0.2", 9000)]
    assert inner.addresses(parsed("http://192.168.0.9/")) == [("192.168.0.9", 80)]
    assert inner.addresses(parsed("https://8.8.8.8/")) == [("8.8.8.8", 443)]
    for homes, asked in ((here, "http://10.0.0.1/"), (here, "http://169.254.169.254/"), (inner, "http://127.0.0.1/")):
        with pytest.raises(AccessError, match="does not live"):
            homes.addresses(parsed(asked))


def test_whoever_runs_this_can_name_a_host(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LANDWEAVE_TRUSTED_HOSTS", "10.0.0.5:9000")
    homes = homes_of("https://8.8.8.8/stac")
    assert homes.addresses(parsed("http://10.0.0.5:9000/a.tif")) == [("10.0.0.5", 9000)]
    for other in ("http://10.0.0.5/", "http://10.0.0.6:9000/"):
        with pytest.raises(AccessError, match="--allow-host"):
            homes.addresses(parsed(other))


def test_a_public_name_that_resolves_to_this_machine_does_not_live_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever owns a name decides what it resolves to, and can decide otherwise a moment later."""
    there = {"archive.example": "127.0.0.1", "rebound.example": "169.254.169.254", "inner.example": "10.0.0.7"}
    monkeypatch.setattr("socket.getaddrinfo", lambda host, port, **_: [(2, 1, 6, "", (there.get(host, host), port))])
    for name in ("archive.example", "rebound.example"):
        with pytest.raises(AccessError, match="does not live"):
            homes_of(f"http://{name}/").addresses(parsed(f"http://{name}/x"))
    homes = Homes([parsed("http://inner.example/")])
    assert homes.addresses(parsed("http://inner.example/x")) == [("10.0.0.7", 80)]
    there["inner.example"] = "127.0.0.1"  # what was found out at first holds
    with pytest.raises(AccessError, match="does not live"):
        homes.addresses(parsed("http://inner.example/x"))
