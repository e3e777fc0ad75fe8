"""How do operators see the numbers: /metrics, /healthz and /readyz on one port?

prometheus_client keeps and renders the numbers; a small WSGI application on the standard library's threading server
adds the two probes. It answers from its own thread, so a stalled event loop is seen, not shared.
"""

import json
import threading
from collections.abc import Callable, Iterable, Sequence
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, make_wsgi_app
from prometheus_client.metrics_core import Metric as Family

from spamguard.backends.metrics import BY_NAME, METRICS
from spamguard.errors import ConfigError

#: Returns what is missing or not as it should be; empty when all is well.
Probe = Callable[[], Sequence[str]]


class _GaugeOnceKnown(Gauge):
    """A gauge that shows no number before it has one.

    Workers, gateways and the review application share one table. A gauge that a process never sets would be 0 there,
    which for "ready" or "the lists are read" is an alarm about something that does not exist.
    """

    _known = False

    def set(self, value: float) -> None:
        """Show a number from now on."""
        self._known = True
        super().set(value)

    def set_function(self, f: Callable[[], float]) -> None:
        """Show what is read at each scrape from now on."""
        self._known = True
        super().set_function(f)

    def collect(self) -> Iterable[Family]:
        """Yield the family, without a sample while there is none."""
        for family in super().collect():
            if not (self._known or self._labelnames):
                family.samples = []
            yield family


class PrometheusMetrics:
    """The table of metrics, kept by prometheus_client in a registry of its own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._metrics: dict[str, Any] = {}
        for metric in METRICS:
            name = metric.name.removesuffix("_total")
            if metric.kind == "counter":
                self._metrics[metric.name] = Counter(name, metric.sentence, metric.labels, registry=self.registry)
            elif metric.kind == "gauge":
                self._metrics[metric.name] = _GaugeOnceKnown(
                    name, metric.sentence, metric.labels, registry=self.registry
                )
            else:
                self._metrics[metric.name] = Histogram(
                    name, metric.sentence, metric.labels, buckets=metric.buckets, registry=self.registry
                )

    def count(self, name: str, amount: float = 1.0, **labels: str) -> None:
        """Add to a counter."""
        self._child(name, labels).inc(amount)

    def observe(self, name: str, values: Sequence[float]) -> None:
        """Add observations to a histogram."""
        observe = self._metrics[name].observe
        for value in values:
            observe(value)

    def gauge(self, name: str, value: float, **labels: str) -> None:
        """Set a gauge."""
        self._child(name, labels).set(value)

    def forget(self, name: str, **labels: str) -> None:
        """Take a label set away."""
        self._child(name, labels)  # raises for labels the metric does not have; a child nobody knew is made and goes
        self._metrics[name].remove(*(labels[label] for label in BY_NAME[name].labels))

    def gauge_from(self, name: str, read: Callable[[], float]) -> None:
        """Let a gauge be read at the moment it is scraped."""
        self._metrics[name].set_function(read)

    def _child(self, name: str, labels: dict[str, str]) -> Any:
        return self._metrics[name].labels(**labels) if labels else self._metrics[name]


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class _Silent(WSGIRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class names it so
        """Say nothing: probes come every second."""


class MetricsServer:
    """Serves the metrics and the probes until closed."""

    def __init__(
        self, metrics: PrometheusMetrics, *, host: str, port: int, alive: Probe, ready: Probe, degraded: Probe = tuple
    ) -> None:
        self._degraded = degraded
        self._render = make_wsgi_app(metrics.registry)
        self._probes = {"/healthz": alive, "/readyz": ready}
        try:
            self._server = make_server(host, port, self._answer, server_class=_Server, handler_class=_Silent)
        except OSError as error:
            detail = f"metrics cannot be served on {host}:{port} ({error.strerror}); choose another --metrics-port"
            raise ConfigError(detail=detail) from None
        self.port: int = self._server.server_port
        self._thread = threading.Thread(target=self._server.serve_forever, name="metrics", daemon=True)
        self._thread.start()

    def _answer(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        path = environ.get("PATH_INFO", "/")
        if path in self._probes:
            missing = list(self._probes[path]())
            told: dict[str, object] = {"ok": not missing, "waiting_for": missing}
            if path == "/readyz":  # a degraded worker still takes its share: it stays ready, and says so
                told["degraded"] = list(self._degraded())
            body = json.dumps(told).encode() + b"\n"
            status = "503 Service Unavailable" if missing else "200 OK"
            start_response(status, [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
            return [body]
        if path == "/metrics":
            rendered: Iterable[bytes] = self._render(environ, start_response)
            return rendered
        start_response("404 Not Found", [("Content-Type", "text/plain")])
        return [b"Try /metrics, /healthz or /readyz.\n"]

    def close(self) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
