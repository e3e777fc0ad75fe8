"""Does `config show` tell every setting and its source, and no secret?"""

import json
from pathlib import Path

import pytest

from spamguard.cli import options
from spamguard.config import PREFIX, Settings
from tests.unit.cli.conftest import Spamguard

SECRET = "hunter2-and-more"


def test_every_setting_is_shown_with_its_value_and_its_source(
    spamguard: Spamguard, elsewhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (elsewhere / "spamguard.toml").write_text('group = "night"\nmax_records = 7\n')
    monkeypatch.setenv("SPAMGUARD_MAX_RECORDS", "8")
    shown = json.loads(spamguard("config", "show", "mode=observe", "--json").out)["settings"]
    assert [one["name"] for one in shown] == list(Settings.model_fields)
    by_name = {one["name"]: (one["value"], one["from"]) for one in shown}
    assert by_name["group"] == ("night", "spamguard.toml")
    assert by_name["max_records"] == (8, "SPAMGUARD_MAX_RECORDS")
    assert by_name["mode"] == ("observe", "command line")
    assert by_name["brokers"] == ("127.0.0.1:9092", "default")
    assert all(one["description"] for one in shown)


@pytest.mark.parametrize("form", [(), ("--json",)])
def test_a_secret_is_covered(form: tuple[str, ...], spamguard: Spamguard, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPAMGUARD_SASL_PASSWORD", SECRET)
    ended = spamguard("config", "show", *form)
    assert ended.code == 0
    assert "••••" in ended.out
    assert SECRET not in ended.out
    assert "SPAMGUARD_SASL_PASSWORD" in ended.out


def test_a_secret_that_is_not_set_is_not_said_to_be(spamguard: Spamguard) -> None:
    shown = spamguard("config", "show").out
    assert "••••" not in shown and "sqlite:///spamguard-review.db" in shown


def test_the_password_of_a_databases_address_is_covered_and_nothing_else(spamguard: Spamguard) -> None:
    shown = spamguard("config", "show", "review_database=postgresql://ann:hun/ter2@db/review?password=hunter3").out
    assert "postgresql://ann:••••@db/review?••••" in shown
    assert "ter2" not in shown and "hunter3" not in shown


def test_a_setting_keeps_its_line_in_a_pipe(spamguard: Spamguard) -> None:
    lines = spamguard("config", "show").lines
    assert [line.split()[0] for line in lines[1:]] == list(Settings.model_fields)


@pytest.mark.parametrize(
    ("assignment", "sentence"),
    [
        ("gruop=x", "did you mean group?"),
        ("max_records=0", "greater than or equal to 1"),
        ("mode", "is not NAME=VALUE"),
    ],
)
def test_what_cannot_be_a_setting_is_said_in_a_sentence(assignment: str, sentence: str, spamguard: Spamguard) -> None:
    ended = spamguard("config", "show", assignment)
    assert (ended.code, ended.out) == (3, "")
    assert sentence in ended.err


def test_every_option_of_serve_names_its_default_and_its_variable(spamguard: Spamguard) -> None:
    text = " ".join(word.strip("│") for word in spamguard("serve", "--help").out.split())
    named = [name for name in Settings.model_fields if f"{PREFIX}{name.upper()}" in text]
    assert len(named) >= 12
    for name in named:
        default = Settings.model_fields[name].default
        assert f"(default {'none' if default is None else default};" in options.setting(name).help
