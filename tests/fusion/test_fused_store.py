"""Fused labels of a dataset in an object store: the same objects as on a local disk, gone on with after a kill."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

import landweave
from landweave.check import check
from pipelines.engines import Engine
from pipelines.fusion.families import FusionError
from pipelines.jobs import add_fused
from pipelines.shards import desk_of
from pipelines.shards.store import DatasetStore
from tests.fusion.test_fused_dataset import COUNTS, SOURCES, recipe_file
from tests.shards import synthetic
from tests.shards.test_shards_store import objects, server, url

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["server", "url"]


@pytest.mark.slow
def test_fused_labels_in_a_store_are_those_of_a_local_disk(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = synthetic.planned(COUNTS, sources=SOURCES)
    local = plan.build(tmp_path / "local")
    add_fused(recipe_file(tmp_path), local, Engine())
    desk = plan.build(desk_of(url))
    before = objects(url)
    store, put, kept = DatasetStore(url), DatasetStore.put, []

    def cut(self: DatasetStore, path: str, *content: bytes) -> None:
        """The store stops answering after two shards were compared."""
        if path.startswith("statistics/"):
            if len(kept) == 2:
                raise OSError("cut off")
            kept.append(path)
        put(self, path, *content)

    with monkeypatch.context() as broken:
        broken.setattr(DatasetStore, "put", cut)
        with pytest.raises((OSError, FusionError)):
            add_fused(recipe_file(tmp_path), desk, Engine())
    assert objects(url) == before
    assert len([path for path in store.sizes(".work") if path.endswith(".npz")]) == 2
    shutil.rmtree(desk)  # the machine is gone: another one goes on with what is in the store
    add_fused(recipe_file(tmp_path), desk_of(url), Engine())
    files = {p.relative_to(local).as_posix(): p.read_bytes() for p in local.rglob("*") if p.is_file()}
    assert objects(url) == {path: raw for path, raw in files.items() if not path.startswith((".", "plan"))}
    assert not [path for path in store.sizes(".work") if "fused-" in path]
    data = landweave.open(url)
    assert list(check(data)) == []
    assert data.recipe["labels"][-1]["kind"] == "fused"
    assert (data[0]["fused/confidence"] == landweave.open(local)[0]["fused/confidence"]).all()
