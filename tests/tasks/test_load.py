"""Loading tasks: every published task is usable, every bad file gets one line."""

import ast
import gzip
import json
import sys
from pathlib import Path

import pytest

from ilf.errors import ConfigError, DataError, MissingDependency
from ilf.records import Task, write_jsonl
from ilf.syntax import parse
from ilf.tasks import load_tasks, source_hash
from ilf.tasks.mbpp import find_entry_point, task_from_row

GOOD = {
    "task_id": "a/1",
    "description": "Double a number.",
    "entry_point": "double",
    "prefix": "def double(x):\n",
    "tests": ["assert double(2) == 4"],
    "reference": "def double(x):\n    return 2 * x\n",
}


@pytest.fixture(scope="module")
def mbpp(data_dir):
    return load_tasks(f"mbpp:{data_dir / 'mbpp.jsonl'}")


def write(folder: Path, *rows: object) -> Path:
    path = folder / "tasks.jsonl"
    path.write_text("".join((r if isinstance(r, str) else json.dumps(r)) + "\n" for r in rows))
    return path


def row(**changes: object) -> dict:
    return {
        "text": "Write a function.",
        "code": "def f(x):\r\n    return x",
        "task_id": 1,
        "test_setup_code": "",
        "test_list": ["assert f(1) == 1"],
        "challenge_test_list": [],
    } | changes


@pytest.mark.data
def test_every_mbpp_task_gets_an_entry_point_a_prefix_and_a_shown_test(mbpp):
    assert len(mbpp) == 974
    for task in mbpp:
        assert task.task_id == task.task_id.strip() and task.task_id.isdecimal()
        tree = parse(task.prefix + "    pass\n")
        assert tree.body[-1].name == task.entry_point, "the signature comes last"
        # The reference continues its own prefix.
        assert task.reference.split("\n")[: task.prefix.count("\n") - 1] == task.prefix.split("\n")[:-2]
        assert task.entry_point in task.shown
        assert "\r" not in task.to_json().replace("\\\\r", "")


@pytest.mark.data
def test_prefixes_are_those_of_the_published_prompts(mbpp, data_dir):
    by_id = {task.task_id: task for task in mbpp}
    rows = [json.loads(line) for line in (data_dir / "surge_annotations.jsonl").open()]
    for r in rows:
        prompt = r["prompt"].replace("\r\n", "\n").replace("\r", "\n")
        assert prompt.endswith('"""\n\n' + by_id[str(r["task_id"])].prefix)


@pytest.mark.data
def test_challenge_tests_are_an_option(mbpp, data_dir):
    more = load_tasks(f"mbpp:{data_dir / 'mbpp.jsonl'}", challenge_tests=True)
    assert sum(len(b.tests) > len(a.tests) for a, b in zip(mbpp, more, strict=True)) == 11
    assert all(b.tests[: len(a.tests)] == a.tests for a, b in zip(mbpp, more, strict=True))


@pytest.mark.data
def test_the_signature_prefix_keeps_what_the_tests_need(data_dir):
    tasks = {t.task_id: t for t in load_tasks(f"mbpp:{data_dir / 'mbpp.jsonl'}", prefix="signature")}
    assert tasks["1"].prefix == "def min_cost(cost, m, n):\n"
    assert "class Pair" in tasks["601"].prefix, "the tests build Pairs"
    assert "class Node" in tasks["367"].prefix and "get_height" not in tasks["367"].prefix
    for task in tasks.values():
        parse(task.prefix + "    pass\n")


