"""How is the engine put together from settings, for a worker or for a command that judges what it is given?"""

import math
from pathlib import Path

import msgspec
import structlog

from spamguard import __version__
from spamguard.backends import samples
from spamguard.backends.clock import SystemClock
from spamguard.backends.prometheus import PrometheusMetrics
from spamguard.config import Settings
from spamguard.core.lists import Lists
from spamguard.core.policy import Policy
from spamguard.engine.breaker import Breaker, Breakers, Limits
from spamguard.engine.filter import LiveFilter
from spamguard.engine.holder import ModelHolder
from spamguard.interfaces import Clock
from spamguard.service.catalogue import load_judge
from spamguard.service.listing import first_lists
from spamguard.service.policies import policy_of

log = structlog.get_logger()


def limits_of(settings: Settings) -> Limits:
    """Return when breakers open and close."""
    return Limits(
        ratio=settings.breaker_ratio,
        floor=settings.breaker_floor,
        ceiling=settings.breaker_ceiling,
        min_messages=settings.breaker_min_messages,
        cool_down_s=settings.breaker_cool_down_s,
    )


def live_filter(
    settings: Settings,
    holder: ModelHolder,
    *,
    policy: Policy,
    lists: Lists,
    metrics: PrometheusMetrics,
    clock: Clock,
) -> LiveFilter:
    """Return the engine of a process that serves: with breakers, and with a voice when something is wrong."""
    voice = _Voice(metrics)
    engine = LiveFilter(
        holder,
        clock=clock,
        code_version=__version__,
        policy=policy,
        breakers=Breakers(limits_of(settings), enabled=settings.breaker, on_turn=voice.breaker_turned),
        on_failure=voice.scoring_failed,
    )
    engine.lists = lists
    return engine


class _Voice:
    """Says in log and metrics what happens inside the engine."""

    def __init__(self, metrics: PrometheusMetrics) -> None:
        self._metrics = metrics
        self._open_breakers = 0
        metrics.gauge("spamguard_breaker_open", 0)

    def breaker_turned(self, tenant: str, breaker: Breaker) -> None:
        """Say that a tenant's breaker opened or closed."""
        rates = {"tenant": tenant, "rate": round(breaker.rate, 4), "baseline": round(breaker.baseline, 4)}
        if breaker.opened_s is None:
            self._open_breakers -= 1
            log.warning("breaker_closed", **rates)
        else:
            self._open_breakers += 1
            log.error("breaker_opened", **rates)
        self._metrics.gauge("spamguard_breaker_open", self._open_breakers)

    def scoring_failed(self, message_id: str, error: str) -> None:
        """Say that a message's judging raised."""
        self._metrics.count("spamguard_scoring_failures_total", error=error)
        log.error("scoring_failed", message_id=message_id, error=error)


def offline_filter(settings: Settings, *, clock: Clock | None = None) -> LiveFilter:
    """Return the engine alone, for commands that judge what they are given; nobody waits, so nothing is late."""
    judge, _ = load_judge(settings)
    policy = msgspec.structs.replace(policy_of(settings), late_after_s=math.inf)
    clock = clock or SystemClock()
    engine = LiveFilter(ModelHolder(judge), clock=clock, code_version=__version__, policy=policy)
    engine.lists = first_lists(settings, clock)
    return engine


def sample_messages() -> Path:
    """Return the file of invented messages that comes with spamguard. Raises DataError."""
    return samples.sample_messages()
