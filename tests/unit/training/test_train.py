"""Do rows become a model folder: the same twice, equal to the kept pipeline, refusing what they cannot show?"""

import csv
import io
import re
from datetime import UTC, datetime
from pathlib import Path

import joblib
import msgspec
import numpy as np
import pytest
from spamguard_training.corpus import Row, read_rows
from spamguard_training.evaluate import report
from spamguard_training.fit import fold_of
from spamguard_training.recipe import Candidate, Recipe, read_recipe
from spamguard_training.scores import scored_rows
from spamguard_training.train import CARD_PAGE, PIPELINE, Trained, gather, suited, train

from spamguard.backends import artifacts
from spamguard.core.normalize import normalize_batch
from spamguard.engine.holder import ready_judge
from spamguard.errors import DataError

ROOT = Path(__file__).parents[3]
LABELLED = ROOT / "datasets" / "samples" / "labelled.jsonl"
NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)
SMALL = Recipe(
    name="small",
    candidates=(Candidate(classifier="logistic", strength=10.0), Candidate(classifier="svm", strength=1.0)),
    folds=2,
    more_seeds=(7,),
    budget=0.5,
    review_budget=0.5,
    mix={"personal": 1.0, "notice": 1.0},
    kind_features=500,
)


def trained_into(folder: Path, recipe: Recipe = SMALL) -> Trained:
    rows, files = gather([LABELLED], [], recipe)
    return train(rows, files, folder, recipe, keep_pipeline=True, now=NOON, terms={"samples": "written for this test"})


