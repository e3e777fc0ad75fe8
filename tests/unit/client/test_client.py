"""What does a caller get from the client when the gateway is well, busy, wrong, slow or away?"""

import asyncio
import json
import logging
import time
from collections.abc import Callable, Coroutine
from random import Random
from typing import Any, Final

import httpx
import pytest

from spamguard.client import Action, Answer, AsyncClient, Client, Message, NoAnswer
from spamguard.client.answers import body_of
from spamguard.client.repeating import wait_s
from spamguard.core.codec import decode_message
from tests.cast import LOTTERY, MUM

DECISION: Final = {
    "decision_id": "d", "message_id": "m1", "action": "block", "would_be": "block", "reason": "spam_score",
    "score": 0.97, "ham_cutoff": 0.3, "spam_cutoff": 0.7, "review": True, "category": "fraud", "model": "small/1.0",
    "policy": "standard", "code_version": "0.1.0", "suggested_smpp_status": 101, "decided_at": "2026-11-24T02:00:00Z",
}  # fmt: skip
KEY: Final = "sg_0123_4567"
Says = Callable[[httpx.Request], Coroutine[None, None, httpx.Response]]


def client(says: Says, **more: Any) -> AsyncClient:
    more = {"deadline_s": 5.0, "dice": Random(7), **more}
    return AsyncClient("http://gateway.example/", key=KEY, transport=httpx.MockTransport(says), **more)


