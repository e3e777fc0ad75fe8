"""What can somebody do to the desk who may not, who guesses, or who writes messages to be read there?"""

import re
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from html.parser import HTMLParser

import httpx
import pytest

from spamguard.review.access import PERMISSIONS
from spamguard.review.values import CaseKind, Label, Role
from spamguard.review.web.doors import DOORS, Door
from spamguard.types import Clue
from tests.cast import BANK_CODE, INVOICE, LOTTERY
from tests.review_web.conftest import PASSWORD, Site, csrf_of, post, with_clues
from tests.reviewing import SENDER, SUBSCRIBER, copy_of

ROLES = {"ann": Role.AGENT, "rui": Role.REVIEWER, "lee": Role.LEAD, "ada": Role.ADMIN}
SCRIPT = "<script>alert(1)</script><img src=x onerror=alert(2)>\"'><svg/onload=alert(3)>"


def filled(site: Site, door: Door) -> str:
    """Return a door's address with ids of things that are there."""
    receipt = site.desk.cases.open(site.people["ann"], kind=CaseKind.QUESTION, text="为什么收不到").receipt
    item = site.items()[0].id
    return door.path.format(item=item, receipt=receipt, entry="1", name="ren")


@contextmanager
def coming(site: Site, door: Door, name: str) -> Iterator[httpx.Client]:
    """Yield a client of somebody: a browser that is logged in, or a program with a token of the same role."""
    if not door.api:
        with site.visitor(name) as client:
            yield client
        return
    token = site.desk.tokens.add(f"{name}-program", ROLES[name], by=site.people["ada"])
    with site.anybody(Authorization=f"Bearer {token}") as client:
        yield client


def done(site: Site) -> list[str]:
    """Return what the audit log knows besides logins and what this test itself opens and reads."""
    ours = ("login", "case.open", "people.token", "audit.read", "queue.read", "item.read")
    return [
        row.action for row in site.desk.audit.rows(site.people["ada"], limit=500) if not row.action.startswith(ours)
    ]


def test_no_role_gets_through_a_door_it_has_no_permission_for(site: Site) -> None:
    for name, role in ROLES.items():
        for door in DOORS:
            if door.permission is None or role in PERMISSIONS[door.permission]:
                continue
            path, before = filled(site, door), done(site)
            with coming(site, door, name) as client:
                data = {} if door.api or door.method == "GET" else {"csrf": csrf_of(client.get("/account").text)}
                answer = client.request(door.method, path, data=data or None)
            assert answer.status_code == 403, (name, door)
            assert done(site) == before, (name, door)


def test_nobody_gets_through_a_door_without_a_login(site: Site) -> None:
    for door in DOORS:
        if door.permission is None:
            continue
        path, before = filled(site, door), done(site)
        with site.anybody() as client:
            data = {"csrf": csrf_of(client.get("/login").text)} if door.method == "POST" and not door.api else None
            answer = client.request(door.method, path, data=data)
        if door.api:
            assert answer.status_code == 401, door
        else:
            assert answer.status_code == 303 and answer.headers["location"].startswith("/login"), door
        assert done(site) == before, door


def test_a_browser_cookie_opens_no_door_of_the_api_and_a_token_none_of_the_pages(site: Site) -> None:
    token = site.desk.tokens.add("calls", Role.LEAD, by=site.people["ada"])
    with site.visitor("ada") as client:
        assert client.post("/api/v1/cases", json={"kind": "question", "text": "x"}).status_code == 401
    with site.anybody(Authorization=f"Bearer {token}") as client:
        assert client.get("/queue").status_code == 303


