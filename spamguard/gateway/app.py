"""What does the gateway take over HTTP, and how does it refuse the rest?

Every refusal is a problem document (RFC 9457) that says what to do and never repeats what was sent. Bodies are bounded
one by one and together, must arrive in time, and are looked at only once the key is known to be good.
"""

import asyncio
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Final, NamedTuple

import msgspec
import structlog
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from spamguard.contract.http import DEADLINE_HEADER, MOST_DEADLINE_MS, PROBLEM_TYPE, openapi
from spamguard.contract.problems import KINDS, PREFIX
from spamguard.core.codec import decode_message, decode_messages
from spamguard.gateway.access import Access, Refused, in_tenancy, of_accounts
from spamguard.gateway.answering import Answering
from spamguard.interfaces import Clock, Metrics
from spamguard.types import DeadReason, Message, Problem

log = structlog.get_logger()

JSON: Final = "application/json"
#: All bodies in hand together, whatever the number of connections.
MOST_BODIES_BYTES: Final = 64 << 20
_ENCODER: Final = msgspec.json.Encoder()
_WHITESPACE: Final = b" \t\r\n"
_BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"
#: How an error of the framework is called here.
_BY_STATUS: Final = {404: "not-found", 405: "other-method"}

#: Returns what is missing or not as it should be, in words; empty when all is well.
Probe = Callable[[], Sequence[str]]


class Limits(NamedTuple):
    """What one request may be."""

    max_body_bytes: int = 1 << 20
    max_messages: int = 500
    deadline_s: float = 0.5  #: for requests that name none
    body_timeout_s: float = 10.0


class Gateway:
    """The HTTP side of the gateway; `app` is the ASGI application."""

    def __init__(
        self,
        answering: Answering,
        access: Access,
        *,
        limits: Limits,
        metrics: Metrics,
        clock: Clock,
        version: str,
        fails_open: bool,
        alive: Probe,
        ready: Probe,
        degraded: Probe,
    ) -> None:
        self._answering = answering
        self._access = access
        self._limits = limits
        self._metrics = metrics
        self._clock = clock
        self._told = {"Spamguard-Fail-Policy": "open" if fails_open else "closed"}
        self._ready = ready
        self._degraded = degraded
        self._alive = alive
        self._bodies_bytes = 0
        self._document = _ENCODER.encode(openapi(version, most_messages=limits.max_messages))
        self.app = Starlette(
            routes=[
                Route("/v1/decisions", self._decide, methods=["POST"]),
                Route("/healthz", self._healthz),
                Route("/readyz", self._readyz),
                Route("/openapi.json", self._openapi),
            ],
            exception_handlers={HTTPException: self._framework_says, Exception: self._failed},
        )
        self.app.router.redirect_slashes = False

    async def _decide(self, request: Request) -> Response:
        began_s = self._clock.monotonic()
        try:
            answer = await self._decided(request)
        except Refused as refusal:
            answer = problem(refusal)
        self._metrics.count("spamguard_gateway_requests_total", status=str(answer.status_code))
        self._metrics.observe("spamguard_gateway_seconds", [self._clock.monotonic() - began_s])
        return answer

    async def _decided(self, request: Request) -> Response:
        if missing := self._ready():
            raise Refused("stopping", detail=f"It waits for: {'; '.join(missing)}.", retry_after_s=1.0)
        address = request.client.host if request.client else ""
        key = self._access.holder(request.headers.get("authorization", ""), address)
        deadline_s = _deadline_s(request.headers, self._limits.deadline_s)
        _check_type(request.headers)
        # The budget of all bodies is held until the answer: their messages wait in memory as long.
        held = _Held(self._hold)
        try:
            body = await self._body(request, held)
            messages, several = _messages(body, self._limits.max_messages)
            messages = of_accounts(in_tenancy(messages, key), key)
            self._access.take(key, len(messages))
            answer = await self._answering.answer(messages, deadline_s=deadline_s)
        finally:
            held.release()
        headers = dict(self._told)
        if answer.unanswered:
            headers["Spamguard-Unanswered"] = str(answer.unanswered)
        content = _ENCODER.encode(answer.decisions if several else answer.decisions[0])
        return Response(content + b"\n", media_type=JSON, headers=headers)

    def _hold(self, size: int) -> None:
        if size > 0 and self._bodies_bytes + size > MOST_BODIES_BYTES:
            raise Refused("overloaded", retry_after_s=0.5)
        self._bodies_bytes += size

    async def _body(self, request: Request, held: "_Held") -> bytes:
        """Return the body. Raises Refused when it is too large, too slow, or its sender goes away."""
        most = self._limits.max_body_bytes
        too_large = Refused("too-large", detail=f"At most {most:,} bytes; send lists in pieces.")
        announced = request.headers.get("content-length", "")
        if announced.isdecimal() and (len(announced) > 18 or int(announced) > most):
            raise too_large
        pieces: list[bytes] = []
        size = 0
        try:
            async with asyncio.timeout(self._limits.body_timeout_s):
                async for piece in request.stream():
                    size += len(piece)
                    if size > most:
                        raise too_large
                    held.add(len(piece))
                    pieces.append(piece)
        except TimeoutError:
            raise Refused("slow-body", detail=f"It must be here within {self._limits.body_timeout_s:g} s.") from None
        except ClientDisconnect:
            raise Refused("bad-request") from None
        return b"".join(pieces)

    async def _healthz(self, request: Request) -> Response:
        return self._probed(self._alive())

    async def _readyz(self, request: Request) -> Response:
        return self._probed(self._ready(), degraded=list(self._degraded()))

    def _probed(self, missing: Sequence[str], **more: object) -> Response:
        told = {"ok": not missing, "waiting_for": list(missing), **more}
        return Response(_ENCODER.encode(told) + b"\n", status_code=503 if missing else 200, media_type=JSON)

    async def _openapi(self, request: Request) -> Response:
        return Response(self._document, media_type=JSON)

    async def _framework_says(self, request: Request, error: Exception) -> Response:
        status = error.status_code if isinstance(error, HTTPException) else 400
        answer = problem(Refused(_BY_STATUS.get(status, "bad-request")))
        if isinstance(error, HTTPException) and error.headers:
            answer.headers.update(error.headers)
        return answer

    async def _failed(self, request: Request, error: Exception) -> Response:
        log.error("gateway_failed", error=type(error).__name__)
        return problem(Refused("failed", retry_after_s=1.0))


