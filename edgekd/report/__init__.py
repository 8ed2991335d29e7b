"""The report: a pure function of a run folder, as a closing screen, as a JSON document and as one HTML page. No torch.

document = read(run)                                     the JSON document, checked
print(render_terminal(document, **screen_of(sys.stdout)))         the closing screen
page.write_text(render_html(document, run))              one file, nothing loaded from elsewhere
"""

from edgekd.report.bench_screen import device_text, layers_text, render_bench
from edgekd.report.build_screen import render_build
from edgekd.report.compare import compared, render_comparison
from edgekd.report.document import FILE_NAME, Document, document_schema, read
from edgekd.report.inspect_screen import render_inspect
from edgekd.report.page import render_html
from edgekd.report.parity_screen import render_parity
from edgekd.report.sweep import (
    SWEEP_FILE,
    ArmPart,
    RunPart,
    parse_sweep,
    render_csv,
    run_part,
    sweep_schema,
    tabulated,
    teachers_of,
    training_seconds,
)
from edgekd.report.sweep_page import render_sweep_html
from edgekd.report.sweep_screen import render_sweep
from edgekd.report.terminal import render_terminal, screen_of

__all__ = [
    "FILE_NAME",
    "SWEEP_FILE",
    "ArmPart",
    "Document",
    "RunPart",
    "compared",
    "device_text",
    "document_schema",
    "layers_text",
    "parse_sweep",
    "read",
    "render_bench",
    "render_build",
    "render_comparison",
    "render_csv",
    "render_html",
    "render_inspect",
    "render_parity",
    "render_sweep",
    "render_sweep_html",
    "render_terminal",
    "run_part",
    "screen_of",
    "sweep_schema",
    "tabulated",
    "teachers_of",
    "training_seconds",
]
