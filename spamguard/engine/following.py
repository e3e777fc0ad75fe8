"""Does a file that operators edit say something else than what is in use, and is that fit to take over?

For a policy and for a file of lists. A look is cheap: the content is compared. Whatever is not fit changes nothing: it
is said once, the last good one stays, and the next look tries again as soon as the content is another one.
"""

import asyncio
from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

from spamguard.errors import SpamguardError

_T = TypeVar("_T")
_Value = TypeVar("_Value", covariant=True)


class Source(Protocol[_Value]):
    """Where a value comes from; both calls may block, and are made off the event loop."""

    def look(self) -> object:
        """Return what tells one content from another. Raises SpamguardError."""

    def load(self) -> tuple[object, _Value]:
        """Return the same, with the value that the content stands for. Raises SpamguardError."""


class FileWatch(Generic[_T]):
    """Follows one source; `look` is called again and again, and never raises for what a file is like."""

    def __init__(
        self,
        source: Source[_T],
        *,
        in_use: object,
        on_ready: Callable[[_T], None],
        on_refused: Callable[[str], None],
        on_well: Callable[[], None] = lambda: None,
    ) -> None:
        """`in_use` tells the content in use; `on_refused` is called once for each reason."""
        self._source = source
        self._in_use = in_use
        self._on_ready = on_ready
        self._on_refused = on_refused
        self._on_well = on_well
        self._refused: object = None
        self._why: str | None = None

    async def look(self) -> None:
        """Look once, and let what is new take over when it is fit."""
        try:
            seen = await asyncio.to_thread(self._source.look)
            if seen == self._in_use:
                self._well()
                return
            if self._why is not None and seen == self._refused:
                return
            self._refused = seen
            self._in_use, value = await asyncio.to_thread(self._source.load)
        except Exception as error:  # noqa: BLE001 - whatever a file does, what is in use goes on
            why = str(error) if isinstance(error, SpamguardError) else type(error).__name__
            if why != self._why:
                self._why = why
                self._on_refused(why)
            return
        self._on_ready(value)
        self._well()

    def _well(self) -> None:
        if self._why is not None:
            self._why = None
            self._refused = None
            self._on_well()
