"""How do the interfaces of a broker look in aiokafka?"""

from collections.abc import AsyncGenerator, Sequence

from spamguard.backends.kafka.admin import KafkaAdmin
from spamguard.backends.kafka.connection import KafkaConfig
from spamguard.backends.kafka.consumer import KafkaConsumer
from spamguard.backends.kafka.producer import KafkaProducer
from spamguard.backends.kafka.reader import KafkaReader, follow
from spamguard.types import Record


class KafkaBroker:
    """Apache Kafka, or whatever speaks its protocol."""

    def __init__(self, config: KafkaConfig) -> None:
        self._config = config

    def consumer(self, topics: Sequence[str], *, group: str, member: str | None = None) -> KafkaConsumer:
        """Return a consumer that is not yet started."""
        return KafkaConsumer(self._config, topics, group, member)

    def reader(self, topic: str) -> KafkaReader:
        """Return a reader without a group that is not yet started."""
        return KafkaReader(self._config, topic)

    def producer(self, *, patience_s: float | None = None) -> KafkaProducer:
        """Return a producer that is not yet started."""
        return KafkaProducer(self._config, patience_s=patience_s)

    def admin(self) -> KafkaAdmin:
        """Return an admin."""
        return KafkaAdmin(self._config)

    def follow(self, topic: str) -> AsyncGenerator[Sequence[Record]]:
        """Yield everything a topic holds, and then what comes."""
        return follow(self._config, topic)
