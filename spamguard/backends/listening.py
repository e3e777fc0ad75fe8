"""How does a server get its address, and what is said when it cannot have it?"""

import socket

from spamguard.errors import ConfigError


def listen(host: str, port: int, *, whose: str, options: str) -> socket.socket:
    """Return a socket bound to an address. Raises ConfigError naming whose it was to be and the options for another."""
    try:
        [family, kind, protocol, _, address] = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listening = socket.socket(family, kind, protocol)
        try:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listening.bind(address)
        except OSError:
            listening.close()
            raise
    except OSError as error:
        detail = f"{whose} cannot be served on {host}:{port} ({error.strerror}); choose another {options}"
        raise ConfigError(detail=detail) from None
    return listening
