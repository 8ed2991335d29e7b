import html
import json
import re
from html.parser import HTMLParser
from xml.etree import ElementTree

import pytest

from edgekd.report import read, render_html, render_terminal

PAYLOAD = "<img src=x onerror=alert(1)></script><script>alert(1)</script>\"'>&"
VOID = {"meta", "br", "img", "link", "input", "hr"}


class Page(HTMLParser):
    """What a browser would build: tags that are left open fail, attributes and text are kept."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.attributes, self.open, self.words = [], [], [], []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.attributes += [(tag, *pair) for pair in attributes]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, words):
        self.words.append(words)


def charts(text):
    return [ElementTree.fromstring(one) for one in re.findall(r"<svg.*?</svg>", text, re.DOTALL)]


def words_of(run, document):
    return " ".join(" ".join(Page(render_html(document, run)).words).split())


def test_the_page_is_whole_and_loads_nothing(run):
    page = Page(render_html(read(run), run))
    assert not {"script", "link", "img", "iframe", "object"} & set(page.tags)
    assert not [one for one in page.attributes if one[1] in ("src", "href", "srcset", "action") or one[1].startswith("on")]
    assert "url(" not in "".join(page.words) and "@import" not in "".join(page.words)


def test_the_same_run_gives_the_same_page(run):
    assert render_html(read(run), run) == render_html(read(run), run)


def test_verdict_failures_and_silence_come_before_every_number(run, document):
    words = words_of(run, document)
    assert words.index("PASS on cpu; jetson NOT MEASURED") < words.index("Not measured: jetson.") < words.index("Gates")


def test_every_measurement_and_artifact_is_on_the_page(run, document):
    text = render_html(document, run)
    for step in document["stages"]:
        assert all(one["name"] in text for one in step["measurements"])
        assert all(one["sha256"] in text and one["path"] in text for one in step["artifacts"])


def test_charts_have_titles_axes_and_units(run, document):
    titles = [chart.findtext("title") for chart in charts(render_html(document, run))]
    assert "Top-1 accuracy along the chain" in titles
    assert "Latency of single queries on cpu" in titles
    assert {"teacher: training loss by epoch", "distill: held-out top-1 accuracy by epoch"} <= set(titles)
    words = words_of(run, document)
    assert (
        "latency of one query (ms, logarithmic)" in words
        and "top-1 accuracy (fraction of images; whiskers: 95 % interval)" in words
    )
    assert "p50 1.55" in words and "p90 1.62" in words and "p99 1.83" in words


def test_histogram_bars_count_every_query(run, document):
    (chart,) = [one for one in charts(render_html(document, run)) if "Latency" in one.findtext("title")]
    tips = [bar.findtext("title") for bar in chart.iter("rect")]
    assert sum(int(tip.split()[0].replace(",", "")) for tip in tips) == 2100


def test_each_yardstick_is_drawn_with_its_own_percentiles(run, document):
    (chart,) = [one for one in charts(render_html(document, run)) if "Latency" in one.findtext("title")]
    drawn = " ".join(chart.itertext())
    assert "fp16: p50 1.94 ms" in drawn and drawn.count("p50 1.55") == drawn.count("p50 1.94") == drawn.count("p50 2.48")


@pytest.mark.parametrize(
    "place",
    [
        lambda d: d["data"]["classes"].__setitem__(0, PAYLOAD),
        lambda d: d["data"].__setitem__("notes", [PAYLOAD]),
        lambda d: d["recipe"].__setitem__("name", PAYLOAD),
        lambda d: d.__setitem__("run", PAYLOAD),
        lambda d: d.__setitem__("resume", PAYLOAD),
        lambda d: d["environment"].__setitem__(PAYLOAD, PAYLOAD),
        lambda d: d["targets"][1].__setitem__("why", PAYLOAD),
        lambda d: d["stages"][0].__setitem__("notes", {PAYLOAD: [PAYLOAD, {"a": PAYLOAD}]}),
        lambda d: d["stages"][0]["artifacts"][0].__setitem__("path", PAYLOAD),
        lambda d: d["stages"][6].__setitem__("target", PAYLOAD),
        lambda d: d["stages"][6]["measurements"][0]["conditions"].__setitem__("images", PAYLOAD),
        lambda d: d["stages"][6]["gates"][0].__setitem__("metric", PAYLOAD),
        lambda d: d.__setitem__("error", {"code": "bug", "what": PAYLOAD}),
    ],
)
def test_names_from_outside_stay_text(run, document, place):
    clean = Page(render_html(document, run))
    place(document)
    text = render_html(document, run)
    page = Page(text)
    assert html.escape(PAYLOAD) in text.replace("&#34;", "&quot;").replace("&#39;", "&#x27;") or PAYLOAD in "".join(page.words)
    assert not {"script", "img"} & set(page.tags)
    assert {name for _, name, _ in page.attributes} == {name for _, name, _ in clean.attributes}
    charts(text)


def test_names_in_files_of_the_run_stay_text(run, document):
    path = run / "cpu/benchmark/latencies.json"
    path.write_text(json.dumps({"models": {PAYLOAD: [[1.0, 2.0]]}}))
    replace_artifact(document, path, run)
    assert not {"script", "img"} & set(Page(render_html(document, run)).tags)


def replace_artifact(document, path, run):
    """Record the file's present bytes in the document, as if the run had made it so."""
    import hashlib

    for step in document["stages"]:
        for one in step["artifacts"]:
            if run / one["path"] == path:
                one.update(sha256=hashlib.sha256(path.read_bytes()).hexdigest(), bytes=path.stat().st_size)


