"""Does a model become the champion only when it was measured and is not worse, and does a comparison show why?"""

import json
import shutil
from pathlib import Path

import msgspec
import numpy as np
import pytest

from spamguard.backends import artifacts, registry
from spamguard.core.gate import CHECKS, Evidence, Measure, ModelRef, findings, refusals
from spamguard.core.manifest import SelfTest
from spamguard.core.normalize import normalize_batch
from spamguard.core.scorer import LinearScorer
from tests.conftest import SAMPLES
from tests.unit.cli.conftest import Spamguard

DATA = str(SAMPLES / "labelled.jsonl")
SUITE = """
[[family]]
id = "codes"
category = "otp"
lang = "zh"
texts = ["您的验证码为{n6}，请勿告诉他人。"]
"""


@pytest.fixture
def folder(elsewhere: Path, tiny_model: Path) -> Path:
    """A folder with the small model as champion, one as good under another version, and one whose weights are noise."""
    root = elsewhere / "models"
    shutil.copytree(tiny_model, root / "small" / "1.0")
    manifest, arrays = artifacts.read(tiny_model)
    rng = np.random.default_rng(3)
    noisy = arrays._replace(views=[view._replace(weights=rng.permutation(view.weights)) for view in arrays.views])
    tried = [test.text for test in manifest.self_tests]
    for version, made in (("2.0", arrays), ("3.0", noisy)):
        scores = LinearScorer(made).score(normalize_batch(tried)).log_odds.tolist()
        tests = tuple(SelfTest(text=text, log_odds=score) for text, score in zip(tried, scores, strict=True))
        said = msgspec.structs.replace(manifest, version=version, self_tests=tests)
        artifacts.write(root / "small" / version, said, artifacts.pack(made))
    registry.write_alias(root, "champion", "small/1.0")
    (elsewhere / "suite.toml").write_text(SUITE, encoding="utf-8")
    return root


def gated(spamguard: Spamguard, folder: Path, model: str, *more: str) -> tuple[int, str, str]:
    return spamguard(
        "gate", model, "--data", DATA, "--suite", str(folder.parent / "suite.toml"), "--attack-rows", "40",
        "--models", str(folder), *more,
    )  # fmt: skip


def test_a_model_nobody_measured_is_not_promoted_and_the_error_names_the_command(
    spamguard: Spamguard, folder: Path
) -> None:
    ended = spamguard("models", "promote", "small/2.0", "--reason", "newer", "--models", str(folder))
    assert ended.code == 8
    assert "nobody measured it against small/1.0" in ended.err
    assert "`spamguard gate small/2.0 --data FILE`" in ended.err
    assert registry.read_history(folder) == []
    assert spamguard(
        "models", "promote", "small/2.0", "--as", "challenger", "--reason", "to see", "--models", str(folder)
    ).code == 0  # fmt: skip


def test_an_equal_model_passes_and_evidence_on_other_files_under_its_name_does_not(
    spamguard: Spamguard, folder: Path
) -> None:
    ended = gated(spamguard, folder, "small/2.0")
    assert ended[0] in (0, 8)  # speed is measured on whatever machine this is
    assert "good messages blocked" in ended[1]
    path = next((folder / "evidence").iterdir())
    found = msgspec.json.decode(path.read_bytes(), type=Evidence)
    assert set(found.measures) == set(CHECKS)
    assert {name: (m.low, m.high) for name, m in found.measures.items() if name != "messages_per_s"} == {
        name: (0.0, 0.0) for name in CHECKS if name != "messages_per_s"
    }
    measures = found.measures | {"messages_per_s": Measure(challenger=5000.0, champion=5000.0, low=-0.05, high=0.05)}
    path.write_bytes(msgspec.json.encode(msgspec.structs.replace(found, measures=measures)))
    other = msgspec.structs.replace(found, challenger=ModelRef(name="small/2.0", digest="0" * 64))
    path.with_name("kept").write_bytes(path.read_bytes())
    path.write_bytes(msgspec.json.encode(other))
    promote = ("models", "promote", "small/2.0", "--reason", "newer", "--models", str(folder))
    assert "of other models under these names" in spamguard(*promote).err
    path.with_name("kept").replace(path)
    promoted = spamguard(*promote)
    assert (promoted.code, promoted.lines[-1]) == (0, "champion: small/1.0 → small/2.0")
    assert all(line.startswith("✓") for line in promoted.lines[:-1])
    assert spamguard("models", "rollback", "--reason", "complaints", "--models", str(folder)).code == 0  # no gate


