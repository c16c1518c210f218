"""Reads damaged map extracts, in a process of its own with little memory: prints what became of each seed.

python -m tests.hostile.extracts FOLDER FIRST COUNT MEMORY_MIB
"""

from __future__ import annotations

import json
import random
import resource
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
import osmium

from pipelines.access.openstreetmap.extract import BadExtractError, prepare
from pipelines.access.openstreetmap.features import FeatureStore
from pipelines.access.openstreetmap.near import Near
from pipelines.access.openstreetmap.pbf import blobs
from schemas.place import BBox
from tests.access.openstreetmap.osm_files import SQUARE, blob, nodes, relate, tree, way
from tests.hostile.reading import peak_kib

EVERYWHERE = Near(np.array([[-180.0, -90.0, 180.0, 90.0]]))
"""Ground that keeps all objects, by the way that only keeps what is near."""
_BYTES = (0, 1, 2, 127, 128, 255)
_HOLE = ((0.2, 0.2), (0.8, 0.2), (0.8, 0.8), (0.2, 0.8))


def sources(folder: Path) -> list[list[tuple[str, bytes]]]:
    """(type, content) of the blobs of small extracts with an object of every kind."""
    found = []
    for dense in ("true", "false"):
        path = folder / f"dense-{dense}.osm.pbf"
        with osmium.SimpleWriter(osmium.io.File(path, f"pbf,pbf_dense_nodes={dense}"), overwrite=True) as writer:
            out, hole = nodes(writer, 1, SQUARE), nodes(writer, 11, _HOLE)
            tree(writer, 30, name="x")
            way(writer, 1, [*out, out[0]], landuse="forest", barrier="fence")
            way(writer, 2, [*hole, hole[0]], natural="water")
            way(writer, 3, [*out, out[0]])
            way(writer, 4, [1, 3], highway="track")
            way(writer, 5, [*hole, hole[0]], natural="wood")
            relate(writer, 1, ("w", 3, "outer"), ("w", 2, "inner"), natural="wood")
            relate(writer, 2, ("w", 5, "outer"))
            relate(writer, 3, ("w", 77, "outer"), natural="wood")
        found.append([(kind, content) for kind, content, _ in blobs(path)])
    return found


def damaged(parts: list[tuple[str, bytes]], seed: int) -> bytes:
    """An extract whose blobs are whole and hold what is not theirs; one in ten is damaged as a file."""
    rng = random.Random(seed)
    chosen = rng.randrange(len(parts)) if rng.random() < 0.7 else None
    made = []
    for number, (kind, content) in enumerate(parts):
        hit = number == chosen or (chosen is None and rng.random() < 0.5)
        made.append(blob(kind, _changed(content, rng) if hit else content, packing=rng.choice((1, 3))))
    raw = bytearray(b"".join(made))
    if rng.random() < 0.1:
        raw[rng.randrange(len(raw))] = rng.randrange(256)
    return bytes(raw)


def _changed(content: bytes, rng: random.Random) -> bytes:
    data = bytearray(content)
    for _ in range(rng.randint(1, 3)):
        at, how = rng.randrange(len(data)), rng.random()
        if how < 0.7:
            data[at] = rng.choice((*_BYTES, rng.randrange(256), data[at] ^ 1 << rng.randrange(8)))
        elif how < 0.8:
            del data[at : at + rng.randint(1, 6)]
        elif how < 0.9:
            data[at:at] = rng.randbytes(rng.randint(1, 5))
        else:
            data[at : at + 1] = data[at : at + rng.randint(1, 40)]
        data = data or bytearray(1)
    return bytes(data)


def main(folder: Path, first: int, count: int, memory_mib: int) -> None:
    """Read one file a seed; stops at the first exception that is not a refusal."""
    parts = sources(folder)
    resource.setrlimit(resource.RLIMIT_AS, (memory_mib << 20, memory_mib << 20))
    tally: Counter[str] = Counter()
    slowest, path = 0.0, folder / "x.osm.pbf"
    for seed in range(first, first + count):
        sys.stderr.write(f"{seed}\n")
        path.write_bytes(damaged(parts[seed % len(parts)], seed))
        began = time.process_time()
        try:
            extract = prepare(path, folder / "cache", EVERYWHERE if seed % 2 else None)
            with FeatureStore(extract.parquet) as store:
                store.within(BBox(-180.0, -90.0, 180.0, 90.0))
            extract.parquet.unlink()
            tally["read"] += 1
        except BadExtractError as error:
            tally["refused in one line" if "\n" not in str(error) else "refused"] += 1
        slowest = max(slowest, time.process_time() - began)
    peak = peak_kib() >> 10
    sys.stdout.write(json.dumps({"tally": dict(tally), "peak_mib": peak, "slowest_s": round(slowest, 2)}) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), *(int(a) for a in sys.argv[2:5]))
