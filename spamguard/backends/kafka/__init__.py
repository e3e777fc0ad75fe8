"""Apache Kafka behind the interfaces of a broker, and the traps of aiokafka stepped around.

connection: reaching a broker and leaving it · consumer: a member of a group · producer: acknowledged batches ·
reader: without a group · admin: topics and groups.
"""
