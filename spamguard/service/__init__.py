"""How is the whole put together? The one place where settings, backends and layers meet.

Everything else receives what it needs. streams: broker and topics · catalogue: models and aliases · judging: the engine
from settings · orders: what workers are told · worker: the running service · hot_models: its models · process: its
life.
"""
