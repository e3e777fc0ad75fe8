"""How is a batch judged without holding up the event loop?

On one worker thread, in slices. What keeps the interpreter's lock is not a slice but the longest single call into
compiled code within it (cutting a joined slice into words, one expression over it): between such calls the interpreter
hands the lock over after the switch interval that the service sets. Slices are so small that no such call reaches 2 ms,
and so large that the fixed cost of some two hundred numpy calls is shared by many messages. The way to the thread and
back is gone once for several slices. One thread, because a second would only fight the first for the lock. When judging
a slice raises, its halves are judged, so that one hostile text cannot take others with it.
"""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final, NamedTuple

from spamguard.core.decide import Conditions, Judge, Request, decide, failed
from spamguard.core.lists import NO_LISTS, Lists
from spamguard.core.optouts import NO_MUTES, Mutes
from spamguard.core.policy import STANDARD, Policy
from spamguard.engine.breaker import Breakers
from spamguard.engine.control import Controls
from spamguard.engine.holder import ModelHolder
from spamguard.interfaces import Clock
from spamguard.types import Decision

#: Messages a slice, and characters: the longest call on so many takes 0.8 ms (docs/benchmarks.md).
SLICE: Final = 256
SLICE_CHARS: Final = 16_000
#: After so long the judging thread is left to whoever waits for it too; a full batch of a worker hardly ever takes it.
VISIT_S: Final = 0.05

#: Called with each message id whose judging raised, and the error's class name; never with its text.
OnFailure = Callable[[str, str], None]


class _Switched(NamedTuple):
    """What was switched when a batch began."""

    policy: Policy
    allow_all: bool
    tripped: frozenset[str]
    lists: Lists
    mutes: Mutes


class LiveFilter:
    """Judges batches with the model, policy and switches of the moment."""

    def __init__(
        self,
        holder: ModelHolder,
        *,
        clock: Clock,
        code_version: str,
        policy: Policy = STANDARD,
        breakers: Breakers | None = None,
        on_failure: OnFailure = lambda message_id, error: None,
    ) -> None:
        self.holder = holder
        self.policy = policy
        #: What the operators switched; a change is another value, and holds from the next batch on.
        self.controls = Controls()
        #: What the operators listed; the same holds.
        self.lists = NO_LISTS
        #: Who wants no more from whom; the same holds.
        self.mutes = NO_MUTES
        self.breakers = breakers
        self._clock = clock
        self._code_version = code_version
        self._on_failure = on_failure
        self._executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="judge")
        self._in_hand = 0
        #: Set while no batch is being judged: work that can wait begins then.
        self.idle = asyncio.Event()
        self.idle.set()

    async def judge(self, requests: Sequence[Request]) -> list[Decision]:
        """Return one decision a request, in order; never raises for what a message contains."""
        loop = asyncio.get_running_loop()
        judge, switched = self.holder.judge, self._switched(requests)
        decisions: list[Decision] = []
        self._in_hand += 1
        self.idle.clear()
        try:
            while len(decisions) < len(requests):
                decisions += await loop.run_in_executor(
                    self._executor, self._visit, requests, len(decisions), judge, switched
                )
        finally:
            self._in_hand -= 1
            if not self._in_hand:
                self.idle.set()
        if self.breakers is not None:
            tenants = (request.message.tenant for request in requests)
            self.breakers.feed(self._clock.monotonic(), zip(tenants, decisions, strict=True))
        return decisions

    def judge_now(self, requests: Sequence[Request]) -> list[Decision]:
        """Return the decisions on the calling thread; breakers see nothing of it."""
        return self._judge_slice(requests, self.holder.judge, self._switched(requests))

    def _visit(self, requests: Sequence[Request], first: int, judge: Judge, switched: _Switched) -> list[Decision]:
        """Return the decisions from `first` on, as far as they come in the time of a visit; at least one slice."""
        decisions: list[Decision] = []
        until_s = self._clock.monotonic() + VISIT_S
        while first < len(requests) and (not decisions or self._clock.monotonic() < until_s):
            last = _end_of_slice(requests, first)
            decisions += self._judge_slice(requests[first:last], judge, switched)
            first = last
        return decisions

    def _switched(self, requests: Sequence[Request]) -> _Switched:
        """Return the switches of the moment as far as they concern these requests."""
        controls, breakers = self.controls, self.breakers
        tripped: frozenset[str] = frozenset()
        if breakers is not None and breakers.open:
            tripped = frozenset(filter(breakers.holds, {request.message.tenant for request in requests}))
        return _Switched(controls.over(self.policy), controls.allow_all, tripped, self.lists, self.mutes)

    def conditions(self, requests: Sequence[Request]) -> Conditions:
        """Return what holds for a batch that is judged now."""
        return self._conditions(self._switched(requests))

    def _conditions(self, switched: _Switched) -> Conditions:
        return Conditions(
            policy=switched.policy,
            allow_all=switched.allow_all,
            code_version=self._code_version,
            now_s=self._clock.now(),
            stopwatch=self._clock.monotonic,
            tripped=switched.tripped,
            lists=switched.lists,
            mutes=switched.mutes,
        )

    def _judge_slice(self, requests: Sequence[Request], judge: Judge, switched: _Switched) -> list[Decision]:
        conditions = self._conditions(switched)
        try:
            return decide(requests, judge, conditions)
        except Exception as error:  # noqa: BLE001 - whatever a text or a model does, the message passes and is counted
            if len(requests) > 1:
                half = len(requests) // 2
                parts = requests[:half], requests[half:]
                return [decision for part in parts for decision in self._judge_slice(part, judge, switched)]
            self._on_failure(requests[0].message.message_id, type(error).__name__)
            return failed(requests, judge, conditions)

    def close(self) -> None:
        """Finish the slice in hand and stop the thread."""
        self._executor.shutdown(wait=True)


def _end_of_slice(requests: Sequence[Request], first: int) -> int:
    """Return where the slice that begins at `first` ends."""
    chars = 0
    last = first
    for request in requests[first : first + SLICE]:
        chars += len(request.message.text or request.message.payload_hex or "")
        if chars > SLICE_CHARS and last > first:
            break
        last += 1
    return last
