"""How does an operator's policy.toml become a policy, and what is wrong with it where it does not?

Every fault names its line and what to write instead; all of them are found in one pass. What counts for a message, the
first that says something: consent, direction, plain; in each of them the tenant's own words before everybody's; the
preset last. A tenant with a preset of its own begins from that alone.

The file is TOML: `name`, `version`, `preset`, `mode`, `late_after_s`, `cutoffs` and the tables `[categories]`,
`[direction.MT]`, `[consent.opt_in]` and `[tenant.NAME]`, which may hold all of these but name, version and
late_after_s. docs/operations.md has an example.
"""

import difflib
import hashlib
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

from spamguard.core.policy import (
    CONSENTABLE,
    CONSENTS,
    DIRECTIONS,
    PRESETS,
    STRICT,
    Cutoffs,
    Place,
    Policy,
    Terms,
)
from spamguard.types import Category, Mode, Treatment

#: A larger file is not read: a thousand tenants with five lines each are a tenth of it.
MAX_BYTES: Final = 1 << 20
DIGEST_DIGITS: Final = 12
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,39}")
_BARE: Final = r"[A-Za-z0-9_-]+"

_SCOPE: Final = ("preset", "mode", "cutoffs", "categories", "direction", "consent")
_TOP: Final = ("name", "version", "late_after_s", *_SCOPE, "tenant")
_DIRECTION: Final = ("mode", "cutoffs", "categories")
_CONSENT: Final = ("categories",)


class Fault(NamedTuple):
    """What is wrong, and where."""

    line: int | None
    sentence: str

    def __str__(self) -> str:
        return self.sentence if self.line is None else f"line {self.line}: {self.sentence}"


class Reading(NamedTuple):
    """A policy, or what keeps it from being one."""

    policy: Policy | None
    faults: Sequence[Fault]
    version: str = ""


class _Scope(NamedTuple):
    """What one table says, checked."""

    preset: str | None
    mode: Mode | None
    cutoffs: Cutoffs | None  #: a `Cutoffs()` says: the model's
    categories: Mapping[Category, Treatment]
    direction: "Mapping[str, _Scope]"
    consent: "Mapping[str, _Scope]"


_NOTHING: Final = _Scope(None, None, None, {}, {}, {})


def read_policy(content: bytes) -> Reading:
    r"""Return the policy in a file's content, named name@digest, or every fault.

    >>> read_policy(b'name = "night"\npreset = "strickt"').faults[0].sentence
    "preset is 'strickt'; write one of standard, fraud-only, strict (did you mean strict?)"
    """
    if len(content) > MAX_BYTES:
        return Reading(None, [Fault(None, f"it has {len(content):,} bytes; {MAX_BYTES:,} are the most")])
    try:
        text = content.decode("utf-8-sig")
        found = tomllib.loads(text)
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        return Reading(None, [Fault(line, "this is not UTF-8; save the file as UTF-8")])
    except tomllib.TOMLDecodeError as error:
        return Reading(None, [_not_toml(str(error), text)])
    except RecursionError:
        return Reading(None, [Fault(None, "it is nested too deeply to be a policy")])
    reader = _Reader(text)
    whole = reader.top(found)
    if reader.faults:
        return Reading(None, sorted(reader.faults, key=lambda fault: fault.line or 0))
    digest = hashlib.blake2b(content, digest_size=16).hexdigest()[:DIGEST_DIGITS]
    return Reading(_policy(f"{whole.name}@{digest}", whole), (), whole.version)


def _not_toml(said: str, text: str) -> Fault:
    """Return a fault of the file's form; what TOML's reader quotes is left out."""
    at = re.search(r"\(at (?:line (\d+), column \d+|end of document)\)", said)
    line = int(at.group(1)) if at and at.group(1) else text.count("\n") + 1
    reason = re.sub(r"\s*\(at .*\)$|: .*$", "", said)
    return Fault(line, f"this is no TOML ({reason[:1].lower()}{reason[1:]}); strings stand in quotes, tables in [ ]")


class _Whole(NamedTuple):
    name: str
    version: str
    late_after_s: float
    scope: _Scope
    tenants: Mapping[str, _Scope]


