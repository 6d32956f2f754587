"""Synthetic run folders: written with the records, at any size, with known numbers."""

import json
import random

import pytest

from ilf import metrics
from ilf.records import Example, Feedback, Program, Refinement, Task, Verdict, write_jsonl
from ilf.runfolder import Manifest, RunFolder, StepState

HOSTILE = '<script>alert(1)</script> & </script> "quotes"'


def code(name, body):
    return f"def {name}(x):\n    # {body}\n    return x + {body}\n"


def verdict(program, passed):
    return Verdict(
        task_id=program.task_id,
        program_id=program.program_id,
        status="passed" if passed else "failed",
        tests=(True, passed),
        detail="" if passed else f"f(2): expected 3, got {HOSTILE}",
    )


def write_run(path, *, tasks=12, n=4, before=0.2, after=0.6, seed=0, name="toy", feedback_seconds=None):
    """A finished run folder on `tasks` tasks a split; `before`/`after` are the rates of passing programs."""
    rng = random.Random(seed)
    path.mkdir(parents=True)
    everything = [
        Task(
            task_id=f"{split}/{i}",
            description=f"Add {i} to x. {HOSTILE if i == 0 else ''}",
            entry_point="f",
            tests=("assert f(1) == 2", "assert f(2) == 3"),
            prefix="def f(x):\n",
            reference=code("f", 1),
            split=split,
        )
        for split in ("refine", "train", "test")
        for i in range(tasks)
    ]
    write_jsonl(path / "tasks.jsonl", everything)
    of = {s: [t for t in everything if t.split == s] for s in ("refine", "train", "test")}
    folder = RunFolder(path)
    folder.config.write_text(
        f'name = "{name}"\nmodel = "tiny"\nseed = {seed}\n[tasks]\nsource = "{path}/tasks.jsonl"\n'
        f"[sampling]\nn = {n}\n",
        encoding="utf-8",
    )
    files = folder.round(1)
    files.evaluation_programs("before").parent.mkdir(parents=True)

    def samples(which, rate, model):
        programs = [
            Program(
                task_id=t.task_id, code=code("f", f"{model}{j}"), index=j, tokens=9, logprob=-4.0, model=model
            )
            for t in which
            for j in range(n)
        ]
        return programs, [verdict(p, rng.random() < rate) for p in programs]

    programs, verdicts = samples(of["refine"] + of["train"], 0.0, "a")
    write_jsonl(files.programs, programs)
    write_jsonl(files.verdicts, verdicts)
    feedback = [
        Feedback(
            task_id=t.task_id,
            code=programs[i * n].code,
            text=f"It must add one. {HOSTILE}" if i == tasks else "The loop is missing; it must add one.",
            source="recorded",
            author=f"person {i % 2}",
            seconds=feedback_seconds,
            refinement=code("f", 1),
            tags=("logic",) if i % 2 else ("formatting", "missing step"),
            bugs=1 + i % 3,
        )
        for i, t in enumerate(of["refine"] + of["train"])
    ]
    write_jsonl(files.feedback, feedback)
    refinements = []
    for item in feedback[tasks:]:
        for j in range(n):
            program = Program(task_id=item.task_id, code=code("f", 1 if j == 1 else f"r{j}"))
            refinements.append(
                Refinement(
                    feedback_id=item.feedback_id, task_id=item.task_id, code=program.code, index=j, tokens=8,
                    logprob=-5.0, verdict=verdict(program, j == 1),
                    edit_distance=metrics.edit_distance(item.code, program.code),
                )
            )  # fmt: skip
    write_jsonl(files.refinements, refinements)
    examples = [
        Example(prompt="p", completion="c", task_id=t.task_id, origin="refinement") for t in of["train"]
    ]
    write_jsonl(files.examples, examples)
    evaluations = {}
    for arm, rate in (("before", before), ("after", after)):
        programs, verdicts = samples(of["test"], rate, arm)
        write_jsonl(files.evaluation_programs(arm), programs)
        write_jsonl(files.evaluation_verdicts(arm), verdicts)
        evaluations[arm] = metrics.evaluate(
            metrics.count(of["test"], verdicts), split="test", temperature=0.8, n=n, ks=(1, n)
        )
    refined = metrics.evaluate(
        metrics.count(of["train"], [r.verdict for r in refinements]),
        split="train",
        temperature=0.8,
        n=n,
        ks=(1,),
    )
    paired = metrics.compare([evaluations["before"]], [evaluations["after"]])
    files.evaluation.write_text(
        json.dumps(
            {
                "arms": {arm: e.model_dump(mode="json") for arm, e in evaluations.items()},
                "paired": [paired.model_dump(mode="json")],
                "refinement": refined.model_dump(mode="json"),
            }
        ),
        encoding="utf-8",
    )
    folder.write_manifest(
        Manifest(
            version="0.1.0", created="2026-11-23T00:00:00+00:00", identity={"name": name}, seed=seed,
            environment={"python": "3.11"}, steps={"round-1/1-programs": StepState(key="k", seconds=12.5)},
        )
    )  # fmt: skip
    return path


@pytest.fixture
def make_run():
    return write_run


@pytest.fixture
def run_folder(tmp_path):
    return write_run(tmp_path / "toy")
