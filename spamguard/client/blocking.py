"""How does a program without an event loop ask?

The asynchronous client runs on a thread of its own, so that a deadline holds for the whole call (a blocking socket only
knows limits for its pieces), and threads share the connections.
"""

import asyncio
import threading
from collections.abc import Coroutine, Sequence
from types import TracebackType
from typing import Any, TypeVar

from spamguard.client.answers import Answer, Asked
from spamguard.client.asking import AsyncClient

_T = TypeVar("_T")


class Client:
    """Asks a gateway for decisions; takes what `AsyncClient` takes, and may be used by many threads at once.

    Make it after a fork, not before: its thread stays with the process that made it.

    >>> with Client("http://127.0.0.1:9", key="sg_0_0", deadline_s=0.05) as gateway:  # nobody listens there
    ...     [answer.unanswered for answer in gateway.decide_many([{"message_id": "m1"}, {"message_id": "m2"}])]
    [True, True]
    """

    def __init__(self, url: str, *, key: str, **more: Any) -> None:
        self._client = AsyncClient(url, key=key, **more)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="spamguard-client", daemon=True)
        self._thread.start()

    def __enter__(self) -> "Client":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections and end the thread."""
        if self._loop.is_closed():
            return
        self._run(self._client.close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def decide(self, message: Asked, *, deadline_s: float | None = None) -> Answer:
        """Return the decision on one message. Raises NoAnswer only where the client was told to."""
        return self._run(self._client.decide(message, deadline_s=deadline_s))

    def decide_many(self, messages: Sequence[Asked], *, deadline_s: float | None = None) -> list[Answer]:
        """Return the decisions on messages, in their order."""
        return self._run(self._client.decide_many(messages, deadline_s=deadline_s))

    def _run(self, asking: Coroutine[Any, Any, _T]) -> _T:
        return asyncio.run_coroutine_threadsafe(asking, self._loop).result()
