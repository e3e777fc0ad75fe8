"""How are orders to the workers given and looked up: over the control topic, or by the file on this machine?"""

import asyncio
from contextlib import aclosing, suppress

from spamguard.backends.control_file import ControlFile
from spamguard.config import Settings
from spamguard.core.codec import encode
from spamguard.engine.control import Controls
from spamguard.errors import BrokerUnavailable, TopicUnfit
from spamguard.interfaces import Broker
from spamguard.service import streams
from spamguard.types import Order, Outgoing, Partition


def control_file(settings: Settings) -> ControlFile:
    """Return the control file on this machine; the workers on others look at their own."""
    return ControlFile(settings.control_file)


async def read_controls(settings: Settings, *, broker: Broker | None = None) -> Controls:
    """Return what the control topic says now. Raises TopicUnfit or BrokerUnavailable."""
    controls = Controls()
    async with aclosing((broker or streams.kafka(settings)).follow(settings.control_topic)) as batches:
        async for batch in batches:
            for record in batch:
                with suppress(ValueError):
                    controls = controls.told((record.key or b"").decode("utf-8", "replace"), record.value)
            break
    return controls


async def give_order(settings: Settings, key: str, order: Order, *, broker: Broker | None = None) -> None:
    """Write an order to the control topic and return when it is acknowledged.

    Raises TopicUnfit, BrokerUnavailable or PublishFailed.
    """
    broker = broker or streams.kafka(settings)
    admin, producer = broker.admin(), broker.producer()
    try:
        if settings.control_topic not in await admin.partitions([settings.control_topic]):
            raise TopicUnfit(detail=f"{settings.control_topic} does not exist")
        await producer.start()
        async with asyncio.timeout(settings.request_timeout_s):
            order_record = Outgoing(key=key.encode(), value=encode(order))
            await producer.publish(Partition(settings.control_topic, 0), [order_record])
    except TimeoutError:
        detail = f"no acknowledgement within {settings.request_timeout_s:g} s; the order may still arrive"
        raise BrokerUnavailable(address=settings.brokers, detail=detail) from None
    finally:
        await producer.stop()
        await admin.close()
