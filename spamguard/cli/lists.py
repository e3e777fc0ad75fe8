"""What does an operator type to block a sender, and to see what is blocked, by whom and why?

Changes go to the lists topic, which every worker follows; with --file they go into a CSV file instead, and no broker is
asked. Values that may be somebody's number are shown with their middle covered.
"""

import re
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Final

import msgspec
import typer
from rich.text import Text

from spamguard import config
from spamguard.backends import list_files
from spamguard.backends.login import who_am_i
from spamguard.cli.control import asked
from spamguard.cli.options import KAFKA, Brokers, Who, setting
from spamguard.cli.screen import DIM, Screen, plain_table, printable, shortened
from spamguard.config import Settings
from spamguard.core import entries as rules
from spamguard.core import things
from spamguard.core.entries import NUMBERS, Fault, key_of
from spamguard.core.list_file import Row, rows_in
from spamguard.core.normalize import normalize
from spamguard.errors import DataError, ListRejected
from spamguard.service import listing
from spamguard.service.listing import Ledger
from spamguard.types import ListChange, ListEntry, ListKind, Treatment

ListsTopic = Annotated[str | None, setting("lists_topic", KAFKA)]
ByFile = Annotated[Path | None, typer.Option("--file", help="act on this CSV file instead of on the topic")]
Reason = Annotated[str, typer.Option("--reason", help="why; it is kept and shown", show_default=False)]
ShowNumbers = Annotated[bool, typer.Option("--show-numbers", help="show numbers whole")]
STYLES: Final = {Treatment.BLOCK: "bold red", Treatment.ALLOW: "green", Treatment.REVIEW: "yellow"}
#: Wider values are cut in tables.
VALUE_CELLS: Final = 40
_FIGURES: Final = re.compile(r"(\d{2})\d+(?=\d{2}(?!\d))")


def register(app: typer.Typer) -> None:
    """Add `lists add`, `remove`, `import`, `export`, `find` and `check`."""
    group = typer.Typer(
        no_args_is_help=True,
        help="""Block, allow or review by sender, host, contact, pattern, ….

Entries live on a topic that every worker and gateway reads; add, remove and find also work on a CSV file (--file).

  $ spamguard lists add host evil.example --reason phishing --expires 2026-12-31
  $ spamguard lists find "看 http://login.evil.example/x"
""",
    )
    group.command("add")(add)
    group.command("remove")(remove)
    group.command("import")(import_file)
    group.command("export")(export)
    group.command("find")(find)
    group.command("check")(check)
    app.add_typer(group, name="lists")


def add(
    kind: Annotated[ListKind, typer.Argument(help="what it is compared with", show_default=False)],
    value: Annotated[str, typer.Argument(help="the sender, link, signature, …; 10690000* is all that begin so")],
    action: Annotated[Treatment, typer.Option("--action", help="what is done with what matches")] = Treatment.BLOCK,
    reason: Reason = ...,  # type: ignore[assignment]  # Typer's way to say that it must be given
    tenant: Annotated[str, typer.Option("--tenant", help="messages of this tenant only")] = "",
    owner: Annotated[
        str | None, typer.Option("--owner", help="who answers for it [dim](default: who adds it)[/]")
    ] = None,
    expires: Annotated[str, typer.Option("--expires", help="last day, 2026-12-31, or a moment")] = "",
    file: ByFile = None,
    who: Who = None,
    brokers: Brokers = None,
    lists_topic: ListsTopic = None,
) -> None:
    """Add an entry, or change the one that matches the same: every worker has it within two seconds.

    An entry that allows needs an account together with a sender (kind link, ACCOUNT/SENDER): everything else can be
    forged, and may only block or ask for review.

      $ spamguard lists add host evil.example --reason phishing
      $ spamguard lists add link acme/10690001 --action allow --tenant acme --reason codes
    """
    settings = config.load({"brokers": brokers, "lists_topic": lists_topic})
    name = who or who_am_i()
    entry = ListEntry(
        kind=kind, value=value, action=action, tenant=tenant, owner=owner or name, reason=reason,
        created=_now()[:10], expires=expires,
    )  # fmt: skip
    try:
        key = key_of(msgspec.structs.replace(entry, created=""))
        if entry.expires and rules.expires_s(entry) <= time.time():
            raise Fault("it has expired already")
    except Fault as fault:
        raise DataError(detail=f"{fault}") from None
    ledger = _ledger(settings, file)
    held = ledger.by_key().get(key)
    before = ledger.changes[held].entry if held is not None else None
    if before is not None and before.action is not action and Treatment.ALLOW in (before.action, action):
        said = f"entry {held} says {before.action} of the same thing; take it away first: spamguard lists remove {held}"
        raise DataError(detail=said)
    identity = held or listing.new_id()
    if file is not None:
        _rewrite(file, [*((one, e) for one, e in ledger.entries() if one != identity), (identity, entry)])
    else:
        change = ListChange(entry=entry, who=name, why=reason, at=_now())
        asked(listing.write_topic(settings, [(identity, change)]))
    what = "changed" if before is not None else "added"
    Screen().say(f"{identity} {what}: {action} {kind} {shown(entry)}; {_reached(file)}")


