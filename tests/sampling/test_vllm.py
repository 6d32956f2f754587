"""vLLM itself beside engine `torch`: the same tokens, the same log-probabilities, adapters and new weights."""

import pytest
import real_vllm

pytest.importorskip("torch")

from ilf import models  # noqa: E402
from ilf.errors import ModelError  # noqa: E402
from ilf.prompts import Prompt  # noqa: E402
from ilf.sampling import SamplingParams, open_sampler  # noqa: E402

PROMPTS = [Prompt(f"def f{place}(x):\n    return x + {place}\n" * 4) for place in range(24)]


def run(sampler, **params):
    found = sampler.sample(PROMPTS, SamplingParams(**({"n": 1, "max_tokens": 24, "temperature": 0} | params)))
    return sorted(found, key=lambda c: (c.prompt, c.index))


def assert_alike(theirs, ours):
    """Greedy texts, except where two tokens are as likely as each other within rounding."""
    same = [(a, b) for a, b in zip(theirs, ours, strict=True) if (a.text, a.tokens) == (b.text, b.tokens)]
    assert len(same) >= len(ours) - 1
    for a, b in same:
        assert a.finish == b.finish
        assert a.logprob == pytest.approx(b.logprob, abs=2e-3)


@pytest.fixture(scope="module")
def folders(tiny_folder, tmp_path_factory):
    """(base, another model of its shape, a LoRA adapter on base)."""
    import peft
    import torch

    real_vllm.needed()
    base = tiny_folder("llama-32")
    other, adapter = tmp_path_factory.mktemp("other"), tmp_path_factory.mktemp("adapter")
    net = models.load_model(base, "cpu")
    torch.manual_seed(3)
    with torch.no_grad():
        for weight in net.parameters():
            weight.add_(torch.randn_like(weight) * 0.05)
    net.save_pretrained(other)
    models.load_tokenizer(base).save_pretrained(other)
    settings = peft.LoraConfig(r=6, lora_alpha=12, target_modules="all-linear")
    tuned = peft.get_peft_model(models.load_model(base, "cpu"), settings)
    with torch.no_grad():
        for name, weight in tuned.named_parameters():
            if "lora_" in name:
                weight.normal_(std=0.08)
    tuned.save_pretrained(adapter)
    return base, other, adapter


def test_greedy_and_log_probabilities_are_engine_torch_s(vllm_opened, folders):
    ours = open_sampler("torch", str(folders[0]), device="cpu")
    assert_alike(run(vllm_opened), run(ours))


def test_log_probabilities_are_those_of_temperature_1(vllm_opened, vllm_served, folders):
    from ilf.scoring import score

    through = open_sampler("openai", "tiny", base_url=vllm_served)
    for sampler in (vllm_opened, through):
        found = run(sampler, temperature=0.5, n=8, max_tokens=4)
        # Whose tokens can be read off the text: each a byte of ASCII.
        found = [c for c in found if c.text.isascii() and len(c.text) == c.tokens]
        assert len(found) > 3
        pairs = [(PROMPTS[c.prompt].text, c.text) for c in found]
        expected = [value for value, _ in score(str(folders[0]), pairs)]
        assert [c.logprob for c in found] == pytest.approx(expected, abs=2e-3)


def test_new_weights_and_back_without_a_restart(vllm_opened, folders):
    base, other, adapter = folders
    before = run(vllm_opened, temperature=0.8, n=3)
    assert vllm_opened.load(models.resolve(str(other)))
    assert vllm_opened.model == models.resolve(str(other)).hash
    changed = run(vllm_opened)
    assert_alike(changed, run(open_sampler("torch", str(other), device="cpu")))
    assert vllm_opened.load(models.resolve(str(base)))
    assert run(vllm_opened, temperature=0.8, n=3) == before
    assert not vllm_opened.load(models.resolve(str(adapter)))  # opened without adapters
    assert run(vllm_opened, temperature=0.8, n=3) == before


def test_adapters_are_computed_without_merging(folders):
    base, _, adapter = folders
    sampler = real_vllm.opened(adapter)
    try:
        assert sampler.model == models.resolve(str(adapter)).hash
        found = run(sampler)
        assert_alike(found, run(open_sampler("torch", str(adapter), device="cpu")))
        assert [c.text for c in found] != [
            c.text for c in run(open_sampler("torch", str(base), device="cpu"))
        ]
    finally:
        sampler.close()


def test_an_adapter_that_vllm_does_not_compute_is_one_line(folders, tmp_path):
    import json
    import shutil

    shutil.copytree(folders[2], tmp_path / "dora")
    settings = json.loads((tmp_path / "dora" / "adapter_config.json").read_text())
    (tmp_path / "dora" / "adapter_config.json").write_text(json.dumps(settings | {"use_dora": True}))
    with pytest.raises(ModelError, match="does not compute adapters with use_dora: merge it"):
        open_sampler("vllm", str(tmp_path / "dora"))


def test_the_same_seed_where_prompts_do_not_fit_into_one_step(vllm_opened):
    """What needs a seed on a CPU most: 2,400 tokens of prompts and more samples than a step computes."""
    first = run(vllm_opened, temperature=0.8, n=12)
    assert run(vllm_opened, temperature=0.8, n=12) == first
    assert len({c.text for c in first if c.prompt == 0}) > 1
