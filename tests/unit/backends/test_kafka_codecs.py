"""Can a worker read what gateways write, however their clients compress it?"""

import pytest
from aiokafka import codec


@pytest.mark.parametrize("name", ["gzip", "snappy", "lz4", "zstd"])
def test_every_compression_of_kafka_can_be_read(name: str) -> None:
    # Clients choose it alone (franz-go takes snappy by default), and a batch that cannot be read stops its partition.
    assert getattr(codec, f"has_{name}")()
    packed = getattr(codec, f"{name}_encode")(b"a batch of records " * 50)
    assert getattr(codec, f"{name}_decode")(packed) == b"a batch of records " * 50
