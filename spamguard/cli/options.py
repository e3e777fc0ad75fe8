"""Which options stand for settings?

Each shows the setting's own description, default and environment variable, so that help, `config show` and the code
cannot differ. Left out, an option says nothing: the environment, the file and the default decide. `--who` stands for
no setting, and is here because four groups of commands ask for it.
"""

from pathlib import Path
from typing import Annotated, Any, Final, Literal

import typer
from rich.markup import escape

from spamguard.config import PREFIX, Settings
from spamguard.types import Mode

KAFKA: Final = "Kafka"
JUDGING: Final = "Model and policy"
HTTP: Final = "HTTP"
WATCHING: Final = "Metrics and logs"


def setting(name: str, panel: str | None = None, option: str | None = None) -> Any:
    """Return the option that stands for a setting, called like it or by a shorter name."""
    field = Settings.model_fields[name]
    default = "none" if field.default is None else str(field.default)
    if isinstance(field.default, bool):
        default = default.lower()  # as the variable is written
    return typer.Option(
        f"--{option or name.replace('_', '-')}",
        help=f"{escape(field.description or '')} [dim](default {escape(default)}; {PREFIX}{name.upper()})[/]",
        rich_help_panel=panel,
        show_default=False,
    )


Brokers = Annotated[str | None, setting("brokers", KAFKA)]
ControlTopic = Annotated[str | None, setting("control_topic", KAFKA)]
Group = Annotated[str | None, setting("group", KAFKA)]
Member = Annotated[str | None, setting("member", KAFKA)]
InboundTopic = Annotated[str | None, setting("inbound_topic", KAFKA)]
DecisionsTopic = Annotated[str | None, setting("decisions_topic", KAFKA)]
Model = Annotated[str | None, setting("model", JUDGING)]
Models = Annotated[Path | None, setting("models", JUDGING)]
ModeOption = Annotated[Mode | None, setting("mode", JUDGING)]
Preset = Annotated[Literal["standard", "fraud-only", "strict"] | None, setting("preset", JUDGING)]
PolicyFile = Annotated[Path | None, setting("policy", JUDGING)]
MetricsHost = Annotated[str | None, setting("metrics_host", WATCHING)]
MetricsPort = Annotated[int | None, setting("metrics_port", WATCHING)]
GatewayHost = Annotated[str | None, setting("gateway_host", HTTP, "host")]
GatewayPort = Annotated[int | None, setting("gateway_port", HTTP, "port")]
GatewayKeys = Annotated[Path | None, setting("gateway_keys", HTTP, "keys-file")]
GatewayKafka = Annotated[bool | None, setting("gateway_kafka", KAFKA, "kafka/--no-kafka")]
GatewayKeepsBlocked = Annotated[
    bool | None, setting("gateway_keeps_blocked", KAFKA, "keeps-blocked/--no-keeps-blocked")
]
GatewayDeadline = Annotated[int | None, setting("gateway_deadline_ms", HTTP, "deadline-ms")]
GatewayFail = Annotated[Literal["open", "closed"] | None, setting("gateway_fail", HTTP, "fail")]
LogLevel = Annotated[Literal["debug", "info", "warning", "error"] | None, setting("log_level", WATCHING)]
LogFormat = Annotated[Literal["json", "text"] | None, setting("log_format", WATCHING)]

Who = Annotated[
    str | None, typer.Option("--who", help="who does it [dim](default: user@host, behind sudo the user who called)[/]")
]
