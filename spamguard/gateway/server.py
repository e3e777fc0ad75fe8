"""Who keeps the connections: how many, for how long without a request, and what is said to what is no HTTP?

uvicorn with its pure-Python parser (h11). It has no time limit for a request's head, so a caller that sends one letter
a second would hold a connection for ever; here a head must be complete within ten seconds.
"""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from spamguard.gateway.access import Refused
from spamguard.gateway.app import problem

HEAD_TIMEOUT_S: Final = 10.0
#: How long an idle connection is kept for its next request.
KEEP_ALIVE_S: Final = 75
#: A longer head is none.
MAX_HEAD_BYTES: Final = 16 << 10
#: How long a stop waits for answers under way; no deadline of a caller is longer by default.
GRACE_S: Final = 5


class Server(uvicorn.Server):
    """Serves the application until `should_exit`; signals are the process's own business."""

    def __init__(self, app: Any, *, max_connections: int) -> None:
        protocol = type("Protocol", (_Protocol,), {"max_connections": max_connections})
        config = uvicorn.Config(
            app,
            http=protocol,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            timeout_keep_alive=KEEP_ALIVE_S,
            timeout_graceful_shutdown=GRACE_S,
            h11_max_incomplete_event_size=MAX_HEAD_BYTES,
        )
        super().__init__(config)

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals alone."""
        yield


class _Protocol(H11Protocol):
    """A connection that must not dawdle."""

    max_connections = 1024
    _head_due: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as the base class has it
        super().connection_made(transport)
        if len(self.connections) > self.max_connections:
            self._say("overloaded", 1.0)
        else:
            self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._head_came()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self.transport.is_closing():
            return
        super().data_received(data)
        if self.cycle is None or self.cycle.response_complete:  # bytes, and no request yet
            self._await_head()
        else:
            self._head_came()

    def send_400_response(self, msg: str) -> None:
        """Answer what is no HTTP in the way of everything else."""
        self._say("bad-request")

    def _await_head(self) -> None:
        if self._head_due is None and not self.transport.is_closing():
            self._head_due = self.loop.call_later(HEAD_TIMEOUT_S, self.transport.close)

    def _head_came(self) -> None:
        if self._head_due is not None:
            self._head_due.cancel()
            self._head_due = None

    def _say(self, kind: str, retry_after_s: float | None = None) -> None:
        """Answer beside the application, and hang up."""
        answer = problem(Refused(kind, retry_after_s=retry_after_s))
        answer.headers["Connection"] = "close"
        head = "".join(f"{name}: {value}\r\n" for name, value in answer.headers.items())
        self.transport.write(f"HTTP/1.1 {answer.status_code} \r\n{head}\r\n".encode("latin-1") + bytes(answer.body))
        self.transport.close()
