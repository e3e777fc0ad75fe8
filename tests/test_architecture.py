"""Do the house's rules hold: who may import whom, and do the examples in the docstrings run?"""

import doctest
import importlib
import pkgutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import spamguard_training

import spamguard

ROOT = Path(__file__).parents[1]
MODULES = sorted(
    module.name
    for package in (spamguard, spamguard_training)
    for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}.")
    if not module.name.endswith("__main__")
)


def test_nobody_imports_what_is_above_them() -> None:
    # In a process of its own: import-linter configures logging and thereby disables every logger that exists.
    linter = "import sys; from importlinter.cli import lint_imports; sys.exit(lint_imports(no_cache=True))"
    done = subprocess.run([sys.executable, "-c", linter], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


#: Top-level modules of the service that a contract need not name: what it allows, and what has a contract of its own.
BELOW = {"backends", "core", "interfaces", "types", "errors", "__main__"}
UNNAMED = {
    "aiokafka is named in the backends only": BELOW,
    "prometheus_client is named in the backends only": BELOW,
    "Backends, settings and logging are wired in by the service alone": BELOW | {"service", "cli", "config", "logs"},
    "Backends know the values and the interfaces, and core's array type, nothing above": BELOW | {"config", "logs"},
    "Training imports core, the values, settings, logging, the registry and who types, nothing else of the service": (
        BELOW | {"config", "logs", "cli"}
    ),
}


@pytest.mark.parametrize("name", UNNAMED)
def test_a_new_package_of_the_service_stands_in_every_contract_it_belongs_to(name: str) -> None:
    config = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    [contract] = [one for one in config["tool"]["importlinter"]["contracts"] if one["name"] == name]
    named = {*contract["source_modules"], *contract["forbidden_modules"]}
    packages = {f"spamguard.{module.name}" for module in pkgutil.iter_modules(spamguard.__path__)}
    assert packages - named <= {f"spamguard.{module}" for module in UNNAMED[name]}


@pytest.mark.parametrize("name", MODULES)
def test_a_module_opens_with_a_sentence_and_its_examples_run(name: str) -> None:
    module = importlib.import_module(name)
    assert (module.__doc__ or "").strip().partition("\n\n")[0].rstrip().endswith((".", "?"))
    assert doctest.testmod(module).failed == 0


def test_there_are_examples_to_run() -> None:
    tried = sum(doctest.testmod(importlib.import_module(name)).attempted for name in MODULES)
    assert tried >= 15
