"""Learners that learn from what the newest model writes, on a tiny model that knows bytes."""

import json
import os
import signal
import subprocess
import sys
import textwrap
from dataclasses import replace
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from bytemodel import write_model  # noqa: E402

from ilf import policy  # noqa: E402
from ilf.config import EngineConfig, LearnerConfig, VerifyConfig  # noqa: E402
from ilf.configfile import checked  # noqa: E402
from ilf.errors import ConfigError, TrainingError  # noqa: E402
from ilf.learners import Teacher, passes  # noqa: E402
from ilf.learners.grpo import advantages  # noqa: E402
from ilf.models import load_model, load_tokenizer, weights_hash  # noqa: E402
from ilf.places import Local  # noqa: E402
from ilf.records import Example, Feedback, Task, Verdict  # noqa: E402
from ilf.runner import Job  # noqa: E402
from ilf.steps import Learn  # noqa: E402
from ilf.training import FinetuneConfig  # noqa: E402

TASKS = {
    f"t{i}": Task(
        task_id=f"t{i}", description=f"Add {i}.", entry_point="f", tests=(f"assert f(1) == {i + 1}",),
        prefix="def f(x):\n",
    )
    for i in range(3)
}  # fmt: skip
ITEMS = tuple(
    Feedback(task_id=f"t{i}", code=f"def f(x):\n    return x - {i}\n", text="Add it.", source="human")
    for i in range(3)
)
VERIFY = VerifyConfig(unsafe=True)
FINETUNE = FinetuneConfig(learning_rate=1e-3, batch_size=4, epochs=1)


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """A student and a teacher."""
    folder = tmp_path_factory.mktemp("models")
    return write_model(folder / "student", context=512), write_model(folder / "teacher", seed=1, context=512)


def lesson(folders, name="distil", *, tasks=TASKS, feedback=ITEMS, start=None, finetune=FINETUNE, **settings):
    student, teacher = (policy.get(folder, EngineConfig(), "completion") for folder in folders)
    learner = LearnerConfig.model_validate({"name": name, name: settings})
    return Learn(
        start or student, (), finetune, learner, feedback, tasks=tasks, teacher=Teacher(teacher),
        verify=VERIFY,
    )  # fmt: skip


def do(step, out, place=None):
    counts = step.run(Job(out, f"key of {step.learner.name}", place or Local()))
    return step.result(out), counts


def divergence(folders, student, step):
    """KL(q ‖ p) a token along the wrong programs, by its definition."""
    tokenizer, found = load_tokenizer(folders[0]), []
    models = {f: load_model(f, "cpu", torch.float32) for f in (student, folders[1])}

    def logp(folder, prompt, text):
        ids = [tokenizer(part, add_special_tokens=False).input_ids for part in (prompt, text)]
        with torch.no_grad():
            logits = models[folder](torch.tensor([ids[0] + ids[1]])).logits[0]
        return logits[len(ids[0]) - 1 :].log_softmax(1)

    for item in ITEMS:
        task, prompter = TASKS[item.task_id], step.start.prompter
        text = prompter.program_target(task, item.code)
        p = logp(student, prompter.program(task).text, text)
        q = logp(folders[1], step.teacher.prompt(task, item), text)
        found.append((q.exp() * (q - p)).sum(1))
    return torch.cat(found).mean().item()


def test_distillation_brings_the_student_to_the_teacher(folders, tmp_path):
    step = lesson(folders, n=0, top_k=257, finetune=FINETUNE.model_copy(update={"epochs": 10}))
    model, counts = do(step, tmp_path / "model")
    before, after = (divergence(folders, folder, step) for folder in (folders[0], tmp_path / "model"))
    assert after < 0.8 * before
    assert counts["examples"] == 3 and counts["sampled tokens"] == 0 and counts["steps"] == 10
    assert counts["heard tokens"] > 3 * 100  # the teacher reads program and feedback besides
    assert model.hash == weights_hash(tmp_path / "model")
    # The loss that the log begins with is that divergence.
    first = json.loads((tmp_path / "model/training_log.jsonl").read_text().splitlines()[0])
    assert first["loss"] == pytest.approx(before, rel=1e-3)


def test_every_pass_learns_from_what_the_newest_model_wrote(folders, tmp_path, monkeypatch):
    written = []
    whole = passes.Turn.write
    monkeypatch.setattr(
        passes.Turn,
        "write",
        lambda turn, *a: written.append((turn.student.hash, whole(turn, *a))) or written[-1][1],
    )
    step = lesson(folders, n=2, passes=2, max_tokens=12)
    _, counts = do(step, tmp_path / "model")
    (first, one), (second, two) = written
    assert first == step.start.hash != second
    assert [p.task_id for p in one] == ["t0", "t0", "t1", "t1", "t2", "t2"]
    assert {p.model for p in one} == {first} and {p.model for p in two} == {second}
    assert counts["examples"] + counts["left out"] <= 3 + 6 + 6  # some may say nothing
    assert counts["sampled tokens"] == sum(p.tokens for p in one + two)
    assert not list(tmp_path.glob(".*"))
    card = (tmp_path / "model/README.md").read_text()
    assert f"Start: `{folders[0]}`" in card and "distil, 2 passes" in card
    # Done is done, also where the runner did not come to note it.
    monkeypatch.setattr(passes.Turn, "write", None)
    assert do(step, tmp_path / "model")[1] == counts


