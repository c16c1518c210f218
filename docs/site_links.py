"""A hook of mkdocs: links to files outside docs/ become plain words, since the site does not hold them."""

from __future__ import annotations

import re
from typing import Any

_OUTSIDE = re.compile(r"\[([^\]]+)\]\((?:\.\./[^)]*|[\w./-]+\.(?:json|py)(?:#[^)]*)?)\)")


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Called by mkdocs for each page."""
    return _OUTSIDE.sub(r"\1", markdown)
