"""Do `replay` and `drift` tell what would change and what moved, masked, and publish nothing?"""

import json
import shutil
from pathlib import Path

import msgspec
import pytest
from rich.cells import cell_len

from spamguard.backends import artifacts, registry
from spamguard.backends.memory import MemoryBroker
from spamguard.config import load
from spamguard.core.codec import encode
from spamguard.core.decide import Request
from spamguard.service import streams
from spamguard.service.judging import offline_filter
from spamguard.service.replaying import Replay
from spamguard.stream.recordings import Recordings
from spamguard.types import Message, Outgoing, Partition, ReviewCopy
from tests.cast import INVOICE, LOTTERY, MUM
from tests.conftest import SAMPLES
from tests.unit.cli.conftest import Spamguard


@pytest.fixture
def folder(elsewhere: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the small model, and one that blocks from a far lower score."""
    root = elsewhere / "models"
    shutil.copytree(tiny_model, root / "small" / "1.0")
    manifest, arrays = artifacts.read(tiny_model)
    stricter = msgspec.structs.replace(manifest, version="2.0", ham_cutoff=0.1, spam_cutoff=0.2)
    artifacts.write(root / "small" / "2.0", stricter, artifacts.pack(arrays))
    registry.write_alias(root, "champion", "small/1.0")
    monkeypatch.delenv("SPAMGUARD_MODEL")
    monkeypatch.setenv("SPAMGUARD_MODELS", str(root))
    return root


@pytest.fixture
def recorded(elsewhere: Path) -> Path:
    """The samples as recorded messages, one line of which holds nothing."""
    path = elsewhere / "recorded.jsonl"
    path.write_bytes((SAMPLES / "messages.jsonl").read_bytes() + b"no message\n\n")
    return path


def test_a_replay_shows_newly_blocked_messages_first_with_their_numbers_covered(
    spamguard: Spamguard, folder: Path, recorded: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended = spamguard("replay", str(recorded), "--model", "small/2.0", "--json", "--limit", "500")
    assert (ended.code, ended.err) == (0, "")
    found = json.loads(ended.out)
    assert found["unreadable"] == 1
    assert found["blocked"]["after"] > found["blocked"]["before"]
    turns = [change["turn"] for change in found["changes"]]
    assert turns[0] == "newly blocked" and turns == sorted(turns)
    assert {change["before"]["model"] for change in found["changes"]} == {"small/1.0"}
    assert {change["after"]["model"] for change in found["changes"]} == {"small/2.0"}
    assert "13900" not in ended.out and "1390000" not in ended.out
    table = spamguard("replay", str(recorded), "--model", "small/2.0", "--limit", "3").out
    assert "newly blocked" in table and "--limit shows more" in table
    monkeypatch.setenv("COLUMNS", "80")
    narrow = spamguard("replay", str(recorded), "--model", "small/2.0", "--limit", "3")
    assert "newly blocked" in narrow.out and max(map(cell_len, narrow.lines)) <= 80
    assert registry.read_aliases(folder) == {"champion": "small/1.0"}
    same = json.loads(spamguard("replay", str(recorded), "--json").out)
    assert same["turns"] == {}


def test_changes_that_are_alike_are_kept_from_batches_of_any_size(folder: Path, recorded: Path) -> None:
    before, after = (
        offline_filter(load({"model": model}, environ={"SPAMGUARD_MODELS": str(folder)}))
        for model in ("small/1.0", "small/2.0")
    )
    records = [record for batch in Recordings().of_files([recorded]) for record in batch]
    once, thrice = Replay(after, before), Replay(after, before)
    once.take(records)
    for record in records:  # the second of two, and the one alone behind them, are the same change
        thrice.take([record, record])
        thrice.take([record])
    assert len(thrice.shown()) == 3 * len(once.shown()) > 0


def test_a_topic_is_replayed_without_a_group_against_what_was_decided_then(
    spamguard: Spamguard, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = load(environ={"SPAMGUARD_MODELS": str(folder)})
    broker = streams.memory_broker(settings, partitions=2)
    engine = offline_filter(settings)
    messages = [Message(message_id=f"m{n}", text=text) for n, text in enumerate((MUM, INVOICE, LOTTERY))]
    for message, decision in zip(messages, engine.judge_now([Request(m, "", 0) for m in messages]), strict=True):
        turned = msgspec.structs.replace(decision, would_be="allow", action="allow", model="before/1")
        copy = ReviewCopy(decision=turned, message=message, source="sms.inbound-0@0")
        broker.append(Partition("sms.review", 0), [Outgoing(key=b"k", value=encode(copy))])
        broker.append(Partition("sms.inbound", 1), [Outgoing(key=b"k", value=encode(message))])
    monkeypatch.setattr(streams, "kafka", lambda settings: broker)
    sizes = {topic: len(broker.records(topic)) for topic in ("sms.review", "sms.inbound", "sms.decisions")}
    found = json.loads(spamguard("replay", "--topic", "review", "--json").out)
    assert (found["messages"], found["blocked"]) == (3, {"before": 0, "after": 2})
    assert {change["before"]["model"] for change in found["changes"]} == {"before/1"}
    found = json.loads(spamguard("replay", "--topic", "inbound", "--since", "1h", "--before", "champion", "--json").out)
    assert (found["messages"], found["turns"]) == (3, {})
    assert {topic: len(broker.records(topic)) for topic in sizes} == sizes
    assert isinstance(broker, MemoryBroker)


def test_a_replay_wants_files_or_a_topic_and_says_so(spamguard: Spamguard, folder: Path, recorded: Path) -> None:
    assert spamguard("replay").code == 2
    assert spamguard("replay", str(recorded), "--topic", "review").code == 2
    assert spamguard("replay", "nowhere.jsonl").code == 6


def traffic(path: Path, texts: list[str], times: int) -> Path:
    lines = [
        json.dumps({"message_id": f"{path.stem}-{n}", "text": text}, ensure_ascii=False)
        for n, text in enumerate(texts * times)
    ]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def test_drift_names_the_feature_and_the_words_and_ends_with_one(
    spamguard: Spamguard, folder: Path, elsewhere: Path
) -> None:
    texts = [json.loads(line)["text"] for line in (SAMPLES / "labelled.jsonl").read_text("utf-8").splitlines()]
    calm = traffic(elsewhere / "calm.jsonl", texts, 3)
    said = spamguard("drift", str(calm))
    assert said.code == 6  # the small model keeps no reference
    assert "--write-reference" in said.err
    assert spamguard("drift", str(calm), "--write-reference", "calm.json").code == 0
    same = spamguard("drift", str(calm), "--reference", "calm.json")
    assert same.code == 0
    assert "moved" not in same.out.replace("what moved most", "")
    few = spamguard("drift", str(traffic(elsewhere / "few.jsonl", texts[:9], 1)), "--reference", "calm.json")
    assert (few.code, few.err) == (0, "")
    assert [line.partition(":")[0] for line in few.lines[1:]] == ["Too few to compare"]
    strange = traffic(elsewhere / "strange.jsonl", [*texts, *["代开发票加微信领取发票优惠"] * 300], 3)
    found = spamguard("drift", str(strange), "--reference", "calm.json")
    assert found.code == 1
    assert any("moved" in line and "length" in line for line in found.lines)
    assert any(line.startswith("↑") and "发票" in line for line in found.lines)
    figures = json.loads(spamguard("drift", str(strange), "--calm", str(calm), "--json").out)
    assert figures["features"]["length"]["psi"] > 0.25


def test_labels_that_come_later_say_how_much_of_what_is_blocked_is_spam(
    spamguard: Spamguard, folder: Path, elsewhere: Path
) -> None:
    messages = traffic(elsewhere / "day.jsonl", [INVOICE, LOTTERY, MUM], 1)
    labels = elsewhere / "labels.jsonl"
    said = {"day-0": "spam", "day-1": "ham", "day-2": "ham"}
    labels.write_text("".join(json.dumps({"message_id": k, "label": v}) + "\n" for k, v in said.items()))
    arguments = ("drift", str(messages), "--calm", str(messages), "--labels", str(labels))
    found = json.loads(spamguard(*arguments, "--json").out)["precision"]
    assert (found["labelled"], found["blocked"], found["right"], found["missed"]) == (3, 2, 1, 0)
    assert "precision 50.00%" in spamguard(*arguments).out
    labels.write_text("[]\n")
    assert spamguard(*arguments).code == 6


def test_a_file_without_a_message_is_an_error_and_not_a_calm_result(spamguard: Spamguard, elsewhere: Path) -> None:
    (elsewhere / "table.csv").write_text("text,label\nhello,ham\n")
    (elsewhere / "empty.jsonl").touch()
    (elsewhere / "policy.toml").write_text('preset = "strict"\n')
    for name in ("table.csv", "empty.jsonl"):
        for arguments in (["replay", name], ["drift", name], ["policy", "test", "policy.toml", "--against", name]):
            ended = spamguard(*arguments)
            assert (ended.code, ended.out) == (6, ""), arguments
            assert "one JSON object a line" in ended.err
