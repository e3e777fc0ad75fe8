"""How does a row of the audit log read in a visitor's language?

The log holds codes, which never change; a page says what they mean. A code without a phrase, out of a newer release
say, is shown as it is. A test walks through all that is written to the log: every action and every detail has a phrase.
"""

from typing import Final, NamedTuple

from spamguard.review.values import AuditRow
from spamguard.review.web.words import Say

#: Which phrases say the value of a detail; one that differs by action stands under both.
VALUES: Final = {
    "role": "role.",
    "label": "label.",
    "outcome": "outcome.",
    "reading": "reading.",
    "case.open kind": "case.kind.",
    "entry.propose kind": "list.",
    "item.release reason": "audit.because.",
}
#: Who acts where nobody is logged in.
ACTORS: Final = {"?": "nobody", "receipt": "receipt", "retention": "retention", "command line": "shell"}
#: What an export is about, and not an id.
TARGETS: Final = {"figures.export": "by.", "labels.export": "audit.form."}


class Deed(NamedTuple):
    """A row in words."""

    who: str
    action: str
    target: str
    details: tuple[tuple[str, str], ...]


def told(say: Say, row: AuditRow) -> Deed:
    """Return what a row says.

    >>> from spamguard.review.web.words import speaker
    >>> row = AuditRow(seq=1, at_ms=0, who="?", action="login.refused", target="", detail={}, hash="")
    >>> told(speaker("en"), row).action
    'Login refused'
    """

    def phrase(key: str, code: str) -> str:
        try:
            return say(key)
        except KeyError:
            return code

    def value(name: str, given: object) -> str:
        if isinstance(given, bool):
            return say("audit.yes" if given else "audit.no")
        if given is None:
            return say("audit.none")
        prefix = VALUES.get(f"{row.action} {name}") or VALUES.get(name)
        return phrase(f"{prefix}{given}", str(given)) if prefix else str(given)

    prefix = TARGETS.get(row.action)
    return Deed(
        who=phrase(f"audit.actor.{ACTORS[row.who]}", row.who) if row.who in ACTORS else row.who,
        action=phrase(f"audit.action.{row.action}", row.action),
        target=phrase(f"{prefix}{row.target}", row.target) if prefix else row.target,
        details=tuple((phrase(f"audit.detail.{name}", name), value(name, given)) for name, given in row.detail.items()),
    )
