"""Status of a build as OpenMetrics, for Prometheus and compatible programs."""

from __future__ import annotations

import contextlib
import threading
from functools import partial
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.openmetrics.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.registry import Collector

from pipelines.status import status_of
from pipelines.tables import PlanError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from prometheus_client.metrics_core import Metric

    from pipelines.status import Status

CONTENT_TYPE: str = CONTENT_TYPE_LATEST
"""Media type of what `openmetrics` gives."""


class PortError(ValueError):
    """The port for metrics cannot be had; the text says which."""


def openmetrics(status: Status) -> str:
    """The text of one scrape; every series carries the dataset's name."""
    registry = CollectorRegistry()
    registry.register(_Once(status))
    return str(generate_latest(registry).decode())  # type: ignore[no-untyped-call] # prometheus_client has no types here


@contextlib.contextmanager
def serve(out: Path, port: int | None) -> Iterator[None]:
    """Answer http://127.0.0.1:PORT/metrics with the status of a dataset at that moment; None = do not.

    Raises:
        PortError: the port is taken.
    """
    if port is None:
        yield
        return
    try:
        server = ThreadingHTTPServer(("127.0.0.1", port), partial(_Handler, out))
    except OSError:
        raise PortError(f"--metrics-port {port}: another program uses this port; choose another") from None
    threading.Thread(target=server.serve_forever, name="metrics", daemon=True).start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    def __init__(self, out: Path, *rest: Any) -> None:
        self.out = out
        super().__init__(*rest)

    def do_GET(self) -> None:
        """One scrape; 503 while there is no plan yet."""
        try:
            status, body = HTTPStatus.OK, openmetrics(status_of(self.out)).encode()
        except PlanError:
            status, body = HTTPStatus.SERVICE_UNAVAILABLE, b"# EOF\n"
        self.send_response(status)
        self.send_header("Content-Type", CONTENT_TYPE)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Scrapes are not worth a line each."""


class _Once(Collector):
    """Speaks of one status."""

    def __init__(self, status: Status) -> None:
        self.status = status

    def collect(self) -> Iterator[Metric]:
        """All families."""
        status, name = self.status, self.status.name
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
        yield from self._spent()
        for metric, text, value in (
            ("landweave_running", "1 while a build of this dataset runs on this machine.", float(status.running)),
            ("landweave_finished", "1 when the dataset is finished.", float(status.finished)),
            ("landweave_left_seconds", "Estimated time to the end of the run.", status.seconds_left),
        ):
            if value is not None:
                gauge = GaugeMetricFamily(metric, text, labels=["dataset"])
                gauge.add_metric([name], value)
                yield gauge

    def _spent(self) -> Iterator[Metric]:
        spent, name = self.status.spent, self.status.name
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
