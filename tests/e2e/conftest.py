"""A real, small chain, run once by the command a user types."""

import pytest
from small_chain import RECIPE, document_of, edgekd


@pytest.fixture(scope="session")
def walked(tmp_path_factory):
    """(folder with small.yaml and runs/small, the document of the first run)."""
    folder = tmp_path_factory.mktemp("walked")
    (folder / "small.yaml").write_text(RECIPE)
    finished = edgekd("pipeline", "small.yaml", "--json", cwd=folder)
    assert finished.returncode == 0, finished.stdout + finished.stderr
    return folder, document_of(finished)
