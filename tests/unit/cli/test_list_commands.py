"""Do the commands around lists write what workers follow, refuse what breaks a rule, and cover numbers?"""

from pathlib import Path

import pytest

from spamguard.backends.memory import MemoryBroker
from spamguard.service import streams
from tests.unit.cli.conftest import Spamguard

NUMBER = "13900001234"


@pytest.fixture(autouse=True)
def broker(monkeypatch: pytest.MonkeyPatch) -> MemoryBroker:
    broker = MemoryBroker({"sms.lists": 1})
    monkeypatch.setattr(streams, "kafka", lambda settings: broker)
    return broker


def test_an_entry_is_added_found_however_it_is_written_and_removed(spamguard: Spamguard, broker: MemoryBroker) -> None:
    added = spamguard("lists", "add", "sender", f"+86{NUMBER}", "--reason", "fraud calls", "--who", "Ana")
    assert added.code == 0
    identity = added.out.split()[0]
    assert NUMBER not in added.out
    found = spamguard("lists", "find", "139-0000-1234")
    assert found.code == 0
    assert all(word in found.out for word in (identity, "block", "fraud calls", "Ana"))
    assert NUMBER not in found.out
    assert NUMBER in spamguard("lists", "find", "--show-numbers").out
    assert spamguard("lists", "find", "13900001235").code == 1
    again = spamguard("lists", "add", "sender", NUMBER, "--action", "review", "--reason", "not sure")
    assert again.out.startswith(f"{identity} changed")
    assert spamguard("lists", "remove", identity, "--reason", "a mistake").code == 0
    assert spamguard("lists", "find").code == 1
    last = broker.records("sms.lists")[-1]
    assert last.key == identity.encode() and b"a mistake" in (last.value or b"")
    assert spamguard("lists", "remove", identity, "--reason", "again").code == 6


def test_what_breaks_a_rule_is_refused_before_anything_is_written(spamguard: Spamguard, broker: MemoryBroker) -> None:
    for arguments, said in (
        (("sender", NUMBER, "--action", "allow"), "can be forged"),
        (("signature", "青溪银行", "--action", "allow"), "can be forged"),
        (("host", "com.cn"), "anybody can have a host"),
        (("sender", NUMBER, "--expires", "2020-01-01"), "expired already"),
    ):
        refused = spamguard("lists", "add", *arguments, "--reason", "why")
        assert refused.code == 6 and said in refused.err and NUMBER not in refused.err
    assert spamguard("lists", "add", "host", "evil.example").code == 2
    assert spamguard("lists", "add", "link", "acme/1069001", "--action", "allow", "--reason", "codes").code == 0
    contrary = spamguard("lists", "add", "link", "acme/1069001", "--reason", "why")
    assert contrary.code == 6 and "spamguard lists remove" in contrary.err
    assert len(broker.records("sms.lists")) == 1


def test_an_import_is_a_dry_run_first_and_nothing_the_second_time(
    spamguard: Spamguard, broker: MemoryBroker, tmp_path: Path
) -> None:
    file = tmp_path / "lists.csv"
    file.write_text("kind,value,action\nhost,evil.example,block\nsender,10690001,block\n", encoding="utf-8")
    dry = spamguard("lists", "import", str(file))
    assert "Would be 2 added" in dry.out and broker.records("sms.lists") == []
    assert "2 added" in spamguard("lists", "import", str(file), "--yes").out
    assert "2 as they are" in spamguard("lists", "import", str(file), "--yes").out
    assert len(broker.records("sms.lists")) == 2
    exported = spamguard("lists", "export").out
    (tmp_path / "back.csv").write_text(exported, encoding="utf-8")
    assert "2 as they are" in spamguard("lists", "import", str(tmp_path / "back.csv")).out
    file.write_text("kind,value,action\nhost,evil.example,review\n", encoding="utf-8")
    assert "0 added, 1 changed, 1 removed" in spamguard("lists", "import", str(file), "--replace").out
    file.write_text("kind,value,action\nhost,evil.example,allow\n", encoding="utf-8")
    refused = spamguard("lists", "import", str(file), "--yes")
    assert refused.code == 6 and "lists.csv:2" in refused.err


def test_a_file_needs_no_broker_and_keeps_its_comments(
    spamguard: Spamguard, broker: MemoryBroker, tmp_path: Path
) -> None:
    broker.logs.clear()
    file = tmp_path / "lists.csv"
    assert spamguard("lists", "add", "host", "evil.example", "--reason", "why", "--file", str(file)).code == 0
    file.write_text("# ours\n" + file.read_text(encoding="utf-8"), encoding="utf-8")
    assert spamguard("lists", "add", "contact", "fp00061", "--reason", "why", "--file", str(file)).code == 0
    assert spamguard("lists", "check", str(file)).code == 0
    found = spamguard("lists", "find", "加薇信 FP 00061 fp00061", "--file", str(file))
    identity = found.lines[1].split()[0]
    assert spamguard("lists", "remove", identity, "--reason", "why", "--file", str(file)).code == 0
    text = file.read_text(encoding="utf-8")
    assert text.startswith("# ours\n") and "evil.example" in text and "fp00061" not in text
    judged = spamguard("score", "看 www.evil.example 好吗")
    assert "list_block" not in judged.out
    assert spamguard("lists", "find").code == 5


def test_a_check_names_every_fault_like_a_compiler_does(spamguard: Spamguard, tmp_path: Path) -> None:
    file = tmp_path / "lists.csv"
    file.write_text(f"kind,value,action\nsender,{NUMBER},allow\nhost,top,block\n", encoding="utf-8")
    ended = spamguard("lists", "check", str(file))
    assert ended.code == 6
    assert [line.partition(": ")[0] for line in ended.lines[:2]] == [f"{file}:2", f"{file}:3"]
    assert NUMBER not in ended.out
    file.write_bytes(b"kind,value,action\nsender,\xff\xfe,block\n")
    assert "UTF-8" in spamguard("lists", "check", str(file)).err
    assert spamguard("lists", "check", "nowhere.csv").code == 6


def test_lists_count_where_texts_are_judged_without_a_broker(
    spamguard: Spamguard, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "lists.csv"
    file.write_text("kind,value,action\nhost,evil.com,block\n", encoding="utf-8")
    monkeypatch.setenv("SPAMGUARD_LISTS", str(file))
    assert "list_block" in spamguard("score", "看 evil点com 好吗").out
