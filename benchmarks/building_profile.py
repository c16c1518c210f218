"""Which stage of a build takes how much CPU: reads every thread's CPU clock, and adds it to where that thread is.

The clock counts native code too (inflating, warping, compressing release the interpreter), and it does not run while a
thread waits or the machine is busy with others: so shares hold on a busy machine.
"""

from __future__ import annotations

import sys
import threading
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import FrameType

EVERY_S = 0.004
"""Interval of the samples."""
ROOT = Path(__file__).parents[1]
Place = tuple[str, str]
"""(file in the checkout, function)."""
MOST = 0.10
"""Goal: share of the CPU of each stage, but for those that no one can leave out."""
ONCE = "once: "
"""Beginning of what a run does once, whatever its size: it has no share."""
NEEDED = ("inflating", "warping", "compressing")
STAGES: tuple[tuple[str, str, str], ...] = (
    ("pipelines/access/rasters/decode.py", "", "inflating"),
    ("pipelines/access/rasters/warp.py", "", "warping"),
    ("pipelines/access/rasters/window.py", "", "warping"),
    ("landweave/codec.py", "encode_chunk", "compressing"),
    ("pipelines/shards/statistics.py", "", "statistics"),
    ("pipelines/shards/verify.py", "", "verifying"),
    ("landweave/render.py", "", "pictures"),
    ("pipelines/shards/thumbnails.py", "", "pictures"),
    ("pipelines/captions/frames.py", "<listcomp>", f"{ONCE}grammar of captions"),
    ("pipelines/captions/frames.py", "_regex", f"{ONCE}grammar of captions"),
    ("pipelines/captions/lexicon.py", "", f"{ONCE}grammar of captions"),
    ("pipelines/captions/", "", "captions"),
    ("pipelines/questions/", "", "questions"),
    ("pipelines/access/openstreetmap/pieces.py", "", "map"),
    ("pipelines/access/openstreetmap/features.py", "", "map"),
    ("pipelines/access/openstreetmap/", "", f"{ONCE}map extract"),
    ("pipelines/labels/clip.py", "", "map"),
    ("pipelines/labels/openstreetmap.py", "", "map"),
    ("pipelines/access/http/", "", "fetching"),
    ("pipelines/access/rasters/", "", "reading, other"),
    ("pipelines/access/stac/", "", "searching"),
    ("pipelines/labels/", "", "labels, other"),
    ("pipelines/sources/", "", "masks and scales"),
    ("pipelines/shards/finalise.py", "", "catalogue"),
    ("pipelines/shards/stac_", "", "catalogue"),
    ("pipelines/shards/", "", "writing"),
    ("pipelines/durable.py", "", "writing"),
    ("pipelines/plan/", "", "planning"),
    ("sampling/land.py", "", f"{ONCE}land mask"),
    ("sampling/", "", "planning"),
    ("pipelines/tables/", "", "planning"),
    ("pipelines/build.py", "", "engine"),
    ("pipelines/stages/", "", "engine"),
)
"""(beginning of a file, function or '' for all, stage): the first rule that fits the innermost place that fits any."""


class Profile:
    """A context manager: samples all threads but its own."""

    def __init__(self) -> None:
        self.seconds: Counter[tuple[Place, ...]] = Counter()
        """Places of the checkout on the stack, innermost first -> seconds of CPU."""
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._sample, name="profile", daemon=True)

    def stages(self) -> dict[str, float]:
        """Stage -> seconds of CPU, most first."""
        found: Counter[str] = Counter()
        for places, seconds in self.seconds.items():
            found[next((stage for place in places if (stage := _stage(place))), "other")] += seconds
        return dict(found.most_common())

    def __enter__(self) -> Profile:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _sample(self) -> None:
        clocks: dict[int, float] = {}
        own = threading.get_ident()
        while not self._stop.wait(EVERY_S):
            for thread, frame in sys._current_frames().items():
                if thread == own:
                    continue
                try:
                    now = time.clock_gettime(time.pthread_getcpuclockid(thread))
                except OSError:
                    continue  # the thread has ended
                spent = now - clocks.get(thread, now)
                clocks[thread] = now
                if spent > 0:
                    self.seconds[_places(frame)] += spent  # type: ignore[assignment]


def _places(frame: FrameType | None) -> tuple[Place, ...]:
    found = []
    while frame is not None:
        path = frame.f_code.co_filename
        if path.startswith(str(ROOT)) and ".venv" not in path:
            found.append((path[len(str(ROOT)) + 1 :], frame.f_code.co_name))
        frame = frame.f_back
    return tuple(found)


def _stage(place: Place) -> str:
    file, function = place
    fits = (stage for begin, name, stage in STAGES if file.startswith(begin) and name in ("", function))
    return next(fits, "")


def stage_goals(stages: Mapping[str, float]) -> dict[str, list[str]]:
    """Kind -> lines: no stage but those of NEEDED takes more than MOST of the CPU of what grows with the samples."""
    whole = sum(seconds for name, seconds in stages.items() if not name.startswith(ONCE))
    large = [f"{name} takes {part / whole:.0%} of the CPU" for name, part in stages.items()
             if part > MOST * whole and name not in NEEDED and not name.startswith(ONCE)]  # fmt: skip
    text = f"no stage but {', '.join(NEEDED)} takes more than {MOST:.0%} of the CPU"
    return {"met": [] if large else [text], "missed": large, "unjudged": []}


def stage_rows(stages: Mapping[str, float], samples: int) -> list[dict[str, Any]]:
    """A row per stage: seconds once, or milliseconds per sample and the share of what grows with the samples."""
    whole = sum(seconds for name, seconds in stages.items() if not name.startswith(ONCE))
    return [
        {"stage": name, "s": round(seconds, 2)}
        if name.startswith(ONCE)
        else {"stage": name, "ms_per_sample": round(1000 * seconds / samples, 1), "share": round(seconds / whole, 3)}
        for name, seconds in stages.items()
    ]
