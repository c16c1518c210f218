"""Where the time of a stream goes: who makes the trainer wait."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Timing:
    """Seconds since a stream was made, of all its iterators in this process.

    `waited_s` and `trainer_s` are seconds of the thread that iterates; the others are summed over all threads that read
    ahead, so they may exceed the time that has passed. Workers of a DataLoader are processes of their own: the main
    process sees nothing of their seconds.
    """

    batches: int = 0
    """Batches handed over."""
    waited_s: float = 0.0
    """The iterating thread waited for a batch, or helped to make it."""
    trainer_s: float = 0.0
    """The code that iterates worked with a batch."""
    bytes_s: float = 0.0
    """Threads waited for bytes of a disk; from a URL: each part of a batch waited for its bytes, many at a time."""
    decoding_s: float = 0.0
    """Threads verified and decompressed chunks."""
    collating_s: float = 0.0
    """Threads planned batches, cropped, normalised and placed pixels."""

    @property
    def starved(self) -> float:
        """Share of the time, 0 to 1, in which the trainer waited for batches; 0 before the first batch."""
        passed = self.waited_s + self.trainer_s
        return self.waited_s / passed if passed else 0.0

    @property
    def shares(self) -> dict[str, float]:
        """'bytes', 'decoding', 'collating': their shares of the threads' time; zeros before the first batch."""
        parts = {"bytes": self.bytes_s, "decoding": self.decoding_s, "collating": self.collating_s}
        total = sum(parts.values()) or 1.0
        return {name: seconds / total for name, seconds in parts.items()}

    def add(self, *others: Timing) -> None:
        """Add the seconds of others."""
        for other in others:
            self.batches += other.batches
            self.waited_s += other.waited_s
            self.trainer_s += other.trainer_s
            self.bytes_s += other.bytes_s
            self.decoding_s += other.decoding_s
            self.collating_s += other.collating_s

    def __str__(self) -> str:
        parts = ", ".join(f"{name} {share:.0%}" for name, share in self.shares.items())
        return (
            f"{self.batches} batches: the trainer waited {self.starved:.0%} of the time; "
            f"the threads that read spent theirs on {parts}"
        )
