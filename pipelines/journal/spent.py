"""Cost in the units that archives and clouds bill, and the limits of a run."""

from __future__ import annotations

from collections.abc import Mapping  # noqa: TC003 - pydantic needs it at run time
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pipelines.access.http.client import Counters
    from pipelines.journal.prices import Prices


@dataclass(frozen=True, kw_only=True)
class Spent:
    """Cost of one shard, or of several."""

    requests: Mapping[str, int] = field(default_factory=dict)
    """Provider -> HTTP requests sent, retries included."""
    bytes: Mapping[str, int] = field(default_factory=dict)
    """Provider -> body bytes received, those of failed tries included."""
    retries: Mapping[str, int] = field(default_factory=dict)
    """Provider -> requests that were a second or later try."""
    failures: Mapping[str, int] = field(default_factory=dict)
    """Provider -> operations that were given up."""
    eecu_s: float = 0.0
    """Earth Engine compute, EECU-seconds."""
    tokens: int = 0
    """Tokens of a language model, prompts and answers, those of refused answers included; cached answers cost none."""
    seconds: float = 0.0
    """Wall time of the worker, seconds."""

    @classmethod
    def of(cls, counters: Mapping[str, Counters], *, eecu_s: float, tokens: int, seconds: float) -> Self:
        """From what the clients of the providers have counted; providers that were not asked are left out."""
        asked = {name: c for name, c in sorted(counters.items()) if c.requests}
        return cls(
            requests={name: c.requests for name, c in asked.items()},
            bytes={name: c.bytes_received for name, c in asked.items()},
            retries={name: c.retries for name, c in asked.items()},
            failures={name: c.failures for name, c in asked.items()},
            eecu_s=eecu_s,
            tokens=tokens,
            seconds=seconds,
        )

    @property
    def all_requests(self) -> int:
        """Requests to all providers."""
        return sum(self.requests.values())

    @property
    def all_bytes(self) -> int:
        """Bytes from all providers."""
        return sum(self.bytes.values())

    def cost(self, prices: Prices) -> float:
        """In the currency of the prices."""
        return (
            self.all_requests * prices.request
            + self.all_bytes / 1e9 * prices.gigabyte
            + self.eecu_s / 3600.0 * prices.eecu_hour
            + self.tokens / 1e6 * prices.million_tokens
            + self.seconds / 3600.0 * prices.worker_hour
        )

    def json(self) -> dict[str, Any]:
        """The record as JSON."""
        return {name: dict(v) if isinstance(v, dict) else v for name, v in asdict(self).items()}


def total(spent: Iterable[Spent]) -> Spent:
    """The sum of several."""
    sums: dict[str, dict[str, int]] = {"requests": {}, "bytes": {}, "retries": {}, "failures": {}}
    eecu_s, tokens, seconds = 0.0, 0, 0.0
    for one in spent:
        for name, by_provider in sums.items():
            for provider, number in getattr(one, name).items():
                by_provider[provider] = by_provider.get(provider, 0) + number
        eecu_s, tokens, seconds = eecu_s + one.eecu_s, tokens + one.tokens, seconds + one.seconds
    ordered = {name: dict(sorted(by_provider.items())) for name, by_provider in sums.items()}
    return Spent(**ordered, eecu_s=eecu_s, tokens=tokens, seconds=seconds)


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Spending limits of one run; None = no limit."""

    requests: int | None = None
    """HTTP requests, retries included."""
    cost: float | None = None
    """In the currency of the prices."""

    def __bool__(self) -> bool:
        """Whether there is any."""
        return self.requests is not None or self.cost is not None

    def text(self, prices: Prices) -> str:
        """As options of the command line."""
        said = [] if self.requests is None else [f"--max-requests {self.requests:,}"]
        return " ".join(said if self.cost is None else [*said, f"--max-cost {self.cost:g} {prices.currency}"])

    def broken_by(self, spent: Spent, prices: Prices) -> str | None:
        """The limit that a sum exceeds, in words; None if it exceeds none."""
        if self.requests is not None and spent.all_requests > self.requests:
            return f"--max-requests {self.requests:,}"
        if self.cost is not None and spent.cost(prices) > self.cost:
            return f"--max-cost {self.cost:g} {prices.currency}"
        return None
