"""How is the HTTP gateway started from a shell, and how are its keys made and revoked?"""

import sys
from typing import Annotated

import typer
from rich.text import Text

from spamguard import config, logs
from spamguard.backends.login import who_am_i
from spamguard.cli.options import (
    Brokers,
    GatewayDeadline,
    GatewayFail,
    GatewayHost,
    GatewayKafka,
    GatewayKeepsBlocked,
    GatewayKeys,
    GatewayPort,
    LogFormat,
    LogLevel,
    MetricsHost,
    MetricsPort,
    Model,
    Models,
    ModeOption,
    Preset,
    Who,
)
from spamguard.cli.screen import Screen, plain_table, printable
from spamguard.core.keys import ApiKey

#: Options that are called otherwise than their settings.
_SETTINGS = {
    "host": "gateway_host",
    "port": "gateway_port",
    "keys_file": "gateway_keys",
    "kafka": "gateway_kafka",
    "keeps_blocked": "gateway_keeps_blocked",
    "deadline_ms": "gateway_deadline_ms",
    "fail": "gateway_fail",
}


def register(app: typer.Typer) -> None:
    """Add `gateway`."""
    gateway = typer.Typer(invoke_without_command=True)
    gateway.callback()(serve)
    keys = typer.Typer(no_args_is_help=True, help="Make, list and revoke the keys that callers present.")
    keys.command("add")(add)
    keys.command("list")(show)
    keys.command("revoke")(revoke)
    gateway.add_typer(keys, name="keys")
    app.add_typer(gateway, name="gateway")


def serve(
    ctx: typer.Context,
    host: GatewayHost = None,
    port: GatewayPort = None,
    kafka: GatewayKafka = None,
    keeps_blocked: GatewayKeepsBlocked = None,
    keys_file: GatewayKeys = None,
    deadline_ms: GatewayDeadline = None,
    fail: GatewayFail = None,
    brokers: Brokers = None,
    model: Model = None,
    models: Models = None,
    mode: ModeOption = None,
    preset: Preset = None,
    metrics_host: MetricsHost = None,
    metrics_port: MetricsPort = None,
    log_level: LogLevel = None,
    log_format: LogFormat = None,
) -> None:
    """Answer HTTP requests for decisions until stopped.

    POST /v1/decisions takes one message or a list and answers by the caller's deadline; /healthz, /readyz and
    /openapi.json are beside it, /metrics on the metrics port. It obeys allow-all, mode and the model's alias as the
    workers do. With Kafka (the default) decisions and review copies are published, and a block is answered once its
    copy is acknowledged; with --no-kafka what would be blocked is allowed and marked, unless --keeps-blocked says that
    the callers keep those messages themselves.

      $ spamguard gateway keys add trial --tenant acme
      $ spamguard gateway --no-kafka --mode observe
    """
    if ctx.invoked_subcommand is not None:
        return
    settings = config.load({_SETTINGS.get(name, name): value for name, value in ctx.params.items()})
    from spamguard.service import process
    from spamguard.service.gateway import GatewayProcess

    logs.configure(settings.log_level, settings.log_format)
    process.run_until_stopped(GatewayProcess(settings))


def add(
    name: Annotated[str, typer.Argument(help="what the key is for", show_default=False)],
    tenant: Annotated[
        list[str] | None,
        typer.Option("--tenant", help="a tenant it speaks for; the first is meant when a message names none"),
    ] = None,
    any_tenant: Annotated[bool, typer.Option("--any-tenant", help="it speaks for every tenant, and for none")] = False,
    account: Annotated[
        list[str] | None,
        typer.Option("--account", help="an account it speaks for, so that a list may allow it; may be repeated"),
    ] = None,
    any_account: Annotated[
        bool, typer.Option("--any-account", help="its holder authenticates accounts itself, and states the right one")
    ] = False,
    rate: Annotated[float, typer.Option("--rate", help="most messages a second", min=0.1)] = 1000.0,
    who: Who = None,
    keys_file: GatewayKeys = None,
) -> None:
    """Make a key and print it, once: only its hash is kept. Running gateways take it within a second.

    The key alone goes to standard output. To rotate one: add another, let the callers change over, revoke the first.
    Without --account or --any-account it vouches for no account: one that a message states is set aside, and the
    decision says so in its defects.

      $ KEY=$(spamguard gateway keys add trial --tenant acme)
      $ KEY=$(spamguard gateway keys add codes --tenant acme --account acme-codes)
    """
    if bool(tenant) == any_tenant:
        raise typer.BadParameter("say which, or --any-tenant", param_hint="--tenant")
    if account and any_account:
        raise typer.BadParameter("say which, or --any-account, not both", param_hint="--account")
    if not all(one.strip() and one.isprintable() and "/" not in one for one in account or []):
        raise typer.BadParameter("an account's name can be printed and holds no /, which lists put before a sender",
                                 param_hint="--account")  # fmt: skip
    if not name.strip() or not name.isprintable():
        raise typer.BadParameter("give it a name that can be printed", param_hint="NAME")
    from spamguard.service import api_keys

    settings = config.load({"gateway_keys": keys_file})
    key, kept = api_keys.add_key(
        settings,
        name,
        tenants=tenant or [],
        accounts=[one.strip() for one in account or []],
        any_account=any_account,
        messages_per_s=rate,
        who=who or who_am_i(),
    )
    vouches = f"vouches for {_accounts(kept)}" if any_account or account else "vouches for no account"
    Screen(stderr=True).say(
        f"{kept.id} for {_tenants(kept)}, {vouches}, at most {rate:g} messages a second."
        " This is the only time the key is shown:"
    )
    sys.stdout.write(f"{key}\n")


def show(keys_file: GatewayKeys = None) -> None:
    """List the keys by id, with what they may do; the keys themselves are not kept."""
    from spamguard.service import api_keys

    settings = config.load({"gateway_keys": keys_file})
    keys = api_keys.list_keys(settings)
    screen = Screen()
    if not keys:
        screen.say(
            f"There are no keys in {settings.gateway_keys}. Make one: spamguard gateway keys add NAME --tenant T"
        )
        return
    table = plain_table("id", "name", "tenants", "accounts", "messages/s", "made", "by", "")
    for whole in (0, 5):  # an id is copied, and half a date is none
        table.columns[whole].no_wrap = True
    for key in keys:
        state = Text(f"revoked {key.revoked}", "red") if key.revoked else Text("in use", "green")
        table.add_row(
            key.id,
            printable(key.name),
            _tenants(key),
            _accounts(key),
            f"{key.messages_per_s:g}",
            key.created[:10],
            printable(key.who),
            state,
        )
    screen.lay_out(table)


def revoke(
    identity: Annotated[str, typer.Argument(metavar="ID", help="as `list` shows it", show_default=False)],
    keys_file: GatewayKeys = None,
) -> None:
    """Revoke a key: running gateways refuse it within a second."""
    from spamguard.service import api_keys

    key = api_keys.revoke_key(config.load({"gateway_keys": keys_file}), identity)
    Screen().say(f"{key.id} ({printable(key.name)}) is revoked; gateways that see this file refuse it within a second.")


def _tenants(key: ApiKey) -> str:
    return ", ".join(map(printable, key.tenants)) if key.tenants else "any tenant"


def _accounts(key: ApiKey) -> str:
    return "any account" if key.any_account else ", ".join(map(printable, key.accounts)) or "none"
