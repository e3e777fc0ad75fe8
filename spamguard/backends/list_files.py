"""How are files of list entries read, and rewritten without anybody seeing half of one?"""

import os
from collections.abc import Iterator
from pathlib import Path

from spamguard.errors import ListRejected


def lines(path: Path) -> Iterator[str]:
    """Yield a file's lines. Raises ListRejected when it cannot be read, or is not UTF-8."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            yield from file
    except OSError as error:
        raise ListRejected(detail=f"{path} cannot be read ({error.strerror})") from None
    except UnicodeDecodeError:
        raise ListRejected(detail=f"{path} is not UTF-8; save it as UTF-8 (Excel: CSV UTF-8)") from None


def look(path: Path) -> object:
    """Return what tells one content from another: where links lead, and size and time there. Raises ListRejected."""
    try:
        real = path.resolve(strict=True)
        stat = real.stat()
    except OSError as error:
        raise ListRejected(detail=f"{path} cannot be read ({error.strerror})") from None
    return str(real), stat.st_ino, stat.st_size, stat.st_mtime_ns


def write(path: Path, content: str) -> None:
    """Put a file in another one's place, in one step. Raises ListRejected."""
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        beside.write_text(content, encoding="utf-8", newline="")
        if path.exists():
            beside.chmod(path.stat().st_mode & 0o777)
        beside.replace(path)
    except OSError as error:
        raise ListRejected(detail=f"{path} cannot be written ({error.strerror})") from None
