"""`--json` on every command: one JSON value on standard output and nothing else."""

import json
import shutil
import sys
from collections import Counter

import pytest
import typer
from toy import tasks, world

from ilf import algorithm, cli
from ilf.config import dump_config
from ilf.records import Task, write_jsonl
from ilf.review.join import Imported
from ilf.runfolder import RunFolder

OF_TASKS = "--tasks tasks.jsonl"
MODEL = "--model script.jsonl --engine scripted --style chat -n 2"

# Command → arguments in the toy's folder, and what its answer has at least.
COMMANDS = {
    "run": ("toy.toml --out run", {"state", "results", "seconds", "report", "says", "paired"}),
    "init": ("fresh", {"folder", "tasks", "items", "expectations", "lacking", "config"}),
    "sample": (f"{MODEL} {OF_TASKS} --out sampled.jsonl", {"out", "tasks", "programs"}),
    "verify": (f"{OF_TASKS} --programs programs.jsonl --out verified.jsonl", {"out", "programs", "statuses"}),
    "refine": (f"{MODEL} {OF_TASKS} --feedback feedback.jsonl --out refined.jsonl", {"out", "refinements"}),
    "solve": (f"{MODEL} {OF_TASKS} toy/test_0 --turns 1", {"out", "solutions"}),
    "finetune": (
        "--model tiny --examples examples.jsonl --out tuned --set epochs=1",
        {"folder", "final_loss"},
    ),
    "evaluate": (f"{OF_TASKS} --verdicts verdicts.jsonl -k 1", {"arms", "paired"}),
    "annotate": ("run --port 0 --no-accounts", {"url", "tasks", "accepted"}),
    "study": ("study.toml --out study", {"kind", "state", "results", "report"}),
    "report": ("run --out report.html", {"report"}),
    "push": ("run pushed", {"model", "dataset", "examples", "said"}),
    "runs": ("run", [{"folder", "state", "results"}]),
    "doctor": ("", [{"state", "what", "found", "fix"}]),
    "tasks show": ("tasks.jsonl", [{"task_id", "tests"}]),
    "tasks check": ("tasks.jsonl", {"references", "failing", "complaints"}),
    "tasks audit": ("tasks.jsonl", {"weak", "stubs"}),
    "tasks convert": ("tasks.jsonl --out converted.jsonl", {"tasks", "out"}),
    "config show": ("toy.toml", {"name", "sampling", "refiner"}),
    "config schema": ("", {"properties", "required"}),
    "feedback explain": (f"{OF_TASKS} --programs programs.jsonl --out said.jsonl", {"items", "programs"}),
    "feedback rank": (f"{OF_TASKS} --programs programs.jsonl", {"tasks", "replay"}),
    "feedback agree": (f"{OF_TASKS} --feedback feedback.jsonl", {"items", "tagged", "kinds"}),
    "feedback tag": (
        f"{OF_TASKS} --feedback feedback.jsonl --out tagged.jsonl --model script.jsonl --engine scripted",
        {"items", "without tags", "tagged"},
    ),
    "feedback import": ("comments.json --repository . --out review", {"tasks", "feedback", "dropped"}),
    "serve verifier": (f"--port 0 {OF_TASKS}", {"url", "workers", "keys"}),
}


def commands(of, path=()):
    """The names of all commands below one, each as typed."""
    inner = getattr(of, "commands", None)
    if inner is None:
        return [" ".join(path)]
    return [found for name, command in inner.items() for found in commands(command, (*path, name))]


