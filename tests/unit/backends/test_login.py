"""Who does an order name when nobody is named?"""

import getpass

import pytest

from spamguard.backends.login import who_am_i


def test_behind_sudo_it_is_whoever_called_it_and_without_a_name_the_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("socket.gethostname", lambda: "sms-3")
    monkeypatch.setattr(getpass, "getuser", lambda: "root")
    monkeypatch.delenv("SUDO_USER", raising=False)
    assert who_am_i() == "root@sms-3"
    monkeypatch.setenv("SUDO_USER", "ana")
    assert who_am_i() == "ana@sms-3"

    def nameless() -> str:
        raise KeyError("uid not found")

    monkeypatch.delenv("SUDO_USER")
    monkeypatch.setattr(getpass, "getuser", nameless)
    monkeypatch.setattr("os.getuid", lambda: 10001)
    assert who_am_i() == "uid-10001@sms-3"
