"""How does a program ask the HTTP gateway for decisions, without ever being held up by it?

`Client` and `AsyncClient` do the same. A call returns within its deadline, whatever happens: when there is no answer in
time, it returns `allow`, marked `unanswered`, and says why in the log. Nothing is raised into your traffic unless you
ask for it.

>>> from spamguard.client import Client
>>> with Client("http://127.0.0.1:9", key="sg_0_0", deadline_s=0.05) as gateway:  # nobody listens there
...     answer = gateway.decide({"message_id": "m1", "text": "晚上一起吃饭吗？"})
>>> str(answer.action), answer.unanswered
('allow', True)
"""

try:
    import httpx as _httpx
except ImportError as error:  # pragma: no cover - the extra is there in tests
    raise ImportError("spamguard.client needs the extra 'client': install spamguard[client]") from error

from spamguard.client.answers import Answer
from spamguard.client.asking import AsyncClient
from spamguard.client.blocking import Client
from spamguard.errors import NoAnswer
from spamguard.types import Action, Message

del _httpx
__all__ = ["Action", "Answer", "AsyncClient", "Client", "Message", "NoAnswer"]
