"""How does the service log: a static event and its fields, never a message's text or a whole number?

structlog renders; the standard library's loggers (aiokafka's among them) go through the same processors. Every field
passes `mask`, which covers whatever looks like a phone or card number. Exceptions are logged by class name only, and a
foreign library's line by its template without its arguments, because both may quote what they choked on. While a broker
is away aiokafka writes about a hundred lines a second: of each kind one is kept every half minute.
"""

import logging
import re
import sys
from collections.abc import Callable, Mapping, MutableMapping
from time import monotonic
from typing import Any, Final, Literal, TextIO

import structlog

#: Digests and UUIDs are left whole: they name records and decisions, not people.
_NUMBER: Final = re.compile(
    r"(?<![0-9A-Za-z])(?:[0-9a-f]{32,}|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})(?![0-9A-Za-z])"
    r"|(\+?\d{2})\d{4,}\d{2}"
)
#: Fields that hold numbers of ours, not of people.
_OURS: Final = frozenset(("timestamp", "event", "level", "logger", "offset", "records", "size_bytes", "model"))


#: Libraries of whose lines one of each kind is kept in a while.
CHATTY: Final = ("aiokafka", "alembic", "asyncio", "uvicorn")
KEEP_EVERY_S: Final = 30.0
#: What belongs to every rebalance; our own events tell of it.
_REBALANCE: Final = "because it is rebalancing"
#: What a broker says while it makes its table of groups, at its first start.
_FIRST_START: Final = "GroupCoordinatorNotAvailableError"


class OneOfAKind(logging.Filter):
    """Lets one line of each kind through every half minute, where libraries repeat themselves."""

    def __init__(self, stopwatch: Callable[[], float] = monotonic) -> None:
        super().__init__()
        self._stopwatch = stopwatch
        self._began_s = stopwatch()
        self._kept_s: dict[tuple[str, str], float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether the line is kept."""
        if record.name.partition(".")[0] not in CHATTY:
            return True
        now_s = self._stopwatch()
        template = str(record.msg).partition("\n")[0]
        if _REBALANCE in template:
            return False
        if now_s - self._began_s < KEEP_EVERY_S and _FIRST_START in record.getMessage():
            return False
        kind = record.name, template
        if now_s - self._kept_s.get(kind, float("-inf")) < KEEP_EVERY_S:
            return False
        self._kept_s[kind] = now_s
        return True


def mask(text: str) -> str:
    """Return the text with the middle of every number of eight or more digits covered.

    >>> mask("from +8613900001234")
    'from +86*********34'
    """

    def cover(match: re.Match[str]) -> str:
        found, lead = match.group(), match.group(1)
        return found if lead is None else lead + "*" * (len(found) - len(lead) - 2) + found[-2:]

    return _NUMBER.sub(cover, text)


def _mask_fields(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    for name, value in event.items():
        if name not in _OURS and not name.startswith("_"):  # the underscore is structlog's own
            event[name] = _masked(value)
    return event


def _masked(value: Any) -> Any:
    """Return a field's value with every number in it covered, however deep; what is not JSON, as text."""
    if isinstance(value, Mapping):
        return {str(_masked(key)): _masked(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_masked(item) for item in value]
    if value is None or isinstance(value, bool | float):
        return value
    text = mask(str(value))
    return value if isinstance(value, int) and text == str(value) else text


def _name_error(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Keep an exception's class name, never its text or its stack."""
    info = event.pop("exc_info", None)
    event.pop("stack_info", None)
    if info:
        error = info if isinstance(info, BaseException) else (info if isinstance(info, tuple) else sys.exc_info())[1]
        event["error"] = type(error).__name__
    return event


def configure(level: str = "info", style: Literal["json", "text"] = "json", stream: TextIO | None = None) -> None:
    """Set up logging for the process; logs go to standard error, so that standard output stays the command's own."""
    stream = stream or sys.stderr
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _name_error,
        _mask_fields,
    ]
    renderer: Any = (
        structlog.processors.JSONRenderer(ensure_ascii=False)
        if style == "json"
        else structlog.dev.ConsoleRenderer(colors=stream.isatty())
    )
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(stream)
    if level != "debug":
        handler.addFilter(OneOfAKind())
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, structlog.stdlib.add_logger_name, _name_foreign],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
            use_get_message=False,
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for name in CHATTY:
        logging.getLogger(name).setLevel(logging.DEBUG if level == "debug" else logging.WARNING)


def _name_foreign(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Keep a foreign record's text out of the event's name, and of its template only the first line."""
    template = str(event.get("event", "")).partition("\n")[0]  # asyncio quotes exceptions from the second line on
    event["detail"] = mask(template)
    event["event"] = "library_log"
    return event
