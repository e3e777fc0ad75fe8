"""Does what docs/integration.md tells an integrator to copy and paste work, to the letter?

Each part of the page that is marked `<!-- run: … -->` is taken out and run as a process of its own; only addresses and
the names of topics are this test's own.
"""

import asyncio
import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

import pytest

from tests.components import kafka_launcher, missing
from tests.integration.asking import Running, gateway_settings
from tests.integration.serving import Names, Serving, create, kafka_broker

ROOT: Final = Path(__file__).parents[2]
PAGE: Final = ROOT / "docs" / "integration.md"
PATIENCE_S: Final = 180.0
ADDRESS: Final = "127.0.0.1:8080"
BROKERS: Final = "127.0.0.1:9092"
GO_MODULE: Final = "github.com/twmb/franz-go v1.22.3"
_PART: Final = re.compile(r"<!-- run: ([a-z ]+) -->\n```\w+\n(.*?)```", re.DOTALL)
PARTS: Final[dict[str, str]] = dict(_PART.findall(PAGE.read_text(encoding="utf-8")))


def run(command: list[str], folder: Path, environment: Mapping[str, str] = {}) -> str:
    done = subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_page_has_a_part_for_each_way_in() -> None:
    assert set(PARTS) == {"curl", "python http", "python plain", "python kafka", "java", "go"}
    for part in PARTS.values():
        assert ADDRESS in part or BROKERS in part


# HTTP