def test_no_form_is_taken_that_our_own_page_did_not_send(site: Site) -> None:
    with site.visitor("ada") as client, site.visitor("lee") as other:
        right, theirs = csrf_of(client.get("/account").text), csrf_of(other.get("/account").text)
        for door in DOORS:
            if door.method == "GET" or door.api:
                continue
            path, before = filled(site, door), done(site)
            forged: list[tuple[dict[str, str], dict[str, str]]] = [
                ({}, {}),
                ({"csrf": ""}, {}),
                ({"csrf": theirs}, {}),
                ({"csrf": right}, {"Sec-Fetch-Site": "cross-site"}),
                ({"csrf": right}, {"Sec-Fetch-Site": "same-site"}),
                ({"csrf": right}, {"Origin": "https://evil.example"}),
                ({"csrf": right}, {"Origin": "null"}),
            ]
            for data, headers in forged:
                answer = client.post(path, data=data, headers=headers)
                assert answer.status_code == 403, (door, data, headers)
            assert done(site) == before, door
        assert client.get("/account").status_code == 200, "none of it logged anybody out"


def test_a_login_form_needs_its_own_visitor(site: Site) -> None:
    with site.anybody() as victim, site.anybody() as attacker:
        token = csrf_of(attacker.get("/login").text)
        fields = {"csrf": token, "name": "ada", "password": PASSWORD}
        assert victim.post("/login", data=fields).status_code == 403
        victim.get("/login")
        assert victim.post("/login", data=fields).status_code == 403


def test_a_token_that_was_planted_before_login_is_worth_nothing(site: Site) -> None:
    with site.anybody() as client:
        client.cookies.set("spamguard_session", "planted", domain="127.0.0.1")
        token = csrf_of(client.get("/login").text)
        answer = client.post("/login", data={"csrf": token, "name": "rui", "password": PASSWORD})
        first = answer.cookies["spamguard_session"]
        assert first != "planted"
        assert "HttpOnly" in answer.headers["set-cookie"] and "samesite=lax" in answer.headers["set-cookie"].lower()
    for planted in ("planted", "", "null", "' OR '1'='1"):
        assert httpx.get(f"{site.url}/queue", cookies={"spamguard_session": planted}).status_code == 303
    with site.visitor("rui") as again:
        assert again.cookies["spamguard_session"] != first
        kept = again.cookies["spamguard_session"]
        post(again, "/logout")
    assert httpx.get(f"{site.url}/queue", cookies={"spamguard_session": kept}).status_code == 303


def test_guessing_a_password_is_slowed_down_and_tells_nothing(site: Site) -> None:
    with site.anybody() as client:
        token = csrf_of(client.get("/login").text)
        said = {
            name: client.post("/login", data={"csrf": token, "name": name, "password": "wrong"})
            for name in ("rui", "x")
        }
        texts = [re.sub(r'name="(csrf|name)" value="[^"]*"', "", answer.text) for answer in said.values()]
        assert texts[0] == texts[1] and {answer.status_code for answer in said.values()} == {401}
        statuses = [
            client.post("/login", data={"csrf": token, "name": "rui", "password": f"no {n}"}).status_code
            for n in range(12)
        ]
        slowed = client.post("/login", data={"csrf": token, "name": "rui", "password": PASSWORD})
    assert 429 in statuses
    assert slowed.status_code == 429 and int(slowed.headers["retry-after"]) > 0


def test_a_message_is_shown_and_never_run(site: Site) -> None:
    text = SCRIPT + "</mark>{{ 7 * 7 }}{% raw %}"
    clues = [Clue(feature=SCRIPT, start=0, end=25, pull=2.0), Clue(feature="x", start=20, end=40, pull=-1.0)]
    site.desk.intake.take([with_clues(copy_of(text, tenant=SCRIPT, model=SCRIPT), *clues)])
    item = site.item_with(text)
    case = site.desk.cases.open(site.people["ann"], kind=CaseKind.UNWANTED, text=text, note=SCRIPT)
    site.desk.store.verdict(site.people["lee"], site.item_with(BANK_CODE).id, Label.HAM, note=SCRIPT)
    with site.visitor("ada") as client:
        search = post(client, "/queue", query="alert", on="/queue")
        shown = [
            client.get(path).text
            for path in (
                "/queue",
                f"/items/{item.id}",
                "/cases",
                f"/cases/{case.receipt}",
                "/audit",
                "/figures?by=tenant",
            )
        ]
        assert search.status_code == 200
        for page in [*shown, search.text]:
            assert _Reader(page).running == [], "nothing stands inside a page that the policy would have to stop"
        read = _Reader(shown[1])
        assert text in read.text.replace("\n", ""), "and all of it is there to be read"
        assert read.tags["mark"] > 1


