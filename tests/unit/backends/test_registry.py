"""Which model does a reference mean?"""

from pathlib import Path

import pytest

from spamguard.backends.registry import model_folders, read_aliases, resolve, shipped_models, write_alias
from spamguard.errors import ModelNotFound, ModelRejected


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A registry of three models."""
    for name in ("zh/1.2", "zh/1.9", "zh/1.10", "en/2026.11.24.1", "en/2026.11.24.2", "mixed/rc1", "mixed/1"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "manifest.json").write_text("{}")
    (tmp_path / "zh" / "2.0").mkdir()  # a folder without a manifest is no model
    return tmp_path


def test_versions_come_by_number_and_not_by_letter(root: Path) -> None:
    names = [f"{folder.parent.name}/{folder.name}" for folder in model_folders(root)]
    assert names == ["en/2026.11.24.1", "en/2026.11.24.2", "mixed/rc1", "mixed/1", "zh/1.2", "zh/1.9", "zh/1.10"]


def test_a_model_is_meant_by_name_version_newest_alias_or_path(root: Path) -> None:
    write_alias(root, "champion", "zh/1.2")
    write_alias(root, "challenger", "zh")
    assert resolve("zh/1.9", root) == root / "zh/1.9"
    assert resolve("zh", root) == root / "zh/1.10"
    assert resolve("champion", root) == root / "zh/1.2"
    assert resolve("challenger", root) == root / "zh/1.10"
    assert resolve(str(root / "en/2026.11.24.1"), Path("/nowhere")) == root / "en/2026.11.24.1"


@pytest.mark.parametrize("reference", ["fr", "zh/3", "zh/2.0", "champion", "1.10", "", "zh/", "a\0b"])
def test_a_reference_that_means_nothing_is_said_with_the_next_step(root: Path, reference: str) -> None:
    with pytest.raises(ModelNotFound, match="models list"):
        resolve(reference, root)


def test_a_draft_that_is_being_written_is_no_model(root: Path) -> None:
    (root / "zh" / ".9.9.123").mkdir()
    (root / "zh" / ".9.9.123" / "manifest.json").write_text("{}")
    assert resolve("zh", root) == root / "zh/1.10"
    assert not any(folder.name.startswith(".") for folder in model_folders(root))


def test_an_alias_moves_in_one_step_and_the_others_stay(root: Path) -> None:
    write_alias(root, "champion", "zh/1.2")
    write_alias(root, "challenger", "zh/1.9")
    write_alias(root, "champion", "zh/1.10")
    assert read_aliases(root) == {"champion": "zh/1.10", "challenger": "zh/1.9"}
    assert [path.name for path in root.iterdir() if path.is_file()] == ["aliases.json"]


@pytest.mark.parametrize("content", [b"{", b"[]", b'{"champion": 3}', b"\xff"])
def test_broken_aliases_are_a_sentence_and_not_overwritten(root: Path, content: bytes) -> None:
    (root / "aliases.json").write_bytes(content)
    with pytest.raises(ModelRejected, match="aliases"):
        resolve("champion", root)
    with pytest.raises(ModelRejected, match="aliases"):
        write_alias(root, "champion", "zh/1.2")
    assert (root / "aliases.json").read_bytes() == content


def test_an_empty_registry_has_no_models_and_no_aliases(tmp_path: Path) -> None:
    assert model_folders(tmp_path) == []
    assert read_aliases(tmp_path) == {}


def test_the_shipped_models_are_there() -> None:
    assert shipped_models().name == "models"
    assert shipped_models().is_dir()
