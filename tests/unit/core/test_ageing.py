"""Is moved traffic told from calm, with the feature and the words that moved, and are old references still read?"""

import msgspec
import numpy as np
import pytest

from spamguard.core import ageing
from spamguard.core.ageing import EDGES, Observed, Reference, Tally, moved_words, reference_of, shifts
from spamguard.core.manifest import Manifest
from tests.conftest import Trained, manifest_of


def drawn(rng: np.random.Generator, size: int, centre: float = 40.0) -> Tally:
    """Return a tally of messages whose length has this centre."""
    tally = Tally()
    names = {"category": rng.integers(0, 6, size=size // 4), "blocked": (rng.random(size) < 0.1).astype(np.int64)}
    values = {
        "score": rng.random(size) ** 3,
        "length": rng.normal(centre, 15, size=size),
        "unknown_words": rng.random(size) * 0.1,
        "rewritten": rng.random(size) * 0.1,
    }
    tally.add(Observed(values, names))
    return tally


def test_a_hundred_calm_windows_raise_no_alarm_and_one_that_moved_names_its_feature() -> None:
    rng = np.random.default_rng(1)
    reference = reference_of(drawn(rng, 20_000))
    quiet = [max(shift.psi or 0.0 for shift in shifts(drawn(rng, 2000), reference)) for _ in range(100)]
    assert max(quiet) < ageing.CALM
    first, *others = shifts(drawn(rng, 2000, centre=60.0), reference)
    assert (first.feature, first.psi is not None and first.psi > ageing.MOVED) == ("length", True)
    assert all(shift.psi is not None and shift.psi < ageing.CALM for shift in others)


def test_a_feature_with_too_few_messages_says_nothing() -> None:
    rng = np.random.default_rng(1)
    found = {shift.feature: shift.psi for shift in shifts(drawn(rng, 600), reference_of(drawn(rng, 20_000)))}
    assert {name for name, value in found.items() if value is None} == {"score", "length", "blocked", "category"}


def test_a_reference_keeps_its_own_edges_so_that_other_releases_read_it() -> None:
    rng = np.random.default_rng(2)
    older = Tally({**EDGES, "length": (10.0, 50.0)})
    older.add(Observed({"length": rng.normal(40, 15, size=5000)}, {}))
    kept = msgspec.json.decode(msgspec.json.encode(reference_of(older)), type=Reference)
    now = Tally(kept.edges)
    now.add(Observed({"length": rng.normal(40, 15, size=2000)}, {}))
    (length,) = [shift for shift in shifts(now, kept) if shift.feature == "length"]
    assert length.psi is not None and length.psi < ageing.CALM
    assert len(length.now) == 3
    lacking = msgspec.structs.replace(kept, edges={}, counts={})
    assert all(shift.psi is None for shift in shifts(Tally(lacking.edges), lacking))


def test_the_words_that_moved_are_named_strongest_first_and_punctuation_is_not() -> None:
    reference = Reference(messages=10_000, edges={}, counts={}, words={"发票": 0.02, "回家": 0.1, "，": 0.5, "的": 0.3})
    now = {"发票": 0.02, "回家": 0.05, "空投": 0.08, "，": 0.9, "的": 0.3}
    found = moved_words(now, 2000, reference)
    assert [(word.word, word.strength > 0) for word in found[:2]] == [("空投", True), ("回家", False)]
    assert "，" not in {word.word for word in found}
    assert abs(found[-1].strength) < 3


def test_a_manifest_without_a_reference_and_one_with_fields_of_the_future_are_read(trained: Trained) -> None:
    manifest = manifest_of(trained.arrays)
    known = msgspec.json.decode(msgspec.json.encode(manifest))
    del known["reference"]
    assert msgspec.convert(known, Manifest, strict=False).reference is None
    reference = msgspec.to_builtins(reference_of(drawn(np.random.default_rng(1), 100)))
    known["reference"] = reference | {"a_field_of_the_future": {"x": 1}}
    read = msgspec.json.decode(msgspec.json.encode(known), type=Manifest)
    assert read.reference is not None and read.reference.messages == 100


def test_a_dose_of_another_language_moves_the_share_of_unknown_words(trained: Trained) -> None:
    known = {word: number for number, word in enumerate(trained.arrays.words)}
    calm = ageing.observe_texts(["您的验证码为482913，请勿告诉他人。"] * 10, known)
    foreign = ageing.observe_texts(["Þetta er ný tegund af skilaboðum frá útlöndum"] * 10, known)
    assert calm.values["unknown_words"].mean() < 0.5 < foreign.values["unknown_words"].mean()
    assert ageing.observe_texts([""], known).values["unknown_words"].tolist() == [0.0]
    hidden = ageing.observe_texts(["加\u200b我\u200b微\u200b信"], known).values["rewritten"]
    assert hidden[0] == pytest.approx(3 / 7)