class _Reader(HTMLParser):
    """Reads a page as a browser would: what would run in it, its tags, and its text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.running: list[str] = []
        self.tags: Counter[str] = Counter()
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        values = dict(attrs)
        ours = tag != "script" or (values.get("src") or "").startswith("/static/")
        strange = tag in ("img", "iframe", "object", "embed", "style", "base") or "style" in values
        if strange or not ours or any(name.startswith("on") for name in values):
            self.running.append(f"{tag} {attrs}")

    def handle_data(self, data: str) -> None:
        self.text += data


def test_sql_in_a_search_finds_nothing_and_breaks_nothing(site: Site) -> None:
    before = len(site.items())
    with site.visitor("rui") as client:
        for said in (
            "' OR 1=1 --",
            '"; DROP TABLE items; --',
            "%",
            "_",
            "* OR *",
            'NEAR("a")',
            "\x00",
            "(((",
            "text:*",
        ):
            for field in ("query", "sender"):
                answer = post(client, "/queue", on="/queue", **{field: said})
                assert answer.status_code in (200, 400), (field, said)
                assert INVOICE not in answer.text, (field, said)
        for name in ("tenant", "model", "category"):
            assert client.get("/queue", params={name: "' OR '1'='1"}).status_code in (200, 400)
        for name, value in [("why", "x"), ("status", "'"), ("action", "drop"), ("reason", "--")]:
            assert client.get("/queue", params={name: value}).status_code == 400
        assert post(client, "/queue/rows", on="/queue", after="' OR 1=1 --").status_code in (200, 400)
    assert len(site.items()) == before


def test_an_id_that_was_guessed_opens_nothing(site: Site) -> None:
    first, second = site.items()[:2]
    decision = site.desk.store.item(site.people["lee"], second.id).copies[0].decision_id
    with site.visitor("lee") as client:
        for guess in ("1", "0" * 32, "%00", "' OR 1=1"):
            assert client.get(f"/items/{guess}").status_code in (404, 400), guess
            assert client.get(f"/cases/{guess}").status_code in (404, 400), guess
        assert post(client, "/entries/999/approve").status_code == 404
        assert post(client, "/entries/abc/approve").status_code == 404
        answer = post(client, f"/items/{first.id}/number", decision=decision)
        assert answer.status_code == 404 and SUBSCRIBER not in answer.text, "an item shows numbers of its own alone"


def test_receipts_cannot_be_guessed_quickly(site: Site) -> None:
    with site.anybody() as client:
        token = csrf_of(client.get("/receipt").text)
        statuses = [
            client.post("/receipt", data={"csrf": token, "receipt": f"{4000000000000000 + n * 137}"}).status_code
            for n in range(60)
        ]
    assert set(statuses) == {404, 429} and statuses[-1] == 429


def test_a_whole_number_is_seen_only_where_it_is_asked_for_and_the_log_keeps_that(site: Site) -> None:
    item = site.item_with(BANK_CODE)
    detail = site.desk.store.item(site.people["lee"], item.id)
    with site.visitor("rui") as client:
        pages = [client.get(path).text for path in ("/queue", f"/items/{item.id}", "/cases", "/figures")]
        assert not [page for page in pages if SUBSCRIBER in page or SENDER in page]
        told = post(client, f"/items/{item.id}/number", decision=detail.copies[0].decision_id)
        assert SUBSCRIBER in told.text
    row = next(row for row in site.desk.audit.rows(site.people["ada"]) if row.who == "rui" and "number" in row.action)
    assert SUBSCRIBER not in str(row)


def test_every_answer_forbids_what_is_not_ours(site: Site) -> None:
    with site.visitor("ada") as client:
        for path in ("/queue", "/figures", "/nowhere", "/static/desk.css", "/figures.csv", "/items/none"):
            answer = client.get(path)
            policy = answer.headers["content-security-policy"]
            assert "default-src 'none'" in policy and "unsafe" not in policy, path
            assert answer.headers["x-content-type-options"] == "nosniff"
            assert answer.headers["x-frame-options"] == "DENY"
            assert path.startswith("/static/") or answer.headers["cache-control"] == "no-store"
        assert client.get("/static/../app.py").status_code == 404
        assert client.get("/static/%2e%2e/app.py").status_code == 404


def test_what_is_too_long_or_no_form_is_refused_politely(site: Site) -> None:
    with site.visitor("rui") as client:
        assert client.post("/queue", content=b"csrf=" + b"x" * 300_000).status_code == 413
        assert client.post("/queue", json={"csrf": "x"}).status_code == 415
        assert client.post("/queue", data={f"f{n}": "x" for n in range(2000)}).status_code == 400
        refused = client.get("/items/none")
        assert refused.status_code == 404 and "<h1>" in refused.text and "Traceback" not in refused.text
        assert client.put("/queue").status_code == 405


def test_a_failure_shows_and_logs_no_text(
    site: Site, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError(f"near {INVOICE} of {SUBSCRIBER}")

    with site.visitor("rui") as client:
        monkeypatch.setattr(site.desk.store, "queue", broken)
        answer = client.get("/queue")
    assert answer.status_code == 500 and "Something failed here" in answer.text
    assert "content-security-policy" in answer.headers
    logged = caplog.text + "".join(capsys.readouterr())
    assert "page_failed" in logged and "RuntimeError" in logged
    assert not [said for said in (answer.text, logged) if INVOICE in said or SUBSCRIBER in said]


def test_a_login_leads_to_our_own_pages_alone(site: Site) -> None:
    with site.anybody() as client:
        token = csrf_of(client.get("/login?back=//evil.example/").text)
        fields = {"csrf": token, "name": "rui", "password": PASSWORD, "back": "//evil.example/"}
        assert client.post("/login", data=fields).headers["location"] == "/"


def test_whoever_got_a_password_from_another_changes_it_first(site: Site) -> None:
    password = site.desk.people.reset_password("rui", by=site.people["ada"])
    with site.anybody() as client:
        token = csrf_of(client.get("/login").text)
        client.post("/login", data={"csrf": token, "name": "rui", "password": password})
        assert client.get("/queue").headers["location"].startswith("/account")
        changed = post(
            client, "/account/password", old=password, new="three ducks in a row", again="three ducks in a row"
        )
        assert changed.status_code == 303
        assert client.get("/queue").status_code == 200


def test_everybody_sees_the_pages_of_their_role(site: Site) -> None:
    for name, role in ROLES.items():
        with site.visitor(name) as client:
            for door in DOORS:
                if door.method == "GET" and not door.api and door.permission and role in PERMISSIONS[door.permission]:
                    answer = client.get(filled(site, door))
                    assert answer.status_code == 200, (name, door, answer.text[:800])


@pytest.mark.parametrize("broken", ["{", "[]", '{"kind": "nonsense"}', '{"kind": "question", "more": 1}', "", "\xff"])
def test_the_api_says_what_it_cannot_read(site: Site, broken: str) -> None:
    token = site.desk.tokens.add("calls", Role.AGENT, by=site.people["ada"])
    with site.anybody(Authorization=f"Bearer {token}") as client:
        answer = client.post("/api/v1/cases", content=broken.encode())
        assert answer.status_code == 400 and answer.json()["error"]


def test_the_call_centre_opens_a_case_and_hears_how_it_ended(site: Site) -> None:
    token = site.desk.tokens.add("calls", Role.AGENT, by=site.people["ada"])
    with site.anybody(Authorization=f"Bearer {token}") as client:
        opened = client.post("/api/v1/cases", json={"kind": "missing", "text": BANK_CODE, "note": "third call"})
        assert opened.status_code == 201
        receipt = opened.json()["receipt"]
        assert client.get(f"/api/v1/cases/{receipt}").json()["status"] in ("received", "in_review")
        with site.visitor("rui") as reviewer:
            path = f"/cases/{receipt}"
            answered = post(reviewer, f"{path}/resolve", on=path, outcome="release", answer="It is on its way.")
            assert answered.headers.get("location") == f"{path}?done=resolved", answered.text
        state = client.get(f"/api/v1/cases/{receipt}").json()
        assert state["status"] == "resolved" and state["answer"] == "It is on its way."
        assert client.post(f"/api/v1/cases/{receipt}/satisfaction", json={"satisfaction": 5}).status_code == 200
        assert client.post(f"/api/v1/cases/{receipt}/satisfaction", json={"satisfaction": 9}).status_code == 400
        assert LOTTERY not in opened.text
    site.desk.tokens.revoke("calls", by=site.people["ada"])
    assert httpx.get(f"{site.url}/api/v1/cases/1", headers={"Authorization": f"Bearer {token}"}).status_code == 401


def test_chinese_pages_say_in_chinese_what_was_refused(site: Site) -> None:
    receipt = site.desk.cases.open(site.people["ann"], kind=CaseKind.QUESTION, text="为什么收不到").receipt
    listed = {
        "outcome": "list_entry", "answer": "好", "what": "allow:link", "value": "acc-7", "owner": "ops",
        "reason": "合同", "expires": "2026-12-24",
    }  # fmt: skip
    with site.visitor("lee") as client:
        client.cookies.set("spamguard_language", "zh")
        asked = [
            (f"/cases/{receipt}/rate", {"stars": "5"}, 409, "投诉单还没有办结"),
            (f"/cases/{receipt}/note", {"text": " "}, 400, "备注为 1 到 2000 个字符"),
            (f"/cases/{receipt}/resolve", {"outcome": "release", "answer": "好"}, 400, "请先关联"),
            (f"/cases/{receipt}/resolve", listed, 400, "放行名单必须是后者"),
            ("/cases", {"kind": "question", "way": "text"}, 400, "请填写短信编号"),
            ("/queue/bulk", {"label": "spam"}, 400, "没有选中任何一项"),
            ("/account/password", {"old": PASSWORD, "new": "short", "again": "short"}, 400, "密码为 12 到 200 个字符"),
        ]
        for path, data, status, sentence in asked:
            answer = client.post(path, data=data | {"csrf": csrf_of(client.get("/account").text)})
            assert (answer.status_code, sentence in answer.text) == (status, True), path
            assert "cannot be taken" not in answer.text and "was not done" not in answer.text


def test_cases_are_found_by_receipt_number_and_message_id_and_none_of_it_stands_in_an_address(site: Site) -> None:
    receipt = site.desk.cases.open(
        site.people["ann"], kind=CaseKind.MISSING, message_id="gw-7", number=SUBSCRIBER
    ).receipt
    with site.visitor("ann") as client:
        assert (
            post(client, "/cases/find", about=f" {receipt[:4]} {receipt[4:]}").headers["location"]
            == f"/cases/{receipt}"
        )
        for about, there in (
            (SUBSCRIBER, True),
            ("139-0000-1234", True),
            ("gw-7", True),
            ("gw-8", False),
            ("%", False),
        ):
            answer = post(client, "/cases/find", about=about)
            assert (answer.status_code, f"/cases/{receipt}" in answer.text) == (200, there), about


def test_the_queue_shows_what_came_between_two_days(site: Site) -> None:
    with site.visitor("rui") as client:
        day = "2026-11-24" if "2026-11-24" in client.get(f"/items/{site.items()[0].id}").text else "2026-11-23"
        assert 'class="row' in client.get(f"/queue?since={day}&until={day}").text
        assert 'class="row' not in client.get("/queue?until=2026-11-01").text
        assert 'class="row' not in client.get("/queue?since=2026-11-26").text
        assert client.get("/queue?since=yesterday").status_code == 400
        moved = post(client, "/queue", on="/queue", since=day, until=day, query="")
        assert moved.headers["location"] == f"/queue?since={day}&until={day}"
