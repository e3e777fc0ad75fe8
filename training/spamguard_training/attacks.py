"""Does evasion pay, and who pays for the defence?

Every writing is applied to spam and to ham alike, and judged as the service judges: guards, evidence floor and the
shipped cutoff included. What is lost of the recall says whether evasion pays; what is blocked more of the ham says
whom the defence hurts. A greedy attacker then rewrites each caught message as long as it may ask for scores. The same
rows, model and seed give the same figures.
"""

import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from spamguard.core.decide import Conditions, Judge, Request, decide
from spamguard.core.normalize import normalize_batch
from spamguard.core.policy import STANDARD
from spamguard.types import Action, Message
from spamguard_training.baits import Trick, bait_figures
from spamguard_training.corpus import Row
from spamguard_training.measure import RESAMPLES, Flags, Floats
from spamguard_training.writings import (
    BY_PINYIN,
    BY_TABLE,
    GOOD_WORDS,
    Writing,
    own_writings,
    pinyin_writing,
    variant_writings,
)

CLEAN: Final = "clean"
#: How often the greedy attacker may ask for a message's score.
QUERIES: Final = 50
#: Of these queries so many find out which piece of the message matters most.
PROBES: Final = 12
#: How much of a message the attackers rewrite: one leaves it readable, the other does not care and adds sentences too.
GREEDY_SHARES: Final = {"greedy, a third of the text": 1 / 3, "greedy, everything": 1.0}
_BATCH: Final = 500

#: Called with what is being done, how many steps are done and how many there are.
Progress = Callable[[str, int, int], None]


class Judged(NamedTuple):
    """What the service would do with texts."""

    blocked: Flags
    scores: Floats


def judge_texts(texts: Sequence[str], judge: Judge) -> Judged:
    """Return block or not, and the score, of each text as a message of its own."""
    conditions = Conditions(STANDARD, False, "", 0.0, lambda: 0.0)
    requests = [Request(Message(message_id="m", text=text), "", 0) for text in texts]
    decisions = [
        decision
        for first in range(0, len(requests), _BATCH)
        for decision in decide(requests[first : first + _BATCH], judge, conditions)
    ]
    blocked = np.array([decision.action is Action.BLOCK for decision in decisions], dtype=np.bool_)
    return Judged(blocked, np.array([decision.score or 0.0 for decision in decisions]))


def _blocked(texts: Sequence[str], judge: Judge) -> Flags:
    return judge_texts(texts, judge).blocked


def write_all(texts: Sequence[str], writing: Writing, seed: int) -> list[str]:
    """Return the texts in another writing; each text's chance depends on the seed, the writing and itself alone."""
    return [writing.write(text, random.Random(f"{seed}:{writing.name}:{text}")) for text in texts]  # noqa: S311


def available(variants: Path | None) -> tuple[list[Writing], dict[str, str]]:
    """Return the writings that can run, and why the others cannot. Raises DataError for a bad folder."""
    writings = own_writings()
    missing: dict[str, str] = {}
    if variants is None:
        missing |= dict.fromkeys(BY_TABLE, "needs --variants, a folder of tables")
    else:
        writings += variant_writings(variants)
    if (by_pinyin := pinyin_writing()) is None:
        missing[BY_PINYIN] = "needs the package pypinyin"
    else:
        writings.append(by_pinyin)
    return writings, missing


def sample(rows: Sequence[Row], size: int, seed: int) -> list[Row]:
    """Return whole near-duplicate groups until there are `size` rows; all rows when there are not more."""
    members: dict[str, list[Row]] = {}
    for row in rows:
        members.setdefault(row.group, []).append(row)
    names = sorted(members)
    random.Random(seed).shuffle(names)  # noqa: S311 - reproducible, not secret
    chosen: list[Row] = []
    for name in names:
        if len(chosen) >= size:
            break
        chosen += members[name]
    return chosen


