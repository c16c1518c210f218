"""Python's search for objects that only hold one another."""

from __future__ import annotations

import gc
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def settled() -> Iterator[None]:
    """Leave out of the searches what is there now: imports make 250,000 objects, and a search takes 0.14 s for them."""
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()
