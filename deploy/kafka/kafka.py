"""How do I get a real Kafka broker on this machine without a container?

This launcher needs Java 17, Maven and the Python standard library. It fetches the jars of Apache Kafka (versions
pinned in ``pom.xml``) and runs them as one node that is broker and controller at once and listens on loopback only::

    python deploy/kafka/kafka.py fetch     # copies the jars into deploy/kafka/lib; needed once
    python deploy/kafka/kafka.py run       # in the foreground, until Ctrl-C or SIGTERM
    python deploy/kafka/kafka.py start     # in the background; returns when the node is ready
    python deploy/kafka/kafka.py status
    python deploy/kafka/kafka.py stop

``run`` and ``start`` print ``bootstrap=127.0.0.1:PORT`` when the node answers. Errors are one sentence on the
standard error and exit code 3; ``status`` also exits with 3 when no node answers.

Tests use the same code as a library (all calls block, so call them in a thread from a coroutine)::

    if (reason := available()) is not None:
        pytest.skip(reason)
    with KafkaNode() as node:              # any free port, and a temporary data folder
        ...                                # node.bootstrap, node.pause(), node.resume()
        node.kill()
        node.start()                       # same port, same data

The pid file is locked by the running node itself, so a stale pid file is never mistaken for a live node.
"""

from __future__ import annotations

import argparse
import base64
import fcntl
import hashlib
import json
import os
import random
import re
import shutil
import signal
import socket
import string
import struct
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import FrameType, TracebackType
from typing import BinaryIO, Final

HERE: Final = Path(__file__).resolve().parent
LIB: Final = HERE / "lib"
DATA: Final = HERE / "data"
PORT: Final = 9092
HEAP: Final = "384m"
LOOPBACK: Final = "127.0.0.1"
JAVA_MINIMUM: Final = 17
EXIT_ERROR: Final = 3

# Below the range from which Linux takes ports for outgoing connections: a client that retries on a port of that range
# while the node is down can connect to itself and so keep the node from coming back.
_PORTS: Final = range(20_000, 32_000)
_MARKER: Final = "fetched.json"
_POLL_SECONDS: Final = 0.05
_PROBE_SECONDS: Final = 2.0
_GOOD_ORDER: Final = (0, 128 + signal.SIGTERM)
_API_VERSIONS: Final = 18
_METADATA: Final = 3


class KafkaNodeError(Exception):
    """Says in one sentence why the node cannot do what was asked, and what to do about it."""


@dataclass(frozen=True, kw_only=True)
class _Process:
    """Names a running node: its process and its two ports."""

    pid: int
    port: int
    controller_port: int
    host: str = LOOPBACK


def available(*, lib: Path = LIB) -> str | None:
    """Return the reason why Kafka cannot run here, or None when it can."""
    try:
        _java()
    except KafkaNodeError as error:
        return str(error)
    if not _fetched(lib):
        return f"The Kafka jars are not in {lib}: run 'python {Path(__file__)} fetch'."
    return None


def fetch(*, lib: Path = LIB) -> int:
    """Copy the jars that pom.xml names into the folder and return their number; do nothing when they are there."""
    if not _fetched(lib):
        _java()
        maven = shutil.which("mvn")
        if maven is None:
            raise KafkaNodeError("Maven is missing: install it (Debian: apt-get install maven) and fetch again.")
        partial = Path(tempfile.mkdtemp(prefix=f"{lib.name}.", dir=lib.parent))
        try:
            _copy_jars(maven, partial)
            shutil.rmtree(lib, ignore_errors=True)
            partial.rename(lib)
        except OSError as error:
            raise KafkaNodeError(f"The Kafka jars could not be moved to {lib} ({error}): fetch again.") from error
        finally:
            shutil.rmtree(partial, ignore_errors=True)
    return len(list(lib.glob("*.jar")))


def _copy_jars(maven: str, folder: Path) -> None:
    """Let Maven copy the jars into the folder and write down what it copied."""
    command = [maven, "-q", "-B", "-f", str(HERE / "pom.xml"), "dependency:copy-dependencies"]
    command += ["-DincludeScope=runtime", f"-DoutputDirectory={folder}"]
    result = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if result.returncode != 0:
        errors = [line for line in (result.stdout + result.stderr).splitlines() if "[ERROR]" in line]
        cause = errors[0].partition("[ERROR]")[2].strip() if errors else f"exit code {result.returncode}"
        raise KafkaNodeError(f"Maven could not fetch the Kafka jars: check the network and fetch again ({cause}).")
    jars = {jar.name: jar.stat().st_size for jar in folder.glob("*.jar")}
    (folder / _MARKER).write_text(json.dumps({"pom": _pom_digest(), "jars": jars}), encoding="utf-8")


