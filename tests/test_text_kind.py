"""Task kind `text`: what an answer is worth by a function, a judge and likeness, and the loop on such tasks."""

import json
import math
import os
import subprocess
import sys
from pathlib import Path

import pytest

from ilf import kinds, metrics
from ilf.algorithm import run
from ilf.config import RewardConfig, RewardTerm, VerifyConfig, build_config
from ilf.dryrun import dry
from ilf.errors import ConfigError, UserError
from ilf.feedback import words
from ilf.prompts import Prompter
from ilf.records import Example, Feedback, Program, Refinement, Task, Verdict, read_jsonl, write_jsonl
from ilf.report.command import write_report
from ilf.rewards import judge
from ilf.runfolder import RunFolder
from ilf.selection import select

TASK = Task(task_id="t", description="Name a colour.", kind="text")
RULES = '''
def shortness(task, text):
    """1 for one word, less for more."""
    count = len(text.split())
    return 1 / count, "" if count == 1 else f"It has {count} words; one is asked for."

def wild(task, text):
    return 2

def broken(task, text):
    return text.missing
'''


@pytest.fixture
def rules(tmp_path, monkeypatch):
    """A module of a user's own."""
    (tmp_path / "rules_of_mine.py").write_text(RULES)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield
    sys.modules.pop("rules_of_mine", None)


def by_function(name="shortness", **more):
    return {"by": "function", "function": f"rules_of_mine:{name}", **more}


def verdicts(terms, *texts, threshold=0.5, follows=None, task=TASK):
    settings = VerifyConfig(reward=RewardConfig(threshold=threshold, terms=terms))
    programs = [Program(task_id=task.task_id, code=text, follows=follows) for text in texts]
    return list(kinds.verify({task.task_id: task}, programs, settings))


def script(path, *rows):
    path.write_text("".join(json.dumps({"contains": a, "completions": list(b)}) + "\n" for a, b in rows))
    return str(path)


def judged(model, **more):
    return {"by": "judge", "model": model, "engine": {"name": "scripted"}, **more}


# ---------------------------------------------------------------- rewards


def test_a_function_tells_good_from_bad_and_says_why(rules):
    good, bad, none = verdicts([by_function()], "red", "a dark red", " \n")
    assert (good.status, good.reward, good.detail) == ("passed", 1.0, "")
    assert bad.status == "failed" and bad.reward == pytest.approx(1 / 3, abs=1e-6)
    assert bad.detail == "It has 3 words; one is asked for."
    assert (none.status, none.reward) == ("no_code", 0.0)
    program = Program(task_id="t", code="a dark red")
    assert words.say(TASK, program, bad) == bad.detail  # execution's feedback is the function's reason


def test_terms_are_weighted_and_the_threshold_counts(rules, tmp_path):
    model = script(tmp_path / "judge.jsonl", ("", ["Yes", "No", "No", "perhaps"]))
    terms = [by_function(weight=3), judged(model, questions=["Is it a colour?"], samples=4)]
    [one] = verdicts(terms, "a b", threshold=0.46)
    # The judge: one yes of three answers; "perhaps" is neither.
    assert one.reward == pytest.approx((3 * 0.5 + 1 / 3) / 4, abs=1e-6)
    assert one.status == "failed" and verdicts(terms, "a b", threshold=0.45)[0].passed


def test_a_judge_without_questions_asks_of_refinements_only(tmp_path, rules):
    said = [(wording, ["No"] if number == 0 else ["yes."]) for number, wording in enumerate(judge.WORDINGS)]
    terms = [judged(script(tmp_path / "judge.jsonl", *said), samples=1)]
    item = Feedback(task_id="t", code="blue-ish", text="One word, please.", source="recorded")
    assert verdicts(terms, "blue", follows=item)[0].reward == pytest.approx(4 / 5)
    with pytest.raises(UserError, match="none says what a text without feedback is worth"):
        verdicts(terms, "blue")
    # Beside another term it is left out of such a text's mean.
    assert verdicts([*terms, by_function()], "blue dark")[0].reward == 0.5


