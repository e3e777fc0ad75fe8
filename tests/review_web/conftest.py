"""Where do the pages' tests go? To the real application on a real port, over a desk with staff and messages."""

import re
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import httpx
import pytest
import uvicorn

from spamguard.backends.clock import ManualClock
from spamguard.core.decide import Judge
from spamguard.review.desk import Desk
from spamguard.review.values import Filters, Person
from spamguard.review.web.app import create_app
from spamguard.types import Action, Category, Clue, Reason, ReviewCopy
from tests.cast import BANK_CODE, CASINO, INVOICE, LOAN, LOTTERY, MUM, PHISHING, SALE
from tests.reviewing import MORNING_S, copy_of, open_desk, staff

PASSWORD: Final = "a kettle sings at dawn"
START_TIMEOUT_S: Final = 20.0


@dataclass(frozen=True, kw_only=True)
class Site:
    """The application as it is served, and the desk beneath it."""

    url: str
    desk: Desk
    people: dict[str, Person]

    @contextmanager
    def anybody(self, **headers: str) -> Iterator[httpx.Client]:
        """Yield a client without a login."""
        with httpx.Client(base_url=self.url, headers={"Accept-Language": "en", **headers}) as client:
            yield client

    @contextmanager
    def visitor(self, name: str) -> Iterator[httpx.Client]:
        """Yield a client that is logged in."""
        with self.anybody() as client:
            token = csrf_of(client.get("/login").text)
            answer = client.post("/login", data={"csrf": token, "name": name, "password": PASSWORD})
            assert answer.status_code == 303, answer.text
            yield client

    def items(self, **filters: Any) -> list[Any]:
        """Return the queue as a lead sees it."""
        return list(self.desk.store.queue(self.people["lee"], Filters(**filters)).items)

    def item_with(self, text: str) -> Any:
        """Return the open item of a text."""
        return next(item for item in self.items(status=None) if item.text == text)


def csrf_of(page: str) -> str:
    """Return the token that a page's forms carry."""
    found = re.search(r'name="csrf" value="([^"]+)"', page)
    assert found, page[:500]
    return found[1]


def post(client: httpx.Client, path: str, *, on: str = "/account", **data: str) -> httpx.Response:
    """Post a form as a browser would, with the token of the page it stands on."""
    return client.post(path, data={"csrf": csrf_of(client.get(on).text), **data})


def messages() -> list[ReviewCopy]:
    """Return what came for review: blocks, something unsure, and a good message that was blocked."""
    found = [
        copy_of(text, category=category, sender=f"+861390000{number:04}", score=score)
        for number, (text, category, score) in enumerate(
            [
                (INVOICE, Category.ILLEGAL, 0.97),
                (LOTTERY, Category.FRAUD, 0.999),
                (PHISHING, Category.FRAUD, 0.98),
                (LOAN, Category.LOAN, 0.93),
                (CASINO, Category.GAMBLING, 0.96),
                (BANK_CODE, Category.FRAUD, 0.74),
            ],
            start=1000,
        )
    ]
    found.append(copy_of(SALE, action=Action.ALLOW, category=Category.MARKETING, score=0.55))
    found.append(copy_of(MUM, action=Action.ALLOW, category=None, score=0.35))
    return found


def with_clues(copy: ReviewCopy, *clues: Clue, reason: Reason | None = None) -> ReviewCopy:
    """Return a copy whose decision points at places of the text."""
    import msgspec

    changed: dict[str, Any] = {"clues": clues} | ({"reason": reason} if reason else {})
    return msgspec.structs.replace(copy, decision=msgspec.structs.replace(copy.decision, **changed))


@contextmanager
def serving(desk: Desk, people: dict[str, Person]) -> Iterator[Site]:
    """Serve a desk on a free port of this machine."""
    for person in people.values():
        desk.people.set_password(person.name, PASSWORD)
    listener = socket.create_server(("127.0.0.1", 0))
    app = create_app(desk, secure_cookies=False)
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, access_log=False, lifespan="off"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    until = time.monotonic() + START_TIMEOUT_S
    while not server.started and time.monotonic() < until:
        time.sleep(0.01)
    try:
        yield Site(url=f"http://127.0.0.1:{listener.getsockname()[1]}", desk=desk, people=people)
    finally:
        server.should_exit = True
        thread.join(START_TIMEOUT_S)
        listener.close()


@pytest.fixture
def site(tmp_path: Path, judge: Judge) -> Iterator[Site]:
    """The application with one person of each role, and eight messages to review."""
    desk = open_desk(f"sqlite:///{tmp_path}/review.db", judge=judge, clock=ManualClock(MORNING_S))
    desk.intake.take(messages())
    with serving(desk, staff(desk)) as site:
        yield site
    desk.close()
