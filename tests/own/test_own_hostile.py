"""A catalogue beside the recipe opens nothing but regular files below its own folder, whatever its items say."""

from __future__ import annotations

import json
import os
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipelines.access.archives import Archives
from pipelines.access.chips import Chip, ChipRequest
from pipelines.access.errors import AccessError, ItemRefused, SettingError
from pipelines.access.http.address import joined, parsed
from pipelines.access.http.client import Client
from pipelines.access.http.folder import RECIPE_FOLDER, FolderClient, address_of
from pipelines.recipes import RecipeError, read_recipe
from pipelines.sources import open_source
from schemas.outcome import Reason
from schemas.place import BBox
from schemas.provider import Provider
from testbed.services import serve_catalogue
from tests.own.photos import place, write
from tests.own.test_own_images import catalogue, recipe_of, run


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recipe's folder: photos/ with an image, links and a pipe in it, and a secret image beside it."""
    folder = tmp_path_factory.mktemp("own")
    write(folder / "photos" / "a.tif")
    write(folder / "photos" / "in" / "a.tif")
    write(folder / "secret.tif")
    (folder / "photos" / "link.tif").symlink_to(folder / "secret.tif")
    (folder / "photos" / "up").symlink_to(folder)
    (folder / "photos" / "near.tif").symlink_to("a.tif")
    os.mkfifo(folder / "photos" / "pipe.tif")
    return folder


OUTSIDE = [
    "../secret.tif", "./in/../../secret.tif", "%2e%2e/secret.tif", "..%2Fsecret.tif", "in/%2e%2e/%2e%2e/secret.tif",
    "link.tif", "near.tif", "up/secret.tif", "up/photos/a.tif", "pipe.tif", "in", "in/", "", "a.tif/x", "a.tif%00",
    "//secret.tif", "/secret.tif", "/mine/../secret.tif", "x" * 300 + ".tif", "%2Fetc%2Fpasswd", "./%2e/a.tif",
]  # fmt: skip


@pytest.mark.parametrize("href", OUTSIDE)
def test_an_address_that_leads_out_is_not_opened(href: str, world: Path) -> None:
    client = FolderClient("mine", world / "photos")
    with pytest.raises(AccessError) as caught:
        client.get_all(joined(parsed(address_of("mine", "photos/items.parquet")), href), 1 << 24)
    assert caught.value.reason in (Reason.DENIED, Reason.NOT_FOUND)
    assert str(world) not in str(caught.value)


PARTS = ["..", ".", "", "in", "up", "link.tif", "a.tif", "%2e%2e", "photos", "secret.tif", "~"]


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.sampled_from(PARTS)))
def test_whatever_the_path_only_files_of_the_folder_are_read(world: Path, parts: list[str]) -> None:
    inside = {(world / "photos" / p).read_bytes() for p in ("a.tif", "in/a.tif")}
    client = FolderClient("mine", world / "photos")
    try:
        got = client.get_all(joined(parsed(address_of("mine", "photos/items.parquet")), "/".join(parts)), 1 << 24)
    except AccessError:
        return
    assert got in inside
    assert parts[-1] == "a.tif"
    assert not {"up", "link.tif"} & set(parts) or ".." in parts


