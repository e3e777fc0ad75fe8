"""What to do when a request fails: should it be sent again? And when?

Every request may be repeated: a decision has the same id however often it is asked for. So what counts is whether it
can help (a connection that broke, an overloaded gateway; never a wrong key) and whether it fits into the deadline.
"""

from random import Random
from typing import Final

#: Statuses after which the same request may succeed: too fast, and what gateways and proxies say when busy or away.
WORTH_REPEATING: Final = frozenset((408, 429, 500, 502, 503))
FIRST_WAIT_S: Final = 0.025
LONGEST_WAIT_S: Final = 1.0


def wait_s(attempt: int, *, left_s: float, retry_after: str | None, dice: Random) -> float | None:
    """Return how long to wait after an attempt (the first is 0), or None when it does not fit into what is left.

    Full jitter: anything between nothing and twice the wait before, so that callers do not come back together.

    >>> wait_s(0, left_s=1.0, retry_after=None, dice=Random(1)) < 0.025
    True
    >>> wait_s(0, left_s=1.0, retry_after="5", dice=Random(1)) is None
    True
    """
    longest_s = min(LONGEST_WAIT_S, FIRST_WAIT_S * 2**attempt)
    wait = dice.uniform(0, longest_s)
    if retry_after is not None and retry_after.isascii() and retry_after.isdecimal() and len(retry_after) < 9:
        wait += int(retry_after)
    return wait if wait < left_s else None
