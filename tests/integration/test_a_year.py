"""Does a year of a model's life go as it should: trained, grown old, taught, refused, promoted, rolled back, told?

One story on the real commands and the real worker, with the broker in memory: all texts are invented.
"""

import asyncio
import random
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest
from spamguard_training import compare
from spamguard_training.families import generate, read_families
from spamguard_training.retrain import is_held_back

from spamguard.backends import registry
from spamguard.cli import main
from spamguard.config import load
from spamguard.core.gate import Measure
from spamguard.service.streams import memory_broker
from spamguard.types import Partition
from tests.integration.test_hot_models import deciding
from tests.integration.test_memory_service import decisions, lag, message, metric, serving, until

ROOT: Final = Path(__file__).parents[2]
HOLDOUT: Final = 0.3
RECIPE: Final = """
name = "year"
folds = 2
budget = 0.02
review_budget = 0.05
kind_features = 2000
[[candidates]]
classifier = "logistic"
strength = 10.0
[mix]
notice = 1.0
"""
SUITE: Final = """
[[family]]
id = "codes"
category = "otp"
lang = "zh"
texts = ["您的验证码为{n6}，请勿告诉他人。", "【云杉百货】取件码{n6}，今晚十点前请到一号柜取件。"]
"""
#: What nobody had heard of in January.
WAVE: Final = (
    "元宇宙数字藏品空投开启，{who}专属名额{n}个，质押即可领取收益",
    "空投提醒：{who}的藏品已解锁，质押{n}枚即可提现，名额有限",
    "藏品质押收益日结，{who}老师带队，空投名额仅剩{n}个",
    "{who}您好，元宇宙土地质押空投第{n}期，收益翻倍，进群领取",
    "数字藏品首发空投，质押满{n}天返利，添加{who}领取白名单",
    "白名单抽签结果：{who}获得藏品空投{n}份，质押后到账",
)
WHO: Final = ("小林", "阿梅", "陈总", "大力", "安娜", "老周", "晓雯", "志强")


def wave(seed: int, size: int) -> list[str]:
    rng = random.Random(seed)
    return [rng.choice(WAVE).format(who=rng.choice(WHO), n=rng.randint(2, 99)) for _ in range(size)]


def write(path: Path, rows: Sequence[Any]) -> Path:
    path.write_bytes(b"".join(msgspec.json.encode(row) + b"\n" for row in rows))
    return path


def recording(path: Path, texts: Sequence[str]) -> Path:
    return write(path, [{"message_id": f"{path.stem}-{number}", "text": text} for number, text in enumerate(texts)])


