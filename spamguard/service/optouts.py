"""Does a service mute who opted out, and with which secrets?"""

from collections.abc import AsyncIterator, MutableMapping
from contextlib import asynccontextmanager

from spamguard.config import Settings
from spamguard.core.optouts import MuteKey, read_keys
from spamguard.engine.filter import LiveFilter
from spamguard.errors import ConfigError
from spamguard.interfaces import Broker, Clock, Metrics
from spamguard.stream.optouts import OptOuts


def mute_keys(settings: Settings) -> tuple[MuteKey, ...]:
    """Return the secrets, the newest first; none where the settings name no file. Raises ConfigError."""
    path = settings.optout_key_file
    if path is None:
        return ()
    try:
        return read_keys(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(detail=f"optout_key_file {path} cannot be read ({error.strerror})") from None
    except UnicodeDecodeError:
        raise ConfigError(detail=f"optout_key_file {path} is no text") from None
    except ValueError as error:
        raise ConfigError(detail=f"optout_key_file {path}: {error}") from None


def opt_outs(
    settings: Settings,
    engine: LiveFilter,
    broker: Broker,
    *,
    metrics: Metrics,
    clock: Clock,
    degraded: MutableMapping[str, str],
) -> OptOuts | None:
    """Return what hears and keeps subscribers' wishes, None without a secret. Raises ConfigError."""
    keys = mute_keys(settings)
    if not keys:
        return None
    return OptOuts(
        engine,
        keys=keys,
        producer=broker.producer(),
        reader=lambda: broker.reader(settings.optout_topic),
        topic=settings.optout_topic,
        most=settings.optout_max,
        metrics=metrics,
        clock=clock,
        degraded=degraded,
    )


@asynccontextmanager
async def running(opt_outs: OptOuts | None) -> AsyncIterator[None]:
    """Let it run while the block does, where there is one."""
    if opt_outs is None:
        yield
        return
    async with opt_outs.running():
        yield
