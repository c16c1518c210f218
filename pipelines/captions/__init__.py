"""Captions: sentences from a template or a model, both checked against facts of the stack; or texts of a file."""

from __future__ import annotations

from typing import TYPE_CHECKING, assert_never

from schemas.captions import LlmCaptions, TemplateCaptions
from schemas.texts import ColumnCaptions, FileCaptions

if TYPE_CHECKING:
    from pathlib import Path

    from pipelines.captions.protocol import Captioner
    from schemas.captions import Captions


def open_captioner(captions: Captions, cache_dir: Path, workers: int = 1) -> Captioner:
    """The captioner of the recipe's `captions`; a model's answers are kept in `cache_dir`, and its limits are
    divided among `workers` processes.

    Raises:
        pipelines.access.http.client.SettingError: an endpoint or key is missing from the environment; one clear line.
    """
    match captions:
        case TemplateCaptions():
            from pipelines.captions.template import TemplateCaptioner

            return TemplateCaptioner(captions)
        case LlmCaptions():
            from pipelines.captions.llm import LlmCaptioner

            return LlmCaptioner(captions, cache_dir, workers=workers)
        case ColumnCaptions() | FileCaptions():
            from pipelines.captions.given import GivenCaptioner

            return GivenCaptioner(captions)
        case _:
            assert_never(captions)
