"""Does padding teach a model that good words around an advert say nothing?"""

from datetime import UTC, datetime
from pathlib import Path

import msgspec
import numpy as np
import pytest
from spamguard_training.corpus import Row
from spamguard_training.fit import prepare, teach
from spamguard_training.padding import padded, with_notices
from spamguard_training.recipe import Candidate, Recipe
from spamguard_training.train import gather, train

from spamguard.backends import artifacts
from spamguard.core.normalize import normalize_batch
from spamguard.core.scorer import LinearScorer

LABELLED = Path(__file__).parents[3] / "datasets" / "samples" / "labelled.jsonl"
CHAT = ("晚上一起吃饭吗我七点到家", "明天记得带伞好像要下雨", "妈妈说周末回来包饺子")


def rows() -> list[Row]:
    chat = [Row(id=f"c{n}", text=text, label="ham", category="personal") for n, text in enumerate(CHAT)]
    return [
        *chat,
        Row(id="s", text="代开各类发票，点数优惠", label="spam"),
        Row(id="x", text="win now", label="spam", lang="en"),
    ]


def test_copies_hold_the_row_and_private_messages_of_its_language_alone() -> None:
    given = rows()
    found = padded(given, np.array([1.0, 1.0, 0.1, 1.0, 1.0]), np.arange(5), 1.0, 0)
    assert found.places.tolist() == [0, 1, 3]  # nothing private is known in English, and one row weighs too little
    for text, place in zip(found.texts, found.places.tolist(), strict=True):
        assert given[place].text in text
        assert any(line in text.replace(given[place].text, "", 1) for line in CHAT)


def test_copies_are_the_same_for_the_same_seed_and_take_padding_from_the_seen_rows_alone() -> None:
    given, ones = rows(), np.ones(5)
    everyone = np.arange(5)
    assert padded(given, ones, everyone, 1.0, 0).texts == padded(given, ones, everyone, 1.0, 0).texts
    assert not padded(given, ones, everyone, 0.0, 0).texts
    assert not set(CHAT[2:]) & set("".join(padded(given, ones, np.array([0, 1, 3]), 1.0, 0).texts).split())


def test_a_notice_or_a_sentence_of_one_stands_before_or_behind_a_row() -> None:
    given = [*rows(), Row(id="n", text="您的验证码1234。五分钟内有效。", label="ham", category="otp")]
    found = with_notices(given, np.array([1.0, 1.0, 0.1, 1.0, 1.0, 1.0]), np.arange(6), 1.0, 0)
    assert found.places.tolist() == [0, 1, 3, 5]
    for text, place in zip(found.texts, found.places.tolist(), strict=True):
        assert given[place].text in text
        assert "验证码1234" in text or "五分钟内有效" in text
    assert found.texts == with_notices(given, np.ones(6), np.array([0, 1, 3, 5]), 1.0, 0).texts
    assert not with_notices(given, np.ones(6), np.arange(5), 1.0, 0).texts


def test_a_large_corpus_trains_on_no_more_copies_than_a_smaller_one() -> None:
    recipe = Recipe(padding=1.0, notices=1.0, rewriting=1.0)
    read, _ = gather([LABELLED], [], recipe)
    data, everyone = prepare(read, recipe), np.arange(len(read))

    def copies(most: int) -> int:
        _, taught = teach(data, everyone, msgspec.structs.replace(recipe, copied_rows=most))
        assert sum(block.shape[0] for block in taught.blocks) == len(taught.spam) == len(taught.weights)
        return len(taught.spam) - len(read)

    assert copies(len(read)) == copies(60_000) > 0
    assert 0.3 * copies(len(read)) < copies(len(read) // 2) < 0.7 * copies(len(read))


@pytest.mark.parametrize("advert", ["代开各类发票，点数优惠，联系13900001234王经理。"])
def test_a_model_that_learned_with_padding_loses_less_when_an_advert_is_padded(advert: str, tmp_path: Path) -> None:
    plain = Recipe(
        name="toy", candidates=(Candidate(classifier="svm", strength=1.0),), folds=2, budget=0.5, review_budget=0.5,
        mix={"personal": 1.0, "notice": 1.0}, kind_features=500,
    )  # fmt: skip
    lost = []
    for share in (0.0, 1.0):
        recipe = msgspec.structs.replace(plain, padding=share, name=f"toy-{share:g}")
        read, files = gather([LABELLED], [], recipe)
        trained = train(read, files, tmp_path, recipe, now=datetime(2026, 11, 24, tzinfo=UTC))
        scorer = LinearScorer(artifacts.read(trained.folder)[1])
        clean, hidden = scorer.score(normalize_batch([advert, advert + "".join(CHAT)])).log_odds
        lost.append(clean - hidden)
    assert lost[1] < lost[0]
