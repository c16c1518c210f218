"""Entry point of the Dataflow Flex Template: turns its parameters into a build on Dataflow.

The launcher calls a file with --name=value pairs: the template's own (recipe, out) and Beam's.
"""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


def command(arguments: Sequence[str]) -> list[str]:
    """Arguments of `python -m pipelines` for those of the template."""
    parser = argparse.ArgumentParser(prog="launch.py", description=__doc__.splitlines()[0], allow_abbrev=False)
    parser.add_argument("--recipe", required=True)
    parser.add_argument("--out", required=True)
    asked, beam = parser.parse_known_args(arguments)
    return ["build", asked.recipe, asked.out, "--runner", "dataflow", "--", *beam]


if __name__ == "__main__":
    from pipelines.__main__ import app

    app(command(sys.argv[1:]))
