"""Is another model seen behind aliases and symbolic links, and never a mixture of two?"""

import shutil
from pathlib import Path

import pytest

from spamguard.backends import registry
from spamguard.backends.following import FollowedModel
from spamguard.core.manifest import Sighting
from spamguard.errors import ModelNotFound, ModelRejected


def seen(followed: FollowedModel) -> Sighting:
    found = followed.look()
    assert found is not None
    return found


def test_an_alias_that_moves_is_another_digest_and_back_the_old_one(two_models: Path) -> None:
    followed = FollowedModel("champion", two_models)
    first = seen(followed)
    registry.write_alias(two_models, "champion", "small/2.0")
    second = seen(followed)
    assert first.digest != second.digest
    assert followed.load()[0] == second.digest
    registry.write_alias(two_models, "champion", "small/1.0")
    assert seen(followed) == first


def test_the_same_model_in_another_place_with_another_time_is_the_same_digest(two_models: Path) -> None:
    before = seen(FollowedModel("champion", two_models))
    shutil.copytree(two_models / "small" / "1.0", two_models / "copy" / "1.0", copy_function=shutil.copyfile)
    after = seen(FollowedModel("copy", two_models))
    assert before.digest == after.digest


def test_a_file_that_is_still_written_leaves_another_trace(two_models: Path) -> None:
    followed = FollowedModel("champion", two_models)
    before = seen(followed)
    path = two_models / "small" / "1.0" / "vocabulary.txt"
    path.write_bytes(path.read_bytes()[:-10])
    after = seen(followed)
    assert (before.digest, before.traces == after.traces) == (after.digest, False)


def mount(volume: Path, name: str, folder: Path, *, flat: bool = False) -> None:
    """Fill a volume as Kubernetes does: a new folder, and one rename that swaps the link to it."""
    target = volume / f"..{name}"
    shutil.copytree(folder, target if flat else target / "model")
    link = volume / "..data_tmp"
    link.symlink_to(target.name)
    link.replace(volume / "..data")
    for path in target.iterdir():
        entry = volume / path.name
        if not entry.is_symlink():
            entry.symlink_to(Path("..data") / path.name)


@pytest.mark.parametrize("flat", [False, True])
def test_a_swap_of_kubernetes_link_is_seen_and_what_is_read_is_one_model(
    tmp_path: Path, tiny_model: Path, second_model: Path, flat: bool
) -> None:
    volume = tmp_path / "volume"
    volume.mkdir()
    mount(volume, "2026_01", tiny_model, flat=flat)
    followed = FollowedModel(str(volume if flat else volume / "model"), tmp_path)
    first = seen(followed)
    assert followed.load()[1].full_name == "small/1.0"
    mount(volume, "2026_02", second_model, flat=flat)
    assert seen(followed).digest != first.digest
    shutil.rmtree(volume / "..2026_01")
    assert followed.load()[1].full_name == "small/2.0"


def test_an_optional_alias_may_be_missing_and_another_may_not(two_models: Path) -> None:
    assert FollowedModel("challenger", two_models, optional=True).look() is None
    with pytest.raises(ModelNotFound):
        FollowedModel("challenger", two_models).look()
    registry.write_alias(two_models, "challenger", "small/3.0")
    with pytest.raises(ModelNotFound, match=r"small/3\.0"):
        FollowedModel("challenger", two_models, optional=True).look()


def test_broken_aliases_are_said(two_models: Path) -> None:
    (two_models / "aliases.json").write_text("{")
    with pytest.raises(ModelRejected, match="aliases"):
        FollowedModel("champion", two_models).look()
