"""What Prometheus is told."""

from collections.abc import Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.15, 0.25, 0.5, 1, 2.5, 5, 10, 30)
SIZES = (1, 2, 4, 8, 16, 32, 64)


class Gauges:
    """The numbers of one service, in a registry of its own. `what` is a route's name and never what somebody typed."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        of = self.registry
        self.answers = Counter("fashionvl_answers", "Requests that were answered", ["what", "status"], registry=of)
        self.seconds = Histogram(
            "fashionvl_answer_seconds", "From request to answer", ["what"], registry=of, buckets=SECONDS
        )
        self.steps = Histogram("fashionvl_step_seconds", "Steps of a search", ["step"], registry=of, buckets=SECONDS)
        self.batches = Histogram("fashionvl_batch_size", "Requests asked together", registry=of, buckets=SIZES)
        self.taken = Gauge("fashionvl_taken_requests", "Requests for the model that wait or are asked", registry=of)
        self.full = Counter("fashionvl_refused_full", "Requests that were told to come again", registry=of)
        self.swaps = Counter("fashionvl_swaps", "Systems that took over, or could not", ["outcome"], registry=of)
        self.serves = Gauge("fashionvl_serves", "1 for what is served", ["name", "version"], registry=of)

    def show(self, versions: Mapping[str, str]) -> None:
        """What is served from now on, and nothing else."""
        self.serves.clear()
        for name, version in versions.items():
            self.serves.labels(name, version).set(1)
