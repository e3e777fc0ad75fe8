"""Can the release before and this one run in one group, and does each read what the other wrote?

The release before is taken out of this repository's history and run from a folder of its own, with the model that it
shipped.
"""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest

from spamguard.types import DeadLetter, Decision, Order, ReviewCopy
from tests.components import missing
from tests.faults.rig import Rig
from tests.integration.serving import hostile, varied

ROOT: Final = Path(__file__).parents[2]
#: The commit of the release before. Until a release is tagged it is the first one with normaliser 3 and its model; a
#: version of the normaliser that refuses that model moves it on.
PREVIOUS: Final = "8dca56f7471b763d0e10f343fdcdb9991d2badc0"
MODEL: Final = "sms-zh-en/2026.11.24.3"


@pytest.fixture(scope="module")
def previous(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the release before."""
    folder = tmp_path_factory.mktemp("previous")
    archive = folder / "previous.tar"
    git = shutil.which("git") or "git"
    command = [git, "-C", str(ROOT), "archive", "-o", str(archive), PREVIOUS, "spamguard", "training", "models"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        said = done.stderr.strip()
    except OSError as error:
        said = str(error)
    if not archive.exists():
        missing("history", f"the release before ({PREVIOUS}): {said}", enable="a clone with its whole history")
    shutil.unpack_archive(archive, folder, filter="data")
    where = [sys.executable, "-c", "import spamguard; print(spamguard.__file__)"]
    found = subprocess.run(where, env=run_from(folder), cwd=folder.parent, capture_output=True, text=True, check=True)
    assert found.stdout.startswith(str(folder))
    return folder


def run_from(folder: Path) -> dict[str, str]:
    """Return what makes Python run a release from its folder."""
    return {"PYTHONPATH": f"{folder}:{folder / 'training'}"}


def known_settings(folder: Path) -> set[str]:
    """Return the variables that a release knows."""
    asked = "from spamguard.config import PREFIX as p, Settings; print(*(p + n.upper() for n in Settings.model_fields))"
    told = subprocess.run(
        [sys.executable, "-c", asked],
        env=run_from(folder),
        cwd=folder.parent,
        capture_output=True,
        text=True,
        check=True,
    )
    return set(told.stdout.split())


async def test_old_and_new_share_a_group_decide_alike_and_read_each_other(
    kafka: str, topic: str, previous: Path, tmp_path: Path
) -> None:
    feed = [*varied(2000), *hostile(2)]
    async with Rig(kafka, topic, tmp_path, model=previous / "models" / MODEL) as rig:
        await rig.create()
        newer = rig.environment.keys() - known_settings(previous)  # a name it does not know stops it
        old: dict[str, Any] = {**dict.fromkeys(newer), **run_from(previous)}
        async with rig.feeding(messages=feed):
            first = await rig.start(**old)
            await rig.progress()
            second = await rig.start()
            async with rig.blocking_stopped("topic"):  # ordered by the new release, obeyed by both
                await rig.progress()
            await rig.progress(500)
            shares = [worker.total("spamguard_decisions_total") for worker in (first, second)]
        row = await rig.finish("old and new")
        assert (row.lost, row.wrong) == (0, 0), row
        assert min(shares) > 100

        # the old release reads what the new one ordered, and the other way round
        told = await rig.command("allow-all", "status", **old)
        assert "a drill" in told or "off" in told
        await rig.command("allow-all", "on", "--reason", "ordered by the old one", **old)
        assert "ordered by the old one" in await rig.command("allow-all", "status")

        types: dict[str, Any] = {
            rig.names.decisions: Decision,
            rig.names.review: ReviewCopy,
            rig.names.dead_letter: DeadLetter,
            rig.names.control: Order,
        }
        for written, kind in types.items():
            records = await rig.whole(written)
            assert records, written
            for record in records:
                read = msgspec.json.decode(record.value or b"", type=kind)
                assert read.schema_version == json.loads(record.value or b"{}").get("schema_version", 1)
