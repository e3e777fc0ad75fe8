"""When is a line of a list an entry, and what is it found by?

The rules: an entry that allows needs what the gateway authenticated, an account together with a sender; senders,
signatures, hosts, contacts and patterns can be forged, so they may only block or ask for review. Each fault says what
to write instead, and never repeats a value, which may be somebody's number.
"""

import re
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any, Final, NamedTuple

from spamguard.core import things
from spamguard.core.normalize import TOKENS, fold
from spamguard.types import ListEntry, ListKind, Treatment

MAX_VALUE_CHARS: Final = 300
MAX_ID_CHARS: Final = 40
MIN_SENDER_CHARS: Final = 3
#: A shorter beginning stands for thousands of senders.
MIN_PREFIX_CHARS: Final = 4
#: Steps of a compiled pattern: .{0,30} has some hundred; one of eight thousand took 20 ms of a long message.
MAX_PROGRAM: Final = 2000
#: What RE2 may take for the patterns together; it refuses to compile more.
PATTERN_MEMORY: Final = 64 << 20

_ID: Final = re.compile(rf"[A-Za-z0-9._:-]{{1,{MAX_ID_CHARS}}}")
_HOST_FORM: Final = re.compile(r"(?=.{3,200}$)[a-z0-9_-]{1,63}(?:\.[a-z0-9_-]{1,63})+")
_HANDLE_FORM: Final = re.compile(r"[a-z0-9][a-z0-9_-]{4,39}")
#: Second labels under which others register, with a country's label behind them: com.cn, co.uk.
_SHARED_LABELS: Final = frozenset(
    ("com", "net", "org", "gov", "edu", "ac", "mil", "co", "or", "ne", "go", "gob", "bj", "sh", "tj", "cq", "he", "sx",
     "nm", "ln", "jl", "hl", "js", "zj", "ah", "fj", "jx", "sd", "ha", "hb", "hn", "gd", "gx", "hi", "sc", "gz", "yn",
     "gs", "qh", "nx", "xj", "tw", "hk", "mo")
)  # fmt: skip
#: Hosts under which anybody gets a host of their own.
_SHARED_HOSTS: Final = frozenset(
    ("github.io", "gitee.io", "netlify.app", "vercel.app", "pages.dev", "workers.dev", "web.app", "firebaseapp.com",
     "herokuapp.com", "blogspot.com", "myqcloud.com", "aliyuncs.com", "amazonaws.com", "azurewebsites.net",
     "cloudfront.net", "appspot.com")
)  # fmt: skip
#: Kinds whose value may be somebody's number: it is covered wherever it is shown.
NUMBERS: Final = frozenset((ListKind.SENDER, ListKind.LINK, ListKind.CONTACT))
_HASH_MASK: Final = (1 << 64) - 1


class Fault(Exception):
    """Why an entry is none: a sentence with what to write instead, and never the value where that may be a number."""


class Key(NamedTuple):
    """What an entry is found by; a prefix stands for all that begin so."""

    kind: str
    tenant: str
    value: str

    @property
    def hash(self) -> int:
        """Return the key's 64-bit hash."""
        return hash_of(self.kind, self.tenant, self.value)


def hash_of(kind: str, tenant: str, value: str) -> int:
    """Return the 64-bit hash of a key, which is another one in every process."""
    return hash(f"{kind}\0{tenant}\0{value}") & _HASH_MASK


@lru_cache(maxsize=4096)  # a file of a million entries has some hundred different dates
def moment(text: str, *, end: bool = False) -> int:
    """Return seconds since the epoch; a date alone is its beginning in UTC, or its `end`. Raises ValueError.

    >>> moment("2026-11-24"), moment("2026-11-24", end=True) - moment("2026-11-24")
    (1795478400, 86400)
    """
    found = datetime.fromisoformat(text)
    found = found if found.tzinfo else found.replace(tzinfo=UTC)
    if end and len(text) == 10:
        found += timedelta(days=1)
    return int(found.timestamp())


def expires_s(entry: ListEntry) -> int:
    """Return when an entry ends, in seconds since the epoch; 0 is never."""
    return moment(entry.expires, end=True) if entry.expires else 0


def check_id(identity: str) -> None:
    """Raise Fault for what is no id of an entry."""
    if not _ID.fullmatch(identity):
        raise Fault(f"an id has letters, figures, dots, colons and hyphens, at most {MAX_ID_CHARS}")


def key_of(entry: ListEntry) -> Key:
    """Return what an entry is found by. Raises Fault when it breaks a rule of the lists."""
    value = entry.value.strip()
    if not value or len(value) > MAX_VALUE_CHARS:
        raise Fault(f"the value is empty or longer than {MAX_VALUE_CHARS} characters")
    if entry.action is Treatment.ALLOW and entry.kind is not ListKind.LINK:
        what = {ListKind.SENDER: "a sender", ListKind.SIGNATURE: "a signature"}.get(entry.kind, "what a text says")
        raise Fault(
            f"{what} can be forged, so it may not allow; write kind link with ACCOUNT/SENDER, or block or review"
        )
    _check_times(entry.created, entry.expires)
    kind, found = _CANONICAL[entry.kind](value, entry)
    return Key(kind, entry.tenant, found)


