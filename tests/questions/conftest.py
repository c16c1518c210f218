"""One dataset with questions for all tests of this folder."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.questions.question_worlds import build

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="session")
def asked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished dataset with questions about every sample."""
    return build(tmp_path_factory.mktemp("asked") / "data")
