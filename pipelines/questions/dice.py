"""Choices by hash: the same for the same sample and question, in any order and in any process."""

from __future__ import annotations

import hashlib
import struct
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Sequence

_T = TypeVar("_T")


class Dice:
    """Draws of one sample."""

    def __init__(self, seed: str) -> None:
        """`seed`: what the draws depend on, besides the name of each."""
        self._seed = seed.encode()

    def roll(self, name: str) -> float:
        """A number of [0, 1)."""
        digest = hashlib.blake2b(self._seed + b"/" + name.encode(), digest_size=8).digest()
        return int.from_bytes(digest, "big") / 2**64

    def rolls(self, name: str, count: int) -> list[float]:
        """So many numbers of [0, 1)."""
        raw = b"".join(
            hashlib.blake2b(b"%s/%s/%d" % (self._seed, name.encode(), start), digest_size=64).digest()
            for start in range(0, count, 16)
        )
        return [n / 2**32 for n in struct.unpack(f">{len(raw) // 4}I", raw)[:count]]

    def pick(self, name: str, options: Sequence[_T]) -> _T:
        """One of the options, each as likely."""
        return options[int(self.roll(name) * len(options))]

    def coin(self, name: str) -> bool:
        """True as often as False."""
        return self.roll(name) < 0.5

    def mixed(self, name: str, options: Sequence[_T]) -> list[_T]:
        """The options in another order, each order as likely."""
        draws = self.rolls(name, len(options))
        return [options[i] for i in sorted(range(len(options)), key=draws.__getitem__)]
