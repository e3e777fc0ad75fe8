"""Where are the invented messages that come with spamguard?"""

from importlib.resources import files
from pathlib import Path

from spamguard.errors import DataError


def sample_messages() -> Path:
    """Return the file of sample messages that comes with the package, or with a source tree. Raises DataError."""
    inside = Path(str(files("spamguard"))) / "samples" / "messages.jsonl"
    beside = Path(__file__).parents[2] / "datasets" / "samples" / "messages.jsonl"
    for path in (inside, beside):
        if path.is_file():
            return path
    raise DataError(detail=f"the sample messages are missing ({inside}); install spamguard again")


def zero_blocked_suite() -> Path:
    """Return the families of invented notices of which no model may block a single one. Raises DataError."""
    inside = Path(str(files("spamguard"))) / "suites" / "transactional.toml"
    beside = Path(__file__).parents[2] / "tests" / "suites" / "transactional.toml"
    for path in (inside, beside):
        if path.is_file():
            return path
    raise DataError(detail=f"the suite of good messages is missing ({inside}); install spamguard again")
