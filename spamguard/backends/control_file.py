"""What does the control file say, on the day when Kafka's control topic is the problem?

While the file exists, everything is allowed; its content is the reason. Anybody who can write the file can switch, with
`touch` as well as with `spamguard allow-all on --file`.
"""

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from spamguard.errors import ConfigError

#: As much of a reason as anybody reads.
MOST_CHARS: Final = 500


class ControlFile:
    """A file whose existence is a switch."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def look(self) -> str | None:
        """Return what stands in the file, or None when there is none. Raises OSError when that cannot be told."""
        try:
            self.path.lstat()
        except (FileNotFoundError, NotADirectoryError):
            return None
        try:
            with self.path.open(encoding="utf-8", errors="replace") as file:
                return " ".join(file.read(MOST_CHARS).split())
        except FileNotFoundError:
            return None
        except OSError:
            return ""  # it is there, whatever it is

    def since(self) -> datetime | None:
        """Return when the file was written, or None when that cannot be told."""
        try:
            return datetime.fromtimestamp(self.path.lstat().st_mtime, UTC)
        except OSError:
            return None

    def write(self, reason: str) -> None:
        """Make the file, in one step. Raises ConfigError when that is not possible."""
        beside = self.path.with_name(f".{self.path.name}.{os.getpid()}")
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            beside.write_text(f"{reason}\n", encoding="utf-8")
            beside.replace(self.path)
        except OSError as error:
            raise ConfigError(detail=f"control_file {self.path} cannot be written ({error.strerror})") from None

    def remove(self) -> None:
        """Remove the file; one that is not there is no error. Raises ConfigError when that is not possible."""
        try:
            self.path.unlink(missing_ok=True)
        except OSError as error:
            raise ConfigError(detail=f"control_file {self.path} cannot be removed ({error.strerror})") from None
