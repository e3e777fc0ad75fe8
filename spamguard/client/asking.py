"""How are decisions asked for, within a deadline that holds whatever the network does?"""

import asyncio
import logging
from collections.abc import Sequence
from random import Random
from time import monotonic, time
from types import TracebackType
from typing import Any, Final, Literal

import httpx

from spamguard.client.answers import Answer, Asked, answers_in, body_of, unanswered
from spamguard.client.repeating import WORTH_REPEATING, wait_s
from spamguard.errors import NoAnswer

log = logging.getLogger("spamguard.client")

#: Messages in one request; a gateway takes so many by default.
MOST_TOGETHER: Final = 500
#: The gateway is given this share of what is left, so that its answer is here before the caller's time is over.
GATEWAYS_SHARE: Final = 0.9
KEPT_ALIVE_S: Final = 60.0

OnNoAnswer = Literal["allow", "raise"]


class AsyncClient:
    """Asks a gateway for decisions.

    Keep one for as long as the program runs: it keeps connections alive. `deadline_s` holds for a whole call, repeats
    included. With `on_no_answer="raise"`, calls raise NoAnswer instead of letting messages pass.

    >>> async def main() -> str:
    ...     answered = httpx.MockTransport(lambda request: httpx.Response(503, headers={"Retry-After": "9"}))
    ...     async with AsyncClient("http://gateway.example", key="sg_0_0", transport=answered) as gateway:
    ...         return (await gateway.decide({"message_id": "m1", "text": "hello"})).reason
    >>> asyncio.run(main())
    'unanswered'
    """

    def __init__(
        self,
        url: str,
        *,
        key: str,
        deadline_s: float = 0.5,
        attempts: int = 3,
        on_no_answer: OnNoAnswer = "allow",
        connections: int = 100,
        transport: httpx.AsyncBaseTransport | None = None,
        verify: Any = True,
        dice: Random | None = None,
    ) -> None:
        self._url = url.rstrip("/")
        self._deadline_s = deadline_s
        self._attempts = attempts
        self._on_no_answer = on_no_answer
        self._dice = dice or Random()  # noqa: S311 - jitter, no secret
        self._http = httpx.AsyncClient(
            headers={"Authorization": f"Bearer {key}", "Content-Type": "application/json"},
            limits=httpx.Limits(
                max_connections=connections, max_keepalive_connections=connections, keepalive_expiry=KEPT_ALIVE_S
            ),
            transport=transport,
            verify=verify,
            timeout=None,  # noqa: S113 - the deadline of a call holds for all of it
        )

    async def __aenter__(self) -> "AsyncClient":
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def decide(self, message: Asked, *, deadline_s: float | None = None) -> Answer:
        """Return the decision on one message. Raises NoAnswer only where the client was told to."""
        [answer] = await self._part([message], deadline_s)
        return answer

    async def decide_many(self, messages: Sequence[Asked], *, deadline_s: float | None = None) -> list[Answer]:
        """Return the decisions on messages, in their order; long lists go in several requests at once."""
        parts = [list(messages[first : first + MOST_TOGETHER]) for first in range(0, len(messages), MOST_TOGETHER)]
        found = await asyncio.gather(*(self._part(part, deadline_s) for part in parts))
        return [answer for part in found for answer in part]

    async def _part(self, messages: list[Asked], deadline_s: float | None) -> list[Answer]:
        allowed_s = self._deadline_s if deadline_s is None else deadline_s
        due_s = monotonic() + allowed_s
        try:
            body = body_of(messages)
        except (TypeError, ValueError, RecursionError):
            return self._without_answer(messages, "the message cannot be written as JSON")
        try:
            async with asyncio.timeout(allowed_s):
                content, why = await self._content(body, due_s)
            if content is not None:
                return answers_in(content, len(messages))
        except TimeoutError:
            why = f"none within {allowed_s:g} s"
        except ValueError:
            why = "what came is no decision"
        return self._without_answer(messages, why)

    def _without_answer(self, messages: list[Asked], why: str) -> list[Answer]:
        log.warning("no answer from the gateway: %s", why)
        if self._on_no_answer == "raise":
            raise NoAnswer(url=self._url, detail=why)
        return [unanswered(message, time()) for message in messages]

    async def _content(self, body: bytes, due_s: float) -> tuple[bytes | None, str]:
        """Return the body of the gateway's answer, or None and why there is none."""
        why = ""
        for attempt in range(self._attempts):
            left_s = due_s - monotonic()
            retry_after: str | None = None
            try:
                answer = await self._http.post(
                    f"{self._url}/v1/decisions",
                    content=body,
                    headers={"Spamguard-Deadline-Ms": str(min(60_000, max(1, int(left_s * 1000 * GATEWAYS_SHARE))))},
                )
            except (httpx.TransportError, httpx.InvalidURL) as error:
                why = type(error).__name__
            else:
                if answer.status_code == httpx.codes.OK:
                    return answer.content, ""
                why = f"status {answer.status_code}"
                if answer.status_code not in WORTH_REPEATING:
                    return None, why
                retry_after = answer.headers.get("retry-after")
            wait = wait_s(attempt, left_s=due_s - monotonic(), retry_after=retry_after, dice=self._dice)
            if wait is None or attempt + 1 == self._attempts:
                return None, why
            await asyncio.sleep(wait)
        return None, why
