"""How are the figures of a report laid out: as tables, for a page and for a terminal?

`sections` turns the plain values of a report into titled tables; `page` prints them, with pictures, as one HTML file
that needs nothing from anywhere, fits paper, and follows the reader's light or dark screen.
"""

import base64
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any, Final, NamedTuple

PARTS: Final = {
    "by_source": "source",
    "by_category": "category",
    "by_ham_kind": "kind of ham",
    "by_length": "length",
    "by_language": "language",
}
_CAPTIONS: Final = {
    "roc": "Spam caught against good messages lost; logarithmic across, since only the left end is usable.",
    "precision-recall": "Depends on the share of spam among these rows, which is not that of real traffic.",
    "calibration": "Stated probability against what was found. Scores are calibrated to a share of spam that these "
    "rows need not have; then the curve lies above the diagonal.",
    "scores": "Rows by score, counted on a logarithmic scale; dotted: unsure from, dashed: blocked from.",
    "both-roc": "Spam caught against good messages lost, both models on the same rows; logarithmic across.",
    "both-scores": "Each message by what both models say, in log-odds; off the diagonal they disagree. Lines: cutoffs.",
    "both-parts": "Messages on which only one is right: above the line the second model, below it the first.",
    "learning-curve": "Trained on ever more near-duplicate groups, tested on the same unseen ones.",
}


class Section(NamedTuple):
    """A titled table with a sentence above it."""

    title: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    note: str = ""


def headline(figures: Mapping[str, Any]) -> Section:
    """Return the headline figures: one line a measure, all rows beside the sure ones."""
    both = [figures.get("headline", {}), figures.get("headline_read_and_sure", {})]
    measures = dict.fromkeys(name for found in both for name, value in found.items() if isinstance(value, Mapping))
    rows = [
        ("rows: spam, ham", *(f"{found['spam']:,}, {found['ham']:,}" if found else "" for found in both)),
        *((_measure(name), *(_value(found.get(name)) for found in both)) for name in measures),
    ]
    if calibration := figures.get("calibration"):
        rows += [("Brier", f"{calibration['brier']:.4f}", ""), ("ECE", f"{calibration['ece']:.4f}", "")]
    return Section(
        "Headline",
        ("measure", "all rows", "read and sure"),
        rows if any(both) else [],
        f"Sources with both classes: {', '.join(figures.get('headline_sources', ())) or 'none'}. 95 % intervals over "
        "resampled near-duplicate groups.",
    )


def _measure(name: str) -> str:
    return f"recall at {float(name.rpartition('_')[2]):.1%}" if name.startswith("recall_at_") else name.upper()


def _value(found: Any) -> str:
    return f"{found['value']:.4f} ({found['low']:.3f}-{found['high']:.3f})" if found else ""


def part(figures: Mapping[str, Any], name: str) -> Section:
    """Return what the shipped cutoffs do to each part of the rows."""
    rows = [(title, *_share(counts.get("spam")), *_share(counts.get("ham"))) for title, counts in figures[name].items()]
    return Section(
        f"At the shipped cutoffs, by {PARTS[name]}",
        (PARTS[name], "spam", "caught", "unsure", "ham", "blocked", "unsure"),
        rows,
    )


def _share(counts: Mapping[str, int] | None) -> tuple[str, str, str]:
    if not counts:
        return "", "", ""
    rows = counts["rows"]
    return f"{rows:,}", f"{counts['blocked'] / rows:.2%}", f"{counts['unsure'] / rows:.2%}"


def budgets(figures: Mapping[str, Any]) -> Section:
    """Return what other cutoffs would have done to these rows."""
    found = figures.get("budgets", ())
    parts = list(dict.fromkeys(name for choice in found for name in choice.get("caught", {})))
    rows = []
    for choice in found:
        name = "shipped" if choice.get("budget") is None else f"{choice['budget']:.2%}"
        if "reason" in choice:
            rows.append((name, "cannot be shown", *[""] * (3 + len(parts))))
        else:
            rows.append(
                (
                    name,
                    f"{choice['cutoff']:.4f}",
                    f"{choice['estimate']:.3%}",
                    f"{choice['upper_bound']:.3%}",
                    *(f"{choice['caught'][key]:.1%}" for key in parts),
                    f"{choice['unsure_ham']:.2%}",
                )
            )
    return Section(
        "Budgets",
        ("budget", "cutoff", "good lost", "at most", *parts, "unsure"),
        rows,
        " ".join(f"{choice['budget']:.2%}: {choice['reason']}." for choice in found if "reason" in choice),
    )


def categories(figures: Mapping[str, Any]) -> Section:
    """Return which category of spam was taken for which."""
    found = figures.get("categories") or {}
    confusion: Mapping[str, Mapping[str, int]] = found.get("confusion") or {}
    names = sorted({*confusion, *(name for row in confusion.values() for name in row)})
    return Section(
        "Categories of spam",
        ("truth \\ answer", *names),
        [(name, *(str(confusion.get(name, {}).get(other, 0)) for other in names)) for name in names],
        f"Right: {found['accuracy']:.1%} of the spam whose category is known. Rows are the truth, columns the answer."
        if found.get("accuracy") is not None
        else "",
    )


