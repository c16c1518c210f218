"""The exception of this package: a sampling section that cannot be fulfilled."""

from __future__ import annotations


class SamplingError(ValueError):
    """Something in the recipe's sampling section, or in a file it names, is wrong; the text is one clear line."""
