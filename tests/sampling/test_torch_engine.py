"""Engine `torch` computes what transformers computes, however its batch is made up."""

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

torch = pytest.importorskip("torch")

from ilf import models  # noqa: E402
from ilf.errors import ConfigError, ModelError  # noqa: E402
from ilf.prompts import Prompt  # noqa: E402
from ilf.sampling import SamplingParams, open_sampler  # noqa: E402
from ilf.sampling.attention import _CALL, Unsupported, own_attention, together  # noqa: E402
from ilf.sampling.packed import can_pack  # noqa: E402
from ilf.sampling.probe import Probe  # noqa: E402
from ilf.sampling.shared_cache import NoRoom, Prefix, SharedCache, pool_capacities  # noqa: E402
from ilf.sampling.torch_engine import TorchSampler, _Work  # noqa: E402
from ilf.sampling.transformers_engine import TransformersSampler  # noqa: E402

PROMPTS = [
    Prompt("def f(x):\n"),
    Prompt("a much longer prompt, of which there are many bytes: " * 3),
    Prompt("é"),
]


def key(completion):
    return completion.prompt, completion.index


def run(sampler, prompts, **params):
    return sorted(sampler.sample(prompts, SamplingParams(**params)), key=key)


def same(left, right):
    assert [(c.prompt, c.index, c.text, c.tokens, c.finish) for c in left] == [
        (c.prompt, c.index, c.text, c.tokens, c.finish) for c in right
    ]
    assert [c.logprob for c in left] == pytest.approx([c.logprob for c in right], abs=1e-3)


@pytest.mark.parametrize("kind", ["llama", "qwen2", "gpt2"])
def test_log_probabilities_are_those_of_transformers(kind, device, tiny_folder):
    """Every step of samples that outgrow several pools, beside the model's own forward pass."""
    net = models.load_model(tiny_folder(kind), device, torch.float32)
    generator = torch.Generator().manual_seed(0)
    tokens = torch.randint(1, 257, (4, 150), generator=generator).tolist()
    prompts = [tokens[0][:40], tokens[1][:3]]
    # Two samples of the first prompt and one of the second; they begin at different steps.
    plan = [(0, tokens[2], 0), (1, tokens[3], 2), (0, tokens[1], 5)]
    with own_attention(net):
        cache = SharedCache(net, rows=4, prefixes=3, prompt_tokens=40, own_tokens=140)
        prefixes = [Prefix(ids) for ids in prompts]
        logits, _ = cache.forward(prefixes)
        seen = [[logits[prompt]] for prompt, _, _ in plan]
        live = {}
        for step in range(139):
            for which, (prompt, ids, begin) in enumerate(plan):
                if begin == step:
                    live[cache.add(prefixes[prompt], 0)] = which
            if step == 60:  # one leaves from the middle of its pool; the others go on
                row = next(row for row, which in live.items() if which == 0)
                cache.remove(row)
                del live[row]
            for row, which in live.items():
                row.token = plan[which][1][step - plan[which][2]]
            logits, rows = cache.forward([])
            for row, scores in zip(rows, logits, strict=True):
                seen[live[row]].append(scores)
    for (prompt, ids, _), scores in zip(plan, seen, strict=True):
        steps = len(scores)
        with torch.inference_mode():
            row = torch.tensor([prompts[prompt] + ids[: steps - 1]], device=device)
            alone = net(input_ids=row).logits[0, len(prompts[prompt]) - 1 :]
        difference = torch.stack(scores).log_softmax(-1) - alone.log_softmax(-1)
        assert difference.abs().max() < 1e-3
    assert [len(scores) for scores in seen] == [61, 138, 135]


@pytest.mark.parametrize("kind", ["llama", "gpt2"])
def test_what_a_sample_says_does_not_depend_on_its_batch(kind, tiny_folder):
    folder = str(tiny_folder(kind))
    whole = run(open_sampler("torch", folder, device="cpu"), PROMPTS, n=6, max_tokens=70)
    few = run(open_sampler("torch", folder, device="cpu", batch_size=3), PROMPTS, n=6, max_tokens=70)
    same(whole, few)
    alone = run(open_sampler("torch", folder, device="cpu"), PROMPTS[1:2], n=3, max_tokens=70)
    same([c for c in whole if c.prompt == 1 and c.index < 3], [c.__class__(1, *rest(c)) for c in alone])
    assert len({c.text for c in whole if c.prompt == 0}) > 1


