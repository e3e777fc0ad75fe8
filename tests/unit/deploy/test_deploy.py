"""Do the files that bring spamguard into production fit together, and fit the program?

There is no container engine here: what is checked is what can be read. Prometheus's own tool checks its rules where it
is installed.
"""

import importlib.util
import json
import re
import shutil
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, Final

import pytest
import yaml

from spamguard.backends.metrics import METRICS
from spamguard.config import PREFIX, Settings, load
from spamguard.errors import SpamguardError
from tests.components import missing

ROOT: Final = Path(__file__).parents[3]
DEPLOY: Final = ROOT / "deploy"
DOCKERFILE: Final = DEPLOY / "Dockerfile"
COMPOSE: Final = DEPLOY / "compose.yaml"
KUBERNETES: Final = DEPLOY / "kubernetes" / "worker.yaml"
GATEWAY: Final = DEPLOY / "kubernetes" / "gateway.yaml"
REVIEW: Final = DEPLOY / "kubernetes" / "review.yaml"
MANIFESTS: Final = (KUBERNETES, GATEWAY, REVIEW)
SYSTEMD: Final = DEPLOY / "systemd" / "spamguard.service"
UNITS: Final = tuple(sorted(SYSTEMD.parent.glob("*.service")))
LOCK: Final = "requirements-serving.lock"
PROMETHEUS: Final = DEPLOY / "prometheus"
DASHBOARD: Final = DEPLOY / "grafana" / "dashboard.json"
OPERATIONS: Final = ROOT / "docs" / "operations.md"

#: The names under which the metrics are scraped.
SCRAPED: Final = frozenset(
    name
    for metric in METRICS
    for name in (
        [f"{metric.name}{suffix}" for suffix in ("_bucket", "_sum", "_count")]
        if metric.kind == "histogram"
        else [metric.name]
    )
)
LABELS: Final = frozenset(label for metric in METRICS for label in metric.labels)
#: Labels that Prometheus adds, and `le`, which every histogram has.
ALWAYS_THERE: Final = frozenset(("job", "instance", "le"))


def documents(path: Path) -> list[Any]:
    """Return the YAML documents of a file."""
    return list(yaml.safe_load_all(path.read_text(encoding="utf-8")))