def remove(
    identities: Annotated[list[str], typer.Argument(metavar="ID…", help="ids, as `lists find` shows them")],
    reason: Reason = ...,  # type: ignore[assignment]  # as above
    file: ByFile = None,
    who: Who = None,
    brokers: Brokers = None,
    lists_topic: ListsTopic = None,
) -> None:
    """Take entries away by their ids: every worker knows within two seconds. Who and why stay in the topic."""
    settings = config.load({"brokers": brokers, "lists_topic": lists_topic})
    ledger = _ledger(settings, file)
    unknown = [identity for identity in identities if identity not in ledger.changes]
    if unknown:
        said = ", ".join(map(printable, unknown))
        raise DataError(detail=f"there is no entry {said}; `spamguard lists find` shows ids")
    if file is not None:
        _rewrite(file, [(identity, entry) for identity, entry in ledger.entries() if identity not in identities])
    else:
        gone = ListChange(who=who or who_am_i(), why=reason, at=_now())
        asked(listing.write_topic(settings, [(identity, gone) for identity in identities]))
    Screen().say(f"{', '.join(map(printable, identities))} removed; {_reached(file)}")


def import_file(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="CSV file of entries")],
    yes: Annotated[bool, typer.Option("--yes", help="write it; without, nothing is changed")] = False,
    replace: Annotated[bool, typer.Option("--replace", help="take away what the file does not name")] = False,
    reason: Annotated[str, typer.Option("--reason", help="why; it is kept with every change")] = "",
    who: Who = None,
    brokers: Brokers = None,
    lists_topic: ListsTopic = None,
) -> None:
    """Show what importing a file would change on the topic, and with --yes change it.

    An entry that matches what another one matches takes its place and its id, so importing twice changes nothing. A
    file with a fault is not imported at all.
    """
    settings = config.load({"brokers": brokers, "lists_topic": lists_topic})
    plan = listing.plan_import(file, asked(listing.read_topic(settings)), now_s=time.time(), replace=replace)
    screen = Screen()
    counts = {"added": len(plan.added), "changed": len(plan.changed), "removed": len(plan.removed)}
    said = ", ".join(f"{number:,} {what}" for what, number in counts.items())
    rest = f"{plan.same:,} as they are, {plan.expired:,} expired and left out"
    if not yes:
        screen.say(f"Would be {said}; {rest}. Nothing was changed: add --yes.")
        return
    changes = plan.changes(who=who or who_am_i(), why=reason or f"import of {file.name}", at=_now())
    if changes:
        asked(listing.write_topic(settings, changes))
    screen.say(f"{said}; {rest}. {'Acknowledged.' if changes else 'Nothing to do.'}")


def export(
    target: Annotated[str, typer.Argument(metavar="FILE|-", help="where to; - is standard output")] = "-",
    brokers: Brokers = None,
    lists_topic: ListsTopic = None,
) -> None:
    """Write every entry of the topic as CSV, numbers whole: for a backup, an editor, or a start without the topic."""
    settings = config.load({"brokers": brokers, "lists_topic": lists_topic})
    ledger: Ledger = asked(listing.read_topic(settings))
    written = listing.csv_of(ledger.entries())
    if target == "-":
        typer.echo(written, nl=False)
        return
    list_files.write(Path(target), written)
    Screen().say(f"{_counted(len(ledger.changes))} written to {target}; it holds numbers as they are.")


def find(
    what: Annotated[
        str | None, typer.Argument(metavar="TEXT", help="a number, name, host, signature, id, or a whole text")
    ] = None,
    tenant: Annotated[str | None, typer.Option("--tenant", help="entries of this tenant only")] = None,
    owner: Annotated[str | None, typer.Option("--owner", help="entries of this owner only")] = None,
    kind: Annotated[ListKind | None, typer.Option("--kind", help="entries of this kind only")] = None,
    limit: Annotated[int, typer.Option("--limit", help="entries shown; all are counted", min=1)] = 50,
    show_numbers: ShowNumbers = False,
    file: ByFile = None,
    brokers: Brokers = None,
    lists_topic: ListsTopic = None,
) -> None:
    """Show which entries match something, however it is written, with who, why and until when.

    Without TEXT all entries are listed. The exit code is 1 when there is none.
    """
    settings = config.load({"brokers": brokers, "lists_topic": lists_topic})
    if file is not None and not file.exists():
        raise DataError(detail=f"{printable(str(file))} cannot be read (No such file or directory)")
    ledger = _ledger(settings, file)
    found = [
        (identity, entry)
        for identity, entry in ledger.entries()
        if (tenant is None or entry.tenant == tenant)
        and (owner is None or entry.owner == owner)
        and (kind is None or entry.kind is kind)
    ]
    if what is not None:
        wanted = _keys(what)
        normalised = normalize(what)
        found = [(one, entry) for one, entry in found if one == what or _matches(entry, wanted, normalised)]
    screen = Screen()
    if not found:
        screen.say("No entry.")
        raise typer.Exit(1)
    table = plain_table("id", "action", "kind", "value", "tenant", "owner", "until", "reason", header_style=DIM)
    now_s = time.time()
    for identity, entry in found[:limit]:
        value = shown(entry, whole=show_numbers)
        expired = bool(entry.expires) and _expired(entry, now_s)
        until = Text(f"{entry.expires} (expired)", DIM) if expired else Text(entry.expires or "–")
        table.add_row(
            printable(identity),
            Text(str(entry.action), DIM if expired else STYLES[entry.action]),
            str(entry.kind),
            shortened(value, VALUE_CELLS),
            printable(entry.tenant),
            printable(entry.owner),
            until,
            printable(entry.reason),
        )
    screen.lay_out(table)
    if len(found) > limit:
        screen.say(f"… and {len(found) - limit:,} more: --limit {len(found)}", DIM)


