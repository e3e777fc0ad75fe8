"""Do the documents say what the program does?

The tables of docs/operations.md are written once and held to the code here: when a metric, a setting or an error
changes, the failing test shows the row that is missing.
"""

import re
import tomllib
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import Final

import pytest

from spamguard import cli
from spamguard.backends.metrics import METRICS
from spamguard.cli.app import COMMANDS
from spamguard.config import NOT_SETTINGS, PREFIX, Settings
from spamguard.errors import SpamguardError
from spamguard.types import Action, Category, DeadReason, Mode, Reason

ROOT: Final = Path(__file__).parents[2]
DOCS: Final = ROOT / "docs"
OPERATIONS: Final = DOCS / "operations.md"
GLOSSARY: Final = DOCS / "glossary.md"
PAGES: Final = (*sorted(DOCS.glob("*.md")), *sorted(ROOT.glob("*.md")))
#: Codes that belong to no error of the family: fine, some inputs bad, usage, and what the command line adds.
OTHER_CODES: Final = frozenset((0, 1, 2, cli.INTERNAL, cli.INTERRUPTED, cli.READER_GONE))


def section(page: Path, heading: str) -> str:
    """Return what stands below a heading, up to the next one of its rank."""
    _, _, rest = page.read_text(encoding="utf-8").partition(f"\n## {heading}\n")
    assert rest, f"{page.name} has no section '{heading}'"
    return rest.partition("\n## ")[0]


def rows(page: Path, heading: str) -> list[tuple[str, ...]]:
    """Return the rows of the first table below a heading, its head left out."""
    lines = [line for line in section(page, heading).splitlines() if line.startswith("|")]
    return [tuple(cell.strip() for cell in line.strip("|").split("|")) for line in lines[2:]]


def described_settings() -> list[tuple[str, ...]]:
    """Return the settings as the page must show them."""
    found: list[tuple[str, ...]] = []
    for name, field in Settings.model_fields.items():
        default = "unset" if field.default is None else f"`{field.default}`"
        found.append((f"`{name}`", f"`{PREFIX}{name.upper()}`", default, field.description or ""))
    return found


def errors() -> list[type[SpamguardError]]:
    """Return the family of errors."""
    found: list[type[SpamguardError]] = []
    waiting: list[type[SpamguardError]] = [SpamguardError]
    while waiting:
        kin = waiting.pop().__subclasses__()
        found += kin
        waiting += kin
    return [error for error in found if error.__module__ == SpamguardError.__module__]


def test_the_table_of_metrics_is_the_one_that_is_exported() -> None:
    expected = [
        (
            f"`{metric.name}`",
            metric.kind,
            ", ".join(f"`{label}`" for label in metric.labels) or "none",
            metric.sentence,
        )
        for metric in METRICS
    ]
    assert rows(OPERATIONS, "Metrics") == expected


def test_the_table_of_settings_is_the_one_that_is_read() -> None:
    assert rows(OPERATIONS, "Settings") == described_settings()


def test_the_table_of_exit_codes_names_every_error_under_its_code() -> None:
    told = {int(code): set(re.findall(r"`([A-Z]\w+)`", names)) for code, names, _ in rows(OPERATIONS, "Exit codes")}
    expected: dict[int, set[str]] = {code: set() for code in OTHER_CODES}
    for error in errors():
        expected.setdefault(error.exit_code, set()).add(error.__name__)
    assert told == expected


def test_the_table_of_log_events_names_each_that_the_service_writes() -> None:
    told = {event for events, _ in rows(OPERATIONS, "Logs") for event in re.findall(r"`([a-z]\w+)`", events)}
    written = {
        event
        for path in sorted((ROOT / "spamguard").rglob("*.py"))
        for event in re.findall(r"\blog\.\w+\(\s*\"(\w+)\"", path.read_text(encoding="utf-8"))
    }
    assert told == written | {"library_log"}


@pytest.mark.parametrize("words", [Action, Reason, Category, Mode, DeadReason], ids=lambda words: str(words.__name__))
def test_the_glossary_explains_every_word_of_the_contract(words: Sequence[StrEnum]) -> None:
    explained = set(re.findall(r"^\| `(\w+)`", GLOSSARY.read_text(encoding="utf-8"), re.MULTILINE))
    assert {str(word) for word in words} <= explained


def test_the_review_pages_speak_the_glossarys_chinese() -> None:
    glossary = dict(re.findall(r"^\| `(\w+)` \| ([^|]+) \|", GLOSSARY.read_text(encoding="utf-8"), re.MULTILINE))
    spoken = tomllib.loads((ROOT / "spamguard/review/web/words/zh.toml").read_text(encoding="utf-8"))
    for kind, words in (("action", Action), ("reason", Reason), ("category", Category)):
        for word in map(str, words):
            assert spoken[f"{kind}.{word}"] == glossary[word], word


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.name))
def test_every_link_to_a_file_leads_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
        assert (page.parent / target).exists(), target


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.name))
def test_every_link_to_a_section_leads_to_a_heading(page: Path) -> None:
    for target, anchor in re.findall(r"\]\(([^)#:]*)#([^)]+)\)", page.read_text(encoding="utf-8")):
        text = (page.parent / target if target else page).read_text(encoding="utf-8")
        headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
        assert anchor in {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}, anchor


def test_the_index_leads_to_every_page() -> None:
    index = (DOCS / "README.md").read_text(encoding="utf-8")
    assert {page.name for page in DOCS.glob("*.md")} - {"README.md"} <= set(re.findall(r"\]\(([\w.]+\.md)\)", index))


@pytest.mark.parametrize("page", ["README.md", "README.zh-CN.md"])
def test_the_front_page_is_short_and_names_every_exit_code_of_an_error(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 150
    codes = re.search(r"^(?:Exit codes: |退出码：)([^(。]*)", text, re.MULTILINE)
    assert codes
    named = {int(part.split()[0]) for part in codes[1].split("·")}
    assert named == {0, 1, 2, cli.INTERNAL} | {error.exit_code for error in errors()}


def test_the_front_pages_show_the_same_commands() -> None:
    def commands(page: str) -> list[str]:
        lines = re.findall(r"^\$ (?:\.venv/bin/)?(.+)$", (ROOT / page).read_text(encoding="utf-8"), re.MULTILINE)
        return [line.partition("#")[0].partition("DATA=")[0].strip() for line in lines]

    assert commands("README.md") == commands("README.zh-CN.md")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.name))
def test_every_command_that_is_named_exists(page: Path) -> None:
    named = set(re.findall(r"(?:`|bin/|\$ )spamguard ([a-z][a-z-]*)", page.read_text(encoding="utf-8")))
    assert named <= COMMANDS.keys()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.name))
def test_every_variable_that_is_named_exists(page: Path) -> None:
    names = set(re.findall(rf"\b{PREFIX}[A-Z]+(?:_[A-Z]+)*", page.read_text(encoding="utf-8")))
    assert {name.removeprefix(PREFIX).lower() for name in names - NOT_SETTINGS} <= Settings.model_fields.keys()
