"""What does a policy file say, is it sound, and what would it change?

Made for people before a change and for a pipeline that guards it: each command has an exit code that says so.
"""

import json
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, BinaryIO, Final, Literal

import typer
from rich.text import Text

from spamguard import config
from spamguard.cli.options import Model, Models, PolicyFile, Preset
from spamguard.cli.screen import ACTION_STYLE, DIM, NARROW, Screen, plain_table, printable, score_text, shortened
from spamguard.config import Settings
from spamguard.core.normalize import normalize, readable
from spamguard.core.policy import CONSENTS, DIRECTIONS, Policy, Terms
from spamguard.errors import ConfigError, DataError, PolicyRejected
from spamguard.logs import mask
from spamguard.service import judging, listing, policies
from spamguard.service.rehearsal import Change, Difference, Rehearsal, rehearse
from spamguard.types import Category, Message, Mode, Treatment

STANDARD_INPUT: Final = "-"
TEXT_CELLS: Final = 60
WIDE_CELLS: Final = 130  #: a screen on which ids stand beside the texts
_COLUMNS: Final = ("line", "change", "label", "from", "to", "score", "tenant", "message_id", "text")
_STYLES: Final = {Treatment.BLOCK: "bold red", Treatment.REVIEW: "yellow", Treatment.ALLOW: "green"}

File = Annotated[Path | None, typer.Argument(metavar="FILE", help="policy file; the one of the settings when left out")]
AsJson = Annotated[bool, typer.Option("--json", help="print it as JSON")]


def register(app: typer.Typer) -> None:
    """Add `policy check`, `show`, `diff` and `test`."""
    group = typer.Typer(
        no_args_is_help=True,
        help="""
Check a policy file, and show which decisions it would change.

  $ spamguard policy check new.toml
  $ spamguard policy test new.toml --against recorded.jsonl
""",
    )
    group.command("check")(check)
    group.command("show")(show)
    group.command("diff")(diff)
    group.command("test")(test)
    app.add_typer(group, name="policy")


def check(file: File = None) -> None:
    """Check a policy file: every fault with its line and what to write instead.

    The exit code is 3 when there is any. Running workers keep the last good policy; a start needs a sound one.
    """
    path = _path(file, config.load({}))
    reading = policies.read_file(path)
    screen = Screen()
    if reading.policy is None:
        for fault in reading.faults:
            screen.say(f"{path}{'' if fault.line is None else f':{fault.line}'}: {fault.sentence}")
        number = len(reading.faults)
        screen.say(f"{number} fault{'' if number == 1 else 's'}; nothing of this file would be used.", "red")
        raise typer.Exit(PolicyRejected.exit_code)
    tenants = sorted({tenant for tenant, _, _ in reading.policy.terms if tenant is not None})
    version = f", version {printable(reading.version)}" if reading.version else ""
    screen.say(f"{path} is sound: {reading.policy.name}{version}; {_counted(len(tenants), 'tenant')} of its own.")


def show(
    file: File = None,
    tenant: Annotated[str | None, typer.Option(help="show this tenant only")] = None,
    as_json: AsJson = False,
    preset: Preset = None,
) -> None:
    """Show what holds for whom: mode, cutoffs, and what is done with each category of spam.

    Without a file, and with none in the settings, it shows the preset of the settings.
    """
    settings = config.load({"preset": preset})
    policy = policies.load_policy(file) if file is not None else policies.policy_of(settings)
    tenants: list[str | None] = [None, *sorted({name for name, _, _ in policy.terms if name is not None})]
    if tenant is not None:
        tenants = [tenant if tenant in tenants else None]
    rows: list[dict[str, str]] = [
        {"tenant": name or "", "where": where, "mode": str(mode), "cutoffs": _cutoffs(terms), **_treatments(terms)}
        for name in tenants
        for where, mode, terms in _rows(policy, name)
    ]
    if as_json:
        typer.echo(json.dumps({"policy": policy.name, "rules": rows}, ensure_ascii=False, indent=2))
        return
    screen = Screen()
    screen.say(f"{policy.name}: decisions later than {policy.late_after_s:g} s are marked late\n")
    table = plain_table("tenant", "direction, consent", "mode", "cutoffs", *map(str, Category), header_style=DIM)
    for row in rows:
        if screen.width < NARROW:
            whose = f"tenant {printable(row['tenant'])}" if row["tenant"] else "any other tenant"
            screen.say(f"{whose}; {row['where']}; {row['mode']}, cutoffs {row['cutoffs']}")
            for treatment, style in _STYLES.items():
                named = [str(kind) for kind in Category if row[str(kind)] == treatment]
                if named:
                    screen.say(Text.assemble((f"  {treatment:<7}", style), " ".join(named)))
            continue
        cells: list[Text | str] = [printable(row["tenant"] or "any other"), row["where"], row["mode"], row["cutoffs"]]
        cells += [Text(row[str(kind)], _STYLES[Treatment(row[str(kind)])]) for kind in Category]
        table.add_row(*cells)
    if table.rows:
        screen.lay_out(table)


