"""A hook of mkdocs: links to notebooks lead to their pages; links to other files outside docs/ become plain words."""

from __future__ import annotations

import re
from typing import Any

_NOTEBOOK = re.compile(r"\]\(\.\./notebooks/(\w+)\.ipynb\)")
_OUTSIDE = re.compile(r"\[([^\]]+)\]\((?:\.\./[^)]*|[\w./-]+\.(?:json|py)(?:#[^)]*)?)\)")


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Called by mkdocs for each page."""
    return _OUTSIDE.sub(r"\1", _NOTEBOOK.sub(r"](notebooks/\1.md)", markdown))
