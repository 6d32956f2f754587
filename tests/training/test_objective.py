"""Losses that compare with another model: their values by the definition, and their gradients."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")

import torch.nn.functional as F  # noqa: E402

from ilf.errors import TrainingError  # noqa: E402
from ilf.models import load_model, load_tokenizer  # noqa: E402
from ilf.records import Example  # noqa: E402
from ilf.training import FinetuneConfig, finetune, loss, preflight  # noqa: E402
from ilf.training.examples import check_examples  # noqa: E402
from ilf.training.objective import Anchored, Distil, PolicyGradient, Said, divergence  # noqa: E402
from ilf.training.packing import Row, packs, padded_packs  # noqa: E402
from ilf.training.run import _weighted  # noqa: E402
from ilf.training.teacher import FILE, listen  # noqa: E402

Make = Callable[..., list[Example]]
KINDS = ("forward", "reverse", "jsd")


def full(logp: Any, logq: Any, kind: str) -> Any:
    """The divergences by their definitions, over the whole vocabulary."""
    p, q = logp.exp(), logq.exp()
    m = ((p + q) / 2).log()
    return {
        "forward": (q * (logq - logp)).sum(1),
        "reverse": (p * (logp - logq)).sum(1),
        "jsd": ((q * (logq - m)).sum(1) + (p * (logp - m)).sum(1)) / 2,
    }[kind]


def said(logq: Any, k: int) -> Said:
    best, tokens = logq.topk(k, dim=1)
    return Said(tokens, best, logq[:, 0])


@pytest.mark.parametrize("kind", KINDS)
def test_divergences_by_their_definitions(kind: str) -> None:
    torch.manual_seed(0)
    logits, logq = 2 * torch.randn(20, 30), (2 * torch.randn(20, 30)).log_softmax(1)
    wanted = full(logits.log_softmax(1), logq, kind)
    torch.testing.assert_close(divergence(logits, said(logq, 30), kind), wanted, atol=1e-4, rtol=1e-4)
    coarse = divergence(logits, said(logq, 5), kind)
    assert (coarse <= wanted + 1e-5).all() and (coarse > 0).all()
    assert divergence(logq, said(logq, 5), kind).abs().max() < 1e-5


def test_the_gradient_reaches_tokens_that_are_not_told_apart() -> None:
    logits = torch.zeros(1, 6, requires_grad=True)
    logq = torch.tensor([[0.9, 0.02, 0.02, 0.02, 0.02, 0.02]]).log()
    divergence(logits, said(logq, 1), "forward").sum().backward()
    assert logits.grad is not None
    assert logits.grad[0, 0] < 0 and (logits.grad[0, 1:] > 0).all()


def rows_of(tiny: Path, examples: list[Example]) -> list[Row]:
    return _weighted(check_examples(load_tokenizer(tiny), examples, 128).rows)


def plan_of(tiny: Path, tmp_path: Path) -> preflight.Plan:
    needs = preflight.estimate_rows(tiny, 60, FinetuneConfig(pack_tokens=100), tmp_path)
    return dataclasses.replace(needs.plan, device="cpu", precision="float32")


def logits_of(model: Any, prompt: tuple[int, ...], row: Row) -> Any:
    """Where the row's labels are predicted, the model fed with one example alone."""
    ids = torch.tensor([[*prompt, *row.completion]])
    return model(ids).logits[0, len(prompt) - 1 : -1]


@pytest.mark.parametrize(
    ("kind", "way"),
    [*((kind, loss.WAYS[0]) for kind in KINDS), *(("forward", way) for way in loss.WAYS[1:])],
    ids=str,
)
def test_distillation_has_the_gradient_of_its_definition(
    tiny: Path, teacher: Path, some: Make, tmp_path: Path, kind: Any, way: loss.Way
) -> None:
    """The teacher sees another prompt than the student; nothing but the student's weights moves."""
    examples = some(9)
    contexts = tuple(f"x = {e.prompt} + y" for e in examples)
    rows, tokenizer = rows_of(tiny, examples), load_tokenizer(tiny)
    objective = Distil(teacher, "hash", contexts, top_k=1000, kind=kind)
    heard = listen(objective, tokenizer, rows, plan_of(tiny, tmp_path), tmp_path)
    assert heard.tokens > sum(row.length for row in rows)
    cost = objective.cost(rows, heard.said)

    model, other = load_model(tiny, "cpu", torch.float32), load_model(teacher, "cpu", torch.float32)
    wanted = 0.0
    for row in rows:
        context = tuple(tokenizer(contexts[row.index], add_special_tokens=False).input_ids)
        with torch.no_grad():
            logq = logits_of(other, context, row).log_softmax(1)
        one = row.weight * full(logits_of(model, row.prompt, row).log_softmax(1), logq, kind).sum()
        one.backward()
        wanted += one.item()
    expected = {name: p.grad.clone() for name, p in model.named_parameters()}

    model.zero_grad()
    model.set_attn_implementation(loss.ATTENTION if way.packed else "sdpa")
    got = 0.0
    for pack in packs(rows, 100) if way.packed else padded_packs(rows, 100, pad=0):
        one = loss.pack_loss(model, pack, way, torch.device("cpu"), cost)
        one.backward()
        got += one.item()
    assert got == pytest.approx(wanted, rel=1e-3)
    for name, parameter in model.named_parameters():
        error = (parameter.grad - expected[name]).norm() / expected[name].norm()
        assert error < 2e-3, (name, error)


