"""Does every phrase exist in both languages, and do the clues stand where they stood?"""

import ast
import re
from enum import StrEnum
from importlib.resources import files
from pathlib import Path
from string import Formatter

import pytest

import spamguard.review
from spamguard.errors import Conflict, NotThere, ReviewInvalid
from spamguard.review.access import PERMISSIONS
from spamguard.review.entries import MATCHES
from spamguard.review.values import (
    AuditRow,
    CaseKind,
    CaseStatus,
    EntryStatus,
    Label,
    ListKind,
    Outcome,
    Role,
    Status,
    Why,
)
from spamguard.review.web import deeds, marks
from spamguard.review.web.doors import DOORS
from spamguard.review.web.visit import ours
from spamguard.review.web.words import LANGUAGES, catalogue, preferred, speaker, told
from spamguard.types import Action, Category, Clue, Reason
from tests.cast import CASINO, NASTY

REVIEW = Path(spamguard.review.__file__).parent
TEMPLATES = files("spamguard.review.web") / "templates"


def test_both_catalogues_say_the_same_things_with_the_same_values() -> None:
    chinese, english = catalogue("zh"), catalogue("en")
    assert list(chinese) == list(english)
    for key in english:
        values = [
            {name for _, name, _, _ in Formatter().parse(phrase) if name} for phrase in (chinese[key], english[key])
        ]
        assert values[0] == values[1], key
        assert chinese[key].strip() and english[key].strip()


def test_every_phrase_a_template_asks_for_exists() -> None:
    known = catalogue("en")
    for template in TEMPLATES.iterdir():
        text = template.read_text(encoding="utf-8")
        for key in re.findall(r"\bt\('([a-z0-9_.+]+)'[,)]", text):
            assert key in known, (template.name, key)
        for prefix in re.findall(r"\bt\('([a-z0-9_.]+\.)' ~", text):
            assert any(key.startswith(prefix) for key in known), (template.name, prefix)


@pytest.mark.parametrize(
    ("prefix", "words"),
    [
        ("action.", Action), ("action.long.", Action), ("reason.", Reason), ("said.", Reason), ("category.", Category),
        ("why.", Why), ("why.long.", Why), ("status.", Status), ("label.", Label), ("role.", Role), ("list.", ListKind),
        ("case.kind.", CaseKind), ("case.status.", CaseStatus), ("outcome.", Outcome), ("outcome.long.", Outcome),
        ("entry.status.", EntryStatus), ("done.verdict.", Label),
    ],
)  # fmt: skip
def test_every_word_of_a_kind_has_its_phrase(prefix: str, words: type[StrEnum]) -> None:
    assert not [word for word in words if f"{prefix}{word.value}" not in catalogue("zh")]


def test_every_way_to_match_a_list_entry_has_its_phrase() -> None:
    assert not [what for whats in MATCHES.values() for what in whats if f"what.{what}" not in catalogue("zh")]


def test_every_refusal_of_the_desk_has_a_key_whose_phrase_says_the_same() -> None:
    chinese, english = catalogue("zh"), catalogue("en")
    used = set()
    for path in (*REVIEW.glob("*.py"), *(REVIEW / "web").glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name)):
                continue
            if node.func.id not in ("ReviewInvalid", "Conflict"):
                continue
            given = {keyword.arg: keyword.value for keyword in node.keywords}
            key = given["key"]
            if isinstance(key, ast.JoinedStr):
                used |= {f"refusal.entry.value.{what}" for whats in MATCHES.values() for what in whats}
                continue
            assert isinstance(key, ast.Constant) and isinstance(key.value, str)
            name = f"refusal.{key.value}"
            used.add(name)
            wanted = {field for _, field, _, _ in Formatter().parse(chinese[name]) if field}
            assert wanted <= given.keys(), name
            detail = given["detail"]
            if isinstance(detail, ast.Constant) and name != "refusal.satisfaction":
                assert english[name] == detail.value
    assert used == {key for key in english if key.startswith("refusal.")}


def test_all_that_is_written_to_the_audit_log_has_its_phrase() -> None:
    actions, details = set(), set()
    for path in REVIEW.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
                continue
            owner = node.func.value
            if not (isinstance(owner, ast.Attribute) and owner.attr == "_audit" and node.func.attr in ("write", "saw")):
                continue
            action = node.args[2 if node.func.attr == "write" else 1]
            if isinstance(action, ast.JoinedStr):
                actions |= {f"entry.{status}" for status in (EntryStatus.ACTIVE, EntryStatus.REFUSED)}
            else:
                actions.add(ast.literal_eval(action))
            details |= {keyword.arg for keyword in node.keywords}
    assert len(actions) > 20
    phrases = catalogue("zh")
    assert not [action for action in actions if f"audit.action.{action}" not in phrases]
    assert not [name for name in details if f"audit.detail.{name}" not in phrases]
    unsaid = [key.removeprefix("audit.action.") for key in phrases if key.startswith("audit.action.")]
    assert not set(unsaid) - actions