class _Reader:
    """Checks what TOML gave, and remembers the faults."""

    def __init__(self, text: str) -> None:
        self.faults: list[Fault] = []
        self._lines = text.splitlines()

    def top(self, found: Mapping[str, Any]) -> _Whole:
        """Return the whole file."""
        self._known(found, (), _TOP)
        name, version = found.get("name", "policy"), found.get("version", "")
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            self._fault(("name",), 'name must be letters, figures, dots and hyphens, at most 40, like "acme-night"')
        if isinstance(version, (dict, list, bool)):
            self._fault(("version",), 'version is a text, like "2026-11-24"')
        late = found.get("late_after_s", 60.0)
        if isinstance(late, bool) or not isinstance(late, (int, float)) or not 0 < late < 1e9:
            self._fault(("late_after_s",), "late_after_s is a number of seconds above 0, like 60")
            late = 60.0
        scope = self._scope(found, ())
        tenants = {}
        for tenant, table in self._tables(found, (), "tenant", None):
            if "/" in tenant or len(tenant) > 200:
                self._fault(("tenant", tenant), "a tenant's name has no slash and at most 200 characters")
            self._known(table, ("tenant", tenant), _SCOPE)
            tenants[tenant] = self._scope(table, ("tenant", tenant))
        return _Whole(str(name), str(version), float(late), scope, tenants)

    def _scope(self, table: Mapping[str, Any], path: tuple[str, ...]) -> _Scope:
        directions, consents = {}, {}
        for name, inner in self._tables(table, path, "direction", DIRECTIONS):
            self._known(inner, (*path, "direction", name), _DIRECTION)
            directions[name] = self._plain(inner, (*path, "direction", name))
        for name, inner in self._tables(table, path, "consent", CONSENTS):
            self._known(inner, (*path, "consent", name), _CONSENT)
            consents[name] = self._plain(inner, (*path, "consent", name))
        return self._plain(table, path)._replace(direction=directions, consent=consents)

    def _plain(self, table: Mapping[str, Any], path: tuple[str, ...]) -> _Scope:
        preset = self._one_of(table, path, "preset", PRESETS)
        mode = self._one_of(table, path, "mode", list(Mode))
        categories = {}
        given = table.get("categories", {})
        if not isinstance(given, dict):
            self._fault((*path, "categories"), 'categories is a table, like categories = { marketing = "review" }')
            given = {}
        for name in given:
            where = (*path, "categories")
            if name not in list(Category):
                self._fault((*where, name), f"'{_short(name)}' is no category; {_choice(name, list(Category))}")
                continue
            if treatment := self._one_of(given, where, name, list(Treatment)):
                categories[Category(name)] = Treatment(treatment)
        return _Scope(preset, None if mode is None else Mode(mode), self._cutoffs(table, path), categories, {}, {})

    def _cutoffs(self, table: Mapping[str, Any], path: tuple[str, ...]) -> Cutoffs | None:
        given = table.get("cutoffs")
        where = (*path, "cutoffs")
        if given is None:
            return None
        if given in ("model", "strict"):
            return STRICT if given == "strict" else Cutoffs()
        if not isinstance(given, dict):
            self._fault(where, 'cutoffs is "model", "strict", or figures like { spam = 0.9 }')
            return None
        self._known(given, where, ("ham", "spam"))
        for name in ("ham", "spam"):
            value = given.get(name)
            if value is not None and (
                isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < 1
            ):
                self._fault((*where, name), f"the {name} cutoff is a score between 0 and 1, like 0.9")
                return None
        ham, spam = given.get("ham"), given.get("spam")
        if ham is not None and spam is not None and ham > spam:
            self._fault((*where, "ham"), "the ham cutoff may not lie above the spam cutoff: ham below, spam from there")
        return Cutoffs(ham=ham, spam=spam)

    def _one_of(self, table: Mapping[str, Any], path: tuple[str, ...], name: str, choices: Iterable[str]) -> str | None:
        value = table.get(name)
        if value is None or (isinstance(value, str) and value in list(choices)):
            return value
        shown = f"'{_short(value)}'" if isinstance(value, str) else f"of the type {type(value).__name__}"
        self._fault((*path, name), f"{name} is {shown}; {_choice(value, choices)}")
        return None

    def _tables(
        self, table: Mapping[str, Any], path: tuple[str, ...], name: str, choices: Sequence[str] | None
    ) -> Iterator[tuple[str, Mapping[str, Any]]]:
        found = table.get(name, {})
        example = choices[0] if choices else "acme"
        if not isinstance(found, dict):
            self._fault((*path, name), f"{name} is a table of tables: [{'.'.join((*path, name, example))}]")
            return
        for key, inner in found.items():
            if choices is not None and key not in choices:
                self._fault((*path, name, key), f"'{_short(key)}' is no {name}; {_choice(key, choices)}")
            elif not isinstance(inner, dict):
                self._fault(
                    (*path, name, key), f"{name}.{_short(key)} is a table: [{'.'.join((*path, name, example))}]"
                )
            else:
                yield key, inner

    def _known(self, table: Mapping[str, Any], path: tuple[str, ...], names: Sequence[str]) -> None:
        for name in table:
            if name not in names:
                where = f" in [{'.'.join(path)}]" if path else ""
                self._fault((*path, name), f"nothing is called '{_short(name)}'{where}; {_choice(name, names)}")

    def _fault(self, path: tuple[str, ...], sentence: str) -> None:
        self.faults.append(Fault(self._line_of(path), sentence))

    def _line_of(self, path: tuple[str, ...]) -> int | None:
        """Return the line on which a key stands, or the nearest table around it: TOML's reader does not tell."""
        best: tuple[int, int] | None = None
        table: tuple[str, ...] = ()
        for number, line in enumerate(self._lines, start=1):
            if header := re.match(r"\s*\[+(.+?)\]+\s*(?:#.*)?$", line):
                table = _keys(header.group(1))
                reached = table
            elif assigned := re.match(
                rf"\s*((?:{_BARE}|\"[^\"]*\"|'[^']*')(?:\s*\.\s*(?:{_BARE}|\"[^\"]*\"|'[^']*'))*)\s*=", line
            ):
                reached = table + _keys(assigned.group(1))
                for key in path[len(reached) :]:  # inside an inline table
                    if path[: len(reached)] != reached or not re.search(
                        rf"[{{,]\s*[\"']?{re.escape(key)}[\"']?\s*[=.]", line
                    ):
                        break
                    reached = (*reached, key)
            else:
                continue
            depth = min(len(reached), len(path))
            if path[:depth] == reached[:depth] and (best is None or depth > best[0]):
                best = depth, number
        return None if best is None else best[1]


