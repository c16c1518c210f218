"""A recipe that somebody else wrote: it reaches no secret, no file outside its folder, and no limit of this machine."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from pipelines.access.earthengine.archive import settings_of
from pipelines.access.errors import interpolate
from pipelines.access.http import permission
from pipelines.access.http.client import AccessError, SettingError, shown
from pipelines.access.logins.credentials import client_of
from pipelines.access.openstreetmap.download import obtain
from pipelines.access.openstreetmap.extract import BadExtractError
from pipelines.captions.llm import LlmCaptioner
from pipelines.limited_yaml import MAX_NODES, LimitedYamlError, read_yaml
from pipelines.plan.places import lay
from pipelines.recipes import RecipeError, read_recipe
from sampling import SamplingError
from schemas.captions import LlmCaptions
from schemas.earthengine import EarthEngineProvider
from schemas.provider import Provider
from testbed.server import Answer, Request
from testbed.services import Services, serve_catalogue

CHECKOUT = Path(__file__).parents[2]
SECRETS = {
    "AWS_ACCESS_KEY_ID": "PLANTED-aws-id",
    "AWS_SECRET_ACCESS_KEY": "PLANTED-aws-key",
    "EARTHDATA_USERNAME": "PLANTED-ed-user",
    "EARTHDATA_PASSWORD": "PLANTED-ed-word",
    "DLR_EOC_USER": "PLANTED-dlr-user",
    "DLR_EOC_PASSWORD": "PLANTED-dlr-word",
    "CDSE_USERNAME": "PLANTED-cdse-user",
    "CDSE_PASSWORD": "PLANTED-cdse-word",
    "CDSE_S3_ACCESS_KEY": "PLANTED-cdse-id",
    "CDSE_S3_SECRET_KEY": "PLANTED-cdse-key",
    "PC_SDK_SUBSCRIPTION_KEY": "PLANTED-pc",
    "OPENAI_API_KEY": "PLANTED-openai",
    "GITHUB_TOKEN": "PLANTED-github",
    "LANDWEAVE_MODEL_KEY": "PLANTED-model",
}
BASE: dict[str, Any] = {
    "name": "tiny",
    "seed": 7,
    "sampling": {"kind": "uniform", "count": 3, "area": {"bbox": [11.9, 48.4, 12.1, 48.6]}},
    "grid": {"size_m": 960},
    "windows": [{"name": "w", "start": "2021-06-01", "end": "2021-09-01"}],
    "providers": {"p": {"url": "http://127.0.0.1:9/stac"}},
    "sources": [{"kind": "dem", "providers": ["p"]}],
}


@pytest.fixture(autouse=True)
def planted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Whoever runs the recipe has every login, and allows nothing."""
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)
    for name in (permission.HOSTS, permission.PATHS, permission.TESTBED, "OPENAI_BASE_URL", "EARTHDATA_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "no-netrc"))


@pytest.fixture(scope="module")
def evil() -> Iterator[tuple[Services, list[Request]]]:
    """A server of whoever wrote the recipe: it says yes to all, and keeps what it got."""
    got: list[Request] = []

    def yes(request: Request) -> Answer:
        got.append(request)
        said = {"access_token": "t", "token": "st=1", "msft:expiry": "2099-01-01T00:00:00Z", "features": []}
        return Answer.of(said)

    with serve_catalogue([]) as services:
        services.server.routes.insert(0, yes)
        yield services, got


def write(folder: Path, tree: dict[str, Any] | str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "recipe.yaml"
    if isinstance(tree, str):
        path.write_text(tree)
    else:
        with path.open("w") as file:
            YAML(typ="safe").dump(tree, file)
    return path


def refused(path: Path, *overrides: str) -> str:
    """The one line that a recipe is refused with."""
    with pytest.raises(RecipeError) as caught:
        read_recipe(path, overrides)
    (line,) = caught.value.lines
    assert "\n" not in line
    assert line.isprintable()
    assert "PLANTED" not in line
    return line


@pytest.mark.parametrize("name", [*SECRETS, "HOME", "PATH", "LANDWEAVE", "LANDWEAVE_", "landweave_x"])
@pytest.mark.parametrize("form", ["${}", "${{{}}}", "http://evil.example/${}", "http://evil.example/${{{}}}/x"])
def test_no_address_of_a_recipe_holds_a_secret(name: str, form: str, tmp_path: Path) -> None:
    text = form.format(name)
    if name == "LANDWEAVE_MODEL_KEY" and text.startswith("$"):
        return  # may be named: below
    signing = {"url": text, "hosts": ["evil.example"]}
    for tree in (
        {"providers": {"p": {"url": text}}},
        {"providers": {"p": {"url": "https://x.example", "signing": signing}}},
        {"providers": {"p": {"kind": "earthengine", "url": text}}},
        {"labels": [{"kind": "openstreetmap", "pbf": text}]},
        {"captions": {"kind": "llm", "model": "m", "base_url": text}},
    ):
        assert "variable" in refused(write(tmp_path, BASE | tree))
    with pytest.raises(SettingError) as caught:
        interpolate(text, os.environ, where="here")
    assert "PLANTED" not in str(caught.value)


@pytest.mark.parametrize("text", ["http://h/$LANDWEAVE_A", "$LANDWEAVE_A.evil.example", "$LANDWEAVE_A@evil/",
                                  "${LANDWEAVE_A}evil", "$LANDWEAVE_A/$LANDWEAVE_B", "$LANDWEAVE_A:80/",
                                  "$$LANDWEAVE_A", "$", "${", "${}", "$LANDWEAVE_A?x",
                                  "$LANDWEAVE_A\\@evil/"])  # fmt: skip
def test_a_variable_is_the_beginning_or_nothing(text: str, tmp_path: Path) -> None:
    assert "variable" in refused(write(tmp_path, BASE | {"providers": {"p": {"url": text}}}))


def test_a_variable_that_holds_no_address_is_told_by_its_name_alone() -> None:
    with pytest.raises(SettingError, match="LANDWEAVE_MODEL_KEY does not contain") as caught:
        interpolate("$LANDWEAVE_MODEL_KEY/x", os.environ, where="here")
    assert "PLANTED" not in str(caught.value)


def test_what_is_told_is_the_template(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LANDWEAVE_MIRROR", "https://archive.example/PLANTED-path/")
    url = interpolate("$LANDWEAVE_MIRROR/stac", os.environ, where="here")
    assert url == "https://archive.example/PLANTED-path/stac"
    assert shown(f"{url}/search?token=x") == "$LANDWEAVE_MIRROR/stac/search"
    assert shown("https://archive.example/PLANTED-pathology") == "https://archive.example/PLANTED-pathology"


SIGNED = [
    ("earthdata", {}),
    ("copernicus-data-space", {}),
    ("copernicus-data-space", {"alternate": "https"}),
    ("planetary-computer", {}),
    ("usgs", {}),
    ("earth-search", {}),
    ("generic", {}),
]


@pytest.mark.parametrize(("dialect", "more"), SIGNED)
@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.2", "localhost", "[::1]"])
def test_no_login_leaves_for_a_host_that_the_recipe_names(
    dialect: str, more: dict[str, Any], host: str, evil: tuple[Services, list[Request]]
) -> None:
    services, got = evil
    got.clear()
    url = f"http://{host}:{services.port}"
    signing = {"url": url, "hosts": [host.strip("[]")], "region": "eu-1"}
    provider = Provider.model_validate({"url": "https://x.example", "dialect": dialect, "signing": signing, **more})
    with pytest.raises(SettingError, match="is not its own service; if you trust that host, add --allow-host") as found:
        client_of("p", provider)
    assert "PLANTED" not in str(found.value)
    assert not got


@pytest.mark.parametrize("host", ["evil.example", "example", "geoservice.dlr.de.evil.example", "xgeoservice.dlr.de"])
def test_hosts_of_objects_are_the_services_own(host: str) -> None:
    real = {"dlr-eoc": "https://geoservice.dlr.de", "earthdata": "https://urs.earthdata.nasa.gov",
            "planetary-computer": "https://planetarycomputer.microsoft.com/api/sas/v1/token"}  # fmt: skip
    for dialect, url in real.items():
        signing = {"url": url, "hosts": [host]}
        with pytest.raises(SettingError, match="is not its own service"):
            client_of("p", Provider.model_validate({"url": url, "dialect": dialect, "signing": signing}))


@pytest.mark.parametrize(
    "url",
    ["https://ec2-1-2-3-4.compute.amazonaws.com", "https://x.execute-api.eu-1.amazonaws.com", "https://s3.evil.example",
     "https://s3.amazonaws.com.evil.example", "https://my-bucket.s3.amazonaws.com"],
)  # fmt: skip
def test_signatures_go_to_stores_of_aws_alone(url: str) -> None:
    signing = {"url": url, "hosts": ["bucket"], "region": "eu-1"}
    with pytest.raises(SettingError, match="is not its own service"):
        client_of("p", Provider.model_validate({"url": "https://x.example", "signing": signing}))


def test_buckets_that_are_signed_for_are_named() -> None:
    told = {"url": "https://s3.eu-central-1.amazonaws.com", "region": "eu-central-1"}
    with pytest.raises(SettingError, match="list the buckets"):
        client_of("p", Provider.model_validate({"url": "https://x.example", "signing": told}))
    provider = Provider.model_validate({"url": "https://x.example", "signing": told | {"hosts": ["mine"]}})
    signer = client_of("p", provider)._signer
    assert signer is not None
    assert "X-Amz-Signature" in signer.sign("s3://mine/a.tif", fresh=False)[0]
    assert signer.sign("s3://other/a.tif", fresh=False) == ("s3://other/a.tif", {})


def test_whoever_runs_it_may_allow_a_host_and_no_other_port_of_it(
    evil: tuple[Services, list[Request]], monkeypatch: pytest.MonkeyPatch
) -> None:
    services, got = evil
    signing = {"url": services.base_url, "hosts": ["127.0.0.1"]}
    provider = Provider.model_validate({"url": "https://x.example", "dialect": "earthdata", "signing": signing})
    monkeypatch.setenv(permission.HOSTS, "127.0.0.1:1")
    with pytest.raises(SettingError, match="is not its own service"):
        client_of("p", provider)
    monkeypatch.setenv(permission.HOSTS, f"other.example, 127.0.0.1:{services.port}")
    client = client_of("p", provider)
    got.clear()
    client.get_all(f"{services.base_url}/a.tif", 1 << 20)
    assert got[-1].headers["authorization"] == "Bearer t"
    signer = client._signer
    assert signer is not None
    assert signer.sign("http://127.0.0.1:1/a.tif", fresh=False)[1] == {}
    monkeypatch.setenv(permission.HOSTS, "http://x")
    with pytest.raises(SettingError, match="expected 'host' or 'host:port'"):
        client_of("p", provider)


def test_logins_are_not_sent_in_the_clear(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(permission.HOSTS, "mirror.example")
    signing = {"url": "http://mirror.example", "hosts": ["mirror.example"]}
    for dialect in ("earthdata", "planetary-computer", "usgs"):
        with pytest.raises(SettingError, match="https addresses only"):
            client_of("p", Provider.model_validate({"url": "https://x", "dialect": dialect, "signing": signing}))


def test_a_models_key_goes_to_its_home_or_where_whoever_runs_it_says(
    tmp_path: Path, evil: tuple[Services, list[Request]], monkeypatch: pytest.MonkeyPatch
) -> None:
    services, got = evil
    got.clear()
    for name in ("OPENAI_API_KEY", "LANDWEAVE_MODEL_KEY"):
        for url in (f"{services.base_url}/v1", "https://api.openai.com.evil.example/v1", "http://api.openai.com/v1"):
            with pytest.raises(SettingError):
                LlmCaptioner(LlmCaptions(model="m", base_url=url, api_key_variable=name), tmp_path)
    LlmCaptioner(LlmCaptions(model="m", base_url="https://api.openai.com/v1"), tmp_path)
    config = LlmCaptions(model="m", base_url="https://api.openai.com/v1", api_key_variable="LANDWEAVE_MODEL_KEY")
    with pytest.raises(SettingError, match="is not its own service"):
        LlmCaptioner(config, tmp_path)
    monkeypatch.setenv("OPENAI_BASE_URL", f"{services.base_url}/v1")
    LlmCaptioner(LlmCaptions(model="m"), tmp_path)
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:1/v1")
    with pytest.raises(SettingError, match="is not its own service"):
        LlmCaptioner(LlmCaptions(model="m", base_url=f"{services.base_url}/v1"), tmp_path)
    assert not got


@pytest.mark.parametrize("name", [n for n in SECRETS if n not in ("OPENAI_API_KEY", "LANDWEAVE_MODEL_KEY")])
def test_no_other_variable_is_a_models_key(name: str, tmp_path: Path) -> None:
    captions = {"kind": "llm", "model": "m", "api_key_variable": name}
    assert "is not a variable for a language model's key" in refused(write(tmp_path, BASE | {"captions": captions}))


def test_googles_login_goes_to_google_or_to_what_whoever_runs_it_names() -> None:
    for url in ("http://127.0.0.1:9", "https://evil.example"):
        for kind in ("service_account", "application_default", "workload_identity"):
            provider = EarthEngineProvider.model_validate({"kind": "earthengine", "url": url, "credentials": kind})
            with pytest.raises(SettingError, match="is not its own service"):
                settings_of("ee", provider, {})
    engine = EarthEngineProvider(url="http://127.0.0.1:9")
    assert settings_of("ee", engine, {}).credentials == "anonymous"
    with pytest.raises(SettingError, match="is not its own service"):
        settings_of("ee", engine, {"GOOGLE_APPLICATION_CREDENTIALS": "key.json"})
    assert settings_of("ee", engine, {"LANDWEAVE_EARTHENGINE_URL": "http://127.0.0.1:9"}).credentials == "anonymous"


# Files.

AREA = '{"type":"Polygon","coordinates":[[[11,48],[12,48],[12,49],[11,49],[11,48]]]}'


def laid(path: Path, *overrides: str) -> None:
    lay(read_recipe(path, overrides), path.parent / "plan", path.parent / "work")


def test_a_recipe_reads_below_its_folder_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, secret = tmp_path / "a" / "recipes", tmp_path / "secret"
    secret.mkdir()
    (secret / "area.geojson").write_text(AREA)
    (secret / "points.csv").write_text("lon,lat\n11.5,48.5\n")
    (secret / "x.osm.pbf").write_bytes(b"x")
    folder.mkdir(parents=True)
    (folder / "link.geojson").symlink_to(secret / "area.geojson")
    (folder / "folder").symlink_to(secret)
    (folder / "loop.geojson").symlink_to(folder / "loop.geojson")
    os.mkfifo(folder / "fifo.geojson")
    (folder / "zero.geojson").symlink_to("/dev/zero")
    (folder / "dir.geojson").mkdir()
    for name in ("../../secret/area.geojson", "link.geojson", "folder/area.geojson", "x/../../../secret/area.geojson",
                 "../../../../../../../etc/passwd", "loop.geojson", "fifo.geojson", "zero.geojson", "dir.geojson", ".",
                 "..", "no.geojson"):  # fmt: skip
        tree = BASE | {"sampling": {"kind": "uniform", "count": 3, "area": {"file": name}}}
        with pytest.raises(RecipeError) as caught:
            laid(write(folder, tree))
        assert str(tmp_path) not in str(caught.value)
        assert len(caught.value.lines) == 1
    points = BASE | {"sampling": {"kind": "points", "file": "folder/points.csv"}}
    with pytest.raises(RecipeError, match=r"^sampling.file: 'folder/points.csv' is outside .* --allow-path DIR"):
        laid(write(folder, points))
    with pytest.raises(SettingError, match="is outside the recipe's folder"):
        obtain("../../secret/x.osm.pbf", folder, tmp_path / "cache")
    for odd in ("fifo.geojson", "dir.geojson", "zero.geojson"):
        with pytest.raises(BadExtractError):
            obtain(odd, folder, tmp_path / "cache")
    monkeypatch.setenv(permission.PATHS, str(secret))
    laid(write(folder, points))
    assert obtain("../../secret/x.osm.pbf", folder, tmp_path / "cache").read_bytes() == b"x"


@pytest.mark.parametrize(
    "path",
    ["/etc/passwd", "~/x", "file:///etc/passwd", "FILE:///etc/passwd", "ftp://h/x", "vsicurl://x", "C:\\x", "a\0b"],
)
def test_a_path_that_names_the_machine_is_refused(path: str, tmp_path: Path) -> None:
    for tree in (
        {"sampling": {"kind": "uniform", "count": 3, "area": {"file": path}}},
        {"sampling": {"kind": "points", "file": path}},
        {"labels": [{"kind": "openstreetmap", "pbf": path}]},
    ):
        refused(write(tmp_path, BASE | tree))


def test_what_is_set_on_the_command_line_is_ones_own(tmp_path: Path) -> None:
    (tmp_path / "area.geojson").write_text(AREA)
    path = write(tmp_path / "recipes", BASE)
    laid(path, "sampling.area={file: ../area.geojson}")
    tree = BASE | {"description": "x", "sampling": {"kind": "uniform", "count": 3, "area": {"file": "../area.geojson"}}}
    with pytest.raises(RecipeError, match="is outside"):
        laid(write(tmp_path / "other", tree), "description=../area.geojson")


@pytest.mark.slow
def test_the_commands_have_the_switches(tmp_path: Path) -> None:
    """As a user meets them: the line names the option, and with the option it goes on to the next thing."""
    (tmp_path / "area.geojson").write_text(AREA)
    tree = BASE | {"sampling": {"kind": "uniform", "count": 3, "area": {"file": "../area.geojson"}}}
    tree["providers"] = {"p": {"url": "http://127.0.0.1:9", "dialect": "usgs", "retries": 0, "timeout_s": 1,
                               "signing": {"url": "http://127.0.0.1:9"}}}  # fmt: skip
    recipe = write(tmp_path / "recipes", tree)

    def plan(*options: str) -> tuple[int, str]:
        command = [sys.executable, "-m", "pipelines", "plan", str(recipe), str(tmp_path / "out"), *options]
        done = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, timeout=120, check=False)
        assert "Traceback" not in done.stderr
        assert "PLANTED" not in done.stdout + done.stderr
        return done.returncode, done.stderr

    code, said = plan()
    assert code == 1
    assert said.endswith("add --allow-host 127.0.0.1:9 (or set LANDWEAVE_TRUSTED_HOSTS)\n")
    code, said = plan("--allow-host", "127.0.0.1:9")
    assert code == 1
    assert "--allow-path DIR" in said
    assert said.count("\n") == 1
    code, said = plan("--allow-host", "127.0.0.1:9", "--allow-path", str(tmp_path / "no"))
    assert code == 1
    assert "--allow-path: " in said
    code, said = plan("--allow-host", "127.0.0.1:9", "--allow-path", str(tmp_path))
    assert "--allow" not in said


# YAML.


def laughs(levels: int) -> str:
    text = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n"
    return text + "".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, levels))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("text", "word"),
    [
        (laughs(12), "more than 100,000 values"),
        ("m: &m {a: 1}\n" + "".join(f"k{i}: {{<<: [{', '.join(['*m'] * 100)}]}}\n" for i in range(2000)), "100,000"),
        ("a: &a [*a]", "inside"),
        ("a: &a {b: {c: *a}}", "inside"),
        ("a: *b", "no earlier value has the name"),
        ("a: " + "[" * 5000 + "]" * 5000, "32 deep"),
        ("a: " + "{a: " * 3000 + "1" + "}" * 3000, "32 deep"),
        ("a:\n" + "".join(" " * i + "- \n" for i in range(1, 300)), "32 deep"),
        ("\n".join(" " * i + "a:" for i in range(300)), "32 deep"),
        ('name: !!python/object/apply:os.system ["x"]', "tags"),
        ("a: !!python/name:os.system", "tags"),
        ("a: !!int '3'", "tags"),
        ("a: !x y", "tags"),
        ("!!set {a, b}", "tags"),
        ("%YAML 1.1\n---\na: 012\n", "directives"),
        ("%TAG ! tag:x,2000:\n---\na: 1\n", "directives"),
        ("a: 1\n---\nb: 1\n", "second document"),
        ("a: 1\na: 2", "duplicate"),
        ("a: {b: 1, b: 2}", "duplicate"),
        ("seed: " + "9" * 5000, "too large"),
        ("seed: 1e400", "too large"),
        ("seed: -1e400", "too large"),
        ("seed: 18446744073709551616", "too large"),
        ("seed: 0x" + "f" * 40, "too large"),
        ("seed: 010", "leading zeros"),
        ("seed: 0_10", "leading zeros"),
        ("seed: -010", "leading zeros"),
        ("seed: .nan", "read differently"),
        ("seed: -.inf", "read differently"),
        ("seed: 2021-02-30", "not a valid date"),
        ("seed: 0000-01-01", "not a valid date"),
        ('a: "\\e]0;pwned\\a"', "control character"),
        ('"\\e[31m": 1', "control character"),
        ('a: "\\x00"', "control character"),
        ('a: "\\u202e"', "control character"),
        ('a: "\\u009b"', "control character"),
        ('a: "\\ud800"', "control character"),
        ("? [1]\n: 2", "plain word"),
        ("? {a: 1}\n: 2", "plain word"),
        ("k" * 300 + ": 1", "256"),
    ],
)
def test_yaml_has_limits(text: str, word: str) -> None:
    with pytest.raises(LimitedYamlError) as caught:
        read_yaml(text)
    if word == "leading zeros":
        word = "read differently"
    assert word in caught.value.problem
    assert caught.value.problem.isprintable()
    assert len(caught.value.problem) < 400