def test_the_label_is_always_told_apart(tiny: Path, teacher: Path, some: Make, tmp_path: Path) -> None:
    rows = rows_of(tiny, some(6))
    heard = listen(
        Distil(teacher, "hash", top_k=2), load_tokenizer(tiny), rows, plan_of(tiny, tmp_path), tmp_path
    )
    labels = torch.tensor([label for row in rows for label in row.completion])
    assert (heard.said.tokens == labels[:, None]).any(1).all()
    found = heard.said.logprobs[heard.said.tokens == labels[:, None]]
    torch.testing.assert_close(found, heard.said.label)


def test_it_is_heard_once(tiny: Path, teacher: Path, some: Make, tmp_path: Path) -> None:
    rows, tokenizer, plan = rows_of(tiny, some(6)), load_tokenizer(tiny), plan_of(tiny, tmp_path)
    first = listen(Distil(teacher, "hash"), tokenizer, rows, plan, tmp_path)
    assert (tmp_path / FILE).is_file()
    again = listen(Distil(Path("/gone"), "hash"), tokenizer, rows, plan, tmp_path)
    assert torch.equal(first.said.logprobs, again.said.logprobs) and again.tokens == first.tokens


def test_a_teacher_with_other_tokens_is_refused(tiny: Path, some: Make, tmp_path: Path) -> None:
    from bytemodel import write_model

    with pytest.raises(TrainingError, match="another tokenizer"):
        listen(
            Distil(write_model(tmp_path / "bytes"), "hash"), load_tokenizer(tiny), rows_of(tiny, some(3)),
            plan_of(tiny, tmp_path), tmp_path,
        )  # fmt: skip


def test_policy_gradients_before_the_first_step_and_beyond_the_clip() -> None:
    """At r = 1 the gradient is -A times that of log p; where r left the clip on the side A pushes to, 0."""
    torch.manual_seed(0)
    logits = torch.randn(4, 7, requires_grad=True)
    labels, numbers = torch.tensor([1, 2, 3, 4]), torch.arange(4)
    rows = [Row((0,), (1, 2), index=0, offset=0), Row((0,), (3, 4), index=1, offset=2)]
    objective = PolicyGradient(Path(), "hash", advantages=(2.0, -0.5), low=0.2, high=0.3)
    logp = logits.log_softmax(1)[torch.arange(4), labels]
    nothing = torch.zeros(4, 1)

    def slope(old: Any) -> Any:
        cost = objective.cost(rows, Said(nothing.long(), nothing, old))
        return torch.autograd.grad(cost(logits, labels, numbers).sum(), logits)[0]

    gains = torch.tensor([2.0, 2.0, -0.5, -0.5])
    wanted = torch.autograd.grad(-(gains * logp).sum(), logits, retain_graph=True)[0]
    torch.testing.assert_close(slope(logp.detach()), wanted)
    shift = torch.tensor([0.28, 0.25, -0.25, -0.15])  # ratios 1.32, 1.28, 0.78, 0.86
    moved = slope(logp.detach() - shift).abs().sum(1)
    assert moved[0] == 0 and moved[1] > 0 and moved[2] == 0 and moved[3] > 0


def test_the_penalty_keeps_a_model_near_its_start(tiny: Path, some: Make, tmp_path: Path) -> None:
    """With β = 0 it is plain fine-tuning; a large β moves the next-token distributions less."""
    examples = some(12)
    settings = FinetuneConfig(learning_rate=1e-2, batch_size=6, epochs=3, max_length=128)
    finetune(tiny, examples, tmp_path / "plain", settings)
    for beta in (0.0, 20.0):
        objective = Anchored(tiny, "hash", top_k=1000, beta=beta)
        finetune(tiny, examples, tmp_path / f"beta-{beta:g}", settings, objective=objective)

    def moved(folder: Path) -> float:
        start, end = (load_model(path, "cpu", torch.float32) for path in (tiny, folder))
        with torch.no_grad():
            return sum(
                full(
                    logits_of(end, row.prompt, row).log_softmax(1),
                    logits_of(start, row.prompt, row).log_softmax(1),
                    "reverse",
                ).mean().item()
                for row in rows_of(tiny, examples)
            )  # fmt: skip

    plain, without, much = (moved(tmp_path / name) for name in ("plain", "beta-0", "beta-20"))
    assert without == pytest.approx(plain, rel=1e-2)
    assert much < plain / 2


def test_cross_entropy_through_a_cost_is_cross_entropy(tiny: Path, some: Make) -> None:
    rows, model = rows_of(tiny, some(9)), load_model(tiny, "cpu", torch.float32)
    model.set_attn_implementation(loss.ATTENTION)

    def gradient(cost: Any) -> list[Any]:
        model.zero_grad()
        for pack in packs(rows, 100):
            loss.pack_loss(model, pack, loss.WAYS[0], torch.device("cpu"), cost).backward()
        return [parameter.grad.clone() for parameter in model.parameters()]

    own = gradient(lambda logits, labels, numbers: F.cross_entropy(logits, labels, reduction="none"))
    for one, other in zip(own, gradient(None), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)
