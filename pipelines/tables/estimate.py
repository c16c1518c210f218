"""The predicted cost of building a plan, or a part of one."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_ENGINE = "earthengine_"


@dataclass(frozen=True, kw_only=True, slots=True)
class ProviderCost:
    """What one STAC provider is expected to be asked for."""

    requests: float = 0
    bytes: float = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class EngineCost:
    """What Earth Engine is expected to be asked for."""

    requests: float = 0
    bytes: float = 0
    eecu_hours: float = 0.0
    """Compute time, EECU-hours."""
    eecu_hours_least: float = 0.0
    eecu_hours_most: float = 0.0
    """Range in which the compute time is assumed to lie: nothing is published."""
    hours: float = 0.0
    """Wall time at the quota."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Estimate:
    """Expected cost of a build. Every number adds up over partitions.

    plan.json holds it flat: 'requests.NAME' and 'bytes.NAME' per provider, 'earthengine_requests' and so on for Earth
    Engine, absent where nothing comes from there. Older plans lack some numbers; those are 0.
    """

    samples: int = 0
    scenes: int = 0
    requests: float = 0
    """To all STAC providers; Earth Engine's are in `earthengine` alone, as are bytes."""
    bytes: float = 0
    cpu_seconds: float = 0.0
    seconds: float = 0.0
    """Wall time with one worker, Earth Engine's included."""
    providers: Mapping[str, ProviderCost] = field(default_factory=dict)
    """STAC provider -> its part."""
    earthengine: EngineCost | None = None
    """None where nothing comes from Earth Engine."""

    @property
    def all_requests(self) -> float:
        """Requests to all archives."""
        return self.requests + (self.earthengine or EngineCost()).requests

    @property
    def all_bytes(self) -> float:
        """Bytes from all archives."""
        return self.bytes + (self.earthengine or EngineCost()).bytes

    def json(self) -> dict[str, float]:
        """As plan.json holds it."""
        flat: dict[str, float] = {name: getattr(self, name) for name in _PLAIN}
        for what in ("requests", "bytes"):
            flat |= {f"{what}.{name}": getattr(self.providers[name], what) for name in sorted(self.providers)}
        if self.earthengine is not None:
            flat |= {f"{_ENGINE}{f.name}": getattr(self.earthengine, f.name) for f in fields(EngineCost)}
        return flat

    @classmethod
    def from_json(cls, flat: Mapping[str, Any]) -> Self:
        """From plan.json; numbers that this version does not know are left out.

        Raises:
            TypeError: a value is no number.
        """
        for name, value in flat.items():
            if isinstance(value, bool) or not isinstance(value, (int, float)):
                raise TypeError(f"estimate: {name} must be a number, got {value!r}")
        names = sorted({name.partition(".")[2] for name in flat if "." in name})
        engine = {f.name: flat[_ENGINE + f.name] for f in fields(EngineCost) if _ENGINE + f.name in flat}
        return cls(
            **{name: flat[name] for name in _PLAIN if name in flat},
            providers={
                name: ProviderCost(requests=flat.get(f"requests.{name}", 0), bytes=flat.get(f"bytes.{name}", 0))
                for name in names
            },
            earthengine=EngineCost(**engine) if engine else None,
        )


_PLAIN = tuple(f.name for f in fields(Estimate) if f.name not in ("providers", "earthengine"))


def added_up(estimates: Iterable[Estimate]) -> Estimate:
    """Estimates of partitions as that of all of them."""
    total: dict[str, float] = {}
    for one in estimates:
        for key, value in one.json().items():
            total[key] = round(total.get(key, 0) + value, 6)
    return Estimate.from_json(total)
