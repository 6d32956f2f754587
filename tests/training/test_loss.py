import dataclasses
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")

import torch.nn.functional as F  # noqa: E402
import transformers  # noqa: E402
from torch.utils.checkpoint import checkpoint  # noqa: E402

from ilf.models import load_model, load_tokenizer  # noqa: E402
from ilf.records import Example  # noqa: E402
from ilf.training import loss  # noqa: E402
from ilf.training.examples import check_examples  # noqa: E402
from ilf.training.packing import Row, packs, padded_packs  # noqa: E402

CPU = torch.device("cpu")
Make = Callable[..., list[Example]]


@pytest.fixture
def rows(tiny: Path, some: Make) -> list[Row]:
    return list(check_examples(load_tokenizer(tiny), some(24), 128).rows)


@pytest.fixture
def model(tiny: Path, device: str) -> Any:
    return load_model(tiny, device, torch.float32).train()


def plain(model: Any, rows: list[Row]) -> tuple[float, dict[str, torch.Tensor]]:
    """The definition: each example by itself, all logits, labels only on the completion."""
    model.zero_grad()
    total = 0.0
    for row in rows:
        ids = torch.tensor([row.prompt + row.completion], device=model.device)
        labels = torch.tensor([[-100] * len(row.prompt) + list(row.completion)], device=model.device)
        logits = model(ids).logits
        nll = F.cross_entropy(logits[0, :-1], labels[0, 1:], reduction="sum", ignore_index=-100)
        (row.weight * nll).backward()
        total += row.weight * nll.item()
    return total, gradients(model)


def ours(model: Any, found: list[Any], way: loss.Way) -> tuple[float, dict[str, torch.Tensor]]:
    model.zero_grad()
    total = 0.0
    for pack in found:
        one = loss.pack_loss(model, pack, way, model.device)
        one.backward()
        total += one.item()
    return total, gradients(model)


def gradients(model: Any) -> dict[str, torch.Tensor]:
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


def assert_same(one: tuple, other: tuple, tolerance: float = 1e-4) -> None:
    assert one[0] == pytest.approx(other[0], rel=tolerance)
    assert one[1].keys() == other[1].keys() and one[1]
    for name, gradient in other[1].items():
        error = (one[1][name] - gradient).norm() / gradient.norm()
        assert error < tolerance, (name, error)


@pytest.mark.parametrize("budget", [16, 64, 400], ids=["one by one", "several", "all together"])
def test_packs_give_the_plain_gradients(model: Any, rows: list[Row], budget: int) -> None:
    """Weighted examples, shared prompts and grouped heads included; however they are packed (8x1 = 1x8)."""
    expected = plain(model, rows)
    found = packs(rows, budget)
    shared = any(len(parts) > 1 for pack in found for _, parts in pack.segments)
    assert shared == (budget > 16)
    model.set_attn_implementation(loss.ATTENTION)
    assert_same(ours(model, found, loss.WAYS[0]), expected)


