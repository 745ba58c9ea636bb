"""What /metrics says, in Prometheus' text form: no names of projects, studies or keys, for it is public.

Counters belong to this process; scraping all replicas and adding up is Prometheus' work. Trials by state are asked of the database
at each scrape.
"""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from tuner import __version__
from tuner.wire import TrialState

_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)


class Metrics:
    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Histogram(
            "tuner_request_seconds",
            "Time to answer a request, waiting included, by method, path template and status",
            ["method", "path", "status"],
            buckets=_BUCKETS,
            registry=self.registry,
        )
        self.leases = Counter("tuner_leases", "Leases given", registry=self.registry)
        self.reports = Counter("tuner_reports", "Reports stored", registry=self.registry)
        self.tells = Counter("tuner_tells", "Trials told, by the state they took", ["state"], registry=self.registry)
        self.waiting = Gauge("tuner_waiting_requests", "Requests that wait for a trial or a judgement", registry=self.registry)
        self.trials = Gauge("tuner_trials", "Trials of studies that have not ended, by state", ["state"], registry=self.registry)
        self.version = Gauge("tuner_version", "Always 1; the version is the label", ["version"], registry=self.registry)
        self.version.labels(__version__).set(1)

    def render(self, counts: dict[str, int], num_waiting: int) -> bytes:
        for state in TrialState:
            self.trials.labels(str(state)).set(counts.get(state, 0))
        self.waiting.set(num_waiting)
        return generate_latest(self.registry)
