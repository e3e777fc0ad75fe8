"""Is a source that gives itself away named, and do models that need training of their own see only what they may?"""

import msgspec
import pytest
from spamguard_training.corpus import Row
from spamguard_training.cross import cross_source, guess_sources, learning_curve, other_domains
from spamguard_training.fit import fold_of, headline_sources
from spamguard_training.recipe import Candidate, Recipe

RECIPE = Recipe(
    views=("words",), least_groups=2, folds=3, candidates=(Candidate(classifier="logistic", strength=10.0),)
)


@pytest.fixture(scope="module")
def two_sources(rows: list[Row]) -> list[Row]:
    """The labelled samples as two sources with both classes, told apart by nothing but chance of their group."""
    return [msgspec.structs.replace(row, source=("east", "west")[fold_of(row.group, 2, 5)]) for row in rows]


@pytest.fixture(scope="module")
def chat() -> list[Row]:
    """A source of ham alone, all of it in one manner."""
    return [
        Row(
            id=f"c{n}",
            text=f"嗯嗯 好滴呀 {'哈' * (1 + n % 5)} lah 我{n}点到",
            label="ham",
            source="chat",
            group=f"c{n}",
        )
        for n in range(90)
    ]


def test_each_source_is_tried_on_the_other_and_shared_groups_are_no_test(two_sources: list[Row]) -> None:
    shared = msgspec.structs.replace(two_sources[0], source="west" if two_sources[0].source == "east" else "east")
    shared = msgspec.structs.replace(shared, id="shared", text=shared.text + "。")
    found = cross_source([*two_sources, shared], RECIPE)
    assert [(one["trained_on"], one["tested_on"]) for one in found] == [("east", "west"), ("west", "east")]
    sizes = {source: sum(row.source == source for row in two_sources) for source in ("east", "west")}
    assert all(one["rows"] <= sizes[one["tested_on"]] for one in found)
    assert all(one["auc"] > 0.8 for one in found)
    assert found == cross_source([*two_sources, shared], RECIPE)


def test_sources_of_two_languages_are_not_tried_on_each_other(two_sources: list[Row]) -> None:
    apart = [msgspec.structs.replace(row, lang="en" if row.source == "east" else "zh-Hant") for row in two_sources]
    assert cross_source(apart, RECIPE) == []


def test_ham_that_gives_its_source_away_is_warned_of(two_sources: list[Row], chat: list[Row]) -> None:
    rows = two_sources + chat
    guessed = guess_sources(rows, RECIPE)
    assert guessed["ham"]["auc"]["chat"] > 0.98
    assert guessed["ham"]["auc"]["east"] < 0.98
    assert set(guessed["spam"]["auc"]) == {"east", "west"}
    assert 0 <= guessed["spam"]["accuracy"] <= 1
    [warning] = other_domains(rows, guessed)
    assert warning.startswith("The ham of chat looks like another domain")


def test_a_few_strays_make_no_source_of_both_classes(two_sources: list[Row], chat: list[Row]) -> None:
    wide = [msgspec.structs.replace(row, id=f"{row.id}{n}") for n in range(3) for row in chat]
    stray = msgspec.structs.replace(chat[0], label="spam", id="stray")
    assert headline_sources([*two_sources, *wide, stray], Recipe()) == {"east", "west"}
    assert headline_sources([*two_sources, *wide, stray], Recipe(headline=("chat",))) == {"chat"}


def test_the_learning_curve_grows_by_group_and_is_the_same_again(two_sources: list[Row]) -> None:
    curve = learning_curve(two_sources, RECIPE)
    sizes = [point["rows"] for point in curve]
    assert sizes == sorted(set(sizes))
    assert sizes[-1] == sum(fold_of(row.group, RECIPE.folds, RECIPE.seed) != 0 for row in two_sources)
    assert curve[-1]["auc"] >= curve[0]["auc"]
    assert curve == learning_curve(two_sources, RECIPE)


def test_without_both_labels_among_the_unseen_there_is_no_curve(chat: list[Row]) -> None:
    assert learning_curve(chat, RECIPE) == []
