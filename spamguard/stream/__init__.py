"""The Kafka loop: poll → handle → commit, at least once; and the handler that decides."""
