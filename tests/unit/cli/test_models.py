"""Are models listed, shown, verified and promoted, also when one of them is damaged?"""

import json
import shutil
from pathlib import Path

import pytest

from spamguard.backends import registry
from tests.unit.cli.conftest import Spamguard

#: Past the gate, which has tests of its own (test_compare_gate.py).
PAST = ("--override", "a test")


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


def test_a_promotion_moves_the_alias_and_tells_from_where(spamguard: Spamguard, folder: Path) -> None:
    ended = spamguard("models", "promote", "small/1.0", "--reason", "fewer complaints", *PAST, "--models", str(folder))
    assert ended == (0, "champion: small/2.0 → small/1.0\n", "")
    assert registry.read_aliases(folder) == {"champion": "small/1.0"}
    again = spamguard("models", "promote", "small/1.0", "--reason", "once more", "--models", str(folder))
    assert (again.code, "nothing moved" in again.out) == (0, True)
    challenger = spamguard(
        "models",
        "promote",
        "small",
        "--as",
        "challenger",
        "--reason",
        "to see",
        "--who",
        "mei",
        "--models",
        str(folder),
    )
    assert challenger.out == "challenger: nothing → small/2.0\n"
    moves = [(m.alias, m.source, m.target, m.reason) for m in registry.read_history(folder)]
    assert moves == [
        ("champion", "small/2.0", "small/1.0", "fewer complaints"),
        ("challenger", None, "small/2.0", "to see"),
    ]


def test_a_rollback_goes_back_and_the_history_tells_all(spamguard: Spamguard, folder: Path) -> None:
    spamguard("models", "promote", "small/1.0", "--reason", "fewer complaints", *PAST, "--models", str(folder))
    ended = spamguard("models", "rollback", "--reason", "more of them", "--who", "mei", "--models", str(folder))
    assert ended == (0, "champion: small/1.0 → small/2.0\n", "")
    told = spamguard("models", "history", "--models", str(folder))
    assert told.code == 0
    promoted, back = told.lines[1], told.lines[-1]
    assert promoted.split()[1:5] == ["promote", "champion", "small/2.0", "small/1.0"]
    assert back.split()[1:6] == ["rollback", "champion", "small/1.0", "small/2.0", "mei"]
    assert back.endswith("more of them")
    further = spamguard("models", "rollback", "--reason", "more", "--models", str(folder))
    assert (further.code, further.out) == (4, "")
    assert "spamguard models history" in further.err


def test_an_alias_that_was_moved_by_hand_is_said_in_the_history(spamguard: Spamguard, folder: Path) -> None:
    assert "no alias was moved yet" in spamguard("models", "history", "--models", str(folder)).out
    spamguard("models", "promote", "small/1.0", "--reason", "newer", *PAST, "--models", str(folder))
    registry.write_alias(folder, "champion", "small/2.0")
    told = spamguard("models", "history", "--models", str(folder))
    assert told.lines[-1] == "champion stands for small/2.0 now: it was moved without this history"


def test_what_does_not_load_is_not_promoted_and_not_rolled_back_to(spamguard: Spamguard, folder: Path) -> None:
    spamguard("models", "promote", "small/1.0", "--reason", "newer", *PAST, "--models", str(folder))
    path = folder / "small" / "2.0" / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"normalizer_version": "0"}))
    for command in (("promote", "small/2.0"), ("rollback",)):
        ended = spamguard("models", *command, "--reason", "because", "--models", str(folder))
        assert (ended.code, ended.out) == (4, "")
        assert "normaliser" in ended.err
    assert registry.read_aliases(folder) == {"champion": "small/1.0"}
    assert len(registry.read_history(folder)) == 1


def test_only_a_model_of_the_folder_is_promoted_and_only_with_a_reason(
    spamguard: Spamguard, folder: Path, tiny_model: Path
) -> None:
    elsewhere = spamguard("models", "promote", str(tiny_model), "--reason", "mine", *PAST, "--models", str(folder))
    assert elsewhere.code == 4
    assert "an alias names nothing else" in elsewhere.err
    for reason in ((), ("--reason", "  ")):
        assert spamguard("models", "promote", "small/1.0", *reason, "--models", str(folder)).code == 2
    assert spamguard("models", "promote", "small/9", "--reason", "x", "--models", str(folder)).code == 4
    assert registry.read_history(folder) == []


def test_a_key_is_made_a_model_signed_and_its_signature_verified(
    spamguard: Spamguard, folder: Path, elsewhere: Path
) -> None:
    made = spamguard("models", "keygen", str(elsewhere / "release"))
    public = made.out.strip()
    assert (made.code, (elsewhere / "release.pub").read_text().strip()) == (0, public)
    asked = ("models", "verify", "small/1.0", "--models", str(folder), "--model-key", public)
    unsigned = spamguard(*asked)
    assert unsigned.code == 4
    assert "✗ small/1.0  signature" in unsigned.out
    signed = spamguard("models", "sign", "small/1.0", "--secret", str(elsewhere / "release"), "--models", str(folder))
    assert signed.code == 0
    assert signed.out.startswith("✓ small/1.0  signed by key ")
    assert spamguard(*asked).code == 0


def test_pruning_shows_first_and_keeps_what_a_rollback_needs(spamguard: Spamguard, folder: Path) -> None:
    for version in ("3.0", "4.0", "5.0", "6.0"):
        shutil.copytree(folder / "small" / "1.0", folder / "small" / version)
    for version in ("3.0", "4.0", "5.0"):
        registry.move_alias(folder, "champion", f"small/{version}", at="now", who="mei", reason="newer", kind="promote")
    shown = spamguard("models", "prune", "--keep", "1", "--models", str(folder))
    assert shown.code == 0
    assert [line.split()[:3] for line in shown.lines[:3]] == [
        ["kept", "small/4.0", "was"],
        ["kept", "small/5.0", "champion"],
        ["kept", "small/6.0", "newer"],
    ]
    assert [line.split()[-1] for line in shown.lines[3:6]] == ["small/1.0", "small/2.0", "small/3.0"]
    assert len(registry.model_folders(folder)) == 6
    spamguard("models", "prune", "--keep", "1", "--yes", "--models", str(folder))
    assert [path.name for path in registry.model_folders(folder)] == ["4.0", "5.0", "6.0"]
    assert not list((folder / "small").glob(".*"))
    assert spamguard("models", "rollback", "--reason", "complaints", "--models", str(folder)).code == 0