@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("window", [None, 12])
def test_segments_in_one_call_give_the_plain_gradients(
    shared: bool, window: int | None, model: Any, rows: list[Row], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a GPU does instead of a call for each segment, asked for everywhere; a window cuts longer ones."""
    of, made = loss.Segments.of, []

    def always(pack: Any, positions: Any) -> loss.Segments:
        made.append(of(pack, positions, together=True))
        return made[-1]

    monkeypatch.setattr(loss.Segments, "of", always)
    if window is not None:
        model = small("mistral", sliding_window=window).to(model.device)
    if not shared:
        rows = list({row.prompt: row for row in rows}.values())
    expected = plain(model, rows)
    model.set_attn_implementation(loss.ATTENTION)
    assert_same(ours(model, packs(rows, 100), loss.WAYS[0]), expected)
    assert len(made) > 1 and all(segments.rows is not None for segments in made)
    assert any(segments.rows[2] is not None for segments in made) == shared
    assert any(max(segments.sizes) > 12 for segments in made)


@pytest.mark.parametrize("way", loss.WAYS[1:], ids=lambda way: way.name)
def test_padded_rows_give_the_plain_gradients(model: Any, rows: list[Row], way: loss.Way) -> None:
    assert_same(ours(model, padded_packs(rows, 100, pad=0), way), plain(model, rows))


def test_recomputed_layers_give_the_same_gradients(model: Any, rows: list[Row]) -> None:
    model.set_attn_implementation(loss.ATTENTION)
    found = packs(rows, 64)
    expected = ours(model, found, loss.WAYS[0])
    for layer in model.model.layers:
        layer._gradient_checkpointing_func = partial(checkpoint, use_reentrant=False)
        layer.gradient_checkpointing = True
    model.model.layers[1].gradient_checkpointing = False
    assert_same(ours(model, found, loss.WAYS[0]), expected, 1e-6)


def test_the_projection_is_chunked_and_exact(
    monkeypatch: pytest.MonkeyPatch, model: Any, rows: list[Row]
) -> None:
    model.set_attn_implementation(loss.ATTENTION)
    found = packs(rows, 400)
    whole = ours(model, found, loss.WAYS[0])
    assert len(found[0].labels) > 20
    monkeypatch.setattr(loss, "CHUNK", 7)
    assert_same(ours(model, found, loss.WAYS[0]), whole, 1e-5)


def test_bias_and_frozen_weights_of_the_projection() -> None:
    torch.manual_seed(0)
    hidden = torch.randn(9, 5, requires_grad=True)
    head = torch.nn.Linear(5, 11)
    labels, weights = torch.randint(0, 11, (9,)), torch.rand(9)
    expected = (F.cross_entropy(head(hidden), labels, reduction="none") * weights).sum()
    wanted = torch.autograd.grad(expected, [hidden, head.weight, head.bias])
    got = loss._Projected.apply(hidden, head.weight, head.bias, labels, labels, weights, None)
    assert got.item() == pytest.approx(expected.item(), rel=1e-6)
    for one, other in zip(
        torch.autograd.grad(3 * got, [hidden, head.weight, head.bias]), wanted, strict=True
    ):
        torch.testing.assert_close(one, 3 * other)
    head.requires_grad_(False)
    got = loss._Projected.apply(hidden, head.weight, head.bias, labels, labels, weights, None)
    torch.testing.assert_close(torch.autograd.grad(got, [hidden])[0], wanted[0])
    assert head.weight.grad is None


def test_no_prompt_token_is_learnt(model: Any, rows: list[Row]) -> None:
    """Changing which token a prompt's label would be changes nothing: with all weights zero there is no gradient."""
    model.set_attn_implementation(loss.ATTENTION)
    mute = [dataclasses.replace(row, weight=0.0) for row in rows]
    _, found = ours(model, packs(mute, 100), loss.WAYS[0])
    assert all(gradient.abs().max() == 0 for gradient in found.values())


def test_bfloat16_autocast_is_as_exact_as_the_plain_way(model: Any, rows: list[Row]) -> None:
    """What a GPU computes in, run here: float32 gradients, no further from the exact ones than plain autocast's."""
    exact = plain(model, rows)[1]
    with torch.autocast(model.device.type, torch.bfloat16):
        usual = plain(model, rows)[1]
        model.set_attn_implementation(loss.ATTENTION)
        rough = ours(model, packs(rows, 64), loss.WAYS[0])[1]
    for name, gradient in exact.items():
        assert rough[name].dtype == torch.float32
        mine, theirs = ((other[name] - gradient).norm() / gradient.norm() for other in (rough, usual))
        assert mine < 1.3 * theirs + 0.01, name


def small(kind: str, **more: Any) -> Any:
    torch.manual_seed(0)
    common = {"vocab_size": 60, "pad_token_id": 0, "eos_token_id": 0, "bos_token_id": 0, **more}
    if kind == "codegen":
        config = transformers.CodeGenConfig(
            n_embd=32, n_layer=2, n_head=4, rotary_dim=8, n_positions=128, **common
        )
    else:
        config = transformers.AutoConfig.for_model(
            kind, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
            num_key_value_heads=2, head_dim=8, max_position_embeddings=128, **common,
        )  # fmt: skip
    model = transformers.AutoModelForCausalLM.from_config(config)
    for parameter in model.parameters():  # far from zero, so that wrong attention shows
        parameter.data += 0.2 * torch.randn_like(parameter)
    return model.train()


@pytest.mark.parametrize(
    ("kind", "more", "way"),
    [
        ("llama", {}, loss.WAYS[0]),
        ("qwen2", {}, loss.WAYS[0]),
        ("mistral", {"sliding_window": 6}, loss.WAYS[0]),
        ("codegen", {}, loss.WAYS[1]),
        ("granite", {"logits_scaling": 3.0}, loss.WAYS[2]),
        ("gemma2", {"query_pre_attn_scalar": 8}, loss.WAYS[2]),
    ],
)
def test_each_architecture_gets_a_way_that_is_exact(
    kind: str, more: dict, way: loss.Way, rows: list[Row]
) -> None:
    """The paper's CodeGen among them: its attention cannot be told about segments, its projection has a bias."""
    model = small(kind, **more)
    expected = plain(model.eval(), rows[:6])  # dropout off
    chosen = loss.choose_way(model, rows, "float32", CPU)
    assert chosen == way
    found = packs(rows[:6], 64) if chosen.packed else padded_packs(rows[:6], 64, pad=0)
    assert_same(ours(model, found, chosen), expected)


def test_a_model_with_broken_weights_is_refused(model: Any, rows: list[Row]) -> None:
    model.model.norm.weight.data.fill_(float("nan"))
    with pytest.raises(loss.TrainingError, match="its weights are broken"):
        loss.choose_way(model, rows, "float32", model.device)
