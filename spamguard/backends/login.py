"""Who types? What an order, a list, a key and a model's history say when `--who` is left out."""

import getpass
import os
import socket


def who_am_i() -> str:
    """Return user@host: the login name, behind sudo that of whoever called it; it is a courtesy and proves nothing."""
    try:
        user = os.environ.get("SUDO_USER") or getpass.getuser()
    except (KeyError, OSError):  # a container's user has a number and no name
        user = f"uid-{os.getuid()}"
    return f"{user}@{socket.gethostname()}"
