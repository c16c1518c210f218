"""List prices and the cost of a million samples."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Prices:
    """US dollars, without discounts and free tiers. Sources: the pages named, as published in 2025."""

    vcpu_hour: float = 0.134 / 4
    """Compute Engine e2-standard-4 (4 vCPU, 16 GB), on demand, us-central1: 0.134 an hour
    (cloud.google.com/compute/vm-instance-pricing), the machine of `deploy/runners/dataflow.yaml`."""
    request: float = 0.0000004
    """S3 Standard, GET: 0.0004 per 1,000 (aws.amazon.com/s3/pricing); open archives bill nobody."""
    gb_out: float = 0.09
    """S3 transfer to the internet, per GB (same page): paid only where the archive is in another cloud, and its bucket
    makes the requester pay."""
    gb_month: float = 0.023
    """S3 Standard, storage of a GB for a month (same page)."""


PRICES = Prices()


def cost_of_million(row: dict[str, float], prices: Prices = PRICES) -> dict[str, float]:
    """Cost of a million samples, US dollars, from a run's figures.

    Args:
        row: `samples`, `cpu_s` (one vCPU for as long as it computed: waiting costs nothing, because more processes than
            vCPUs can run), `requests`, `bytes`, `disk_bytes`.
        prices: list prices.
    """
    many = 1e6 / row["samples"]
    return {
        "usd_compute": round(row["cpu_s"] / 3600 * prices.vcpu_hour * many, 2),
        "usd_requests": round(row["requests"] * prices.request * many, 2),
        "usd_transfer": round(row["bytes"] / 1e9 * prices.gb_out * many, 2),
        "usd_storage_month": round(row["disk_bytes"] / 1e9 * prices.gb_month * many, 2),
    }