@pytest.fixture(scope="module")
def once(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    return trained_into(tmp_path_factory.mktemp("models"))


def test_the_same_data_recipe_and_seed_give_the_same_files(once: Trained, tmp_path: Path) -> None:
    again = trained_into(tmp_path)
    same = {name: digest for name, digest in once.manifest.files.items() if name != PIPELINE}
    assert {name: digest for name, digest in again.manifest.files.items() if name != PIPELINE} == same
    assert again.folder.relative_to(tmp_path).as_posix() == "small/2026.11.24.1"


def test_a_second_model_of_the_day_gets_the_next_number(once: Trained) -> None:
    assert trained_into(once.folder.parents[1]).manifest.version == "2026.11.24.2"


def test_the_served_arrays_score_what_the_kept_pipeline_scores(once: Trained) -> None:
    manifest, arrays = artifacts.read(once.folder)
    judge = ready_judge(manifest, arrays)
    texts = [row.text for row in gather([LABELLED], [], SMALL)[0]]
    pipeline = joblib.load(io.BytesIO((once.folder / PIPELINE).read_bytes()))
    expected = pipeline.predict_proba(texts)[:, 1]
    np.testing.assert_allclose(
        judge.scorer.read(normalize_batch(texts)).scores.probability, expected, rtol=0, atol=1e-9
    )


def test_manifest_and_card_say_where_the_model_comes_from_and_how_it_was_cut(once: Trained) -> None:
    manifest = once.manifest
    assert manifest.counts["rows"] == manifest.counts["spam"] + manifest.counts["ham"] > 300
    assert manifest.sources[0].name == "labelled.jsonl" and len(manifest.sources[0].sha256) == 64
    assert 0 < manifest.ham_cutoff <= manifest.spam_cutoff < 1
    assert manifest.budget.upper_bound <= 0.5
    assert manifest.metrics["headline"]["auc"]["low"] <= manifest.metrics["headline"]["auc"]["value"]
    card = (once.folder / artifacts.CARD).read_text(encoding="utf-8")
    assert "written for this test" in card and f"{manifest.spam_cutoff:.4f}" in card
    page = (once.folder / CARD_PAGE).read_text(encoding="utf-8")
    for said in ("written for this test", f"<b>{manifest.spam_cutoff:.4f}</b>", "Categories of spam", "data:image/png"):
        assert said in page
    assert not re.findall(r"\*\*|<script|<link|@import|url\(", page)


def test_candidates_are_compared_on_every_seed_s_folds(once: Trained) -> None:
    candidates = once.manifest.metrics["candidates"]
    assert [len(recalls) for recalls in candidates.values()] == [2, 2]
    assert "| candidate | seed 1 | seed 2 |" in (once.folder / artifacts.CARD).read_text(encoding="utf-8")


def test_what_a_guard_protects_is_not_counted_as_blocked() -> None:
    rows = [Row(text="a", label="ham"), Row(text="b", label="ham")]
    figures = report(
        rows, np.array([0.9, 0.9]), ham_cutoff=0.5, spam_cutoff=0.8, headline=frozenset(), seed=0,
        spared=np.array([True, False]),
    )  # fmt: skip
    assert figures["by_source"]["own"]["ham"] == {"rows": 2, "blocked": 1, "unsure": 0}


def test_a_budget_the_rows_cannot_show_is_refused_with_what_they_lack(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"cannot be shown: .* had and needed: personal .* of .*, notice"):
        trained_into(tmp_path, msgspec.structs.replace(SMALL, budget=0.001))
    assert not list(tmp_path.rglob("manifest.json"))


def test_messages_with_nothing_but_a_label_train_on_a_budget_of_all_good_ones_and_their_near_duplicates_are_found(
    tmp_path: Path,
) -> None:
    rows = read_rows(LABELLED)
    again = [msgspec.structs.replace(row, text=row.text + "！") for row in rows[:50]]
    path = tmp_path / "mine.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("text", "label"), *((row.text, row.label) for row in (*rows, *again))])
    found, files = gather([path], [], SMALL)
    assert len(found) == len(rows) + 50
    assert len({row.group for row in found}) <= len(rows)
    trained = train(found, files, tmp_path, SMALL, now=NOON)
    assert trained.manifest.budget.mix == {"any": 1.0}
    card = (trained.folder / artifacts.CARD).read_text(encoding="utf-8")
    assert "all good messages, none of which says its kind" in card
    assert "public" not in card, "what is weak about others' corpora is nothing to say of this model"
    assert trained.manifest.budget.ham_rows == len({row.group for row in found if not row.is_spam})
    scored = scored_rows(found, trained.log_odds, frozenset())
    assert {row.ham_kind for row in scored} == {"any", ""}
    with pytest.raises(DataError, match=r"any \d+ of 2,996; bring more, .* --budget 0\.0\d+\.$"):
        train(found, files, tmp_path, msgspec.structs.replace(SMALL, budget=0.001))


def test_a_recipe_made_for_other_sources_serves_rows_of_ones_own() -> None:
    rows = [Row(text="a", label="ham", category="personal"), Row(text="b", label="spam")]
    theirs = msgspec.structs.replace(SMALL, headline=("theirs",))
    assert suited(theirs, rows) == SMALL
    assert suited(theirs, [*rows, Row(text="c", label="ham", source="theirs")]) == theirs


def test_sources_of_one_label_each_are_nothing_to_tell_spam_by(tmp_path: Path) -> None:
    rows = [msgspec.structs.replace(row, source=f"all {row.label}") for row in read_rows(LABELLED)]
    with pytest.raises(DataError, match="no source holds both spam and ham"):
        train(rows, [], tmp_path, SMALL)


def test_near_duplicates_share_a_fold_and_the_seed_decides_which() -> None:
    groups = [f"g{number}" for number in range(200)]
    assert [fold_of(group, 5, 0) for group in groups] == [fold_of(group, 5, 0) for group in reversed(groups)][::-1]
    assert {fold_of(group, 5, 0) for group in groups} == set(range(5))
    assert [fold_of(group, 5, 0) for group in groups] != [fold_of(group, 5, 1) for group in groups]


def test_the_shipped_recipe_reads_and_a_misspelt_one_says_where(tmp_path: Path) -> None:
    shipped = read_recipe(ROOT / "training" / "recipes" / "shipped.toml")
    assert [view.name for view in shipped.view_list()] == list(shipped.views)
    wrong = tmp_path / "wrong.toml"
    wrong.write_text("fold = 5\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"wrong\.toml is no recipe .*fold"):
        read_recipe(wrong)