def _keys(dotted: str) -> tuple[str, ...]:
    return tuple(key.strip("\"' ") for key in re.findall(rf"{_BARE}|\"[^\"]*\"|'[^']*'", dotted))


def _short(value: str) -> str:
    """Return a text as an error may quote it: short, and on one line."""
    shown = "".join(char if char.isprintable() else "·" for char in value)
    return shown if len(shown) <= 40 else shown[:39] + "…"


def _choice(value: object, choices: Iterable[str]) -> str:
    names = [str(choice) for choice in choices]
    close = difflib.get_close_matches(value, names, n=1) if isinstance(value, str) and len(value) < 100 else []
    return f"write one of {', '.join(names)}" + (f" (did you mean {close[0]}?)" if close else "")


def _policy(name: str, whole: _Whole) -> Policy:
    places: dict[Place, Terms] = {}
    modes: dict[str, Mode] = {f"/{place}": inner.mode for place, inner in whole.scope.direction.items() if inner.mode}
    for tenant, scope in (None, _NOTHING), *whole.tenants.items():
        for direction in DIRECTIONS:
            for consent in CONSENTS:
                places[tenant, direction, consent] = _terms(whole.scope, scope, direction, consent)
        if tenant is None:
            continue
        if scope.mode:
            modes[tenant] = scope.mode
        modes |= {f"{tenant}/{place}": inner.mode for place, inner in scope.direction.items() if inner.mode}
    mode = whole.scope.mode or Mode.ENFORCE
    return Policy(name=name, terms=places, mode=mode, modes=modes, late_after_s=whole.late_after_s)


def _terms(everybody: _Scope, own: _Scope, direction: str, consent: str) -> Terms:
    """Return what two scopes make of a direction and a consent."""
    base = PRESETS[own.preset or everybody.preset or "standard"]
    scopes = (own,) if own.preset else (everybody, own)
    said = {category: base.treatment(category) for category in Category}
    cutoffs = base.cutoffs
    for scope in scopes:
        said |= scope.categories
        cutoffs = scope.cutoffs or cutoffs
    for scope in scopes:
        inner = scope.direction.get(direction, _NOTHING)
        said |= inner.categories
        cutoffs = inner.cutoffs or cutoffs
    by_consent = dict.fromkeys(CONSENTABLE, Treatment.ALLOW) if consent == "opt_in" else {}
    for scope in scopes:
        by_consent |= scope.consent.get(consent, _NOTHING).categories
    said |= by_consent
    return Terms(
        blocked=frozenset(category for category, treatment in said.items() if treatment is Treatment.BLOCK),
        reviewed=frozenset(category for category, treatment in said.items() if treatment is Treatment.REVIEW),
        consented=frozenset(category for category, treatment in by_consent.items() if treatment is Treatment.ALLOW),
        cutoffs=None if cutoffs == Cutoffs() else cutoffs,
    )
