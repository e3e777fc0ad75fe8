"""How does a worker or a gateway become a process: event loop, signals, garbage collector, switch interval?"""

import asyncio
import ctypes
import gc
import signal
import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final, Protocol

#: The interpreter hands the lock over after this long. Its default of 5 ms lets a scoring slice delay every heartbeat
#: and fetch by that much; docs/why.md has the latencies measured under both.
SWITCH_INTERVAL_S: Final = 0.0005

#: M_TRIM_THRESHOLD and M_MMAP_THRESHOLD of malloc.h: what a slice works in stays, what a model lies in does not.
_MALLOC: Final = {-1: 32 << 20, -3: 4 << 20}


class Stoppable(Protocol):
    """A worker or a gateway."""

    def stop(self) -> None:
        """Ask it to finish what is in hand and return from `run`."""

    async def run(self, *, on_serving: Callable[[], Awaitable[None] | None] | None = None) -> None:
        """Serve until stopped."""


def run_until_stopped(worker: Stoppable) -> None:
    """Run a worker as this process's main job: uvloop, signals, and a collector that leaves the model alone."""
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    keep_working_memory()

    async def main() -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, worker.stop)
        await worker.run(on_serving=_settle)

    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        runner.run(main())


def keep_working_memory() -> None:
    """Let the C library keep a few megabytes that judging frees with each slice and asks for with the next.

    By default glibc gives them back to the kernel, and every page is mapped and zeroed anew: a tenth of the time that
    judging takes. Large blocks, such as a model's arrays, still go back at once. Nothing happens but on glibc.
    """
    with suppress(OSError, AttributeError):
        library = ctypes.CDLL(None)
        for parameter, size in _MALLOC.items():
            library.mallopt(parameter, size)


def _settle() -> None:
    """Keep what was loaded so far out of every later garbage collection."""
    gc.collect()
    gc.freeze()


def loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """Return what makes the faster event loop, where there is one."""
    with suppress(ImportError):
        import uvloop

        return uvloop.new_event_loop
    return None
