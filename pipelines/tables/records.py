"""A plan in memory: the part of one shard, the part of one partition, and addresses that change with the provider."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from schemas.outcome import Outcome, Reason
    from schemas.place import Place
    from schemas.recipe import Recipe
    from schemas.scene import Candidate, Scene

PLAN_VERSION = 2
"""Version of the plan's tables; a plan of another version is refused. 2: partitioned."""

CandidateKey = tuple[str, str, int]
"""(sample id, layer, slot)."""


class PlanError(RuntimeError):
    """The plan on disk cannot be used; the text says why and what to do."""


class DamagedPlanError(PlanError):
    """A file of the plan is missing, cut short or not what it should be."""


@dataclass(frozen=True, kw_only=True)
class ShardPlan:
    """All that building one shard needs to know."""

    index: int
    """Shard number, 0-based."""
    places: tuple[Place, ...]
    """Samples in row order; all of one split."""
    scenes: dict[str, dict[str, Scene]]
    """Layer -> item id -> scene: every scene that a candidate of this shard names."""
    candidates: dict[CandidateKey, tuple[Candidate, ...]]
    """Possible observations, best first."""
    absences: dict[CandidateKey, Outcome]
    """Observations that planning already knows to be absent, and why."""
    texts: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """Sample id -> texts that a file gives it."""

    @property
    def split(self) -> str:
        """The split all places belong to."""
        return self.places[0].split


@dataclass(kw_only=True)
class PartPlan:
    """Plan of one partition: shards on neighbouring ground, of all splits."""

    recipe: Recipe
    number: int
    """Partition number, 0-based."""
    shards: dict[int, tuple[Place, ...]]
    """Shard number -> places in row order; shard numbers ascend."""
    scenes: dict[str, dict[str, Scene]] = field(default_factory=dict)
    """Layer -> item id -> scene: every scene that a candidate names."""
    candidates: dict[CandidateKey, tuple[Candidate, ...]] = field(default_factory=dict)
    absences: dict[CandidateKey, Outcome] = field(default_factory=dict)
    searches: int = 0
    """Pages of search results asked for, whenever this partition was planned."""
    dropped: dict[tuple[str, str, str], tuple[Reason, str]] = field(default_factory=dict)
    """(layer, provider, item id) -> why what the archive gave cannot be used."""
    words: Counter[str] = field(default_factory=Counter)
    """What planning decided that a person should know -> number of places that it is about."""

    @property
    def places(self) -> list[Place]:
        """All places, shard after shard."""
        return [place for places in self.shards.values() for place in places]


@dataclass(frozen=True, kw_only=True)
class Hrefs:
    """Writes a provider's own address as 'provider://name/...', so that plans hold no host that moves."""

    origins: Mapping[str, str]
    """Provider name -> scheme://host[:port] of its API now."""

    def shorten(self, href: str) -> str:
        """Address -> what the plan stores."""
        for name in sorted(self.origins):
            origin = self.origins[name]
            if href.startswith(origin + "/"):
                return f"provider://{name}/{href[len(origin) + 1 :]}"
        return href

    def expand(self, stored: str) -> str:
        """Stored address of the plan -> current address."""
        if not stored.startswith("provider://"):
            return stored
        name, _, rest = stored.removeprefix("provider://").partition("/")
        return f"{self.origins[name]}/{rest}"
