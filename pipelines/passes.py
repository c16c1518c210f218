"""Folders of passes over a dataset, such as those of texts and fused labels: what is in each, and where.

A pass has a folder of its own inside the dataset's work folder, with a plan from which any worker starts.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from pipelines.durable import read_regular, write_durably
from pipelines.shards import address_of

if TYPE_CHECKING:
    from pathlib import Path

WORK = ".work/"
"""Passes lie below it, in the dataset's folder."""
PLAN_FILE = "plan/plan.json"
"""Path of the plan in a pass's folder."""
MOST_BYTES = 1 << 28
"""Of a file of a pass; the points of a reference are most of the largest."""


def write_plan(out: Path, text: str) -> None:
    """Put a plan into a pass's folder: JSON whose first key is 'kind'."""
    write_durably(out / PLAN_FILE, text)


def read_plan(out: Path) -> dict[str, Any]:
    """The plan of a pass's folder."""
    found: dict[str, Any] = json.loads(read_regular(out / PLAN_FILE, MOST_BYTES))
    return found


def is_pass(out: Path, kind: str) -> bool:
    """Whether a folder is one of a pass of this kind, and not of a dataset that is planned or of another pass."""
    path, head = out / PLAN_FILE, json.dumps({"kind": kind}).removesuffix("}").encode()
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(len(head)) == head


def base_of(out: Path) -> str:
    """Folder or URL of the dataset that a pass's folder lies in."""
    return address_of(out).rsplit(f"/{WORK}", maxsplit=1)[0]


def named(out: Path) -> str:
    """A folder as messages name it: a dataset's by its name, a pass's from its dataset on ('mine/.work/planning')."""
    dataset, _, folder = f"/{out.as_posix()}".rpartition(f"/{WORK}")
    return f"{dataset.rpartition('/')[2]}/{WORK}{folder}" if dataset else out.name
