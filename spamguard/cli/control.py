"""What does an operator type at night: to stop all blocking, to watch a tenant only, to close a breaker?

Every order is acknowledged by the broker before the command returns, and stands in the control topic with who and why.
"""

import asyncio
import logging
from collections.abc import Coroutine
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import typer
from rich.text import Text

from spamguard import config, logs
from spamguard.backends.login import who_am_i
from spamguard.cli.options import Brokers, ControlTopic, Who, setting
from spamguard.cli.screen import DIM, Screen, plain_table, printable
from spamguard.config import Settings
from spamguard.engine.control import ALLOW_ALL, BREAKER, Controls, mode_key, place_of
from spamguard.errors import SpamguardError
from spamguard.service import orders
from spamguard.types import Mode, Order

ControlFileOption = Annotated[Path | None, setting("control_file")]
Reason = Annotated[str, typer.Option("--reason", help="why; it is shown, logged and kept", show_default=False)]
_ALLOW_ALL_HELP: Final = """
Stop all blocking, on every worker, within two seconds.

Messages are still judged and say what they would have been. It holds, restarts included, until it is switched off.

  $ spamguard allow-all on --reason "good messages are blocked"
  $ spamguard allow-all on --reason "Kafka is away" --file        # on every worker's machine
  $ spamguard allow-all off --reason "the old model is back"
"""
_MODE_HELP: Final = """
Switch to observe or enforce, for all or for one tenant.

Workers obey while they run. Observe allows everything and says what it would have been; enforce lets blocks bind.

  $ spamguard mode observe --tenant acme --reason "a new customer"
  $ spamguard mode default --tenant acme
"""
_BREAKER_HELP: Final = """
Close a tenant's breaker, or turn all breakers off.

A breaker turns a tenant to observe when its block rate jumps far above its own baseline. Closing one says that the spam
is real.

  $ spamguard breaker close --tenant acme --reason "a real campaign"
"""
Tenant = Annotated[str | None, typer.Option("--tenant", help="the messages of this tenant only")]
Direction = Annotated[
    Literal["MO", "MT", "AO", "transit"] | None, typer.Option("--direction", help="the messages of this direction only")
]
ByFile = Annotated[bool, typer.Option("--file", help="act on this machine's control file instead of on Kafka")]


def register(app: typer.Typer) -> None:
    """Add `allow-all`, `mode` and `breaker`."""
    switch = typer.Typer(no_args_is_help=True, help=_ALLOW_ALL_HELP)
    switch.command("on")(allow_all_on)
    switch.command("off")(allow_all_off)
    switch.command("status")(allow_all_status)
    app.add_typer(switch, name="allow-all")
    mode = typer.Typer(no_args_is_help=True, help=_MODE_HELP)
    mode.command("observe")(observe)
    mode.command("enforce")(enforce)
    mode.command("default")(default_mode)
    mode.command("list")(list_modes)
    app.add_typer(mode, name="mode")
    breaker = typer.Typer(no_args_is_help=True, help=_BREAKER_HELP)
    breaker.command("close")(close_breaker)
    breaker.command("on")(breaker_on)
    breaker.command("off")(breaker_off)
    app.add_typer(breaker, name="breaker")


def allow_all_on(
    reason: Reason,
    file: ByFile = False,
    who: Who = None,
    brokers: Brokers = None,
    control_topic: ControlTopic = None,
    control_file: ControlFileOption = None,
) -> None:
    """Let every message pass, whatever its score: every worker obeys within two seconds of the acknowledgement.

    Decisions go on to say in would_be what they would have been, and review copies are kept. With --file only the
    workers that see this machine's file obey, and Kafka is not asked.
    """
    settings = config.load({"brokers": brokers, "control_topic": control_topic, "control_file": control_file})
    screen = Screen()
    if file:
        orders.control_file(settings).write(f"{reason} ({who or who_am_i()})")
        screen.say(f"allow-all is on for the workers that see {settings.control_file}; other machines need their own.")
        return
    give(settings, ALLOW_ALL, ordered(True, reason, who))
    screen.say("allow-all is on: acknowledged; in two seconds nothing is blocked. Back: spamguard allow-all off")


