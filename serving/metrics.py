"""The service's Prometheus metrics, summed over all workers.

Workers of one server share a folder, named by ``PROMETHEUS_MULTIPROC_DIR`` before this module is imported;
whichever answers ``/metrics`` adds them up.
"""

import os

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

FOLDER = "PROMETHEUS_MULTIPROC_DIR"
SECONDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class Metrics:
    """Counts requests, predictions and records; no label names a patient or a client."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        own = self._registry
        self._requests = Counter("salvage_requests", "Requests answered", ("route", "status"), registry=own)
        self._seconds = Histogram(
            "salvage_request_seconds", "Time to answer", ("route",), buckets=SECONDS, registry=own
        )
        self._predictions = Counter(
            "salvage_predictions", "Predictions answered and on record", ("model", "version"), registry=own
        )
        self._served = Gauge(
            "salvage_model_taken_up",
            "Bundles taken up",
            ("model", "version"),
            registry=own,
            multiprocess_mode="max",
        )

    def request(self, route: str, status: int, seconds: float) -> None:
        """Count one answered request."""
        self._requests.labels(route, str(status)).inc()
        self._seconds.labels(route).observe(seconds)

    def predicted(self, model: str, version: str, *, count: int = 1) -> None:
        """Count predictions that are on record."""
        self._predictions.labels(model, version).inc(count)

    def taken_up(self, model: str, version: str) -> None:
        """Mark a bundle as served."""
        self._served.labels(model, version).set(1)

    def exposition(self) -> bytes:
        """Return all workers' metrics in Prometheus' text format."""
        if FOLDER not in os.environ:
            return generate_latest(self._registry)
        together = CollectorRegistry()
        MultiProcessCollector(together)  # type: ignore[no-untyped-call]
        return generate_latest(together)
