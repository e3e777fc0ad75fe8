"""What should a person know before trusting a model?

The card is written from the manifest alone: sources and their terms, the protocol, every figure with its interval,
where the cutoffs come from, what is weak, and who should not use it.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from spamguard.core.manifest import Manifest
from spamguard_training import sheet


def write_card(manifest: Manifest, terms: Mapping[str, str]) -> str:
    """Return the card as Markdown; `terms` says under which terms each source stands."""
    parts = [
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
        *_at_cutoffs(manifest.metrics),
        "### Other budgets",
        *_section(sheet.budgets(manifest.metrics)),
        "### Categories of spam",
        *_categories(manifest.metrics.get("categories", {})),
        "### Tried",
        "Recall at 0.5 % of the headline ham, out of fold:",
        _table(("candidate", "recall"), ((k, f"{v:.3f}") for k, v in manifest.metrics.get("candidates", {}).items())),
        *(part for section in sheet.crossed(manifest.metrics) for part in (f"### {section.title}", *_section(section))),
        *manifest.metrics.get("warnings", ()),
        "## What it was trained on",
        *_sources(manifest, terms),
        "## Known weaknesses",
        *_WEAKNESSES,
        "## Who should not use it",
        "Whoever needs a licence for every training message: several public sources state none (the table above), so a "
        "commercial operator should retrain on messages of its own; `spamguard train` is one command. Whoever filters "
        "languages other than Chinese and English. Whoever wants to judge people rather than messages.",
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


_WEAKNESSES = (
    "- The public corpora are from 2013–2017; this year's fraud and promotions are known mostly from hand-written "
    "families and a few hundred recent texts. Look at the `modern` and `families` rows above before trusting a recall.",
    "- About 8 % of the public labels of the two real corpora contradicted the policy; unread rows still carry noise, "
    "which lowers every figure stated on all rows.",
    "- Single-class sources give themselves away by their looks; they are training material, never headline evidence.",
    "- Consent is not visible in a text: an opted-in promotion looks like any other.",
)


def _section(section: sheet.Section) -> Iterable[str]:
    yield section.note
    yield _table(section.head, section.rows)


def _view(view: Any) -> str:
    return f"{view.name} ({view.shortest}–{view.longest})"


def _cutoffs(manifest: Manifest) -> Iterable[str]:
    budget = manifest.budget
    mix = ", ".join(f"{share:.0%} {kind}" for kind, share in budget.mix.items())
    yield (
        f"Blocked from **{manifest.spam_cutoff:.4f}**, unsure (allowed, offered for review) from "
        f"**{manifest.ham_cutoff:.4f}**. Scores are calibrated to a share of spam of {manifest.prior:.0%}."
    )
    yield (
        f"The spam cutoff is the lowest one whose share of blocked ham stays inside {budget.false_positive_rate:.2%} "
        f"at its 95 % upper bound, on a mix of {mix}: {budget.estimate:.3%} measured, at most "
        f"{budget.upper_bound:.3%}, on {budget.ham_rows:,} near-duplicate groups of ham that was read by the label "
        "policy or can only be private chat. Guards and the evidence floor protect more; they are not counted here."
    )
    yield f"{manifest.calibration}."


def _headline(figures: Mapping[str, Any]) -> Iterable[str]:
    rows = []
    for name, title in (
        ("headline", "all rows"),
        ("headline_read_and_sure", "rows read by the policy, both readers sure"),
    ):
        for measure, value in figures.get(name, {}).items():
            if isinstance(value, Mapping):
                rows.append((title, measure, f"{value['value']:.4f}", f"{value['low']:.4f} – {value['high']:.4f}"))
    yield _table(("rows", "measure", "value", "95 % interval"), rows)
    if calibration := figures.get("calibration"):
        yield f"Calibration on the headline rows: Brier {calibration['brier']:.4f}, ECE {calibration['ece']:.4f}."


def _at_cutoffs(figures: Mapping[str, Any]) -> Iterable[str]:
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
        yield _table((title, "spam", "caught", "unsure", "ham", "blocked", "unsure"), rows)


def _share(counts: Mapping[str, int] | None) -> tuple[str, str, str]:
    if not counts:
        return "", "", ""
    rows = counts["rows"]
    return f"{rows:,}", f"{counts['blocked'] / rows:.2%}", f"{counts['unsure'] / rows:.2%}"


def _categories(figures: Mapping[str, Any]) -> Iterable[str]:
    confusion = figures.get("confusion") or {}
    if not confusion:
        yield "The rows name no categories; this model has no category head."
        return
    names = sorted(confusion)
    yield f"Accuracy out of fold {figures['accuracy']:.3f}; rows are the truth, columns the answer:"
    yield _table(("", *names), ((name, *(str(confusion[name].get(n, 0)) for n in names)) for name in names))


def _sources(manifest: Manifest, terms: Mapping[str, str]) -> Iterable[str]:
    counts = manifest.counts
    names = sorted({key.rsplit(" ", 1)[0] for key in counts if " " in key})
    yield f"{counts['rows']:,} rows in {counts['groups']:,} near-duplicate groups."
    yield _table(
        ("source", "spam", "ham", "terms as stated there"),
        (
            (
                n,
                f"{counts.get(f'{n} spam', 0):,}",
                f"{counts.get(f'{n} ham', 0):,}",
                terms.get(n, "unknown to the catalogue"),
            )
            for n in names
        ),
    )
    yield _table(("file", "rows", "SHA-256"), ((s.name, f"{s.rows:,}", s.sha256[:16]) for s in manifest.sources))


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    body = [f"| {' | '.join(row)} |" for row in rows]
    if not body:
        return ""
    return "\n".join([f"| {' | '.join(head)} |", "|" + "---|" * len(head), *body])