class Year:
    """A folder with what the commands need."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.models = folder / "models"
        self.models.mkdir()
        (folder / "recipe.toml").write_text(RECIPE, encoding="utf-8")
        (folder / "suite.toml").write_text(SUITE, encoding="utf-8")
        invented = generate(read_families([ROOT / "datasets" / "families"]), each=1, seed=1)
        self.rows = [msgspec.structs.replace(row, source="year") for row in invented]  # they play real messages
        write(folder / "corpus.jsonl", self.rows)

    async def run(self, *arguments: str) -> int:
        return await asyncio.to_thread(main, arguments)

    async def retrain(self, *labels: Path) -> int:
        more = [option for path in labels for option in ("--labels", str(path))]
        return await self.run(
            "retrain", str(self.folder / "corpus.jsonl"), "--recipe", str(self.folder / "recipe.toml"),
            "--suite", str(self.folder / "suite.toml"), "--models", str(self.models), "--holdout", str(HOLDOUT),
            "--attack-rows", "40", *more,
        )  # fmt: skip

    async def alias(self, command: str, *more: str) -> int:
        return await self.run("models", command, *more, "--who", "mei", "--models", str(self.models))

    def aliases(self) -> dict[str, str]:
        return dict(registry.read_aliases(self.models))


def test_a_year_of_a_models_life(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    asyncio.run(a_year(tmp_path, monkeypatch, capsys))  # not as a test of its own loop: three trainings take their time


async def a_year(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("spamguard.engine.ageing.TELL_S", 0.0)
    monkeypatch.setattr("spamguard.engine.ageing.EVERY", 1)
    # How fast models are says nothing on a machine that runs tests.
    equal = Measure(challenger=5000.0, champion=5000.0)
    monkeypatch.setattr(compare, "_speed", lambda *_: equal)
    year = Year(tmp_path)

    # January: a first model reaches the floors, becomes the challenger, and is promoted by a person.
    assert await year.retrain() == 0
    first = year.aliases()["challenger"]
    assert await year.alias("promote", first, "--reason", "the first one") == 0

    settings = load({"models": str(year.models), "metrics_port": 0, "model_poll_s": 0.01, "breaker": False}, environ={})
    broker = memory_broker(settings, partitions=3)
    calm = [row.text for row in year.rows if not row.is_spam]
    sent = 0

    def send(texts: Sequence[str]) -> None:
        nonlocal sent
        for text in texts:
            broker.append(Partition("sms.inbound", sent % 3), [message(f"m-{sent:06}", text)])
            sent += 1

    def since(number: int) -> list[dict[str, Any]]:
        """Return the decisions on everything sent from a number on."""
        return [decision for decision in decisions(broker) if decision["message_id"] >= f"m-{number:06}"]

    async with serving(settings, broker) as worker:
        await until(lambda: worker.health.waiting_for() == [])
        send(calm)
        await until(lambda: lag(broker) == 0)

        # May: a wave of something new. The watch sees it, live and in what was recorded; the words are named.
        recording(tmp_path / "april.jsonl", calm)
        recording(tmp_path / "may.jsonl", [*calm, *wave(1, 400)])
        models = ("--models", str(year.models))
        assert await year.run("drift", "april.jsonl", "--write-reference", "calm.json", *models) == 0
        before = metric(worker, "spamguard_drift_psi", feature="unknown_words")
        began = sent
        send(wave(2, 600))
        await until(lambda: lag(broker) == 0)
        assert metric(worker, "spamguard_drift_psi", feature="score") > 0
        assert metric(worker, "spamguard_drift_psi", feature="unknown_words") > before
        capsys.readouterr()
        assert await year.run("drift", "may.jsonl", "--reference", "calm.json", "--alarm", "0.1", *models) == 1
        told = capsys.readouterr().out
        assert "空投" in told and "质押" in told
        passed = sum(decision["would_be"] == "allow" for decision in since(began))

        # June: readers label. One export was made in haste: its candidate is worse, and stays a file.
        wrong = [
            msgspec.structs.replace(row, label="ham", category=None, trust="one")
            for row in year.rows
            if row.is_spam and not is_held_back(row, HOLDOUT)
        ]
        hasty = write(tmp_path / "hasty.jsonl", wrong[: 7 * len(wrong) // 8])
        assert await year.retrain(hasty) == 8
        assert "spam caught at the budget" in capsys.readouterr().err
        assert year.aliases() == {"champion": first, "challenger": first}
        refused = registry.model_folders(year.models)[-1].name
        assert await year.alias("promote", f"year/{refused}", "--reason", "why not") == 8
        assert year.aliases()["champion"] == first

        # July: the right labels. Nobody can say that the candidate is worse; a replay shows what it would block.
        said = [
            {"text": text, "label": "spam", "category": "fraud", "label_source": "complaint", "trust": "two",
             "reader": "mei", "labelled_at": "2027-07-01T09:00:00+08:00"}
            for text in dict.fromkeys(wave(3, 200))
        ]  # fmt: skip
        labels = write(tmp_path / "labels.jsonl", said)
        assert await year.retrain(labels) == 0
        second = year.aliases()["challenger"]
        assert second not in (first, f"year/{refused}")
        capsys.readouterr()
        assert await year.run("replay", "may.jsonl", "--model", "challenger", *models) == 0
        (newly,) = re.findall(r"^ *(\d+)  newly blocked", capsys.readouterr().out, re.MULTILINE)
        assert int(newly) > 200

        # It is promoted under load, and swapped in between two batches.
        async def load_on() -> None:
            rng = random.Random(4)
            while True:
                if lag(broker) < 100:
                    send([rng.choice(calm) for _ in range(50)])
                await asyncio.sleep(0.005)

        loading = asyncio.create_task(load_on())
        assert await year.alias("promote", "challenger", "--reason", "knows the wave") == 0
        await until(lambda: deciding(worker) == [second])
        loading.cancel()
        await until(lambda: lag(broker) == 0)
        began = sent
        send(wave(5, 300))
        await until(lambda: lag(broker) == 0)
        after = since(began)
        assert {decision["model"] for decision in after} == {second}
        assert passed > 300 and sum(decision["would_be"] == "block" for decision in after) > 250

        # November: complaints. The way back asks nobody.
        assert await year.alias("rollback", "--reason", "a bank complains") == 0
        await until(lambda: deciding(worker) == [first])
        began = sent
        send(calm[:50])
        await until(lambda: lag(broker) == 0)
        assert {decision["model"] for decision in since(began)} == {first}

    found = decisions(broker)
    assert len(found) == len({decision["decision_id"] for decision in found}) == sent  # nothing lost in a year
    history = [(move.kind, move.alias, move.target, move.override) for move in registry.read_history(year.models)]
    assert history == [
        ("promote", "challenger", first, None),
        ("promote", "champion", first, None),
        ("promote", "challenger", second, None),
        ("promote", "champion", second, None),
        ("rollback", "champion", first, None),
    ]
    capsys.readouterr()
    assert await year.run("models", "history", *models) == 0
    told = capsys.readouterr().out
    assert told.index("the first one") < told.index("knows the wave") < told.index("a bank complains")
