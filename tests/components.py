"""Which real components do tests run against, and what does a run say of those that were not there?

A pytest plugin, loaded by conftest.py. A component that is missing skips its tests with a reason and the command that
brings it; the end of the run repeats each of them once. `SPAMGUARD_REQUIRE` turns such a skip into a failure: a comma
list of components (`kafka`, `postgresql`), or `all`, under which no test whatsoever may be skipped.
"""

import asyncio
import getpass
import importlib.util
import inspect
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Generator, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, Final, NoReturn, TypeVar
from uuid import uuid4

import pytest

REQUIRED: Final = frozenset(os.environ.get("SPAMGUARD_REQUIRE", "").replace(",", " ").split())
ENABLE: Final = "; enable it with: "
#: No test that is a coroutine takes longer, whatever it waits for.
#: How long tasks that a test left behind may take to end.
CLEAN_UP_S: Final = 10.0
TEST_TIMEOUT_S: Final = 180.0

_Report = TypeVar("_Report", pytest.TestReport, pytest.CollectReport)


def missing(component: str, reason: str, *, enable: str) -> NoReturn:
    """Skip the test, or fail it when the component is required."""
    sentence = f"{reason}{ENABLE}{enable}"
    if REQUIRED & {component, "all"}:
        pytest.fail(f"SPAMGUARD_REQUIRE asks for {sentence}", pytrace=False)
    pytest.skip(sentence)


def kafka_launcher() -> ModuleType:
    """Return deploy/kafka/kafka.py, which belongs to no package."""
    path = Path(__file__).parents[1] / "deploy" / "kafka" / "kafka.py"
    spec = importlib.util.spec_from_file_location("kafka_launcher", path)
    assert spec is not None and spec.loader is not None
    if spec.name not in sys.modules:
        module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    return sys.modules[spec.name]


@pytest.fixture(scope="session")
def kafka() -> Iterator[str]:
    """The address of a real Kafka: the one SPAMGUARD_TEST_KAFKA names, else one that lives as long as this run."""
    given = os.environ.get("SPAMGUARD_TEST_KAFKA")
    if given:
        yield given
        return
    launcher = kafka_launcher()
    reason = launcher.available()
    if reason is not None:
        missing("kafka", f"real Kafka: {reason.rstrip('.')}", enable="make kafka-jars")
    with launcher.KafkaNode() as node:
        yield node.bootstrap


class PostgresNode:
    """A PostgreSQL of this run's own, in a folder that is gone afterwards, reached by a socket alone."""

    def __init__(self, binaries: Path) -> None:
        self._binaries = binaries
        self._folder = Path(tempfile.mkdtemp(prefix="spamguard-pg-"))
        self._user = "postgres" if os.getuid() == 0 else getpass.getuser()
        self._number = 0

    def _command(self, name: str, *arguments: str) -> list[str]:
        """Return a command line that runs as somebody unprivileged; PostgreSQL refuses to be root."""
        command = [str(self._binaries / name), *arguments]
        return (
            ["setpriv", f"--reuid={self._user}", f"--regid={self._user}", "--clear-groups", *command]
            if (os.getuid() == 0)
            else command
        )

    def __enter__(self) -> "PostgresNode":
        if os.getuid() == 0:
            shutil.chown(self._folder, self._user)
        data = str(self._folder / "data")
        made = self._command("initdb", "-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "-N")
        subprocess.run(made, check=True, capture_output=True, cwd="/")
        options = f"-k {self._folder} -c listen_addresses= -c fsync=off -c full_page_writes=off -c max_connections=200"
        begun = self._command("pg_ctl", "-D", data, "-w", "-l", str(self._folder / "log"), "-o", options, "start")
        subprocess.run(begun, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd="/")
        return self

    def __exit__(self, *_: object) -> None:
        ended = self._command("pg_ctl", "-D", str(self._folder / "data"), "-w", "-m", "immediate", "stop")
        subprocess.run(ended, check=False, capture_output=True, cwd="/")
        shutil.rmtree(self._folder, ignore_errors=True)

    def new_database(self) -> str:
        """Return the address of a database that nobody has used."""
        import psycopg

        self._number += 1
        name = f"test_{self._number}"
        with psycopg.connect(f"host={self._folder} user=postgres dbname=postgres", autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}")
        return f"postgresql://postgres@/{name}?host={self._folder}"


def postgres_binaries() -> Path | None:
    """Return the folder of PostgreSQL's programs; Debian keeps them out of the PATH."""
    found = shutil.which("initdb")
    folders = [Path(found).parent] if found else sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    return next((folder for folder in folders if (folder / "initdb").is_file()), None)


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresNode]:
    """A real PostgreSQL that lives as long as this run."""
    binaries = postgres_binaries()
    if binaries is None:
        missing("postgresql", "real PostgreSQL: initdb is not installed", enable="apt-get install postgresql")
    with PostgresNode(binaries) as node:
        yield node


@pytest.fixture
def topic() -> str:
    """A name that no other test uses, for a topic or a group."""
    return f"test-{uuid4().hex[:12]}"


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run a test that is a coroutine, on an event loop of its own."""
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    arguments = {name: pyfuncitem.funcargs[name] for name in pyfuncitem._fixtureinfo.argnames}

    async def run() -> None:
        async with asyncio.timeout(TEST_TIMEOUT_S):
            await pyfuncitem.obj(**arguments)

    loop = asyncio.new_event_loop()
    try:
        loop.run_until_complete(run())
    finally:
        # asyncio.run would wait for ever for a task of the Kafka client that swallows its cancellation.
        if left := asyncio.all_tasks(loop):
            for task in left:
                task.cancel()
            loop.run_until_complete(asyncio.wait(left, timeout=CLEAN_UP_S))
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.run_until_complete(loop.shutdown_default_executor())
        loop.close()
    return True


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[Any]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Turn a skip into a failure where nothing may be skipped; an expected failure is no skip."""
    return _strict((yield))


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Do the same where a whole module is skipped."""
    return _strict((yield))


def _strict(report: _Report) -> _Report:
    if report.skipped and "all" in REQUIRED and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"SPAMGUARD_REQUIRE=all, but this was skipped: {_reason(report)}"
    return report


def _reason(report: pytest.TestReport | pytest.CollectReport) -> str:
    told = report.longrepr
    reason = told[2] if isinstance(told, tuple) else str(told)
    return reason.removeprefix("Skipped: ")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say once of each thing that was skipped what it was and how to have it run."""
    for reason in dict.fromkeys(_reason(report) for report in terminalreporter.stats.get("skipped", [])):
        what, _, enable = reason.partition(ENABLE)
        terminalreporter.write_line(f"not run here: {what}" + (f" — enable with: {enable}" if enable else ""))