def test_a_worse_model_is_refused_with_by_how_much_and_an_override_is_kept(spamguard: Spamguard, folder: Path) -> None:
    code, out, err = gated(spamguard, folder, "small/3.0")
    assert code == 8
    assert "✗  spam caught at the budget" in out
    assert "points" in err
    promote = ("models", "promote", "small/3.0", "--reason", "an experiment", "--models", str(folder))
    refused = spamguard(*promote)
    assert refused.code == 8
    assert "spam caught at the budget: " in refused.err and "→" in refused.err
    assert spamguard(*promote, "--override", " ").code == 2
    assert spamguard(*promote, "--override", "for an hour, on a test cluster").code == 0
    (move,) = registry.read_history(folder)
    assert move.override is not None
    assert move.override.startswith("for an hour, on a test cluster (the gate said: spam caught")
    assert "past the gate" in spamguard("models", "history", "--models", str(folder)).out


def test_a_first_model_must_reach_the_floors(spamguard: Spamguard, folder: Path) -> None:
    (folder / "aliases.json").unlink()
    code, out, err = gated(spamguard, folder, "small/3.0")
    assert code == 8
    assert "≥ 50.00%" in out
    assert "needed at least 50.00%" in err


def test_a_comparison_shows_what_changes_with_every_number_covered(spamguard: Spamguard, folder: Path) -> None:
    arguments = (
        "compare", "champion", "small/3.0", "--data", DATA, "--suite", str(folder.parent / "suite.toml"),
        "--attack-rows", "40", "--models", str(folder),
    )  # fmt: skip
    told = spamguard(*arguments, "--html", "compared.html")
    assert told.code == 0
    for part in ("The gate", "McNemar", "Won, tied, lost by category", "Won, tied, lost by writing", "change sides"):
        assert part in told.out
    page = Path("compared.html").read_text(encoding="utf-8")
    assert page.count("data:image/png;base64") == 3
    assert "http://" not in page.replace("http://www.w3.org", "") or 'src="http' not in page
    figures = json.loads(spamguard(*arguments, "--json").out)
    turns = [message["turn"] for message in figures["changes"]["messages"]]
    assert turns == sorted(turns, key=["good newly blocked", "spam newly passed", "spam newly blocked"].index)
    assert not any(char.isdigit() and text[at : at + 3].isdigit()
                   for text in (message["text"] for message in figures["changes"]["messages"])
                   for at, char in enumerate(text) if len(text[at : at + 3]) == 3)  # fmt: skip
    won = figures["by_source"]["samples"]
    assert sum(won.values()) == 400
    assert won["lost"] > won["won"]
    assert (folder / "evidence").is_dir()


def test_worse_means_the_whole_interval_on_the_wrong_side() -> None:
    equal = {name: Measure(challenger=1.0, champion=1.0, low=-0.001, high=0.001) for name in CHECKS}
    ref = ModelRef(name="a/1", digest="0")
    evidence = Evidence(
        made_at="now", code_version="1", challenger=ref, champion=ref, budget=0.01, data=(), measures=equal
    )
    assert refusals(findings(evidence)) == []
    for name, low, high in (
        ("recall_at_budget", -0.02, -0.001), ("good_blocked", 0.0001, 0.01), ("suite_blocked", 1.0, 1.0),
        ("attack_recall", -0.2, -0.1), ("attack_good_blocked", 0.001, 0.002), ("calibration_error", 0.006, 0.009),
        ("messages_per_s", -0.3, -0.11),
    ):  # fmt: skip
        changed = equal | {name: Measure(challenger=0.9, champion=1.0, low=low, high=high)}
        closed = refusals(findings(msgspec.structs.replace(evidence, measures=changed)))
        assert [one.partition(": ")[0] for one in closed] == [CHECKS[name].title.partition(": ")[0]]
        without = {key: measure for key, measure in equal.items() if key != name}
        (missing,) = refusals(findings(msgspec.structs.replace(evidence, measures=without)))
        assert missing.endswith("not measured")
