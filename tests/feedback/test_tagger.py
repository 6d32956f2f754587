import json
import sys
from types import SimpleNamespace

import pytest

from ilf import cli
from ilf.config import VerifyConfig
from ilf.errors import UserError
from ilf.feedback.case import Case
from ilf.feedback.mistakes import RULES
from ilf.feedback.model_tagger import Subject, named, tag_by_likelihood
from ilf.feedback.tagger import _CATEGORY, MEANINGS, PAPER_CATEGORIES, categories, of_failure
from ilf.metrics import kappa
from ilf.places import Local
from ilf.prompts import Prompter
from ilf.records import Feedback, Program, Task, read_jsonl, write_jsonl


def failure(body, test):
    task = Task(task_id="t", description="d", entry_point="f", tests=(test,), prefix="def f(x):\n")
    program = Program(task_id="t", code=f"def f(x):\n    {body}\n")
    verdict = next(iter(Local().verify({"t": task}, [program], VerifyConfig())))
    return of_failure(Case(task, program, verdict))


@pytest.mark.parametrize(
    ("body", "test", "kind"),
    [
        ("return f(x)", "assert f(1) == 1", "recursion"),
        ("return x.no()", "assert f(1) == 1", "function semantics"),
        ("y = x + 1", "assert f(1) == 2", "missing step"),
        ("return -x", "assert f(1) == 1", "algebra"),
        ("return str(x)", "assert f(1) == 1", "formatting"),
        ("return x * 100", "assert f(1) == 7", "logic"),
    ],
)
def test_a_failure_suggests_kinds(body, test, kind):
    assert kind in failure(body, test)


def test_every_kind_of_mistake_stands_under_a_name_of_the_paper():
    assert _CATEGORY.keys() <= RULES.keys()
    assert set(_CATEGORY.values()) <= PAPER_CATEGORIES.keys()


def test_a_text_suggests_kinds():
    assert categories("The regex misses a group.") == ("missing step", "regex")
    assert categories("Wrong.") == ("logic",)


def test_kappa_by_hand():
    # 20 yes-yes, 5 yes-no, 10 no-yes, 15 no-no: 0.4 (the textbook example of Cohen's kappa)
    a = [True] * 25 + [False] * 25
    b = [True] * 20 + [False] * 5 + [True] * 10 + [False] * 15
    found = kappa(a, b)
    assert found.value == pytest.approx(0.4)
    assert found.low < 0.4 < found.high and found.high - found.low > 0.3
    assert kappa(a, a).value == 1
    assert kappa([True, False], [False, True]).value == -1
    assert kappa([True, False] * 50, [True, True, False, False] * 25).value == 0
    assert kappa([True, False] * 50, [True] * 100) is None
    assert kappa([True, True], [True, True]) is None
    with pytest.raises(UserError, match="same items"):
        kappa([True], [])


def test_agreement_is_told_for_tagged_items_alone(tmp_path, monkeypatch, capsys):
    task = {"task_id": "a", "description": "d", "entry_point": "f", "tests": ["assert f(1) == 1"]}
    item = {"task_id": "a", "source": "human", "text": "The recursion never ends."}
    rows = [
        {**item, "code": "def f(x):\n    return f(x)\n", "tags": ["recursion"]},
        {**item, "code": "def f(x):\n    return x.no()\n", "text": "Wrong.", "tags": ["logic"]},
        {**item, "code": "def f(x):\n    return 3\n"},
    ]
    (tmp_path / "t.jsonl").write_text(json.dumps(task) + "\n")
    words = ["ilf", "feedback", "agree", "--tasks", tmp_path / "t.jsonl", "--feedback", tmp_path / "f.jsonl"]
    monkeypatch.setattr(sys, "argv", [str(word) for word in words])

    def told(of):
        (tmp_path / "f.jsonl").write_text("".join(json.dumps(row) + "\n" for row in of))
        with pytest.raises(SystemExit) as left:
            cli.main()
        assert not left.value.code
        return capsys.readouterr().out

    out = told(rows)
    assert "2 items, tagged by their authors" in out
    line = next(line for line in out.splitlines() if line.strip().startswith("recursion"))
    assert line.count("1.00 [") == 3
    assert "1 items, none tagged with kinds of bug" in told(rows[2:])
    assert "1 items, none tagged with kinds of bug" in told([{**rows[2], "tags": ["blank"]}])


@pytest.mark.parametrize(
    ("answer", "kinds"),
    [
        (" logic, missing step", ("logic", "missing step")),
        (" Missing-step and Recursion.", ("missing step", "recursion")),
        (" something else", ()),
    ],
)
def test_what_a_model_names(answer, kinds):
    assert named(answer) == kinds


