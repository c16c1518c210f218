"""Types as a user's checker sees them: `mypy --strict` over the README's Python, and over mistakes to find."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import get_type_hints

import pytest

import landweave
from landweave.order import Order
from landweave.stream import StreamSettings
from landweave.view import View, ViewSettings

CHECKOUT = Path(__file__).parents[1]
WRONG = {
    'data.stream(batch_size="16")': "arg-type",
    "data.stream(batch_size=16, suffle=True)": "call-arg",
    "data.stream()": "call-arg",
    'data.stream(batch_size=16, normalise="yes")': "arg-type",
    "data.samples([0], crop_m=[60])": "arg-type",
    "data.samples([0], batch_size=2)": "call-arg",
    'TorchSamples(data, mising={"sentinel2": 0.3})': "call-arg",
    "TorchStream(data.stream(batch_size=2), unsinged=True)": "call-arg",
}
"""A call with a mistake -> the code of mypy's error."""
RIGHT = """
stream: landweave.Stream = data.stream(
    data.query(split="train"), batch_size=16, shuffle=True, seed=1, mix=4, remainder="drop", arrays=["sentinel2"],
    bands={"sentinel2": ["red", "nir"]}, times={"sentinel2": 2}, crop_m=60.0, crop="centre", normalise="clear",
    missing={"sentinel1": 0.3}, noise={"sentinel2": 0.1}, columns=["lat"], on_error="skip",
)
ids: list[str] = data.query("lat > 0").ids
"""


@pytest.mark.slow
def test_mypy_strict_passes_on_the_readme_and_finds_a_users_mistakes(tmp_path: Path) -> None:
    blocks = re.findall(r"```python\n(.*?)```", (CHECKOUT / "README.md").read_text(), re.DOTALL)
    assert blocks
    head = 'import landweave\nfrom landweave.torch import TorchSamples, TorchStream\n\ndata = landweave.open("x")\n'
    for number, block in enumerate(blocks):
        (tmp_path / f"readme_{number}.py").write_text(block)
    (tmp_path / "right.py").write_text(head + RIGHT)
    (tmp_path / "wrong.py").write_text(head + "\n".join(WRONG) + "\n")
    command = [sys.executable, "-m", "mypy", "--strict", "--no-error-summary", "--cache-dir", str(tmp_path / "cache")]
    done = subprocess.run(
        [*command, "."],
        cwd=tmp_path,
        env={**os.environ, "MYPYPATH": str(CHECKOUT)},
        capture_output=True,
        text=True,
        check=False,
    )
    first = head.count("\n") + 1
    # of the user's files; with MYPYPATH, mypy also looks into the reader's own
    found = re.findall(r"^([^/\s]+):(\d+): error: .*\[([a-z-]+)\]$", done.stdout, re.M)
    expected = {("wrong.py", str(first + i), code) for i, code in enumerate(WRONG.values())}
    assert set(found) == expected, done.stdout + done.stderr


def test_the_package_says_that_it_is_typed() -> None:
    assert (Path(landweave.__file__).parent / "py.typed").exists()


@pytest.mark.parametrize(("keywords", "records"), [(ViewSettings, [View]), (StreamSettings, [View, Order])])
def test_a_call_takes_every_setting_that_there_is(keywords: type, records: list[type]) -> None:
    assert set(get_type_hints(keywords)) == {name for record in records for name in record.__dataclass_fields__}  # type: ignore[attr-defined]
