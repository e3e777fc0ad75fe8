"""How is a broker reached, how long is it waited for, and what is said when it does not answer?"""

import asyncio
import ssl
from collections.abc import Awaitable, Sequence
from typing import Any, Final, NamedTuple, TypeVar

from aiokafka import TopicPartition
from aiokafka.errors import KafkaError

from spamguard.errors import BrokerUnavailable, ConfigError
from spamguard.types import Partition, Record

#: How long each step of a client's end may take; with a frozen broker it would take half a minute.
STOP_TIMEOUT_S: Final = 4.0
#: Between two questions whose answer is only not there yet.
RETRY_S: Final = 0.05

_T = TypeVar("_T")


class KafkaConfig(NamedTuple):
    """How to reach the brokers and how long to wait for them."""

    brokers: str
    request_timeout_s: float = 10.0
    session_timeout_s: float = 15.0
    rebalance_timeout_s: float = 60.0
    security_protocol: str = "PLAINTEXT"
    sasl_mechanism: str = "SCRAM-SHA-512"
    sasl_username: str | None = None
    sasl_password: str | None = None
    ssl_cafile: str | None = None

    def client_options(self) -> dict[str, Any]:
        """Return what every aiokafka client is built with."""
        options: dict[str, Any] = {
            "bootstrap_servers": [address.strip() for address in self.brokers.split(",")],
            "request_timeout_ms": int(self.request_timeout_s * 1000),
            "security_protocol": self.security_protocol,
            "client_id": "spamguard",
        }
        if self.security_protocol.endswith("SSL"):
            try:
                options["ssl_context"] = ssl.create_default_context(cafile=self.ssl_cafile)
            except OSError as error:
                raise ConfigError(detail=f"ssl_cafile {self.ssl_cafile}: {error.strerror}") from None
        if self.security_protocol.startswith("SASL"):
            options |= {
                "sasl_mechanism": self.sasl_mechanism,
                "sasl_plain_username": self.sasl_username,
                "sasl_plain_password": self.sasl_password,
            }
        return options


async def reach(config: KafkaConfig, asking: Awaitable[_T], longer_s: float = 0.0) -> _T:
    """Await a broker's answer, which may take so much longer than usual, and name what is wrong when none comes."""
    try:
        async with asyncio.timeout(config.request_timeout_s + longer_s):
            return await asking
    except TimeoutError:
        detail = f"no answer within {config.request_timeout_s:g} s"
        raise BrokerUnavailable(address=config.brokers, detail=detail) from None
    except (KafkaError, OSError, ValueError) as error:
        raise BrokerUnavailable(address=config.brokers, detail=type(error).__name__) from None


async def ended(closing: Awaitable[None]) -> bool:
    """Await the end of a client, which raises and hangs in several ways; return whether it ended by itself."""
    try:
        async with asyncio.timeout(STOP_TIMEOUT_S):
            await closing
    except (KafkaError, OSError, TimeoutError):
        return False
    except asyncio.CancelledError:
        # aiokafka lets the end of a task of its own escape while a broker is down; a wish to cancel us is obeyed.
        task = asyncio.current_task()
        if task is None or task.cancelling():
            raise
        return False
    return True


def theirs(partition: Partition) -> TopicPartition:
    """Return our partition as aiokafka's."""
    return TopicPartition(partition.topic, partition.number)


def ours(partition: Partition, records: Sequence[Any]) -> list[Record]:
    """Return aiokafka's records as ours."""
    return [
        Record(
            partition=partition,
            offset=record.offset,
            key=record.key,
            value=record.value,
            timestamp_ms=record.timestamp,
        )
        for record in records
    ]
