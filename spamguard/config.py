"""Which settings are there, where does each value come from, and is any name misspelt?

One frozen `Settings`, read once. A value comes from the command line, else from an environment variable
`SPAMGUARD_<NAME>`, else from the TOML file that `SPAMGUARD_CONFIG` names (or `spamguard.toml` in the working folder),
else from the default below. A name nobody knows, in the file or in the environment, is an error and not a silence.
"""

import difflib
import os
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Literal

from pydantic import Field, ValidationError, field_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from spamguard.errors import ConfigError
from spamguard.types import Mode

PREFIX: Final = "SPAMGUARD_"
#: Environment variables with the prefix that are not settings of the service.
NOT_SETTINGS: Final = frozenset(
    ("SPAMGUARD_CONFIG", "SPAMGUARD_MODEL_SECRET", "SPAMGUARD_REQUIRE", "SPAMGUARD_TEST_KAFKA")
)
DEFAULT_FILE: Final = Path("spamguard.toml")
#: A name or an address, IPv6 in brackets, and a port or none.
_SERVER: Final = re.compile(r"(\[[0-9a-f:.]+\]|[^\s:/\[\]]+)(:(?P<port>\d{1,5}))?", re.ASCII | re.IGNORECASE)


class Settings(BaseSettings):
    """Everything that can be set; the descriptions are the documentation."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="forbid")

    brokers: str = Field("127.0.0.1:9092", description="Kafka bootstrap servers, host:port, comma-separated")
    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = Field(
        "PLAINTEXT", description="how to talk to the brokers"
    )
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = Field(
        "SCRAM-SHA-512", description="how to log in, with a SASL_* protocol"
    )
    sasl_username: str | None = Field(None, description="user of the broker")
    sasl_password: str | None = Field(None, description="password of the broker; never shown", repr=False)
    ssl_cafile: Path | None = Field(None, description="CA certificates to check the brokers by; system's when unset")
    group: str = Field("spamguard", description="consumer group of the workers")
    member: str | None = Field(None, description="static membership: a name of this worker that survives restarts")
    inbound_topic: str = Field("sms.inbound", description="topic of messages to judge")
    decisions_topic: str = Field("sms.decisions", description="topic of decisions")
    review_topic: str = Field("sms.review", description="topic of review copies, acknowledged before a block")
    dead_letter_topic: str = Field("sms.dead-letter", description="topic of records without a readable message id")
    control_topic: str = Field("sms.control", description="compacted topic of orders: allow-all, modes, breaker, model")
    lists_topic: str = Field("sms.lists", description="compacted topic of the lists' entries; the one truth once read")
    lists: Path | None = Field(
        None, description="CSV file of list entries that counts while the lists topic is missing or cannot be read"
    )
    released_topic: str = Field("sms.released", description="topic of blocked messages that reviewers released")
    labels_topic: str = Field("sms.labels", description="topic of reviewers' labels, without texts")
    optout_topic: str = Field("sms.optout", description="compacted topic of subscribers who want no more from a sender")
    optout_key_file: Path | None = Field(
        None, description="file of secrets that hash who opted out, VERSION:BASE64 a line; without, nobody is muted"
    )
    optout_max: int = Field(20_000_000, ge=1, description="most mutes a worker keeps in memory, 8 bytes each")
    control_file: Path = Field(
        Path("/run/spamguard/allow-all"),
        description="while this file exists everything is allowed, whatever Kafka says",
    )
    max_records: int = Field(1000, ge=1, le=10_000, description="most records judged together")
    rebalance_timeout_s: float = Field(
        60.0, ge=1, le=600, description="how long a rebalance waits for a batch; above the worst batch"
    )
    session_timeout_s: float = Field(15.0, ge=1, le=300, description="silence after which the group drops a worker")
    request_timeout_s: float = Field(10.0, ge=1, le=300, description="how long to wait for a broker's answer")
    model: str = Field("champion", description="model that decides: an alias, name, name/version or a folder")
    models: Path | None = Field(None, description="folder of models; the shipped ones when unset")
    model_key: str | None = Field(
        None,
        description="public key that every model must be signed with, in base64 or as a file; several, comma-separated",
    )
    model_poll_s: float = Field(
        1.0, ge=0.01, le=3600, description="how often to look whether the model or its alias stands for another one"
    )
    shadow: bool = Field(True, description="let the model under the alias challenger score along, without deciding")
    shadow_topic: str = Field("sms.shadow", description="topic of sampled disagreements with it; may be missing")
    shadow_sample: float = Field(0.01, ge=0, le=1, description="share of the disagreements that go there")
    mode: Mode = Field(Mode.ENFORCE, description="enforce blocks; observe allows and says what it would have done")
    preset: Literal["standard", "fraud-only", "strict"] = Field(
        "standard", description="what is blocked, and from which score, without a policy file"
    )
    policy: Path | None = Field(
        None, description="policy file (policy.toml); it replaces mode, preset and late_after_s, and is followed"
    )
    reference: Path | None = Field(
        None, description="calm traffic to measure drift against, from spamguard drift; the model's own when unset"
    )
    late_after_s: float = Field(60.0, gt=0, description="decisions later than this after reception are marked late")
    breaker: bool = Field(True, description="turn a tenant to observe when its block rate jumps far above its baseline")
    breaker_ratio: float = Field(5.0, gt=1, description="how many times the baseline's odds open the breaker")
    breaker_floor: float = Field(0.2, ge=0, le=1, description="block rate below which the breaker never opens")
    breaker_ceiling: float = Field(0.8, ge=0, le=1, description="block rate that opens it while there is no baseline")
    breaker_min_messages: int = Field(
        200, ge=1, description="messages of a tenant in a minute below which it never opens"
    )
    breaker_cool_down_s: float = Field(600.0, ge=0, description="how long an open breaker stays open at least")
    dead_letter_flood: int = Field(
        100, ge=1, description="more dead letters than this within a minute raise an alarm and mark the worker degraded"
    )
    gateway_host: str = Field("127.0.0.1", description="where the HTTP gateway listens; put TLS in front of any other")
    gateway_port: int = Field(8080, ge=0, le=65535, description="its port; 0 takes any free one")
    gateway_keys: Path = Field(
        Path("spamguard-keys.json"), description="file of its keys, hashed; looked at every second"
    )
    gateway_kafka: bool = Field(
        True, description="let it publish decisions and review copies, so that blocks can be undone"
    )
    gateway_keeps_blocked: bool = Field(
        False, description="without Kafka: the callers keep every message they are told to block, so it may be blocked"
    )
    gateway_deadline_ms: int = Field(
        500, ge=1, le=60_000, description="when it answers a request that names no deadline"
    )
    gateway_fail: Literal["open", "closed"] = Field(
        "open", description="without a decision at the deadline: open allows, closed answers 504"
    )
    gateway_max_body_bytes: int = Field(1 << 20, ge=1024, le=32 << 20, description="longest body of a request")
    gateway_max_messages: int = Field(500, ge=1, le=10_000, description="most messages in a request")
    gateway_max_waiting: int = Field(5000, ge=1, description="messages without an answer beyond which it refuses more")
    gateway_max_connections: int = Field(1024, ge=1, description="connections beyond which it refuses more")
    review_database: str = Field(
        "sqlite:///spamguard-review.db",
        description="database of the review application: sqlite:///FILE or postgresql://USER@HOST/NAME",
        repr=False,
    )
    review_key_file: Path | None = Field(
        None,
        description="keys that encrypt numbers in it; beside SQLite's file, and made at the first start, when unset",
    )
    review_sample: float = Field(
        0.0, ge=0, le=1, description="share of allowed application messages that workers copy for review, drawn by lot"
    )
    review_sample_person_to_person: bool = Field(
        False, description="draw from what people write to each other too; ask your lawyers first"
    )
    review_group: str = Field("spamguard-review", description="consumer group of the review application")
    review_host: str = Field("127.0.0.1", description="where the review pages are served")
    review_port: int = Field(8464, ge=0, le=65535, description="their port; 0 takes any free one")
    review_secure_cookies: bool = Field(
        False, description="send the login's cookie over HTTPS only; true behind a proxy that speaks TLS"
    )
    review_keep_days: int = Field(30, ge=1, le=3650, description="days after which texts and numbers are deleted")
    review_second_share: float = Field(0.1, ge=0, le=1, description="share of items that a second person reads too")
    review_lot_share: float = Field(
        0.02, ge=0, le=1, description="share of blocked and unsure messages drawn by lot, for honest error rates"
    )
    review_case_due_h: float = Field(24.0, gt=0, description="hours within which a case is to be answered")
    review_session_h: float = Field(8.0, gt=0, le=72, description="hours after which a login ends")
    metrics_host: str = Field("127.0.0.1", description="where /metrics, /healthz and /readyz are served")
    metrics_port: int = Field(9464, ge=0, le=65535, description="their port; 0 takes any free one")
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="least level that is logged")
    log_format: Literal["json", "text"] = Field("json", description="one JSON object a line, or for people")

    @field_validator("brokers")
    @classmethod
    def _brokers_can_be_asked(cls, value: str) -> str:
        for server in value.split(","):
            found = _SERVER.fullmatch(server.strip())
            if found is None or not 0 < int(found["port"] or 1) < 65536:
                raise ValueError("brokers are written host:port, the port from 1 to 65535, with commas between them")
        return value

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Take values from what is passed in and nothing else: `load` reads the environment and the file itself."""
        return (init_settings,)


