"""examples/: the served sandbox as a reward of TRL's GRPO, and of verl."""

import importlib.util
import json
import shutil
import subprocess
from pathlib import Path

import pytest
from serve_samples import KEYS, RIGHT, TASK

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


@pytest.fixture
def example(monkeypatch):
    spec = importlib.util.spec_from_file_location("served_reward", EXAMPLES / "served_reward.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_rewards_are_verdicts(example, keyed):
    tasks = {"t": TASK | {"tests": ["assert f(1) == 2", "assert f(2) == 3"]}}
    completions = [
        f"```python\n{RIGHT}```",
        [{"role": "assistant", "content": "Here:\n```\ndef f(x):\n    return 2\n```\nDone."}],
        "no code at all",
    ]
    for partial, rewards in ((False, [1, 0, 0]), (True, [1, 0.5, 0])):
        served = example.Served(keyed.url, key=KEYS["one"], tasks=tasks, partial=partial)
        assert served([""] * 3, completions, task_id=["t"] * 3) == rewards
    with pytest.raises(ValueError, match="a key is needed"):
        example.Served(keyed.url, tasks=tasks)([""], completions[:1], task_id=["t"])


def test_a_server_that_is_away_is_waited_for_and_then_named(example):
    with pytest.raises(TimeoutError, match="127.0.0.1:9"):
        example.Served("http://127.0.0.1:9", patience=1.0)([""], ["x"], task_id=["t"])


def test_verls_custom_reward(example, keyed, monkeypatch):
    monkeypatch.setenv("ILF_VERIFIER", keyed.url)
    monkeypatch.setenv("ILF_VERIFIER_KEY", KEYS["two"])
    for code, score in ((RIGHT, 1.0), ("def f(x):\n    return x\n", 0.0)):
        assert (
            example.compute_score("mine", f"```python\n{code}```", json.dumps(TASK), extra_info={}) == score
        )


def test_verls_command_sets_the_sandbox(tmp_path, monkeypatch):
    """The script hands verl what it should: a stand-in for python3 shows the arguments."""
    stub = tmp_path / "python3"
    stub.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    stub.chmod(0o755)
    path = f"{tmp_path}:{Path(shutil.which('sh')).parent}"
    done = subprocess.run(
        ["sh", EXAMPLES / "verl_sandbox.sh", "more=1"], capture_output=True, text=True, check=True,
        env={"PATH": path, "VERIFIER": "http://verl:KEY@host:8080"},
    )  # fmt: skip
    words = done.stdout.split()
    assert words[:2] == ["-m", "verl.trainer.main_ppo"] and words[-1] == "more=1"
    assert "reward_model.sandbox_fusion.url=http://verl:KEY@host:8080/run_code" in words


@pytest.mark.model
def test_two_steps_of_grpo_with_the_served_reward(example, keyed, tmp_path):
    trl = pytest.importorskip("trl")
    datasets = pytest.importorskip("datasets")
    torch = pytest.importorskip("torch")
    from bytemodel import write_model
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = tmp_path / "model"
    write_model(folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.pad_token = tokenizer.pad_token or tokenizer.eos_token
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    served = example.Served(keyed.url, key=KEYS["one"], tasks={"t": TASK})
    seen = []

    def passes_tests(prompts, completions, task_id, **columns):
        # A byte model writes no programs: every second completion is replaced by a right one, so that
        # the rewards differ within a group and the weights get a gradient.
        told = [RIGHT if number % 2 else text for number, text in enumerate(completions)]
        seen.append(served(prompts, told, task_id=task_id))
        return seen[-1]

    arguments = trl.GRPOConfig(
        output_dir=str(tmp_path / "out"), max_steps=2, per_device_train_batch_size=4, num_generations=4,
        max_completion_length=8, learning_rate=1e-2, report_to=[], use_cpu=True, bf16=False, logging_steps=1,
        save_strategy="no", seed=0, gradient_checkpointing=False,
    )  # fmt: skip
    before = {name: value.detach().clone() for name, value in model.named_parameters()}
    trainer = trl.GRPOTrainer(
        model=model, reward_funcs=passes_tests, args=arguments, processing_class=tokenizer,
        train_dataset=datasets.Dataset.from_list([{"prompt": "def f(x):", "task_id": "t"}] * 8),
    )  # fmt: skip
    trainer.train()
    assert len(seen) == 2 and all(rewards == [0.0, 1.0, 0.0, 1.0] for rewards in seen)
    assert any("rewards/passes_tests/mean" in row for row in trainer.state.log_history)
    assert any(not torch.equal(before[name], value) for name, value in model.named_parameters())
