"""Texts of a dataset in an object store: those of a local disk, gone on with on another machine after a loss."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

import pytest

import landweave
from landweave.check import check
from pipelines.engines import Engine
from pipelines.jobs import add_text_sets, withdraw_text_set
from pipelines.shards import desk_of
from pipelines.shards.store import DatasetStore
from tests.shards import synthetic
from tests.shards.test_shards_store import objects, server, url
from tests.texts.conftest import COUNTS, SOURCES, recipe_file, words

if TYPE_CHECKING:
    from pathlib import Path

    from testbed.llm import LanguageModel

__all__ = ["server", "url"]


@pytest.mark.slow
def test_texts_in_a_store_are_those_of_a_local_disk(
    url: str, tmp_path: Path, model: LanguageModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = recipe_file(tmp_path, words())
    plan = synthetic.planned(COUNTS, sources=SOURCES)
    local = plan.build(tmp_path / "local")
    assert add_text_sets(file, local, Engine())
    asked = len(model.requests)
    desk = plan.build(desk_of(url))
    put, kept = DatasetStore.put, []

    def cut(self: DatasetStore, path: str, *content: Any) -> None:
        """The store stops answering after four answers were kept."""
        if "answers/" in path:
            if len(kept) == 4:
                raise OSError("cut off")
            kept.append(path)
        put(self, path, *content)

    with monkeypatch.context() as broken:
        broken.setattr(DatasetStore, "put", cut)
        with pytest.raises(Exception, match=r"cut off|failed"):
            add_text_sets(file, desk, Engine())
    assert "landweave.json" in objects(url)
    shutil.rmtree(desk)  # the machine is gone: another one goes on with what is in the store
    model.requests.clear()
    assert add_text_sets(file, desk_of(url), Engine())
    assert len(model.requests) == asked - 4
    files = {p.relative_to(local).as_posix(): p.read_bytes() for p in local.rglob("*") if p.is_file()}
    assert objects(url) == {path: raw for path, raw in files.items() if not path.startswith((".", "plan"))}
    assert not [path for path in DatasetStore(url).sizes(".work") if "texts-" in path]
    data = landweave.open(url)
    assert list(check(data)) == []
    assert list(data.text_sets) == ["words"]
    assert withdraw_text_set(desk_of(url), "words") == 2
    assert list(landweave.open(url).text_sets) == []
