"""`python -m benchmarks.codecs`: compression ratio and speed of lossless codecs per kind of array, on real pixels.

One core, one inner chunk at a time, CPU seconds of this thread; codecs take turns, and the best round counts. What a
round gives back is compared with what went in. Only `blosc` is written into datasets, since zarr-python, tensorstore
and GDAL all read it; the others show what is given up for that.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numcodecs import Shuffle, blosc
from numcodecs.zstd import Zstd

from benchmarks.codecs_data import chips_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from benchmarks.codecs_data import Chips

ROOT = Path(__file__).resolve().parents[1]
REAL = ROOT.parent / "shared" / "real"
EARTH = ROOT / ".benchmarks" / "earth"
KIB = 1 << 10
FILTERS = {"none": blosc.NOSHUFFLE, "shuffle": blosc.SHUFFLE, "bitshuffle": blosc.BITSHUFFLE}
AUTOMATIC, WHOLE = 0, 1 << 20
"""Block of blosc: its own choice, or up to 1 MiB: a whole chip of most arrays."""
ROUNDS = 5


class Codec(Protocol):
    name: str

    def encode(self, pixels: NDArray[Any]) -> Any: ...
    def decode(self, packed: Any, out: NDArray[Any]) -> Any: ...


class Blosc:
    def __init__(self, cname: str, level: int, shuffle: str, block: int = AUTOMATIC) -> None:
        self.name = f"blosc-{cname}-{level} {shuffle}" + (f" {block // KIB}K" if block else "")
        self._settings = (cname.encode(), level, FILTERS[shuffle], block)

    def encode(self, pixels: NDArray[Any]) -> Any:
        return blosc.compress(_bytes(pixels), *self._settings)

    def decode(self, packed: Any, out: NDArray[Any]) -> Any:
        return blosc.decompress(packed, _bytes(out))


class PlainZstd:
    """zstd of the bytes, or of byte-shuffled bytes (no standard Zarr codec: zarr-python alone reads it)."""

    def __init__(self, level: int, *, shuffle: bool) -> None:
        self.name = f"{'shuffle + ' if shuffle else ''}zstd-{level}"
        self._shuffle, self._zstd = shuffle, Zstd(level=level)

    def encode(self, pixels: NDArray[Any]) -> Any:
        raw = _bytes(pixels)
        return self._zstd.encode(Shuffle(pixels.dtype.itemsize).encode(raw) if self._shuffle else raw)

    def decode(self, packed: Any, out: NDArray[Any]) -> Any:
        if not self._shuffle:
            return self._zstd.decode(packed, _bytes(out).reshape(-1).view(np.uint8))
        return Shuffle(out.dtype.itemsize).decode(self._zstd.decode(packed), _bytes(out))


class PCodec:
    """Numbers, not bytes: no 8-bit kinds, and zarr-python alone reads it in a Zarr."""

    def __init__(self, level: int) -> None:
        from pcodec import ChunkConfig, standalone

        self.name = f"pcodec-{level}"
        self._pco, self._config = standalone, ChunkConfig(compression_level=level)

    def encode(self, pixels: NDArray[Any]) -> Any:
        return self._pco.simple_compress(pixels.reshape(-1), self._config)

    def decode(self, packed: Any, out: NDArray[Any]) -> Any:
        return self._pco.simple_decompress_into(packed, out.reshape(-1))


def codecs(*, quick: bool) -> list[Codec]:
    """What is compared; `quick` leaves out what nobody would choose."""
    found: list[Codec] = []
    for shuffle in ("none", "shuffle", "bitshuffle"):
        found += [Blosc("lz4", level, shuffle) for level in ((5,) if quick else (1, 5, 9))]
        found += [Blosc("lz4hc", level, shuffle) for level in ((2, 5) if quick else (2, 3, 5, 7, 9))]
        found += [Blosc("zstd", level, shuffle) for level in ((1,) if quick else (1, 3, 5))]
        found += [Blosc("zstd", level, shuffle, WHOLE) for level in ((1, 3) if quick else (1, 3, 5, 7, 9))]
    found += [PlainZstd(1, shuffle=False), PlainZstd(1, shuffle=True)]
    found += [] if quick else [PlainZstd(3, shuffle=False), PlainZstd(3, shuffle=True)]
    try:
        found += [PCodec(level) for level in ((4,) if quick else (4, 8))]
    except ImportError:
        sys.stderr.write("pcodec is left out: it is not installed\n")
    return found


def measure(chips: Chips, candidates: list[Codec], rounds: int) -> Iterator[dict[str, Any]]:
    """One row a codec: ratio, MB/s of encoding and of decoding."""
    wide = chips[0].dtype.itemsize > 1
    usable = [c for c in candidates if wide or not (isinstance(c, PCodec) or "shuffle +" in c.name)]
    size = sum(c.nbytes for c in chips)
    outs = [np.empty_like(c) for c in chips]
    packed: dict[str, list[Any]] = {}
    encode: dict[str, float] = {}
    decode: dict[str, float] = {c.name: float("inf") for c in usable}
    for codec in usable:
        start = time.thread_time()
        packed[codec.name] = [codec.encode(c) for c in chips]
        encode[codec.name] = time.thread_time() - start
    for _ in range(rounds):
        for codec in usable:
            start = time.thread_time()
            for data, out in zip(packed[codec.name], outs, strict=True):
                codec.decode(data, out)
            decode[codec.name] = min(decode[codec.name], time.thread_time() - start)
            if any(not np.array_equal(_bytes(a), _bytes(b)) for a, b in zip(chips, outs, strict=True)):
                raise SystemExit(f"{codec.name} gave other pixels back")
            for out in outs:
                out.fill(0)
    for codec in usable:
        yield {
            "codec": codec.name,
            "ratio": round(size / sum(len(d) for d in packed[codec.name]), 3),
            "encode_mb_s": round(size / encode[codec.name] / 1e6),
            "decode_mb_s": round(size / decode[codec.name] / 1e6),
        }


def _bytes(pixels: NDArray[Any]) -> NDArray[Any]:
    """The same memory; booleans as bytes."""
    return pixels.view(np.uint8) if pixels.dtype == np.bool_ else pixels


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.codecs", description=__doc__)
    parser.add_argument("--json", action="store_true", help="one JSON object per line")
    parser.add_argument("--quick", action="store_true", help="fewer codecs and rounds: under a minute")
    parser.add_argument("--earth", type=Path, default=EARTH, help="a miniature Earth; made where it is not there")
    parser.add_argument("--real", type=Path, default=REAL, help="folder of real data; left out where it is not there")
    options = parser.parse_args()
    blosc.use_threads = False
    if not options.earth.is_dir() and not options.quick:
        subprocess.run([sys.executable, "-m", "testbed", "make", options.earth], cwd=ROOT, check=True)
    candidates = codecs(quick=options.quick)
    for kind, chips in chips_of(options.real, options.earth).items():
        shape = f"{len(chips)} chips of {chips[0].dtype} {chips[0].shape}"
        if not options.json:
            print(f"\n{kind}: {shape}\n{'codec':34} {'ratio':>7} {'encode':>8} {'decode':>8}  MB/s")
        for row in measure(chips, candidates, 2 if options.quick else ROUNDS):
            if options.json:
                print(json.dumps({"kind": kind, "chips": len(chips), "shape": list(chips[0].shape), **row}))
            else:
                print(f"{row['codec']:34} {row['ratio']:7.2f} {row['encode_mb_s']:8} {row['decode_mb_s']:8}")


if __name__ == "__main__":
    main()
