"""Is the contract in docs/contract what the program does, and is it valid for other people's tools?"""

import json
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest
from jsonschema import Draft202012Validator

from spamguard.contract import __main__ as renew
from spamguard.contract.channels import CHANNELS
from spamguard.contract.examples import EXAMPLES
from spamguard.contract.files import contract_files
from spamguard.contract.schemas import BOUNDS, BY_NAME, GROWING, VALUES, named, schema_of
from spamguard.contract.words import field_words, member_words
from spamguard.core.codec import decode_message, encode
from spamguard.core.decide import Request
from spamguard.engine.filter import LiveFilter
from spamguard.types import Message, Reason
from tests.cast import EVERYONE

FOLDER: Final = Path(__file__).parents[3] / "docs" / "contract"
TYPES: Final = named([value.of for value in VALUES])


def validator(name: str) -> Draft202012Validator:
    return Draft202012Validator(schema_of(BY_NAME[name]), format_checker=Draft202012Validator.FORMAT_CHECKER)


def load(name: str) -> Any:
    return json.loads((FOLDER / name).read_text(encoding="utf-8"))


def test_the_files_are_what_the_types_say() -> None:
    made = contract_files()
    there = {path.relative_to(FOLDER).as_posix() for path in FOLDER.rglob("*") if path.is_file()} - {"README.md"}
    assert there == made.keys(), "make contract"
    for name, text in made.items():
        assert (FOLDER / name).read_text(encoding="utf-8") == text, f"{name} is old: make contract"


def test_renewing_writes_all_and_removes_what_nothing_makes_any_more(tmp_path: Path) -> None:
    (tmp_path / "old.schema.json").write_text("{}")
    renew.main(tmp_path)
    assert {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()} == (
        contract_files().keys()
    )


@pytest.mark.parametrize("value", VALUES, ids=lambda value: str(value.name))
def test_each_schema_is_valid_and_its_examples_are_valid_under_it(value: Any) -> None:
    Draft202012Validator.check_schema(load(f"{value.name}.schema.json"))
    assert EXAMPLES[value.name]
    for name in EXAMPLES[value.name]:
        example = load(f"examples/{name}.json")
        validator(value.name).validate(example)
        assert msgspec.json.decode(json.dumps(example), type=value.of) == EXAMPLES[value.name][name]


def test_a_schema_refuses_what_is_wrong_and_lets_additions_pass() -> None:
    example = load("examples/message.json")
    assert validator("message").is_valid({**example, "a_field_of_next_year": 1})
    for wrong in ({"message_id": ""}, {"direction": "sideways"}, {"text": 7}, {"payload_hex": "4f6"}):
        assert not validator("message").is_valid({**example, **wrong}), wrong
    decision = load("examples/decision.json")
    assert validator("decision").is_valid({**decision, "reason": "a_reason_of_next_year"})
    assert not validator("decision").is_valid({**decision, "action": "perhaps"})


def test_every_field_and_word_of_the_contract_is_explained() -> None:
    for of in TYPES.values():
        if issubclass(of, msgspec.Struct):
            told = field_words(of)
            assert [field.name for field in msgspec.structs.fields(of) if field.name not in told] == [], of
    for growing in GROWING:
        assert all(member_words(growing).values()), growing
    assert len(member_words(Reason)) == len(Reason)


def test_every_bound_and_channel_belongs_to_something() -> None:
    for name, field in BOUNDS:
        assert field in {known.name for known in msgspec.structs.fields(TYPES[name])}
    assert CHANNELS.keys() == {value.name for value in VALUES if value.topic}


async def test_what_the_engine_says_is_valid_under_the_schema(live: LiveFilter) -> None:
    messages = [
        *(Message(message_id=f"m{number}", text=text) for number, text in enumerate(EVERYONE)),
        Message(message_id="binary", kind="binary"),
        decode_message(b'{"message_id": "broken", "text": 7}'),
    ]
    requests = [Request(message, "d", 0) for message in messages if isinstance(message, Message)]
    decisions = await live.judge(requests)
    assert len(decisions) == len(messages)
    for decision in decisions:
        validator("decision").validate(json.loads(encode(decision)))


def test_the_documents_refer_to_nothing_that_is_not_there() -> None:
    for name in ("asyncapi.json", "openapi.json"):
        document = load(name)
        for reference in references(document):
            place: Any = document
            for step in reference.removeprefix("#/").split("/"):
                place = place[step]


def references(value: Any) -> list[str]:
    if isinstance(value, dict):
        mine = [value["$ref"]] if isinstance(value.get("$ref"), str) else []
        return mine + [found for inner in value.values() for found in references(inner)]
    if isinstance(value, list):
        return [found for inner in value for found in references(inner)]
    return []


def test_the_asyncapi_document_names_every_topic_with_its_message() -> None:
    document = load("asyncapi.json")
    assert document["asyncapi"] == "3.0.0"
    for value in VALUES:
        if value.topic is None:
            continue
        channel = document["channels"][value.name]
        assert channel["address"] == value.topic
        assert list(channel["messages"]) == [value.of.__name__]
        used = [one for one in document["operations"].values() if one["channel"]["$ref"].endswith(f"/{value.name}")]
        assert used
        assert {one["action"] for one in used} <= {"send", "receive"}
        for message in (document["components"]["messages"][value.of.__name__],):
            for example in message["examples"]:
                validator(value.name).validate(example["payload"])
