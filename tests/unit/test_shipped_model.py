"""Is the model that ships here fit to be let loose: blocks it no good notice, and keeps it its data to itself?"""

import re
import tomllib
from collections import Counter
from pathlib import Path

import pytest
from spamguard_training.families import generate, read_families

from spamguard.backends import artifacts, registry
from spamguard.config import load
from spamguard.contract.examples import BLOCKED, MESSAGE
from spamguard.core.decide import Request
from spamguard.core.normalize import TOKENS
from spamguard.engine.filter import LiveFilter
from spamguard.service.catalogue import load_judge
from spamguard.service.judging import offline_filter
from spamguard.types import Action, Decision, Message

SUITES = Path(__file__).parents[1] / "suites"
MAX_BYTES = 20 << 20


@pytest.fixture(scope="module")
def engine() -> LiveFilter:
    return offline_filter(load(environ={}))


def judged(engine: LiveFilter, texts: list[str]) -> list[Decision]:
    requests = [Request(Message(message_id=str(n), text=text), f"{n:032x}", 0) for n, text in enumerate(texts)]
    return [decision for at in range(0, len(requests), 500) for decision in engine.judge_now(requests[at : at + 500])]


def test_not_one_of_5000_independent_transactional_messages_is_blocked(engine: LiveFilter) -> None:
    families = read_families([SUITES / "transactional.toml"])
    rows = list(generate(families, each=25, seed=20261124))
    blocked = Counter(
        row.set
        for row, decision in zip(rows, judged(engine, [row.text for row in rows]), strict=True)
        if decision.action is Action.BLOCK
    )
    assert len(rows) >= 5000
    assert len(families) >= 150
    assert not blocked, f"blocked of {len(rows)} messages of {len(families)} families: {dict(blocked)}"


def test_a_code_or_a_bank_s_name_added_to_an_advert_does_not_open_the_door(engine: LiveFilter) -> None:
    tricks = tomllib.loads((SUITES / "guard_tricks.toml").read_text(encoding="utf-8"))["trick"]
    plain = judged(engine, [trick["plain"] for trick in tricks])
    tricked = judged(engine, [trick["text"] for trick in tricks])
    guarded = [t["id"] for t, decision in zip(tricks, tricked, strict=True) if decision.guard]
    assert len(tricks) >= 300
    assert not guarded, f"a guard protects {guarded}"
    assert sum(decision.action is Action.BLOCK for decision in plain) > len(plain) / 3


def test_no_feature_holds_a_number_of_five_figures_or_a_phone() -> None:
    _, model = artifacts.read(registry.resolve("champion", registry.shipped_models()))
    assert not [word for word in model.words if re.search(r"\d", word)]
    for name, (codes, _) in model.symbols.items():
        figures = [chr(code) for code in codes.tolist() if chr(code).isdigit()]
        assert not figures, f"view {name} knows the figures {figures}"
    assert TOKENS["mobile"] in model.words  # phones are known as one token, not by their figures


def test_the_shipped_model_is_small_and_its_card_and_notice_lie_beside_it() -> None:
    folder = registry.resolve("champion", registry.shipped_models())
    assert sum(path.stat().st_size for path in folder.iterdir()) < MAX_BYTES
    card = (folder / "card.md").read_text(encoding="utf-8")
    assert "none stated" in card and "retrain" in card
    assert (registry.shipped_models() / "NOTICE").is_file()


def test_the_shipped_model_was_made_by_the_shipped_recipe_and_passes_its_self_tests() -> None:
    judge, manifest = load_judge(load(environ={}))
    assert judge.name == manifest.full_name
    assert len(manifest.self_tests) >= 10
    assert {source.name for source in manifest.sources} >= {"train_zh.jsonl.gz", "train_en.jsonl.gz"}
    assert manifest.budget.upper_bound <= manifest.budget.false_positive_rate


def test_the_contract_s_example_and_the_readme_say_what_the_shipped_model_says(engine: LiveFilter) -> None:
    [decision] = judged(engine, [MESSAGE.text or ""])
    for field in ("action", "reason", "score", "ham_cutoff", "spam_cutoff", "category", "model"):
        assert getattr(decision, field) == getattr(BLOCKED, field), field
    assert decision.clues[: len(BLOCKED.clues)] == BLOCKED.clues
    shown = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    assert (
        f'"score": {decision.score},\n "ham_cutoff": {decision.ham_cutoff}, "spam_cutoff": {decision.spam_cutoff}'
        in shown
    )
    assert f'"model": "{decision.model}"' in shown