@pytest.mark.parametrize("temperature", [0.0, 0.02, 0.05])
def test_what_samples_have_in_common_is_computed_once(temperature, tiny_folder, monkeypatch):
    """They part at different steps, some after moving to another pool; alone, each says the same."""
    folder = str(tiny_folder("llama"))
    computed = []
    forward = SharedCache.forward

    def counted(cache, new):
        logits, rows = forward(cache, new)
        computed.append(len(rows))
        return logits, rows

    monkeypatch.setattr(SharedCache, "forward", counted)
    settings = {"n": 8, "max_tokens": 70, "temperature": temperature}
    whole, single = (open_sampler("torch", folder, device="cpu", batch_size=size) for size in (None, 1))
    computed.clear()  # opening a model asks it a few things
    together = run(whole, PROMPTS, **settings)
    rows = sum(computed)
    computed.clear()
    same(together, run(single, PROMPTS, **settings))
    assert sum(computed) == sum(c.tokens - 1 for c in together)  # the first token is the prompt's
    assert rows < 0.9 * sum(computed)
    if temperature == 0:
        assert rows == sum(c.tokens - 1 for c in together if c.index == 0)
    else:
        assert len({c.text for c in together}) > len(PROMPTS)


def rest(completion):
    return completion.index, completion.text, completion.logprob, completion.tokens, completion.finish


def test_equal_prompts_get_samples_of_their_own(tiny_folder):
    sampler = open_sampler("torch", str(tiny_folder("llama")), device="cpu")
    found = run(sampler, [PROMPTS[0], PROMPTS[0]], n=2, max_tokens=30)
    assert len({c.text for c in found}) == 4


def test_greedy_is_transformers_greedy(tiny_folder):
    folder = str(tiny_folder("llama"))
    ours = run(open_sampler("torch", folder, device="cpu"), PROMPTS, n=1, temperature=0, max_tokens=60)
    theirs = run(
        open_sampler("transformers", folder, device="cpu"), PROMPTS, n=1, temperature=0, max_tokens=60
    )
    same(ours, theirs)


def test_the_portable_attention_is_the_fused_one(tiny_folder, monkeypatch):
    """What runs on a GPU, in float64's precision class, run here on the CPU."""
    folder = str(tiny_folder("llama"))
    fused = run(open_sampler("torch", folder, device="cpu"), PROMPTS, n=4, max_tokens=50)
    monkeypatch.setattr("ilf.sampling.attention._FUSED", False)
    same(fused, run(open_sampler("torch", folder, device="cpu"), PROMPTS, n=4, max_tokens=50))


def test_bfloat16_stays_near_float32(device, tiny_folder, monkeypatch):
    """Each sample's log-probability is that of its tokens in float32, as near as bfloat16 can say it."""
    folder = tiny_folder("llama")
    net = models.load_model(folder, device, torch.bfloat16)
    Probe(net, 512).check(torch.bfloat16)
    ended, said = _Work._ended, {}

    def noted(work, sample):
        said[sample.group.prompt, sample.index] = sample.group.prefix.ids, sample.stream._ids
        return ended(work, sample)

    monkeypatch.setattr(_Work, "_ended", noted)
    whole = models.load_model(folder, "cpu")
    misses = []
    for completion in run(
        TorchSampler(net, models.load_tokenizer(folder), 512, "hash"), PROMPTS, n=9, max_tokens=20
    ):
        if completion.finish == "length":
            prompt, ids = said[completion.prompt, completion.index]
            ids = ids[-completion.tokens :]
            with torch.inference_mode():
                logits = whole(torch.tensor([prompt + ids])).logits[0, len(prompt) - 1 : -1].log_softmax(-1)
            exact = logits.gather(1, torch.tensor(ids)[:, None]).sum().item()
            misses.append(abs(completion.logprob - exact) / completion.tokens)
    assert len(misses) > 10
    assert 0 < max(misses) < 0.05