class _Held:
    """What one request holds of the budget of all bodies."""

    def __init__(self, hold: Callable[[int], None]) -> None:
        self._hold = hold
        self._size = 0

    def add(self, size: int) -> None:
        """Take more of it. Raises Refused when there is no more."""
        self._hold(size)
        self._size += size

    def release(self) -> None:
        """Give all of it back."""
        self._hold(-self._size)
        self._size = 0


def problem(refusal: Refused) -> Response:
    """Return the problem document of a refusal.

    >>> problem(Refused("no-key")).headers["www-authenticate"]
    'Bearer'
    """
    kind = KINDS[refusal.kind]
    told = Problem(
        type=PREFIX + refusal.kind,
        title=kind.title,
        status=kind.status,
        detail=refusal.detail,
        places=refusal.places,
    )
    headers: dict[str, str] = {}
    if refusal.retry_after_s is not None:
        headers["Retry-After"] = str(max(1, math.ceil(refusal.retry_after_s)))
    if kind.status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    if refusal.kind in ("too-large", "slow-body", "bad-request", "too-many-guesses"):
        headers["Connection"] = "close"  # what is left of the body is nobody's business
    return Response(_ENCODER.encode(told) + b"\n", status_code=kind.status, media_type=PROBLEM_TYPE, headers=headers)


def _deadline_s(headers: Mapping[str, str], otherwise_s: float) -> float:
    """Return how long the caller waits. Raises Refused.

    >>> _deadline_s({"Spamguard-Deadline-Ms": "200"}, 0.5)
    0.2
    """
    stated = headers.get(DEADLINE_HEADER)
    if stated is None:
        return otherwise_s
    if not (stated.isascii() and stated.isdecimal() and len(stated) < 9 and 1 <= int(stated) <= MOST_DEADLINE_MS):
        raise Refused("bad-deadline", detail=f"{DEADLINE_HEADER} is a whole number from 1 to {MOST_DEADLINE_MS}.")
    return int(stated) / 1000


def _check_type(headers: Mapping[str, str]) -> None:
    media, _, parameters = headers.get("content-type", "").partition(";")
    charset = parameters.strip().lower().replace('"', "").replace(" ", "")
    encoding = headers.get("content-encoding", "identity").strip().lower()
    if media.strip().lower() != JSON or charset not in ("", "charset=utf-8") or encoding not in ("", "identity"):
        raise Refused("other-type", detail="Send Content-Type: application/json and no Content-Encoding.")


def _messages(body: bytes, most: int) -> tuple[list[Message], bool]:
    """Return the messages of a body, and whether it was a list. Raises Refused."""
    several = body.removeprefix(_BYTE_ORDER_MARK).lstrip(_WHITESPACE)[:1] == b"["
    found = decode_messages(body) if several else decode_message(body)
    if isinstance(found, DeadReason):
        if found is DeadReason.NO_MESSAGE_ID:
            raise Refused("no-message-id")
        raise Refused("no-messages" if found is DeadReason.NOT_AN_OBJECT else "not-json")
    if isinstance(found, Message):
        return [found], False
    if not found:
        raise Refused("no-messages")
    if len(found) > most:
        raise Refused("too-many-messages", detail=f"At most {most} at once; send the list in pieces.")
    messages = [one for one in found if isinstance(one, Message)]
    if len(messages) < len(found):
        places = tuple(place for place, one in enumerate(found) if not isinstance(one, Message))
        detail = "Nothing was judged; give each message an id of at most 1,000 characters and send all again."
        raise Refused("no-message-id", detail=detail, places=places[:100])
    return messages, True