def test_each_attempt_is_judged_by_its_own_feedback(folders):
    """Two items on one task make two teacher prompts, each with its own program and text."""
    other = Feedback(task_id="t0", code="def f(x):\n    return 0\n", text="Use x.", source="human")
    teacher = lesson(folders).teacher
    one, two = (teacher.prompt(TASKS["t0"], item) for item in (ITEMS[0], other))
    assert "x - 0" in one and "Add it." in one and "Use x." not in one
    assert "return 0" in two and "Use x." in two
    assert "Use x." not in Teacher(teacher.model, use_feedback=False).prompt(TASKS["t0"], other)


def test_the_model_itself_is_the_teacher(folders, tmp_path):
    """`sdpo` needs no other model: that of the lesson, with other weights, changes nothing."""
    step = lesson(folders, "sdpo", n=0)
    do(step, tmp_path / "one")
    do(lesson((folders[0], folders[0]), "sdpo", n=0), tmp_path / "two")
    assert weights_hash(tmp_path / "one") == weights_hash(tmp_path / "two") != weights_hash(folders[0])


KILLED = """
    import os, signal, sys
    from pathlib import Path
    sys.path.insert(0, {tests!r})
    from learners import test_on_policy as t
    from ilf import progress
    import torch
    torch.set_num_threads(1)
    {kill}
    step = t.lesson(({student!r}, {teacher!r}), {name!r}, **{settings!r})
    t.do(step, Path({out!r}))
"""
# Where a kill comes: while the student writes in the second pass, in its training, and after its last pass.
KILLS = {
    "writing": """
    from ilf.runfolder import Growing
    whole, seen = Growing.append, []
    def append(self, rows):
        whole(self, rows)
        seen.append(1)
        if len(seen) == 2: os.kill(os.getpid(), signal.SIGKILL)
    Growing.append = append""",
    "training": """
    from ilf.training.trainer import Watch
    whole, seen = Watch.on_log, []
    def on_log(self, *a, **k):
        whole(self, *a, **k)
        seen.append(1)
        if len(seen) == 4: os.kill(os.getpid(), signal.SIGKILL)
    Watch.on_log = on_log""",
    "the end": """
    from ilf.learners import passes
    passes._finish = lambda *a: os.kill(os.getpid(), signal.SIGKILL)""",
}


SHORT = {"n": 1, "passes": 2, "max_tokens": 8}


@pytest.fixture(scope="module")
def whole(folders, tmp_path_factory):
    """What an uninterrupted one makes."""
    out = tmp_path_factory.mktemp("whole") / "model"
    do(lesson(folders, **SHORT), out)
    return out


@pytest.mark.parametrize("where", KILLS)
def test_a_kill_costs_nothing_but_time(folders, whole, tmp_path, where):
    out = tmp_path / "model"
    code = textwrap.dedent(KILLED).format(
        tests=str(Path(__file__).parents[1]), kill=textwrap.dedent(KILLS[where]), student=str(folders[0]),
        teacher=str(folders[1]), out=str(out), name="distil", settings=SHORT,
    )  # fmt: skip
    done = subprocess.run([sys.executable, "-c", code], env=os.environ, capture_output=True, timeout=120)
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()
    assert not out.exists() and (tmp_path / ".model.passes").exists()
    do(lesson(folders, **SHORT), out)
    assert weights_hash(out) == weights_hash(whole)
    assert not list(tmp_path.glob(".*"))


def test_remains_of_something_else_are_not_used(folders, tmp_path):
    work = tmp_path / ".model.passes"
    work.mkdir()
    (work / passes.STATE).write_text('{"key": "another", "wrote": [true], "counts": {}}')
    _, counts = do(lesson(folders, n=0), tmp_path / "model")
    assert counts["steps"] == 1


def test_what_cannot_be_learnt_from_is_one_line(folders, tmp_path):
    with pytest.raises(TrainingError, match="distil needs feedback, and there is none"):
        do(lesson(folders, feedback=()), tmp_path / "model")
    with pytest.raises(TrainingError, match="needs a model in a folder, which engine openai does not have"):
        start = policy.Model("gpt", "hash", EngineConfig(name="openai"), "completion")
        do(lesson(folders, start=start), tmp_path / "model")


class Judge(Local):
    """Completions with an even number of characters are right."""

    def verify(self, tasks, programs, settings, bar=None):
        for program in programs:
            status = "passed" if len(program.completion) % 2 == 0 else "failed"
            yield Verdict(task_id=program.task_id, program_id=program.program_id, status=status)


