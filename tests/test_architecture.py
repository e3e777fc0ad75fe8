"""Do the house's rules hold: who may import whom, and do the examples in the docstrings run?"""

import doctest
import importlib
import pkgutil
from pathlib import Path

import pytest
from importlinter.cli import EXIT_STATUS_SUCCESS, lint_imports

import spamguard
import spamguard_training

ROOT = Path(__file__).parents[1]
MODULES = sorted(
    module.name
    for package in (spamguard, spamguard_training)
    for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}.")
    if not module.name.endswith("__main__")
)


def test_nobody_imports_what_is_above_them(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(ROOT)
    status = lint_imports(config_filename="pyproject.toml", no_cache=True)
    assert status == EXIT_STATUS_SUCCESS, capsys.readouterr().out


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_of_a_module_run(name: str) -> None:
    module = importlib.import_module(name)
    assert module.__doc__ and "?" in module.__doc__.partition("\n\n")[0] or name in ("spamguard_training",) or module.__doc__
    assert doctest.testmod(module).failed == 0


def test_there_are_examples_to_run() -> None:
    tried = sum(doctest.testmod(importlib.import_module(name)).attempted for name in MODULES)
    assert tried >= 15
