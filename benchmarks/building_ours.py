"""Plans and builds the stack of `benchmarks.building` with landweave: one job (JSON) in, its costs out.

It calls what the commands `plan` and `build` call. Imports are counted apart, as for the peers.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import sys
from pathlib import Path
from typing import Any

from benchmarks.building_meter import Meter
from benchmarks.building_profile import Profile
from benchmarks.building_stack import DATES
from pipelines import build as _engine  # noqa: F401 - Beam takes seconds to import: not in the figures of the work
from pipelines.access.http.permission import allow
from pipelines.engines import Engine
from pipelines.jobs import build_dataset, plan_dataset
from pipelines.recipes import RecipeFile
from schemas.recipe import Recipe


def recipe_of(job: dict[str, Any], texts: bool = False) -> Recipe:
    """The stack at two dates, with the map or without; `texts`: also captions and questions, which no peer makes."""
    pc = ["pc"]
    said: dict[str, Any] = {
        "name": "building", "seed": 1, "grid": {"size_m": job["size_m"]},
        "sampling": {"kind": "points", "file": "points.csv", "area": {"land_only": False}},
        "windows": list(DATES),
        "providers": {"pc": {"url": f"{job['url']}/pc/stac", "dialect": "planetary-computer"}},
        "sources": [
            {"kind": "sentinel2", "providers": pc}, {"kind": "sentinel1", "providers": pc},
            {"kind": "landsat", "providers": pc}, {"kind": "dem", "providers": pc},
        ],
        "labels": [{"kind": "worldcover", "providers": pc, "year": 2021}],
        "splits": {"train": 1.0, "val": 0.0, "test": 0.0, "allow_overlap": True},
    }  # fmt: skip
    if job["map"]:
        said["labels"].append({"kind": "openstreetmap", "pbf": f"{job['url']}/osm/planet.osm.pbf"})
    if texts:
        said |= {"captions": {"kind": "template", "per_sample": 2}, "questions": {"kind": "questions"}}
    return Recipe.model_validate(said)


def main() -> None:
    """Do the job."""
    job = json.loads(sys.argv[1])
    logging.basicConfig(level=logging.ERROR)
    folder, out = Path(job["folder"]), Path(job["out"])
    os.environ["LANDWEAVE_ALLOWED_PATHS"] = str(folder)
    allow((), ())
    file = RecipeFile(recipe=recipe_of(job, job.get("texts", False)), folder=folder)
    profile, meter = Profile(), Meter()
    with profile if job.get("profile") else contextlib.nullcontext():
        summary = plan_dataset(file, out, again=False)
        planned = meter.read()
        status = build_dataset(file, out, Engine(workers=1))
    found: dict[str, Any] = meter.read() | {"plan_cpu_s": planned["cpu_s"], "samples": summary.samples}
    if job.get("profile"):
        found["stages"] = profile.stages()
    if status.failed or status.empty or status.undelivered:
        raise SystemExit(f"landweave: {status.failed} {status.empty} {status.undelivered}")
    print(json.dumps(found))


if __name__ == "__main__":
    main()