def allow_all_off(
    reason: Reason = "",
    file: ByFile = False,
    who: Who = None,
    brokers: Brokers = None,
    control_topic: ControlTopic = None,
    control_file: ControlFileOption = None,
) -> None:
    """Let blocks bind again: every worker obeys within two seconds of the acknowledgement."""
    settings = config.load({"brokers": brokers, "control_topic": control_topic, "control_file": control_file})
    screen = Screen()
    if file:
        orders.control_file(settings).remove()
        screen.say(f"{settings.control_file} is gone; what the control topic says holds.")
        return
    give(settings, ALLOW_ALL, ordered(False, reason, who))
    screen.say("allow-all is off: acknowledged, blocks bind again within two seconds.")
    if orders.control_file(settings).since() is not None:
        screen.say(f"But {settings.control_file} exists here and holds it on: spamguard allow-all off --file", "yellow")


def allow_all_status(
    brokers: Brokers = None, control_topic: ControlTopic = None, control_file: ControlFileOption = None
) -> None:
    """Show what the control topic and this machine's control file say: on or off, who, why, since when."""
    settings = config.load({"brokers": brokers, "control_topic": control_topic, "control_file": control_file})
    table = plain_table("", "allow-all", "since", "who", "why")
    unread: SpamguardError | None = None
    try:
        order = _read(settings).orders.get(ALLOW_ALL)
        table.add_row(f"topic {settings.control_topic}", *_told(order))
    except SpamguardError as error:
        unread = error
        table.add_row(f"topic {settings.control_topic}", Text("not read", "yellow"), "", "", "")
    table.add_row(f"file {settings.control_file}", *_file_told(settings))
    Screen().lay_out(table)
    if unread is not None:
        raise unread


def observe(
    reason: Reason,
    tenant: Tenant = None,
    direction: Direction = None,
    who: Who = None,
    brokers: Brokers = None,
    control_topic: ControlTopic = None,
) -> None:
    """Allow everything and say what it would have been, whatever the workers' settings say."""
    _order_mode(Mode.OBSERVE, reason, tenant, direction, who, brokers, control_topic)


def enforce(
    reason: Reason,
    tenant: Tenant = None,
    direction: Direction = None,
    who: Who = None,
    brokers: Brokers = None,
    control_topic: ControlTopic = None,
) -> None:
    """Let blocks bind, whatever the workers' settings say."""
    _order_mode(Mode.ENFORCE, reason, tenant, direction, who, brokers, control_topic)


def default_mode(
    reason: Reason = "",
    tenant: Tenant = None,
    direction: Direction = None,
    who: Who = None,
    brokers: Brokers = None,
    control_topic: ControlTopic = None,
) -> None:
    """Take an order back: what is ordered more widely holds, else the workers' own setting."""
    _order_mode(None, reason, tenant, direction, who, brokers, control_topic)


def _order_mode(
    mode: Mode | None,
    reason: str,
    tenant: str | None,
    direction: str | None,
    who: str | None,
    brokers: str | None,
    control_topic: str | None,
) -> None:
    settings = config.load({"brokers": brokers, "control_topic": control_topic})
    place = place_of(tenant, direction)
    give(settings, mode_key(place), ordered(mode is not None, reason, who, mode))
    said = "no order" if mode is None else f"ordered to {mode}"
    Screen().say(f"{printable(_place(place))}: {said}; acknowledged, every worker obeys within two seconds.")


def list_modes(brokers: Brokers = None, control_topic: ControlTopic = None) -> None:
    """List the ordered modes with who, why and since when; the narrowest one that fits a message holds."""
    settings = config.load({"brokers": brokers, "control_topic": control_topic})
    controls = _read(settings)
    table = plain_table("where", "mode", "since", "who", "why")
    for place, mode in sorted(controls.modes.items(), key=lambda item: item[0] or ""):
        order = controls.orders[mode_key(place)]
        table.add_row(printable(_place(place)), str(mode), *map(printable, (order.since, order.who, order.reason)))
    table.add_row("everything else", str(settings.mode), "", "", Text("the setting `mode`, as it stands here", DIM))
    Screen().lay_out(table)