@pytest.mark.parametrize(
    ("code", "tests", "entry_point", "prefix"),
    [
        ("def f (x):\n  return x", ["assert f (1) == 1"], "f", "def f (x):\n"),
        ("def f(x): return x", ["assert set(f(1)) == {1}"], "f", "def f(x):\n"),
        ("import re \r\ndef f(x) : \r\n\treturn x\r", ["assert sorted(set(f(1))) == [1]"], "f", "import re \ndef f(x) :\n"),
        ("def g(x):\n  return x\ndef f(x):\n  return g(x)", ["assert f(1)"], "f", "def g(x):\n  return x\ndef f(x):\n"),
        ("def f(x):\n  return g(x)\ndef g(x):\n  return x", ["assert not f(1)"], "f", "def f(x):\n"),
        ("class P:\n  pass\ndef f(x):\n  return x", ["assert f([P()]) == 1"], "f", "class P:\n  pass\ndef f(x):\n"),
        ("def f(x):\n  return x\ndef g(x):\n  return x", ["assert g(f(1)) == 1", "assert f(2) == 2"], "f", "def f(x):\n"),
        (
            "def f(x,\n      y={':': 1},\n      z=lambda: 0) -> dict[str, int]:  # why\n    return x",
            ["assert f(1) == 1"],
            "f",
            "def f(x,\n      y={':': 1},\n      z=lambda: 0) -> dict[str, int]:  # why\n",
        ),
        ("@cache\ndef f(x):\n  return x", ["assert f(1) == 1"], "f", "@cache\ndef f(x):\n"),
        ("class S:\n  def go(self): return 1", ["assert S().go() == 1"], "S", "class S:\n"),
    ],
)  # fmt: skip
def test_entry_point_and_prefix(code, tests, entry_point, prefix):
    task = task_from_row(row(code=code, test_list=tests))
    assert (task.entry_point, task.prefix) == (entry_point, prefix)


def test_an_import_that_the_tests_lean_on_goes_into_their_setup():
    task = task_from_row(
        row(code="import sys\nimport re\ndef f(x):\n  return 1", test_list=["assert f(sys.maxsize) == 1"])
    )
    assert task.setup == "import sys"


def test_no_entry_point_where_tests_call_nothing_of_the_reference():
    assert find_entry_point([ast.parse("assert len([]) == 0")], ast.parse("def f(): pass")) is None


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ("{nope", "line 2: not JSON"),
        ({**GOOD, "task_id": "a/1"}, "line 2: task_id: 'a/1' is already on line 1"),
        ({k: v for k, v in GOOD.items() if k != "description"} | {"task_id": "2"}, "line 2: description: Field required"),
        ({**GOOD, "task_id": "2", "tests": []}, "line 2: tests: no tests"),
        ({**GOOD, "task_id": "2", "tests": ["assert ("]}, "line 2: tests.0: the test does not parse"),
        ({**GOOD, "task_id": "2", "reference": "def f(:"}, "line 2: reference: the reference program does not parse"),
        ({**GOOD, "task_id": "2", "reference": "a\0"}, "line 2: reference: the reference program does not parse"),
        ({**GOOD, "task_id": "2", "prefix": "def f(x)\n"}, "line 2: prefix: the code before the body does not parse"),
        ({**GOOD, "task_id": "2", "entry_point": "a b"}, "line 2: entry_point: 'a b' is not a Python name"),
        (
            {"descripton" if k == "description" else k: v for k, v in GOOD.items()} | {"task_id": "2"},
            "line 2: description: Field required (the row has descripton)",
        ),
        (
            {**GOOD, "task_id": "2", "entry_point": "triple"},
            "line 2: entry_point: 'triple' is in neither the reference nor the tests; they have double",
        ),
        ("[1]", "line 2: a JSON object was expected"),
    ],
)  # fmt: skip
def test_a_bad_row_is_named_by_file_line_and_field(tmp_path, bad, message):
    path = write(tmp_path, GOOD, bad)
    with pytest.raises(DataError) as error:
        load_tasks(str(path))
    assert str(error.value).startswith(f"{path}, {message}") and "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"code": "def f(x) return"}, "code: the reference program does not parse"),
        ({"test_list": []}, "test_list: no tests"),
        ({"test_list": ["assert g(1) == 1"]}, "code: defines none of the functions that the tests call"),
        ({"test_setup_code": "x ="}, "test_setup_code: the code does not parse"),
        ({"code": "f = len"}, "code: f is assigned, not defined"),
        ({"text": None}, "text: Input should be a valid string"),
    ],
)
def test_a_bad_mbpp_row_is_named(tmp_path, changes, message):
    path = write(tmp_path, row(task_id=7), row(**changes))
    with pytest.raises(DataError) as error:
        load_tasks(f"mbpp:{path}")
    assert str(error.value).startswith(f"{path}, line 2: {message}") and "\n" not in str(error.value)


