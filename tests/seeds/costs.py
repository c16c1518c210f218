"""The last column of the table of docs/datasets.md: what each recipe costs at full size, by `pipelines estimate`.

python -m tests.seeds.costs   # writes the column anew
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import NamedTuple

from pipelines.plan.full_size import full_size
from pipelines.recipes import read_recipe
from sampling import SamplingError

ROOT = Path(__file__).parents[2]
SEEDS, PAGE = ROOT / "recipes" / "seeds", ROOT / "docs" / "datasets.md"
FEW = 1_000
"""Samples where the recipe does not say their number."""
_ROW = re.compile(r"^\| [^|]+ \| `(?P<name>[a-z0-9-]+)` \| .* \| (?P<cost>[^|]*) \|$", re.MULTILINE)
_FIGURES = re.compile(r"([\d.,]+) (thousand|M|GB|TB)")
_UNITS = {"thousand": 1e3, "M": 1e6, "GB": 1e9, "TB": 1e12}


class Cost(NamedTuple):
    """Figures of a recipe: the number of samples, and whether the recipe says it; requests, bytes read and stored."""

    samples: int
    known: bool
    requests: float
    read: float
    stored: float

    def words(self) -> str:
        """The cell."""
        requests = _short(self.requests, "thousand", "M")
        read, stored = (_short(n, "GB", "TB") for n in (self.read, self.stored))
        head = f"{self.samples:,}: " if self.known else f"each {FEW:,}: "
        return f"{head}{requests} requests, {read} read, {stored} of pixels"


def cost_of(name: str) -> Cost:
    """Figures of recipes/seeds/NAME.yaml."""
    file = read_recipe(SEEDS / f"{name}.yaml")
    try:
        found, known = full_size(file), True
    except SamplingError:
        found, known = full_size(file, FEW), False
    return Cost(found.samples, known, found.total("requests"), found.total("bytes"), found.stored_bytes)


def cells() -> dict[str, str]:
    """Recipe -> its cell on the page."""
    return {row["name"]: row["cost"] for row in _ROW.finditer(PAGE.read_text(encoding="utf-8"))}


def figures(cell: str) -> list[float]:
    """Requests, bytes read, bytes stored, as a cell has them."""
    return [float(number.replace(",", "")) * _UNITS[unit] for number, unit in _FIGURES.findall(cell)]


def _short(number: float, small: str, large: str) -> str:
    unit = large if number >= _UNITS[large] else small
    return f"{float(f'{number / _UNITS[unit]:.2g}'):,.10g} {unit}"


def main() -> int:
    text = PAGE.read_text(encoding="utf-8")
    for name in cells():
        words = cost_of(name).words()
        text = _ROW.sub(
            lambda row, name=name, words=words: (
                row[0][: row.start("cost") - row.start()] + words + " |" if row["name"] == name else row[0]
            ),
            text,
        )
    PAGE.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