@pytest.mark.parametrize("name", ["teacher/curves.json", "cpu/benchmark/latencies.json", "cpu/benchmark/conditions.json"])
def test_a_missing_file_is_named_in_its_place(run, document, name):
    (run / name).unlink()
    assert f"{name} is missing, so it is not shown." in words_of(run, document)


def test_a_changed_file_is_not_shown_as_if_it_were_measured(run, document):
    path = run / "cpu/benchmark/latencies.json"
    path.write_bytes(path.read_bytes().replace(b"1.", b"2.", 1))
    words = words_of(run, document)
    assert "latencies.json has other bytes than when it was made" in words and "700 queries" not in words


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b"{}",
        b'{"epochs": []}',
        b'{"epochs": 3}',
        b'{"epochs": [{"epoch": 1, "loss": NaN}]}',
        b'{"epochs": [{"loss": 1.0}]}',
        b"\xff",
    ],
)
def test_a_damaged_file_is_told_not_drawn(run, document, content):
    path = run / "distill/curves.json"
    path.write_bytes(content)
    replace_artifact(document, path, run)
    assert "distill/curves.json cannot be read as curves" in words_of(run, document)


def test_one_epoch_and_one_query_are_enough_for_a_chart(run, document):
    for name, content in (("distill/curves.json", {"epochs": [{"epoch": 1, "loss": 0.0, "held_out_top1": 1.0}]}),
                          ("cpu/benchmark/latencies.json", {"models": {"int8": [[0.0]], "fp32": [[1.0]]}})):  # fmt: skip
        (run / name).write_text(json.dumps(content))
        replace_artifact(document, run / name, run)
    text = render_html(document, run)
    assert "1 queries in 1 rounds" in text and "nan" not in text.lower()


def test_a_path_out_of_the_run_is_not_followed(run, document):
    (run.parent / "secret.json").write_text('{"epochs": [{"epoch": 1, "loss": 1234.5}]}')
    document["stages"][0]["artifacts"][1]["path"] = "../secret.json"
    words = words_of(run, document)
    assert "../secret.json lies outside the run folder" in words and "1234" not in words


def test_a_document_of_a_command_that_never_ran_a_step_has_a_page(tmp_path):
    error = {"code": "recipe", "what": "unknown key", "where": "a.yaml:1:1", "seen": "methd", "fix": "method"}
    empty = {"schema": 1, "verdict": None, "exit_code": 2, "error": error, "run": None, "recipe": None,
             "resume": "edgekd pipeline a.yaml", "unmeasured": [], "targets": [], "stages": [], "report": None}  # fmt: skip
    words = words_of(tmp_path, empty)
    assert "Error. a.yaml:1:1: unknown key Seen: methd. Try: method." in words
    assert "No accuracy was measured in this run." in words and "so nothing was judged" in words


def test_long_series_in_the_conditions_are_counted_not_poured_out(run, document):
    path = run / "cpu/benchmark/conditions.json"
    path.write_text(
        json.dumps({"timing": {"before": {"load_1m": 0.25}, "between": [{"load_1m": 0.5}] * 9, "suspect": ["a", "b"]}})
    )
    replace_artifact(document, path, run)
    words = words_of(run, document)
    assert (
        "timing.before.load_1m 0.25" in words
        and "timing.between 9 entries, in the file" in words
        and "timing.suspect a, b" in words
    )


def test_a_smoke_run_stands_in_the_head(run, document):
    page = render_html({**document, "smoke": True, "verdict": "INCONCLUSIVE", "exit_code": 4}, run)
    assert '<p class="smoke">Smoke run</p>' in page
    assert '<p class="smoke">' not in render_html(document, run)


def test_a_warning_of_a_step_stands_above_every_number_with_its_target_on_page_and_screen(run, document):
    benchmark = next(step for step in document["stages"] if step["name"] == "benchmark")
    benchmark["notes"] = {"warning": "int8 is no faster here than <fp16>"}
    page = render_html(document, run)
    told = "cpu: int8 is no faster here than &lt;fp16&gt;"
    assert told in page and page.index(told) < page.index("<table")
    assert "warning cpu: int8 is no faster here than <fp16>" in " ".join(render_terminal(document).split())
