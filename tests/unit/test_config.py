"""Where does each setting come from, and is anything that cannot be meant said in words?"""

from pathlib import Path
from typing import Any

import pydantic
import pytest

from spamguard.config import Settings, gather, load
from spamguard.errors import ConfigError
from spamguard.types import Mode

SECRET = "hunter2-and-more"


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_every_setting_is_described_and_has_a_default() -> None:
    for name, field in Settings.model_fields.items():
        assert field.description and len(field.description) > 10, name
        assert not field.is_required(), name
        assert getattr(load(environ={}), name) == field.default, name


def test_the_command_line_goes_before_the_environment_before_the_file_before_the_default(elsewhere: Path) -> None:
    (elsewhere / "spamguard.toml").write_text('group = "file"\nmember = "file"\nmodel = "file"\n')
    environ = {"SPAMGUARD_GROUP": "environment", "SPAMGUARD_MEMBER": "environment", "PATH": "/bin"}
    settings = load({"group": "command", "member": None}, environ=environ)
    assert (settings.group, settings.member, settings.model) == ("command", "environment", "file")
    assert settings.inbound_topic == "sms.inbound"
    assert {name: origin for name, (_, origin) in gather({"group": "c"}, environ=environ).items()} == {
        "group": "command line",
        "member": "SPAMGUARD_MEMBER",
        "model": "spamguard.toml",
    }


def test_a_named_file_goes_before_the_one_in_the_working_folder(elsewhere: Path) -> None:
    (elsewhere / "spamguard.toml").write_text('group = "here"\n')
    (elsewhere / "there.toml").write_text('mode = "observe"\nmax_records = 7\n')
    settings = load(environ={"SPAMGUARD_CONFIG": "there.toml"})
    assert (settings.group, settings.mode, settings.max_records) == ("spamguard", Mode.OBSERVE, 7)


@pytest.mark.parametrize(
    ("overrides", "environ", "said"),
    [
        ({}, {"SPAMGUARD_GRUOP": "x"}, "SPAMGUARD_GRUOP sets 'gruop'.*did you mean group?"),
        ({"modle": "x"}, {}, "command line sets 'modle'.*did you mean model?"),
        ({}, {"SPAMGUARD_ZZZZZZZZ": "x"}, "SPAMGUARD_ZZZZZZZZ sets 'zzzzzzzz', which is not a setting\\."),
        ({}, {"SPAMGUARD_MAX_RECORDS": "many"}, "max_records \\(from SPAMGUARD_MAX_RECORDS\\): .*integer"),
        (
            {},
            {"SPAMGUARD_MAX_RECORDS": "0"},
            "max_records \\(from SPAMGUARD_MAX_RECORDS\\): .*greater than or equal to 1",
        ),
        ({"metrics_port": 70_000}, {}, "metrics_port \\(from command line\\): .*65535"),
        ({"late_after_s": 0}, {}, "late_after_s"),
        *(
            ({"brokers": given}, {}, "brokers \\(from command line\\): brokers are written host:port")
            for given in ("", "a:1,", "a:99999", "a:0", "a:b", "kafka://a:9092", "::1:9092")
        ),
        ({"mode": "watch"}, {}, "mode .*'enforce' or 'observe'"),
        ({"sasl_mechanism": "plain"}, {}, "sasl_mechanism .*'PLAIN'"),
        ({}, {"SPAMGUARD_CONFIG": "nowhere.toml"}, "nowhere.toml, which does not exist"),
    ],
)
def test_what_cannot_be_meant_is_said_with_its_source_and_a_hint(
    overrides: dict[str, Any], environ: dict[str, str], said: str
) -> None:
    with pytest.raises(ConfigError, match=said) as caught:
        load(overrides, environ=environ)
    assert "spamguard config show" in str(caught.value)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"group = ", "not readable TOML"),
        (b"\xff", "not readable TOML"),
        (b'topics = "x"', "spamguard.toml sets 'topics'"),
        (b'[kafka]\nbrokers = "x"', "sets 'kafka'"),
        (b"group = 3", "group \\(from spamguard.toml\\)"),
    ],
)
def test_a_bad_file_is_named(elsewhere: Path, content: bytes, said: str) -> None:
    (elsewhere / "spamguard.toml").write_bytes(content)
    with pytest.raises(ConfigError, match=said):
        load(environ={})


def test_a_secret_is_never_shown() -> None:
    settings = load({"sasl_password": SECRET}, environ={})
    assert settings.sasl_password == SECRET
    for shown in (repr(settings), str(settings), f"{settings}"):
        assert SECRET not in shown
    with pytest.raises(ConfigError) as caught:
        load({"sasl_password": [SECRET]}, environ={})
    assert SECRET not in str(caught.value) and "sasl_password" in str(caught.value)


def test_settings_are_read_once_and_never_changed() -> None:
    settings = load(environ={})
    with pytest.raises(pydantic.ValidationError, match="frozen"):
        settings.group = "other"


def test_constructing_settings_does_not_look_at_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPAMGUARD_GROUP", "from-outside")
    assert Settings.model_validate({"member": "one"}).group == "spamguard"
    assert load().group == "from-outside"
