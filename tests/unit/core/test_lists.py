"""Do lists say of a message what their entries say, however it is written, and nothing that could be forged allows?"""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spamguard.core.entries import Fault, key_of
from spamguard.core.lists import MAX_DELTA, ListBuilder, Lists, lists_of
from spamguard.core.normalize import normalize_batch
from spamguard.core.things import things_of
from spamguard.types import ListEntry, ListKind, Message, Treatment

ALLOW, BLOCK, REVIEW = Treatment.ALLOW, Treatment.BLOCK, Treatment.REVIEW
NOON_S = 1_795_500_000.0  # 24 November 2026


def entry(kind: str, value: str, action: Treatment = BLOCK, **more: str) -> ListEntry:
    return ListEntry(kind=ListKind(kind), value=value, action=action, **more)


def matched(lists: Lists, text: str = "", *, now_s: float = NOON_S, **fields: Any) -> str | None:
    found = lists.match([Message(message_id="m", text=text, **fields)], [text], normalize_batch([text]), now_s=now_s)
    return found[0].entry if found else None


def one(kind: str, value: str, action: Treatment = BLOCK, **more: str) -> Lists:
    return lists_of([("L1", entry(kind, value, action, **more))])


@pytest.mark.parametrize(
    ("kind", "value", "text"),
    [
        ("host", "evil.com", "看 http://evil.com/x"),
        ("host", "evil.com", "看 a.b.EVIL.com"),
        ("host", "Evil.COM", "看 evil点com 吧"),
        ("host", "evil.com", "看 evil . com"),
        ("host", "evil.com", "ｅｖｉｌ．ｃｏｍ/领奖"),
        ("host", "evil.com", "写信到 a@evil.com"),
        ("host", "evil.com", "e\u200bvil.com"),
        ("host", "10.0.0.9", "看 http://10.0.0.9:8080/x"),
        ("contact", "13900001234", "电话 139-0000-1234"),
        ("contact", "+86 139 0000 1234", "请打 1 3 9 0 0 0 0 1 2 3 4"),
        ("contact", "13900001234", "请打壹叁玖零零零零壹贰叁肆"),
        ("contact", "fp00061", "加薇 信 FP00061"),
        ("contact", "fp00061", "加微信:fp00061,长期有效"),
        ("contact", "400-123-4567", "热线4001234567"),
        ("contact", "51234567", "加QQ 51234567"),
        ("signature", "青溪银行", "【青溪銀行】您好"),
        ("signature", "【青溪银行】", "您好【青 溪 银 行】"),
        ("pattern", "领红包", "点击领*紅*包"),
        ("pattern", "加微信.{0,5}⟨number_6⟩", "加薇信 123456"),
        ("pattern", "Refund", "your r e f u n d is here"),
    ],
)
def test_what_is_written_otherwise_is_still_on_the_list(kind: str, value: str, text: str) -> None:
    assert matched(one(kind, value), text) == "L1"


@pytest.mark.parametrize(
    ("kind", "value", "text"),
    [
        ("host", "evil.com", "看 notevil.com"),
        ("host", "evil.com", "看 evil.com.cn"),
        ("host", "a.evil.com", "看 evil.com"),
        ("contact", "13900001234", "电话 13900001235"),
        ("contact", "10001", "验证码 100012"),
        ("contact", "point", "appointment at nine"),
        ("signature", "青溪银行", "青溪银行的账单【云驿】"),
        ("signature", "青溪", "【青溪银行】您好"),
        ("pattern", "领红包", "晚上吃饭"),
    ],
)
def test_what_only_looks_alike_is_not(kind: str, value: str, text: str) -> None:
    assert matched(one(kind, value), text) is None


@pytest.mark.parametrize(
    ("value", "sender", "found"),
    [
        ("+8613900001234", "13900001234", True),
        ("13900001234", "0086 139-0000-1234", True),
        ("13900001234", "8613900001234", True),
        ("ACME Bank", "acmebank", True),
        ("10690001", "10690001", True),
        ("10690001", "106900011", False),
        ("10690001*", "106900011", True),
        ("1069*", "106900011", True),
        ("1069*", "1068", False),
        ("10690001*", "1069000", False),
    ],
)
def test_senders_are_compared_in_one_form_and_a_star_stands_for_all_that_begin_so(
    value: str, sender: str, found: bool
) -> None:
    assert (matched(one("sender", value), sender=sender) == "L1") is found


