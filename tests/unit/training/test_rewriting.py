"""Does rewriting teach a model that words may be written otherwise, by honest people too?"""

import random
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import numpy as np
import pytest
from spamguard_training.corpus import Row
from spamguard_training.recipe import Candidate, Recipe
from spamguard_training.rewriting import REWRITES, rewritten, tables
from spamguard_training.train import gather, train

from spamguard.backends import artifacts
from spamguard.core.normalize import normalize_batch
from spamguard.core.scorer import LinearScorer

LABELLED = Path(__file__).parents[3] / "datasets" / "samples" / "labelled.jsonl"
ADVERT = "代开各类发票，点数优惠，联系我们办理手续，欢迎来电咨询"


def rows() -> list[Row]:
    return [
        Row(id="s", text=ADVERT, label="spam"),
        Row(id="h", text="晚上一起吃饭吗，我七点到家", label="ham"),
        Row(id="l", text=ADVERT + "！", label="spam"),
        Row(id="e", text="see you at 7", label="ham", lang="en"),
    ]


@pytest.mark.parametrize("name", REWRITES)
def test_every_way_changes_a_chinese_message_and_leaves_an_english_one(name: str) -> None:
    rewrite = REWRITES[name]
    written = {rewrite(ADVERT, random.Random(seed)) for seed in range(20)}
    assert len(written - {ADVERT}) > 3
    assert rewrite("see you at 7", random.Random(0)) == "see you at 7"


def test_both_classes_are_rewritten_in_every_way_and_rows_that_weigh_little_are_not() -> None:
    given = rows()
    found = rewritten(given, np.array([1.0, 1.0, 0.1, 1.0]), np.arange(4), 1.0, 0)
    assert set(found.places.tolist()) == {0, 1}
    assert 2 * len(REWRITES) - 4 <= len(found.texts) <= 2 * len(REWRITES)
    assert not set(found.texts) & {row.text for row in given}


def test_copies_are_the_same_for_the_same_seed_whatever_else_is_in_the_corpus() -> None:
    given, ones = rows(), np.ones(4)
    all_of_them = rewritten(given, ones, np.arange(4), 0.5, 0)
    assert all_of_them.texts == rewritten(given, ones, np.arange(4), 0.5, 0).texts
    assert set(rewritten(given, ones, np.array([1]), 0.5, 0).texts) <= set(all_of_them.texts)
    assert not rewritten(given, ones, np.arange(4), 0.0, 0).texts


def test_the_tables_swap_a_character_for_another_one() -> None:
    found = tables()
    assert "漂" in found.same_sound["票"] and "漂" in found.alike["票"]
    assert "飄" in found.rare["票"] and "飄" not in found.alike["票"]
    assert found.parts["码"] == "石马"
    for table in (found.same_sound, found.alike, found.rare):
        assert not [char for char, variants in table.items() if char in variants]


def test_a_model_that_learned_with_rewriting_loses_less_when_an_advert_is_rewritten(tmp_path: Path) -> None:
    plain = Recipe(
        name="toy", views=("words", "chars", "sounds"), candidates=(Candidate(classifier="svm", strength=1.0),),
        folds=2, budget=0.5, review_budget=0.5, mix={"personal": 1.0, "notice": 1.0}, kind_features=500,
    )  # fmt: skip
    lost = []
    for share in (0.0, 1.0):
        recipe = msgspec.structs.replace(plain, rewriting=share, rewriting_weight=1.0, name=f"toy-{share:g}")
        read, files = gather([LABELLED], [], recipe)
        trained = train(read, files, tmp_path, recipe, now=datetime(2026, 11, 24, tzinfo=UTC))
        scorer = LinearScorer(artifacts.read(trained.folder)[1])
        adverts = [row.text for row in read if row.is_spam and row.lang.startswith("zh")]
        written = [REWRITES["rarity"](text, random.Random(text)) for text in adverts]
        before, after = (scorer.score(normalize_batch(texts)).probability for texts in (adverts, written))
        lost.append(float(np.mean(before - after)))
    assert lost[1] < lost[0]