def load(overrides: Mapping[str, Any] | None = None, *, environ: Mapping[str, str] | None = None) -> Settings:
    """Return the settings. Raises ConfigError in words.

    >>> load({"group": "night-shift"}, environ={}).group
    'night-shift'
    """
    return Settings(**_checked(gather(overrides, environ=environ)))


def gather(
    overrides: Mapping[str, Any] | None = None, *, environ: Mapping[str, str] | None = None
) -> dict[str, tuple[Any, str]]:
    """Return every value that was given, with where it came from."""
    environ = os.environ if environ is None else environ
    given: dict[str, tuple[Any, str]] = {}
    path = Path(environ["SPAMGUARD_CONFIG"]) if "SPAMGUARD_CONFIG" in environ else DEFAULT_FILE
    if path.is_file():
        given |= {name: (value, str(path)) for name, value in _read_file(path).items()}
    elif "SPAMGUARD_CONFIG" in environ:
        raise ConfigError(detail=f"SPAMGUARD_CONFIG names {path}, which does not exist")
    for name, value in environ.items():
        if name.startswith(PREFIX) and name not in NOT_SETTINGS:
            given[name.removeprefix(PREFIX).lower()] = (value, name)
    given |= {name: (value, "command line") for name, value in (overrides or {}).items() if value is not None}
    return given


def _read_file(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(detail=f"{path} is not readable TOML ({error})") from None


def _checked(given: Mapping[str, tuple[Any, str]]) -> dict[str, Any]:
    """Return the values alone, every one validated. Raises ConfigError naming setting and source, never a secret."""
    for name, (_, origin) in given.items():
        if name not in Settings.model_fields:
            close = difflib.get_close_matches(name, Settings.model_fields, n=1)
            hint = f" (did you mean {close[0]}?)" if close else ""
            raise ConfigError(detail=f"{origin} sets '{name}', which is not a setting{hint}")
    values = {name: value for name, (value, _) in given.items()}
    try:
        Settings(**values)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        name, said = str(first["loc"][0]), first["msg"].removeprefix("Value error, ")
        raise ConfigError(detail=f"{name} (from {given[name][1]}): {said[:1].lower()}{said[1:]}") from None
    return values
