"""Are keys shown once and kept as hashes, and does a gateway that cannot start say why?"""

import json
import socket
import stat
from pathlib import Path

from spamguard.core.keys import holder_of
from spamguard.service import api_keys
from tests.unit.cli.conftest import Spamguard


def test_a_key_is_printed_alone_once_and_what_is_kept_does_not_hold_it(spamguard: Spamguard, elsewhere: Path) -> None:
    made = spamguard("gateway", "keys", "add", "east [1]", "--tenant", "acme", "--tenant", "beta", "--rate", "50")
    key = made.out.strip()
    assert (made.code, made.out) == (0, f"{key}\n")
    assert "acme, beta" in made.err and "50 messages a second" in made.err
    file = elsewhere / "spamguard-keys.json"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert key.rpartition("_")[2] not in file.read_text()
    [kept] = json.loads(file.read_text())
    listed = spamguard("gateway", "keys", "list")
    assert kept["id"] in listed.out and "east [1]" in listed.out and "in use" in listed.out
    assert key.rpartition("_")[2] not in listed.out + made.err


def test_a_revoked_key_stays_in_the_list_and_opens_nothing(spamguard: Spamguard, elsewhere: Path) -> None:
    key = spamguard("gateway", "keys", "add", "old", "--any-tenant").out.strip()
    spamguard("gateway", "keys", "add", "new", "--any-tenant")
    identity = key.split("_")[1]
    assert spamguard("gateway", "keys", "revoke", identity).code == 0
    assert spamguard("gateway", "keys", "revoke", identity).code == 0, "twice is no error"
    listed = spamguard("gateway", "keys", "list")
    assert [("revoked" in line, "in use" in line) for line in listed.lines[1:3]] == [(True, False), (False, True)]
    from spamguard.config import load

    keys = {kept.id: kept for kept in api_keys.list_keys(load({"gateway_keys": elsewhere / "spamguard-keys.json"}))}
    assert holder_of(key, keys) is None


def test_what_cannot_be_done_is_said_with_the_next_step(spamguard: Spamguard, elsewhere: Path) -> None:
    assert "keys add NAME" in spamguard("gateway", "keys", "list").out
    assert spamguard("gateway", "keys", "add", "nobody").code == 2
    assert spamguard("gateway", "keys", "add", "both", "--tenant", "t", "--any-tenant").code == 2
    unknown = spamguard("gateway", "keys", "revoke", "000000000000")
    assert unknown.code == 6 and "keys list" in unknown.err
    (elsewhere / "spamguard-keys.json").write_text("[{")
    broken = spamguard("gateway", "keys", "list")
    assert broken.code == 3 and "is no file of keys" in broken.err
    assert spamguard("gateway", "--no-kafka").code == 3


def test_a_key_is_made_for_accounts_and_the_list_says_for_which(spamguard: Spamguard, elsewhere: Path) -> None:
    made = spamguard("gateway", "keys", "add", "codes", "--tenant", "acme", "--account", "acme-codes")
    assert made.code == 0 and "vouches for acme-codes" in made.err
    assert "vouches for any account" in spamguard("gateway", "keys", "add", "smsc", "--any-tenant", "--any-account").err
    assert "vouches for no account" in spamguard("gateway", "keys", "add", "trial", "--tenant", "acme").err
    kept = json.loads((elsewhere / "spamguard-keys.json").read_text())
    assert [(one["accounts"], one["any_account"]) for one in kept] == [(["acme-codes"], False), ([], True), ([], False)]
    listed = spamguard("gateway", "keys", "list").lines[1:4]
    assert ["acme-codes" in listed[0], "any account" in listed[1], "none" in listed[2]] == [True] * 3
    assert spamguard("gateway", "keys", "add", "n", "--tenant", "t", "--account", "a", "--any-account").code == 2
    forged = spamguard("gateway", "keys", "add", "n", "--tenant", "t", "--account", "acme/10690001")
    assert forged.code == 2 and "no /" in forged.err


def test_an_address_that_is_taken_is_said(spamguard: Spamguard) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        ended = spamguard("gateway", "--no-kafka", "--port", str(taken.getsockname()[1]), "--metrics-port", "0")
    assert ended.code == 3
    assert "cannot be served on" in ended.err and "--port" in ended.err
