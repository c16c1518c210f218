"""The tests themselves: each checks something, none depends on a fast machine or a free port, and folders mirror."""

from __future__ import annotations

import ast
import re
import tomllib
from collections import Counter
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[1]
TESTS = CHECKOUT / "tests"
PRODUCT = ("landweave", "pipelines", "pipelines/access")
TREES = {path.relative_to(CHECKOUT): ast.parse(path.read_text()) for path in sorted(TESTS.rglob("*.py"))}
CLOCKS = {"monotonic", "perf_counter", "time", "monotonic_ns", "perf_counter_ns", "time_ns"}
"""Functions of the module `time` that a busy machine makes larger."""
CHECKS = re.compile(r"(raises|fail|warns|validate|assert_\w+|check_credentials)$")
"""Calls that fail where something is wrong: of pytest, numpy, schemas; and ours that refuse a recipe."""

Function = ast.FunctionDef | ast.AsyncFunctionDef


def functions() -> dict[str, list[Function]]:
    """Every function of the tests, by name."""
    found: dict[str, list[Function]] = {}
    for tree in TREES.values():
        for node in ast.walk(tree):
            if isinstance(node, Function):
                found.setdefault(node.name, []).append(node)
    return found


def called(node: ast.AST) -> str:
    """Name of the function that a call calls; '' for everything else."""
    if not isinstance(node, ast.Call):
        return ""
    return node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")


def checks(function: Function, known: dict[str, list[Function]], through: tuple[str, ...] = ()) -> bool:
    """Whether a function asserts something, by itself or through another function of the tests."""
    for node in ast.walk(function):
        name = called(node)
        if isinstance(node, ast.Assert) or (name and CHECKS.match(name)):
            return True
        if name in known and name not in through and any(checks(f, known, (*through, name)) for f in known[name]):
            return True
    return False


def bounds_of_clocks(tree: ast.AST) -> list[int]:
    """Lines that assert that less than some time went by."""
    lines = []
    for claim in (n for n in ast.walk(tree) if isinstance(n, ast.Assert)):
        for compared in (n for n in ast.walk(claim.test) if isinstance(n, ast.Compare)):
            sides = [compared.left, *compared.comparators]
            for left, operator, right in zip(sides, compared.ops, sides[1:], strict=False):
                small = left if isinstance(operator, ast.Lt | ast.LtE) else right
                if not isinstance(operator, ast.Lt | ast.LtE | ast.Gt | ast.GtE):
                    continue
                if any(called(n) in CLOCKS for n in ast.walk(small)):
                    lines.append(claim.lineno)
    return lines


def fixed_ports(tree: ast.AST) -> list[int]:
    """Lines that start a server on a port that is written in the code; port 0 lets the system choose one."""
    lines = []
    for call in (n for n in ast.walk(tree) if called(n) in ("bind", "serve", "HTTPServer", "ThreadingHTTPServer")):
        assert isinstance(call, ast.Call)
        places = [*call.args, *(k.value for k in call.keywords if k.arg == "port")]
        numbers = [n for place in places for n in ([*place.elts[1:2]] if isinstance(place, ast.Tuple) else [place])]
        if any(isinstance(n, ast.Constant) and type(n.value) is int and n.value > 0 for n in numbers):
            lines.append(call.lineno)
    return lines


@pytest.mark.slow
def test_every_test_checks_something() -> None:
    known = functions()
    tests = [f for name, named in known.items() if name.startswith("test_") for f in named]
    assert len(tests) > 1000
    assert [f.name for f in tests if not checks(f, known)] == []


def test_no_test_depends_on_a_fast_machine_or_a_free_port() -> None:
    assert {str(p): found for p, tree in TREES.items() if (found := bounds_of_clocks(tree))} == {}
    assert {str(p): found for p, tree in TREES.items() if (found := fixed_ports(tree))} == {}


@pytest.mark.parametrize(
    ("code", "sees"),
    [
        ("assert time.monotonic() - began < 3", bounds_of_clocks),
        ("assert 3 >= monotonic() - began", bounds_of_clocks),
        ("socket.bind(('127.0.0.1', 8080))", fixed_ports),
        ("serve(folder, port=8080)", fixed_ports),
    ],
)
def test_what_is_looked_for_is_found(code: str, sees: object) -> None:
    assert callable(sees)
    assert sees(ast.parse(code)) == [1]
    assert sees(ast.parse(code.replace("8080", "0").replace("<", ">").replace(">=", "<="))) == []


def test_every_test_has_a_timeout() -> None:
    settings = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["tool"]["pytest"]["ini_options"]
    assert 0 < settings["timeout"] <= 600
    without = [
        str(path)
        for path, tree in TREES.items()
        for node in ast.walk(tree)
        if called(node) == "timeout" and isinstance(node, ast.Call) and _never(node)
    ]
    assert without == []


def _never(call: ast.Call) -> bool:
    return any(isinstance(v, ast.Constant) and not v.value for v in [*call.args, *(k.value for k in call.keywords)])


def test_the_folders_are_those_of_the_product_or_named_in_the_architecture() -> None:
    row = next(x for x in (CHECKOUT / "ARCHITECTURE.md").read_text().splitlines() if x.startswith("| `tests/` |"))
    own = set(re.findall(r"`(\w+)/`", row)) - {"tests"}
    product = {p.stem for inside in (".", *PRODUCT) for p in (CHECKOUT / inside).iterdir()}
    folders = {path.parts[1] for path in TREES if len(path.parts) > 2}
    assert own <= folders
    assert folders - own <= product
    rooms = {path.parts[2] for path in TREES if path.parts[1] == "access" and len(path.parts) > 3}
    assert rooms
    assert rooms <= {p.stem for p in (CHECKOUT / "pipelines" / "access").iterdir()}


def test_names_of_files_are_unique() -> None:
    names = Counter(path.name for path in TREES if path.name != "conftest.py")
    assert [name for name, count in names.items() if count > 1] == []
