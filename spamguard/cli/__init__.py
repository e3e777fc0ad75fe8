"""How does a command end: with its result, or with one clear sentence and an exit code?

Nothing else reaches the person who typed it: no traceback, and never a message's text, which an exception of somebody
else's might quote.
"""

import os
import sys
import traceback
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

import typer
from typer.main import get_command

from spamguard.cli.app import app
from spamguard.errors import SpamguardError

INTERRUPTED: Final = 130  #: as a shell counts a process that SIGINT ended
READER_GONE: Final = 141  #: as a shell counts a process that SIGPIPE ended
INTERNAL: Final = 70  #: EX_SOFTWARE of sysexits.h


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code; the arguments are the process's own when none are given."""
    _let_any_text_through()
    try:
        outcome = get_command(app).main(arguments, prog_name="spamguard", standalone_mode=False)
        sys.stdout.flush()
    except SpamguardError as error:
        _complain(str(error))
        return error.exit_code
    except typer.TyperException as error:
        return _usage(error)
    except BrokenPipeError:
        _drop_output()
        return READER_GONE
    except (KeyboardInterrupt, typer.Abort):
        return INTERRUPTED
    except Exception as error:  # noqa: BLE001 - whatever it is, its text may quote a message and a traceback helps nobody
        return _internal(error)
    return outcome if isinstance(outcome, int) else 0


def _let_any_text_through() -> None:
    """Make the standard streams write what they cannot encode as question marks, instead of raising."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(AttributeError, ValueError):
            stream.reconfigure(errors="replace")  # type: ignore[union-attr]  # a test's stream may be another class


def _complain(sentence: str) -> None:
    from spamguard.cli.screen import complain

    complain(sentence)


def _usage(error: typer.TyperException) -> int:
    """Say what is wrong with the command line; without any arguments the help itself was the answer."""
    sentence = error.format_message().replace("Value error, ", "").strip()
    if sentence:
        context = getattr(error, "ctx", None)
        hint = f" Try '{context.command_path} --help'." if context is not None else ""
        _complain(sentence + ("" if sentence.endswith((".", "?", "!", ")")) else ".") + hint)
    return error.exit_code


def _internal(error: Exception) -> int:
    """Name the exception's class; where it was raised is shown to those who ask, its message to nobody."""
    where = os.environ.get("SPAMGUARD_LOG_LEVEL", "").lower() == "debug"
    hint = "please report it with the places below" if where else "run with SPAMGUARD_LOG_LEVEL=debug to see where"
    _complain(f"internal error ({type(error).__name__}); {hint}.")
    if where:
        for frame in traceback.extract_tb(error.__traceback__):
            sys.stderr.write(f"  {frame.filename}:{frame.lineno} in {frame.name}\n")
    return INTERNAL


def _drop_output() -> None:
    """Send what is still buffered nowhere: the reader has gone, and the interpreter would complain when it flushes."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
