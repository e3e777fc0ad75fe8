"""What do the scores look like?

PNG pictures of one set of scored rows, drawn by matplotlib without a screen: the same rows give the same pictures.
Labels carry Chinese beside English where a font that can write it is installed (Debian: fonts-noto-cjk).
"""

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import matplotlib
import numpy as np
from matplotlib import font_manager
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from sklearn.metrics import precision_recall_curve, roc_curve

from spamguard_training.measure import Flags, Floats

#: Parts of the file names of fonts that hold Han characters, the most likely first.
_CJK: Final = ("NotoSansCJK", "NotoSansSC", "SourceHanSans", "wqy-microhei", "wqy-zenhei", "msyh", "PingFang", "simhei")
_BINS: Final = 10  #: of equal width in the reliability plot
_BLUE, _RED, _GREY = "#2a6fb0", "#c2452d", "#888888"


class Pictures(NamedTuple):
    """Drawn plots by name, and what is to be said about them."""

    png: Mapping[str, bytes]
    notes: Sequence[str]


class Sample(NamedTuple):
    """What is drawn: the rows' labels and calibrated log-odds, and the cutoffs as probabilities."""

    spam: Flags
    log_odds: Floats
    ham_cutoff: float
    spam_cutoff: float


def cjk_font() -> str | None:
    """Return the name of an installed font that can write Chinese, or None."""
    paths = font_manager.findSystemFonts()
    for part in _CJK:
        for path in sorted(paths):
            if Path(path).name.lower().startswith(part.lower()):
                font_manager.fontManager.addfont(path)
                return font_manager.FontProperties(fname=path).get_name()
    return None


def draw(sample: Sample, curve: Sequence[Mapping[str, Any]] = (), font: str | None = None) -> Pictures:
    """Return the plots of a sample that holds both labels; `curve` is a learning curve, `font` writes Chinese."""
    notes = [] if font else ["No font for Chinese is installed (Debian: fonts-noto-cjk): labels are in English alone."]
    families = ["DejaVu Sans", *([font] if font else [])]

    def words(english: str, chinese: str) -> str:
        return f"{english} {chinese}" if font else english

    with matplotlib.rc_context({"font.family": families, "font.size": 9, "svg.hashsalt": "spamguard"}):
        png = {
            "roc": _roc(sample, words),
            "precision-recall": _precision_recall(sample, words),
            "calibration": _calibration(sample, words),
            "scores": _histogram(sample, words),
        }
        if curve:
            png["learning-curve"] = _learning(curve, words)
    return Pictures(png, notes)


def _axes(title: str, across: str, up: str) -> tuple[Figure, Any]:
    figure = Figure(figsize=(5.2, 3.6), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.set_title(title, loc="left", fontsize=10)
    axes.set_xlabel(across)
    axes.set_ylabel(up)
    axes.grid(visible=True, color="#dddddd", linewidth=0.6)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    return figure, axes


def _png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()


def _probability(sample: Sample) -> Floats:
    found: Floats = 1.0 / (1.0 + np.exp(-sample.log_odds))
    return found


def _roc(sample: Sample, words: Any) -> bytes:
    figure, axes = _axes(
        words("ROC where it matters", "低误拦区"),
        words("share of good messages blocked", "误拦率"),
        words("share of spam caught", "召回率"),
    )
    fpr, tpr, _ = roc_curve(sample.spam, sample.log_odds, drop_intermediate=True)
    least = 1.0 / max(1, int((~sample.spam).sum()))
    axes.step(np.maximum(fpr, least), tpr, where="post", color=_BLUE)
    axes.set_xscale("log")
    axes.set_xlim(least, 1)
    axes.set_ylim(0, 1.01)
    blocked = _probability(sample) >= sample.spam_cutoff
    axes.plot(
        [max(least, blocked[~sample.spam].mean())],
        [blocked[sample.spam].mean()],
        "o",
        color=_RED,
        label=words("shipped cutoff", "现行阈值"),
    )
    axes.legend(loc="lower right", frameon=False)
    return _png(figure)


def _precision_recall(sample: Sample, words: Any) -> bytes:
    figure, axes = _axes(
        words("Precision and recall", "精确率与召回率"),
        words("share of spam caught", "召回率"),
        words("share of blocked that is spam", "精确率"),
    )
    precision, recall, _ = precision_recall_curve(sample.spam, sample.log_odds)
    axes.step(recall, precision, where="post", color=_BLUE)
    axes.axhline(float(sample.spam.mean()), color=_GREY, linestyle=":", label=words("block everything", "全部拦截"))
    axes.set_xlim(0, 1.01)
    axes.set_ylim(0, 1.02)
    axes.legend(loc="lower left", frameon=False)
    return _png(figure)


def _calibration(sample: Sample, words: Any) -> bytes:
    figure, axes = _axes(
        words("Calibration", "校准"), words("stated probability", "预测概率"), words("share of spam found", "实际比例")
    )
    probability = _probability(sample)
    place = np.minimum((probability * _BINS).astype(int), _BINS - 1)
    size = np.bincount(place, minlength=_BINS)
    filled = size > 0
    stated = np.bincount(place, weights=probability, minlength=_BINS)[filled] / size[filled]
    found = np.bincount(place, weights=sample.spam.astype(float), minlength=_BINS)[filled] / size[filled]
    spread = 1.96 * np.sqrt(found * (1 - found) / size[filled])
    axes.plot([0, 1], [0, 1], color=_GREY, linestyle=":")
    axes.errorbar(stated, found, yerr=spread, fmt="o-", color=_BLUE, capsize=2, linewidth=1)
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1.02)
    return _png(figure)