def crossed(figures: Mapping[str, Any]) -> Iterable[Section]:
    """Yield the tables that needed training of their own, where there are any."""
    if found := figures.get("cross_source"):
        yield Section(
            "Across sources",
            ("trained on", "tested on", "rows", "AUC", "recall at 1 %"),
            [
                (f["trained_on"], f["tested_on"], f"{f['rows']:,}", f"{f['auc']:.3f}", f"{f['recall']:.3f}")
                for f in found
            ],
            "A model of one source alone, tried on another.",
        )
    if guessed := figures.get("source_guessing"):
        names = sorted({name for found in guessed.values() for name in found["auc"]})
        yield Section(
            "Guessing the source",
            ("AUC", *guessed),
            [
                *((name, *(_number(found["auc"].get(name)) for found in guessed.values())) for name in names),
                ("accuracy (chance)", *(f"{f['accuracy']:.3f} ({f['chance']:.3f})" for f in guessed.values())),
            ],
            "How well a row's source is told from its text, one source against the rest: 0.5 is not at all.",
        )
    if curve := figures.get("learning_curve"):
        yield Section(
            "Learning curve",
            ("rows", "AUC", "recall at 1 %"),
            [(f"{point['rows']:,}", f"{point['auc']:.4f}", f"{point['recall']:.4f}") for point in curve],
        )


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


def sections(figures: Mapping[str, Any]) -> list[Section]:
    """Return every table of a report that has rows."""
    found = [headline(figures), budgets(figures), *(part(figures, name) for name in PARTS)]
    found += [categories(figures), *crossed(figures)]
    return [section for section in found if section.rows]


def compared(figures: Mapping[str, Any], verdict: Sequence[Sequence[str]] = ()) -> list[Section]:
    """Return every table of a comparison; `verdict` are the gate's findings as rows."""
    first, second = short_names(figures["models"])
    found = [
        Section(
            "The gate",
            ("", "measure", first if len(figures["models"]) > 1 else "", second, "95 % interval or floor"),
            list(verdict),
            f"Spam caught at the budget: with {figures['budget']:.2%} of the good messages blocked. A model is refused "
            "where the whole interval of the difference lies on the wrong side.",
        )
    ]
    if "mcnemar" in figures:
        test = figures["mcnemar"]
        found += [
            Section(
                "Differences",
                ("measure", first, second, "95 % interval of the difference"),
                [
                    (name, f"{d['first']:.4f}", f"{d['second']:.4f}", f"{d['low']:+.4f} to {d['high']:+.4f}")
                    for name, d in figures["differences"].items()
                ],
                f"McNemar over near-duplicate groups: only the second model right in {test['groups_won']:,}, only the "
                f"first in {test['groups_lost']:,}; by chance with {_p(test['p'])}.",
            ),
            *(_won(figures, name, title) for name, title in WON.items()),
        ]
    sizes = [f"{size / 1e6:,.1f} MB" for size in figures["size_bytes"]]
    found.append(
        Section(
            "Size",
            ("model", "features", "files", "unsure from", "blocked from"),
            [
                (name, f"{features:,}", size, f"{low:.4f}", f"{high:.4f}")
                for name, features, size, (low, high) in zip(
                    figures["models"], figures["features"], sizes, figures["cutoffs"], strict=True
                )
            ],
        )
    )
    if changes := figures.get("changes"):
        found.append(
            Section(
                "Messages that change sides",
                ("change", "scores", "source", "category", "alike", "message, numbers covered"),
                [
                    (
                        m["turn"],
                        f"{m['scores'][0]:.4f} → {m['scores'][1]:.4f}",
                        m["source"] + (" (read)" if m["read"] else ""),
                        m["category"],
                        str(m["alike"]) if m["alike"] else "",
                        " ".join(m["text"].split()),
                    )
                    for m in changes["messages"]
                ],
                "Most consequential first, one of each near-duplicate group. "
                + (", ".join(f"{count:,} {name}" for name, count in changes["counts"].items()) or "None at all.")
                + ". Labels of rows that nobody read may be wrong.",
            )
        )
    return [section for section in found if section.rows]


def short_names(models: Sequence[str]) -> tuple[str, str]:
    """Return how the tables' heads call the first and the last model: versions alone where the name is the same.

    >>> short_names(["sms/1", "sms/2"]), short_names(["sms/1", "own/1"]), short_names(["sms/1"])
    (('1', '2'), ('sms/1', 'own/1'), ('1', '1'))
    """
    names = {model.partition("/")[0] for model in models}
    short = [model.partition("/")[2] or model for model in models] if len(names) == 1 else models
    return short[0], short[-1]


