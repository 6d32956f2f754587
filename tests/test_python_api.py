"""`from ilf import …`: lazy, typed, pinned, and worth what the command line is worth."""

import inspect
import subprocess
import sys

import pytest
import toy

import ilf
from ilf.errors import DataError, UserError

# Whoever changes one of these breaks other people's programs: say so in CHANGELOG.
SIGNATURES = {
    "run": "(config: 'RunConfig | Mapping[str, Any] | str | Path', *, tasks: 'Sequence[Task] | None' = None, "
    "feedback: 'Sequence[Feedback] | None' = None, folder: 'str | Path | None' = None, "
    "overrides: 'Sequence[str]' = (), summary: 'bool' = False) -> 'Result'",
    "verify": "(tasks: 'Task | Iterable[Task]', programs: 'Iterable[Program | str]', *, "
    "limits: 'Limits | None' = None, workers: 'int | None' = None, isolation: 'Where' = 'auto', "
    "unsafe: 'bool' = False) -> 'list[Verdict]'",
    "refine": "(model: 'str | Path', tasks: 'Sequence[Task] | str', feedback: 'Sequence[Feedback]', *, "
    "n: 'int' = 1, temperature: 'float' = 0.8, max_tokens: 'int' = 512, "
    "style: \"Literal['completion', 'chat']\" = 'chat', engine: 'EngineConfig | str' = 'torch', "
    "use_feedback: 'bool' = True, verification: 'VerifyConfig | None' = None, seed: 'int' = 0) "
    "-> 'list[Refinement]'",
    "Verifier": "(tasks: 'Mapping[str, Task] | None' = None, *, limits: 'Limits | None' = None, "
    "workers: 'int | None' = None, unsafe: 'bool' = False, isolation: 'Where' = 'auto') -> 'None'",
}
FIELDS = {
    "Task": "task_id description entry_point tests prefix setup example reference split tags isolation kind",
    "Feedback": "task_id code text source author seconds refinement tags bugs model foreign warnings assisted created notes",
}


@pytest.mark.parametrize("name", SIGNATURES)
def test_signatures_stay(name):
    assert str(inspect.signature(getattr(ilf, name))) == SIGNATURES[name]


@pytest.mark.parametrize("name", FIELDS)
def test_fields_of_records_stay(name):
    assert " ".join(getattr(ilf, name).model_fields) == FIELDS[name]


def test_every_name_is_there_and_documented():
    for name in ilf.__all__:
        assert inspect.getdoc(getattr(ilf, name)), name
    assert set(ilf.__all__) < set(dir(ilf))
    with pytest.raises(AttributeError, match="no attribute 'fly'"):
        ilf.fly


def test_import_brings_nothing_heavy():
    code = "import sys, ilf; print([m for m in ('torch', 'pydantic', 'numpy', 'rich') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "[]\n"


def test_verify():
    task = toy.tasks()[0]
    right, wrong = ilf.verify(task, [task.reference, task.prefix + "    return None\n"], workers=1)
    assert right.passed and wrong.status == "failed"
    record = ilf.Program(task_id=task.task_id, code=task.reference)
    assert [v.passed for v in ilf.verify(toy.tasks(), [record], workers=1)] == [True]
    with pytest.raises(DataError, match="exactly one task"):
        ilf.verify(toy.tasks(), [task.reference])
    with pytest.raises(DataError, match="two tasks are called"):
        ilf.verify([task, task], [])


def test_run_from_values_and_again(tmp_path):
    toy.world(tmp_path)
    config = toy.config(tmp_path).model_dump(mode="json", exclude_none=True)
    config["tasks"], config["feedback"] = {}, {}
    tasks = toy.tasks()
    given = {"tasks": tasks, "feedback": toy.feedback(tasks), "folder": tmp_path / "run"}
    found = ilf.run(config, **given)
    assert found.after.pass_at[1].value >= found.before.pass_at[1].value
    assert found.model.exists() and found.comparisons[0].tasks == 4
    assert config["tasks"] == {}
    again = ilf.run(config, **given)
    assert again == found


def test_run_from_a_checked_config_with_overrides(tmp_path):
    found = ilf.run(toy.world(tmp_path), folder=tmp_path / "run", overrides=["tasks.limit=2"])
    assert len(found.before.tasks) == 2


def test_mistakes_of_run_are_user_errors(tmp_path):
    with pytest.raises(UserError, match="no such file"):
        ilf.run(tmp_path / "none.toml")
    with pytest.raises(UserError, match="tasks: none were given"):
        ilf.run(toy.world(tmp_path), tasks=[], folder=tmp_path / "run")
    with pytest.raises(UserError, match=r"ilf\.run.*model"):
        ilf.run({"name": "x", "tasks": {"source": "starter"}}, folder=tmp_path / "run")


def test_refine(tmp_path):
    toy.world(tmp_path)
    tasks = toy.tasks()
    items = toy.feedback(tasks)[:2]
    found = ilf.refine(tmp_path / "script.jsonl", tasks, items, n=2, engine="scripted")
    assert [r.feedback_id for r in found] == [items[0].feedback_id] * 2 + [items[1].feedback_id] * 2
    assert all(r.verdict.passed for r in found)
    with pytest.raises(DataError, match="not among"):
        ilf.refine(tmp_path / "script.jsonl", tasks[1:], items, engine="scripted")
