"""What does somebody get who asks the gateway over HTTP, with good will or with bad?

The real gateway over real sockets, its topics on the broker in memory, which fails on demand.
"""

import asyncio
import json
import socket
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, Final

import httpx
import msgspec
import pytest
import requests
import schemathesis
from hypothesis import Phase, given
from hypothesis import settings as hypothesis_settings
from jsonschema import Draft202012Validator
from schemathesis import GenerationMode
from structlog.testing import capture_logs

from spamguard.backends import registry
from spamguard.backends.clock import SystemClock
from spamguard.cli.score import judged
from spamguard.client import AsyncClient, Client, NoAnswer
from spamguard.contract.problems import KINDS, PREFIX
from spamguard.contract.schemas import BY_NAME, schema_of
from spamguard.core.codec import http_decision_id
from spamguard.core.decide import Judge
from spamguard.engine.filter import LiveFilter
from spamguard.engine.holder import ModelHolder
from spamguard.gateway import app, server
from spamguard.gateway.app import Limits
from spamguard.service import api_keys
from spamguard.service import gateway as composition
from spamguard.types import Outgoing, Partition
from tests.cast import LOTTERY, MUM, NASTY, SPAM
from tests.integration.asking import Running, gateway_settings
from tests.integration.serving import varied

DECISION: Final = Draft202012Validator(schema_of(BY_NAME["decision"]))
PROBLEM: Final = Draft202012Validator(schema_of(BY_NAME["problem"]))
SECRETS: Final = (LOTTERY, "13912345678", "sg_")


