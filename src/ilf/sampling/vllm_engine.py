"""Engine `vllm`: vLLM started by this process, on a GPU or with its build for CPUs, behind the same protocol.

The prompts are tokenised here, as for every local engine, and go to vLLM as token ids; what it samples is
read token by token as the other engines read theirs, so that a text and its stop mean the same everywhere.

On a CPU a seed is possible only while no prompt is computed in pieces (vLLM 0.32 takes back the draw of an
unfinished prompt, which torch's CPU generator cannot do): `enable_chunked_prefill` is off there.
"""

from __future__ import annotations

import importlib
import json
import logging
import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ilf import models
from ilf.errors import ModelError, first_line, missing
from ilf.prompts import Prompt
from ilf.sampling import Completion, SamplingParams
from ilf.sampling.text import TextStream, encode, sample_key

log = logging.getLogger(__name__)

# Samples handed to vLLM together: it returns them together, so this is what a kill can cost.
_SAMPLES = 2048
_RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)
"""What vLLM takes as the largest rank of adapters."""


def open(model: str, **options: Any) -> VLLMSampler:
    """Open a MODEL string (see `ilf.models.resolve`).

    Args:
        model: hub id, folder, GGUF file or package; a LoRA adapter stays one, on its base.
        options: arguments of `vllm.LLM` (`tensor_parallel_size`, `gpu_memory_utilization`, `dtype` …).

    Raises:
        MissingDependency: vLLM is not installed.
        ModelError: there is no such model, or vLLM cannot open it.
    """
    # vLLM reports each step of its start; a user's own setting wins.
    os.environ.setdefault("VLLM_LOGGING_LEVEL", "ERROR")
    try:
        vllm: Any = importlib.import_module("vllm")
    except ImportError:
        raise missing("vllm", "vllm") from None
    folder = models.resolve(model, options.get("trust_remote_code", False))
    base = models.adapter_base(folder.path)
    # The log-probabilities of the model itself, before temperature and truncation.
    options = {"logprobs_mode": "raw_logprobs", "enable_prefix_caching": True, **options}
    if base is not None:
        options = {"enable_lora": True, "max_lora_rank": _rank(folder.path), **options}
    seeded = True
    if importlib.import_module("vllm.platforms").current_platform.is_cpu():
        options = {"dtype": "float32", "enable_chunked_prefill": False, **options}
        seeded = not options["enable_chunked_prefill"]
        if not seeded:
            log.warning(
                "engine vllm: no seeds on a CPU with enable_chunked_prefill: samples differ between runs"
            )
    try:
        llm = vllm.LLM(model=str(base or folder.path), **options)
    except TypeError:  # an option that it does not have, which the caller names
        raise
    except Exception as error:  # it starts processes, whose errors arrive in many forms
        raise ModelError(f"model {model!r}: vLLM cannot open it: {first_line(error)}") from None
    return VLLMSampler(llm, folder, seeded)


