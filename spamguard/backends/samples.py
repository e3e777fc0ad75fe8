"""Where are the invented messages that come with spamguard?"""

from importlib.resources import files
from pathlib import Path

from spamguard.errors import DataError


def sample_messages() -> Path:
    """Return the file of sample messages that comes with the package, or with a source tree. Raises DataError."""
    return _found("samples/messages.jsonl", "datasets/samples/messages.jsonl", "the sample messages are missing")


def zero_blocked_suite() -> Path:
    """Return the families of invented notices of which no model may block a single one. Raises DataError."""
    return _suite("transactional.toml", "the suite of good messages is missing")


def guard_tricks_suite() -> Path:
    """Return the adverts with a piece of a good message put to them. Raises DataError."""
    return _suite("guard_tricks.toml", "the suite of guard tricks is missing")


def _suite(name: str, missing: str) -> Path:
    return _found(f"suites/{name}", f"tests/suites/{name}", missing)


def _found(packaged: str, in_tree: str, missing: str) -> Path:
    """Return a file of the package, or of the source tree it lies in."""
    inside = Path(str(files("spamguard"))) / packaged
    for path in (inside, Path(__file__).parents[2] / in_tree):
        if path.is_file():
            return path
    raise DataError(detail=f"{missing} ({inside}); install spamguard again")
