"""A small world for studies: tasks, feedback, and a scripted model that solves some and refines others."""

import json

import pytest

from ilf.prompts import Prompter
from ilf.records import Feedback, Task, write_jsonl
from ilf.study.command import study

MARK = "\x00"


def reference(number):
    return f"def f{number}(x):\n    return x + {number}\n"


def wrong(number):
    return f"def f{number}(x):\n    return x - {number}\n"


def write_world(folder):
    """Writes tasks.jsonl, feedback.jsonl, script.jsonl and study.toml; returns the path of the last.

    Of 6 refine, 8 train and 6 test tasks the model solves every third in one of two samples; the others have
    feedback. Refinements pass for all but the last item; without the right feedback none passes.
    """
    splits = ["refine"] * 6 + ["train"] * 8 + ["test"] * 6
    tasks = [
        Task(
            task_id=f"t{i}",
            description=f"Add {i} to x.",
            entry_point=f"f{i}",
            tests=(f"assert f{i}(0) == {i}", f"assert f{i}(1) == {i + 1}"),
            prefix=f"def f{i}(x):\n",
            reference=reference(i),
            split=split,
        )
        for i, split in enumerate(splits, start=1)
    ]
    prompter = Prompter("completion", template=lambda user: user)
    feedback, refining, attempts = [], [], []
    for i, task in enumerate(tasks, start=1):
        right = prompter.program_target(task, reference(i))
        bad = prompter.program_target(task, wrong(i))
        solved = i % 3 == 0
        attempts.append(
            {"contains": prompter.program(task).text, "completions": [bad, right if solved else bad]}
        )
        if task.split != "test" and not solved:
            text = f"Item {i}: it must add {i} and not subtract it. The sign should be plus."
            feedback.append(
                Feedback(
                    task_id=task.task_id, code=wrong(i), text=text, source="human", author=f"person {i % 2}",
                    seconds=60.0 * i, refinement=reference(i), bugs=1 + i % 3, tags=("algebra",),
                )
            )  # fmt: skip
        if task.split == "train" and not solved and i != 14:
            start = prompter.refinement(task, wrong(i), MARK).text.partition(MARK)[0]
            answers = [bad, prompter.refinement_target(task, reference(i))]
            refining.append({"contains": f"{start}Item {i}:", "completions": answers})
    write_jsonl(folder / "tasks.jsonl", tasks)
    write_jsonl(
        folder / "more.jsonl", [t.model_copy(update={"task_id": f"more/{t.task_id}"}) for t in tasks[:3]]
    )
    write_jsonl(folder / "feedback.jsonl", feedback)
    (folder / "script.jsonl").write_text("".join(json.dumps(row) + "\n" for row in [*refining, *attempts]))
    (folder / "study.toml").write_text(
        f"""
name = "small"
temperatures = [0.4, 0.8]
[run]
model = "{folder}/script.jsonl"
tasks.source = "{folder}/tasks.jsonl"
engine.name = "scripted"
sampling.n = 2
feedback = {{ source = "recorded", path = "{folder}/feedback.jsonl" }}
refiner.sampling.n = 2
evaluation = {{ k = [1, 2], sampling = {{ n = 2 }} }}
[validation]
n = 2
"""
    )
    return folder / "study.toml"


@pytest.fixture(scope="session")
def quick():
    """The sandbox's self-check once a step is right for runs of hours, and most of the time of tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ilf.kinds.function.self_check", lambda **_: 0)
        yield


@pytest.fixture(scope="session", name="write_world")
def _write_world():
    return write_world


@pytest.fixture
def world(tmp_path, quick):
    return write_world(tmp_path)


@pytest.fixture(scope="session")
def finished(tmp_path_factory, quick):
    """The folder of a finished study, with its config beside it (not to be changed)."""
    folder = tmp_path_factory.mktemp("world")
    config = write_world(folder)
    study(config, folder / "study", also=[f"{folder}/more.jsonl"])
    return folder / "study"