def test_an_entry_that_allows_needs_the_account_the_sender_and_the_tenant() -> None:
    lists = one("link", "acme/1069*", ALLOW, tenant="t1")
    assert matched(lists, sender="10690001", account="acme", tenant="t1") == "L1"
    assert matched(lists, sender="10690001", account="acme", tenant="t2") is None
    assert matched(lists, sender="10690001", account="acme") is None
    assert matched(lists, sender="10690001", tenant="t1") is None
    assert matched(lists, sender="10680001", account="acme", tenant="t1") is None
    assert matched(lists, sender="10690001", account="ACME", tenant="t1") is None
    everybodys = one("link", "acme/10690001", ALLOW)
    assert matched(everybodys, sender="10690001", account="acme") == "L1"
    assert matched(everybodys, sender="10690001", account="acme", tenant="t1") is None
    assert matched(one("link", "acme"), account="acme", tenant="t1") == "L1"


@pytest.mark.parametrize("kind", [kind for kind in ListKind if kind is not ListKind.LINK])
@given(value=st.text(min_size=1, max_size=40))
def test_nothing_that_can_be_forged_may_allow(kind: ListKind, value: str) -> None:
    with pytest.raises(Fault):
        key_of(entry(kind, value, ALLOW))


def test_allow_wins_over_block_and_block_over_review() -> None:
    lists = lists_of(
        [
            ("R", entry("signature", "云杉百货", REVIEW)),
            ("B", entry("host", "evil.com")),
            ("A", entry("link", "acme/10690001", ALLOW)),
        ]
    )
    text = "【云杉百货】看 evil.com"
    assert matched(lists, text, sender="10690001", account="acme") == "A"
    assert matched(lists, text, sender="10690001") == "B"
    assert matched(lists, "【云杉百货】您好") == "R"


def test_an_entry_counts_through_its_last_day_and_no_longer() -> None:
    lists = one("sender", "10690001", expires="2026-12-31")
    last_day_s = 1_798_761_599
    assert matched(lists, sender="10690001", now_s=last_day_s) == "L1"
    assert matched(lists, sender="10690001", now_s=last_day_s + 1) is None
    assert (lists.expired(last_day_s), lists.expired(last_day_s + 1)) == (0, 1)
    pattern = one("pattern", "领奖", expires="2026-12-31T00:00:00+08:00")
    assert matched(pattern, "去领奖", now_s=NOON_S) == "L1"
    assert matched(pattern, "去领奖", now_s=last_day_s) is None


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        (entry("sender", "10690001", ALLOW), "can be forged"),
        (entry("link", "acme", ALLOW), "ACCOUNT/SENDER"),
        (entry("link", "/10690001"), "an account, or"),
        (entry("host", "com.cn"), "anybody can have a host"),
        (entry("host", "co.uk"), "anybody can have a host"),
        (entry("host", "github.io"), "anybody can have a host"),
        (entry("host", "top"), "has a dot"),
        (entry("host", "*.evil.com"), "write the host alone"),
        (entry("host", "evil..com"), "no host"),
        (entry("contact", "1234"), "a contact is"),
        (entry("contact", "加我"), "a contact is"),
        (entry("pattern", "(a"), "RE2 does not take"),
        (entry("pattern", "(?=a)b"), "RE2 does not take"),
        (entry("pattern", "a*"), "every text"),
        (entry("pattern", "((a{1000}){1000}){1000}"), "RE2 does not take"),
        (entry("pattern", "[一-龥]{900}x"), "too large"),
        (entry("signature", "【】"), "2 to 30"),
        (entry("sender", "1*"), "behind them"),
        (entry("sender", "1*0690001"), "behind them"),
        (entry("sender", ""), "empty"),
        (entry("sender", "x" * 301), "longer than"),
        (entry("sender", "10690001", expires="31.12.2026"), "no date"),
        (entry("sender", "10690001", expires="9999-12-31T23:59:59"), "this century"),
        (entry("sender", "10690001", created="2026-12-31", expires="2026-01-01"), "before it was created"),
    ],
)
def test_a_bad_entry_says_what_to_write_instead_and_not_its_number(bad: ListEntry, said: str) -> None:
    with pytest.raises(Fault, match=said) as caught:
        key_of(bad)
    assert "10690001" not in str(caught.value)