def matrix(
    rows: Sequence[Row],
    judge: Judge,
    *,
    variants: Path | None = None,
    tricks: Sequence[Trick] = (),
    seed: int = 0,
    queries: int = QUERIES,
    progress: Progress = lambda *_: None,
) -> dict[str, Any]:
    """Return every writing's recall and share of ham blocked, absolute and against clean, ready for JSON.

    With the suite's guard tricks also what their baits let through.
    """
    writings, missing = available(variants)
    steps = len(writings) + 1 + queries * len(GREEDY_SHARES)
    texts = [row.text for row in rows]
    spam = np.array([row.is_spam for row in rows])
    shares = _Shares(spam, [row.group for row in rows], seed)
    progress(CLEAN, 0, steps)
    clean = judge_texts(texts, judge)
    figures: dict[str, Any] = {
        "model": judge.name,
        "spam_cutoff": judge.spam_cutoff,
        "seed": seed,
        "spam": int(spam.sum()),
        "ham": int((~spam).sum()),
        "groups": shares.groups,
        CLEAN: shares.of(clean.blocked, clean.blocked),
        "writings": {},
    }
    for step, writing in enumerate(writings, start=1):
        progress(writing.name, step, steps)
        written = write_all(texts, writing, seed)
        found = shares.of(judge_texts(written, judge).blocked, clean.blocked)
        found["changed"] = _changed(texts, written)
        figures["writings"][writing.name] = found
    if tricks:
        progress("baits", len(writings), steps)
        figures["guard_tricks"] = bait_figures(rows, clean.blocked, tricks, judge, _blocked, seed)
    figures["attackers"] = {}
    caught = np.flatnonzero(spam & clean.blocked)
    tables = [writing for writing in writings if not writing.name.startswith("combined")]
    for number, (name, share) in enumerate(GREEDY_SHARES.items() if queries and len(caught) else ()):
        before = len(writings) + 1 + number * queries
        left, asked = greedy(
            [texts[place] for place in caught],
            judge,
            tables,
            seed=seed,
            queries=queries,
            share=share,
            progress=lambda done, name=name, before=before: progress(name, before + done, steps),  # type: ignore[misc]
        )
        blocked = clean.blocked.copy()
        blocked[caught] = left
        found = shares.of(blocked, clean.blocked)
        figures["attackers"][name] = {"recall": found["recall"], "recall_kept": found["recall_kept"], "queries": asked}
    figures["not_run"] = missing
    figures["overlap"] = overlap(writings)
    progress("done", steps, steps)
    return figures


def _changed(texts: Sequence[str], written: Sequence[str]) -> float:
    return round(sum(one != other for one, other in zip(texts, written, strict=True)) / max(1, len(texts)), 4)


def overlap(writings: Sequence[Writing]) -> dict[str, dict[str, float]]:
    """Return how much of each attack table the normaliser undoes: what it shares with the tables of the defence."""
    found = {}
    for writing in writings:
        pairs = [(source, variant) for source, variants in writing.table.items() for variant in variants]
        if not pairs or writing.name.startswith("combined"):
            continue
        plain = normalize_batch([source for source, _ in pairs])
        undone = sum(one == other for one, other in zip(plain, normalize_batch([v for _, v in pairs]), strict=True))
        found[writing.name] = {"pairs": len(pairs), "undone": undone, "share": round(undone / len(pairs), 4)}
    return found


class _Shares:
    """Shares of blocked rows with intervals over resampled groups; the resamples are the same for every writing."""

    def __init__(self, spam: Flags, groups: Sequence[str], seed: int) -> None:
        self._spam = spam
        _, members = np.unique(np.asarray(groups), return_inverse=True)
        self.groups = int(members.max()) + 1
        rng = np.random.default_rng(seed)
        drawn = rng.integers(self.groups, size=(RESAMPLES, self.groups))
        self._weights = np.stack([np.bincount(row, minlength=self.groups)[members] for row in drawn]).astype(float)

    def of(self, blocked: Flags, clean: Flags) -> dict[str, Any]:
        """Return recall, ham blocked, and both against clean."""
        recall, ham = self._share(blocked, self._spam), self._share(blocked, ~self._spam)
        clean_recall, clean_ham = self._share(clean, self._spam), self._share(clean, ~self._spam)
        return {
            "recall": _with_interval(recall),
            "recall_kept": _with_interval(recall / np.maximum(clean_recall, 1e-12)),
            "ham_blocked": _with_interval(ham),
            "ham_difference": _with_interval(ham - clean_ham),
            "ham_rows_blocked": int((blocked & ~self._spam).sum()),
        }

    def _share(self, blocked: Flags, part: Flags) -> Floats:
        """Return the share of a part that is blocked: first of all rows, then of each resample."""
        weights = np.vstack([np.ones((1, len(part))), self._weights])[:, part]
        share: Floats = weights @ blocked[part].astype(float) / np.maximum(weights.sum(axis=1), 1.0)
        return share


