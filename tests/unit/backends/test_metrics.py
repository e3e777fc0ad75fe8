"""Is the table of metrics the one truth, in memory, in prometheus_client and over HTTP?"""

import http.client
import json
from collections.abc import Iterator

import pytest

from spamguard.backends.metrics import BY_NAME, METRICS, MemoryMetrics
from spamguard.backends.prometheus import MetricsServer, PrometheusMetrics
from spamguard.errors import ConfigError
from spamguard.interfaces import Metrics


@pytest.fixture(params=[MemoryMetrics, PrometheusMetrics])
def metrics(request: pytest.FixtureRequest) -> Metrics:
    """Both lives of the metrics."""
    made: Metrics = request.param()
    return made


def test_every_metric_has_a_name_of_its_own_with_its_unit_and_a_sentence() -> None:
    assert len(BY_NAME) == len(METRICS)
    for metric in METRICS:
        assert metric.name.startswith("spamguard_")
        assert metric.sentence.endswith(".") and len(metric.sentence) > 20
        assert metric.name.endswith("_total") == (metric.kind == "counter")
        assert bool(metric.buckets) == (metric.kind == "histogram")
        assert list(metric.buckets) == sorted(metric.buckets)


def test_a_label_or_a_name_that_is_not_in_the_table_raises(metrics: Metrics) -> None:
    with pytest.raises(ValueError, match="label"):
        metrics.count("spamguard_dead_letters_total", reson="empty")
    with pytest.raises(ValueError, match="label"):
        metrics.count("spamguard_dead_letters_total")
    with pytest.raises(ValueError, match="label"):
        metrics.count("spamguard_late_total", reason="empty")
    with pytest.raises(KeyError):
        metrics.count("spamguard_unheard_of_total")
    with pytest.raises(KeyError):
        metrics.observe("spamguard_unheard_of_seconds", [1.0])


def test_every_metric_of_the_table_can_be_used_by_its_kind(metrics: Metrics) -> None:
    for metric in METRICS:
        labels = dict.fromkeys(metric.labels, "x")
        if metric.kind == "counter":
            metrics.count(metric.name, 2, **labels)
        elif metric.kind == "gauge":
            metrics.gauge(metric.name, 3.0, **labels)
        else:
            metrics.observe(metric.name, [0.1, 0.2])


def test_the_exporter_exports_exactly_the_table() -> None:
    exported = {
        (family.name + ("_total" if family.type == "counter" else ""), family.type, family.documentation)
        for family in PrometheusMetrics().registry.collect()
    }
    assert exported == {(metric.name, metric.kind, metric.sentence) for metric in METRICS}


def test_a_gauge_shows_nothing_before_it_has_a_number() -> None:
    metrics = PrometheusMetrics()
    sample = metrics.registry.get_sample_value
    assert sample("spamguard_lists_read") is None and sample("spamguard_late_total") == 0
    metrics.gauge("spamguard_lists_read", 0)
    metrics.gauge_from("spamguard_ready", lambda: 0.0)
    assert (sample("spamguard_lists_read"), sample("spamguard_ready")) == (0, 0)


def test_what_is_counted_comes_out_at_the_exporter() -> None:
    metrics = PrometheusMetrics()
    metrics.count("spamguard_dead_letters_total", reason="empty")
    metrics.count("spamguard_dead_letters_total", 2, reason="empty")
    metrics.observe("spamguard_scoring_seconds", [1e-5, 1.0])
    metrics.gauge("spamguard_lag_records", 7, topic="t", partition="0")
    metrics.gauge_from("spamguard_ready", lambda: 1.0)
    sample = metrics.registry.get_sample_value
    assert sample("spamguard_dead_letters_total", {"reason": "empty"}) == 3
    assert sample("spamguard_scoring_seconds_count") == 2
    assert sample("spamguard_scoring_seconds_bucket", {"le": "1e-05"}) == 1
    assert sample("spamguard_lag_records", {"topic": "t", "partition": "0"}) == 7
    assert sample("spamguard_ready") == 1


