"""What does an operator see at a glance? Prints the Grafana dashboard, which is made here and imported as JSON::

    python deploy/grafana/dashboard.py > deploy/grafana/dashboard.json

In Grafana: Dashboards, New, Import, upload dashboard.json, choose the Prometheus. Every panel is one row of `PANELS`; a
test holds the JSON to it, and the metrics to the table in spamguard/backends/metrics.py.
"""

import json
import sys
from typing import Any, Final, NamedTuple

WIDTH: Final = 24  #: columns of Grafana's grid
HEIGHT: Final = 7
SOURCE: Final = {"type": "prometheus", "uid": "${datasource}"}
HERE: Final = '{job=~"$job", instance=~"$instance"}'
DECISIONS: Final = "spamguard_decisions_total"
REQUESTS: Final = "spamguard_gateway_requests_total"


class Panel(NamedTuple):
    """One panel: its title, what to do with it, and its queries by legend."""

    title: str
    sentence: str
    queries: dict[str, str]
    unit: str = "short"
    width: int = 8
    kind: str = "timeseries"
    #: Colours from a value upward, for single numbers.
    steps: tuple[tuple[float | None, str], ...] = ((None, "green"),)


def _rate(metric: str, by: str = "", select: str = "", ago: str = "") -> str:
    """Return the sum of a counter's rates, by labels, of selected series, at an earlier time."""
    selector = HERE.removesuffix("}") + (f", {select}}}" if select else "}")
    grouped = f"sum by ({by})" if by else "sum"
    offset = f" offset {ago}" if ago else ""
    return f"{grouped} (rate({metric}{selector}[$__rate_interval]{offset}))"


def _share(select: str, ago: str = "") -> str:
    """Return the share of selected decisions among all."""
    return f"{_rate(DECISIONS, select=select, ago=ago)} / {_rate(DECISIONS, ago=ago)}"


def _quantile(quantile: float, histogram: str) -> str:
    return f"histogram_quantile({quantile}, {_rate(f'{histogram}_bucket', 'le')})"


_WOULD_BLOCK: Final = 'reason=~"spam_score|list_block|opted_out|observed|allow_all|review_unavailable"'
_REFUSED: Final = 'status!="200"'
_ZERO_IS_BAD: Final = ((None, "red"), (1.0, "green"))
_ANY_IS_BAD: Final = ((None, "green"), (0.001, "red"))

