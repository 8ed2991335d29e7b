"""The student that fits, by the command a user types: real sketches of a tiny student, timed on this machine."""

import json

from small_chain import RECIPE, document_of, edgekd, statuses

NO_TORCH = "sys.modules['torch'] = None"


def words(size_mb):
    """A bound on size decides the same on every machine, whatever else runs on it."""
    changed = ("student.width=auto", "fit.width=[0.5, 0.35]", f"gates={{preflight: {{cpu: {{size_mb: {{max: {size_mb}}}}}}}}}")
    return ("pipeline", "small.yaml", *(word for one in changed for word in ("--set", one)), "--until", "preflight", "--json")


def test_a_real_ladder_is_measured_the_next_run_needs_no_torch_and_a_bound_too_tight_says_what_would_do(tmp_path):
    (tmp_path / "small.yaml").write_text(RECIPE)
    document = document_of(edgekd(*words(0.8), cwd=tmp_path))
    assert [(one["width"], one["fits"]) for one in document["fit"]["rungs"]] == [(0.5, "no"), (0.35, "yes")]
    assert document["fit"]["chosen"] == {"width": 0.35, "image_size": [32, 32]}
    assert all(one["macs"] > 0 and one["parameters"] > 0 for one in document["fit"]["rungs"])
    assert statuses(document)["sketch"] == statuses(document)["cpu/preflight"] == "done"
    assert json.loads((tmp_path / "runs/small/fit.json").read_text()) == document["fit"]
    page = (tmp_path / "runs/small/report.html").read_text()
    assert "The student that fits" in page and "chosen: width 0.35" in page

    finished = edgekd(*words(0.001), cwd=tmp_path, before=NO_TORCH)
    stopped = document_of(finished)
    assert (finished.returncode, stopped["verdict"], stopped["targets"][0]["verdict"]) == (3, "FAIL", "FAIL")
    assert {*statuses(stopped).values()} == {"skipped"}
    (would,) = stopped["fit"]["would"]
    held = document_of(edgekd(*words(would["would_hold"]), cwd=tmp_path, before=NO_TORCH))
    assert held["fit"]["chosen"]["width"] == 0.35
