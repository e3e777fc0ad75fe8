"""Does `spamguard serve` decide on a real Kafka as `spamguard score` does without one, and does it end well?"""

import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import pytest

from spamguard.core.codec import decode_message
from spamguard.types import DeadReason, Outgoing
from tests.integration.serving import (
    Names,
    Serving,
    create,
    hostile,
    kafka_broker,
    lag,
    publish,
    read,
    spread,
    texts_of,
    varied,
)

PARTITIONS: Final = 6
#: What is of the moment, not of the message.
MOMENTARY: Final = ("timings", "decided_at", "late")
CLOSED_PORT: Final = "127.0.0.1:1"


def settings(names: Names, model: Path, address: str, **more: str) -> dict[str, str]:
    return {**names.environment(), "SPAMGUARD_MODEL": str(model), "SPAMGUARD_BROKERS": address, **more}


def lasting(decision: Mapping[str, Any]) -> dict[str, Any]:
    """Return a decision without what differs from run to run; a sum in another order differs in its last digits."""
    clues = [{**clue, "pull": round(clue["pull"], 9)} for clue in decision.get("clues", ())]
    return {name: value for name, value in decision.items() if name not in MOMENTARY} | {"clues": clues}


def scored(places: Mapping[int, list[Outgoing]], topic: str, model: Path, folder: Path) -> dict[tuple[int, int], Any]:
    """Return what `spamguard score --jsonl` says of each record, by partition and offset: the oracle."""
    found: dict[tuple[int, int], Any] = {}
    environment = {name: value for name, value in os.environ.items() if not name.startswith("SPAMGUARD_")}
    for number, messages in places.items():
        path = folder / f"{number}.jsonl"
        path.write_bytes(b"".join((message.value or b"") + b"\n" for message in messages))
        command = [sys.executable, "-m", "spamguard", "score", "--jsonl", str(path), "--model", str(model)]
        command += ["--topic", topic, "--partition", str(number)]
        result = subprocess.run(command, env=environment, cwd=folder, capture_output=True, check=False)
        assert result.returncode in (0, 1), result.stderr.decode()
        lines = result.stdout.splitlines()
        assert len(lines) == len(messages)
        found |= {(number, offset): json.loads(line) for offset, line in enumerate(lines)}
    return found


