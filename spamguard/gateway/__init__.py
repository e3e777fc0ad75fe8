"""How does a gateway ask for decisions over HTTP?

answering: messages in, decisions out, in batches and in time · outbox: what goes to Kafka besides · access: who may
ask, and how much · app: HTTP, bodies and problems · server: connections.
"""
