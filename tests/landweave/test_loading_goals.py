"""What the loading benchmark says of its rows."""

from __future__ import annotations

from typing import Any

from benchmarks.loading_goals import goals


def row(
    task: str, loader: str, rate: float, disk: float = 100.0, *, packed: bool = True, **more: Any
) -> dict[str, Any]:
    return {"task": task, "loader": loader, "samples_s": rate, "disk_mb": disk, "compressed": packed, **more}


def test_goals_are_met_missed_or_not_judged_with_a_reason() -> None:
    rows = [
        row("batch", "landweave", 1000, 60),
        row("batch", "decode in C", 1100, 60),
        row("batch", "zarr-python", 90, 60),
        row("batch", "memmap raw", 9000, 120, packed=False),
        row("batch", "parquet", 600, 80),
        row("stream 0 workers", "landweave", 900, 60),
        row("stream 2 workers", "landweave", 500, 60),
        row("stream 2 workers", "litdata raw", 850, 120, packed=False),
    ]
    judged = goals(rows, {"mosaicml zstd": "streaming is not installed"})
    met, missed, unjudged = (" | ".join(judged[k]) for k in ("met", "missed", "unjudged"))
    assert "against zarr-python: 11.11" in met
    assert "in C on all cores: 0.91" in met
    assert "best uncompressed peer (litdata raw): 1.06" in met
    assert "against the best peer (parquet): 1.67" in missed
    assert "over HTTP" in unjudged
    assert "streaming is not installed" in unjudged
    assert "smallest peer at half our speed" in met


def test_a_larger_footprint_than_a_peer_at_our_speed_is_missed() -> None:
    rows = [row("batch", "landweave", 100, 90), row("batch", "h5py", 60, 80)]
    assert any("bytes of the smallest peer" in line for line in goals(rows, {})["missed"])