class VLLMSampler:
    """Samples with a `vllm.LLM`.

    Args:
        llm: with the model, or with the adapter's base.
        folder: of the model or adapter.
        seeded: each request gets a seed.
    """

    at_once = _SAMPLES

    def __init__(self, llm: Any, folder: models.ModelFolder, seeded: bool = True) -> None:
        self._llm, self._seeded = llm, seeded
        self._take(folder)

    def _take(self, folder: models.ModelFolder) -> None:
        self.model = folder.hash
        self._folder = folder.path
        self._tokenizer = models.load_tokenizer(folder.path)
        self._context = models.context_length(folder.path)
        self._end = _end_tokens(self._tokenizer, models.adapter_base(folder.path) or folder.path)
        self._adapter = None
        if models.adapter_base(folder.path) is not None:
            request: Any = importlib.import_module("vllm.lora.request").LoRARequest
            number = int(folder.hash[:7], 16) + 1  # vLLM knows adapters by number
            self._adapter = request(folder.hash, number, str(folder.path))

    def load(self, folder: models.ModelFolder) -> bool:
        """Go on with other weights without the restart of vLLM, which takes up to a minute.

        Args:
            folder: a model of the same config, or an adapter on the model that is open.

        Returns:
            False where vLLM has to be started anew; this sampler is then as it was.
        """
        base = models.adapter_base(folder.path)
        opened = models.adapter_base(self._folder) or self._folder
        if base is not None:
            if base != opened or self._adapter is None or _rank(folder.path) > _rank(self._folder):
                return False
        elif self._adapter is not None or _config(folder.path) != _config(opened):
            return False
        else:
            try:
                self._llm.collective_rpc("reload_weights", kwargs={"weights_path": str(folder.path)})
                self._llm.reset_prefix_cache()  # keys and values of the old weights
            except Exception as error:  # whatever its workers raise: a fresh start is always possible
                log.info("vLLM does not load %s in place: %s", folder.path, first_line(error))
                return False
        self._take(folder)
        return True

    def close(self) -> None:
        """End vLLM's processes and give their memory back."""
        core = getattr(getattr(self._llm, "llm_engine", None), "engine_core", None)
        if core is not None:
            core.shutdown()
        self._llm = None

    def sample(
        self,
        prompts: Sequence[Prompt],
        params: SamplingParams,
        progress: Callable[[int], None] | None = None,
    ) -> Iterator[Completion]:
        """See `Sampler.sample`."""
        ids = encode(self._tokenizer, prompts, params, self._context)
        return self._sample(prompts, ids, params, progress or (lambda tokens: None))

    def check(self, prompts: Sequence[Prompt], params: SamplingParams) -> None:
        """See `Sampler.check`."""
        encode(self._tokenizer, prompts, params, self._context)

    def _sample(
        self,
        prompts: Sequence[Prompt],
        ids: list[list[int]],
        params: SamplingParams,
        progress: Callable[[int], None],
    ) -> Iterator[Completion]:
        vllm: Any = importlib.import_module("vllm")
        seen: Counter[str] = Counter()
        settings = []
        for prompt in prompts:
            key = sample_key(params.seed, prompt.text, seen[prompt.text], 0)
            seen[prompt.text] += 1
            settings.append(
                vllm.SamplingParams(
                    n=params.n if params.temperature else 1,  # it refuses to repeat a greedy one
                    temperature=params.temperature,
                    top_p=params.top_p,
                    max_tokens=params.max_tokens,
                    stop=list(params.stop),
                    stop_token_ids=list(self._end),
                    seed=key % 2**31 if self._seeded else None,
                    logprobs=0,  # of the sampled token alone
                )
            )
        step = max(1, _SAMPLES // params.n)
        for start in range(0, len(ids), step):
            places = range(start, min(start + step, len(ids)))
            outputs = self._llm.generate(
                [{"prompt_token_ids": ids[place]} for place in places],
                [settings[place] for place in places],
                use_tqdm=False,
                lora_request=self._adapter,
            )
            for place, output in zip(places, outputs, strict=True):
                found = [self._read(place, ids[place], sample, params) for sample in output.outputs]
                if not params.temperature:
                    found = [replace(found[0], index=index) for index in range(params.n)]
                for completion in found:
                    progress(completion.tokens or 0)
                    yield completion

    def _read(self, place: int, prompt: list[int], sample: Any, params: SamplingParams) -> Completion:
        """A sample as the other engines tell it (vLLM drops half a character at the end of a text)."""
        stream = TextStream(self._tokenizer, prompt, params, self._end)
        total = 0.0
        for token, logprobs in zip(sample.token_ids, sample.logprobs, strict=True):
            total += logprobs[token].logprob
            if stream.push(token):
                break
        finish = stream.finish or ("length" if sample.finish_reason == "length" else "stop")
        return Completion(place, sample.index, stream.text, total, stream.tokens, finish)


def _config(folder: Path) -> dict[str, Any]:
    """What decides a model's shape."""
    found: dict[str, Any] = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    return {name: value for name, value in found.items() if not name.startswith(("_", "transformers_"))}


def _rank(folder: Path) -> int:
    """An adapter's largest rank, rounded up to one that vLLM takes.

    Raises:
        ModelError: the adapter has what vLLM does not compute.
    """
    config = json.loads((folder / models.ADAPTER).read_text(encoding="utf-8"))
    unknown = [name for name in ("modules_to_save", "use_dora") if config.get(name)]
    if config.get("bias", "none") != "none":
        unknown.append("bias")
    rank = max([config.get("r", 0), *(config.get("rank_pattern") or {}).values()])
    if config.get("peft_type") != "LORA" or unknown or rank > _RANKS[-1]:
        what = ", ".join(unknown) or f"{config.get('peft_type')} of rank {rank}"
        raise ModelError(
            f"{folder}: engine vllm does not compute adapters with {what}: merge it into its base"
        )
    return next(size for size in _RANKS if size >= rank)


def _end_tokens(tokenizer: Any, folder: Path) -> tuple[int, ...]:
    """As `models.end_tokens`, of a model that is opened elsewhere."""
    from types import SimpleNamespace

    try:
        listed = json.loads((folder / "generation_config.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        listed = {}
    config = SimpleNamespace(eos_token_id=listed.get("eos_token_id"))
    return models.end_tokens(tokenizer, SimpleNamespace(generation_config=config))