def _fetched(lib: Path) -> bool:
    """Tell whether the folder holds every jar that the present pom.xml asks for."""
    try:
        marker = json.loads((lib / _MARKER).read_text(encoding="utf-8"))
        return marker["pom"] == _pom_digest() and all(
            (lib / name).stat().st_size == size for name, size in marker["jars"].items()
        )
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _pom_digest() -> str:
    """Return the digest of pom.xml, which tells jars of another version apart."""
    return hashlib.sha256((HERE / "pom.xml").read_bytes()).hexdigest()


def _java() -> str:
    """Return the path of a Java that is new enough."""
    home = os.environ.get("JAVA_HOME")
    java = shutil.which("java", path=str(Path(home) / "bin") if home else None)
    if java is None:
        place = f"in JAVA_HOME ({home})" if home else "on the PATH"
        raise KafkaNodeError(f"Java is missing {place}: install Java {JAVA_MINIMUM} or later and try again.")
    result = subprocess.run([java, "-version"], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    match = re.search(r'version "(?:1\.)?(\d+)', result.stderr)
    if match is None:
        raise KafkaNodeError(f"{java} does not tell its version: install Java {JAVA_MINIMUM} or later and try again.")
    if int(match[1]) < JAVA_MINIMUM:
        raise KafkaNodeError(
            f"{java} is Java {match[1]}, too old for Kafka: install Java {JAVA_MINIMUM} or later, "
            "point JAVA_HOME to it and try again."
        )
    return java


class KafkaNode:
    """Runs one Kafka node that can be stopped, killed, paused and started again on the same port and data.

    Two objects with the same data folder, also in two processes, control the same node.
    """

    def __init__(
        self, *, port: int = 0, data: Path | None = None, heap: str = HEAP, lib: Path = LIB, host: str = LOOPBACK
    ) -> None:
        """Name the node: port 0 takes any free port, no data folder means a temporary one, host is an own address."""
        if not 0 <= port <= 65_535:
            raise KafkaNodeError(f"The port {port} is not between 0 and 65535: choose another.")
        if re.fullmatch(r"[1-9]\d*[mMgG]", heap) is None:
            raise KafkaNodeError(f"The heap size {heap!r} is not like 384m or 1g: give such a size.")
        if data is not None and "," in str(data.resolve()):
            raise KafkaNodeError(f"The data folder {data} has a comma in its path, where Kafka splits: choose another.")
        self._temporary = data is None
        self._data = Path(tempfile.mkdtemp(prefix="kafka-node-")) if data is None else data.resolve()
        self._heap = heap
        self._lib = lib
        self._wanted_port = port
        self._host = host
        self._ports: tuple[int, int] | None = None
        self._child: subprocess.Popen[bytes] | None = None
        self._log_offset = 0

    def __enter__(self) -> KafkaNode:
        """Start the node."""
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop the node and delete its data when they are temporary."""
        self.close()

    @property
    def bootstrap(self) -> str:
        """Return the address for clients, which stays the same over restarts."""
        process = self._process()
        port = process.port if process is not None else self._ports[0] if self._ports else self._wanted_port
        if port == 0:
            raise KafkaNodeError("The node has no port yet: start it first.")
        return f"{process.host if process is not None else self._host}:{port}"

    @property
    def pid(self) -> int | None:
        """Return the process id of the running node, or None."""
        process = self._process()
        return process.pid if process is not None else None

    @property
    def log(self) -> Path:
        """Return the file with the warnings and errors of the node."""
        return self._data / "kafka.log"

    def answers(self) -> bool:
        """Tell whether the node runs and serves requests now."""
        process = self._process()
        return process is not None and _answers(process.host, process.port)

    def start(self, *, timeout: float = 60.0) -> None:
        """Start the node, formatting a new data folder first, and return when it serves requests."""
        if (reason := available(lib=self._lib)) is not None:
            raise KafkaNodeError(reason)
        try:
            self._data.mkdir(parents=True, exist_ok=True)
            lock = self._pid_file.open("a+b")
        except OSError as error:
            raise KafkaNodeError(f"The data folder cannot be written ({error}): choose another.") from error
        with lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise KafkaNodeError(f"A node already runs on the data folder {self._data}: stop it first.") from None
            self._log_offset = self.log.stat().st_size if self.log.exists() else 0
            port, controller_port = self._ports or self._choose_ports()
            if not _free(self._host, port):
                raise KafkaNodeError(f"The port {port} is taken: stop its owner or choose another (0 takes any).")
            self._launch(lock, port, controller_port)
            self._ports = port, controller_port
        try:
            self._await_ready(port, time.monotonic() + timeout, timeout)
        except BaseException:
            self.kill()
            raise

    def stop(self, *, timeout: float = 30.0) -> None:
        """Let the node end in good order, also when it is paused; do nothing when it does not run."""
        self._signal(signal.SIGTERM)
        self._signal(signal.SIGCONT)
        deadline = time.monotonic() + timeout
        while self._process() is not None and time.monotonic() < deadline:
            time.sleep(_POLL_SECONDS)
        self.kill()

    def kill(self) -> None:
        """End the node at once with SIGKILL, as a crash does, and return when it is gone."""
        while self._process() is not None:
            self._signal(signal.SIGKILL)
            time.sleep(_POLL_SECONDS)
        if self._child is not None:
            self._child.wait()
            self._child = None

    def pause(self) -> None:
        """Freeze the node with SIGSTOP: connections stay open, and nothing is answered."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Wake the paused node with SIGCONT."""
        self._signal(signal.SIGCONT)

    def wait(self) -> bool:
        """Return when the node has ended, and tell whether it ended in good order."""
        while self._process() is not None:
            time.sleep(_POLL_SECONDS)
        return self._child is None or self._child.wait() in _GOOD_ORDER

    def close(self) -> None:
        """Stop the node and delete its data when they are temporary."""
        self.stop()
        if self._temporary:
            shutil.rmtree(self._data, ignore_errors=True)

    @property
    def _pid_file(self) -> Path:
        return self._data / "kafka.pid"

    @property
    def _log_dir(self) -> Path:
        return self._data / "log"

    def _process(self) -> _Process | None:
        """Read the pid file, whose lock the node holds as long as it lives."""
        try:
            with self._pid_file.open("rb") as file:
                try:
                    fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
                except BlockingIOError:
                    return _Process(**json.loads(file.read()))
        except (OSError, ValueError):
            return None
        return None

    def _signal(self, number: signal.Signals) -> None:
        """Send a signal to the node when it runs."""
        process = self._process()
        if process is not None:
            try:
                os.kill(process.pid, number)
            except ProcessLookupError:
                return

    def _choose_ports(self) -> tuple[int, int]:
        """Return the port for clients and the port of the controller."""
        free = (
            port for port in random.sample(_PORTS, len(_PORTS)) if port != self._wanted_port and _free(self._host, port)
        )
        try:
            return self._wanted_port or next(free), next(free)
        except StopIteration:
            raise KafkaNodeError(f"No port from {_PORTS.start} to {_PORTS.stop} is free: stop some server.") from None

    def _launch(self, lock: BinaryIO, port: int, controller_port: int) -> None:
        """Start the process with the settings filled in, and hand the lock of the pid file over to it."""
        java = [_java(), "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto", "-Djava.awt.headless=true"]
        java += [f"-Dlog4j2.configurationFile={HERE / 'log4j2.properties'}", "-cp", f"{self._lib}/*"]
        properties = self._data / "server.properties"
        template = string.Template((HERE / "server.properties").read_text(encoding="utf-8"))
        # The escapes of JSON are the escapes of a properties file.
        log_dir = json.dumps(str(self._log_dir))[1:-1]
        properties.write_text(
            template.substitute(host=self._host, port=port, controller_port=controller_port, log_dir=log_dir),
            encoding="ascii",
        )
        if not (self._log_dir / "meta.properties").exists():
            self._format(java, properties)
        options = [f"-Xmx{self._heap}", "-Xss512k", "-XX:+ExitOnOutOfMemoryError"]
        with self.log.open("ab") as log:
            self._child = subprocess.Popen(
                [*java[:1], *options, *java[1:], "kafka.Kafka", str(properties)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                pass_fds=[lock.fileno()],
                start_new_session=True,
            )
        process = _Process(pid=self._child.pid, port=port, controller_port=controller_port, host=self._host)
        lock.truncate(0)
        lock.write(json.dumps(asdict(process)).encode("ascii"))

    def _format(self, java: Sequence[str], properties: Path) -> None:
        """Make the new data folder one that Kafka accepts, or leave none behind."""
        cluster = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode("ascii").rstrip("=")
        command = [*java, "kafka.tools.StorageTool", "format", f"--cluster-id={cluster}", f"--config={properties}"]
        try:
            with self.log.open("ab") as log:
                result = subprocess.run(
                    command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, check=False
                )
            if result.returncode != 0:
                raise KafkaNodeError(f"Kafka could not format {self._log_dir}: {self._last_words()}")
        except BaseException:
            shutil.rmtree(self._log_dir, ignore_errors=True)
            raise

    def _await_ready(self, port: int, deadline: float, timeout: float) -> None:
        """Return when the node answers; raise when it ends or the time is over."""
        while not _answers(self._host, port):
            if self._child is not None and self._child.poll() is not None:
                raise KafkaNodeError(f"Kafka ended during its start: {self._last_words()}")
            if time.monotonic() > deadline:
                raise KafkaNodeError(f"Kafka did not answer within {timeout:g} s: {self._last_words()}")
            time.sleep(_POLL_SECONDS)

    def _last_words(self) -> str:
        """Return the latest error that this start wrote to the log, and where to read more."""
        lines = self.log.read_bytes()[self._log_offset :].decode("utf-8", errors="replace").splitlines()
        errors = [line for line in lines if re.search(r"ERROR|Exception|Error", line) and not line.startswith("\t")]
        return f"see {self.log}" + (f" ({errors[-1].strip()})." if errors else ".")


def _free(host: str, port: int) -> bool:
    """Tell whether a server could listen on the port now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


def _answers(host: str, port: int) -> bool:
    """Tell whether a broker on the port answers ApiVersions and knows itself as a live broker in its metadata."""
    try:
        with socket.create_connection((host, port), timeout=_PROBE_SECONDS) as connection:
            (error,) = struct.unpack_from(">h", _call(connection, _API_VERSIONS, b""))
            (brokers,) = struct.unpack_from(">i", _call(connection, _METADATA, struct.pack(">i", 0)))
    except (OSError, struct.error):
        return False
    return bool(error == 0 and brokers > 0)


def _call(connection: socket.socket, api: int, body: bytes) -> bytes:
    """Send one request of protocol version 0 and return the body of its response."""
    client = b"kafka.py"
    request = struct.pack(f">hhih{len(client)}s", api, 0, 0, len(client), client) + body
    connection.sendall(struct.pack(">i", len(request)) + request)
    (size,) = struct.unpack(">i", _receive(connection, 4))
    return _receive(connection, size)[4:]


def _receive(connection: socket.socket, size: int) -> bytes:
    """Return exactly that many bytes."""
    data = b""
    while len(data) < size:
        chunk = connection.recv(size - len(data))
        if not chunk:
            raise ConnectionError("The broker closed the connection.")
        data += chunk
    return data


def _interrupt(number: int, frame: FrameType | None) -> None:
    """Turn SIGTERM into the exception that Ctrl-C raises."""
    raise KeyboardInterrupt


def _run(node: KafkaNode) -> None:
    """Run the node in the foreground until it ends or a signal comes."""
    try:
        node.start()
        print(f"bootstrap={node.bootstrap}", flush=True)
        if not node.wait():
            raise KafkaNodeError(f"Kafka ended by itself: see {node.log}.")
    except KeyboardInterrupt:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        node.stop()


def _status(node: KafkaNode) -> None:
    """Print where the node is reached, or raise when it is not."""
    pid = node.pid
    if pid is None:
        raise KafkaNodeError("No node runs on this data folder: start one with 'start' or 'run'.")
    if not node.answers():
        raise KafkaNodeError(f"The node (process {pid}) runs but does not answer: wait, or see {node.log}.")
    print(f"bootstrap={node.bootstrap} pid={pid}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the command line says and return the exit code."""
    parser = argparse.ArgumentParser(description="Run one Apache Kafka node on loopback, without a container.")
    parser.add_argument("command", choices=["fetch", "start", "stop", "status", "run"])
    parser.add_argument("--port", type=int, default=PORT, help="port for clients, 0 for any free one (%(default)s)")
    parser.add_argument("--data", type=Path, default=DATA, help="folder for data, log and pid file (%(default)s)")
    parser.add_argument("--heap", default=HEAP, help="largest Java heap, like 384m or 1g (%(default)s)")
    options = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        if options.command == "fetch":
            print(f"{fetch()} jars in {LIB}")
            return 0
        node = KafkaNode(port=options.port, data=options.data, heap=options.heap)
        if options.command == "run":
            _run(node)
        elif options.command == "start":
            node.start()
            print(f"bootstrap={node.bootstrap}")
        elif options.command == "stop":
            node.stop()
        else:
            _status(node)
    except KafkaNodeError as error:
        print(f"kafka.py: {error}", file=sys.stderr)
        return EXIT_ERROR
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    return 0


if __name__ == "__main__":
    sys.exit(main())
