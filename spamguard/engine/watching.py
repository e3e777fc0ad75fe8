"""Does the setting stand for another model than the one in use, and may that one take over?

A look is cheap: what the reference stands for, told by its manifest's digest. Another digest is loaded aside in a
thread, put through every check, and handed over whole. Whatever fails changes nothing: it is said once, and tried again
when its files change (a copy may still go on) or after half a minute (a disk may have come back).
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor
from typing import Final, NamedTuple, Protocol, TypeVar

from spamguard.core.decide import Judge
from spamguard.core.manifest import Manifest, Sighting
from spamguard.core.scorer import ModelArrays
from spamguard.engine.holder import ready_judge
from spamguard.errors import SpamguardError
from spamguard.interfaces import Clock

#: When a refused model whose files stay as they are is tried again.
RETRY_S: Final = 30.0


_T = TypeVar("_T")


class ModelSource(Protocol):
    """Where a model comes from; both calls may block, and are made off the event loop."""

    def look(self) -> Sighting | None:
        """Return what the reference stands for, None for nothing. Raises ModelNotFound or ModelRejected."""

    def load(self) -> tuple[str, Manifest, ModelArrays]:
        """Return the manifest's digest, the manifest and the arrays. Raises ModelNotFound or ModelRejected."""


class ReadyModel(NamedTuple):
    """A model that passed every check."""

    digest: str  #: of its manifest
    judge: Judge
    manifest: Manifest


def load_ready(source: ModelSource) -> ReadyModel:
    """Return the model a source stands for, ready to decide. Raises ModelNotFound or ModelRejected."""
    digest, manifest, arrays = source.load()
    return ReadyModel(digest, ready_judge(manifest, arrays), manifest)


class _Refusal(NamedTuple):
    """What was refused last, and when."""

    seen: Sighting | None  #: None: it could not even be looked at
    why: str
    at_s: float


class ModelWatch:
    """Follows one reference; `look` is called again and again and never raises for what a model is like."""

    def __init__(
        self,
        source: ModelSource,
        *,
        clock: Clock,
        on_ready: Callable[[ReadyModel, float], None],
        on_refused: Callable[[str], None],
        on_well: Callable[[], None] = lambda: None,
        on_gone: Callable[[], None] = lambda: None,
        in_use: str | None = None,
        executor: Executor | None = None,
    ) -> None:
        """`on_ready` gets the model and the seconds since it was seen; `in_use` is the digest of the one in use.

        `on_refused` is called once for each reason; `on_well` when the reference stands for the model in use again. The
        source is asked on `executor`; one thread for all watches keeps what loading leaves behind in one place.
        """
        self._source = source
        self._clock = clock
        self._on_ready = on_ready
        self._on_refused = on_refused
        self._on_well = on_well
        self._on_gone = on_gone
        self._in_use = in_use
        self._executor = executor
        self._refusal: _Refusal | None = None

    async def look(self) -> None:
        """Look once, and let another model take over when there is one that is fit."""
        began_s = self._clock.monotonic()
        try:
            seen = await self._aside(self._source.look)
        except Exception as error:  # noqa: BLE001 - whatever a folder does, the model in use goes on deciding
            self._refuse(None, error)
            return
        if seen is None:
            if self._in_use is not None:
                self._in_use = None
                self._on_gone()
            self._well()
        elif seen.digest == self._in_use:
            self._well()
        elif not self._known_bad(seen):
            await self._load(seen, began_s)

    async def _aside(self, work: Callable[[], _T]) -> _T:
        return await asyncio.get_running_loop().run_in_executor(self._executor, work)

    def _known_bad(self, seen: Sighting) -> bool:
        refusal = self._refusal
        return refusal is not None and refusal.seen == seen and self._clock.monotonic() < refusal.at_s + RETRY_S

    async def _load(self, seen: Sighting, began_s: float) -> None:
        try:
            ready = await self._aside(lambda: load_ready(self._source))
        except Exception as error:  # noqa: BLE001 - as above
            if await self._aside(lambda: self._looks_like(seen)):
                self._refuse(seen, error)
            return  # else it changed while it was read, which says nothing of what it is now: the next look will
        self._in_use = ready.digest
        self._on_ready(ready, self._clock.monotonic() - began_s)
        self._well()

    def _looks_like(self, seen: Sighting) -> bool:
        try:
            return self._source.look() == seen
        except Exception:  # noqa: BLE001 - as above
            return False

    def _refuse(self, seen: Sighting | None, error: Exception) -> None:
        why = str(error) if isinstance(error, SpamguardError) else type(error).__name__
        said = self._refusal is not None and self._refusal.why == why
        self._refusal = _Refusal(seen, why, self._clock.monotonic())
        if not said:
            self._on_refused(why)

    def _well(self) -> None:
        if self._refusal is not None:
            self._refusal = None
            self._on_well()
