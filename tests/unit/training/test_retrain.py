"""Does one command turn corpora and labels into a measured challenger, and does it survive being stopped?"""

import fcntl
import json
import random
from pathlib import Path

import msgspec
import numpy as np
import pytest
from spamguard_training import fit as fitting
from spamguard_training.corpus import Row, read_rows
from spamguard_training.fit import capped, fold_of, prepare
from spamguard_training.groups import joined
from spamguard_training.pipeline import fit_features
from spamguard_training.recipe import Recipe
from spamguard_training.retrain import HOLDOUT_SEED, merged, read_labels, split

from spamguard.backends import artifacts, registry
from spamguard.cli import main
from tests.conftest import SAMPLES, manifest_of
from tests.conftest import Trained as Small

RECIPE = """
name = "small"
folds = 2
budget = 0.5
review_budget = 0.5
headline = ["samples"]
[[candidates]]
classifier = "logistic"
strength = 10.0
[mix]
personal = 1.0
notice = 1.0
"""
SUITE = """
[[family]]
id = "codes"
category = "otp"
lang = "zh"
texts = ["您的验证码为{n6}，请勿告诉他人。"]
"""


def row(text: str, label: str = "spam", **more: object) -> Row:
    return msgspec.convert({"text": text, "label": label, "id": text[:16], "group": text[:16], **more}, Row)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("SPAMGUARD_MODEL", "SPAMGUARD_MODELS", "SPAMGUARD_MODEL_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    Path("recipe.toml").write_text(RECIPE, encoding="utf-8")
    Path("suite.toml").write_text(SUITE, encoding="utf-8")
    Path("models").mkdir()
    return tmp_path


def retrain(*more: str) -> int:
    data = str(SAMPLES / "labelled.jsonl")
    return main(
        ("retrain", data, "--recipe", "recipe.toml", "--models", "models", "--suite", "suite.toml",
         "--holdout", "0.3", "--attack-rows", "20", *more)
    )  # fmt: skip


def test_near_duplicates_without_a_group_join_the_one_that_has_one() -> None:
    mailing = "代开各类发票，点数优惠，保真可查，全国通用，联系王经理电话{}微信同号欢迎来电"
    rows = [
        row(mailing.format("13900001111"), group="the mailing"),
        *(row(mailing.format(f"1390000{number}"), id=f"{number}", group=f"{number}") for number in range(2222, 2226)),
        row("晚上一起吃饭吗？我大概七点到你家楼下", "ham"),
    ]
    groups = [one.group for one in joined(rows)]
    assert groups[:5] == ["the mailing"] * 5
    assert groups[5] != "the mailing"


def test_one_mass_mailing_weighs_no_more_than_its_cap_and_trust_counts() -> None:
    groups = np.array([0] * 100 + [1])
    weights = capped(np.ones(101), groups, 20.0)
    assert weights[:100].sum() == pytest.approx(20.0)
    assert weights[100] == 1.0
    recipe = Recipe(trust_weights={"one": 0.5}, label_weights={"complaint": 2.0})
    rows = [row("a"), row("b", "ham", trust="one"), row("c", trust="one", label_source="complaint")]
    assert prepare(rows, recipe).weights.tolist() == [1.0, 0.5, 1.0]


def test_the_more_trusted_and_then_the_newer_label_of_a_text_holds(tmp_path: Path) -> None:
    path = tmp_path / "labels.jsonl"
    said = [
        ("spam", "one", "2026-03-01T00:00:00+00:00"),
        ("ham", "two", "2026-02-01T00:00:00+00:00"),
        ("spam", "two", "2026-01-01T00:00:00+00:00"),
        ("spam", "one", "2026-04-01T00:00:00+00:00"),
    ]
    lines = [
        {"text": "一则", "label": label, "trust": trust, "labelled_at": at, "reader": "mei", "unknown": 1}
        for label, trust, at in said
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    (found,), _, contradictions = read_labels([path])
    assert (found.label, found.trust, found.read, contradictions) == ("ham", "two", True, 3)
    assert [one.label for one in merged([row("一则", "spam")], [found])] == ["ham"]


def test_a_champion_is_compared_only_on_what_it_has_not_seen(trained: Small) -> None:
    rows = [row(f"text {number}", "spam" if number % 2 else "ham") for number in range(200)]
    rows.append(row("a younger label", labelled_at="2027-01-01T00:00:00+00:00"))
    knows = manifest_of(trained.arrays)
    fair = manifest_of(trained.arrays, metrics={"holdout": 0.3})
    held = {one.text for one in rows if fold_of(one.group, 1000, HOLDOUT_SEED) < 300}
    first = split(rows, (), 0.3, None)
    assert {one.text for one in first.test} == held
    assert not {one.text for one in first.train} & held
    assert {one.text for one in split(rows, (), 0.3, fair).test} == held
    assert {one.text for one in split(rows, (), 0.3, knows).test} == held & {"a younger label"}
    brought = split(rows, [rows[0]], 0.0, knows)
    assert [one.text for one in brought.test] == ["text 0"]
    assert "text 0" not in {one.text for one in brought.train}


def test_a_run_that_was_stopped_goes_on_and_gives_the_same_model(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    real, calls = fit_features, [0]

    def dies(*arguments: object) -> object:
        calls[0] += 1
        if calls[0] == 2:
            raise KeyboardInterrupt
        return real(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(fitting, "fit_features", dies)
    assert retrain() == 130
    assert [path.name for path in sorted(Path("models/.retrain").glob("fold-*"))] == ["fold-0.npy"]
    calls[0] = 10
    assert retrain() in (0, 8)  # 8: speed, on whatever machine this is
    assert "going on where the last run stopped" in capsys.readouterr().err
    assert calls[0] == 12  # the second fold and the final fit
    (once,) = registry.model_folders(Path("models"))
    assert not list(Path("models/.retrain").glob("fold-*"))
    assert artifacts.read_manifest(once).metrics["holdout"] == 0.3
    if registry.read_aliases(Path("models")):
        assert registry.read_aliases(Path("models")) == {"challenger": f"small/{once.name}"}
    assert retrain() == 0
    assert "nothing new" in capsys.readouterr().err
    assert retrain("--again") in (0, 8)
    whole, again = (artifacts.read_manifest(folder).files for folder in registry.model_folders(Path("models")))
    assert whole["weights.npz"] == again["weights.npz"]


def test_two_runs_at_once_are_one_too_many(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (place / "models" / ".retrain").mkdir()
    with (place / "models" / ".retrain" / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert retrain() == 9
    assert "already" in capsys.readouterr().err


def test_a_candidate_that_learned_nonsense_is_refused_and_stays_a_file(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rng = random.Random(1)
    rows = read_rows(SAMPLES / "labelled.jsonl")
    good = place / "test.jsonl"
    good.write_bytes(b"".join(msgspec.json.encode(one) + b"\n" for one in rows[:200]))
    turned = [msgspec.structs.replace(one, label=rng.choice(("spam", "ham"))) for one in rows[200:]]
    (place / "labels.jsonl").write_bytes(b"".join(msgspec.json.encode(one) + b"\n" for one in turned))
    assert retrain("--labels", "labels.jsonl", "--test", "test.jsonl", "--holdout", "0") == 8
    assert "needed at least" in capsys.readouterr().err
    assert registry.read_aliases(Path("models")) == {}
    assert len(registry.model_folders(Path("models"))) == 1


def test_too_little_to_compare_on_is_said_with_what_to_bring(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert retrain("--holdout", "0.01") == 6
    assert "--test" in capsys.readouterr().err