@lru_cache(maxsize=4096)  # the same few in a million entries; what raises is not kept
def _check_times(created_text: str, expires_text: str) -> None:
    times = []
    for name, text, end in (("created", created_text, False), ("expires", expires_text, True)):
        try:
            times.append(moment(text, end=end) if text else None)
        except (ValueError, OverflowError):
            raise Fault(f"{name} is no date; write 2026-12-31 or 2026-12-31T18:00:00+08:00") from None
    created, expires = times
    if expires is not None and not 0 < expires < 1 << 32:
        raise Fault("expires is no date of this century; write 2026-12-31")
    if created is not None and expires is not None and expires <= created:
        raise Fault("it expires before it was created")


def _sender_key(value: str, _: ListEntry) -> tuple[str, str]:
    prefix = value.endswith("*")
    found = things.sender(value.rstrip("*"))
    if "*" in found or len(found) < (MIN_PREFIX_CHARS if prefix else MIN_SENDER_CHARS):
        raise Fault(
            f"a sender has at least {MIN_SENDER_CHARS} characters, or {MIN_PREFIX_CHARS} with one * behind them, like "
            "10690000*"
        )
    return (_prefixed(ListKind.SENDER) if prefix else str(ListKind.SENDER)), found


def _link_key(value: str, entry: ListEntry) -> tuple[str, str]:
    name, slash, rest = value.rpartition("/")
    if not slash:
        if entry.action is Treatment.ALLOW:
            raise Fault("an account alone may not allow; write ACCOUNT/SENDER, or ACCOUNT/1069* for all that begin so")
        return str(ListKind.LINK), things.account(value)
    if not things.account(name):
        raise Fault("a link is an account, or ACCOUNT/SENDER")
    kind, found = _sender_key(rest, entry)
    return (_prefixed(ListKind.LINK) if kind.endswith("*") else str(ListKind.LINK)), f"{things.account(name)}/{found}"


def _signature_key(value: str, _: ListEntry) -> tuple[str, str]:
    found = things.signature(value)
    if not 2 <= len(found) <= 30:
        raise Fault("a signature has 2 to 30 characters, like 青溪银行, with or without its brackets")
    return str(ListKind.SIGNATURE), found


def _host_key(value: str, __: ListEntry) -> tuple[str, str]:
    if "/" in value or "@" in value or "*" in value:
        raise Fault("write the host alone, like evil.example: every host below it is meant too")
    found = things.host(value)
    if "." not in found:
        raise Fault("a host has a dot, like evil.example; a single label would mean half the net")
    if not _HOST_FORM.fullmatch(found):
        raise Fault("this is no host; write one like evil.example")
    first, _, country = found.partition(".")
    if found in _SHARED_HOSTS or (first in _SHARED_LABELS and len(country) == 2):
        raise Fault(f"under {found} anybody can have a host; write the one that is meant, like evil.{found}")
    return str(ListKind.HOST), found


def _contact_key(value: str, _: ListEntry) -> tuple[str, str]:
    found = things.contact(value)
    if found.isdigit() and len(found) >= things.MIN_CONTACT_DIGITS:
        return str(ListKind.CONTACT), found
    if not _HANDLE_FORM.fullmatch(found):
        raise Fault(
            "a contact is a phone number, or the name of an account: at least 5 letters, figures, _ and -, like fp00061"
        )
    return str(ListKind.CONTACT), found


def _pattern_key(value: str, _: ListEntry) -> tuple[str, str]:
    compile_pattern(value)
    return str(ListKind.PATTERN), value


_CANONICAL: Final = {
    ListKind.SENDER: _sender_key,
    ListKind.LINK: _link_key,
    ListKind.SIGNATURE: _signature_key,
    ListKind.HOST: _host_key,
    ListKind.CONTACT: _contact_key,
    ListKind.PATTERN: _pattern_key,
}


def _prefixed(kind: ListKind) -> str:
    return f"{kind}*"


def re2_options() -> Any:
    """Return how every pattern is read: without regard to case, within bounded memory, without a word to stderr."""
    import re2

    options = re2.Options()
    options.max_mem = PATTERN_MEMORY
    options.log_errors = False
    options.case_sensitive = False
    return options


def canonical_pattern(value: str) -> str:
    """Return a pattern with its non-ASCII characters folded, so that Traditional script meets normalised text.

    Placeholders are written as `spamguard explain` shows them: ⟨mobile⟩.
    """
    for name, token in TOKENS.items():
        value = value.replace(f"⟨{name}⟩", token)
    return "".join(char if char.isascii() or "\ue000" <= char <= "\uf8ff" else fold(char) for char in value)


def compile_pattern(value: str) -> Any:
    """Return a compiled pattern. Raises Fault for what RE2 does not take, and for what would match everything."""
    import re2

    try:
        compiled = re2.compile(canonical_pattern(value), re2_options())
    except re2.error as error:
        said = error.args[0].decode("utf-8", "replace") if error.args and isinstance(error.args[0], bytes) else ""
        raise Fault(f"RE2 does not take this pattern ({said.partition(':')[0] or 'malformed'})") from None
    if compiled.programsize > MAX_PROGRAM:
        raise Fault("this pattern is too large for every message; write fewer alternatives, or smaller counts in { }")
    if compiled.search("") is not None:
        raise Fault("this pattern matches every text; say at least one character that must be there")
    return compiled
