"""Which policy holds: that of the settings, or that of a file, which is followed while it is in use?"""

import asyncio
from pathlib import Path
from typing import Final

import msgspec
import structlog

from spamguard.backends import policy_files
from spamguard.config import Settings
from spamguard.core.policy import Policy, preset
from spamguard.core.policy_file import Reading, read_policy
from spamguard.engine.filter import LiveFilter
from spamguard.engine.following import FileWatch
from spamguard.errors import PolicyRejected
from spamguard.interfaces import Metrics

log = structlog.get_logger()

#: Two seconds are promised from a change to the first decision under it.
LOOK_EVERY_S: Final = 0.5


def policy_of(settings: Settings) -> Policy:
    """Return the policy the settings describe. Raises PolicyRejected."""
    if settings.policy is not None:
        return load_policy(settings.policy)
    return msgspec.structs.replace(preset(settings.preset), mode=settings.mode, late_after_s=settings.late_after_s)


def read_file(path: Path) -> Reading:
    """Return what a policy file says, and every fault. Raises PolicyRejected when it cannot be read at all."""
    return read_policy(policy_files.read(path))


def load_policy(path: Path) -> Policy:
    """Return a file's policy. Raises PolicyRejected, which names the first fault's line and what to write instead."""
    return _sound(path, read_file(path))


def _sound(path: Path, reading: Reading) -> Policy:
    if reading.policy is None:
        first, *more = reading.faults
        rest = f" (and {len(more)} more)" if more else ""
        raise PolicyRejected(path=path, detail=f"{first}{rest}")
    return reading.policy


class PolicyFile:
    """A policy file as something to follow."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def look(self) -> object:
        """Return the content."""
        return policy_files.read(self._path)

    def load(self) -> tuple[object, Policy]:
        """Return the content and its policy, from one reading."""
        content = policy_files.read(self._path)
        return content, _sound(self._path, read_policy(content))


class LivePolicy:
    """Keeps a live filter's policy as the file says."""

    def __init__(self, settings: Settings, *, metrics: Metrics) -> None:
        """Raises PolicyRejected when the first one is not fit: only a start needs the policy that is meant."""
        self._metrics = metrics
        self._source = None if settings.policy is None else PolicyFile(settings.policy)
        if self._source is None:
            self._seen: object = None
            self.first = policy_of(settings)
        else:
            self._seen, self.first = self._source.load()
        self._shown: str | None = None

    def describe(self) -> None:
        """Let the gauges tell of the first policy."""
        self._show(self.first)
        self._metrics.gauge("spamguard_policy_rejected", 0.0)

    async def follow(self, engine: LiveFilter) -> None:
        """Look after the file until cancelled; without one there is nothing to do."""
        if self._source is None:
            return

        def take(policy: Policy) -> None:
            before, engine.policy = engine.policy, policy
            self._show(policy)
            self._metrics.count("spamguard_policy_reloads_total", outcome="swapped")
            log.info("policy_swapped", policy=policy.name, before=before.name)

        def refuse(why: str) -> None:
            self._metrics.gauge("spamguard_policy_rejected", 1.0)
            self._metrics.count("spamguard_policy_reloads_total", outcome="rejected")
            log.error("policy_rejected", why=why)

        watch = FileWatch(
            self._source,
            in_use=self._seen,
            on_ready=take,
            on_refused=refuse,
            on_well=lambda: self._metrics.gauge("spamguard_policy_rejected", 0.0),
        )
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            await watch.look()

    def _show(self, policy: Policy) -> None:
        if self._shown is not None:
            self._metrics.forget("spamguard_policy_info", policy=self._shown)
        self._shown = policy.name
        self._metrics.gauge("spamguard_policy_info", 1.0, policy=policy.name)