def test_what_is_rewarded_becomes_likelier(folders, tmp_path, monkeypatch):
    seen = []
    whole = passes.Turn.fit
    monkeypatch.setattr(
        passes.Turn,
        "fit",
        lambda turn, *a: (seen.append((turn.file("programs").read_text(), *a)), whole(turn, *a))[1],
    )
    settings = FINETUNE.model_copy(update={"batch_size": 64, "learning_rate": 3e-4})
    step = lesson(folders, "grpo", feedback=(), n=6, passes=1, max_tokens=9, finetune=settings)
    _, counts = do(step, tmp_path / "model", Judge())
    ((_, examples, objective),) = seen
    assert counts["samples"] == 18 and 0 < counts["passed"] < 18 and counts["examples"] == len(examples)

    tokenizer, scores = load_tokenizer(folders[0]), []
    for folder in (folders[0], tmp_path / "model"):
        net = load_model(folder, "cpu", torch.float32)
        of_model = []
        for example in examples:
            ids = [
                tokenizer(t, add_special_tokens=False).input_ids for t in (example.prompt, example.completion)
            ]
            with torch.no_grad():
                logp = net(torch.tensor([ids[0] + ids[1]])).logits[0].log_softmax(1)
            of_model.append(sum(logp[len(ids[0]) + i - 1, token].item() for i, token in enumerate(ids[1])))
        scores.append(torch.tensor(of_model))
    gained = (scores[1] - scores[0]) * torch.tensor(objective.advantages)
    assert gained.sum() > 0
    log = json.loads((tmp_path / "model/training_log.jsonl").read_text())
    lengths = [len(tokenizer(e.completion).input_ids) + 1 for e in examples]
    # The first step's loss is minus the tokens' mean advantage: every ratio is 1.
    mean = sum(a * n for a, n in zip(objective.advantages, lengths, strict=True)) / sum(lengths)
    assert log["loss"] == pytest.approx(-mean, abs=1e-3)


def test_rewards_that_are_all_alike_teach_nothing(folders, tmp_path):
    class Strict(Judge):
        def verify(self, tasks, programs, settings, bar=None):
            return (
                v.model_copy(update={"status": "failed"}) for v in super().verify(tasks, programs, settings)
            )

    step = lesson(folders, "grpo", feedback=(), n=2, passes=2, max_tokens=3, tasks={"t0": TASKS["t0"]})
    with pytest.raises(TrainingError, match="grpo: nothing to learn in 2 passes"):
        do(step, tmp_path / "model", Strict())
    with pytest.raises(TrainingError, match="there are none"):
        do(lesson(folders, "grpo", tasks={}), tmp_path / "model")


def test_advantages():
    assert advantages([1, 0, 0, 0, 1, 1, 1, 1], 4, "none") == [0.75, -0.25, -0.25, -0.25, 0, 0, 0, 0]
    assert advantages([1, 0], 2, "std") == [1, -1]
    # A program without a verdict counts for nothing, neither itself nor in the mean.
    assert advantages([1, None, 0, None], 2, "std") == [0, 0, 0, 0]
    assert advantages([1, None, 0], 3, "none") == [0.5, 0, -0.5]


def test_the_penalty_of_plain_fine_tuning_is_off_unless_asked_for(folders, tmp_path):
    example = Example(prompt="def f(x):\n", completion="    return x\n")
    steps = {beta: replace(lesson(folders, "sft", kl=beta), examples=(example,) * 4) for beta in (0, 50)}
    found = {beta: do(step, tmp_path / str(beta)) for beta, step in steps.items()}
    logs = [json.loads((tmp_path / name / "training_log.jsonl").read_text()) for name in ("0", "50")]
    # At the start nothing is to be paid: the same loss, and the same first step.
    assert logs[0]["loss"] == pytest.approx(logs[1]["loss"], rel=1e-3)
    records = [json.loads((tmp_path / name / "training.json").read_text())["result"] for name in ("0", "50")]
    assert records[0]["heard_tokens"] == 0 < records[1]["heard_tokens"]
    assert found[0][1].keys() == {"examples", "steps", "tokens", "peak memory, MB"}


def test_a_learner_is_keyed_by_what_it_reads(folders):
    """`sft` by its examples; those that sample by tasks, teacher and their own settings."""
    plain = lesson(folders, "sft").inputs()
    assert plain == lesson(folders, "sft", tasks={}).inputs()
    assert plain["learner"] == {"name": "sft", "options": {}}
    assert plain != lesson(folders, "sft", kl=0.1).inputs()
    base = lesson(folders).inputs()
    assert base != lesson(folders, tasks={"t0": TASKS["t0"]}).inputs()
    assert base != lesson((folders[0], folders[0])).inputs()
    assert base != lesson(folders, top_k=3).inputs()


def test_a_scripted_model_learns_its_examples_by_heart(tmp_path):
    table = tmp_path / "script.jsonl"
    table.write_text('{"contains": "", "completions": ["x"]}\n')
    start = policy.get(table, EngineConfig(name="scripted"), "completion")
    for name in ("distil", "sdpo", "grpo"):
        learner = LearnerConfig(name=name)
        Learn(start, (), FINETUNE, learner).run(Job(tmp_path / name, "key", Local()))
        assert (tmp_path / name).is_dir()


def test_unknown_settings_are_named():
    with pytest.raises(ConfigError, match="distil.topk: unknown key; did you mean top_k?"):
        checked(LearnerConfig, {"name": "distil", "distil": {"topk": 3}}, "learner")
