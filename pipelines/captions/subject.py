"""What a text is about: the facts of one sample, where each comes from, and pictures for a model that sees."""

from __future__ import annotations

from base64 import b64encode
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture of one layer, for a vision model."""

    title: str
    """What it shows, in words: 'true colour, 2021-07-04'."""
    legend: dict[str, str]
    """Colour '#rrggbb' -> name of the class or the value; empty where colours are those of the image."""
    png: bytes = field(repr=False)
    """The file."""

    @property
    def url(self) -> str:
        """As a data URL."""
        return f"data:image/png;base64,{b64encode(self.png).decode()}"