async def test_ten_thousand_messages_are_decided_as_offline_and_the_service_ends_in_good_order(
    kafka: str, topic: str, tiny_model: Path, tmp_path: Path
) -> None:
    broker, names = kafka_broker(kafka), Names.of(topic)
    places = spread([*varied(10_000), *hostile()], PARTITIONS)
    records = {(number, offset): m for number, messages in places.items() for offset, m in enumerate(messages)}
    expected = scored(places, names.inbound, tiny_model, tmp_path)
    dead = {place: answer["error"]["reason"] for place, answer in expected.items() if "error" in answer}
    judged = {place: answer for place, answer in expected.items() if place not in dead}
    blocked = [answer for answer in judged.values() if answer["action"] == "block"]
    assert len(judged) > 10_000
    assert set(dead.values()) == set(map(str, DeadReason))
    assert len(blocked) > 500

    await create(broker, names, partitions=PARTITIONS, review=3, dead_letter=2)
    await publish(broker, names.inbound, places)
    with Serving(tmp_path, settings(names, tiny_model, kafka)) as serving:
        serving.await_ready()
        decisions = await read(broker, names.decisions, len(judged))
        letters = await read(broker, names.dead_letter, len(dead))
        copies = await read(broker, names.review, sum(answer.get("review", False) for answer in judged.values()))
        assert serving.get("/readyz")[0] == serving.get("/healthz")[0] == 200

        # every decision, once, as the oracle's, under its record's key and in its partition
        found = {json.loads(record.value or b"")["decision_id"]: record for record in decisions}
        assert len(found) == len(decisions) == len(judged)
        for place, answer in judged.items():
            record = found[answer["decision_id"]]
            assert lasting(json.loads(record.value or b"")) == lasting(answer)
            assert (record.partition.number, record.key) == (place[0], records[place].key)
        for number in places:
            mine = [record for record in decisions if record.partition.number == number]
            order = [answer["decision_id"] for place, answer in sorted(judged.items()) if place[0] == number]
            assert [json.loads(record.value or b"")["decision_id"] for record in mine] == order

        # dead letters: reason and coordinates, and nothing of the text
        for letter in letters:
            fields = json.loads(letter.value or b"")
            assert fields.keys() == {
                "reason", "topic", "partition", "offset", "size_bytes", "seen_at_ms", "schema_version",
            }  # fmt: skip
            place = (fields["partition"], fields["offset"])
            assert (fields["topic"], fields["reason"]) == (names.inbound, dead.pop(place))
            assert fields["size_bytes"] == len(records[place].value or b"")
        assert not dead

        # every block had its copy on the review topic first, with the whole message
        reviewed = {json.loads(copy.value or b"")["decision"]["decision_id"]: copy for copy in copies}
        assert len(reviewed) == len(copies)
        for place, answer in judged.items():
            if answer["action"] == "block":
                copy = reviewed[answer["decision_id"]]
                assert copy.timestamp_ms <= found[answer["decision_id"]].timestamp_ms
                fields = json.loads(copy.value or b"")
                assert lasting(fields["decision"]) == lasting(answer)
                message = decode_message(records[place].value)
                assert not isinstance(message, DeadReason)
                assert (fields["message"]["message_id"], fields["message"].get("text")) == (
                    message.message_id,
                    message.text,
                )
                assert fields["source"] == f"{names.inbound}-{place[0]}@{place[1]}"

        # what the metrics count is what was published
        counted = Counter((answer["action"], answer["reason"]) for answer in judged.values())
        for (action, reason), number in counted.items():
            assert serving.total("spamguard_decisions_total", action=action, reason=reason) == number
        assert serving.total("spamguard_decisions_total") == len(judged)
        assert serving.total("spamguard_dead_letters_total") == len(letters)
        assert serving.total("spamguard_defective_total") == sum("defects" in answer for answer in judged.values())
        assert serving.total("spamguard_consume_to_publish_seconds_count") == len(judged)
        assert serving.total("spamguard_degraded_total") == serving.total("spamguard_broker_errors_total") == 0
        assert serving.total("spamguard_ready") == 1
        assert serving.total("spamguard_assigned_partitions") == PARTITIONS

        assert serving.terminate() == 0
        assert serving.sentences() == []
        log = serving.log
    assert await lag(broker, names) == 0
    for outgoing in records.values():
        for text in texts_of(outgoing.value or b""):
            assert len(text) < 6 or text not in log


async def test_in_observe_mode_everything_is_allowed_and_says_what_would_have_been(
    kafka: str, topic: str, tiny_model: Path, tmp_path: Path
) -> None:
    broker, names = kafka_broker(kafka), Names.of(topic)
    places = spread(varied(400), 2)
    expected = scored(places, names.inbound, tiny_model, tmp_path)
    blocks = {answer["decision_id"] for answer in expected.values() if answer["action"] == "block"}
    await create(broker, names, partitions=2)
    await publish(broker, names.inbound, places)
    with Serving(tmp_path, settings(names, tiny_model, kafka, SPAMGUARD_MODE="observe")) as serving:
        serving.await_ready()
        decisions = [json.loads(record.value or b"") for record in await read(broker, names.decisions, 400)]
        assert serving.total("spamguard_enforcing") == 0
        assert serving.terminate() == 0
    assert {decision["action"] for decision in decisions} == {"allow"}
    would_be = {decision["decision_id"] for decision in decisions if decision["would_be"] == "block"}
    assert would_be == blocks != set()
    assert {decision["reason"] for decision in decisions if decision["decision_id"] in blocks} == {"observed"}


async def test_a_second_worker_takes_its_share_and_the_first_one_all_when_it_leaves(
    kafka: str, topic: str, tiny_model: Path, tmp_path: Path
) -> None:
    broker, names = kafka_broker(kafka), Names.of(topic)
    await create(broker, names, partitions=4)
    folders = tmp_path / "first", tmp_path / "second"
    for folder in folders:
        folder.mkdir()
    environment = settings(names, tiny_model, kafka, SPAMGUARD_SESSION_TIMEOUT_S="6")
    with Serving(folders[0], environment) as first, Serving(folders[1], environment) as second:
        first.await_ready()
        second.await_ready()
        messages = varied(2_000)
        await publish(broker, names.inbound, spread(messages[:1000], 4))
        await read(broker, names.decisions, 1000)
        assert first.total("spamguard_assigned_partitions") == second.total("spamguard_assigned_partitions") == 2
        assert second.terminate() == 0
        await publish(broker, names.inbound, spread(messages[1000:], 4))
        decisions = [json.loads(record.value or b"") for record in await read(broker, names.decisions, 2000)]
        assert first.terminate() == 0
    assert {decision["message_id"] for decision in decisions} == {f"m-{number:05}" for number in range(2000)}
    assert await lag(broker, names) == 0


