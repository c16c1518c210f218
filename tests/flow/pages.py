"""The fenced blocks of README.md and docs/*.md: found, and run as a reader of the page would run them.

A block without a language is something printed, not something to run. A comment above a block says what of it a test
cannot run, and why: `<!-- not run: REASON -->` for the whole block, `<!-- lines with "WORD" are not run: REASON -->`.
"""

from __future__ import annotations

import re
import textwrap
from dataclasses import dataclass
from pathlib import Path

CHECKOUT = Path(__file__).parents[2]
PAGES = [CHECKOUT / "README.md", *sorted((CHECKOUT / "docs").glob("*.md"))]
LANGUAGES = ("python", "sh", "yaml", "")
_FENCE = re.compile(
    r"(?P<notes>(?:^ *<!-- [^\n]* -->\n)*)^(?P<indent> *)```(?P<language>\w*)(?: exit=(?P<exit>\d+))?\n"
    r"(?P<body>.*?)^(?P=indent)```$",
    re.MULTILINE | re.DOTALL,
)
_WHOLE = re.compile(r"<!-- not run: (.+?) -->")
_LINES = re.compile(r'<!-- lines with "(.+?)" are not run: (.+?) -->')


@dataclass(frozen=True)
class Block:
    """One fenced block of a page."""

    page: Path
    line: int
    language: str
    body: str
    before: str
    """The text of the page before the block."""
    exit: int
    """Exit status that the page says."""
    whole: str
    """Why no test runs it; '' = a test does."""
    without: dict[str, str]
    """Lines with this word are not run -> why."""

    def __str__(self) -> str:
        return f"{self.page.relative_to(CHECKOUT)}:{self.line}"

    def lines(self) -> list[str]:
        """The commands of a shell block that a test runs; a line that ends in a backslash goes on."""
        joined = [line.strip() for line in self.body.replace("\\\n", " ").splitlines()]
        return [line for line in joined if line and not any(word in line for word in self.without)]


def blocks(page: Path) -> list[Block]:
    """All blocks of a page, in order."""
    text, found = page.read_text(encoding="utf-8"), []
    for match in _FENCE.finditer(text):
        whole = _WHOLE.search(match["notes"])
        found.append(
            Block(
                page=page,
                line=text.count("\n", 0, match.start("indent")) + 1,
                language=match["language"],
                body=textwrap.dedent(match["body"]),
                before=text[: match.start()],
                exit=int(match["exit"] or 0),
                whole=whole[1] if whole else "",
                without=dict(_LINES.findall(match["notes"])),
            )
        )
    return found