PANELS: Final = (
    Panel("Ready, by job", "Workers, gateways, review. Fewer than you started: ask /readyz of the missing one.",
          {"{{job}}": f"sum by (job) (spamguard_ready{HERE})"}, width=4, kind="stat", steps=_ZERO_IS_BAD),
    Panel("Partitions held", "Fewer than the inbound topic has: a rebalance goes on, or nobody reads some of them.",
          {"{{job}}": f"sum by (job) (spamguard_assigned_partitions{HERE})"}, width=4, kind="stat", steps=_ZERO_IS_BAD),
    Panel("Enforcing workers", "Workers whose blocks bind; the others observe. A mixture is a restart left half-way.",
          {"enforcing": f"sum(spamguard_enforcing{HERE})"}, width=4, kind="stat"),
    Panel("Degraded in the last hour", "Messages that passed because judging or the review copy failed; should be 0.",
          {"degraded": f"sum(increase(spamguard_degraded_total{HERE}[1h]))"}, width=4, kind="stat", steps=_ANY_IS_BAD),
    Panel("Model's age", "From half a year on, train on recent messages.",
          {"age": f"max(spamguard_model_age_seconds{HERE})"}, unit="s", width=4, kind="stat",
          steps=((None, "green"), (120 * 86400.0, "yellow"), (180 * 86400.0, "red"))),
    Panel("Longest since a poll, or with a batch", "Above 10 s: stuck, Kafka does not acknowledge, or judging hangs.",
          {"poll": f"max(spamguard_seconds_since_poll{HERE})", "batch": f"max(spamguard_batch_in_hand_seconds{HERE})"},
          unit="s", width=4, kind="stat",
          steps=((None, "green"), (5.0, "yellow"), (10.0, "red"))),
    Panel("Kill switch", "Workers that let everything pass. Not 0 and not all: one has the control file.",
          {"allow-all": f"sum(spamguard_allow_all{HERE})"}, kind="stat", steps=_ANY_IS_BAD),
    Panel("Open breakers", "Tenants observed because their block rate jumped, summed over workers; the log names them.",
          {"open": f"sum(spamguard_breaker_open{HERE})"}, kind="stat", steps=_ANY_IS_BAD),
    Panel("Workers that hear orders", "Fewer than the ready ones: the control topic is missing or unreadable for some.",
          {"hear": f"sum(spamguard_control_read{HERE})"}, kind="stat", steps=_ZERO_IS_BAD),
    Panel("Decisions by action", "Messages a second, acknowledged by the broker.",
          {"{{action}}": _rate(DECISIONS, "action")}, unit="ops"),
    Panel("Block rate", "Share blocked, and share the model wants blocked whatever the mode. Compare with yesterday.",
          {"blocked": _share('action="block"'), "would block": _share(_WOULD_BLOCK),
           "would block, yesterday": _share(_WOULD_BLOCK, ago="1d")}, unit="percentunit"),
    Panel("Reasons", "Why decisions came out as they did.",
          {"{{reason}}": _rate(DECISIONS, "reason")}, unit="ops"),
    Panel("Categories", "Kinds of spam among blocked and unsure messages.",
          {"{{category}}": _rate(DECISIONS, "category", 'category!="none"')}, unit="ops"),
    Panel("Lag", "Records still to read, by partition. One that only grows: its worker is stuck, or too few workers.",
          {"{{topic}} {{partition}}": f"sum by (topic, partition) (spamguard_lag_records{HERE})"}),
    Panel("Latency", "From the inbound record's timestamp to the acknowledged decision; grows with lag.",
          {"p50": _quantile(0.5, "spamguard_consume_to_publish_seconds"),
           "p99": _quantile(0.99, "spamguard_consume_to_publish_seconds")}, unit="s"),
    Panel("Scoring", "Time to judge one message, clues and guards included.",
          {"p50": _quantile(0.5, "spamguard_scoring_seconds"), "p99": _quantile(0.99, "spamguard_scoring_seconds"),
           "mean": f"{_rate('spamguard_scoring_seconds_sum')} / {_rate('spamguard_scoring_seconds_count')}"}, unit="s"),
    Panel("Batch size", "Records a poll brought; near max_records the worker is at its limit.",
          {"mean": f"{_rate('spamguard_batch_messages_sum')} / {_rate('spamguard_batch_messages_count')}",
           "p99": _quantile(0.99, "spamguard_batch_messages")}),
    Panel("Dead letters", "Records without a readable message id, by reason. A flood: a sender changed its format.",
          {"{{reason}}": _rate("spamguard_dead_letters_total", "reason"),
           "workers in a flood": f"sum(spamguard_dead_letter_flood{HERE})"}, unit="ops"),
    Panel("Degraded, failed, late, defective", "Messages that were not handled as they should have been.",
          {"degraded": _rate("spamguard_degraded_total"),
           "scoring failed: {{error}}": _rate("spamguard_scoring_failures_total", "error"),
           "breaker open": _rate("spamguard_breaker_passed_total"),
           "late": _rate("spamguard_late_total"), "defective": _rate("spamguard_defective_total")}, unit="ops"),
    Panel("Broker errors", "Failed calls to Kafka. publish and commit are repeated or read again; nothing is lost.",
          {"{{operation}}": _rate("spamguard_broker_errors_total", "operation")}, unit="ops"),
    Panel("HTTP requests", "Requests for decisions by status: 401 and 429 keys, 503 overload, 504 closed fail policy.",
          {"{{status}}": _rate("spamguard_gateway_requests_total", "status"),
           "messages waiting": f"sum(spamguard_gateway_waiting{HERE})"}, unit="ops"),
    Panel("HTTP latency", "From a request's head to its answer.",
          {"p50": _quantile(0.5, "spamguard_gateway_seconds"), "p99": _quantile(0.99, "spamguard_gateway_seconds")},
          unit="s"),
    Panel("HTTP, not as it should be", "Unanswered at the deadline; records that Kafka did not take.",
          {"unanswered": _rate("spamguard_gateway_unanswered_total"),
           "unpublished: {{topic}}": _rate("spamguard_gateway_unpublished_total", "topic")}, unit="ops"),
    Panel("HTTP, share refused", "503: too much waits, start another gateway. 429: a key is too fast. 401, 403: keys.",
          {"{{status}}": f"{_rate(REQUESTS, 'status', _REFUSED)} / on() group_left() {_rate(REQUESTS)}"},
          unit="percentunit"),
    Panel("HTTP, messages waiting", "By gateway. At gateway_max_waiting (5,000 by default) callers are refused.",
          {"{{instance}}": f"max by (instance) (spamguard_gateway_waiting{HERE})"}),
    Panel("Models and releases", "Workers by what they run; two lines are a rolling restart, or one left half-way.",
          {"{{model}}, spamguard {{code_version}}": f"sum by (model, code_version) (spamguard_model_info{HERE})",
           "challenger {{model}}": f"sum by (model) (spamguard_shadow_info{HERE})"}),
    Panel("Models swapped and rejected", "rejected now: the model that is meant is not fit, the last good one decides.",
          {"{{role}} {{outcome}}": _rate("spamguard_model_reloads_total", "role, outcome"),
           "rejected now: {{role}}": f"sum by (role) (spamguard_model_rejected{HERE})",
           "swap p99 (s)": _quantile(0.99, "spamguard_model_swap_seconds")}),
    Panel("Policies", "Workers by policy; rejected: the file that is meant has a fault, the last good one holds.",
          {"{{policy}}": f"sum by (policy) (spamguard_policy_info{HERE})",
           "{{outcome}}": _rate("spamguard_policy_reloads_total", "outcome"),
           "rejected now": f"sum(spamguard_policy_rejected{HERE})"}),
    Panel("Lists", "Entries a worker knows, at most and at least; unread: no change reaches that worker.",
          {"{{state}}, most": f"max by (state) (spamguard_list_entries{HERE})",
           "{{state}}, least": f"min by (state) (spamguard_list_entries{HERE})",
           "workers that read the topic": f"sum(spamguard_lists_read{HERE})"}),
    Panel("Opt-outs", "Wishes to be left alone that were heard, and the pairs a worker mutes. lost: see sms.optout.",
          {"{{outcome}}": _rate("spamguard_opt_outs_total", "outcome"),
           "mutes": f"max(spamguard_mutes{HERE})"}),
    Panel("Challenger against champion", "Messages both scored: would_block is what only the challenger blocks.",
          {"{{outcome}}": _rate("spamguard_shadow_total", "outcome"),
           "dropped: {{reason}}": _rate("spamguard_shadow_dropped_total", "reason")}, unit="ops"),
    Panel("Has the traffic moved?", "Index of the last hour against the reference: below 0.1 calm, above 0.25 moved.",
          {"{{feature}}": f"max by (feature) (spamguard_drift_psi{HERE})",
           "messages counted": f"sum(spamguard_drift_messages{HERE}) / 1e6"}),
    Panel("Waiting for people", "Items nobody has read. One that only grows: more readers, or a lower lot share.",
          {"backlog": f"max(spamguard_review_backlog{HERE})",
           "a day ago": f"max(spamguard_review_backlog{HERE} offset 1d)"}),
    Panel("Overdue cases", "Subscribers who should have had an answer by now; should be 0.",
          {"overdue": f"max(spamguard_review_overdue{HERE})"}, width=4, kind="stat", steps=_ANY_IS_BAD),
    Panel("Releases and labels to publish", "Above 0 for minutes: Kafka is away, and released messages wait.",
          {"to publish": f"max(spamguard_review_outbox{HERE})"}, width=4, kind="stat", steps=_ANY_IS_BAD),
    Panel("Review copies taken", "What reaches the reviewers; unreadable records are named in the log.",
          {"stored": _rate("spamguard_review_copies_total"),
           "unreadable": _rate("spamguard_review_unreadable_total")}, unit="ops"),
)  # fmt: skip