def test_what_people_write_is_read() -> None:
    text = """
    base: &base { max_cloud: 0.3, when: 2021-06-01, n: 1_000 }
    one: { <<: *base, n: 2 }
    two: [*base, 0x1f, 0o17, -3.5e-2, "010", 'x', on, ~, null, yes, true]
    text: |
      two
      lines, and \tä
    """
    found = read_yaml(text)
    assert found["one"] == {"max_cloud": 0.3, "when": found["base"]["when"], "n": 2}
    assert str(found["base"]["when"]) == "2021-06-01"
    assert found["two"][1:] == [31, 15, -0.035, "010", "x", "on", None, None, "yes", True]
    assert found["text"] == "two\nlines, and \tä\n"
    many = read_yaml("x: &x [1, 2, 3]\ny: [" + ", ".join(["*x"] * (MAX_NODES // 5)) + "]")
    many["y"][0].append(4)
    assert many["x"] == many["y"][1] == [1, 2, 3], "what an alias repeats is a copy"


@pytest.mark.parametrize(
    ("tree", "word"),
    [
        ({"windows": [{"name": "w", "start": "0001-01-01", "end": "0001-01-02"}]}, "windows.0"),
        ({"windows": [{"name": "w", "start": "9999-12-30", "end": "9999-12-31"}]}, "windows.0"),
        ({"windows": [{"name": "w", "start": "99999-06-01", "end": "99999-06-02"}]}, "windows.0"),
        ({"grid": {"size_m": 960, "resolution_m": 1e-300}}, "grid.resolution_m"),
        ({"grid": {"size_m": 960, "resolution_m": 0.01}}, "16,384"),
        ({"grid": {"size_m": 960, "resolutions": {"dem": 1e-9}}}, "0.01 to 100,000"),
        ({"name": "../../x"}, "name"),
        ({"name": "a\nb"}, "name"),
    ],
)
def test_numbers_and_names_have_bounds(tree: dict[str, Any], word: str, tmp_path: Path) -> None:
    path = write(tmp_path, BASE | tree)
    with pytest.raises(RecipeError) as caught:
        read_recipe(path)
    assert all(word in line and line.isprintable() for line in caught.value.lines)


def test_overrides_are_read_within_the_same_limits(tmp_path: Path) -> None:
    path = write(tmp_path, BASE)
    for raw in (
        "seed=1e999",
        "seed=!!int 3",
        "seed=&a [*a]",
        "description=" + "[" * 500,
        "seed=010",
        "a=[",
        "name=[b: {",
    ):
        assert refused(path, raw).startswith("--set ")


def test_a_file_that_is_no_recipe_is_one_line(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo.yaml")
    (tmp_path / "big.yaml").write_bytes(b"#" * 1_000_001)
    for path in (tmp_path / "fifo.yaml", tmp_path / "big.yaml", Path("/dev/zero"), tmp_path, tmp_path / ("n" * 300)):
        refused(path)


def test_an_answer_with_an_error_shows_the_template(
    evil: tuple[Services, list[Request]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LANDWEAVE_MIRROR", "http://127.0.0.1:9/PLANTED")
    provider = Provider(url="$LANDWEAVE_MIRROR/stac", retries=0, timeout_s=1.0)
    client = client_of("p", provider)
    with pytest.raises(AccessError) as caught:
        client.json("GET", interpolate(provider.url, os.environ, where="p"))
    assert "$LANDWEAVE_MIRROR/stac" in str(caught.value)
    assert "PLANTED" not in str(caught.value)


@pytest.mark.parametrize(
    ("sampling", "word"),
    [
        ({"kind": "grid", "spacing_m": 1e-300}, "sampling"),
        ({"kind": "grid", "spacing_m": 1e300}, "sampling"),
        ({"kind": "grid", "spacing_m": 10}, "cells"),
        ({"kind": "grid", "spacing_m": 10, "count": 5}, "cells"),
    ],
)
def test_a_grid_is_not_finer_than_can_be_gone_through(sampling: dict[str, Any], word: str, tmp_path: Path) -> None:
    with pytest.raises((RecipeError, SamplingError), match=word) as caught:
        laid(write(tmp_path, BASE | {"sampling": sampling}))
    assert "\n" not in str(caught.value)


BOMBS = {
    "deep": "[" * 100_000 + "]" * 100_000,
    "collections in one another": '{"type":"GeometryCollection","geometries":[' * 5000 + "]}" * 5000,
    "a number": '{"type":"Polygon","coordinates":[[[%s,0],[1,0],[1,1],[0,0]]]}' % ("9" * 5000),
    "NaN": '{"type":"Polygon","coordinates":[[[NaN,0],[1,0],[1,1],[NaN,0]]]}',
    "halves of characters": '{"type":"\\ud800","coordinates":[]}',
    "odd features": '{"type":"FeatureCollection","features":[null,1,"x",[],{"type":"Feature","geometry":5}]}',
    "no features": '{"type":"FeatureCollection","features":{"a":1},"crs":5}',
    "odd places": '{"type":"FeatureCollection","features":[{"geometry":{"type":"Point","coordinates":[true,%s]}}]}'
    % ("9" * 400),
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_file_beside_the_recipe_is_not_trusted_either(name: str, tmp_path: Path) -> None:
    (tmp_path / "x.geojson").write_text(BOMBS[name])
    for sampling in (
        {"kind": "uniform", "count": 3, "area": {"file": "x.geojson"}},
        {"kind": "points", "file": "x.geojson"},
    ):
        with pytest.raises((RecipeError, SamplingError)) as caught:
            laid(write(tmp_path, BASE | {"sampling": sampling}))
        assert str(caught.value).isprintable()
        assert len(str(caught.value)) < 600


@pytest.mark.parametrize("mark", ["\u200b", "\ue000", "\u2028", "\u00ad", "\U000e0041"])
def test_marks_that_nobody_sees_are_not_repeated(mark: str, tmp_path: Path) -> None:
    refused(write(tmp_path, {**BASE, f"na{mark}me": 1}))
    refused(write(tmp_path, BASE | {"providers": {f"p{mark}": {"url": "http://h"}}, "sources": []}), "sources=[]")


@pytest.mark.parametrize(
    "host", ["169.254.169.254", "169.254.170.2:80", "[fe80::1]", "[::ffff:169.254.169.254]", "[fd00:ec2::254]"]
)
def test_a_recipe_does_not_name_the_machines_own_link(host: str, tmp_path: Path) -> None:
    """There a cloud machine's credentials are, and an extract is kept as it came."""
    url = f"http://{host}/latest/meta-data/iam/security-credentials/"
    for tree in (
        {"providers": {"p": {"url": url}}},
        {"labels": [{"kind": "openstreetmap", "pbf": url}]},
        {"captions": {"kind": "llm", "model": "m", "base_url": url}},
    ):
        assert "own credentials" in refused(write(tmp_path, BASE | tree))
