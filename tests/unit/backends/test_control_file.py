"""Does the control file say what it should, however it came to be there?"""

from pathlib import Path

import pytest

from spamguard.backends.control_file import ControlFile
from spamguard.errors import ConfigError


@pytest.fixture
def file(tmp_path: Path) -> ControlFile:
    return ControlFile(tmp_path / "run" / "allow-all")


def test_what_is_written_is_seen_and_what_is_removed_is_gone(file: ControlFile) -> None:
    assert (file.look(), file.since()) == (None, None)
    file.write("a bad model")
    file.write("a very bad model")
    assert file.look() == "a very bad model"
    assert file.since() is not None
    assert [path.name for path in file.path.parent.iterdir()] == ["allow-all"]
    file.remove()
    file.remove()
    assert file.look() is None


def test_a_file_counts_by_being_there(file: ControlFile) -> None:
    file.path.parent.mkdir()
    file.path.touch()
    assert file.look() == ""
    file.path.write_bytes(b"\xff\n " + b"x" * 10_000)
    assert len(file.look() or "") <= 500
    file.path.unlink()
    file.path.mkdir()
    assert file.look() == ""


def test_where_it_cannot_be_written_that_is_said(tmp_path: Path) -> None:
    (tmp_path / "taken").touch()
    file = ControlFile(tmp_path / "taken" / "allow-all")
    assert file.look() is None
    with pytest.raises(ConfigError, match="control_file"):
        file.write("why")
