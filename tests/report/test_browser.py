"""The page in a real browser. Its policy forbids every load, so a page that tried one would leave a line on the console."""

import re
import shutil
import subprocess

import pytest

from edgekd.report import read, render_html

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
QUIET = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
         "--disable-component-update", "--disable-sync", "--host-resolver-rules=MAP * ~NOTFOUND",
         "--enable-logging=stderr"]  # fmt: skip

pytestmark = pytest.mark.skipif(BROWSER is None, reason="needs chromium, chromium-browser or google-chrome")


def opened(page, profile):
    """The document as the browser built it, and what it wrote on its console."""
    command = [BROWSER, *QUIET, f"--user-data-dir={profile}", "--dump-dom", page.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    return done.stdout, [line for line in done.stderr.splitlines() if "CONSOLE" in line]


def test_the_page_opens_without_a_word_on_the_console(run, tmp_path):
    page = run / "report.html"
    page.write_text(render_html(read(run), run))
    built, console = opened(page, tmp_path / "profile")
    assert console == []
    assert len(re.findall(r"<svg", built)) == len(re.findall(r"<svg", page.read_text())) >= 6
    assert "PASS on cpu; jetson NOT MEASURED" in built


def test_the_console_would_tell_of_a_load_or_a_script(run, tmp_path):
    page = run / "report.html"
    smuggled = '<img src="https://example.invalid/a.png"><script>document.title = "owned"</script></main>'
    page.write_text(render_html(read(run), run).replace("</main>", smuggled))
    built, console = opened(page, tmp_path / "profile")
    assert len(console) >= 2 and "<title>owned" not in built
