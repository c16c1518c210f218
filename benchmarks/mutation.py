"""`python -m benchmarks.mutation`: how many small faults in the code the fast tests detect.

A seeded sample of mutants of each module (by cosmic-ray: another operator, another number, a negated condition, a
deleted `break`) is tried one by one in a copy of the checkout, with the tests named here. Mutants that cannot change
behaviour are left out: type annotations, imports for type checkers and `slots` of records. The rest counts as it is,
equivalent mutants included, so 100 % is out of reach. `make mutate` installs what this needs.
"""

from __future__ import annotations

import argparse
import ast
import json
import random
import resource
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("deploy", "docs", "landweave", "pipelines", "recipes", "sampling", "schemas", "testbed", "tests")
GOAL = 0.9
SLOWEST = 3.0
"""A mutant counts as caught where its tests take this many times as long as on unchanged code, and ten seconds."""

MEMORY_GIB = 8
"""Address space of each process of the tests, libraries included: a mutant that grows without end stops there."""

MODULES: dict[str, str] = {
    "landweave/catalogue.py": "tests/landweave/test_landweave_query.py tests/landweave/test_landweave_catalogue.py",
    "landweave/codec.py": "tests/landweave/test_landweave_codec.py tests/landweave/test_landweave_damage.py",
    "landweave/query.py": "tests/landweave/test_landweave_query.py",
    "landweave/stream.py": "tests/landweave/test_landweave_stream.py tests/landweave/test_landweave_epochs.py",
    "landweave/view.py": "tests/landweave/test_landweave_view.py",
    "pipelines/access/rasters/warp.py": "tests/access/rasters/test_cog_warp.py tests/access/rasters/test_cog_crs.py",
    "pipelines/labels/osm_classes.py": "tests/labels/test_labels_openstreetmap.py",
    "pipelines/plan/blocks.py": "tests/plan/test_plan_blocks.py",
    "pipelines/shards/claim.py": "tests/shards/test_shards_claim.py tests/hostile/test_hostile_claims.py",
    "pipelines/shards/publish.py": "tests/shards/test_shards_publish.py tests/shards/test_shards_claim.py",
    "pipelines/sources/landsat.py": "tests/sources/test_sources_radiometry.py tests/sources/test_sources_items.py",
    "pipelines/sources/sentinel2.py": "tests/sources/test_sources_radiometry.py tests/sources/test_sources_items.py",
    "sampling/packing.py": "tests/sampling/test_sampling_packing.py tests/sampling/test_sampling_places.py",
    "sampling/splits.py": "tests/sampling/test_sampling_splits.py tests/sampling/test_sampling_overlap.py",
}
"""Module -> the tests that answer for it."""