def test_a_label_set_that_is_forgotten_is_no_longer_shown() -> None:
    exported, kept = PrometheusMetrics(), MemoryMetrics()
    for metrics in (exported, kept):
        for model in ("m/1", "m/2"):
            metrics.gauge("spamguard_model_info", 1, model=model, code_version="1")
        metrics.forget("spamguard_model_info", model="m/1", code_version="1")
        metrics.forget("spamguard_model_info", model="never set", code_version="1")
        with pytest.raises(ValueError, match="label"):
            metrics.forget("spamguard_model_info", model="m/2")
    [family] = [f for f in exported.registry.collect() if f.name == "spamguard_model_info"]
    assert [sample.labels["model"] for sample in family.samples] == ["m/2"]
    assert kept.total("spamguard_model_info") == 1


def test_what_is_counted_can_be_summed_in_memory() -> None:
    metrics = MemoryMetrics()
    metrics.count("spamguard_decisions_total", 2, action="block", reason="spam_score", category="fraud")
    metrics.count("spamguard_decisions_total", action="block", reason="spam_score", category="loan")
    metrics.count("spamguard_decisions_total", action="allow", reason="ham_score", category="none")
    assert metrics.total("spamguard_decisions_total", action="block") == 3
    assert metrics.total("spamguard_decisions_total") == 4


class Probes:
    """What is missing, as the tests set it."""

    def __init__(self) -> None:
        self.alive: list[str] = []
        self.ready: list[str] = ["model", "group"]
        self.degraded: list[str] = []


@pytest.fixture
def probes() -> Probes:
    """Alive, but not yet ready."""
    return Probes()


@pytest.fixture
def server(probes: Probes) -> Iterator[MetricsServer]:
    """A server on a free port."""
    metrics = PrometheusMetrics()
    metrics.count("spamguard_late_total", 5)
    serving = MetricsServer(
        metrics,
        host="127.0.0.1",
        port=0,
        alive=lambda: probes.alive,
        ready=lambda: probes.ready,
        degraded=lambda: probes.degraded,
    )
    yield serving
    serving.close()


def asked(server: MetricsServer, path: str) -> tuple[int, str]:
    """Return status and body."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, response.read().decode()
    finally:
        connection.close()


def test_the_probes_say_200_or_503_and_what_is_missing(server: MetricsServer, probes: Probes) -> None:
    status, body = asked(server, "/readyz")
    assert (status, json.loads(body)) == (
        503,
        {"ok": False, "waiting_for": ["model", "group"], "degraded": []},
    )
    assert asked(server, "/healthz")[0] == 200
    probes.ready, probes.alive = [], ["loop"]
    assert asked(server, "/readyz") == (200, '{"ok": true, "waiting_for": [], "degraded": []}\n')
    assert asked(server, "/healthz")[0] == 503


def test_a_degraded_worker_stays_ready_and_says_why(server: MetricsServer, probes: Probes) -> None:
    probes.ready, probes.degraded = [], ["dead_letter_flood: 101 within a minute"]
    status, body = asked(server, "/readyz")
    assert (status, json.loads(body)["degraded"]) == (200, probes.degraded)
    assert "degraded" not in asked(server, "/healthz")[1]


def test_the_numbers_are_served_and_any_other_path_says_where(server: MetricsServer) -> None:
    status, body = asked(server, "/metrics")
    assert status == 200
    assert "spamguard_late_total 5.0" in body
    assert all(f"# HELP {metric.name}" in body for metric in METRICS)
    status, body = asked(server, "/")
    assert status == 404
    assert "/metrics" in body


def test_a_taken_port_is_a_sentence_that_names_the_setting(server: MetricsServer) -> None:
    with pytest.raises(ConfigError, match=f"127.0.0.1:{server.port}.*--metrics-port"):
        MetricsServer(PrometheusMetrics(), host="127.0.0.1", port=server.port, alive=list, ready=list)
