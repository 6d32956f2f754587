"""What engine `vllm` uses of vLLM, computed by transformers: the names and meanings are vLLM's documented ones."""

import sys
import types
from dataclasses import dataclass, field


@dataclass
class SamplingParams:
    n: int = 1
    temperature: float = 1.0
    top_p: float = 1.0
    max_tokens: int = 16
    stop: list[str] = field(default_factory=list)
    seed: int | None = None
    logprobs: int | None = None


class LLM:
    def __init__(self, model, logprobs_mode, enable_prefix_caching):
        from ilf.sampling.transformers_engine import open

        assert (logprobs_mode, enable_prefix_caching) == ("raw_logprobs", True)
        self.engine = open(model, device="cpu")

    def generate(self, prompts, sampling_params, use_tqdm):
        from ilf import sampling
        from ilf.prompts import Prompt

        outputs = []
        for prompt, wanted in zip(prompts, sampling_params, strict=True):
            text = self.engine._tokenizer.decode(prompt["prompt_token_ids"])
            params = sampling.SamplingParams(
                wanted.n, wanted.temperature, wanted.top_p, wanted.max_tokens, tuple(wanted.stop), wanted.seed
            )
            found = sorted(self.engine.sample([Prompt(text)], params), key=lambda c: c.index)
            outputs.append(types.SimpleNamespace(outputs=[self.output(c, wanted) for c in found]))
        return outputs

    @staticmethod
    def output(completion, wanted):
        return types.SimpleNamespace(
            index=completion.index,
            text=completion.text,
            cumulative_logprob=completion.logprob if wanted.logprobs is not None else None,
            token_ids=[1] * completion.tokens,
            finish_reason=completion.finish,
        )


def install(monkeypatch):
    module = types.ModuleType("vllm")
    module.LLM, module.SamplingParams = LLM, SamplingParams
    monkeypatch.setitem(sys.modules, "vllm", module)
