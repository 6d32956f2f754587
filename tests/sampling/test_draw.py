"""Random numbers and the choice of a token."""

import numpy as np
import pytest
import scipy.stats

torch = pytest.importorskip("torch")

from ilf.sampling.draw import choose, uniforms  # noqa: E402


def draws(logits, n, **params):
    numbers = uniforms(np.arange(n, dtype=np.uint64), np.zeros(n, np.uint64))
    tokens, logprobs = choose(logits.expand(n, -1), numbers, **({"temperature": 1.0, "top_p": 1.0} | params))
    return np.array(tokens), np.array(logprobs)


def test_numbers_are_uniform_over_keys_and_over_steps():
    many, none = np.arange(100_000, dtype=np.uint64), np.zeros(100_000, np.uint64)
    for numbers in (uniforms(many, none), uniforms(none, many)):
        assert scipy.stats.kstest(numbers, "uniform").pvalue > 1e-3
        assert (numbers >= 0).all() and (numbers < 1).all()
        assert abs(np.corrcoef(numbers[1:], numbers[:-1])[0, 1]) < 0.02


def test_numbers_are_those_of_the_published_generator():
    # Its first outputs from state 1234567 (Vigna's splitmix64.c).
    wanted = [6457827717110365317, 3203168211198807973, 9817491932198370423]
    found = uniforms(np.full(3, 1234567, np.uint64), np.arange(3, dtype=np.uint64))
    assert found == pytest.approx([number / 2**64 for number in wanted], abs=2**-52)


@pytest.mark.parametrize("size", [5, 256, 300, 1000])
@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_tokens_come_as_often_as_the_softmax_says(size, temperature):
    logits = torch.randn(1, size, generator=torch.Generator().manual_seed(size)) * 3
    n = 20_000
    tokens, logprobs = draws(logits, n, temperature=temperature)
    expected = (logits[0].double() / temperature).softmax(-1).numpy() * n
    counts = np.bincount(tokens, minlength=size)
    often = expected >= 8
    observed, wanted = (
        np.append(counts[often], counts[~often].sum()),
        np.append(expected[often], expected[~often].sum()),
    )
    if wanted[-1] == 0:
        observed, wanted = observed[:-1], wanted[:-1]
    assert scipy.stats.chisquare(observed, wanted).pvalue > 1e-3
    # Whatever the temperature, the log-probability is the model's own.
    assert logprobs == pytest.approx(logits[0].double().log_softmax(-1).numpy()[tokens], abs=1e-4)


def test_tokens_without_any_mass_never_come():
    logits = torch.full((1, 700), -torch.inf)
    logits[0, [3, 255, 256, 699]] = torch.tensor([0.0, 1.0, -2.0, 0.5])
    tokens, _ = draws(logits, 5000)
    assert set(tokens) == {3, 255, 256, 699}
    for extreme in (0.0, 1 - 2**-53):
        (token,), _ = choose(logits, np.array([extreme]), 1.0, 1.0)
        assert token in (3, 699)


@pytest.mark.parametrize("size", [20, 2000])
def test_the_nucleus_is_the_fewest_tokens_with_the_mass(size):
    logits = torch.randn(1, size, generator=torch.Generator().manual_seed(1))
    tokens, logprobs = draws(logits, 20_000, top_p=0.6)
    mass, order = logits[0].double().softmax(-1).sort(descending=True)
    kept = int((mass.cumsum(0) < 0.6).sum()) + 1
    allowed = order[:kept].numpy()
    assert set(tokens) <= set(allowed.tolist())
    expected = mass[:kept].numpy() / float(mass[:kept].sum()) * len(tokens)
    counts = np.bincount(tokens, minlength=size)[allowed]
    often = expected >= 8
    assert scipy.stats.chisquare(np.append(counts[often], counts[~often].sum() + 1e-9),
                                 np.append(expected[often], expected[~often].sum() + 1e-9)).pvalue > 1e-3  # fmt: skip
    assert logprobs == pytest.approx(logits[0].double().log_softmax(-1).numpy()[tokens], abs=1e-4)


@pytest.mark.parametrize("params", [{}, {"top_p": 0.7}, {"temperature": 0}])
def test_several_draws_from_one_row_are_what_each_would_be_alone(params):
    logits = torch.randn(20, 700, generator=torch.Generator().manual_seed(2)) * 2
    owners = np.repeat(np.arange(20), [3, 0, 1, 7, 2] * 4)
    numbers = uniforms(np.arange(len(owners), dtype=np.uint64), np.zeros(len(owners), np.uint64))
    settings = {"temperature": 1.0, "top_p": 1.0} | params
    tokens, logprobs = choose(logits, numbers, **settings, owners=owners)
    alone = [
        choose(logits[row : row + 1], numbers[n : n + 1], **settings) for n, row in enumerate(owners.tolist())
    ]
    assert tokens == [token for (token,), _ in alone]
    assert logprobs == pytest.approx([logprob for _, (logprob,) in alone], abs=1e-5)


def test_temperature_zero_takes_the_likeliest():
    logits = torch.randn(1, 500)
    tokens, logprobs = draws(logits, 3, temperature=0)
    assert set(tokens) == {int(logits.argmax())}
    assert logprobs == pytest.approx([float(logits.log_softmax(-1).max())] * 3, abs=1e-5)
