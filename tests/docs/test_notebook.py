"""examples/leakyrelu.ipynb: it runs from top to bottom, and is stored without what it printed."""

from pathlib import Path

import pytest

NOTEBOOK = Path(__file__).parents[2] / "examples/leakyrelu.ipynb"


def test_the_notebook_runs() -> None:
    nbformat, nbclient = pytest.importorskip("nbformat"), pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    pytest.importorskip("torch.nn")  # "torch" alone is found in the folder above
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert not any(cell.outputs or cell.execution_count for cell in code), "outputs are stripped"
    nbclient.NotebookClient(notebook, timeout=120).execute()
    shown = [output.get("data", output) for cell in code for output in cell.outputs]
    assert "image/png" in shown[0]
    assert shown[1]["text"] == "input 2404 bytes, mask 76 bytes\n"
    assert "| model | torch | ours | |" in shown[2]["text/markdown"]
