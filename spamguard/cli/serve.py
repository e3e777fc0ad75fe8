"""How is the service started from a shell?"""

import typer

from spamguard import config, logs
from spamguard.cli.options import (
    Brokers,
    DecisionsTopic,
    Group,
    InboundTopic,
    LogFormat,
    LogLevel,
    Member,
    MetricsHost,
    MetricsPort,
    Model,
    Models,
    ModeOption,
    PolicyFile,
    Preset,
)
from spamguard.service import process
from spamguard.service.worker import Worker


def register(app: typer.Typer) -> None:
    """Add `serve`."""
    app.command()(serve)


def serve(
    ctx: typer.Context,
    brokers: Brokers = None,
    group: Group = None,
    member: Member = None,
    inbound_topic: InboundTopic = None,
    decisions_topic: DecisionsTopic = None,
    model: Model = None,
    models: Models = None,
    mode: ModeOption = None,
    preset: Preset = None,
    policy: PolicyFile = None,
    metrics_host: MetricsHost = None,
    metrics_port: MetricsPort = None,
    log_level: LogLevel = None,
    log_format: LogFormat = None,
) -> None:
    """Read messages from Kafka and publish decisions until stopped.

    SIGTERM or Ctrl-C finishes the batch in hand, commits and leaves the group; nothing is lost or half-published.
    Start several with the same group to share the partitions. Behind each option stand its default and its environment
    variable; [bold]spamguard config show[/] lists the settings that have no option here.
    """
    settings = config.load(ctx.params)
    logs.configure(settings.log_level, settings.log_format)
    process.run_until_stopped(Worker(settings))
