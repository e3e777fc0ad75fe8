"""Does a signature vouch for a model, and for nothing else?"""

import shutil
import stat
from pathlib import Path

import pytest

from spamguard.backends import artifacts, signing
from spamguard.backends.following import FollowedModel
from spamguard.config import load
from spamguard.engine.watching import load_ready
from spamguard.errors import ConfigError, DataError, ModelRejected
from spamguard.service import catalogue
from spamguard.service.judging import offline_filter


@pytest.fixture
def keys(tmp_path: Path) -> tuple[Path, list[bytes]]:
    """The file of a secret key, and the public key that belongs to it."""
    secret = tmp_path / "keys" / "release"
    public = signing.write_keys(secret, signing.new_keys())
    return secret, signing.read_public(str(public))


def test_a_signed_model_loads_and_one_changed_afterwards_does_not(
    two_models: Path, keys: tuple[Path, list[bytes]]
) -> None:
    secret, public = keys
    folder = two_models / "small" / "1.0"
    with pytest.raises(ModelRejected, match=r"not signed.*models sign"):
        artifacts.read(folder, public)
    artifacts.sign(folder, secret)
    artifacts.read(folder, public)
    manifest = folder / "manifest.json"
    manifest.write_bytes(manifest.read_bytes().replace(b'"spam_cutoff": 0.7', b'"spam_cutoff": 0.6'))
    artifacts.read(folder)  # whole by its own word
    with pytest.raises(ModelRejected, match="changed after it was signed"):
        artifacts.read(folder, public)


def test_the_signature_of_another_model_or_key_is_refused(two_models: Path, keys: tuple[Path, list[bytes]]) -> None:
    secret, public = keys
    first, second = two_models / "small" / "1.0", two_models / "small" / "2.0"
    artifacts.sign(first, secret)
    shutil.copy(first / signing.SIGNATURE, second / signing.SIGNATURE)
    with pytest.raises(ModelRejected, match="another manifest"):
        artifacts.read(second, public)
    stranger = signing.read_public(signing.new_keys().public)
    with pytest.raises(ModelRejected, match=f"model_key trusts {signing.key_name(stranger[0])}"):
        artifacts.read(first, stranger)
    artifacts.read(first, [*stranger, *public])  # while keys change, both are trusted
    for broken in (b"", b"{}", b'{"key":"\\u001b[2J","signature":"AAAA"}'):
        (second / signing.SIGNATURE).write_bytes(broken)
        with pytest.raises(ModelRejected) as refused:
            artifacts.read(second, public)
        assert "\x1b" not in str(refused.value)


def test_with_a_key_set_nothing_unsigned_is_loaded_by_any_way_in(
    two_models: Path, keys: tuple[Path, list[bytes]]
) -> None:
    secret, _ = keys
    settings = load({"models": two_models, "model_key": f"{secret}.pub"}, environ={})
    trusted = catalogue.trusted_keys(settings)
    with pytest.raises(ModelRejected, match="not signed"):
        offline_filter(settings)
    with pytest.raises(ModelRejected, match="not signed"):
        load_ready(FollowedModel("champion", two_models, keys=trusted))
    with pytest.raises(ModelRejected, match="not signed"):
        catalogue.promote_model(settings, "small/2.0", alias="challenger", who="mei", reason="to see")
    for version in ("1.0", "2.0"):
        catalogue.sign_model(settings, f"small/{version}", secret)
    assert catalogue.promote_model(settings, "small/2.0", alias="challenger", who="mei", reason="to see").move
    offline_filter(settings).close()
    load_ready(FollowedModel("champion", two_models, keys=trusted))
    assert not [error for _, error in catalogue.verify_model(two_models / "small" / "1.0", trusted) if error]


def test_keys_are_kept_from_others_and_never_written_over(tmp_path: Path, keys: tuple[Path, list[bytes]]) -> None:
    secret, _ = keys
    assert stat.S_IMODE(secret.stat().st_mode) == 0o600
    before = secret.read_text()
    with pytest.raises(DataError, match="not written over"):
        signing.write_keys(secret, signing.new_keys())
    assert secret.read_text() == before
    with pytest.raises(ConfigError, match="models keygen") as wrong:
        signing.read_public(before.strip()[:-4])
    assert before.strip()[:12] not in str(wrong.value)
    (tmp_path / "empty").write_text("nothing here\n")
    with pytest.raises(DataError, match="no secret key"):
        signing.read_secret(tmp_path / "empty")