def instructions(dockerfile: str) -> list[tuple[str, str]]:
    """Return a Dockerfile's instructions with their arguments, lines joined and comments left out."""
    lines = [line for line in dockerfile.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    joined = "\n".join(lines).replace("\\\n", " ")
    return [(word.upper(), rest.strip()) for word, _, rest in (line.partition(" ") for line in joined.splitlines())]


def arguments(name: str) -> list[str]:
    """Return what the Dockerfile gives to each instruction of a name."""
    return [rest for word, rest in instructions(DOCKERFILE.read_text()) if word == name]


def queries() -> Iterator[tuple[str, str]]:
    """Yield the queries of rules and dashboard, each with the name of its alert or panel."""
    for group in documents(PROMETHEUS / "rules.yml")[0]["groups"]:
        for rule in group["rules"]:
            yield rule.get("alert") or rule["record"], rule["expr"]
    for panel in json.loads(DASHBOARD.read_text())["panels"]:
        for target in panel["targets"]:
            yield panel["title"], target["expr"]


def alerts() -> list[dict[str, Any]]:
    """Return the alerting rules."""
    rules = [rule for group in documents(PROMETHEUS / "rules.yml")[0]["groups"] for rule in group["rules"]]
    return [rule for rule in rules if "alert" in rule]


def generator() -> ModuleType:
    """Return deploy/grafana/dashboard.py, which belongs to no package."""
    spec = importlib.util.spec_from_file_location("dashboard_generator", DEPLOY / "grafana" / "dashboard.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def promtool(*given: str, folder: Path = PROMETHEUS) -> None:
    """Run Prometheus's own checks, or skip."""
    tool = shutil.which("promtool")
    if tool is None:
        missing("promtool", "promtool", enable="apt-get install prometheus")
    ran = subprocess.run([tool, *given], cwd=folder, capture_output=True, text=True, timeout=120, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr


@pytest.mark.parametrize("path", [COMPOSE, *MANIFESTS, *sorted(PROMETHEUS.glob("*.yml"))], ids=lambda path: path.name)
def test_every_yaml_file_can_be_read(path: Path) -> None:
    assert all(documents(path))


# The image


def test_the_image_runs_as_a_numbered_user_who_is_not_root() -> None:
    user = arguments("USER")[-1]
    assert re.fullmatch(r"\d+:\d+", user) and not user.startswith("0:")


def test_the_image_takes_libraries_by_their_hashes_and_spamguard_without_any() -> None:
    installs = [run for run in arguments("RUN") if '"install"' in run]
    assert any(f'"--require-hashes", "-r", "{LOCK}"' in run for run in installs)
    assert all('"--require-hashes"' in run or '"--no-deps", "--no-index"' in run for run in installs)


def test_the_image_holds_what_every_command_needs_that_it_serves() -> None:
    """The lock names what pyproject's extras ask for, at the releases everything is tested with."""
    locked, tested = pinned(LOCK), pinned("requirements-dev.lock")
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    wanted = {re.split(r"[\[><=]", one)[0] for extra in ("client", "gateway", "review") for one in extras[extra]}
    assert wanted <= locked.keys()
    assert pinned("requirements.lock").keys() - locked.keys() <= {"tzdata"}  # Windows alone
    assert not locked.keys() & {"scikit-learn", "joblib", "pytest"}
    assert {name: version for name, version in locked.items() if tested.get(name) != version} == {}


def pinned(lock: str) -> dict[str, str]:
    """Return the libraries of a lock file with their versions."""
    return dict(re.findall(r"^([a-z0-9-]+)(?:\[[^\]]*\])?==([^ ;\\]+)", (ROOT / lock).read_text(), re.MULTILINE))


def test_the_image_has_one_folder_to_write_to_and_it_belongs_to_its_user() -> None:
    [made] = [json.loads(run)[-1] for run in arguments("RUN") if "mkdir" in run]
    uid, gid = arguments("USER")[-1].split(":")
    assert f"'/var/lib/spamguard'; os.mkdir(path, 0o700); os.chown(path, {uid}, {gid})" in made
    told = dict(part.split("=", 1) for given in arguments("ENV") for part in given.split() if PREFIX in part)
    kept = load({}, environ=told)
    assert str(kept.gateway_keys).startswith("/var/lib/spamguard/")
    assert kept.review_database.startswith("sqlite:////var/lib/spamguard/")
    mounted = {volume.split(":")[1] for name in ("gateway", "review") for volume in services()[name]["volumes"]}
    assert mounted == {"/var/lib/spamguard"}


def test_the_image_downloads_nothing_by_address() -> None:
    assert not arguments("ADD")
    assert not any("://" in run for run in arguments("RUN"))
    assert not any("://" in copy for copy in arguments("COPY"))


@pytest.mark.parametrize("name", ["RUN", "ENTRYPOINT", "CMD"])
def test_no_shell_stands_between_the_image_and_its_programs(name: str) -> None:
    for given in arguments(name):
        assert isinstance(json.loads(given), list)


def test_the_image_serves_by_default_and_is_asked_for_its_health_on_the_default_port() -> None:
    assert [json.loads(given) for given in arguments("ENTRYPOINT") + arguments("CMD")] == [["spamguard"], ["serve"]]
    port = str(Settings.model_fields["metrics_port"].default)
    ports = [str(Settings.model_fields[name].default) for name in ("metrics_port", "gateway_port", "review_port")]
    assert arguments("EXPOSE") == [" ".join(ports)]
    check = arguments("HEALTHCHECK")[0]
    assert f"http://127.0.0.1:{port}/healthz" in check
    compile(json.loads(check[check.index("CMD") + 3 :])[-1], "healthcheck", "exec")


def test_what_the_build_copies_is_not_ignored_and_nothing_else_is_sent() -> None:
    lines = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and not line.startswith("#")]
    assert lines[0] == "*"
    kept = [line.removeprefix("!") for line in lines if line.startswith("!")]
    for name in kept:
        assert (ROOT / name).exists(), name
    build = (ROOT / "pyproject.toml").read_text()
    for needed in ("spamguard", "training", "models", "datasets/samples"):
        assert needed in kept and needed in build
    assert LOCK in kept


def test_every_base_image_names_a_version() -> None:
    bases = [given.partition("=")[2] for given in arguments("ARG")]
    assert bases and all(re.match(r"\d+\.\d+", base) for base in bases)
    assert all(given.split()[0].endswith("${PYTHON}") for given in arguments("FROM"))


# Compose


def services() -> dict[str, Any]:
    """Return the services of the compose file."""
    found: dict[str, Any] = documents(COMPOSE)[0]["services"]
    return found


def test_compose_publishes_on_loopback_only() -> None:
    ports = [port for service in services().values() for port in service.get("ports", [])]
    assert ports and all(port.startswith("127.0.0.1:") for port in ports)


def test_compose_pins_every_image_and_limits_every_service() -> None:
    for name, service in services().items():
        assert re.search(r":v?\d+\.\d+\.\d+$", service["image"]), name
        assert service["deploy"]["resources"]["limits"].keys() == {"cpus", "memory"}, name
        assert "restart" in service, name


def test_compose_starts_kafka_then_its_topics_then_the_worker() -> None:
    found = services()
    assert "healthcheck" in found["kafka"]
    assert found["topics"]["depends_on"] == {"kafka": {"condition": "service_healthy"}}
    assert found["topics"]["command"] == ["check", "--create-topics"]
    assert found["worker"]["depends_on"] == {"topics": {"condition": "service_completed_successfully"}}


@pytest.mark.parametrize("name, port", [("gateway", 8080), ("review", 8464)])
def test_compose_serves_the_ways_in_hardened_as_the_worker(name: str, port: int) -> None:
    service = services()[name]
    assert service["command"] == [name] and service["ports"] == [f"127.0.0.1:{port}:{port}"]
    assert service["depends_on"] == {"topics": {"condition": "service_completed_successfully"}}
    for what in ("read_only", "cap_drop", "security_opt", "stop_grace_period", "image"):
        assert service[what] == services()["worker"][what]
    volume = service["volumes"][0].partition(":")[0]
    assert volume in documents(COMPOSE)[0]["volumes"]


def test_prometheus_asks_every_service_under_the_name_that_the_rules_know() -> None:
    jobs = {one["job_name"]: one for one in documents(PROMETHEUS / "prometheus.yml")[0]["scrape_configs"]}
    asked = {name: job["dns_sd_configs"][0]["names"] for name, job in jobs.items()}
    assert asked == {"spamguard": ["worker"], "spamguard-gateway": ["gateway"], "spamguard-review": ["review"]}
    named = {job for _, query in queries() for job in re.findall(r'job="([^"]+)"', query)}
    assert named == set(asked)


def test_compose_mounts_files_that_are_there() -> None:
    volumes = [volume for service in services().values() for volume in service.get("volumes", [])]
    mounted = [volume.partition(":")[0] for volume in volumes if volume.startswith(".")]
    assert mounted and all((DEPLOY / path).is_file() for path in mounted)


def test_compose_and_the_tests_run_the_same_kafka() -> None:
    pom = (DEPLOY / "kafka" / "pom.xml").read_text()
    version = services()["kafka"]["image"].partition(":")[2]
    assert f">{version}<" in pom


# Names that must exist in the program


@pytest.mark.parametrize("path", [DOCKERFILE, COMPOSE, *MANIFESTS, *UNITS], ids=lambda path: path.name)
def test_every_variable_named_in_a_file_is_a_setting(path: Path) -> None:
    names = {name.removeprefix(PREFIX).lower() for name in re.findall(rf"{PREFIX}[A-Z_]+", path.read_text())}
    names -= {"port"}  # what Kubernetes would set for a Service of our name; the comment says so
    assert names and names <= Settings.model_fields.keys()


@pytest.mark.parametrize("path", [DOCKERFILE, COMPOSE, *MANIFESTS, *UNITS], ids=lambda path: path.name)
def test_no_file_holds_a_secret(path: Path) -> None:
    assert not re.search(r"(?i)(password|secret|token)\s*[:=]\s*[\"']?(?!false\b)\w", path.read_text())


def test_the_settings_of_the_config_map_are_valid() -> None:
    data = next(document for document in documents(KUBERNETES) if document["kind"] == "ConfigMap")["data"]
    Settings(**{name.removeprefix(PREFIX).lower(): value for name, value in data.items()})


def test_rules_and_dashboard_name_metrics_that_are_exported() -> None:
    for name, query in queries():
        for metric in re.findall(r"(?<![:\w])spamguard_\w+", query):
            assert metric in SCRAPED, f"{name}: {metric}"


def test_rules_and_dashboard_name_labels_that_are_exported() -> None:
    for name, query in queries():
        selectors = re.findall(r"\{([^}]*)\}", query)
        labels = {label for selector in selectors for label in re.findall(r"(\w+)\s*[=!]~?", selector)}
        labels |= {label for by in re.findall(r"by \(([^)]*)\)", query) for label in by.split(", ")}
        assert labels <= LABELS | ALWAYS_THERE, name


# Prometheus and Grafana


def test_every_alert_has_a_severity_a_summary_and_says_what_to_do() -> None:
    for rule in alerts():
        assert rule["labels"]["severity"] in ("page", "ticket"), rule["alert"]
        assert len(rule["annotations"]["summary"]) > 20, rule["alert"]
        assert len(rule["annotations"]["description"]) > 80, rule["alert"]


def test_every_alert_has_a_section_for_the_night() -> None:
    headings = re.findall(r"^### (Spamguard\w+)", OPERATIONS.read_text(encoding="utf-8"), re.MULTILINE)
    assert sorted(headings) == sorted(rule["alert"] for rule in alerts())


def test_every_alert_has_a_test_that_fires_it() -> None:
    tests = (PROMETHEUS / "rules_test.yml").read_text()
    for rule in alerts():
        assert rule["alert"] in tests


def test_the_dashboard_is_what_its_script_draws() -> None:
    assert json.loads(DASHBOARD.read_text(encoding="utf-8")) == generator().dashboard()


def test_every_panel_of_the_dashboard_has_a_place_of_its_own_and_a_sentence() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in json.loads(DASHBOARD.read_text(encoding="utf-8"))["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken and max(x for x, _ in cells) < 24
        assert panel["description"].endswith((".", "0"))
        taken |= cells


def test_every_metric_is_on_the_dashboard() -> None:
    shown = " ".join(target["expr"] for panel in generator().dashboard()["panels"] for target in panel["targets"])
    assert [metric.name for metric in METRICS if metric.name not in shown] == []


def test_prometheus_accepts_its_settings() -> None:
    promtool("check", "config", "prometheus.yml")


def test_prometheus_accepts_the_rules() -> None:
    promtool("check", "rules", "rules.yml")


def test_every_alert_fires_when_it_should_and_only_then() -> None:
    promtool("test", "rules", "rules_test.yml")


def test_prometheus_understands_every_query_of_the_dashboard(tmp_path: Path) -> None:
    panels = generator().dashboard()["panels"]
    expressions = [target["expr"].replace("$__rate_interval", "5m") for panel in panels for target in panel["targets"]]
    rules = [{"record": f"panel:{number}", "expr": expr} for number, expr in enumerate(expressions)]
    (tmp_path / "rules.yml").write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": rules}]}))
    promtool("check", "rules", "rules.yml", folder=tmp_path)


# Kubernetes and systemd


def workload(path: Path) -> dict[str, Any]:
    """Return the Deployment or StatefulSet of a manifest."""
    found: dict[str, Any] = next(one for one in documents(path) if one["kind"] in ("Deployment", "StatefulSet"))
    return found


def pod_of(path: Path) -> dict[str, Any]:
    """Return the pod of a manifest."""
    found: dict[str, Any] = workload(path)["spec"]["template"]["spec"]
    return found


@pytest.mark.parametrize("path", MANIFESTS, ids=lambda path: path.name)
def test_a_pod_asks_for_no_rights_and_writes_nowhere_but_to_its_volumes(path: Path) -> None:
    pod = pod_of(path)
    user = f"{pod['securityContext']['runAsUser']}:{pod['securityContext']['runAsGroup']}"
    assert pod["securityContext"]["runAsNonRoot"] is True and user == arguments("USER")[-1]
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    for container in (*pod["containers"], *pod.get("initContainers", [])):
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert "memory" in container["resources"]["limits"]
    assert pod["automountServiceAccountToken"] is False
    assert pod["enableServiceLinks"] is False  # or a Service of our name sets variables that are no settings


@pytest.mark.parametrize("path", MANIFESTS, ids=lambda path: path.name)
def test_a_pod_is_probed_where_the_program_answers(path: Path) -> None:
    container = pod_of(path)["containers"][0]
    probes = {one: container[one]["httpGet"] for one in ("startupProbe", "readinessProbe", "livenessProbe")}
    assert {one: probe["path"] for one, probe in probes.items()} == {
        "startupProbe": "/healthz",
        "readinessProbe": "/readyz",
        "livenessProbe": "/healthz",
    }
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert {probe["port"] for probe in probes.values()} <= ports.keys()
    [command] = container["args"]
    own = {"serve": {}, "gateway": {"http": 8080}, "review": {"http": 8464}}[command]
    assert ports == {"metrics": 9464, **own}


@pytest.mark.parametrize("path", MANIFESTS, ids=lambda path: path.name)
def test_the_names_within_a_manifest_fit_together(path: Path) -> None:
    pod, kind = pod_of(path), workload(path)
    labels = kind["spec"]["template"]["metadata"]["labels"]
    for one in documents(path):
        selector = one.get("spec", {}).get("selector")
        if selector is not None:
            assert selector.get("matchLabels", selector) == labels, one["kind"]
    volumes = {volume["name"] for volume in pod["volumes"]}
    volumes |= {claim["metadata"]["name"] for claim in kind["spec"].get("volumeClaimTemplates", [])}
    for container in (*pod["containers"], *pod.get("initContainers", [])):
        assert {mount["name"] for mount in container["volumeMounts"]} <= volumes
    maps = [one["configMapRef"]["name"] for one in pod["containers"][0]["envFrom"] if "configMapRef" in one]
    assert maps == [next(one for one in documents(KUBERNETES) if one["kind"] == "ConfigMap")["metadata"]["name"]]


def test_the_review_pod_keeps_its_database_and_gets_a_key_that_it_alone_may_read() -> None:
    kind, pod = workload(REVIEW), pod_of(REVIEW)
    assert (kind["kind"], kind["spec"]["replicas"]) == ("StatefulSet", 1)  # one writer of a SQLite file
    places = {mount["name"]: mount["mountPath"] for mount in pod["containers"][0]["volumeMounts"]}
    given = {one["name"]: one["value"] for one in pod["containers"][0]["env"]}
    assert places["data"] == "/var/lib/spamguard"
    assert given[f"{PREFIX}REVIEW_KEY_FILE"] == f"{places['key']}/review.key"
    assert given[f"{PREFIX}REVIEW_SECURE_COOKIES"] == "true"
    copies = pod["initContainers"][0]["command"]
    assert copies == ["install", "-m", "0600", "/secret/review.key", f"{places['key']}/review.key"]
    assert next(volume for volume in pod["volumes"] if volume["name"] == "key")["emptyDir"]["medium"] == "Memory"


def test_the_gateway_pod_sees_new_keys_without_a_restart() -> None:
    container = pod_of(GATEWAY)["containers"][0]
    [mount] = [one for one in container["volumeMounts"] if one["name"] == "keys"]
    assert "subPath" not in mount and mount["readOnly"]
    given = {one["name"]: one["value"] for one in container["env"]}
    assert given[f"{PREFIX}GATEWAY_KEYS"].startswith(mount["mountPath"])


def unit(path: Path = SYSTEMD) -> dict[str, list[str]]:
    """Return the directives of a systemd unit."""
    found: dict[str, list[str]] = {}
    for line in path.read_text().splitlines():
        if line and not line.startswith(("#", "[")):
            name, _, value = line.partition("=")
            found.setdefault(name, []).append(value)
    return found


@pytest.mark.parametrize("path", UNITS, ids=lambda path: path.name)
def test_systemd_gives_up_only_where_a_second_start_cannot_help(path: Path) -> None:
    codes = {error.__name__: error.exit_code for error in SpamguardError.__subclasses__()}
    kept = set(unit(path)["RestartPreventExitStatus"][0].split())
    assert kept == {"2", *(str(codes[name]) for name in ("ConfigError", "ModelRejected", "MissingExtra"))}
    assert str(codes["BrokerUnavailable"]) not in kept
    assert unit(path)["StartLimitIntervalSec"] == ["0"]


def test_systemd_hardens_the_worker_and_names_it_after_its_machine() -> None:
    found = unit()
    assert found["DynamicUser"] == ["yes"] and found["ProtectSystem"] == ["strict"]
    assert f"{PREFIX}MEMBER=%H" in found["Environment"]


@pytest.mark.parametrize("name", ["gateway", "review"])
def test_systemd_hardens_the_ways_in_as_the_worker_and_gives_each_a_folder_of_its_own(name: str) -> None:
    mine, worker = unit(SYSTEMD.with_name(f"spamguard-{name}.service")), unit()
    assert mine["ExecStart"] == [f"/opt/spamguard/bin/spamguard {name}"]
    assert mine["User"] == mine["StateDirectory"] == [f"spamguard-{name}"] and mine["StateDirectoryMode"] == ["0700"]
    hardening = [one for one in worker if re.match("Protect|Private|Restrict|System|Memory|NoNew|Cap|Lock|UMask", one)]
    assert len(hardening) > 20
    assert {one: mine.get(one) for one in hardening} == {one: worker[one] for one in hardening}
    kept = [value for value in mine["Environment"] if "/var/lib/" in value]
    assert len(kept) == 1 and f"/var/lib/spamguard-{name}/" in kept[0]


def test_the_services_of_one_machine_have_ports_of_their_own() -> None:
    ports = [value for path in UNITS for value in unit(path)["Environment"] if "METRICS_PORT" in value]
    assert len(ports) == len(set(ports)) == 2 and f"{PREFIX}METRICS_PORT=9464" not in ports


def test_a_stop_has_the_same_time_everywhere() -> None:
    patience_s = pod_of(KUBERNETES)["terminationGracePeriodSeconds"]
    assert {pod_of(path)["terminationGracePeriodSeconds"] for path in MANIFESTS} == {patience_s}
    assert {unit(path)["TimeoutStopSec"][0] for path in UNITS} == {str(patience_s)}
    assert {services()[name]["stop_grace_period"] for name in ("worker", "gateway", "review")} == {f"{patience_s}s"}