def close_breaker(
    reason: Reason,
    tenant: Annotated[str, typer.Option("--tenant", help="whose breaker", show_default=False)],
    who: Who = None,
    brokers: Brokers = None,
    control_topic: ControlTopic = None,
) -> None:
    """Close a tenant's breaker: the spam is real, and the block rate of this minute is the new baseline."""
    settings = config.load({"brokers": brokers, "control_topic": control_topic})
    give(settings, f"{BREAKER}/{tenant}", ordered(False, reason, who))
    Screen().say(f"The breaker of {printable(tenant)} closes: acknowledged, every worker obeys within two seconds.")


def breaker_on(
    reason: Reason = "", who: Who = None, brokers: Brokers = None, control_topic: ControlTopic = None
) -> None:
    """Turn the breakers on, whatever the workers' settings say."""
    settings = config.load({"brokers": brokers, "control_topic": control_topic})
    give(settings, BREAKER, ordered(True, reason, who))
    Screen().say("The breakers are on: acknowledged, every worker obeys within two seconds.")


def breaker_off(reason: Reason, who: Who = None, brokers: Brokers = None, control_topic: ControlTopic = None) -> None:
    """Turn all breakers off, and close those that are open."""
    settings = config.load({"brokers": brokers, "control_topic": control_topic})
    give(settings, BREAKER, ordered(False, reason, who))
    Screen().say("The breakers are off: acknowledged, every worker obeys within two seconds.")


def ordered(on: bool, reason: str, who: str | None, mode: Mode | None = None) -> Order:
    """Return an order given now, by whoever types where nobody is named."""
    since = datetime.now(UTC).isoformat(timespec="milliseconds")
    return Order(on=on, mode=mode, reason=reason, who=who or who_am_i(), since=since)


def give(settings: Settings, key: str, order: Order) -> None:
    """Give an order, or say what to do when Kafka is the problem."""
    try:
        asked(orders.give_order(settings, key, order))
    except SpamguardError:
        if key == ALLOW_ALL:
            switch = "on --file --reason …" if order.on else "off --file"
            hint = f"Is Kafka the problem? On every worker's machine: spamguard allow-all {switch}"
            Screen(stderr=True).say(hint)
        raise


def _read(settings: Settings) -> Controls:
    controls: Controls = asked(orders.read_controls(settings))
    return controls


def asked(asking: Coroutine[Any, Any, Any]) -> Any:
    """Return what the broker says; what a client library complains of on the way is told in a sentence."""
    for name in logs.CHATTY:  # what a client library complains of is told in a sentence
        logging.getLogger(name).setLevel(logging.CRITICAL)
    return asyncio.run(asking)


def _told(order: Order | None) -> tuple[Text | str, ...]:
    if order is None:
        return Text("off", "green"), "", "", Text("never ordered", DIM)
    state = Text("ON", "bold red") if order.on else Text("off", "green")
    return state, printable(order.since), printable(order.who), printable(order.reason)


def _file_told(settings: Settings) -> tuple[Text | str, ...]:
    file = orders.control_file(settings)
    try:
        said = file.look()
    except OSError as error:
        return Text("not read", "yellow"), "", "", error.strerror or ""
    if said is None:
        return Text("off", "green"), "", "", Text("no such file", DIM)
    since = file.since()
    return Text("ON", "bold red"), since.isoformat(timespec="seconds") if since else "", "", printable(said)


def _place(place: str | None) -> str:
    """Return a mode's place in words.

    >>> _place("acme/MT"), _place("/MT"), _place(None)
    ('tenant acme, MT', 'MT', 'all')
    """
    if place is None:
        return "all"
    tenant, slash, direction = place.rpartition("/")
    if not slash:
        return f"tenant {place}" if place else "no tenant"
    return f"tenant {tenant}, {direction}" if tenant else direction
