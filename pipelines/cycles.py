"""Python's search for objects that only hold one another."""

from __future__ import annotations

import gc
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_lock = threading.Lock()
_inside: set[object] = set()


@contextmanager
def settled() -> Iterator[None]:
    """Leave out of the searches what is there now: imports make 250,000 objects, and a search takes 0.14 s for them.

    Where several threads of a process are inside, the first one decides what is left out, and it is searched again once
    the last one has left: what a thread is at work on when another one begins must not stay for ever.
    """
    me = object()
    with _lock:
        if not _inside:
            gc.freeze()
        _inside.add(me)
    try:
        yield
    finally:
        with _lock:
            _inside.discard(me)
            if not _inside:
                gc.unfreeze()