def test_a_row_of_the_audit_log_reads_in_the_visitors_language_and_an_unknown_code_as_it_is() -> None:
    def row(who: str, action: str, target: str = "", **detail: object) -> AuditRow:
        return AuditRow(seq=1, at_ms=0, who=who, action=action, target=target, detail=detail, hash="")

    say = speaker("zh")
    assert deeds.told(say, row("ada", "people.add", "rui", role="reviewer")) == (
        "ada", "新增账号", "rui", (("角色", "复核员"),),
    )  # fmt: skip
    opened = deeds.told(say, row("ann", "case.open", "4111111111111111", kind="missing", linked=True))
    assert opened.details == (("种类", say("case.kind.missing")), ("已关联短信", "是"))
    assert deeds.told(say, row("?", "login.refused")).who == "未登录"
    assert deeds.told(say, row("lee", "figures.export", "model")).target == say("by.model")
    assert deeds.told(say, row("lee", "case.assign", "4111111111111111", to=None)).details == (("交给", "无"),)
    assert deeds.told(say, row("x", "item.melted", "i-1", warmth=3)) == ("x", "item.melted", "i-1", (("warmth", "3"),))


def test_a_refusal_is_said_in_the_visitors_language() -> None:
    refused = Conflict(detail="lin has decided it already", key="item.decided", by="lin")
    assert told(speaker("zh"), refused) == "没有办成：lin 已经裁定。"
    assert told(speaker("en"), refused) == "It was not done: lin has decided it already."
    assert (
        told(speaker("zh"), ReviewInvalid(detail="free text", key="category")) == "提交的内容不能照收：没有这个类别。"
    )
    assert told(speaker("zh"), NotThere(what="item")) == ""


@pytest.mark.parametrize(
    ("asked", "language"),
    [("zh-TW,zh;q=0.9,en;q=0.8", "zh"), ("de, en;q=0.5, zh;q=0.4", "en"), ("", "en"), ("zh;q=x, ,;", "en")],
)
def test_the_browser_says_which_language_is_read(asked: str, language: str) -> None:
    assert preferred(asked) == language
    assert language in LANGUAGES


def test_clues_mark_the_original_text_and_change_none_of_it() -> None:
    clues = [
        Clue(feature="娱乐城", start=4, end=7, pull=2.5),
        Clue(feature="城", start=6, end=9, pull=0.5),
        Clue(feature="behind the end", start=900, end=950, pull=1.0),
        Clue(feature="too long", start=len(CASINO) - 2, end=900, pull=-1.0),
        Clue(feature="backwards", start=9, end=3, pull=1.0),
    ]
    found = marks.pieces(CASINO, clues)
    assert "".join(piece.text for piece in found) == CASINO
    assert [(piece.text, piece.pull) for piece in found if piece.pull] == [
        (CASINO[4:6], 2.5), (CASINO[6:7], 3.0), (CASINO[7:9], 0.5), (CASINO[-2:], -1.0),
    ]  # fmt: skip


def test_what_cannot_be_seen_is_named_and_a_family_of_emoji_stays_one_picture() -> None:
    found = marks.pieces("加\u200b微\u202e信" + NASTY, [])
    named = [piece.hidden for piece in found if piece.hidden]
    assert named[:4] == ["U+200B", "U+202E", "U+D800", "U+0000"]
    assert "U+200D" not in named
    assert not [piece for piece in found if not piece.hidden and "\u202e" in piece.text]


def test_a_way_back_never_leads_to_another_site() -> None:
    assert ours("/queue?why=reported") == "/queue?why=reported"
    for path in (
        "//evil.example",
        "/\\evil.example",
        "https://evil.example/",
        "javascript:alert(1)",
        "/../etc",
        "/a\nb",
        "",
    ):
        assert ours(path) == ""


def test_every_door_names_a_permission_that_exists_and_those_without_one_are_known() -> None:
    assert all(door.permission in PERMISSIONS for door in DOORS if door.permission is not None)
    assert {door.path for door in DOORS if door.permission is None} == {
        "/", "/healthz", "/login", "/preferences", "/receipt", "/receipt/rate",
    }  # fmt: skip
    assert len({(door.method, door.path) for door in DOORS}) == len(DOORS)