@pytest.fixture(scope="module")
def gateway(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with Running(gateway_settings(tiny_model, tmp_path_factory.mktemp("integration"))) as running:
        yield running


def http_part(name: str, gateway: Running) -> str:
    code = PARTS[name].replace("deadline_s=0.4", "deadline_s=60.0").replace("timeout=0.5", "timeout=60")
    return (
        code.replace('"Spamguard-Deadline-Ms": "400"', '"Spamguard-Deadline-Ms": "50000"')
        .replace("Spamguard-Deadline-Ms: 400", "Spamguard-Deadline-Ms: 50000")
        .replace(f"http://{ADDRESS}", gateway.url)
    )


def test_the_curl_part_gets_a_block(gateway: Running, tmp_path: Path) -> None:
    if shutil.which("curl") is None:
        missing("curl", "the page's curl part", enable="apt-get install curl")
    out = run(["bash", "-c", http_part("curl", gateway)], tmp_path, {"KEY": gateway.key})
    assert '"message_id":"curl-1","action":"block"' in out


def test_the_python_parts_over_http_get_a_block_and_an_allow(gateway: Running, tmp_path: Path) -> None:
    environment = {"KEY": gateway.key, "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "utf-8"}
    out = run([sys.executable, "-c", http_part("python http", gateway)], tmp_path, environment)
    assert out == "client-1 block spam_score 101\n"
    out = run([sys.executable, "-c", http_part("python plain", gateway)], tmp_path, environment)
    assert out == "plain-1 allow ham_score\n"


def test_the_plain_python_part_lets_a_message_pass_when_nobody_listens(tmp_path: Path) -> None:
    code = PARTS["python plain"].replace(ADDRESS, "127.0.0.1:9")
    out = run([sys.executable, "-c", code], tmp_path, {"KEY": "sg_0_0", "PYTHONIOENCODING": "utf-8"})
    assert out == "plain-1 allow URLError\n"


@pytest.mark.parametrize("page", ["README.md", "README.zh-CN.md"])
def test_the_front_page_gets_from_nothing_to_a_decision_in_three_lines(page: str, tmp_path: Path) -> None:
    if shutil.which("curl") is None:
        missing("curl", f"the commands of {page}", enable="apt-get install curl")
    [commands] = re.findall(r"```sh\n(KEY=.*?)```", (ROOT / page).read_text(encoding="utf-8"), re.DOTALL)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    commands = commands.replace(".venv/bin/spamguard", f"{sys.executable} -m spamguard")
    commands = commands.replace(ADDRESS, f"127.0.0.1:{port}") + "\nkill %1; wait %1"
    environment = {
        "PYTHONPATH": str(ROOT),
        "SPAMGUARD_GATEWAY_PORT": str(port),
        "SPAMGUARD_METRICS_PORT": "0",
        "SPAMGUARD_GATEWAY_DEADLINE_MS": "60000",
        "SPAMGUARD_CONTROL_FILE": str(tmp_path / "allow-all"),
    }
    out = run(["bash", "-mc", commands], tmp_path, environment)
    assert '"action":"allow","would_be":"block","reason":"observed"' in out


# Kafka


class Stream:
    """A real Kafka with a worker, and the page's names of it."""

    def __init__(self, address: str, names: Names) -> None:
        self.address = address
        self.names = names

    def part(self, name: str) -> str:
        code = PARTS[name].replace(BROKERS, self.address)
        code = code.replace("TIMEOUT_S = 10.0", "TIMEOUT_S = 60.0").replace("ofSeconds(10)", "ofSeconds(60)")
        code = code.replace("10*time.Second", "60*time.Second")
        return code.replace("sms.inbound", self.names.inbound).replace("sms.decisions", self.names.decisions)


@pytest.fixture(scope="module")
def stream(kafka: str, tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stream]:
    names = Names.of(f"page-{os.getpid()}")
    asyncio.run(create(kafka_broker(kafka), names, partitions=3))
    settings = {
        **names.environment(),
        "SPAMGUARD_BROKERS": kafka,
        "SPAMGUARD_MODEL": str(tiny_model),
        "SPAMGUARD_BREAKER": "false",
    }
    with Serving(tmp_path_factory.mktemp("worker"), settings) as worker:
        worker.await_ready()
        yield Stream(kafka, names)
        assert worker.terminate() == 0


def test_the_aiokafka_part_gets_a_block(stream: Stream, tmp_path: Path) -> None:
    out = run([sys.executable, "-c", stream.part("python kafka")], tmp_path, {"PYTHONIOENCODING": "utf-8"})
    assert out == "python-1 block spam_score\n"


def java_compiled(folder: Path, code: str) -> str:
    """Compile the page's class and return the class path to run it on."""
    if shutil.which("javac") is None:
        missing("java", "the page's Java part: javac is not here", enable="apt-get install openjdk-17-jdk-headless")
    launcher = kafka_launcher()
    if (reason := launcher.available()) is not None:
        missing("kafka", f"the page's Java part: {reason.rstrip('.')}", enable="make kafka-jars")
    (folder / "SpamFilter.java").write_text(code, encoding="utf-8")
    class_path = f"{folder}{os.pathsep}{launcher.LIB}/*"
    run(["javac", "-encoding", "UTF-8", "-Xlint:all,-processing", "-cp", class_path, "SpamFilter.java"], folder)
    return class_path


def test_the_java_part_compiles(tmp_path: Path) -> None:
    java_compiled(tmp_path, PARTS["java"])


def test_the_java_part_gets_a_block(stream: Stream, tmp_path: Path) -> None:
    class_path = java_compiled(tmp_path, stream.part("java"))
    out = run(["java", "-Dfile.encoding=UTF-8", "-cp", class_path, "SpamFilter"], tmp_path)
    assert "java-1 block spam_score" in out.splitlines()


def go_built(folder: Path, code: str) -> Path:
    """Build the page's program from modules that are already on this machine."""
    if shutil.which("go") is None:
        missing("go", "the page's Go part: no go tool", enable="install Go from go.dev")
    (folder / "main.go").write_text(code, encoding="utf-8")
    (folder / "go.mod").write_text(f"module integration\n\ngo 1.24\n\nrequire {GO_MODULE}\n")
    offline = {"GOPROXY": "off", "GOSUMDB": "off", "GOFLAGS": "-mod=mod", "GOTOOLCHAIN": "local"}
    done = subprocess.run(
        ["go", "build", "-o", "asks", "."],
        cwd=folder,
        env={**os.environ, **offline},
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    if done.returncode and re.search(r"module lookup disabled|toolchain not available|requires go >=", done.stderr):
        enable = f"go mod download {GO_MODULE.replace(' ', '@')} (and what it needs), with a recent Go"
        missing("go", "the page's Go part: franz-go is not on this machine", enable=enable)
    assert done.returncode == 0, done.stderr
    return folder / "asks"


def test_the_go_part_compiles(tmp_path: Path) -> None:
    go_built(tmp_path, PARTS["go"])


def test_the_go_part_gets_a_block(stream: Stream, tmp_path: Path) -> None:
    out = run([str(go_built(tmp_path, stream.part("go")))], tmp_path)
    assert out == "go-1 block spam_score\n"
