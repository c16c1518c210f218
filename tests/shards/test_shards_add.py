"""Modalities, labels and captions are added to a finished dataset: old objects keep their bytes, killed anywhere."""

from __future__ import annotations

import hashlib
import shutil
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import zarr

import landweave
from landweave.check import check
from landweave.documents import documents
from pipelines.shards import AddError, add
from pipelines.shards import publish as commit
from tests.shards.synthetic import Planned, planned

if TYPE_CHECKING:
    from pathlib import Path

COUNTS = (3, 2)


def of(*sources: str, labels: bool = True, **kwargs: Any) -> Planned:
    """The same places with these sensors alone."""
    return planned(COUNTS, sources=sources, size_m=60.0, labels=labels, **kwargs)


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return of("sentinel2").build(tmp_path_factory.mktemp("first") / "data")


@pytest.fixture(scope="module")
def second(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return of("dem", "landsat", labels=False, name="more").build(tmp_path_factory.mktemp("second") / "data")


def sums(folder: Path) -> dict[str, str]:
    files = [p for p in folder.rglob("*") if p.is_file() and ".staging" not in p.parts]
    return {p.relative_to(folder).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


@pytest.fixture
def out(first: Path, tmp_path: Path) -> Path:
    return shutil.copytree(first, tmp_path / "data")


def test_old_objects_keep_their_bytes_and_both_are_read(out: Path, first: Path, second: Path) -> None:
    before, held = sums(out), landweave.open(out)
    added = add(out, str(second))
    after = sums(out)
    changed = {path for path, digest in before.items() if after[path] != digest}
    assert changed == {"landweave.json", "data.zarr/zarr.json", "README.md", "croissant.json", "CITATION.cff"}
    for name, text in documents(landweave.open(out).manifest).items():
        assert (out / name).read_text() == text
    data, old, new = landweave.open(out), landweave.open(first), landweave.open(second)
    assert added.new
    assert added.revision == added.manifest.spec.revision == data.spec.revision == 1
    assert list(data.modalities) == ["sentinel2", "dem", "landsat"]
    assert list(check(data)) == []
    assert [s.id for s in data] == [s.id for s in old]
    root: Any = zarr.open_group(out / "data.zarr", mode="r")
    for sample in data:
        for part, group in ((old, "sentinel2"), (new, "dem"), (new, "landsat")):
            assert sample.present[group] == part.sample(sample.id).present[group]
            for array in data.modalities[group].arrays:
                theirs = part.sample(sample.id).get(array.path)
                np.testing.assert_array_equal(sample.get(array.path), theirs)
                if theirs is not None:
                    row = sample.item["shard"] * data.spec.shard_samples + sample.item["row"]
                    np.testing.assert_array_equal(root[array.path][row], theirs)
        assert sample.captions == old.sample(sample.id).captions + new.sample(sample.id).captions
    assert set(data.statistics) == set(old.statistics) | set(new.statistics)
    assert data.query("dem_count == 1").ids == [s.id for s in new if any(s.present["dem"])]
    assert set(data.ledger["layer"].to_pylist()) >= {"sentinel2", "dem", "landsat"}
    assert len(held.query()) == len(data)  # opened before: goes on with the old catalogue
    assert [s.id for s in held] == [s.id for s in data]
    assert list(held.modalities) == ["sentinel2"]


def test_a_second_addition_and_nothing_new(out: Path, second: Path, tmp_path: Path) -> None:
    add(out, str(second))
    before = sums(out)
    again = add(out, str(second))
    assert (again.revision, again.new) == (1, False)
    assert sums(out) == before
    third = of("sentinel1", "dem", labels=False).build(tmp_path / "third")
    add(out, str(third))
    data = landweave.open(out)
    assert data.spec.revision == 2
    assert add(out, str(second)).revision == 1, "what an earlier revision holds is named as that"
    assert list(check(data)) == []
    assert list(data.modalities) == ["sentinel2", "dem", "landsat", "sentinel1"]
    target = out / "shards/00000.r1.json"
    target.write_bytes(target.read_bytes().replace(b'"shard": 0', b'"shard": 9'))
    assert any("shards/00000.r1.json" in fault for fault in check(landweave.open(out)))


def test_what_does_not_fit_is_refused_in_one_line(out: Path, tmp_path: Path) -> None:
    other = planned((3, 2, 1), sources=("dem",), size_m=60.0).build(tmp_path / "other")
    with pytest.raises(AddError, match="shards is 2 in the dataset and 3 in the one to add: build it from"):
        add(out, str(other))
    with pytest.raises(AddError, match="no dataset here"):
        add(out, str(tmp_path / "nowhere"))


def test_layers_and_captions_that_are_there_already_are_not_added_again(out: Path, tmp_path: Path) -> None:
    again = of("sentinel2", name="again").build(tmp_path / "again")
    before = sums(out)
    with pytest.raises(AddError, match=r"nothing to add: everything in again .* is already in "):
        add(out, str(again))
    assert sums(out) == before


@pytest.mark.slow
def test_killed_anywhere_it_is_the_old_or_the_new(
    first: Path, second: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = shutil.copytree(first, tmp_path / "whole")
    add(whole, str(second))
    move, left, kills, seen = commit.move_durably, [0], 0, set()

    def dying(aside: Path, target: Path) -> None:
        left[0] -= 1
        if left[0] == 0:
            raise KeyboardInterrupt
        move(aside, target)

    monkeypatch.setattr(commit, "move_durably", dying)
    monkeypatch.setattr("pipelines.shards.addition.move_durably", dying)
    add(shutil.copytree(first, tmp_path / "counted"), str(second))
    steps = -left[0]
    for step in [*range(1, steps - 1, 5), steps - 1, steps]:
        out, left[0] = shutil.copytree(first, tmp_path / f"killed-{step}"), step
        with pytest.raises(KeyboardInterrupt):
            add(out, str(second))
        data = landweave.open(out)
        seen.add(data.spec.revision)
        assert list(check(data)) == []
        again = add(out, str(second))
        assert again.new == (data.spec.revision == 0)
        assert sums(out) == sums(whole), step
        shutil.rmtree(out)
        kills += 1
    assert seen == {0, 1}
    assert kills > 5


def test_damage_to_what_is_added_is_found_before(out: Path, second: Path, tmp_path: Path) -> None:
    more = shutil.copytree(second, tmp_path / "more")
    victim = more / "data.zarr/dem/elevation/c/0/0/0/0"
    raw = bytearray(victim.read_bytes())
    raw[7] ^= 1
    victim.write_bytes(raw)
    with pytest.raises(AddError, match="dem/elevation/c/0/0/0/0 differs from its checksum"):
        add(out, str(more))
    assert landweave.open(out).spec.revision == 0