def test_other_mistakes_get_one_line(tmp_path):
    with pytest.raises(DataError, match="no such file"):
        load_tasks(str(tmp_path / "none.jsonl"))
    with pytest.raises(DataError, match="no tasks in it"):
        load_tasks(str(write(tmp_path)))
    with pytest.raises(DataError, match="'mpbb' is not a task source: starter, house, mbpp, humaneval, hub:"):
        load_tasks("mpbb")
    with pytest.raises(ConfigError, match="only mbpp has challenge tests"):
        load_tasks("humaneval", challenge_tests=True)
    (tmp_path / "cut.jsonl.gz").write_bytes(gzip.compress(b"{}" * 1000)[:20])
    with pytest.raises(DataError, match="not a whole gzip file"):
        load_tasks(str(tmp_path / "cut.jsonl.gz"))


def test_our_own_form_round_trips(tmp_path):
    tasks = [Task(**GOOD), Task(**GOOD | {"task_id": "a/2", "split": "train", "tags": ("lists",)})]
    path = tmp_path / "t.jsonl"
    write_jsonl(path, tasks)
    assert load_tasks(str(path)) == tasks
    assert load_tasks(str(path), ids="split=train") == load_tasks(str(path), ids="2") == tasks[1:]
    assert load_tasks(str(path), limit=1) == tasks[:1]
    assert source_hash(tasks) == source_hash(load_tasks(str(path))) != source_hash(tasks[:1])


def test_the_signature_prefix_of_our_own_form(tmp_path):
    helper = "import re\nLIMIT = 3\ndef helper(x):\n    return re.sub('a', '', x)\n"
    prefix = helper + "@cache\ndef f(x, n=LIMIT):\n"
    path = write(tmp_path, GOOD | {"entry_point": "f", "prefix": prefix, "reference": None})
    assert (
        load_tasks(str(path), prefix="signature")[0].prefix
        == "import re\nLIMIT = 3\n@cache\ndef f(x, n=LIMIT):\n"
    )
    path = write(
        tmp_path, GOOD | {"entry_point": "f", "prefix": prefix, "tests": ["assert f(helper('a')) == ''"]}
    )
    assert load_tasks(str(path), prefix="signature")[0].prefix == prefix


@pytest.mark.parametrize(("answers", "why"), [(False, "it cannot be reached"), (True, "Couldn't find it")])
def test_the_hub_unreachable_is_one_line(monkeypatch, answers, why):
    datasets = pytest.importorskip("datasets")

    def unreachable(*args, **kwargs):
        assert datasets.config.HF_HUB_OFFLINE is not answers, "without an answer only the cache is asked"
        raise ConnectionError("Couldn't find it\nsecond line")

    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(datasets, "load_dataset", unreachable)
    monkeypatch.setattr("ilf.tasks.hub._answers", lambda dataset: answers)
    with pytest.raises(DataError) as error:
        load_tasks("mbpp")
    assert str(error.value) == (
        f"google-research-datasets/mbpp: cannot be had from the Hugging Face hub ({why}); "
        "where there is no network, name the file or the folder instead, as in mbpp:PATH"
    )


def test_without_the_library_the_hub_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(MissingDependency, match=r"pip install 'ilf\[hub\]'"):
        load_tasks("mbpp")


