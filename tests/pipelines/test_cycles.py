"""What is left out of Python's search for cycles: what was there at first, and nothing that threads work on later."""

from __future__ import annotations

import gc
import weakref

from pipelines.cycles import settled


class Work:
    def __init__(self) -> None:
        self.itself = self


def test_what_one_thread_works_on_is_let_go_though_another_begins_meanwhile() -> None:
    with settled():
        assert gc.get_freeze_count() > 0
        work = Work()
        seen = weakref.ref(work)
        with settled():  # another worker of this process opens, and both go on
            del work
            gc.collect()
            assert seen() is None
        assert gc.get_freeze_count() > 0  # it closed, and the first one is still there
    assert gc.get_freeze_count() == 0
