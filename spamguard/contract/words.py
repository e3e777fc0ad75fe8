"""What does a type say of its fields, for a reader who has only the schema?

The `#:` comment behind a field is its description, and the docstring the type's, so that there is one place to write
them. They are read from the source, which is there wherever the package is.
"""

import inspect
import re
from enum import StrEnum
from typing import Any, Final

_FIELD: Final = re.compile(r"^ {4}(?P<name>[A-Za-z_]\w*)(?::[^#\n]*| =[^#\n]*)?  #: (?P<words>.+)$", re.MULTILINE)


#: What fields mean that many values have, where their type does not say it itself.
COMMON: Final = {
    "message_id": "the message's",
    "decision_id": "the decision's",
    "schema_version": "version of the contract",
    "tenant": "whose traffic it is",
    "kind": "what kind it is",
    "action": "what is done",
    "reason": "why",
    "why": "why",
    "who": "who did it, as the command was told",
}


def field_words(of: Any) -> dict[str, str]:
    """Return the description of each field or member that has one, those of its bases included.

    >>> from spamguard.types import Clue
    >>> field_words(Clue)["pull"]
    'log-odds; positive speaks for spam'
    """
    found = {name: COMMON[name] for name in getattr(of, "__struct_fields__", ()) if name in COMMON}
    for kin in reversed(of.__mro__):
        if kin.__module__ == of.__module__:
            found |= {match["name"]: match["words"] for match in _FIELD.finditer(inspect.getsource(kin))}
    return found


def member_words(of: type[StrEnum]) -> dict[str, str]:
    """Return the meaning of each value of an enumeration.

    >>> from spamguard.types import Reason
    >>> member_words(Reason)["not_text"]
    'a binary message or a delivery receipt'
    """
    words = field_words(of)
    return {str(member): words.get(member.name, "") for member in of}


def summary(of: type[Any]) -> str:
    """Return the prose of a docstring as one line, its examples left out."""
    prose = inspect.cleandoc(of.__doc__ or "").partition("\n>>>")[0]
    return " ".join(prose.split())
