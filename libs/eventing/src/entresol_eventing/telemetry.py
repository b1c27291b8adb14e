"""Metrics, logs and traces, the same for every service. Built by `create`, never at import."""

import json
import logging
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import UTC, datetime
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from entresol_eventing.envelope import Cause, Event

_PLAIN = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class Metrics:
    """What Prometheus sees of the runtime. One set per process; services are told apart by a label."""

    def __init__(self, registry: CollectorRegistry) -> None:
        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(f"entresol_{name}", text, ["service", *labels], registry=registry)

        def gauge(name: str, text: str) -> Gauge:
            return Gauge(f"entresol_{name}", text, ["service"], registry=registry)

        self.registry = registry
        self.handled = counter("events_handled", "Messages of the log that were handled, copies included")
        self.recorded = counter("events_recorded", "Events that were committed, by what they say", "fact")
        self.published = counter("events_published", "Events that the bus took")
        self.batch_seconds = Histogram(
            "entresol_batch_seconds",
            "From a batch's arrival to its commit",
            ["service"],
            registry=registry,
            buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5),
        )
        self.lag = gauge("consumer_lag_messages", "Messages of the log that are not handled yet")
        self.outbox_pending = gauge("outbox_pending_events", "Events that are committed and not published yet")
        self.outbox_oldest = gauge("outbox_oldest_seconds", "Age of the oldest event that is not published yet")
        self.parked = gauge("parked_messages", "Messages that wait for a retry, or behind one")
        self.dead = gauge("dead_letters", "Messages that wait for an operator")
        self.parked_oldest = gauge("parked_oldest_seconds", "Age of the oldest message that waits in the park")
        self.deadlines = gauge("deadlines", "Deadlines that are still to come")
        self.overdue = gauge("deadlines_overdue_seconds", "For how long the first deadline has not been answered")
        self.stalled = gauge("requests_stalled", "Requests that nobody has moved on for longer than expected")
        self.held = gauge("requests_held", "Requests that a lock or a window holds")
        self.reviews = gauge("reviews_open", "Broken glasses that nobody has signed off yet")
        self.reviews_overdue = gauge("reviews_overdue", "Those of them whose review was due already")
        self.drifted = gauge("resources_drifted", "Resources that are not what was made of them")
        self.unobserved = gauge("resources_unobserved", "Resources that nobody can look at any more")
        self.paused = gauge("resources_paused", "Resources that somebody works on by hand")
        self.expiring = gauge("resources_expiring", "Resources whose life ends within a day")
        self.expired = gauge("resources_expired", "Resources whose life is over, and that still exist")
        self.orphaned = gauge("resources_orphaned", "Deleted resources that have left something in the world")
        self.suspended = gauge("steps_suspended", "Steps that wait for a person, or for the world")
        self.approvals = gauge("approvals_open", "Questions to people that a request waits for")
        self.locks = gauge("locks_active", "Locks in force")
        self.waivers = gauge("waivers_active", "Waivers in force")
        self.waiting = Gauge(
            "entresol_work_waiting", "Work for the outside world that waits", ["service", "what"], registry=registry
        )
        self.waiting_oldest = Gauge(
            "entresol_work_oldest_seconds", "Age of the oldest of it", ["service", "what"], registry=registry
        )
        self.requests = counter("http_requests", "Answers of the door", "method", "route", "status")
        self.request_seconds = Histogram(
            "entresol_http_request_seconds", "Time to answer", ["service", "route"], registry=registry
        )


class Tracing:
    """OpenTelemetry, off unless an endpoint is given."""

    def __init__(self, service: str, endpoint: str) -> None:
        self._tracer: Any = None
        if endpoint:
            from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
            from opentelemetry.sdk.resources import Resource
            from opentelemetry.sdk.trace import TracerProvider
            from opentelemetry.sdk.trace.export import BatchSpanProcessor

            self._provider = TracerProvider(resource=Resource({"service.name": f"entresol-{service}"}))
            self._provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(f"{endpoint.rstrip('/')}/v1/traces")))
            self._tracer = self._provider.get_tracer("entresol")

    def span(self, event: Event[Any]) -> AbstractContextManager[Cause]:
        """A span around the handling of an event; yields what the answers are to name as their cause."""
        return nullcontext(event.cause) if self._tracer is None else self._handling(event)

    def request(self, name: str, traceparent: str | None) -> AbstractContextManager[object]:
        """A span around a request of the door, within the caller's trace if it sent one."""
        return nullcontext() if self._tracer is None else self._started(name, traceparent, {})

    @contextmanager
    def _handling(self, event: Event[Any]) -> Iterator[Cause]:
        attributes = {"messaging.message.id": event.id, "messaging.message.conversation_id": event.correlationid}
        with self._started(event.type, event.traceparent, attributes):
            yield event.cause.model_copy(update={"traceparent": self.traceparent()})

    @contextmanager
    def _started(self, name: str, traceparent: str | None, attributes: dict[str, str]) -> Iterator[None]:
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        parent = TraceContextTextMapPropagator().extract({"traceparent": traceparent or ""})
        with self._tracer.start_as_current_span(name, context=parent, attributes=attributes):
            yield

    def traceparent(self) -> str | None:
        """The current span as W3C trace context; None where nothing is traced."""
        if self._tracer is None:
            return None
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        carrier: dict[str, str] = {}
        TraceContextTextMapPropagator().inject(carrier)
        return carrier.get("traceparent")

    def close(self) -> None:
        if self._tracer is not None:
            self._provider.shutdown()


class Telemetry:
    """What the services of one process share."""

    def __init__(self) -> None:
        self.metrics = Metrics(CollectorRegistry())


class JsonLines(logging.Formatter):
    """One JSON object a line: time, level, message, what the caller added, and the exception if there is one."""

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **{key: value for key, value in vars(record).items() if key not in _PLAIN},
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


def configure_logging(level: str, style: str) -> None:
    """Write the process's log to stderr, once."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        JsonLines() if style == "json" else logging.Formatter("%(asctime)s %(levelname)-7s %(name)s: %(message)s")
    )
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    for chatty in ("alembic", "httpx", "httpcore", "uvicorn"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
