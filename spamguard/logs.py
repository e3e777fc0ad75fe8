"""How does the service log: a static event and its fields, never a message's text or a whole number?

structlog renders; the standard library's loggers (aiokafka's among them) go through the same processors. Every string
field passes `mask`, which covers whatever looks like a phone or card number; exceptions of foreign libraries are logged
by class name only, because their messages may quote what they choked on.
"""

import logging
import re
import sys
from collections.abc import MutableMapping
from typing import Any, Final, Literal, TextIO

import structlog

_NUMBER: Final = re.compile(r"(?<![0-9a-fA-F])\+?\d{2}(\d{4,})\d{2}(?![0-9a-fA-F])")
#: Fields that hold numbers of ours, not of people.
_OURS: Final = frozenset(("timestamp", "event", "level", "logger", "offset", "records", "size_bytes", "model"))


def mask(text: str) -> str:
    """Return the text with the middle of every number of eight or more digits covered.

    >>> mask("from +8613900001234")
    'from +86*********34'
    """

    def cover(match: re.Match[str]) -> str:
        found = match.group()
        lead = 3 if found.startswith("+") else 2
        return found[:lead] + "*" * (len(found) - lead - 2) + found[-2:]

    return _NUMBER.sub(cover, text)


def _mask_fields(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    for name, value in event.items():
        if isinstance(value, str) and name not in _OURS:
            event[name] = mask(value)
    return event


def configure(level: str = "info", style: Literal["json", "text"] = "json", stream: TextIO | None = None) -> None:
    """Set up logging for the process; logs go to standard error, so that standard output stays the command's own."""
    stream = stream or sys.stderr
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
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
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, structlog.stdlib.add_logger_name, _name_foreign],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    # aiokafka tells of every reconnect at several levels; what matters is told by our own events and metrics.
    logging.getLogger("aiokafka").setLevel(logging.ERROR)
    logging.getLogger("asyncio").setLevel(logging.WARNING)


def _name_foreign(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Keep a foreign record's text out of the event's name, and its exception's text out of the log."""
    event["detail"] = mask(str(event.get("event", "")))
    event["event"] = "library_log"
    info = event.pop("exc_info", None)
    if info:
        error = info[1] if isinstance(info, tuple) else info
        event["error"] = type(error).__name__
    return event