def saying(*answers: httpx.Response | Exception) -> tuple[Says, list[httpx.Request]]:
    waiting, asked = list(answers), []

    async def says(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        answer = waiting.pop(0) if len(waiting) > 1 else waiting[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    return says, asked


async def test_a_decision_comes_back_typed_and_the_request_carries_key_and_deadline() -> None:
    says, asked = saying(httpx.Response(200, json=DECISION))
    async with client(says, deadline_s=2.0) as gateway:
        answer = await gateway.decide(Message(message_id="m1", text=LOTTERY))
    assert (answer.action, answer.reason, answer.suggested_smpp_status) == (Action.BLOCK, "spam_score", 101)
    assert not answer.unanswered
    [request] = asked
    assert str(request.url) == "http://gateway.example/v1/decisions"
    assert request.headers["authorization"] == f"Bearer {KEY}"
    assert 1500 < int(request.headers["spamguard-deadline-ms"]) <= 1800
    assert json.loads(request.content) == {"message_id": "m1", "text": LOTTERY}


async def test_words_and_fields_of_next_year_are_read() -> None:
    future = {**DECISION, "reason": "moon_phase", "category": "lunar", "phase": 3}
    says, _ = saying(httpx.Response(200, json=future))
    async with client(says) as gateway:
        answer = await gateway.decide({"message_id": "m1"})
    assert (answer.action, answer.reason, answer.category) == (Action.BLOCK, "moon_phase", "lunar")


async def test_long_lists_go_in_several_requests_and_come_back_in_order() -> None:
    async def says(request: httpx.Request) -> httpx.Response:
        messages = json.loads(request.content)
        assert len(messages) <= 500
        return httpx.Response(200, json=[{**DECISION, "message_id": one["message_id"]} for one in messages])

    messages = [Message(message_id=f"m{number}") for number in range(1200)]
    async with client(says) as gateway:
        answers = await gateway.decide_many(messages)
        assert await gateway.decide_many([]) == []
    assert [one.message_id for one in answers] == [one.message_id for one in messages]


@pytest.mark.parametrize("trouble", [httpx.Response(503), httpx.Response(429), httpx.ConnectError("no")], ids=str)
async def test_what_may_pass_is_tried_again(trouble: httpx.Response | Exception) -> None:
    says, asked = saying(trouble, trouble, httpx.Response(200, json=DECISION))
    async with client(says) as gateway:
        assert (await gateway.decide({"message_id": "m1"})).action is Action.BLOCK
    assert len(asked) == 3


@pytest.mark.parametrize("status", [400, 401, 403, 413, 415, 422, 504])
async def test_what_would_fail_again_is_asked_once_and_the_message_passes_marked(
    status: int, caplog: pytest.LogCaptureFixture
) -> None:
    says, asked = saying(httpx.Response(status, json={"type": "t", "title": "t", "status": status}))
    with caplog.at_level(logging.WARNING):
        async with client(says) as gateway:
            answer = await gateway.decide(Message(message_id="m1", text=LOTTERY, sender="13912345678"))
    assert (len(asked), answer.action, answer.unanswered, answer.degraded) == (1, Action.ALLOW, True, True)
    assert answer.message_id == "m1"
    assert str(status) in caplog.text
    assert not [secret for secret in (LOTTERY, "13912345678", KEY) if secret in caplog.text]


@pytest.mark.parametrize(
    "content", [b"", b"{}", b"[]", b"not json", b'{"action": "perhaps"}', b"<html>proxy</html>"], ids=repr
)
async def test_what_is_no_decision_is_no_answer(content: bytes) -> None:
    says, _ = saying(httpx.Response(200, content=content))
    async with client(says) as gateway:
        assert (await gateway.decide({"message_id": "m1"})).unanswered
    async with client(says, on_no_answer="raise") as gateway:
        with pytest.raises(NoAnswer, match="no decision"):
            await gateway.decide({"message_id": "m1"})


async def test_a_gateway_that_says_nothing_holds_nobody_beyond_the_deadline() -> None:
    async def says(request: httpx.Request) -> httpx.Response:
        await asyncio.sleep(60)
        raise AssertionError

    began = time.monotonic()
    async with client(says, deadline_s=0.2) as gateway:
        assert (await gateway.decide({"message_id": "m1"})).unanswered
        [answer] = await gateway.decide_many([{"message_id": "m1"}], deadline_s=0.1)
        assert answer.unanswered
    assert time.monotonic() - began < 30


async def test_a_retry_that_does_not_fit_into_the_deadline_is_not_waited_for() -> None:
    says, asked = saying(httpx.Response(503, headers={"Retry-After": "30"}))
    began = time.monotonic()
    async with client(says, deadline_s=20.0) as gateway:
        assert (await gateway.decide({"message_id": "m1"})).unanswered
    assert (len(asked), time.monotonic() - began < 15) == (1, True)


def test_waits_grow_are_jittered_and_obey_retry_after() -> None:
    waits = [wait_s(attempt, left_s=9, retry_after=None, dice=Random(seed)) for attempt in (0, 3) for seed in range(50)]
    assert len(set(waits)) == 100
    assert max(waits[:50], key=lambda wait: wait or 0) < 0.025  # type: ignore[operator]
    assert max(wait or 0 for wait in waits[50:]) > 0.15
    assert (wait_s(0, left_s=9, retry_after="2", dice=Random(1)) or 0) >= 2
    for nonsense in ("soon", "-1", "1e9", "9" * 5000, "²"):
        assert (wait_s(0, left_s=9, retry_after=nonsense, dice=Random(1)) or 0) < 1


async def test_what_cannot_be_written_passes_marked_and_lone_surrogates_are_no_way_past() -> None:
    says, asked = saying(httpx.Response(200, json=DECISION))
    async with client(says) as gateway:
        assert (await gateway.decide({"message_id": "m1", "text": object()})).unanswered
    assert not asked
    body = body_of([Message(message_id="m1", text=f"\ud800{LOTTERY}")])
    message = decode_message(body)
    assert isinstance(message, Message)
    assert message.text == f"\ufffd{LOTTERY}"


def test_many_threads_share_a_blocking_client() -> None:
    says, asked = saying(httpx.Response(200, json=DECISION))
    from concurrent.futures import ThreadPoolExecutor

    with Client("http://gateway.example", key=KEY, transport=httpx.MockTransport(says), deadline_s=10.0) as gateway:
        with ThreadPoolExecutor(8) as many:
            answers = list(many.map(lambda n: gateway.decide(Message(message_id="m1", text=MUM)), range(40)))
        assert len(gateway.decide_many([{"message_id": "m1"}])) == 1
    assert {answer.action for answer in answers} == {Action.BLOCK}
    assert all(isinstance(answer, Answer) for answer in answers)
    assert len(asked) == 41
    gateway.close()
