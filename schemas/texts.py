"""The `captions` kinds that take texts as they stand in a file."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from schemas.primitives import RelativePath
from schemas.sampling import Column
from schemas.strict import Strict

MOST_TEXT_BYTES = 65_536
"""Longest text, bytes of UTF-8."""
MOST_TEXTS = 64
"""Most texts of one sample."""


class ColumnCaptions(Strict):
    """Texts of a column of the file that the samples come from, as they stand there: nothing checks what they say."""

    kind: Literal["column"] = "column"
    column: Column = Field(
        description="column of sampling.file or sampling.from.file: a text, or (Parquet, GeoJSON) a list of texts"
    )

    @property
    def facts_from(self) -> None:
        """No facts are needed."""
        return

    @property
    def source(self) -> str:
        """What the catalogue says where a text comes from."""
        return f"column {self.column}"


class FileCaptions(Strict):
    """Texts of a file by sample id, as they stand there: nothing checks what they say."""

    kind: Literal["file"] = "file"
    file: RelativePath = Field(
        description="path relative to the recipe: .jsonl (one object per line), .csv or .parquet; a sample may have "
        "several rows"
    )
    id: Column = Field(default="sample_id", description="column (key of the object) that names the sample")
    column: Column = Field(default="text", description="column that holds a text, or (not in CSV) a list of texts")

    @model_validator(mode="after")
    def _suffix(self) -> Self:
        if not self.file.lower().endswith((".jsonl", ".csv", ".parquet")):
            raise ValueError(f"captions.file: expected a name in .jsonl, .csv or .parquet, found {self.file!r}")
        return self

    @property
    def facts_from(self) -> None:
        """No facts are needed."""
        return

    @property
    def source(self) -> str:
        """What the catalogue says where a text comes from."""
        return f"{self.file}, {self.column}"


GivenCaptions = ColumnCaptions | FileCaptions
"""Captions whose text comes from a file."""
