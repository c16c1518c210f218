"""docs/providers.md: each rule names a test that is there, and every dialect has its login told."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import get_args

import pytest

from schemas.provider import Dialect

CHECKOUT = Path(__file__).parents[2]
PAGE = (CHECKOUT / "docs" / "providers.md").read_text()
RULES = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in PAGE.partition("## Rules")[2].splitlines()
    if line.startswith("| ") and "`tests/" in line
]


def test_the_table_is_there() -> None:
    assert len(RULES) >= 35
    assert all(len(row) == 6 for row in RULES)
    assert {row[4] for row in RULES} == {"answer", "pixels", "documentation", "table"}


@pytest.mark.parametrize("row", RULES, ids=lambda row: row[5].rpartition("::")[2][:60])
def test_each_row_names_a_test_that_is_there(row: list[str]) -> None:
    match = re.fullmatch(r"`(tests/[\w/]+\.py)::(test_\w+)`", row[5])
    assert match is not None, row[5]
    tree = ast.parse((CHECKOUT / match.group(1)).read_text())
    made = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
    assert match.group(2) in made
    text = (CHECKOUT / match.group(1)).read_text()
    wants_real = row[4] in ("answer", "pixels")
    assert wants_real == _uses_real(text, match.group(2)), "a row of a real answer names a test on one, and only such"


def _uses_real(text: str, name: str) -> bool:
    """Whether a test reads the folder of real data."""
    for node in ast.parse(text).body:
        if isinstance(node, ast.FunctionDef) and node.name == name:
            return "real" in {a.arg for a in node.args.args}
    return False


def test_every_dialect_has_its_login_told() -> None:
    logins = PAGE.partition("## Logins")[2].partition("## Rules")[0]
    assert all(f"`{dialect}`" in logins for dialect in get_args(Dialect))


def test_every_variable_that_is_asked_for_is_told() -> None:
    code = (CHECKOUT / "pipelines" / "access" / "logins" / "required.py").read_text()
    names = set(
        re.findall(
            r'"((?:DLR_EOC|CDSE|EARTHDATA|AWS)_(?:[A-Z0-9_]*)(?:USER|USERNAME|PASSWORD|KEY|KEY_ID|TOKEN))"', code
        )
    )
    assert len(names) >= 10
    assert not {name for name in names if f"`{name}`" not in PAGE}
