"""How is work on a long row of chunks shared out to all cores, with no more chunks in memory than are being worked on?

Processes, since cutting and counting hold the interpreter's lock; started afresh, since a fork of a process that runs
the threads of a numeric library may hang. Results come back in the chunks' order, so that nothing depends on how many
cores there are.
"""

import multiprocessing
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from typing import Any, Final, TypeVar

Context = TypeVar("Context")
Chunk = TypeVar("Chunk")
Result = TypeVar("Result")

#: Messages below which starting processes (some two seconds) costs more than it saves.
WORTH_IT: Final = 40_000
_AHEAD: Final = 2  #: chunks that wait a core


def cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def spread(
    function: Callable[[Context, Chunk], Result], context: Context, chunks: Iterable[Chunk], *, messages: int
) -> Iterator[Result]:
    """Yield what the function makes of each chunk, in order; it and the context must be picklable.

    `messages` says how much work there is in all: a little is done in this process.
    """
    many = cores() if messages >= WORTH_IT else 1
    if many == 1:
        yield from (function(context, chunk) for chunk in chunks)
        return
    with ProcessPoolExecutor(
        many, mp_context=multiprocessing.get_context("spawn"), initializer=_begin, initargs=(function, context)
    ) as pool:
        waiting: deque[Future[Any]] = deque()
        for chunk in chunks:
            waiting.append(pool.submit(_go_on, chunk))
            if len(waiting) > many * (1 + _AHEAD):
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


_task: list[Any] = []  #: what this process does, once it has begun


def _begin(function: Callable[[Any, Any], Any], context: object) -> None:
    _task[:] = function, context


def _go_on(chunk: object) -> Any:
    function, context = _task
    return function(context, chunk)
