"""The notebook, executed from top to bottom on small data, as a reader does who opened it in its folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nbformat
import pytest

from tests.support.project import Project


@pytest.fixture(scope="module")
def executed(project: Project, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The tour with its outputs; the copy is reset to its first results before."""
    project.restore()
    before = state(project)
    out = tmp_path_factory.mktemp("tour") / "executed.ipynb"
    project.run(
        *("jupyter", "execute", "--timeout=600", "--startup_timeout=600", f"--output={out}"),
        "notebooks/tour.ipynb",
    )
    assert state(project) == before, "the tour says that it writes nothing"
    return nbformat.read(out, as_version=4)


def state(project: Project) -> tuple[str, bytes]:
    status = project.run("git", "status", "--porcelain").stdout
    return status, (project.root / "mlruns/mlflow.db").read_bytes()


def outputs(notebook: Any) -> list[Any]:
    return [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]


def printed(notebook: Any) -> str:
    return "".join(output.text for output in outputs(notebook) if output.output_type == "stream")


def test_the_tour_trains_asks_explains_and_compares(executed: Any) -> None:
    text = printed(executed)
    assert "168 pictures of 56 people, 7 classes" in text
    assert "epoch 1 (scratch 1/1)" in text
    assert "test accuracy of version 1:" in text
    pictures = [output for output in outputs(executed) if "image/png" in output.get("data", {})]
    # Faces, balance, augmentation, the curve, answers, heatmaps, mistakes, the beginner's, the comparison.
    assert len(pictures) == 9


def test_the_tour_is_quiet(executed: Any) -> None:
    assert not [output.text for output in outputs(executed) if output.get("name") == "stderr"], (
        "warnings and chatter of libraries spoil a page that is to be read"
    )


def test_the_tour_lies_in_git_without_outputs(repository: Path) -> None:
    notebook = nbformat.read(repository / "notebooks/tour.ipynb", as_version=4)
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert not [cell.source for cell in cells if cell.outputs or cell.execution_count is not None]
    assert set(notebook.metadata) == {"kernelspec", "language_info"}


def test_no_cell_of_the_tour_is_long(repository: Path) -> None:
    notebook = nbformat.read(repository / "notebooks/tour.ipynb", as_version=4)
    assert max(len(cell.source.splitlines()) for cell in notebook.cells) <= 30
