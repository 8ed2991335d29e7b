"""The early no, by the command a user types: an impossible latency bound trains nothing, and is told as such."""

import pytest
from small_chain import RECIPE, document_of, edgekd, statuses


def words(bound):
    return ("pipeline", "small.yaml", "--set", f"gates.benchmark.cpu.latency_ms.p90.max={bound}")


@pytest.fixture(scope="module")
def stopped(tmp_path_factory):
    """(folder, the finished command): a bound that no network of any kind holds."""
    folder = tmp_path_factory.mktemp("early no")
    (folder / "small.yaml").write_text(RECIPE)
    return folder, edgekd(*words("0.0001"), "--json", cwd=folder)


def test_an_impossible_bound_ends_with_3_before_any_training_step(stopped):
    folder, finished = stopped
    document = document_of(finished)
    assert (finished.returncode, document["verdict"]) == (3, "FAIL")
    done = {name for name, status in statuses(document).items() if status == "done"}
    assert done == {"sketch", "cpu/preflight"}
    assert not any((folder / "runs/small" / name).exists() for name in ("teacher", "distill", "quantize"))
    assert document["targets"][0]["verdict"] == "FAIL"


def test_report_and_document_say_which_bound_it_was_and_that_training_does_not_help(stopped):
    folder, finished = stopped
    (step,) = [one for one in document_of(finished)["stages"] if (one["name"], one.get("target")) == ("preflight", "cpu")]
    assert {one["name"] for one in step["measurements"]} == {"latency_ms.fastest", "size_mb", "peak_memory_mb"}  # cut short
    (gate,) = step["gates"]
    assert (gate["verdict"], gate["inherited"]) == ("FAIL", "gates.benchmark.cpu.latency_ms.p90")
    shown = edgekd(*words("0.0001"), cwd=folder, before="sys.modules['torch'] = None").stdout  # the sketch is reused
    for text in (" ".join(shown.split()), (folder / "runs/small/report.html").read_text()):
        assert "no training will make it faster" in text