@pytest.mark.skipif(not can_pack(torch.bfloat16), reason="this processor does not compute in bfloat16")
def test_the_layers_products_in_bfloat16(tiny_folder):
    """An option on the CPU: near float32's log-probabilities, and a distribution of its own."""
    folder = str(tiny_folder("llama"))
    exact, rough = (
        run(open_sampler("torch", folder, device="cpu", dtype=dtype), PROMPTS, n=200, max_tokens=1)
        for dtype in ("float32", "bfloat16")
    )
    both = [(a, b) for a, b in zip(exact, rough, strict=True) if a.text == b.text]
    assert len(both) > 0.9 * len(exact)
    pairs = [(a.logprob, b.logprob) for a, b in both if a.text.isascii()]  # a half character has no text
    assert len(pairs) > 100
    assert 0 < np.mean([abs(a - b) for a, b in pairs]) < 0.03


def test_a_type_that_is_not_computed_in_is_refused(tiny_folder, monkeypatch):
    folder = str(tiny_folder("llama"))
    with pytest.raises(ConfigError, match="dtype: 'int8' is neither float32 nor bfloat16"):
        open_sampler("torch", folder, device="cpu", dtype="int8")
    monkeypatch.setattr("ilf.sampling.torch_engine.can_pack", lambda dtype: dtype == torch.float32)
    with pytest.raises(ConfigError, match="this processor does not compute in bfloat16"):
        open_sampler("torch", folder, device="cpu", dtype="bfloat16")


@pytest.mark.parametrize("how", ["alone", "otherwise"])
def test_another_computation_is_noticed_in_bfloat16_too(how, tiny_folder):
    net = models.load_model(tiny_folder("llama"), "cpu", torch.bfloat16)
    probe = Probe(net, 512)
    if how == "alone":
        probe.check(torch.bfloat16)
        return
    probe._expected = [rows.roll(1, 0) for rows in probe._expected]
    with pytest.raises(Unsupported, match="it computes attention its own way"):
        probe.check(torch.bfloat16)


def test_sampled_frequencies_are_the_models(device, tiny_folder):
    """Chi-square over first tokens of 20,000 samples at temperature 0.8, against transformers' probabilities."""
    folder = tiny_folder("llama")
    prompt = Prompt("def f(x):\n")
    n = 20_000
    tokenizer = models.load_tokenizer(folder)
    net = models.load_model(folder, device, torch.float32)
    sampler = TorchSampler(net, tokenizer, 512, "hash")
    net = models.load_model(folder, "cpu")
    counts = np.zeros(257)
    with torch.inference_mode():
        logits = net(torch.tensor([tokenizer(prompt.text).input_ids])).logits[0, -1].double()
    expected = (logits / 0.8).softmax(-1).numpy() * n
    whole = logits.log_softmax(-1).tolist()
    for completion in sampler.sample([prompt], SamplingParams(n=n, max_tokens=1, temperature=0.8, seed=3)):
        token = min(range(257), key=lambda t: abs(whole[t] - completion.logprob))  # one token, known by its p
        counts[token] += 1
    often = expected >= 8
    observed = np.append(counts[often], counts[~often].sum())
    wanted = np.append(expected[often], expected[~often].sum())
    assert often.sum() > 20
    assert scipy.stats.chisquare(observed, wanted).pvalue > 1e-3


def test_an_architecture_with_attention_of_its_own_goes_to_transformers(tiny_folder, caplog):
    sampler = open_sampler("torch", str(tiny_folder("codegen")), device="cpu")
    assert isinstance(sampler, TransformersSampler)
    assert "engine transformers" in caplog.text
    assert len(run(sampler, PROMPTS, n=2, max_tokens=5)) == 6


