"""How is a batch judged without holding up the event loop?

In slices, on one worker thread. A slice holds the interpreter lock for about two milliseconds at most, so heartbeats
and fetches go on between slices; one thread, because a second would only fight the first for the lock. When judging a
slice raises, its messages are judged one by one, so that one hostile text cannot take others with it.
"""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from spamguard.core.decide import Conditions, Judge, Request, decide, failed
from spamguard.core.policy import STANDARD, Policy
from spamguard.engine.holder import ModelHolder
from spamguard.interfaces import Clock
from spamguard.types import Decision

#: Messages a slice: about 2 ms at 30 µs a message.
SLICE: Final = 64

#: Called with each message id whose judging raised, and the error's class name; never with its text.
OnFailure = Callable[[str, str], None]


class LiveFilter:
    """Judges batches with the model, policy and switches of the moment."""

    def __init__(
        self,
        holder: ModelHolder,
        *,
        clock: Clock,
        code_version: str,
        policy: Policy = STANDARD,
        on_failure: OnFailure = lambda message_id, error: None,
    ) -> None:
        self.holder = holder
        self.policy = policy
        self.allow_all = False
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
        judge = self.holder.judge
        decisions: list[Decision] = []
        self._in_hand += 1
        self.idle.clear()
        try:
            for first in range(0, len(requests), SLICE):
                part = requests[first : first + SLICE]
                decisions += await loop.run_in_executor(self._executor, self.judge_now, part, judge)
        finally:
            self._in_hand -= 1
            if not self._in_hand:
                self.idle.set()
        return decisions

    def conditions(self) -> Conditions:
        """Return what holds for a batch that is judged now."""
        return Conditions(
            policy=self.policy,
            allow_all=self.allow_all,
            code_version=self._code_version,
            now_s=self._clock.now(),
            stopwatch=self._clock.monotonic,
        )

    def judge_now(self, requests: Sequence[Request], judge: Judge | None = None) -> list[Decision]:
        """Return the decisions on the calling thread."""
        judge = judge or self.holder.judge
        conditions = self.conditions()
        try:
            return decide(requests, judge, conditions)
        except Exception as error:  # noqa: BLE001 - whatever a text or a model does, the message passes and is counted
            if len(requests) > 1:
                return [decision for request in requests for decision in self.judge_now([request], judge)]
            self._on_failure(requests[0].message.message_id, type(error).__name__)
            return failed(requests, judge, conditions)

    def close(self) -> None:
        """Finish the slice in hand and stop the thread."""
        self._executor.shutdown(wait=True)
