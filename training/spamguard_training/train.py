"""How does one command turn a folder of corpora into a model folder with its evidence?

corpora + families → fit and cross-validate → cutoffs from the budget → report → manifest, arrays, card. The same data,
recipe, seed and lock give the same arrays; the date is the only thing that moves.
"""

import hashlib
import io
import os
import platform
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from itertools import chain
from pathlib import Path
from typing import Any, Final, NamedTuple

import joblib
import msgspec
import numpy as np

from spamguard import __version__
from spamguard.backends import artifacts
from spamguard.core import normalize
from spamguard.core.decide import SCORE_DIGITS
from spamguard.core.manifest import Budget, Manifest, SelfTest, Source
from spamguard.core.scorer import LinearScorer
from spamguard.errors import DataError
from spamguard_training.card import write_card, write_page
from spamguard_training.corpus import LABELS, CorpusFile, Row, read_corpus, stored_rows
from spamguard_training.cross import cross_source, guess_sources, other_domains
from spamguard_training.cutoffs import Ledger, cutoff_for, require_support, shown_budgets
from spamguard_training.evaluate import report, spared_by_decision
from spamguard_training.families import family_paths, generate, read_families
from spamguard_training.fit import Data, Fitted, Progress, fit, fold_of, headline_sources, prepare
from spamguard_training.groups import joined
from spamguard_training.measure import ANY, Flags, Floats, ham_kinds
from spamguard_training.overlay import lay_over, overlay_file, read_overlay
from spamguard_training.recipe import Recipe
from spamguard_training.reference import reference
from spamguard_training.scores import scored_rows

PIPELINE: Final = "pipeline.joblib"
CARD_PAGE: Final = "card.html"
_CHUNK: Final = 1000

#: Invented texts a model is tried on before it may decide; their scores stand in the manifest.
SELF_TEST_TEXTS: Final = (
    "您的验证码为482913，5分钟内有效，请勿告诉他人。",
    "晚上一起吃饭吗？我大概七点到。",
    "【江河银行】您尾号3021的账户于11月24日支出128.50元，余额2,310.77元。",
    "恭喜您被抽中二等奖，奖金98000元，请登录 www.prize-demo.top 领取，验证码8866。",
    "代开各类发票，点数优惠，联系13900001234王经理。",
    "无抵押贷款，当天放款，加微信 dk8866 咨询。",
    "【云杉百货】周年庆全场5折，会员再减50，详情 t.cn/demo88 退订回T",
    "您的快递已放丰巢柜，取件码 8-2-1044，请凭码领取。",
    "Your parcel is held. Pay the 1.99 fee at https://post-fee.example/pay now.",
    "Running ten minutes late, sorry! See you at the station.",
    "註冊即送彩金，澳門線上娛樂城，首存1000送500",
    "",
)  # fmt: skip


class Trained(NamedTuple):
    """What training leaves behind."""

    folder: Path
    manifest: Manifest
    log_odds: Floats  #: of every row, calibrated, out of fold


def gather(
    paths: Sequence[Path], families: Sequence[Path], recipe: Recipe, overlay: Path | None = None
) -> tuple[Sequence[Row], list[CorpusFile]]:
    """Return all rows, the families' after the corpora's, and what they were read from. Raises DataError.

    Rows that a reader judged in the overlay carry that label. Where rows come without a group, near-duplicates are
    looked for.
    """
    rows, files = read_corpus(paths)
    if any(row.group == row.id for row in rows):
        rows = stored_rows(joined(rows))
    if overlay is not None:
        readings = read_overlay(overlay)
        rows = stored_rows(lay_over(rows, readings))
        files.append(overlay_file(overlay, readings))
    if families:
        known = read_families(families)
        invented = list(generate(known, each=recipe.families_each, seed=recipe.seed))
        new = {row.text for row in invented}
        known_texts = {row.text for row in rows if row.text in new}
        rows = stored_rows(chain(rows, (row for row in invented if row.text not in known_texts)))
        files += [file_of(path, 0, name=f"families/{path.name}") for path in family_paths(families)]
    return rows, files


def suited(recipe: Recipe, rows: Sequence[Row]) -> Recipe:
    """Return the recipe as it is meant for these rows: others' sources cannot be headlines, nor kinds nobody stated."""
    present = {row.source for row in rows}
    headline = tuple(source for source in recipe.headline if source in present)
    mix = {ANY: 1.0} if ANY in ham_kinds(rows) else recipe.mix
    return msgspec.structs.replace(recipe, headline=headline, mix=mix)