def check(file: Annotated[Path, typer.Argument(metavar="FILE", help="CSV file of entries")]) -> None:
    """Check a CSV file: every fault with its line and what to write instead. The exit code is 6 when there is any."""
    reading = listing.read_file(file, now_s=time.time())
    screen = Screen()
    if reading.lists is None:
        for fault in reading.faults:
            screen.say(f"{file}:{fault.line}: {fault.sentence}")
        number = len(reading.faults)
        screen.say(f"{number} fault{'' if number == 1 else 's'}; nothing of this file would be used.", "red")
        raise typer.Exit(ListRejected.exit_code)
    screen.say(
        f"{file} is sound: {_counted(reading.entries)}, {reading.expired:,} expired, {reading.repeated:,} said twice."
    )
    rows = [row for row in rows_in(list_files.lines(file), file.name) if isinstance(row, Row)]
    counts = Counter((row.entry.kind, row.entry.action) for row in rows)
    for (kind, action), number in sorted(counts.items()):
        screen.say(f"  {number:>9,}  {action} {kind}")
    unowned = sum(not row.entry.owner or not row.entry.reason for row in rows)
    if unowned:
        screen.say(f"{_counted(unowned)} without owner or reason: nobody will know why they are there.", "yellow")


def shown(entry: ListEntry, *, whole: bool = False) -> str:
    """Return an entry's value as it may be shown: of a number the middle is covered.

    >>> shown(ListEntry(kind=ListKind.SENDER, value="13900001234", action=Treatment.BLOCK))
    '13*******34'
    """
    value = printable(entry.value)
    if whole or entry.kind not in NUMBERS:
        return value
    return _FIGURES.sub(lambda found: found.group(1) + "*" * (len(found.group()) - 2), value)


def _ledger(settings: Settings, file: Path | None) -> Ledger:
    """Return the entries of a file, or of the topic. Raises ListRejected and what a broker raises."""
    if file is None:
        found: Ledger = asked(listing.read_topic(settings))
        return found
    if not file.exists():
        return Ledger({})
    listing.load_file(file, now_s=0)
    rows = rows_in(list_files.lines(file), file.name)
    return Ledger({row.identity: ListChange(entry=row.entry) for row in rows if isinstance(row, Row)})


def _rewrite(file: Path, entries: Iterable[tuple[str, ListEntry]]) -> None:
    """Write a file anew, its comments kept at its head."""
    comments = [line for line in list_files.lines(file) if line.startswith("#")] if file.exists() else []
    list_files.write(file, "".join(comments) + listing.csv_of(entries))


def _keys(text: str) -> set[tuple[str, str]]:
    """Return the kinds and values that a text could stand for."""
    sender, contact = things.sender(text), things.contact(text)
    found = {
        ("sender", sender),
        ("contact", contact),
        ("link", things.account(text)),
        ("signature", things.signature(text)),
    }
    found |= {("sender*", sender[:length]) for length in range(1, len(sender) + 1)}
    name, slash, rest = text.rpartition("/")
    if slash:
        found.add(("link", f"{things.account(name)}/{things.sender(rest)}"))
    normalised = normalize(text)
    found |= {("signature", signature) for signature in things.signatures(normalised)}
    [inside] = things.things_of([text], [normalised])
    hosts: Sequence[str] = (*inside.hosts, things.host(text))
    found |= {("host", above) for host in hosts for above in things.host_and_parents(host)}
    return found | {("contact", one) for one in inside.contacts}


def _matches(entry: ListEntry, wanted: set[tuple[str, str]], normalised: str) -> bool:
    try:
        if entry.kind is ListKind.PATTERN:
            return rules.compile_pattern(entry.value).search(normalised) is not None
        key = key_of(entry)
    except Fault:
        return False
    return (key.kind, key.value) in wanted


def _expired(entry: ListEntry, now_s: float) -> bool:
    try:
        return rules.expires_s(entry) <= now_s
    except ValueError:
        return False


def _counted(number: int) -> str:
    return f"{number:,} entr{'y' if number == 1 else 'ies'}"


def _reached(file: Path | None) -> str:
    if file is not None:
        return f"written to {file}. Services that read it follow."
    return "acknowledged, every worker has it within two seconds."


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
