"""Doctests as tests: ten tasks whose references pass and whose wrong programs fail."""

import json

import pytest

from ilf.config import VerifyConfig
from ilf.errors import DataError
from ilf.kinds import verify
from ilf.records import Program, write_jsonl
from ilf.tasks import load_tasks

# name, doctest, right, wrong
TASKS = [
    ("add", ">>> add(1, 2)\n3\n>>> add(0, 0)\n0\n", "def add(a, b):\n    return a + b\n", "def add(a, b):\n    return 3\n"),
    ("words", ">>> words('a b')\n['a', 'b']\n", "def words(t):\n    return t.split()\n", "def words(t):\n    return t\n"),
    ("letters", ">>> letters('aab')\n{'b', 'a'}\n", "def letters(t):\n    return set(t)\n", "def letters(t):\n    return list(t)\n"),
    ("half", ">>> half(1)\n0.5\n", "def half(n):\n    return n / 2\n", "def half(n):\n    return n // 2\n"),
    ("check", ">>> check(-1)\nTraceback (most recent call last):\n  ...\nValueError: no\n>>> check(1)\n1\n", "def check(n):\n    if n < 0:\n        raise ValueError('no')\n    return n\n", "def check(n):\n    return n\n"),
    ("line", ">>> print(line('a'))\na!\n", "def line(t):\n    return t + '!'\n", "def line(t):\n    return t\n"),
    ("state", ">>> xs = state(2)\n>>> xs.append(9)\n>>> xs\n[0, 1, 9]\n", "def state(n):\n    return list(range(n))\n", "def state(n):\n    return [n]\n"),
    ("nothing", ">>> nothing() is None\nTrue\n", "def nothing():\n    pass\n", "def nothing():\n    return 0\n"),
    ("several", "    >>> several(1,\n    ...         2)\n    (1, 2)\n", "def several(a, b):\n    return a, b\n", "def several(a, b):\n    return [a, b]\n"),
    ("Day", ">>> import datetime\n>>> Day(2).after\ndatetime.date(2020, 1, 2)\n", "import datetime\nclass Day:\n    def __init__(self, n):\n        self.after = datetime.date(2020, 1, n)\n", "import datetime\nclass Day:\n    def __init__(self, n):\n        self.after = datetime.date(2020, 1, 1)\n"),
]  # fmt: skip


@pytest.fixture(scope="module")
def tasks(tmp_path_factory):
    path = tmp_path_factory.mktemp("doctests") / "t.jsonl"
    path.write_text("".join(
        json.dumps({"task_id": name, "description": "Write it.", "entry_point": name, "tests": test, "reference": right}) + "\n"
        for name, test, right, _ in TASKS
    ))  # fmt: skip
    return {task.task_id: task for task in load_tasks(str(path))}


def test_references_pass_and_wrong_programs_fail(tasks):
    programs = [Program(task_id=name, code=code) for name, _, *codes in TASKS for code in codes]
    verdicts = list(verify(tasks, programs, VerifyConfig(workers=1)))
    assert [v.passed for v in verdicts] == [True, False] * len(TASKS), [v.detail for v in verdicts]


def test_what_they_become(tasks, tmp_path):
    assert tasks["add"].tests == ("assert add(1, 2) == 3\nassert add(0, 0) == 0",)
    assert tasks["line"].tests == ("assert str(line('a')) == 'a!'",)
    assert "except ValueError:" in tasks["check"].tests[0]
    write_jsonl(tmp_path / "again.jsonl", tasks.values())
    assert load_tasks(str(tmp_path / "again.jsonl")) == list(tasks.values())


@pytest.mark.parametrize(
    ("test", "message"),
    [
        (">>>f(1)\n1\n", "line 1: tests: the doctest cannot be read: .*lacks blank after"),
        (">>> f(1)  # doctest: +ELLIPSIS\n1...\n", "line 1: tests: the doctest asks for ELLIPSIS"),
        (">>> f(\n1\n", r"line 1: tests.0: the test does not parse"),
    ],
)
def test_what_cannot_be_read_is_named(tmp_path, test, message):
    row = {"task_id": "a", "description": "x", "entry_point": "f", "tests": test}
    (tmp_path / "t.jsonl").write_text(json.dumps(row) + "\n")
    with pytest.raises(DataError, match=message):
        load_tasks(str(tmp_path / "t.jsonl"))
