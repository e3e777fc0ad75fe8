"""What of a message can an operator put on a list, in the one form in which it is compared?

Senders, accounts, signatures, hosts and contacts are written in many ways: with +86, full-width, in capitals, with
something between the figures. Here each gets the form that entries of lists get too, so that both meet.
"""

import re
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from spamguard.core.normalize import TOKENS, fold, spelt_batch, things_in

#: Longer ones are no name of anybody.
MAX_CHARS: Final = 200
MIN_CONTACT_DIGITS: Final = 5
#: Labels of a host that are looked up; more is no host that anybody registered.
MAX_LABELS: Final = 8

_NUMBER_FORM: Final = re.compile(r"[+()\d.\- ]*\d[()\d.\- ]*")
_SIGNATURES: Final = re.compile(r"^ ?\[([^\[\]]{1,30})\]|\[([^\[\]]{1,30})\] ?$")
#: A shorter handle than five characters would be found in every second text.
_HANDLE: Final = re.compile(r"[a-z0-9](?<![a-z0-9_\-].)[a-z0-9_\-]{4,39}(?![a-z0-9_\-])")
_HOST: Final = re.compile(r"(?:[a-z][a-z0-9+.\-]*://)?(?:[^/@?#]*@)?-*([^/:?#\\]*)")
_LINK_KINDS: Final = frozenset(("url", "email"))
#: What makes a normalised text worth spelling out, which costs as much as normalising it: a link, an address, a number
#: of five figures and more, or figures beside letters, which could be a handle.
_LINKS: Final = "".join(TOKENS[name] for name in ("url", "url_short", "url_rare", "url_ip", "email"))
_LONG: Final = _LINKS + "".join(
    TOKENS[name]
    for name in ("mobile", "landline", "hotline", "service_number", "number_5", "number_6", "number_7", "number_8")
)
_ANY: Final = "".join(TOKENS.values())
_WORTH_SPELLING: Final = re.compile(f"[{_LONG}]|[{_ANY}][a-z_\\-]|[a-z_\\-][{_ANY}]")
#: Where no contact is listed, figures are nobody's business: a bank's notice is then left alone.
_HAS_LINK: Final = re.compile(f"[{_LINKS}]")


class Things(NamedTuple):
    """What a text holds that a list can name."""

    hosts: Sequence[str] = ()
    contacts: Sequence[str] = ()


NOTHING: Final = Things()


def _folded(text: str) -> str:
    """Return a value folded; plain ASCII, which most values are, at once."""
    return text.lower() if text.isascii() and text.isprintable() else fold(text[:MAX_CHARS])


def number(text: str) -> str:
    """Return the figures of a number, without what leads into China.

    >>> number("+86 139-0000-1234"), number("0086 106900001234"), number("10086")
    ('13900001234', '106900001234', '10086')
    """
    digits = "".join(filter(str.isdigit, text)) if not text.isdigit() else text
    if text.startswith("+86") or digits.startswith("0086"):
        return digits.removeprefix("00").removeprefix("86")
    if len(digits) == 13 and digits.startswith("861"):
        return digits[2:]
    return digits


def sender(text: str) -> str:
    """Return a sender in the form that is compared.

    >>> sender("+8613900001234"), sender("ＡＣＭＥ Bank")
    ('13900001234', 'acmebank')
    """
    folded = _folded(text)
    if folded.isdigit() or _NUMBER_FORM.fullmatch(folded):
        return number(folded)
    return "".join(folded.split())[:MAX_CHARS]


def account(text: str) -> str:
    """Return an account as it is compared: as the gateway writes it, since it authenticated exactly that."""
    return text.strip()[:MAX_CHARS]


def signature(text: str) -> str:
    """Return a signature without its brackets.

    >>> signature("【青溪銀行】")
    '青溪银行'
    """
    return "".join(fold(text[:MAX_CHARS]).strip().strip("[]").split())


def signatures(normalised: str) -> list[str]:
    """Return the signatures at either end of a normalised text.

    >>> signatures("[青溪银行]您好")
    ['青溪银行']
    """
    if "]" not in normalised:
        return []
    return ["".join((one or other).split()) for one, other in _SIGNATURES.findall(normalised)]


def host(text: str) -> str:
    """Return the host of a link or mail address, folded.

    >>> host("HTTPS://user@A.Evil.Example:8080/x"), host("me@evil.example"), host("彩票.example")
    ('a.evil.example', 'evil.example', 'xn--h3tq29c.example')
    """
    matched = _HOST.match(_folded(text[:MAX_CHARS]))
    found = (matched.group(1) if matched else "").strip(". ")
    if not found.isascii():
        try:
            found = found.encode("idna").decode("ascii")
        except UnicodeError:
            return ""
    return found


def host_and_parents(found: str) -> Iterator[str]:
    """Yield a host and the hosts above it, which are cut at its dots.

    >>> list(host_and_parents("a.evil.example"))
    ['a.evil.example', 'evil.example', 'example']
    """
    labels = found.split(".")[-MAX_LABELS:]
    for first in range(len(labels)):
        yield ".".join(labels[first:])


def contact(text: str) -> str:
    """Return a phone number or handle in the form that is compared.

    >>> contact("+86 139 0000 1234"), contact("FP_00061")
    ('13900001234', 'fp_00061')
    """
    folded = "".join(_folded(text[:MAX_CHARS]).split())
    return number(folded) if _NUMBER_FORM.fullmatch(folded) else folded


def things_of(originals: Sequence[str], normalised: Sequence[str], *, contacts: bool = True) -> list[Things]:
    """Return the hosts and contacts of each text; obfuscated ones are those that they are read as.

    Without `contacts` only texts with a link are looked at: what else would be found in others is not asked for.
    """
    has_any = _WORTH_SPELLING if contacts else _HAS_LINK
    worth = [index for index, text in enumerate(normalised) if has_any.search(text)]
    found = [NOTHING] * len(normalised)
    if contacts:
        for index, text in enumerate(normalised):
            if handles := _HANDLE.findall(text):
                found[index] = Things(contacts=tuple(handles))
    for index, spelt in zip(worth, spelt_batch([originals[index] for index in worth]), strict=True):
        found[index] = _things(spelt)
    return found


def _things(spelt: str) -> Things:
    hosts: dict[str, None] = {}
    contacts: dict[str, None] = dict.fromkeys(_HANDLE.findall(spelt))
    for kind, text in things_in(spelt):
        if kind in _LINK_KINDS:
            hosts[host(text)] = None
        else:
            digits = number(text)
            if len(digits) >= MIN_CONTACT_DIGITS:
                contacts[digits] = None
    return Things(tuple(hosts), tuple(contacts))
