"""Do the training commands work together, from labelled rows to a report, within 80 columns and without a text?"""

import json
from pathlib import Path

import pytest

from tests.conftest import SAMPLES
from tests.unit.cli.conftest import Spamguard

CORPUS = str(SAMPLES / "labelled.jsonl")
RECIPE = 'name = "toy"\nviews = ["words"]\nleast_groups = 2\nfolds = 3\nbudget = 0.2\nreview_budget = 0.3\n'


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    path = tmp_path / "recipe.toml"
    path.write_text(RECIPE)
    return path


def test_scores_kept_by_training_feed_the_report_the_cutoffs_and_the_audit(
    spamguard: Spamguard, recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    first = json.loads((SAMPLES / "labelled.jsonl").read_text(encoding="utf-8").splitlines()[0])
    category = {"spam": "marketing", "ham": "service"}[first["label"]]
    reading = {"id": first["id"], "label": first["label"], "category": category, "who": "me"}
    overlay = tmp_path / "overlay.jsonl"
    overlay.write_text(f"{json.dumps(reading)}\n{json.dumps({**reading, 'id': 'elsewhere'})}\n")
    trained = spamguard(
        "train", CORPUS, "--recipe", str(recipe), "--out", "models", "--version", "1", "--overlay", str(overlay),
        "--scores", "scores.jsonl", "--cross",
    )  # fmt: skip
    assert trained.code == 0, trained.err
    assert "overlay.jsonl: 1 of 2 ids are of no row here: elsewhere" in trained.err
    manifest = json.loads((Path("models") / "toy" / "1" / "manifest.json").read_text(encoding="utf-8"))
    assert "overlay.jsonl" in [source["name"] for source in manifest["sources"]]

    card = (Path("models") / "toy" / "1" / "card.md").read_text(encoding="utf-8")
    assert "### Other budgets" in card
    assert "nan" not in card

    model = ["--models", "models"]
    kept = ["--scores", "scores.jsonl"]
    report = spamguard("evaluate", CORPUS, "--model", "toy/1", *model, *kept, "--recipe", str(recipe),
                       "--html", "out/report.html", "--plots", "plots", "--cross", "--learning-curve")  # fmt: skip
    assert report.code == 0, report.err
    assert max(map(len, report.lines)) <= 80
    assert {path.name for path in Path("plots").iterdir()} == {
        "roc.png", "precision-recall.png", "calibration.png", "scores.png", "learning-curve.png",
    }  # fmt: skip
    page = Path("out/report.html").read_text(encoding="utf-8")
    assert "Learning curve" in page
    assert first["text"] not in page + report.out + report.err

    shown = spamguard("cutoffs", "toy/1", *model, *kept)
    assert shown.code == 0, shown.err
    assert max(map(len, shown.lines)) <= 80
    assert "shipped" in shown.out
    assert "cannot be shown" in shown.out
    figures = json.loads(spamguard("cutoffs", "toy/1", *model, *kept, "--json").out)
    assert figures["shipped"]["cutoff"] == manifest["spam_cutoff"]

    audit = ["audit-labels", CORPUS, "--recipe", str(recipe), "--out", "suspicious.jsonl", "--least", "-9", "--all"]
    listed = spamguard(*audit, *kept)
    assert listed.code == 0, listed.err
    rows = [json.loads(line) for line in Path("suspicious.jsonl").read_text(encoding="utf-8").splitlines()]
    assert rows
    assert [row["suspicion"] for row in rows] == sorted((row["suspicion"] for row in rows), reverse=True)
    assert spamguard(*audit, *kept).code == 6  # a reader's work is not written over
    rows[0] |= {"label": rows[0]["label_now"], "who": "me"}
    rows[0]["category"] = {"spam": "marketing", "ham": "service"}[rows[0]["label"]]
    Path("suspicious.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    collected = spamguard("audit-labels", "--collect", "suspicious.jsonl", "--overlay", "new.jsonl")
    assert collected.code == 0, collected.err
    assert json.loads(Path("new.jsonl").read_text(encoding="utf-8"))["id"] == rows[0]["id"]


def test_an_audit_without_scores_trains_and_says_so(spamguard: Spamguard, recipe: Path) -> None:
    listed = spamguard("audit-labels", CORPUS, "--recipe", str(recipe), "--out", "s.jsonl", "--all")
    assert listed.code == 0, listed.err
    assert "fold 3 of 3" in listed.err


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["audit-labels"], 2, "name corpora and --out"),
        (["audit-labels", "--collect", "x"], 2, "needs the --overlay"),
        (["cutoffs", "--scores", "missing.jsonl"], 6, "cannot be read (No such file or directory); write them"),
        (["evaluate", CORPUS, "--scores", "missing.npz"], 6, "spamguard train --scores"),
    ],
)
def test_what_is_missing_is_said_in_a_sentence(
    spamguard: Spamguard, arguments: list[str], code: int, said: str
) -> None:
    ended = spamguard(*arguments)
    assert (ended.code, ended.out) == (code, "")
    assert said in " ".join(ended.err.split())