#: How a comparison is broken down, and what each part is called.
WON: Final = {"by_source": "source", "by_category": "category", "by_ham_kind": "kind of ham", "by_attack": "writing"}


def _won(figures: Mapping[str, Any], name: str, title: str) -> Section:
    attack = name == "by_attack"
    return Section(
        f"Won, tied, lost by {title}",
        (title, "won", "tied", "lost", *(("caught before", "caught now") if attack else ())),
        [
            (
                part,
                *(f"{counts[key]:,}" for key in ("won", "tied", "lost")),
                *(f"{share:.1%}" for share in counts.get("caught", ())),
            )
            for part, counts in figures[name].items()
        ],
        "Messages on which only the second model is right (won), both or neither (tied), only the first (lost).",
    )


_STYLE: Final = """
:root { color-scheme: light dark; --ink: #1c1e21; --paper: #fff; --line: #d5d8dc; --soft: #5d646c; --warn: #8a4b00; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e4e6e9; --paper: #17191c; --line: #3a3f45; --soft: #a3aab2; --warn: #f0b35a; }
  img { filter: invert(0.9) hue-rotate(180deg); }
}
body { font: 15px/1.5 system-ui, "Noto Sans CJK SC", "PingFang SC", "Microsoft YaHei", sans-serif;
  color: var(--ink); background: var(--paper); max-width: 62rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; margin-bottom: 0; } h2 { font-size: 1.1rem; margin: 2rem 0 0.3rem; }
p, figcaption { color: var(--soft); margin: 0.2rem 0 0.6rem; max-width: 46rem; } figcaption { font-size: 0.85rem; }
.warning { color: var(--warn); border-left: 3px solid; padding-left: 0.7rem; }
.wide { overflow-x: auto; margin-bottom: 1rem; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: 0.2rem 0.8rem 0.2rem 0; text-align: right; border-bottom: 1px solid var(--line);
  white-space: nowrap; }
th:first-child, td:first-child { text-align: left; } th { color: var(--soft); font-weight: 500; }
td:last-child.text { white-space: normal; text-align: left; min-width: 22rem; }
.pictures { display: flex; flex-wrap: wrap; gap: 1rem; } figure { margin: 0; flex: 1 1 26rem; max-width: 36rem; }
img { width: 100%; height: auto; }
@media print {
  :root { color-scheme: light; --ink: #000; --paper: #fff; --line: #bbb; --soft: #333; --warn: #000; }
  body { max-width: none; margin: 0; font-size: 10pt; } img { filter: none; } figure { flex-basis: 45%; }
  table, figure { break-inside: avoid; } h2 { break-after: avoid; } .wide { overflow: visible; }
}
"""


def page(title: str, lead: str, warnings: Sequence[str], tables: Sequence[Section], png: Mapping[str, bytes]) -> str:
    """Return a whole HTML document; everything it shows is inside it."""
    body = [
        f"<h1>{escape(title)}</h1>\n<p>{escape(lead)}</p>",
        *(f'<p class="warning">{escape(warning)}</p>' for warning in warnings),
        *pictures(png),
        *map(_section, tables),
    ]
    return document(title, body)


def document(title: str, body: Iterable[str]) -> str:
    """Return an HTML document around parts that are markup already."""
    return "\n".join(
        [
            '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{escape(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>",
            *body,
            "</body>\n</html>\n",
        ]
    )


def pictures(png: Mapping[str, bytes]) -> Iterable[str]:
    """Yield the pictures with their captions, under a heading."""
    if png:
        yield '<h2>Pictures</h2>\n<div class="pictures">'
        for name, content in png.items():
            data = base64.b64encode(content).decode()
            caption = escape(_CAPTIONS.get(name, name))
            yield (
                f'<figure><img alt="{escape(name)}" src="data:image/png;base64,{data}">'
                f"<figcaption>{caption}</figcaption></figure>"
            )
        yield "</div>"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table that scrolls when it is too wide."""
    top = "".join(f'<th scope="col">{escape(name)}</th>' for name in head)
    wordy = head[-1].startswith("message,")
    lines = "\n".join(f"<tr>{_cells(row, wordy)}</tr>" for row in rows)
    return f'<div class="wide"><table>\n<thead><tr>{top}</tr></thead>\n<tbody>\n{lines}\n</tbody>\n</table></div>'


def _section(section: Section) -> str:
    note = f"<p>{escape(section.note)}</p>\n" if section.note else ""
    return f"<section>\n<h2>{escape(section.title)}</h2>\n{note}{table(section.head, section.rows)}\n</section>"


def _cells(row: Sequence[str], wordy: bool) -> str:
    """Return a row's cells; the last one of a wordy row may wrap."""
    cells = [f"<td>{escape(cell)}</td>" for cell in row]
    if wordy:
        cells[-1] = f'<td class="text">{escape(row[-1])}</td>'
    return "".join(cells)


def _p(value: float) -> str:
    return "p < 0.0001" if value < 0.0001 else f"p = {value:.4f}"
