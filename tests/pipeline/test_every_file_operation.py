"""A process killed at any file operation leaves nothing half done that could be found, and the same command ends as if nothing
had happened: tried at each operation of a walk, one after the other."""

import json
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parents[1] / "fakes" / "dies_at.py"


def test_a_walk_killed_at_any_of_its_file_operations_is_finished_by_the_same_command_with_the_same_bytes(tmp_path):
    walked = subprocess.run([sys.executable, SCRIPT, tmp_path], capture_output=True, text=True, timeout=500, check=False)
    assert walked.returncode == 0, walked.stderr
    tries = [json.loads(line) for line in walked.stdout.splitlines()]
    fine = {"same_exit": True, "same_bytes": True, "half": [], "half_after": [], "left_over": [], "artifacts": 2}
    assert [one for one in tries if not fine.items() <= one.items()] == []
    assert [one["n"] for one in tries if not one["died"]] == [len(tries)]
    assert len(tries) > 50
