"""Engine `vllm`: vLLM inside this process, on a GPU, behind the same protocol.

The prompts are tokenised here, as for every local engine, and go to vLLM as token ids.
"""

from __future__ import annotations

import importlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from ilf import models
from ilf.errors import ModelError, missing
from ilf.prompts import Prompt
from ilf.sampling import Completion, SamplingParams
from ilf.sampling.text import encode, sample_key

# Samples handed to vLLM together: it returns them together, so this is what a kill can cost.
_SAMPLES = 2048


def open(model: str, **options: Any) -> VLLMSampler:
    """Open a MODEL string (see `ilf.models.resolve`).

    Args:
        model: hub id, folder, GGUF file or package; an adapter must be merged into its model first.
        options: arguments of `vllm.LLM` (`tensor_parallel_size`, `gpu_memory_utilization`, `dtype` …).

    Raises:
        MissingDependency: vLLM is not installed.
        ModelError: there is no such model, or it is an adapter.
    """
    try:
        vllm: Any = importlib.import_module("vllm")
    except ImportError:
        raise missing("vllm", "vllm") from None
    folder = models.resolve(model, options.get("trust_remote_code", False))
    if models.adapter_base(folder.path) is not None:
        raise ModelError(
            f"model {model!r}: engine vllm takes whole models; merge the adapter into its base first"
        )
    # The log-probabilities of the model itself, before temperature and truncation.
    options = {"logprobs_mode": "raw_logprobs", "enable_prefix_caching": True, **options}
    llm = vllm.LLM(model=str(folder.path), **options)
    return VLLMSampler(
        llm, models.load_tokenizer(folder.path), models.context_length(folder.path), folder.hash
    )


class VLLMSampler:
    """Samples with an in-process `vllm.LLM`."""

    at_once = _SAMPLES

    def __init__(self, llm: Any, tokenizer: Any, context: int, model: str) -> None:
        self.model = model
        self._llm, self._tokenizer, self._context = llm, tokenizer, context

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
                    n=params.n,
                    temperature=params.temperature,
                    top_p=params.top_p,
                    max_tokens=params.max_tokens,
                    stop=list(params.stop),
                    seed=key % 2**31,
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
            )
            for place, output in zip(places, outputs, strict=True):
                for sample in output.outputs:
                    progress(len(sample.token_ids))
                    yield Completion(
                        place,
                        sample.index,
                        sample.text,
                        sample.cumulative_logprob,
                        len(sample.token_ids),
                        "length" if sample.finish_reason == "length" else "stop",
                    )
