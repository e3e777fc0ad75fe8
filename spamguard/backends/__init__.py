"""One file per thing outside the process: brokers, metrics, model files, the registry, the clock."""