def _with_interval(found: Floats) -> dict[str, float]:
    low, high = np.quantile(found[1:], (0.025, 0.975))
    return {"value": round(float(found[0]), 4), "low": round(float(low), 4), "high": round(float(high), 4)}


# -- the greedy attacker ----------------------------------------------------------------------------------------------


def greedy(
    texts: Sequence[str],
    judge: Judge,
    writings: Sequence[Writing],
    *,
    seed: int,
    queries: int,
    share: float,
    progress: Callable[[int], None] = lambda _: None,
) -> tuple[NDArray[np.bool_], float]:
    """Return which blocked texts are still blocked after a greedy black-box attack, and the mean of queries used.

    It leaves out each piece of the message in turn to learn which matters, then rewrites the pieces, the most telling
    first, in one writing after another, keeps what lowers the score, and stops when the message passes. At most `share`
    of the pieces are rewritten; when that is all, every twelfth try adds an innocent sentence. It sees scores and
    knows the writings, nothing of the model.
    """
    attackers = [
        _Attacker(text, writings, share, random.Random(f"{seed}:greedy:{text}"))  # noqa: S311 - reproducible, not secret
        for text in texts
    ]
    probes = [attacker.probes() for attacker in attackers]
    scores = judge_texts([text for found in probes for text in found], judge).scores.tolist()
    asked = np.zeros(len(texts), dtype=np.int64)
    first = 0
    for place, (attacker, found) in enumerate(zip(attackers, probes, strict=True)):
        attacker.rank(scores[first : first + len(found)])
        first += len(found)
        asked[place] = len(found)
    blocked = np.ones(len(texts), dtype=np.bool_)
    for round_ in range(queries):
        progress(round_)
        live = [place for place in np.flatnonzero(blocked).tolist() if asked[place] < queries]
        if not live:
            break
        judged = judge_texts([attackers[place].propose() for place in live], judge)
        for place, hit, score in zip(live, judged.blocked.tolist(), judged.scores.tolist(), strict=True):
            asked[place] += 1
            blocked[place] = hit
            attackers[place].learn(score)
    return blocked, round(float(asked.mean()), 1)


class _Attacker:
    """What an attacker knows of one message."""

    def __init__(self, text: str, writings: Sequence[Writing], share: float, rng: random.Random) -> None:
        size = max(2, -(-len(text) // PROBES))
        self._pieces = [text[at : at + size] for at in range(0, len(text), size)]
        self._original = list(self._pieces)
        self._writings = writings
        self._most = max(1, round(share * len(self._pieces)))
        self._rng = rng
        self._order = list(range(len(self._pieces)))
        self._best = 2.0
        self._tries = 0
        self._padding = ""
        self._proposed: tuple[list[str], str] = (self._pieces, "")

    def probes(self) -> list[str]:
        """Return the message with each piece left out in turn."""
        return ["".join(self._pieces[:at] + self._pieces[at + 1 :]) for at in range(len(self._pieces))]

    def rank(self, scores: Sequence[float]) -> None:
        """Order the pieces by how low the score falls without them."""
        self._order.sort(key=lambda at: scores[at])

    def propose(self) -> str:
        """Return the next text to ask about."""
        self._tries += 1
        pieces, padding = list(self._pieces), self._padding
        changed = [place for place in self._order if pieces[place] != self._original[place]]
        may = changed if len(changed) >= self._most else self._order
        if self._most == len(pieces) and self._tries % 12 == 0:
            padding += self._rng.choice(GOOD_WORDS)
        else:
            place = may[min(int(self._rng.expovariate(0.5)), len(may) - 1)]
            for _ in range(8):  # a writing that changes nothing here costs no query
                written = self._rng.choice(self._writings).write(self._original[place], self._rng)
                if written != self._pieces[place]:
                    pieces[place] = written
                    break
        self._proposed = (pieces, padding)
        return "".join(pieces) + padding

    def learn(self, score: float) -> None:
        """Keep what was proposed when it lowered the score."""
        if score < self._best:
            self._best = score
            self._pieces, self._padding = self._proposed