def test_a_small_cache_means_a_small_batch(tiny_folder):
    folder = str(tiny_folder("llama"))
    small = open_sampler("torch", folder, device="cpu", cache_gb=1e-4)
    same(
        run(small, PROMPTS, n=3, max_tokens=40),
        run(open_sampler("torch", folder, device="cpu"), PROMPTS, n=3, max_tokens=40),
    )


def test_samples_that_memory_was_lacking_for_begin_again_and_say_the_same(tiny_folder, monkeypatch):
    folder = str(tiny_folder("llama"))
    settings = {"n": 12, "max_tokens": 70, "temperature": 0.05}  # they part late, some in the second pool
    expected = run(open_sampler("torch", folder, device="cpu"), PROMPTS, **settings)
    refused, taken, take = [], [], SharedCache._take

    def counted(cache, pool):
        try:
            slot = take(cache, pool)
        except NoRoom:
            refused.append(pool.capacity)
            raise
        taken.append(cache._taken() / cache._most)
        return slot

    monkeypatch.setattr(SharedCache, "_take", counted)
    small = open_sampler("torch", folder, device="cpu", cache_gb=4e-4)
    same(run(small, PROMPTS, **settings), expected)
    assert len(set(refused)) > 1  # both where a row begins or forks, and where one outgrows its pool
    assert 0.8 < max(taken) <= 1


def test_memory_that_rows_have_left_is_given_back(tiny_folder):
    """The store holds what is written to it, and zeros again where it was returned."""
    net = models.load_model(tiny_folder("llama"), "cpu")
    with own_attention(net):
        cache = SharedCache(net, rows=200, prefixes=1, prompt_tokens=4, own_tokens=64, most=200 * 32)
        prefix = Prefix([1, 2, 3])
        cache.forward([prefix])
        rows = [cache.add(prefix, token) for token in range(200)]
        with pytest.raises(NoRoom):
            cache.add(prefix, 0)
        cache.forward([])
        last = cache.pools[0].keys[0]
        assert last[:200].abs().amax((1, 2, 3)).min() > 0
        for row in rows[20:]:
            cache.remove(row)
        cache.forward([])
        cache._give_back()
        assert cache._taken() == 20 * 32
        assert last[:20].abs().amax((1, 2, 3)).min() > 0
        assert last[22:199].abs().max() == 0  # a page may be shared with a neighbour


@given(st.lists(st.tuples(st.integers(0, 40), st.integers(1, 300)), max_size=7), st.booleans())
def test_every_slot_with_rows_is_attended_to_once(slots, apart):
    counts, lengths = [count for count, _ in slots], [length for _, length in slots]
    calls = together(counts, lengths, apart)
    covered = [slot for first, last in calls for slot in range(first, last)]
    assert covered == sorted(set(covered))
    assert {slot for slot, count in enumerate(counts) if count} <= set(covered)

    def cost(calls):
        return sum((b - a) * max(counts[a:b]) * max(lengths[a:b]) + _CALL for a, b in calls)

    def partitions(first):
        yield []
        for a in range(first, len(slots)):
            for b in range(a + 1, len(slots) + 1):
                yield from ([(a, b), *rest] for rest in partitions(b))

    if apart:
        used = {slot for slot, count in enumerate(counts) if count}
        ways = (w for w in partitions(0) if used <= {slot for a, b in w for slot in range(a, b)})
        assert cost(calls) == min(map(cost, ways))
    else:
        assert len(calls) <= 1


def test_pools_reach_the_longest_sample():
    assert pool_capacities(1) == [16]
    assert pool_capacities(32) == [32]
    assert pool_capacities(33) == [32, 48]
    assert pool_capacities(200) == [32, 64, 128, 208]


def test_a_long_prompt_is_named_before_anything_is_computed(tiny_folder):
    sampler = open_sampler("torch", str(tiny_folder("llama")), device="cpu")
    with pytest.raises(ModelError, match=r"prompt 1 has 500 tokens; with max_tokens = 20 .*context of 512"):
        sampler.sample([Prompt("a"), Prompt("b" * 500)], SamplingParams(n=1, max_tokens=20))