ALL = commands(typer.main.get_command(cli.app))


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """A folder in which every command has something to do."""
    folder = tmp_path_factory.mktemp("toy")
    config = world(folder)
    run = algorithm.run(config, folder / "run", summary=False)
    (folder / "toy.toml").write_text(dump_config(config))
    (folder / "study.toml").write_text(
        'name = "s"\nbase = "toy.toml"\narms = ["zero-shot", "ilf"]\ntemperatures = [0.8]\n'
    )
    wrong = [{"task_id": t.task_id, "code": t.prefix + "    return None\n"} for t in tasks()]
    (folder / "programs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in wrong))
    shutil.copy(run.round(1).examples, folder / "examples.jsonl")
    verdicts = [{"task_id": t.task_id, "status": "passed"} for t in tasks()]
    (folder / "verdicts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in verdicts))
    return folder


def called(*words):
    sys.argv = ["ilf", *map(str, words)]
    with pytest.raises(SystemExit) as left:
        cli.main()
    return left.value.code or 0


@pytest.fixture
def here(done, tmp_path, monkeypatch):
    """A copy of that folder, in which servers end at once and reviews are found."""
    shutil.copytree(done, tmp_path / "toy")
    monkeypatch.chdir(tmp_path / "toy")
    monkeypatch.setattr(sys, "argv", [])
    uvicorn = pytest.importorskip("uvicorn")
    monkeypatch.setattr(uvicorn.Server, "run", lambda server, sockets: None)
    found = Imported({task.task_id: task for task in tasks()}, [], [("a", "no test"), ("b", "no test")])
    monkeypatch.setattr("ilf.review.command.import_reviews", lambda *given, **named: found)
    return tmp_path / "toy"


@pytest.mark.parametrize("name", ALL)
def test_one_json_value_and_nothing_else(name, here, capsys):
    assert name in COMMANDS, f"say in COMMANDS how `ilf {name} --json` is tried"
    if name == "finetune":
        pytest.importorskip("torch")
        from tinymodels import byte_tokenizer, tiny

        tiny("llama").save_pretrained("tiny")
        byte_tokenizer().save_pretrained("tiny")
    arguments, keys = COMMANDS[name]
    assert called(*name.split(), *arguments.split(), "--json") == 0, capsys.readouterr()
    found = json.loads(capsys.readouterr().out)
    if isinstance(keys, list):
        [keys], found = keys, found[0]
    assert keys <= found.keys()


def test_no_command_is_named_that_is_none():
    assert sorted(ALL) == sorted(COMMANDS)


def test_answers_say_what_people_read(here, capsys):
    called("verify", *COMMANDS["verify"][0].split(), "--json")
    found = json.loads(capsys.readouterr().out)
    assert found == {"out": "verified.jsonl", "programs": 12, "statuses": {"failed": 12}}
    called("run", "toy.toml", "--out", "run", "--estimate", "--json")
    steps = json.loads(capsys.readouterr().out)
    assert steps["1-programs"]["samples"] == 16 and steps["7-model"]["tokens"] > 0
    called("tasks", "show", "tasks.jsonl", "toy/test_0", "--json")
    assert Task.model_validate_json(capsys.readouterr().out) == next(
        task for task in tasks() if task.task_id == "toy/test_0"
    )
    called("feedback", "import", "comments.json", "--repository", ".", "--out", "review", "--json")
    assert json.loads(capsys.readouterr().out)["dropped"] == {"no test": 2}
    called("run", "toy.toml", "--out", "run", "--json")
    found = json.loads(capsys.readouterr().out)
    last = json.loads(RunFolder(here / "run").round(1).evaluation.read_text())
    assert found["paired"] == last["paired"] and "Feedback gained" in found["says"]


def test_text_again_without_it(here, capsys):
    called("runs", "run", "--json")
    assert capsys.readouterr().out.startswith("[")
    called("runs", "run")
    assert capsys.readouterr().out.startswith("folder")


def test_a_mistake_is_one_line_on_standard_error_all_the_same(here, capsys):
    assert called("run", "none.toml", "--json") == 2
    assert capsys.readouterr() == ("", "ilf: none.toml: no such file\n")
    assert called("solve", *COMMANDS["solve"][0].split(), "--ask", "--json") == 2
    assert called("annotate", "run", "--export", "-", "--json") == 2


def test_what_is_broken_is_in_the_answer(here, capsys):
    write_jsonl(here / "bad.jsonl", [tasks()[0].model_copy(update={"reference": "def refine_0(x): pass\n"})])
    assert called("tasks", "check", "bad.jsonl", "--json") == 1
    [failing] = json.loads(capsys.readouterr().out)["failing"]
    assert failing["status"] == "failed" and Counter(failing["tests"])
