"""The report: a pure function of a run folder, as a closing screen, as a JSON document and as one HTML page. No torch.

document = read(run)                                     the JSON document, checked
print(render_terminal(document, **screen_of(sys.stdout)))         the closing screen
page.write_text(render_html(document, run))              one file, nothing loaded from elsewhere
"""

from edgekd.report.document import FILE_NAME, Document, document_schema, read
from edgekd.report.page import render_html
from edgekd.report.terminal import render_terminal, screen_of

__all__ = ["FILE_NAME", "Document", "document_schema", "read", "render_html", "render_terminal", "screen_of"]
