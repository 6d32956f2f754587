from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("torch")

from ilf.errors import TrainingError  # noqa: E402
from ilf.models import load_model  # noqa: E402
from ilf.training import FinetuneConfig, estimate, preflight  # noqa: E402
from ilf.training.preflight import Plan, estimate_rows  # noqa: E402
from ilf.training.weights import with_lora  # noqa: E402


@given(st.integers(1, 5000), st.integers(1, 40), st.integers(10**6, 10**9))
def test_layers_are_recomputed_only_as_far_as_memory_asks(tokens: int, layers: int, room: int) -> None:
    plan = Plan("cpu", "float32", 512, layers, 50_000, 2_000, room, "auto")
    recomputed = plan.recomputed_layers(tokens)
    held = tokens * (recomputed * 2_000 + (layers - recomputed) * 50_000)
    assert held <= room or recomputed == layers
    if recomputed:  # one fewer would be too much
        assert held + tokens * 48_000 > room
    assert plan.activations(tokens) == held + (tokens * 50_000 if recomputed else 0)


def test_checkpointing_can_be_forced_or_forbidden() -> None:
    always, never = (Plan("cpu", "float32", 512, 9, 50, 2, 10**9, mode) for mode in (True, False))
    assert (always.recomputed_layers(1), never.recomputed_layers(10**9)) == (9, 0)


@pytest.mark.parametrize(
    "config",
    [
        FinetuneConfig(),
        FinetuneConfig(method="lora", lora_rank=3),
        FinetuneConfig(method="lora", lora_targets=("q_proj", "down_proj")),
    ],
    ids=["full", "all-linear", "two"],
)
def test_parameters_are_counted_as_they_will_be(tiny: Path, tmp_path: Path, config: FinetuneConfig) -> None:
    model = load_model(tiny, "cpu")
    total = sum(p.numel() for p in model.parameters())
    if config.method == "lora":
        model = with_lora(model, config)
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    needs = estimate_rows(tiny, 50, config, tmp_path / "not" / "yet" / "there")
    assert (needs.parameters, needs.trainable) == (total, trained)
    assert needs.memory["optimiser"] == 8 * trained
    assert needs.check() is needs


def test_estimate_from_examples(tiny: Path, tmp_path: Path, some) -> None:
    needs = estimate(tiny, some(4), FinetuneConfig(), tmp_path)
    assert "GB of memory" in needs.summary() and needs.disk_free > 0
    longer = estimate(tiny, some(40), FinetuneConfig(), tmp_path)
    assert sum(longer.memory.values()) >= sum(needs.memory.values())


def test_a_control_groups_limit_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = preflight.available_memory()
    limits = {"/sys/fs/cgroup/memory.max": "3000000", "/sys/fs/cgroup/memory.current": "1000000"}
    monkeypatch.setattr(Path, "read_text", lambda path: limits.get(str(path), "max"))
    assert preflight.available_memory() == 2_000_000 < machine


def test_the_message_names_what_would_help(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(preflight, "available_memory", lambda: 10**6)
    with pytest.raises(TrainingError, match='set method = "lora" or "qlora", a lower max_length'):
        estimate_rows(tiny, 50, FinetuneConfig(), tmp_path).check()
