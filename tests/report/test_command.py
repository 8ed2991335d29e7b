"""`edgekd report RUN`: stdout, stderr, exit code."""

import json
import subprocess
import sys

import pytest
from click.testing import CliRunner

from edgekd.cli import main
from edgekd.report import read, render_html, render_terminal


def invoke(*words):
    return CliRunner().invoke(main, [str(word) for word in words], env={"COLUMNS": "120"})


def test_report_prints_the_closing_screen(run, document):
    result = invoke("report", run)
    assert (result.exit_code, result.stdout) == (0, render_terminal(document, width=120) + "\n")


def test_report_writes_the_page_and_nothing_on_stdout(run, tmp_path):
    result = invoke("report", run, "--html", tmp_path / "out" / "page.html")
    assert (result.exit_code, result.stdout) == (0, "")
    assert (tmp_path / "out" / "page.html").read_text(encoding="utf-8") == render_html(read(run), run)


def test_report_prints_the_document(run, document):
    assert json.loads(invoke("report", run, "--json").stdout) == document


def test_showing_a_failed_run_succeeds(run, document):
    document.update(verdict="FAIL", exit_code=3)
    (run / "report.json").write_text(json.dumps(document))
    result = invoke("report", run)
    assert result.exit_code == 0 and "(exit 3)" in result.stdout.splitlines()[-1]


@pytest.mark.parametrize("words", [[], ["--json"], ["--html", "page.html"]])
def test_no_run_is_bad_input_with_empty_hands(tmp_path, words):
    result = invoke("report", tmp_path / "absent", *words)
    assert result.exit_code == 2
    assert "no such run folder" in result.stderr + result.stdout
    if "--json" in words:
        assert json.loads(result.stdout)["error"]["code"] == "input"


def test_a_report_needs_no_torch_and_no_numpy(run):
    code = """
import sys
for name in ("torch", "numpy", "onnx", "onnxruntime"):
    sys.modules[name] = None
from edgekd.cli import main
main(sys.argv[1:])
"""
    subprocess.run([sys.executable, "-c", code, "report", str(run), "--html", str(run / "page.html")], check=True)
