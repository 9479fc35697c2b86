"""Run the notebooks, and leave them with their outputs as .ipynb: `make notebooks`.

    python experiments/parts/build_notebooks.py [--out runs/notebooks]

They are kept as text; whoever wants one for Jupyter or Colab without running it first can say
`jupytext --to ipynb experiments/notebooks/getting_started.py`.
"""

from __future__ import annotations

from pathlib import Path

import jupytext
import nbformat
import typer
from nbclient import NotebookClient

from metabo.atomic import replacing

NOTEBOOKS = sorted((Path(__file__).parents[1] / "notebooks").glob("*.py"))


def executed(source: Path, folder: Path, *, timeout: float = 900) -> nbformat.NotebookNode:
    """The notebook with its outputs.

    Args:
        source: The text.
        folder: Where it runs, and what it saves goes to.
        timeout: Of a cell, in seconds.

    Raises:
        CellExecutionError: If a cell fails; it says which.
    """
    notebook = jupytext.read(source)
    context = {"metadata": {"path": str(folder)}}
    NotebookClient(notebook, timeout=timeout, kernel_name="python3", resources=context).execute()
    return notebook


def main(out: Path = Path("runs/notebooks")) -> None:
    """Build all notebooks."""
    out.mkdir(parents=True, exist_ok=True)
    for source in NOTEBOOKS:
        with replacing(out / f"{source.stem}.ipynb") as temporary:
            nbformat.write(executed(source, out), temporary)
        print(out / f"{source.stem}.ipynb")


if __name__ == "__main__":
    typer.run(main)
