"""How do the tests run a command line: in this process, in an empty folder, on the small model?"""

import io
import logging
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
import structlog

from spamguard.cli import main


class Ended(NamedTuple):
    """How a command ended, and what it wrote."""

    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[str]:
        return self.out.splitlines()


#: Runs a command line, with these bytes on its standard input.
Spamguard = Callable[..., Ended]


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tiny_model: Path) -> Path:
    """An empty working folder, and an environment that names the small model and nothing else."""
    monkeypatch.chdir(tmp_path)
    for name in list(os.environ):
        if name.startswith("SPAMGUARD_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("SPAMGUARD_MODEL", str(tiny_model))
    monkeypatch.delenv("COLUMNS", raising=False)
    return tmp_path


@pytest.fixture(autouse=True)
def unlogged() -> Iterator[None]:
    """Put logging back as it was: a command sets it up for its whole process."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    levels = {name: logging.getLogger(name).level for name in ("aiokafka", "asyncio")}
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    for name, old in levels.items():
        logging.getLogger(name).setLevel(old)
    structlog.reset_defaults()


@pytest.fixture
def spamguard(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Spamguard:
    """The command line, run in this process."""

    def run(*arguments: str, given: bytes = b"") -> Ended:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(given)))
        capsys.readouterr()
        code = main(arguments)
        return Ended(code, *capsys.readouterr())

    return run
