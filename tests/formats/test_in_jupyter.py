"""What Jupyter shows, by a kernel that runs the cells of a notebook."""

import pytest
from built_runs import build_chain

nbformat = pytest.importorskip("nbformat")
nbclient = pytest.importorskip("nbclient")
pytest.importorskip("ipykernel")

TEXT = "'abc' 12\n" * 40
SHOWN = (
    "model",
    "model.predict('ab')",
    "model.sample(length=30, seed=1)",
    "model.samples(2, length=30, seed=1)",
    "trace",
    "model.coloured_text(trace, 0, 2)",
    "findings",
    "study.page(0, 2)",
    "model.numbers('abc')",
    "model.backpropagation('abc')",
    "model.gradients_with([], TEXT, max_lag=5)",
    "charrnn.evaluate_runs([model], TEXT)",
    "charrnn.run_summaries()",
)
"""Cells that end with an object of each kind."""
PREPARED = f"""
import charrnn
TEXT = {TEXT!r}
model = charrnn.load("chain")
trace = model.trace(TEXT, num_guesses=3)
study = model.study(TEXT)
findings = study.findings(untrained=False)
"""


@pytest.mark.slow
def test_a_notebook_shows_each_object_once(tmp_path, monkeypatch):
    build_chain(tmp_path / "chain", "\nabc")
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    cells = [nbformat.v4.new_code_cell(source) for source in (PREPARED, *SHOWN)]
    notebook = nbformat.v4.new_notebook(cells=cells)
    where = {"metadata": {"path": str(tmp_path)}}
    nbclient.NotebookClient(notebook, timeout=300, kernel_name="python3", resources=where).execute()

    # What warns goes to stderr, and is no display.
    for cell in notebook.cells[1:]:
        shown = [output for output in cell.outputs if output.output_type != "stream"]
        assert [output.output_type for output in shown] == ["execute_result"], cell.source
        assert shown[0].data.get("text/html", "").startswith("<div>"), cell.source
