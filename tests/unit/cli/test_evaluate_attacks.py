"""Does the command line print the matrix of attacks, for people and for programs?"""

import json
from pathlib import Path

from tests.unit.cli.conftest import Spamguard


def test_the_command_prints_the_matrix_as_a_table_and_as_json(spamguard: Spamguard, tiny_model: Path) -> None:
    data = Path(__file__).parents[3] / "datasets" / "samples" / "labelled.jsonl"
    arguments = ("evaluate", str(data), "--model", str(tiny_model), "--attacks", "--rows", "40", "--queries", "14")
    table = spamguard(*arguments)
    assert table.code == 0 and "not run" in table.out
    found = json.loads(spamguard(*arguments, "--json").out)
    assert found["spam"] + found["ham"] >= 40
    assert set(found["attackers"]) == {"greedy, a third of the text", "greedy, everything"}
