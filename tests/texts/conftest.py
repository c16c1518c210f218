"""A finished dataset of nine samples, and a language model on loopback."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from pipelines.captions.prompts import shipped_prompt
from pipelines.recipes import RecipeFile
from pipelines.shards import address_of
from pipelines.shards.stored import Stored
from pipelines.texts.job import FOLDER, TextJob
from pipelines.texts.parts import Part
from pipelines.texts.worker import TextWorker
from schemas.recipe import Recipe
from schemas.text_sets import LlmTexts
from testbed.llm import LanguageModel, serve_language_model
from tests.shards import synthetic

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

KEY = "sk-very-secret-4711"
COUNTS = (4, 3, 2)
SOURCES = ("sentinel2", "dem")


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """To be read, not changed. Row 3 of the first shard is refused: eight samples."""
    return synthetic.planned(COUNTS, sources=SOURCES).build(tmp_path_factory.mktemp("texts") / "data")


@pytest.fixture
def model(monkeypatch: pytest.MonkeyPatch) -> Iterator[LanguageModel]:
    with serve_language_model() as served:
        monkeypatch.setenv("OPENAI_BASE_URL", served.base_url)
        monkeypatch.setenv("OPENAI_API_KEY", KEY)
        yield served


def recipe_file(folder: Path, *texts: dict[str, Any]) -> RecipeFile:
    """The dataset's recipe with sets of texts."""
    said = synthetic.recipe(sources=SOURCES, samples=4).model_dump(mode="json") | {"texts": list(texts)}
    return RecipeFile(recipe=Recipe.model_validate(said), folder=folder)


def words(**changes: Any) -> dict[str, Any]:
    """A set by a model."""
    return {"name": "words", "kind": "llm", "model": "m", **changes}


def parts(out: Path, **changes: Any) -> list[Part]:
    """What the pass makes of each shard, without an engine; answers are kept in the dataset's work folder."""
    job = TextJob(entry=LlmTexts(**words(**changes)), prompt=shipped_prompt(changes.get("prompt", "facts-2")))
    folder = out / f"{FOLDER}{job.key}"
    job.write(folder)
    worker, stored = TextWorker(folder), Stored(address_of(out))
    found = []
    for shard in stored.shards:
        worker.build(shard)
        found.append(Part.of_bytes((folder / job.part_file(stored, shard)).read_bytes()))
    return found
