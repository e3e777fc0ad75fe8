"""What stands in an operator's policy file now, read so that a swap in the middle cannot mix two of them?

The content itself says whether it is another policy: change times would miss what Kubernetes does, which swaps one
symbolic link for a folder that it filled before.
"""

from pathlib import Path
from typing import Final

from spamguard.errors import PolicyRejected

#: More is not read: `core.policy_file` refuses it anyhow.
MOST_BYTES: Final = (1 << 20) + 1


def read(path: Path) -> bytes:
    """Return a file's content, read at once. Raises PolicyRejected when that is not possible."""
    try:
        with path.open("rb") as file:
            return file.read(MOST_BYTES)
    except OSError as error:
        raise PolicyRejected(path=path, detail=f"it cannot be read ({error.strerror})") from None
