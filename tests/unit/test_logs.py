"""Does no raw number and no text reach a log line, whoever writes it?"""

import io
import json
import logging
import re
from collections.abc import Iterator
from typing import Any, Literal

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from spamguard import logs
from tests.cast import LOTTERY

PHONE = "13900001234"
DIGEST = "8aece797ee988272cadb711901234567"
UUID = "550e8400-e29b-41d4-a716-446655440000"


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    """Put logging back as it was."""
    root = logging.getLogger()
    names = ("aiokafka", "asyncio")
    before = root.handlers[:], root.level, [logging.getLogger(name).level for name in names]
    yield
    root.handlers[:], level, levels = before
    root.setLevel(level)
    for name, its in zip(names, levels, strict=True):
        logging.getLogger(name).setLevel(its)
    structlog.reset_defaults()


@pytest.fixture(params=["json", "text"])
def stream(request: pytest.FixtureRequest) -> io.StringIO:
    """Where the lines go, in either style."""
    style: Literal["json", "text"] = request.param
    written = io.StringIO()
    logs.configure("debug", style, written)
    return written


def test_a_number_anywhere_in_a_field_is_covered(stream: io.StringIO) -> None:
    structlog.get_logger().info(
        "message_seen",
        sender=PHONE,
        recipient=f"+86{PHONE}",
        as_integer=int(PHONE),
        as_bytes=PHONE.encode(),
        glued=f"abc{PHONE}def",
        many=[PHONE, {"to": (PHONE,), PHONE: 1}],
        full_width="１３９００００１２３４",
        error=ValueError(PHONE),
    )
    line = stream.getvalue()
    assert "message_seen" in line
    assert PHONE not in line
    assert "00001" not in line and "００００" not in line


@pytest.mark.parametrize("exc_info", ["true", "error", "tuple"])
def test_an_exceptions_text_and_stack_stay_out_of_our_own_lines(stream: io.StringIO, exc_info: str) -> None:
    text = LOTTERY  # a local variable of the frame that raises
    try:
        raise ValueError(f"cannot read {text} from {PHONE}")
    except ValueError as error:
        given: Any = {"true": True, "error": error, "tuple": (type(error), error, error.__traceback__)}[exc_info]
        structlog.get_logger().error("judging_failed", exc_info=given, stack_info=True)
    line = stream.getvalue()
    assert "judging_failed" in line and "ValueError" in line
    assert LOTTERY not in line and PHONE not in line and "Traceback" not in line
    assert line.count("\n") == 1


def test_a_foreign_logger_tells_its_template_and_the_errors_class_only(stream: io.StringIO) -> None:
    try:
        raise KeyError(LOTTERY)
    except KeyError:
        logging.getLogger("aiokafka.consumer").exception("Failed to decode %s of %r", PHONE, LOTTERY, stack_info=True)
    line = stream.getvalue()
    assert "library_log" in line and "aiokafka.consumer" in line and "KeyError" in line
    assert "Failed to decode" in line
    assert LOTTERY not in line and PHONE not in line and "Traceback" not in line
    assert line.count("\n") == 1


def test_what_asyncio_quotes_below_its_first_line_stays_out(stream: io.StringIO) -> None:
    logging.getLogger("asyncio").error(f"Task exception was never retrieved\nfuture: <Task ValueError('{LOTTERY}')>")
    assert "Task exception was never retrieved" in stream.getvalue()
    assert LOTTERY not in stream.getvalue()


def test_a_number_in_a_foreign_template_is_covered(stream: io.StringIO) -> None:
    logging.getLogger("somebody").warning(f"calling {PHONE} 50%")
    assert "calling 13*******34 50%" in stream.getvalue()


def test_a_json_line_carries_event_level_time_and_fields() -> None:
    written = io.StringIO()
    logs.configure("info", "json", written)
    structlog.get_logger().debug("not_shown")
    structlog.get_logger().warning("dead_letter", offset=1234567890123, partition=3, late=True, share=0.5, note="退订")
    [line] = written.getvalue().splitlines()
    found = json.loads(line)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z", found.pop("timestamp"))
    assert found == {
        "event": "dead_letter", "level": "warning", "offset": 1234567890123, "partition": 3, "late": True, "share": 0.5,
        "note": "退订",
    }  # fmt: skip


def test_configuring_twice_does_not_say_everything_twice() -> None:
    written = io.StringIO()
    logs.configure("info", "json", written)
    logs.configure("info", "json", written)
    structlog.get_logger().info("once")
    assert len(written.getvalue().splitlines()) == 1


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("from +8613900001234 to 1065", "from +86*********34 to 1065"),
        ("1234567", "1234567"),
        ("12345678", "12****78"),
        (f"decision {DIGEST}", f"decision {DIGEST}"),
        (UUID, UUID),
        (f"{DIGEST}x", None),
    ],
)
def test_long_numbers_are_covered_and_digests_left_whole(text: str, masked: str | None) -> None:
    if masked is None:
        assert "01234567" not in logs.mask(text)
    else:
        assert logs.mask(text) == masked


@given(st.text(alphabet="0123456789abcdefxyz +-。１２", max_size=30))
def test_no_text_keeps_eight_figures_in_a_row(text: str) -> None:
    masked = logs.mask(text)
    whole = re.compile(r"(?<![0-9A-Za-z])[0-9a-f]{32,}(?![0-9A-Za-z])")
    assert not re.search(r"\d{8}", whole.sub("", masked))
    assert len(masked) == len(text)
