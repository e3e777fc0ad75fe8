"""How is the engine put together from settings, for a worker or for a command that judges what it is given?"""

import math
from pathlib import Path

import msgspec

from spamguard import __version__
from spamguard.backends import samples
from spamguard.backends.clock import SystemClock
from spamguard.config import Settings
from spamguard.engine.breaker import Limits
from spamguard.engine.filter import LiveFilter
from spamguard.engine.holder import ModelHolder
from spamguard.interfaces import Clock
from spamguard.service.catalogue import load_judge
from spamguard.service.listing import first_lists
from spamguard.service.policies import policy_of


def limits_of(settings: Settings) -> Limits:
    """Return when breakers open and close."""
    return Limits(
        ratio=settings.breaker_ratio,
        floor=settings.breaker_floor,
        ceiling=settings.breaker_ceiling,
        min_messages=settings.breaker_min_messages,
        cool_down_s=settings.breaker_cool_down_s,
    )


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
