"""Status of a build as OpenMetrics, for Prometheus and compatible programs."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.openmetrics.exposition import generate_latest
from prometheus_client.registry import Collector

from pipelines.status import status_of
from pipelines.tables import PlanError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from prometheus_client.metrics_core import Metric

    from pipelines.journal.spent import Spent
    from pipelines.status import Status


class PortError(ValueError):
    """The port for metrics cannot be used; the message names it."""


def openmetrics(status: Status) -> str:
    """The text of one scrape; every series carries the dataset's name."""
    text: bytes = generate_latest(_registry(lambda: status))  # type: ignore[no-untyped-call] # prometheus_client has no types here
    return text.decode()


@contextlib.contextmanager
def serve(out: Path, port: int | None) -> Iterator[None]:
    """Answer http://127.0.0.1:PORT/metrics with the status of a dataset at that moment; None = do not.

    Before there is a plan, an answer has no series.

    Raises:
        PortError: the port is taken.
    """
    if port is None:
        yield
        return
    try:
        server, thread = start_http_server(port, "127.0.0.1", _registry(lambda: status_of(out)))
    except OSError:
        raise PortError(f"--metrics-port {port}: another program uses this port; choose another") from None
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _registry(status: Callable[[], Status]) -> CollectorRegistry:
    registry = CollectorRegistry()
    registry.register(_StatusCollector(status))
    return registry


class _StatusCollector(Collector):
    """Metrics of a dataset, read anew at each scrape."""

    def __init__(self, status: Callable[[], Status]) -> None:
        self._status = status

    def collect(self) -> Iterator[Metric]:
        """All families."""
        with contextlib.suppress(PlanError):
            yield from _families(self._status())


def _families(status: Status) -> Iterator[Metric]:
    name = status.name
    shards = GaugeMetricFamily("landweave_shards", "Shards by state.", labels=["dataset", "state"])
    for state, number in (
        ("done", status.done),
        ("failed", len(status.failed)),
        ("building", len(status.building)),
        ("left", status.left),
    ):
        shards.add_metric([name, state], number)
    yield shards
    outcomes = GaugeMetricFamily("landweave_outcomes", "Rows of the ledger.", labels=["dataset", "layer", "reason"])
    for layer, reasons in status.outcomes.items():
        for reason, number in reasons.items():
            outcomes.add_metric([name, layer, reason], number)
    yield outcomes
    yield from _spent(name, status.spent)
    for metric, text, value in (
        ("landweave_running", "1 while a build of this dataset runs on this machine.", float(status.running)),
        ("landweave_finished", "1 when the dataset is finished.", float(status.finished)),
        ("landweave_left_seconds", "Estimated time to the end of the run.", status.seconds_left),
    ):
        if value is not None:
            gauge = GaugeMetricFamily(metric, text, labels=["dataset"])
            gauge.add_metric([name], value)
            yield gauge


def _spent(name: str, spent: Spent) -> Iterator[Metric]:
    for what, text, by_provider in (
        ("requests", "HTTP requests, retries included.", spent.requests),
        ("received_bytes", "Body bytes received.", spent.bytes),
        ("retries", "Requests that were retries.", spent.retries),
        ("failures", "Operations that failed after all retries.", spent.failures),
    ):
        family = CounterMetricFamily(f"landweave_{what}", text, labels=["dataset", "provider"])
        for provider, number in by_provider.items():
            family.add_metric([name, provider], number)
        yield family
    for what, text, value in (
        ("eecu_seconds", "Earth Engine compute.", spent.eecu_s),
        ("tokens", "Tokens of the captioner's model.", spent.tokens),
        ("worker_seconds", "Wall time of workers.", spent.seconds),
    ):
        counter = CounterMetricFamily(f"landweave_{what}", text, labels=["dataset"])
        counter.add_metric([name], value)
        yield counter