def diff(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="policy file")],
    other: Annotated[
        Path | None, typer.Argument(metavar="OTHER", help="the policy file it is compared with; else the settings'")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show for whom two policies say different things: from the settings' policy to FILE, or from FILE to OTHER.

    The exit code is 1 when they differ, as that of diff(1) is.
    """
    if other is None:
        old, new = policies.policy_of(config.load({})), policies.load_policy(file)
    else:
        old, new = policies.load_policy(file), policies.load_policy(other)
    rows = list(_differences(old, new))
    if as_json:
        typer.echo(json.dumps({"from": old.name, "to": new.name, "changes": rows}, ensure_ascii=False, indent=2))
    elif not rows:
        Screen().say(f"{old.name} and {new.name} say the same.")
    else:
        table = plain_table("tenant", "direction", "consent", "what", "from", "to", header_style=DIM)
        for row in rows:
            table.add_row(*(printable(str(cell)) for cell in row.values()))
        Screen().say(f"from {old.name} to {new.name}\n")
        Screen().lay_out(table)
    raise typer.Exit(1 if rows else 0)


def test(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="the new policy file")],
    against: Annotated[
        str,
        typer.Option(
            "--against",
            help="recorded messages, review copies or decisions, one JSON object a line; - is standard input",
            show_default=False,
        ),
    ],
    base: Annotated[Path | None, typer.Option("--base", help="policy to compare with; else the settings'")] = None,
    limit: Annotated[int, typer.Option("--limit", help="changes shown; all are counted", min=0)] = 50,
    fail_on: Annotated[
        Literal["blocked-ham", "blocked", "any", "nothing"],
        typer.Option("--fail-on", help="changes that make the exit code 1"),
    ] = "blocked-ham",
    as_json: AsJson = False,
    lists: Annotated[
        Path | None, typer.Option("--new-lists", help="CSV file of list entries that the new side has")
    ] = None,
    model: Model = None,
    models: Models = None,
    policy: PolicyFile = None,
) -> None:
    """Show which recorded decisions a new policy would change, newly blocked good messages first.

    Both sides are judged with the same model, so nothing but the policy makes a difference. A field [bold]label[/] (ham
    or spam) beside a message says what it is. Numbers and links in the texts are covered. The exit code is 1 when
    something changes that --fail-on names: by itself a message labelled ham that would be blocked.

      $ spamguard policy test policy.toml --against recorded.jsonl --fail-on blocked
    """
    settings = config.load({"model": model, "models": models, "policy": policy})
    before, after = judging.offline_filter(settings), judging.offline_filter(settings)
    before.policy = policies.load_policy(base) if base is not None else policies.policy_of(settings)
    after.policy = policies.load_policy(file)
    if lists is not None:
        after.lists = listing.load_file(lists, now_s=time.time())
    with _opened(against) as stream:
        found = rehearse(stream, before, after)
    if found.lines == found.unreadable:
        raise DataError(
            detail=f"{printable(against)} holds no message, review copy or decision that could be read; give one JSON "
            "object a line"
        )
    if as_json:
        typer.echo(json.dumps(_as_json(found, before.policy, after.policy), ensure_ascii=False, indent=2))
    else:
        _print(found, before.policy, after.policy, limit)
    raise typer.Exit(_exit_code(found, fail_on))


def _path(file: Path | None, settings: Settings) -> Path:
    path = file or settings.policy
    if path is None:
        raise ConfigError(detail="there is no policy file: name one, or set SPAMGUARD_POLICY")
    return path


def _counted(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def _treatments(terms: Terms) -> dict[str, str]:
    return {str(category): str(terms.treatment(category)) for category in Category}


def _cutoffs(terms: Terms) -> str:
    """Return the cutoffs in words."""
    own = terms.cutoffs
    if own is None:
        return "the model's"
    if own.strict:
        return "strict"
    said = [f"{name} {value:g}" for name, value in (("ham", own.ham), ("spam", own.spam)) if value is not None]
    return ", ".join(said)


def _rows(policy: Policy, tenant: str | None) -> Iterator[tuple[str, Mode, Terms]]:
    """Yield what holds for a tenant, alike places together."""
    groups: dict[tuple[Mode, Terms], list[tuple[str, str]]] = {}
    for direction in DIRECTIONS:
        for consent in CONSENTS:
            mode, terms = _holding(policy, tenant, direction, consent)
            groups.setdefault((mode, terms), []).append((direction, consent))
    for (mode, terms), places in groups.items():
        yield _where(places), mode, terms


def _holding(policy: Policy, tenant: str | None, direction: str, consent: str) -> tuple[Mode, Terms]:
    # No tenant has a name with a NUL.
    message = Message(message_id="", tenant="\0" if tenant is None else tenant, direction=direction, consent=consent)
    return policy.mode_of(message), policy.terms_of(message)


def _where(places: list[tuple[str, str]]) -> str:
    """Return places in few words.

    >>> _where([("MO", "opt_in"), ("MT", "opt_in")])
    'MO MT: opt_in'
    """
    directions = [name for name in DIRECTIONS if any(place[0] == name for place in places)]
    consents = [name for name in CONSENTS if any(place[1] == name for place in places)]
    if len(places) != len(directions) * len(consents):
        return ", ".join(f"{direction} {consent}" for direction, consent in places)
    there = "all" if len(directions) == len(DIRECTIONS) else " ".join(directions)
    return there if len(consents) == len(CONSENTS) else f"{there}: {' '.join(consents)}"


def _differences(old: Policy, new: Policy) -> Iterator[dict[str, str]]:
    tenants = {tenant for policy in (old, new) for tenant, _, _ in policy.terms} - {None}
    if old.late_after_s != new.late_after_s:
        yield _change("all", "all", "all", "late after", f"{old.late_after_s:g} s", f"{new.late_after_s:g} s")
    for tenant in (None, *sorted(tenants, key=str)):
        changed: dict[tuple[str, str, str], list[tuple[str, str]]] = {}
        for direction in DIRECTIONS:
            for consent in CONSENTS:
                was, now = _holding(old, tenant, direction, consent), _holding(new, tenant, direction, consent)
                for what, before, after in _compared(was, now):
                    changed.setdefault((what, before, after), []).append((direction, consent))
        for (what, before, after), places in changed.items():
            directions = [name for name in DIRECTIONS if any(place[0] == name for place in places)]
            consents = [name for name in CONSENTS if any(place[1] == name for place in places)]
            there = "all" if len(directions) == len(DIRECTIONS) else " ".join(directions)
            those = "all" if len(consents) == len(CONSENTS) else " ".join(consents)
            yield _change(tenant or "any other", there, those, what, before, after)


def _compared(was: tuple[Mode, Terms], now: tuple[Mode, Terms]) -> Iterator[tuple[str, str, str]]:
    said = [{"mode": str(mode), "cutoffs": _cutoffs(terms), **_treatments(terms)} for mode, terms in (was, now)]
    for what, before in said[0].items():
        if before != said[1][what]:
            yield what, before, said[1][what]


def _change(*cells: str) -> dict[str, str]:
    return dict(zip(("tenant", "direction", "consent", "what", "from", "to"), cells, strict=True))


def _opened(name: str) -> BinaryIO:
    import sys

    if name == STANDARD_INPUT:
        return sys.stdin.buffer
    try:
        return Path(name).open("rb")
    except OSError as error:
        raise DataError(detail=f"{printable(name)} cannot be read ({error.strerror})") from None


def _exit_code(found: Rehearsal, fail_on: str) -> int:
    blocked = [one for one in found.differences if one.change is Change.BLOCKED]
    wrong = {
        "blocked-ham": any(one.label == "ham" for one in blocked),
        "blocked": bool(blocked),
        "any": bool(found.differences),
        "nothing": False,
    }
    return int(wrong[fail_on])


def covered(text: str | None) -> str:
    """Return a text with its numbers and links covered.

    >>> covered("加微信 13900001234 t.cn/demo")
    '加微信 ⟨mobile⟩ ⟨url_short⟩'
    """
    return "" if text is None else readable(normalize(text))


def _counts(found: Rehearsal) -> dict[str, int]:
    counts = {str(change): 0 for change in Change}
    for one in found.differences:
        counts[str(one.change)] += 1
    blocked_ham = sum(one.change is Change.BLOCKED and one.label == "ham" for one in found.differences)
    return {"newly blocked ham": blocked_ham, **counts}


def _print(found: Rehearsal, before: Policy, after: Policy, limit: int) -> None:
    screen = Screen()
    judged = found.lines - found.unreadable
    screen.say(f"{_counted(judged, 'decision')}, from {before.name} to {after.name}; {found.labelled:,} labelled.")
    if found.unreadable:
        lines = _counted(found.unreadable, "line")
        screen.say(f"{lines} left out: neither a message nor a review copy nor a decision.", "yellow")
    if found.without_text:
        said = _counted(found.without_text, "decision")
        screen.say(f"{said} without a message: ruled from the score, as of no tenant, MT, unknown consent.", DIM)
    if not found.differences:
        screen.say("Nothing would change.", "green")
        return
    counts = _counts(found)
    for what, number in counts.items():
        if number:
            screen.say(f"  {number:>8,}  {what}", "bold red" if what == "newly blocked ham" else "")
    screen.say()
    shown = [_cells(one) for one in found.differences[:limit]]
    filled = [any(str(cells[place]) not in ("", "–") for cells in shown) for place in range(len(_COLUMNS))]
    filled[_COLUMNS.index("message_id")] &= screen.width >= WIDE_CELLS  # the line says it as well
    table = plain_table(expand=True)
    for column, told in zip(_COLUMNS, filled, strict=True):
        if told:  # a change keeps to one line
            table.add_column(column, header_style=DIM, no_wrap=True, ratio=1 if column == "text" else None)
    for cells in shown:
        table.add_row(*(cell for cell, told in zip(cells, filled, strict=True) if told))
    screen.lay_out(table)
    if len(found.differences) > limit:
        screen.say(f"… and {len(found.differences) - limit:,} more: --limit {len(found.differences)}", DIM)


def _cells(one: Difference) -> tuple[Text | str, ...]:
    label = Text(one.label or "–", {"ham": "green", "spam": "red"}.get(one.label or "", DIM))
    after = f"{one.after.action} {one.after.reason}" + (f" ({one.after.entry})" if one.after.entry else "")
    return (
        str(one.line),
        str(one.change),
        label,
        Text(f"{one.before.action} {one.before.reason}", ACTION_STYLE[one.before.action]),
        Text(after, ACTION_STYLE[one.after.action]),
        score_text(one.after.score),
        printable(mask(one.tenant)),
        printable(mask(one.message_id)),
        shortened(covered(one.text), TEXT_CELLS),
    )


def _as_json(found: Rehearsal, before: Policy, after: Policy) -> Mapping[str, Any]:
    rows = [
        {
            "line": one.line,
            "change": str(one.change),
            "label": one.label,
            "before": {"action": str(one.before.action), "reason": str(one.before.reason)},
            "after": {"action": str(one.after.action), "reason": str(one.after.reason), "list_entry": one.after.entry},
            "score": one.after.score,
            "tenant": mask(one.tenant),
            "message_id": mask(one.message_id),
            "text": covered(one.text),
        }
        for one in found.differences
    ]
    return {
        "from": before.name,
        "to": after.name,
        "lines": found.lines,
        "unreadable": found.unreadable,
        "labelled": found.labelled,
        "counts": _counts(found),
        "changes": rows,
    }
