"""Scores against transformers' own loss, on tiny random models."""

import math

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from bytemodel import write_model  # noqa: E402

from ilf import metrics, scoring  # noqa: E402
from ilf.errors import ModelError  # noqa: E402

pytestmark = pytest.mark.usefixtures("without_gpu")  # in bfloat16 the losses would only be alike


@pytest.fixture(scope="module", params=["llama", "gpt2", "gemma2"])
def tiny(request, tmp_path_factory):
    return write_model(tmp_path_factory.mktemp(request.param), request.param)


PAIRS = [("def f(x):\n", "    return x\n"), ("a", "é = 'ü'"), ("b" * 40, "c"), ("", "import os"), ("x", "")]


def test_scores_are_transformers_losses(tiny):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model, tokenizer = AutoModelForCausalLM.from_pretrained(tiny), AutoTokenizer.from_pretrained(tiny)
    scores = scoring.score(tiny, PAIRS)
    for (prompt, completion), (logprob, tokens) in zip(PAIRS, scores, strict=True):
        if not completion:
            assert (logprob, tokens) == (0.0, 0)
            continue
        given = tokenizer(prompt, add_special_tokens=False).input_ids
        scored = tokenizer(completion, add_special_tokens=False).input_ids
        labels = torch.tensor([[-100] * len(given) + scored])
        with torch.inference_mode():
            loss = float(model(input_ids=torch.tensor([given + scored]), labels=labels).loss)
        assert tokens == len(scored) - (not given)
        assert -logprob / tokens == pytest.approx(loss, rel=1e-4)
        assert metrics.perplexity(logprob, tokens) == pytest.approx(math.exp(loss), rel=1e-3)


@pytest.fixture(scope="module")
def moved(tiny, tmp_path_factory):
    """The same model, a little elsewhere."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(tiny)
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    folder = tmp_path_factory.mktemp("moved")
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(tiny).save_pretrained(folder)
    return folder


def test_divergence_of_one_position_is_the_closed_form(tiny, moved):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    ids = torch.tensor([AutoTokenizer.from_pretrained(tiny)("def ", add_special_tokens=False).input_ids])
    with torch.inference_mode():
        p, q = (
            AutoModelForCausalLM.from_pretrained(folder)(input_ids=ids)
            .logits[0, -1]
            .double()
            .softmax(0)
            .numpy()
            for folder in (tiny, moved)
        )
    (found,) = scoring.divergence(tiny, moved, [("def ", "")])
    assert found == pytest.approx(metrics.kl_categorical(p, q), rel=1e-3)
    assert scoring.divergence(tiny, tiny, [("def ", "f")]) == [pytest.approx(0, abs=1e-6)]


def test_divergence_agrees_with_log_ratios_of_samples(tiny, moved):
    # Two tokens drawn by hand: the mean of log p - log q has the same expectation, with more noise.
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(tiny)
    p_model, q_model = (AutoModelForCausalLM.from_pretrained(folder) for folder in (tiny, moved))
    prompt = tokenizer("def ", add_special_tokens=False).input_ids
    torch.manual_seed(2)
    with torch.inference_mode():
        first = p_model(input_ids=torch.tensor([prompt])).logits[0, -1].softmax(0)
        drawn = torch.multinomial(first, 4000, replacement=True)
        rows = torch.cat([torch.tensor(prompt).expand(4000, -1), drawn[:, None]], 1)
        second = p_model(input_ids=rows).logits[:, -1].softmax(1)
        rows = torch.cat([rows, torch.multinomial(second, 1)], 1)
        logs = [m(input_ids=rows).logits.log_softmax(2)[:, len(prompt) - 1 : -1] for m in (p_model, q_model)]
        chosen = [log.gather(2, rows[:, len(prompt) :, None]).sum((1, 2)).numpy() for log in logs]
        along = (logs[0].exp() * (logs[0] - logs[1])).sum((1, 2))
    ratio = metrics.kl_samples(*chosen)
    assert float(along.mean()) == pytest.approx(ratio.value, abs=0.8 * (ratio.high - ratio.low))
    assert float(along.std()) < (ratio.high - ratio.low) / 3.92 * 4000**0.5


def test_a_text_beyond_the_context_is_named(tiny):
    if scoring.models.context_length(tiny) != 128:
        pytest.skip("no limit")
    with pytest.raises(ModelError, match="text 2 of 2 has 201 tokens"):
        scoring.score(tiny, [("a", "b"), ("a", "b" * 200)])


def test_first_tokens_are_what_scores_say(tiny):
    prompts = ["a", "def f(x):", "b" * 40]
    found = scoring.first_tokens(tiny, prompts, ["Yes", "No"])
    one = scoring.score(tiny, [(prompt, token) for prompt in prompts for token in "YN"])
    assert [value for pair in found for value in pair] == pytest.approx(
        [logprob for logprob, _ in one], abs=1e-4
    )
    with pytest.raises(ModelError, match="text 1 has 129 tokens, the model's context 128"):
        scoring.first_tokens(tiny, ["a" * 129], ["Yes"])