def file_of(path: Path, rows: int, *, name: str | None = None) -> CorpusFile:
    """Return how the manifest names a file."""
    return CorpusFile(name=name or path.name, sha256=hashlib.sha256(path.read_bytes()).hexdigest(), rows=rows)


def _require_folds(rows: Sequence[Row], recipe: Recipe) -> None:
    """Raise DataError when a fold would hold no row of one label: there is nothing to cross-validate."""
    for label in LABELS:
        found = {fold_of(row.group, recipe.folds, recipe.seed) for row in rows if row.label == label}
        if len(found) < min(2, recipe.folds):
            detail = f"{label} rows stand in too few near-duplicate groups to be split; bring more messages"
            raise DataError(detail=detail)


def _require_headline(rows: Sequence[Row], recipe: Recipe) -> None:
    """Raise DataError when no headline row is spam, or none is ham: no candidate could be told from another."""
    headline = headline_sources(rows, recipe)
    if len({row.label for row in rows if row.source in headline}) < len(LABELS):
        detail = (
            "no source holds both spam and ham, so a model would learn to tell the sources apart; where both come from "
            "the same traffic, give both the same source, or leave it out"
        )
        raise DataError(detail=detail)


def _require_writable(folder: Path) -> None:
    """Make the folder. Raises DataError when nothing can be written there."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(detail=f"{folder} cannot be written ({error.strerror}); choose another --out") from None
    if not os.access(folder, os.W_OK):
        raise DataError(detail=f"{folder} cannot be written; choose another --out")


def train(
    rows: Sequence[Row],
    files: Sequence[CorpusFile],
    out: Path,
    recipe: Recipe,
    *,
    model_version: str | None = None,
    keep_pipeline: bool = False,
    terms: Mapping[str, str] = {},
    cross: bool = False,
    now: datetime | None = None,
    checkpoints: Path | None = None,
    noted: Mapping[str, Any] = {},
    progress: Progress = lambda *_: None,
) -> Trained:
    """Train on the rows and write `<out>/<name>/<version>`. Raises DataError when the rows cannot carry the recipe.

    `cross` trains more, to see what a model of one source does on another and how far sources give themselves away. In
    `checkpoints` finished folds are kept for a run that has to go on; `noted` joins the manifest's figures.
    """
    now = now or datetime.now(UTC)
    recipe = suited(recipe, rows)
    kinds, groups = ham_kinds(rows), [row.group for row in rows]
    require_support(kinds, groups, budget=recipe.budget, mix=recipe.mix)  # before the long work, not after it
    _require_folds(rows, recipe)
    _require_headline(rows, recipe)
    _require_writable(out / recipe.name)
    data = prepare(rows, recipe)
    fitted = fit(data, recipe, progress, checkpoints)
    probability = np.round(1.0 / (1.0 + np.exp(-fitted.log_odds)), SCORE_DIGITS)
    spam_cutoff, estimate, bound, ham_groups = cutoff_for(
        probability, kinds, groups, budget=recipe.budget, mix=recipe.mix
    )
    review_budget = max(recipe.review_budget, recipe.budget)
    ham_cutoff, *_ = cutoff_for(probability, kinds, groups, budget=review_budget, mix=recipe.mix)
    spam_cutoff = min(max(spam_cutoff, 10.0**-SCORE_DIGITS), 1.0 - 10.0**-SCORE_DIGITS)
    ham_cutoff = min(max(ham_cutoff, 10.0**-SCORE_DIGITS), spam_cutoff)
    figures = report(
        rows,
        probability,
        ham_cutoff=ham_cutoff,
        spam_cutoff=spam_cutoff,
        headline=headline_sources(rows, recipe),
        seed=recipe.seed,
        spared=_spared(data.texts, fitted),
    )
    figures["candidates"] = {
        f"{candidate.classifier} C={candidate.strength:g}": [round(recall, 4) for recall in recalls]
        for candidate, recalls in fitted.tried
    }
    figures["categories"] = {"accuracy": fitted.kind_accuracy, "confusion": fitted.kind_confusion}
    figures["budgets"] = shown_budgets(
        Ledger(scored_rows(rows, fitted.log_odds, headline_sources(rows, recipe)), recipe.mix), spam_cutoff, ham_cutoff
    )
    if cross:
        figures["cross_source"] = cross_source(rows, recipe, progress)
        figures["source_guessing"] = guess_sources(rows, recipe, progress)
        figures["warnings"] = other_domains(rows, figures["source_guessing"])
    figures |= noted
    name = model_version or _next_version(out / recipe.name, now)
    manifest = Manifest(
        name=recipe.name,
        version=name,
        created=now.isoformat(timespec="seconds"),
        code_version=__version__,
        normalizer_version=normalize.VERSION,
        tokenizer=f"jieba {version('jieba')} without HMM (rjieba {version('rjieba')})",
        libraries={
            "python": platform.python_version(),
            **{library: version(library) for library in ("numpy", "scipy", "scikit-learn", "jieba", "rjieba")},
        },
        seed=recipe.seed,
        sources=tuple(Source(name=file.name, sha256=file.sha256, rows=file.rows) for file in files),
        counts=_counts(rows),
        views=tuple(recipe.view_list()),
        features=sum(len(view.keys) for view in fitted.arrays.views),
        classifier=f"{fitted.chosen.classifier} C={fitted.chosen.strength:g}",
        calibration=fitted.calibration,
        prior=recipe.prior,
        ham_cutoff=ham_cutoff,
        spam_cutoff=spam_cutoff,
        budget=Budget(
            false_positive_rate=recipe.budget,
            mix=recipe.mix,
            ham_rows=ham_groups,
            estimate=round(estimate, 6),
            upper_bound=round(bound, 6),
        ),
        metrics=figures,
        kinds=tuple(fitted.arrays.kinds),
        reference=reference(
            data,
            probability,
            LinearScorer(fitted.arrays),
            recipe,
            ham_cutoff=ham_cutoff,
            spam_cutoff=spam_cutoff,
        ),
        self_tests=_self_tests(fitted),
        files={},
    )
    content: dict[str, bytes] = dict(artifacts.pack(fitted.arrays))
    content[artifacts.CARD] = write_card(manifest, terms).encode()
    content[CARD_PAGE] = write_page(manifest, terms, _pictures(data, fitted, manifest)).encode()
    if keep_pipeline:
        buffer = io.BytesIO()
        joblib.dump(fitted.pipeline, buffer, compress=3)
        content[PIPELINE] = buffer.getvalue()
    folder = out / recipe.name / name
    return Trained(folder, artifacts.write(folder, manifest, content), fitted.log_odds)


def _counts(rows: Sequence[Row]) -> dict[str, int]:
    counts: dict[str, int] = {"rows": len(rows), "groups": len({row.group for row in rows})}
    for row in rows:
        for key in (row.label, f"{row.source} {row.label}"):
            counts[key] = counts.get(key, 0) + 1
    return counts


def _spared(texts: Sequence[str], fitted: Fitted) -> Flags:
    """Return which rows are allowed whatever they score."""
    scorer = LinearScorer(fitted.arrays)
    evidence = [scorer.score(texts[first : first + _CHUNK]).evidence for first in range(0, len(texts), _CHUNK)]
    return spared_by_decision(texts, np.concatenate(evidence))


def _pictures(data: Data, fitted: Fitted, manifest: Manifest) -> Mapping[str, bytes]:
    """Return the plots of the headline rows, or none when no source holds both labels."""
    from spamguard_training.plots import Sample, cjk_font, draw  # matplotlib takes a second to load

    headline = set(manifest.metrics["headline_sources"])
    judged = np.array([row.source in headline for row in data.rows])
    if not judged.any():
        return {}
    sample = Sample(data.spam[judged], fitted.log_odds[judged], manifest.ham_cutoff, manifest.spam_cutoff)
    return draw(sample, (), cjk_font()).png


def _self_tests(fitted: Fitted) -> tuple[SelfTest, ...]:
    scores = LinearScorer(fitted.arrays).score(normalize.normalize_batch(SELF_TEST_TEXTS)).log_odds
    return tuple(
        SelfTest(text=text, log_odds=float(score)) for text, score in zip(SELF_TEST_TEXTS, scores, strict=True)
    )


def _next_version(folder: Path, now: datetime) -> str:
    """Return today's date, with a number behind it when today has a version already."""
    today = f"{now:%Y.%m.%d}"
    taken = {path.name for path in folder.glob(f"{today}*")} if folder.is_dir() else set[str]()
    number = 1
    while f"{today}.{number}" in taken:
        number += 1
    return f"{today}.{number}"