def dashboard() -> dict[str, Any]:
    """Return the dashboard as Grafana imports it."""
    return {
        "title": "spamguard",
        "uid": "spamguard",
        "description": "Decisions, lag, latency and health of the workers.",
        "tags": ["spamguard"],
        "schemaVersion": 39,
        "version": 1,
        "editable": True,
        "refresh": "10s",
        "time": {"from": "now-3h", "to": "now"},
        "templating": {
            "list": [
                {"name": "datasource", "type": "datasource", "query": "prometheus", "label": "Prometheus"},
                _variable("job", "label_values(spamguard_ready, job)"),
                _variable("instance", 'label_values(spamguard_ready{job=~"$job"}, instance)'),
            ]
        },
        "panels": _placed(),
    }


def _variable(name: str, query: str) -> dict[str, Any]:
    return {
        "name": name,
        "type": "query",
        "datasource": SOURCE,
        "query": {"query": query, "refId": name},
        "refresh": 2,
        "includeAll": True,
        "multi": True,
        "allValue": ".*",
        "current": {"text": "All", "value": "$__all"},
    }


def _placed() -> list[dict[str, Any]]:
    """Return the panels from left to right, a row as high as its first one."""
    placed: list[dict[str, Any]] = []
    x = y = height = 0
    for number, panel in enumerate(PANELS, start=1):
        if x + panel.width > WIDTH:
            x, y = 0, y + height
        height = HEIGHT if panel.kind == "timeseries" else 4
        placed.append(_drawn(panel, number) | {"gridPos": {"x": x, "y": y, "w": panel.width, "h": height}})
        x += panel.width
    return placed


def _drawn(panel: Panel, number: int) -> dict[str, Any]:
    steps = [{"value": value, "color": colour} for value, colour in panel.steps]
    single = panel.kind == "stat"
    return {
        "id": number,
        "type": panel.kind,
        "title": panel.title,
        "description": panel.sentence,
        "datasource": SOURCE,
        "fieldConfig": {
            "defaults": {
                "unit": panel.unit,
                "min": 0,
                "color": {"mode": "thresholds" if single else "palette-classic"},
                "thresholds": {"mode": "absolute", "steps": steps},
            },
            "overrides": [],
        },
        "options": (
            {"reduceOptions": {"calcs": ["lastNotNull"]}, "colorMode": "value", "graphMode": "none"}
            if single
            else {"legend": {"displayMode": "list", "placement": "bottom"}, "tooltip": {"mode": "multi"}}
        ),
        "targets": [
            {"refId": chr(ord("A") + place), "datasource": SOURCE, "expr": expr, "legendFormat": legend}
            for place, (legend, expr) in enumerate(panel.queries.items())
        ],
    }


def main() -> None:
    """Print it."""
    sys.stdout.write(json.dumps(dashboard(), indent=2, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