def test_more_patterns_than_re2_may_hold_are_refused() -> None:
    with pytest.raises(Fault, match=r"more than 1,000 patterns"):
        lists_of((f"P{n}", entry("pattern", f"spam{n}")) for n in range(1001))


_IDS = st.sampled_from(["A", "B", "C", "D"])
_ENTRIES = st.builds(
    entry,
    st.sampled_from(["sender", "contact", "pattern"]),
    st.sampled_from(["100861", "106900", "106901"]),
    st.sampled_from([BLOCK, REVIEW]),
)


@settings(max_examples=200)
@given(st.lists(st.tuples(_IDS, st.none() | _ENTRIES), max_size=12), st.integers(0, 12), st.booleans())
def test_changed_lists_are_the_lists_that_were_built_so(
    changes: list[tuple[str, ListEntry | None]], first: int, settled: bool
) -> None:
    """The truth is a dictionary by id, the last said last; of several that match, the last one counts."""
    truth: dict[str, ListEntry] = {}
    for identity, said in changes:
        truth.pop(identity, None)
        if said is not None:
            truth[identity] = said
    builder = ListBuilder()
    for identity, said in changes[:first]:
        if said is None:
            builder.remove(identity)
        else:
            builder.add(identity, said)
    lists = builder.build()
    for change in changes[first:]:
        lists, faults = lists.changed([change])
        assert not faults
    lists = lists.settled() if settled else lists
    for number in ("100861", "106900", "106901"):
        expected = [held for held, said in truth.items() if said.kind is ListKind.SENDER and said.value == number]
        assert matched(lists, sender=number) == (expected[-1] if expected else None)
    assert len(lists) == len(truth)


def test_many_changes_are_worked_into_the_arrays_and_nothing_is_lost() -> None:
    lists = lists_of((f"A{n}", entry("sender", f"1069{n:06}")) for n in range(1000))
    added: list[tuple[str, ListEntry | None]] = [
        (f"B{n}", entry("sender", f"1068{n:06}")) for n in range(MAX_DELTA + 10)
    ]
    lists, _ = lists.changed(added)
    lists, _ = lists.changed([(f"A{n}", None) for n in range(500)])
    assert len(lists) == 500 + MAX_DELTA + 10
    assert matched(lists, sender="1069000499") is None
    assert matched(lists, sender="1069000500") == "A500"
    assert matched(lists, sender=f"1068{MAX_DELTA:06}") == f"B{MAX_DELTA}"


@given(st.text(max_size=60), st.text(max_size=20), st.text(max_size=20))
def test_any_message_can_be_looked_up(text: str, sender: str, account: str) -> None:
    lists = lists_of(
        [
            (kind, entry(kind, value))
            for kind, value in [
                ("sender", "1069*"), ("link", "acme"), ("signature", "青溪"), ("host", "evil.com"),
                ("contact", "fp00061"), ("pattern", "领奖"),
            ]
        ]
    )  # fmt: skip
    matched(lists, text, sender=sender, account=account)


_PIECES = st.sampled_from(
    ["看", "http://evil.com/x", "evil点com", "evil . com", "ｅｖｉｌ．ｃｏｍ", "a@evil.com", "10.0.0.9", "t.cn/Ab3",
     "139 0000 1234", "壹叁玖零零零零", "fp00061", "加微", "123456", "。", "-",
     " ", "e\u200bvil", ".com", "www.", "1.5元", "."]
)  # fmt: skip


@given(st.lists(_PIECES | st.text(max_size=3), max_size=8).map("".join))
@settings(max_examples=300, deadline=None)
def test_where_no_contact_is_listed_the_same_hosts_are_found(text: str) -> None:
    normalised = normalize_batch([text])
    [alone], [beside] = (things_of([text], normalised, contacts=contacts) for contacts in (False, True))
    assert alone.hosts == beside.hosts
