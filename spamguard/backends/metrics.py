"""Which metrics are there, and what does each tell an operator at night?

This table is the one truth: the exporter is built from it, docs/operations.md shows it, and a test compares all three.
"""

from collections.abc import Sequence
from typing import Final, Literal, NamedTuple


class Metric(NamedTuple):
    """One metric and the sentence that explains it."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    labels: tuple[str, ...]
    sentence: str
    buckets: tuple[float, ...] = ()


_SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0, 600.0)
_MICRO: Final = (5e-6, 1e-5, 2e-5, 3e-5, 5e-5, 7.5e-5, 1e-4, 2e-4, 5e-4, 1e-3, 5e-3, 2e-2)
_SIZES: Final = (1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0, 2000.0, 5000.0)

METRICS: Final = (
    Metric("spamguard_decisions_total", "counter", ("action", "reason", "category"),
           "Decisions acknowledged by the broker; on a jump of action=block look at reasons and categories."),
    Metric("spamguard_scoring_seconds", "histogram", (),
           "Time to judge, per message of a batch, clues and guards included.", _MICRO),
    Metric("spamguard_consume_to_publish_seconds", "histogram", (),
           "From the inbound record's timestamp to the acknowledged decision; grows with lag.", _SECONDS),
    Metric("spamguard_batch_messages", "histogram", (),
           "Records a poll brought; full batches mean the worker is at its limit.", _SIZES),
    Metric("spamguard_lag_records", "gauge", ("topic", "partition"),
           "Records still to read, per held partition; a lag that only grows needs another worker."),
    Metric("spamguard_assigned_partitions", "gauge", (),
           "Partitions this worker holds; 0 on every worker means nobody filters."),
    Metric("spamguard_dead_letters_total", "counter", ("reason",),
           "Records without a readable message id; a flood means a sender changed its format."),
    Metric("spamguard_dead_letter_flood", "gauge", (),
           "1 while more dead letters were written within a minute than the setting dead_letter_flood allows."),
    Metric("spamguard_defective_total", "counter", (),
           "Messages judged although some of their fields could not be read."),
    Metric("spamguard_late_total", "counter", (),
           "Decisions made longer after the message was received than the policy's limit."),
    Metric("spamguard_degraded_total", "counter", (),
           "Decisions that had to allow because judging or the review copy failed; alarm on any."),
    Metric("spamguard_scoring_failures_total", "counter", ("error",),
           "Messages whose judging raised; they passed, marked degraded."),
    Metric("spamguard_broker_errors_total", "counter", ("operation",),
           "Failed calls to the broker by operation: poll, publish, commit."),
    Metric("spamguard_ready", "gauge", (),
           "1 while the model is warm and the group is joined, even with no partition."),
    Metric("spamguard_seconds_since_poll", "gauge", (),
           "How long ago the last poll came back, a batch in hand or not; above 10 the loop is stuck."),
    Metric("spamguard_batch_in_hand_seconds", "gauge", (),
           "How long the batch in hand has been there; above 10: brokers do not acknowledge, or judging hangs."),
    Metric("spamguard_model_info", "gauge", ("model", "code_version"),
           "1 for the model and release that decide now."),
    Metric("spamguard_model_age_seconds", "gauge", (),
           "How long ago the deciding model was trained."),
    Metric("spamguard_model_reloads_total", "counter", ("role", "outcome"),
           "Models that were to take over while running, by role (champion, challenger): swapped or rejected."),
    Metric("spamguard_model_rejected", "gauge", ("role",),
           "1 while the model that is meant cannot be used; the last good one still decides. The log says why."),
    Metric("spamguard_model_swap_seconds", "histogram", (),
           "From the sight of another model to its first possible decision; nobody waits meanwhile.", _SECONDS),
    Metric("spamguard_shadow_info", "gauge", ("model",),
           "1 for the challenger that scores the same messages without deciding."),
    Metric("spamguard_shadow_total", "counter", ("outcome",),
           "Messages the challenger scored too: agree, would_block (decided: let pass), would_allow (decided: block)."),
    Metric("spamguard_shadow_dropped_total", "counter", ("reason",),
           "Messages the challenger did not score: busy (the worker has better to do), failed (it raised)."),
    Metric("spamguard_policy_info", "gauge", ("policy",),
           "1 for the policy that holds now; of one from a file, name@digest."),
    Metric("spamguard_policy_reloads_total", "counter", ("outcome",),
           "Policy files that were to take over while running: swapped or rejected."),
    Metric("spamguard_policy_rejected", "gauge", (),
           "1 while the policy file cannot be used; the last good one still holds. The log says line and reason."),
    Metric("spamguard_list_entries", "gauge", ("state",),
           "Entries of the lists that this worker knows: live, and expired ones that are still there."),
    Metric("spamguard_lists_read", "gauge", (),
           "1 while the lists topic is read; at 0 no change reaches this worker, and the last entries stay."),
    Metric("spamguard_mutes", "gauge", (),
           "Pairs of subscriber and sender that opted out, as this worker knows them."),
    Metric("spamguard_opt_outs_total", "counter", ("outcome",),
           "Subscribers' wishes to be left alone: published, or lost because the topic did not take them for long."),
    Metric("spamguard_enforcing", "gauge", (),
           "1 while blocks bind by default; 0 in observe mode, and while everything is allowed."),
    Metric("spamguard_allow_all", "gauge", (),
           "1 while the kill switch is on, through the control topic or the file: nothing is blocked."),
    Metric("spamguard_control_read", "gauge", (),
           "1 while the control topic is read; at 0 only the file reaches this worker, and the last orders stay."),
    Metric("spamguard_gateway_requests_total", "counter", ("status",),
           "HTTP requests for decisions by status; 401 and 429 are keys, 503 is overload, 504 a closed fail policy."),
    Metric("spamguard_gateway_seconds", "histogram", (),
           "From an HTTP request's head to its answer, its body's arrival included.", _SECONDS),
    Metric("spamguard_gateway_waiting", "gauge", (),
           "Messages that came over HTTP and have no answer yet; near gateway_max_waiting callers are refused."),
    Metric("spamguard_gateway_unanswered_total", "counter", (),
           "Messages without a decision at their caller's deadline, so the fail policy answered; should be 0."),
    Metric("spamguard_gateway_unpublished_total", "counter", ("topic",),
           "Records of the gateway that Kafka did not take: decisions missing in the audit, or review copies."),
    Metric("spamguard_breaker_open", "gauge", (),
           "Tenants whose breaker is open on this worker; the log names them (breaker_opened)."),
    Metric("spamguard_breaker_passed_total", "counter", (),
           "Messages that would have been blocked and passed, because their tenant's breaker is open."),
    Metric("spamguard_drift_psi", "gauge", ("feature",),
           "How far the last hour's traffic moved from the model's reference: below 0.1 calm, above 0.25 moved."),
    Metric("spamguard_drift_messages", "gauge", (),
           "Messages counted in that hour; a feature with too few of them shows nothing."),
    Metric("spamguard_review_copies_total", "counter", (),
           "Review copies stored for the reviewers; while blocks go on, it must grow."),
    Metric("spamguard_review_unreadable_total", "counter", (),
           "Records of the review topic that could not be read or stored; the log names their place."),
    Metric("spamguard_review_backlog", "gauge", (),
           "Items that nobody has read; one that only grows needs more readers, or a lower lot share."),
    Metric("spamguard_review_outbox", "gauge", (),
           "Releases and labels that wait to be published; above 0 for long, Kafka is away and good messages wait."),
    Metric("spamguard_review_overdue", "gauge", (),
           "Cases that should have been answered by now."),
)  # fmt: skip
BY_NAME: Final = {metric.name: metric for metric in METRICS}


class MemoryMetrics:
    """Metrics in a dictionary: for the demo, for tests, and for commands that run once."""

    def __init__(self) -> None:
        self.values: dict[tuple[str, tuple[tuple[str, str], ...]], float] = {}
        self.observations: dict[str, list[float]] = {}

    def count(self, name: str, amount: float = 1.0, **labels: str) -> None:
        """Add to a counter."""
        key = self._key(name, labels)
        self.values[key] = self.values.get(key, 0.0) + amount

    def observe(self, name: str, values: Sequence[float]) -> None:
        """Keep observations."""
        self._key(name, {})
        self.observations.setdefault(name, []).extend(values)

    def gauge(self, name: str, value: float, **labels: str) -> None:
        """Set a gauge."""
        self.values[self._key(name, labels)] = value

    def forget(self, name: str, **labels: str) -> None:
        """Take a label set away."""
        self.values.pop(self._key(name, labels), None)

    def total(self, name: str, **labels: str) -> float:
        """Return the sum over all label sets that hold these labels."""
        wanted = set(labels.items())
        return sum(value for (found, has), value in self.values.items() if found == name and wanted <= set(has))

    @staticmethod
    def _key(name: str, labels: dict[str, str]) -> tuple[str, tuple[tuple[str, str], ...]]:
        if set(labels) != set(BY_NAME[name].labels):
            raise ValueError(f"{name} has the labels {BY_NAME[name].labels}, not {tuple(labels)}")
        return name, tuple(sorted(labels.items()))
