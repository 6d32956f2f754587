"""Engine `torch` gives what `generate` gives, or says that it hands over, for every decoder architecture."""

import re
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

import transformers  # noqa: E402
from architectures import CONTEXT, MODELS, build, row  # noqa: E402

from ilf import models  # noqa: E402
from ilf.prompts import Prompt  # noqa: E402
from ilf.sampling import SamplingParams, attention, open_sampler  # noqa: E402
from ilf.sampling.attention import Unsupported  # noqa: E402
from ilf.sampling.probe import Probe, logprobs_alone, logprobs_shared  # noqa: E402
from ilf.sampling.torch_engine import TorchSampler  # noqa: E402
from ilf.sampling.transformers_engine import TransformersSampler  # noqa: E402

PAGE = Path(__file__).parents[2] / "docs" / "sampling.md"
# Both texts end beyond each window and the first pools; one prompt is longer than each window, one is not.
PROMPTS = [Prompt("def f(x):\n"), Prompt("".join(chr(33 + 37 * place % 89) for place in range(100)))]
# Issue 19's kinds that must not come to be handed over unnoticed.
COMPUTED = ("mistral", "qwen2", "gemma2", "gemma3_text", "gpt_oss", "phi3, window", "olmo3", "cohere2")


@pytest.mark.parametrize("name", MODELS)
def test_samples_are_those_of_generate(name, tmp_path, caplog):
    build(name, tmp_path)
    caplog.clear()
    sampler = open_sampler("torch", str(tmp_path), device="cpu")
    lines = [record.getMessage() for record in caplog.records if "engine transformers" in record.getMessage()]
    if (
        re.search(r"^transformers \d+\.\d+", PAGE.read_text(), re.M)[0].split()[1]
        == (transformers.__version__.rsplit(".", 1)[0])
    ):
        assert row(name, lines[0] if lines else None) in PAGE.read_text()
    if isinstance(sampler, TransformersSampler):
        assert len(lines) == 1
        assert not name.startswith(COMPUTED)
        return
    assert isinstance(sampler, TorchSampler)
    assert not lines
    greedy = SamplingParams(n=1, temperature=0, max_tokens=70)
    ours, theirs = (
        sorted(engine.sample(PROMPTS, greedy), key=lambda found: found.prompt)
        for engine in (sampler, open_sampler("transformers", str(tmp_path), device="cpu"))
    )
    assert [(c.text, c.tokens) for c in ours] == [(c.text, c.tokens) for c in theirs]
    assert [c.logprob for c in ours] == pytest.approx([c.logprob for c in theirs], abs=1e-3)
    # Greedy text soon repeats itself; here is some that does not.
    net = sampler._net
    *prompts, following = torch.randint(1, 257, (3, 70), generator=torch.Generator().manual_seed(0)).tolist()
    prompts[1] = prompts[1][:5]
    found, _ = logprobs_shared(net, prompts, following)
    first, second = logprobs_alone(net, prompts, following)
    for ours, theirs in zip(found, (first, second, first), strict=True):
        assert (ours - theirs).abs().max() < 1e-3


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("name", ["gemma3_text, window 64", "mistral, window 16"])
@pytest.mark.parametrize("window", ["kept", "ignored", "one token wider"])
def test_a_window_that_is_not_kept_is_noticed_at_opening(window, name, dtype, tmp_path, monkeypatch):
    build(name, tmp_path)
    probe = Probe(models.load_model(tmp_path, "cpu", dtype), CONTEXT)
    if window == "kept":
        probe.check(dtype)
        return
    wrong = {"ignored": lambda given: None, "one token wider": lambda given: given + 1}[window]

    def mask(positions, lengths, tokens, given, device):
        return exact(positions, lengths, tokens, given and wrong(given), device)

    exact = attention._mask
    monkeypatch.setattr(attention, "_mask", mask)
    with pytest.raises(Unsupported, match="computes attention its own way"):
        probe.check(dtype)


def test_a_window_that_cannot_be_shrunk_is_not_taken_on_trust(tmp_path, monkeypatch):
    build("mistral, window 64", tmp_path)
    monkeypatch.setattr("ilf.sampling.probe._SHRUNK", 64)
    probe = Probe(models.load_model(tmp_path, "cpu"), CONTEXT)
    with pytest.raises(Unsupported, match="its sliding window could not be tried out"):
        probe.check(torch.float32)


@pytest.mark.parametrize("shrunk", [{0: 8, 1: 64}, {0: 8, 1: 8}, {0: 8}, {0: None, 1: None}])
def test_each_layer_with_a_window_and_no_other_has_to_follow(shrunk, tmp_path, monkeypatch):
    build("mistral, window 64", tmp_path)
    probe = Probe(models.load_model(tmp_path, "cpu"), CONTEXT)
    found = iter([{0: 64, 1: None}, shrunk])
    monkeypatch.setattr(Probe, "_compare", lambda *_: next(found))
    with pytest.raises(Unsupported, match="its sliding window could not be tried out"):
        probe.check(torch.float32)
    found = iter([{0: 64, 1: None}, {0: 8, 1: None}])
    probe.check(torch.float32)


def test_texts_are_longer_than_every_window():
    windows = [
        value
        for _, special in MODELS.values()
        for name, value in special.items()
        if "window" in name and type(value) is int and value < CONTEXT
    ]
    assert {16, 64} <= set(windows)
    assert max(windows) < 70