def main(argv: Sequence[str] | None = None) -> int:
    """Print a row per module; exit code 1 where fewer mutants than the goal were caught."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.mutation", description=__doc__)
    parser.add_argument("modules", nargs="*", help="modules to try (default: all that are listed in this file)")
    parser.add_argument("--sample", type=int, default=30, help="mutants per module (default 30)")
    parser.add_argument("--seed", type=int, default=1, help="chooses the mutants (default 1)")
    parser.add_argument("--workers", type=int, default=1, help="mutants tried at once (default 1)")
    parser.add_argument("--json", action="store_true", help="one JSON object per module, then a summary")
    asked = parser.parse_args(argv)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_GIB << 30, MEMORY_GIB << 30))  # what it starts inherits that
    rows = [_try_module(m, asked) for m in asked.modules or MODULES]
    caught, tried = sum(r["caught"] for r in rows), sum(r["tried"] for r in rows)
    met = [r["module"] for r in rows if r["caught"] >= GOAL * r["tried"]]
    missed = [r["module"] for r in rows if r["module"] not in met]
    if asked.json:
        print(json.dumps({"caught": caught, "tried": tried, "met": met, "missed": missed}))
    else:
        print(
            f"{caught} of {tried} mutants caught; goal {GOAL:.0%} per module, missed by: {', '.join(missed) or 'none'}"
        )
    return 1 if missed else 0


def _try_module(module: str, asked: argparse.Namespace) -> dict[str, Any]:
    if module not in MODULES:
        raise SystemExit(f"benchmarks.mutation: no tests are named for {module}; known: {', '.join(MODULES)}")
    with tempfile.TemporaryDirectory() as folder:
        copies = [_copy(Path(folder) / str(i)) for i in range(asked.workers)]
        seconds = _seconds(copies[0], module)
        specs = _sample(copies[0] / module, asked.sample, asked.seed)
        shares = [specs[i :: asked.workers] for i in range(asked.workers)]
        with ThreadPoolExecutor(asked.workers) as pool:
            tried = [
                r
                for part in pool.map(_try_share, copies, [module] * len(copies), shares, [seconds] * len(copies))
                for r in part
            ]
    survivors = [r["diff"] for r in tried if r["survived"]]
    row = {"module": module, "tried": len(tried), "caught": len(tried) - len(survivors), "survivors": survivors}
    if asked.json:
        print(json.dumps(row), flush=True)
    else:
        print(f"{module}: {row['caught']} of {row['tried']} caught", flush=True)
        for diff in survivors:
            print("  survived: " + " | ".join(diff), flush=True)
    return row


def _copy(folder: Path) -> Path:
    for package in PACKAGES:
        shutil.copytree(ROOT / package, folder / package, ignore=shutil.ignore_patterns("__pycache__", "data"))
    for file in ("pyproject.toml", "README.md", "CONTRIBUTING.md", "ARCHITECTURE.md"):
        shutil.copy(ROOT / file, folder)
    return folder


def _command(folder: Path, module: str) -> str:
    tests = " ".join(str(folder / t) for t in MODULES[module].split())
    where = shlex.quote(str(folder))
    return (
        f"{shlex.quote(sys.executable)} -m pytest -x -q -p no:cacheprovider -p no:randomly --rootdir {where} "
        f"-c {where}/pyproject.toml -m 'not slow and not cluster' {tests}"
    )


def _seconds(folder: Path, module: str) -> float:
    """How long the tests take on the unchanged code; they must pass."""
    start = time.monotonic()
    done = subprocess.run(
        shlex.split(_command(folder, module)), cwd=folder, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(f"benchmarks.mutation: the tests of {module} fail on unchanged code:\n{done.stdout[-2000:]}")
    return time.monotonic() - start


def _sample(path: Path, count: int, seed: int) -> list[Any]:
    """A seeded sample of a module's mutations, those that cannot change behaviour left out."""
    from cosmic_ray.commands import init
    from cosmic_ray.work_db import WorkDB, use_db

    with use_db(path.with_suffix(".sqlite"), WorkDB.Mode.create) as base:
        init([path], base, {})
        found = sorted(
            (m for item in base.work_items for m in item.mutations),
            key=lambda m: (m.start_pos, m.operator_name, m.occurrence),
        )
    silent = list(_silent(ast.parse(path.read_text())))
    kept = [m for m in found if not any(first <= m.start_pos <= last for first, last in silent)]
    return random.Random(f"{seed} {path.name}").sample(kept, min(count, len(kept)))


def _silent(tree: ast.Module) -> Iterator[tuple[tuple[int, int], tuple[int, int]]]:
    """(first, last) position of code that changes no answer: annotations, imports for type checkers, `slots`."""
    for node in ast.walk(tree):
        parts: list[ast.AST | None] = []
        if isinstance(node, ast.arg | ast.AnnAssign):
            parts = [node.annotation]
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            parts = [node.returns]
        elif isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            parts = [node]
        elif isinstance(node, ast.ClassDef):
            calls = [d for d in node.decorator_list if isinstance(d, ast.Call)]
            parts = [k.value for call in calls for k in call.keywords if k.arg == "slots"]
        for part in parts:
            if isinstance(part, ast.expr | ast.stmt):
                yield (part.lineno, part.col_offset), (part.end_lineno or 0, part.end_col_offset or 0)


def _try_share(folder: Path, module: str, specs: list[Any], seconds: float) -> list[dict[str, Any]]:
    from cosmic_ray.mutating import mutate_and_test
    from cosmic_ray.work_item import MutationSpec, TestOutcome

    found = []
    for spec in specs:
        here = MutationSpec(
            module_path=folder / module,
            operator_name=spec.operator_name,
            operator_args=spec.operator_args,
            occurrence=spec.occurrence,
            start_pos=spec.start_pos,
            end_pos=spec.end_pos,
            definition_name=spec.definition_name,
        )
        result = mutate_and_test([here], _command(folder, module), SLOWEST * seconds + 10.0)
        lines = [x for x in (result.diff or "").splitlines() if x[:1] in "+-" and x[:3] not in ("+++", "---")]
        found.append(
            {"survived": result.test_outcome == TestOutcome.SURVIVED, "diff": [f"line {spec.start_pos[0]}", *lines]}
        )
    return found


if __name__ == "__main__":
    raise SystemExit(main())