@pytest.fixture(scope="module")
def running(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with Running(gateway_settings(tiny_model, tmp_path_factory.mktemp("gateway"))) as gateway:
        yield gateway


@pytest.fixture
def start(tiny_model: Path, tmp_path: Path) -> Callable[..., Running]:
    return lambda **more: Running(gateway_settings(tiny_model, tmp_path, **more))


def spam(identity: str = "s1", **more: Any) -> dict[str, Any]:
    return {"message_id": identity, "text": LOTTERY, "sender": "10690000001", "recipient": "13912345678", **more}


def without_moments(decision: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in decision.items() if name not in ("decision_id", "timings", "decided_at")}


def problem_of(answer: httpx.Response) -> str:
    assert answer.headers["content-type"] == "application/problem+json"
    told = answer.json()
    PROBLEM.validate(told)
    kind: str = told["type"].removeprefix(PREFIX)
    assert (told["status"], told["title"]) == (answer.status_code, KINDS[kind].title)
    assert KINDS[kind].status == answer.status_code
    assert not [secret for secret in SECRETS[:2] if secret in answer.text]
    return kind


def test_one_message_gets_a_decision_and_a_list_gets_a_list(running: Running) -> None:
    one = running.ask({"message_id": "m1", "text": MUM})
    assert (one.status_code, one.json()["action"], one.json()["message_id"]) == (200, "allow", "m1")
    assert one.headers["spamguard-fail-policy"] == "open"
    assert "spamguard-unanswered" not in one.headers
    several = running.ask([{"message_id": "m1", "text": MUM}, spam()]).json()
    assert [(one["message_id"], one["action"]) for one in several] == [("m1", "allow"), ("s1", "block")]
    for decision in (one.json(), *several):
        DECISION.validate(decision)


def test_asking_twice_gives_the_same_decision_id_and_another_tenant_another(running: Running) -> None:
    ids = [running.ask(spam("twice", tenant=tenant)).json()["decision_id"] for tenant in ("acme", "", "beta")]
    assert ids == [http_decision_id(tenant, "twice") for tenant in ("acme", "acme", "beta")]
    assert ids[0] == ids[1] != ids[2]


def test_decisions_over_http_are_those_of_score_whatever_they_are_asked_together_with(
    running: Running, judge: Judge
) -> None:
    lines = [message.value or b"" for message in varied(240)]
    engine = LiveFilter(ModelHolder(judge), clock=SystemClock(), code_version="0.1.0")
    written, _ = judged(lines, 0, engine, Partition("offline", 0))
    engine.close()
    expected = [without_moments(json.loads(line)) for line in written]
    messages = [{name: value for name, value in json.loads(line).items() if name != "tenant"} for line in lines]
    assert [without_moments(one) for one in running.ask(messages).json()] == expected
    with ThreadPoolExecutor(32) as many:
        answers = list(many.map(lambda message: running.ask(message).json(), messages))
    assert [without_moments(one) for one in answers] == expected


def test_concurrent_requests_are_judged_together(start: Callable[..., Running]) -> None:
    with start() as gateway:
        engine = gateway.process.engine
        assert engine is not None
        judge, batches = engine.judge, []

        async def slow(requests: Any) -> Any:
            batches.append(len(requests))
            await asyncio.sleep(0.2)
            return await judge(requests)

        gateway.in_loop(lambda: setattr(engine, "judge", slow))
        with ThreadPoolExecutor(16) as many:
            answers = list(many.map(lambda n: gateway.ask({"message_id": f"m{n}", "text": MUM}), range(16)))
        assert [answer.json()["message_id"] for answer in answers] == [f"m{n}" for n in range(16)]
        assert sum(batches) == 16
        assert len(batches) < 8


def test_a_block_is_answered_after_its_review_copy_and_both_are_published(running: Running) -> None:
    answer = running.ask(spam("published")).json()
    assert answer["action"] == "block"
    [copy] = [one for one in running.published("sms.review") if one["message"]["message_id"] == "published"]
    assert (copy["decision"], copy["source"]) == (answer, "http/acme")
    assert copy["message"]["text"] == LOTTERY
    running.until(lambda: answer in running.published("sms.decisions"))


def test_a_block_whose_copy_is_refused_is_an_allow_for_the_caller_and_in_the_audit(running: Running) -> None:
    running.broker.refuse("sms.review", 1)
    answer = running.ask(spam("refused")).json()
    assert (answer["action"], answer["would_be"], answer["reason"]) == ("allow", "block", "review_unavailable")
    assert answer["degraded"]
    running.until(lambda: answer in running.published("sms.decisions"))


def test_a_block_whose_copy_hangs_is_an_allow_at_the_deadline(start: Callable[..., Running]) -> None:
    with start() as gateway:
        outbox = gateway.process.outbox
        assert outbox is not None

        async def hang(place: Partition, batch: Any) -> None:
            await asyncio.Event().wait()

        gateway.in_loop(lambda: setattr(outbox._producer, "publish", hang))
        answer = gateway.ask([spam("hangs"), {"message_id": "m1", "text": MUM}], Spamguard_Deadline_Ms="300").json()
        assert [(one["action"], one["reason"]) for one in answer] == [
            ("allow", "review_unavailable"),
            ("allow", "ham_score"),
        ]
        gateway.until(lambda: "the brokers do not acknowledge" in gateway.http.get("/readyz").text)
        began = time.monotonic()
        assert gateway.ask(spam("later")).json()["reason"] == "review_unavailable"
        assert time.monotonic() - began < gateway.settings.gateway_deadline_ms / 1000


def test_without_kafka_nothing_is_blocked_unless_the_callers_keep_what_they_block(
    start: Callable[..., Running],
) -> None:
    with start(gateway_kafka=False) as gateway:
        answer = gateway.ask(spam()).json()
        assert (answer["action"], answer["would_be"], answer["degraded"]) == ("allow", "block", True)
        assert "no block could be undone" in gateway.http.get("/readyz").text
    with start(gateway_kafka=False, gateway_keeps_blocked=True) as gateway:
        assert gateway.ask(spam()).json()["action"] == "block"


def test_the_kill_switch_and_modes_hold_here_too(start: Callable[..., Running]) -> None:
    with start() as gateway:
        order = Outgoing(key=b"allow_all", value=b'{"on": true, "reason": "wrong model"}')
        gateway.in_loop(lambda: gateway.broker.append(Partition("sms.control", 0), [order]))
        gateway.until(lambda: gateway.ask(spam()).json()["reason"] == "allow_all")
        back = Outgoing(key=b"allow_all", value=b'{"on": false}')
        observe = Outgoing(key=b"mode/beta", value=b'{"on": true, "mode": "observe"}')
        gateway.in_loop(lambda: gateway.broker.append(Partition("sms.control", 0), [back, observe]))
        gateway.until(lambda: gateway.ask(spam()).json()["action"] == "block")
        assert gateway.ask(spam(tenant="beta")).json()["reason"] == "observed"
        gateway.settings.control_file.write_text("Kafka is away")
        gateway.until(lambda: gateway.ask(spam()).json()["reason"] == "allow_all")


def test_an_ordered_model_and_a_moved_alias_decide_here_too(two_models: Path, tmp_path: Path) -> None:
    settings = gateway_settings(Path("champion"), tmp_path, models=two_models, model_poll_s=0.05)
    with Running(settings) as gateway:
        assert gateway.ask(spam()).json()["model"] == "small/1.0"
        order = Outgoing(key=b"model", value=b'{"on": true, "model": "small/2.0"}')
        gateway.in_loop(lambda: gateway.broker.append(Partition("sms.control", 0), [order]))
        gateway.until(lambda: gateway.ask(spam()).json()["model"] == "small/2.0")
        back = Outgoing(key=b"model", value=b'{"on": false}')
        gateway.in_loop(lambda: gateway.broker.append(Partition("sms.control", 0), [back]))
        gateway.until(lambda: gateway.ask(spam()).json()["model"] == "small/1.0")
        registry.write_alias(two_models, registry.CHAMPION, "small/2.0")
        gateway.until(lambda: gateway.ask(spam()).json()["model"] == "small/2.0")


@pytest.mark.parametrize("fail", ["open", "closed"])
def test_without_a_decision_at_the_deadline_the_fail_policy_answers(start: Callable[..., Running], fail: str) -> None:
    with start(gateway_fail=fail) as gateway:
        engine = gateway.process.engine
        assert engine is not None
        judge = engine.judge

        async def stuck(requests: Any) -> Any:
            await asyncio.sleep(1)
            return await judge(requests)

        gateway.in_loop(lambda: setattr(engine, "judge", stuck))
        answer = gateway.ask([spam("one"), spam("two")], Spamguard_Deadline_Ms="100")
        if fail == "closed":
            assert problem_of(answer) == "deadline"
            assert int(answer.headers["retry-after"]) >= 1
            return
        assert (answer.status_code, answer.headers["spamguard-unanswered"]) == (200, "2")
        for decision in answer.json():
            DECISION.validate(decision)
            assert (decision["action"], decision["reason"], decision["degraded"]) == ("allow", "unanswered", True)
        gateway.until(lambda: len(gateway.published("sms.decisions")) == 2)
        assert gateway.published("sms.decisions")[0]["reason"] == "unanswered"


def test_a_forged_sender_or_signature_opens_nothing(running: Running) -> None:
    plain = [running.ask({"message_id": f"p{n}", "text": text}).json() for n, text in enumerate(SPAM)]
    blocked = [text for text, decision in zip(SPAM, plain, strict=True) if decision["action"] == "block"]
    assert blocked
    for sender in ("95588", "10086", "青溪银行", "spamguard", "+8613900000001"):
        for account in (None, "the-bank"):
            forged = [
                {"message_id": f"f{n}", "text": f"【青溪银行】{text}", "sender": sender}
                | ({"account": account} if account else {})
                for n, text in enumerate(blocked)
            ]
            unsigned = [{**one, "text": str(one["text"]).removeprefix("【青溪银行】")} for one in forged]
            assert all(one["action"] == "block" for one in running.ask(unsigned).json())
            assert all(one["score"] > 0.5 for one in running.ask(forged).json())


HOSTILE: Final[tuple[tuple[str, bytes, int, str | None], ...]] = (
    ("nothing", b"", 400, "not-json"),
    ("half of it", b'{"message_id": "m", "text": "abc', 400, "not-json"),
    ("no text at all", b"\x00\xff\xfe\x80", 400, "not-json"),
    ("null", b"null", 422, "no-messages"),
    ("a number", b"17", 422, "no-messages"),
    ("an empty list", b" [ ] ", 422, "no-messages"),
    ("a list of lists", b"[[]]", 422, "no-message-id"),
    ("no id", b'{"text": "hello", "sender": "13912345678"}', 422, "no-message-id"),
    ("an id that is none", b'{"message_id": ["m"]}', 422, "no-message-id"),
    ("an endless id", b'{"message_id": "' + b"i" * 2000 + b'"}', 422, "no-message-id"),
    ("one of three without an id", b'[{"message_id": "a"}, {}, {"message_id": "b"}]', 422, "no-message-id"),
    ("deeper than any reader", b"[" * 100_000 + b"]" * 100_000, 422, "no-message-id"),
    ("deeper inside", b'{"message_id": "deep", "text": ' + b"[" * 50_000 + b"]" * 50_000 + b"}", 200, None),
    ("deeper inside a list", b'[{"message_id": "d", "x": ' + b"[" * 50_000 + b"]" * 50_000 + b"}]", 200, None),
    ("a number without end", b'{"message_id": "n", "data_coding": ' + b"9" * 10_000 + b"}", 200, None),
    ("the same name twice", b'{"message_id": "a", "message_id": "b", "text": "hi"}', 200, None),
    ("lone surrogates", b'{"message_id": "\\ud800", "text": "\\udfff\\u0000"}', 200, None),
    ("broken UTF-8", b'{"message_id": "u", "text": "\xc3\x28"}', 200, None),
    ("GBK", json.dumps({"message_id": "g", "text": LOTTERY}, ensure_ascii=False).encode("gbk"), 200, None),
    ("GBK in a list", json.dumps([{"message_id": "g", "text": LOTTERY}], ensure_ascii=False).encode("gbk"), 200, None),
    ("a byte order mark", b'\xef\xbb\xbf[{"message_id": "bom"}]', 200, None),
    ("wrong types", b'{"message_id": 7, "text": [], "sender": {}, "concat": "x", "received_at": 1e400}', 200, None),
    ("the future", b'{"message_id": "v", "text": "hi", "schema_version": 99, "field_of_2040": {}}', 200, None),
    ("more than is taken at once", json.dumps([{"message_id": "m"}] * 501).encode(), 413, "too-many-messages"),
    ("larger than is taken", b'{"message_id": "l", "text": "' + b"x" * (1 << 20) + b'"}', 413, "too-large"),
)


@pytest.mark.parametrize("body, status, kind", [one[1:] for one in HOSTILE], ids=[one[0] for one in HOSTILE])
def test_a_hostile_body_gets_decisions_or_a_problem_and_the_gateway_lives(
    running: Running, body: bytes, status: int, kind: str | None
) -> None:
    answer = running.http.post("/v1/decisions", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == status
    if kind is None:
        for decision in answer.json() if isinstance(answer.json(), list) else [answer.json()]:
            DECISION.validate(decision)
    else:
        assert problem_of(answer) == kind
    assert running.ask({"message_id": "still", "text": MUM}).status_code == 200


def test_gbk_is_read_and_told(running: Running) -> None:
    body = json.dumps([spam("gbk")], ensure_ascii=False).encode("gbk")
    [decision] = running.http.post("/v1/decisions", content=body, headers={"Content-Type": "application/json"}).json()
    assert (decision["action"], decision["defects"]) == ("block", ["encoding"])


def test_the_place_of_a_message_without_an_id_is_told_and_nothing_is_judged(running: Running) -> None:
    before = len(running.published("sms.decisions"))
    answer = running.ask([{"message_id": "a"}, {"text": NASTY.encode("utf-8", "replace").decode()}, 7])
    assert answer.json()["places"] == [1, 2]
    assert len(running.published("sms.decisions")) == before


@pytest.mark.parametrize(
    "headers, kind",
    [
        ({"Content-Type": "text/plain"}, "other-type"),
        ({"Content-Type": "application/json; charset=gbk"}, "other-type"),
        ({"Content-Encoding": "gzip"}, "other-type"),
        ({"Authorization": ""}, "no-key"),
        ({"Authorization": "Basic c2c6c2c="}, "no-key"),
        ({"Authorization": "Bearer sg_000000000000_00"}, "no-key"),
        ({"Spamguard-Deadline-Ms": "0"}, "bad-deadline"),
        ({"Spamguard-Deadline-Ms": "1e3"}, "bad-deadline"),
        ({"Spamguard-Deadline-Ms": "9" * 5000}, "bad-deadline"),
    ],
)
def test_a_request_that_cannot_be_right_is_refused_with_what_to_do(
    running: Running, headers: dict[str, str], kind: str
) -> None:
    given = {"Content-Type": "application/json", **headers}
    answer = running.http.post("/v1/decisions", content=b'{"message_id": "m"}', headers=given)
    assert problem_of(answer) == kind
    assert ("www-authenticate" in answer.headers) == (answer.status_code == 401)


def test_other_addresses_and_methods_are_problems_too(running: Running) -> None:
    assert problem_of(running.http.get("/v1/decision")) == "not-found"
    assert problem_of(running.http.get("/v1/decisions")) == "other-method"
    assert running.http.get("/healthz").json()["ok"]
    assert running.http.get("/openapi.json").json()["openapi"] == "3.1.0"


def test_a_key_speaks_for_its_tenants_only(running: Running) -> None:
    answer = running.ask([spam("a", tenant="acme"), spam("b", tenant="somebody-elses")])
    assert (problem_of(answer), answer.json()["places"]) == ("other-tenant", [1])


def test_an_account_is_worth_what_the_key_is(running: Running) -> None:
    named, _ = api_keys.add_key(
        running.settings, "codes", tenants=["acme"], accounts=["acme-codes"], messages_per_s=1e6, who="tests"
    )

    def ask(key: str, **more: object) -> httpx.Response:
        headers = {"Authorization": f"Bearer {key}"}
        return running.http.post("/v1/decisions", json=[spam("a"), spam("b", **more)], headers=headers)

    assert ask(running.key).status_code == 200  # from here on the address is known, and asking early is no guessing
    running.until(lambda: ask(named).status_code == 200)
    answer = ask(named, account="the-bank")
    assert (problem_of(answer), answer.json()["places"]) == ("other-account", [1])
    assert ask(named, account="acme-codes").json()[1].get("defects", []) == []
    before, after = ask(running.key).json()[1], ask(running.key, account="acme-codes").json()[1]
    assert (before["action"], before.get("defects", [])) == (after["action"], [])
    assert after["defects"] == ["account"]


def test_a_key_is_taken_and_refused_within_moments_of_its_making_and_revoking(running: Running) -> None:
    key, kept = api_keys.add_key(running.settings, "late", tenants=[], messages_per_s=1, who="tests")
    headers = {"Authorization": f"Bearer {key}"}
    post = partial(running.http.post, "/v1/decisions", json={"message_id": "m", "tenant": "any"}, headers=headers)
    running.until(lambda: post().status_code in (200, 429))
    running.until(lambda: post().status_code == 429)
    answer = post()
    assert (problem_of(answer), answer.headers["retry-after"]) == ("too-fast", "1")
    api_keys.revoke_key(running.settings, kept.id)
    running.until(lambda: post().status_code == 401)
    assert running.ask(spam()).status_code == 200, "the other key stays"


def test_a_file_of_keys_that_breaks_leaves_the_last_good_keys(start: Callable[..., Running]) -> None:
    with start() as gateway, capture_logs() as logs:
        gateway.settings.gateway_keys.write_text("[{broken")
        gateway.until(lambda: "cannot be read" in gateway.http.get("/readyz").text)
        assert gateway.ask(spam()).status_code == 200
    assert "keys_unreadable" in [one["event"] for one in logs]


def test_slow_bodies_and_slow_heads_are_ended(start: Callable[..., Running], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(composition, "Limits", partial(Limits, body_timeout_s=0.3))
    monkeypatch.setattr(server, "HEAD_TIMEOUT_S", 0.3)
    with start() as gateway:
        assert gateway.process.port is not None
        place = ("127.0.0.1", gateway.process.port)
        head = (
            b"POST /v1/decisions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
            b"Authorization: Bearer " + gateway.key.encode() + b"\r\nContent-Length: 100\r\n\r\n{"
        )
        with socket.create_connection(place, timeout=10) as slow:
            slow.sendall(head)
            assert b"slow-body" in everything(slow)
        with socket.create_connection(place, timeout=10) as dawdling:
            dawdling.sendall(head[:40])
            assert everything(dawdling) == b""
        with socket.create_connection(place, timeout=10) as rude:
            rude.sendall(b"\x16\x03\x01 this is no HTTP\r\n\r\n")
            assert b"bad-request" in everything(rude)


def everything(connection: socket.socket) -> bytes:
    found = b""
    while piece := connection.recv(65536):
        found += piece
    return found


def test_more_connections_or_messages_than_it_holds_are_refused_and_then_taken_again(
    start: Callable[..., Running],
) -> None:
    with start(gateway_max_connections=3, gateway_max_waiting=4) as gateway:
        assert problem_of(gateway.ask([spam(str(n)) for n in range(5)])) == "overloaded"
        assert gateway.ask([spam(str(n)) for n in range(4)]).status_code == 200
        assert gateway.process.port is not None
        held = [socket.create_connection(("127.0.0.1", gateway.process.port), timeout=10) for _ in range(3)]
        assert b"overloaded" in everything(held[-1])
        for connection in held:
            connection.close()
        gateway.until(lambda: gateway.ask(spam()).status_code == 200)


def test_all_bodies_together_are_bounded_and_given_back(
    start: Callable[..., Running], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app, "MOST_BODIES_BYTES", 10_000)
    with start() as gateway:
        large, small = {"message_id": "m", "text": "x" * 20_000}, {"message_id": "m", "text": "x" * 6_000}
        for _ in range(3):
            assert problem_of(gateway.ask(large)) == "overloaded"
            assert gateway.ask(small).status_code == 200


def test_nothing_that_was_sent_reaches_the_log(start: Callable[..., Running]) -> None:
    with start() as gateway, capture_logs() as logs:
        gateway.ask(spam())
        gateway.broker.refuse("sms.review", 1)
        gateway.ask(spam())
        for _, body, _, _ in HOSTILE[:12]:
            gateway.http.post("/v1/decisions", content=body, headers={"Content-Type": "application/json"})
        gateway.http.post("/v1/decisions", json={}, headers={"Authorization": "Bearer sg_guess_13912345678"})
    assert not [secret for secret in SECRETS if secret in str(logs)]


@pytest.mark.parametrize("mode", list(GenerationMode), ids=lambda mode: str(mode.value))
def test_the_gateway_answers_as_its_openapi_says_whatever_is_sent(running: Running, mode: GenerationMode) -> None:
    schema = schemathesis.openapi.from_url(f"{running.url}/openapi.json")
    # Left out on purpose: what breaks the schema is read all the same if it has an id, and named in `defects`.
    lenient = [schemathesis.checks.negative_data_rejection]
    statuses: Counter[int] = Counter()
    for result in schema.get_all_operations():
        operation: Any = result.ok()  # type: ignore[union-attr]  # an Err would raise, as it should
        many = operation.method.upper() == "POST"
        if mode is GenerationMode.NEGATIVE and not many:
            continue  # the probes take nothing that could be wrong

        @hypothesis_settings(max_examples=100 if many else 5, phases=[Phase.generate], database=None)
        @given(case=operation.as_strategy(generation_mode=mode))
        def ask(case: Any) -> None:
            answer = case.call_and_validate(
                headers={"Authorization": f"Bearer {running.key}"}, excluded_checks=lenient, session=session
            )
            statuses[answer.status_code] += 1

        with requests.Session() as session:
            ask()
    assert sum(statuses.values()) > 90
    assert statuses[200]
    assert running.ask(spam()).json()["action"] == "block"


async def test_the_client_gets_what_the_gateway_says_and_passes_messages_when_it_is_gone(
    start: Callable[..., Running],
) -> None:
    with start() as gateway:
        async with AsyncClient(gateway.url, key=gateway.key, deadline_s=10.0) as client:
            answers = await client.decide_many([{"message_id": "m1", "text": MUM}, spam()])
            assert [str(one.action) for one in answers] == ["allow", "block"]
            assert json.loads(msgspec.json.encode(await client.decide(spam())))["clues"]
        stranger = Client(gateway.url, key="sg_000000000000_00", deadline_s=5.0, on_no_answer="raise")
        with stranger, pytest.raises(NoAnswer, match="401"):
            await asyncio.to_thread(stranger.decide, spam())
        url = gateway.url
    async with AsyncClient(url, key=gateway.key, deadline_s=1.0) as client:
        assert (await client.decide(spam())).unanswered
