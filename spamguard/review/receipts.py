"""How is a case named on the phone? By a number that can be spoken, that nobody can guess, and that finds a slip."""

import secrets
from typing import Final

RECEIPT_FIGURES: Final = 16


def new_receipt() -> str:
    """Return a receipt number: fifteen random figures and one that finds a slip of the tongue (Luhn)."""
    figures = str(secrets.randbelow(9) + 1) + "".join(str(secrets.randbelow(10)) for _ in range(RECEIPT_FIGURES - 2))
    return figures + str(-_luhn(figures + "0") % 10)


def read_receipt(said: str) -> str | None:
    """Return the receipt number in what somebody typed, or None when it cannot be one.

    >>> read_receipt("4111 1111-1111 1111"), read_receipt("4111 1111 1111 1112")
    ('4111111111111111', None)
    """
    figures = "".join(char for char in said if char.isascii() and char.isdigit())
    return figures if len(figures) == RECEIPT_FIGURES and _luhn(figures) % 10 == 0 else None


def spoken_receipt(receipt: str) -> str:
    """Return a receipt number in groups of four.

    >>> spoken_receipt("4111111111111111")
    '4111 1111 1111 1111'
    """
    return " ".join(receipt[place : place + 4] for place in range(0, len(receipt), 4))


def _luhn(figures: str) -> int:
    doubled = (2 * int(figure) if place % 2 else int(figure) for place, figure in enumerate(reversed(figures)))
    return sum(value - 9 if value > 9 else value for value in doubled)