def test_questions_of_the_task_are_asked_too(tmp_path):
    model = script(
        tmp_path / "judge.jsonl", ("Is it warm? Answer", ["No"]), ("Is it a colour? Answer", ["Yes"])
    )
    task = TASK.model_copy(update={"tests": ("Is it warm?", "red")})
    [one] = verdicts([judged(model, questions=["Is it a colour?"], samples=1)], "blue", task=task)
    assert one.reward == 0.5


@pytest.mark.parametrize(
    ("terms", "said"),
    [
        ([], 'verify.reward.terms: tasks of kind "text" need at least one'),
        (
            [by_function("wild")],
            "reward rules_of_mine:wild: 2.0 for a text on task t; R is a number from 0 to 1",
        ),
        ([by_function("broken")], "reward rules_of_mine:broken: task t: AttributeError"),
        ([by_function("missing")], "verify.reward.terms.function: 'rules_of_mine:missing'"),
    ],
)
def test_a_wrong_reward_is_named(rules, terms, said):
    with pytest.raises(UserError) as error:
        verdicts(terms, "red")
    assert said in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("by", "needed"), [("function", "function"), ("judge", "model"), ("similarity", "model")]
)
def test_a_term_says_what_it_needs(by, needed):
    with pytest.raises(ValueError, match=f'{needed}: needed where by is "{by}"'):
        RewardTerm(by=by)


def test_only_texts_may_have_no_tests():
    with pytest.raises(ValueError, match="tests: no tests"):
        Task(task_id="t", description="d", kind="answer")
    assert TASK.tests == () and TASK.shown == ""


# ---------------------------------------------------------------- with a model


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    pytest.importorskip("torch")
    from bytemodel import write_model

    return str(write_model(tmp_path_factory.mktemp("tiny"), context=512))


def test_a_judge_with_weights_gives_its_probability(tiny, without_gpu, monkeypatch):
    from ilf import scoring

    term = {"by": "judge", "model": tiny, "style": "completion", "questions": ["Is it short?"]}
    # Bytes are its tokens: the first one of both answers is the space.
    with pytest.raises(UserError, match="its first token does not tell Yes, No apart"):
        verdicts([term], "red")
    prompt = "Task: Name a colour.\n\nText: red\n\nIs it short? Answer Yes or No.\n\nAnswer:"
    monkeypatch.setattr(judge, "ANSWERS", ("Yes", "No"))
    (yes, _), (no, _) = scoring.score(tiny, [(prompt, "Y"), (prompt, "N")])
    [one] = verdicts([term], "red")
    assert one.reward == pytest.approx(math.exp(yes) / (math.exp(yes) + math.exp(no)), abs=1e-4)


def test_likeness_to_the_feedback(tiny, without_gpu):
    item = Feedback(task_id="t", code="x", text="say blue", source="recorded")
    same, other = verdicts([{"by": "similarity", "model": tiny}], "say blue", "QQQQQQQQ!", follows=item)
    assert same.reward == pytest.approx(1, abs=1e-5) and other.reward < 0.99


def test_embeddings_do_not_depend_on_their_neighbours(tiny, without_gpu):
    from ilf import scoring

    alone = [scoring.embeddings(tiny, [text])[0] for text in ("a", "a longer text")]
    together = scoring.embeddings(tiny, ["a", "a longer text"])
    for one, other in zip(alone, together, strict=True):
        assert one == pytest.approx(other, abs=1e-4) and math.hypot(*one) == pytest.approx(1, abs=1e-5)


# ---------------------------------------------------------------- what is done with R


def evaluated(rewards):
    """An evaluation of one task each, with the rewards of its samples."""
    tasks = [Task(task_id=str(n), description="d", kind="text") for n in range(len(rewards))]
    found = [
        Verdict(task_id=str(n), program_id="p", status="passed" if r >= 0.5 else "failed", reward=r)
        for n, of_task in enumerate(rewards)
        for r in of_task
    ]
    return metrics.evaluate(metrics.count(tasks, found), split="test", temperature=0.8, n=2, ks=[1])


