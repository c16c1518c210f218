"""What texts can fail with."""

from __future__ import annotations


class TextsError(RuntimeError):
    """Texts cannot be made; one clear line."""