def _histogram(sample: Sample, words: Any) -> bytes:
    figure, axes = _axes(
        words("Scores by label", "各类得分"), words("log-odds of spam", "对数几率"), words("rows", "条数")
    )
    edges = np.linspace(float(sample.log_odds.min()), float(sample.log_odds.max()) + 1e-9, 61)
    for label, chosen, colour in (
        (words("ham", "正常"), ~sample.spam, _BLUE),
        (words("spam", "垃圾"), sample.spam, _RED),
    ):
        axes.hist(sample.log_odds[chosen], bins=edges, color=colour, alpha=0.55, label=label)
    axes.set_yscale("log")
    axes.set_ylim(0.7, 12 * axes.get_ylim()[1])  # room for the legend
    for cutoff, name in (
        (sample.ham_cutoff, words("unsure from", "存疑线")),
        (sample.spam_cutoff, words("blocked from", "拦截线")),
    ):
        inside = min(max(cutoff, 1e-9), 1 - 1e-9)
        style = "--" if cutoff == sample.spam_cutoff else ":"
        axes.axvline(float(np.log(inside / (1 - inside))), color="black", linestyle=style, linewidth=1, label=name)
    axes.legend(frameon=False, fontsize=8, ncols=2)
    return _png(figure)


def _learning(curve: Sequence[Mapping[str, Any]], words: Any) -> bytes:
    figure, axes = _axes(
        words("Learning curve", "学习曲线"), words("rows trained on", "训练条数"), words("found on unseen rows", "测得")
    )
    sizes = [point["rows"] for point in curve]
    axes.plot(sizes, [point["auc"] for point in curve], "o-", color=_GREY, label="AUC")
    axes.plot(
        sizes, [point["recall"] for point in curve], "o-", color=_BLUE, label=words("recall at 1 %", "误拦1%时召回率")
    )
    axes.set_xscale("log")
    axes.legend(frameon=False, loc="lower right")
    return _png(figure)


def draw_pair(
    spam: Flags,
    probability: Sequence[Floats],
    names: Sequence[str],
    cutoffs: Sequence[float],
    parts: Mapping[str, Mapping[str, int]],
    font: str | None = None,
) -> Pictures:
    """Return the plots of two models on the same rows; `parts` are won and lost of each source."""
    notes = [] if font else ["No font for Chinese is installed (Debian: fonts-noto-cjk): labels are in English alone."]
    families = ["DejaVu Sans", *([font] if font else [])]

    def words(english: str, chinese: str) -> str:
        return f"{english} {chinese}" if font else english

    with matplotlib.rc_context({"font.family": families, "font.size": 9, "svg.hashsalt": "spamguard"}):
        return Pictures(
            {
                "both-roc": _both_roc(spam, probability, names, cutoffs, words),
                "both-scores": _both_scores(spam, probability, names, cutoffs, words),
                "both-parts": _both_parts(parts, words),
            },
            notes,
        )


def _logit(probability: Any) -> Any:
    inside = np.clip(probability, 1e-6, 1 - 1e-6)
    return np.log(inside / (1 - inside))


def _both_roc(
    spam: Flags, probability: Sequence[Floats], names: Sequence[str], cutoffs: Sequence[float], words: Any
) -> bytes:
    figure, axes = _axes(
        words("ROC where it matters", "低误拦区"),
        words("share of good messages blocked", "误拦率"),
        words("share of spam caught", "召回率"),
    )
    least = 1.0 / max(1, int((~spam).sum()))
    for scores, name, cutoff, colour in zip(probability, names, cutoffs, (_GREY, _BLUE), strict=True):
        fpr, tpr, _ = roc_curve(spam, scores, drop_intermediate=True)
        axes.step(np.maximum(fpr, least), tpr, where="post", color=colour, label=name)
        blocked = scores >= cutoff
        axes.plot([max(least, blocked[~spam].mean())], [blocked[spam].mean()], "o", color=colour)
    axes.set_xscale("log")
    axes.set_xlim(least, 1)
    axes.set_ylim(0, 1.01)
    axes.legend(loc="lower right", frameon=False, fontsize=8)
    return _png(figure)


def _both_scores(
    spam: Flags, probability: Sequence[Floats], names: Sequence[str], cutoffs: Sequence[float], words: Any
) -> bytes:
    figure, axes = _axes(words("Scores of both", "两模型得分"), names[0], names[1])
    first, second = (_logit(scores) for scores in probability)
    for label, chosen, colour in (
        (words("ham", "正常"), ~spam, _BLUE),
        (words("spam", "垃圾"), spam, _RED),
    ):
        axes.scatter(first[chosen], second[chosen], s=3, alpha=0.25, color=colour, label=label, linewidths=0)
    axes.axvline(float(_logit(cutoffs[0])), color="black", linestyle="--", linewidth=1)
    axes.axhline(float(_logit(cutoffs[1])), color="black", linestyle="--", linewidth=1)
    axes.legend(frameon=False, fontsize=8, markerscale=4)
    return _png(figure)


def _both_parts(parts: Mapping[str, Mapping[str, int]], words: Any) -> bytes:
    figure, axes = _axes(words("Won and lost by source", "各来源胜负"), "", words("messages", "条数"))
    shown = {name: counts for name, counts in parts.items() if counts["won"] or counts["lost"]}
    places = np.arange(len(shown))
    axes.bar(places, [counts["won"] for counts in shown.values()], color=_BLUE, label=words("won", "胜"))
    axes.bar(places, [-counts["lost"] for counts in shown.values()], color=_RED, label=words("lost", "负"))
    axes.axhline(0, color="black", linewidth=0.8)
    axes.set_xticks(places, list(shown), rotation=30, ha="right", fontsize=8)
    axes.legend(frameon=False, fontsize=8)
    return _png(figure)