def test_mean_reward_and_win_rate():
    before, after = evaluated([[0.2, 0.4], [0.9, 0.9]]), evaluated([[0.3, 0.5], [0.9, 0.7]])
    assert before.reward.value == pytest.approx((0.3 + 0.9) / 2) and list(before.rates) == ["mean R"]
    c = metrics.compare([before], [after], k=metrics.MEAN_R)
    assert c.metric == "mean R" and c.difference.value == pytest.approx((0.1 - 0.1) / 2)
    # Task 0: of 4 pairs 3 are won, none tied; task 1: 2 tied, 2 lost.
    assert c.wins.value == pytest.approx((3 / 4 + 1 / 4) / 2)
    assert metrics.common([before, after], [1, 10]) == ["mean R"]


def test_the_best_refinement_is_the_one_with_the_highest_reward():
    rows = [
        Refinement(
            feedback_id="f", task_id="t", code=f"text {n}",
            verdict=Verdict(task_id="t", program_id="p", status="passed", reward=r),
        )
        for n, r in enumerate((0.6, 0.9, 0.7))
    ]  # fmt: skip
    assert [r.code for r in select(rows, {"t": TASK}, "best")] == ["text 1"]


def test_prompts_speak_of_answers_and_show_worked_ones():
    prompter = Prompter("chat")
    asked = prompter.refinement(
        TASK, "a dark red", "Too long.", shots=[(TASK, "sky blue", "Cut it.", "blue")]
    )
    first, now, last = asked.text.partition("Now yours.")
    assert "sky blue" in first and "Corrected answer:\n\nblue" in first and "a dark red" in last and now
    assert "```" not in prompter.feedback(TASK, "a dark red").text


# ---------------------------------------------------------------- the loop

COLOURS = ["red", "blue", "green", "grey", "pink", "brown", "white", "black", "teal"]


def world(folder: Path, **changes) -> dict:
    tasks = [
        Task(
            task_id=name, description=f"Name the colour of {name} paint.", kind="text", reference=name,
            split=("refine", "train", "test")[number % 3],
        )
        for number, name in enumerate(COLOURS)
    ]  # fmt: skip
    items = [
        Feedback(
            task_id=task.task_id, code=f"it is {task.task_id}", text=f"Say {task.task_id} and nothing else.",
            source="recorded", refinement=task.reference,
        )
        for task in tasks
        if task.split != "test"
    ]  # fmt: skip
    write_jsonl(folder / "tasks.jsonl", tasks)
    write_jsonl(folder / "feedback.jsonl", items)
    refined = [(f"Say {name} and nothing else.", [f"{name} paint", name]) for name in COLOURS]
    attempts = [(f"the colour of {name} paint", [f"it is {name}"]) for name in COLOURS]
    script(folder / "script.jsonl", *refined, *attempts)
    return {
        "name": "colours",
        "model": str(folder / "script.jsonl"),
        "engine": {"name": "scripted"},
        "prompts": {"style": "chat"},
        "tasks": {"source": str(folder / "tasks.jsonl")},
        "sampling": {"n": 2},
        "verify": {"reward": {"threshold": 0.5, "terms": [by_function()]}},
        "feedback": {"path": str(folder / "feedback.jsonl"), "filter": False},
        "refiner": {"sampling": {"n": 4}},
        "selection": {"strategy": "best"},
        "evaluation": {"k": [1], "sampling": {"n": 2}, "control": False},
        **changes,
    }


