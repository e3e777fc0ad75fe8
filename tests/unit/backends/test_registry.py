"""Which model does a reference mean?"""

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Literal

import pytest

from spamguard.backends import registry
from spamguard.backends.registry import (
    Move,
    model_folders,
    move_alias,
    previous,
    read_aliases,
    read_history,
    resolve,
    shipped_models,
    write_alias,
)
from spamguard.errors import AliasNotMoved, ModelNotFound, ModelRejected, NobodyAppointed


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


def test_an_alias_that_stands_for_nothing_says_how_to_give_it_a_model(tmp_path: Path) -> None:
    for alias in (registry.CHAMPION, registry.CHALLENGER):
        with pytest.raises(NobodyAppointed, match=f"is the {alias} yet.*models promote NAME/VERSION --as {alias}"):
            registry.resolve(alias, tmp_path)


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


def moved(root: Path, target: str, kind: Literal["promote", "rollback"] = "promote", alias: str = "champion") -> Move:
    return move_alias(root, alias, target, at="2026-11-24T10:00:00+00:00", who="mei", reason="it is better", kind=kind)


def test_a_move_is_told_by_the_history_with_who_when_why_from_and_to(root: Path) -> None:
    moved(root, "zh/1.2")
    moved(root, "zh/1.9")
    assert read_aliases(root) == {"champion": "zh/1.9"}
    first, second = [json.loads(line) for line in (root / "history.jsonl").read_text().splitlines()]
    assert (first["from"], first["to"]) == (None, "zh/1.2")
    assert second == {
        "at": "2026-11-24T10:00:00+00:00", "who": "mei", "kind": "promote", "alias": "champion",
        "from": "zh/1.2", "to": "zh/1.9", "reason": "it is better",
    }  # fmt: skip
    assert [move.target for move in read_history(root)] == ["zh/1.2", "zh/1.9"]
    assert json.loads((root / "aliases.json").read_text()) == {"champion": "zh/1.9"}  # as older releases read it


def test_going_back_goes_one_promotion_further_each_time_and_forward_again(root: Path) -> None:
    for target in ("zh/1.2", "zh/1.9", "zh/1.10"):
        moved(root, target)
    moved(root, "en/2026.11.24.1", alias="challenger")  # another alias is another story

    def back() -> str | None:
        target = previous("champion", read_aliases(root).get("champion"), read_history(root))
        if target is not None:
            moved(root, target, "rollback")
        return target

    assert [back(), back(), back()] == ["zh/1.9", "zh/1.2", None]
    moved(root, "mixed/1")
    assert back() == "zh/1.2"


def test_an_alias_that_was_moved_without_the_history_goes_back_to_what_the_history_knows(root: Path) -> None:
    moved(root, "zh/1.2")
    write_alias(root, "champion", "zh/1.9")
    assert previous("champion", "zh/1.9", read_history(root)) == "zh/1.2"
    moved(root, "zh/1.10")
    assert previous("champion", "zh/1.10", read_history(root)) == "zh/1.9"


def test_half_a_line_of_a_process_that_died_costs_no_other_line(root: Path) -> None:
    moved(root, "zh/1.2")
    with (root / "history.jsonl").open("a") as file:
        file.write('{"at": "2026-11-24T1')
    moved(root, "zh/1.9")
    assert [move.target for move in read_history(root)] == ["zh/1.2", "zh/1.9"]


def test_a_move_that_cannot_be_written_leaves_aliases_and_history_as_they_were(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    moved(root, "zh/1.2")
    before = (root / "history.jsonl").read_bytes(), (root / "aliases.json").read_bytes()

    def full(root: Path, alias: str, target: str) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(registry, "write_alias", full)
    with pytest.raises(AliasNotMoved, match="No space left"):
        moved(root, "zh/1.9")
    assert ((root / "history.jsonl").read_bytes(), (root / "aliases.json").read_bytes()) == before


def test_moves_at_the_same_time_wait_for_each_other(root: Path) -> None:
    names = ["zh/1.2", "zh/1.9", "zh/1.10"] * 10
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda pair: moved(root, pair[1], alias=f"alias-{pair[0]}"), enumerate(names)))
    assert read_aliases(root) == {f"alias-{number}": name for number, name in enumerate(names)}
    assert len(read_history(root)) == len(names)