def test_the_hub_gives_all_splits_in_the_order_of_the_ids(monkeypatch):
    datasets = pytest.importorskip("datasets")
    asked = []

    def hub(name, config):
        asked.append((name, config))
        return {"train": [row(task_id=601)], "test": [row(task_id=11), row(task_id=12)]}

    monkeypatch.setattr(datasets, "load_dataset", hub)
    monkeypatch.setattr("ilf.tasks.hub._answers", lambda dataset: True)
    assert [task.task_id for task in load_tasks("mbpp")] == ["11", "12", "601"]
    assert asked == [("google-research-datasets/mbpp", "full")]


def test_unknown_fields_are_passed_over_in_one_line(tmp_path, capsys):
    rows = [
        {**GOOD, "task_id": str(n), "difficulty": n, "refrence": None, "setup": None, "tags": None}
        for n in range(3)
    ]
    tasks = load_tasks(str(write(tmp_path, *rows)))
    assert tasks[0].setup == "" and tasks[0].tags == ()
    said = capsys.readouterr().err.splitlines()
    assert said == [
        f"{tmp_path}/tasks.jsonl: fields passed over: difficulty (3), refrence (3, did you mean reference?)"
    ]


def test_one_test_needs_no_list(tmp_path):
    [task] = load_tasks(str(write(tmp_path, {**GOOD, "tests": GOOD["tests"][0], "tags": "easy"})))
    assert task.tests == ("assert double(2) == 4",) and task.tags == ("easy",)


@pytest.mark.parametrize("lead", ["", "\ufeff", "\n \ufeff"[:2]])
@pytest.mark.parametrize("indent", [None, 2])
def test_a_json_list_is_read_like_lines(tmp_path, lead, indent):
    rows = [{**GOOD, "task_id": str(n)} for n in range(3)]
    path = tmp_path / "tasks.json"
    path.write_text(lead + json.dumps(rows, indent=indent), encoding="utf-8")
    assert load_tasks(str(path)) == load_tasks(str(write(tmp_path, *rows)))
    sanitized = [
        {
            "task_id": n,
            "prompt": "Double it.",
            "code": GOOD["reference"],
            "test_list": GOOD["tests"],
            "test_imports": [],
        }
        for n in (2, 3)
    ]
    path.write_text(lead + json.dumps(sanitized, indent=indent), encoding="utf-8")
    assert [task.task_id for task in load_tasks(f"mbpp:{path}")] == ["2", "3"]
    path.write_text(lead + json.dumps([*rows, 1], indent=indent), encoding="utf-8")
    with pytest.raises(DataError, match=r"tasks\.json, row 4 of the list: a JSON object was expected"):
        load_tasks(str(path))
    path.write_text(lead + json.dumps([*rows, {**GOOD, "tests": "("}], indent=indent), encoding="utf-8")
    with pytest.raises(DataError, match=r"tasks\.json, row 4: tests\.0: the test does not parse"):
        load_tasks(str(path))
    path.write_text(lead + json.dumps([*rows, rows[1]], indent=indent), encoding="utf-8")
    with pytest.raises(DataError, match=r"tasks\.json, row 4: task_id: '1' is already on row 2"):
        load_tasks(str(path))
    path.write_text("[{")
    with pytest.raises(DataError, match=r"tasks\.json: not JSON"):
        load_tasks(str(path))


@pytest.mark.parametrize(
    ("fields", "there"),
    [
        ({"reference": None}, "they have double"),
        (
            {"reference": "import math\n\nhalve = lambda x: x / 2\n", "prefix": ""},
            "they have double, halve, math",
        ),
        ({"tests": ["assert 1 < 2"], "reference": None, "prefix": ""}, "they have no names at all"),
    ],
)
def test_a_name_that_nothing_has_is_refused_with_those_that_are_there(tmp_path, fields, there):
    with pytest.raises(DataError) as caught:
        load_tasks(str(write(tmp_path, {**GOOD, "entry_point": "triple", **fields})))
    assert str(caught.value).endswith(there)
    # A kind of somebody else's has no such names.
    assert load_tasks(str(write(tmp_path, {**GOOD, "entry_point": "triple", "kind": "mine:Kind"})))
