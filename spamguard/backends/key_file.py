"""Where are the keys of the HTTP gateway kept? In one JSON file that only its owner may read, replaced in one step."""

import os
from collections.abc import Sequence
from pathlib import Path

import msgspec

from spamguard.core.keys import ApiKey
from spamguard.errors import ConfigError


class KeyFile:
    """The file of keys; what it holds opens nothing, but says who is known."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._seen: tuple[int, int, int] | None = None

    def read(self) -> list[ApiKey]:
        """Return the keys; none when there is no file. Raises ConfigError when it cannot be read."""
        try:
            return msgspec.json.decode(self.path.read_bytes(), type=list[ApiKey])
        except FileNotFoundError:
            return []
        except OSError as error:
            raise ConfigError(detail=f"gateway_keys {self.path} cannot be read ({error.strerror})") from None
        except (msgspec.MsgspecError, UnicodeError):
            detail = f"gateway_keys {self.path} is no file of keys; restore it, or move it away and make keys anew"
            raise ConfigError(detail=detail) from None

    def changed(self) -> bool:
        """Return whether the file is another one than at the last call; at the first call it is."""
        try:
            stat = self.path.stat()
            seen = (stat.st_mtime_ns, stat.st_size, stat.st_ino)
        except OSError:
            seen = (0, 0, 0)
        before, self._seen = self._seen, seen
        return before != seen

    def write(self, keys: Sequence[ApiKey]) -> None:
        """Replace the file in one step. Raises ConfigError when that is not possible."""
        beside = self.path.with_name(f".{self.path.name}.{os.getpid()}")
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(msgspec.json.format(msgspec.json.encode(keys)) + b"\n")
                file.flush()
                os.fsync(file.fileno())
            beside.replace(self.path)
        except OSError as error:
            raise ConfigError(detail=f"gateway_keys {self.path} cannot be written ({error.strerror})") from None