@pytest.mark.parametrize(
    "href",
    [
        "file:///etc/passwd", "/etc/passwd", "../secret.tif", "link.tif", "http://127.0.0.1:9/a.tif",
        "https://example.org/a.tif", "s3://bucket/a.tif", "http://recipe.invalid/other/a.tif", "\x1b[31ma.tif",
        "earthengine:X/Y", "/vsicurl/http://127.0.0.1/a.tif", "GTIFF_DIR:1:a.tif", "a.tif?x=1", "ftp://x/a.tif",
    ],
)  # fmt: skip
def test_an_item_that_names_something_else_is_refused(href: str, world: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(RECIPE_FOLDER, str(world))
    made = catalogue(world / "photos" / "in", "items.json")
    whole = json.loads(made.read_text())
    whole["features"][0]["assets"]["image"]["href"] = href
    (world / "photos" / "evil.json").write_text(json.dumps(whole))
    recipe = recipe_of(world, "photos/evil.json", "uint8", 3)
    (entry,) = recipe.sources
    with Archives(recipe.providers) as archives:
        (item,) = archives.search("mine", "photos", [BBox(2.0, 48.0, 3.0, 49.5)], None)
        try:
            scene = open_source(entry).parse(item, "mine", archives.providers["mine"])
            hrefs = tuple({asset.href for asset in scene.assets.values()})
            request = ChipRequest(hrefs=hrefs, bands=(1,), geobox=place().geobox, kernel="nearest")
            (got,) = archives.reader("mine").read_chips([request])
        except ItemRefused as refused:
            got = refused  # type: ignore[assignment]
    if href == "a.tif?x=1":
        assert isinstance(got, Chip)  # the query is no part of a file's name
        return
    assert isinstance(got, AccessError | ItemRefused), got
    assert str(world) not in str(got)
    assert "\x1b" not in str(got)


def test_another_archives_item_reaches_no_file_beside_the_recipe(world: Path) -> None:
    """Its address is no secret: what it stands for is read by the catalogue's own client alone."""
    with pytest.raises(AccessError) as caught:
        Client(retries=0).get_range(address_of("mine", "photos/a.tif"), 0, 10)
    assert caught.value.reason is Reason.UNAVAILABLE


@pytest.mark.parametrize(
    ("change", "reason"),
    [("gone", Reason.NOT_FOUND), ("cut", Reason.CORRUPT), ("moved", Reason.WRONG_GRID), ("text", Reason.CORRUPT)],
)
def test_a_file_that_changed_after_cataloguing_is_never_read_as_empty(
    change: str, reason: Reason, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(RECIPE_FOLDER, str(tmp_path))
    path = write(tmp_path / "photos" / "a.tif")
    catalogue(tmp_path / "photos")
    if change == "gone":
        path.unlink()
    elif change == "moved":
        write(path, "jpeg-cog", crs="EPSG:25831")
    else:
        path.write_bytes(path.read_bytes()[:-12_000] if change == "cut" else b"no image any more")
    recipe = recipe_of(tmp_path, "photos/items.parquet", "uint8", 3)
    (entry,) = recipe.sources
    with Archives(recipe.providers) as archives:
        (item,) = archives.search("mine", "photos", [BBox(2.0, 48.0, 3.0, 49.5)], None)
        asset = open_source(entry).parse(item, "mine", archives.providers["mine"]).assets["b1"]
        request = ChipRequest(
            hrefs=(asset.href,), bands=(1,), geobox=place().geobox, kernel="nearest", epsgs=(2154,),
            grids=((asset.shape, asset.transform),),
        )  # fmt: skip
        (got,) = archives.reader("mine").read_chips([request])
    assert isinstance(got, AccessError), got
    assert got.reason is reason
    assert "provider://mine/a.tif" in str(got)


def test_a_file_that_changes_while_it_is_read_is_not_mixed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(RECIPE_FOLDER, str(tmp_path))
    path = write(tmp_path / "photos" / "a.tif", "strips")
    catalogue(tmp_path / "photos")
    with Archives({"mine": Provider(url="photos/items.parquet")}) as archives:
        href = address_of("mine", "photos/a.tif")
        first = archives.client("mine").get_range(href, 0, 64)
        os.utime(path, ns=(1, 1))
        second = archives.client("mine").get_range(href, 0, 64)
    assert first.data == second.data
    assert first.etag != second.etag


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("../items.parquet", "without '..'"), ("photos/../../x.parquet", "without '..'"),
        ("/etc/x.parquet", "relative to the recipe"), ("~/x.parquet", "relative to the recipe"),
        ("photos", "expected the http"), ("photos/a.tif", "expected the http"), ("C:\\\\x.parquet", "relative to"),
        ("file:x.parquet", "relative to the recipe"), ("photos/items.parquet?x=1", "expected the http"),
    ],
)  # fmt: skip
def test_a_url_that_is_no_catalogue_beside_the_recipe_is_one_line(url: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(RecipeError) as caught:
        recipe_of(tmp_path, url, "uint8", 3)
    (line,) = caught.value.lines
    assert said in line
    assert "providers.mine" in line
    assert "line 7" in line


def test_a_login_for_files_beside_the_recipe_is_refused(tmp_path: Path) -> None:
    recipe_of(tmp_path, "photos/items.parquet", "uint8", 3)
    text = (tmp_path / "own.yaml").read_text()
    (tmp_path / "own.yaml").write_text(text.replace('.parquet" }', '.parquet", dialect: usgs }'))
    with pytest.raises(RecipeError, match="remove `signing`"):
        read_recipe(tmp_path / "own.yaml")


def test_a_catalogue_that_is_not_there_or_lies_behind_a_link_is_one_line(tmp_path: Path) -> None:
    recipe_of(tmp_path / "", "photos/items.parquet", "uint8", 3)
    done = run("plan", tmp_path / "own.yaml", tmp_path / "out")
    assert done.exit_code == 1
    assert done.stderr.strip() == (
        "error: provider 'mine': 'photos/items.parquet' does not exist; its path is relative to the recipe"
    )
    away = tmp_path / "away"
    write(away / "photos" / "a.tif")
    catalogue(away / "photos")
    (tmp_path / "inner").mkdir()
    recipe_of(tmp_path / "inner", "photos/items.parquet", "uint8", 3)
    (tmp_path / "inner" / "photos").symlink_to(away / "photos")
    done = run("plan", tmp_path / "inner" / "own.yaml", tmp_path / "out2")
    assert done.exit_code == 1
    assert "outside the recipe's folder" in done.stderr
    assert str(tmp_path) not in done.stderr


def test_workers_that_do_not_know_the_recipes_folder_say_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(RECIPE_FOLDER, raising=False)
    with (
        Archives({"mine": Provider(url="photos/items.parquet")}) as archives,
        pytest.raises(SettingError, match=RECIPE_FOLDER),
    ):
        archives.check()


def test_a_server_that_redirects_out_of_its_folder_is_any_other_server(world: Path) -> None:
    """The same parquet over HTTP: the server decides what is below it; hrefs stay on its host."""
    catalogue(world / "photos" / "in")
    with serve_catalogue([], {"/own/": world / "photos" / "in"}) as services:
        recipe = recipe_of(world, f"{services.base_url}/own/items.parquet", "uint8", 3)
        with Archives(recipe.providers) as archives:
            (item,) = archives.search("mine", "photos", [BBox(2.0, 48.0, 3.0, 49.5)], None)
    assert item["assets"]["image"]["href"] == f"{services.base_url}/own/{quote('a.tif')}"
