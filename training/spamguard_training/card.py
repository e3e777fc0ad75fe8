"""What should a person know before trusting a model?

The card is written from the manifest alone: sources and their terms, the protocol, every figure with its interval,
where the cutoffs come from, what is weak, and who should not use it. It is made of blocks once, and then written as
Markdown for the repository and as one HTML page, with pictures, for whoever has to approve the model.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any, NamedTuple

from spamguard.core.manifest import Manifest
from spamguard_training import sheet
from spamguard_training.measure import ANY


class Table(NamedTuple):
    """A table of a card."""

    head: Sequence[str]
    rows: Sequence[Sequence[str]]


#: A heading begins with #, a remark with "- "; anything else is a paragraph.
Block = str | Table


def write_card(manifest: Manifest, terms: Mapping[str, str]) -> str:
    """Return the card as Markdown; `terms` says under which terms each source stands."""
    return "\n\n".join(_markdown(block) for block in _blocks(manifest, terms)) + "\n"


def write_page(manifest: Manifest, terms: Mapping[str, str], png: Mapping[str, bytes]) -> str:
    """Return the card as one HTML page that needs nothing from anywhere, with pictures of the out-of-fold scores."""
    title, *blocks = _blocks(manifest, terms)
    pictures = list(sheet.pictures(png))
    return sheet.document(str(title).lstrip("# "), [*map(_html, [title, *blocks]), *pictures])


def _blocks(manifest: Manifest, terms: Mapping[str, str]) -> list[Block]:
    """Return all that is said of a model, in order; tables without rows are left out."""
    public = any(name in terms for name in _source_names(manifest))
    blocks: list[Block] = [
        f"# {manifest.name} {manifest.version}",
        f"Spam probability of one SMS, Chinese first, English too. {manifest.classifier} on TF-IDF of "
        f"{', '.join(_view(view) for view in manifest.views)}; {manifest.features:,} features; trained "
        f"{manifest.created[:10]} by spamguard {manifest.code_version}.",
        "## Cutoffs",
        *_cutoffs(manifest),
        "## How good it is",
        "Scores of rows are grouped out-of-fold: no near-duplicate of a row was seen by the model that scored it. "
        "Intervals are 95 %, over resampled groups. Headline figures come only from sources that hold both classes: "
        f"{', '.join(manifest.metrics.get('headline_sources', ())) or 'none'}.",
        *_headline(manifest.metrics),
        "### At the shipped cutoffs",
        "As decided: what a guard protects, or too little evidence speaks against, is neither blocked nor unsure.",
        *_at_cutoffs(manifest.metrics),
        "### Other budgets",
        *_section(sheet.budgets(manifest.metrics)),
        "### Categories of spam",
        *_categories(manifest.metrics),
        "### Tried",
        *_tried(manifest.metrics.get("candidates", {})),
        *(part for section in sheet.crossed(manifest.metrics) for part in (f"### {section.title}", *_section(section))),
        *manifest.metrics.get("warnings", ()),
        "## What it was trained on",
        *_sources(manifest, terms),
        "## Known weaknesses",
        *(_OF_PUBLIC_CORPORA if public else ()),
        *_WEAKNESSES,
        "## Who should not use it",
        f"{_UNLICENSED if public else ''}Whoever filters languages other than Chinese and English. Whoever wants to "
        "judge people rather than messages.",
    ]
    return [block for block in blocks if (block.rows if isinstance(block, Table) else block)]


def _markdown(block: Block) -> str:
    if isinstance(block, str):
        return block
    lines = [f"| {' | '.join(row)} |" for row in block.rows]
    return "\n".join([f"| {' | '.join(block.head)} |", "|" + "---|" * len(block.head), *lines])


def _html(block: Block) -> str:
    if isinstance(block, Table):
        return sheet.table(block.head, block.rows)
    text = re.sub(r"\*\*(.+?)\*\*", r"<b>\1</b>", re.sub(r"`(.+?)`", r"<code>\1</code>", escape(block, quote=False)))
    if heading := re.match(r"(#+) ", text):
        return f"<h{len(heading.group(1))}>{text[heading.end() :]}</h{len(heading.group(1))}>"
    return f"<p>• {text[2:]}</p>" if text.startswith("- ") else f"<p>{text}</p>"


#: Of a model that knows public corpora, those of the catalogue.
_OF_PUBLIC_CORPORA = (
    "- The public corpora are from 2013–2017; this year's fraud and promotions are known mostly from hand-written "
    "families and a few hundred recent texts. Look at the `modern` and `families` rows above before trusting a recall.",
    "- About 8 % of the public labels of the two real corpora contradicted the policy; unread rows still carry noise, "
    "which lowers every figure stated on all rows.",
)
_WEAKNESSES = (
    "- Single-class sources give themselves away by their looks; they are training material, never headline evidence.",
    "- Consent is not visible in a text: an opted-in promotion looks like any other.",
)


_UNLICENSED = (
    "Whoever needs a licence for every training message: several public sources state none (the table above), so a "
    "commercial operator should retrain on messages of its own; `spamguard train` is one command. "
)


def _source_names(manifest: Manifest) -> list[str]:
    return sorted({key.rsplit(" ", 1)[0] for key in manifest.counts if " " in key})


def _section(section: sheet.Section) -> Iterable[Block]:
    yield section.note
    yield Table(section.head, section.rows)


def _view(view: Any) -> str:
    return f"{view.name} ({view.shortest}–{view.longest})"


def _cutoffs(manifest: Manifest) -> Iterable[Block]:
    budget = manifest.budget
    sorted_out = ANY not in budget.mix
    mix = ", ".join(f"{share:.0%} {kind}" for kind, share in budget.mix.items())
    whose = (
        f"on a mix of {mix}: {{}}, on {budget.ham_rows:,} near-duplicate groups of ham whose kind is known: read by "
        "the label policy and sure, private chat or codes by their source, and recent templates. "
        if sorted_out
        else f"of all good messages, none of which says its kind: {{}}, on {budget.ham_rows:,} near-duplicate groups. "
    ).format(f"{budget.estimate:.3%} measured, at most {budget.upper_bound:.3%}")
    yield (
        f"Blocked from **{manifest.spam_cutoff:.4f}**, unsure (allowed, offered for review) from "
        f"**{manifest.ham_cutoff:.4f}**. Scores are calibrated to a share of spam of {manifest.prior:.0%}."
    )
    yield (
        f"The spam cutoff is the lowest one whose share of blocked ham stays inside {budget.false_positive_rate:.2%} "
        f"at its 95 % upper bound, {whose}Hand-written families are trained on and count for no budget. Guards and the "
        "evidence floor protect more: the tables below count them, the budget does not."
    )
    yield f"{manifest.calibration}."


def _headline(figures: Mapping[str, Any]) -> Iterable[Block]:
    rows = []
    for name, title in (
        ("headline", "all rows"),
        ("headline_read_and_sure", "rows read by the policy, both readers sure"),
    ):
        for measure, value in figures.get(name, {}).items():
            if isinstance(value, Mapping):
                rows.append((title, measure, f"{value['value']:.4f}", f"{value['low']:.4f} – {value['high']:.4f}"))
    yield Table(("rows", "measure", "value", "95 % interval"), rows)
    if calibration := figures.get("calibration"):
        yield f"Calibration on the headline rows: Brier {calibration['brier']:.4f}, ECE {calibration['ece']:.4f}."


def _at_cutoffs(figures: Mapping[str, Any]) -> Iterable[Block]:
    for name, title in (
        ("by_source", "source"),
        ("by_category", "category"),
        ("by_ham_kind", "kind of ham"),
        ("by_length", "length"),
        ("by_language", "language"),
    ):
        rows = []
        for part, counts in figures.get(name, {}).items():
            spam, ham = counts.get("spam"), counts.get("ham")
            rows.append((part, *_share(spam), *_share(ham)))
        yield Table((title, "spam", "caught", "unsure", "ham", "blocked", "unsure"), rows)


def _share(counts: Mapping[str, int] | None) -> tuple[str, str, str]:
    if not counts:
        return "", "", ""
    rows = counts["rows"]
    return f"{rows:,}", f"{counts['blocked'] / rows:.2%}", f"{counts['unsure'] / rows:.2%}"


def _categories(figures: Mapping[str, Any]) -> Iterable[Block]:
    section = sheet.categories(figures)
    if not section.rows:
        yield "The rows name no categories; this model has no category head."
        return
    yield from _section(section)


def _tried(candidates: Mapping[str, Any]) -> Iterable[Block]:
    seeds = max((len(found) for found in candidates.values()), default=0)
    yield "Recall at 1 % of the headline ham, out of fold, by the seed of the folds:"
    yield Table(
        ("candidate", *(f"seed {seed}" for seed in range(1, seeds + 1))),
        [(name, *(f"{recall:.3f}" for recall in found)) for name, found in candidates.items()],
    )


def _sources(manifest: Manifest, terms: Mapping[str, str]) -> Iterable[Block]:
    counts = manifest.counts
    yield f"{counts['rows']:,} rows in {counts['groups']:,} near-duplicate groups."
    yield Table(
        ("source", "spam", "ham", "terms as stated there"),
        [
            (
                n,
                f"{counts.get(f'{n} spam', 0):,}",
                f"{counts.get(f'{n} ham', 0):,}",
                terms.get(n, "unknown to the catalogue" if terms else "not stated"),
            )
            for n in _source_names(manifest)
        ],
    )
    yield Table(("file", "rows", "SHA-256"), [(s.name, f"{s.rows:,}", s.sha256[:16]) for s in manifest.sources])
