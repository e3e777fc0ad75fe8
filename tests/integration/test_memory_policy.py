"""Does a running worker follow its policy file, and does no state of that file stop it?

The real worker on the broker in memory. tests/integration/test_kafka_lists.py has the two seconds on real Kafka.
"""

from pathlib import Path

import pytest
import structlog

from spamguard.backends.memory import MemoryBroker
from spamguard.config import Settings, load
from spamguard.errors import PolicyRejected
from spamguard.service import policies, streams
from spamguard.service.worker import Worker
from tests.integration.test_memory_control import Traffic
from tests.integration.test_memory_service import metric, serving, until


@pytest.fixture
def policy_file(tmp_path: Path) -> Path:
    path = tmp_path / "policy.toml"
    path.write_text('name = "first"\nmode = "observe"\n', encoding="utf-8")
    return path


@pytest.fixture
def settings(tiny_model: Path, tmp_path: Path, policy_file: Path) -> Settings:
    given = {"model": str(tiny_model), "metrics_port": 0, "control_file": tmp_path / "allow-all"}
    return load({**given, "policy": str(policy_file)}, environ={})


@pytest.fixture
def broker(settings: Settings) -> MemoryBroker:
    return streams.memory_broker(settings, partitions=1)


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(policies, "LOOK_EVERY_S", 0.02)


def write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")


def remove(path: Path) -> None:
    path.unlink()


def volume(folder: Path) -> Path:
    """Make what Kubernetes mounts: folders of contents, and a link to one of them."""
    for name, mode in (("one", "observe"), ("two", "enforce")):
        (folder / name).mkdir()
        write(folder / name / "policy.toml", f'mode = "{mode}"\n')
    data = folder / "..data"
    data.symlink_to("one")
    return data


def point(link: Path, target: str) -> None:
    """Let a link lead elsewhere, in one step."""
    beside = link.with_name("..new")
    beside.symlink_to(target)
    beside.rename(link)


async def test_a_policy_is_followed_a_bad_one_changes_nothing_and_a_mended_one_holds(
    settings: Settings, broker: MemoryBroker, policy_file: Path
) -> None:
    traffic = Traffic(broker)
    with structlog.testing.capture_logs() as logs:
        async with serving(settings, broker) as worker:
            assert await traffic.spam() == ("allow", "observed")
            write(policy_file, 'name = "second"\n[tenant.calm]\nmode = "observe"\n')
            await until(lambda: metric(worker, "spamguard_policy_reloads_total", outcome="swapped") == 1)
            assert await traffic.spam() == ("block", "spam_score")
            assert await traffic.spam(tenant="calm") == ("allow", "observed")
            write(policy_file, 'name = "third"\nmode = "obsrve"\n')
            await until(lambda: metric(worker, "spamguard_policy_rejected") == 1)
            remove(policy_file)
            await until(lambda: metric(worker, "spamguard_policy_reloads_total", outcome="rejected") == 2)
            assert await traffic.spam() == ("block", "spam_score")
            write(policy_file, 'name = "fourth"\nmode = "observe"\n')
            await until(lambda: metric(worker, "spamguard_policy_rejected") == 0)
            assert await traffic.spam() == ("allow", "observed")
    names = [event["policy"].partition("@")[0] for event in logs if event["event"] == "policy_swapped"]
    assert names == ["second", "fourth"]
    refused = [event["why"] for event in logs if event["event"] == "policy_rejected"]
    assert len(refused) == 2 and "line 2" in refused[0] and "did you mean observe?" in refused[0]


async def test_a_swapped_link_as_kubernetes_makes_it_is_another_policy(
    settings: Settings, broker: MemoryBroker, tmp_path: Path
) -> None:
    data = volume(tmp_path)
    settings = settings.model_copy(update={"policy": data / "policy.toml"})
    traffic = Traffic(broker)
    async with serving(settings, broker) as worker:
        assert await traffic.spam() == ("allow", "observed")
        point(data, "two")
        await until(lambda: metric(worker, "spamguard_policy_reloads_total", outcome="swapped") == 1)
        assert await traffic.spam() == ("block", "spam_score")


async def test_a_start_needs_the_policy_that_is_meant(
    settings: Settings, broker: MemoryBroker, policy_file: Path
) -> None:
    write(policy_file, "mode = 1\n")
    with pytest.raises(PolicyRejected, match="line 1"):
        await Worker(settings, broker=broker).run()
