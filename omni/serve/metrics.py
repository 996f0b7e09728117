"""What Prometheus is told: sessions, replies and where their time goes, and each stage's load."""

from collections.abc import Sequence

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from omni import events
from omni.types import StageHealth

BUCKETS_S = (0.1, 0.2, 0.3, 0.5, 0.7, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0)


class Metrics:
    """One registry per server, so that several live in one process."""

    def __init__(self) -> None:
        self._registry = registry = CollectorRegistry()
        self._sessions = Gauge("omni_sessions", "open sessions", registry=registry)
        self._refused = Counter(
            "omni_sessions_refused", "sessions refused", ("code",), registry=registry
        )
        self._responses = Counter(
            "omni_responses", "replies by how they ended", ("status",), registry=registry
        )
        self._latency = Histogram(
            "omni_latency_seconds",
            "from the user's last speech sample to each step of the reply",
            ("step",),
            buckets=BUCKETS_S,
            registry=registry,
        )
        self._units = Histogram(
            "omni_unit_seconds",
            "full duplex: from when a second of the user's was due to when its answer was out",
            buckets=BUCKETS_S,
            registry=registry,
        )
        self._failures = Counter("omni_failures", "failures", ("code",), registry=registry)
        self._stages = {
            name: Gauge(f"omni_stage_{name}", text, ("stage",), registry=registry)
            for name, text in {
                "ready": "1 if the stage works",
                "queued": "chunks that wait",
                "dropped": "chunks dropped because the inbox was full",
                "busy_seconds": "model time used",
                "media_seconds": "sound or pictures handled",
                "restarts": "times the stage was started again",
            }.items()
        }

    def observe(self, event: events.Event) -> None:
        """Count what an event tells."""
        if isinstance(event, events.Failed | events.TranscriptFailed):
            self._failures.labels(event.code).inc()
        if isinstance(event, events.UnitDone):
            self._units.observe(max(0.0, event.took_ms / 1000))
        if not isinstance(event, events.ResponseDone):
            return
        self._responses.labels(event.status).inc()
        if event.error_code:
            self._failures.labels(event.error_code).inc()
        timings = event.timings
        for step, elapsed_ms in (
            ("end_of_turn", timings.end_of_turn_ms),
            ("recognised", timings.recognised_ms),
            ("first_token", timings.first_token_ms),
            ("first_clause", timings.first_clause_ms),
            ("first_audio", timings.first_audio_ms),
        ):
            if elapsed_ms is not None:
                self._latency.labels(step).observe(max(0.0, elapsed_ms / 1000))

    def refused(self, code: str) -> None:
        self._refused.labels(code).inc()

    def exposition(self, num_sessions: int, stages: Sequence[StageHealth]) -> bytes:
        """The Prometheus text as of now."""
        self._sessions.set(num_sessions)
        for stage in stages:
            values = {
                "ready": float(stage.is_ready),
                "queued": stage.queued,
                "dropped": stage.dropped,
                "busy_seconds": stage.busy_s,
                "media_seconds": stage.media_s,
                "restarts": stage.restarts,
            }
            for name, value in values.items():
                self._stages[name].labels(stage.stage).set(value)
        return generate_latest(self._registry)
