"""Are numbers unreadable without the key, bound to their row, and found under every key there was?"""

from pathlib import Path

import pytest

from spamguard.errors import DatabaseUnfit
from spamguard.review.vault import Vault, masked, read_keys

OLD, NEW = b"o" * 32, b"n" * 32
NUMBER = "+8613900001234"


def test_what_is_sealed_opens_in_its_place_alone() -> None:
    vault = Vault({1: OLD})
    sealed = vault.seal(NUMBER, "d-1")
    assert NUMBER.encode() not in sealed
    assert vault.seal(NUMBER, "d-1") != sealed, "the same number twice looks different"
    assert vault.open(sealed, "d-1") == NUMBER
    for changed, place in ((sealed, "d-2"), (sealed[:-1] + bytes([sealed[-1] ^ 1]), "d-1")):
        with pytest.raises(DatabaseUnfit):
            vault.open(changed, place)


def test_a_new_key_opens_and_finds_what_the_old_one_closed() -> None:
    before, after = Vault({1: OLD}), Vault({1: OLD, 2: NEW})
    sealed, stored = before.seal(NUMBER, "d"), before.lookup(NUMBER)
    assert after.open(sealed, "d") == NUMBER
    assert stored in after.lookups("139 0000 1234") and after.lookup(NUMBER) != stored
    with pytest.raises(DatabaseUnfit, match="version 1"):
        Vault({2: NEW}).open(sealed, "d")


def test_a_key_file_is_made_once_and_is_nobody_elses(tmp_path: Path) -> None:
    path = tmp_path / "review.key"
    sealed = read_keys(path, create=True).seal(NUMBER, "d")
    assert read_keys(path, create=True).open(sealed, "d") == NUMBER
    assert path.stat().st_mode & 0o777 == 0o600
    path.chmod(0o644)
    with pytest.raises(DatabaseUnfit, match="chmod 600"):
        read_keys(path, create=True)


@pytest.mark.parametrize("content", ["", "1:abc", "no key", "1:" + "0" * 63])
def test_a_broken_key_file_is_refused_without_being_quoted(tmp_path: Path, content: str) -> None:
    path = tmp_path / "review.key"
    path.write_text(content)
    path.chmod(0o600)
    with pytest.raises(DatabaseUnfit) as refused:
        read_keys(path, create=False)
    assert not content or content not in str(refused.value)
    with pytest.raises(DatabaseUnfit):
        read_keys(tmp_path / "missing.key", create=False)


@pytest.mark.parametrize(
    ("number", "shown"),
    [
        (NUMBER, "+8613*******34"),
        ("13900001234", "139******34"),
        ("1069000012345", "1069000012345"),
        ("ALERT", "ALERT"),
        ("", ""),
    ],
)
def test_a_persons_number_is_masked_and_a_service_number_is_not(number: str, shown: str) -> None:
    assert masked(number) == shown