def test_a_run_on_texts(tmp_path, rules, capsys):
    folder = run(build_config(world(tmp_path), "text"), tmp_path / "run")
    files = folder.round(1)
    assert [v.reward for v in read_jsonl(files.verdicts, Verdict)] == [pytest.approx(1 / 3, abs=1e-6)] * 12
    refined = read_jsonl(files.refinements, Refinement)
    assert {r.verdict.reward for r in refined} == {0.5, 1.0}
    # Both reach the threshold; the best is taken.
    assert sorted(e.completion for e in read_jsonl(files.examples, Example)) == ["black", "blue", "pink"]
    raw = json.loads(files.evaluation.read_text())
    assert raw["arms"]["before"]["reward"]["value"] == pytest.approx(1 / 3, abs=1e-6)
    assert [c["metric"] for c in raw["paired"]] == ["mean R"] and raw["paired"][0]["wins"]["value"] == 0.5
    said = capsys.readouterr().out
    assert "mean R" in said and "win rate 50.0%" in said and "pass@1" not in said
    page = write_report(folder.path).read_text()
    assert "mean R" in page and "win rate" in page and "Shown and hidden tests" not in page


def test_equation_6_weighs_by_the_reward(tmp_path, rules):
    config = world(tmp_path, selection={"strategy": "all", "weights": True, "beta": 2.0})
    files = run(build_config(config, "text"), tmp_path / "run").round(1)
    weights = {e.completion: e.weight for e in read_jsonl(files.examples, Example) if e.task_id == "blue"}
    # The script's log-probability is minus the number of words and one: 3 and 2 for R = 1/2 and 1.
    assert weights["blue paint"] / weights["blue"] == pytest.approx(math.exp(2 * 0.5 + 3 - 2 * 1.0 - 2))


def test_a_rehearsal_needs_no_judge(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = world(tmp_path, verify={"reward": {"terms": [{"by": "judge", "model": "nobody/there"}]}})
    settings, out = dry(build_config(config, "text"), tmp_path / "dry")
    assert read_jsonl(run(settings, out, summary=False).round(1).examples, Example)


def test_a_run_without_a_reward_stops_before_any_work(tmp_path):
    with pytest.raises(ConfigError, match="verify.reward.terms"):
        run(build_config(world(tmp_path, verify={}), "text"), tmp_path / "run")
    assert not RunFolder(tmp_path / "run").round(1).programs.exists()


def test_from_the_command_line(tmp_path):
    import tomli_w

    (tmp_path / "rules_of_mine.py").write_text(RULES)
    (tmp_path / "run.toml").write_text(tomli_w.dumps(world(tmp_path)))
    write_jsonl(
        tmp_path / "programs.jsonl", [Program(task_id="red", code=text) for text in ("red", "so red")]
    )
    path = os.pathsep.join([str(tmp_path), *sys.path])

    def ilf(*arguments):
        done = subprocess.run(
            [sys.executable, "-m", "ilf.cli", *arguments], cwd=tmp_path, env={**os.environ, "PYTHONPATH": path},
            capture_output=True, text=True, timeout=120,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert "9 of 9 reference programs pass" in ilf("tasks", "check", "tasks.jsonl", "--reward", "run.toml")
    on = ("--tasks", "tasks.jsonl", "--ids", "red")
    ilf("verify", *on[:2], "--programs", "programs.jsonl", "--out", "verdicts.jsonl", "--reward", "run.toml")
    rows = [json.loads(line) for line in (tmp_path / "verdicts.jsonl").read_text().splitlines()]
    assert [row["reward"] for row in rows] == [1.0, 0.5]
    found = json.loads(ilf("evaluate", *on, "--verdicts", "verdicts.jsonl", "-k", "1", "--json"))
    assert found["arms"]["programs"]["reward"]["value"] == 0.75


def test_people_who_annotate_see_what_their_text_is_worth(rules):
    pytest.importorskip("sqlalchemy", reason="the extra 'annotate' is not installed")
    from ilf.annotate.serving import make_checker

    checker = make_checker(VerifyConfig(reward=RewardConfig(terms=[by_function()])))
    try:
        assert checker.tests(TASK, "so red").reward == 0.5
    finally:
        checker.close()
