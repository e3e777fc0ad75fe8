"""Does evasion not pay against the model that ships, does the defence hurt nobody, and is the attack itself honest?"""

import random
from pathlib import Path
from typing import Any

import pytest
from spamguard_training.attacks import available, greedy, judge_texts, matrix, overlap, sample, write_all
from spamguard_training.corpus import Row
from spamguard_training.families import generate, read_families
from spamguard_training.writings import own_writings, swap, variant_writings

from spamguard.config import load
from spamguard.core.decide import Judge
from spamguard.errors import DataError
from spamguard.service.catalogue import load_judge
from tests.cast import MUM

FAMILIES = Path(__file__).parents[3] / "datasets" / "families"
#: Share of the clean recall that every writing must keep; measured 0.95 and more, less a margin of 0.03.
LEAST_KEPT = 0.92
#: More ham blocked than in clean writing, at most, as a share of all ham; measured below 0.002.
MOST_MORE_HAM = 0.005
#: What still pays (docs/why.md says why), at what was measured of the shipped model less a margin of 0.05.
LEAST_KEPT_OF = {
    "dots between all": 0.89, "Chinese numerals": 0.81, "split characters": 0.85,
    "split characters with spaces": 0.85,
    "leet": 0.79, "spaced Latin letters": 0.86, "initials": 0.91, "sentences shuffled": 0.88, "good words added": 0.30,
    "combined: capitals, split, * every 2": 0.90, "pinyin for 20 %": 0.80, "commas between some": 0.86,
}  # fmt: skip


@pytest.fixture(scope="module")
def figures(rows: list[Row]) -> dict[str, Any]:
    """The matrix of the shipped model on the samples and two messages of every family."""
    judge, _ = load_judge(load(environ={}))
    invented = generate(read_families([FAMILIES]), each=2, seed=7)
    return matrix([*rows, *invented], judge, queries=0)


def test_the_worst_writing_keeps_the_stated_share_of_recall(figures: dict[str, Any]) -> None:
    kept = {name: found["recall_kept"]["value"] for name, found in figures["writings"].items()}
    short = {name: share for name, share in kept.items() if share < LEAST_KEPT_OF.get(name, LEAST_KEPT)}
    assert len(kept) >= 20
    assert not short, f"evasion pays: {short}"


def test_no_writing_gets_more_good_messages_blocked_than_stated(figures: dict[str, Any]) -> None:
    more = {name: found["ham_difference"]["value"] for name, found in figures["writings"].items()}
    hurt = {name: share for name, share in more.items() if share > MOST_MORE_HAM}
    assert not hurt, f"good messages pay: {hurt}"


def test_every_writing_changes_something_and_is_the_same_for_the_same_seed(rows: list[Row]) -> None:
    texts = [row.text for row in rows]
    writings, missing = available(None)
    assert len({writing.name for writing in writings}) == len(writings) >= 20
    assert missing
    for writing in writings:
        written = write_all(texts, writing, seed=1)
        assert written == write_all(texts, writing, seed=1)
        assert written != texts, writing.name


def test_without_a_folder_of_variants_the_writings_that_need_it_are_named(figures: dict[str, Any]) -> None:
    assert "similar glyphs 15 %" in figures["not_run"]
    assert "--variants" in figures["not_run"]["Martian"]


def test_tables_are_read_from_the_folder_and_a_bad_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError):
        variant_writings(tmp_path)
    for name in ("音近字语料库", "形近字语料库", "简体-火星文词典"):
        (tmp_path / f"{name}.txt").write_text("票 漂飘\n信 \t 伩\n", encoding="utf-8")
    (tmp_path / "无意义符号.txt").write_text("♄\n╬\n", encoding="utf-8")
    by_name = {writing.name: writing for writing in variant_writings(tmp_path)}
    assert by_name["homophones 50 %"].table["票"] == ("漂", "飘")
    assert by_name["Martian"].write("发票信", random.Random(0)) in ("发漂伩", "发飘伩")


def test_overlap_tells_what_the_normaliser_undoes() -> None:
    found = overlap(own_writings())
    assert found["Traditional, whole text"]["share"] == 1.0
    assert found["initials"]["share"] < 0.5


def test_a_swap_prefers_the_longest_key() -> None:
    assert swap({"微": ("w",), "微信": ("v信",)})("微信微", random.Random(0)) == "v信w"


def test_a_sample_takes_whole_groups(rows: list[Row]) -> None:
    chosen = sample(rows, 50, seed=3)
    groups = {row.group for row in chosen}
    assert 50 <= len(chosen) < len(rows)
    assert len(chosen) == sum(row.group in groups for row in rows)


def test_a_greedy_attacker_asks_at_most_so_often_and_spends_less_on_what_passes(rows: list[Row], judge: Judge) -> None:
    texts = [row.text for row in rows if row.is_spam][:20]
    texts = [text for text, hit in zip(texts, judge_texts(texts, judge).blocked.tolist(), strict=True) if hit]
    blocked, asked = greedy(texts, judge, own_writings(), seed=0, queries=20, share=1.0)
    again, _ = greedy(texts, judge, own_writings(), seed=0, queries=20, share=1.0)
    assert texts and len(blocked) == len(texts)
    assert asked <= 20
    assert blocked.tolist() == again.tolist()
    assert not judge_texts([MUM], judge).blocked.any()