@pytest.fixture
def run_cli(monkeypatch):
    """The command line, with these words after `ilf`."""

    def run(*words):
        monkeypatch.setattr(sys, "argv", ["ilf", *words])
        with pytest.raises(SystemExit) as left:
            cli.main()
        assert not left.value.code

    return run


@pytest.fixture
def by_model(tmp_path):
    """Two items on a suite of one's own, one of them tagged, and a model that answers from a table."""
    tasks = [
        Task(
            task_id=name,
            description=f"Say {name}.",
            entry_point="f",
            tests=("assert f() == 1",),
            prefix="def f():\n",
        )
        for name in ("one", "two", "three")
    ]
    items = [
        Feedback(
            task_id="one",
            code="def f():\n    return 2\n",
            text="Wrong formula.",
            source="human",
            tags=("algebra",),
        ),
        Feedback(task_id="two", code="def f():\n    return f()\n", text="No base case.", source="human"),
        Feedback(task_id="three", code="def f():\n    return '1'\n", text="A text.", source="human"),
    ]
    write_jsonl(tmp_path / "tasks.jsonl", tasks)
    write_jsonl(tmp_path / "feedback.jsonl", items)
    rows = [("Wrong formula.", "algebra"), ("No base case.", "recursion, logic"), ("Say two.", "recursion")]
    said = "".join(json.dumps({"contains": a, "completions": [b]}) + "\n" for a, b in rows)
    (tmp_path / "script.jsonl").write_text(said)
    model = ["--model", str(tmp_path / "script.jsonl"), "--engine", "scripted"]
    return tmp_path, ["--tasks", str(tmp_path / "tasks.jsonl")], model


def test_a_model_tags_what_nobody_tagged(by_model, run_cli):
    folder, tasks, model = by_model
    given = ["--feedback", str(folder / "feedback.jsonl"), "--out", str(folder / "tagged.jsonl")]
    run_cli("feedback", "tag", *tasks, *given, *model)
    items = read_jsonl(folder / "tagged.jsonl", Feedback)
    assert [item.tags for item in items] == [("algebra",), ("recursion", "logic"), ()]


def test_agreement_with_a_model_is_measured(by_model, run_cli, capsys):
    folder, tasks, model = by_model
    (folder / "bare.jsonl").write_text((folder / "feedback.jsonl").read_text().replace('"algebra"', ""))
    run_cli("feedback", "agree", *tasks, "--feedback", str(folder / "bare.jsonl"), *model)
    said = " ".join("".join(capsys.readouterr()).split())
    assert "none tagged with kinds of bug" in said and "failure and model" in said
    assert "recursion 0% 33% 33% – – 1.00" in said
    assert "for 1 of 3 items the model names none" in said


def test_what_to_ask_about_by_a_models_kinds(by_model, run_cli, capsys):
    folder, tasks, model = by_model
    items = read_jsonl(folder / "feedback.jsonl", Feedback)
    write_jsonl(folder / "programs.jsonl", [Program(task_id=i.task_id, code=i.code) for i in items])
    run_cli("feedback", "rank", *tasks, "--programs", str(folder / "programs.jsonl"), *model)
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    rows = {words[0]: words[1] for words in lines if len(words) > 1}
    # Before anybody wrote the model reads the program alone; where it names nothing, the rules' kind stands.
    assert rows["two"] == "recursion" and rows["one"] != "recursion"


def test_a_model_with_weights_is_compared_with_itself(monkeypatch):
    """It likes `logic` best for all; what is likelier than for the others counts."""
    from ilf import scoring

    names = list(MEANINGS)
    rows = [[-1.0, -5.0, *[-9.0] * 7], [-1.2, -3.0, *[-9.0] * 7], [-1.1, -5.0, *[-9.0] * 6, -6.0]]
    asked = []

    def first_tokens(model, prompts, words, what):
        asked.extend(prompts)
        assert [word.strip() for word in words] == names
        return rows

    monkeypatch.setattr(scoring, "first_tokens", first_tokens)
    task = Task(task_id="t", description="Say one.", entry_point="f", tests=("assert f() == 1",))
    subjects = [Subject(task, f"def f(): return {n}", text) for n, text in enumerate(("A.", None, "C."))]
    model = SimpleNamespace(ref="m", prompter=Prompter("chat"))
    assert tag_by_likelihood(model, subjects) == [("logic",), ("formatting",), ("extra step",)]
    assert "What somebody said about it:\n\nA." in asked[0] and "somebody said" not in asked[1]