def refused(folder: Path, environment: Mapping[str, str]) -> tuple[int, str]:
    """Return exit code and sentence of a service that cannot start."""
    with Serving(folder, environment) as serving:
        code = serving.process.wait(30)
        (sentence,) = serving.sentences()
        assert "Traceback" not in serving.log
    return code, sentence


def test_nobody_at_the_brokers_address_is_said_in_a_sentence(topic: str, tiny_model: Path, tmp_path: Path) -> None:
    code, sentence = refused(tmp_path, settings(Names.of(topic), tiny_model, CLOSED_PORT))
    assert code == 5
    assert CLOSED_PORT in sentence
    assert "SPAMGUARD_BROKERS" in sentence


async def test_missing_topics_are_named_with_the_command_that_creates_them(
    kafka: str, topic: str, tiny_model: Path, tmp_path: Path
) -> None:
    names = Names.of(topic)
    code, sentence = refused(tmp_path, settings(names, tiny_model, kafka))
    assert code == 5
    assert all(f"{name} does not exist" in sentence for name in names[:4])
    assert "spamguard check --create-topics" in sentence


async def test_too_few_partitions_for_decisions_are_told_with_both_numbers(
    kafka: str, topic: str, tiny_model: Path, tmp_path: Path
) -> None:
    names = Names.of(topic)
    await create(kafka_broker(kafka), names, partitions=6, decisions=2)
    code, sentence = refused(tmp_path, settings(names, tiny_model, kafka))
    assert code == 5
    assert f"{names.decisions} has 2 partitions and {names.inbound} has 6" in sentence


@pytest.mark.parametrize("file", ["weights.npz", "vocabulary.txt"])
def test_a_tampered_model_is_refused_before_any_broker_is_asked(
    topic: str, tiny_model: Path, tmp_path: Path, file: str
) -> None:
    tampered = tmp_path / "tampered"
    shutil.copytree(tiny_model, tampered)
    content = bytearray((tampered / file).read_bytes())
    content[len(content) // 2] ^= 1
    (tampered / file).write_bytes(content)
    code, sentence = refused(tmp_path, settings(Names.of(topic), tampered, CLOSED_PORT))
    assert code == 4
    assert file in sentence
    assert "SHA-256" in sentence


def test_a_missing_model_is_said_in_a_sentence(topic: str, tmp_path: Path) -> None:
    code, sentence = refused(tmp_path, settings(Names.of(topic), tmp_path / "nowhere", CLOSED_PORT))
    assert code == 4
    assert "nowhere" in sentence


def test_a_misspelt_setting_is_named_with_the_one_that_was_meant(topic: str, tiny_model: Path, tmp_path: Path) -> None:
    environment = settings(Names.of(topic), tiny_model, CLOSED_PORT, SPAMGUARD_MAX_RECORD="10")
    code, sentence = refused(tmp_path, environment)
    assert code == 3
    assert "SPAMGUARD_MAX_RECORD" in sentence
    assert "did you mean max_records?" in sentence


def test_a_misspelt_setting_in_a_file_is_named_with_the_file(topic: str, tiny_model: Path, tmp_path: Path) -> None:
    (tmp_path / "spamguard.toml").write_text('inbound_topics = "x"\n')
    code, sentence = refused(tmp_path, settings(Names.of(topic), tiny_model, CLOSED_PORT))
    assert code == 3
    assert "spamguard.toml" in sentence
    assert "inbound_topic" in sentence


def test_a_taken_metrics_port_is_said_in_a_sentence(topic: str, tiny_model: Path, tmp_path: Path) -> None:
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        environment = settings(Names.of(topic), tiny_model, CLOSED_PORT, SPAMGUARD_METRICS_PORT=port)
        code, sentence = refused(tmp_path, environment)
    assert code == 3
    assert port in sentence
