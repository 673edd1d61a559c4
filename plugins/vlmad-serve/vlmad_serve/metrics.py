"""What Prometheus reads: requests, images, batches and queues; every label has few values."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

__all__ = ["Metrics"]

_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)


class Metrics:
    """The metrics of one server, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "vlmad_requests_total", "Answered requests.", ["method", "route", "status"], registry=self.registry
        )
        self.request_seconds = Histogram(
            "vlmad_request_seconds",
            "From the head of a request to its answer.",
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.images = Counter(
            "vlmad_images_total", "Inspected images.", ["detector", "verdict"], registry=self.registry
        )
        self.refused = Counter(
            "vlmad_images_refused_total", "Images refused with 429 because too many wait.", registry=self.registry
        )
        self.waiting = Gauge("vlmad_images_waiting", "Images accepted and not answered yet.", registry=self.registry)
        self.batch_size = Histogram(
            "vlmad_batch_size", "Images in a batch.", buckets=(1, 2, 4, 8, 16, 32, 64), registry=self.registry
        )
        self.batch_seconds = Histogram(
            "vlmad_batch_seconds", "The detector's time for a batch.", buckets=_SECONDS, registry=self.registry
        )
        self.drift = Gauge(
            "vlmad_drift_log_capital",
            "Natural logarithm of the capital of the drift test; 4.6 is an alarm.",
            ["detector"],
            registry=self.registry,
        )
        self.feedback = Counter(
            "vlmad_feedback_total", "Labels that people gave.", ["detector", "label"], registry=self.registry
        )

    def text(self) -> bytes:
        """In the text format of Prometheus."""
        return generate_latest(self.registry)
