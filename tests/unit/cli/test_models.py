"""Are models listed, shown and verified, also when one of them is damaged?"""

import shutil
from pathlib import Path

import pytest

from spamguard.backends import registry
from tests.unit.cli.conftest import Spamguard


@pytest.fixture
def folder(elsewhere: Path, tiny_model: Path) -> Path:
    """A folder of two models, of which version 2.0 is the champion."""
    root = elsewhere / "models"
    for version in ("1.0", "2.0"):
        shutil.copytree(tiny_model, root / "small" / version)
    registry.write_alias(root, "champion", "small/2.0")
    return root


def test_models_are_listed_with_their_aliases(spamguard: Spamguard, folder: Path) -> None:
    ended = spamguard("models", "list", "--models", str(folder))
    assert (ended.code, ended.err) == (0, "")
    _, first, second = ended.lines
    assert first.split()[0] == "small/1.0"
    assert second.split()[:2] == ["small/2.0", "champion"]
    assert "0.3000–0.7000" in second


def test_a_model_that_cannot_be_read_is_listed_and_said_to_be(spamguard: Spamguard, folder: Path) -> None:
    (folder / "small" / "1.0" / "manifest.json").write_text("{")
    ended = spamguard("models", "list", "--models", str(folder))
    assert ended.code == 4
    assert "not readable" in ended.out
    assert "champion" in ended.out
    assert "manifest.json" in ended.err


def test_an_empty_folder_says_how_to_get_a_model(spamguard: Spamguard, elsewhere: Path) -> None:
    for command in ("list", "verify"):
        ended = spamguard("models", command, "--models", str(elsewhere))
        assert (ended.code, ended.out) == (4, "")
        assert "spamguard train" in ended.err


def test_a_model_shows_what_it_is(spamguard: Spamguard, folder: Path) -> None:
    ended = spamguard("models", "show", "champion", "--models", str(folder))
    assert (ended.code, ended.err) == (0, "")
    for part in (
        "small/1.0",
        "spam from 0.7000",
        "at most 1.500% (95 %)",
        "labelled.jsonl",
        "2–3-grams",
        "weights.npz",
    ):
        assert part in ended.out


def test_the_card_is_shown_as_it_was_written(spamguard: Spamguard, folder: Path) -> None:
    (folder / "small" / "1.0" / "card.md").write_text("# small\n\nWords about it.\n")
    ended = spamguard("models", "show", "small/1.0", "--card", "--models", str(folder))
    assert ended == (0, "# small\n\nWords about it.\n", "")
    assert spamguard("models", "show", "small/2.0", "--card", "--models", str(folder)).code == 4


def test_whole_models_are_verified_a_line_a_file(spamguard: Spamguard, folder: Path) -> None:
    ended = spamguard("models", "verify", "--models", str(folder))
    assert (ended.code, ended.err) == (0, "")
    assert [line.split(maxsplit=2) for line in ended.lines] == [
        ["✓", f"small/{version}", checked]
        for version in ("1.0", "2.0")
        for checked in ("manifest.json", "weights.npz", "vocabulary.txt", "arrays and self-tests")
    ]


def test_a_damaged_file_is_found_and_the_others_are_still_checked(spamguard: Spamguard, folder: Path) -> None:
    path = folder / "small" / "1.0" / "weights.npz"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    ended = spamguard("models", "verify", "--models", str(folder))
    assert ended.code == 4
    assert [line.split(maxsplit=1) for line in ended.lines if line.startswith("✗")] == [["✗", "small/1.0  weights.npz"]]
    assert len(ended.lines) == 7  # no self-test on a file that is not what it should be
    assert "SHA-256 differs" in ended.err
    assert len(ended.err.splitlines()) == 1


def test_a_model_of_another_release_fails_at_the_last_check(spamguard: Spamguard, folder: Path) -> None:
    path = folder / "small" / "2.0" / "manifest.json"
    text = path.read_text()
    at = text.index('"normalizer_version": "') + len('"normalizer_version": "')
    path.write_text(text[:at] + "9" + text[at:])
    ended = spamguard("models", "verify", "champion", "--models", str(folder))
    assert ended.code == 4
    assert ended.lines[-1].startswith("✗")
    assert "normaliser" in ended.err
