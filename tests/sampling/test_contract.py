"""What every engine promises, asked of each of them."""

import json
from itertools import pairwise

import fake_vllm
import pytest

from ilf.errors import ConfigError, MissingDependency, PromptTooLong
from ilf.prompts import Prompt
from ilf.sampling import ENGINES, SamplingParams, open_sampler

PROMPTS = [
    Prompt("def f(x):\n"),
    Prompt("def g(é):\n    # longer, much longer than the other\n"),
    Prompt("x"),
]


@pytest.fixture(
    params=["torch", "transformers", "openai", "vllm-stand-in", "vllm", "openai-vllm", "scripted"]
)
def sampler(request, monkeypatch, tmp_path):
    engine = request.param
    if engine == "vllm":
        return request.getfixturevalue("vllm_opened")
    if engine == "openai-vllm":
        return open_sampler("openai", "tiny", base_url=request.getfixturevalue("vllm_served"))
    if engine == "scripted":
        table = tmp_path / "table.jsonl"
        rows = [
            {"contains": "def f", "completions": ["a STOP b", "x + y"]},
            {"contains": "", "completions": ["z"]},
        ]
        table.write_text("".join(json.dumps(row) + "\n" for row in rows))
        return open_sampler(engine, f"scripted:{table}")
    if engine == "openai":
        pytest.importorskip("openai")
        return open_sampler(engine, "tiny", base_url=request.getfixturevalue("server").url)
    pytest.importorskip("torch")
    folder = request.getfixturevalue("tiny_folder")("llama")
    if engine == "vllm-stand-in":
        fake_vllm.install(monkeypatch)
        return open_sampler("vllm", str(folder))
    return open_sampler(engine, str(folder), device="cpu")


def run(sampler, **params):
    found = sampler.sample(PROMPTS, SamplingParams(**({"n": 4, "max_tokens": 12} | params)))
    return sorted(found, key=lambda c: (c.prompt, c.index))


def test_every_prompt_gets_its_n_samples(sampler):
    found = run(sampler)
    assert [(c.prompt, c.index) for c in found] == [(p, i) for p in range(3) for i in range(4)]
    for completion in found:
        assert completion.finish in ("stop", "length")
        assert completion.logprob is None or completion.logprob <= 0
        assert completion.tokens is None or 1 <= completion.tokens <= 12
    assert len({c.text for c in found if c.prompt == 0}) > 1


def test_the_same_call_gives_the_same_samples(sampler):
    assert run(sampler) == run(sampler)


def test_another_seed_gives_other_samples(sampler, request):
    if "scripted" in request.node.name:
        pytest.skip("a table has no seed")
    assert [c.text for c in run(sampler, seed=1)] != [c.text for c in run(sampler, seed=2)]


def test_greedy_samples_are_alike(sampler, request):
    if "scripted" in request.node.name:
        pytest.skip("a table has no temperature")
    for prompt in range(3):
        assert len({c.text for c in run(sampler, temperature=0.0) if c.prompt == prompt}) == 1


def test_a_stop_string_ends_the_text_before_it(sampler, request):
    free = run(sampler)
    # A fake server stops at whole words; for the others any piece of what they say will do.
    # Half characters are told in other ways by a server, so one of ASCII where there is one.
    pairs = [pair for pair in map("".join, pairwise(free[0].text[1:])) if pair.isascii()]
    part = "+" if "[openai]" in request.node.name else [*pairs, free[0].text[1:3]][0]
    assert part in free[0].text
    for completion, whole in zip(run(sampler, stop=("never", part)), free, strict=True):
        assert completion.text == whole.text.split(part)[0]
        assert completion.finish == "stop" or part not in whole.text


def test_progress_counts_the_tokens(sampler):
    counted = []
    found = list(sampler.sample(PROMPTS, SamplingParams(n=2, max_tokens=8), counted.append))
    assert sum(counted) == sum(c.tokens or 0 for c in found)


def test_no_prompts_no_samples(sampler):
    assert list(sampler.sample([], SamplingParams(n=2))) == []


def test_a_prompt_that_does_not_fit_is_known_before_the_first_sample(sampler, request):
    long = [*PROMPTS, Prompt("x = 1\n" * 2000)]
    params = SamplingParams(n=1, max_tokens=8)
    sampler.check(PROMPTS, params)
    if any(engine in request.node.name for engine in ("openai", "scripted")):
        sampler.check(long, params)  # they hold no tokenizer
        return
    with pytest.raises(PromptTooLong, match="prompt 3 has .* more than the model's context") as caught:
        sampler.check(long, params)
    assert caught.value.prompt == 3


def test_it_names_its_weights(sampler):
    assert len(sampler.model) == 64
    int(sampler.model, 16)


def test_a_run_that_is_left_early_leaves_the_engine_usable(sampler):
    expected = run(sampler)
    samples = sampler.sample(PROMPTS, SamplingParams(n=4, max_tokens=12))
    next(iter(samples))
    samples.close()
    assert run(sampler) == expected


def test_unknown_engines_and_options_are_answered_with_what_there_is():
    with pytest.raises(ConfigError, match="'vlm' is unknown; did you mean vllm"):
        open_sampler("vlm", "x")
    with pytest.raises(ConfigError, match="'scripted': .*speed"):
        open_sampler("scripted", "x", speed=3)


def test_a_missing_library_comes_with_its_command(monkeypatch):
    import sys

    for name, library in (("vllm", "vllm"), ("openai", "openai")):
        monkeypatch.setitem(sys.modules, library, None)
        with pytest.raises(MissingDependency, match=rf"pip install 'ilf\[{name}\]'"):
            open_sampler(name, "x")
    assert set(ENGINES) == {"torch", "transformers", "openai", "vllm", "scripted"}


@pytest.mark.parametrize(
    ("params", "name"),
    [({"n": 0}, "n"), ({"temperature": -1}, "temperature"), ({"top_p": 0}, "top_p"), ({"max_tokens": 0}, "max_tokens"),
     ({"stop": ("",)}, "stop")],
)  # fmt: skip
def test_params_that_make_no_sense_are_refused(params, name):
    with pytest.raises(ConfigError, match=f"sampling: {name} = "):
        SamplingParams(**params)
