"""Makes text from data safe to show: it cannot move a cursor, hide or reorder words, or start a line or a tag.

Names, captions, tags and addresses of a dataset are untrusted text. All text for a terminal, a log, a picture or a card
passes through this module.
"""

from __future__ import annotations

import html
import re
import unicodedata


def printable(text: object, *, lines: bool = False) -> str:
    """The text with each unprintable character replaced by its escape: ESC becomes the characters backslash, x, 1, b.

    Escaped are control characters (C0, DEL, C1), formats (bidirectional marks and overrides, zero-width ones, tags),
    line separators, surrogates and code points without a meaning. Blanks of any width become a plain blank.

    Args:
        text: what is to be shown.
        lines: line feeds and tabs stay.
    """
    words = str(text)
    if words.isprintable():
        return words
    return "".join(c if c.isprintable() or (lines and c in "\n\t") else _escape(c) for c in words)


def _escape(character: str) -> str:
    if unicodedata.category(character) == "Zs":
        return " "
    return character.encode("unicode_escape", "surrogatepass").decode("ascii")


_MARKS = str.maketrans({c: f"\\{c}" for c in "\\`*_{}[]()#+!|~"})


def markdown(text: object) -> str:
    """The text escaped for Markdown: no part of it becomes a tag, link, picture, heading, list or table."""
    lines = [html.escape(printable(line), quote=False).translate(_MARKS).strip() for line in str(text).splitlines()]
    return "\n".join(re.sub("^([0-9]*)([-=.)])", r"\1\\\2", line) for line in lines)
