"""When does a block rate look like our mistake rather than like spam?

Per tenant: the share of messages that the model wants blocked in the last minute, against an exponentially weighted
baseline over the last hour. Rates are compared by their odds, so that one ratio serves tenants with one per cent of
spam and with sixty. What made the breaker open is never learned. A `Breaker` is a value: fed with counts and a time,
it returns the next one. docs/why.md has the trade.
"""

from collections.abc import Callable, Iterable
from math import exp
from typing import Final, NamedTuple

import msgspec

from spamguard.types import Action, Decision, Reason

WINDOW_S: Final = 60.0
BUCKET_S: Final = 5.0
MEMORY_S: Final = 3600.0
#: Before that a tenant has no baseline, however many messages came.
WARM_UP_S: Final = 300.0
#: Tenants that are watched one by one; the names come with the messages, and all others share one breaker.
MOST_TENANTS: Final = 1000
OTHERS: Final = "(all others)"


class Limits(NamedTuple):
    """When a breaker opens and closes."""

    ratio: float = 5.0  #: times the baseline's odds
    floor: float = 0.2  #: block rate below which it never opens
    ceiling: float = 0.8  #: block rate that opens it while there is no baseline
    min_messages: int = 200  #: messages in the window below which it never opens
    cool_down_s: float = 600.0  #: how long it stays open at least


class Breaker(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of one tenant; times are seconds on a clock that never goes back."""

    began_s: float  #: when its first message came
    window: tuple[tuple[float, int, int], ...] = ()  #: time, judged, blocked; oldest first
    learned_s: float = 0.0  #: when the baseline was last brought up to date
    judged: float = 0.0  #: messages in the baseline, the old ones faded
    blocked: float = 0.0
    opened_s: float | None = None

    @property
    def rate(self) -> float:
        """Return the share the model wanted blocked in the window."""
        judged = sum(judged for _, judged, _ in self.window)
        return sum(blocked for _, _, blocked in self.window) / judged if judged else 0.0

    @property
    def baseline(self) -> float:
        """Return the share it wanted blocked before."""
        return self.blocked / self.judged if self.judged else 0.0

    def threshold(self, limits: Limits, now_s: float) -> float:
        """Return the rate above which the breaker opens."""
        if self.judged < limits.min_messages or now_s - self.began_s < WARM_UP_S:
            return limits.ceiling
        raised = limits.ratio * self.baseline
        return max(limits.floor, raised / (1 - self.baseline + raised))

    def fed(self, limits: Limits, now_s: float, judged: int = 0, blocked: int = 0) -> "Breaker":
        """Return the breaker after so many more messages.

        >>> calm = Breaker(began_s=0.0).fed(Limits(), 1.0, judged=1000, blocked=20)
        >>> calm.opened_s, calm.fed(Limits(), 2.0, judged=9000, blocked=8900).opened_s
        (None, 2.0)
        """
        gone = [entry for entry in self.window if entry[0] <= now_s - WINDOW_S]
        window = self.window[len(gone) :]
        if judged:
            if window and now_s - window[-1][0] < BUCKET_S:
                at_s, before, blocked_before = window[-1]
                window = (*window[:-1], (at_s, before + judged, blocked_before + blocked))
            else:
                window = (*window, (now_s, judged, blocked))
        following = msgspec.structs.replace(self, window=window)
        if gone and self.opened_s is None:
            faded = exp((self.learned_s - now_s) / MEMORY_S)
            following = msgspec.structs.replace(
                following,
                learned_s=now_s,
                judged=self.judged * faded + sum(judged for _, judged, _ in gone),
                blocked=self.blocked * faded + sum(blocked for _, _, blocked in gone),
            )
        enough = sum(judged for _, judged, _ in window) >= limits.min_messages
        high = enough and following.rate > following.threshold(limits, now_s)
        if self.opened_s is None:
            return msgspec.structs.replace(following, opened_s=now_s) if high else following
        if high or now_s - self.opened_s < limits.cool_down_s:
            return following
        return msgspec.structs.replace(following, opened_s=None)

    def closed(self, limits: Limits, now_s: float) -> "Breaker":
        """Return the breaker after a person said that the rate is as it should be: it is the baseline now."""
        judged = float(max(limits.min_messages, sum(judged for _, judged, _ in self.window)))
        return Breaker(began_s=now_s - WARM_UP_S, learned_s=now_s, judged=judged, blocked=judged * self.rate)


#: Called with a tenant and its breaker when it has opened or closed.
OnTurn = Callable[[str, Breaker], None]


class Breakers:
    """The breakers of all tenants."""

    def __init__(self, limits: Limits, *, enabled: bool = True, on_turn: OnTurn = lambda tenant, breaker: None) -> None:
        self._limits = limits
        self._on_turn = on_turn
        self._breakers: dict[str, Breaker] = {}
        self.enabled = self.enabled_by_default = enabled
        #: Tenants to observe now.
        self.open: frozenset[str] = frozenset()

    def holds(self, tenant: str) -> bool:
        """Return whether a tenant is to be observed."""
        return bool(self.open) and self._name(tenant) in self.open

    def _name(self, tenant: str) -> str:
        known = tenant in self._breakers or len(self._breakers) < MOST_TENANTS
        return tenant if known else OTHERS

    def feed(self, now_s: float, judged: Iterable[tuple[str, Decision]]) -> None:
        """Take a batch's decisions, each with its tenant; what is no text says nothing of the rate."""
        counts: dict[str, list[int]] = {}
        for tenant, decision in judged:
            if decision.reason is not Reason.NOT_TEXT:
                count = counts.setdefault(tenant, [0, 0])
                count[0] += 1
                count[1] += decision.would_be is Action.BLOCK
        for tenant, (number, blocked) in counts.items():
            name = self._name(tenant)
            before = self._breakers.get(name) or Breaker(began_s=now_s, learned_s=now_s)
            self._put(name, before.fed(self._limits, now_s, number, blocked))

    def pass_time(self, now_s: float) -> None:
        """Let open breakers close whose tenants have become quiet."""
        for tenant in self.open:
            self._put(tenant, self._breakers[tenant].fed(self._limits, now_s))

    def close(self, tenant: str, now_s: float) -> None:
        """Close one breaker because a person said so; one that is not open stays as it is."""
        if tenant in self.open:
            self._put(tenant, self._breakers[tenant].closed(self._limits, now_s))

    def enable(self, enabled: bool, now_s: float) -> None:
        """Turn them all on or off; off closes those that are open."""
        self.enabled = enabled
        if not enabled:
            for tenant in self.open:
                self.close(tenant, now_s)

    def _put(self, tenant: str, breaker: Breaker) -> None:
        if not self.enabled:
            breaker = msgspec.structs.replace(breaker, opened_s=None)
        self._breakers[tenant] = breaker
        if (breaker.opened_s is not None) != (tenant in self.open):
            self.open ^= {tenant}
            self._on_turn(tenant, breaker)
