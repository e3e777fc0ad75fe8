"""How does a command end when something is wrong: in one sentence, with its exit code, and without a message's text?"""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from spamguard import __version__
from spamguard.cli import INTERNAL, INTERRUPTED, READER_GONE, main
from spamguard.cli.app import COMMANDS, load
from spamguard.errors import SpamguardError
from spamguard.service import judging
from tests.cast import LOAN, LOTTERY
from tests.unit.cli.conftest import Spamguard

ROOT = Path(__file__).parents[3]


def in_a_process(code: str, *, environment: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Run Python code in a fresh interpreter."""
    command = [sys.executable, "-c", code]
    return subprocess.run(
        command, env={**os.environ, **(environment or {})}, capture_output=True, text=True, check=False
    )


def words(text: str) -> str:
    return " ".join(text.split())


def test_the_help_lists_every_command_in_its_panel_and_the_exit_codes(spamguard: Spamguard) -> None:
    ended = spamguard("--help")
    assert ended.code == 0
    for name, command in COMMANDS.items():
        assert name in ended.out
        assert command.panel in ended.out
    for code in {*(error.exit_code for error in SpamguardError.__subclasses__()), 2, INTERNAL}:
        assert f"{code} " in ended.out.partition("Exit codes")[2]


def test_without_arguments_the_help_is_shown_and_nothing_is_complained_of(spamguard: Spamguard) -> None:
    ended = spamguard()
    assert (ended.code, ended.err) == (2, "")
    assert "demo" in ended.out


def test_the_list_can_be_taken_in_at_a_glance(spamguard: Spamguard, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    lines = spamguard("--help").lines
    for name, command in COMMANDS.items():
        assert any(f" {name} " in line and f" {command.sentence} " in line for line in lines), name
    after = next(number for number, line in enumerate(lines) if "Exit codes" in line)
    assert all(line.lstrip()[0].isdigit() and len(line.split()) > 3 for line in lines[after + 1 :] if line.strip())


@pytest.mark.parametrize("name", COMMANDS)
def test_help_speaks_of_texts_and_numbers_and_not_of_python(
    name: str, spamguard: Spamguard, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")

    def texts(path: list[str], command: Any) -> Iterator[str]:
        yield spamguard(*path, "--help").out
        for inner, below in getattr(command, "commands", {}).items():
            yield from texts([*path, inner], below)

    for text in texts([name], load(name)):
        assert not re.search(r"<(str|int|float|Path|list\[|bool|\w+ range)", text)
        assert not re.search(r"Usage: .*\{[a-z]+\}", text)
        assert not re.search(r"SPAMGUARD_\w*…", text), "a variable's name is never cut"


def test_who_does_it_is_asked_in_the_same_words_everywhere() -> None:
    def said(command: Any) -> Iterator[str]:
        yield from (option.help for option in command.params if "--who" in option.opts)
        for below in getattr(command, "commands", {}).values():
            yield from said(below)

    helps = [text for name in COMMANDS for text in said(load(name))]
    assert len(helps) > 10 and len(set(helps)) == 1
    assert "user@host" in helps[0]


@pytest.mark.parametrize("name", COMMANDS)
def test_the_list_says_what_the_command_says_of_itself(name: str) -> None:
    first = words((load(name).help or "").partition("\n\n")[0])
    assert first == COMMANDS[name].sentence


def test_every_command_of_the_training_package_is_in_the_list() -> None:
    from spamguard_training.commands import register

    holder = typer.Typer()
    register(holder)
    names = {command.name or command.callback.__name__ for command in holder.registered_commands if command.callback}
    assert names == {name for name, command in COMMANDS.items() if command.module is None}


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_explains_itself(name: str, spamguard: Spamguard) -> None:
    ended = spamguard(name, "--help")
    assert (ended.code, ended.err) == (0, "")
    assert COMMANDS[name].sentence.split()[0] in ended.out
    assert "<bool>" not in ended.out


def test_the_help_and_a_usage_error_import_nothing_that_is_slow() -> None:
    for arguments in (["--help"], ["--version"], ["scroe"]):
        ended = in_a_process(
            f"import sys; from spamguard.cli import main; main({arguments}); "
            "print([m for m in ('numpy', 'aiokafka', 'pydantic_settings', 'sklearn') if m in sys.modules])"
        )
        assert ended.stdout.splitlines()[-1] == "[]"


def test_scoring_imports_nothing_of_training() -> None:
    ended = in_a_process(
        "import sys; from spamguard.cli import main; main(['score', 'hello']); "
        "print([m for m in sys.modules if m.startswith(('spamguard_training', 'sklearn', 'scipy'))])"
    )
    assert ended.stdout.splitlines()[-1] == "[]"


def test_the_version_is_the_packages(spamguard: Spamguard) -> None:
    assert spamguard("--version").out == f"spamguard {__version__}\n"


def test_a_misspelt_command_is_met_with_the_one_that_was_meant(spamguard: Spamguard) -> None:
    ended = spamguard("scroe")
    assert (ended.code, ended.out) == (2, "")
    assert ended.err == "error: No such command 'scroe'. Did you mean 'score'? Try 'spamguard --help'.\n"


def test_a_misspelt_option_is_met_with_the_one_that_was_meant(spamguard: Spamguard) -> None:
    ended = spamguard("serve", "--borkers", "x")
    assert ended.code == 2
    assert "--brokers" in ended.err
    assert "Try 'spamguard serve --help'" in ended.err


def test_a_misspelt_setting_is_met_with_the_one_that_was_meant(
    spamguard: Spamguard, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SPAMGUARD_GRUOP", "night")
    ended = spamguard("score", LOTTERY)
    assert (ended.code, ended.out) == (3, "")
    assert "SPAMGUARD_GRUOP" in ended.err
    assert "did you mean group?" in ended.err
    assert len(ended.err.splitlines()) == 1


def test_a_missing_model_says_how_to_get_one(spamguard: Spamguard) -> None:
    ended = spamguard("score", "--model", "nobody", LOTTERY)
    assert (ended.code, ended.out) == (4, "")
    assert "nobody" in ended.err
    assert "spamguard train" in ended.err


@pytest.mark.parametrize("arguments", [["train", "x.jsonl"], ["train", "--help"], ["evaluate", "x.jsonl", "--json"]])
@pytest.mark.parametrize("package", ["sklearn", "spamguard_training"])
def test_a_missing_extra_says_how_to_install_it(arguments: list[str], package: str) -> None:
    ended = in_a_process(
        f"import sys; sys.modules['{package}'] = None; from spamguard.cli import main; sys.exit(main({arguments}))"
    )
    assert (ended.returncode, ended.stdout) == (7, "")
    assert f"`spamguard {arguments[0]}` needs the extra 'train'" in ended.stderr
    assert "make env" in " ".join(ended.stderr.split()) and "[train]" in ended.stderr
    assert len(ended.stderr.splitlines()) == 1


def test_another_import_that_fails_is_an_internal_error_and_no_missing_extra() -> None:
    ended = in_a_process(
        "import sys; sys.modules['spamguard.core.guards'] = None; "
        "from spamguard.cli import main; sys.exit(main(['explain', 'x']))"
    )
    assert ended.returncode == INTERNAL
    assert "ModuleNotFoundError" in ended.stderr


def broken(*_: Any, **__: Any) -> Any:
    """Fail as a library would, quoting what it choked on."""
    raise RuntimeError(f"cannot digest {LOAN}")


def test_an_internal_error_names_its_class_and_nothing_of_the_message(
    spamguard: Spamguard, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(judging, "offline_filter", broken)
    ended = spamguard("score", LOAN)
    assert (ended.code, ended.out) == (INTERNAL, "")
    assert ended.err == "error: internal error (RuntimeError); run with SPAMGUARD_LOG_LEVEL=debug to see where.\n"


def test_under_debug_an_internal_error_shows_its_places_and_still_nothing_of_the_message(
    spamguard: Spamguard, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(judging, "offline_filter", broken)
    monkeypatch.setenv("SPAMGUARD_LOG_LEVEL", "debug")
    ended = spamguard("score", LOAN)
    assert ended.code == INTERNAL
    assert "test_main.py:" in ended.err
    assert "in broken" in ended.err
    assert "Traceback" not in ended.err
    assert LOAN[:6] not in ended.err
    assert "13900001234" not in ended.err


def test_an_interrupt_ends_quietly(spamguard: Spamguard, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: Any, **__: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(judging, "offline_filter", interrupted)
    assert spamguard("score", LOTTERY) == (INTERRUPTED, "", "")


@pytest.mark.parametrize(
    "arguments", [["score", "--jsonl", str(ROOT / "datasets/samples/messages.jsonl")], ["models", "show"]]
)
def test_a_reader_who_goes_away_is_nothing_to_complain_of(arguments: list[str], tiny_model: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", f"import sys; from spamguard.cli import main; sys.exit(main({arguments}))"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "SPAMGUARD_MODEL": str(tiny_model)},
    )
    assert process.stdout is not None and process.stderr is not None
    process.stdout.close()
    complaint = process.stderr.read()
    process.stderr.close()
    assert (process.wait(), complaint) == (READER_GONE, b"")


def test_a_terminal_that_cannot_show_a_character_gets_another_one() -> None:
    typed = ascii("\udcff 晚上一起吃饭吗")
    ended = in_a_process(
        f"import sys; from spamguard.cli import main; sys.exit(main(['score', {typed}]))",
        environment={"PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0", "LC_ALL": "POSIX"},
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    assert "allow" in ended.stdout


def test_the_shell_completes_commands_and_their_options() -> None:
    def completed(*typed: str) -> str:
        ended = in_a_process(
            "import sys; from spamguard.cli import main; sys.exit(main([]))",
            environment={
                "_SPAMGUARD_COMPLETE": "complete_bash",
                "COMP_WORDS": " ".join(("spamguard", *typed)),
                "COMP_CWORD": str(len(typed)),
            },
        )
        return ended.stdout

    assert "score" in completed("sc").split()
    assert "--brokers" in completed("serve", "--b").split()
    assert "--budget" in completed("train", "--b").split()


def test_main_reads_the_processs_own_arguments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["spamguard", "--version"])
    assert main() == 0
