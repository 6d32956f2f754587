"""What engine `vllm` uses of vLLM, computed by transformers: the names and meanings are vLLM's own (0.32)."""

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
    stop_token_ids: list[int] = field(default_factory=list)
    seed: int | None = None
    logprobs: int | None = None


class LLM:
    def __init__(self, model, logprobs_mode, enable_prefix_caching, dtype, enable_chunked_prefill):
        from pathlib import Path

        from ilf import models

        assert (logprobs_mode, enable_prefix_caching) == ("raw_logprobs", True)
        assert (dtype, enable_chunked_prefill) == ("float32", False)  # on a CPU
        self.net = models.load_model(Path(model), "cpu")
        self.tokenizer = models.load_tokenizer(Path(model))

    def generate(self, prompts, sampling_params, use_tqdm, lora_request):
        assert lora_request is None
        return [
            types.SimpleNamespace(
                outputs=[self.sample(prompt["prompt_token_ids"], wanted, i) for i in range(wanted.n)]
            )
            for prompt, wanted in zip(prompts, sampling_params, strict=True)
        ]

    def sample(self, prompt, wanted, index):
        import torch

        draw = torch.Generator().manual_seed(wanted.seed + index)
        ids, logprobs, finish = [], [], "length"
        while len(ids) < wanted.max_tokens:
            with torch.inference_mode():
                logits = self.net(torch.tensor([prompt + ids])).logits[0, -1]
            token = int(logits.argmax())
            if wanted.temperature:
                token = int((logits / wanted.temperature).softmax(-1).multinomial(1, generator=draw))
            ids.append(token)
            logprobs.append({token: types.SimpleNamespace(logprob=float(logits.log_softmax(-1)[token]))})
            text = self.tokenizer.decode(ids, skip_special_tokens=True)
            if token in wanted.stop_token_ids or any(part in text for part in wanted.stop):
                finish = "stop"
                break
        return types.SimpleNamespace(index=index, token_ids=ids, logprobs=logprobs, finish_reason=finish)


def install(monkeypatch):
    module, platforms = types.ModuleType("vllm"), types.ModuleType("vllm.platforms")
    module.LLM, module.SamplingParams = LLM, SamplingParams
    platforms.current_platform = types.SimpleNamespace(is_cpu=lambda: True)
    monkeypatch.setitem(sys.modules, "vllm", module)
    monkeypatch.setitem(sys.modules, "vllm.platforms", platforms)
