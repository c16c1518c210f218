"""Damaged TIFF files from seeds: real ones of many kinds, with bytes, tags, chains and lengths that are not theirs."""

from __future__ import annotations

import random
import struct
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from affine import Affine

KINDS: dict[str, dict[str, Any]] = {
    "deflate": {"compress": "deflate", "predictor": 2},
    "lzw": {"compress": "lzw", "predictor": 2},
    "zstd": {"compress": "zstd"},
    "lerc": {"compress": "lerc_zstd"},
    "jpeg": {"compress": "jpeg", "dtype": "uint8", "count": 3, "photometric": "ycbcr"},
    "packbits": {"compress": "packbits", "dtype": "uint8"},
    "plain": {},
    "strips": {"compress": "deflate", "tiled": False, "blockysize": 16},
    "planes": {"compress": "deflate", "count": 4, "interleave": "band"},
    "pixels": {"compress": "deflate", "count": 5, "interleave": "pixel"},
    "big": {"compress": "deflate", "BIGTIFF": "YES"},
    "motorola": {"compress": "deflate", "ENDIANNESS": "BIG"},
    "floats": {"compress": "deflate", "predictor": 3, "dtype": "float32"},
    "twelve": {"compress": "deflate", "NBITS": 12},
}
_CODECS = (0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 32766, 32771, 32773, 32809, 32895, 32908, 32909, 32946, 32947, 34661,
           34676, 34677, 34712, 34887, 34925, 50000, 50001, 50002, 65535)  # fmt: skip
_VALUES = (
    0,
    1,
    2,
    3,
    5,
    7,
    12,
    24,
    33,
    64,
    255,
    256,
    1 << 15,
    65535,
    65536,
    1 << 20,
    (1 << 31) - 1,
    1 << 31,
    (1 << 32) - 1,
)
_LOVED = (256, 257, 258, 259, 262, 273, 277, 278, 279, 284, 317, 322, 323, 324, 325, 338, 339, 347, 530, 33550, 33922,
          34735, 42113, 50674, 254, 320, 284, 292, 293)  # fmt: skip


def make(folder: Path) -> list[Path]:
    """Whole files of every kind."""
    rng = np.random.default_rng(3)
    found = []
    for name, options in KINDS.items():
        chosen = {"tiled": True, "blockxsize": 64, "blockysize": 64, "dtype": "uint16", "count": 1, **options}
        if not chosen["tiled"]:
            del chosen["blockxsize"]
        shape = (chosen["count"], 160, 144)
        pixels = rng.integers(1, 250, shape).astype(chosen["dtype"])
        path = folder / f"{name}.tif"
        with rasterio.open(
            path, "w", driver="GTiff", width=144, height=160, crs="EPSG:32632", nodata=0,
            transform=Affine(10, 0, 500_000, 0, -10, 5_000_000), **chosen,
        ) as dataset:  # fmt: skip
            dataset.write(pixels)
            if name in ("deflate", "planes"):
                dataset.build_overviews([2, 4])
        found.append(path)
    return found


_MOST_ENTRIES = 4096
"""Entries of a directory that this program follows: a broken count may be 2**64."""


def entries(raw: bytes) -> tuple[str, bool, list[int], list[int]]:
    """(byte order, BigTIFF, offsets of all directory entries, offsets of the pointers that chain directories)."""
    order = "<" if raw[:2] == b"II" else ">"
    big = struct.unpack(f"{order}H", raw[2:4])[0] == 43
    head, size, pointer = (8, 20, "Q") if big else (2, 12, "L")
    link = 8 if big else 4
    found, links = [], [link]
    at = struct.unpack_from(f"{order}{pointer}", raw, link)[0]
    while at:
        count = struct.unpack_from(f"{order}{'Q' if big else 'H'}", raw, at)[0]
        if count > _MOST_ENTRIES or len(links) > _MOST_ENTRIES:
            raise struct.error("the directory is broken already")
        found += [at + head + i * size for i in range(count)]
        links.append(at + head + count * size)
        at = struct.unpack_from(f"{order}{pointer}", raw, links[-1])[0]
    return order, big, found, links


def damaged(raw: bytes, seed: int) -> bytes:
    """One way of being broken, or several."""
    rng = random.Random(seed)
    out = bytearray(raw)
    order, big, places, links = entries(raw)
    for _ in range(rng.choice((1, 1, 1, 2, 3, 6))):
        how = rng.randrange(9)
        at = rng.choice(places)
        if how == 0:
            for _ in range(rng.randrange(1, 9)):
                out[rng.randrange(len(out))] = rng.randrange(256)
        elif how in (1, 2, 3):
            _retag(out, order, big, at if how == 1 else _loved(out, order, places, rng), rng)
        elif how == 4:
            del out[rng.randrange(len(out)) :]
            break
        elif how == 5:
            pointer = rng.choice((*links, *places, rng.randrange(len(out)), len(out) - 1, len(out) + 99, 0, 8))
            struct.pack_into(f"{order}{'Q' if big else 'L'}", out, rng.choice(links), pointer)
        elif how == 6:
            struct.pack_into(f"{order}H", out, at, rng.choice(_LOVED))
        elif how == 7:
            where = next((p for p in places if struct.unpack_from(f"{order}H", out, p)[0] == 259), at)
            struct.pack_into(f"{order}H", out, where + (12 if big else 8), rng.choice(_CODECS))
        else:
            start, length = rng.randrange(len(out)), rng.randrange(1, 400)
            out[start : start + length] = rng.randbytes(min(length, len(out) - start))
    return bytes(out)


def _loved(out: bytearray, order: str, places: list[int], rng: random.Random) -> int:
    known = [p for p in places if struct.unpack_from(f"{order}H", out, p)[0] in _LOVED]
    return rng.choice(known or places)


def _retag(out: bytearray, order: str, big: bool, at: int, rng: random.Random) -> None:
    """Another type, count or value in one entry."""
    what = rng.randrange(3)
    if what == 0:
        struct.pack_into(f"{order}H", out, at + 2, rng.randrange(0, 20))
    elif what == 1:
        struct.pack_into(f"{order}{'Q' if big else 'L'}", out, at + 4, rng.choice(_VALUES))
    else:
        value = rng.choice((*_VALUES, rng.randrange(1 << 16)))
        kind = struct.unpack_from(f"{order}H", out, at + 2)[0]
        letter, most = ("H", 0xFFFF) if kind == 3 else ("L", 0xFFFFFFFF)
        struct.pack_into(f"{order}{letter}", out, at + (12 if big else 8), value & most)
